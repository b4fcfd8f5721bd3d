/* What the lifters of RISC-V share: registers and the width at hand. */
#ifndef LYRE_ISA_RISCV_LIFT_H
#define LYRE_ISA_RISCV_LIFT_H

#include "cpu/lift.h"
#include "isa/riscv/decode.h"
#include "isa/riscv/helper.h"
#include "isa/riscv/state.h"

/* XLEN: bits of a general register, and the type of operations on them. */
static inline unsigned xlen(const struct lift *l)
{
    return l->key & RV_KEY_RV32 ? 32 : 64;
}

static inline unsigned xtype(const struct lift *l)
{
    return l->key & RV_KEY_RV32 ? IR_I32 : IR_I64;
}

/* x0 is zero. */
static inline irv reg(struct lift *l, unsigned n)
{
    return n ? ir_get(l->b, RV_X0 + n) : ir_const(l->b, xtype(l), 0);
}

/* v is of the width at hand, or zero-extended to it. */
static inline void put_reg(struct lift *l, unsigned n, irv v)
{
    if (n)
        ir_put(l->b, RV_X0 + n, v);
}

/* A result of 32 bits is sign-extended on RV64. */
static inline void put_reg32(struct lift *l, unsigned n, irv v)
{
    put_reg(l, n, xlen(l) == 64 ? ir_sext(l->b, IR_I64, v, 32) : v);
}

/* A constant of the width at hand. */
static inline irv imm(struct lift *l, s64 value)
{
    return ir_const(l->b, xtype(l), (u64)value);
}

/* Is the extension (enum rv_feature) there? */
static inline bool has_feature(const struct lift *l, unsigned feature)
{
    return rv_has(l->model, feature);
}

/* base + disp. On RV32 the sum is made first, so that it wraps. */
struct rv_address {
    irv base;
    s32 disp;
};

struct rv_address rv_address(struct lift *l, unsigned rs1, s32 offset);

/* The instruction at `code`, of which `len` bytes are there; returns its bytes, or 0 if that is too few. */
unsigned rv_fetch(const u8 *code, size_t len, u32 *insn);

/* The encoding of an instruction on the CPU at hand. */
unsigned rv_id(const struct lift *l, u32 insn);

/* The integer operations of opcodes OP and OP-IMM by their funct3 (vol. I, 2.4); alternate: subtract, shift
 * arithmetically. */
irv rv_arith(struct lift *l, unsigned type, unsigned funct3, bool alternate, irv x, irv y);

/* For struct isa. */
void rv_lift_block(struct lift *l);
bool rv_is_small_leaf(struct lift *l, u64 pc);
u64 rv_call_before(struct lift *l, u64 back);

#endif
