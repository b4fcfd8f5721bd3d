/* What EL1 makes of instructions: system registers, PSTATE, and what is left to C (system.h, ISA_RAISE_INSN). Only in
 * code that is lifted for a machine; the region's key says in which state of the CPU. */
#include "isa/aarch64/system.h"

#include <string.h>

#include "isa/aarch64/lift.h"

bool a64_lift_in_c(struct lift *l)
{
    u32 insn;
    memcpy(&insn, lift_bytes(l, 4), 4);
    ir_raise(l->b, ISA_RAISE_INSN, ir_const(l->b, IR_I64, insn), l->pc);
    l->ended = true;
    return true;
}

bool a64_lift_prepare(struct lift *l, u32 insn)
{
    struct ir_builder *b = l->b;
    if (l->key & A64_KEY_STEP) { /* PSTATE.SS: not yet stepped; UNALIGNED tells that it was */
        irv pstate = ir_get(b, A64_PSTATE_SLOT);
        irv done = ir_xor(b, IR_I64, pstate, ir_const(b, IR_I64, A64_PSTATE_SS));
        ir_chkalign(b, ir_ubfx(b, IR_I64, done, 21, 1), 2);
        ir_put(b, A64_PSTATE_SLOT, ir_and(b, IR_I64, pstate, ir_const(b, IR_I64, ~(u64)A64_PSTATE_SS)));
    }
    if (l->key & A64_KEY_BREAKS || lift_site(l->breaks, l->pc)) { /* in the same way */
        irv pc = ir_const(b, IR_I64, l->pc);
        ir_chkalign(b, ir_helper(b, A64_HELPER_BREAKS, IR_I64, pc, 0, 0), 2);
    }
    bool illegal = l->key & A64_KEY_ILLEGAL;
    bool no_fp = l->key & A64_KEY_NO_FP && (insn >> 26 & 3) == 3; /* all of FP and SIMD, and no others */
    return !illegal && !no_fp;
}

/* ---- PSTATE ---- */

static irv pstate_bits(struct lift *l, u64 mask)
{
    return ir_and(l->b, IR_I64, ir_get(l->b, A64_PSTATE_SLOT), ir_const(l->b, IR_I64, mask));
}

/* Interrupts may be taken from here on: if one waits, it is, before the next instruction. */
static void unmasked(struct lift *l)
{
    irv pstate = ir_get(l->b, A64_PSTATE_SLOT);
    ir_helper(l->b, A64_HELPER_UNMASKED, IR_VOID, pstate, 0, 0);
    u32 map = ir_state_map(l->b, l->next);
    ir_emit(l->b, IR_POLL, IR_VOID, 0, 0, 0, map, 0);
}

static void put_masks(struct lift *l, irv v)
{
    irv others = pstate_bits(l, ~(u64)A64_PSTATE_DAIF);
    v = ir_and(l->b, IR_I64, v, ir_const(l->b, IR_I64, A64_PSTATE_DAIF));
    ir_put(l->b, A64_PSTATE_SLOT, ir_or(l->b, IR_I64, others, v));
    unmasked(l);
}

/* PSTATE.DAIF is code's own to change: at EL1, where it has no say in what is code's to check. */
static bool has_masks(const struct lift *l)
{
    return (l->key & (A64_KEY_EL1 | A64_KEY_STEP | A64_KEY_KDE)) == A64_KEY_EL1;
}

bool a64_machine_msr_imm(struct lift *l, const struct a64_msr_imm *f)
{
    struct ir_builder *b = l->b;
    const u64 mask = (u64)f->crm << 6;
    if (!has_masks(l))
        return a64_lift_in_c(l);
    switch (f->id) {
    case A64_DAIFSET:
        ir_put(b, A64_PSTATE_SLOT, ir_or(b, IR_I64, ir_get(b, A64_PSTATE_SLOT), ir_const(b, IR_I64, mask)));
        return true;
    case A64_DAIFCLR:
        ir_put(b, A64_PSTATE_SLOT, pstate_bits(l, ~mask));
        unmasked(l);
        return true;
    default:
        return a64_lift_in_c(l);
    }
}

/* ---- MRS, MSR ---- */

/* Those that EL0 of a machine sees as a program does, and EL1, too. */
static bool is_common(const struct lift *l, u32 key)
{
    switch (key) {
    case A64_REG_NZCV:
    case A64_REG_TPIDR_EL0:
    case A64_REG_DIT:
    case A64_REG_SSBS:
        return true;
    case A64_REG_FPCR:
    case A64_REG_FPSR:
        return !(l->key & A64_KEY_NO_FP);
    default:
        return false;
    }
}

static bool in_slot(const struct lift *l, const struct a64_register *r, unsigned right)
{
    return r && l->key & A64_KEY_EL1 && r->rights & right && r->slot &&
           !(r->key == A64_REG_SP_EL0 && l->key & A64_KEY_SP0);
}

/* A register whose value is plain to see; 0: it is left to C. */
static irv read_quickly(struct lift *l, u32 key)
{
    const struct a64_register *r = a64_register(l->model, key);
    u64 value;
    if (key == A64_REG_TPIDRRO_EL0)
        return ir_get(l->b, A64_TPIDRRO);
    if (key == A64_REG_DCZID_EL0)
        return ir_const(l->b, IR_I64, A64_DCZID | (l->key & A64_KEY_ZVA ? 0 : 1u << 4));
    if (key == A64_REG_CNTVCT_EL0 && l->key & A64_KEY_COUNTER)
        return ir_helper(l->b, A64_HELPER_MACHINE_COUNTER, IR_I64, 0, 0, 0);
    if (!(l->key & A64_KEY_EL1))
        return 0;
    if (key == A64_REG_DAIF)
        return pstate_bits(l, A64_PSTATE_DAIF);
    if (key == A64_REG_CURRENTEL)
        return ir_const(l->b, IR_I64, A64_PSTATE_EL1);
    if (key == A64_REG_CTR_EL0)
        return ir_const(l->b, IR_I64, A64_CTR);
    if (key == A64_REG_SPSEL)
        return ir_const(l->b, IR_I64, l->key & A64_KEY_SP0 ? 0 : 1);
    if (r && r->constant && a64_machine_id(l->model, key, &value) && key != A64_REG_ID_AA64PFR0_EL1)
        return ir_const(l->b, IR_I64, value);
    return in_slot(l, r, A64_R1) && !r->read ? ir_get(l->b, r->slot) : 0;
}

bool a64_machine_mrs(struct lift *l, const struct a64_sysreg_move *f, bool *common)
{
    u32 key = f->reg | A64_REG_OP0;
    *common = is_common(l, key);
    if (*common)
        return true;
    irv v = read_quickly(l, key);
    if (!v)
        return a64_lift_in_c(l);
    put_reg(l, f->rt, v);
    return true;
}

bool a64_machine_msr(struct lift *l, const struct a64_sysreg_move *f, bool *common)
{
    u32 key = f->reg | A64_REG_OP0;
    *common = is_common(l, key);
    if (*common)
        return true;
    const struct a64_register *r = a64_register(l->model, key);
    if (key == A64_REG_TPIDRRO_EL0 && l->key & A64_KEY_EL1) {
        ir_put(l->b, A64_TPIDRRO, reg(l, f->rt));
    } else if (key == A64_REG_DAIF && has_masks(l)) {
        put_masks(l, reg(l, f->rt));
    } else if (in_slot(l, r, A64_W1) && !r->write && !r->wrote) {
        irv v = ir_and(l->b, IR_I64, reg(l, f->rt), ir_const(l->b, IR_I64, ~r->fixed));
        ir_put(l->b, r->slot, v);
    } else {
        return a64_lift_in_c(l);
    }
    return true;
}

/* ---- barriers ---- */

/* DSB waits for other CPUs that were asked to flush translations: outside of code, before the next instruction. */
void a64_machine_dsb(struct lift *l)
{
    ir_helper(l->b, A64_HELPER_SYNCHRONISE, IR_VOID, 0, 0, 0);
    u32 map = ir_state_map(l->b, l->next);
    ir_emit(l->b, IR_POLL, IR_VOID, 0, 0, 0, map, 0);
}

/* ---- caches ---- */

bool a64_machine_sys(struct lift *l, const struct a64_sys *f)
{
    bool at_el1 = (l->key & (A64_KEY_EL1 | A64_KEY_STEP)) == A64_KEY_EL1; /* a step says it by the same raise */
    if (f->l || !at_el1 || !a64_only_reaches(l->model, f->op))
        return a64_lift_in_c(l);
    irv fails = ir_helper(l->b, A64_HELPER_REACHES, IR_I64, reg(l, f->rt), 0, 0);
    ir_chkalign(l->b, fails, 2);
    return true;
}

/* ---- alignment ---- */

irv a64_base(struct lift *l, unsigned rn)
{
    irv base = reg_sp(l, rn);
    if (rn == 31 && l->key & A64_KEY_SP_ALIGN)
        ir_chkalign(l->b, base, 16);
    return base;
}
