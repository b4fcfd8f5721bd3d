/* Control and status registers, fences, cache operations and the ways into the system. */
#include "isa/riscv/lift.h"

enum {
    FFLAGS = 0x001,
    FRM = 0x002,
    FCSR = 0x003,
    CYCLE = 0xc00,
    TIME = 0xc01,
    INSTRET = 0xc02,
    CYCLEH = 0xc80,
    TIMEH = 0xc81,
    INSTRETH = 0xc82,
    /* Ours, among those that are left to implementations: nanoseconds, for the code of the vDSO. */
    LYRE_REALTIME = 0xcc0,
    LYRE_MONOTONIC = 0xcc1,
};

static irv helper(struct lift *l, enum rv_helper h)
{
    return ir_helper(l->b, h, IR_I64, 0, 0, 0);
}

static irv upper_half(struct lift *l, irv v)
{
    return ir_shr(l->b, IR_I64, v, ir_const(l->b, IR_I64, 32));
}

/* The counters (Zicntr): a cycle takes a nanosecond, and an instruction a cycle. 0: there is none. */
static irv read_counter(struct lift *l, unsigned csr)
{
    bool high = csr >= CYCLEH && csr <= INSTRETH;
    if (high && xlen(l) == 64)
        return 0;
    irv v;
    switch (high ? csr - CYCLEH + CYCLE : csr) {
    case CYCLE:
    case INSTRET:
    case LYRE_MONOTONIC:
        v = helper(l, RV_HELPER_MONOTONIC);
        break;
    case TIME:
        v = helper(l, RV_HELPER_TIME);
        break;
    case LYRE_REALTIME:
        v = helper(l, RV_HELPER_REALTIME);
        break;
    default:
        return 0;
    }
    if (xlen(l) == 32)
        v = high ? upper_half(l, v) : ir_ubfx(l->b, IR_I32, v, 0, 32);
    return v;
}

/* The byte of a table of eight that three bits of x choose. */
static irv look_up(struct lift *l, u64 table, irv x, unsigned lsb)
{
    struct ir_builder *b = l->b;
    irv index = ir_shl(b, IR_I32, ir_ubfx(b, IR_I32, x, lsb, 3), ir_const(b, IR_I32, 3));
    return ir_shr(b, IR_I64, ir_const(b, IR_I64, table), index);
}

/* fflags, of which the sticky flags have the order turned round: invalid, denormal, division by zero in the low
 * bits, overflow, underflow, inexact above. */
static irv read_fflags(struct lift *l)
{
    struct ir_builder *b = l->b;
    irv flags = ir_emit(b, IR_FPFLAGS, IR_I32, 0, 0, 0, 0, 0);
    irv low = look_up(l, 0x1808180810001000, flags, 0), high = look_up(l, 0x0703050106020400, flags, 3);
    return ir_and(b, IR_I32, ir_or(b, IR_I32, low, high), ir_const(b, IR_I32, 31));
}

/* frm is part of the region's key. */
static irv read_fp(struct lift *l, unsigned csr)
{
    unsigned frm = l->key & RV_KEY_FRM;
    if (csr == FRM)
        return imm(l, frm);
    irv v = read_fflags(l);
    return csr == FCSR ? ir_or(l->b, IR_I32, v, ir_const(l->b, IR_I32, frm << 5)) : v;
}

/* Compilers wrap a comparison that must be quiet into a read and a write of fflags, where seldom anything
 * changes: in the middle of a block that is tested, and the way out leads here, to the start of another. */
static void write_fflags(struct lift *l, irv v)
{
    struct ir_builder *b = l->b;
    v = ir_and(b, IR_I32, v, ir_const(b, IR_I32, 31));
    if (b->r->block[b->block].pc != l->pc) {
        irv now = read_fflags(l);
        irv differs = ir_icmp(b, IR_NE, 32, now, v);
        l->ended = !ir_exit_if(b, differs, true, l->pc);
        return;
    }
    ir_helper(b, RV_HELPER_SET_FFLAGS, IR_VOID, v, 0, 0);
}

/* Code after a change of frm has to be translated anew. */
static void write_fp(struct lift *l, unsigned csr, irv v)
{
    struct ir_builder *b = l->b;
    if (csr == FRM)
        v = ir_bfi(b, IR_I32, read_fflags(l), v, 5, 3);
    ir_helper(b, RV_HELPER_SET_FCSR, IR_VOID, v, 0, 0);
    ir_raise(b, ISA_RAISE_RESYNC, 0, l->next);
    l->ended = true;
}

enum { WRITE = 1, SET, CLEAR };

/* op: enum above, bit 2: of an immediate. Setting and clearing with x0 or 0 writes nothing (vol. I, 6.1). The
 * register is put before a write that ends the block, but behind one that may leave to do it again. */
bool rv_lift_csr(struct lift *l, const struct rv_csr *f)
{
    struct ir_builder *b = l->b;
    unsigned what = f->op & 3;
    bool writes = what == WRITE || f->rs1, fp = f->csr >= FFLAGS && f->csr <= FCSR;
    if (fp ? !has_feature(l, RV_F) : writes || !has_feature(l, RV_Zicntr))
        return false;
    irv x = f->op & 4 ? imm(l, f->rs1) : reg(l, f->rs1);
    irv old = fp ? read_fp(l, f->csr) : read_counter(l, f->csr);
    if (!old)
        return false;
    if (what == SET)
        x = ir_or(b, IR_I32, old, x);
    else if (what == CLEAR)
        x = ir_andn(b, IR_I32, old, x);
    if (writes && f->csr == FFLAGS)
        write_fflags(l, x);
    put_reg(l, f->rd, old);
    if (writes && f->csr != FFLAGS)
        write_fp(l, f->csr, x);
    return true;
}

bool rv_lift_system(struct lift *l, const struct rv_system *f)
{
    bool call = f->id == RV_ECALL;
    ir_raise(l->b, call ? ISA_RAISE_SYSCALL : ISA_RAISE_BREAK, ir_const(l->b, IR_I64, 0),
             call ? l->next : l->pc);
    l->ended = true;
    return true;
}

/* Waiting for a store to the reserved bytes may end at any time (Zawrs): it ends at once. */
bool rv_lift_wait(struct lift *l, const struct rv_wait *f)
{
    return true;
}

/* What comes before and after: input and output count as reads and writes. fence.tso does not order a store
 * before a later load (vol. I, 2.7). */
bool rv_lift_fence(struct lift *l, const struct rv_fence *f)
{
    enum { WRITES = 5, READS = 10, TSO = 8 };
    bool after_write = f->pred & WRITES;
    if (after_write && f->succ & READS && f->fm != TSO) {
        ir_fence(l->b, IR_FENCE_FULL);
        return true;
    }
    if (f->pred & READS && f->succ)
        ir_fence(l->b, IR_FENCE_LOAD);
    if (after_write && f->succ & WRITES)
        ir_fence(l->b, IR_FENCE_STORE);
    return true;
}

bool rv_lift_fence_i(struct lift *l, const struct rv_fence_i *f)
{
    ir_raise(l->b, ISA_RAISE_CACHE_ALL, 0, l->next);
    l->ended = true;
    return true;
}

/* Linux lets programs clean and flush (senvcfg.CBCFE), but not invalidate, which loses what others wrote. */
bool rv_lift_cbo_inval(struct lift *l, const struct rv_cbo *f)
{
    return false;
}

/* Caches are coherent; what is left is the fault. */
bool rv_lift_cbo(struct lift *l, const struct rv_cbo *f)
{
    ir_ld(l->b, IR_I32, 0, reg(l, f->rs1), 0, 0);
    return true;
}

bool rv_lift_cbo_zero(struct lift *l, const struct rv_cbo *f)
{
    lift_clear(l, reg(l, f->rs1), RV_CACHE_BLOCK);
    return true;
}
