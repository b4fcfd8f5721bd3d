/* Floating point that is too rare for operations of the IR: by lane, with fp/'s functions. */
#include "base/bits.h"
#include "isa/aarch64/helper.h"
#include "isa/aarch64/state.h"

static u64 get_lane(const v128 *v, unsigned lane, unsigned i)
{
    return lane == IR_F16 ? v->h[i] : lane == IR_F32 ? v->s[i] : v->d[i];
}

static void set_lane(v128 *v, unsigned lane, unsigned i, u64 x)
{
    if (lane == IR_F16)
        v->h[i] = (u16)x;
    else if (lane == IR_F32)
        v->s[i] = (u32)x;
    else
        v->d[i] = x;
}

/* The function of the lane's width. */
#define BY_LANE(lane, name, ...)                                                                   \
    ((lane) == IR_F16   ? fp16_##name(__VA_ARGS__)                                                 \
     : (lane) == IR_F32 ? fp32_##name(__VA_ARGS__)                                                 \
                        : fp64_##name(__VA_ARGS__))

/* `how`: rounding in the low 3 bits, size of the integer above them. */
static u64 round_fit(unsigned lane, u64 a, unsigned how, struct fp_env *fp)
{
    unsigned round = (how & 7) == IR_ROUND_ENV ? fp->round : how & 7, bits = how & ~7u;
    return lane == IR_F32 ? fp32_round_fit((u32)a, (enum fp_round)round, bits, fp)
                          : fp64_round_fit(a, (enum fp_round)round, bits, fp);
}

static u64 one_lane(enum a64_fp_op op, unsigned lane, unsigned how, u64 a, u64 b, struct fp_env *fp)
{
    switch (op) {
    case A64_FP_ROUND_FIT:
        return round_fit(lane, a, how, fp);
    case A64_FP_TO_BF16:
        return fp32_to_bf16((u32)a, fp);
    case A64_FP_TO_F32_ODD: {
        u8 round = fp->round;
        fp->round = FP_ROUND_ODD;
        u32 r = fp64_to_fp32(a, fp);
        fp->round = round;
        return r;
    }
    case A64_FP_MULX:
        return BY_LANE(lane, mulx, a, b, fp);
    case A64_FP_RECIP_ESTIMATE:
        return BY_LANE(lane, recip_estimate, a, fp);
    case A64_FP_RSQRT_ESTIMATE:
        return BY_LANE(lane, rsqrt_estimate, a, fp);
    case A64_FP_RECIP_STEP:
        return BY_LANE(lane, recip_step, a, b, fp);
    case A64_FP_RSQRT_STEP:
        return BY_LANE(lane, rsqrt_step, a, b, fp);
    case A64_FP_RECIP_EXPONENT:
        return BY_LANE(lane, recip_exponent, a, fp);
    case A64_FP_RECIP_ESTIMATE_U32:
        return fp_recip_estimate_u32((u32)a);
    case A64_FP_RSQRT_ESTIMATE_U32:
        return fp_rsqrt_estimate_u32((u32)a);
    }
    return 0;
}

void a64_fp_lanes(struct ir_env *env)
{
    const v128 a = env->helper_arg[0], b = env->helper_arg[1];
    u64 what = env->helper_arg[2].d[0];
    enum a64_fp_op op = (enum a64_fp_op)(what & 0xff);
    unsigned lane = what >> 8 & 15, lanes = what >> 12 & 15, how = what >> 16 & 0xff;
    v128 r = {0};
    for (unsigned i = 0; i < lanes; i++)
        set_lane(&r, lane, i,
                 one_lane(op, lane, how, get_lane(&a, lane, i), get_lane(&b, lane, i), env->fp));
    env->helper_ret = r;
}

/* The same number, or NaN with all its properties: a multiplication that widens sees the f16. */
static u32 widen_half(u16 h, bool flush)
{
    u32 sign = (u32)(h >> 15) << 31, exp = h >> 10 & 31, frac = h & 0x3ff;
    if (exp == 31)
        return sign | 0x7f800000 | frac << 13;
    if (exp)
        return sign | (exp + 112) << 23 | frac << 13;
    if (!frac || flush)
        return sign;
    unsigned shift = clz32(frac) - 21;
    return sign | (113 - shift) << 23 | (frac << shift & 0x3ff) << 13;
}

void a64_widen_half(struct ir_env *env)
{
    bool flush = env->fp->flush_inputs & FP_FLUSH_HALF;
    v128 r;
    for (unsigned i = 0; i < 4; i++)
        r.s[i] = widen_half(env->helper_arg[0].h[i], flush);
    env->helper_ret = r;
}

/* Products of bfloat16 have rules of their own, whatever FPCR says: no flags, no denormals, default
 * NaNs, rounding to odd but to infinity when the result does not fit (Arm BFMul, BFAdd). */
static const struct fp_env bf_rules = {
    .round = FP_ROUND_ODD,
    .nan_rule = FP_NAN_ARM,
    .flush_inputs = FP_FLUSH_WIDE,
    .flush_outputs = FP_FLUSH_WIDE,
    .default_nan = true,
    .tininess_before = true,
};

static u32 bf_result(u32 r, const struct fp_env *fp)
{
    return fp->flags & FP_OVERFLOW ? (r & 1u << 31) | 0x7f800000 : r;
}

static u32 bf_mul(u32 a, u32 b)
{
    struct fp_env fp = bf_rules;
    u32 r = fp32_mul(a, b, &fp);
    return bf_result(r, &fp);
}

static u32 bf_add(u32 a, u32 b)
{
    struct fp_env fp = bf_rules;
    u32 r = fp32_add(a, b, &fp);
    return bf_result(r, &fp);
}

/* sum + (the product of the low halves + that of the high halves). */
static u32 bf_dot(u32 sum, u32 a, u32 b)
{
    u32 low = bf_mul(a << 16, b << 16), high = bf_mul(a & 0xffff0000, b & 0xffff0000);
    return bf_add(sum, bf_add(low, high));
}

void a64_bfdot(struct ir_env *env)
{
    const v128 *sum = &env->helper_arg[0], *n = &env->helper_arg[1], *m = &env->helper_arg[2];
    v128 r;
    for (unsigned i = 0; i < 4; i++)
        r.s[i] = bf_dot(sum->s[i], n->s[i], m->s[i]);
    env->helper_ret = r;
}

/* Two rows of n, four numbers each, with the rows of m. */
void a64_bfmmla(struct ir_env *env)
{
    const v128 *sum = &env->helper_arg[0], *n = &env->helper_arg[1], *m = &env->helper_arg[2];
    v128 r;
    for (unsigned i = 0; i < 4; i++) {
        const u32 *row = n->s + (i & 2), *column = m->s + 2 * (i & 1);
        r.s[i] = bf_dot(bf_dot(sum->s[i], row[0], column[0]), row[1], column[1]);
    }
    env->helper_ret = r;
}
