/* Scalar floating point. An operation reads the low lane of its operands and clears the rest of its
 * destination; operands are never swapped, as that would choose another NaN. */
#include "isa/aarch64/lift.h"

static unsigned fp_type(unsigned ftype)
{
    static const u8 type[] = {IR_F32, IR_F64, 0, IR_F16};
    return type[ftype];
}

/* fmov, fabs, fneg by the low bits of op. */
bool a64_lift_fp_sign(struct lift *l, const struct a64_fp_1src *f)
{
    static const u8 op[] = {IR_ZX, IR_FABS, IR_FNEG};
    unsigned type = fp_type(f->ftype);
    irv x = vreg(l, f->rn);
    put_vreg(l, f->rd, f->op ? ir_f1(l->b, op[f->op], type, type, x) : ir_zx(l->b, type, x));
    return true;
}

bool a64_lift_fp_sqrt(struct lift *l, const struct a64_fp_1src *f)
{
    unsigned type = fp_type(f->ftype);
    put_vreg(l, f->rd, ir_f1(l->b, IR_FSQRT, type, type, vreg(l, f->rn)));
    return true;
}

bool a64_lift_fp_cvt(struct lift *l, const struct a64_fp_1src *f)
{
    irv r = ir_f1(l->b, IR_F2F, fp_type(f->op & 3), fp_type(f->ftype), vreg(l, f->rn));
    put_vreg(l, f->rd, r);
    return true;
}

bool a64_lift_fp_bfcvt(struct lift *l, const struct a64_fp_1src *f)
{
    put_vreg(l, f->rd, fp_lanes(l, A64_FP_TO_BF16, IR_F32, 1, 0, vreg(l, f->rn), 0));
    return true;
}

/* frintn p m z a - x i by the low bits of op; only x raises Inexact. */
bool a64_lift_fp_round(struct lift *l, const struct a64_fp_1src *f)
{
    static const u8 round[] = {FP_ROUND_EVEN, FP_ROUND_UP,   FP_ROUND_DOWN, FP_ROUND_ZERO,
                               FP_ROUND_AWAY, FP_ROUND_AWAY, IR_ROUND_ENV,  IR_ROUND_ENV};
    unsigned type = fp_type(f->ftype), way = f->op & 7;
    unsigned aux = type | (unsigned)round[way] << 4 | (way == 6) << 8;
    put_vreg(l, f->rd, ir_f1(l->b, IR_FROUND, type, aux, vreg(l, f->rn)));
    return true;
}

/* To an integer that fits 32 or 64 bits (op bit 1), towards zero or as FPCR says (bit 0). */
bool a64_lift_fp_round_int(struct lift *l, const struct a64_fp_1src *f)
{
    unsigned how = (f->op & 1 ? IR_ROUND_ENV : FP_ROUND_ZERO) | (f->op & 2 ? 64 : 32);
    put_vreg(l, f->rd, fp_lanes(l, A64_FP_ROUND_FIT, fp_type(f->ftype), 1, how, vreg(l, f->rn), 0));
    return true;
}

bool a64_lift_fp_2src(struct lift *l, const struct a64_fp_2src *f)
{
    static const u8 op[] = {IR_FMUL, IR_FDIV, IR_FADD, IR_FSUB};
    unsigned type = fp_type(f->ftype);
    bool negate = f->op & 8;
    irv r = ir_f2(l->b, op[f->op & 3], type, type, vreg(l, f->rn), vreg(l, f->rm));
    put_vreg(l, f->rd, negate ? ir_f1(l->b, IR_FNEG, type, type, r) : r);
    return true;
}

bool a64_lift_fp_minmax(struct lift *l, const struct a64_fp_2src *f)
{
    static const u8 op[] = {IR_FMAX, IR_FMIN, IR_FMAXNM, IR_FMINNM};
    unsigned type = fp_type(f->ftype);
    put_vreg(l, f->rd, ir_f2(l->b, op[f->op & 3], type, type, vreg(l, f->rn), vreg(l, f->rm)));
    return true;
}

bool a64_lift_fp_3src(struct lift *l, const struct a64_fp_3src *f)
{
    unsigned type = fp_type(f->ftype);
    unsigned negate = (f->o1 ^ f->o0 ? IR_FMA_NEG_PROD : 0) | (f->o1 ? IR_FMA_NEG_ADD : 0);
    put_vreg(l, f->rd,
             ir_fma(l->b, type, type | negate, vreg(l, f->rn), vreg(l, f->rm), vreg(l, f->ra)));
    return true;
}

bool a64_lift_fp_cmp(struct lift *l, const struct a64_fp_cmp *f)
{
    unsigned type = fp_type(f->ftype);
    irv y = f->zero ? ir_const(l->b, type, 0) : vreg(l, f->rm);
    put_flags(l, ir_fl_fcmp(l->b, type, f->e, vreg(l, f->rn), y));
    return true;
}

/* When the condition does not hold nothing is compared and no flag of FPSR may be set, so zeros
 * stand in for the operands. */
bool a64_lift_fp_ccmp(struct lift *l, const struct a64_fp_ccmp *f)
{
    unsigned type = fp_type(f->ftype);
    irv cond = condition(l, f->cond), zero = ir_const(l->b, type, 0);
    irv x = ir_select(l->b, type, cond, vreg(l, f->rn), zero);
    irv y = ir_select(l->b, type, cond, vreg(l, f->rm), zero);
    irv fl = ir_fl_fcmp(l->b, type, f->e, x, y);
    put_flags(l, ir_fl_select(l->b, cond, fl, ir_fl_const(l->b, f->nzcv)));
    return true;
}

bool a64_lift_fp_csel(struct lift *l, const struct a64_fp_csel *f)
{
    unsigned type = fp_type(f->ftype);
    irv r = ir_select(l->b, type, condition(l, f->cond), vreg(l, f->rn), vreg(l, f->rm));
    put_vreg(l, f->rd, ir_zx(l->b, type, r));
    return true;
}

bool a64_lift_fp_imm(struct lift *l, const struct a64_fp_imm *f)
{
    unsigned type = fp_type(f->ftype);
    u64 v = type == IR_F64   ? a64_fpimm64(f->imm8)
            : type == IR_F32 ? a64_fpimm32(f->imm8)
                             : a64_fpimm16(f->imm8);
    put_vreg(l, f->rd, ir_const(l->b, type, v));
    return true;
}

/* The number of fraction bits is in imm. */
static irv to_int(struct lift *l, unsigned sf, unsigned ftype, unsigned round, bool is_signed,
                  unsigned frac, unsigned rn)
{
    unsigned aux = fp_type(ftype) | round << 4 | (unsigned)is_signed << 7;
    return ir_emit(l->b, IR_F2I, gpr_type(sf), aux, vreg(l, rn), 0, 0, frac);
}

static irv from_int(struct lift *l, unsigned sf, unsigned ftype, bool is_signed, unsigned frac,
                    unsigned rn)
{
    unsigned aux = gpr_type(sf) | IR_ROUND_ENV << 4 | (unsigned)is_signed << 7;
    return ir_emit(l->b, IR_I2F, fp_type(ftype), aux, reg(l, rn), 0, 0, frac);
}

bool a64_lift_fp_to_int(struct lift *l, const struct a64_fp_int *f)
{
    static const u8 round[] = {FP_ROUND_EVEN, FP_ROUND_UP, FP_ROUND_DOWN, FP_ROUND_ZERO};
    unsigned way = f->op & 4 ? FP_ROUND_AWAY : round[f->rmode];
    put_reg(l, f->rd, to_int(l, f->sf, f->ftype, way, !(f->op & 1), 0, f->rn));
    return true;
}

bool a64_lift_int_to_fp(struct lift *l, const struct a64_fp_int *f)
{
    put_vreg(l, f->rd, from_int(l, f->sf, f->ftype, !(f->op & 1), 0, f->rn));
    return true;
}

bool a64_lift_fp_fixed(struct lift *l, const struct a64_fp_fixed *f)
{
    unsigned frac = 64u - f->scale;
    bool is_signed = !(f->op & 1);
    if (f->rmode)
        put_reg(l, f->rd, to_int(l, f->sf, f->ftype, FP_ROUND_ZERO, is_signed, frac, f->rn));
    else
        put_vreg(l, f->rd, from_int(l, f->sf, f->ftype, is_signed, frac, f->rn));
    return true;
}

/* op bit 0: from a general register; rmode 1: the upper half of a vector register. */
bool a64_lift_fp_move(struct lift *l, const struct a64_fp_int *f)
{
    const unsigned top = 3 | 1 << 4; /* lane 1 of 64 bits */
    unsigned type = fp_type(f->rmode ? 1 : f->ftype);
    struct ir_builder *b = l->b;
    if (f->op & 1) {
        irv x = reg(l, f->rn);
        put_vreg(l, f->rd,
                 f->rmode ? ir_v2(b, IR_VINS, IR_V128, top, vreg(l, f->rd), x)
                          : ir_fmov(b, type, x));
    } else {
        irv x = vreg(l, f->rn);
        put_reg(l, f->rd,
                f->rmode         ? ir_v1(b, IR_VGET, IR_I64, top, x)
                : type == IR_F16 ? ir_v1(b, IR_VGET, IR_I32, 1, x)
                                 : ir_fbits(b, gpr_type(type == IR_F64), x));
    }
    return true;
}

/* Z: the number is the one that the integer stands for, bit by bit, which -0 is not. */
bool a64_lift_fjcvtzs(struct lift *l, const struct a64_fp_int *f)
{
    struct ir_builder *b = l->b;
    irv x = vreg(l, f->rn), v = ir_emit(b, IR_F2IM, IR_I32, IR_F64, x, 0, 0, 0);
    irv back = ir_emit(b, IR_I2F, IR_F64, IR_I32 | IR_ROUND_ENV << 4 | 1u << 7, v, 0, 0, 0);
    irv same = ir_icmp(b, IR_EQ, 64, ir_fbits(b, IR_I64, back), ir_fbits(b, IR_I64, x));
    irv bits = ir_select(b, IR_I64, same, ir_const(b, IR_I64, IR_FL_Z), ir_const(b, IR_I64, 0));
    put_reg(l, f->rd, v);
    put_flags(l, ir_fl(b, IR_FL_BITS, 0, bits, 0, 0));
    return true;
}
