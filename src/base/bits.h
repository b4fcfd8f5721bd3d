/* Bit fields, sign extension, rotation and counts. Lengths are in bits; a length of 0 is not
 * allowed unless said otherwise. */
#ifndef LYRE_BASE_BITS_H
#define LYRE_BASE_BITS_H

#include "base/types.h"

/* The `len` low bits set; len in 0..64. */
static inline u64 mask64(unsigned len)
{
    return len >= 64 ? ~(u64)0 : ((u64)1 << len) - 1;
}

static inline u32 bits32(u32 v, unsigned lsb, unsigned len)
{
    return (u32)((v >> lsb) & mask64(len));
}

static inline u64 bits64(u64 v, unsigned lsb, unsigned len)
{
    return (v >> lsb) & mask64(len);
}

static inline s64 sext64(u64 v, unsigned len)
{
    return (s64)(v << (64 - len)) >> (64 - len);
}

static inline u32 rotr32(u32 v, unsigned n)
{
    n &= 31;
    return n ? v >> n | v << (32 - n) : v;
}

static inline u64 rotr64(u64 v, unsigned n)
{
    n &= 63;
    return n ? v >> n | v << (64 - n) : v;
}

/* Leading and trailing zeros; the width for a zero value. */
static inline unsigned clz32(u32 v)
{
    return v ? (unsigned)__builtin_clz(v) : 32;
}

static inline unsigned clz64(u64 v)
{
    return v ? (unsigned)__builtin_clzll(v) : 64;
}

static inline unsigned ctz64(u64 v)
{
    return v ? (unsigned)__builtin_ctzll(v) : 64;
}

static inline bool is_pow2(u64 v)
{
    return v && !(v & (v - 1));
}

static inline u64 bitrev64(u64 v)
{
    v = __builtin_bswap64(v);
    v = (v >> 4 & 0x0f0f0f0f0f0f0f0full) | (v & 0x0f0f0f0f0f0f0f0full) << 4;
    v = (v >> 2 & 0x3333333333333333ull) | (v & 0x3333333333333333ull) << 2;
    return (v >> 1 & 0x5555555555555555ull) | (v & 0x5555555555555555ull) << 1;
}

#endif
