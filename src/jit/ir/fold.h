/* Fold rules that need no look at the rest of the region. A rule keeps the type, never adds a memory
 * access, and never drops one (nor an address dependency of one: the memory model of weakly ordered
 * guests rests on those). */
#ifndef LYRE_JIT_IR_FOLD_H
#define LYRE_JIT_IR_FOLD_H

#include "jit/ir/build.h"

/* A value that stands for `n`, or 0 when it must be built; `n` may have been changed into a cheaper
 * form of the same meaning. */
irv ir_fold(struct ir_builder *b, struct ir_node *n);

#endif
