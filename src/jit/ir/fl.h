/* Result flags. In memory a slot of type fl is a recipe: the kind of operation and its operands;
 * kind 0 holds the four bits themselves (N Z C V in bits 3..0). */
#ifndef LYRE_JIT_IR_FL_H
#define LYRE_JIT_IR_FL_H

#include "base/bits.h"
#include "base/types.h"

enum ir_fl_kind { IR_FLK_BITS, IR_FLK_ADD32, IR_FLK_ADD64, IR_FLK_SUB32, IR_FLK_SUB64,
                  IR_FLK_LOGIC32, IR_FLK_LOGIC64, IR_FLK_FCMP32, IR_FLK_FCMP64 };

struct ir_flags {
    u64 kind; /* enum ir_fl_kind, that as part of a choice, or a site: the low 32 bits count */
    u64 a, b;
    u64 c, d; /* of a choice */
};

/* A choice: the flags of a and b if a comparison of c and d holds, else constant ones.
 *
 *  13..10   9         8..5             4   3..0
 *  else     64 bits   enum ir_icond    1   kind
 */
#define IR_FL_CHOICE 16

static inline u32 ir_fl_select_kind(u32 kind, unsigned cond, bool wide, u32 otherwise)
{
    return kind | IR_FL_CHOICE | cond << 5 | (u32)wide << 9 | (otherwise & 15) << 10;
}

/* A site: flags of an operation whose operands can still be found in slots, so that one constant
 * store keeps them for a fault that most likely never comes. Whoever makes one sees to it that until the
 * flags are written again the slots stay as they are, or constants are added to them in one block (ir_step()):
 * a site is of the slots as they are where a block starts.
 *
 *  31   30       29..26   25..18        17..5                4..0
 *  1    b=slot   kind     slot a / 8    immediate or slot/8  how a is found
 */
#define IR_SITE      (1u << 31)
#define IR_SITE_SLOT (1u << 30)
enum ir_fl_site_a { IR_FL_A_IS, IR_FL_A_PLUS_B, IR_FL_A_MINUS_B }; /* slot a, or with b added */

static inline u32 ir_fl_site(enum ir_fl_kind kind, enum ir_fl_site_a how, u32 a_offset, bool b_slot,
                             u32 b)
{
    return IR_SITE | (b_slot ? IR_SITE_SLOT : 0) | (u32)kind << 26 | (a_offset / 8) << 18 |
           (b_slot ? b / 8 : b) << 5 | how;
}

/* Immediates are 12 bits, perhaps shifted left by 12 (bit 12). */
static inline u64 ir_fl_site_imm(u32 field)
{
    return (u64)(field & 0xfff) << (field >> 12 & 1 ? 12 : 0);
}

/* Does a site rest on the slot at that offset? */
static inline bool ir_fl_site_is_of(u32 site, u32 offset)
{
    return (site >> 18 & 0xff) * 8 == offset || (site & IR_SITE_SLOT && (site >> 5 & 0x1fff) * 8 == offset);
}

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

/* The flags of an FP comparison of the bits a and b; no sticky flag is set. */
static inline u32 ir_fl_compare(u64 a, u64 b, bool wide)
{
    double x, y;
    float p, q;
    if (wide) {
        __builtin_memcpy(&x, &a, sizeof(x));
        __builtin_memcpy(&y, &b, sizeof(y));
    } else {
        u32 low_a = (u32)a, low_b = (u32)b;
        __builtin_memcpy(&p, &low_a, sizeof(p));
        __builtin_memcpy(&q, &low_b, sizeof(q));
        x = (double)p;
        y = (double)q;
    }
    if (__builtin_isunordered(x, y))
        return IR_FL_C | IR_FL_V;
    return x < y ? IR_FL_N : x > y ? IR_FL_C : IR_FL_Z | IR_FL_C;
}

/* By how much a slot has moved on since a site was made of it. */
struct ir_step {
    u32 offset; /* of the slot */
    s64 by;
};

/* Have the flags be bits if they are a site whose slots have changed by no more than these steps. */
void ir_flags_step_back(u8 *slots, struct ir_flags *f, const struct ir_step *step, unsigned count);

/* The four bits that a slot stands for; `slots`: the guest state around it. */
u32 ir_flags_eval(const u8 *slots, const struct ir_flags *f);

/* Bit n of the result: is the condition true for N Z C V = n? */
static inline u32 ir_cc_mask(unsigned cc)
{
    static const u16 mask[7] = {0xf0f0, 0xcccc, 0xff00, 0xaaaa, 0x0c0c, 0xaa55, 0x0a05};
    return (cc & 1 ? ~(u32)mask[cc >> 1] : mask[cc >> 1]) & 0xffff;
}

#endif
