#include "jit/ir/eval.h"

#include "base/bits.h"

bool ir_eval_icond(enum ir_icond cond, unsigned width, u64 a, u64 b)
{
    a &= mask64(width);
    b &= mask64(width);
    s64 sa = sext64(a, width), sb = sext64(b, width);
    bool r;
    switch (cond & ~1u) {
    case IR_EQ:
        r = a == b;
        break;
    case IR_ULT:
        r = a < b;
        break;
    case IR_ULE:
        r = a <= b;
        break;
    case IR_SLT:
        r = sa < sb;
        break;
    case IR_SLE:
        r = sa <= sb;
        break;
    default: /* IR_TZ */
        r = !(a & b);
        break;
    }
    return r != (cond & 1);
}

static u64 div_signed(u64 a, u64 b, unsigned width)
{
    s64 x = sext64(a, width), y = sext64(b, width);
    return y == -1 ? 0 - (u64)x : (u64)(x / y);
}

static u64 rem_signed(u64 a, u64 b, unsigned width)
{
    s64 x = sext64(a, width), y = sext64(b, width);
    return y == -1 ? 0 : (u64)(x % y);
}

static u64 divide(const struct ir_node *n, u64 a, u64 b, unsigned width)
{
    bool rem = n->op == IR_REMU || n->op == IR_REMS;
    if (!b)
        return rem ? a : n->aux ? ~0ull : 0;
    switch (n->op) {
    case IR_DIVU:
        return a / b;
    case IR_DIVS:
        return div_signed(a, b, width);
    case IR_REMU:
        return a % b;
    default: /* IR_REMS */
        return rem_signed(a, b, width);
    }
}

static u64 mul_high(u64 a, u64 b, unsigned width, bool is_signed)
{
    if (is_signed)
        return (u64)(((__int128)sext64(a, width) * sext64(b, width)) >> width);
    return (u64)(((unsigned __int128)a * b) >> width);
}

/* Arm ARM, CRC32 pseudo-code: bits are reflected, no final inversion. */
static u64 crc32(unsigned aux, u64 sum, u64 data)
{
    u32 poly = aux & 16 ? 0x82f63b78u : 0xedb88320u;
    unsigned bits = 8u << (aux & 3);
    u64 r = (u32)sum;
    data &= mask64(bits);
    for (unsigned i = 0; i < bits; i++) {
        bool low = (r ^ (data >> i)) & 1;
        r = r >> 1 ^ (low ? poly : 0);
    }
    return r;
}

static u64 eval_field(const struct ir_node *n, u64 a, u64 b, unsigned width)
{
    unsigned lsb = n->aux & 0xff, len = n->aux >> 8;
    switch (n->op) {
    case IR_UBFX:
        return bits64(a, lsb, len);
    case IR_SBFX:
        return (u64)sext64(bits64(a, lsb, len), len);
    case IR_BFI:
        return (a & ~(mask64(len) << lsb)) | (b & mask64(len)) << lsb;
    default: /* IR_EXTR */
        return n->aux ? b >> n->aux | a << (width - n->aux) : b;
    }
}

static u64 eval_shift(unsigned op, u64 a, unsigned by, unsigned width)
{
    switch (op) {
    case IR_SHL:
        return a << by;
    case IR_SHR:
        return a >> by;
    case IR_SAR:
        return (u64)(sext64(a, width) >> by);
    default:
        return width == 32 ? rotr32((u32)a, by) : rotr64(a, by);
    }
}

static u64 eval_unary(const struct ir_node *n, u64 a, unsigned width)
{
    switch (n->op) {
    case IR_NOT:
        return ~a;
    case IR_NEG:
        return 0 - a;
    case IR_BSWAP:
        return width == 32 ? __builtin_bswap32((u32)a) : __builtin_bswap64(a);
    case IR_CLZ:
        return clz64(a) - (64 - width);
    case IR_CTZ:
        return MIN(ctz64(a), width);
    case IR_POPCNT:
        return (u64)__builtin_popcountll(a);
    case IR_BITREV:
        return bitrev64(a) >> (64 - width);
    default: /* IR_SEXT */
        return (u64)sext64(a, n->aux);
    }
}

static u64 eval_arith(const struct ir_node *n, u64 a, u64 b, u64 c, unsigned width)
{
    switch (n->op) {
    case IR_ADD:
        return a + b;
    case IR_SUB:
        return a - b;
    case IR_ADC:
        return a + b + c;
    case IR_MUL:
        return a * b;
    case IR_MULHU:
    case IR_MULHS:
        return mul_high(a, b, width, n->op == IR_MULHS);
    case IR_DIVU:
    case IR_DIVS:
    case IR_REMU:
    case IR_REMS:
        return divide(n, a, b, width);
    case IR_AND:
        return a & b;
    case IR_OR:
        return a | b;
    case IR_XOR:
        return a ^ b;
    default: /* IR_ANDN */
        return a & ~b;
    }
}

u64 ir_eval_int(const struct ir_node *n, u64 a, u64 b, u64 c)
{
    unsigned width = n->type == IR_I32 ? 32 : 64;
    u64 mask = mask64(width);
    switch (n->op) {
    case IR_SELECT:
        return (a ? b : c) & mask;
    case IR_ICMP:
        return ir_eval_icond(n->aux & 15, (n->aux >> 4) * 32u, a, b);
    case IR_CRC32:
        return crc32(n->aux, a, b);
    case IR_UBFX:
    case IR_SBFX:
    case IR_BFI:
    case IR_EXTR:
        return eval_field(n, a & mask, b & mask, width) & mask;
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROR:
        return eval_shift(n->op, a & mask, b & (width - 1), width) & mask;
    case IR_NOT:
    case IR_NEG:
    case IR_BSWAP:
    case IR_CLZ:
    case IR_CTZ:
    case IR_POPCNT:
    case IR_BITREV:
    case IR_SEXT:
        return eval_unary(n, a & mask, width) & mask;
    default:
        return eval_arith(n, a & mask, b & mask, c, width) & mask;
    }
}
