/* What is rare enough to exist once for all formats: NaN operands, overflow, tiny results. */
#include "fp/unpacked.h"

/* NaN propagation: one row per rule. */
static const struct {
    bool signalling_first; /* any signalling NaN goes before any quiet one */
    bool negates;          /* a fused operation's negation acts on NaNs too */
    u8 fused_order[3];     /* of the operands a, b, c */
} nan_rules[] = {
    [FP_NAN_CANONICAL] = {true, false, {0, 1, 2}},
    [FP_NAN_ARM] = {true, true, {2, 0, 1}},
    [FP_NAN_X86] = {false, false, {0, 1, 2}},
};

/* `ops` in the order in which the rule looks at them. */
static u64 nan_result(struct fp_format f, const u64 *ops, unsigned count, struct fp_env *env)
{
    const u64 inf = fp_inf(f, false), magnitude = fp_sign_bit(f, true) - 1;
    u64 first = 0, signalling = 0; /* no NaN is 0 */

    for (unsigned i = 0; i < count; i++) {
        if ((ops[i] & magnitude) <= inf)
            continue;
        if (!first)
            first = ops[i];
        if (!(ops[i] & fp_quiet_bit(f)) && !signalling)
            signalling = ops[i];
    }
    if (signalling)
        env->flags |= FP_INVALID;
    if (env->default_nan || env->nan_rule == FP_NAN_CANONICAL)
        return fp_default_nan(f, env);
    if (signalling && nan_rules[env->nan_rule].signalling_first)
        first = signalling;
    return first | fp_quiet_bit(f);
}

FP_COLD u64 fp_nan1(struct fp_format f, u64 a, struct fp_env *env)
{
    return nan_result(f, &a, 1, env);
}

FP_COLD u64 fp_nan2(struct fp_format f, u64 a, u64 b, struct fp_env *env)
{
    return nan_result(f, (u64[]){a, b}, 2, env);
}

FP_COLD u64 fp_nan_fused(struct fp_format f, const u64 abc[3], unsigned negate, struct fp_env *env)
{
    const u8 *order = nan_rules[env->nan_rule].fused_order;
    u64 ops[3];

    if (!nan_rules[env->nan_rule].negates)
        negate = 0;
    for (unsigned i = 0; i < 3; i++) {
        bool flip =
            (order[i] == 0 && negate & FP_NEG_PRODUCT) || (order[i] == 2 && negate & FP_NEG_ADDEND);
        ops[i] = abc[order[i]] ^ fp_sign_bit(f, flip);
    }
    return nan_result(f, ops, 3, env);
}

FP_COLD u64 fp_overflow(struct fp_format f, bool sign, struct fp_env *env)
{
    if (f.no_inf) {
        env->flags |= FP_INVALID;
        return fp_sign_bit(f, sign) | mask64(f.exp_bits + f.frac_bits);
    }
    env->flags |= FP_OVERFLOW | FP_INEXACT;
    bool to_inf = env->round == FP_ROUND_EVEN || env->round == FP_ROUND_AWAY ||
                  env->round == (sign ? FP_ROUND_DOWN : FP_ROUND_UP);
    return fp_inf(f, sign) - !to_inf;
}

FP_COLD u64 fp_pack_tiny(struct fp_format f, bool sign, int biased, u64 frac, struct fp_env *env)
{
    unsigned cut = 63 - f.frac_bits;
    bool tiny = true;
    /* Just below the range, rounding as if the exponent were unbounded may reach it. */
    if (!env->tininess_before && biased == 0 && !(~frac >> cut))
        tiny = !fp_round_up(env->round, sign, true, frac << (64 - cut));
    if (tiny && (env->flush_outputs & f.flush)) {
        env->flags |= FP_UNDERFLOW | (env->flush_inexact ? FP_INEXACT : 0);
        return fp_zero(f, sign);
    }
    frac = shift_sticky64(frac, (unsigned)(1 - biased));
    u64 kept = frac >> cut, rest = frac << (64 - cut);
    if (rest)
        env->flags |= FP_INEXACT | (tiny ? FP_UNDERFLOW : 0);
    kept += fp_round_up(env->round, sign, kept & 1, rest);
    return fp_sign_bit(f, sign) | kept;
}
