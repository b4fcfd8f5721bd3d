/* NaN propagation: one table row per rule. */
#include "fp/unpacked.h"

static const struct {
    bool signalling_first; /* any signalling NaN goes before any quiet one */
    u8 fused_order[3];     /* of the operands a, b, c */
} nan_rules[] = {
    [FP_NAN_CANONICAL] = {true, {0, 1, 2}},
    [FP_NAN_ARM] = {true, {2, 0, 1}},
    [FP_NAN_X86] = {false, {0, 1, 2}},
};

FP_COLD u64 fp_nan_result(struct fp_format f, const u64 *ops, unsigned count, struct fp_env *env)
{
    const u64 inf = fp_inf(f, false), magnitude = fp_sign_bit(f, true) - 1;
    u64 first = 0, signalling = 0; /* no NaN is 0 */

    for (unsigned i = 0; i < count; i++) {
        u64 op = ops[count == 3 ? nan_rules[env->nan_rule].fused_order[i] : i];
        if ((op & magnitude) <= inf)
            continue;
        if (!first)
            first = op;
        if (!(op & fp_quiet_bit(f)) && !signalling)
            signalling = op;
    }
    if (signalling)
        env->flags |= FP_INVALID;
    if (env->default_nan || env->nan_rule == FP_NAN_CANONICAL)
        return fp_default_nan(f, env);
    if (signalling && nan_rules[env->nan_rule].signalling_first)
        first = signalling;
    return first | fp_quiet_bit(f);
}
