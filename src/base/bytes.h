/* Numbers in byte order, at any alignment. */
#ifndef LYRE_BASE_BYTES_H
#define LYRE_BASE_BYTES_H

#include "base/types.h"

static inline u16 be16_at(const u8 *p)
{
    return (u16)(p[0] << 8 | p[1]);
}

static inline u32 be32_at(const u8 *p)
{
    u32 v;
    __builtin_memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}

static inline u64 be64_at(const u8 *p)
{
    u64 v;
    __builtin_memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}

static inline void put_be16(u8 *p, u16 v)
{
    p[0] = (u8)(v >> 8);
    p[1] = (u8)v;
}

static inline void put_be32(u8 *p, u32 v)
{
    v = __builtin_bswap32(v);
    __builtin_memcpy(p, &v, 4);
}

static inline void put_be64(u8 *p, u64 v)
{
    v = __builtin_bswap64(v);
    __builtin_memcpy(p, &v, 8);
}

#endif
