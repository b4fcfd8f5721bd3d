/* The reference engine: runs IR in portable C. What the JIT passes, it passes; lockstep compares the
 * two. */
#ifndef LYRE_JIT_IR_INTERP_H
#define LYRE_JIT_IR_INTERP_H

#include "jit/ir/env.h"
#include "jit/ir/ir.h"

/* Guest memory as the interpreter sees it. Each function returns false when the access faults;
 * `bytes` is 1, 2, 4, 8 or 16. */
struct ir_mem {
    bool (*load)(void *opaque, u64 addr, void *to, unsigned bytes);
    bool (*store)(void *opaque, u64 addr, const void *from, unsigned bytes);
    /* Atomically: *old = memory; if it equals *expected, memory = *desired. */
    bool (*cas)(void *opaque, u64 addr, const v128 *expected, const v128 *desired, v128 *old,
                unsigned bytes);
    void *opaque;
    const struct ir_mem *unpriv; /* for IR_MEM_UNPRIV; NULL: as for others */
};

/* The accessors for memory that is mapped at guest_addr + 0 and may be touched directly. */
extern const struct ir_mem ir_mem_direct;

struct ir_interp {
    v128 *value; /* by node */
    u32 cap;
    u64 undef[IR_MAX_SLOTS / 64]; /* slots that the last exit left undefined */
    const struct ir_mem *mem;
    u32 polls; /* leave at this poll, the first one being 1, whatever env->request says; 0: when it is set */
};

void ir_interp_free(struct ir_interp *in);

/* Run the region from the state in env->slots to an exit; the slots then hold the new state, env->exit
 * and its companions say why it left. Blocks may loop; polls and `max_blocks` (0: no limit) bound
 * that: IR_EXIT_REQUEST. */
void ir_interp_run(struct ir_interp *in, const struct ir_region *r, struct ir_env *env,
                   const struct ir_helper *helpers, u64 max_blocks);

/* Shared by the parts of the interpreter: FP and vector operations on operand values. */
void ir_interp_fp(const struct ir_node *n, const v128 *a, const v128 *b, const v128 *c, v128 *out,
                  struct fp_env *fp);
void ir_interp_vec(const struct ir_node *n, const v128 *a, const v128 *b, const v128 *c, v128 *out);
/* For ir_interp_vec(): *out is zero. */
void ir_interp_crypto(const struct ir_node *n, const v128 *a, const v128 *b, const v128 *c, v128 *out);

/* The flags of an FP comparison (node fl.fcmp), N Z C V in bits 3..0. */
u32 ir_eval_fcmp(const struct ir_node *n, const v128 *a, const v128 *b, struct fp_env *fp);

/* What compiled code calls for a node that its host has no code for, and for a flags slot that holds a
 * recipe: env->c_call[IR_CALL_EVAL] and [IR_CALL_FLAGS]. */
void ir_call_eval(struct ir_env *env);
void ir_call_flags(struct ir_env *env);

/* Copy a slot between memory and the form of an operand value. */
void ir_slot_load(const struct ir_slot *slot, const struct ir_env *env, v128 *value);
void ir_slot_store(const struct ir_slot *slot, struct ir_env *env, const v128 *value);

#endif
