/* Bit manipulation: Zba, Zbb, Zbc, Zbs, Zbkb, Zbkc, Zbkx and Zicond. */
#include "base/bits.h"
#include "isa/riscv/lift.h"

/* ---- Zba ---- */

static void put_shifted_sum(struct lift *l, unsigned rd, irv x, unsigned shift, irv y)
{
    unsigned type = xtype(l);
    put_reg(l, rd, ir_add(l->b, type, ir_shl(l->b, type, x, imm(l, shift)), y));
}

/* The amount is in op bits 2 and 1. */
bool rv_lift_shadd(struct lift *l, const struct rv_bit_op *f)
{
    irv x = reg(l, f->rs1), y = reg(l, f->rs2);
    put_shifted_sum(l, f->rd, x, f->op >> 1, y);
    return true;
}

bool rv_lift_shadd_uw(struct lift *l, const struct rv_bit_op32 *f)
{
    irv x = ir_ubfx(l->b, IR_I64, reg(l, f->rs1), 0, 32), y = reg(l, f->rs2);
    put_shifted_sum(l, f->rd, x, f->op >> 1, y);
    return true;
}

bool rv_lift_slli_uw(struct lift *l, const struct rv_slli_uw *f)
{
    irv x = ir_ubfx(l->b, IR_I64, reg(l, f->rs1), 0, 32);
    put_reg(l, f->rd, ir_shl(l->b, IR_I64, x, imm(l, f->imm)));
    return true;
}

/* ---- Zbb, Zbkb ---- */

bool rv_lift_logic_not(struct lift *l, const struct rv_bit_op *f)
{
    irv y = ir_not(l->b, xtype(l), reg(l, f->rs2));
    put_reg(l, f->rd, rv_arith(l, xtype(l), f->op, false, reg(l, f->rs1), y));
    return true;
}

/* op: bit 1 the greater one, bit 0 unsigned. */
bool rv_lift_minmax(struct lift *l, const struct rv_bit_op *f)
{
    irv x = reg(l, f->rs1), y = reg(l, f->rs2);
    irv less = ir_icmp(l->b, f->op & 1 ? IR_ULT : IR_SLT, xlen(l), x, y);
    put_reg(l, f->rd, ir_select(l->b, xtype(l), less, f->op & 2 ? y : x, f->op & 2 ? x : y));
    return true;
}

/* op bit 2: right. */
static irv rotate(struct lift *l, unsigned type, unsigned op, irv x, irv amount)
{
    return ir_ror(l->b, type, x, op & 4 ? amount : ir_neg(l->b, type, amount));
}

bool rv_lift_rotate(struct lift *l, const struct rv_bit_op *f)
{
    irv x = reg(l, f->rs1), y = reg(l, f->rs2);
    put_reg(l, f->rd, rotate(l, xtype(l), f->op, x, y));
    return true;
}

bool rv_lift_rotate32(struct lift *l, const struct rv_bit_op32 *f)
{
    irv x = reg(l, f->rs1), y = reg(l, f->rs2);
    put_reg32(l, f->rd, rotate(l, IR_I32, f->op, x, y));
    return true;
}

bool rv_lift_rori(struct lift *l, const struct rv_bit_imm *f)
{
    if (f->imm >= xlen(l))
        return false;
    put_reg(l, f->rd, ir_ror(l->b, xtype(l), reg(l, f->rs1), imm(l, f->imm)));
    return true;
}

bool rv_lift_roriw(struct lift *l, const struct rv_roriw *f)
{
    irv amount = ir_const(l->b, IR_I32, f->imm);
    put_reg32(l, f->rd, ir_ror(l->b, IR_I32, reg(l, f->rs1), amount));
    return true;
}

static irv count(struct lift *l, unsigned type, bool trailing, irv x)
{
    return trailing ? ir_ctz(l->b, type, x) : ir_clz(l->b, type, x);
}

bool rv_lift_count(struct lift *l, const struct rv_bit_1src *f)
{
    put_reg(l, f->rd, count(l, xtype(l), f->f12 & 1, reg(l, f->rs1)));
    return true;
}

bool rv_lift_count32(struct lift *l, const struct rv_bit_1src *f)
{
    put_reg(l, f->rd, count(l, IR_I32, f->f12 & 1, reg(l, f->rs1)));
    return true;
}

bool rv_lift_cpop(struct lift *l, const struct rv_bit_1src *f)
{
    put_reg(l, f->rd, ir_popcnt(l->b, f->id == RV_CPOPW ? IR_I32 : xtype(l), reg(l, f->rs1)));
    return true;
}

bool rv_lift_extend(struct lift *l, const struct rv_bit_1src *f)
{
    irv x = reg(l, f->rs1);
    if (f->id == RV_SEXT_B || f->id == RV_SEXT_H)
        put_reg(l, f->rd, ir_sext(l->b, xtype(l), x, f->id == RV_SEXT_B ? 8 : 16));
    else
        put_reg(l, f->rd, ir_ubfx(l->b, xtype(l), x, 0, 16));
    return true;
}

/* Ones in each byte that is not zero: where bytes do not equal zero. */
bool rv_lift_orc_b(struct lift *l, const struct rv_bit_1src *f)
{
    struct ir_builder *b = l->b;
    irv x = ir_fmov(b, IR_V64, reg(l, f->rs1)), zero = ir_const(b, IR_V64, 0);
    irv equal = ir_v2(b, IR_VCMPEQ, IR_V64, 0, x, zero);
    put_reg(l, f->rd, ir_not(b, xtype(l), ir_fbits(b, xtype(l), equal)));
    return true;
}

bool rv_lift_rev8(struct lift *l, const struct rv_bit_1src *f)
{
    put_reg(l, f->rd, ir_bswap(l->b, xtype(l), reg(l, f->rs1)));
    return true;
}

bool rv_lift_brev8(struct lift *l, const struct rv_bit_1src *f)
{
    irv x = ir_bswap(l->b, xtype(l), reg(l, f->rs1));
    put_reg(l, f->rd, ir_bitrev(l->b, xtype(l), x));
    return true;
}

/* Exchange the bits of `mask` with those that are so many higher. */
static irv exchange(struct lift *l, irv x, unsigned by, u32 mask)
{
    struct ir_builder *b = l->b;
    irv amount = ir_const(b, IR_I32, by), low = ir_const(b, IR_I32, mask);
    irv differs = ir_xor(b, IR_I32, x, ir_shr(b, IR_I32, x, amount));
    differs = ir_and(b, IR_I32, differs, low);
    irv both = ir_or(b, IR_I32, differs, ir_shl(b, IR_I32, differs, amount));
    return ir_xor(b, IR_I32, x, both);
}

/* zip: the halves' bits in turn; unzip: the other way round. */
bool rv_lift_zip(struct lift *l, const struct rv_bit_1src *f)
{
    static const u32 mask[] = {0x0000ff00, 0x00f000f0, 0x0c0c0c0c, 0x22222222};
    irv x = reg(l, f->rs1);
    for (unsigned i = 0; i < 4; i++) {
        unsigned k = f->id == RV_ZIP ? i : 3 - i;
        x = exchange(l, x, 8 >> k, mask[k]);
    }
    put_reg(l, f->rd, x);
    return true;
}

bool rv_lift_pack(struct lift *l, const struct rv_bit_op *f)
{
    irv x = reg(l, f->rs1), y = reg(l, f->rs2);
    if (f->id == RV_PACKH)
        x = ir_bfi(l->b, xtype(l), ir_ubfx(l->b, xtype(l), x, 0, 8), y, 8, 8);
    else
        x = ir_bfi(l->b, xtype(l), x, y, xlen(l) / 2, xlen(l) / 2);
    put_reg(l, f->rd, x);
    return true;
}

bool rv_lift_packw(struct lift *l, const struct rv_bit_op32 *f)
{
    irv x = reg(l, f->rs1), y = reg(l, f->rs2);
    put_reg32(l, f->rd, ir_bfi(l->b, IR_I32, x, y, 16, 16));
    return true;
}

/* ---- Zbs ---- */

/* By the upper bits of the encoding: clear, invert, set; op bit 2: extract. */
static void put_single_bit(struct lift *l, unsigned rd, unsigned f6, unsigned op, irv x, irv n)
{
    enum { BCLR = 0x12, BINV = 0x1a };
    struct ir_builder *b = l->b;
    unsigned type = xtype(l);
    irv bit = ir_shl(b, type, imm(l, 1), n), r;
    if (op & 4)
        r = ir_and(b, type, ir_shr(b, type, x, n), imm(l, 1));
    else if (f6 == BCLR)
        r = ir_andn(b, type, x, bit);
    else if (f6 == BINV)
        r = ir_xor(b, type, x, bit);
    else
        r = ir_or(b, type, x, bit);
    put_reg(l, rd, r);
}

bool rv_lift_single_bit(struct lift *l, const struct rv_bit_op *f)
{
    irv x = reg(l, f->rs1), n = reg(l, f->rs2);
    put_single_bit(l, f->rd, f->f7 >> 1, f->op, x, n);
    return true;
}

bool rv_lift_single_bit_imm(struct lift *l, const struct rv_bit_imm *f)
{
    if (f->imm >= xlen(l))
        return false;
    irv x = reg(l, f->rs1);
    put_single_bit(l, f->rd, f->f6, f->op, x, imm(l, f->imm));
    return true;
}

/* ---- Zbc, Zbkc, Zbkx, Zicond ---- */

/* The product has twice the width; clmulr is its upper half but for the lowest bit of that, and then some. */
bool rv_lift_clmul(struct lift *l, const struct rv_bit_op *f)
{
    struct ir_builder *b = l->b;
    irv x = ir_fmov(b, IR_V64, reg(l, f->rs1)), y = ir_fmov(b, IR_V64, reg(l, f->rs2));
    irv product = ir_v2(b, IR_VPMULL, IR_V128, 3, x, y), low = ir_fbits(b, IR_I64, product);
    if (xlen(l) == 32) {
        unsigned lsb = f->id == RV_CLMUL ? 0 : f->id == RV_CLMULR ? 31 : 32;
        put_reg(l, f->rd, ir_ubfx(b, IR_I64, low, lsb, 32));
        return true;
    }
    irv high = ir_emit(b, IR_VGET, IR_I64, 3 | 1 << 4, product, 0, 0, 0);
    put_reg(l, f->rd, f->id == RV_CLMUL    ? low
                      : f->id == RV_CLMULH ? high
                                           : ir_extr(b, IR_I64, high, low, 63));
    return true;
}

/* The nibbles of x, one a byte: those at even places, or at odd ones. */
static irv nibbles(struct lift *l, irv x, bool odd)
{
    irv v = odd ? ir_shr(l->b, xtype(l), x, imm(l, 4)) : x;
    return ir_and(l->b, xtype(l), v, imm(l, 0x0f0f0f0f0f0f0f0f));
}

static irv look_up(struct lift *l, irv table, irv index)
{
    irv r = ir_v2(l->b, IR_VTBL, IR_V128, 0, table, ir_fmov(l->b, IR_V64, index));
    return ir_fbits(l->b, xtype(l), r);
}

/* Each byte, or nibble, of rs2 chooses one of rs1; zero if there is none. */
bool rv_lift_xperm(struct lift *l, const struct rv_bit_op *f)
{
    struct ir_builder *b = l->b;
    irv x = reg(l, f->rs1), y = reg(l, f->rs2), r;
    if (f->id == RV_XPERM8) {
        r = look_up(l, ir_zx(b, IR_V64, ir_fmov(b, IR_V64, x)), y);
    } else {
        irv even = ir_zx(b, IR_V64, ir_fmov(b, IR_V64, nibbles(l, x, false)));
        irv odd = ir_zx(b, IR_V64, ir_fmov(b, IR_V64, nibbles(l, x, true)));
        irv table = ir_v2(b, IR_VZIP1, IR_V128, 0, even, odd);
        even = look_up(l, table, nibbles(l, y, false));
        odd = look_up(l, table, nibbles(l, y, true));
        r = ir_or(b, xtype(l), even, ir_shl(b, xtype(l), odd, imm(l, 4)));
    }
    put_reg(l, f->rd, r);
    return true;
}

bool rv_lift_czero(struct lift *l, const struct rv_bit_op *f)
{
    irv zero = imm(l, 0), x = reg(l, f->rs1);
    irv clear = ir_icmp(l->b, f->id == RV_CZERO_EQZ ? IR_EQ : IR_NE, xlen(l), reg(l, f->rs2), zero);
    put_reg(l, f->rd, ir_select(l->b, xtype(l), clear, zero, x));
    return true;
}
