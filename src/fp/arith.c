/* Add, subtract, multiply, divide, square root, fused multiply-add (IEEE 754 section 5.4.1). */
#include "fp/unpacked.h"

/* Both are normal. */
FP_INLINE u64 add_normal(struct fp_format f, struct fp_num a, struct fp_num b, struct fp_env *env)
{
    if (a.exp < b.exp || (a.exp == b.exp && a.frac < b.frac)) {
        struct fp_num swap = a;
        a = b, b = swap;
    }
    /* One bit of room for the carry; binary64 has ten zero bits left below, so what sticks in a
     * shift of more than one place stays below the rounding position after the cancellation of one
     * bit. */
    u64 big = a.frac >> 1, small = shift_sticky64(b.frac >> 1, (unsigned)(a.exp - b.exp));
    u64 sum = a.sign == b.sign ? big + small : big - small;
    if (!sum)
        return fp_zero(f, env->round == FP_ROUND_DOWN);
    unsigned shift = clz64(sum);
    return fp_pack(f, a.sign, a.exp + 1 - (int)shift, sum << shift, env);
}

FP_INLINE u64 add(struct fp_format f, u64 abits, u64 bbits, bool subtract, struct fp_env *env)
{
    struct fp_num a = fp_unpack(f, abits, env), b = fp_unpack(f, bbits, env);

    if (unlikely(fp_is_nan(a) || fp_is_nan(b)))
        return fp_nan2(f, abits, bbits, env);
    b.sign ^= subtract;
    if (unlikely(a.class == FP_CLASS_INF || b.class == FP_CLASS_INF)) {
        if (a.class == b.class && a.sign != b.sign)
            return fp_invalid(f, env);
        fp_used_denormal(a.denormal | b.denormal, env);
        return fp_inf(f, a.class == FP_CLASS_INF ? a.sign : b.sign);
    }
    fp_used_denormal(a.denormal | b.denormal, env);
    if (likely(a.class == FP_CLASS_NORMAL && b.class == FP_CLASS_NORMAL))
        return add_normal(f, a, b, env);
    /* x + 0 is packed too: it may be tiny, and to be flushed. */
    if (a.class == FP_CLASS_NORMAL)
        return fp_pack(f, a.sign, a.exp, a.frac, env);
    if (b.class == FP_CLASS_NORMAL)
        return fp_pack(f, b.sign, b.exp, b.frac, env);
    return fp_zero(f, a.sign == b.sign ? a.sign : env->round == FP_ROUND_DOWN);
}

/* `extended`: 0 * inf is 2. */
FP_INLINE u64 mul(struct fp_format f, u64 abits, u64 bbits, bool extended, struct fp_env *env)
{
    struct fp_num a = fp_unpack(f, abits, env), b = fp_unpack(f, bbits, env);
    bool sign = a.sign != b.sign;

    if (likely(a.class == FP_CLASS_NORMAL && b.class == FP_CLASS_NORMAL)) {
        unsigned __int128 product = (unsigned __int128)a.frac * b.frac;
        u64 high = (u64)(product >> 64), low = (u64)product;
        int exp = a.exp + b.exp + 1;
        if (!(high >> 63)) {
            high = high << 1 | low >> 63;
            low <<= 1;
            exp--;
        }
        fp_used_denormal(a.denormal | b.denormal, env);
        return fp_pack(f, sign, exp, high | (low != 0), env);
    }
    if (fp_is_nan(a) || fp_is_nan(b))
        return fp_nan2(f, abits, bbits, env);
    bool inf = a.class == FP_CLASS_INF || b.class == FP_CLASS_INF;
    bool zero = a.class == FP_CLASS_ZERO || b.class == FP_CLASS_ZERO;
    if (inf && zero)
        return extended ? fp_sign_bit(f, sign) | (u64)(fp_bias(f) + 1) << f.frac_bits
                        : fp_invalid(f, env);
    fp_used_denormal(a.denormal | b.denormal, env);
    return inf ? fp_inf(f, sign) : fp_zero(f, sign);
}

/* a / b for a in [2^63, 2^64), b in [2^63, 2^64), normalised, the remainder sticky. */
FP_INLINE u64 quotient(struct fp_format f, u64 a, u64 b, int *exp)
{
    u64 q;
    if (f.frac_bits < 30) {
        /* The low half of b is zero; 32 bits of quotient are enough. */
        u64 d = b >> 32;
        q = a / d;
        u64 rest = a % d;
        unsigned shift = clz64(q);
        *exp = 31 - (int)shift;
        return q << shift | (rest != 0);
    }
    unsigned shift = a < b ? 64 : 63;
    unsigned __int128 n = (unsigned __int128)a << shift;
    q = (u64)(n / b);
    *exp = 63 - (int)shift;
    return q | (q * b != (u64)n);
}

FP_INLINE u64 divide(struct fp_format f, u64 abits, u64 bbits, struct fp_env *env)
{
    struct fp_num a = fp_unpack(f, abits, env), b = fp_unpack(f, bbits, env);
    bool sign = a.sign != b.sign;

    if (likely(a.class == FP_CLASS_NORMAL && b.class == FP_CLASS_NORMAL)) {
        int exp;
        u64 q = quotient(f, a.frac, b.frac, &exp);
        fp_used_denormal(a.denormal | b.denormal, env);
        return fp_pack(f, sign, a.exp - b.exp + exp, q, env);
    }
    if (fp_is_nan(a) || fp_is_nan(b))
        return fp_nan2(f, abits, bbits, env);
    if (a.class == b.class) /* 0 / 0, inf / inf */
        return fp_invalid(f, env);
    if (b.class == FP_CLASS_ZERO && a.class == FP_CLASS_NORMAL) {
        env->flags |= FP_DIVZERO;
        return fp_inf(f, sign);
    }
    fp_used_denormal(a.denormal | b.denormal, env);
    return a.class == FP_CLASS_INF || b.class == FP_CLASS_ZERO ? fp_inf(f, sign) : fp_zero(f, sign);
}

/* The root r of v in [1, 4), in units of 2^-60: correct to `bits` bits after the point, one a turn,
 * sticky below. */
FP_INLINE u64 root(u64 v, unsigned bits)
{
    const u64 one = (u64)1 << 60;
    u64 r = one, rest = v - one; /* rest = (v - r^2) << turn */

    for (u64 bit = one >> 1; bit >= one >> bits; bit >>= 1) {
        u64 cost = 2 * r + bit; /* ((r + bit)^2 - r^2) << turn */
        rest <<= 1;
        u64 take = -(u64)(rest >= cost); /* no branch: it would be a coin toss */
        rest -= cost & take;
        r += bit & take;
    }
    return r | (rest != 0);
}

FP_INLINE u64 square_root(struct fp_format f, u64 bits, struct fp_env *env)
{
    struct fp_num a = fp_unpack(f, bits, env);

    if (fp_is_nan(a))
        return fp_nan1(f, bits, env);
    if (a.class == FP_CLASS_ZERO)
        return fp_zero(f, a.sign);
    if (a.sign)
        return fp_invalid(f, env);
    if (a.class == FP_CLASS_INF)
        return fp_inf(f, false);
    fp_used_denormal(a.denormal, env);
    u64 r = root(a.frac >> (a.exp & 1 ? 2 : 3), f.frac_bits + 1);
    return fp_pack(f, false, a.exp >> 1, r << 3, env);
}

FP_INLINE u64 fma_bits(struct fp_format f, u64 abits, u64 bbits, u64 cbits, unsigned negate,
                       struct fp_env *env)
{
    struct fp_num a = fp_unpack(f, abits, env), b = fp_unpack(f, bbits, env);
    struct fp_num c = fp_unpack(f, cbits, env);

    if (unlikely(fp_is_nan(a) || fp_is_nan(b) || fp_is_nan(c))) {
        bool inf_zero = (a.class == FP_CLASS_INF && b.class == FP_CLASS_ZERO) ||
                        (a.class == FP_CLASS_ZERO && b.class == FP_CLASS_INF);
        if (inf_zero && c.class == FP_CLASS_QNAN && env->inf_zero_invalid)
            return fp_invalid(f, env);
        return fp_nan_fused(f, (u64[]){abits, bbits, cbits}, negate, env);
    }
    a.sign ^= (negate & FP_NEG_PRODUCT) != 0;
    c.sign ^= (negate & FP_NEG_ADDEND) != 0;
    return fp_fused(f, a, b, c, 0, env);
}

/* The entry points: one function of each per format. */
#define BINARY(format, type, name, call)                                                           \
    type name(type a, type b, struct fp_env *env)                                                  \
    {                                                                                              \
        const struct fp_format f = format;                                                         \
        return (type)call;                                                                         \
    }
#define ENTRY_POINTS(format, type, prefix)                                                         \
    BINARY(format, type, prefix##_add, add(f, a, b, false, env))                                   \
    BINARY(format, type, prefix##_sub, add(f, a, b, true, env))                                    \
    BINARY(format, type, prefix##_mul, mul(f, a, b, false, env))                                   \
    BINARY(format, type, prefix##_mulx, mul(f, a, b, true, env))                                   \
    BINARY(format, type, prefix##_div, divide(f, a, b, env))                                       \
    type prefix##_sqrt(type a, struct fp_env *env)                                                 \
    {                                                                                              \
        return (type)square_root(format, a, env);                                                  \
    }                                                                                              \
    type prefix##_fma(type a, type b, type c, unsigned negate, struct fp_env *env)                 \
    {                                                                                              \
        return (type)fma_bits(format, a, b, c, negate, env);                                       \
    }

ENTRY_POINTS(FP16, u16, fp16)
ENTRY_POINTS(FP32, u32, fp32)
ENTRY_POINTS(FP64, u64, fp64)
