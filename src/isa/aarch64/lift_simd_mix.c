/* Advanced SIMD: floating-point products that mix widths (FHM, BF16) and complex numbers (FCMA). */
#include "isa/aarch64/lift_simd.h"

/* ---- half precision into single precision ---- */

/* d +- n * m; n and m are f16, as many in the low lanes as the result has lanes. */
static void half_mla(struct lift *l, unsigned q, bool negate, unsigned rd, irv n, irv m)
{
    irv x = ir_helper(l->b, A64_HELPER_WIDEN_HALF, IR_V128, n, 0, 0);
    irv y = ir_helper(l->b, A64_HELPER_WIDEN_HALF, IR_V128, m, 0, 0);
    unsigned aux = IR_F32 | (negate ? IR_FMA_NEG_PROD : 0);
    put_vreg(l, rd, ir_fma(l->b, vec_type(q), aux, x, y, vreg(l, rd)));
}

/* The lower or upper part of what a register of the size q holds. */
static irv half_part(struct lift *l, unsigned q, unsigned upper, irv v)
{
    return ir_v1(l->b, IR_VDUP, IR_V128, (q ? 3 : 2) | upper << 4, v);
}

bool a64_lift_simd_fmlal(struct lift *l, const struct a64_simd_fmlal *f)
{
    half_mla(l, f->q, f->a, f->rd, half_part(l, f->q, f->u, vreg(l, f->rn)),
             half_part(l, f->q, f->u, vreg(l, f->rm)));
    return true;
}

static irv half_lane(struct lift *l, const struct a64_simd_half_index *f)
{
    return ir_v1(l->b, IR_VDUP, IR_V128, 1 | f->hlm << 4, vreg(l, f->rm));
}

bool a64_lift_simd_half_index(struct lift *l, const struct a64_simd_half_index *f)
{
    half_mla(l, f->q, f->op & 4, f->rd, half_part(l, f->q, f->u, vreg(l, f->rn)), half_lane(l, f));
    return true;
}

/* ---- bfloat16: the upper half of a single ---- */

static irv bf16_lanes(struct lift *l, unsigned odd, irv v)
{
    if (odd)
        return ir_v2(l->b, IR_VAND, IR_V128, 0, v, ir_const(l->b, IR_V128, 0xffff0000ffff0000));
    return ir_v1(l->b, IR_VSHL, IR_V128, 2 | 16 << 4, v);
}

/* q: the odd lanes (BFMLALT), else the even ones. */
bool a64_lift_simd_bfmlal(struct lift *l, const struct a64_simd_3extra *f)
{
    irv x = bf16_lanes(l, f->q, vreg(l, f->rn)), y = bf16_lanes(l, f->q, vreg(l, f->rm));
    put_vreg(l, f->rd, ir_fma(l->b, IR_V128, IR_F32, x, y, vreg(l, f->rd)));
    return true;
}

bool a64_lift_simd_bfmlal_index(struct lift *l, const struct a64_simd_half_index *f)
{
    irv x = bf16_lanes(l, f->q, vreg(l, f->rn)), y = bf16_lanes(l, 0, half_lane(l, f));
    put_vreg(l, f->rd, ir_fma(l->b, IR_V128, IR_F32, x, y, vreg(l, f->rd)));
    return true;
}

static void bfdot(struct lift *l, unsigned q, unsigned rd, irv n, irv m)
{
    irv v = ir_helper(l->b, A64_HELPER_BFDOT, IR_V128, vreg(l, rd), n, m);
    put_vreg(l, rd, q ? v : ir_zx(l->b, IR_V64, v));
}

bool a64_lift_simd_bfdot(struct lift *l, const struct a64_simd_3extra *f)
{
    bfdot(l, f->q, f->rd, vreg(l, f->rn), vreg(l, f->rm));
    return true;
}

bool a64_lift_simd_bfdot_lane(struct lift *l, const struct a64_simd_dot_index *f)
{
    irv m = ir_v1(l->b, IR_VDUP, IR_V128, 2 | f->hl << 4, vreg(l, f->mrm));
    bfdot(l, f->q, f->rd, vreg(l, f->rn), m);
    return true;
}

bool a64_lift_simd_bfmmla(struct lift *l, const struct a64_simd_3extra *f)
{
    put_vreg(l, f->rd, ir_helper(l->b, A64_HELPER_BFMMLA, IR_V128, vreg(l, f->rd), vreg(l, f->rn),
                                 vreg(l, f->rm)));
    return true;
}

bool a64_lift_simd_bfcvtn(struct lift *l, const struct a64_simd_2misc *f)
{
    irv v = fp_lanes(l, A64_FP_TO_BF16, IR_F32, 4, 0, vreg(l, f->rn), 0);
    a64_put_narrow(l, f->q, f->rd, ir_v1(l->b, IR_VNARROW, IR_V64, 2, v));
    return true;
}

/* ---- complex numbers: real parts in even lanes, imaginary parts in odd ones ---- */

/* Change the sign of the even lanes, the odd lanes or both. */
static irv change_signs(struct lift *l, unsigned type, unsigned size, bool even, bool odd, irv v)
{
    u64 bit = 1ull << ((8u << size) - 1), low = even ? bit : 0, high = odd ? bit : 0;
    if (!even && !odd)
        return v;
    irv signs;
    if (size == 3) {
        signs = ir_v2(l->b, IR_VPAIR, IR_V128, 0, ir_const(l->b, IR_I64, low),
                      ir_const(l->b, IR_I64, high));
    } else {
        u64 pair = low | high << (8u << size);
        signs = ir_const(l->b, type, size == 1 ? pair | pair << 32 : pair);
    }
    return ir_v2(l->b, IR_VXOR, type, 0, v, signs);
}

/* Exchange real and imaginary parts. */
static irv exchange(struct lift *l, unsigned type, unsigned size, irv v)
{
    if (size == 3)
        return ir_v2(l->b, IR_VEXT, type, 8, v, v);
    return ir_v1(l->b, IR_VREV, type, size | (size + 1) << 4, v);
}

static unsigned fp_lane(unsigned size)
{
    static const u8 lane[] = {0, IR_F16, IR_F32, IR_F64};
    return lane[size];
}

/* d plus the half of the product n * m that `rot` (in quarter turns) names: with the real parts of n
 * for 0 and 2, the imaginary ones for 1 and 3. */
static bool complex_mla(struct lift *l, unsigned q, unsigned size, unsigned rot, unsigned rd, irv n,
                        irv m)
{
    unsigned type = vec_type(q);
    if (size == 1 && !has_feature(l, A64_FEAT_FP16))
        return false;
    irv x = ir_v2(l->b, rot & 1 ? IR_VTRN2 : IR_VTRN1, type, size, n, n);
    irv y = rot & 1 ? exchange(l, type, size, m) : m;
    y = change_signs(l, type, size, rot == 1 || rot == 2, rot & 2, y);
    put_vreg(l, rd, ir_fma(l->b, type, fp_lane(size), x, y, vreg(l, rd)));
    return true;
}

bool a64_lift_simd_fcmla(struct lift *l, const struct a64_simd_3extra *f)
{
    return complex_mla(l, f->q, f->size, f->op & 3, f->rd, vreg(l, f->rn), vreg(l, f->rm));
}

/* One complex number of the last operand. */
bool a64_lift_simd_fcmla_index(struct lift *l, const struct a64_simd_fcmla_index *f)
{
    unsigned index = f->size == 1 ? f->hl : f->hl >> 1;
    irv m = ir_v1(l->b, IR_VDUP, IR_V128, (f->size + 1u) | index << 4, vreg(l, f->mrm));
    return complex_mla(l, f->q, f->size, f->rot, f->rd, vreg(l, f->rn), m);
}

/* n plus m turned by 90 or 270 degrees. */
bool a64_lift_simd_fcadd(struct lift *l, const struct a64_simd_3extra *f)
{
    unsigned type = vec_type(f->q);
    bool back = f->op & 2;
    if (f->size == 1 && !has_feature(l, A64_FEAT_FP16))
        return false;
    irv y = exchange(l, type, f->size, vreg(l, f->rm));
    y = change_signs(l, type, f->size, !back, back, y);
    put_vreg(l, f->rd, ir_f2(l->b, IR_FADD, type, fp_lane(f->size), vreg(l, f->rn), y));
    return true;
}
