/* Branch target identification: indirect branches and returns between pages that are guarded or not, to each kind of
 * instruction. One line for each try. */
#include "pages.h"

enum { ROUNDS = 2500, STRIDE = 32 };

#define GUARDED (1ul << 50)
#define BT0     (1ul << 35) /* SCTLR_EL1; BT1 is the next one */

static u64 state = 0x97531eca;

/* From x0, and to it; each STRIDE bytes long. */
extern const char branches[], branches_end[], pads[], pads_end[];
__asm__(".arch_extension pauth\n.text\n.balign 32\nbranches:\n"
        "br x0\n.balign 32\n"
        "mov x16, x0\nbr x16\n.balign 32\n"
        "mov x17, x0\nbr x17\n.balign 32\n"
        "blr x0\n.balign 32\n"
        "mov x17, x0\nblr x17\n.balign 32\n"
        "ret x0\n.balign 32\n"
        "mov x2, #3\n0: subs x2, x2, #1\nb.ne 0b\nbr x0\n.balign 32\n"
        "branches_end:\n"
        "pads:\n"
        "nop\nbrk #1\n.balign 32\n"
        "hint #32\nbrk #1\n.balign 32\n" /* bti */
        "hint #34\nbrk #1\n.balign 32\n" /* bti c */
        "hint #36\nbrk #1\n.balign 32\n" /* bti j */
        "hint #38\nbrk #1\n.balign 32\n" /* bti jc */
        "paciasp\nbrk #1\n.balign 32\n"
        "pacibsp\nbrk #1\n.balign 32\n"
        "autiasp\nbrk #1\n.balign 32\n"
        "brk #7\nbrk #1\n.balign 32\n"
        "mov x1, x0\nbrk #1\n.balign 32\n"
        "pads_end:\n");

static u64 random(u64 below)
{
    return next_random(&state) % below;
}

static void copy(void *to, const char *from, const char *end)
{
    for (u64 i = 0; from + i < end; i++)
        ((volatile char *)to)[i] = from[i];
}

/* Pages 0 and 1 have the branches, 2 and 3 the pads; the odd ones are guarded. The peer keeps what it has translated of a
 * page when that becomes guarded. */
static void map(void)
{
    for (u64 i = 0; i < PAGES; i++) {
        copy(memory[i], i < 2 ? branches : pads, i < 2 ? branches_end : pads_end);
        leaves[i] = (u64)memory[i] | LEAF | (i & 1 ? GUARDED : 0);
    }
}

static void show(void)
{
    put_value("esr", trap.esr);
    put_value("spsr", trap.spsr);
    put_value("elr", trap.elr - UPPER);
    if (trap.esr >> 27 == 0x10 || trap.esr >> 26 == 0x22)
        put_value("far", trap.far - UPPER);
    put("\n");
}

static u64 random_pad(void)
{
    return UPPER + (2 + random(2)) * PAGE + random((u64)(pads_end - pads) / STRIDE) * STRIDE;
}

static void try(u64 sctlr)
{
    u64 branch = random((u64)(branches_end - branches) / STRIDE) * STRIDE + random(2) * PAGE, to = random_pad();
    u64 level = random(2) ? 0x3c5 : 0x3c0, strict = random(4);
    if (!random(30))
        to += 2;
    else if (!random(30))
        to += PAGES * PAGE; /* nothing is there */
    WRITE(sctlr_el1, sctlr | 1 | strict * BT0);
    for (u64 i = 0; i < 3; i++) {
        put_value("branch", branch);
        put_value("strict", strict);
        put_value("level", level);
        put_value("to", to - UPPER);
        call_el0(UPPER + branch, to, level);
        show();
    }
}

/* SPSR.BTYPE. */
static void try_return(void)
{
    u64 type = random(4), level = random(2) ? 0x3c5 : 0x3c0, to = random_pad();
    put_value("return", type);
    put_value("level", level);
    put_value("to", to - UPPER);
    call_el0(to, 0, level | type << 10);
    show();
}

void main(void)
{
    u64 sctlr = READ(sctlr_el1) & ~(1ul << 3 | 1ul << 4);
    map();
    start_translation(sctlr);
    call_el0(UPPER + 3 * PAGE + STRIDE, 0, EL0_MASKED); /* from here on it is known that there are guarded pages */
    for (u64 i = 0; i < ROUNDS; i++) {
        try(sctlr);
        try_return();
    }
    WRITE(sctlr_el1, sctlr);
}
