/* The operations that the Arm test compares: X(name, instruction, operands, result, our function).
 *
 * Operands a, b, c are in v0, v1, v2; a is in x0 too. Their shape: F16, F32, F64, INT. The result:
 * V in v0 (V16, V32: its low bits), G32 and G64 in x0, N in the condition flags, JS in w0 and flag
 * Z. */
#ifndef LYRE_TESTS_FP_ARM_OPS_H
#define LYRE_TESTS_FP_ARM_OPS_H

#include <stdint.h>

struct arm_record {
    uint32_t op, fpcr;
    uint64_t a, b, c;
    /* out */
    uint64_t v, x;
    uint32_t fpsr, nzcv;
};

/* Records travel in batches that fit into a pipe. */
#define ARM_BATCH 1000 /* 56 KB */

/* clang-format off */
#define ARM_OPS(X) \
    X(fadd_h, "fadd h0, h0, h1", F16, V, fp16_add((u16)a, (u16)b, e)) \
    X(fsub_h, "fsub h0, h0, h1", F16, V, fp16_sub((u16)a, (u16)b, e)) \
    X(fmul_h, "fmul h0, h0, h1", F16, V, fp16_mul((u16)a, (u16)b, e)) \
    X(fdiv_h, "fdiv h0, h0, h1", F16, V, fp16_div((u16)a, (u16)b, e)) \
    X(fmulx_h, "fmulx h0, h0, h1", F16, V, fp16_mulx((u16)a, (u16)b, e)) \
    X(frecps_h, "frecps h0, h0, h1", F16, V, fp16_recip_step((u16)a, (u16)b, e)) \
    X(frsqrts_h, "frsqrts h0, h0, h1", F16, V, fp16_rsqrt_step((u16)a, (u16)b, e)) \
    X(fmadd_h, "fmadd h0, h0, h1, h2", F16, V, fp16_fma((u16)a, (u16)b, (u16)c, 0, e)) \
    X(fmsub_h, "fmsub h0, h0, h1, h2", F16, V, fp16_fma((u16)a, (u16)b, (u16)c, FP_NEG_PRODUCT, e)) \
    X(fnmadd_h, "fnmadd h0, h0, h1, h2", F16, V, fp16_fma((u16)a, (u16)b, (u16)c, FP_NEG_PRODUCT | FP_NEG_ADDEND, e)) \
    X(fnmsub_h, "fnmsub h0, h0, h1, h2", F16, V, fp16_fma((u16)a, (u16)b, (u16)c, FP_NEG_ADDEND, e)) \
    X(fmin_h, "fmin h0, h0, h1", F16, V, fp16_min((u16)a, (u16)b, FP_MIN_NAN, e)) \
    X(fmax_h, "fmax h0, h0, h1", F16, V, fp16_max((u16)a, (u16)b, FP_MIN_NAN, e)) \
    X(fminnm_h, "fminnm h0, h0, h1", F16, V, fp16_min((u16)a, (u16)b, FP_MIN_NUMBER_2008, e)) \
    X(fmaxnm_h, "fmaxnm h0, h0, h1", F16, V, fp16_max((u16)a, (u16)b, FP_MIN_NUMBER_2008, e)) \
    X(fsqrt_h, "fsqrt h0, h0", F16, V, fp16_sqrt((u16)a, e)) \
    X(frecpe_h, "frecpe h0, h0", F16, V, fp16_recip_estimate((u16)a, e)) \
    X(frsqrte_h, "frsqrte h0, h0", F16, V, fp16_rsqrt_estimate((u16)a, e)) \
    X(frecpx_h, "frecpx h0, h0", F16, V, fp16_recip_exponent((u16)a, e)) \
    X(fcmp_h, "fcmp h0, h1", F16, N, fp16_compare((u16)a, (u16)b, false, e)) \
    X(fcmpe_h, "fcmpe h0, h1", F16, N, fp16_compare((u16)a, (u16)b, true, e)) \
    X(frintn_h, "frintn h0, h0", F16, V, fp16_round_int((u16)a, FP_ROUND_EVEN, false, e)) \
    X(frintp_h, "frintp h0, h0", F16, V, fp16_round_int((u16)a, FP_ROUND_UP, false, e)) \
    X(frintm_h, "frintm h0, h0", F16, V, fp16_round_int((u16)a, FP_ROUND_DOWN, false, e)) \
    X(frintz_h, "frintz h0, h0", F16, V, fp16_round_int((u16)a, FP_ROUND_ZERO, false, e)) \
    X(frinta_h, "frinta h0, h0", F16, V, fp16_round_int((u16)a, FP_ROUND_AWAY, false, e)) \
    X(frinti_h, "frinti h0, h0", F16, V, fp16_round_int((u16)a, e->round, false, e)) \
    X(frintx_h, "frintx h0, h0", F16, V, fp16_round_int((u16)a, e->round, true, e)) \
    X(fcvtns_wh, "fcvtns w0, h0", F16, G32, fp16_to_int((u16)a, S32, FP_ROUND_EVEN, e)) \
    X(fcvtns_xh, "fcvtns x0, h0", F16, G64, fp16_to_int((u16)a, S64, FP_ROUND_EVEN, e)) \
    X(fcvtnu_wh, "fcvtnu w0, h0", F16, G32, fp16_to_int((u16)a, U32, FP_ROUND_EVEN, e)) \
    X(fcvtnu_xh, "fcvtnu x0, h0", F16, G64, fp16_to_int((u16)a, U64, FP_ROUND_EVEN, e)) \
    X(fcvtps_wh, "fcvtps w0, h0", F16, G32, fp16_to_int((u16)a, S32, FP_ROUND_UP, e)) \
    X(fcvtps_xh, "fcvtps x0, h0", F16, G64, fp16_to_int((u16)a, S64, FP_ROUND_UP, e)) \
    X(fcvtpu_wh, "fcvtpu w0, h0", F16, G32, fp16_to_int((u16)a, U32, FP_ROUND_UP, e)) \
    X(fcvtpu_xh, "fcvtpu x0, h0", F16, G64, fp16_to_int((u16)a, U64, FP_ROUND_UP, e)) \
    X(fcvtms_wh, "fcvtms w0, h0", F16, G32, fp16_to_int((u16)a, S32, FP_ROUND_DOWN, e)) \
    X(fcvtms_xh, "fcvtms x0, h0", F16, G64, fp16_to_int((u16)a, S64, FP_ROUND_DOWN, e)) \
    X(fcvtmu_wh, "fcvtmu w0, h0", F16, G32, fp16_to_int((u16)a, U32, FP_ROUND_DOWN, e)) \
    X(fcvtmu_xh, "fcvtmu x0, h0", F16, G64, fp16_to_int((u16)a, U64, FP_ROUND_DOWN, e)) \
    X(fcvtzs_wh, "fcvtzs w0, h0", F16, G32, fp16_to_int((u16)a, S32, FP_ROUND_ZERO, e)) \
    X(fcvtzs_xh, "fcvtzs x0, h0", F16, G64, fp16_to_int((u16)a, S64, FP_ROUND_ZERO, e)) \
    X(fcvtzu_wh, "fcvtzu w0, h0", F16, G32, fp16_to_int((u16)a, U32, FP_ROUND_ZERO, e)) \
    X(fcvtzu_xh, "fcvtzu x0, h0", F16, G64, fp16_to_int((u16)a, U64, FP_ROUND_ZERO, e)) \
    X(fcvtas_wh, "fcvtas w0, h0", F16, G32, fp16_to_int((u16)a, S32, FP_ROUND_AWAY, e)) \
    X(fcvtas_xh, "fcvtas x0, h0", F16, G64, fp16_to_int((u16)a, S64, FP_ROUND_AWAY, e)) \
    X(fcvtau_wh, "fcvtau w0, h0", F16, G32, fp16_to_int((u16)a, U32, FP_ROUND_AWAY, e)) \
    X(fcvtau_xh, "fcvtau x0, h0", F16, G64, fp16_to_int((u16)a, U64, FP_ROUND_AWAY, e)) \
    X(fcvtzs_wh_1, "fcvtzs w0, h0, #1", F16, G32, fp16_to_int((u16)a, FIX(S32, 1), FP_ROUND_ZERO, e)) \
    X(scvtf_hw_1, "scvtf h0, w0, #1", INT, V, fp16_from_int(a, FIX(S32, 1), e)) \
    X(fcvtzs_wh_16, "fcvtzs w0, h0, #16", F16, G32, fp16_to_int((u16)a, FIX(S32, 16), FP_ROUND_ZERO, e)) \
    X(scvtf_hw_16, "scvtf h0, w0, #16", INT, V, fp16_from_int(a, FIX(S32, 16), e)) \
    X(fcvtzs_wh_32, "fcvtzs w0, h0, #32", F16, G32, fp16_to_int((u16)a, FIX(S32, 32), FP_ROUND_ZERO, e)) \
    X(scvtf_hw_32, "scvtf h0, w0, #32", INT, V, fp16_from_int(a, FIX(S32, 32), e)) \
    X(scvtf_hw, "scvtf h0, w0", INT, V, fp16_from_int(a, S32, e)) \
    X(fcvtzs_xh_1, "fcvtzs x0, h0, #1", F16, G64, fp16_to_int((u16)a, FIX(S64, 1), FP_ROUND_ZERO, e)) \
    X(scvtf_hx_1, "scvtf h0, x0, #1", INT, V, fp16_from_int(a, FIX(S64, 1), e)) \
    X(fcvtzs_xh_31, "fcvtzs x0, h0, #31", F16, G64, fp16_to_int((u16)a, FIX(S64, 31), FP_ROUND_ZERO, e)) \
    X(scvtf_hx_31, "scvtf h0, x0, #31", INT, V, fp16_from_int(a, FIX(S64, 31), e)) \
    X(fcvtzs_xh_64, "fcvtzs x0, h0, #64", F16, G64, fp16_to_int((u16)a, FIX(S64, 64), FP_ROUND_ZERO, e)) \
    X(scvtf_hx_64, "scvtf h0, x0, #64", INT, V, fp16_from_int(a, FIX(S64, 64), e)) \
    X(scvtf_hx, "scvtf h0, x0", INT, V, fp16_from_int(a, S64, e)) \
    X(fcvtzu_wh_1, "fcvtzu w0, h0, #1", F16, G32, fp16_to_int((u16)a, FIX(U32, 1), FP_ROUND_ZERO, e)) \
    X(ucvtf_hw_1, "ucvtf h0, w0, #1", INT, V, fp16_from_int(a, FIX(U32, 1), e)) \
    X(fcvtzu_wh_16, "fcvtzu w0, h0, #16", F16, G32, fp16_to_int((u16)a, FIX(U32, 16), FP_ROUND_ZERO, e)) \
    X(ucvtf_hw_16, "ucvtf h0, w0, #16", INT, V, fp16_from_int(a, FIX(U32, 16), e)) \
    X(fcvtzu_wh_32, "fcvtzu w0, h0, #32", F16, G32, fp16_to_int((u16)a, FIX(U32, 32), FP_ROUND_ZERO, e)) \
    X(ucvtf_hw_32, "ucvtf h0, w0, #32", INT, V, fp16_from_int(a, FIX(U32, 32), e)) \
    X(ucvtf_hw, "ucvtf h0, w0", INT, V, fp16_from_int(a, U32, e)) \
    X(fcvtzu_xh_1, "fcvtzu x0, h0, #1", F16, G64, fp16_to_int((u16)a, FIX(U64, 1), FP_ROUND_ZERO, e)) \
    X(ucvtf_hx_1, "ucvtf h0, x0, #1", INT, V, fp16_from_int(a, FIX(U64, 1), e)) \
    X(fcvtzu_xh_31, "fcvtzu x0, h0, #31", F16, G64, fp16_to_int((u16)a, FIX(U64, 31), FP_ROUND_ZERO, e)) \
    X(ucvtf_hx_31, "ucvtf h0, x0, #31", INT, V, fp16_from_int(a, FIX(U64, 31), e)) \
    X(fcvtzu_xh_64, "fcvtzu x0, h0, #64", F16, G64, fp16_to_int((u16)a, FIX(U64, 64), FP_ROUND_ZERO, e)) \
    X(ucvtf_hx_64, "ucvtf h0, x0, #64", INT, V, fp16_from_int(a, FIX(U64, 64), e)) \
    X(ucvtf_hx, "ucvtf h0, x0", INT, V, fp16_from_int(a, U64, e)) \
    X(fadd_s, "fadd s0, s0, s1", F32, V, fp32_add((u32)a, (u32)b, e)) \
    X(fsub_s, "fsub s0, s0, s1", F32, V, fp32_sub((u32)a, (u32)b, e)) \
    X(fmul_s, "fmul s0, s0, s1", F32, V, fp32_mul((u32)a, (u32)b, e)) \
    X(fdiv_s, "fdiv s0, s0, s1", F32, V, fp32_div((u32)a, (u32)b, e)) \
    X(fmulx_s, "fmulx s0, s0, s1", F32, V, fp32_mulx((u32)a, (u32)b, e)) \
    X(frecps_s, "frecps s0, s0, s1", F32, V, fp32_recip_step((u32)a, (u32)b, e)) \
    X(frsqrts_s, "frsqrts s0, s0, s1", F32, V, fp32_rsqrt_step((u32)a, (u32)b, e)) \
    X(fmadd_s, "fmadd s0, s0, s1, s2", F32, V, fp32_fma((u32)a, (u32)b, (u32)c, 0, e)) \
    X(fmsub_s, "fmsub s0, s0, s1, s2", F32, V, fp32_fma((u32)a, (u32)b, (u32)c, FP_NEG_PRODUCT, e)) \
    X(fnmadd_s, "fnmadd s0, s0, s1, s2", F32, V, fp32_fma((u32)a, (u32)b, (u32)c, FP_NEG_PRODUCT | FP_NEG_ADDEND, e)) \
    X(fnmsub_s, "fnmsub s0, s0, s1, s2", F32, V, fp32_fma((u32)a, (u32)b, (u32)c, FP_NEG_ADDEND, e)) \
    X(fmin_s, "fmin s0, s0, s1", F32, V, fp32_min((u32)a, (u32)b, FP_MIN_NAN, e)) \
    X(fmax_s, "fmax s0, s0, s1", F32, V, fp32_max((u32)a, (u32)b, FP_MIN_NAN, e)) \
    X(fminnm_s, "fminnm s0, s0, s1", F32, V, fp32_min((u32)a, (u32)b, FP_MIN_NUMBER_2008, e)) \
    X(fmaxnm_s, "fmaxnm s0, s0, s1", F32, V, fp32_max((u32)a, (u32)b, FP_MIN_NUMBER_2008, e)) \
    X(fsqrt_s, "fsqrt s0, s0", F32, V, fp32_sqrt((u32)a, e)) \
    X(frecpe_s, "frecpe s0, s0", F32, V, fp32_recip_estimate((u32)a, e)) \
    X(frsqrte_s, "frsqrte s0, s0", F32, V, fp32_rsqrt_estimate((u32)a, e)) \
    X(frecpx_s, "frecpx s0, s0", F32, V, fp32_recip_exponent((u32)a, e)) \
    X(fcmp_s, "fcmp s0, s1", F32, N, fp32_compare((u32)a, (u32)b, false, e)) \
    X(fcmpe_s, "fcmpe s0, s1", F32, N, fp32_compare((u32)a, (u32)b, true, e)) \
    X(frintn_s, "frintn s0, s0", F32, V, fp32_round_int((u32)a, FP_ROUND_EVEN, false, e)) \
    X(frintp_s, "frintp s0, s0", F32, V, fp32_round_int((u32)a, FP_ROUND_UP, false, e)) \
    X(frintm_s, "frintm s0, s0", F32, V, fp32_round_int((u32)a, FP_ROUND_DOWN, false, e)) \
    X(frintz_s, "frintz s0, s0", F32, V, fp32_round_int((u32)a, FP_ROUND_ZERO, false, e)) \
    X(frinta_s, "frinta s0, s0", F32, V, fp32_round_int((u32)a, FP_ROUND_AWAY, false, e)) \
    X(frinti_s, "frinti s0, s0", F32, V, fp32_round_int((u32)a, e->round, false, e)) \
    X(frintx_s, "frintx s0, s0", F32, V, fp32_round_int((u32)a, e->round, true, e)) \
    X(frint32z_s, "frint32z s0, s0", F32, V, fp32_round_fit((u32)a, FP_ROUND_ZERO, 32, e)) \
    X(frint32x_s, "frint32x s0, s0", F32, V, fp32_round_fit((u32)a, e->round, 32, e)) \
    X(frint64z_s, "frint64z s0, s0", F32, V, fp32_round_fit((u32)a, FP_ROUND_ZERO, 64, e)) \
    X(frint64x_s, "frint64x s0, s0", F32, V, fp32_round_fit((u32)a, e->round, 64, e)) \
    X(fcvtns_ws, "fcvtns w0, s0", F32, G32, fp32_to_int((u32)a, S32, FP_ROUND_EVEN, e)) \
    X(fcvtns_xs, "fcvtns x0, s0", F32, G64, fp32_to_int((u32)a, S64, FP_ROUND_EVEN, e)) \
    X(fcvtnu_ws, "fcvtnu w0, s0", F32, G32, fp32_to_int((u32)a, U32, FP_ROUND_EVEN, e)) \
    X(fcvtnu_xs, "fcvtnu x0, s0", F32, G64, fp32_to_int((u32)a, U64, FP_ROUND_EVEN, e)) \
    X(fcvtps_ws, "fcvtps w0, s0", F32, G32, fp32_to_int((u32)a, S32, FP_ROUND_UP, e)) \
    X(fcvtps_xs, "fcvtps x0, s0", F32, G64, fp32_to_int((u32)a, S64, FP_ROUND_UP, e)) \
    X(fcvtpu_ws, "fcvtpu w0, s0", F32, G32, fp32_to_int((u32)a, U32, FP_ROUND_UP, e)) \
    X(fcvtpu_xs, "fcvtpu x0, s0", F32, G64, fp32_to_int((u32)a, U64, FP_ROUND_UP, e)) \
    X(fcvtms_ws, "fcvtms w0, s0", F32, G32, fp32_to_int((u32)a, S32, FP_ROUND_DOWN, e)) \
    X(fcvtms_xs, "fcvtms x0, s0", F32, G64, fp32_to_int((u32)a, S64, FP_ROUND_DOWN, e)) \
    X(fcvtmu_ws, "fcvtmu w0, s0", F32, G32, fp32_to_int((u32)a, U32, FP_ROUND_DOWN, e)) \
    X(fcvtmu_xs, "fcvtmu x0, s0", F32, G64, fp32_to_int((u32)a, U64, FP_ROUND_DOWN, e)) \
    X(fcvtzs_ws, "fcvtzs w0, s0", F32, G32, fp32_to_int((u32)a, S32, FP_ROUND_ZERO, e)) \
    X(fcvtzs_xs, "fcvtzs x0, s0", F32, G64, fp32_to_int((u32)a, S64, FP_ROUND_ZERO, e)) \
    X(fcvtzu_ws, "fcvtzu w0, s0", F32, G32, fp32_to_int((u32)a, U32, FP_ROUND_ZERO, e)) \
    X(fcvtzu_xs, "fcvtzu x0, s0", F32, G64, fp32_to_int((u32)a, U64, FP_ROUND_ZERO, e)) \
    X(fcvtas_ws, "fcvtas w0, s0", F32, G32, fp32_to_int((u32)a, S32, FP_ROUND_AWAY, e)) \
    X(fcvtas_xs, "fcvtas x0, s0", F32, G64, fp32_to_int((u32)a, S64, FP_ROUND_AWAY, e)) \
    X(fcvtau_ws, "fcvtau w0, s0", F32, G32, fp32_to_int((u32)a, U32, FP_ROUND_AWAY, e)) \
    X(fcvtau_xs, "fcvtau x0, s0", F32, G64, fp32_to_int((u32)a, U64, FP_ROUND_AWAY, e)) \
    X(fcvtzs_ws_1, "fcvtzs w0, s0, #1", F32, G32, fp32_to_int((u32)a, FIX(S32, 1), FP_ROUND_ZERO, e)) \
    X(scvtf_sw_1, "scvtf s0, w0, #1", INT, V, fp32_from_int(a, FIX(S32, 1), e)) \
    X(fcvtzs_ws_16, "fcvtzs w0, s0, #16", F32, G32, fp32_to_int((u32)a, FIX(S32, 16), FP_ROUND_ZERO, e)) \
    X(scvtf_sw_16, "scvtf s0, w0, #16", INT, V, fp32_from_int(a, FIX(S32, 16), e)) \
    X(fcvtzs_ws_32, "fcvtzs w0, s0, #32", F32, G32, fp32_to_int((u32)a, FIX(S32, 32), FP_ROUND_ZERO, e)) \
    X(scvtf_sw_32, "scvtf s0, w0, #32", INT, V, fp32_from_int(a, FIX(S32, 32), e)) \
    X(scvtf_sw, "scvtf s0, w0", INT, V, fp32_from_int(a, S32, e)) \
    X(fcvtzs_xs_1, "fcvtzs x0, s0, #1", F32, G64, fp32_to_int((u32)a, FIX(S64, 1), FP_ROUND_ZERO, e)) \
    X(scvtf_sx_1, "scvtf s0, x0, #1", INT, V, fp32_from_int(a, FIX(S64, 1), e)) \
    X(fcvtzs_xs_31, "fcvtzs x0, s0, #31", F32, G64, fp32_to_int((u32)a, FIX(S64, 31), FP_ROUND_ZERO, e)) \
    X(scvtf_sx_31, "scvtf s0, x0, #31", INT, V, fp32_from_int(a, FIX(S64, 31), e)) \
    X(fcvtzs_xs_64, "fcvtzs x0, s0, #64", F32, G64, fp32_to_int((u32)a, FIX(S64, 64), FP_ROUND_ZERO, e)) \
    X(scvtf_sx_64, "scvtf s0, x0, #64", INT, V, fp32_from_int(a, FIX(S64, 64), e)) \
    X(scvtf_sx, "scvtf s0, x0", INT, V, fp32_from_int(a, S64, e)) \
    X(fcvtzu_ws_1, "fcvtzu w0, s0, #1", F32, G32, fp32_to_int((u32)a, FIX(U32, 1), FP_ROUND_ZERO, e)) \
    X(ucvtf_sw_1, "ucvtf s0, w0, #1", INT, V, fp32_from_int(a, FIX(U32, 1), e)) \
    X(fcvtzu_ws_16, "fcvtzu w0, s0, #16", F32, G32, fp32_to_int((u32)a, FIX(U32, 16), FP_ROUND_ZERO, e)) \
    X(ucvtf_sw_16, "ucvtf s0, w0, #16", INT, V, fp32_from_int(a, FIX(U32, 16), e)) \
    X(fcvtzu_ws_32, "fcvtzu w0, s0, #32", F32, G32, fp32_to_int((u32)a, FIX(U32, 32), FP_ROUND_ZERO, e)) \
    X(ucvtf_sw_32, "ucvtf s0, w0, #32", INT, V, fp32_from_int(a, FIX(U32, 32), e)) \
    X(ucvtf_sw, "ucvtf s0, w0", INT, V, fp32_from_int(a, U32, e)) \
    X(fcvtzu_xs_1, "fcvtzu x0, s0, #1", F32, G64, fp32_to_int((u32)a, FIX(U64, 1), FP_ROUND_ZERO, e)) \
    X(ucvtf_sx_1, "ucvtf s0, x0, #1", INT, V, fp32_from_int(a, FIX(U64, 1), e)) \
    X(fcvtzu_xs_31, "fcvtzu x0, s0, #31", F32, G64, fp32_to_int((u32)a, FIX(U64, 31), FP_ROUND_ZERO, e)) \
    X(ucvtf_sx_31, "ucvtf s0, x0, #31", INT, V, fp32_from_int(a, FIX(U64, 31), e)) \
    X(fcvtzu_xs_64, "fcvtzu x0, s0, #64", F32, G64, fp32_to_int((u32)a, FIX(U64, 64), FP_ROUND_ZERO, e)) \
    X(ucvtf_sx_64, "ucvtf s0, x0, #64", INT, V, fp32_from_int(a, FIX(U64, 64), e)) \
    X(ucvtf_sx, "ucvtf s0, x0", INT, V, fp32_from_int(a, U64, e)) \
    X(fadd_d, "fadd d0, d0, d1", F64, V, fp64_add(a, b, e)) \
    X(fsub_d, "fsub d0, d0, d1", F64, V, fp64_sub(a, b, e)) \
    X(fmul_d, "fmul d0, d0, d1", F64, V, fp64_mul(a, b, e)) \
    X(fdiv_d, "fdiv d0, d0, d1", F64, V, fp64_div(a, b, e)) \
    X(fmulx_d, "fmulx d0, d0, d1", F64, V, fp64_mulx(a, b, e)) \
    X(frecps_d, "frecps d0, d0, d1", F64, V, fp64_recip_step(a, b, e)) \
    X(frsqrts_d, "frsqrts d0, d0, d1", F64, V, fp64_rsqrt_step(a, b, e)) \
    X(fmadd_d, "fmadd d0, d0, d1, d2", F64, V, fp64_fma(a, b, c, 0, e)) \
    X(fmsub_d, "fmsub d0, d0, d1, d2", F64, V, fp64_fma(a, b, c, FP_NEG_PRODUCT, e)) \
    X(fnmadd_d, "fnmadd d0, d0, d1, d2", F64, V, fp64_fma(a, b, c, FP_NEG_PRODUCT | FP_NEG_ADDEND, e)) \
    X(fnmsub_d, "fnmsub d0, d0, d1, d2", F64, V, fp64_fma(a, b, c, FP_NEG_ADDEND, e)) \
    X(fmin_d, "fmin d0, d0, d1", F64, V, fp64_min(a, b, FP_MIN_NAN, e)) \
    X(fmax_d, "fmax d0, d0, d1", F64, V, fp64_max(a, b, FP_MIN_NAN, e)) \
    X(fminnm_d, "fminnm d0, d0, d1", F64, V, fp64_min(a, b, FP_MIN_NUMBER_2008, e)) \
    X(fmaxnm_d, "fmaxnm d0, d0, d1", F64, V, fp64_max(a, b, FP_MIN_NUMBER_2008, e)) \
    X(fsqrt_d, "fsqrt d0, d0", F64, V, fp64_sqrt(a, e)) \
    X(frecpe_d, "frecpe d0, d0", F64, V, fp64_recip_estimate(a, e)) \
    X(frsqrte_d, "frsqrte d0, d0", F64, V, fp64_rsqrt_estimate(a, e)) \
    X(frecpx_d, "frecpx d0, d0", F64, V, fp64_recip_exponent(a, e)) \
    X(fcmp_d, "fcmp d0, d1", F64, N, fp64_compare(a, b, false, e)) \
    X(fcmpe_d, "fcmpe d0, d1", F64, N, fp64_compare(a, b, true, e)) \
    X(frintn_d, "frintn d0, d0", F64, V, fp64_round_int(a, FP_ROUND_EVEN, false, e)) \
    X(frintp_d, "frintp d0, d0", F64, V, fp64_round_int(a, FP_ROUND_UP, false, e)) \
    X(frintm_d, "frintm d0, d0", F64, V, fp64_round_int(a, FP_ROUND_DOWN, false, e)) \
    X(frintz_d, "frintz d0, d0", F64, V, fp64_round_int(a, FP_ROUND_ZERO, false, e)) \
    X(frinta_d, "frinta d0, d0", F64, V, fp64_round_int(a, FP_ROUND_AWAY, false, e)) \
    X(frinti_d, "frinti d0, d0", F64, V, fp64_round_int(a, e->round, false, e)) \
    X(frintx_d, "frintx d0, d0", F64, V, fp64_round_int(a, e->round, true, e)) \
    X(frint32z_d, "frint32z d0, d0", F64, V, fp64_round_fit(a, FP_ROUND_ZERO, 32, e)) \
    X(frint32x_d, "frint32x d0, d0", F64, V, fp64_round_fit(a, e->round, 32, e)) \
    X(frint64z_d, "frint64z d0, d0", F64, V, fp64_round_fit(a, FP_ROUND_ZERO, 64, e)) \
    X(frint64x_d, "frint64x d0, d0", F64, V, fp64_round_fit(a, e->round, 64, e)) \
    X(fcvtns_wd, "fcvtns w0, d0", F64, G32, fp64_to_int(a, S32, FP_ROUND_EVEN, e)) \
    X(fcvtns_xd, "fcvtns x0, d0", F64, G64, fp64_to_int(a, S64, FP_ROUND_EVEN, e)) \
    X(fcvtnu_wd, "fcvtnu w0, d0", F64, G32, fp64_to_int(a, U32, FP_ROUND_EVEN, e)) \
    X(fcvtnu_xd, "fcvtnu x0, d0", F64, G64, fp64_to_int(a, U64, FP_ROUND_EVEN, e)) \
    X(fcvtps_wd, "fcvtps w0, d0", F64, G32, fp64_to_int(a, S32, FP_ROUND_UP, e)) \
    X(fcvtps_xd, "fcvtps x0, d0", F64, G64, fp64_to_int(a, S64, FP_ROUND_UP, e)) \
    X(fcvtpu_wd, "fcvtpu w0, d0", F64, G32, fp64_to_int(a, U32, FP_ROUND_UP, e)) \
    X(fcvtpu_xd, "fcvtpu x0, d0", F64, G64, fp64_to_int(a, U64, FP_ROUND_UP, e)) \
    X(fcvtms_wd, "fcvtms w0, d0", F64, G32, fp64_to_int(a, S32, FP_ROUND_DOWN, e)) \
    X(fcvtms_xd, "fcvtms x0, d0", F64, G64, fp64_to_int(a, S64, FP_ROUND_DOWN, e)) \
    X(fcvtmu_wd, "fcvtmu w0, d0", F64, G32, fp64_to_int(a, U32, FP_ROUND_DOWN, e)) \
    X(fcvtmu_xd, "fcvtmu x0, d0", F64, G64, fp64_to_int(a, U64, FP_ROUND_DOWN, e)) \
    X(fcvtzs_wd, "fcvtzs w0, d0", F64, G32, fp64_to_int(a, S32, FP_ROUND_ZERO, e)) \
    X(fcvtzs_xd, "fcvtzs x0, d0", F64, G64, fp64_to_int(a, S64, FP_ROUND_ZERO, e)) \
    X(fcvtzu_wd, "fcvtzu w0, d0", F64, G32, fp64_to_int(a, U32, FP_ROUND_ZERO, e)) \
    X(fcvtzu_xd, "fcvtzu x0, d0", F64, G64, fp64_to_int(a, U64, FP_ROUND_ZERO, e)) \
    X(fcvtas_wd, "fcvtas w0, d0", F64, G32, fp64_to_int(a, S32, FP_ROUND_AWAY, e)) \
    X(fcvtas_xd, "fcvtas x0, d0", F64, G64, fp64_to_int(a, S64, FP_ROUND_AWAY, e)) \
    X(fcvtau_wd, "fcvtau w0, d0", F64, G32, fp64_to_int(a, U32, FP_ROUND_AWAY, e)) \
    X(fcvtau_xd, "fcvtau x0, d0", F64, G64, fp64_to_int(a, U64, FP_ROUND_AWAY, e)) \
    X(fcvtzs_wd_1, "fcvtzs w0, d0, #1", F64, G32, fp64_to_int(a, FIX(S32, 1), FP_ROUND_ZERO, e)) \
    X(scvtf_dw_1, "scvtf d0, w0, #1", INT, V, fp64_from_int(a, FIX(S32, 1), e)) \
    X(fcvtzs_wd_16, "fcvtzs w0, d0, #16", F64, G32, fp64_to_int(a, FIX(S32, 16), FP_ROUND_ZERO, e)) \
    X(scvtf_dw_16, "scvtf d0, w0, #16", INT, V, fp64_from_int(a, FIX(S32, 16), e)) \
    X(fcvtzs_wd_32, "fcvtzs w0, d0, #32", F64, G32, fp64_to_int(a, FIX(S32, 32), FP_ROUND_ZERO, e)) \
    X(scvtf_dw_32, "scvtf d0, w0, #32", INT, V, fp64_from_int(a, FIX(S32, 32), e)) \
    X(scvtf_dw, "scvtf d0, w0", INT, V, fp64_from_int(a, S32, e)) \
    X(fcvtzs_xd_1, "fcvtzs x0, d0, #1", F64, G64, fp64_to_int(a, FIX(S64, 1), FP_ROUND_ZERO, e)) \
    X(scvtf_dx_1, "scvtf d0, x0, #1", INT, V, fp64_from_int(a, FIX(S64, 1), e)) \
    X(fcvtzs_xd_31, "fcvtzs x0, d0, #31", F64, G64, fp64_to_int(a, FIX(S64, 31), FP_ROUND_ZERO, e)) \
    X(scvtf_dx_31, "scvtf d0, x0, #31", INT, V, fp64_from_int(a, FIX(S64, 31), e)) \
    X(fcvtzs_xd_64, "fcvtzs x0, d0, #64", F64, G64, fp64_to_int(a, FIX(S64, 64), FP_ROUND_ZERO, e)) \
    X(scvtf_dx_64, "scvtf d0, x0, #64", INT, V, fp64_from_int(a, FIX(S64, 64), e)) \
    X(scvtf_dx, "scvtf d0, x0", INT, V, fp64_from_int(a, S64, e)) \
    X(fcvtzu_wd_1, "fcvtzu w0, d0, #1", F64, G32, fp64_to_int(a, FIX(U32, 1), FP_ROUND_ZERO, e)) \
    X(ucvtf_dw_1, "ucvtf d0, w0, #1", INT, V, fp64_from_int(a, FIX(U32, 1), e)) \
    X(fcvtzu_wd_16, "fcvtzu w0, d0, #16", F64, G32, fp64_to_int(a, FIX(U32, 16), FP_ROUND_ZERO, e)) \
    X(ucvtf_dw_16, "ucvtf d0, w0, #16", INT, V, fp64_from_int(a, FIX(U32, 16), e)) \
    X(fcvtzu_wd_32, "fcvtzu w0, d0, #32", F64, G32, fp64_to_int(a, FIX(U32, 32), FP_ROUND_ZERO, e)) \
    X(ucvtf_dw_32, "ucvtf d0, w0, #32", INT, V, fp64_from_int(a, FIX(U32, 32), e)) \
    X(ucvtf_dw, "ucvtf d0, w0", INT, V, fp64_from_int(a, U32, e)) \
    X(fcvtzu_xd_1, "fcvtzu x0, d0, #1", F64, G64, fp64_to_int(a, FIX(U64, 1), FP_ROUND_ZERO, e)) \
    X(ucvtf_dx_1, "ucvtf d0, x0, #1", INT, V, fp64_from_int(a, FIX(U64, 1), e)) \
    X(fcvtzu_xd_31, "fcvtzu x0, d0, #31", F64, G64, fp64_to_int(a, FIX(U64, 31), FP_ROUND_ZERO, e)) \
    X(ucvtf_dx_31, "ucvtf d0, x0, #31", INT, V, fp64_from_int(a, FIX(U64, 31), e)) \
    X(fcvtzu_xd_64, "fcvtzu x0, d0, #64", F64, G64, fp64_to_int(a, FIX(U64, 64), FP_ROUND_ZERO, e)) \
    X(ucvtf_dx_64, "ucvtf d0, x0, #64", INT, V, fp64_from_int(a, FIX(U64, 64), e)) \
    X(ucvtf_dx, "ucvtf d0, x0", INT, V, fp64_from_int(a, U64, e)) \
    X(fcvtzs_hh, "fcvtzs h0, h0", F16, V16, fp16_to_int((u16)a, S16, FP_ROUND_ZERO, e)) \
    X(fcvtns_hh, "fcvtns h0, h0", F16, V16, fp16_to_int((u16)a, S16, FP_ROUND_EVEN, e)) \
    X(fcvtzs_hh_7, "fcvtzs h0, h0, #7", F16, V16, fp16_to_int((u16)a, FIX(S16, 7), FP_ROUND_ZERO, e)) \
    X(scvtf_hh, "scvtf h0, h0", INT, V, fp16_from_int(a, S16, e)) \
    X(scvtf_hh_16, "scvtf h0, h0, #16", INT, V, fp16_from_int(a, FIX(S16, 16), e)) \
    X(fcvtzu_hh, "fcvtzu h0, h0", F16, V16, fp16_to_int((u16)a, U16, FP_ROUND_ZERO, e)) \
    X(fcvtnu_hh, "fcvtnu h0, h0", F16, V16, fp16_to_int((u16)a, U16, FP_ROUND_EVEN, e)) \
    X(fcvtzu_hh_7, "fcvtzu h0, h0, #7", F16, V16, fp16_to_int((u16)a, FIX(U16, 7), FP_ROUND_ZERO, e)) \
    X(ucvtf_hh, "ucvtf h0, h0", INT, V, fp16_from_int(a, U16, e)) \
    X(ucvtf_hh_16, "ucvtf h0, h0, #16", INT, V, fp16_from_int(a, FIX(U16, 16), e)) \
    X(fcvt_sh, "fcvt s0, h0", F16, V, fp16_to_fp32((u16)a, e)) \
    X(fcvt_dh, "fcvt d0, h0", F16, V, fp16_to_fp64((u16)a, e)) \
    X(fcvt_hs, "fcvt h0, s0", F32, V, fp32_to_fp16((u32)a, e)) \
    X(fcvt_ds, "fcvt d0, s0", F32, V, fp32_to_fp64((u32)a, e)) \
    X(fcvt_hd, "fcvt h0, d0", F64, V, fp64_to_fp16(a, e)) \
    X(fcvt_sd, "fcvt s0, d0", F64, V, fp64_to_fp32(a, e)) \
    X(bfcvt, "bfcvt h0, s0", F32, V, fp32_to_bf16((u32)a, e)) \
    X(fcvtxn, "fcvtxn s0, d0", F64, V, to_odd(a, e)) \
    X(fjcvtzs, "fjcvtzs w0, d0", F64, JS, fp64_to_int32_modulo(a, exact, e)) \
    X(urecpe, "urecpe v0.2s, v0.2s", INT, V32, fp_recip_estimate_u32((u32)a)) \
    X(ursqrte, "ursqrte v0.2s, v0.2s", INT, V32, fp_rsqrt_estimate_u32((u32)a))
/* clang-format on */

#endif
