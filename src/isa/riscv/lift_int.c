/* Integer computation: I and M. */
#include "isa/riscv/lift.h"

bool rv_lift_lui(struct lift *l, const struct rv_lui *f)
{
    put_reg(l, f->rd, imm(l, f->imm));
    return true;
}

bool rv_lift_auipc(struct lift *l, const struct rv_auipc *f)
{
    put_reg(l, f->rd, imm(l, (s64)(l->pc + (u64)(s64)f->imm)));
    return true;
}

enum { ADD, SLL, SLT, SLTU, XOR, SRL, OR, AND };

irv rv_arith(struct lift *l, unsigned type, unsigned funct3, bool alternate, irv x, irv y)
{
    static const u8 op[] = {[ADD] = IR_ADD, [SLL] = IR_SHL, [XOR] = IR_XOR,
                            [SRL] = IR_SHR, [OR] = IR_OR,   [AND] = IR_AND};
    struct ir_builder *b = l->b;
    if (funct3 == SLT || funct3 == SLTU)
        return ir_icmp(b, funct3 == SLT ? IR_SLT : IR_ULT, type == IR_I64 ? 64 : 32, x, y);
    unsigned what = !alternate ? op[funct3] : funct3 == ADD ? IR_SUB : IR_SAR;
    return ir_emit(b, what, type, 0, x, y, 0, 0);
}

bool rv_lift_op_imm(struct lift *l, const struct rv_op_imm *f)
{
    put_reg(l, f->rd, rv_arith(l, xtype(l), f->op, false, reg(l, f->rs1), imm(l, f->imm)));
    return true;
}

bool rv_lift_shift_imm(struct lift *l, const struct rv_shift_imm *f)
{
    if (f->imm >= xlen(l))
        return false;
    put_reg(l, f->rd, rv_arith(l, xtype(l), f->op, f->f6, reg(l, f->rs1), imm(l, f->imm)));
    return true;
}

bool rv_lift_op(struct lift *l, const struct rv_op *f)
{
    irv x = reg(l, f->rs1), y = reg(l, f->rs2);
    put_reg(l, f->rd, rv_arith(l, xtype(l), f->op, f->f7, x, y));
    return true;
}

bool rv_lift_addiw(struct lift *l, const struct rv_addiw *f)
{
    put_reg32(l, f->rd, ir_addi(l->b, IR_I32, reg(l, f->rs1), f->imm));
    return true;
}

bool rv_lift_shift_imm32(struct lift *l, const struct rv_shift_imm32 *f)
{
    irv amount = ir_const(l->b, IR_I32, f->imm);
    put_reg32(l, f->rd, rv_arith(l, IR_I32, f->op, f->f7, reg(l, f->rs1), amount));
    return true;
}

bool rv_lift_op32(struct lift *l, const struct rv_op32 *f)
{
    irv x = reg(l, f->rs1), y = reg(l, f->rs2);
    put_reg32(l, f->rd, rv_arith(l, IR_I32, f->op, f->f7, x, y));
    return true;
}

/* ---- M ---- */

enum { MUL, MULH, MULHSU, MULHU, DIV, DIVU, REM, REMU };

/* An operand of 32 bits as one of 64. */
static irv widen(struct lift *l, bool is_signed, irv x)
{
    return is_signed ? ir_sext(l->b, IR_I64, x, 32) : ir_ubfx(l->b, IR_I64, x, 0, 32);
}

static irv high_half32(struct lift *l, bool x_signed, bool y_signed, irv x, irv y)
{
    x = widen(l, x_signed, x);
    y = widen(l, y_signed, y);
    return ir_ubfx(l->b, IR_I64, ir_mul(l->b, IR_I64, x, y), 32, 32);
}

/* That of signed x times unsigned y is that of the unsigned product, minus y if x is negative. */
static irv high_half64(struct lift *l, bool x_signed, bool y_signed, irv x, irv y)
{
    struct ir_builder *b = l->b;
    if (y_signed)
        return ir_mulhs(b, IR_I64, x, y);
    irv high = ir_mulhu(b, IR_I64, x, y);
    if (!x_signed)
        return high;
    irv sign = ir_sar(b, IR_I64, x, imm(l, 63));
    return ir_sub(b, IR_I64, high, ir_and(b, IR_I64, sign, y));
}

bool rv_lift_mul(struct lift *l, const struct rv_op *f)
{
    irv x = reg(l, f->rs1), y = reg(l, f->rs2), r;
    bool x_signed = f->op != MULHU, y_signed = f->op == MULH;
    if (f->op == MUL)
        r = ir_mul(l->b, xtype(l), x, y);
    else
        r = (xlen(l) == 32 ? high_half32 : high_half64)(l, x_signed, y_signed, x, y);
    put_reg(l, f->rd, r);
    return true;
}

/* Division by zero gives all ones, and the dividend as the remainder (vol. I, 13.2). */
static irv divide(struct lift *l, unsigned type, unsigned op, irv x, irv y)
{
    static const u8 what[] = {IR_DIVS, IR_DIVU, IR_REMS, IR_REMU};
    return ir_emit(l->b, what[op - DIV], type, op == DIV || op == DIVU, x, y, 0, 0);
}

bool rv_lift_div(struct lift *l, const struct rv_op *f)
{
    irv x = reg(l, f->rs1), y = reg(l, f->rs2);
    put_reg(l, f->rd, divide(l, xtype(l), f->op, x, y));
    return true;
}

bool rv_lift_mul32(struct lift *l, const struct rv_op32 *f)
{
    irv x = reg(l, f->rs1), y = reg(l, f->rs2);
    put_reg32(l, f->rd, ir_mul(l->b, IR_I32, x, y));
    return true;
}

bool rv_lift_div32(struct lift *l, const struct rv_op32 *f)
{
    irv x = reg(l, f->rs1), y = reg(l, f->rs2);
    put_reg32(l, f->rd, divide(l, IR_I32, f->op, x, y));
    return true;
}
