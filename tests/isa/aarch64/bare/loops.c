/* Interrupts are taken within a millisecond of virtual time in any loop, at both levels: each loop runs until the timer
 * ends it. Some tries of many must be in time, as the host may have other things to do. Prints TAP. */
#include "tap.h"

enum { TRIES = 100, IN_TIME = 6 };

#define MS       62500ul /* of CNTVCT_EL0 */
#define EL1_OPEN 0x345ul /* SPSR: EL1, IRQ not masked */
#define EL0_OPEN 0x340ul

u64 word[2]; /* what loops touch */

#define LOOP(name, text)                                                                           \
    void name(u64 arg);                                                                            \
    __asm__(".text\n.balign 64\n.globl " #name "\n" #name ":\n" text)
#define FAR_PAGE ".balign 4096\n"

LOOP(itself, "b .\n");
LOOP(counting, "0: add x1, x1, #1\ncbnz x0, 0b\n");
LOOP(nested, "0: mov x2, #100\n1: subs x2, x2, #1\nb.ne 1b\nadd x1, x1, #1\nb 0b\n");
LOOP(calling, "0: bl 1f\nb 0b\n1: add x1, x1, #1\nret\n");
LOOP(calling_by_register, "adr x2, 1f\n0: blr x2\nb 0b\n1: add x1, x1, #1\nret\n");
LOOP(jumping, "adr x2, 0f\n0: add x1, x1, #1\nbr x2\n");
LOOP(returning, "adr x2, 0f\n0: add x1, x1, #1\nret x2\n");
LOOP(far_jumps, FAR_PAGE "0: b 1f\n" FAR_PAGE "1: add x1, x1, #1\nb 0b\n");
LOOP(far_calls, FAR_PAGE "0: bl 1f\nb 0b\n" FAR_PAGE "1: add x1, x1, #1\nret\n");
LOOP(forward, FAR_PAGE "adr x3, 0f\n0: cbz x0, 1f\n1: tbnz x1, #3, 2f\n2: add x1, x1, #1\ncbnz x0, 3f\n3: br x3\n");
LOOP(recursion, "mov x3, x30\n0: mov x2, #50\n1: bl 2f\nb 0b\n2: subs x2, x2, #1\nb.eq 3f\nb 1b\n3: ret\n");
LOOP(memory, "ldr x2, =word\n0: ldr x1, [x2]\nadd x1, x1, #1\nstr x1, [x2]\nb 0b\n.ltorg\n");
LOOP(spinning, "ldr x2, =word\nadd x2, x2, #8\n0: ldaxr x1, [x2]\ncbz x1, 0b\nb 0b\n.ltorg\n");
LOOP(floating, "fmov d0, #1.0\nfmov d1, d0\n0: fadd d1, d1, d0\nb 0b\n");
LOOP(synchronising, "0: isb\ndsb sy\nb 0b\n");
LOOP(masking, "0: msr daifset, #2\nadd x1, x1, #1\nmsr daifclr, #2\nb 0b\n");
LOOP(reading, "0: mrs x1, cntvct_el0\nb 0b\n");
LOOP(returning_from_exceptions, "adr x2, 0f\nmov x3, #0x345\n0: msr elr_el1, x2\nmsr spsr_el1, x3\neret\n");

static const struct loop {
    const char *name;
    void (*f)(u64);
    u64 kernel; /* alone */
} loops[] = {
#define L(name) {#name, name, 0}
    L(itself), L(counting), L(nested), L(calling), L(calling_by_register), L(jumping), L(returning), L(far_jumps), L(far_calls),
    L(forward), L(recursion), L(spinning), L(floating), L(synchronising), L(reading),
    {"memory", memory, 1}, {"masking", masking, 1}, {"returning_from_exceptions", returning_from_exceptions, 1},
};

static u64 lateness(const struct loop *l, u64 spsr)
{
    u64 until = READ(cntvct_el0) + MS;
    WRITE(cntv_cval_el0, until);
    WRITE(cntv_ctl_el0, 1);
    call_el0((u64)l->f, 1, spsr);
    u64 late = READ(cntvct_el0) - until;
    WRITE(cntv_ctl_el0, 0);
    return trap.vector == 5 || trap.vector == 9 ? late : ~0ul;
}

static void try(const struct loop *l, u64 spsr)
{
    u64 good = 0;
    for (u64 i = 0; i < TRIES && good < IN_TIME; i++)
        good += lateness(l, spsr) < MS;
    check(l->name, good == IN_TIME);
}

void main(void)
{
    WRITE(cntkctl_el1, 2);
    for (u64 i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
        try(&loops[i], EL1_OPEN);
        if (!loops[i].kernel)
            try(&loops[i], EL0_OPEN);
    }
    put_plan();
}
