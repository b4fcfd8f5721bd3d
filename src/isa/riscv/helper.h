/* C functions that translated code calls, by index in rv_helpers[]. */
#ifndef LYRE_ISA_RISCV_HELPER_H
#define LYRE_ISA_RISCV_HELPER_H

#include "jit/ir/ir.h"

enum rv_helper {
    RV_HELPER_SET_FCSR,
    RV_HELPER_SET_FFLAGS,
    RV_HELPER_TIME, RV_HELPER_REALTIME, RV_HELPER_MONOTONIC,
    RV_HELPER_FCLASS, /* of a value and its enum ir_type */
    RV_HELPER_SM4ED, RV_HELPER_SM4KS, /* of a byte at the lowest place */
    RV_HELPERS,
};

/* Ended by a row without a function. */
extern const struct ir_helper rv_helpers[RV_HELPERS + 1];

#endif
