/* Loads and stores of structures: LD1..LD4, ST1..ST4. */
#include "isa/aarch64/lift.h"

static unsigned next_reg(unsigned rt, unsigned i)
{
    return (rt + i) % 32;
}

/* After the accesses: rn moves by their size, or by rm. */
static void post_index(struct lift *l, unsigned p, unsigned rn, unsigned rm, unsigned bytes)
{
    irv by = rm == 31 ? ir_const(l->b, IR_I64, bytes) : reg(l, rm);
    if (p)
        put_reg_sp(l, rn, ir_add(l->b, IR_I64, reg_sp(l, rn), by));
}

static irv zip(struct lift *l, unsigned op, unsigned type, unsigned size, irv x, irv y)
{
    return ir_v2(l->b, op, type, size, x, y);
}

/* Three-way (de)interleaving. Byte i of output `out` comes from byte `byte` of input `from`;
 * vectors have `len` bytes, elements 1 << size. */
struct place {
    unsigned from, byte;
};

static struct place place3(bool load, unsigned len, unsigned size, unsigned out, unsigned i)
{
    unsigned low = i & ((1u << size) - 1);
    if (load) { /* register `out`, element i: where in memory? */
        unsigned at = ((i >> size) * 3 + out) << size | low;
        return (struct place){at / len, at % len};
    }
    unsigned element = (out * len + i) >> size;
    return (struct place){element % 3, (element / 3) << size | low};
}

/* One table look-up for each input; what is not there gives zero. */
static irv shuffle3(struct lift *l, bool load, unsigned len, unsigned size, unsigned out,
                    const irv v[3])
{
    irv r = 0;
    for (unsigned from = 0; from < 3; from++) {
        v128 index;
        for (unsigned i = 0; i < 16; i++) {
            struct place p = place3(load, len, size, out, i % len);
            index.b[i] = p.from == from && i < len ? (u8)p.byte : 0xff;
        }
        irv table = ir_v2(l->b, IR_VPAIR, IR_V128, 0, ir_const(l->b, IR_I64, index.d[0]),
                          ir_const(l->b, IR_I64, index.d[1]));
        irv part = ir_v2(l->b, IR_VTBL, IR_V128, 0, v[from], table);
        r = r ? ir_v2(l->b, IR_VOR, IR_V128, 0, r, part) : part;
    }
    return r;
}

/* From memory order to one register for each member of the structures. */
static void deinterleave(struct lift *l, unsigned n, unsigned q, unsigned size, irv v[4])
{
    unsigned t = vec_type(q);
    irv r[4];
    if (n == 2) {
        r[0] = zip(l, IR_VUZP1, t, size, v[0], v[1]);
        r[1] = zip(l, IR_VUZP2, t, size, v[0], v[1]);
    } else if (n == 3) {
        for (unsigned i = 0; i < 3; i++)
            r[i] = shuffle3(l, true, 8u << q, size, i, v);
    } else {
        irv even0 = zip(l, IR_VUZP1, t, size, v[0], v[1]);
        irv even1 = zip(l, IR_VUZP1, t, size, v[2], v[3]);
        irv odd0 = zip(l, IR_VUZP2, t, size, v[0], v[1]);
        irv odd1 = zip(l, IR_VUZP2, t, size, v[2], v[3]);
        r[0] = zip(l, IR_VUZP1, t, size, even0, even1);
        r[1] = zip(l, IR_VUZP1, t, size, odd0, odd1);
        r[2] = zip(l, IR_VUZP2, t, size, even0, even1);
        r[3] = zip(l, IR_VUZP2, t, size, odd0, odd1);
    }
    for (unsigned i = 0; i < n; i++)
        v[i] = r[i];
}

static void interleave(struct lift *l, unsigned n, unsigned q, unsigned size, irv v[4])
{
    unsigned t = vec_type(q);
    irv r[4];
    if (n == 2) {
        r[0] = zip(l, IR_VZIP1, t, size, v[0], v[1]);
        r[1] = zip(l, IR_VZIP2, t, size, v[0], v[1]);
    } else if (n == 3) {
        for (unsigned i = 0; i < 3; i++)
            r[i] = shuffle3(l, false, 8u << q, size, i, v);
    } else {
        irv even0 = zip(l, IR_VZIP1, t, size, v[0], v[2]);
        irv even1 = zip(l, IR_VZIP2, t, size, v[0], v[2]);
        irv odd0 = zip(l, IR_VZIP1, t, size, v[1], v[3]);
        irv odd1 = zip(l, IR_VZIP2, t, size, v[1], v[3]);
        r[0] = zip(l, IR_VZIP1, t, size, even0, odd0);
        r[1] = zip(l, IR_VZIP2, t, size, even0, odd0);
        r[2] = zip(l, IR_VZIP1, t, size, even1, odd1);
        r[3] = zip(l, IR_VZIP2, t, size, even1, odd1);
    }
    for (unsigned i = 0; i < n; i++)
        v[i] = r[i];
}

/* op: how many registers, and whether structures are split over them or registers follow one
 * another (LD1, ST1). */
bool a64_lift_simd_ldst_multi(struct lift *l, const struct a64_simd_ldst_multi *f)
{
    static const u8 regs[16] = {[0] = 4, [2] = 4, [4] = 3, [6] = 3, [7] = 1, [8] = 2, [10] = 2};
    unsigned n = regs[f->op], bytes = 8u << f->q, access = 3u + f->q;
    bool split = !(f->op & 2);
    irv base = a64_base(l, f->rn), v[4];
    for (unsigned i = 0; i < n; i++)
        v[i] = f->l ? ir_ld(l->b, vec_type(f->q), access, base, 0, (s32)(i * bytes))
                    : vreg(l, next_reg(f->rt, i));
    if (split && f->l)
        deinterleave(l, n, f->q, f->size, v);
    else if (split)
        interleave(l, n, f->q, f->size, v);
    for (unsigned i = 0; i < n; i++) {
        if (f->l)
            put_vreg(l, next_reg(f->rt, i), f->q ? v[i] : ir_zx(l->b, IR_V64, v[i]));
        else
            ir_st(l->b, access, base, 0, (s32)(i * bytes), v[i]);
    }
    post_index(l, f->p, f->rn, f->rm, n * bytes);
    return true;
}

/* One lane of each register. op: 0 bytes, 1 halfwords, 2 words or doublewords; hl: the lane, then
 * bits that belong to the size. */
bool a64_lift_simd_ldst_one(struct lift *l, const struct a64_simd_ldst_one *f)
{
    unsigned size = f->op == 2 && f->hl & 1 ? 3 : f->op, lane = size | (f->hl >> size) << 4;
    unsigned type = gpr_type(size == 3), n = f->count + 1u;
    irv base = a64_base(l, f->rn), v[4];
    for (unsigned i = 0; i < n; i++) {
        irv old = vreg(l, next_reg(f->rt, i));
        s32 disp = (s32)(i << size);
        if (f->l)
            v[i] = ir_v2(l->b, IR_VINS, IR_V128, lane, old, ir_ld(l->b, type, size, base, 0, disp));
        else
            ir_st(l->b, size, base, 0, disp, ir_v1(l->b, IR_VGET, type, lane, old));
    }
    for (unsigned i = 0; f->l && i < n; i++)
        put_vreg(l, next_reg(f->rt, i), v[i]);
    post_index(l, f->p, f->rn, f->rm, n << size);
    return true;
}

/* One element to all lanes of each register. */
bool a64_lift_simd_ld_rep(struct lift *l, const struct a64_simd_ldst_one *f)
{
    unsigned size = f->hl & 3, q = f->hl >> 3, n = f->count + 1u;
    irv base = a64_base(l, f->rn), v[4];
    for (unsigned i = 0; i < n; i++) {
        irv x = ir_ld(l->b, gpr_type(size == 3), size, base, 0, (s32)(i << size));
        v[i] = ir_v1(l->b, IR_VSPLAT, vec_type(q), size, x);
    }
    for (unsigned i = 0; i < n; i++)
        put_vreg(l, next_reg(f->rt, i), v[i]);
    post_index(l, f->p, f->rn, f->rm, n << size);
    return true;
}
