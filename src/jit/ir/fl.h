/* Result flags. In memory a slot of type fl is a recipe: the kind of operation and its operands;
 * kind 0 holds the four bits themselves (N Z C V in bits 3..0). */
#ifndef LYRE_JIT_IR_FL_H
#define LYRE_JIT_IR_FL_H

#include "base/bits.h"
#include "base/types.h"

enum ir_fl_kind { IR_FLK_BITS, IR_FLK_ADD32, IR_FLK_ADD64, IR_FLK_SUB32, IR_FLK_SUB64,
                  IR_FLK_LOGIC32, IR_FLK_LOGIC64 };

struct ir_flags {
    u64 kind;
    u64 a, b;
};

enum { IR_FL_V = 1, IR_FL_C = 2, IR_FL_Z = 4, IR_FL_N = 8 };

/* Flags of a + b + carry in `width` bits. */
static inline u32 ir_fl_adc(u64 a, u64 b, u32 carry, unsigned width)
{
    u64 mask = mask64(width), top = 1ull << (width - 1);
    a &= mask;
    b &= mask;
    u64 r = (a + b + carry) & mask;
    bool c = carry ? r <= a : r < a;
    return (r & top ? IR_FL_N : 0) | (r ? 0 : IR_FL_Z) | (c ? IR_FL_C : 0) |
           (~(a ^ b) & (a ^ r) & top ? IR_FL_V : 0);
}

static inline u32 ir_fl_sub(u64 a, u64 b, unsigned width)
{
    return ir_fl_adc(a, ~b, 1, width);
}

static inline u32 ir_fl_logic(u64 a, unsigned width)
{
    a &= mask64(width);
    return (a >> (width - 1) ? IR_FL_N : 0) | (a ? 0 : IR_FL_Z);
}

/* The four bits that a slot stands for. */
static inline u32 ir_flags_eval(const struct ir_flags *f)
{
    switch (f->kind) {
    case IR_FLK_ADD32:
        return ir_fl_adc(f->a, f->b, 0, 32);
    case IR_FLK_ADD64:
        return ir_fl_adc(f->a, f->b, 0, 64);
    case IR_FLK_SUB32:
        return ir_fl_sub(f->a, f->b, 32);
    case IR_FLK_SUB64:
        return ir_fl_sub(f->a, f->b, 64);
    case IR_FLK_LOGIC32:
        return ir_fl_logic(f->a, 32);
    case IR_FLK_LOGIC64:
        return ir_fl_logic(f->a, 64);
    default:
        return (u32)f->a & 15;
    }
}

/* Bit n of the result: is the condition true for N Z C V = n? */
static inline u32 ir_cc_mask(unsigned cc)
{
    static const u16 mask[7] = {0xf0f0, 0xcccc, 0xff00, 0xaaaa, 0x0c0c, 0xaa55, 0x0a05};
    return (cc & 1 ? ~(u32)mask[cc >> 1] : mask[cc >> 1]) & 0xffff;
}

#endif
