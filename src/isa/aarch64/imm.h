/* The encodings of immediates, shared by decoder, disassembler and lifters. All pure functions. */
#ifndef LYRE_ISA_AARCH64_IMM_H
#define LYRE_ISA_AARCH64_IMM_H

#include "base/bits.h"

/* The highest set bit of a lane size such as immh; v != 0. */
static inline int a64_log2(u32 v)
{
    return 31 - (int)clz32(v);
}

/* The lowest set bit of a lane selector such as imm5; v != 0. */
static inline int a64_ctz(u32 v)
{
    return (int)ctz64(v);
}

static inline bool a64_is_pow2(u32 v)
{
    return is_pow2(v);
}

/* Bitmask immediates repeat an element of 2..64 bits in which imms + 1 ones are rotated right by
 * immr. The size is given by the leading ones of N:NOT(imms); all ones in an element are reserved.
 */
static inline bool a64_bitmask_ok(u32 n, u32 imms)
{
    u32 v = n << 6 | (~imms & 63);
    if (v < 2)
        return false;
    u32 low = (1u << a64_log2(v)) - 1;
    return (imms & low) != low;
}

/* The value of a bitmask immediate that a64_bitmask_ok() accepts, repeated to 64 bits. */
static inline u64 a64_bitmask(u32 n, u32 immr, u32 imms)
{
    unsigned len = (unsigned)a64_log2(n << 6 | (~imms & 63)), size = 1u << len;
    unsigned ones = (imms & (size - 1)) + 1, rot = immr & (size - 1);
    u64 v = mask64(ones);
    if (rot)
        v = (v >> rot | v << (size - rot)) & mask64(size);
    for (; size < 64; size *= 2)
        v |= v << size;
    return v;
}

/* Can MOVZ or MOVN make this bitmask immediate? Then ORR is not shown as MOV. */
static inline bool a64_movewide_ok(u32 sf, u32 n, u32 immr, u32 imms)
{
    u64 v = a64_bitmask(n, immr, imms), keep = mask64(sf ? 64 : 32);
    for (unsigned shift = 0; shift < (sf ? 64 : 32); shift += 16) {
        u64 rest = ~((u64)0xffff << shift) & keep;
        if (!(v & rest) || !(~v & rest))
            return true;
    }
    return false;
}

/* The 8-bit floating-point immediate as a double: a sign, 3 exponent bits, 4 fraction bits. */
static inline u64 a64_fpimm64(u32 imm8)
{
    u64 exp = imm8 & 0x40 ? 0x3fc : 0x400;
    return (u64)(imm8 >> 7) << 63 | (exp | (imm8 >> 4 & 3)) << 52 | (u64)(imm8 & 15) << 48;
}

static inline u32 a64_fpimm32(u32 imm8)
{
    u32 exp = imm8 & 0x40 ? 0x7c : 0x80;
    return (imm8 >> 7) << 31 | (exp | (imm8 >> 4 & 3)) << 23 | (imm8 & 15) << 19;
}

static inline u16 a64_fpimm16(u32 imm8)
{
    u32 exp = imm8 & 0x40 ? 0x0c : 0x10;
    return (u16)((imm8 >> 7) << 15 | (exp | (imm8 >> 4 & 3)) << 10 | (imm8 & 15) << 6);
}

/* Each bit of imm8 makes a byte of ones (MOVI of 64 bits). */
static inline u64 a64_bytemask(u32 imm8)
{
    u64 v = 0;
    for (int k = 0; k < 8; k++)
        if (imm8 >> k & 1)
            v |= (u64)0xff << (8 * k);
    return v;
}

#endif
