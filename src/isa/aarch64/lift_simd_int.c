/* Advanced SIMD: integer arithmetic. */
#include "isa/aarch64/lift_simd.h"

irv a64_lane_zx(struct lift *l, unsigned size, irv v)
{
    static const u8 type[] = {0, IR_F16, IR_F32, IR_F64};
    if (!size)
        return ir_fmov(l->b, IR_F32, ir_v1(l->b, IR_VGET, IR_I32, 0, v));
    return ir_zx(l->b, type[size], v);
}

void a64_put_lanes(struct lift *l, unsigned sc, unsigned size, unsigned q, unsigned rd, irv v)
{
    if (sc)
        v = a64_lane_zx(l, size, v);
    else if (!q)
        v = ir_zx(l->b, IR_V64, v);
    put_vreg(l, rd, v);
}

void a64_put_narrow(struct lift *l, unsigned q, unsigned rd, irv v)
{
    if (q)
        v = ir_v2(l->b, IR_VINSV, IR_V128, 3 | 1 << 4, vreg(l, rd), v);
    else
        v = ir_zx(l->b, IR_V64, v);
    put_vreg(l, rd, v);
}

static unsigned lanes_of(unsigned sc, unsigned q, unsigned size)
{
    return sc ? 1 : (q ? 16u : 8u) >> size;
}

static irv zero(struct lift *l)
{
    return ir_const(l->b, IR_V128, 0);
}

irv a64_splat(struct lift *l, unsigned size, u64 x)
{
    static const u64 ones[] = {0x0101010101010101, 0x0001000100010001, 0x0000000100000001, 1};
    return ir_const(l->b, IR_V128, (x & mask64(8u << size)) * ones[size]);
}

/* Without a bit more than the lanes have: x + y is 2 * (x & y) + (x ^ y) and 2 * (x | y) - (x ^ y), and
 * x - y is (x ^ y) - 2 * (~x & y). */
bool a64_lift_simd_halving(struct lift *l, const struct a64_simd_3same *f)
{
    struct ir_builder *b = l->b;
    unsigned type = vec_type(f->q);
    irv x = vreg(l, f->rn), y = vreg(l, f->rm), v;
    irv half = ir_v1(b, f->u ? IR_VSHR : IR_VSAR, type, f->size | 1 << 4, ir_v2(b, IR_VXOR, type, 0, x, y));
    if (f->op == 0) /* hadd */
        v = ir_v2(b, IR_VADD, type, f->size, ir_v2(b, IR_VAND, type, 0, x, y), half);
    else if (f->op != 2) /* hsub */
        v = ir_v2(b, IR_VSUB, type, f->size, half, ir_v2(b, IR_VANDN, type, 0, y, x));
    else if (f->u && f->size < 2) /* urhadd */
        v = ir_v2(b, IR_VAVGU, type, f->size, x, y);
    else
        v = ir_v2(b, IR_VSUB, type, f->size, ir_v2(b, IR_VOR, type, 0, x, y), half);
    a64_put_lanes(l, 0, f->size, f->q, f->rd, v);
    return true;
}

irv a64_compare(struct lift *l, unsigned type, unsigned size, enum a64_vcmp how, irv x, irv y)
{
    struct ir_builder *b = l->b;
    switch (how) {
    case VCMP_EQ:
        return ir_v2(b, IR_VCMPEQ, type, size, x, y);
    case VCMP_GT:
        return ir_v2(b, IR_VCMPGTS, type, size, x, y);
    case VCMP_HI:
        return ir_v2(b, IR_VCMPGTU, type, size, x, y);
    case VCMP_GE:
        return ir_v1(b, IR_VNOT, type, 0, ir_v2(b, IR_VCMPGTS, type, size, y, x));
    case VCMP_HS:
        return ir_v1(b, IR_VNOT, type, 0, ir_v2(b, IR_VCMPGTU, type, size, y, x));
    default: /* VCMP_TST */
        x = ir_v2(b, IR_VAND, type, 0, x, y);
        return ir_v1(b, IR_VNOT, type, 0, ir_v2(b, IR_VCMPEQ, type, size, x, zero(l)));
    }
}

bool a64_lift_simd_compare(struct lift *l, const struct a64_simd_3same *f)
{
    static const u8 how[2][3] = {{VCMP_GT, VCMP_GE, VCMP_TST}, {VCMP_HI, VCMP_HS, VCMP_EQ}};
    unsigned row = f->op == 6 ? 0 : f->op == 7 ? 1 : 2;
    irv v = a64_compare(l, vec_type(f->q), f->size, (enum a64_vcmp)how[f->u][row], vreg(l, f->rn),
                        vreg(l, f->rm));
    a64_put_lanes(l, f->sc, f->size, f->q, f->rd, v);
    return true;
}

bool a64_lift_simd_compare_zero(struct lift *l, const struct a64_simd_2misc *f)
{
    irv x = vreg(l, f->rn), z = zero(l), v;
    unsigned type = vec_type(f->q);
    if (f->op == 8)
        v = a64_compare(l, type, f->size, f->u ? VCMP_GE : VCMP_GT, x, z);
    else if (f->op == 9)
        v = a64_compare(l, type, f->size, f->u ? VCMP_GE : VCMP_EQ, f->u ? z : x, f->u ? x : z);
    else
        v = a64_compare(l, type, f->size, VCMP_GT, z, x);
    a64_put_lanes(l, f->sc, f->size, f->q, f->rd, v);
    return true;
}

irv a64_shift_amounts(struct lift *l, unsigned size, irv by)
{
    unsigned up = (8u << size) - 8;
    by = ir_v1(l->b, IR_VSHL, IR_V128, size | up << 4, by);
    return ir_v1(l->b, IR_VSAR, IR_V128, size | up << 4, by);
}

irv a64_shift_right_by(struct lift *l, unsigned size, bool is_unsigned, bool round, irv x, irv by)
{
    struct ir_builder *b = l->b;
    unsigned op = is_unsigned ? IR_VSHRV : IR_VSARV;
    irv v = ir_v2(b, op, IR_V128, size, x, by);
    if (round) {
        irv one = a64_splat(l, size, 1);
        irv last = ir_v2(b, op, IR_V128, size, x, ir_v2(b, IR_VSUB, IR_V128, size, by, one));
        v = ir_v2(b, IR_VADD, IR_V128, size, v, ir_v2(b, IR_VAND, IR_V128, 0, last, one));
    }
    return v;
}

/* Left, or right by the opposite. Amounts that are too large shift everything out, so the one of the two that
 * does not apply is zero, or signs. */
bool a64_lift_simd_shift_reg(struct lift *l, const struct a64_simd_3same *f)
{
    struct ir_builder *b = l->b;
    bool round = f->op & 2;
    irv x = vreg(l, f->rn), by = a64_shift_amounts(l, f->size, vreg(l, f->rm)), v;
    irv left = ir_v2(b, IR_VSHLV, IR_V128, f->size, x, by);
    irv right = a64_shift_right_by(l, f->size, f->u, round, x, ir_v1(b, IR_VNEG, IR_V128, f->size, by));
    if (f->u && !round)
        v = ir_v2(b, IR_VOR, IR_V128, 0, left, right);
    else
        v = ir_vbsl(b, IR_V128, ir_v2(b, IR_VCMPGTS, IR_V128, f->size, zero(l), by), right, left);
    a64_put_lanes(l, f->sc, f->size, f->q, f->rd, v);
    return true;
}

static irv minmax(struct lift *l, unsigned type, unsigned size, bool min, bool is_unsigned, irv x,
                  irv y)
{
    static const u8 op[2][2] = {{IR_VMAXS, IR_VMAXU}, {IR_VMINS, IR_VMINU}};
    return ir_v2(l->b, op[min][is_unsigned], type, size, x, y);
}

bool a64_lift_simd_minmax(struct lift *l, const struct a64_simd_3same *f)
{
    put_vreg(l, f->rd, minmax(l, vec_type(f->q), f->size, f->op & 1, f->u, vreg(l, f->rn),
                              vreg(l, f->rm)));
    return true;
}

static irv abs_diff(struct lift *l, unsigned type, unsigned size, bool is_unsigned, irv x, irv y)
{
    return ir_v2(l->b, IR_VSUB, type, size, minmax(l, type, size, false, is_unsigned, x, y),
                 minmax(l, type, size, true, is_unsigned, x, y));
}

bool a64_lift_simd_absdiff(struct lift *l, const struct a64_simd_3same *f)
{
    unsigned type = vec_type(f->q);
    irv v = abs_diff(l, type, f->size, f->u, vreg(l, f->rn), vreg(l, f->rm));
    if (f->op & 1)
        v = ir_v2(l->b, IR_VADD, type, f->size, vreg(l, f->rd), v);
    put_vreg(l, f->rd, v);
    return true;
}

bool a64_lift_simd_addsub(struct lift *l, const struct a64_simd_3same *f)
{
    irv v = ir_v2(l->b, f->u ? IR_VSUB : IR_VADD, vec_type(f->q), f->size, vreg(l, f->rn),
                  vreg(l, f->rm));
    a64_put_lanes(l, f->sc, f->size, f->q, f->rd, v);
    return true;
}

static irv multiply(struct lift *l, unsigned q, unsigned size, int accumulate, unsigned rd, irv x,
                    irv y)
{
    unsigned type = vec_type(q);
    irv v = ir_v2(l->b, IR_VMUL, type, size, x, y);
    if (accumulate)
        v = ir_v2(l->b, accumulate > 0 ? IR_VADD : IR_VSUB, type, size, vreg(l, rd), v);
    return v;
}

bool a64_lift_simd_mul(struct lift *l, const struct a64_simd_3same *f)
{
    int accumulate = f->op == 19 ? 0 : f->u ? -1 : 1;
    put_vreg(l, f->rd, multiply(l, f->q, f->size, accumulate, f->rd, vreg(l, f->rn), vreg(l, f->rm)));
    return true;
}

/* Product of polynomials over two elements: of the low 8 bits of each lane of x, and the high 8 of y. */
static irv polynomial(struct lift *l, unsigned size, irv x, irv y)
{
    irv r = zero(l);
    for (unsigned i = 0; i < 8; i++) {
        irv top = ir_v2(l->b, IR_VCMPGTS, IR_V128, size, zero(l), y);
        r = ir_v2(l->b, IR_VADD, IR_V128, size, r, r);
        r = ir_v2(l->b, IR_VXOR, IR_V128, 0, r, ir_v2(l->b, IR_VAND, IR_V128, 0, x, top));
        y = ir_v2(l->b, IR_VADD, IR_V128, size, y, y);
    }
    return r;
}

bool a64_lift_simd_pmul(struct lift *l, const struct a64_simd_3same *f)
{
    a64_put_lanes(l, 0, 0, f->q, f->rd, polynomial(l, 0, vreg(l, f->rn), vreg(l, f->rm)));
    return true;
}

/* Neighbours, of the first operand and then of the second: even lanes against odd lanes. */
bool a64_lift_simd_pairwise(struct lift *l, const struct a64_simd_3same *f)
{
    unsigned type = vec_type(f->q);
    irv x = vreg(l, f->rn), y = vreg(l, f->rm), v;
    if (f->op == 23 && f->size) {
        v = ir_v2(l->b, IR_VADDP, type, f->size, x, y);
    } else {
        irv even = ir_v2(l->b, IR_VUZP1, type, f->size, x, y);
        irv odd = ir_v2(l->b, IR_VUZP2, type, f->size, x, y);
        v = f->op == 23 ? ir_v2(l->b, IR_VADD, type, f->size, even, odd)
                        : minmax(l, type, f->size, f->op & 1, f->u, even, odd);
    }
    put_vreg(l, f->rd, v);
    return true;
}

/* ---- long, wide, narrow ---- */

static irv extend(struct lift *l, unsigned size, bool is_signed, unsigned high, irv v)
{
    return ir_v1(l->b, IR_VEXTEND, IR_V128, size | (unsigned)is_signed << 4 | high << 5, v);
}

bool a64_lift_simd_addsub_long(struct lift *l, const struct a64_simd_3diff *f)
{
    irv x = vreg(l, f->rn), y = extend(l, f->size, !f->u, f->q, vreg(l, f->rm));
    if (!(f->op & 1))
        x = extend(l, f->size, !f->u, f->q, x);
    put_vreg(l, f->rd, ir_v2(l->b, f->op & 2 ? IR_VSUB : IR_VADD, IR_V128, f->size + 1u, x, y));
    return true;
}

/* The high half of each sum or difference, rounded for u. */
bool a64_lift_simd_addsub_narrow(struct lift *l, const struct a64_simd_3diff *f)
{
    unsigned wide = f->size + 1u, bits = 8u << f->size;
    irv v = ir_v2(l->b, f->op & 2 ? IR_VSUB : IR_VADD, IR_V128, wide, vreg(l, f->rn), vreg(l, f->rm));
    if (f->u)
        v = ir_v2(l->b, IR_VADD, IR_V128, wide, v, a64_splat(l, wide, 1ull << (bits - 1)));
    v = ir_v1(l->b, IR_VSHR, IR_V128, wide | bits << 4, v);
    a64_put_narrow(l, f->q, f->rd, ir_v1(l->b, IR_VNARROW, IR_V64, wide, v));
    return true;
}

bool a64_lift_simd_absdiff_long(struct lift *l, const struct a64_simd_3diff *f)
{
    irv v = abs_diff(l, IR_V128, f->size, f->u, vreg(l, f->rn), vreg(l, f->rm));
    v = extend(l, f->size, false, f->q, v);
    if (f->op == 5)
        v = ir_v2(l->b, IR_VADD, IR_V128, f->size + 1u, vreg(l, f->rd), v);
    put_vreg(l, f->rd, v);
    return true;
}

static void multiply_long(struct lift *l, unsigned op, unsigned u, unsigned q, unsigned size,
                          unsigned rd, irv x, irv y)
{
    irv v = ir_v2(l->b, IR_VMULL, IR_V128, size | (u ? 0 : 1u << 4) | q << 5, x, y);
    if (op)
        v = ir_v2(l->b, op == 1 ? IR_VADD : IR_VSUB, IR_V128, size + 1u, vreg(l, rd), v);
    put_vreg(l, rd, v);
}

bool a64_lift_simd_mul_long(struct lift *l, const struct a64_simd_3diff *f)
{
    unsigned op = f->op == 8 ? 1 : f->op == 10 ? 2 : 0;
    multiply_long(l, op, f->u, f->q, f->size, f->rd, vreg(l, f->rn), vreg(l, f->rm));
    return true;
}

bool a64_lift_simd_pmull(struct lift *l, const struct a64_simd_3diff *f)
{
    irv x = extend(l, 0, false, f->q, vreg(l, f->rn)), y = extend(l, 0, false, f->q, vreg(l, f->rm));
    put_vreg(l, f->rd, polynomial(l, 1, x, ir_v1(l->b, IR_VSHL, IR_V128, 1 | 8 << 4, y)));
    return true;
}

bool a64_lift_simd_pmull_1q(struct lift *l, const struct a64_simd_pmull_1q *f)
{
    put_vreg(l, f->rd, ir_v2(l->b, IR_VPMULL, IR_V128, 3 | (unsigned)f->q << 4, vreg(l, f->rn),
                             vreg(l, f->rm)));
    return true;
}

/* ---- two registers ---- */

bool a64_lift_simd_rev(struct lift *l, const struct a64_simd_2misc *f)
{
    unsigned group = f->op ? 1 : f->u ? 2 : 3;
    put_vreg(l, f->rd, ir_v1(l->b, IR_VREV, vec_type(f->q), f->size | group << 4, vreg(l, f->rn)));
    return true;
}

/* Sums of neighbours: the low and the high half of each lane of twice the size. */
static irv pair_sums(struct lift *l, unsigned type, unsigned size, bool is_unsigned, irv x)
{
    unsigned wide = size + 1, right = is_unsigned ? IR_VSHR : IR_VSAR, aux = wide | (8u << size) << 4;
    irv low, high;
    if (size == 2 && !is_unsigned) { /* no arithmetic shift of 64 bits: sign-extend through lanes */
        low = ir_v1(l->b, IR_VEXTEND, IR_V128, 2 | 1 << 4, ir_v2(l->b, IR_VUZP1, IR_V128, 2, x, x));
        high = ir_v1(l->b, IR_VEXTEND, IR_V128, 2 | 1 << 4, ir_v2(l->b, IR_VUZP2, IR_V128, 2, x, x));
    } else {
        low = ir_v1(l->b, right, type, aux, ir_v1(l->b, IR_VSHL, type, aux, x));
        high = ir_v1(l->b, right, type, aux, x);
    }
    return ir_v2(l->b, IR_VADD, type, wide, low, high);
}

bool a64_lift_simd_addlp(struct lift *l, const struct a64_simd_2misc *f)
{
    unsigned type = vec_type(f->q);
    irv v = pair_sums(l, type, f->size, f->u, vreg(l, f->rn));
    if (f->op == 6)
        v = ir_v2(l->b, IR_VADD, type, f->size + 1u, vreg(l, f->rd), v);
    put_vreg(l, f->rd, v);
    return true;
}

/* With all bits set behind the first one, the zeros that are left are those that lead. */
static irv leading_zeros(struct lift *l, unsigned size, irv x)
{
    struct ir_builder *b = l->b;
    unsigned bits = 8u << size;
    for (unsigned by = 1; by < bits; by *= 2)
        x = ir_v2(b, IR_VOR, IR_V128, 0, x, ir_v1(b, IR_VSHR, IR_V128, size | by << 4, x));
    x = ir_v1(b, IR_VCNT, IR_V128, 0, ir_v1(b, IR_VNOT, IR_V128, 0, x));
    for (unsigned by = 8; by < bits; by *= 2)
        x = ir_v2(b, IR_VADD, IR_V128, size, x, ir_v1(b, IR_VSHR, IR_V128, size | by << 4, x));
    return ir_v2(b, IR_VAND, IR_V128, 0, x, a64_splat(l, size, 0xff));
}

bool a64_lift_simd_count(struct lift *l, const struct a64_simd_2misc *f)
{
    irv x = vreg(l, f->rn), v;
    if (f->op == 5) {
        v = ir_v1(l->b, IR_VCNT, vec_type(f->q), 0, x);
    } else if (f->u) {
        v = leading_zeros(l, f->size, x);
    } else { /* bits after the first that equal it */
        x = ir_v2(l->b, IR_VXOR, IR_V128, 0, x, ir_v1(l->b, IR_VSAR, IR_V128, f->size | 1 << 4, x));
        v = ir_v2(l->b, IR_VSUB, IR_V128, f->size, leading_zeros(l, f->size, x), a64_splat(l, f->size, 1));
    }
    a64_put_lanes(l, 0, f->size, f->q, f->rd, v);
    return true;
}

/* Swap groups of bits in each byte with their neighbours. */
static irv swap_bits(struct lift *l, unsigned by, u64 low, irv x)
{
    struct ir_builder *b = l->b;
    irv mask = a64_splat(l, 0, low);
    irv down = ir_v2(b, IR_VAND, IR_V128, 0, ir_v1(b, IR_VSHR, IR_V128, 1 | by << 4, x), mask);
    irv up = ir_v1(b, IR_VSHL, IR_V128, 1 | by << 4, ir_v2(b, IR_VAND, IR_V128, 0, x, mask));
    return ir_v2(b, IR_VOR, IR_V128, 0, down, up);
}

bool a64_lift_simd_not(struct lift *l, const struct a64_simd_2misc *f)
{
    irv v;
    if (f->size)
        v = swap_bits(l, 1, 0x55, swap_bits(l, 2, 0x33, swap_bits(l, 4, 0x0f, vreg(l, f->rn))));
    else
        v = ir_v1(l->b, IR_VNOT, vec_type(f->q), 0, vreg(l, f->rn));
    a64_put_lanes(l, 0, 0, f->q, f->rd, v);
    return true;
}

bool a64_lift_simd_abs(struct lift *l, const struct a64_simd_2misc *f)
{
    irv v = ir_v1(l->b, f->u ? IR_VNEG : IR_VABS, vec_type(f->q), f->size, vreg(l, f->rn));
    a64_put_lanes(l, f->sc, f->size, f->q, f->rd, v);
    return true;
}

bool a64_lift_simd_narrow(struct lift *l, const struct a64_simd_2misc *f)
{
    a64_put_narrow(l, f->q, f->rd, ir_v1(l->b, IR_VNARROW, IR_V64, f->size + 1u, vreg(l, f->rn)));
    return true;
}

bool a64_lift_simd_shll(struct lift *l, const struct a64_simd_2misc *f)
{
    irv v = extend(l, f->size, false, f->q, vreg(l, f->rn));
    put_vreg(l, f->rd, ir_v1(l->b, IR_VSHL, IR_V128, (f->size + 1u) | (8u << f->size) << 4, v));
    return true;
}

bool a64_lift_simd_estimate(struct lift *l, const struct a64_simd_2misc *f)
{
    irv v = fp_lanes(l, f->u ? A64_FP_RSQRT_ESTIMATE_U32 : A64_FP_RECIP_ESTIMATE_U32, IR_F32,
                     lanes_of(f->sc, f->q, f->size), 0, vreg(l, f->rn), 0);
    a64_put_lanes(l, 0, f->size, f->q, f->rd, v);
    return true;
}

/* ---- across lanes ---- */

/* All lanes of x into the lowest one, by halves; those above hold anything. */
static irv fold(struct lift *l, unsigned op, unsigned size, unsigned lanes, irv x)
{
    while (lanes /= 2)
        x = ir_v2(l->b, op, IR_V128, size, x, ir_v2(l->b, IR_VEXT, IR_V128, lanes << size, x, x));
    return x;
}

bool a64_lift_simd_across(struct lift *l, const struct a64_simd_across *f)
{
    static const u8 minmax[2][2] = {{IR_VMAXS, IR_VMAXU}, {IR_VMINS, IR_VMINU}};
    unsigned lanes = lanes_of(0, f->q, f->size), size = f->size;
    irv x = vreg(l, f->rn);
    if (f->op == 3) { /* [us]addlv */
        x = pair_sums(l, IR_V128, size++, f->u, x);
        lanes /= 2;
    }
    unsigned op = f->op == 3 || f->op == 27 ? IR_VADD : minmax[f->op != 10][f->u];
    put_vreg(l, f->rd, a64_lane_zx(l, size, fold(l, op, size, lanes, x)));
    return true;
}

/* ---- shifts by an immediate ---- */

unsigned a64_shift_size(unsigned imm)
{
    return 31u - clz32(imm >> 3);
}

irv a64_shift_right(struct lift *l, unsigned type, unsigned size, unsigned by, bool is_unsigned,
                       bool round, irv x)
{
    unsigned op = is_unsigned ? IR_VSHR : IR_VSAR;
    irv v = ir_v1(l->b, op, type, size | by << 4, x);
    if (round) {
        irv last = ir_v1(l->b, IR_VSHR, type, size | (by - 1) << 4, x);
        last = ir_v2(l->b, IR_VAND, type, 0, last, a64_splat(l, size, 1));
        v = ir_v2(l->b, IR_VADD, type, size, v, last);
    }
    return v;
}

bool a64_lift_simd_shr(struct lift *l, const struct a64_simd_shift_imm *f)
{
    unsigned size = a64_shift_size(f->imm), by = (16u << size) - f->imm, type = vec_type(f->q);
    irv v = a64_shift_right(l, type, size, by, f->u, f->op & 4, vreg(l, f->rn));
    if (f->op & 2)
        v = ir_v2(l->b, IR_VADD, type, size, vreg(l, f->rd), v);
    a64_put_lanes(l, f->sc, size, f->q, f->rd, v);
    return true;
}

bool a64_lift_simd_shl(struct lift *l, const struct a64_simd_shift_imm *f)
{
    unsigned size = a64_shift_size(f->imm), by = f->imm - (8u << size);
    irv v = ir_v1(l->b, IR_VSHL, vec_type(f->q), size | by << 4, vreg(l, f->rn));
    a64_put_lanes(l, f->sc, size, f->q, f->rd, v);
    return true;
}

bool a64_lift_simd_shift_insert(struct lift *l, const struct a64_simd_shift_imm *f)
{
    unsigned size = a64_shift_size(f->imm), bits = 8u << size, type = vec_type(f->q);
    bool left = f->op == 10;
    unsigned by = left ? f->imm - bits : 2 * bits - f->imm;
    u64 keep = left ? mask64(by) : by == bits ? mask64(bits) : ~(mask64(bits) >> by);
    irv v = ir_v1(l->b, left ? IR_VSHL : IR_VSHR, type, size | by << 4, vreg(l, f->rn));
    irv old = ir_v2(l->b, IR_VAND, type, 0, vreg(l, f->rd), a64_splat(l, size, keep));
    a64_put_lanes(l, f->sc, size, f->q, f->rd, ir_v2(l->b, IR_VOR, type, 0, v, old));
    return true;
}

bool a64_lift_simd_shrn(struct lift *l, const struct a64_simd_shift_imm *f)
{
    unsigned size = a64_shift_size(f->imm), by = (16u << size) - f->imm;
    irv v = a64_shift_right(l, IR_V128, size + 1, by, true, f->op & 1, vreg(l, f->rn));
    a64_put_narrow(l, f->q, f->rd, ir_v1(l->b, IR_VNARROW, IR_V64, size + 1, v));
    return true;
}

bool a64_lift_simd_shll_imm(struct lift *l, const struct a64_simd_shift_imm *f)
{
    unsigned size = a64_shift_size(f->imm), by = f->imm - (8u << size);
    irv v = extend(l, size, !f->u, f->q, vreg(l, f->rn));
    if (by)
        v = ir_v1(l->b, IR_VSHL, IR_V128, (size + 1) | by << 4, v);
    put_vreg(l, f->rd, v);
    return true;
}

/* ---- by one lane ---- */

irv a64_index_lane(struct lift *l, unsigned size, unsigned hlm, unsigned mrm)
{
    unsigned index = size == 1 ? hlm : size == 2 ? hlm >> 1 : hlm >> 2;
    unsigned reg_number = size == 1 ? mrm & 15 : mrm;
    return ir_v1(l->b, IR_VDUP, IR_V128, size | index << 4, vreg(l, reg_number));
}

static irv index_lane(struct lift *l, const struct a64_simd_index *f)
{
    return a64_index_lane(l, f->size, f->hlm, f->mrm);
}

bool a64_lift_simd_mul_index(struct lift *l, const struct a64_simd_index *f)
{
    int accumulate = f->op == 0 ? 1 : f->op == 4 ? -1 : 0;
    put_vreg(l, f->rd, multiply(l, f->q, f->size, accumulate, f->rd, vreg(l, f->rn), index_lane(l, f)));
    return true;
}

bool a64_lift_simd_mul_long_index(struct lift *l, const struct a64_simd_index *f)
{
    unsigned op = f->op == 2 ? 1 : f->op == 6 ? 2 : 0;
    multiply_long(l, op, f->u, f->q, f->size, f->rd, vreg(l, f->rn), index_lane(l, f));
    return true;
}

/* The helper works on all lanes: zeros in those that do not count saturate nothing. */
static void sqrdmlah(struct lift *l, bool subtract, unsigned sc, unsigned q, unsigned size,
                     unsigned rd, irv x, irv y)
{
    enum a64_helper h = size == 1 ? (subtract ? A64_HELPER_SQRDMLSH_H : A64_HELPER_SQRDMLAH_H)
                                  : (subtract ? A64_HELPER_SQRDMLSH_S : A64_HELPER_SQRDMLAH_S);
    irv sum = vreg(l, rd);
    if (sc || !q) {
        unsigned part = !sc ? IR_V64 : size == 1 ? IR_F16 : IR_F32;
        sum = ir_zx(l->b, part, sum);
        x = ir_zx(l->b, part, x);
    }
    put_vreg(l, rd, ir_helper(l->b, h, IR_V128, sum, x, y));
}

bool a64_lift_simd_sqrdmlah(struct lift *l, const struct a64_simd_3extra *f)
{
    sqrdmlah(l, f->op & 1, f->sc, f->q, f->size, f->rd, vreg(l, f->rn), vreg(l, f->rm));
    return true;
}

bool a64_lift_simd_sqrdmlah_index(struct lift *l, const struct a64_simd_index *f)
{
    sqrdmlah(l, f->op & 2, f->sc, f->q, f->size, f->rd, vreg(l, f->rn), index_lane(l, f));
    return true;
}

/* ---- dot and matrix products of bytes ---- */

/* aux of vdot. */
enum { N_SIGNED = 1, M_SIGNED = 2 };

static void dot(struct lift *l, unsigned q, unsigned rd, unsigned sign, irv n, irv m)
{
    unsigned type = vec_type(q);
    irv sum = ir_v2(l->b, IR_VDOT, type, sign, n, m);
    put_vreg(l, rd, ir_v2(l->b, IR_VADD, type, 2, vreg(l, rd), sum));
}

/* sdot, udot by u; usdot. */
bool a64_lift_simd_dot(struct lift *l, const struct a64_simd_3extra *f)
{
    unsigned sign = f->op & 1 ? M_SIGNED : f->u ? 0 : N_SIGNED | M_SIGNED;
    dot(l, f->q, f->rd, sign, vreg(l, f->rn), vreg(l, f->rm));
    return true;
}

/* usdot and sudot by size. */
bool a64_lift_simd_dot_lane(struct lift *l, const struct a64_simd_dot_index *f)
{
    unsigned sign = f->op & 1 ? (f->size ? M_SIGNED : N_SIGNED) : f->u ? 0 : N_SIGNED | M_SIGNED;
    irv m = ir_v1(l->b, IR_VDUP, IR_V128, 2 | f->hl << 4, vreg(l, f->mrm));
    dot(l, f->q, f->rd, sign, vreg(l, f->rn), m);
    return true;
}

/* The two rows of n, eight bytes each, with both rows of m: neighbouring sums belong together. */
bool a64_lift_simd_mmla(struct lift *l, const struct a64_simd_3extra *f)
{
    unsigned sign = f->op & 1 ? M_SIGNED : f->u ? 0 : N_SIGNED | M_SIGNED;
    irv n = vreg(l, f->rn), m = vreg(l, f->rm), part[2];
    for (unsigned row = 0; row < 2; row++)
        part[row] = ir_v2(l->b, IR_VDOT, IR_V128, sign,
                          ir_v1(l->b, IR_VDUP, IR_V128, 3 | row << 4, n), m);
    irv sum = ir_v2(l->b, IR_VADDP, IR_V128, 2, part[0], part[1]);
    put_vreg(l, f->rd, ir_v2(l->b, IR_VADD, IR_V128, 2, vreg(l, f->rd), sum));
    return true;
}
