/* Performance monitors: what registers keep, what EL0 may reach, and counting. Beside the peer, so that times are not
 * printed, but what follows from them. One line for each try. */
#include "bare.h"

enum { VALUES = 12 };

#define E      1ul /* PMCR_EL0 */
#define P      2ul
#define C      4ul
#define LC     64ul
#define CYCLES 0x11
#define MS     62500ul /* of CNTVCT_EL0 */

static u64 state = 0x5a5a1234;

#define REGISTER(name)                                                                             \
    void do_##name(u64 arg);                                                                       \
    __asm__(".text\n.balign 64\n.globl do_" #name "\ndo_" #name ":\n"                              \
            "msr " #name ", x0\nisb\nmrs x1, " #name "\nsvc #1\n");

#define ALL(X)                                                                                     \
    X(pmevcntr0_el0) X(pmevcntr5_el0) X(pmevtyper0_el0) X(pmevtyper5_el0) X(pmxevcntr_el0) X(pmxevtyper_el0)           \
    X(pmselr_el0) X(pmccntr_el0) X(pmccfiltr_el0) X(pmcntenset_el0) X(pmcntenclr_el0) X(pmintenset_el1)                 \
    X(pmovsset_el0) X(pmovsclr_el0) X(pmceid0_el0) X(pmceid1_el0)

ALL(REGISTER)

static const struct move registers[] = {ALL(MOVE)};

static void clear(void)
{
    WRITE(pmcr_el0, P | C);
    WRITE(pmcntenclr_el0, ~0ul);
    WRITE(pmintenclr_el1, ~0ul);
    WRITE(pmovsclr_el0, ~0ul);
    WRITE(pmccfiltr_el0, 0);
    WRITE(pmselr_el0, 3);
}

static void keep(u64 user)
{
    for (u64 i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {
        for (u64 k = 0; k < VALUES; k++) {
            u64 v = k == 0 ? 0 : k == 1 ? ~0ul : next_random(&state);
            clear();
            call_el0((u64)registers[i].f, v, user ? EL0_MASKED : 0x3c5);
            put(registers[i].name);
            put_value("value", v);
            if (trap.esr != 0x56000001)
                put_value("esr", trap.esr);
            else
                put_value("read", trap.x1);
            put("\n");
        }
    }
}

void increment(u64 arg);
__asm__(".text\n.balign 64\nincrement:\nmsr pmswinc_el0, x0\nisb\nsvc #1\n");

static void put_counts(const char *what)
{
    put(what);
    put_value("0", (u32)READ(pmevcntr0_el0));
    put_value("1", READ(pmevcntr1_el0));
    put_value("5", READ(pmevcntr5_el0));
    put_value("overflows", READ(pmovsset_el0));
    put("\n");
}

/* What software counts, at both levels. */
static void software(void)
{
    for (u64 i = 0; i < 400; i++) {
        u64 r = next_random(&state), user = r & 1;
        clear();
        WRITE(pmevcntr0_el0, r >> 1 & 1 ? 0xffffffff : r >> 8);
        WRITE(pmevtyper0_el0, (r >> 2 & 3) << 30);
        WRITE(pmevtyper1_el0, (r >> 4 & 3) << 30);
        WRITE(pmevtyper5_el0, r >> 6 & 1 ? CYCLES : 0);
        WRITE(pmcntenset_el0, next_random(&state) & 3);
        WRITE(pmcr_el0, r >> 7 & 1 ? E : 0);
        WRITE(pmuserenr_el0, 2 * (r >> 9 & 1));
        if (user)
            call_el0((u64)increment, next_random(&state) & 0x23, EL0_MASKED);
        else
            call_el1(increment, next_random(&state) & 0x23);
        put_value("r", r & 0x3ff);
        put_value("esr", trap.esr);
        put_counts("");
    }
    WRITE(pmuserenr_el0, 0);
}

static void spend(u64 rounds)
{
    __asm__ volatile("0: subs %0, %0, #1\nb.ne 0b" : "+r"(rounds)::"cc");
}

/* Until the counter is there. */
void wait_user(u64 until);
__asm__(".text\n.balign 64\nwait_user:\n0: mrs x1, cntvct_el0\ncmp x1, x0\nb.lo 0b\nsvc #1\n");

static u64 read_cycles(u64 event)
{
    return event ? READ(pmevcntr2_el0) : READ(pmccntr_el0);
}

/* Cycles that pass while EL0 waits for two milliseconds; the least of some tries, as the host may take its time. */
static u64 cycles_at_el0(u64 event)
{
    u64 least = ~0ul;
    for (u64 i = 0; i < 5; i++) {
        u64 before = read_cycles(event);
        call_el0((u64)wait_user, READ(cntvct_el0) + 2 * MS, EL0_MASKED);
        u64 passed = read_cycles(event) - before;
        least = passed < least ? passed : least;
    }
    return least;
}

/* Does it count there? */
static void cycles(void)
{
    WRITE(cntkctl_el1, 2);
    for (u64 try = 0; try < 8; try++) {
        u64 event = try & 1, filter = try >> 1;
        clear();
        WRITE(pmccfiltr_el0, filter << 30);
        WRITE(pmevtyper2_el0, filter << 30 | CYCLES);
        WRITE(pmcntenset_el0, event ? 4 : 1ul << 31);
        WRITE(pmcr_el0, E | LC);
        u64 first = read_cycles(event);
        spend(1000);
        u64 second = read_cycles(event), user = cycles_at_el0(event);
        WRITE(pmcr_el0, LC);
        u64 last = read_cycles(event);
        spend(1000);
        put_value("event", event);
        put_value("filter", filter);
        put_value("el1", second > first);
        put_value("el0", user > 1000000);
        put_value("stands", read_cycles(event) == last);
        put("\n");
    }
    WRITE(cntkctl_el1, 0);
}

/* Counters of 32 bits that pass their end, and those of 64. */
static void overflows(void)
{
    for (u64 i = 0; i < 4; i++) {
        clear();
        WRITE(pmevtyper2_el0, CYCLES);
        WRITE(pmcr_el0, i & 1 ? LC : 0);
        WRITE(pmccntr_el0, i & 2 ? 0xfffff000 : 0xfffffffffffff000);
        WRITE(pmevcntr2_el0, 0xfffff000);
        WRITE(pmcntenset_el0, 4 | 1ul << 31);
        WRITE(pmcr_el0, E | (i & 1 ? LC : 0));
        u64 start = READ(cntvct_el0), wanted = 4 | (i == 3 ? 0 : 1ul << 31); /* the peer takes its time */
        while (READ(pmovsset_el0) != wanted && READ(cntvct_el0) < start + 2000 * MS)
            ;
        put_value("overflow", i);
        put_value("flags", READ(pmovsset_el0));
        put_value("high", READ(pmccntr_el0) >> 32);
        put("\n");
    }
}

void main(void)
{
    keep(0);
    for (u64 bit = 0; bit < 16; bit = bit ? bit << 1 : 1) {
        WRITE(pmuserenr_el0, bit);
        keep(1);
    }
    WRITE(pmuserenr_el0, 0);
    software();
    cycles();
    overflows();
    clear();
}
