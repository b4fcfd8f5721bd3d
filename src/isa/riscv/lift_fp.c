/* Floating point: F, D, Zfh, Zfhmin, Zfa (vol. I, chapters 20 to 24). A register of 64 bits holds a double, or
 * a narrower value under ones. Results that are NaNs are canonical; while a value goes from one operation to the
 * next nobody can tell, so that an operand is taken as it was before that. */
#include "isa/riscv/fli.h"
#include "isa/riscv/lift.h"

enum { FMT_S, FMT_D, FMT_H };

static unsigned fp_type(unsigned fmt)
{
    static const u8 type[] = {[FMT_S] = IR_F32, [FMT_D] = IR_F64, [FMT_H] = IR_F16};
    return type[fmt];
}

static irv freg(struct lift *l, unsigned n)
{
    return ir_get(l->b, RV_F0 + n);
}

/* A register as a value of a format. */
static irv operand(struct lift *l, unsigned fmt, unsigned n)
{
    unsigned type = fp_type(fmt);
    return fmt == FMT_D ? freg(l, n) : ir_f1(l->b, IR_FUNBOX, type, type, freg(l, n));
}

/* The same for operations to which all quiet NaNs are alike. */
static irv number(struct lift *l, unsigned fmt, unsigned n)
{
    irv v = operand(l, fmt, n);
    const struct ir_node *x = v >= IR_FIRST_NODE ? &l->b->r->node[v] : NULL;
    return x && x->op == IR_FCANON ? x->a : v;
}

static void put_value(struct lift *l, unsigned fmt, unsigned n, irv v)
{
    if (fmt != FMT_D)
        v = ir_f1(l->b, IR_FBOX, IR_F64, fp_type(fmt), v);
    ir_put(l->b, RV_F0 + n, v);
}

/* The result of an operation that computes. */
static void put_number(struct lift *l, unsigned fmt, unsigned n, irv v)
{
    unsigned type = fp_type(fmt);
    put_value(l, fmt, n, ir_f1(l->b, IR_FCANON, type, type, v));
}

/* ---- rounding ---- */

/* An instruction's rounding mode as an enum fp_round, or IR_ROUND_ENV where the environment's is the same and the
 * host has it. False for the reserved ones. */
static bool rounding(const struct lift *l, unsigned rm, unsigned *round)
{
    enum { RMM = 4, DYN = 7 };
    static const u8 mode[] = {FP_ROUND_EVEN, FP_ROUND_ZERO, FP_ROUND_DOWN, FP_ROUND_UP, FP_ROUND_AWAY};
    unsigned frm = l->key & RV_KEY_FRM;
    if (rm == DYN)
        rm = frm;
    if (rm > RMM)
        return false;
    *round = rm == frm && rm != RMM ? IR_ROUND_ENV : mode[rm];
    return true;
}

/* The same as part of an arithmetic node's aux. */
static bool aux_rounding(const struct lift *l, unsigned rm, unsigned *aux)
{
    unsigned round;
    if (!rounding(l, rm, &round))
        return false;
    *aux = round == IR_ROUND_ENV ? 0 : (round + 1) << IR_AUX_ROUND_SHIFT;
    return true;
}

/* ---- memory and moves ---- */

bool rv_lift_fload(struct lift *l, const struct rv_fload *f)
{
    static const u8 fmt[] = {0, FMT_H, FMT_S, FMT_D};
    struct rv_address a = rv_address(l, f->rs1, f->imm);
    unsigned type = fp_type(fmt[f->op]);
    put_value(l, fmt[f->op], f->rd, ir_ld(l->b, type, f->op, a.base, 0, a.disp));
    return true;
}

bool rv_lift_fstore(struct lift *l, const struct rv_fstore *f)
{
    struct rv_address a = rv_address(l, f->rs1, f->imm);
    irv v = freg(l, f->rs2);
    ir_st(l->b, f->op, a.base, 0, a.disp, v);
    return true;
}

bool rv_lift_fmv_to_x(struct lift *l, const struct rv_fmv_to_x *f)
{
    irv v = freg(l, f->rs1);
    if (f->fmt == FMT_D)
        put_reg(l, f->rd, ir_fbits(l->b, IR_I64, v));
    else if (f->fmt == FMT_S)
        put_reg32(l, f->rd, ir_fbits(l->b, IR_I32, v));
    else
        put_reg(l, f->rd, ir_sext(l->b, xtype(l), ir_fbits(l->b, IR_I32, v), 16));
    return true;
}

/* Of a half the boxing covers what is above it. */
bool rv_lift_fmv_from_x(struct lift *l, const struct rv_fmv_from_x *f)
{
    unsigned type = f->fmt == FMT_D ? IR_F64 : IR_F32;
    put_value(l, f->fmt, f->rd, ir_fmov(l->b, type, reg(l, f->rs1)));
    return true;
}

bool rv_lift_fmvh(struct lift *l, const struct rv_fmvh *f)
{
    irv v = ir_fbits(l->b, IR_I64, freg(l, f->rs1));
    put_reg(l, f->rd, ir_ubfx(l->b, IR_I64, v, 32, 32));
    return true;
}

bool rv_lift_fmvp(struct lift *l, const struct rv_fmvp *f)
{
    irv low = reg(l, f->rs1), high = reg(l, f->rs2);
    irv v = lift_join(l, 2, low, high);
    put_value(l, FMT_D, f->rd, ir_fmov(l->b, IR_F64, v));
    return true;
}

static u64 constant(unsigned fmt, unsigned value)
{
    static const u64 least[] = {0x00800000, 0x0010000000000000, 0x0400};
    static const u64 nan[] = {0x7fc00000, 0x7ff8000000000000, 0x7e00};
    static const u64 inf[] = {0x7f800000, 0x7ff0000000000000, 0x7c00};
    struct fp_env env = {0};
    u64 bits;
    if (value == RV_FLI_LEAST)
        return least[fmt];
    if (value >= RV_FLI_INF)
        return value == RV_FLI_INF ? inf[fmt] : nan[fmt];
    __builtin_memcpy(&bits, &rv_fli[value], sizeof(bits));
    return fmt == FMT_D ? bits : fmt == FMT_S ? fp64_to_fp32(bits, &env) : fp64_to_fp16(bits, &env);
}

bool rv_lift_fli(struct lift *l, const struct rv_fli *f)
{
    put_value(l, f->fmt, f->rd, ir_const(l->b, fp_type(f->fmt), constant(f->fmt, f->value)));
    return true;
}

enum { SGNJ, SGNJN, SGNJX };

/* The sign of the second operand, inverted, or both signs together; of a register with itself: a move, a
 * negation, an absolute value. */
bool rv_lift_fsgnj(struct lift *l, const struct rv_fsgnj *f)
{
    struct ir_builder *b = l->b;
    unsigned type = fp_type(f->fmt), bits = f->fmt == FMT_D ? IR_I64 : IR_I32;
    unsigned sign = f->fmt == FMT_D ? 63 : f->fmt == FMT_S ? 31 : 15;
    irv x = operand(l, f->fmt, f->rs1), y = operand(l, f->fmt, f->rs2), r;
    if (f->rs1 == f->rs2) {
        static const u8 op[] = {[SGNJN] = IR_FNEG, [SGNJX] = IR_FABS};
        put_value(l, f->fmt, f->rd, f->op == SGNJ ? x : ir_f1(b, op[f->op], type, type, x));
        return true;
    }
    x = ir_fbits(b, bits, x);
    y = ir_fbits(b, bits, y);
    irv mask = ir_const(b, bits, 1ull << sign);
    if (f->op == SGNJX) {
        r = ir_xor(b, bits, x, ir_and(b, bits, y, mask));
    } else {
        y = f->op == SGNJN ? ir_not(b, bits, y) : y;
        x = ir_andn(b, bits, x, mask);
        r = ir_or(b, bits, x, ir_and(b, bits, y, mask));
    }
    put_value(l, f->fmt, f->rd, ir_fmov(b, f->fmt == FMT_D ? IR_F64 : IR_F32, r));
    return true;
}

/* ---- computation ---- */

bool rv_lift_farith(struct lift *l, const struct rv_farith *f)
{
    static const u8 op[] = {IR_FADD, IR_FSUB, IR_FMUL, IR_FDIV};
    unsigned type = fp_type(f->fmt), round;
    if (!aux_rounding(l, f->rm, &round))
        return false;
    irv x = number(l, f->fmt, f->rs1), y = number(l, f->fmt, f->rs2);
    put_number(l, f->fmt, f->rd, ir_f2(l->b, op[f->op], type, type | round, x, y));
    return true;
}

bool rv_lift_fsqrt(struct lift *l, const struct rv_fsqrt *f)
{
    unsigned type = fp_type(f->fmt), round;
    if (!aux_rounding(l, f->rm, &round))
        return false;
    irv x = number(l, f->fmt, f->rs1);
    put_number(l, f->fmt, f->rd, ir_f1(l->b, IR_FSQRT, type, type | round, x));
    return true;
}

/* fmadd, fmsub, fnmsub, fnmadd: +-(rs1 * rs2) +- rs3. Hosts choose among NaNs in ways of their own here, so that
 * they follow the environment anyway. */
bool rv_lift_fma(struct lift *l, const struct rv_fma *f)
{
    unsigned type = fp_type(f->fmt), round;
    unsigned negate = (f->op & 2 ? IR_FMA_NEG_PROD : 0) | (f->op & 1 ? IR_FMA_NEG_ADD : 0);
    if (!aux_rounding(l, f->rm, &round))
        return false;
    irv x = number(l, f->fmt, f->rs1), y = number(l, f->fmt, f->rs2), z = number(l, f->fmt, f->rs3);
    put_value(l, f->fmt, f->rd, ir_fma(l->b, type, type | negate | round, x, y, z));
    return true;
}

/* A number beats NaNs, or with op bit 1 (Zfa) a NaN numbers. */
bool rv_lift_fminmax(struct lift *l, const struct rv_fminmax *f)
{
    static const u8 op[] = {IR_FMINNM, IR_FMAXNM, IR_FMIN, IR_FMAX};
    unsigned type = fp_type(f->fmt);
    irv x = number(l, f->fmt, f->rs1), y = number(l, f->fmt, f->rs2);
    put_number(l, f->fmt, f->rd, ir_f2(l->b, op[f->op], type, type, x, y));
    return true;
}

/* fle, flt, feq; op bit 2 (Zfa): the first two without a flag for quiet NaNs. */
bool rv_lift_fcmp(struct lift *l, const struct rv_fcmp *f)
{
    static const u8 cond[] = {IR_FLE_S, IR_FLT_S, IR_FEQ, 0, IR_FLE, IR_FLT};
    unsigned type = fp_type(f->fmt);
    irv x = number(l, f->fmt, f->rs1), y = number(l, f->fmt, f->rs2);
    put_reg(l, f->rd, ir_emit(l->b, IR_FCMP, IR_I1, type | (unsigned)cond[f->op] << 4, x, y, 0, 0));
    return true;
}

/* One of ten classes as a bit (vol. I, 20.9). */
bool rv_lift_fclass(struct lift *l, const struct rv_fclass *f)
{
    irv type = ir_const(l->b, IR_I64, fp_type(f->fmt)), x = number(l, f->fmt, f->rs1);
    put_reg(l, f->rd, ir_helper(l->b, RV_HELPER_FCLASS, IR_I64, x, type, 0));
    return true;
}

/* ---- conversions ---- */

bool rv_lift_fcvt(struct lift *l, const struct rv_fcvt *f)
{
    unsigned from = fp_type(f->src), round;
    if (!aux_rounding(l, f->rm, &round))
        return false;
    if (f->fmt == FMT_D || f->src == FMT_H)
        round = 0; /* to a wider format is exact */
    irv x = number(l, f->src, f->rs1);
    put_number(l, f->fmt, f->rd, ir_f1(l->b, IR_F2F, fp_type(f->fmt), from | round, x));
    return true;
}

static bool round_to_integral(struct lift *l, unsigned fmt, unsigned rm, bool inexact, unsigned rd, unsigned rs1)
{
    unsigned type = fp_type(fmt), round;
    if (!rounding(l, rm, &round))
        return false;
    irv x = number(l, fmt, rs1);
    put_number(l, fmt, rd, ir_f1(l->b, IR_FROUND, type, type | round << 4 | (unsigned)inexact << 8, x));
    return true;
}

/* froundnx raises Inexact. */
bool rv_lift_fround(struct lift *l, const struct rv_fround *f)
{
    return round_to_integral(l, f->fmt, f->rm, f->nx & 1, f->rd, f->rs1);
}

/* The type of an integer operand: bit 1 wide, bit 0 unsigned. */
static unsigned integer_type(unsigned type)
{
    return type & 2 ? IR_I64 : IR_I32;
}

bool rv_lift_fcvt_int(struct lift *l, const struct rv_fcvt_int *f)
{
    unsigned round, type = integer_type(f->type);
    if (!rounding(l, f->rm, &round))
        return false;
    unsigned aux = fp_type(f->fmt) | round << 4 | (f->type & 1 ? 0 : 1u << 7);
    irv r = ir_emit(l->b, IR_F2I, type, aux, number(l, f->fmt, f->rs1), 0, 0, 0);
    if (type == IR_I32)
        put_reg32(l, f->rd, r);
    else
        put_reg(l, f->rd, r);
    return true;
}

bool rv_lift_fcvtmod(struct lift *l, const struct rv_fcvtmod *f)
{
    irv x = number(l, FMT_D, f->rs1);
    put_reg32(l, f->rd, ir_f1(l->b, IR_F2IM, IR_I32, IR_F64, x));
    return true;
}

bool rv_lift_fcvt_from_int(struct lift *l, const struct rv_fcvt_from_int *f)
{
    unsigned round, type = integer_type(f->type);
    if (!rounding(l, f->rm, &round))
        return false;
    if (f->fmt == FMT_D && type == IR_I32)
        round = IR_ROUND_ENV; /* exact */
    unsigned aux = type | round << 4 | (f->type & 1 ? 0 : 1u << 7);
    put_value(l, f->fmt, f->rd, ir_emit(l->b, IR_I2F, fp_type(f->fmt), aux, reg(l, f->rs1), 0, 0, 0));
    return true;
}
