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
    unsigned op, lane, lanes, bits, amount;
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
        return by > 64 ? x * 0 : x << by;
    s64 right = -by;
    if (right > 65)
        right = 65;
    if (round)
        x += (wide)1 << (right - 1);
    return x >> right;
}

/* Saturating left shifts may leave 128 bits; by then the sign and "not zero" say it all. */
static u64 shift_saturating(const struct job *j, wide x, s64 by, bool round, bool to_unsigned)
{
    if (by >= (s64)j->bits && x)
        return saturate(j, x < 0 ? -((wide)1 << 100) : (wide)1 << 100, j->bits, to_unsigned);
    return saturate(j, shift(x, by, round), j->bits, to_unsigned);
}

static u64 shift_by_register(const struct job *j, wide x, s64 by)
{
    bool round = j->op == A64_SIMD_RSHL || j->op == A64_SIMD_QRSHL;
    if (j->op == A64_SIMD_QSHL || j->op == A64_SIMD_QRSHL)
        return shift_saturating(j, x, by, round, j->is_unsigned);
    return by >= (s64)j->bits ? 0 : (u64)shift(x, by, round);
}

static u64 polynomial(u64 a, u64 b)
{
    u64 r = 0;
    for (unsigned i = 0; i < 8; i++)
        r ^= b >> i & 1 ? a << i : 0;
    return r;
}

static unsigned leading(u64 x, unsigned bits)
{
    return clz64(x) - (64 - bits);
}

static u64 two_operands(const struct job *j, const v128 *a, const v128 *b, unsigned i)
{
    wide x = number(j, a, j->lane, i), y = number(j, b, j->lane, i);
    switch (j->op) {
    case A64_SIMD_HADD:
        return (u64)((x + y) >> 1);
    case A64_SIMD_RHADD:
        return (u64)((x + y + 1) >> 1);
    case A64_SIMD_HSUB:
        return (u64)((x - y) >> 1);
    case A64_SIMD_QADD:
        return saturate(j, x + y, j->bits, j->is_unsigned);
    case A64_SIMD_QSUB:
        return saturate(j, x - y, j->bits, j->is_unsigned);
    case A64_SIMD_PMUL:
        return polynomial((u64)x, (u64)y);
    case A64_SIMD_QDMULH:
        return saturate(j, (2 * x * y) >> j->bits, j->bits, false);
    case A64_SIMD_QRDMULH:
        return saturate(j, (2 * x * y + ((wide)1 << (j->bits - 1))) >> j->bits, j->bits, false);
    case A64_SIMD_SUQADD: /* signed accumulator b plus unsigned a */
        return saturate(j, (wide)sext64(get(b, j->lane, i), j->bits) + (wide)get(a, j->lane, i),
                        j->bits, false);
    case A64_SIMD_USQADD:
        return saturate(j, (wide)get(b, j->lane, i) + (wide)sext64(get(a, j->lane, i), j->bits),
                        j->bits, true);
    default:
        return shift_by_register(j, x, (s8)get(b, j->lane, i));
    }
}

static u64 one_operand(const struct job *j, const v128 *a, unsigned i)
{
    wide x = number(j, a, j->lane, i);
    u64 u = get(a, j->lane, i);
    switch (j->op) {
    case A64_SIMD_CLZ:
        return leading(u, j->bits);
    case A64_SIMD_CLS:
        return leading((u ^ (u64)(x >> 1)) & mask64(j->bits), j->bits) - 1;
    case A64_SIMD_RBIT:
        return bitrev64(u) >> 56;
    case A64_SIMD_QABS:
        return saturate(j, x < 0 ? -x : x, j->bits, false);
    case A64_SIMD_QNEG:
        return saturate(j, -x, j->bits, false);
    case A64_SIMD_RECPE:
        return fp_recip_estimate_u32((u32)u);
    case A64_SIMD_RSQRTE:
        return fp_rsqrt_estimate_u32((u32)u);
    case A64_SIMD_QSHL_IMM:
        return shift_saturating(j, x, (s64)j->amount, false, j->is_unsigned);
    default: /* A64_SIMD_QSHLU_IMM */
        return shift_saturating(j, (wide)sext64(u, j->bits), (s64)j->amount, false, true);
    }
}

/* From lanes of twice the size: shift right (amount may be 0), saturate. */
static u64 narrow(const struct job *j, const v128 *a, unsigned i)
{
    bool to_unsigned = j->is_unsigned || j->op == A64_SIMD_QNARROWU || j->op == A64_SIMD_QRNARROWU;
    bool round = j->op == A64_SIMD_QRNARROW || j->op == A64_SIMD_QRNARROWU;
    wide x = number(j, a, j->lane + 1, i);
    return saturate(j, j->amount ? shift(x, -(s64)j->amount, round) : x, j->bits, to_unsigned);
}

static void across(const struct job *j, const v128 *a, v128 *out)
{
    wide r = number(j, a, j->lane, 0);
    for (unsigned i = 1; i < j->lanes; i++) {
        wide x = number(j, a, j->lane, i);
        r = j->op == A64_SIMD_MAXV ? MAX(r, x) : j->op == A64_SIMD_MINV ? MIN(r, x) : r + x;
    }
    unsigned bits = j->op == A64_SIMD_ADDLV ? 2 * j->bits : j->bits;
    out->d[0] = (u64)r & mask64(bits);
}

/* Products to lanes of twice the size; amount: the first lane that is read. */
static void long_product(const struct job *j, const v128 *a, const v128 *b, v128 *out)
{
    for (unsigned i = 0; i < j->lanes; i++) {
        u64 r;
        if (j->op == A64_SIMD_PMULL)
            r = polynomial(a->b[j->amount + i], b->b[j->amount + i]);
        else
            r = saturate(j, 2 * number(j, a, j->lane, j->amount + i) *
                                number(j, b, j->lane, j->amount + i), 2 * j->bits, false);
        set(out, j->lane + 1, i, r);
    }
}

void a64_simd(struct ir_env *env)
{
    const v128 *a = &env->helper_arg[0], *b = &env->helper_arg[1];
    u64 what = env->helper_arg[2].d[0];
    struct job j = {.state = a64_state(env), .op = what & 0xff, .lane = what >> 8 & 7,
                    .lanes = what >> 12 & 31, .is_unsigned = what >> 18 & 1,
                    .amount = what >> 20 & 0xff};
    v128 r = {0};
    j.bits = 8u << j.lane;
    if (j.op >= A64_SIMD_PMULL) {
        long_product(&j, a, b, &r);
    } else if (j.op >= A64_SIMD_ADDV) {
        across(&j, a, &r);
    } else {
        for (unsigned i = 0; i < j.lanes; i++) {
            u64 x = j.op >= A64_SIMD_QNARROW ? narrow(&j, a, i)
                    : j.op >= A64_SIMD_CLZ   ? one_operand(&j, a, i)
                                             : two_operands(&j, a, b, i);
            set(&r, j.lane, i, x);
        }
    }
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
