#include "jit/opt/legalise.h"

#include "base/bits.h"
#include "fp/fp.h"

typedef irv expand_fn(struct ir_builder *b, const struct ir_node *n);

static irv splat(struct ir_builder *b, const struct ir_node *n, u64 value)
{
    return ir_const(b, n->type, value);
}

static irv binary(struct ir_builder *b, const struct ir_node *n, unsigned op, unsigned lane, irv x,
                  irv y)
{
    return ir_v2(b, op, n->type, lane, x, y);
}

static irv shift(struct ir_builder *b, const struct ir_node *n, unsigned op, unsigned lane,
                 unsigned amount, irv x)
{
    return ir_v1(b, op, n->type, lane | amount << 4, x);
}

static bool has(const struct ir_builder *b, unsigned op, unsigned type, unsigned aux)
{
    const struct ir_node n = {.op = (u8)op, .type = (u8)type, .aux = (u16)aux};
    return b->lowering->has(b->lowering->host, b->r, &n);
}

/* ---- integers ---- */

static irv swap_bits(struct ir_builder *b, const struct ir_node *n, irv x, unsigned by, u64 low)
{
    irv amount = ir_const(b, n->type, by), mask = ir_const(b, n->type, low);
    irv down = ir_and(b, n->type, ir_shr(b, n->type, x, amount), mask);
    irv up = ir_shl(b, n->type, ir_and(b, n->type, x, mask), amount);
    return ir_or(b, n->type, down, up);
}

static irv expand_bitrev(struct ir_builder *b, const struct ir_node *n)
{
    irv x = ir_bswap(b, n->type, n->a);
    x = swap_bits(b, n, x, 4, 0x0f0f0f0f0f0f0f0f);
    x = swap_bits(b, n, x, 2, 0x3333333333333333);
    return swap_bits(b, n, x, 1, 0x5555555555555555);
}

/* CRC-32 by carry-less products, bits reflected, as the instruction has them: the quotient by P, 0x104c11db7,
 * is that of the message and x^96 / P; its product with P ends in the remainder (Barrett's reduction). Both
 * constants are shifted so that the result is the low half of one product and the high half of the other.
 * What is left of the sum when the data is shorter moves down. */
static irv expand_crc32(struct ir_builder *b, const struct ir_node *n)
{
    const u64 quotient = 0xb4e5b025f7011641, polynomial = 0x1db710640;
    unsigned bits = 8u << (n->aux & 15);
    if (n->aux & 16 || !has(b, IR_VPMULL, IR_V128, 3))
        return 0;
    irv x = ir_xor(b, IR_I64, bits < 64 ? n->a : ir_ubfx(b, IR_I32, n->a, 0, 32), n->b);
    if (bits < 64)
        x = ir_shl(b, IR_I64, x, ir_const(b, IR_I64, 64 - bits));
    irv factor = ir_const(b, IR_V128, quotient);
    irv v = ir_v2(b, IR_VPMULL, IR_V128, 3, ir_fmov(b, IR_F64, x), factor);
    v = ir_v2(b, IR_VPMULL, IR_V128, 3, v, ir_const(b, IR_V128, polynomial));
    irv r = ir_emit(b, IR_VGET, IR_I32, 2 | 2 << 4, v, 0, 0, 0);
    if (bits < 32)
        r = ir_xor(b, IR_I32, r, ir_shr(b, IR_I32, n->a, ir_const(b, IR_I32, bits)));
    return r;
}

/* ---- lanes of 8 bits, which hosts shift and multiply by 16 ---- */

#define LOW_BYTES 0x00ff00ff00ff00ffull
#define BYTES     0x0101010101010101ull

static irv expand_mul(struct ir_builder *b, const struct ir_node *n)
{
    if (n->aux)
        return 0;
    irv even = binary(b, n, IR_VMUL, 1, n->a, n->b);
    irv odd_a = shift(b, n, IR_VSHR, 1, 8, n->a), odd_b = shift(b, n, IR_VSHR, 1, 8, n->b);
    irv odd = binary(b, n, IR_VMUL, 1, odd_a, odd_b);
    even = binary(b, n, IR_VAND, 0, even, splat(b, n, LOW_BYTES));
    return binary(b, n, IR_VOR, 0, even, shift(b, n, IR_VSHL, 1, 8, odd));
}

static irv expand_addp(struct ir_builder *b, const struct ir_node *n)
{
    irv sum[2];
    for (unsigned i = 0; i < 2; i++) {
        irv x = i ? n->b : n->a;
        irv even = binary(b, n, IR_VAND, 0, x, splat(b, n, LOW_BYTES));
        irv odd = shift(b, n, IR_VSHR, 1, 8, x);
        sum[i] = binary(b, n, IR_VADD, 1, even, odd);
    }
    return binary(b, n, IR_VUZP1, 0, sum[0], sum[1]);
}

/* With the sign bit at `sign` of each lane, zeros above: as if the lanes were signed. */
static irv extend_sign(struct ir_builder *b, const struct ir_node *n, irv x, u64 sign)
{
    irv m = splat(b, n, sign);
    return binary(b, n, IR_VSUB, n->aux & 15, binary(b, n, IR_VXOR, 0, x, m), m);
}

static irv expand_shift(struct ir_builder *b, const struct ir_node *n)
{
    unsigned lane = n->aux & 15, amount = n->aux >> 4;
    if (lane == 3) { /* only arithmetic shifts to the right come here */
        amount = MIN(amount, 63u);
        return extend_sign(b, n, shift(b, n, IR_VSHR, 3, amount, n->a), 1ull << (63 - amount));
    }
    if (lane)
        return 0;
    if (n->op == IR_VSAR)
        amount = MIN(amount, 7u);
    if (amount >= 8)
        return splat(b, n, 0);
    u64 keep = n->op == IR_VSHL ? 0xffull << amount & 0xff : 0xffull >> amount;
    irv x = shift(b, n, n->op == IR_VSHL ? IR_VSHL : IR_VSHR, 1, amount, n->a);
    x = binary(b, n, IR_VAND, 0, x, splat(b, n, keep * BYTES));
    return n->op == IR_VSAR ? extend_sign(b, n, x, (0x80u >> amount) * BYTES) : x;
}

/* Shifts by lane, which hosts have for 32 and 64 bits: in lanes of twice the size. */
static irv expand_shift_by_lane(struct ir_builder *b, const struct ir_node *n)
{
    unsigned lane = n->aux & 15, arithmetic = n->op == IR_VSARV;
    irv half[2];
    if (lane == 3 && arithmetic) {
        irv sign = binary(b, n, IR_VCMPGTS, 3, splat(b, n, 0), n->a);
        irv x = binary(b, n, IR_VSHRV, 3, binary(b, n, IR_VXOR, 0, n->a, sign), n->b);
        return binary(b, n, IR_VXOR, 0, x, sign);
    }
    struct ir_node word = {.op = n->op, .type = IR_V128, .aux = 2};
    if (lane > 1 || !b->lowering->has(b->lowering->host, b->r, &word))
        return 0;
    for (unsigned high = 0; high < (n->type == IR_V64 ? 1 : 2); high++) {
        irv x = ir_v1(b, IR_VEXTEND, IR_V128, lane | arithmetic << 4 | high << 5, n->a);
        irv by = ir_v1(b, IR_VEXTEND, IR_V128, lane | high << 5, n->b);
        half[high] = ir_v2(b, n->op, IR_V128, lane + 1, x, by);
    }
    if (n->type == IR_V64)
        return ir_v1(b, IR_VNARROW, IR_V64, lane + 1, half[0]);
    return binary(b, n, IR_VUZP1, lane, half[0], half[1]);
}

/* ---- lanes of 64 bits, which hosts do not compare unsigned ---- */

static irv expand_gtu(struct ir_builder *b, const struct ir_node *n)
{
    irv sign = splat(b, n, 1ull << 63);
    irv x = binary(b, n, IR_VXOR, 0, n->a, sign), y = binary(b, n, IR_VXOR, 0, n->b, sign);
    return binary(b, n, IR_VCMPGTS, 3, x, y);
}

static irv expand_minmax(struct ir_builder *b, const struct ir_node *n)
{
    bool is_signed = n->op == IR_VMINS || n->op == IR_VMAXS;
    bool max = n->op == IR_VMAXS || n->op == IR_VMAXU;
    irv above = binary(b, n, is_signed ? IR_VCMPGTS : IR_VCMPGTU, 3, n->a, n->b);
    return ir_vbsl(b, n->type, above, max ? n->a : n->b, max ? n->b : n->a);
}

static irv expand_abs(struct ir_builder *b, const struct ir_node *n)
{
    irv negative = binary(b, n, IR_VCMPGTS, 3, splat(b, n, 0), n->a);
    return binary(b, n, IR_VSUB, 3, binary(b, n, IR_VXOR, 0, n->a, negative), negative);
}

/* ---- permutes ---- */

static irv expand_trn(struct ir_builder *b, const struct ir_node *n)
{
    static const u64 even_lanes[3] = {LOW_BYTES, 0x0000ffff0000ffff, 0x00000000ffffffff};
    unsigned lane = n->aux, bits = 8u << lane;
    bool first = n->op == IR_VTRN1;
    if (lane == 3)
        return binary(b, n, first ? IR_VZIP1 : IR_VZIP2, 3, n->a, n->b);
    irv even = splat(b, n, even_lanes[lane]);
    irv low = first ? binary(b, n, IR_VAND, 0, n->a, even) : shift(b, n, IR_VSHR, lane + 1, bits, n->a);
    irv high = first ? shift(b, n, IR_VSHL, lane + 1, bits, n->b) : binary(b, n, IR_VANDN, 0, n->b, even);
    return binary(b, n, IR_VOR, 0, low, high);
}

/* ---- rounding ---- */

static bool is_vector(unsigned type)
{
    return type == IR_V64 || type == IR_V128;
}

/* A pattern in all lanes of an FP type. */
static irv fp_splat(struct ir_builder *b, unsigned type, unsigned lane, u64 value)
{
    return ir_const(b, type, lane == IR_F64 ? value : value | value << 32);
}

/* To nearest, ties away from zero: cut off, and if that was a half or more go one further. All steps but the
 * first are exact, so they raise nothing; what is too large to have a fraction, infinities and NaNs keep out
 * of them. */
static irv expand_round(struct ir_builder *b, const struct ir_node *n)
{
    unsigned lane = n->aux & 15, aux = (n->aux & ~(7u << 4)) | FP_ROUND_ZERO << 4;
    if ((n->aux >> 4 & 7) != FP_ROUND_AWAY || lane == IR_F16 || !has(b, IR_FROUND, n->type, aux))
        return 0;
    bool dbl = lane == IR_F64;
    unsigned size = dbl ? 3 : 2, type = is_vector(n->type) ? n->type : IR_V64;
    irv sign = fp_splat(b, type, lane, dbl ? 1ull << 63 : 1u << 31);
    irv whole_above = fp_splat(b, type, lane, dbl ? 0x432fffffffffffff : 0x4affffff);
    irv below_half = fp_splat(b, type, lane, dbl ? 0x3fdfffffffffffff : 0x3effffff);
    irv one = fp_splat(b, type, lane, dbl ? 0x3ff0000000000000 : 0x3f800000);
    irv cut = ir_f1(b, IR_FROUND, n->type, aux, n->a);
    irv large = ir_v2(b, IR_VCMPGTS, type, size, ir_v2(b, IR_VANDN, type, 0, n->a, sign), whole_above);
    irv whole = ir_v2(b, IR_VANDN, type, 0, cut, large);
    irv rest = ir_f2(b, IR_FSUB, n->type, lane, ir_v2(b, IR_VANDN, type, 0, n->a, large), whole);
    irv further = ir_v2(b, IR_VCMPGTS, type, size, ir_v2(b, IR_VANDN, type, 0, rest, sign), below_half);
    irv its_sign = ir_v2(b, IR_VAND, type, 0, n->a, sign), size_of_step = ir_v2(b, IR_VAND, type, 0, further, one);
    irv step = ir_v2(b, IR_VOR, type, 0, size_of_step, its_sign);
    irv r = ir_vbsl(b, type, large, cut, ir_f2(b, IR_FADD, n->type, lane, whole, step));
    return is_vector(n->type) ? r : ir_zx(b, lane, r);
}

/* Signs of half precision. */
static irv expand_sign(struct ir_builder *b, const struct ir_node *n)
{
    unsigned type = is_vector(n->type) ? n->type : IR_V64, op = n->op == IR_FABS ? IR_VANDN : IR_VXOR;
    if ((n->aux & 15) != IR_F16)
        return 0;
    irv v = ir_v2(b, op, type, 0, n->a, ir_const(b, type, 0x8000800080008000));
    return is_vector(n->type) ? v : ir_zx(b, IR_F16, v);
}

/* ---- conversions ---- */

#define SIGNED_ 0x80u

/* To signed integers of at least the width of the fraction: round first, which tells when that is inexact. What
 * is out of range then had no fraction. */
static irv round_first(struct ir_builder *b, const struct ir_node *n, unsigned integer)
{
    unsigned round = n->aux >> 4 & 7, lane = n->aux & 15, rest = n->aux & ~(15u | 7u << 4);
    bool vector = is_vector(n->type);
    unsigned type = vector ? n->type : lane;
    if (round == FP_ROUND_ZERO || round == IR_ROUND_ENV || !(n->aux & SIGNED_) || n->imm || lane == IR_F16 ||
        (lane == IR_F64 && integer == IR_I32) ||
        !has(b, IR_FROUND, type, lane | FP_ROUND_ZERO << 4 | (rest & IR_AUX_INVALID)))
        return 0;
    irv x = ir_f1(b, IR_FROUND, type, lane | round << 4 | 1u << 8, n->a);
    return ir_emit(b, n->op, n->type, lane | FP_ROUND_ZERO << 4 | SIGNED_, x, 0, 0, 0);
}

static irv expand_to_int(struct ir_builder *b, const struct ir_node *n)
{
    return round_first(b, n, n->type);
}

/* Fixed point: convert, then divide by a power of two, which is exact. */
static irv scaled(struct ir_builder *b, const struct ir_node *n, unsigned lane)
{
    bool dbl = lane == IR_F64;
    if (!n->imm || lane == IR_F16 || !has(b, IR_FMUL, n->type, lane | (n->aux & IR_AUX_INVALID)))
        return 0;
    u64 power = dbl ? (1023 - n->imm) << 52 : (127 - n->imm) << 23;
    irv x = ir_emit(b, n->op, n->type, n->aux, n->a, 0, 0, 0);
    return ir_f2(b, IR_FMUL, n->type, lane, x, fp_splat(b, n->type, lane, power));
}

static irv expand_from_int(struct ir_builder *b, const struct ir_node *n)
{
    return scaled(b, n, n->type);
}

static irv expand_convert(struct ir_builder *b, const struct ir_node *n)
{
    unsigned fp = n->aux & 15, lane = fp == IR_F32 ? 2 : 3;
    unsigned integer = lane == 2 ? IR_I32 : IR_I64, how = n->aux & ~15u;
    unsigned lanes = (n->type == IR_V64 ? 8u : 16u) >> lane;
    bool to_integer = n->op == IR_F2IV;
    irv other = to_integer ? round_first(b, n, integer) : scaled(b, n, fp);
    if (other)
        return other;
    struct ir_node one = {.op = to_integer ? IR_F2I : IR_I2F, .type = (u8)(to_integer ? integer : fp),
                          .aux = (u16)(how | (to_integer ? fp : integer)), .imm = n->imm};
    if (fp == IR_F16 || !b->lowering->has(b->lowering->host, b->r, &one))
        return 0;
    if (n->type == fp && to_integer)
        return ir_fmov(b, fp, ir_emit(b, IR_F2I, integer, one.aux, n->a, 0, 0, n->imm));
    if (n->type == fp)
        return ir_emit(b, IR_I2F, fp, one.aux, ir_fbits(b, integer, n->a), 0, 0, n->imm);
    irv out = splat(b, n, 0);
    for (unsigned i = 0; i < lanes; i++) {
        if (to_integer) {
            irv x = i ? ir_v1(b, IR_VDUP, n->type, lane | i << 4, n->a) : n->a;
            x = ir_emit(b, IR_F2I, integer, one.aux, x, 0, 0, n->imm);
            out = ir_emit(b, IR_VINS, n->type, lane | i << 4, out, x, 0, 0);
        } else {
            irv x = ir_emit(b, IR_VGET, integer, lane | i << 4, n->a, 0, 0, 0);
            x = ir_emit(b, IR_I2F, fp, one.aux, x, 0, 0, n->imm);
            out = ir_emit(b, IR_VINSV, n->type, lane | i << 4, out, x, 0, 0);
        }
    }
    return out;
}

static expand_fn *const expand[IR_NOPS] = {
    [IR_BITREV] = expand_bitrev, [IR_VMUL] = expand_mul,      [IR_VADDP] = expand_addp,
    [IR_VSHL] = expand_shift,    [IR_VSHR] = expand_shift,    [IR_VSAR] = expand_shift,
    [IR_VCMPGTU] = expand_gtu,   [IR_VMINS] = expand_minmax,  [IR_VMINU] = expand_minmax,
    [IR_VMAXS] = expand_minmax,  [IR_VMAXU] = expand_minmax,  [IR_VABS] = expand_abs,
    [IR_VTRN1] = expand_trn,     [IR_VTRN2] = expand_trn,     [IR_F2IV] = expand_convert,
    [IR_I2FV] = expand_convert,  [IR_F2I] = expand_to_int,   [IR_I2F] = expand_from_int,
    [IR_FABS] = expand_sign,     [IR_FNEG] = expand_sign,
    [IR_FROUND] = expand_round,  [IR_CRC32] = expand_crc32,   [IR_VSHLV] = expand_shift_by_lane,
    [IR_VSHRV] = expand_shift_by_lane, [IR_VSARV] = expand_shift_by_lane,
};

irv opt_legalise(struct ir_builder *b, const struct ir_node *n)
{
    return expand[n->op] ? expand[n->op](b, n) : 0;
}
