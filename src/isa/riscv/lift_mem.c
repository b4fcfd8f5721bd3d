/* Loads, stores and atomic operations. */
#include "isa/riscv/lift.h"

struct rv_address rv_address(struct lift *l, unsigned rs1, s32 offset)
{
    irv base = reg(l, rs1);
    if (xlen(l) == 64)
        return (struct rv_address){base, offset};
    return (struct rv_address){ir_addi(l->b, IR_I32, base, offset), 0};
}

/* op: log2 of the size; bit 2: not sign-extended. */
bool rv_lift_load(struct lift *l, const struct rv_load *f)
{
    struct rv_address a = rv_address(l, f->rs1, f->imm);
    unsigned aux = (f->op & 3u) | (f->op & 4 ? 0 : IR_MEM_SIGNED);
    put_reg(l, f->rd, ir_ld(l->b, xtype(l), aux, a.base, 0, a.disp));
    return true;
}

bool rv_lift_store(struct lift *l, const struct rv_store *f)
{
    struct rv_address a = rv_address(l, f->rs1, f->imm);
    ir_st(l->b, f->op, a.base, 0, a.disp, reg(l, f->rs2));
    return true;
}

static irv aligned(struct lift *l, unsigned rs1, unsigned size)
{
    struct rv_address a = rv_address(l, rs1, 0);
    ir_chkalign(l->b, a.base, 1u << size);
    return a.base;
}

/* The type of an atomic access of 1 << size bytes. */
static unsigned access_type(unsigned size)
{
    return size == 4 ? IR_V128 : size == 3 ? IR_I64 : IR_I32;
}

static void put_loaded(struct lift *l, unsigned rd, unsigned size, irv v)
{
    if (size == 2)
        put_reg32(l, rd, v);
    else
        put_reg(l, rd, v);
}

/* Both bits: sequentially consistent (vol. I, 14.1). */
static unsigned order(unsigned aq, unsigned rl)
{
    return (aq ? IR_MEM_ACQ : 0) | (rl ? IR_MEM_REL : 0) | (aq && rl ? IR_MEM_SC : 0);
}

bool rv_lift_lr(struct lift *l, const struct rv_amo *f)
{
    irv addr = aligned(l, f->rs1, f->size);
    put_loaded(l, f->rd, f->size, ir_ll(l->b, access_type(f->size), f->size | order(f->aq, f->rl), addr));
    return true;
}

/* rd becomes 0 if the store was made, else 1. */
bool rv_lift_sc(struct lift *l, const struct rv_amo *f)
{
    irv addr = aligned(l, f->rs1, f->size), v = reg(l, f->rs2);
    put_reg(l, f->rd, ir_sc(l->b, f->size | order(f->aq, f->rl), addr, v));
    return true;
}

/* A register, or from a pair the second; x0 as a pair is zero (Zacas 2.1). */
static irv second_of(struct lift *l, unsigned n)
{
    return reg(l, n ? n + 1 : 0);
}

/* Compare with rd, swap in rs2. Twice XLEN takes pairs of registers. */
bool rv_lift_amocas(struct lift *l, const struct rv_amo *f)
{
    unsigned half = xlen(l) == 32 ? 2 : 3, size = f->size;
    irv addr = aligned(l, f->rs1, size), expected = reg(l, f->rd), desired = reg(l, f->rs2);
    if (size > half) {
        irv high = second_of(l, f->rd);
        expected = lift_join(l, half, expected, high);
        high = second_of(l, f->rs2);
        desired = lift_join(l, half, desired, high);
    }
    irv old = ir_cas(l->b, access_type(size), size | order(f->aq, f->rl), addr, expected, desired);
    if (size <= half) {
        put_loaded(l, f->rd, size, old);
    } else if (f->rd) {
        irv low, high;
        lift_halves(l, half, old, &low, &high);
        put_reg(l, f->rd, low);
        put_reg(l, f->rd + 1u, high);
    }
    return true;
}

/* IR read-modify-writes are fully ordered. They clear bits where amoand keeps those that are set. */
bool rv_lift_amo(struct lift *l, const struct rv_amo *f)
{
    static const u8 op[32] = {[0] = IR_RMW_ADD,   [1] = IR_RMW_SWAP,  [4] = IR_RMW_XOR,
                              [8] = IR_RMW_OR,    [12] = IR_RMW_ANDN, [16] = IR_RMW_SMIN,
                              [20] = IR_RMW_SMAX, [24] = IR_RMW_UMIN, [28] = IR_RMW_UMAX};
    unsigned type = access_type(f->size);
    irv addr = aligned(l, f->rs1, f->size), v = reg(l, f->rs2);
    if (op[f->f5] == IR_RMW_ANDN)
        v = ir_not(l->b, type, v);
    irv old = ir_rmw(l->b, type, (enum ir_rmw)op[f->f5], f->size, addr, v);
    put_loaded(l, f->rd, f->size, old);
    return true;
}
