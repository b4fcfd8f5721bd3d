/* Floating point of the interpreter: every operation is a loop over lanes of fp/'s functions. */
#include <string.h>

#include "base/bits.h"
#include "fp/fp.h"
#include "jit/ir/interp.h"

static unsigned lane_bytes(unsigned type)
{
    return type == IR_F16 ? 2 : type == IR_F32 ? 4 : 8;
}

static u64 get_lane(const v128 *v, unsigned type, unsigned i)
{
    return type == IR_F16 ? v->h[i] : type == IR_F32 ? v->s[i] : v->d[i];
}

static void set_lane(v128 *v, unsigned type, unsigned i, u64 x)
{
    if (type == IR_F16)
        v->h[i] = (u16)x;
    else if (type == IR_F32)
        v->s[i] = (u32)x;
    else
        v->d[i] = x;
}

/* Call the function of the lane's width. */
#define BY_TYPE(t, name, ...)                                                                      \
    ((t) == IR_F16 ? fp16_##name(__VA_ARGS__)                                                      \
                   : (t) == IR_F32 ? fp32_##name(__VA_ARGS__) : fp64_##name(__VA_ARGS__))

static u64 arith(unsigned op, unsigned t, u64 a, u64 b, struct fp_env *fp)
{
    switch (op) {
    case IR_FADD:
        return BY_TYPE(t, add, a, b, fp);
    case IR_FSUB:
        return BY_TYPE(t, sub, a, b, fp);
    case IR_FMUL:
        return BY_TYPE(t, mul, a, b, fp);
    case IR_FDIV:
        return BY_TYPE(t, div, a, b, fp);
    case IR_FSQRT:
        return BY_TYPE(t, sqrt, a, fp);
    case IR_FMIN:
        return BY_TYPE(t, min, a, b, FP_MIN_NAN, fp);
    case IR_FMAX:
        return BY_TYPE(t, max, a, b, FP_MIN_NAN, fp);
    case IR_FMINNM:
        return BY_TYPE(t, min, a, b, fp_number_rule(fp), fp);
    default: /* IR_FMAXNM */
        return BY_TYPE(t, max, a, b, fp_number_rule(fp), fp);
    }
}

static u64 sign_bit(unsigned t)
{
    return 1ull << (8 * lane_bytes(t) - 1);
}

static u64 lane_mask(unsigned t)
{
    return mask64(8 * lane_bytes(t));
}

/* Exponent and first bit of the fraction are ones. */
static u64 canonical_nan(unsigned t)
{
    return t == IR_F16 ? 0x7e00 : t == IR_F32 ? 0x7fc00000 : 0x7ff8000000000000;
}

static bool is_nan(unsigned t, u64 a)
{
    return BY_TYPE(t, class, a) >= FP_CLASS_QNAN;
}

static bool compare(unsigned cond, unsigned t, u64 a, u64 b, struct fp_env *fp)
{
    bool signalling = cond & 8;
    enum fp_order o = BY_TYPE(t, compare, a, b, signalling, fp);
    switch (cond & 7) {
    case IR_FEQ:
        return o == FP_EQUAL;
    case IR_FLT:
        return o == FP_LESS;
    case IR_FLE:
        return o == FP_LESS || o == FP_EQUAL;
    case IR_FGT:
        return o == FP_GREATER;
    default:
        return o == FP_GREATER || o == FP_EQUAL;
    }
}

static enum fp_round rounding(unsigned round, const struct fp_env *fp)
{
    return round == IR_ROUND_ENV ? (enum fp_round)fp->round : (enum fp_round)round;
}

static u64 to_int(const struct ir_node *n, u64 a, unsigned bits, struct fp_env *fp)
{
    struct fp_int type = {(u8)bits, n->aux >> 7 & 1, (u8)n->imm};
    unsigned t = n->aux & 15;
    enum fp_round round = rounding(n->aux >> 4 & 7, fp);
    return BY_TYPE(t, to_int, a, type, round, fp) & mask64(bits);
}

static u64 from_int(const struct ir_node *n, unsigned t, u64 a, unsigned bits, struct fp_env *fp)
{
    struct fp_int type = {(u8)bits, n->aux >> 7 & 1, (u8)n->imm};
    struct fp_env env = *fp;
    env.round = (u8)rounding(n->aux >> 4 & 7, fp);
    u64 r = BY_TYPE(t, from_int, a, type, &env);
    fp->flags |= env.flags;
    return r;
}

static u64 convert(unsigned from, unsigned to, u64 a, struct fp_env *fp)
{
    if (from == IR_F16)
        return to == IR_F32 ? fp16_to_fp32((u16)a, fp) : fp16_to_fp64((u16)a, fp);
    if (from == IR_F32)
        return to == IR_F16 ? fp32_to_fp16((u32)a, fp) : fp32_to_fp64((u32)a, fp);
    return to == IR_F16 ? fp64_to_fp16(a, fp) : fp64_to_fp32(a, fp);
}

static u64 one_lane(const struct ir_node *n, unsigned t, u64 a, u64 b, u64 c, struct fp_env *fp)
{
    switch (n->op) {
    case IR_FMA: {
        unsigned neg = (n->aux & IR_FMA_NEG_PROD ? FP_NEG_PRODUCT : 0) |
                       (n->aux & IR_FMA_NEG_ADD ? FP_NEG_ADDEND : 0);
        return BY_TYPE(t, fma, a, b, c, neg, fp);
    }
    case IR_FNEG:
        return a ^ sign_bit(t);
    case IR_FABS:
        return a & ~sign_bit(t);
    case IR_FCMPV:
        return compare(n->aux >> 4 & 15, t, a, b, fp) ? ~0ull : 0;
    case IR_F2IV:
        return to_int(n, a, 8 * lane_bytes(t), fp);
    case IR_I2FV:
        return from_int(n, t, a, 8 * lane_bytes(t), fp);
    case IR_FROUND:
        return BY_TYPE(t, round_int, a, rounding(n->aux >> 4 & 7, fp), n->aux >> 8 & 1, fp);
    default:
        return arith(n->op, t, a, b, fp);
    }
}

/* Conversions whose operand and result differ in kind; the rest goes by lane. */
static bool scalar_only(const struct ir_node *n, const v128 *a, const v128 *b, v128 *out,
                        struct fp_env *fp)
{
    unsigned t = n->aux & 15;
    switch (n->op) {
    case IR_FCMP:
        out->d[0] = compare(n->aux >> 4 & 15, t, get_lane(a, t, 0), get_lane(b, t, 0), fp);
        return true;
    case IR_F2I:
        out->d[0] = to_int(n, get_lane(a, t, 0), n->type == IR_I32 ? 32 : 64, fp);
        return true;
    case IR_F2IM: {
        bool exact;
        out->d[0] = fp64_to_int32_modulo(a->d[0], &exact, fp);
        return true;
    }
    case IR_I2F:
        out->d[0] = from_int(n, n->type, a->d[0], t == IR_I32 ? 32 : 64, fp);
        return true;
    case IR_F2F:
        out->d[0] = convert(t, n->type, get_lane(a, t, 0), fp);
        return true;
    case IR_FMOV:
        *out = (v128){.d = {a->d[0] & mask64(n->type == IR_V64 ? 64 : 8 * lane_bytes(n->type))}};
        return true;
    case IR_FBITS:
        out->d[0] = n->type == IR_I32 ? a->s[0] : a->d[0];
        return true;
    case IR_ZX:
        memcpy(out, a, t == IR_V64 ? 8 : lane_bytes(t));
        return true;
    case IR_FPFLAGS:
        out->d[0] = fp->flags;
        return true;
    case IR_FBOX:
        out->d[0] = get_lane(a, t, 0) | ~lane_mask(t);
        return true;
    case IR_FUNBOX:
        out->d[0] = ~(a->d[0] | lane_mask(n->type)) ? canonical_nan(n->type) : a->d[0] & lane_mask(n->type);
        return true;
    case IR_FCANON:
        out->d[0] = is_nan(n->type, get_lane(a, n->type, 0)) ? canonical_nan(n->type) : get_lane(a, n->type, 0);
        return true;
    default:
        return false;
    }
}

/* An operation that brings its rounding. */
static void with_rounding(const struct ir_node *n, const v128 *a, const v128 *b, const v128 *c, v128 *out,
                          struct fp_env *fp)
{
    struct ir_node plain = *n;
    struct fp_env env = *fp;
    plain.aux &= (u16)~IR_AUX_ROUND;
    env.round = (u8)((n->aux >> IR_AUX_ROUND_SHIFT & 7) - 1);
    ir_interp_fp(&plain, a, b, c, out, &env);
    fp->flags |= env.flags;
}

void ir_interp_fp(const struct ir_node *n, const v128 *a, const v128 *b, const v128 *c, v128 *out,
                  struct fp_env *fp)
{
    v128 r = {0};
    if (ir_effects[n->op] & IR_E_FP && n->aux & IR_AUX_ROUND) {
        with_rounding(n, a, b, c, out, fp);
        return;
    }
    if (!scalar_only(n, a, b, &r, fp)) {
        unsigned t = n->aux & 15;
        bool vector = n->type == IR_V64 || n->type == IR_V128;
        unsigned lanes = vector ? (n->type == IR_V64 ? 8 : 16) / lane_bytes(t) : 1;
        for (unsigned i = 0; i < lanes; i++)
            set_lane(&r, t, i, one_lane(n, t, get_lane(a, t, i), get_lane(b, t, i),
                                        get_lane(c, t, i), fp));
    }
    *out = r;
}
