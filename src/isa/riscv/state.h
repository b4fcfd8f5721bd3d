/* The CPU state of RISC-V as IR, helpers, signal frames and debuggers see it. Registers are 64 bits wide on
 * RV32, too: their upper halves are zero. */
#ifndef LYRE_ISA_RISCV_STATE_H
#define LYRE_ISA_RISCV_STATE_H

#include "base/err.h"
#include "fp/fp.h"
#include "isa/riscv/decode.h"
#include "jit/ir/env.h"

/* A CPU model: its name and what it has. */
struct rv_model {
    const char *name;
    u64 features; /* a bit for each enum rv_feature */
};

struct rv_state {
    union {
        u64 x[32];
        u64 pc; /* x[0] is zero and needs no room */
    };
    u64 f[32]; /* narrower values are NaN-boxed: ones above them */
    /* Not slots: read and written by helpers alone. v0..v31 and the CSRs of vectors will come before. */
    struct fp_env fp; /* frm as rules, and fflags as sticky flags */
    u32 frm;          /* as it was written: 5 to 7 are kept, and make instructions that use it undefined */
    struct rv_model model;
};

/* Slots, in the order of the table in isa.c: xn has number n. */
enum {
    RV_PC = 0,
    RV_X0 = 0,
    RV_F0 = 32,
    RV_NSLOTS = 64,
};

/* Region key: the rounding mode that instructions name as dynamic, and the width. */
#define RV_KEY_FRM  7u
#define RV_KEY_RV32 8u

/* fflags (vol. I, 20.2). */
enum { RV_FFLAGS_NX = 1, RV_FFLAGS_UF = 2, RV_FFLAGS_OF = 4, RV_FFLAGS_DZ = 8, RV_FFLAGS_NV = 16 };

static inline struct rv_state *rv_state(struct ir_env *env)
{
    return (struct rv_state *)(void *)env->slots;
}

/* frm in bits 7..5, fflags below. Writing brings frm's meaning into state->fp and the host's unit; the region
 * key changes with it. */
u32 rv_get_fcsr(struct ir_env *env);
void rv_set_fcsr(struct ir_env *env, u32 fcsr);

/* Frequency of the counter that `rdtime` reads: divides a second's nanoseconds. */
#define RV_TIMEBASE 10000000

/* Bytes that a cache operation works on (Zicbom, Zicboz). */
#define RV_CACHE_BLOCK 64

static inline bool rv_has(const struct rv_model *m, unsigned feature)
{
    return m->features >> feature & 1;
}

/* The model that a description such as "rv64,zba=off" asks for: a name and changes to its extensions.
 * NULL is the first model as it is. rv32: for that width. */
bool rv_model_find(const char *description, bool rv32, struct rv_model *m, struct err *e);
const char *rv64_model_name(unsigned i); /* NULL behind the last */
const char *rv32_model_name(unsigned i);

/* The ISA string ("rv64imac_zicsr"), in the order of volume I's chapter on naming; cut to `size`. */
void rv_describe(const struct rv_model *m, char *text, size_t size);

/* Linux AT_HWCAP: a bit for each letter of I M A F D C. */
u64 rv_hwcap(const struct rv_model *m);

#endif
