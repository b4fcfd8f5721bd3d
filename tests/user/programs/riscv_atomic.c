/* The A extension at the edges: what each operation leaves, reservations, addresses that are not aligned.
 * guest: riscv64
 * link: static
 * peer: it carries out atomics that are not aligned */
#include "riscv_check.h"

#include <setjmp.h>

static _Alignas(16) uint64_t place[2];

/* What the instruction returns; memory is left in `place`. */
#define AMO(insn, before, operand)                                                                 \
    ({                                                                                             \
        uint64_t d_;                                                                               \
        place[0] = (before);                                                                       \
        __asm__ volatile(insn " %0, %1, (%2)" : "=&r"(d_) : "r"((uint64_t)(operand)), "r"(place) : "memory"); \
        d_;                                                                                        \
    })

static void amo(const char *name, uint64_t got, uint64_t want, uint64_t memory)
{
    check(name, got, want);
    check(name, place[0], memory);
}

/* Words: the result is sign-extended, and what lies beside them stays. */
static void operations(void)
{
    const uint64_t a = 0x55555555fffffff0, old = 0xfffffffffffffff0;
    amo("amoswap.w", AMO("amoswap.w", a, 7), old, 0x5555555500000007);
    amo("amoadd.w", AMO("amoadd.w", a, 0x20), old, 0x5555555500000010);
    amo("amoxor.w", AMO("amoxor.w", a, -1), old, 0x555555550000000f);
    amo("amoand.w", AMO("amoand.w", a, 0xff), old, 0x55555555000000f0);
    amo("amoor.w", AMO("amoor.w", a, 0xf), old, 0x55555555ffffffff);
    amo("amomin.w", AMO("amomin.w", a, 1), old, a);
    amo("amomin.w, upper half", AMO("amomin.w", a, 0xffffffff80000000), old, 0x5555555580000000);
    amo("amomax.w", AMO("amomax.w", a, 1), old, 0x5555555500000001);
    amo("amomax.w, upper half", AMO("amomax.w", a, MIN64 | 5), old, 0x5555555500000005);
    amo("amominu.w", AMO("amominu.w", a, 0x100000001), old, 0x5555555500000001);
    amo("amomaxu.w", AMO("amomaxu.w", a, 1), old, a);
    amo("amoswap.d", AMO("amoswap.d", 5, 7), 5, 7);
    amo("amoadd.d", AMO("amoadd.d", ALL, 1), ALL, 0);
    amo("amoxor.d", AMO("amoxor.d", 0xf0, -1), 0xf0, ~0xf0ul);
    amo("amoand.d", AMO("amoand.d", 0xff, 0x3c), 0xff, 0x3c);
    amo("amoor.d", AMO("amoor.d", MIN64, 1), MIN64, MIN64 | 1);
    amo("amomin.d", AMO("amomin.d", 0, MIN64), 0, MIN64);
    amo("amomax.d", AMO("amomax.d", MIN64, -1), MIN64, ALL);
    amo("amominu.d", AMO("amominu.d", MIN64, 1), MIN64, 1);
    amo("amomaxu.d", AMO("amomaxu.d", 1, MIN64), 1, MIN64);
    uint64_t v = (uint64_t)place; /* rd may be the address, and the operand */
    place[0] = 3;
    __asm__ volatile("amoadd.d %0, %0, (%0)" : "+r"(v)::"memory");
    check("amoadd.d of its address", v, 3);
    check("amoadd.d of its address", place[0], 3 + (uint64_t)place);
    place[0] = 3;
    __asm__ volatile("amoadd.d zero, %0, (%1)" ::"r"(4ul), "r"(place) : "memory");
    check("amoadd.d to x0", place[0], 7);
}

static uint64_t sc_after(int what)
{
    uint64_t failed, v;
    place[0] = 1;
    switch (what) {
    case 0: /* nothing in between */
        __asm__ volatile("lr.d %1, (%2)\n addi %1, %1, 1\n sc.d %0, %1, (%2)" : "=&r"(failed), "=&r"(v) : "r"(place) : "memory");
        break;
    case 1: /* another value in between */
        __asm__ volatile("lr.d %1, (%2)\n sd zero, 0(%2)\n li %1, 9\n sc.d %0, %1, (%2)" : "=&r"(failed), "=&r"(v) : "r"(place) : "memory");
        break;
    case 2: /* without a reservation: it was used up */
        __asm__ volatile("lr.d %1, (%2)\n sc.d %0, %1, (%2)\n sc.d %0, zero, (%2)" : "=&r"(failed), "=&r"(v) : "r"(place) : "memory");
        break;
    case 3: /* of another place */
        __asm__ volatile("lr.d %1, (%2)\n sc.d %0, %1, (%3)" : "=&r"(failed), "=&r"(v) : "r"(place), "r"(place + 1) : "memory");
        break;
    }
    return failed;
}

static void reservations(void)
{
    check("sc.d", sc_after(0), 0);
    check("sc.d stores", place[0], 2);
    check("sc.d after a store", sc_after(1) != 0, 1);
    check("sc.d leaves it", place[0], 0);
    check("sc.d again", sc_after(2) != 0, 1);
    check("sc.d again leaves it", place[0], 1);
    place[1] = 5;
    check("sc.d elsewhere", sc_after(3) != 0, 1);
    check("sc.d elsewhere leaves it", place[1], 5);
    uint64_t v;
    place[0] = 0x180000000;
    __asm__ volatile("lr.w %0, (%1)" : "=r"(v) : "r"(place) : "memory");
    check("lr.w", v, 0xffffffff80000000);
}

static sigjmp_buf back;
static siginfo_t got;

static void on_signal(int sig, siginfo_t *info, void *uc)
{
    got = *info;
    siglongjmp(back, 1);
}

#define MISALIGNED(insn, at)                                                                       \
    do {                                                                                           \
        memset(&got, 0, sizeof(got));                                                              \
        if (!sigsetjmp(back, 1))                                                                   \
            __asm__ volatile(insn ::"r"(at) : "t0", "memory");                                     \
        check(insn, got.si_signo, SIGBUS);                                                         \
        check(insn " code", got.si_code, BUS_ADRALN);                                              \
        check(insn " address", (uint64_t)got.si_addr, (uint64_t)(at));                             \
        check(insn " leaves it", place[0], 0x0123456789abcdef);                                    \
    } while (0)

static void misaligned(void)
{
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &sa, NULL);
    char *p = (char *)place;
    place[0] = 0x0123456789abcdef;
    MISALIGNED("amoadd.w t0, sp, (%0)", p + 1);
    MISALIGNED("amoswap.w t0, sp, (%0)", p + 2);
    MISALIGNED("amoadd.d t0, sp, (%0)", p + 4);
    MISALIGNED("amomaxu.d t0, sp, (%0)", p + 7);
    MISALIGNED("lr.w t0, (%0)", p + 3);
    MISALIGNED("lr.d t0, (%0)", p + 4);
    MISALIGNED("sc.w t0, sp, (%0)", p + 2);
    MISALIGNED("sc.d t0, sp, (%0)", p + 4);
}

int main(void)
{
    operations();
    reservations();
    misaligned();
    return report();
}
