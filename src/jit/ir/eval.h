/* What integer operations mean, once: the interpreter runs it, the folder computes constants with
 * it. */
#ifndef LYRE_JIT_IR_EVAL_H
#define LYRE_JIT_IR_EVAL_H

#include "jit/ir/ir.h"

/* The result of an integer operation (ADD .. CRC32 except SELECT of non-integers) on operand
 * values; unused ones are ignored. */
u64 ir_eval_int(const struct ir_node *n, u64 a, u64 b, u64 c);

/* True for the operations that ir_eval_int knows. */
static inline bool ir_is_int_op(unsigned op)
{
    return op >= IR_ADD && op <= IR_CRC32;
}

bool ir_eval_icond(enum ir_icond cond, unsigned width, u64 a, u64 b);

#endif
