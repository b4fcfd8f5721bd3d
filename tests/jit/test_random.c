/* Random regions: what the interpreter computes, host code computes, at every level of the host and
 * with 0 and all pins. The second half of the tests lets one access of each region fault, and compares
 * the state that comes out of the exit map. LYRE_TEST_SEED repeats a run, LYRE_TEST_COUNT lengthens
 * it. */
#include "check.h"
#include "machine.h"

/* Which access of the region is to fault: the one number `at`, through a register that leads to a
 * page which is protected. 0: none. */
static struct {
    unsigned at, count;
    bool cross; /* a load or store that starts on the page before */
} fault;

#define FAULT_BASE 18
#define COUNTER    11 /* bounds the loops of by_state regions */
#define FAULT_PAGE 2

static u64 rng_state;

static u64 rnd(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state * 0x2545f4914f6cdd1dull;
}

static unsigned below(unsigned n)
{
    return (unsigned)(rnd() >> 32) % n;
}

static u64 edge64(void)
{
    static const u64 edges[] = {0, 1, 2, 31, 32, 63, 64, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fffffff,
                                0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000,
                                ~0ull};
    return below(3) ? rnd() : edges[below(ARRAY_LEN(edges))];
}

static u64 fp_bits(bool dbl)
{
    static const u64 d[] = {0, 1ull << 63, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000,
                            0xfff0000000000000, 0x7ff8000000000000, 0x7ff8000000000123,
                            0xfff8000000000456, 0x7ff0000000000001, 0x0000000000000001,
                            0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff,
                            0x41e0000000000000, 0x43e0000000000000, 0xc3e0000000000000,
                            0x3fe0000000000000, 0x4330000000000001};
    static const u32 s[] = {0, 0x80000000, 0x3f800000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7fc00123,
                            0x7f800001, 1, 0x007fffff, 0x00800000, 0x7f7fffff, 0x4f000000, 0x5f000000,
                            0xcf000000, 0x3f000000};
    if (!below(3))
        return dbl ? d[below(ARRAY_LEN(d))] : s[below(ARRAY_LEN(s))];
    if (!dbl) /* numbers near one, so that sums do not just absorb */
        return (u32)(rnd() & 0x807fffff) | (u32)(120 + below(16)) << 23;
    return (rnd() & 0x800fffffffffffff) | (u64)(1015 + below(16)) << 52;
}

static v128 random_vector(void)
{
    v128 v;
    switch (below(3)) {
    case 0:
        v.d[0] = fp_bits(true);
        v.d[1] = fp_bits(true);
        break;
    case 1:
        for (unsigned i = 0; i < 4; i++)
            v.s[i] = (u32)fp_bits(false);
        break;
    default:
        v.d[0] = edge64();
        v.d[1] = edge64();
        break;
    }
    return v;
}

static void random_state(struct machine *m, struct m_state *s)
{
    memset(s, 0, sizeof(*s));
    for (unsigned i = 0; i < 32; i++)
        s->x[i] = edge64();
    for (unsigned i = 0; i < 16; i++)
        s->v[i] = random_vector();
    s->x[19] = s->x[10] = (u64)m->memory + 1024 + (below(64) * 16); /* addresses */
    s->x[FAULT_BASE] = (u64)m->memory + FAULT_PAGE * M_PAGE;
    s->fl.kind = below(7);
    s->fl.a = s->fl.kind ? edge64() : below(16);
    s->fl.b = edge64();
    s->fp.nan_rule = FP_NAN_ARM;
    s->fp.inf_zero_invalid = true;
    s->fp.round = (u8)below(4);
}

/* Values made so far, by kind. */
struct pool {
    irv ints[400], vecs[400], fls[60], bools[60], scalars[2][60];
    unsigned nints, nvecs, nfls, nbools, nscalars[2]; /* scalars: f32, f64 */
};

/* Half of the time one of the last: code in which nothing depends on anything tests little. */
static irv pick(const irv *v, unsigned n)
{
    return v[below(2) ? n - 1 - below(MIN(n, 4u)) : below(n)];
}

static irv any_int(struct machine *m, struct pool *p)
{
    if (!below(5))
        return ir_const(&m->b, IR_I64, below(2) ? below(100) : edge64());
    return pick(p->ints, p->nints);
}

static void add_int(struct pool *p, irv v)
{
    if (p->nints < ARRAY_LEN(p->ints))
        p->ints[p->nints++] = v;
}

/* An operation on vectors may not see what lies above a narrower value. */
static void add_vec(struct machine *m, struct pool *p, irv v)
{
    unsigned type = ir_value_type(&m->ir, v);
    if (type == IR_F32 || type == IR_F64) {
        unsigned k = type == IR_F64;
        if (p->nscalars[k] < ARRAY_LEN(p->scalars[k]))
            p->scalars[k][p->nscalars[k]++] = v;
    }
    if (type != IR_V128)
        v = ir_zx(&m->b, type, v);
    if (p->nvecs < ARRAY_LEN(p->vecs))
        p->vecs[p->nvecs++] = v;
}

static irv int_op(struct machine *m, struct pool *p)
{
    static const u8 two[] = {IR_ADD, IR_SUB, IR_MUL, IR_MULHU, IR_MULHS, IR_DIVU, IR_DIVS, IR_AND,
                             IR_OR,  IR_XOR, IR_ANDN, IR_SHL,  IR_SHR,  IR_SAR,  IR_ROR,
                             IR_REMU, IR_REMS};
    static const u8 one[] = {IR_NOT, IR_NEG, IR_BSWAP, IR_CLZ, IR_CTZ, IR_BITREV, IR_POPCNT};
    struct ir_builder *b = &m->b;
    unsigned t = below(2) ? IR_I64 : IR_I32, width = t == IR_I64 ? 64 : 32;
    unsigned lsb = below(width), len = 1 + below(width - lsb);
    irv x = any_int(m, p), y = any_int(m, p);
    switch (below(9)) {
    case 0:
        return ir_emit(b, one[below(ARRAY_LEN(one))], t, 0, x, 0, 0, 0);
    case 1:
        return ir_emit(b, IR_SEXT, t, 8u << below(3), x, 0, 0, 0);
    case 2:
        return ir_emit(b, below(2) ? IR_UBFX : IR_SBFX, t, lsb | len << 8, x, 0, 0, 0);
    case 3:
        return ir_bfi(b, t, x, y, lsb, len);
    case 4:
        return ir_extr(b, t, x, y, lsb);
    case 5:
        return ir_select(b, t, pick(p->bools, p->nbools), x, y);
    case 6:
        if (!below(3)) /* what division by zero gives */
            return ir_emit(b, below(2) ? IR_DIVU : IR_DIVS, t, below(2), x, y, 0, 0);
        return below(3) ? ir_adc(b, t, x, y, pick(p->bools, p->nbools))
                        : ir_emit(b, IR_CRC32, IR_I32, below(4) | below(2) << 4, x, y, 0, 0);
    default:
        return ir_emit(b, two[below(ARRAY_LEN(two))], t, 0, x, y, 0, 0);
    }
}

static void flag_op(struct machine *m, struct pool *p)
{
    struct ir_builder *b = &m->b;
    unsigned width = below(2) ? 64 : 32;
    irv x = any_int(m, p), y = any_int(m, p), fl, i1;
    switch (below(6)) {
    case 0:
        fl = ir_fl(b, IR_FL_ADD, width, x, y, 0);
        break;
    case 1:
        fl = ir_fl(b, IR_FL_LOGIC, width, x, 0, 0);
        break;
    case 2:
        fl = ir_fl(b, IR_FL_ADC, width, x, y, pick(p->bools, p->nbools));
        break;
    case 3:
        fl = ir_fl_select(b, pick(p->bools, p->nbools), pick(p->fls, p->nfls),
                          pick(p->fls, p->nfls));
        break;
    case 4:
        fl = ir_fl_fcmp(b, below(2) ? IR_F64 : IR_F32, below(2), pick(p->vecs, p->nvecs),
                        pick(p->vecs, p->nvecs));
        break;
    default:
        fl = ir_fl(b, IR_FL_SUB, width, x, y, 0);
        break;
    }
    if (p->nfls < ARRAY_LEN(p->fls))
        p->fls[p->nfls++] = fl;
    switch (below(3)) {
    case 0:
        i1 = ir_icmp(b, (enum ir_icond)below(12), width, x, y);
        break;
    case 1:
        i1 = ir_emit(b, IR_FCMP, IR_I1,
                     (below(2) ? IR_F64 : IR_F32) | (below(5) | (below(2) ? 8 : 0)) << 4,
                     pick(p->vecs, p->nvecs), pick(p->vecs, p->nvecs), 0, 0);
        if ((b->r->node[i1].aux >> 4 & 15) == 8)
            b->r->node[i1].aux &= 15;
        break;
    default:
        i1 = ir_cc(b, (enum ir_cc)below(14), pick(p->fls, p->nfls));
        break;
    }
    if (p->nbools < ARRAY_LEN(p->bools))
        p->bools[p->nbools++] = i1;
}

/* NaN boxing: of what is a box, or of anything; an arithmetic result made canonical. */
static irv box_op(struct machine *m, struct pool *p)
{
    struct ir_builder *b = &m->b;
    unsigned lane = IR_F16 + below(2);
    irv x = pick(p->vecs, p->nvecs), y = pick(p->vecs, p->nvecs);
    switch (below(3)) {
    case 0:
        return ir_f1(b, IR_FUNBOX, lane, lane, below(2) ? ir_f1(b, IR_FBOX, IR_F64, lane, x) : x);
    case 1:
        return ir_f1(b, IR_FBOX, IR_F64, lane, x);
    default:
        lane = below(2) ? IR_F64 : IR_F32;
        x = ir_f2(b, IR_FADD, lane, lane | below(6) << IR_AUX_ROUND_SHIFT, x, y);
        return ir_f1(b, IR_FCANON, lane, lane, x);
    }
}

static irv fp_op(struct machine *m, struct pool *p)
{
    static const u8 two[] = {IR_FADD, IR_FSUB, IR_FMUL, IR_FDIV, IR_FMIN, IR_FMAX, IR_FMINNM,
                             IR_FMAXNM};
    struct ir_builder *b = &m->b;
    unsigned lane = below(2) ? IR_F64 : IR_F32;
    unsigned type = below(2) ? lane : below(2) ? IR_V128 : IR_V64;
    irv x = pick(p->vecs, p->nvecs), y = pick(p->vecs, p->nvecs), z = pick(p->vecs, p->nvecs);
    unsigned k = lane == IR_F64;
    if (type == lane && p->nscalars[k]) {
        irv *arg[] = {&x, &y, &z};
        for (unsigned i = 0; i < 3; i++)
            *arg[i] = below(2) ? *arg[i] : pick(p->scalars[k], p->nscalars[k]);
    }
    switch (below(9)) {
    case 8:
        return box_op(m, p);
    case 0:
        return ir_f1(b, IR_FSQRT, type, lane, x);
    case 1:
        return ir_fma(b, type, lane | below(4) << 8, x, y, z);
    case 2:
        return ir_f1(b, below(2) ? IR_FNEG : IR_FABS, type, lane, x);
    case 3:
        if (type == lane)
            return ir_f1(b, IR_F2F, lane, lane == IR_F64 ? IR_F32 : IR_F64,
                         pick(p->vecs, p->nvecs));
        return ir_f2(b, IR_FCMPV, type, lane | (below(2) ? below(5) : 9 + below(4)) << 4, x, y);
    case 4:
        return ir_f1(b, IR_FROUND, type,
                     lane | (below(2) ? below(5) : (unsigned)IR_ROUND_ENV) << 4 | below(2) << 8, x);
    default:
        return ir_f2(b, two[below(ARRAY_LEN(two))], type, lane, x, y);
    }
}

static void convert_op(struct machine *m, struct pool *p)
{
    struct ir_builder *b = &m->b;
    unsigned ft = below(2) ? IR_F64 : IR_F32, it = below(2) ? IR_I64 : IR_I32;
    unsigned sign = below(2) << 7;
    switch (below(6)) {
    case 5:
        add_int(p, ir_emit(b, IR_F2IM, IR_I32, IR_F64, pick(p->vecs, p->nvecs), 0, 0, 0));
        break;
    case 0:
        add_int(p, ir_emit(b, IR_F2I, it,
                           ft | (below(2) ? 3u : below(5)) << 4 | sign,
                           pick(p->vecs, p->nvecs), 0, 0, below(4) ? 0 : below(32)));
        break;
    case 1:
        add_vec(m, p, ir_emit(b, IR_I2F, ft, it | IR_ROUND_ENV << 4 | sign, any_int(m, p), 0, 0,
                           below(4) ? 0 : below(32)));
        break;
    case 2:
        add_vec(m, p, ir_fmov(b, ft, any_int(m, p)));
        break;
    case 3: {
        bool to = below(2);
        unsigned round = to ? (unsigned)FP_ROUND_ZERO : IR_ROUND_ENV;
        add_vec(m, p, ir_emit(b, to ? IR_F2IV : IR_I2FV, below(2) ? IR_V128 : IR_V64,
                              ft | round << 4 | sign, pick(p->vecs, p->nvecs), 0, 0, below(4) ? 0 : below(32)));
        break;
    }
    default:
        add_int(p, ir_fbits(b, it, pick(p->vecs, p->nvecs)));
        break;
    }
}

static irv vec_op(struct machine *m, struct pool *p)
{
    struct ir_builder *b = &m->b;
    unsigned op = IR_VADD + below(IR_VAES - IR_VADD + 1), lane = below(4);
    unsigned type = below(2) ? IR_V128 : IR_V64, size = type == IR_V128 ? 16 : 8;
    irv x = pick(p->vecs, p->nvecs), y = pick(p->vecs, p->nvecs), z = pick(p->vecs, p->nvecs);
    unsigned index = below(16u >> lane), low_index = below(size >> lane);
    switch (op) {
    case IR_VAND:
    case IR_VOR:
    case IR_VXOR:
    case IR_VANDN:
        return ir_v2(b, op, type, 0, x, y);
    case IR_VNOT:
    case IR_VCNT:
        return ir_v1(b, op, type, 0, x);
    case IR_VBSL: /* and others that a host may do at once */
        if (below(2))
            z = ir_v2(b, IR_VAND + below(4), type, 0, y, below(2) ? z : pick(p->vecs, p->nvecs));
        if (below(2))
            return ir_v2(b, IR_VAND + below(4), type, 0, below(2) ? ir_v1(b, IR_VNOT, type, 0, x) : x, z);
        return ir_vbsl(b, type, x, y, z);
    case IR_VSHL:
        if (below(2)) { /* a rotation, at times */
            unsigned bits = 8u << lane, by = 1 + below(bits - 1);
            irv high = ir_v1(b, IR_VSHL, type, lane | by << 4, x);
            irv low = ir_v1(b, IR_VSHR, type, lane | (bits - by - !below(4)) << 4, below(4) ? x : y);
            return below(2) ? ir_v2(b, IR_VOR, type, 0, high, low) : ir_v2(b, IR_VOR, type, 0, low, high);
        }
        /* fall through */
    case IR_VSHR:
    case IR_VSAR:
        return ir_v1(b, op, type, lane | below((8u << lane) + 1) << 4, x);
    case IR_VMULL:
        return ir_v2(b, op, IR_V128, below(3) | below(2) << 4 | below(2) << 5, x, y);
    case IR_VEXTEND:
        return ir_v1(b, op, IR_V128, below(3) | below(2) << 4 | below(2) << 5, x);
    case IR_VNARROW:
        return ir_v1(b, op, IR_V64, 1 + below(3), x);
    case IR_VSPLAT:
        return ir_v1(b, op, type, lane, any_int(m, p));
    case IR_VDUP:
        return ir_v1(b, op, type, lane | index << 4, x);
    case IR_VINS:
        return ir_v2(b, op, IR_V128, lane | index << 4, x, any_int(m, p));
    case IR_VINSV:
        return ir_v2(b, op, IR_V128, lane | index << 4 | below(16u >> lane) << 8, x, y);
    case IR_VGET: {
        irv v = ir_emit(b, op, below(2) ? IR_I64 : IR_I32, lane | index << 4 | below(2) << 8, x, 0,
                        0, 0);
        add_int(p, v);
        return ir_v1(b, IR_VNOT, type, 0, y);
    }
    case IR_VREV:
        lane = below(3);
        return ir_v1(b, op, type, lane | (lane + 1 + below(3 - lane)) << 4, x);
    case IR_VEXT:
        return ir_v2(b, op, type, below(size), x, y);
    case IR_VTBL:
        return ir_v2(b, op, IR_V128, 0, x, y);
    case IR_VPAIR:
        return ir_v2(b, op, IR_V128, 0, any_int(m, p), any_int(m, p));
    case IR_VPMULL:
        return ir_v2(b, op, IR_V128, 3 | below(2) << 4, x, y);
    case IR_VDOT:
        return ir_v2(b, op, type, below(4), x, y);
    case IR_VSHA:
        return ir_emit(b, op, IR_V128, below(IR_SHA256_SCHEDULE2 + 1), x, y, z, 0);
    case IR_VAES:
        return ir_v2(b, op, IR_V128, below(IR_AES_INV_SUB_MIX + 1), x, y);
    case IR_VQADDS:
    case IR_VQADDU:
    case IR_VQSUBS:
    case IR_VQSUBU:
    case IR_VAVGU:
        return ir_v2(b, op, type, below(2), x, y);
    case IR_VNEG:
    case IR_VABS:
        return ir_v1(b, op, type, lane, x);
    default: /* two operands by lane; low_index keeps the generator's draws the same */
        if (type == IR_V64 && lane == 3)
            lane = low_index;
        return ir_v2(b, op, type, lane, x, y);
    }
}

/* A plain access whose last bytes lie on the protected page. */
static void crossing_op(struct machine *m, struct pool *p)
{
    struct ir_builder *b = &m->b;
    unsigned size = 1 + below(4), vector = size == 4;
    s32 disp = -(s32)(1 + below((1u << size) - 1));
    irv base = ir_get(b, M_X0 + FAULT_BASE);
    if (below(2) && vector)
        add_vec(m, p, ir_ld(b, IR_V128, size, base, 0, disp));
    else if (below(2) && !vector)
        add_int(p, ir_ld(b, IR_I64, size, base, 0, disp));
    else
        ir_st(b, size, base, 0, disp, vector ? pick(p->vecs, p->nvecs) : any_int(m, p));
}

static void memory_op(struct machine *m, struct pool *p)
{
    struct ir_builder *b = &m->b;
    irv base = ir_get(b, below(2) ? M_X0 + 19 : M_X0 + 10);
    unsigned size = below(5);
    s32 disp = (s32)below(64) * 16 - 512;
    irv index = 0;
    bool faults = ++fault.count == fault.at;
    if (faults && fault.cross) {
        crossing_op(m, p);
        return;
    }
    if (faults && !below(8)) { /* not an access, but it leaves as well */
        ir_chkalign(b, ir_addi(b, IR_I64, base, 1 + below(7)), 16);
        return;
    }
    if (faults) {
        base = ir_get(b, M_X0 + FAULT_BASE);
        disp = (s32)below(32) * 16;
    }
    if (!below(3)) {
        index = ir_and(b, IR_I64, any_int(m, p), ir_const(b, IR_I64, 0x30));
        disp &= ~15;
    }
    unsigned scale = index ? below(4) << IR_MEM_SCALE_SHIFT : 0;
    if (index && below(2))
        scale |= below(2) ? IR_MEM_SEXT32 : IR_MEM_ZEXT32;
    static const u8 vec_type[] = {0, 0, IR_F32, IR_F64, IR_V128};
    unsigned order = below(3) ? 0 : IR_MEM_ACQ;
    switch (below(6)) {
    case 0:
    case 1:
        if (size >= 2 && below(2))
            add_vec(m, p, ir_ld(b, vec_type[size], size | scale | order, base, index, disp));
        else
            add_int(p, ir_ld(b, size >= 3 || below(2) ? IR_I64 : IR_I32,
                             MIN(size, 3u) | scale | order | (below(2) ? IR_MEM_SIGNED : 0), base,
                             index, disp));
        break;
    case 2:
    case 3:
        if (size >= 2 && below(2))
            ir_st(b, size | scale, base, index, disp, pick(p->vecs, p->nvecs));
        else
            ir_st(b, MIN(size, 3u) | scale | (below(4) ? 0 : IR_MEM_SC), base, index, disp,
                  any_int(m, p));
        break;
    case 4:
        add_int(p, ir_rmw(b, size & 1 ? IR_I64 : IR_I32, (enum ir_rmw)below(9),
                          size & 1 ? 3 : below(3), base, any_int(m, p)));
        break;
    default:
        size = below(4);
        if (below(3)) {
            add_int(p, ir_cas(b, size == 3 ? IR_I64 : IR_I32, size, base, any_int(m, p),
                              any_int(m, p)));
        } else if (below(3)) {
            add_vec(m, p, ir_cas(b, IR_V128, 4, base, pick(p->vecs, p->nvecs),
                              pick(p->vecs, p->nvecs)));
        } else {
            add_int(p, ir_ll(b, size == 3 ? IR_I64 : IR_I32, size, base));
            add_int(p, ir_sc(b, size, base, any_int(m, p)));
        }
        break;
    }
}

/* Instructions whose accesses are near each other, over a border of pages or not, which share a look-up. */
static void neighbours(struct machine *m, struct pool *p)
{
    struct ir_builder *b = &m->b;
    irv base = ir_get(b, M_X0 + (below(2) ? FAULT_BASE : 19));
    s32 middle = (s32)below(128) - 64;
    for (unsigned n = 2 + below(5); n; n--) {
        unsigned size = below(5);
        s32 disp = middle + (s32)below(96) - 48;
        ir_insn(b, b->pc + 4);
        if (below(2) && size == 4)
            add_vec(m, p, ir_ld(b, IR_V128, size, base, 0, disp));
        else if (below(2))
            add_int(p, ir_ld(b, IR_I64, MIN(size, 3u), base, 0, disp));
        else
            ir_st(b, size, base, 0, disp, size == 4 ? pick(p->vecs, p->nvecs) : any_int(m, p));
    }
    ir_insn(b, b->pc + 4);
}

static void random_puts(struct machine *m, struct pool *p)
{
    unsigned s = below(32);
    if (s == 19 || s == 10 || s == FAULT_BASE || s == COUNTER)
        return;
    switch (below(4)) {
    case 0:
        ir_put(&m->b, M_X0 + s, any_int(m, p));
        break;
    case 1:
        ir_put(&m->b, M_V0 + s % 16, pick(p->vecs, p->nvecs));
        break;
    case 2:
        ir_put(&m->b, M_FL, pick(p->fls, p->nfls));
        break;
    default:
        ir_put(&m->b, M_X0 + s, ir_get(&m->b, M_X0 + below(32)));
        break;
    }
}

static void random_end(struct machine *m, struct pool *p)
{
    struct ir_builder *b = &m->b;
    switch (below(6)) {
    case 0:
        ir_exit(b, 0x5000);
        break;
    case 1:
    case 2:
        ir_exit_br(b, pick(p->bools, p->nbools), 0x5000, 0x6000);
        break;
    case 3:
        ir_exit_ind(b, any_int(m, p));
        break;
    case 4:
        ir_raise(b, 2, any_int(m, p), 0x7000);
        break;
    default:
        ir_call(b, 0x8000, 0x4444);
        break;
    }
}

static void side_exit(struct machine *m, struct pool *p)
{
    irv cond = pick(p->bools, p->nbools);
    if (!ir_is_const(&m->ir, cond)) /* that would end the block */
        ir_exit_if(&m->b, cond, below(2), 0x9000 + 8 * below(4));
}

static void one_op(struct machine *m, struct pool *p)
{
    switch (below(12)) {
    case 0:
    case 1:
    case 2:
        add_int(p, int_op(m, p));
        break;
    case 3:
        flag_op(m, p);
        break;
    case 4:
        add_vec(m, p, fp_op(m, p));
        break;
    case 5:
        convert_op(m, p);
        break;
    case 6:
    case 7:
        add_vec(m, p, vec_op(m, p));
        break;
    case 8:
        memory_op(m, p);
        break;
    case 9:
        if (!below(4))
            add_int(p, ir_helper(&m->b, below(2), IR_I64, any_int(m, p), any_int(m, p), 0));
        else if (below(2))
            side_exit(m, p);
        break;
    default:
        random_puts(m, p);
        break;
    }
}

/* All slots, and a condition. */
static void start_pool(struct machine *m, struct pool *p)
{
    for (unsigned i = 0; i < 32; i++)
        add_int(p, ir_get(&m->b, M_X0 + i));
    for (unsigned i = 0; i < 16; i++)
        add_vec(m, p, ir_get(&m->b, M_V0 + i));
    p->fls[p->nfls++] = ir_get(&m->b, M_FL);
    p->bools[p->nbools++] = ir_icmp(&m->b, IR_ULT, 64, p->ints[0], p->ints[1]);
}

static void random_ops(struct machine *m, struct pool *p, unsigned length, bool faults)
{
    for (unsigned i = 0; i < length; i++) {
        if (!below(3))
            ir_insn(&m->b, m->b.pc + 4);
        if (m->elsewhere && !below(8))
            neighbours(m, p);
        if (faults && !below(6))
            memory_op(m, p);
        else
            one_op(m, p);
    }
}

/* fault_at: see `fault`. */
static void random_region(struct machine *m, unsigned length, unsigned fault_at)
{
    struct pool p = {0};
    ir_region_start(&m->ir, &m_slots, 0x1000);
    ir_build_start(&m->b, &m->ir);
    ir_block_start(&m->b);
    start_pool(m, &p);
    fault.at = fault_at;
    fault.count = 0;
    fault.cross = fault_at && !below(6);
    random_ops(m, &p, length, fault_at);
    while (fault.count < fault.at) /* it has to come */
        memory_op(m, &p);
    random_end(m, &p);
}

/* ---- regions of several blocks ---- */

#define MAX_BLOCKS 7
#define MAX_PARAMS 6

/* What the blocks of the region take; the first parameter is a counter that bounds its loops. */
static struct {
    unsigned count; /* of blocks but the first */
    u8 nparams[MAX_BLOCKS + 1], type[MAX_BLOCKS + 1][MAX_PARAMS];
    struct pool outer; /* values of the first block, which dominate all */
} shape;

static void random_shape(void)
{
    static const u8 types[] = {IR_I64, IR_I64, IR_I64, IR_V128, IR_FL};
    memset(&shape, 0, sizeof(shape));
    shape.count = 2 + below(MAX_BLOCKS - 1);
    for (unsigned i = 1; i <= shape.count; i++) {
        shape.nparams[i] = (u8)(1 + below(MAX_PARAMS));
        for (unsigned k = 0; k < shape.nparams[i]; k++)
            shape.type[i][k] = k ? types[below(ARRAY_LEN(types))] : IR_I64;
    }
}

static u32 random_edge(struct machine *m, struct pool *p, unsigned to, irv counter)
{
    irv args[MAX_PARAMS] = {counter};
    for (unsigned k = 1; k < shape.nparams[to]; k++) {
        unsigned type = shape.type[to][k];
        args[k] = type == IR_V128 ? pick(p->vecs, p->nvecs)
                  : type == IR_FL ? pick(p->fls, p->nfls)
                                  : any_int(m, p);
    }
    return ir_edge(&m->b, to, args, shape.nparams[to]);
}

/* Starts a block; returns its counter. */
static irv start_block(struct machine *m, struct pool *p, unsigned i)
{
    irv counter = 0;
    ir_block_start(&m->b);
    irv params[MAX_PARAMS];
    for (unsigned k = 0; k < shape.nparams[i]; k++) {
        unsigned slot = below(3) ? 0 : shape.type[i][k] == IR_V128 ? M_V0 + below(16)
                                   : shape.type[i][k] == IR_FL     ? M_FL
                                                                   : below(9);
        params[k] = ir_param(&m->b, shape.type[i][k], slot ? slot + 1 : 0);
    }
    counter = params[0];
    start_pool(m, p);
    for (unsigned k = 0; k < shape.nparams[i]; k++) {
        for (unsigned again = 0; again < 4; again++) { /* make them likely */
            if (shape.type[i][k] == IR_I64)
                add_int(p, params[k]);
            else if (shape.type[i][k] == IR_V128)
                add_vec(m, p, params[k]);
            else
                p->fls[p->nfls++] = params[k];
        }
    }
    for (unsigned k = 0; k < 4 && k < shape.outer.nints; k++)
        add_int(p, shape.outer.ints[shape.outer.nints - 1 - k]);
    for (unsigned k = 0; k < 3 && k < shape.outer.nvecs; k++)
        add_vec(m, p, shape.outer.vecs[shape.outer.nvecs - 1 - k]);
    return counter;
}

static void middle_block(struct machine *m, unsigned i)
{
    struct ir_builder *b = &m->b;
    struct pool p = {0};
    irv counter = start_block(m, &p, i);
    random_ops(m, &p, below(10), fault.at);
    if (!below(3)) { /* forward to one of two places */
        unsigned ahead = shape.count - i;
        u32 yes = random_edge(m, &p, i + 1, counter); /* every block can be reached */
        u32 no = random_edge(m, &p, i + 1 + below(ahead), counter);
        ir_br(b, pick(p.bools, p.nbools), yes, no);
        return;
    }
    irv left = ir_sub(b, IR_I64, counter, ir_const(b, IR_I64, 1));
    irv more = ir_icmp(b, IR_SGT, 64, left, ir_const(b, IR_I64, 0));
    ir_poll(b);
    u32 back = random_edge(m, &p, 1 + below(shape.count - 1), left);
    u32 on = random_edge(m, &p, i + 1, left);
    ir_br(b, more, back, on);
}

static void random_blocks(struct machine *m, unsigned fault_at)
{
    struct pool p = {0};
    random_shape();
    ir_region_start(&m->ir, &m_slots, 0x1000);
    ir_build_start(&m->b, &m->ir);
    ir_block_start(&m->b);
    fault.at = fault_at;
    fault.count = 0;
    fault.cross = fault_at && !below(6);
    start_pool(m, &p);
    random_ops(m, &p, below(8), false);
    shape.outer = p;
    ir_jmp(&m->b, random_edge(m, &p, 1, ir_const(&m->b, IR_I64, 1 + below(6))));
    for (unsigned i = 1; i < shape.count; i++)
        middle_block(m, i);
    struct pool last = {0};
    start_block(m, &last, shape.count);
    random_ops(m, &last, below(8), fault_at);
    random_end(m, &last);
}

/* ---- regions whose blocks hand on state through slots ---- */

/* Two blocks at each address, in two copies. What is built next is block i, or leads to it. */
static u64 block_pc(struct ir_builder *b, unsigned i)
{
    b->copy = i & 1;
    return 0x1000 + 0x100 * (i >> 1);
}

/* A block that comes later, or the outside. */
static u64 forward_pc(struct ir_builder *b, unsigned i, unsigned count)
{
    return i + 1 < count && below(5) ? block_pc(b, i + 1 + below(count - i - 1)) : 0x9000 + 8 * below(4);
}

static void state_block(struct machine *m, unsigned i, unsigned count)
{
    struct ir_builder *b = &m->b;
    struct pool p = {0};
    b->pc = block_pc(b, i);
    ir_block_start(b);
    start_pool(m, &p);
    for (unsigned parts = 1 + below(3); parts; parts--) {
        random_ops(m, &p, below(8), fault.at);
        irv cond = pick(p.bools, p.nbools);
        if (!ir_is_const(&m->ir, cond)) {
            bool want = below(2);
            u64 pc = forward_pc(b, i, count);
            if (below(4))
                ir_exit_if(b, cond, want, pc);
            else
                ir_leave_if(b, cond, want, pc);
        }
    }
    if (i + 1 == count) {
        random_end(m, &p);
        return;
    }
    if (below(3)) {
        u64 pc = forward_pc(b, i, count);
        ir_exit(b, pc);
        return;
    }
    irv left = ir_addi(b, IR_I64, ir_get(b, M_X0 + COUNTER), -1);
    ir_put(b, M_X0 + COUNTER, left);
    irv more = ir_icmp(b, IR_SGT, 64, left, ir_const(b, IR_I64, 0));
    ir_poll(b);
    u64 on = forward_pc(b, i, count);
    ir_exit_if(b, more, false, on);
    u64 back = block_pc(b, below(i + 1));
    ir_exit(b, back);
}

static void random_state_blocks(struct machine *m, unsigned fault_at)
{
    unsigned count = 2 + below(7);
    ir_region_start(&m->ir, &m_slots, block_pc(&m->b, 0));
    m->ir.by_state = true;
    ir_build_start(&m->b, &m->ir);
    fault.at = fault_at;
    fault.count = 0;
    fault.cross = fault_at && !below(6);
    for (unsigned i = 0; i < count; i++)
        state_block(m, i, count);
}

static struct m_state saved_state;
static u8 saved_memory[M_MEMORY];
static struct m_result by_interp, by_jit;

static bool compare_once(struct machine *m, char *text, size_t size)
{
    random_state(m, &saved_state);
    if (m->ir.by_state)
        saved_state.x[COUNTER] = below(8);
    for (unsigned i = 0; i < M_MEMORY; i += 8)
        *(u64 *)(void *)(saved_memory + i) = edge64();
    const enum ir_neighbours share = below(4) ? IR_SHARE : IR_SHARE_OR_COPY;
    for (unsigned pass = 0; pass < 3; pass++) {
        m->ir.neighbours = pass == 2 ? IR_APART : share;
        *m_state(m) = saved_state;
        memcpy(m->memory, saved_memory, M_MEMORY);
        m->env->excl = (struct ir_exclusive){0};
        if (!pass)
            machine_interp(m, &by_interp);
        else if (!machine_jit(m, &by_jit))
            return false; /* more spills than there is room: the engine would take less code */
        else if (by_jit.exit != IR_EXIT_APART)
            break;
    }
    /* The host names the first byte that it cannot reach, which is the page's when an access crosses
     * into it. */
    u64 page = saved_state.x[FAULT_BASE];
    if (by_jit.exit == IR_EXIT_FAULT && by_jit.exit_addr == page && page - by_interp.exit_addr < 16)
        by_interp.exit_addr = page;
    return m_differ(&by_interp, &by_jit, text, size);
}

static unsigned number(const char *variable, unsigned otherwise)
{
    const char *s = getenv(variable);
    return s ? (unsigned)strtoul(s, NULL, 0) : otherwise;
}

/* Region i of a run; false when the two engines differ. */
static bool one_region(struct machine *m, u64 seed, unsigned length, bool faults, char *text,
                       size_t size)
{
    unsigned fault_at;
    struct err e;
    rng_state = seed * 0x9e3779b97f4a7c15ull + 1 + faults;
    fault_at = faults ? 1 + below(6) : 0;
    if (seed % 5 == 2)
        random_state_blocks(m, fault_at);
    else if (seed % 3)
        random_region(m, 1 + below(length), fault_at);
    else
        random_blocks(m, fault_at);
    m->access[FAULT_PAGE] = !faults ? M_WRITE : below(2) ? M_NOTHING : M_READ;
    if (!ir_verify(&m->ir, m_helpers, &e)) {
        snprintf(text, size, "broken IR: %s", e.text);
        return false;
    }
    return !compare_once(m, text, size);
}

static void run(const char *level, unsigned pins, bool faults, bool mmu)
{
    struct machine m;
    char text[768];
    u64 first = number("LYRE_TEST_SEED", 1);
    unsigned n = number("LYRE_TEST_COUNT", 3000), left = 0;
    if (!machine_can(level))
        SKIP("this computer has no such level");
    machine_init(&m, level, pins, mmu);
    for (unsigned i = 0; i < n; i++) {
        u64 seed = first + i;
        if (!one_region(&m, seed, seed % 4 == 1 ? 120 : 12, faults, text, sizeof(text))) {
            char *ir = ir_print(&m.ir);
            printf("# level %s, %u pins, LYRE_TEST_SEED=%llu LYRE_TEST_COUNT=1: %s\n%s",
                   level, pins, (unsigned long long)seed, text, ir);
            free(ir);
            CHECK(!"same as the interpreter");
            break;
        }
        left += by_jit.exit == IR_EXIT_FAULT ||
                (by_jit.exit == IR_EXIT_RAISE && by_jit.exit_code == IR_RAISE_UNALIGNED);
    }
    if (faults && n > 100)
        CHECK(left > n / 2);
    machine_free(&m);
}

TEST(avx512_with_pins)
{
    run("avx512", 32, false, false);
}

TEST(avx512_without_pins)
{
    run("avx512", 0, false, false);
}

TEST(avx2_with_pins)
{
    run("avx2", 32, false, false);
}

TEST(avx2_without_pins)
{
    run("avx2", 0, false, false);
}

TEST(sse42_with_pins)
{
    run("sse4.2", 32, false, false);
}

TEST(sse42_without_pins)
{
    run("sse4.2", 0, false, false);
}

TEST(faults_avx512_with_pins)
{
    run("avx512", 32, true, false);
}

TEST(faults_avx512_without_pins)
{
    run("avx512", 0, true, false);
}

TEST(faults_avx2_with_pins)
{
    run("avx2", 32, true, false);
}

TEST(faults_avx2_without_pins)
{
    run("avx2", 0, true, false);
}

TEST(faults_sse42_with_pins)
{
    run("sse4.2", 32, true, false);
}

TEST(faults_sse42_without_pins)
{
    run("sse4.2", 0, true, false);
}

TEST(mmu_avx512_with_pins)
{
    run("avx512", 32, false, true);
}

TEST(mmu_sse42_without_pins)
{
    run("sse4.2", 0, false, true);
}

TEST(mmu_faults_avx512_without_pins)
{
    run("avx512", 0, true, true);
}

TEST(mmu_faults_avx2_with_pins)
{
    run("avx2", 32, true, true);
}

TEST(mmu_faults_sse42_with_pins)
{
    run("sse4.2", 32, true, true);
}

TEST_MAIN()
