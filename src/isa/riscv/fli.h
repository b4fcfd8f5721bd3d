/* The constants of FLI (Zfa 2.1). */
#ifndef LYRE_ISA_RISCV_FLI_H
#define LYRE_ISA_RISCV_FLI_H

#include "base/types.h"

enum { RV_FLI_LEAST = 1, RV_FLI_INF = 30, RV_FLI_NAN = 31 };

/* But for those: the least normal number, infinity and the canonical NaN of the format. */
extern const double rv_fli[RV_FLI_INF];

#endif
