/* Returns from exceptions by an address with an authentication code, and code whose page becomes guarded. Prints TAP. */
#include "tap.h"
#include "pages.h"

#define ENABLE_A (1ul << 31) /* SCTLR_EL1 */
#define ENABLE_B (1ul << 30)
#define GUARDED  (1ul << 50)

#define CODE(name, text)                                                                           \
    void name(u64 arg);                                                                            \
    __asm__(".arch_extension pauth\n.text\n.balign 64\n.globl " #name "\n" #name ":\n" text "\n")

/* x0: where to. The stack pointer is the modifier. */
#define SIGNED(sign, spoil, back)                                                                  \
    "mov x9, #0x3c5\nmsr spsr_el1, x9\nmov x9, sp\n" sign " x0, x9\n" spoil "msr elr_el1, x0\nisb\n" back

CODE(return_a, SIGNED("pacia", "", "eretaa"));
CODE(return_b, SIGNED("pacib", "", "eretab"));
CODE(return_wrong, SIGNED("pacia", "eor x0, x0, #1 << 50\n", "eretaa"));
CODE(return_mixed, SIGNED("pacib", "", "eretaa"));
CODE(landed, "brk #1");
CODE(branch, "br x0");

static u64 is_brk(u64 at)
{
    return trap.esr == 0xf2000001 && trap.elr == at;
}

static void returns(u64 sctlr)
{
    WRITE(s3_0_c2_c1_0, 0x1234567890abcdef); /* APIAKeyLo_EL1 */
    WRITE(s3_0_c2_c1_2, 0xfedcba0987654321); /* APIBKeyLo_EL1 */
    WRITE(sctlr_el1, sctlr | ENABLE_A | ENABLE_B);
    call_el1(return_a, (u64)landed);
    check("by key A", is_brk((u64)landed));
    check("the register keeps the code", trap.x0 != (u64)landed && (trap.x0 & 0xffffffff) == (u64)landed);
    call_el1(return_b, (u64)landed);
    check("by key B", is_brk((u64)landed));
    call_el1(return_wrong, (u64)landed);
    check("a wrong code", trap.esr >> 26 == 0x21 && trap.elr == trap.far && trap.elr != (u64)landed);
    call_el1(return_mixed, (u64)landed);
    check("the other key", trap.esr >> 26 == 0x21);
    WRITE(sctlr_el1, sctlr);
    call_el1(return_wrong, (u64)landed);
    check("keys that are off", trap.esr >> 26 == 0x21 && trap.elr == ((u64)landed ^ 1ul << 50));
    call_el0((u64)return_a, (u64)landed, EL0_MASKED);
    check("not by EL0", trap.esr == 0x2000000);
}

static void map(u64 page, u64 attributes)
{
    leaves[page] = (u64)memory[page] | LEAF | attributes;
    __asm__ volatile("dsb sy\ntlbi vmalle1\ndsb sy\nisb" ::: "memory");
}

/* From page 0 to page 1, as their tables say now. */
static u64 type_of_trap(u64 from, u64 to)
{
    map(0, from);
    map(1, to);
    call_el0(UPPER, UPPER + PAGE, 0x3c5);
    return trap.esr == 0xf2000001 ? 0 : trap.esr >> 26 == 0xd ? trap.esr & 3 : 99;
}

static void guards(void)
{
    memory[0][0] = *(const u32 *)branch;
    memory[1][0] = 0xd4200020d503201f; /* nop; brk #1 */
    type_of_trap(GUARDED, GUARDED);
    u64 good = 1;
    for (u64 i = 0; i < 50; i++) {
        good &= type_of_trap(0, 0) == 0 && type_of_trap(GUARDED, 0) == 0;
        good &= type_of_trap(0, GUARDED) == 1 && type_of_trap(GUARDED, GUARDED) == 3;
    }
    check("pages become guarded, and are no more", good);
}

void main(void)
{
    u64 sctlr = READ(sctlr_el1) & ~(1ul << 3 | 1ul << 4);
    map(0, 0);
    start_translation(sctlr);
    returns(sctlr | 1);
    guards();
    put_plan();
}
