/* The jitdump format: tools/perf/Documentation/jitdump-specification.txt of the Linux kernel. */
#include "accel/perf.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define JITDUMP_MAGIC 0x4a695444u

struct header {
    u32 magic, version, size, machine, pad, pid;
    u64 time, flags;
};

struct code_load {
    u32 id, size;
    u64 time;
    u32 pid, tid;
    u64 vma, address, code_size, index;
};

static u64 now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t); /* `perf record -k mono` */
    return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static bool open_map(struct perf *p, struct err *e)
{
    char name[64];
    snprintf(name, sizeof(name), "/tmp/perf-%d.map", (int)getpid());
    p->map = fopen(name, "we");
    if (!p->map)
        return err_set(e, errno, "cannot write '%s': %s", name, strerror(errno));
    setlinebuf(p->map);
    return true;
}

/* perf learns of the file by the executable mapping that the process makes of it. */
static bool open_dump(struct perf *p, struct err *e)
{
    char name[64];
    struct header h = {JITDUMP_MAGIC, 1, sizeof(h), EM_X86_64, 0, (u32)getpid(), now(), 0};
    snprintf(name, sizeof(name), "jit-%d.dump", (int)getpid());
    p->dump = fopen(name, "w+e");
    if (!p->dump || fwrite(&h, sizeof(h), 1, p->dump) != 1 || fflush(p->dump))
        return err_set(e, errno, "cannot write '%s': %s", name, strerror(errno));
    p->marker = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_EXEC, MAP_PRIVATE,
                     fileno(p->dump), 0);
    if (p->marker == MAP_FAILED) {
        p->marker = NULL;
        return err_set(e, errno, "cannot map '%s', so perf would not find it: %s", name,
                       strerror(errno));
    }
    return true;
}

bool perf_open(struct perf *p, bool map, bool dump, struct err *e)
{
    if ((!map || open_map(p, e)) && (!dump || open_dump(p, e)))
        return true;
    perf_close(p);
    return false;
}

void perf_close(struct perf *p)
{
    if (p->map)
        fclose(p->map);
    if (p->marker)
        munmap(p->marker, (size_t)sysconf(_SC_PAGESIZE));
    if (p->dump)
        fclose(p->dump);
    *p = (struct perf){0};
}

static void dump_region(struct perf *p, const u8 *at, const u8 *code, size_t size, const char *name)
{
    size_t len = strlen(name) + 1;
    struct code_load r = {.size = (u32)(sizeof(r) + len + size), .time = now(),
                          .pid = (u32)getpid(), .tid = (u32)gettid(), .vma = (u64)at,
                          .address = (u64)at, .code_size = size, .index = p->index++};
    fwrite(&r, sizeof(r), 1, p->dump);
    fwrite(name, len, 1, p->dump);
    fwrite(code, size, 1, p->dump);
    fflush(p->dump);
}

void perf_region(struct perf *p, const u8 *at, const u8 *code, size_t size, u64 pc, bool hot)
{
    char name[32];
    if (!p->map && !p->dump)
        return;
    snprintf(name, sizeof(name), "%s_%" PRIx64, hot ? "hot" : "guest", pc);
    if (p->map)
        fprintf(p->map, "%" PRIxPTR " %zx %s\n", (uintptr_t)at, size, name);
    if (p->dump)
        dump_region(p, at, code, size, name);
}
