/* Branches and exceptions: the instructions that end a block. */
#include "isa/aarch64/lift.h"

static u64 target(const struct lift *l, s32 words)
{
    return l->pc + (u64)(s64)words * 4;
}

/* A jump within a region of several blocks is no region boundary: what closes a loop asks here. */
static void poll_if_backward(struct lift *l, u64 to)
{
    if (l->b->r->by_state && to <= l->pc)
        ir_poll(l->b);
}

/* A side exit of a hot region: it may be taken often, and is no reason to store flags on the other way. */
static bool hot_exit_if(struct lift *l, irv cond, bool want, u64 pc)
{
    irv flags = ir_get(l->b, A64_NZCV);
    a64_end_flags(l, pc, pc);
    bool goes_on = ir_exit_if(l->b, cond, want, pc);
    ir_put(l->b, A64_NZCV, flags);
    return goes_on;
}

/* In a region of hot code a branch backward is a loop's, and its end a side exit; forward ones are side exits
 * themselves. The block to come next is the last one that is asked for: the start of the loop, if it is
 * not there yet. */
static bool hot_branch(struct lift *l, irv cond, u64 yes)
{
    u64 no = next_pc(l);
    bool known = l->joins(l, yes);
    l->ended = true;
    if (!l->follow(l, yes) || yes > l->pc) {
        l->ended = !hot_exit_if(l, cond, true, yes);
        return true;
    }
    l->follow(l, no);
    if (!known)
        l->follow(l, yes);
    ir_poll(l->b);
    if (hot_exit_if(l, cond, false, no)) {
        a64_end_flags(l, yes, yes);
        ir_exit(l->b, yes);
    }
    return true;
}

/* A forward branch is likely not taken: the block goes on behind it. A backward one is likely a loop's. */
static bool branch_if(struct lift *l, irv cond, u64 yes)
{
    if (l->b->r->by_state)
        return hot_branch(l, cond, yes);
    if (yes > l->pc && l->side_exits < LIFT_SIDE_EXITS) {
        l->side_exits++;
        l->ended = !ir_exit_if(l->b, cond, true, yes);
        return true;
    }
    a64_end_flags(l, yes, next_pc(l));
    ir_exit_br(l->b, cond, yes, next_pc(l));
    l->ended = true;
    return true;
}

bool a64_lift_b_cond(struct lift *l, const struct a64_b_cond *f)
{
    return branch_if(l, condition(l, f->cond), target(l, f->imm19));
}

bool a64_lift_b_zero(struct lift *l, const struct a64_b_zero *f)
{
    irv zero = ir_const(l->b, gpr_type(f->sf), 0);
    irv cond = ir_icmp(l->b, f->op ? IR_NE : IR_EQ, gpr_width(f->sf), reg(l, f->rt), zero);
    return branch_if(l, cond, target(l, f->imm19));
}

bool a64_lift_b_bit(struct lift *l, const struct a64_b_bit *f)
{
    unsigned sf = f->bit >> 5;
    irv mask = ir_const(l->b, gpr_type(sf), 1ull << f->bit);
    irv cond = ir_icmp(l->b, f->op ? IR_TNZ : IR_TZ, gpr_width(sf), reg(l, f->rt), mask);
    return branch_if(l, cond, target(l, f->imm14));
}

static void put_link(struct lift *l)
{
    put_reg(l, 30, ir_const(l->b, IR_I64, next_pc(l)));
}

/* Go on with the instruction at pc as the next of this block. */
static bool go_on(struct lift *l, u64 pc)
{
    if (!l->go_on(l, pc))
        return false;
    l->pc = pc - 4;
    return true;
}

/* In hot code a small leaf is lifted in the place of its call; its return goes on behind that. Faults in it
 * show its own addresses and the link register. */
static bool go_into(struct lift *l, u64 to)
{
    u64 back = next_pc(l);
    if (!l->b->r->by_state || l->returns_to || !a64_is_small_leaf(l, to) || !go_on(l, to))
        return false;
    l->returns_to = back;
    return true;
}

static bool return_inline(struct lift *l, irv to)
{
    u64 back = l->returns_to;
    if (!back || !ir_is_const(l->b->r, to) || l->b->r->node[to].imm != back || !go_on(l, back))
        return false;
    l->returns_to = 0;
    return true;
}

bool a64_lift_b_uncond(struct lift *l, const struct a64_b_uncond *f)
{
    u64 to = target(l, f->imm26);
    if (f->op) {
        put_link(l);
        if (go_into(l, to))
            return true;
        a64_end_flags(l, to, to);
        ir_call(l->b, to, next_pc(l));
    } else {
        poll_if_backward(l, to);
        a64_end_flags(l, to, to);
        ir_exit(l->b, to);
    }
    l->ended = true;
    return true;
}

irv a64_branch_to(struct lift *l, unsigned rn, bool call, irv to)
{
    if (!l->guarded)
        return to;
    enum a64_btype type = call                                             ? A64_BTYPE_CALL
                          : rn == 16 || rn == 17 || !l->guarded(l, l->pc) ? A64_BTYPE_TAIL
                                                                           : A64_BTYPE_JUMP;
    ir_chkalign(l->b, to, 4);
    return ir_or(l->b, IR_I64, to, ir_const(l->b, IR_I64, type));
}

bool a64_lift_b_reg(struct lift *l, const struct a64_b_reg *f)
{
    irv to = reg(l, f->rn);
    if (f->id == A64_RET && return_inline(l, to))
        return true;
    l->ended = true;
    switch (f->id) {
    case A64_BLR:
        to = a64_branch_to(l, f->rn, true, to);
        put_link(l);
        ir_call_ind(l->b, to, next_pc(l));
        return true;
    case A64_RET:
        ir_ret(l->b, to);
        return true;
    default:
        ir_exit_ind(l->b, a64_branch_to(l, f->rn, false, to));
        return true;
    }
}

/* EL1 and above only. */
bool a64_lift_eret(struct lift *l, const struct a64_b_reg *f)
{
    return false;
}

bool a64_lift_svc(struct lift *l, const struct a64_exception *f)
{
    ir_raise(l->b, ISA_RAISE_SYSCALL, ir_const(l->b, IR_I64, f->imm16), next_pc(l));
    l->ended = true;
    return true;
}

/* The others call levels and debuggers that a program does not have. */
bool a64_lift_exception(struct lift *l, const struct a64_exception *f)
{
    if (f->id != A64_BRK)
        return false;
    ir_raise(l->b, ISA_RAISE_BREAK, ir_const(l->b, IR_I64, f->imm16), l->pc);
    l->ended = true;
    return true;
}

bool a64_lift_udf(struct lift *l, const struct a64_udf *f)
{
    return false;
}
