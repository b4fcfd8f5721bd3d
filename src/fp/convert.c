/* Between formats, to and from integers, to integral values (IEEE 754
 * sections 5.4.1, 5.4.2, 5.8, 5.9). */
#include "fp/unpacked.h"

/* --- between formats --- */

/* The payload's high bits move to the high bits of the result (Arm FPConvertNaN). */
static FP_COLD u64 convert_nan(struct fp_format from, struct fp_format to, u64 bits,
                               struct fp_env *env)
{
    bool sign = bits >> (from.exp_bits + from.frac_bits) & 1;
    u64 nan = fp_nan1(from, bits, env);

    if (to.no_inf) {
        env->flags |= FP_INVALID;
        return fp_zero(to, sign);
    }
    if (env->default_nan || env->nan_rule == FP_NAN_CANONICAL)
        return fp_default_nan(to, env);
    u64 payload = nan << (64 - from.frac_bits) >> (64 - to.frac_bits);
    return fp_inf(to, sign) | payload;
}

FP_INLINE u64 convert(struct fp_format from, struct fp_format to, u64 bits, struct fp_env *env)
{
    /* The switch that flushes binary16 is for arithmetic only. */
    if (from.flush == FP_FLUSH_HALF)
        from.flush = 0;
    if (to.flush == FP_FLUSH_HALF)
        to.flush = 0;
    struct fp_num a = fp_unpack(from, bits, env);

    if (likely(a.class == FP_CLASS_NORMAL)) {
        if (from.exp_bits > 5) /* from binary16 nothing is ever flagged */
            fp_used_denormal(a.denormal, env);
        return fp_pack(to, a.sign, a.exp, a.frac, env);
    }
    if (a.class == FP_CLASS_ZERO)
        return fp_zero(to, a.sign);
    if (a.class == FP_CLASS_INF)
        return to.no_inf ? fp_overflow(to, a.sign, env) : fp_inf(to, a.sign);
    return convert_nan(from, to, bits, env);
}

static struct fp_format half_format(const struct fp_env *env)
{
    struct fp_format f = FP16;
    f.no_inf = env->alternative_half;
    return f;
}

u32 fp16_to_fp32(u16 a, struct fp_env *env)
{
    return (u32)convert(half_format(env), FP32, a, env);
}

u64 fp16_to_fp64(u16 a, struct fp_env *env)
{
    return convert(half_format(env), FP64, a, env);
}

u16 fp32_to_fp16(u32 a, struct fp_env *env)
{
    return (u16)convert(FP32, half_format(env), a, env);
}

u64 fp32_to_fp64(u32 a, struct fp_env *env)
{
    return convert(FP32, FP64, a, env);
}

u16 fp64_to_fp16(u64 a, struct fp_env *env)
{
    return (u16)convert(FP64, half_format(env), a, env);
}

u32 fp64_to_fp32(u64 a, struct fp_env *env)
{
    return (u32)convert(FP64, FP32, a, env);
}

u16 fp32_to_bf16(u32 a, struct fp_env *env)
{
    return (u16)convert(FP32, BF16, a, env);
}

u32 bf16_to_fp32(u16 a, struct fp_env *env)
{
    return (u32)convert(BF16, FP32, a, env);
}

/* --- to integers --- */

/* |n| * 2^scale rounded to an integer: false if it exceeds 64 bits. *inexact: bits were lost. */
FP_INLINE bool to_magnitude(struct fp_num n, int scale, enum fp_round round, u64 *out,
                            bool *inexact)
{
    int exp = n.exp + scale;
    u64 whole, rest;

    if (exp >= 64)
        return false;
    if (exp >= 0) {
        whole = n.frac >> (63 - exp);
        rest = exp == 63 ? 0 : n.frac << (exp + 1);
    } else {
        whole = 0;
        rest = shift_sticky64(n.frac, (unsigned)(-1 - exp));
    }
    *inexact = rest != 0;
    *out = whole + fp_round_up(round, n.sign, whole & 1, rest);
    return true; /* no carry out of 64 bits: with exp 63 there is no rest */
}

static FP_COLD u64 bad_int(struct fp_num n, struct fp_int type, struct fp_env *env)
{
    u64 greatest = mask64(type.bits - type.is_signed);
    u64 least = type.is_signed ? ~greatest : 0;

    env->flags |= FP_INVALID;
    if (env->int_rule == FP_INT_INDEFINITE)
        return type.is_signed ? least : greatest;
    if (fp_is_nan(n))
        return env->int_rule == FP_INT_NAN_MAX ? greatest : 0;
    return n.sign ? least : greatest;
}

FP_INLINE u64 to_int(struct fp_format f, u64 bits, struct fp_int type, enum fp_round round,
                     struct fp_env *env)
{
    struct fp_num n = fp_unpack(f, bits, env);
    u64 greatest = mask64(type.bits - type.is_signed), magnitude;
    bool inexact;

    if (n.class == FP_CLASS_ZERO)
        return 0;
    if (unlikely(n.class != FP_CLASS_NORMAL ||
                 !to_magnitude(n, type.frac_bits, round, &magnitude, &inexact)))
        return bad_int(n, type, env);
    if (magnitude > (n.sign ? (type.is_signed ? greatest + 1 : 0) : greatest))
        return bad_int(n, type, env);
    if (inexact)
        env->flags |= FP_INEXACT;
    return n.sign ? -magnitude : magnitude;
}

u32 fp64_to_int32_modulo(u64 a, bool *exact, struct fp_env *env)
{
    struct fp_num n = fp_unpack(FP64, a, env);

    *exact = a == 0; /* not for -0, nor for a flushed denormal */
    if (n.class == FP_CLASS_ZERO)
        return 0;
    if (n.class != FP_CLASS_NORMAL) {
        env->flags |= FP_INVALID;
        return 0;
    }
    u64 magnitude;
    bool lost;
    if (!to_magnitude(n, 0, FP_ROUND_ZERO, &magnitude, &lost)) {
        env->flags |= FP_INVALID;
        magnitude = n.exp - 63 < 32 ? n.frac << (n.exp - 63) : 0;
    } else if (magnitude > (u64)INT32_MAX + n.sign) {
        env->flags |= FP_INVALID;
    } else if (lost) {
        env->flags |= FP_INEXACT;
    } else {
        *exact = true;
    }
    return (u32)(n.sign ? -magnitude : magnitude);
}

/* --- from integers --- */

FP_INLINE u64 from_int(struct fp_format f, u64 v, struct fp_int type, struct fp_env *env)
{
    v &= mask64(type.bits);
    bool sign = type.is_signed && v >> (type.bits - 1);
    if (sign)
        v = -(u64)sext64(v, type.bits);
    if (!v)
        return 0;
    unsigned shift = clz64(v);
    return fp_pack(f, sign, 63 - (int)shift - type.frac_bits, v << shift, env);
}

/* --- to integral values in the same format --- */

FP_INLINE u64 from_magnitude(struct fp_format f, bool sign, u64 v)
{
    struct fp_env plain = {0}; /* integers below 2^(frac_bits + 1) are exact in the format */
    if (!v)
        return fp_zero(f, sign);
    unsigned shift = clz64(v);
    return fp_pack(f, sign, 63 - (int)shift, v << shift, &plain);
}

FP_INLINE u64 round_int(struct fp_format f, u64 bits, enum fp_round round, bool flag,
                        struct fp_env *env)
{
    struct fp_num n = fp_unpack(f, bits, env);
    u64 magnitude;
    bool inexact;

    if (fp_is_nan(n))
        return fp_nan1(f, bits, env);
    if (n.class == FP_CLASS_ZERO)
        return fp_zero(f, n.sign);
    if (n.class == FP_CLASS_INF || n.exp >= f.frac_bits)
        return bits;
    to_magnitude(n, 0, round, &magnitude, &inexact);
    if (flag && inexact)
        env->flags |= FP_INEXACT;
    return from_magnitude(f, n.sign, magnitude);
}

FP_INLINE u64 round_fit(struct fp_format f, u64 bits, enum fp_round round, unsigned width,
                        struct fp_env *env)
{
    struct fp_num n = fp_unpack(f, bits, env);
    const u64 least = fp_sign_bit(f, true) | (u64)(fp_bias(f) + (int)width - 1) << f.frac_bits;
    u64 magnitude;
    bool inexact;

    if (n.class == FP_CLASS_ZERO)
        return fp_zero(f, n.sign);
    if (n.class != FP_CLASS_NORMAL || !to_magnitude(n, 0, round, &magnitude, &inexact) ||
        magnitude >= ((u64)1 << (width - 1)) + n.sign) {
        env->flags |= FP_INVALID;
        return least;
    }
    if (inexact)
        env->flags |= FP_INEXACT;
    return from_magnitude(f, n.sign, magnitude);
}

u32 fp32_round_fit(u32 a, enum fp_round round, unsigned bits, struct fp_env *env)
{
    return (u32)round_fit(FP32, a, round, bits, env);
}

u64 fp64_round_fit(u64 a, enum fp_round round, unsigned bits, struct fp_env *env)
{
    return round_fit(FP64, a, round, bits, env);
}

/* The entry points: one function of each per format. */
#define ENTRY_POINTS(format, type, prefix)                                                         \
    u64 prefix##_to_int(type a, struct fp_int t, enum fp_round round, struct fp_env *env)          \
    {                                                                                              \
        return to_int(format, a, t, round, env);                                                   \
    }                                                                                              \
    type prefix##_from_int(u64 v, struct fp_int t, struct fp_env *env)                             \
    {                                                                                              \
        return (type)from_int(format, v, t, env);                                                  \
    }                                                                                              \
    type prefix##_round_int(type a, enum fp_round round, bool inexact, struct fp_env *env)         \
    {                                                                                              \
        return (type)round_int(format, a, round, inexact, env);                                    \
    }

ENTRY_POINTS(FP16, u16, fp16)
ENTRY_POINTS(FP32, u32, fp32)
ENTRY_POINTS(FP64, u64, fp64)
