/* Scalar cryptography: Zknd, Zkne, Zknh, Zksed, Zksh. */
#include "isa/riscv/lift.h"

/* ---- SHA-2, SM3 ---- */

/* x rotated right by two amounts and by, or shifted by, a third, xor-ed. */
struct sigma {
    u8 by[3];
    bool shifts;
};

static irv sigma(struct lift *l, unsigned type, const struct sigma *s, irv x)
{
    struct ir_builder *b = l->b;
    irv r = ir_ror(b, type, x, ir_const(b, type, s->by[0]));
    irv t = ir_ror(b, type, x, ir_const(b, type, s->by[1]));
    r = ir_xor(b, type, r, t);
    t = ir_emit(b, s->shifts ? IR_SHR : IR_ROR, type, 0, x, ir_const(b, type, s->by[2]), 0, 0);
    return ir_xor(b, type, r, t);
}

/* sum0, sum1, sigma0, sigma1, as the low bits of the encoding number them (FIPS 180-4, 4.1.2 and 4.1.3). */
static const struct sigma sha256[] = {
    {{2, 13, 22}, false}, {{6, 11, 25}, false}, {{7, 18, 3}, true}, {{17, 19, 10}, true}};
static const struct sigma sha512[] = {
    {{28, 34, 39}, false}, {{14, 18, 41}, false}, {{1, 8, 7}, true}, {{19, 61, 6}, true}};

bool rv_lift_sha2(struct lift *l, const struct rv_bit_1src *f)
{
    irv x = reg(l, f->rs1);
    if (f->f12 & 4)
        put_reg(l, f->rd, sigma(l, IR_I64, &sha512[f->f12 & 3], x));
    else
        put_reg32(l, f->rd, sigma(l, IR_I32, &sha256[f->f12 & 3], x));
    return true;
}

/* A half of a 64-bit operand's: the low one where rs1 is that of the operand, else the high one. */
bool rv_lift_sha512_pair(struct lift *l, const struct rv_bit_op *f)
{
    bool high = f->id == RV_SHA512SIG0H || f->id == RV_SHA512SIG1H;
    irv x = reg(l, f->rs1), y = reg(l, f->rs2);
    irv r = sigma(l, IR_I64, &sha512[f->f7 & 3], high ? lift_join(l, 2, y, x) : lift_join(l, 2, x, y));
    put_reg(l, f->rd, ir_ubfx(l->b, IR_I64, r, high ? 32 : 0, 32));
    return true;
}

bool rv_lift_sm3(struct lift *l, const struct rv_bit_1src *f)
{
    struct ir_builder *b = l->b;
    bool p1 = f->id == RV_SM3P1;
    irv x = reg(l, f->rs1);
    irv r = ir_ror(b, IR_I32, x, ir_const(b, IR_I32, 32 - (p1 ? 15 : 9)));
    irv t = ir_ror(b, IR_I32, x, ir_const(b, IR_I32, 32 - (p1 ? 23 : 17)));
    r = ir_xor(b, IR_I32, r, t);
    put_reg32(l, f->rd, ir_xor(b, IR_I32, r, x));
    return true;
}

/* ---- AES ---- */

static irv aes(struct lift *l, enum ir_aes what, irv state)
{
    return ir_v2(l->b, IR_VAES, IR_V128, what, state, ir_const(l->b, IR_V128, 0));
}

/* Half a round of the state rs2:rs1; bit 0 of the encoding's funct7 shifted: with columns mixed. */
bool rv_lift_aes64(struct lift *l, const struct rv_bit_op *f)
{
    bool inverse = f->id == RV_AES64DS || f->id == RV_AES64DSM;
    bool mixes = f->id == RV_AES64ESM || f->id == RV_AES64DSM;
    irv low = reg(l, f->rs1), high = reg(l, f->rs2);
    irv v = aes(l, inverse ? IR_AES_INV_SUB : IR_AES_SUB, lift_join(l, 3, low, high));
    if (mixes)
        v = aes(l, inverse ? IR_AES_INV_MIX : IR_AES_MIX, v);
    put_reg(l, f->rd, ir_fbits(l->b, IR_I64, v));
    return true;
}

bool rv_lift_aes64im(struct lift *l, const struct rv_bit_1src *f)
{
    irv x = reg(l, f->rs1), v = aes(l, IR_AES_INV_MIX, lift_join(l, 3, x, x));
    put_reg(l, f->rd, ir_fbits(l->b, IR_I64, v));
    return true;
}

/* The S-box on each byte of a word: as all columns of a state it stays when rows are shifted. */
static irv substitute(struct lift *l, bool inverse, irv word)
{
    irv v = ir_v1(l->b, IR_VSPLAT, IR_V128, 2, word);
    return ir_fbits(l->b, IR_I32, aes(l, inverse ? IR_AES_INV_SUB : IR_AES_SUB, v));
}

/* A step of the key schedule; the last round number has neither rotation nor constant (Zkn, aes64ks1i). */
bool rv_lift_aes64ks1i(struct lift *l, const struct rv_aes64ks1i *f)
{
    static const u8 constant[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36};
    struct ir_builder *b = l->b;
    if (f->rnum > ARRAY_LEN(constant))
        return false;
    irv word = ir_ubfx(b, IR_I64, reg(l, f->rs1), 32, 32);
    word = substitute(l, false, word);
    if (f->rnum < ARRAY_LEN(constant)) {
        word = ir_ror(b, IR_I32, word, ir_const(b, IR_I32, 8));
        word = ir_xor(b, IR_I32, word, ir_const(b, IR_I32, constant[f->rnum]));
    }
    put_reg(l, f->rd, lift_join(l, 2, word, word));
    return true;
}

bool rv_lift_aes64ks2(struct lift *l, const struct rv_bit_op *f)
{
    struct ir_builder *b = l->b;
    irv y = reg(l, f->rs2), x = ir_ubfx(b, IR_I64, reg(l, f->rs1), 32, 32);
    irv low = ir_xor(b, IR_I32, x, y);
    irv high = ir_xor(b, IR_I32, low, ir_ubfx(b, IR_I64, y, 32, 32));
    put_reg(l, f->rd, lift_join(l, 2, low, high));
    return true;
}

/* One byte of rs2 through the S-box and, where columns are mixed, times the first of their matrix; moved to its
 * place again and added to rs1. */
bool rv_lift_aes32(struct lift *l, const struct rv_byte_op *f)
{
    struct ir_builder *b = l->b;
    bool inverse = f->id == RV_AES32DSI || f->id == RV_AES32DSMI;
    irv v = ir_ubfx(b, IR_I32, reg(l, f->rs2), f->bs * 8u, 8);
    v = substitute(l, inverse, v);
    v = ir_ubfx(b, IR_I32, v, 0, 8);
    if (f->id == RV_AES32ESMI || f->id == RV_AES32DSMI) {
        v = ir_v1(b, IR_VSPLAT, IR_V128, 2, v);
        v = ir_fbits(b, IR_I32, aes(l, inverse ? IR_AES_INV_MIX : IR_AES_MIX, v));
    }
    v = ir_ror(b, IR_I32, v, ir_const(b, IR_I32, 32 - f->bs * 8u));
    put_reg(l, f->rd, ir_xor(b, IR_I32, v, reg(l, f->rs1)));
    return true;
}

/* ---- SM4 ---- */

bool rv_lift_sm4(struct lift *l, const struct rv_byte_op *f)
{
    struct ir_builder *b = l->b;
    irv v = ir_ubfx(b, IR_I32, reg(l, f->rs2), f->bs * 8u, 8);
    v = ir_helper(b, f->id == RV_SM4ED ? RV_HELPER_SM4ED : RV_HELPER_SM4KS, IR_I32, v, 0, 0);
    v = ir_ror(b, IR_I32, v, ir_const(b, IR_I32, 32 - f->bs * 8u));
    put_reg32(l, f->rd, ir_xor(b, IR_I32, v, reg(l, f->rs1)));
    return true;
}
