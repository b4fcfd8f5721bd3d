/* Exclusives and the atomic instructions of Armv8.1, for atomics.c. */

/* An addition of one; `r` is the kind of register, by which the assembler knows the size. */
#define LDADD(name, op, r)                                                                         \
    static void name(long me)                                                                      \
    {                                                                                              \
        __asm__ volatile("mov x9, #1\n " op " " r "9, " r "10, [%0]" ::"r"(&at)                    \
                         : "x9", "x10", "memory");                                                 \
    }
#define EXCLUSIVE(name, ld, st, reg)                                                               \
    static void name(long me)                                                                      \
    {                                                                                              \
        __asm__ volatile("1: " ld " " reg "9, [%0]\n add x9, x9, #1\n " st " w10, " reg "9, [%0]\n" \
                         "cbnz w10, 1b" ::"r"(&at)                                                 \
                         : "x9", "x10", "memory");                                                 \
    }
#define CAS(name, ld, op, reg)                                                                     \
    static void name(long me)                                                                      \
    {                                                                                              \
        __asm__ volatile("1: " ld " " reg "9, [%0]\n mov x10, x9\n add x11, x9, #1\n"              \
                         op " " reg "9, " reg "11, [%0]\n cmp x9, x10\n b.ne 1b" ::"r"(&at)        \
                         : "x9", "x10", "x11", "cc", "memory");                                    \
    }

#define X "x"
#define W "w"

LDADD(ldadd8, "ldaddb", W)
LDADD(ldadd16, "ldaddalh", W)
LDADD(ldadd32, "ldadda", W)
LDADD(ldadd64, "ldaddl", X)
EXCLUSIVE(excl8, "ldxrb", "stxrb", W)
EXCLUSIVE(excl16, "ldaxrh", "stlxrh", W)
EXCLUSIVE(excl32, "ldxr", "stlxr", W)
EXCLUSIVE(excl64, "ldaxr", "stxr", X)
CAS(cas8, "ldrb", "casb", W)
CAS(cas16, "ldrh", "casalh", W)
CAS(cas32, "ldr", "casa", W)
CAS(cas64, "ldr", "casl", X)

/* Both halves count together: any other thread's pair would be torn. */
static void pair_exclusive(long me)
{
    uint64_t a, b;
    __asm__ volatile("1: ldaxp %0, %1, [%2]\n add x9, %0, #1\n add x10, %1, #1\n"
                     "stlxp w11, x9, x10, [%2]\n cbnz w11, 1b"
                     : "=&r"(a), "=&r"(b)
                     : "r"(&at)
                     : "x9", "x10", "x11", "memory");
    wrong += a != b;
}

static void pair_cas(long me)
{
    register uint64_t a __asm__("x2") = 0, b __asm__("x3") = 0;
    __asm__ volatile("1: mov x6, x2\n mov x7, x3\n add x4, x2, #1\n add x5, x3, #1\n"
                     "caspal x2, x3, x4, x5, [%2]\n cmp x2, x6\n ccmp x3, x7, #0, eq\n b.ne 1b"
                     : "+r"(a), "+r"(b)
                     : "r"(&at)
                     : "x4", "x5", "x6", "x7", "cc", "memory");
    wrong += a != b;
}

/* Each thread counts in a byte of its own, and writes the whole by exclusives without a change. */
static void neighbours(long me)
{
    __asm__ volatile("ldaddb %w1, w9, [%0]\n 1: ldxr w9, [%2]\n stxr w10, w9, [%2]\n cbnz w10, 1b" ::
                         "r"(&at.b[me]), "r"(1), "r"(&at)
                     : "x9", "x10", "memory");
}

static uint32_t set_bits(uint32_t *p, uint32_t bits)
{
    uint32_t old;
    __asm__ volatile("ldsetal %w1, %w0, [%2]" : "=r"(old) : "r"(bits), "r"(p) : "memory");
    return old;
}

static uint32_t clear_bits(uint32_t *p, uint32_t bits)
{
    uint32_t old;
    __asm__ volatile("ldclral %w1, %w0, [%2]" : "=r"(old) : "r"(bits), "r"(p) : "memory");
    return old;
}

static void flip_bits(uint32_t *p, uint32_t bits)
{
    uint32_t old;
    __asm__ volatile("ldeor %w1, %w0, [%2]" : "=r"(old) : "r"(bits), "r"(p) : "memory");
}

static uint32_t swap(uint32_t *p, uint32_t v)
{
    __asm__ volatile("swpal %w0, %w0, [%1]" : "+r"(v) : "r"(p) : "memory");
    return v;
}

static void signed_maximum(uint32_t *p, int32_t v)
{
    uint32_t old;
    __asm__ volatile("ldsmaxal %w1, %w0, [%2]" : "=r"(old) : "r"(v), "r"(p) : "memory");
}

static void unsigned_minimum(uint32_t *p, uint32_t v)
{
    uint32_t old;
    __asm__ volatile("ldumin %w1, %w0, [%2]" : "=r"(old) : "r"(v), "r"(p) : "memory");
}

static uint32_t take_ticket(uint32_t *p)
{
    uint32_t mine;
    __asm__ volatile("ldadda %w1, %w0, [%2]" : "=r"(mine) : "r"(1), "r"(p) : "memory");
    return mine;
}

static uint32_t load_acquire(uint32_t *p)
{
    uint32_t v;
    __asm__ volatile("ldar %w0, [%1]" : "=r"(v) : "r"(p) : "memory");
    return v;
}

static void store_release(uint32_t *p, uint32_t v)
{
    __asm__ volatile("stlr %w0, [%1]" ::"r"(v), "r"(p) : "memory");
}

static void spin_lock(long me)
{
    __asm__ volatile("sevl\n 1: wfe\n ldaxr w9, [%0]\n cbnz w9, 1b\n stxr w9, %w1, [%0]\n cbnz w9, 1b\n"
                     "ldr x9, [%2]\n add x9, x9, #1\n str x9, [%2]\n stlr wzr, [%0]" ::"r"(&at),
                     "r"(1), "r"(&guarded)
                     : "x9", "memory");
}

static const struct test tests[] = {
    {"ldadd, 8 bits", ldadd8, {1}, 0xff},
    {"ldadd, 16 bits", ldadd16, {1}, 0xffff},
    {"ldadd, 32 bits", ldadd32, {1}, ~0u},
    {"ldadd, 64 bits", ldadd64, {1}, ~0ul},
    {"exclusives, 8 bits", excl8, {1}, 0xff},
    {"exclusives, 16 bits", excl16, {1}, 0xffff},
    {"exclusives, 32 bits", excl32, {1}, ~0u},
    {"exclusives, 64 bits", excl64, {1}, ~0ul},
    {"cas, 8 bits", cas8, {1}, 0xff},
    {"cas, 16 bits", cas16, {1}, 0xffff},
    {"cas, 32 bits", cas32, {1}, ~0u},
    {"cas, 64 bits", cas64, {1}, ~0ul},
    {"exclusive pairs", pair_exclusive, {1, 1}, ~0ul},
    {"caspal", pair_cas, {1, 1}, ~0ul},
};
