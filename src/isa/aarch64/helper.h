/* C functions that translated code calls, by index in a64_helpers[]. */
#ifndef LYRE_ISA_AARCH64_HELPER_H
#define LYRE_ISA_AARCH64_HELPER_H

#include "jit/ir/ir.h"

enum a64_helper {
    A64_HELPER_GET_FPCR,
    A64_HELPER_SET_FPCR,
    A64_HELPER_GET_FPSR,
    A64_HELPER_SET_FPSR,
    A64_HELPER_COUNTER, A64_HELPER_REALTIME, A64_HELPER_MONOTONIC,
    A64_HELPER_FP_LANES,
    /* of three vectors, or two */
    A64_HELPER_SM3PARTW1, A64_HELPER_SM3PARTW2, A64_HELPER_SM3SS1, A64_HELPER_SM3TT1A,
    A64_HELPER_SM3TT1B, A64_HELPER_SM3TT2A, A64_HELPER_SM3TT2B,
    A64_HELPER_SM4E, A64_HELPER_SM4EKEY,
    A64_HELPER_WIDEN_HALF, /* four f16 to f32, exactly */
    A64_HELPER_BFDOT, A64_HELPER_BFMMLA,
    A64_HELPER_SQRDMLAH_H, A64_HELPER_SQRDMLAH_S, A64_HELPER_SQRDMLSH_H, A64_HELPER_SQRDMLSH_S,
    A64_HELPER_MACHINE_COUNTER, A64_HELPER_UNMASKED, A64_HELPER_SYNCHRONISE, A64_HELPER_BREAKS,
    A64_HELPER_LANDS, A64_HELPER_REACHES, A64_HELPER_JUMP_TYPE, A64_HELPER_RETURN_TO,
    A64_HELPER_PAUTH, /* QARMA5 of a value, a modifier and the number of a key */
    A64_HELPERS,
};

/* What A64_HELPER_FP_LANES does with each lane of its first two arguments. The third is op | lane
 * type << 8 | lanes << 12 | how << 16; the other lanes of the result are zero. */
enum a64_fp_op {
    A64_FP_ROUND_FIT, /* how: rounding | bits of the integer (32, 64) */
    A64_FP_TO_BF16,
    A64_FP_TO_F32_ODD, /* from lanes of 64 bits */
    A64_FP_MULX,
    A64_FP_RECIP_ESTIMATE,
    A64_FP_RSQRT_ESTIMATE,
    A64_FP_RECIP_STEP,
    A64_FP_RSQRT_STEP,
    A64_FP_RECIP_EXPONENT,
    A64_FP_RECIP_ESTIMATE_U32, /* of fixed point */
    A64_FP_RSQRT_ESTIMATE_U32,
};

void a64_fp_lanes(struct ir_env *env);
void a64_widen_half(struct ir_env *env);
void a64_bfdot(struct ir_env *env);
void a64_bfmmla(struct ir_env *env);
void a64_sqrdmlah_h(struct ir_env *env);
void a64_sqrdmlah_s(struct ir_env *env);
void a64_sqrdmlsh_h(struct ir_env *env);
void a64_sqrdmlsh_s(struct ir_env *env);
void a64_sm3partw1(struct ir_env *env);
void a64_sm3partw2(struct ir_env *env);
void a64_sm3ss1(struct ir_env *env);
void a64_sm3tt1a(struct ir_env *env);
void a64_sm3tt1b(struct ir_env *env);
void a64_sm3tt2a(struct ir_env *env);
void a64_sm3tt2b(struct ir_env *env);
void a64_sm4e(struct ir_env *env);
void a64_sm4ekey(struct ir_env *env);
void a64_pauth(struct ir_env *env);
void a64_machine_counter(struct ir_env *env);
void a64_unmasked(struct ir_env *env);
void a64_synchronise(struct ir_env *env);
void a64_break_at(struct ir_env *env);
void a64_landing(struct ir_env *env);
void a64_reaches(struct ir_env *env);
void a64_jump_type(struct ir_env *env);
void a64_return_address(struct ir_env *env);

/* The cipher itself: a block, a tweak, the two halves of the key. */
u64 a64_qarma5(u64 x, u64 tweak, u64 whitening, u64 core);

/* Ended by a row without a function. */
extern const struct ir_helper a64_helpers[A64_HELPERS + 1];

#endif
