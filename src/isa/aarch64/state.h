/* The CPU state of AArch64 as IR, helpers, signal frames and debuggers see it (Arm ARM, B1.2). */
#ifndef LYRE_ISA_AARCH64_STATE_H
#define LYRE_ISA_AARCH64_STATE_H

#include "base/err.h"
#include "fp/fp.h"
#include "jit/ir/env.h"
#include "jit/ir/fl.h"

/* A CPU model: its name and what it has. */
struct a64_model {
    const char *name;
    u64 features; /* a bit for each enum a64_feature */
    u64 midr;
    bool qarma;   /* pointer authentication by QARMA5, else by something quick */
};

/* Keys of pointer authentication. */
enum { A64_KEY_IA, A64_KEY_IB, A64_KEY_DA, A64_KEY_DB, A64_KEY_GA, A64_PAUTH_KEYS };

enum { A64_BREAKPOINTS = 6, A64_WATCHPOINTS = 4 };

/* Of the performance monitors: those that count events, and all with the cycle counter behind them. */
enum { A64_EVENTS = 6, A64_CYCLES = A64_EVENTS, A64_COUNTERS };

/* What else EL1 has in a machine; C alone reads and writes it. */
struct a64_el1 {
    u64 machine; /* 1: EL1 is there; 0: a program's CPU, where it is Linux */
    u64 physical_bits; /* of addresses, by the model */
    u64 mpidr;
    u64 actlr, afsr0, afsr1, amair, csselr, disr;
    u64 mdccint, osdtrrx, osdtrtx, oseccr, os_lock, osdlr, dbgclaim;
    u64 dbgbvr[A64_BREAKPOINTS], dbgbcr[A64_BREAKPOINTS], dbgwvr[A64_WATCHPOINTS], dbgwcr[A64_WATCHPOINTS];
    u64 pmcr, pmcnten, pminten, pmovs, pmselr, pmuserenr;
    u64 pmcount[A64_COUNTERS], pmtype[A64_COUNTERS]; /* the events' and then the cycle counter, when they last stood */
    u64 cntfrq;        /* what the guest is told; the highest level may write it */
    u64 cntp_ctl, cntp_cval, cntv_ctl, cntv_cval;
    u64 stepped;       /* the ISS of the step exception to come, as far as it is about the instruction */
    u64 return_to;     /* where ERETAA or ERETAB at hand goes */
    u64 break_hit;     /* the UNALIGNED that is raised now stands for a breakpoint */
};

struct a64_state {
    u64 x[31];
    u64 sp;
    u64 pc;
    struct ir_flags nzcv;
    u64 tpidr_el0;
    u64 tpidrro_el0;
    u64 pstate; /* PSTATE but the flags, in the places of SPSR: A64_PSTATE_*; a program has DIT and SSBS */
    u64 pauth_key[A64_PAUTH_KEYS][2]; /* low half, high half */
    v128 qc_lanes; /* not all zero: a saturating operation saturated */
    v128 v[32];
    /* System registers that translated code reads and writes as slots. Of the two stack pointers the one in use is in
     * sp. */
    u64 sp_el0, sp_el1;
    u64 elr_el1, spsr_el1, esr_el1, far_el1, vbar_el1, tpidr_el1;
    u64 sctlr_el1, tcr_el1, ttbr0_el1, ttbr1_el1, mair_el1;
    u64 cpacr_el1, contextidr_el1, cntkctl_el1, mdscr_el1, par_el1;
    /* Not slots: read and written by helpers alone. */
    struct fp_env fp; /* FPCR as rules, and the sticky flags of FPSR */
    u32 fpcr;
    u32 fpsr_written; /* FPSR was written: from then on UFC is exact (docs/deviations.md) */
    u32 qc;           /* FPSR.QC, together with qc_lanes: a helper saturated */
    struct a64_model model;
    struct a64_el1 el1;
};

/* Slots, in the order of the table in isa.c. */
enum {
    A64_X0 = 0,
    A64_SP = 31,
    A64_PC = 32,
    A64_NZCV = 33,
    A64_TPIDR = 34,
    A64_TPIDRRO = 35,
    A64_PSTATE_SLOT = 36,
    A64_PAUTH_KEY = 37, /* key k: its low half at 2 * k from here, then its high half */
    A64_QC = 47,
    A64_V0 = 48,
    A64_SP_EL0 = 80, A64_SP_EL1,
    A64_ELR_EL1, A64_SPSR_EL1, A64_ESR_EL1, A64_FAR_EL1, A64_VBAR_EL1, A64_TPIDR_EL1,
    A64_SCTLR_EL1, A64_TCR_EL1, A64_TTBR0_EL1, A64_TTBR1_EL1, A64_MAIR_EL1,
    A64_CPACR_EL1, A64_CONTEXTIDR_EL1, A64_CNTKCTL_EL1, A64_MDSCR_EL1, A64_PAR_EL1,
    A64_NSLOTS,
};

/* Region key: the FPCR bits that change what operations mean (DN, FZ, FZ16, AHP). Code under any
 * of them uses software floating point. */
#define A64_FPCR_AHP  (1u << 26)
#define A64_FPCR_DN   (1u << 25)
#define A64_FPCR_FZ   (1u << 24)
#define A64_FPCR_FZ16 (1u << 19)
#define A64_FPCR_KEY  (A64_FPCR_AHP | A64_FPCR_DN | A64_FPCR_FZ | A64_FPCR_FZ16)
#define A64_KEY_TINY  1u /* beside the FPCR bits: the thread looks at FPSR, so UFC is exact */
#define A64_FPSR_QC   (1u << 27)
#define A64_FPCR_MASK (A64_FPCR_KEY | 3u << 22)

/* Region key in a machine: what EL and control registers make of instructions. A program has none of these. */
#define A64_KEY_MACHINE  (1u << 1)
#define A64_KEY_EL1      (1u << 2)
#define A64_KEY_PAN      (1u << 3)
#define A64_KEY_UAO      (1u << 4)
#define A64_KEY_ILLEGAL  (1u << 5)  /* PSTATE.IL */
#define A64_KEY_NO_FP    (1u << 6)  /* CPACR_EL1.FPEN traps */
#define A64_KEY_ALIGN    (1u << 7)  /* SCTLR_EL1.A */
#define A64_KEY_SP_ALIGN (1u << 8)  /* SCTLR_EL1.SA or SA0 */
#define A64_KEY_ZVA      (1u << 9)  /* DC ZVA does not trap */
#define A64_KEY_COUNTER  (1u << 10) /* nor does the virtual counter */
#define A64_KEY_STEP     (1u << 11) /* software step: one instruction, then an exception */
#define A64_KEY_PAUTH_LSB 12        /* a bit for each address key that is enabled */
#define A64_KEY_PAUTH    (15u << A64_KEY_PAUTH_LSB)
#define A64_KEY_SP0      (1u << 16) /* EL1 uses the stack pointer of EL0 */
#define A64_KEY_KDE      (1u << 17) /* PSTATE.D decides whether EL1 has breakpoints and watchpoints */
#define A64_KEY_BT       (1u << 20) /* SCTLR_EL1.BT0 or BT1: what signs a return address is no target of jumps */
#define A64_KEY_BREAKS   (1u << 18) /* any instruction may meet a breakpoint: one without an address */

/* PSTATE but the flags; a program may change SSBS and DIT. */
#define A64_PSTATE_SP    1u /* the stack pointer is that of the level; else SP_EL0 */
#define A64_PSTATE_EL    (3u << 2)
#define A64_PSTATE_EL1   (1u << 2)
#define A64_PSTATE_F     (1u << 6)
#define A64_PSTATE_I     (1u << 7)
#define A64_PSTATE_A     (1u << 8)
#define A64_PSTATE_D     (1u << 9)
#define A64_PSTATE_DAIF  (15u << 6)
#define A64_PSTATE_BTYPE (3u << A64_PSTATE_BTYPE_LSB)
#define A64_PSTATE_BTYPE_LSB 10 /* in SPSR; else it is in the low bits of the pc */
#define A64_PSTATE_SSBS  (1u << 12)
#define A64_PSTATE_IL    (1u << 20)
#define A64_PSTATE_SS    (1u << 21)
#define A64_PSTATE_PAN   (1u << 22)
#define A64_PSTATE_UAO   (1u << 23)
#define A64_PSTATE_DIT   (1u << 24)

#define A64_PSTATE_BITS  0x0fffffffu

/* enum a64_reg_key is op0:op1:CRn:CRm:op2, in which this bit is always set. */
#define A64_REG_OP0 0x8000u

static inline struct a64_state *a64_state(struct ir_env *env)
{
    return (struct a64_state *)(void *)env->slots;
}

/* PSTATE with the flags in bits 31..28. */
static inline u64 a64_get_pstate(const struct ir_env *env)
{
    const struct a64_state *s = (const struct a64_state *)(const void *)env->slots;
    return (u64)ir_flags_eval(env->slots, &s->nzcv) << 28 | s->pstate;
}

static inline void a64_set_pstate(struct ir_env *env, u64 pstate)
{
    struct a64_state *s = a64_state(env);
    s->nzcv = (struct ir_flags){.kind = IR_FLK_BITS, .a = pstate >> 28 & 15};
    s->pstate = pstate & A64_PSTATE_BITS;
}

/* Bring FPCR's meaning into state->fp and the host's unit; key and rounding change. */
void a64_set_fpcr(struct ir_env *env, u32 fpcr);
u32 a64_get_fpsr(struct ir_env *env);
void a64_set_fpsr(struct ir_env *env, u32 fpsr);

/* Frequency of the virtual counter, CNTFRQ_EL0: divides a second's nanoseconds. */
#define A64_CNTFRQ 62500000

/* CTR_EL0: lines of 64 bytes; instruction caches need maintenance (DIC is 0), data caches do not
 * (IDC). DCZID_EL0: DC ZVA clears 64 bytes. */
#define A64_CTR   0x9444c004u
#define A64_DCZID 4u

static inline bool a64_has(const struct a64_model *m, unsigned feature)
{
    return m->features >> feature & 1;
}

/* The model that a description such as "max,sve=off" asks for: a name and changes to its features.
 * NULL is the first model as it is. */
bool a64_model_find(const char *description, struct a64_model *m, struct err *e);
const char *a64_model_name(unsigned i); /* NULL behind the last */

/* What the model offers to programs: a feature whose instructions are not all lifted is not
 * mentioned. The words of AT_HWCAP and AT_HWCAP2; an ID register (key: op0:op1:CRn:CRm:op2) as
 * Linux shows it to programs, false if it hides it. */
void a64_hwcap(const struct a64_model *m, u64 cap[2]);
bool a64_id_register(const struct a64_model *m, u32 key, u64 *value);

#endif
