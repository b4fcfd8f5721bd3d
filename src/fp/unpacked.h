/* The unpacked form that all operations compute on, and the one place that rounds and packs.
 * Private to this folder. Functions take the format as a constant argument and are inlined into one
 * entry point per format, which the compiler then specialises.
 *
 * The significand has 64 bits: enough for binary64 with 11 bits below its last place, the lowest
 * one sticky. Wider formats need the same functions over a 128-bit significand. */
#ifndef LYRE_FP_UNPACKED_H
#define LYRE_FP_UNPACKED_H

#include "base/bits.h"
#include "fp/fp.h"

#define FP_INLINE static inline __attribute__((always_inline))
#define FP_COLD   __attribute__((cold, noinline))

struct fp_format {
    u8 exp_bits, frac_bits;
    u8 flush;    /* its bit of enum fp_flush; 0 where flushing does not apply */
    bool no_inf; /* the largest exponent is one more binade of numbers */
};

static const struct fp_format FP16 = {5, 10, FP_FLUSH_HALF, false};
static const struct fp_format FP32 = {8, 23, FP_FLUSH_WIDE, false};
static const struct fp_format FP64 = {11, 52, FP_FLUSH_WIDE, false};
static const struct fp_format BF16 = {8, 7, FP_FLUSH_WIDE, false};

/* Every finite nonzero number is FP_CLASS_NORMAL here: frac / 2^63 * 2^exp with bit 63 of frac set.
 * Zero has frac 0. */
struct fp_num {
    enum fp_class class;
    bool sign;
    bool denormal; /* it was one before unpacking normalised it */
    int exp;
    u64 frac;
};

FP_INLINE int fp_exp_max(struct fp_format f)
{
    return (1 << f.exp_bits) - 1;
}

FP_INLINE int fp_bias(struct fp_format f)
{
    return (1 << (f.exp_bits - 1)) - 1;
}

FP_INLINE u64 fp_sign_bit(struct fp_format f, bool sign)
{
    return (u64)sign << (f.exp_bits + f.frac_bits);
}

FP_INLINE u64 fp_zero(struct fp_format f, bool sign)
{
    return fp_sign_bit(f, sign);
}

FP_INLINE u64 fp_inf(struct fp_format f, bool sign)
{
    return fp_sign_bit(f, sign) | (u64)fp_exp_max(f) << f.frac_bits;
}

FP_INLINE u64 fp_quiet_bit(struct fp_format f)
{
    return (u64)1 << (f.frac_bits - 1);
}

FP_INLINE u64 fp_default_nan(struct fp_format f, const struct fp_env *env)
{
    return fp_inf(f, env->default_nan_sign) | fp_quiet_bit(f);
}

FP_INLINE u64 fp_invalid(struct fp_format f, struct fp_env *env)
{
    env->flags |= FP_INVALID;
    return fp_default_nan(f, env);
}

FP_INLINE bool fp_is_nan(struct fp_num n)
{
    return n.class >= FP_CLASS_QNAN;
}

/* Shift right; bits that fall out stick to bit 0. */
FP_INLINE u64 shift_sticky64(u64 v, unsigned n)
{
    if (n >= 64)
        return v != 0;
    return v >> n | ((v & mask64(n)) != 0);
}

FP_INLINE struct fp_num fp_unpack(struct fp_format f, u64 bits, struct fp_env *env)
{
    u64 frac = bits & mask64(f.frac_bits);
    int biased = (int)(bits >> f.frac_bits) & fp_exp_max(f);
    struct fp_num n = {.class = FP_CLASS_NORMAL, .sign = bits >> (f.exp_bits + f.frac_bits) & 1};

    if (likely(biased && (biased != fp_exp_max(f) || f.no_inf))) {
        n.exp = biased - fp_bias(f);
        n.frac = (u64)1 << 63 | frac << (63 - f.frac_bits);
    } else if (biased) {
        n.class = !frac ? FP_CLASS_INF : frac & fp_quiet_bit(f) ? FP_CLASS_QNAN : FP_CLASS_SNAN;
    } else if (!frac) {
        n.class = FP_CLASS_ZERO;
    } else if (env->flush_inputs & f.flush) {
        n.class = FP_CLASS_ZERO;
        if (env->denormal_rule == FP_DENORMAL_FLUSHED && f.flush != FP_FLUSH_HALF)
            env->flags |= FP_DENORMAL_IN;
    } else {
        unsigned shift = clz64(frac);
        n.denormal = true;
        n.exp = 64 - fp_bias(f) - f.frac_bits - (int)shift;
        n.frac = frac << shift;
    }
    return n;
}

/* To be called once an operation is known to be neither invalid nor a division by zero. */
FP_INLINE void fp_used_denormal(bool denormal, struct fp_env *env)
{
    if (unlikely(denormal) && env->denormal_rule == FP_DENORMAL_USED)
        env->flags |= FP_DENORMAL_IN;
}

/* Whether truncating a magnitude must be corrected by adding one to it. `rest` is what was cut off,
 * in units of 2^-64 of the last place kept and with a sticky bit 0. */
FP_INLINE bool fp_round_up(enum fp_round round, bool sign, bool odd, u64 rest)
{
    const u64 half = (u64)1 << 63;
    switch (round) {
    case FP_ROUND_EVEN:
        return rest > half || (rest == half && odd);
    case FP_ROUND_UP:
        return rest && !sign;
    case FP_ROUND_DOWN:
        return rest && sign;
    case FP_ROUND_AWAY:
        return rest >= half;
    case FP_ROUND_ODD:
        return rest && !odd;
    default:
        return false;
    }
}

/* The result of a finite operation that exceeds the format. */
u64 fp_overflow(struct fp_format f, bool sign, struct fp_env *env);

/* Round and pack a number below the normal range; biased <= 0 is its exponent. */
u64 fp_pack_tiny(struct fp_format f, bool sign, int biased, u64 frac, struct fp_env *env);

/* Round frac / 2^63 * 2^exp, bit 63 of frac set and bit 0 sticky, to the format (Arm FPRound). */
FP_INLINE u64 fp_pack(struct fp_format f, bool sign, int exp, u64 frac, struct fp_env *env)
{
    unsigned cut = 63 - f.frac_bits;
    int biased = exp + fp_bias(f);

    if (unlikely(biased <= 0))
        return fp_pack_tiny(f, sign, biased, frac, env);
    u64 kept = frac >> cut, rest = frac << (64 - cut);
    kept += fp_round_up(env->round, sign, kept & 1, rest);
    /* The leading one of `kept` adds the last unit of the exponent; so does a carry out of it. */
    u64 bits = ((u64)(biased - 1) << f.frac_bits) + kept;
    if (unlikely(bits >= (u64)(fp_exp_max(f) + f.no_inf) << f.frac_bits))
        return fp_overflow(f, sign, env);
    if (rest)
        env->flags |= FP_INEXACT;
    return fp_sign_bit(f, sign) | bits;
}

/* The NaN that an operation returns when at least one of its operands is a NaN; raises FP_INVALID
 * for signalling ones. */
u64 fp_nan1(struct fp_format f, u64 a, struct fp_env *env);
u64 fp_nan2(struct fp_format f, u64 a, u64 b, struct fp_env *env);
u64 fp_nan_fused(struct fp_format f, const u64 abc[3], unsigned negate, struct fp_env *env);

/* a * b + c, rounded once, on numbers that are not NaNs; `scale` is added to the exponent of the
 * result before it is rounded. */
FP_INLINE u64 fp_fused(struct fp_format f, struct fp_num a, struct fp_num b, struct fp_num c,
                       int scale, struct fp_env *env)
{
    typedef unsigned __int128 u128;
    bool sign = a.sign != b.sign;
    bool inf = a.class == FP_CLASS_INF || b.class == FP_CLASS_INF;
    bool zero = a.class == FP_CLASS_ZERO || b.class == FP_CLASS_ZERO;

    if (unlikely(inf || c.class == FP_CLASS_INF)) {
        if (inf && (zero || (c.class == FP_CLASS_INF && c.sign != sign)))
            return fp_invalid(f, env);
        fp_used_denormal(a.denormal | b.denormal | c.denormal, env);
        return fp_inf(f, inf ? sign : c.sign);
    }
    fp_used_denormal(a.denormal | b.denormal | c.denormal, env);
    if (unlikely(zero)) {
        if (c.class == FP_CLASS_NORMAL)
            return fp_pack(f, c.sign, c.exp + scale, c.frac, env);
        return fp_zero(f, sign == c.sign ? sign : env->round == FP_ROUND_DOWN);
    }

    /* The leading bit of both terms at bit 126: room for a carry above, and at least 21 zero bits
     * below a product of two 53-bit significands, so that a sticky bit never takes part in a
     * cancellation. */
    u128 product = (u128)a.frac * b.frac;
    int exp = a.exp + b.exp + 1;
    if (product >> 127)
        product >>= 1;
    else
        exp--;
    if (c.class == FP_CLASS_NORMAL) {
        u128 big = product, small = (u128)c.frac << 63;
        int distance = exp - c.exp;
        bool small_sign = c.sign;
        if (distance < 0 || (distance == 0 && small > big)) {
            u128 swap = big;
            big = small, small = swap;
            small_sign = sign, sign = c.sign;
            exp = c.exp, distance = -distance;
        }
        if (distance > 127)
            small = 1;
        else if (distance)
            small = small >> distance | ((small << (128 - distance)) != 0);
        product = sign == small_sign ? big + small : big - small;
        if (!product)
            return fp_zero(f, env->round == FP_ROUND_DOWN);
    }
    u64 high = (u64)(product >> 64), low = (u64)product;
    unsigned shift = high ? clz64(high) : 64 + clz64(low);
    product <<= shift;
    u64 frac = (u64)(product >> 64) | ((u64)product != 0);
    return fp_pack(f, sign, exp + 1 - (int)shift + scale, frac, env);
}

#endif
