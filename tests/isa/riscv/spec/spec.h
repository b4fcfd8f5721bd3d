/* RISC-V instructions by the words of the specification: a second definition of what the lifter defines, for
 * extensions that no oracle here knows. */
#ifndef LYRE_TESTS_RISCV_SPEC_H
#define LYRE_TESTS_RISCV_SPEC_H

#include "base/bits.h"
#include "base/types.h"

/* Data that instructions reach: the last part of a page, with nothing behind it. Where it is depends on the
 * width of addresses. */
#define SPEC_BYTES  4096u
#define SPEC_WINDOW 512u
extern u64 spec_data;

enum spec_trap {
    TRAP_NONE,
    TRAP_ILLEGAL,    /* illegal instruction */
    TRAP_MISALIGNED, /* address misaligned */
    TRAP_FAULT,      /* nothing is mapped there */
};

struct spec_state {
    unsigned xlen;    /* 32 or 64; the upper halves of x are zero if it is 32 */
    u64 x[32], f[32];
    u32 fcsr; /* frm in bits 7..5, fflags below */
    enum spec_trap trap;
    _Alignas(16) u8 mem[SPEC_WINDOW];
};

/* Random numbers of a test, repeatable by its seed (splitmix64). */
struct spec_random {
    u64 state;
};

u64 spec_next(struct spec_random *r);

/* Which widths have an encoding: both, one and the other something else in its place, one and the other nothing. */
enum spec_width { WIDTH_BOTH, WIDTH_32, WIDTH_64, WIDTH_ONLY_32, WIDTH_ONLY_64 };

/* One encoding: what is fixed, what may vary, how operands are chosen, and what it does. */
struct spec_insn {
    const char *name;
    const char *needs;   /* the extension without which it is undefined */
    u32 fixed, fields;   /* bits of the encoding; `fields` are random */
    u8 bytes;            /* 2 or 4 */
    void (*prepare)(struct spec_state *s, u32 insn, struct spec_random *r); /* NULL: registers are random */
    void (*define)(struct spec_state *s, u32 insn);
    enum spec_width width;
};

extern const struct spec_insn spec_integer[], spec_memory[], spec_zfa[]; /* each ended by a NULL name */

/* Fields of the base formats (vol. I, 2.2), and of compressed ones: registers x8 to x15. */
static inline u32 rd(u32 insn)
{
    return bits32(insn, 7, 5);
}

static inline u32 rs1(u32 insn)
{
    return bits32(insn, 15, 5);
}

static inline u32 rs2(u32 insn)
{
    return bits32(insn, 20, 5);
}

static inline u32 c_low(u32 insn)
{
    return 8 + bits32(insn, 2, 3);
}

static inline u32 c_high(u32 insn)
{
    return 8 + bits32(insn, 7, 3);
}

/* Writes to x0 are ignored. */
static inline void set_x(struct spec_state *s, u32 n, u64 v)
{
    if (n)
        s->x[n] = v & mask64(s->xlen);
}

#endif
