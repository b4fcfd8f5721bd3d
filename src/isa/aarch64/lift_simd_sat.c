/* Advanced SIMD: saturating integer operations. Each also makes lanes that are not zero where it saturated;
 * they gather in a slot, A64_QC, of which FPSR.QC is made when somebody reads it. */
#include "isa/aarch64/lift_simd.h"

/* Lanes of 1 << size bytes that count: one for sc, the lower half of the register, or all of it. */
struct form {
    unsigned size, q, sc;
};

static irv vector(struct lift *l, unsigned op, unsigned size, irv x, irv y)
{
    return ir_v2(l->b, op, IR_V128, size, x, y);
}

static irv shifted(struct lift *l, unsigned op, unsigned size, unsigned by, irv x)
{
    return ir_v1(l->b, op, IR_V128, size | by << 4, x);
}

static irv inverted(struct lift *l, irv x)
{
    return ir_v1(l->b, IR_VNOT, IR_V128, 0, x);
}

/* Largest and smallest signed number of each lane. */
static irv most(struct lift *l, unsigned size)
{
    return a64_splat(l, size, mask64((8u << size) - 1));
}

static irv least(struct lift *l, unsigned size)
{
    return a64_splat(l, size, 1ull << ((8u << size) - 1));
}

static irv negative(struct lift *l, unsigned size, irv x)
{
    return vector(l, IR_VCMPGTS, size, ir_const(l->b, IR_V128, 0), x);
}

/* What a signed result saturates to that has the sign of x. */
static irv bound_of(struct lift *l, unsigned size, irv x)
{
    return vector(l, IR_VXOR, 0, negative(l, size, x), most(l, size));
}

/* Lanes that are not zero saturated. */
static void note(struct lift *l, struct form f, irv saturated)
{
    if (f.sc)
        saturated = a64_lane_zx(l, f.size, saturated);
    else if (!f.q)
        saturated = ir_zx(l->b, IR_V64, saturated);
    ir_put(l->b, A64_QC, vector(l, IR_VOR, 0, ir_get(l->b, A64_QC), saturated));
}

/* ---- sums ---- */

static irv add_signed(struct lift *l, struct form f, bool sub, irv x, irv y)
{
    irv r = vector(l, sub ? IR_VSUB : IR_VADD, f.size, x, y);
    irv changed = vector(l, IR_VXOR, 0, x, r); /* the sign of x is not that of the result */
    irv against = vector(l, IR_VXOR, 0, sub ? x : r, y);
    irv over = negative(l, f.size, vector(l, IR_VAND, 0, changed, against));
    note(l, f, over);
    return ir_vbsl(l->b, IR_V128, over, bound_of(l, f.size, x), r);
}

static irv add_unsigned(struct lift *l, struct form f, bool sub, irv x, irv y)
{
    irv r = vector(l, sub ? IR_VSUB : IR_VADD, f.size, x, y);
    irv over = sub ? vector(l, IR_VCMPGTU, f.size, y, x) : vector(l, IR_VCMPGTU, f.size, x, r);
    note(l, f, over);
    return vector(l, sub ? IR_VANDN : IR_VOR, 0, r, over);
}

static irv add_saturating(struct lift *l, struct form f, bool is_unsigned, bool sub, irv x, irv y)
{
    static const u8 op[2][2] = {{IR_VQADDS, IR_VQSUBS}, {IR_VQADDU, IR_VQSUBU}};
    if (f.size >= 2)
        return is_unsigned ? add_unsigned(l, f, sub, x, y) : add_signed(l, f, sub, x, y);
    irv r = vector(l, op[is_unsigned][sub], f.size, x, y);
    note(l, f, vector(l, IR_VXOR, 0, r, vector(l, sub ? IR_VSUB : IR_VADD, f.size, x, y)));
    return r;
}

bool a64_lift_simd_sat_addsub(struct lift *l, const struct a64_simd_3same *f)
{
    struct form form = {f->size, f->q, f->sc};
    irv v = add_saturating(l, form, f->u, f->op != 1, vreg(l, f->rn), vreg(l, f->rm));
    a64_put_lanes(l, f->sc, f->size, f->q, f->rd, v);
    return true;
}

/* Of a signed and an unsigned number, the destination being what the result is. The signed sum is smaller than
 * it was if it went too far; the unsigned one is smaller, or, when a negative number was added, larger. */
bool a64_lift_simd_sat_accum(struct lift *l, const struct a64_simd_2misc *f)
{
    struct form form = {f->size, f->q, f->sc};
    irv x = vreg(l, f->rd), y = vreg(l, f->rn), r = vector(l, IR_VADD, f->size, x, y), over, bound;
    if (f->u) {
        irv down = negative(l, f->size, y);
        over = ir_vbsl(l->b, IR_V128, down, vector(l, IR_VCMPGTU, f->size, r, x),
                       vector(l, IR_VCMPGTU, f->size, x, r));
        bound = inverted(l, down);
    } else {
        over = vector(l, IR_VCMPGTS, f->size, x, r);
        bound = most(l, f->size);
    }
    note(l, form, over);
    a64_put_lanes(l, f->sc, f->size, f->q, f->rd, ir_vbsl(l->b, IR_V128, over, bound, r));
    return true;
}

/* The least number has no opposite: its absolute value and its negation are itself, and become the most. */
bool a64_lift_simd_sat_abs(struct lift *l, const struct a64_simd_2misc *f)
{
    struct form form = {f->size, f->q, f->sc};
    irv r = ir_v1(l->b, f->u ? IR_VNEG : IR_VABS, IR_V128, f->size, vreg(l, f->rn));
    irv over = f->u ? vector(l, IR_VCMPEQ, f->size, vreg(l, f->rn), least(l, f->size))
                    : negative(l, f->size, r);
    note(l, form, over);
    a64_put_lanes(l, f->sc, f->size, f->q, f->rd, vector(l, IR_VXOR, 0, r, over));
    return true;
}

/* ---- shifts to the left ---- */

static irv shl_signed(struct lift *l, struct form f, unsigned by, irv x)
{
    irv r = shifted(l, IR_VSHL, f.size, by, x), back = shifted(l, IR_VSAR, f.size, by, r);
    note(l, f, vector(l, IR_VXOR, 0, back, x));
    return ir_vbsl(l->b, IR_V128, vector(l, IR_VCMPEQ, f.size, back, x), r, bound_of(l, f.size, x));
}

/* from_signed: negative numbers become zero. */
static irv shl_unsigned(struct lift *l, struct form f, unsigned by, bool from_signed, irv x)
{
    irv r = shifted(l, IR_VSHL, f.size, by, x), back = shifted(l, IR_VSHR, f.size, by, r);
    irv lost = vector(l, IR_VXOR, 0, back, x);
    r = vector(l, IR_VOR, 0, r, inverted(l, vector(l, IR_VCMPEQ, f.size, back, x)));
    if (from_signed) {
        irv below = negative(l, f.size, x);
        r = vector(l, IR_VANDN, 0, r, below);
        lost = vector(l, IR_VOR, 0, lost, below);
    }
    note(l, f, lost);
    return r;
}

bool a64_lift_simd_sat_shl(struct lift *l, const struct a64_simd_shift_imm *f)
{
    unsigned size = a64_shift_size(f->imm), by = f->imm - (8u << size);
    struct form form = {size, f->q, f->sc};
    irv x = vreg(l, f->rn), v;
    if (f->op == 14 && !f->u)
        v = shl_signed(l, form, by, x);
    else
        v = shl_unsigned(l, form, by, f->op == 12, x);
    a64_put_lanes(l, f->sc, size, f->q, f->rd, v);
    return true;
}

/* By register: to the left it may saturate, to the right it does not. */
bool a64_lift_simd_sat_shift_reg(struct lift *l, const struct a64_simd_3same *f)
{
    struct form form = {f->size, f->q, f->sc};
    irv x = vreg(l, f->rn), by = a64_shift_amounts(l, f->size, vreg(l, f->rm));
    irv to_right = negative(l, f->size, by), left = vector(l, IR_VSHLV, f->size, x, by);
    irv back = vector(l, f->u ? IR_VSHRV : IR_VSARV, f->size, left, by);
    irv bound = f->u ? ir_const(l->b, IR_V128, ~0ull) : bound_of(l, f->size, x);
    irv right = a64_shift_right_by(l, f->size, f->u, f->op & 2, x,
                                   ir_v1(l->b, IR_VNEG, IR_V128, f->size, by));
    note(l, form, vector(l, IR_VANDN, 0, vector(l, IR_VXOR, 0, back, x), to_right));
    left = ir_vbsl(l->b, IR_V128, vector(l, IR_VCMPEQ, f->size, back, x), left, bound);
    a64_put_lanes(l, f->sc, f->size, f->q, f->rd, ir_vbsl(l->b, IR_V128, to_right, right, left));
    return true;
}

/* ---- narrowing ---- */

enum narrowing { SIGNED, UNSIGNED, TO_UNSIGNED };

/* Lanes of twice the size, which must fit. */
static irv clamp(struct lift *l, enum narrowing how, unsigned size, irv x)
{
    unsigned wide = size + 1, bits = 8u << size;
    u64 all = mask64(bits), half = mask64(bits - 1);
    if (how == UNSIGNED)
        return vector(l, IR_VMINU, wide, x, a64_splat(l, wide, all));
    x = vector(l, IR_VMINS, wide, x, a64_splat(l, wide, how == SIGNED ? half : all));
    return vector(l, IR_VMAXS, wide, x, a64_splat(l, wide, how == SIGNED ? ~half : 0));
}

static void narrow(struct lift *l, enum narrowing how, unsigned sc, unsigned q, unsigned size, unsigned rd,
                   irv x)
{
    irv v = clamp(l, how, size, x);
    note(l, (struct form){size + 1, 1, sc}, vector(l, IR_VXOR, 0, v, x));
    v = ir_v1(l->b, IR_VNARROW, IR_V64, size + 1, v);
    if (sc)
        a64_put_lanes(l, 1, size, 0, rd, v);
    else
        a64_put_narrow(l, q, rd, v);
}

bool a64_lift_simd_sat_narrow(struct lift *l, const struct a64_simd_2misc *f)
{
    enum narrowing how = f->op == 18 ? TO_UNSIGNED : f->u ? UNSIGNED : SIGNED;
    narrow(l, how, f->sc, f->q, f->size, f->rd, vreg(l, f->rn));
    return true;
}

bool a64_lift_simd_sat_shrn(struct lift *l, const struct a64_simd_shift_imm *f)
{
    unsigned size = a64_shift_size(f->imm), by = (16u << size) - f->imm;
    enum narrowing how = !(f->op & 2) ? TO_UNSIGNED : f->u ? UNSIGNED : SIGNED;
    irv x = a64_shift_right(l, IR_V128, size + 1, by, how == UNSIGNED, f->op & 1, vreg(l, f->rn));
    narrow(l, how, f->sc, f->q, size, f->rd, x);
    return true;
}

/* ---- doubled products ---- */

static irv product(struct lift *l, unsigned size, unsigned high, irv x, irv y)
{
    return vector(l, IR_VMULL, size | 1u << 4 | high << 5, x, y);
}

/* Only the least number times itself is too large: the doubled product of these is the least number. */
static irv mend(struct lift *l, struct form f, irv r)
{
    irv over = vector(l, IR_VCMPEQ, f.size, r, least(l, f.size));
    note(l, f, over);
    return vector(l, IR_VXOR, 0, r, over);
}

/* The high half of the doubled products, perhaps rounded. */
static irv multiply_high(struct lift *l, struct form f, bool round, irv x, irv y)
{
    unsigned wide = f.size + 1, bits = 8u << f.size;
    irv half[2];
    for (unsigned high = 0; high < 2; high++) {
        irv p = product(l, f.size, high, x, y);
        if (round)
            p = vector(l, IR_VADD, wide, p, a64_splat(l, wide, 1ull << (bits - 2)));
        half[high] = shifted(l, IR_VSHR, wide, bits - 1, p);
        if (!f.q || f.sc)
            return mend(l, f, ir_v1(l->b, IR_VNARROW, IR_V64, wide, half[0]));
    }
    return mend(l, f, vector(l, IR_VUZP1, f.size, half[0], half[1]));
}

bool a64_lift_simd_sqdmulh(struct lift *l, const struct a64_simd_3same *f)
{
    struct form form = {f->size, f->q, f->sc};
    irv v = multiply_high(l, form, f->u, vreg(l, f->rn), vreg(l, f->rm));
    a64_put_lanes(l, f->sc, f->size, f->q, f->rd, v);
    return true;
}

bool a64_lift_simd_sqdmulh_index(struct lift *l, const struct a64_simd_index *f)
{
    struct form form = {f->size, f->q, f->sc};
    irv m = a64_index_lane(l, f->size, f->hlm, f->mrm);
    irv v = multiply_high(l, form, f->op != 12, vreg(l, f->rn), m);
    a64_put_lanes(l, f->sc, f->size, f->q, f->rd, v);
    return true;
}

/* op: 1 adds to, 2 subtracts from the destination: a second saturation. */
static void multiply_long(struct lift *l, unsigned op, unsigned sc, unsigned q, unsigned size, unsigned rd,
                          irv x, irv y)
{
    struct form wide = {size + 1, 1, sc};
    irv v = product(l, size, sc ? 0 : q, x, y);
    v = mend(l, wide, vector(l, IR_VADD, wide.size, v, v));
    if (op)
        v = add_saturating(l, wide, false, op == 2, vreg(l, rd), v);
    a64_put_lanes(l, sc, wide.size, 1, rd, v);
}

bool a64_lift_simd_sqdmul_long(struct lift *l, const struct a64_simd_3diff *f)
{
    unsigned op = f->op == 9 ? 1 : f->op == 11 ? 2 : 0;
    multiply_long(l, op, f->sc, f->q, f->size, f->rd, vreg(l, f->rn), vreg(l, f->rm));
    return true;
}

bool a64_lift_simd_sqdmul_long_index(struct lift *l, const struct a64_simd_index *f)
{
    unsigned op = f->op == 3 ? 1 : f->op == 7 ? 2 : 0;
    irv m = a64_index_lane(l, f->size, f->hlm, f->mrm);
    multiply_long(l, op, f->sc, f->q, f->size, f->rd, vreg(l, f->rn), m);
    return true;
}
