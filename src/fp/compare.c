/* Comparison, minimum and maximum, classification (IEEE 754 sections 5.11, 9.6, 5.7.2). */
#include "fp/unpacked.h"

/* The order of two numbers that are not NaNs. */
FP_INLINE enum fp_order order(struct fp_num a, struct fp_num b)
{
    if (a.class == FP_CLASS_ZERO && b.class == FP_CLASS_ZERO)
        return FP_EQUAL;
    if (a.class == FP_CLASS_ZERO)
        return b.sign ? FP_GREATER : FP_LESS;
    if (b.class == FP_CLASS_ZERO || a.sign != b.sign)
        return a.sign ? FP_LESS : FP_GREATER;
    bool less;
    if (a.class != b.class)
        less = a.class < b.class; /* normal, infinity */
    else if (a.class == FP_CLASS_INF || (a.exp == b.exp && a.frac == b.frac))
        return FP_EQUAL;
    else
        less = a.exp < b.exp || (a.exp == b.exp && a.frac < b.frac);
    return less != a.sign ? FP_LESS : FP_GREATER;
}

FP_INLINE enum fp_order compare(struct fp_format f, u64 abits, u64 bbits, bool signalling,
                                struct fp_env *env)
{
    struct fp_num a = fp_unpack(f, abits, env), b = fp_unpack(f, bbits, env);

    if (unlikely(fp_is_nan(a) || fp_is_nan(b))) {
        if (signalling || a.class == FP_CLASS_SNAN || b.class == FP_CLASS_SNAN)
            env->flags |= FP_INVALID;
        return FP_UNORDERED;
    }
    fp_used_denormal(a.denormal | b.denormal, env);
    return order(a, b);
}

/* The result when at least one operand is a NaN. `a` and `b` are as the operation sees them:
 * flushed. */
static FP_COLD u64 min_nan(struct fp_format f, struct fp_num na, struct fp_num nb, u64 a, u64 b,
                           enum fp_min_rule rule, struct fp_env *env)
{
    switch (rule) {
    case FP_MIN_SECOND:
        env->flags |= FP_INVALID;
        return b;
    case FP_MIN_NUMBER_2008:
        if (na.class == FP_CLASS_QNAN && !fp_is_nan(nb))
            return b;
        if (nb.class == FP_CLASS_QNAN && !fp_is_nan(na))
            return a;
        break;
    case FP_MIN_NUMBER_2019:
        if (fp_is_nan(na) && fp_is_nan(nb))
            break;
        if (na.class == FP_CLASS_SNAN || nb.class == FP_CLASS_SNAN)
            env->flags |= FP_INVALID;
        return fp_is_nan(na) ? b : a;
    case FP_MIN_NAN:
        break;
    }
    return fp_nan2(f, a, b, env);
}

FP_INLINE u64 min_or_max(struct fp_format f, u64 a, u64 b, bool max, enum fp_min_rule rule,
                         struct fp_env *env)
{
    struct fp_num na = fp_unpack(f, a, env), nb = fp_unpack(f, b, env);

    /* An operand that unpacking flushed comes out flushed. */
    if (na.class == FP_CLASS_ZERO)
        a = fp_zero(f, na.sign);
    if (nb.class == FP_CLASS_ZERO)
        b = fp_zero(f, nb.sign);
    if (unlikely(fp_is_nan(na) || fp_is_nan(nb)))
        return min_nan(f, na, nb, a, b, rule, env);
    fp_used_denormal(na.denormal | nb.denormal, env);
    enum fp_order o = order(na, nb);
    if (o == FP_EQUAL && rule != FP_MIN_SECOND)
        return na.sign != max ? a : b; /* equal but for the sign of zero */
    return o == (max ? FP_GREATER : FP_LESS) ? a : b;
}

FP_INLINE enum fp_class classify(struct fp_format f, u64 a)
{
    struct fp_env plain = {0};
    struct fp_num n = fp_unpack(f, a, &plain);
    return n.denormal ? FP_CLASS_DENORMAL : n.class;
}

/* The entry points: one function of each per format. */
#define ENTRY_POINTS(format, type, prefix)                                                         \
    enum fp_order prefix##_compare(type a, type b, bool signalling, struct fp_env *env)            \
    {                                                                                              \
        return compare(format, a, b, signalling, env);                                             \
    }                                                                                              \
    type prefix##_min(type a, type b, enum fp_min_rule rule, struct fp_env *env)                   \
    {                                                                                              \
        return (type)min_or_max(format, a, b, false, rule, env);                                   \
    }                                                                                              \
    type prefix##_max(type a, type b, enum fp_min_rule rule, struct fp_env *env)                   \
    {                                                                                              \
        return (type)min_or_max(format, a, b, true, rule, env);                                    \
    }                                                                                              \
    enum fp_class prefix##_class(type a)                                                           \
    {                                                                                              \
        return classify(format, a);                                                                \
    }

ENTRY_POINTS(FP16, u16, fp16)
ENTRY_POINTS(FP32, u32, fp32)
ENTRY_POINTS(FP64, u64, fp64)
