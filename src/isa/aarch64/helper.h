/* C functions that translated code calls, by index in a64_helpers[]. */
#ifndef LYRE_ISA_AARCH64_HELPER_H
#define LYRE_ISA_AARCH64_HELPER_H

#include "jit/ir/ir.h"

enum a64_helper {
    A64_HELPER_GET_FPCR,
    A64_HELPER_SET_FPCR,
    A64_HELPER_GET_FPSR,
    A64_HELPER_SET_FPSR,
    A64_HELPER_COUNTER,
    A64_HELPER_FP_LANES,
    A64_HELPER_FJCVTZS,
    A64_HELPERS,
};

/* What A64_HELPER_FP_LANES does with each lane of its first two arguments. The third is op | lane
 * type << 8 | lanes << 12 | how << 16; the other lanes of the result are zero. */
enum a64_fp_op {
    A64_FP_ROUND_FIT, /* how: rounding | bits of the integer (32, 64) */
    A64_FP_TO_BF16,
    A64_FP_MULX,
    A64_FP_RECIP_ESTIMATE,
    A64_FP_RSQRT_ESTIMATE,
    A64_FP_RECIP_STEP,
    A64_FP_RSQRT_STEP,
    A64_FP_RECIP_EXPONENT,
};

void a64_fp_lanes(struct ir_env *env);
void a64_fjcvtzs(struct ir_env *env);

extern const struct ir_helper a64_helpers[A64_HELPERS];

#endif
