/* Plain loads and stores of general and vector registers. */
#include "isa/aarch64/lift.h"

/* base + (index << scale) + disp, with aux of scale and extension (enum IR_MEM_*). */
struct address {
    irv base, index;
    s32 disp;
    unsigned aux;
};

/* SCTLR_EL1.A: every access is aligned to the size of its elements, 1 << size bytes. */
static void check_aligned(struct lift *l, unsigned size, const struct address *a)
{
    struct ir_builder *b = l->b;
    if (!(l->key & A64_KEY_ALIGN) || !size)
        return;
    irv at = ir_addi(b, IR_I64, a->base, a->disp), index = a->index;
    if (index) {
        if (a->aux & (IR_MEM_ZEXT32 | IR_MEM_SEXT32))
            index = a->aux & IR_MEM_ZEXT32 ? ir_ubfx(b, IR_I64, index, 0, 32) : ir_sext(b, IR_I64, index, 32);
        irv scale = ir_const(b, IR_I64, (a->aux & IR_MEM_SCALE) >> IR_MEM_SCALE_SHIFT);
        index = ir_shl(b, IR_I64, index, scale);
        at = ir_add(b, IR_I64, at, index);
    }
    ir_chkalign(b, at, 1u << size);
}

/* Load into or store from a general register. size: log2 of bytes; opc: 0 store, 1 load, 2 load
 * with sign extension to 64 bits, 3 to 32 bits. The value of a load is returned, not put. */
static irv access_gpr(struct lift *l, unsigned size, unsigned opc, const struct address *a,
                      unsigned rt)
{
    unsigned aux = size | a->aux;
    check_aligned(l, size, a);
    if (!opc) {
        ir_st(l->b, aux, a->base, a->index, a->disp, reg(l, rt));
        return 0;
    }
    bool wide = opc == 2 || size == 3;
    return ir_ld(l->b, wide ? IR_I64 : IR_I32, opc > 1 ? aux | IR_MEM_SIGNED : aux, a->base,
                 a->index, a->disp);
}

/* The same for a vector register; size 4 is all of it. The smallest FP type has 16 bits, so bytes
 * go through an integer. */
static irv access_vec(struct lift *l, unsigned size, bool load, const struct address *a,
                      unsigned rt)
{
    static const u8 type[] = {IR_I32, IR_F16, IR_F32, IR_F64, IR_V128};
    unsigned aux = size | a->aux;
    check_aligned(l, size, a);
    if (load) {
        irv v = ir_ld(l->b, type[size], aux, a->base, a->index, a->disp);
        return size ? v : ir_fmov(l->b, IR_F32, v);
    }
    irv v = vreg(l, rt);
    if (!size)
        v = ir_emit(l->b, IR_VGET, IR_I32, 0, v, 0, 0, 0);
    ir_st(l->b, aux, a->base, a->index, a->disp, v);
    return 0;
}

enum { POST_INDEX = 1, PRE_INDEX = 3 };

/* [rn + offset] by mode: only a post-indexed access is at rn itself. */
static struct address at_offset(struct lift *l, unsigned rn, s32 offset, unsigned mode)
{
    return (struct address){.base = a64_base(l, rn), .disp = mode == POST_INDEX ? 0 : offset};
}

/* After the access, so that a fault finds the base unchanged, and after the put of what was
 * loaded: where base and target are the same register, the base wins. */
static void write_back(struct lift *l, const struct address *a, unsigned rn, s32 offset,
                       unsigned mode)
{
    if (mode == POST_INDEX || mode == PRE_INDEX)
        put_reg_sp(l, rn, ir_addi(l->b, IR_I64, a->base, offset));
}

static bool ldst_gpr(struct lift *l, unsigned size, unsigned opc, unsigned rn, s32 offset,
                     unsigned mode, unsigned rt)
{
    struct address a = at_offset(l, rn, offset, mode);
    irv v = access_gpr(l, size, opc, &a, rt);
    if (opc)
        put_reg(l, rt, v);
    write_back(l, &a, rn, offset, mode);
    return true;
}

static bool ldst_vec(struct lift *l, unsigned size, bool load, unsigned rn, s32 offset,
                     unsigned mode, unsigned rt)
{
    struct address a = at_offset(l, rn, offset, mode);
    irv v = access_vec(l, size, load, &a, rt);
    if (load)
        put_vreg(l, rt, v);
    write_back(l, &a, rn, offset, mode);
    return true;
}

bool a64_lift_ldst_uimm(struct lift *l, const struct a64_ldst_uimm *f)
{
    return ldst_gpr(l, f->size, f->opc, f->rn, f->imm12 << f->size, 0, f->rt);
}

/* The size of a vector register access: the high bit of opc is that of the size. */
static unsigned vec_size(unsigned size, unsigned opc)
{
    return size | (opc & 2) << 1;
}

bool a64_lift_ldst_uimm_v(struct lift *l, const struct a64_ldst_uimm *f)
{
    unsigned size = vec_size(f->size, f->opc);
    return ldst_vec(l, size, f->opc & 1, f->rn, f->imm12 << size, 0, f->rt);
}

bool a64_lift_ldst_imm9(struct lift *l, const struct a64_ldst_imm9 *f)
{
    return ldst_gpr(l, f->size, f->opc, f->rn, f->imm9, f->mode, f->rt);
}

bool a64_lift_ldst_imm9_v(struct lift *l, const struct a64_ldst_imm9 *f)
{
    return ldst_vec(l, vec_size(f->size, f->opc), f->opc & 1, f->rn, f->imm9, f->mode, f->rt);
}

/* As EL0 would do it, unless PSTATE.UAO is set. */
bool a64_lift_ldst_unpriv(struct lift *l, const struct a64_ldst_imm9 *f)
{
    struct address a = at_offset(l, f->rn, f->imm9, 0);
    if ((l->key & (A64_KEY_EL1 | A64_KEY_UAO)) == A64_KEY_EL1)
        a.aux = IR_MEM_UNPRIV;
    irv v = access_gpr(l, f->size, f->opc, &a, f->rt);
    if (f->opc)
        put_reg(l, f->rt, v);
    return true;
}

/* [rn + rm], the index extended by option and scaled if s. */
static struct address at_index(struct lift *l, unsigned rn, unsigned rm, unsigned option,
                               unsigned scale)
{
    struct address a = {.base = a64_base(l, rn), .index = reg(l, rm)};
    if (option == 2)
        a.aux = IR_MEM_ZEXT32;
    if (option == 6)
        a.aux = IR_MEM_SEXT32;
    if (scale > 3) { /* 128 bits: more than an address can scale by */
        a.index = option == 2   ? ir_ubfx(l->b, IR_I64, a.index, 0, 32)
                  : option == 6 ? ir_sext(l->b, IR_I64, a.index, 32)
                                : a.index;
        a.index = ir_shl(l->b, IR_I64, a.index, ir_const(l->b, IR_I64, scale));
        a.aux = 0;
        return a;
    }
    a.aux |= scale << IR_MEM_SCALE_SHIFT;
    return a;
}

bool a64_lift_ldst_reg(struct lift *l, const struct a64_ldst_reg *f)
{
    struct address a = at_index(l, f->rn, f->rm, f->option, f->s ? f->size : 0);
    irv v = access_gpr(l, f->size, f->opc, &a, f->rt);
    if (f->opc)
        put_reg(l, f->rt, v);
    return true;
}

bool a64_lift_ldst_reg_v(struct lift *l, const struct a64_ldst_reg *f)
{
    unsigned size = vec_size(f->size, f->opc);
    struct address a = at_index(l, f->rn, f->rm, f->option, f->s ? size : 0);
    irv v = access_vec(l, size, f->opc & 1, &a, f->rt);
    if (f->opc & 1)
        put_vreg(l, f->rt, v);
    return true;
}

static struct address at_literal(struct lift *l, s32 words)
{
    return (struct address){.base = ir_const(l->b, IR_I64, l->pc + (u64)(s64)words * 4)};
}

/* opc: LDR W, LDR X, LDRSW. */
bool a64_lift_ldst_literal(struct lift *l, const struct a64_ldst_literal *f)
{
    struct address a = at_literal(l, f->imm19);
    put_reg(l, f->rt, access_gpr(l, f->opc == 1 ? 3 : 2, f->opc == 2 ? 2 : 1, &a, f->rt));
    return true;
}

bool a64_lift_ldst_literal_v(struct lift *l, const struct a64_ldst_literal *f)
{
    struct address a = at_literal(l, f->imm19);
    put_vreg(l, f->rt, access_vec(l, 2u + f->opc, true, &a, f->rt));
    return true;
}

/* FEAT_LSE2: a pair of 64-bit registers is one access, atomic where it is aligned. */
static bool ldst_pair_at_once(struct lift *l, const struct a64_ldst_pair *f)
{
    s32 offset = f->imm7 * 8;
    struct address a = at_offset(l, f->rn, offset, f->mode);
    if (f->l)
        a64_put_halves(l, 3, f->rt, f->rt2, ir_ld(l->b, IR_V128, 4, a.base, 0, a.disp));
    else
        ir_st(l->b, 4, a.base, 0, a.disp, a64_join(l, 3, f->rt, f->rt2));
    write_back(l, &a, f->rn, offset, f->mode);
    return true;
}

/* Both accesses come before anything is put: the second may fault. */
bool a64_lift_ldst_pair(struct lift *l, const struct a64_ldst_pair *f)
{
    unsigned size = f->opc & 2 ? 3 : 2, opc = f->opc == 1 ? 2 : f->l;
    s32 offset = f->imm7 * (1 << size);
    if (size == 3 && has_feature(l, A64_FEAT_LSE2))
        return ldst_pair_at_once(l, f);
    struct address a = at_offset(l, f->rn, offset, f->mode), a2 = a;
    a2.disp += 1 << size;
    irv v = access_gpr(l, size, opc, &a, f->rt), v2 = access_gpr(l, size, opc, &a2, f->rt2);
    if (f->l) {
        put_reg(l, f->rt, v);
        put_reg(l, f->rt2, v2);
    }
    write_back(l, &a, f->rn, offset, f->mode);
    return true;
}

bool a64_lift_ldst_pair_v(struct lift *l, const struct a64_ldst_pair *f)
{
    unsigned size = 2u + f->opc;
    s32 offset = f->imm7 * (1 << size);
    struct address a = at_offset(l, f->rn, offset, f->mode), a2 = a;
    a2.disp += 1 << size;
    irv v = access_vec(l, size, f->l, &a, f->rt), v2 = access_vec(l, size, f->l, &a2, f->rt2);
    if (f->l) {
        put_vreg(l, f->rt, v);
        put_vreg(l, f->rt2, v2);
    }
    write_back(l, &a, f->rn, offset, f->mode);
    return true;
}

/* Prefetches are hints. */
bool a64_lift_prfm_literal(struct lift *l, const struct a64_ldst_literal *f)
{
    return true;
}

bool a64_lift_prfm_uimm(struct lift *l, const struct a64_ldst_uimm *f)
{
    return true;
}

bool a64_lift_prfm_imm9(struct lift *l, const struct a64_ldst_imm9 *f)
{
    return true;
}

bool a64_lift_prfm_reg(struct lift *l, const struct a64_ldst_reg *f)
{
    return true;
}

/* LDAR and STLR are ordered with each other (RCsc); the LORegion forms LDLAR and STLLR as well, as
 * no region is smaller than all memory. */
static bool ordered(struct lift *l, unsigned size, unsigned opc, unsigned order, unsigned rn, s32 offset,
                    unsigned rt)
{
    struct address a = {.base = a64_base(l, rn), .disp = offset, .aux = order};
    a64_check_aligned(l, ir_addi(l->b, IR_I64, a.base, offset), size);
    irv v = access_gpr(l, size, opc, &a, rt);
    if (opc)
        put_reg(l, rt, v);
    return true;
}

bool a64_lift_ldst_ordered(struct lift *l, const struct a64_ldst_ordered *f)
{
    return ordered(l, f->size, f->l, (f->l ? IR_MEM_ACQ : IR_MEM_REL) | IR_MEM_SC, f->rn, 0, f->rt);
}

bool a64_lift_ldapr(struct lift *l, const struct a64_ldapr *f)
{
    return ordered(l, f->size, 1, IR_MEM_ACQ, f->rn, 0, f->rt);
}

bool a64_lift_ldst_rcpc(struct lift *l, const struct a64_ldst_rcpc *f)
{
    return ordered(l, f->size, f->opc, f->opc ? IR_MEM_ACQ : IR_MEM_REL | IR_MEM_SC, f->rn, f->imm9,
                   f->rt);
}
