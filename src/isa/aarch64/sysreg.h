/* Names of A64 system registers and of the operations that are SYS instructions. */
#ifndef LYRE_ISA_AARCH64_SYSREG_H
#define LYRE_ISA_AARCH64_SYSREG_H

#include "base/types.h"

enum {
    A64_SYSREG_RO = 1, /* the name holds for MRS only */
    A64_SYSREG_WO = 2, /* for MSR only */
};

struct a64_sysreg {
    const char *name; /* for an operation with its mnemonic: "dc zva" */
    u16 key;          /* op0:op1:CRn:CRm:op2; without op0 for an operation */
    u16 flags;        /* A64_SYSREG_*; for an operation: takes a register */
};

/* Sorted by key. */
extern const struct a64_sysreg a64_sysregs[], a64_sysops[];
extern const unsigned a64_sysregs_count, a64_sysops_count;

/* The register that MRS (write: MSR) of this key names, NULL if it has no name. */
const struct a64_sysreg *a64_sysreg(u32 key, bool write);

/* The named operation, NULL for a plain SYS. */
const struct a64_sysreg *a64_sysop(u32 key);

#endif
