/* Jumps and branches. */
#include <string.h>

#include "isa/riscv/lift.h"

static u64 target(const struct lift *l, s32 offset)
{
    u64 to = l->pc + (u64)(s64)offset;
    return xlen(l) == 32 ? (u32)to : to;
}

/* Of a branch over one instruction that does but a little: lift that, too, and choose what its register holds.
 * There are no conditional moves but these, so such branches are those that nobody predicts. */
static bool choose(struct lift *l, irv skip, u64 to)
{
    struct ir_builder *b = l->b;
    u64 at = l->next - l->start;
    irv before[32];
    u32 insn;
    unsigned bytes = at < l->code_len ? rv_fetch(l->code + at, l->code_len - at, &insn) : 0;
    if (!bytes || to != l->next + bytes || l->max_insns == 1)
        return false;
    unsigned id = rv_id(l, insn);
    if (!(rv_insns[id].effects & INSN_LIGHT))
        return false;
    memcpy(before, b->cur + RV_X0, sizeof(before));
    l->pc = l->next;
    lift_insn_start(l, bytes);
    if (!rv_lift_id(l, insn, id)) {
        l->next = l->pc; /* it is undefined */
        return false;
    }
    for (unsigned n = 1; n < ARRAY_LEN(before); n++) {
        if (b->cur[RV_X0 + n] != before[n])
            ir_put(b, RV_X0 + n, ir_select(b, xtype(l), skip, before[n], b->cur[RV_X0 + n]));
    }
    return true;
}

bool rv_lift_branch(struct lift *l, const struct rv_branch *f)
{
    static const u8 cond[] = {IR_EQ, IR_NE, 0, 0, IR_SLT, IR_SGE, IR_ULT, IR_UGE};
    u64 to = target(l, f->imm);
    irv x = reg(l, f->rs1), y = reg(l, f->rs2);
    irv taken = ir_icmp(l->b, (enum ir_icond)cond[f->op], xlen(l), x, y);
    if (!choose(l, taken, to))
        lift_branch(l, taken, to);
    return true;
}

/* Registers by which calls return: ra, and t0 where functions share their prologues (vol. I, 2.5). */
static bool is_link(unsigned n)
{
    return n == 1 || n == 5;
}

static void put_link(struct lift *l, unsigned rd)
{
    put_reg(l, rd, imm(l, (s64)l->next));
}

static bool jump(struct lift *l, unsigned rd, u64 to)
{
    put_link(l, rd);
    if (is_link(rd))
        lift_call(l, to);
    else
        lift_jump(l, to);
    return true;
}

bool rv_lift_jal(struct lift *l, const struct rv_jal *f)
{
    return jump(l, f->rd, target(l, f->imm));
}

/* The lowest bit of the sum is ignored. Behind AUIPC the sum is known: a call or jump that goes far. */
bool rv_lift_jalr(struct lift *l, const struct rv_jalr *f)
{
    bool call = is_link(f->rd), returns = is_link(f->rs1) && !call;
    irv to = ir_addi(l->b, xtype(l), reg(l, f->rs1), f->imm);
    to = ir_and(l->b, xtype(l), to, imm(l, -2));
    if (ir_is_const(l->b->r, to) && !returns)
        return jump(l, f->rd, l->b->r->node[to].imm);
    u64 known = call ? lift_known_callee(l, to) : 0;
    put_link(l, f->rd);
    if (known) {
        lift_call(l, known);
        return true;
    }
    if (returns) {
        lift_return(l, to);
        return true;
    }
    if (call)
        ir_call_ind(l->b, to, l->next);
    else
        ir_exit_ind(l->b, to);
    l->ended = true;
    return true;
}
