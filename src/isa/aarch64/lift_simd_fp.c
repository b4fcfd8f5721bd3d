/* Advanced SIMD: floating point. */
#include "fp/fp.h"
#include "isa/aarch64/lift_simd.h"

/* The shape of an operation: FP lane type, its size, the IR type to work in. Scalar forms of
 * arithmetic use the scalar type. */
struct shape {
    unsigned lane, size, type, lanes;
    bool sc;
};

static struct shape shape_of(unsigned sc, unsigned q, unsigned size)
{
    static const u8 types[] = {0, IR_F16, IR_F32, IR_F64};
    unsigned lane = types[size];
    return (struct shape){lane, size, sc ? lane : vec_type(q), sc ? 1 : (q ? 16u : 8u) >> size, sc};
}

static struct shape shape_same(const struct a64_simd_fp_3same *f)
{
    return shape_of(f->sc, f->q, f->f ? 2u + f->sz : 1);
}

static struct shape shape_misc(const struct a64_simd_fp_2misc *f)
{
    return shape_of(f->sc, f->q, f->h ? 1 : 2u + f->sz);
}

static void put(struct lift *l, const struct shape *s, unsigned rd, irv v)
{
    unsigned has = ir_value_type(l->b->r, v);
    if (s->sc && has != s->lane)
        v = ir_zx(l->b, s->lane, v);
    else if (!s->sc && s->type == IR_V64 && has == IR_V128)
        v = ir_zx(l->b, IR_V64, v);
    put_vreg(l, rd, v);
}

bool a64_lift_simd_fp_minmax(struct lift *l, const struct a64_simd_fp_3same *f)
{
    static const u8 op[2][2] = {{IR_FMAXNM, IR_FMINNM}, {IR_FMAX, IR_FMIN}};
    struct shape s = shape_same(f);
    put(l, &s, f->rd, ir_f2(l->b, op[f->op == 6][f->a], s.type, s.lane, vreg(l, f->rn),
                            vreg(l, f->rm)));
    return true;
}

bool a64_lift_simd_fp_mla(struct lift *l, const struct a64_simd_fp_3same *f)
{
    struct shape s = shape_same(f);
    put(l, &s, f->rd, ir_fma(l->b, s.type, s.lane | (f->a ? IR_FMA_NEG_PROD : 0), vreg(l, f->rn),
                             vreg(l, f->rm), vreg(l, f->rd)));
    return true;
}

bool a64_lift_simd_fp_arith(struct lift *l, const struct a64_simd_fp_3same *f)
{
    struct shape s = shape_same(f);
    irv x = vreg(l, f->rn), y = vreg(l, f->rm), v;
    switch (f->id) {
    case A64_FMULX_V:
    case A64_FMULX_V_FP16:
        v = fp_lanes(l, A64_FP_MULX, s.lane, s.lanes, 0, x, y);
        break;
    case A64_FABD_V:
    case A64_FABD_V_FP16:
        v = ir_f1(l->b, IR_FABS, s.type, s.lane, ir_f2(l->b, IR_FSUB, s.type, s.lane, x, y));
        break;
    default: {
        unsigned op = f->op == 7 ? IR_FDIV : f->op == 3 ? IR_FMUL : f->a ? IR_FSUB : IR_FADD;
        v = ir_f2(l->b, op, s.type, s.lane, x, y);
        break;
    }
    }
    put(l, &s, f->rd, v);
    return true;
}

/* Comparisons work on vectors: a scalar form clears the other lanes first, so that they raise
 * nothing. */
static irv compare(struct lift *l, const struct shape *s, enum ir_fcond cond, irv x, irv y)
{
    unsigned type = s->sc ? IR_V64 : s->type;
    if (s->sc) {
        x = ir_zx(l->b, s->lane, x);
        y = ir_zx(l->b, s->lane, y);
    }
    return ir_f2(l->b, IR_FCMPV, type, s->lane | cond << 4, x, y);
}

bool a64_lift_simd_fp_compare(struct lift *l, const struct a64_simd_fp_3same *f)
{
    struct shape s = shape_same(f);
    irv x = vreg(l, f->rn), y = vreg(l, f->rm);
    enum ir_fcond cond = !f->u ? IR_FEQ : f->a ? IR_FGT_S : IR_FGE_S;
    if (f->op == 5) { /* facge, facgt */
        x = ir_f1(l->b, IR_FABS, s.type, s.lane, x);
        y = ir_f1(l->b, IR_FABS, s.type, s.lane, y);
    }
    put(l, &s, f->rd, compare(l, &s, cond, x, y));
    return true;
}

bool a64_lift_simd_fp_compare_zero(struct lift *l, const struct a64_simd_fp_2misc *f)
{
    struct shape s = shape_misc(f);
    irv x = vreg(l, f->rn), zero = ir_const(l->b, IR_V128, 0);
    enum ir_fcond cond = f->op == 12 ? (f->u ? IR_FGE_S : IR_FGT_S)
                         : f->op == 14 ? IR_FLT_S
                         : f->u        ? IR_FLE_S
                                       : IR_FEQ;
    put(l, &s, f->rd, compare(l, &s, cond, x, zero));
    return true;
}

bool a64_lift_simd_fp_step(struct lift *l, const struct a64_simd_fp_3same *f)
{
    struct shape s = shape_same(f);
    put(l, &s, f->rd, fp_lanes(l, f->a ? A64_FP_RSQRT_STEP : A64_FP_RECIP_STEP, s.lane, s.lanes, 0,
                               vreg(l, f->rn), vreg(l, f->rm)));
    return true;
}

bool a64_lift_simd_fp_pairwise(struct lift *l, const struct a64_simd_fp_3same *f)
{
    static const u8 minmax[2][2] = {{IR_FMAXNM, IR_FMINNM}, {IR_FMAX, IR_FMIN}};
    struct shape s = shape_same(f);
    unsigned op = f->op == 2 ? IR_FADD : minmax[f->op == 6][f->a];
    irv x = vreg(l, f->rn), y = vreg(l, f->rm);
    irv even = ir_v2(l->b, IR_VUZP1, s.type, s.size, x, y);
    irv odd = ir_v2(l->b, IR_VUZP2, s.type, s.size, x, y);
    put(l, &s, f->rd, ir_f2(l->b, op, s.type, s.lane, even, odd));
    return true;
}

/* ---- two registers ---- */

bool a64_lift_simd_fp_round(struct lift *l, const struct a64_simd_fp_2misc *f)
{
    struct shape s = shape_misc(f);
    unsigned round, inexact = 0;
    if (f->op == 24) {
        round = f->u ? FP_ROUND_AWAY : f->a ? FP_ROUND_UP : FP_ROUND_EVEN;
    } else {
        round = f->u ? IR_ROUND_ENV : f->a ? FP_ROUND_ZERO : FP_ROUND_DOWN;
        inexact = f->u && !f->a;
    }
    put(l, &s, f->rd, ir_f1(l->b, IR_FROUND, s.type, s.lane | round << 4 | inexact << 8,
                            vreg(l, f->rn)));
    return true;
}

/* To an integer that fits 32 or 64 bits (o), as FPCR says (u) or towards zero. */
bool a64_lift_simd_frint(struct lift *l, const struct a64_simd_frint *f)
{
    struct shape s = shape_of(0, f->q, 2u + f->sz);
    unsigned how = (f->u ? IR_ROUND_ENV : FP_ROUND_ZERO) | (f->o ? 64 : 32);
    put(l, &s, f->rd, fp_lanes(l, A64_FP_ROUND_FIT, s.lane, s.lanes, how, vreg(l, f->rn), 0));
    return true;
}

static irv to_int(struct lift *l, const struct shape *s, unsigned round, bool is_unsigned,
                  unsigned fraction, irv v)
{
    return ir_emit(l->b, IR_F2IV, s->type, s->lane | round << 4 | (is_unsigned ? 0 : 1u << 7), v, 0,
                   0, fraction);
}

static irv from_int(struct lift *l, const struct shape *s, bool is_unsigned, unsigned fraction, irv v)
{
    unsigned aux = s->lane | IR_ROUND_ENV << 4 | (is_unsigned ? 0 : 1u << 7);
    return ir_emit(l->b, IR_I2FV, s->type, aux, v, 0, 0, fraction);
}

bool a64_lift_simd_fp_to_int(struct lift *l, const struct a64_simd_fp_2misc *f)
{
    struct shape s = shape_misc(f);
    unsigned round = f->op == 28   ? FP_ROUND_AWAY
                     : f->op == 26 ? (f->a ? FP_ROUND_UP : FP_ROUND_EVEN)
                                   : (f->a ? FP_ROUND_ZERO : FP_ROUND_DOWN);
    put(l, &s, f->rd, to_int(l, &s, round, f->u, 0, vreg(l, f->rn)));
    return true;
}

bool a64_lift_simd_int_to_fp(struct lift *l, const struct a64_simd_fp_2misc *f)
{
    struct shape s = shape_misc(f);
    put(l, &s, f->rd, from_int(l, &s, f->u, 0, vreg(l, f->rn)));
    return true;
}

bool a64_lift_simd_fp_sign(struct lift *l, const struct a64_simd_fp_2misc *f)
{
    struct shape s = shape_misc(f);
    put(l, &s, f->rd, ir_f1(l->b, f->u ? IR_FNEG : IR_FABS, s.type, s.lane, vreg(l, f->rn)));
    return true;
}

bool a64_lift_simd_fp_sqrt(struct lift *l, const struct a64_simd_fp_2misc *f)
{
    struct shape s = shape_misc(f);
    put(l, &s, f->rd, ir_f1(l->b, IR_FSQRT, s.type, s.lane, vreg(l, f->rn)));
    return true;
}

bool a64_lift_simd_fp_estimate(struct lift *l, const struct a64_simd_fp_2misc *f)
{
    struct shape s = shape_misc(f);
    enum a64_fp_op op = f->op == 31 ? A64_FP_RECIP_EXPONENT
                        : f->u      ? A64_FP_RSQRT_ESTIMATE
                                    : A64_FP_RECIP_ESTIMATE;
    put(l, &s, f->rd, fp_lanes(l, op, s.lane, s.lanes, 0, vreg(l, f->rn), 0));
    return true;
}

/* Fixed point: the highest set bit of immh is the lane size. */
bool a64_lift_simd_fixed(struct lift *l, const struct a64_simd_fixed *f)
{
    unsigned size = 31u - clz32(f->imm >> 3), fraction = (16u << size) - f->imm;
    struct shape s = shape_of(f->sc, f->q, size);
    irv x = vreg(l, f->rn);
    put(l, &s, f->rd, f->op == 31 ? to_int(l, &s, FP_ROUND_ZERO, f->u, fraction, x)
                                  : from_int(l, &s, f->u, fraction, x));
    return true;
}

/* Between widths, lane by lane. */
static irv convert_lanes(struct lift *l, unsigned from, unsigned to, unsigned first, irv x)
{
    unsigned lanes = 8u >> MIN(from, to);
    struct shape a = shape_of(1, 0, from), b = shape_of(1, 0, to);
    irv r = 0;
    for (unsigned i = 0; i < lanes; i++) {
        irv lane = first + i ? ir_v1(l->b, IR_VDUP, IR_V128, from | (first + i) << 4, x) : x;
        irv v = ir_emit(l->b, IR_F2F, b.lane, a.lane, lane, 0, 0, 0);
        if (!i)
            r = ir_zx(l->b, b.lane, v);
        else
            r = ir_v2(l->b, IR_VINSV, IR_V128, to | i << 4, r, ir_zx(l->b, b.lane, v));
    }
    return r;
}

bool a64_lift_simd_fp_cvt(struct lift *l, const struct a64_simd_2misc *f)
{
    irv x = vreg(l, f->rn);
    unsigned narrow = f->size + 1u, wide = f->size + 2u;
    if (f->op == 23) {
        put_vreg(l, f->rd, convert_lanes(l, narrow, wide, f->q ? 8u >> narrow : 0, x));
        return true;
    }
    a64_put_narrow(l, f->q, f->rd, convert_lanes(l, wide, narrow, 0, x));
    return true;
}

/* FCVTXN: to single, rounding to odd. */
bool a64_lift_simd_fp_cvt_odd(struct lift *l, const struct a64_simd_2misc *f)
{
    irv v = fp_lanes(l, A64_FP_TO_F32_ODD, IR_F64, f->sc ? 1 : 2, 0, vreg(l, f->rn), 0);
    if (f->sc)
        put_vreg(l, f->rd, v);
    else
        a64_put_narrow(l, f->q, f->rd, ir_v1(l->b, IR_VNARROW, IR_V64, 3, v));
    return true;
}

/* ---- across lanes, pairs, by one lane ---- */

static irv lane(struct lift *l, unsigned size, unsigned i, irv x)
{
    return i ? ir_v1(l->b, IR_VDUP, IR_V128, size | i << 4, x) : x;
}

/* The architecture reduces by halves: (0 1) (2 3), then those. */
static irv reduce(struct lift *l, const struct shape *s, unsigned op, unsigned first, unsigned n, irv x)
{
    if (n == 1)
        return lane(l, s->size, first, x);
    return ir_f2(l->b, op, s->lane, s->lane, reduce(l, s, op, first, n / 2, x),
                 reduce(l, s, op, first + n / 2, n / 2, x));
}

bool a64_lift_simd_fp_across(struct lift *l, const struct a64_simd_fp_across *f)
{
    static const u8 op[2][2] = {{IR_FMAXNM, IR_FMINNM}, {IR_FMAX, IR_FMIN}};
    struct shape s = shape_of(1, 0, f->u ? 2 : 1);
    unsigned n = (f->q ? 16u : 8u) >> s.size;
    put(l, &s, f->rd, reduce(l, &s, op[f->op == 15][f->a], 0, n, vreg(l, f->rn)));
    return true;
}

bool a64_lift_simd_pair_scalar(struct lift *l, const struct a64_simd_pair_scalar *f)
{
    static const u8 op[2][2] = {{IR_FMAXNM, IR_FMINNM}, {IR_FMAX, IR_FMIN}};
    struct shape s = shape_of(1, 0, f->u ? 2u + f->sz : 1);
    unsigned what = f->op == 13 ? IR_FADD : op[f->op == 15][f->a];
    put(l, &s, f->rd, reduce(l, &s, what, 0, 2, vreg(l, f->rn)));
    return true;
}

bool a64_lift_simd_addp_scalar(struct lift *l, const struct a64_simd_pair_scalar *f)
{
    irv x = vreg(l, f->rn);
    irv sum = ir_v2(l->b, IR_VADD, IR_V128, 3, x, ir_v1(l->b, IR_VDUP, IR_V128, 3 | 1 << 4, x));
    put_vreg(l, f->rd, ir_zx(l->b, IR_V64, sum));
    return true;
}

bool a64_lift_simd_fp_index(struct lift *l, const struct a64_simd_fp_index *f)
{
    unsigned size = f->size ? f->size : 1;
    struct shape s = shape_of(f->sc, f->q, size);
    irv x = vreg(l, f->rn), y = a64_index_lane(l, size, f->hlm, f->mrm), v;
    if (f->op == 9 && f->u)
        v = fp_lanes(l, A64_FP_MULX, s.lane, s.lanes, 0, x, y);
    else if (f->op == 9)
        v = ir_f2(l->b, IR_FMUL, s.type, s.lane, x, y);
    else
        v = ir_fma(l->b, s.type, s.lane | (f->op == 5 ? IR_FMA_NEG_PROD : 0), x, y, vreg(l, f->rd));
    put(l, &s, f->rd, v);
    return true;
}
