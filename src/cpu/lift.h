/* What a guest's lifter gets: the place to read instructions from and the builder to append to. */
#ifndef LYRE_CPU_LIFT_H
#define LYRE_CPU_LIFT_H

#include <stdatomic.h>

#include "cpu/isa.h"
#include "jit/ir/build.h"

#define LIFT_PEEKS 16
#define LIFT_SITES 256
#define LIFT_SIDE_EXITS 4

/* Guest instructions that turned out to need other code than most do. From `limit` of them on all are
 * expected to. */
struct lift_sites {
    u64 pc[LIFT_SITES];
    _Atomic unsigned count; /* who holds no lock may see whether there are any, and no more */
    unsigned limit;
};

static inline bool lift_site(const struct lift_sites *s, u64 pc)
{
    if (!s)
        return false;
    unsigned count = atomic_load_explicit(&s->count, memory_order_relaxed);
    bool found = count == s->limit;
    for (unsigned i = 0; i < count && !found; i++)
        found = s->pc[i] == pc;
    return found;
}

struct lift {
    struct ir_builder *b;
    const struct isa *isa;
    const void *model; /* the isa's CPU model, struct vcpu.model */
    u32 key;

    u64 start;       /* guest address of code[0] */
    const u8 *code;  /* what could be read from there */
    size_t code_len;
    unsigned max_insns;

    u64 pc;          /* of the instruction being lifted; afterwards, behind the last one */
    u64 next;        /* of the instruction to be lifted after it */
    unsigned side_exits; /* conditional ways out of the middle of the block so far */
    bool ended;      /* the block has its exit */
    void *isa_data;  /* free for the isa during one lift */

    /* NULL: none. */
    const struct lift_sites *tagged;  /* their accesses met a tagged address */
    const struct lift_sites *invalid; /* floating point that raised `invalid` again and again */
    const struct lift_sites *breaks;  /* machines: some vCPU had a breakpoint there: ask whether this one has */

    /* Look at guest code elsewhere: copies what can be read of `len` bytes at pc to `to` and returns
     * how much. The region then depends on those bytes, too. At most LIFT_PEEKS looks succeed. */
    size_t (*peek)(struct lift *l, u64 pc, void *to, size_t len);
    struct {
        u64 start;
        u32 len;
    } peeked[LIFT_PEEKS];
    unsigned npeeked;
    /* NULL: no page of the program is guarded, and indirect branches need not say what they are.
     * Else: is that of pc? */
    bool (*guarded)(struct lift *l, u64 pc);

    /* For by_state regions. follow: control may go to pc from here; true when the region is to have a block
     * there. joins: has it, or will it have, a block at pc, so that this one ends there? */
    bool (*follow)(struct lift *l, u64 pc);
    bool (*joins)(struct lift *l, u64 pc);
    /* Have `code` start at pc, behind the instruction at hand, for a block that goes on there. False when there
     * is no code. */
    bool (*go_on)(struct lift *l, u64 pc);
    /* Where the indirect call went that returns to `back`, if there is reason to think that it will again; else
     * 0. second: where else. */
    u64 (*callee)(struct lift *l, u64 back, bool second);
    /* Have a block at pc, even if no control was seen to go there. False when there is no room. */
    bool (*need)(struct lift *l, u64 pc);
    u64 returns_to;  /* where the inlined function that is being lifted was called from; 0: none is */
    /* Have a copy of the function at `to` in the place of the direct call at hand, which comes back to `back`.
     * Returns its number; 0: no. */
    u32 (*inlines)(struct lift *l, u64 to, u64 back);
    u64 copy_back;   /* the block is of such a copy, which returns to here; 0: it is not */
    u32 copy_caller; /* and which copy that is in */
    void *opaque;    /* for the functions */
};

/* The instruction at l->pc starts, which has so many bytes. */
static inline void lift_insn_start(struct lift *l, unsigned bytes)
{
    l->next = l->pc + bytes;
    ir_insn(l->b, l->pc);
    l->b->strip = lift_site(l->tagged, l->pc) ? l->isa->tag_bits : 0;
    l->b->invalid = lift_site(l->invalid, l->pc);
}

/* The bytes at l->pc, or NULL when fewer than `len` are there: the block then ends with an exit to
 * l->pc (the fault, if any, is found when control gets there). */
static inline const u8 *lift_bytes(const struct lift *l, size_t len)
{
    u64 at = l->pc - l->start;
    return at + len <= l->code_len ? l->code + at : NULL;
}

/* Lift a block from l->pc on, with `insn` for each instruction. That sets l->ended behind the last one, and is
 * false when code is missing. */
void lift_block(struct lift *l, bool (*insn)(struct lift *l));

/* The instruction at hand is undefined: end the block. insn: its encoding. */
void lift_undefined(struct lift *l, u32 insn);

/* Ends of blocks, for the instruction at hand: a branch to `yes` if cond holds, a jump, a call that comes back
 * behind it (its link register has been put), a return. In hot code the block may go on behind them. */
void lift_branch(struct lift *l, irv cond, u64 yes);
void lift_jump(struct lift *l, u64 to);
void lift_call(struct lift *l, u64 to);
/* The instruction at hand orders fetches: no old code runs behind it. */
void lift_sync(struct lift *l);
void lift_return(struct lift *l, irv to);

/* In hot code, before the link register is put: the small leaf that the indirect call at hand is likely to go to,
 * for lift_call(); if it goes elsewhere this time, control leaves the block here. 0: none is known. */
u64 lift_known_callee(struct lift *l, irv to);

/* Two values of 1 << size bytes (4 or 8) as one of twice the size, the first in the low half; and back. */
irv lift_join(struct lift *l, unsigned size, irv low, irv high);
void lift_halves(struct lift *l, unsigned size, irv v, irv *low, irv *high);

/* Store zeros to the block of `bytes`, a power of two and at least 16, that addr is in. */
void lift_clear(struct lift *l, irv addr, unsigned bytes);

/* struct isa_flags.end, for guests that have flags. */
void lift_end_flags(struct lift *l, u64 yes, u64 no);

#endif
