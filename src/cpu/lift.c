/* What lifting has in common among guests: the way along a block, and the ways out of it. */
#include "cpu/lift.h"

void lift_end_flags(struct lift *l, u64 yes, u64 no)
{
    if (l->isa->flags)
        l->isa->flags->end(l, yes, no);
}

void lift_block(struct lift *l, bool (*insn)(struct lift *l))
{
    const struct isa_flags *flags = l->isa->flags;
    for (unsigned n = 0; !l->ended; n++, l->pc = l->next) {
        bool joins = n && l->joins && !l->returns_to && l->joins(l, l->pc) && (!flags || flags->may_join(l));
        if (joins)
            lift_end_flags(l, l->pc, l->pc);
        bool full = n >= l->max_insns && (n <= 1 || !flags || flags->may_stop(l));
        if (joins || full || !insn(l)) {
            ir_exit(l->b, l->pc);
            l->ended = true;
            return;
        }
    }
}

void lift_undefined(struct lift *l, u32 insn)
{
    ir_raise(l->b, ISA_RAISE_UNDEFINED, ir_const(l->b, IR_I64, insn), l->pc);
    l->ended = true;
}

/* A side exit of a hot region: it may be taken often, and is no reason to store flags on the other way. out: to
 * another region by all means. */
static bool hot_exit_if(struct lift *l, irv cond, bool want, u64 pc, bool out)
{
    const struct isa_flags *f = l->isa->flags;
    bool (*exit_if)(struct ir_builder *, irv, bool, u64) = out ? ir_leave_if : ir_exit_if;
    if (!f)
        return exit_if(l->b, cond, want, pc);
    irv flags = ir_get(l->b, f->slot);
    f->end(l, pc, pc);
    bool goes_on = exit_if(l->b, cond, want, pc);
    ir_put(l->b, f->slot, flags);
    return goes_on;
}

/* In a region of hot code a branch backward is a loop's, and its end a side exit; forward ones are side exits
 * themselves. The block to come next is the last one that is asked for: the start of the loop, if it is
 * not there yet. */
static void hot_branch(struct lift *l, irv cond, u64 yes)
{
    u64 no = l->next;
    bool known = l->joins(l, yes);
    l->ended = true;
    if (!l->follow(l, yes) || yes > l->pc) {
        if (yes <= l->pc) /* another way may make the region have a block there after all, and close a loop */
            ir_poll(l->b);
        l->ended = !hot_exit_if(l, cond, true, yes, false);
        return;
    }
    l->follow(l, no);
    if (!known)
        l->follow(l, yes);
    ir_poll(l->b);
    if (hot_exit_if(l, cond, false, no, false)) {
        lift_end_flags(l, yes, yes);
        ir_exit(l->b, yes);
    }
}

/* A forward branch is likely not taken: the block goes on behind it. A backward one is likely a loop's. */
void lift_branch(struct lift *l, irv cond, u64 yes)
{
    if (l->b->r->by_state) {
        hot_branch(l, cond, yes);
        return;
    }
    if (yes > l->pc && l->side_exits < LIFT_SIDE_EXITS && ir_with(l->b->r, IR_PASS_SIDES)) {
        l->side_exits++;
        l->ended = !ir_exit_if(l->b, cond, true, yes);
        return;
    }
    lift_end_flags(l, yes, l->next);
    ir_exit_br(l->b, cond, yes, l->next);
    l->ended = true;
}

void lift_jump(struct lift *l, u64 to)
{
    /* A jump within a region of several blocks is no region boundary: what closes a loop asks here. */
    if (l->b->r->by_state && to <= l->pc)
        ir_poll(l->b);
    lift_end_flags(l, to, to);
    ir_exit(l->b, to);
    l->ended = true;
}

void lift_sync(struct lift *l)
{
    if (l->b->r->by_state)
        ir_poll(l->b); /* the region may be gone already: whoever removed it has asked for a flush before */
    lift_end_flags(l, l->next, l->next);
    ir_exit(l->b, l->next);
    l->ended = true;
}

/* Go on with the instruction at pc as the next of this block. */
static bool go_on(struct lift *l, u64 pc)
{
    if (!l->go_on(l, pc))
        return false;
    l->next = pc;
    return true;
}

/* Direct exits from now on lead to that copy. Returns which it was before. */
static u32 switch_copy(struct lift *l, u32 copy)
{
    u32 old = l->b->copy;
    l->b->copy = copy;
    return old;
}

void lift_call(struct lift *l, u64 to)
{
    u64 back = l->next;
    bool hot = l->b->r->by_state && !l->returns_to && ir_with(l->b->r, IR_PASS_INLINE);
    if (hot && l->isa->is_small_leaf(l, to) && go_on(l, to)) {
        l->returns_to = back;
        return;
    }
    u32 copy = hot ? l->inlines(l, to, back) : 0;
    lift_end_flags(l, to, to);
    if (copy) {
        u32 own = switch_copy(l, copy);
        ir_exit(l->b, to);
        switch_copy(l, own);
    } else {
        ir_call(l->b, to, back);
    }
    l->ended = true;
}

u64 lift_known_callee(struct lift *l, irv to)
{
    const struct ir_region *r = l->b->r;
    if (!r->by_state || !ir_with(r, IR_PASS_INLINE) || l->returns_to || ir_is_const(r, to) || l->pc == r->pc)
        return 0; /* also at the region's entry, where control comes that left another for a third callee */
    /* The block that starts here is for calls that do not go to the first callee. */
    bool second = r->block[l->b->block].pc == l->pc;
    u64 pc = l->callee(l, l->next, second);
    if (!pc || !l->isa->is_small_leaf(l, pc) || (!second && !l->need(l, l->pc)))
        return 0;
    irv known = ir_const(l->b, IR_I64, pc);
    irv another = ir_icmp(l->b, IR_NE, 64, to, known);
    hot_exit_if(l, another, true, l->pc, second);
    return pc;
}

/* From a copy, go on where it was called. True if that may not be where control returns to. */
static bool leave_copy(struct lift *l, irv to)
{
    irv back = ir_const(l->b, IR_I64, l->copy_back);
    irv here = ir_icmp(l->b, IR_EQ, 64, to, back);
    u32 own = switch_copy(l, l->copy_caller);
    bool goes_on = hot_exit_if(l, here, true, l->copy_back, false);
    switch_copy(l, own);
    return goes_on;
}

void lift_return(struct lift *l, irv to)
{
    u64 back = l->returns_to;
    if (back && ir_is_const(l->b->r, to) && l->b->r->node[to].imm == back && go_on(l, back)) {
        l->returns_to = 0;
        return;
    }
    l->ended = true;
    if (!l->copy_back || leave_copy(l, to))
        ir_ret(l->b, to);
}

irv lift_join(struct lift *l, unsigned size, irv low, irv high)
{
    if (size == 3)
        return ir_v2(l->b, IR_VPAIR, IR_V128, 0, low, high);
    return ir_bfi(l->b, IR_I64, low, high, 32, 32);
}

void lift_halves(struct lift *l, unsigned size, irv v, irv *low, irv *high)
{
    if (size == 3) {
        *low = ir_emit(l->b, IR_VGET, IR_I64, 3, v, 0, 0, 0);
        *high = ir_emit(l->b, IR_VGET, IR_I64, 3 | 1 << 4, v, 0, 0, 0);
    } else {
        *low = ir_ubfx(l->b, IR_I64, v, 0, 32);
        *high = ir_shr(l->b, IR_I64, v, ir_const(l->b, IR_I64, 32));
    }
}

void lift_clear(struct lift *l, irv addr, unsigned bytes)
{
    irv mask = ir_const(l->b, IR_I64, ~(u64)(bytes - 1));
    irv at = ir_and(l->b, IR_I64, addr, mask);
    irv zero = ir_const(l->b, IR_V128, 0);
    for (unsigned i = 0; i < bytes; i += 16)
        ir_st(l->b, 4, at, 0, (s32)i, zero);
}
