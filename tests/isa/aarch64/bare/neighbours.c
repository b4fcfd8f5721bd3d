/* Accesses near each other in one block, which translators check together: over the border of two pages that are not
 * neighbours in memory, of which either may be absent or read-only. What was loaded and stored until the exception,
 * and the exception. One line for each try. */
#include "pages.h"

enum { ROUNDS = 400 };

#define READONLY (1ul << 7)

static u64 state = 0x2468ace13579;

SEQUENCE(loads, "ldp x2, x3, [x0]\n" ADD(x2) ADD(x3) "ldp x4, x5, [x0, #16]\n" ADD(x4) ADD(x5) "ldr x6, [x0, #48]\n" ADD(x6)
         "ldrsw x7, [x0, #-12]\n" ADD(x7) "ldrb w8, [x0, #33]\n" ADD(x8) "ldrh w9, [x0, #-40]\n" ADD(x9));
SEQUENCE(stores, "mov x2, #0x1234\nstp x0, x2, [x0]\n" ADD(x2) "strb w2, [x0, #23]\n" ADD(x2) "str x1, [x0, #-24]\n" ADD(x2)
         "stp w1, w2, [x0, #56]\n" ADD(x2) "strh w1, [x0, #40]\n" ADD(x2));
SEQUENCE(mixed, "ldr x2, [x0, #8]\n" ADD(x2) "str x2, [x0, #32]\n" ADD(x2) "ldr x3, [x0, #-8]\n" ADD(x3) "tbz x3, #0, 1f\n"
         "str x1, [x0, #16]\n" "1: ldp x4, x5, [x0, #64]\n" ADD(x4) "str x5, [x0, #-16]\n" ADD(x5));
SEQUENCE(wide, "ldr x2, [x0]\n" ADD(x2) "ldr x3, [x0, #512]\n" ADD(x3) "ldr x4, [x0, #248]\n" ADD(x4) "ldr x5, [x0, #8]\n" ADD(x5)
         "ldur x6, [x0, #-200]\n" ADD(x6) "str x1, [x0, #240]\n" ADD(x1));
SEQUENCE(walking, "mov x9, #3\n2: ldp x2, x3, [x0], #16\n" ADD(x2) ADD(x3) "str x1, [x0, #-32]\n" "ldr x4, [x0, #8]\n" ADD(x4)
         "subs x9, x9, #1\nb.ne 2b\n");
SEQUENCE(other_base, "add x10, x0, #2048\nldr x2, [x0]\n" ADD(x2) "ldr x3, [x10]\n" ADD(x3) "ldr x4, [x0, #24]\n" ADD(x4)
         "str x1, [x10, #8]\n" ADD(x1) "ldr x5, [x0, #-16]\n" ADD(x5));

static u64 random_leaf(u64 to)
{
    u64 kind = next_random(&state) % 8;
    return kind == 0 ? 0 : kind == 1 ? to | LEAF | READONLY : to | LEAF;
}

static void map(void)
{
    for (u64 i = 0; i < 3; i++) /* in another order than in memory */
        leaves[i] = random_leaf((u64)memory[3 - i]);
    __asm__ volatile("dsb sy\ntlbi vmalle1\ndsb sy\nisb" ::: "memory");
}

static void try(const char *name, void (*f)(u64), u64 at)
{
    call_el1(f, UPPER + at);
    put_char(' ');
    put(name);
    put_value("esr", trap.esr);
    if (trap.esr >> 26 == 0x25)
        put_value("far", trap.far - UPPER);
    put_value("x1", trap.x1);
    put_value("memory", sum());
}

/* Near a border of pages mostly. */
static u64 random_place(void)
{
    u64 near = PAGE - 128 + next_random(&state) % 256, r = next_random(&state);
    return r % 4 ? near + (r >> 8 & 1) * PAGE : 512 + r % (2 * PAGE);
}

void main(void)
{
    u64 sctlr = READ(sctlr_el1) & ~(1ul << 3 | 1ul << 4);
    static const struct {
        const char *name;
        void (*f)(u64);
    } tries[] = {{"loads", loads}, {"stores", stores}, {"mixed", mixed}, {"wide", wide}, {"walking", walking},
                 {"other", other_base}};
    start_translation(sctlr);
    for (u64 i = 0; i < ROUNDS; i++) {
        u64 at = random_place(), which = next_random(&state) % (sizeof(tries) / sizeof(tries[0]));
        put_hex(at);
        fill();
        map();
        try(tries[which].name, tries[which].f, at);
        try("again", tries[which].f, at);
        put("\n");
    }
    WRITE(sctlr_el1, sctlr);
}
