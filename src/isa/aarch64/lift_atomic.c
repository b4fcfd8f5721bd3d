/* Exclusives, compare-and-swap, read-modify-write. All of them must be aligned to their size, or with
 * FEAT_LSE2 stay within 16 bytes. */
#include "isa/aarch64/lift.h"

/* Crossing implies unaligned, so the address stands for itself where it must fault, and zero elsewhere. */
void a64_check_aligned(struct lift *l, irv addr, unsigned size)
{
    struct ir_builder *b = l->b;
    s64 bytes = 1 << size;
    if (!size)
        return;
    if (size < 4 && has_feature(l, A64_FEAT_LSE2)) {
        irv last = ir_addi(b, IR_I64, ir_and(b, IR_I64, addr, ir_const(b, IR_I64, 15)), bytes - 1);
        irv crosses = ir_icmp(b, IR_TNZ, 64, last, ir_const(b, IR_I64, 16));
        addr = ir_select(b, IR_I64, crosses, addr, ir_const(b, IR_I64, 0));
    }
    ir_chkalign(b, addr, (unsigned)bytes);
}

static irv aligned(struct lift *l, unsigned rn, unsigned size)
{
    irv addr = a64_base(l, rn);
    a64_check_aligned(l, addr, size);
    return addr;
}

irv a64_join(struct lift *l, unsigned size, unsigned first, unsigned second)
{
    irv lo = reg(l, first), hi = reg(l, second);
    return lift_join(l, size, lo, hi);
}

void a64_put_halves(struct lift *l, unsigned size, unsigned first, unsigned second, irv v)
{
    irv lo, hi;
    lift_halves(l, size, v, &lo, &hi);
    put_reg(l, first, lo);
    put_reg(l, second, hi);
}

/* The type of an access of 1 << size bytes. */
static unsigned access_type(unsigned size)
{
    return size == 4 ? IR_V128 : size == 3 ? IR_I64 : IR_I32;
}

/* o0: acquire. */
bool a64_lift_load_excl(struct lift *l, const struct a64_exclusive *f)
{
    unsigned size = f->size + f->pair;
    unsigned order = f->o0 ? IR_MEM_ACQ | IR_MEM_SC : 0;
    irv v = ir_ll(l->b, access_type(size), size | order, aligned(l, f->rn, size));
    if (f->pair)
        a64_put_halves(l, f->size, f->rt, f->rt2, v);
    else
        put_reg(l, f->rt, v);
    return true;
}

/* o0: release. Ws becomes 0 if the store was made, else 1. A tag is cleared at once: a store whose address
 * is not the load's fails without an access, so that nobody would find the tag. */
bool a64_lift_store_excl(struct lift *l, const struct a64_exclusive *f)
{
    unsigned size = f->size + f->pair;
    unsigned order = f->o0 ? IR_MEM_REL | IR_MEM_SC : 0;
    if (!for_machine(l))
        l->b->strip = (u8)l->isa->tag_bits;
    irv addr = aligned(l, f->rn, size);
    irv v = f->pair ? a64_join(l, f->size, f->rt, f->rt2) : reg(l, f->rt);
    put_reg(l, f->rs, ir_sc(l->b, size | order, addr, v));
    return true;
}

/* a acquires, r releases. */
static unsigned order(unsigned a, unsigned r)
{
    return (a ? IR_MEM_ACQ : 0) | (r ? IR_MEM_REL : 0);
}

bool a64_lift_cas(struct lift *l, const struct a64_cas *f)
{
    irv addr = aligned(l, f->rn, f->size);
    irv old = ir_cas(l->b, access_type(f->size), f->size | order(f->a, f->r), addr, reg(l, f->rs),
                     reg(l, f->rt));
    put_reg(l, f->rs, old);
    return true;
}

bool a64_lift_casp(struct lift *l, const struct a64_casp *f)
{
    unsigned half = 2u + f->sz, size = half + 1;
    irv addr = aligned(l, f->rn, size);
    irv expected = a64_join(l, half, f->rs, f->rs + 1u), desired = a64_join(l, half, f->rt, f->rt + 1u);
    irv old = ir_cas(l->b, access_type(size), size | order(f->a, f->r), addr, expected, desired);
    a64_put_halves(l, half, f->rs, f->rs + 1u, old);
    return true;
}

static bool rmw(struct lift *l, enum ir_rmw op, const struct a64_atomic *f)
{
    irv addr = aligned(l, f->rn, f->size);
    put_reg(l, f->rt, ir_rmw(l->b, gpr_type(f->size == 3), op, f->size, addr, reg(l, f->rs)));
    return true;
}

/* IR read-modify-writes are fully ordered. */
bool a64_lift_atomic(struct lift *l, const struct a64_atomic *f)
{
    static const u8 op[] = {IR_RMW_ADD,  IR_RMW_ANDN, IR_RMW_XOR,  IR_RMW_OR,
                            IR_RMW_SMAX, IR_RMW_SMIN, IR_RMW_UMAX, IR_RMW_UMIN};
    return rmw(l, (enum ir_rmw)op[f->op], f);
}

bool a64_lift_swp(struct lift *l, const struct a64_atomic *f)
{
    return rmw(l, IR_RMW_SWAP, f);
}
