/* System registers, maintenance, hints and barriers, as a program at EL0 under Linux sees them; in a machine what is
 * the same there. */
#include "isa/aarch64/lift.h"

/* Ours, among those that are left to implementations: nanoseconds, for the code of the vDSO. */
enum { LYRE_REALTIME = 0xdfe0, LYRE_MONOTONIC = 0xdfe1 };

static irv helper(struct lift *l, enum a64_helper h)
{
    return ir_helper(l->b, h, IR_I64, 0, 0, 0);
}

/* PSTATE.DIT and PSTATE.SSBS: the bit, 0 if the CPU does not have it. */
static u32 pstate_bit(const struct lift *l, u32 key)
{
    if (key == A64_REG_DIT && has_feature(l, A64_FEAT_DIT))
        return A64_PSTATE_DIT;
    return key == A64_REG_SSBS && has_feature(l, A64_FEAT_SSBS) ? A64_PSTATE_SSBS : 0;
}

static void put_pstate_bit(struct lift *l, u32 bit, irv v)
{
    irv others = ir_and(l->b, IR_I64, ir_get(l->b, A64_PSTATE_SLOT), ir_const(l->b, IR_I64, ~(u64)bit));
    v = ir_and(l->b, IR_I64, v, ir_const(l->b, IR_I64, bit));
    ir_put(l->b, A64_PSTATE_SLOT, ir_or(l->b, IR_I64, others, v));
}

/* FPSR.QC as far as the slot says. */
static irv saturated(struct lift *l)
{
    struct ir_builder *b = l->b;
    irv lanes = ir_get(b, A64_QC), zero = ir_const(b, IR_I64, 0);
    irv low = ir_emit(b, IR_VGET, IR_I64, 3, lanes, 0, 0, 0);
    irv high = ir_emit(b, IR_VGET, IR_I64, 3 | 1 << 4, lanes, 0, 0, 0);
    irv any = ir_icmp(b, IR_NE, 64, ir_or(b, IR_I64, low, high), zero);
    return ir_select(b, IR_I64, any, ir_const(b, IR_I64, A64_FPSR_QC), zero);
}

bool a64_lift_mrs(struct lift *l, const struct a64_sysreg_move *f)
{
    u32 key = f->reg | A64_REG_OP0;
    bool common = true, done = for_machine(l) && a64_machine_mrs(l, f, &common);
    u64 value;
    irv v;
    if (!common)
        return done;
    switch (key) {
    case A64_REG_CTR_EL0:
        v = ir_const(l->b, IR_I64, A64_CTR);
        break;
    case A64_REG_DCZID_EL0:
        v = ir_const(l->b, IR_I64, A64_DCZID);
        break;
    case A64_REG_NZCV:
        v = ir_emit(l->b, IR_FL_GET, IR_I64, 0, get_flags(l), 0, 0, 0);
        v = ir_shl(l->b, IR_I64, v, ir_const(l->b, IR_I64, 28));
        break;
    case A64_REG_FPCR:
        v = helper(l, A64_HELPER_GET_FPCR);
        break;
    case A64_REG_FPSR:
        v = saturated(l);
        v = ir_or(l->b, IR_I64, helper(l, A64_HELPER_GET_FPSR), v);
        break;
    case A64_REG_TPIDR_EL0:
        v = ir_get(l->b, A64_TPIDR);
        break;
    case A64_REG_TPIDRRO_EL0:
        v = ir_get(l->b, A64_TPIDRRO);
        break;
    case A64_REG_CNTFRQ_EL0:
        v = ir_const(l->b, IR_I64, A64_CNTFRQ);
        break;
    case A64_REG_CNTVCT_EL0:
        v = helper(l, A64_HELPER_COUNTER);
        break;
    case LYRE_REALTIME:
        v = helper(l, A64_HELPER_REALTIME);
        break;
    case LYRE_MONOTONIC:
        v = helper(l, A64_HELPER_MONOTONIC);
        break;
    case A64_REG_DIT:
    case A64_REG_SSBS:
        if (!pstate_bit(l, key))
            return false;
        v = ir_and(l->b, IR_I64, ir_get(l->b, A64_PSTATE_SLOT),
                   ir_const(l->b, IR_I64, pstate_bit(l, key)));
        break;
    default: /* Linux emulates reads of ID registers */
        if (!a64_id_register(l->model, key, &value))
            return false;
        v = ir_const(l->b, IR_I64, value);
    }
    put_reg(l, f->rt, v);
    return true;
}

bool a64_lift_msr(struct lift *l, const struct a64_sysreg_move *f)
{
    u32 key = f->reg | A64_REG_OP0;
    bool common = true, done = for_machine(l) && a64_machine_msr(l, f, &common);
    if (!common)
        return done;
    irv v = reg(l, f->rt);
    switch (key) {
    case A64_REG_NZCV:
        put_flags(l, ir_fl(l->b, IR_FL_BITS, 0, ir_ubfx(l->b, IR_I64, v, 28, 4), 0, 0));
        return true;
    case A64_REG_FPCR: /* code after it may have to be translated anew */
        ir_helper(l->b, A64_HELPER_SET_FPCR, IR_VOID, v, 0, 0);
        ir_raise(l->b, ISA_RAISE_RESYNC, 0, next_pc(l));
        l->ended = true;
        return true;
    case A64_REG_FPSR:
        ir_put(l->b, A64_QC, ir_const(l->b, IR_V128, 0)); /* the helper keeps the bit */
        ir_helper(l->b, A64_HELPER_SET_FPSR, IR_VOID, v, 0, 0);
        if (!(l->key & A64_KEY_TINY)) { /* code from here on is another translation */
            ir_raise(l->b, ISA_RAISE_RESYNC, 0, next_pc(l));
            l->ended = true;
        }
        return true;
    case A64_REG_TPIDR_EL0:
        ir_put(l->b, A64_TPIDR, v);
        return true;
    case A64_REG_DIT:
    case A64_REG_SSBS:
        if (!pstate_bit(l, key))
            return false;
        put_pstate_bit(l, pstate_bit(l, key), v);
        return true;
    default:
        return false;
    }
}

bool a64_lift_msr_imm(struct lift *l, const struct a64_msr_imm *f)
{
    u32 bit = f->id == A64_DIT ? A64_PSTATE_DIT : f->id == A64_SSBS ? A64_PSTATE_SSBS : 0;
    if (!bit) /* what a program may not touch */
        return for_machine(l) && a64_machine_msr_imm(l, f);
    put_pstate_bit(l, bit, ir_const(l->b, IR_I64, f->crm & 1 ? bit : 0));
    return true;
}

/* CFINV; XAFLAG and AXFLAG translate between the flags of FCMP and another form of them. */
bool a64_lift_flag_op(struct lift *l, const struct a64_msr_imm *f)
{
    struct ir_builder *b = l->b;
    irv v = ir_emit(b, IR_FL_GET, IR_I32, 0, get_flags(l), 0, 0, 0);
    if (f->id == A64_CFINV) {
        v = ir_xor(b, IR_I32, v, ir_const(b, IR_I32, IR_FL_C));
    } else {
        /* a table of 16 results of four bits */
        u64 to = f->id == A64_XAFLAG ? 0x6633228866332288ull : 0x4644424046444240ull;
        irv shift = ir_shl(b, IR_I32, v, ir_const(b, IR_I32, 2));
        v = ir_shr(b, IR_I64, ir_const(b, IR_I64, to), shift);
    }
    put_flags(l, ir_fl(b, IR_FL_BITS, 0, v, 0, 0));
    return true;
}

bool a64_lift_sys(struct lift *l, const struct a64_sys *f)
{
    if (for_machine(l) && !(f->op == A64_OP_DC_ZVA && l->key & A64_KEY_ZVA))
        return a64_machine_sys(l, f);
    if (f->l)
        return false; /* SYSL: nothing at EL0 */
    irv addr = reg(l, f->rt);
    switch (f->op) {
    case A64_OP_DC_ZVA:
        lift_clear(l, addr, 64);
        return true;
    case A64_OP_DC_CVAP:
    case A64_OP_DC_CVADP:
        if (!has_feature(l, f->op == A64_OP_DC_CVAP ? A64_FEAT_DPB : A64_FEAT_DPB2))
            return false;
        FALLTHROUGH;
    case A64_OP_DC_CVAC:
    case A64_OP_DC_CVAU:
    case A64_OP_DC_CIVAC: /* caches are coherent; what is left is the fault */
        ir_ld(l->b, IR_I32, 0, addr, 0, 0);
        return true;
    case A64_OP_IC_IVAU:
        ir_raise(l->b, ISA_RAISE_CACHE, addr, next_pc(l));
        l->ended = true;
        return true;
    default:
        return false;
    }
}

/* BTI acts where branches land (lift.c); what else is not needed has no effect. */
bool a64_lift_hint(struct lift *l, const struct a64_hint *f)
{
    return true;
}

/* Waiting for an event may end at any time; for a program it ends at once. */
bool a64_lift_wait(struct lift *l, const struct a64_hint *f)
{
    return !for_machine(l) || f->id == A64_YIELD || a64_lift_in_c(l);
}

bool a64_lift_clrex(struct lift *l, const struct a64_barrier *f)
{
    ir_emit(l->b, IR_CLREX, IR_VOID, 0, 0, 0, 0, 0);
    return true;
}

/* CRm: which observers, and in the low bits which accesses (1 loads, 2 stores). */
bool a64_lift_barrier(struct lift *l, const struct a64_barrier *f)
{
    enum ir_fence kind = IR_FENCE_FULL;
    if (f->id == A64_DMB && (f->crm & 3) == 1)
        kind = IR_FENCE_LOAD;
    if (f->id == A64_DMB && (f->crm & 3) == 2)
        kind = IR_FENCE_STORE;
    ir_fence(l->b, kind);
    if (for_machine(l) && f->id != A64_DMB)
        a64_machine_dsb(l);
    return true;
}

bool a64_lift_isb(struct lift *l, const struct a64_barrier *f)
{
    lift_sync(l);
    return true;
}
