/* Operations that a host lacks, in terms of those that it has. Lifters never ask what the host can do:
 * the builder of a compilation asks here for each operation that not every host has. */
#ifndef LYRE_JIT_OPT_LEGALISE_H
#define LYRE_JIT_OPT_LEGALISE_H

#include "jit/ir/build.h"

/* Other operations for `n`, which the builder's host lacks; 0 when there are none worth it: then the
 * back end has C compute it. For struct ir_lowering. */
irv opt_legalise(struct ir_builder *b, const struct ir_node *n);

#endif
