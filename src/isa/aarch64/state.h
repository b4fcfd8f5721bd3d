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

struct a64_state {
    u64 x[31];
    u64 sp;
    u64 pc;
    struct ir_flags nzcv;
    u64 tpidr_el0;
    u64 tpidrro_el0;
    u64 dit_ssbs; /* those bits of PSTATE */
    u64 pauth_key[A64_PAUTH_KEYS][2]; /* low half, high half */
    v128 qc_lanes; /* not all zero: a saturating operation saturated */
    v128 v[32];
    /* Not slots: read and written by helpers alone. */
    struct fp_env fp; /* FPCR as rules, and the sticky flags of FPSR */
    u32 fpcr;
    u32 fpsr_written; /* FPSR was written: from then on UFC is exact (docs/deviations.md) */
    u32 qc;           /* FPSR.QC, together with qc_lanes: a helper saturated */
    struct a64_model model;
};

/* Slots, in the order of the table in isa.c. */
enum {
    A64_X0 = 0,
    A64_SP = 31,
    A64_PC = 32,
    A64_NZCV = 33,
    A64_TPIDR = 34,
    A64_TPIDRRO = 35,
    A64_DIT_SSBS = 36,
    A64_PAUTH_KEY = 37, /* key k: its low half at 2 * k from here, then its high half */
    A64_QC = 47,
    A64_V0 = 48,
    A64_NSLOTS = 80,
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

/* Bits of PSTATE that a program may change, apart from the flags. */
#define A64_PSTATE_SSBS (1u << 12)
#define A64_PSTATE_DIT  (1u << 24)

static inline struct a64_state *a64_state(struct ir_env *env)
{
    return (struct a64_state *)(void *)env->slots;
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
