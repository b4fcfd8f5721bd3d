/* Breakpoints and watchpoints where the architecture and the peer differ: accesses that are not aligned, the OS lock,
 * contexts alone. Prints TAP. */
#include "tap.h"

enum { ROUNDS = 20000 };

#define DEBUG_MASK (1ul << 9) /* SPSR.D */
#define EL1_OPEN   0x1c5ul    /* SPSR: EL1, debug exceptions enabled */
#define EL0_OPEN   0x1c0ul

#define BREAKPOINT_SAME 0x31
#define WATCHPOINT_SAME 0x35

static u64 flat[512] __attribute__((aligned(4096)));
static u8 memory[8192] __attribute__((aligned(4096)));
static u64 state = 0x97531;

static u64 class_of(u64 esr)
{
    return esr >> 26;
}

#define CODE(name, text)                                                                           \
    void name(u64 arg);                                                                            \
    __asm__(".arch_extension lse\n.text\n.balign 64\n.globl " #name "\n" #name ":\n" text "\nbrk #1\n")

CODE(load_1, "ldrb w2, [x0]");
CODE(load_2, "ldrh w2, [x0]");
CODE(load_4, "ldr w2, [x0]");
CODE(load_8, "ldr x2, [x0]");
CODE(load_16, "ldr q2, [x0]");
CODE(store_1, "strb w0, [x0]");
CODE(store_2, "strh w0, [x0]");
CODE(store_4, "str w0, [x0]");
CODE(store_8, "str x0, [x0]");
CODE(store_16, "fmov d2, x0\nstr q2, [x0]");
CODE(pair_16, "ldp x2, x3, [x0]");
CODE(swap_4, "swp w2, w2, [x0]");
CODE(plain, "mov x1, #0\nadd x1, x1, #1\nadd x1, x1, #2");

static const struct access {
    void (*f)(u64);
    u64 bytes, kind; /* DBGWCR.LSC */
} accesses[] = {
    {load_1, 1, 1}, {load_2, 2, 1}, {load_4, 4, 1}, {load_8, 8, 1}, {load_16, 16, 1}, {pair_16, 16, 1},
    {store_1, 1, 2}, {store_2, 2, 2}, {store_4, 4, 2}, {store_8, 8, 2}, {store_16, 16, 2},
};

static u64 read_byte(u64 at)
{
    return *(volatile u8 *)at;
}

/* The first byte of the access that is watched; 0: none. */
static u64 expected(u64 at, u64 bytes, u64 from, u64 watched)
{
    for (u64 i = at; i < at + bytes; i++) {
        if (i >= from && i < from + watched)
            return i;
    }
    return 0;
}

static void watch(u64 value, u64 control)
{
    WRITE(dbgwcr2_el1, 0);
    WRITE(dbgwvr2_el1, value);
    WRITE(dbgwcr2_el1, control);
}

/* One try; whether it went as it should. */
static u64 try_access(void)
{
    const struct access *a = &accesses[next_random(&state) % (sizeof(accesses) / sizeof(accesses[0]))];
    u64 at = (u64)memory + 4096 - 40 + next_random(&state) % 80, kind = 1 + next_random(&state) % 3;
    u64 word = ((u64)memory + 4096 - 40 + next_random(&state) % 80) & ~3ul, size = word & 4 ? 4 : 8;
    u64 first = next_random(&state) % size, count = 1 + next_random(&state) % (size - first);
    u64 hit = kind & a->kind ? expected(at, a->bytes, word + first, count) : 0;
    memory[at - (u64)memory] = (u8)~at;
    watch(word, ((1ul << count) - 1) << first << 5 | kind << 3 | 3 << 1 | 1);
    call_el0((u64)a->f, at, EL1_OPEN);
    watch(0, 0);
    u64 class = class_of(trap.esr), stored = read_byte(at) == (u8)at;
    if (!hit)
        return class == 0x3c && stored == (a->kind == 2);
    return class == WATCHPOINT_SAME && trap.far == hit && !stored && (trap.esr >> 6 & 1) == (a->kind == 2);
}

static void unaligned(void)
{
    u64 good = 0;
    for (u64 i = 0; i < ROUNDS; i++)
        good += try_access();
    check("accesses of any alignment", good == ROUNDS);
}

/* What ESR says of an atomic instruction. */
static void atomics(void)
{
    u64 at = (u64)memory;
    watch(at, 0xf << 5 | 1 << 3 | 3 << 1 | 1);
    call_el0((u64)swap_4, at, EL1_OPEN);
    check("a swap is caught as a read", class_of(trap.esr) == WATCHPOINT_SAME && !(trap.esr >> 6 & 1));
    watch(at, 0xf << 5 | 2 << 3 | 3 << 1 | 1);
    call_el0((u64)swap_4, at, EL1_OPEN);
    check("or as a write", class_of(trap.esr) == WATCHPOINT_SAME && trap.esr >> 6 & 1);
    watch(at, 0);
}

static void locks(void)
{
    u64 at = (u64)memory;
    watch(at, 0xff << 5 | 3 << 3 | 3 << 1 | 1);
    WRITE(oslar_el1, 1);
    call_el0((u64)load_8, at, EL1_OPEN);
    check("the OS lock", READ(oslsr_el1) == 10 && class_of(trap.esr) == 0x3c);
    WRITE(oslar_el1, 0);
    call_el0((u64)load_8, at, EL1_OPEN | DEBUG_MASK);
    check("PSTATE.D", class_of(trap.esr) == 0x3c);
    call_el0((u64)load_8, at, EL1_OPEN);
    check("neither", class_of(trap.esr) == WATCHPOINT_SAME);
    watch(at, 0);
}

/* A breakpoint for all instructions in a context. */
static void contexts(void)
{
    WRITE(contextidr_el1, 5);
    WRITE(dbgbvr4_el1, 5);
    WRITE(dbgbcr4_el1, 2ul << 20 | 0xf << 5 | 2 << 1 | 1);
    call_el0((u64)plain, 0, EL1_OPEN);
    check("not at EL1", class_of(trap.esr) == 0x3c && trap.x1 == 3);
    call_el0((u64)plain, 0, EL0_OPEN);
    check("the first instruction", class_of(trap.esr) == BREAKPOINT_SAME - 1 && trap.elr == (u64)plain);
    WRITE(contextidr_el1, 6);
    call_el0((u64)plain, 0, EL0_OPEN);
    check("another context", class_of(trap.esr) == 0x3c && trap.x1 == 3);
    WRITE(dbgbcr4_el1, 0);
}

/* Breakpoints come before other exceptions, but behind software step. */
static void priorities(void)
{
    WRITE(dbgbvr0_el1, (u64)plain + 12);
    WRITE(dbgbcr0_el1, 0xf << 5 | 3 << 1 | 1);
    call_el0((u64)plain, 0, EL1_OPEN);
    check("at a BRK", class_of(trap.esr) == BREAKPOINT_SAME && trap.elr == (u64)plain + 12);
    WRITE(dbgbvr0_el1, (u64)plain);
    call_el0((u64)plain, 0, EL1_OPEN | 1ul << 20);
    check("in an illegal state", class_of(trap.esr) == BREAKPOINT_SAME);
    WRITE(mdscr_el1, READ(mdscr_el1) | 1);
    call_el0((u64)plain, 0, EL1_OPEN);
    check("behind a step", class_of(trap.esr) == 0x33);
    call_el0((u64)plain, 0, EL1_OPEN | 1ul << 21);
    check("before the stepped instruction", class_of(trap.esr) == BREAKPOINT_SAME && trap.spsr >> 21 & 1);
    WRITE(mdscr_el1, READ(mdscr_el1) & ~1ul);
    WRITE(dbgbcr0_el1, 0);
}

/* Addresses are the memory's. */
static void start(void)
{
    flat[0] = 1ul << 10 | 1; /* the console: device memory */
    flat[1] = 0x40000000ul | 1ul << 10 | 3ul << 8 | 1ul << 2 | 1;
    WRITE(mair_el1, 0xff00);
    WRITE(ttbr0_el1, (u64)flat);
    WRITE(tcr_el1, 25ul | 1ul << 23 | 5ul << 32);
    __asm__ volatile("dsb sy\ntlbi vmalle1\ndsb sy\nisb" ::: "memory");
    WRITE(sctlr_el1, READ(sctlr_el1) | 1);
    WRITE(oslar_el1, 0);
    WRITE(mdscr_el1, 1ul << 15 | 1ul << 13);
}

void main(void)
{
    start();
    unaligned();
    atomics();
    locks();
    contexts();
    priorities();
    put_plan();
}
