/* Branches and exceptions: the instructions that end a block. */
#include "isa/aarch64/lift.h"

static u64 target(const struct lift *l, s32 words)
{
    return l->pc + (u64)(s64)words * 4;
}

static bool branch_if(struct lift *l, irv cond, s32 words)
{
    lift_branch(l, cond, target(l, words));
    return true;
}

bool a64_lift_b_cond(struct lift *l, const struct a64_b_cond *f)
{
    return branch_if(l, condition(l, f->cond), f->imm19);
}

bool a64_lift_b_zero(struct lift *l, const struct a64_b_zero *f)
{
    irv zero = ir_const(l->b, gpr_type(f->sf), 0);
    irv cond = ir_icmp(l->b, f->op ? IR_NE : IR_EQ, gpr_width(f->sf), reg(l, f->rt), zero);
    return branch_if(l, cond, f->imm19);
}

bool a64_lift_b_bit(struct lift *l, const struct a64_b_bit *f)
{
    unsigned sf = f->bit >> 5;
    irv mask = ir_const(l->b, gpr_type(sf), 1ull << f->bit);
    irv cond = ir_icmp(l->b, f->op ? IR_TNZ : IR_TZ, gpr_width(sf), reg(l, f->rt), mask);
    return branch_if(l, cond, f->imm14);
}

static void put_link(struct lift *l)
{
    put_reg(l, 30, ir_const(l->b, IR_I64, next_pc(l)));
}

bool a64_lift_b_uncond(struct lift *l, const struct a64_b_uncond *f)
{
    u64 to = target(l, f->imm26);
    if (f->op) {
        put_link(l);
        lift_call(l, to);
    } else {
        lift_jump(l, to);
    }
    return true;
}

/* BR by another register than x16 and x17 is a jump where the page that it is on is guarded, else one as by those. */
static irv type_of_jump(struct lift *l)
{
    irv pc = ir_const(l->b, IR_I64, l->pc);
    if (for_machine(l))
        return ir_helper(l->b, A64_HELPER_JUMP_TYPE, IR_I64, pc, 0, 0);
    return ir_const(l->b, IR_I64, l->guarded(l, l->pc) ? A64_BTYPE_JUMP : A64_BTYPE_TAIL);
}

irv a64_branch_to(struct lift *l, unsigned rn, bool call, irv to)
{
    if (!l->guarded)
        return to;
    irv type = call                   ? ir_const(l->b, IR_I64, A64_BTYPE_CALL)
               : rn == 16 || rn == 17 ? ir_const(l->b, IR_I64, A64_BTYPE_TAIL)
                                      : type_of_jump(l);
    ir_chkalign(l->b, to, 4);
    return ir_or(l->b, IR_I64, to, type);
}

/* The low bits are not for the guest to set. */
irv a64_return_to(struct lift *l, irv to)
{
    if (l->guarded && for_machine(l))
        ir_chkalign(l->b, to, 4);
    return to;
}

static bool call_reg(struct lift *l, unsigned rn, irv to)
{
    u64 known = l->guarded ? 0 : lift_known_callee(l, to);
    to = a64_branch_to(l, rn, true, to);
    put_link(l);
    if (known) {
        lift_call(l, known);
        return true;
    }
    ir_call_ind(l->b, to, next_pc(l));
    l->ended = true;
    return true;
}

bool a64_lift_b_reg(struct lift *l, const struct a64_b_reg *f)
{
    irv to = reg(l, f->rn);
    switch (f->id) {
    case A64_BLR:
        return call_reg(l, f->rn, to);
    case A64_RET:
        lift_return(l, a64_return_to(l, to));
        return true;
    default:
        ir_exit_ind(l->b, a64_branch_to(l, f->rn, false, to));
        break;
    }
    l->ended = true;
    return true;
}

/* EL1 and above only; DRPS is for debuggers. */
bool a64_lift_eret(struct lift *l, const struct a64_b_reg *f)
{
    return l->key & A64_KEY_EL1 && f->id == A64_ERET && a64_lift_in_c(l);
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
        return l->key & A64_KEY_EL1 && (f->id == A64_HVC || f->id == A64_SMC) && a64_lift_in_c(l);
    ir_raise(l->b, ISA_RAISE_BREAK, ir_const(l->b, IR_I64, f->imm16), l->pc);
    l->ended = true;
    return true;
}

bool a64_lift_udf(struct lift *l, const struct a64_udf *f)
{
    return false;
}
