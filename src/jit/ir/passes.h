/* What the translator does to make code quicker. Each can be left out (`-opt -NAME`): a program that goes wrong with a
 * pass and right without it shows where to look. */
#ifndef LYRE_JIT_IR_PASSES_H
#define LYRE_JIT_IR_PASSES_H

#include "base/types.h"

enum ir_pass {
    IR_PASS_COLD,
    IR_PASS_FOLD,
    IR_PASS_SHARE,
    IR_PASS_FLAGS,
    IR_PASS_SIDES,
    IR_PASS_LINK,
    IR_PASS_HOT,
    IR_PASS_INLINE,
    IR_PASS_HOMES,
    IR_PASSES
};

struct ir_pass_info {
    const char *name, *help;
};

extern const struct ir_pass_info ir_pass_info[IR_PASSES];

/* The pass of that name, which ends after `len` characters; IR_PASSES: there is none. */
unsigned ir_pass_find(const char *name, size_t len);

#endif
