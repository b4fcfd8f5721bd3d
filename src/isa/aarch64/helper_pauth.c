/* QARMA5, the block cipher of pointer authentication (Avanzi, "The QARMA block cipher family", 2016; Arm
 * ComputePAC). A block is 16 cells of four bits, the first in the top bits. */
#include "isa/aarch64/helper.h"
#include "isa/aarch64/state.h"

enum { CELLS = 16, ROUNDS = 5 };

static const u64 round_constant[ROUNDS] = {
    0, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89, 0x452821e638d01377,
};
static const u64 reflection_constant = 0xc0ac29b7c97c50dd;

static const u8 sbox[16] = {11, 6, 8, 15, 12, 0, 9, 14, 3, 7, 4, 5, 13, 2, 1, 10};
static const u8 inverse_sbox[16] = {5, 14, 13, 8, 10, 11, 1, 9, 2, 6, 15, 0, 4, 12, 7, 3};

/* Which cell comes to each place. */
static const u8 shuffle[CELLS] = {0, 11, 6, 13, 10, 1, 12, 7, 5, 14, 3, 8, 15, 4, 9, 2};
static const u8 inverse_shuffle[CELLS] = {0, 5, 15, 10, 13, 8, 2, 7, 11, 14, 4, 1, 6, 3, 9, 12};
static const u8 tweak_shuffle[CELLS] = {6, 5, 14, 15, 0, 1, 2, 3, 7, 12, 13, 4, 8, 9, 10, 11};
static const u8 inverse_tweak_shuffle[CELLS] = {4, 5, 6, 7, 11, 1, 0, 8, 12, 13, 14, 15, 9, 10, 2, 3};

/* Cells of the tweak that step through a linear feedback register. */
enum { TWEAK_STEPS = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 8 | 1 << 11 | 1 << 13 };

static unsigned cell(u64 x, unsigned i)
{
    return x >> (60 - 4 * i) & 15;
}

static u64 at_cell(unsigned v, unsigned i)
{
    return (u64)v << (60 - 4 * i);
}

static u64 permute(u64 x, const u8 *from)
{
    u64 r = 0;
    for (unsigned i = 0; i < CELLS; i++)
        r |= at_cell(cell(x, from[i]), i);
    return r;
}

static u64 substitute(u64 x, const u8 *box)
{
    u64 r = 0;
    for (unsigned i = 0; i < CELLS; i++)
        r |= at_cell(box[cell(x, i)], i);
    return r;
}

static unsigned rotate(unsigned v, unsigned by)
{
    return (v << by | v >> (4 - by)) & 15;
}

/* Each column of the four by four cells times the circulant (0, 1, 2, 1) of rotations: its own inverse. */
static u64 mix(u64 x)
{
    u64 r = 0;
    for (unsigned i = 0; i < CELLS; i++) {
        unsigned a = cell(x, (i + 4) % 16), b = cell(x, (i + 8) % 16), c = cell(x, (i + 12) % 16);
        r |= at_cell(rotate(a, 1) ^ rotate(b, 2) ^ rotate(c, 1), i);
    }
    return r;
}

static u64 next_tweak(u64 t)
{
    u64 r = 0;
    t = permute(t, tweak_shuffle);
    for (unsigned i = 0; i < CELLS; i++) {
        unsigned v = cell(t, i);
        r |= at_cell(TWEAK_STEPS >> i & 1 ? v >> 1 | ((v ^ v >> 1) & 1) << 3 : v, i);
    }
    return r;
}

static u64 last_tweak(u64 t)
{
    u64 r = 0;
    for (unsigned i = 0; i < CELLS; i++) {
        unsigned v = cell(t, i);
        r |= at_cell(TWEAK_STEPS >> i & 1 ? (v << 1 & 15) | ((v >> 3 ^ v) & 1) : v, i);
    }
    return permute(r, inverse_tweak_shuffle);
}

u64 a64_qarma5(u64 x, u64 tweak, u64 whitening, u64 core)
{
    u64 other = whitening << 63 | (whitening >> 1 ^ whitening >> 63);
    x ^= whitening;
    for (unsigned i = 0; i < ROUNDS; i++) {
        x ^= core ^ tweak ^ round_constant[i];
        if (i)
            x = mix(permute(x, shuffle));
        x = substitute(x, sbox);
        tweak = next_tweak(tweak);
    }
    /* a round of its own, the reflector, that round backwards */
    x = substitute(mix(permute(x ^ other ^ tweak, shuffle)), sbox);
    x = permute(mix(permute(x, shuffle)) ^ core, inverse_shuffle);
    x = permute(mix(substitute(x, inverse_sbox)), inverse_shuffle) ^ whitening ^ tweak;
    for (unsigned i = ROUNDS; i-- > 0;) {
        x = substitute(x, inverse_sbox);
        if (i)
            x = permute(mix(x), inverse_shuffle);
        tweak = last_tweak(tweak);
        x ^= core ^ tweak ^ round_constant[i] ^ reflection_constant;
    }
    return x ^ other;
}

/* Arguments: value, modifier, key. No code writes the slots of the keys, so they are always current. */
void a64_pauth(struct ir_env *env)
{
    const u64 *key = a64_state(env)->pauth_key[env->helper_arg[2].d[0]];
    env->helper_ret.d[0] = a64_qarma5(env->helper_arg[0].d[0], env->helper_arg[1].d[0], key[1], key[0]);
}
