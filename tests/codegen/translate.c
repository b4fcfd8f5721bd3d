/* How long the first tier takes for a guest instruction: translates all of a program's code, block after block, as
 * if it were run through from end to end, and prints the time of each stage. Nothing is run.
 *
 * Usage: translate GUEST LEVEL ELF [TIMES [BYTES]] */
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "base/mem.h"
#include "first_tier.h"

#define BLOCK_INSNS 64
#define BLOCK_BYTES 512

enum stage { LIFT, ALLOCATE, EMIT, KEEP, STAGES };

static struct first_tier t;
static const u8 *code; /* the section of the program */
static u64 base, size;
static u64 ns[STAGES], insns, regions, host_bytes;

static u64 now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

static size_t peek(struct lift *l, u64 pc, void *to, size_t len)
{
    u64 at = pc - base;
    if (at >= size)
        return 0;
    len = MIN(len, size - at);
    memcpy(to, code + at, len);
    return len;
}

static bool passed(void *opaque, u64 epoch, bool wait)
{
    return true;
}

static void spend(enum stage stage, u64 *since)
{
    u64 at = now();
    ns[stage] += at - *since;
    *since = at;
}

/* Translate the block at pc; returns where the next one starts. */
static u64 translate(u64 pc)
{
    u64 at = pc - base, since = now();
    u64 end = first_tier_lift(&t, pc, code + at, MIN(size - at, (u64)BLOCK_BYTES), BLOCK_INSNS, peek);
    spend(LIFT, &since);
    if (!ra_local(&t.ra, &t.ir, &t.cpu.ra, t.vcpu.isa->helpers))
        return end;
    spend(ALLOCATE, &since);
    cache_room(&t.cache, &t.buf);
    if (!host_x86_64.emit(&t.cpu, &t.ra, &t.buf))
        return end;
    spend(EMIT, &since);
    struct jit_range range = {pc, (u32)(end - pc)};
    cache_add(&t.cache, &t.ra, &t.buf, &range, 1, pc);
    spend(KEEP, &since);
    insns += t.ir.insns;
    regions++;
    host_bytes += t.buf.used;
    return MAX(end, pc + t.vcpu.isa->insn_align);
}

static bool open_program(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st))
        return false;
    const u8 *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (file == MAP_FAILED)
        return false;
    const Elf64_Ehdr *eh = (const void *)file;
    const Elf64_Shdr *sh = (const void *)(file + eh->e_shoff);
    const char *names = (const char *)file + sh[eh->e_shstrndx].sh_offset;
    for (unsigned i = 0; i < eh->e_shnum; i++) {
        if (strcmp(names + sh[i].sh_name, ".text"))
            continue;
        code = file + sh[i].sh_offset;
        base = sh[i].sh_addr;
        size = sh[i].sh_size;
    }
    return code != NULL;
}

static void report(void)
{
    static const char *const name[STAGES] = {"lift", "allocate", "emit", "keep"};
    double n = (double)insns;
    u64 all = 0;
    for (unsigned k = 0; k < STAGES; k++)
        all += ns[k];
    printf("%" PRIu64 " instructions, %.1f in a region, %.1f host bytes each: %.0f ns each:", insns, n / (double)regions,
           (double)host_bytes / n, (double)all / n);
    for (unsigned k = 0; k < STAGES; k++)
        printf(" %s %.0f", name[k], (double)ns[k] / n);
    printf("\n");
}

int main(int argc, char **argv)
{
    struct err e = {0};
    const struct isa *isa = argc < 4 ? NULL : isa_by_name(argv[1]);
    if (!isa || !open_program(argv[3]) || !first_tier_start(&t, isa, argv[2], 64 << 20, &e)) {
        fprintf(stderr, "usage: translate GUEST LEVEL ELF [TIMES [BYTES]]; %s\n", e.text);
        return 1;
    }
    t.cache.passed = passed;
    unsigned times = argc > 4 ? (unsigned)atoi(argv[4]) : 3;
    if (argc > 5)
        size = MIN(size, strtoull(argv[5], NULL, 0));
    for (unsigned i = 0; i < times; i++) {
        memset(ns, 0, sizeof(ns));
        insns = regions = host_bytes = 0;
        for (u64 pc = base; pc + 4 <= base + size;)
            pc = translate(pc);
        report();
    }
    first_tier_stop(&t);
    return 0;
}
