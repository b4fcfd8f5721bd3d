/* Floating point. */
#include "isa/riscv/lift.h"

bool rv_lift_fload(struct lift *l, const struct rv_fload *f)
{
    if (f->id != RV_FLD || xlen(l) == 32)
        return false;
    ir_put(l->b, RV_F0 + f->rd, ir_ld(l->b, IR_F64, 3, reg(l, f->rs1), 0, f->imm));
    return true;
}

bool rv_lift_fstore(struct lift *l, const struct rv_fstore *f)
{
    if (f->id != RV_FSD || xlen(l) == 32)
        return false;
    ir_st(l->b, 3, reg(l, f->rs1), 0, f->imm, ir_get(l->b, RV_F0 + f->rs2));
    return true;
}
