/* Random operands biased to where floating point goes wrong, for every binary format. Shared by the
 * tests that compare an implementation with another one. */
#ifndef LYRE_TESTS_FP_OPERANDS_H
#define LYRE_TESTS_FP_OPERANDS_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/bits.h"

struct rng {
    u64 state;
};

/* splitmix64 */
static inline u64 rng_next(struct rng *r)
{
    u64 z = r->state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static inline unsigned rng_below(struct rng *r, unsigned n)
{
    return (unsigned)((rng_next(r) >> 32) * n >> 32);
}

/* LYRE_TEST_SEED repeats a run. */
static inline struct rng rng_seeded(void)
{
    const char *text = getenv("LYRE_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    u64 seed = text ? strtoull(text, NULL, 0) : (u64)now.tv_sec * 1000000007u + (u64)now.tv_nsec;
    printf("# LYRE_TEST_SEED=%#llx\n", (unsigned long long)seed);
    return (struct rng){seed};
}

struct operand_format {
    u8 exp_bits, frac_bits;
};

static const struct operand_format operand16 = {5, 10}, operand32 = {8, 23}, operand64 = {11, 52},
                                   operand_bf16 = {8, 7};

/* A fraction: empty, full, a single bit, a run of ones, few random bits, random. */
static inline u64 operand_fraction(struct rng *r, unsigned bits)
{
    u64 v;
    switch (rng_below(r, 8)) {
    case 0:
        return 0;
    case 1:
        return mask64(bits);
    case 2:
        return (u64)1 << rng_below(r, bits);
    case 3: /* ones at the bottom */
        return mask64(rng_below(r, bits + 1));
    case 4: /* ones at the top */
        return mask64(bits) & ~mask64(rng_below(r, bits + 1));
    case 5: /* random bits at the top: products and quotients that are exact or halfway */
        v = rng_next(r) & mask64(bits);
        return v & ~mask64(rng_below(r, bits + 1));
    default:
        return rng_next(r) & mask64(bits);
    }
}

/* One operand. */
static inline u64 operand(struct rng *r, struct operand_format f)
{
    const unsigned max = (1u << f.exp_bits) - 1, bias = max >> 1;
    u64 frac = operand_fraction(r, f.frac_bits);
    unsigned exp;

    switch (rng_below(r, 16)) {
    case 0: /* zeros and infinities */
        frac = 0;
        exp = rng_below(r, 2) ? max : 0;
        break;
    case 1: /* NaNs of both kinds */
        exp = max;
        frac |= (u64)rng_below(r, 2) << (f.frac_bits - 1);
        frac += !frac;
        break;
    case 2: /* denormals */
    case 3:
        exp = 0;
        break;
    case 4: /* the smallest and the largest numbers */
        exp = 1 + rng_below(r, 3);
        break;
    case 5:
        exp = max - 1 - rng_below(r, 3);
        break;
    case 6: /* products and quotients around the limits */
        exp = bias / 2 + rng_below(r, f.frac_bits);
        break;
    case 7:
        exp = bias + bias / 2 + rng_below(r, 4);
        break;
    case 8: /* around the sizes of integers */
        exp = bias + rng_below(r, 66);
        break;
    case 9: /* around one */
    case 10:
        exp = bias - 4 + rng_below(r, 8);
        break;
    default:
        exp = rng_below(r, max + 1);
        break;
    }
    if (exp > max)
        exp = max - 1;
    u64 sign = (u64)rng_below(r, 2) << (f.exp_bits + f.frac_bits);
    return sign | (u64)exp << f.frac_bits | frac;
}

/* A second operand that sometimes is made from the first: equal, opposite, a neighbour, or with an
 * exponent close by, so that sums cancel and shifts land on the rounding position. */
static inline u64 operand_near(struct rng *r, struct operand_format f, u64 a)
{
    const u64 all = mask64(1u + f.exp_bits + f.frac_bits), sign = (all >> 1) + 1;
    u64 shift;

    switch (rng_below(r, 8)) {
    case 0:
        return a ^ (rng_below(r, 2) ? sign : 0);
    case 1: /* a few units away */
        return (a + rng_below(r, 7) - 3) & all;
    case 2: /* a nearby exponent */
        shift = rng_below(r, f.frac_bits + 4);
        a = operand_fraction(r, f.frac_bits) | a >> f.frac_bits << f.frac_bits;
        return (a - (shift << f.frac_bits)) & all;
    default:
        return operand(r, f);
    }
}

/* An addend for a * b: sometimes with the exponent of the product, give or take. */
static inline u64 operand_addend(struct rng *r, struct operand_format f, u64 a, u64 b)
{
    const int max = (1 << f.exp_bits) - 1, bias = max >> 1;

    if (rng_below(r, 2))
        return operand(r, f);
    int ea = (int)(a >> f.frac_bits) & max, eb = (int)(b >> f.frac_bits) & max;
    int exp = ea + eb - bias + (int)rng_below(r, 5) - 2;
    if (rng_below(r, 3) == 0)
        exp += (int)rng_below(r, 2u * f.frac_bits + 4) - (int)f.frac_bits - 2;
    if (exp < 0 || exp > max)
        return operand(r, f);
    u64 sign = (u64)rng_below(r, 2) << (f.exp_bits + f.frac_bits);
    return sign | (u64)exp << f.frac_bits | operand_fraction(r, f.frac_bits);
}

/* An integer: small, near a power of two, near one of the limits, random of a random length. */
static inline u64 operand_int(struct rng *r)
{
    switch (rng_below(r, 4)) {
    case 0:
        return (u64)rng_below(r, 64) - 32;
    case 1:
        return ((u64)1 << rng_below(r, 64)) + rng_below(r, 5) - 2;
    case 2: /* few significant bits: halfway cases */
        return rng_next(r) >> (32 + rng_below(r, 32)) << rng_below(r, 60);
    default:
        return rng_next(r) >> rng_below(r, 64);
    }
}

/* One of the values that have rules of their own. */
static inline u64 operand_special(struct rng *r, struct operand_format f)
{
    const u64 inf = mask64(f.exp_bits) << f.frac_bits, quiet = (u64)1 << (f.frac_bits - 1);
    const u64 one = mask64(f.exp_bits - 1u) << f.frac_bits, frac = mask64(f.frac_bits);
    const u64 values[] = {0,       1,   frac,    frac + 1,    one,       one + 1,
                          inf - 1, inf, inf | 1, inf | quiet, inf | frac};
    u64 sign = (u64)rng_below(r, 2) << (f.exp_bits + f.frac_bits);
    return sign | values[rng_below(r, ARRAY_LEN(values))];
}

/* a * b = (1 + 2^-j) (1 - 2^-j), scaled to just below the smallest normal number: where tininess
 * before and after rounding differ. */
static inline void operand_tiny_product(struct rng *r, struct operand_format f, u64 v[2])
{
    const unsigned bias = (1u << (f.exp_bits - 1)) - 1, j = 1 + rng_below(r, f.frac_bits);
    const unsigned exp = bias / 2 + rng_below(r, bias / 2);
    const u64 sign = (u64)1 << (f.exp_bits + f.frac_bits);

    v[0] = (u64)exp << f.frac_bits | (u64)1 << (f.frac_bits - j);
    v[1] = (u64)(bias - exp) << f.frac_bits | (mask64(f.frac_bits) & ~mask64(f.frac_bits - j + 1));
    for (int i = 0; i < 2; i++)
        v[i] ^= rng_below(r, 2) ? sign : 0;
}

/* Operands a, b and c of a fused operation; a and b serve the others. */
static inline void operand_triple(struct rng *r, struct operand_format f, u64 v[3])
{
    if (rng_below(r, 8) == 0) {
        for (int i = 0; i < 3; i++)
            v[i] = operand_special(r, f);
        return;
    }
    v[0] = operand(r, f);
    v[1] = operand_near(r, f, v[0]);
    if (rng_below(r, 32) == 0)
        operand_tiny_product(r, f, v);
    v[2] = operand_addend(r, f, v[0], v[1]);
}

#endif
