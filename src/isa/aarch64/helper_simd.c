/* Advanced SIMD operations that are too rare or too involved for IR: lane by lane in C. */
#include <string.h>

#include "base/bits.h"
#include "fp/fp.h"
#include "isa/aarch64/helper.h"
#include "isa/aarch64/state.h"

typedef __int128 wide;

/* One call: what the third argument of the helper says. */
struct job {
    struct a64_state *state;
    unsigned op, lane, lanes, bits;
    bool is_unsigned;
};

static u64 get(const v128 *v, unsigned lane, unsigned i)
{
    u64 x = 0;
    memcpy(&x, v->b + (i << lane), 1u << lane);
    return x;
}

static void set(v128 *v, unsigned lane, unsigned i, u64 x)
{
    memcpy(v->b + (i << lane), &x, 1u << lane);
}

/* A lane as a number, by the signedness of the operation. */
static wide number(const struct job *j, const v128 *v, unsigned lane, unsigned i)
{
    u64 x = get(v, lane, i);
    return j->is_unsigned ? (wide)x : (wide)sext64(x, 8u << lane);
}

static u64 saturate(const struct job *j, wide x, unsigned bits, bool is_unsigned)
{
    wide max = is_unsigned ? (wide)mask64(bits) : (wide)mask64(bits - 1);
    wide min = is_unsigned ? 0 : -max - 1;
    if (x < min || x > max) {
        j->state->qc = 1;
        return (u64)(x < min ? min : max);
    }
    return (u64)x;
}

/* Shift left by a signed amount, rounding to the right if asked. */
static wide shift(wide x, s64 by, bool round)
{
    if (by >= 0)
        return by > 64 ? 0 : x * ((wide)1 << by);
    s64 right = -by;
    if (right > 65)
        right = 65;
    if (round)
        x += (wide)1 << (right - 1);
    return x >> right;
}

/* Left shifts may leave 128 bits; by then the sign and "not zero" say it all. */
static u64 shift_saturating(const struct job *j, wide x, s64 by, bool round)
{
    if (by >= (s64)j->bits && x)
        return saturate(j, x < 0 ? -((wide)1 << 100) : (wide)1 << 100, j->bits, j->is_unsigned);
    return saturate(j, shift(x, by, round), j->bits, j->is_unsigned);
}

static u64 one_lane(const struct job *j, const v128 *a, const v128 *b, unsigned i)
{
    switch (j->op) {
    case A64_SIMD_RECPE:
        return fp_recip_estimate_u32(a->s[i]);
    case A64_SIMD_RSQRTE:
        return fp_rsqrt_estimate_u32(a->s[i]);
    default: /* by the signed low byte of b */
        return shift_saturating(j, number(j, a, j->lane, i), (s8)get(b, j->lane, i), j->op == A64_SIMD_QRSHL);
    }
}

void a64_simd(struct ir_env *env)
{
    const v128 *a = &env->helper_arg[0], *b = &env->helper_arg[1];
    u64 what = env->helper_arg[2].d[0];
    struct job j = {.state = a64_state(env), .op = what & 0xff, .lane = what >> 8 & 7,
                    .lanes = what >> 12 & 31, .is_unsigned = what >> 18 & 1};
    v128 r = {0};
    j.bits = 8u << j.lane;
    for (unsigned i = 0; i < j.lanes; i++)
        set(&r, j.lane, i, one_lane(&j, a, b, i));
    env->helper_ret = r;
}

/* The accumulator plus or minus twice the product, its high half rounded and saturated. */
static void rounding_accumulate(struct ir_env *env, unsigned lane, bool subtract)
{
    const v128 *sum = &env->helper_arg[0], *a = &env->helper_arg[1], *b = &env->helper_arg[2];
    const struct job j = {.state = a64_state(env), .bits = 8u << lane};
    v128 r = {0};
    for (unsigned i = 0; i < 16u >> lane; i++) {
        wide product = 2 * number(&j, a, lane, i) * number(&j, b, lane, i);
        wide x = number(&j, sum, lane, i) * ((wide)1 << j.bits) + ((wide)1 << (j.bits - 1));
        x = subtract ? x - product : x + product;
        set(&r, lane, i, saturate(&j, x >> j.bits, j.bits, false));
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
