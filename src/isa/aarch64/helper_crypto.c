/* Rounds of SM3 (GB/T 32905) and SM4 (GB/T 32907) as the instructions cut them. */
#include "base/bits.h"
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

static const u8 sm4_sbox[256] = {
    0xd6, 0x90, 0xe9, 0xfe, 0xcc, 0xe1, 0x3d, 0xb7, 0x16, 0xb6, 0x14, 0xc2, 0x28, 0xfb, 0x2c, 0x05,
    0x2b, 0x67, 0x9a, 0x76, 0x2a, 0xbe, 0x04, 0xc3, 0xaa, 0x44, 0x13, 0x26, 0x49, 0x86, 0x06, 0x99,
    0x9c, 0x42, 0x50, 0xf4, 0x91, 0xef, 0x98, 0x7a, 0x33, 0x54, 0x0b, 0x43, 0xed, 0xcf, 0xac, 0x62,
    0xe4, 0xb3, 0x1c, 0xa9, 0xc9, 0x08, 0xe8, 0x95, 0x80, 0xdf, 0x94, 0xfa, 0x75, 0x8f, 0x3f, 0xa6,
    0x47, 0x07, 0xa7, 0xfc, 0xf3, 0x73, 0x17, 0xba, 0x83, 0x59, 0x3c, 0x19, 0xe6, 0x85, 0x4f, 0xa8,
    0x68, 0x6b, 0x81, 0xb2, 0x71, 0x64, 0xda, 0x8b, 0xf8, 0xeb, 0x0f, 0x4b, 0x70, 0x56, 0x9d, 0x35,
    0x1e, 0x24, 0x0e, 0x5e, 0x63, 0x58, 0xd1, 0xa2, 0x25, 0x22, 0x7c, 0x3b, 0x01, 0x21, 0x78, 0x87,
    0xd4, 0x00, 0x46, 0x57, 0x9f, 0xd3, 0x27, 0x52, 0x4c, 0x36, 0x02, 0xe7, 0xa0, 0xc4, 0xc8, 0x9e,
    0xea, 0xbf, 0x8a, 0xd2, 0x40, 0xc7, 0x38, 0xb5, 0xa3, 0xf7, 0xf2, 0xce, 0xf9, 0x61, 0x15, 0xa1,
    0xe0, 0xae, 0x5d, 0xa4, 0x9b, 0x34, 0x1a, 0x55, 0xad, 0x93, 0x32, 0x30, 0xf5, 0x8c, 0xb1, 0xe3,
    0x1d, 0xf6, 0xe2, 0x2e, 0x82, 0x66, 0xca, 0x60, 0xc0, 0x29, 0x23, 0xab, 0x0d, 0x53, 0x4e, 0x6f,
    0xd5, 0xdb, 0x37, 0x45, 0xde, 0xfd, 0x8e, 0x2f, 0x03, 0xff, 0x6a, 0x72, 0x6d, 0x6c, 0x5b, 0x51,
    0x8d, 0x1b, 0xaf, 0x92, 0xbb, 0xdd, 0xbc, 0x7f, 0x11, 0xd9, 0x5c, 0x41, 0x1f, 0x10, 0x5a, 0xd8,
    0x0a, 0xc1, 0x31, 0x88, 0xa5, 0xcd, 0x7b, 0xbd, 0x2d, 0x74, 0xd0, 0x12, 0xb8, 0xe5, 0xb4, 0xb0,
    0x89, 0x69, 0x97, 0x4a, 0x0c, 0x96, 0x77, 0x7e, 0x65, 0xb9, 0xf1, 0x09, 0xc5, 0x6e, 0xc6, 0x84,
    0x18, 0xf0, 0x7d, 0xec, 0x3a, 0xdc, 0x4d, 0x20, 0x79, 0xee, 0x5f, 0x3e, 0xd7, 0xcb, 0x39, 0x48,
};

static u32 sm4_substitute(u32 x)
{
    u32 r = 0;
    for (unsigned i = 0; i < 32; i += 8)
        r |= (u32)sm4_sbox[x >> i & 255] << i;
    return r;
}

static u32 sm4_mix_data(u32 x)
{
    return x ^ rotl32(x, 2) ^ rotl32(x, 10) ^ rotl32(x, 18) ^ rotl32(x, 24);
}

static u32 sm4_mix_key(u32 x)
{
    return x ^ rotl32(x, 13) ^ rotl32(x, 23);
}

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
