/* What programs ask about the CPU: riscv_hwprobe by system call and through the vDSO, hwcap, /proc/cpuinfo, and
 * whether the CPU has what these say.
 * guest: riscv64
 * link: static
 * cpu: max
 * peer: it has no riscv_hwprobe */
#include "prog.h"

#include <dlfcn.h>
#include <elf.h>
#include <sys/auxv.h>

#define HWPROBE 258
#define FLUSH   259

struct pair {
    int64_t key;
    uint64_t value;
};

typedef long function(void *, void *, unsigned long, void *, unsigned);

/* A function of the vDSO, whose symbols are all in one chain. */
static function *find(const char *name)
{
    const char *base = (const char *)getauxval(AT_SYSINFO_EHDR), *strings = NULL;
    const Elf64_Phdr *p = (const void *)(base + ((const Elf64_Ehdr *)base)->e_phoff);
    const Elf64_Sym *symbols = NULL;
    unsigned count = 0;
    for (const Elf64_Dyn *d = (const void *)(base + p[1].p_vaddr); d->d_tag; d++) {
        const void *at = base + d->d_un.d_ptr;
        if (d->d_tag == DT_HASH)
            count = ((const uint32_t *)at)[1];
        else if (d->d_tag == DT_SYMTAB)
            symbols = at;
        else if (d->d_tag == DT_STRTAB)
            strings = at;
    }
    for (unsigned i = 1; i < count; i++) {
        if (!strcmp(strings + symbols[i].st_name, name))
            return (function *)(base + symbols[i].st_value);
    }
    die(name);
    return NULL;
}

/* One line of the CPU's paragraph. */
static void cpuinfo(const char *key, char *value, size_t size)
{
    char line[600];
    FILE *f = fopen("/proc/cpuinfo", "r");
    *value = 0;
    while (!*value && fgets(line, sizeof(line), f)) {
        char *colon = strchr(line, ':');
        if (colon && !strncmp(line, key, strlen(key)) && strspn(line + strlen(key), "\t ") == (size_t)(colon - line) - strlen(key))
            snprintf(value, size, "%s", colon + 2);
    }
    fclose(f);
}

static int test_return(int v)
{
    uint32_t *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int sum = 0;
    for (int i = 0; i < v; i++) {
        code[0] = 0x00000513 | (uint32_t)i << 20; /* li a0, i */
        code[1] = 0x00008067;
        find("__vdso_flush_icache")(code, code + 2, 0, NULL, 0);
        sum += ((int (*)(void))code)();
    }
    munmap(code, 4096);
    return sum;
}

int main(void)
{
    struct pair q[3] = {{4, 0}, {3, 0}, {1234, 5}}, v[3] = {{4, 0}, {3, 0}, {1234, 5}};
    result("riscv_hwprobe", syscall(HWPROBE, q, 3, 0, NULL, 0));
    say("unknown key", q[2].key == -1 && q[2].value == 0);
    say("base behaviour", q[1].value == 1);
    result("in the vDSO", find("__vdso_riscv_hwprobe")(v, (void *)3, 0, NULL, 0));
    say("the same", !memcmp(q, v, sizeof(q)));
    /* FD, C, Zba, Zbb, Zbs, Zicboz, Zbc, the scalar ciphers, Zfh, Zfa, Zacas, Zicond, Zcb, Zawrs, Zicbom, Zicbop; no V. */
    const uint64_t want = 0xfffb | 1ull << 27 | 1ull << 28 | 1ull << 32 | 1ull << 34 | 1ull << 35 | 1ull << 44 | 1ull << 48 |
                          1ull << 55 | 1ull << 60;
    say("extensions", (q[0].value & want) == want && !(q[0].value & 4));
    if ((q[0].value & want) != want)
        printf("missing %lx\n", want & ~q[0].value);
    char isa[600], mmu[100];
    cpuinfo("isa", isa, sizeof(isa));
    cpuinfo("mmu", mmu, sizeof(mmu));
    say("cpuinfo", !strncmp(isa, "rv64imafdc_zic", 14) && strstr(isa, "_zba_") && strstr(isa, "_zacas") && !strcmp(mmu, "sv48\n"));
    say("hwcap", getauxval(AT_HWCAP) == (1 << 8 | 1 << 12 | 1 | 1 << 5 | 1 << 3 | 1 << 2));
    uint64_t x = 5, y;
    __asm__ volatile(".insn r 0x33, 7, 7, %0, %1, %2" : "=r"(y) : "r"(x), "r"(0ul)); /* czero.nez */
    say("czero.nez", y == 5);
    unsigned cpu = ~0u;
    result("getcpu in the vDSO", find("__vdso_getcpu")(&cpu, NULL, 0, NULL, 0));
    say("a CPU", cpu < 4096);
    printf("flushed by the vDSO: %d\n", test_return(100));
    result("flags of a flush", syscall(FLUSH, 0, 0, 2));
    return 0;
}
