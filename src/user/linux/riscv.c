/* riscv_hwprobe, riscv_flush_icache and /proc/cpuinfo: all CPUs are alike, and what they have is in the ISA
 * string of their model. */
#include "user/linux/riscv.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "user/linux/syscall.h"
#include "user/process.h"

/* ---- extensions ---- */

/* Extensions that are part of others. */
static const char *const contained[][2] = {
    {"zaamo", "a"},   {"zalrsc", "a"},  {"zca", "c"},     {"zfhmin", "zfh"}, {"zbkb", "zkn"}, {"zbkc", "zkn"},
    {"zbkx", "zkn"},  {"zknd", "zkn"},  {"zkne", "zkn"},  {"zknh", "zkn"},   {"zbkb", "zks"}, {"zbkc", "zks"},
    {"zbkx", "zks"},  {"zksed", "zks"}, {"zksh", "zks"},
};

static bool names(const char *isa, const char *extension)
{
    size_t n = strlen(extension), base = strcspn(isa, "_");
    if (n == 1) /* behind "rv64" */
        return base > 4 && memchr(isa + 4, *extension, base - 4);
    for (const char *s = isa + base; *s; s += strcspn(s, "_")) {
        s++;
        if (strcspn(s, "_") == n && !strncmp(s, extension, n))
            return true;
    }
    return false;
}

bool riscv_isa_has(const char *isa, const char *extension)
{
    if (names(isa, extension))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(contained); i++) {
        if (!strcmp(contained[i][0], extension) && names(isa, contained[i][1]))
            return true;
    }
    /* The compressed loads and stores of floating point come with C and D, those of floats on 32 bits only. */
    if (!strcmp(extension, "zcd"))
        return names(isa, "c") && names(isa, "d");
    if (!strcmp(extension, "zcf"))
        return names(isa, "c") && names(isa, "f") && !strncmp(isa, "rv32", 4);
    return false;
}

/* By bit; bit 0 is F and D together. */
static const char *const ima_ext_0[64] = {
    NULL,         "c",      "v",      "zba",    "zbb",     "zbs",     "zicboz",   "zbc",
    "zbkb",       "zbkc",   "zbkx",   "zknd",   "zkne",    "zknh",    "zksed",    "zksh",
    "zkt",        "zvbb",   "zvbc",   "zvkb",   "zvkg",    "zvkned",  "zvknha",   "zvknhb",
    "zvksed",     "zvksh",  "zvkt",   "zfh",    "zfhmin",  "zihintntl", "zvfh",   "zvfhmin",
    "zfa",        "ztso",   "zacas",  "zicond", "zihintpause", "zve32x", "zve32f", "zve64x",
    "zve64f",     "zve64d", "zimop",  "zca",    "zcb",     "zcd",     "zcf",      "zcmop",
    "zawrs",      "supm",   "zicntr", "zihpm",  "zfbfmin", "zvfbfmin", "zvfbfwma", "zicbom",
    "zaamo",      "zalrsc", "zabha",  "zalasr", "zicbop",
};

u64 riscv_ima_ext_0(const char *isa)
{
    u64 bits = riscv_isa_has(isa, "f") && riscv_isa_has(isa, "d");
    for (unsigned i = 1; i < 64; i++) {
        if (ima_ext_0[i] && riscv_isa_has(isa, ima_ext_0[i]))
            bits |= 1ull << i;
    }
    return bits;
}

/* ---- riscv_hwprobe ---- */

enum {
    KEY_MVENDORID,
    KEY_MARCHID,
    KEY_MIMPID,
    KEY_BASE_BEHAVIOR,
    KEY_IMA_EXT_0,
    KEY_CPUPERF_0,
    KEY_ZICBOZ_BLOCK_SIZE,
    KEY_HIGHEST_VIRT_ADDRESS,
    KEY_TIME_CSR_FREQ,
    KEY_MISALIGNED_SCALAR_PERF,
    KEY_MISALIGNED_VECTOR_PERF,
    KEY_VENDOR_EXT_THEAD_0,
    KEY_ZICBOM_BLOCK_SIZE,
    KEY_VENDOR_EXT_SIFIVE_0,
    KEY_VENDOR_EXT_MIPS_0,
    KEY_ZICBOP_BLOCK_SIZE,
    KEY_IMA_EXT_1,
    KEYS,
};

#define BASE_BEHAVIOR_IMA      1
#define MISALIGNED_FAST        3
#define VECTOR_UNSUPPORTED     4
#define CACHE_BLOCK            64      /* of cbo.* */
#define TIME_FREQUENCY         10000000 /* of the time CSR */
#define WHICH_CPUS             1
#define CPU_SET_BYTES          128     /* as the kernel's own, for 1024 CPUs */

struct pair {
    s64 key;
    u64 value;
};

static u64 block(const char *isa, const char *extension)
{
    return riscv_isa_has(isa, extension) ? CACHE_BLOCK : 0;
}

/* Vendor, architecture and implementation are 0: "not implemented" in the privileged specification. */
static struct pair probe(const struct process *p, const char *isa, s64 key)
{
    const u64 values[KEYS] = {
        [KEY_BASE_BEHAVIOR] = BASE_BEHAVIOR_IMA,
        [KEY_IMA_EXT_0] = riscv_ima_ext_0(isa),
        [KEY_CPUPERF_0] = MISALIGNED_FAST,
        [KEY_ZICBOZ_BLOCK_SIZE] = block(isa, "zicboz"),
        [KEY_HIGHEST_VIRT_ADDRESS] = p->space.top - 1,
        [KEY_TIME_CSR_FREQ] = TIME_FREQUENCY,
        [KEY_MISALIGNED_SCALAR_PERF] = MISALIGNED_FAST,
        [KEY_MISALIGNED_VECTOR_PERF] = VECTOR_UNSUPPORTED,
        [KEY_ZICBOM_BLOCK_SIZE] = block(isa, "zicbom"),
        [KEY_ZICBOP_BLOCK_SIZE] = block(isa, "zicbop"),
    };
    return key >= 0 && key < KEYS ? (struct pair){key, values[key]} : (struct pair){-1, 0};
}

/* Is a bit set of the value, and not the value itself, what a CPU is asked for? */
static bool is_mask(s64 key)
{
    return key == KEY_BASE_BEHAVIOR || key == KEY_IMA_EXT_0 || key == KEY_CPUPERF_0 ||
           key == KEY_VENDOR_EXT_THEAD_0 || key == KEY_VENDOR_EXT_SIFIVE_0 ||
           key == KEY_VENDOR_EXT_MIPS_0 || key == KEY_IMA_EXT_1;
}

static void online_cpus(u8 *set)
{
    memset(set, 0, CPU_SET_BYTES);
    for (long i = 0, n = sysconf(_SC_NPROCESSORS_ONLN); i < n && i < 8 * CPU_SET_BYTES; i++)
        set[i / 8] |= (u8)(1 << i % 8);
}

static bool is_empty(const u8 *set)
{
    u8 any = 0;
    for (unsigned i = 0; i < CPU_SET_BYTES; i++)
        any |= set[i];
    return !any;
}

struct probing {
    struct thread *thread;
    const char *isa;
    u64 pairs, count;
    u64 cpus, cpus_size;
};

/* Give each key its value. */
static s64 get_values(const struct probing *q)
{
    struct space *sp = &q->thread->process->space;
    u8 online[CPU_SET_BYTES], set[CPU_SET_BYTES] = {0};
    if (q->cpus || q->cpus_size) {
        online_cpus(online);
        if (!space_read(sp, set, q->cpus, MIN(q->cpus_size, sizeof(set))))
            return -EFAULT;
        for (unsigned i = 0; i < sizeof(set); i++)
            set[i] &= online[i];
        if (is_empty(set))
            return -EINVAL;
    }
    for (u64 i = 0; i < q->count; i++) {
        struct pair pair;
        if (!space_read(sp, &pair, q->pairs + i * sizeof(pair), sizeof(pair.key)))
            return -EFAULT;
        pair = probe(q->thread->process, q->isa, pair.key);
        if (!space_write(sp, q->pairs + i * sizeof(pair), &pair, sizeof(pair)))
            return -EFAULT;
    }
    return 0;
}

/* Leave those CPUs of the set whose keys have these values: all, or none. */
static s64 get_cpus(const struct probing *q)
{
    struct space *sp = &q->thread->process->space;
    u8 online[CPU_SET_BYTES], set[CPU_SET_BYTES] = {0};
    size_t size = MIN(q->cpus_size, sizeof(set));
    bool all = true;
    if (!q->cpus_size || !q->cpus)
        return -EINVAL;
    if (!space_read(sp, set, q->cpus, size))
        return -EFAULT;
    online_cpus(online);
    bool every = is_empty(set);
    for (unsigned i = 0; i < size; i++)
        set[i] = every ? online[i] : set[i] & online[i];
    for (u64 i = 0; i < q->count; i++) {
        struct pair pair, has;
        if (!space_read(sp, &pair, q->pairs + i * sizeof(pair), sizeof(pair)))
            return -EFAULT;
        has = probe(q->thread->process, q->isa, pair.key);
        all &= has.key >= 0 &&
               (is_mask(has.key) ? (has.value & pair.value) == pair.value : has.value == pair.value);
        if (has.key < 0 && !space_write(sp, q->pairs + i * sizeof(pair), &has, sizeof(has)))
            return -EFAULT;
    }
    if (!all)
        memset(set, 0, sizeof(set));
    return space_write(sp, q->cpus, set, size) ? 0 : -EFAULT;
}

static void isa_string(struct vcpu *cpu, char *text, size_t size)
{
    *text = 0;
    if (cpu->isa->describe)
        cpu->isa->describe(cpu, text, size);
}

s64 sys_riscv_hwprobe(struct thread *t, const u64 *a)
{
    char isa[512];
    isa_string(t->cpu, isa, sizeof(isa));
    const struct probing q = {t, isa, a[0], a[1], a[3], a[2]};
    if (a[4] & ~(u64)WHICH_CPUS)
        return -EINVAL;
    return a[4] & WHICH_CPUS ? get_cpus(&q) : get_values(&q);
}

/* ---- riscv_flush_icache ---- */

#define FLUSH_ICACHE_LOCAL 1 /* this thread alone needs to see it; the others may */

/* Today's kernels look at the flags alone and flush everything, but callers say what they have changed: programs
 * that make code keep the translations of the rest. An empty range means everything. */
s64 sys_riscv_flush_icache(struct thread *t, const u64 *a)
{
    struct process *p = t->process;
    if (a[2] & ~(u64)FLUSH_ICACHE_LOCAL)
        return -EINVAL;
    if (a[0] < a[1])
        space_code_changed(&p->space, a[0], a[1] - a[0]);
    else
        space_code_changed(&p->space, 0, ~0ull);
    return 0;
}

/* ---- /proc/cpuinfo ---- */

void riscv_cpuinfo(FILE *out, unsigned n, struct vcpu *cpu)
{
    char isa[512];
    isa_string(cpu, isa, sizeof(isa));
    fprintf(out, "processor\t: %u\nhart\t\t: %u\nisa\t\t: %s\nmmu\t\t: %s\nuarch\t\t: lyrebird,lyre\n", n, n, isa,
            !strncmp(isa, "rv32", 4) ? "sv32" : "sv48");
    fprintf(out, "mvendorid\t: 0x0\nmarchid\t\t: 0x0\nmimpid\t\t: 0x0\nhart isa\t: %s\n\n", isa);
}
