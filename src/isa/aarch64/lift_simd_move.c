/* Advanced SIMD without arithmetic: lanes, immediates, logic, permutations, tables. */
#include "isa/aarch64/lift.h"

/* One lane and nothing else. There is no FP type of 8 bits, so bytes go through an integer. */
static irv lane_alone(struct lift *l, unsigned size, unsigned index, irv v)
{
    static const u8 type[] = {0, IR_F16, IR_F32, IR_F64};
    if (!size)
        return ir_fmov(l->b, IR_F32, ir_v1(l->b, IR_VGET, IR_I32, index << 4, v));
    v = ir_v1(l->b, IR_VDUP, IR_V64, size | index << 4, v);
    return ir_zx(l->b, type[size], v);
}

bool a64_lift_simd_dup(struct lift *l, const struct a64_simd_copy *f)
{
    unsigned size = (unsigned)a64_ctz(f->imm5), index = f->imm5 >> (size + 1);
    irv v = vreg(l, f->rn);
    put_vreg(l, f->rd,
             f->sc ? lane_alone(l, size, index, v)
                   : ir_v1(l->b, IR_VDUP, vec_type(f->q), size | index << 4, v));
    return true;
}

bool a64_lift_simd_dup_gen(struct lift *l, const struct a64_simd_copy *f)
{
    unsigned size = (unsigned)a64_ctz(f->imm5);
    put_vreg(l, f->rd, ir_v1(l->b, IR_VSPLAT, vec_type(f->q), size, reg(l, f->rn)));
    return true;
}

/* q: the width of the general register. */
bool a64_lift_simd_mov_gen(struct lift *l, const struct a64_simd_copy *f)
{
    unsigned size = (unsigned)a64_ctz(f->imm5), index = f->imm5 >> (size + 1);
    unsigned aux = size | index << 4 | (f->id == A64_SMOV) << 8;
    put_reg(l, f->rd, ir_v1(l->b, IR_VGET, gpr_type(f->q), aux, vreg(l, f->rn)));
    return true;
}

bool a64_lift_simd_ins(struct lift *l, const struct a64_simd_copy *f)
{
    unsigned size = (unsigned)a64_ctz(f->imm5), to = f->imm5 >> (size + 1);
    unsigned from = f->imm4 >> size;
    irv v = vreg(l, f->rd);
    if (f->op)
        v = ir_v2(l->b, IR_VINSV, IR_V128, size | to << 4 | from << 8, v, vreg(l, f->rn));
    else
        v = ir_v2(l->b, IR_VINS, IR_V128, size | to << 4, v, reg(l, f->rn));
    put_vreg(l, f->rd, v);
    return true;
}

/* and bic orr orn eor, by u and size. */
bool a64_lift_simd_logic(struct lift *l, const struct a64_simd_logic *f)
{
    static const u8 op[] = {IR_VAND, IR_VANDN, IR_VOR, IR_VOR};
    unsigned type = vec_type(f->q);
    irv x = vreg(l, f->rn), y = vreg(l, f->rm), r;
    if (f->id == A64_ORN_V)
        y = ir_v1(l->b, IR_VNOT, type, 0, y);
    if (f->id == A64_ORR_V && f->rn == f->rm)
        r = f->q ? x : ir_zx(l->b, IR_V64, x); /* MOV */
    else
        r = ir_v2(l->b, f->u ? IR_VXOR : op[f->size], type, 0, x, y);
    put_vreg(l, f->rd, r);
    return true;
}

/* BSL selects by the destination, BIT and BIF insert by the last operand. */
bool a64_lift_simd_bitselect(struct lift *l, const struct a64_simd_logic *f)
{
    unsigned type = vec_type(f->q);
    irv d = vreg(l, f->rd), n = vreg(l, f->rn), m = vreg(l, f->rm), r;
    if (f->size == 1)
        r = ir_vbsl(l->b, type, d, n, m);
    else
        r = f->size == 2 ? ir_vbsl(l->b, type, m, n, d) : ir_vbsl(l->b, type, m, d, n);
    put_vreg(l, f->rd, r);
    return true;
}

bool a64_lift_simd_permute(struct lift *l, const struct a64_simd_permute *f)
{
    static const u8 op[] = {0, IR_VUZP1, IR_VTRN1, IR_VZIP1, 0, IR_VUZP2, IR_VTRN2, IR_VZIP2};
    put_vreg(l, f->rd,
             ir_v2(l->b, op[f->op], vec_type(f->q), f->size, vreg(l, f->rn), vreg(l, f->rm)));
    return true;
}

bool a64_lift_simd_ext(struct lift *l, const struct a64_simd_ext *f)
{
    put_vreg(l, f->rd,
             ir_v2(l->b, IR_VEXT, vec_type(f->q), f->imm4, vreg(l, f->rn), vreg(l, f->rm)));
    return true;
}

static irv bytes_of(struct lift *l, u8 v)
{
    return ir_const(l->b, IR_V128, v * 0x0101010101010101ull);
}

/* A table of up to 64 bytes, 16 at a time: an index less the start of another part is out of
 * range there and gives zero. */
bool a64_lift_simd_table(struct lift *l, const struct a64_simd_table *f)
{
    struct ir_builder *b = l->b;
    irv index = vreg(l, f->rm), r = ir_v2(b, IR_VTBL, IR_V128, 0, vreg(l, f->rn), index);
    for (unsigned i = 1; i <= f->len; i++) {
        irv part = ir_v2(b, IR_VSUB, IR_V128, 0, index, bytes_of(l, (u8)(16 * i)));
        part = ir_v2(b, IR_VTBL, IR_V128, 0, vreg(l, (f->rn + i) % 32), part);
        r = ir_v2(b, IR_VOR, IR_V128, 0, r, part);
    }
    if (f->op) { /* TBX: what is out of range stays */
        irv in = ir_v2(b, IR_VCMPGTU, IR_V128, 0, bytes_of(l, (u8)(16 * (f->len + 1))), index);
        r = ir_vbsl(b, IR_V128, in, r, vreg(l, f->rd));
    }
    put_vreg(l, f->rd, f->q ? r : ir_zx(b, IR_V64, r));
    return true;
}

/* The 64 bits that an immediate stands for (Arm AdvSIMDExpandImm), before MVNI's inversion. */
static u64 expand_imm(const struct a64_simd_imm *f)
{
    u64 v = f->imm8;
    switch (f->cmode >> 1) {
    case 4:
    case 5: /* halfwords, shifted */
        return (v << (f->cmode >> 1 & 1) * 8) * 0x0001000100010001ull;
    case 6: { /* words, shifting ones in */
        unsigned shift = 8u << (f->cmode & 1);
        return (v << shift | mask64(shift)) * 0x0000000100000001ull;
    }
    case 7:
        if (f->cmode & 1)
            return f->o2   ? a64_fpimm16(f->imm8) * 0x0001000100010001ull
                   : f->op ? a64_fpimm64(f->imm8)
                           : a64_fpimm32(f->imm8) * 0x0000000100000001ull;
        return f->op ? a64_bytemask(f->imm8) : v * 0x0101010101010101ull;
    default: /* words, shifted */
        return (v << (f->cmode >> 1) * 8) * 0x0000000100000001ull;
    }
}

/* MOVI and FMOV set; odd cmode below 12 is ORR or BIC; op inverts, except for bit patterns. */
bool a64_lift_simd_imm(struct lift *l, const struct a64_simd_imm *f)
{
    unsigned type = vec_type(f->q);
    bool combine = f->cmode < 12 && f->cmode & 1, invert = f->op && f->cmode < 14 && !combine;
    irv imm = ir_const(l->b, type, invert ? ~expand_imm(f) : expand_imm(f)), r;
    if (combine)
        r = ir_v2(l->b, f->op ? IR_VANDN : IR_VOR, type, 0, vreg(l, f->rd), imm);
    else
        r = imm;
    put_vreg(l, f->rd, r);
    return true;
}
