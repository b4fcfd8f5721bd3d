/* Advanced SIMD operations that are too rare or too involved for IR: lane by lane in C. */
#include "base/bits.h"
#include "isa/aarch64/helper.h"
#include "isa/aarch64/state.h"

static s64 get(const v128 *v, unsigned lane, unsigned i)
{
    return lane == 1 ? (s16)v->h[i] : (s32)v->s[i];
}

static s64 saturate(struct a64_state *s, __int128 x, unsigned bits)
{
    s64 max = (s64)mask64(bits - 1), min = -max - 1;
    if (x >= min && x <= max)
        return (s64)x;
    s->qc = 1;
    return x < min ? min : max;
}

/* The accumulator plus or minus twice the product, its high half rounded and saturated. */
static void rounding_accumulate(struct ir_env *env, unsigned lane, bool subtract)
{
    const v128 *sum = &env->helper_arg[0], *a = &env->helper_arg[1], *b = &env->helper_arg[2];
    const unsigned bits = 8u << lane;
    v128 r;
    for (unsigned i = 0; i < 16u >> lane; i++) {
        __int128 product = (__int128)2 * get(a, lane, i) * get(b, lane, i);
        __int128 x = get(sum, lane, i) * ((__int128)1 << bits) + ((__int128)1 << (bits - 1));
        s64 v = saturate(a64_state(env), (subtract ? x - product : x + product) >> bits, bits);
        if (lane == 1)
            r.h[i] = (u16)v;
        else
            r.s[i] = (u32)v;
    }
    env->helper_ret = r;
}

void a64_sqrdmlah_h(struct ir_env *env)
{
    rounding_accumulate(env, 1, false);
}

void a64_sqrdmlah_s(struct ir_env *env)
{
    rounding_accumulate(env, 2, false);
}

void a64_sqrdmlsh_h(struct ir_env *env)
{
    rounding_accumulate(env, 1, true);
}

void a64_sqrdmlsh_s(struct ir_env *env)
{
    rounding_accumulate(env, 2, true);
}
