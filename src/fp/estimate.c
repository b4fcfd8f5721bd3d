/* The reciprocal family: estimates, fused Newton steps, exponent inversion (Arm ARM, shared
 * floating-point functions). */
#include "fp/unpacked.h"

/* 1/x for x = (a + 1/2) / 512 with a in 256..511; result in 1/256, 256..511. */
static unsigned recip_table(unsigned a)
{
    return ((1u << 19) / (a * 2 + 1) + 1) / 2;
}

/* 1/sqrt(x) for the middle of the step of 1/512 that holds x = a / 512, a in 128..511; result in
 * 1/256, 256..511. */
static unsigned rsqrt_table(unsigned a)
{
    unsigned b = 512;
    a = a < 256 ? a * 2 + 1 : ((a & ~1u) + 1) * 2;
    for (unsigned bit = 256; bit; bit /= 2) /* the largest b with a * b * b < 2^28 */
        b += a * (b + bit) * (b + bit) < 1u << 28 ? bit : 0;
    return (b + 1) / 2;
}

u32 fp_recip_estimate_u32(u32 a)
{
    return a >> 31 ? recip_table(a >> 23) << 23 : ~(u32)0;
}

u32 fp_rsqrt_estimate_u32(u32 a)
{
    return a >> 30 ? rsqrt_table(a >> 23) << 23 : ~(u32)0;
}

FP_INLINE u64 recip_estimate(struct fp_format f, u64 bits, struct fp_env *env)
{
    struct fp_num n = fp_unpack(f, bits, env);
    int bias = fp_bias(f);

    if (fp_is_nan(n))
        return fp_nan1(f, bits, env);
    if (n.class == FP_CLASS_INF)
        return fp_zero(f, n.sign);
    if (n.class == FP_CLASS_ZERO) {
        env->flags |= FP_DIVZERO;
        return fp_inf(f, n.sign);
    }
    if (n.exp < -bias - 1)
        return fp_overflow(f, n.sign, env);
    if (n.exp >= bias - 1 && (env->flush_outputs & f.flush)) {
        env->flags |= FP_UNDERFLOW;
        return fp_zero(f, n.sign);
    }
    /* Nine bits of result; down to two places below the normal range, truncated and not flagged. */
    u64 estimate = (u64)recip_table((unsigned)(n.frac >> 55)) << 55;
    int biased = bias - 1 - n.exp;
    if (biased > 0)
        return fp_sign_bit(f, n.sign) | (u64)biased << f.frac_bits |
               (estimate << 1) >> (64 - f.frac_bits);
    return fp_sign_bit(f, n.sign) | estimate >> (63 - f.frac_bits + 1 - biased);
}

FP_INLINE u64 rsqrt_estimate(struct fp_format f, u64 bits, struct fp_env *env)
{
    struct fp_num n = fp_unpack(f, bits, env);

    if (fp_is_nan(n))
        return fp_nan1(f, bits, env);
    if (n.class == FP_CLASS_ZERO) {
        env->flags |= FP_DIVZERO;
        return fp_inf(f, n.sign);
    }
    if (n.sign)
        return fp_invalid(f, env);
    if (n.class == FP_CLASS_INF)
        return fp_zero(f, false);
    /* An even exponent leaves x / 4 in [1/4, 1/2), an odd one x / 2 in [1/2, 1). */
    u64 estimate = (u64)rsqrt_table((unsigned)(n.frac >> (n.exp & 1 ? 55 : 56))) << 55;
    int biased = fp_bias(f) - 1 - (n.exp >> 1);
    return (u64)biased << f.frac_bits | (estimate << 1) >> (64 - f.frac_bits);
}

/* 2 - a * b, or (3 - a * b) / 2. */
FP_INLINE u64 newton_step(struct fp_format f, u64 abits, u64 bbits, bool sqrt, struct fp_env *env)
{
    abits ^= fp_sign_bit(f, true);
    struct fp_num a = fp_unpack(f, abits, env), b = fp_unpack(f, bbits, env);
    struct fp_num c = {.class = FP_CLASS_NORMAL, .exp = 1, .frac = (u64)1 << 63};

    if (unlikely(fp_is_nan(a) || fp_is_nan(b)))
        return fp_nan2(f, abits, bbits, env);
    if (sqrt)
        c.frac |= c.frac >> 1;
    if ((a.class == FP_CLASS_INF && b.class == FP_CLASS_ZERO) ||
        (a.class == FP_CLASS_ZERO && b.class == FP_CLASS_INF))
        a.class = b.class = FP_CLASS_ZERO;
    return fp_fused(f, a, b, c, sqrt ? -1 : 0, env);
}

FP_INLINE u64 recip_exponent(struct fp_format f, u64 bits, struct fp_env *env)
{
    struct fp_num n = fp_unpack(f, bits, env);
    int biased = (int)(bits >> f.frac_bits) & fp_exp_max(f);

    if (fp_is_nan(n))
        return fp_nan1(f, bits, env);
    biased = biased ? ~biased & fp_exp_max(f) : fp_exp_max(f) - 1;
    return fp_sign_bit(f, n.sign) | (u64)biased << f.frac_bits;
}

/* The entry points: one function of each per format. */
#define ENTRY_POINTS(format, type, prefix)                                                         \
    type prefix##_recip_estimate(type a, struct fp_env *env)                                       \
    {                                                                                              \
        return (type)recip_estimate(format, a, env);                                               \
    }                                                                                              \
    type prefix##_rsqrt_estimate(type a, struct fp_env *env)                                       \
    {                                                                                              \
        return (type)rsqrt_estimate(format, a, env);                                               \
    }                                                                                              \
    type prefix##_recip_step(type a, type b, struct fp_env *env)                                   \
    {                                                                                              \
        return (type)newton_step(format, a, b, false, env);                                        \
    }                                                                                              \
    type prefix##_rsqrt_step(type a, type b, struct fp_env *env)                                   \
    {                                                                                              \
        return (type)newton_step(format, a, b, true, env);                                         \
    }                                                                                              \
    type prefix##_recip_exponent(type a, struct fp_env *env)                                       \
    {                                                                                              \
        return (type)recip_exponent(format, a, env);                                               \
    }

ENTRY_POINTS(FP16, u16, fp16)
ENTRY_POINTS(FP32, u32, fp32)
ENTRY_POINTS(FP64, u64, fp64)
