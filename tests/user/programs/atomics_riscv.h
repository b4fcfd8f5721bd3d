/* Exclusives and the atomic instructions of the A extension, for atomics.c. */

/* An addition of one, by an instruction and by exclusives. */
#define AMOADD(name, op)                                                                           \
    static void name(long me)                                                                      \
    {                                                                                              \
        __asm__ volatile("li t0, 1\n " op " t1, t0, (%0)" ::"r"(&at) : "t0", "t1", "memory");      \
    }
#define EXCLUSIVE(name, lr, sc)                                                                    \
    static void name(long me)                                                                      \
    {                                                                                              \
        __asm__ volatile("1: " lr " t0, (%0)\n addi t0, t0, 1\n " sc " t1, t0, (%0)\n bnez t1, 1b" \
                         ::"r"(&at)                                                                \
                         : "t0", "t1", "memory");                                                  \
    }

AMOADD(add32, "amoadd.w")
AMOADD(add32_aq, "amoadd.w.aq")
AMOADD(add64, "amoadd.d")
AMOADD(add64_aqrl, "amoadd.d.aqrl")
EXCLUSIVE(excl32, "lr.w", "sc.w")
EXCLUSIVE(excl32_aqrl, "lr.w.aq", "sc.w.rl")
EXCLUSIVE(excl64, "lr.d", "sc.d")
EXCLUSIVE(excl64_aqrl, "lr.d.aqrl", "sc.d.aqrl")

/* Two halves that always count together: a word that takes part of them would be torn. */
static void halves(long me)
{
    uint64_t old;
    __asm__ volatile("amoadd.d %0, %1, (%2)" : "=r"(old) : "r"(0x100000001), "r"(&at) : "memory");
    wrong += (uint32_t)old != old >> 32;
}

/* Each thread counts in a byte of its own, by exclusives on the word around it, and writes the whole without a
 * change by others of twice the size. */
static void neighbours(long me)
{
    long one = 1l << (8 * me), byte = 255l << (8 * me);
    __asm__ volatile("1: lr.w t0, (%0)\n add t1, t0, %1\n xor t1, t1, t0\n and t1, t1, %2\n xor t0, t0, t1\n"
                     "sc.w t1, t0, (%0)\n bnez t1, 1b\n"
                     "2: lr.d t0, (%0)\n sc.d t1, t0, (%0)\n bnez t1, 2b" ::"r"(&at), "r"(one), "r"(byte)
                     : "t0", "t1", "memory");
}

#define AMO(name, op)                                                                              \
    static uint32_t name(uint32_t *p, uint32_t v)                                                  \
    {                                                                                              \
        uint32_t old;                                                                              \
        __asm__ volatile(op " %0, %1, (%2)" : "=r"(old) : "r"(v), "r"(p) : "memory");              \
        return old;                                                                                \
    }

AMO(set_bits, "amoor.w.aqrl")
AMO(and_bits, "amoand.w.aqrl")
AMO(flip_bits, "amoxor.w")
AMO(swap, "amoswap.w.aqrl")
AMO(signed_maximum, "amomax.w.aqrl")
AMO(unsigned_minimum, "amominu.w")
AMO(add, "amoadd.w.aq")

static uint32_t clear_bits(uint32_t *p, uint32_t bits)
{
    return and_bits(p, ~bits);
}

static uint32_t take_ticket(uint32_t *p)
{
    return add(p, 1);
}

static uint32_t load_acquire(uint32_t *p)
{
    uint32_t v;
    __asm__ volatile("lw %0, (%1)\n fence r, rw" : "=r"(v) : "r"(p) : "memory");
    return v;
}

static void store_release(uint32_t *p, uint32_t v)
{
    __asm__ volatile("fence rw, w\n sw %0, (%1)" ::"r"(v), "r"(p) : "memory");
}

static void spin_lock(long me)
{
    __asm__ volatile("1: lr.w.aq t0, (%0)\n bnez t0, 1b\n sc.w t0, %1, (%0)\n bnez t0, 1b\n"
                     "ld t0, 0(%2)\n addi t0, t0, 1\n sd t0, 0(%2)\n amoswap.w.rl zero, zero, (%0)" ::"r"(&at),
                     "r"(1), "r"(&guarded)
                     : "t0", "memory");
}

static const struct test tests[] = {
    {"amoadd, 32 bits", add32, {1}, ~0u},
    {"amoadd.aq, 32 bits", add32_aq, {1}, ~0u},
    {"amoadd, 64 bits", add64, {1}, ~0ul},
    {"amoadd.aqrl, 64 bits", add64_aqrl, {1}, ~0ul},
    {"exclusives, 32 bits", excl32, {1}, ~0u},
    {"exclusives with order, 32 bits", excl32_aqrl, {1}, ~0u},
    {"exclusives, 64 bits", excl64, {1}, ~0ul},
    {"exclusives with order, 64 bits", excl64_aqrl, {1}, ~0ul},
    {"two halves", halves, {0x100000001}, ~0ul},
};
