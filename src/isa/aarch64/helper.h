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
    A64_HELPERS,
};

extern const struct ir_helper a64_helpers[A64_HELPERS];

#endif
