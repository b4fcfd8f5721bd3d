/* Rounds of SM3 (GB/T 32905) and SM4 (GB/T 32907) as the instructions cut them. */
#include "base/bits.h"
#include "cpu/sm4.h"
#include "isa/aarch64/helper.h"
#include "jit/ir/env.h"

static u32 rotl32(u32 x, unsigned by)
{
    return x << by | x >> (-by & 31);
}

/* ---- SM3 ---- */

static u32 sm3_p1(u32 x)
{
    return x ^ rotl32(x, 15) ^ rotl32(x, 23);
}

void a64_sm3partw1(struct ir_env *env)
{
    const v128 *d = &env->helper_arg[0], *n = &env->helper_arg[1], *m = &env->helper_arg[2];
    v128 r;
    for (unsigned i = 0; i < 4; i++) {
        u32 last = i < 3 ? m->s[i + 1] : r.s[0];
        r.s[i] = sm3_p1(d->s[i] ^ n->s[i] ^ rotl32(last, 15));
    }
    env->helper_ret = r;
}

void a64_sm3partw2(struct ir_env *env)
{
    const v128 *d = &env->helper_arg[0], *n = &env->helper_arg[1], *m = &env->helper_arg[2];
    v128 r;
    for (unsigned i = 0; i < 4; i++)
        r.s[i] = d->s[i] ^ n->s[i] ^ rotl32(m->s[i], 7);
    r.s[3] ^= sm3_p1(rotl32(n->s[0] ^ rotl32(m->s[0], 7), 15));
    env->helper_ret = r;
}

void a64_sm3ss1(struct ir_env *env)
{
    const v128 *n = &env->helper_arg[0], *m = &env->helper_arg[1], *a = &env->helper_arg[2];
    env->helper_ret = (v128){.s = {0, 0, 0, rotl32(rotl32(n->s[3], 12) + m->s[3] + a->s[3], 7)}};
}

/* One round on A, B, C, D in lanes 3..0: `f` is the boolean function's result for D, C, B. */
static v128 sm3_tt1(const v128 *d, const v128 *n, u32 w, u32 f)
{
    u32 ss2 = n->s[3] ^ rotl32(d->s[3], 12);
    return (v128){.s = {d->s[1], rotl32(d->s[2], 9), d->s[3], f + d->s[0] + ss2 + w}};
}

/* The same on E, F, G, H. */
static v128 sm3_tt2(const v128 *d, const v128 *n, u32 w, u32 f)
{
    u32 tt2 = f + d->s[0] + n->s[3] + w;
    return (v128){.s = {d->s[1], rotl32(d->s[2], 19), d->s[3], tt2 ^ rotl32(tt2, 9) ^ rotl32(tt2, 17)}};
}

static u32 parity(const v128 *d)
{
    return d->s[3] ^ d->s[2] ^ d->s[1];
}

static u32 majority(const v128 *d)
{
    return (d->s[3] & d->s[2]) | (d->s[3] & d->s[1]) | (d->s[2] & d->s[1]);
}

static u32 choose(const v128 *d)
{
    return (d->s[3] & d->s[2]) | (~d->s[3] & d->s[1]);
}

#define SM3_ROUND(name, half, boolean)                                                             \
    void a64_##name(struct ir_env *env)                                                            \
    {                                                                                              \
        const v128 d = env->helper_arg[0];                                                         \
        env->helper_ret = half(&d, &env->helper_arg[1], env->helper_arg[2].s[0], boolean(&d));     \
    }

SM3_ROUND(sm3tt1a, sm3_tt1, parity)
SM3_ROUND(sm3tt1b, sm3_tt1, majority)
SM3_ROUND(sm3tt2a, sm3_tt2, parity)
SM3_ROUND(sm3tt2b, sm3_tt2, choose)

/* ---- SM4 ---- */

/* Four rounds on the state x with the round keys k. */
static v128 sm4_rounds(v128 x, const v128 *k, u32 (*mix)(u32))
{
    for (unsigned i = 0; i < 4; i++) {
        u32 t = mix(sm4_substitute(x.s[1] ^ x.s[2] ^ x.s[3] ^ k->s[i]));
        x = (v128){.s = {x.s[1], x.s[2], x.s[3], x.s[0] ^ t}};
    }
    return x;
}

void a64_sm4e(struct ir_env *env)
{
    env->helper_ret = sm4_rounds(env->helper_arg[0], &env->helper_arg[1], sm4_mix_data);
}

void a64_sm4ekey(struct ir_env *env)
{
    env->helper_ret = sm4_rounds(env->helper_arg[0], &env->helper_arg[1], sm4_mix_key);
}
