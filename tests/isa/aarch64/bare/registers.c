/* Random values into system registers and back, from EL1. One line for each register and value. */
#include "bare.h"

enum { VALUES = 24 };

/* Both ways through one call, which may trap. x1: the value. */
#define REGISTER(name)                                                                             \
    void do_##name(u64 arg);                                                                       \
    __asm__(".text\n.balign 64\n.globl do_" #name "\ndo_" #name ":\n"                              \
            "msr " #name ", x0\nisb\nmrs x0, " #name "\nldr x1, =result\nstr x0, [x1]\nret\n.ltorg\n");

u64 result;

#define ALL(X)                                                                                     \
    X(elr_el1) X(spsr_el1) X(esr_el1) X(far_el1) X(vbar_el1) X(tpidr_el1) X(tpidr_el0) X(tpidrro_el0) X(contextidr_el1) \
    X(mair_el1) X(amair_el1) X(afsr0_el1) X(afsr1_el1) X(par_el1) X(ttbr0_el1) X(ttbr1_el1) X(tcr_el1) X(cpacr_el1)     \
    X(cntkctl_el1) X(cntv_cval_el0) X(cntp_cval_el0) X(csselr_el1) X(mdscr_el1) X(mdccint_el1) X(actlr_el1)              \
    X(dbgbvr0_el1) X(dbgbcr0_el1) X(dbgwvr0_el1) X(dbgwcr0_el1) X(dbgbvr5_el1) X(dbgwvr3_el1) X(osdlr_el1)               \
    X(pmuserenr_el0) X(pmselr_el0) X(pmccfiltr_el0) X(pmcntenset_el0) X(pmintenset_el1) X(pmovsset_el0) X(sp_el0)        \
    X(daif) X(nzcv) X(fpcr) X(fpsr) X(dbgbvr6_el1) X(dbgwvr4_el1) X(sp_el1) X(hcr_el2) X(scr_el3) X(ttbr0_el2)           \
    X(cntfrq_el0) X(midr_el1) X(isr_el1) X(currentel)

ALL(REGISTER)

static const struct move registers[] = {ALL(MOVE)};

void main(void)
{
    u64 state = 0x2545f4914f6cdd1d;
    u64 vectors = READ(vbar_el1);
    for (u64 i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {
        for (u64 k = 0; k < VALUES; k++) {
            u64 v = k == 0 ? 0 : k == 1 ? ~0ul : next_random(&state);
            result = 0;
            __asm__ volatile("msr daifset, #15");
            u64 trapped = call_el1(registers[i].f, v);
            WRITE(vbar_el1, vectors);
            WRITE(cpacr_el1, 3ul << 20);
            WRITE(mdscr_el1, 0);
            put(registers[i].name);
            put_value("value", v);
            if (trapped)
                put_value("esr", trap.esr);
            else
                put_value("read", result);
            put("\n");
        }
    }
}
