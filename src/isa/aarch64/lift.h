/* What the lifters of A64 share: registers, conditions, addresses. */
#ifndef LYRE_ISA_AARCH64_LIFT_H
#define LYRE_ISA_AARCH64_LIFT_H

#include "cpu/lift.h"
#include "isa/aarch64/decode.h"
#include "isa/aarch64/helper.h"
#include "isa/aarch64/imm.h"
#include "isa/aarch64/state.h"

/* The type of a general register by the field sf, and its width. */
static inline unsigned gpr_type(unsigned sf)
{
    return sf ? IR_I64 : IR_I32;
}

static inline unsigned gpr_width(unsigned sf)
{
    return sf ? 64 : 32;
}

/* A general register; number 31 is the zero register. Operations of type i32 read the low half of
 * it, so W registers need no function of their own. */
static inline irv reg(struct lift *l, unsigned n)
{
    return n == 31 ? ir_const(l->b, IR_I64, 0) : ir_get(l->b, A64_X0 + n);
}

/* The same where number 31 is the stack pointer, whose slot comes after x30. */
static inline irv reg_sp(struct lift *l, unsigned n)
{
    return ir_get(l->b, A64_X0 + n);
}

static inline void put_reg(struct lift *l, unsigned n, irv v)
{
    if (n != 31)
        ir_put(l->b, A64_X0 + n, v);
}

static inline void put_reg_sp(struct lift *l, unsigned n, irv v)
{
    ir_put(l->b, A64_X0 + n, v);
}

/* A register-sized result that may be an unchanged operand: a W register loses its upper half. */
static inline irv as_reg(struct lift *l, unsigned sf, irv v)
{
    return sf || ir_value_type(l->b->r, v) != IR_I64 ? v : ir_ubfx(l->b, IR_I32, v, 0, 32);
}

static inline irv vreg(struct lift *l, unsigned n)
{
    return ir_get(l->b, A64_V0 + n);
}

/* What lies above a result narrower than 128 bits becomes zero. */
static inline void put_vreg(struct lift *l, unsigned n, irv v)
{
    ir_put(l->b, A64_V0 + n, v);
}

/* The type of a vector operation by the field q. */
static inline unsigned vec_type(unsigned q)
{
    return q ? IR_V128 : IR_V64;
}

/* A rare operation (enum a64_fp_op) on the first `lanes` lanes of type `lane`, in C. y may be 0. */
static inline irv fp_lanes(struct lift *l, enum a64_fp_op op, unsigned lane, unsigned lanes,
                           unsigned how, irv x, irv y)
{
    irv what = ir_const(l->b, IR_I64, op | lane << 8 | lanes << 12 | how << 16);
    return ir_helper(l->b, A64_HELPER_FP_LANES, IR_V128, x, y ? y : x, what);
}

static inline irv get_flags(struct lift *l)
{
    return ir_get(l->b, A64_NZCV);
}

static inline void put_flags(struct lift *l, irv fl)
{
    ir_put(l->b, A64_NZCV, fl);
}

/* A condition field as i1; 14 and 15 both mean always. */
static inline irv condition(struct lift *l, unsigned cond)
{
    return cond >= 14 ? ir_const(l->b, IR_I1, 1) : ir_cc(l->b, (enum ir_cc)cond, get_flags(l));
}

/* The address of the next instruction. */
static inline u64 next_pc(const struct lift *l)
{
    return l->pc + 4;
}

/* Raise UNALIGNED for an access of 1 << size bytes that cannot be atomic. */
void a64_check_aligned(struct lift *l, irv addr, unsigned size);

/* Two registers as one value of twice their size (size: log2 of the bytes of one), the first in the low
 * half; and such a value back to them. */
irv a64_join(struct lift *l, unsigned size, unsigned first, unsigned second);
void a64_put_halves(struct lift *l, unsigned size, unsigned first, unsigned second, irv v);

/* PSTATE.BTYPE: the kind of indirect branch that led to an instruction. Where the program has guarded
 * pages it is in the low bits of the address that the branch goes to. */
enum a64_btype { A64_BTYPE_NONE, A64_BTYPE_TAIL, A64_BTYPE_CALL, A64_BTYPE_JUMP };

/* May an indirect branch of this type meet the instruction on a guarded page? strict: SCTLR_EL1.BT0 or BT1. */
bool a64_is_landing(u32 insn, enum a64_btype type, bool strict);

/* The address that BR (or BLR, if call) by register rn goes on at, its target being `to`. */
irv a64_branch_to(struct lift *l, unsigned rn, bool call, irv to);
/* And that a return goes on at. */
irv a64_return_to(struct lift *l, irv to);

/* ---- code for a machine (lift_machine.c) ---- */

static inline bool for_machine(const struct lift *l)
{
    return l->key & A64_KEY_MACHINE;
}

/* Leave the instruction at hand to C: the block ends before it. True. */
bool a64_lift_in_c(struct lift *l);
/* Before an instruction is lifted. False: it is left to C, whatever it is. */
bool a64_lift_prepare(struct lift *l, u32 insn);
/* MRS and MSR; `common`: the register is as a program has it, and nothing was done. */
bool a64_machine_mrs(struct lift *l, const struct a64_sysreg_move *f, bool *common);
bool a64_machine_msr(struct lift *l, const struct a64_sysreg_move *f, bool *common);
bool a64_machine_msr_imm(struct lift *l, const struct a64_msr_imm *f);
void a64_machine_dsb(struct lift *l);
bool a64_machine_sys(struct lift *l, const struct a64_sys *f);
/* The base register of an access, its alignment checked if it is the stack pointer. */
irv a64_base(struct lift *l, unsigned rn);

/* For struct isa. */
extern const struct isa_flags a64_flags;
bool a64_is_small_leaf(struct lift *l, u64 pc);
u64 a64_call_before(struct lift *l, u64 back);
void a64_lift_block(struct lift *l);

/* Does the CPU model have a feature? */
static inline bool has_feature(const struct lift *l, unsigned feature)
{
    return a64_has(l->model, feature);
}

#endif
