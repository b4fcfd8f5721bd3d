/* The AVX-512 level: what its 128-bit forms do in fewer instructions than AVX2, or at all. Everything else
 * is emitted as for AVX2. Forms that were measured and do not pay on Zen 5 (there: latency in cycles) are
 * left out: vpmov* (4) against pshufb (2), vpermi2b and vpermi2w (5 to 7) against two pshufb and an
 * unpack. */
#include "fp/fp.h"
#include "jit/host/x86_64/x64.h"

/* Mask registers of all emitters here; nothing lives in them. */
#define MASK  1
#define MASK2 2

typedef void evex_fn(struct x64_gen *g, const struct ra_ins *i);

/* ---- bitwise operations of up to three operands ---- */

/* Truth tables of the operands of vpternlog. */
static const u8 operand_table[3] = {0xf0, 0xcc, 0xaa};

static bool is_shift_pair(const struct ir_node *x, const struct ir_node *y)
{
    unsigned lane = x->aux & 15;
    return x->op == IR_VSHL && y->op == IR_VSHR && x->a == y->a && x->type == y->type &&
           lane == (y->aux & 15) && lane >= 2 && (x->aux >> 4) + (y->aux >> 4) == 8u << lane;
}

/* A rotation: the left one of the two shifts that v, an or, combines; 0 if it is something else. */
static irv rotation(const struct ir_region *r, irv v, irv block_first)
{
    const struct ir_node *n = &r->node[v];
    if (n->op != IR_VOR || MIN(n->a, n->b) < block_first)
        return 0;
    if (is_shift_pair(&r->node[n->a], &r->node[n->b]))
        return n->a;
    return is_shift_pair(&r->node[n->b], &r->node[n->a]) ? n->b : 0;
}

/* One vector as a function of the bits of up to three others. */
struct logic {
    irv leaf[3];
    unsigned count;
    u8 table;
};

/* Is v made by a bitwise operation of this block, which its user may make again? */
static bool is_logic(const struct ir_region *r, irv v, unsigned type, irv block_first)
{
    if (v < block_first || v < IR_FIRST_NODE)
        return false;
    unsigned op = r->node[v].op;
    return op >= IR_VAND && op <= IR_VBSL && r->node[v].type == type && !rotation(r, v, block_first);
}

static bool add_leaf(struct logic *l, irv v)
{
    for (unsigned i = 0; i < l->count; i++) {
        if (l->leaf[i] == v)
            return true;
    }
    if (l->count == 3)
        return false;
    l->leaf[l->count++] = v;
    return true;
}

static bool add_operands(struct logic *l, const struct ir_node *n)
{
    return add_leaf(l, n->a) && (!n->b || add_leaf(l, n->b)) && (!n->c || add_leaf(l, n->c));
}

/* l with the leaf replaced by the operands of the operation that made it; false if there are too many. */
static bool open_leaf(struct logic *l, const struct ir_region *r, unsigned leaf)
{
    struct logic opened = {.count = 0};
    if (!add_operands(&opened, &r->node[l->leaf[leaf]]))
        return false;
    for (unsigned i = 0; i < l->count; i++) {
        if (i != leaf && !add_leaf(&opened, l->leaf[i]))
            return false;
    }
    *l = opened;
    return true;
}

static u8 table_of(const struct ir_region *r, const struct logic *l, irv v)
{
    for (unsigned i = 0; i < l->count; i++) {
        if (l->leaf[i] == v)
            return operand_table[i];
    }
    const struct ir_node *n = &r->node[v];
    u8 a = table_of(r, l, n->a), b = n->b ? table_of(r, l, n->b) : 0;
    switch (n->op) {
    case IR_VAND:
        return a & b;
    case IR_VOR:
        return a | b;
    case IR_VXOR:
        return a ^ b;
    case IR_VANDN:
        return a & (u8)~b;
    case IR_VNOT:
        return (u8)~a;
    default: /* VBSL */
        return (a & b) | ((u8)~a & table_of(r, l, n->c));
    }
}

/* v, a bitwise operation, together with as many of those before it as leave three operands. */
static void resolve_logic(const struct ir_region *r, irv v, irv block_first, struct logic *l)
{
    unsigned type = r->node[v].type;
    l->count = 0;
    add_operands(l, &r->node[v]);
    for (unsigned i = 0; i < l->count;) {
        if (is_logic(r, l->leaf[i], type, block_first) && open_leaf(l, r, i))
            i = 0;
        else
            i++;
    }
    l->table = table_of(r, l, v);
}

/* The table when operand k is leaf order[k]. */
static u8 permuted(u8 table, const unsigned order[3])
{
    u8 out = 0;
    for (unsigned at = 0; at < 8; at++) {
        unsigned from = 0;
        for (unsigned k = 0; k < 3; k++)
            from |= (at >> (2 - k) & 1) << (2 - order[k]);
        out |= (u8)((table >> from & 1) << at);
    }
    return out;
}

static void emit_ternary(struct x64_gen *g, const struct ra_ins *i, const struct logic *l)
{
    unsigned dst = xr(i->dst), order[3] = {0, 1, 2}, reg[3];
    for (unsigned k = 0; k < 3; k++)
        reg[k] = xr(i->src[k < l->count ? k : 0]);
    for (unsigned k = 1; k < l->count; k++) { /* the result's register is the first operand's */
        if (reg[k] == dst && reg[0] != dst) {
            order[0] = k;
            order[k] = 0;
        }
    }
    x64_vmov(&g->a, dst, reg[order[0]]);
    x64_v3i(&g->a, X_VPTERNLOGD, dst, reg[order[1]], reg[order[2]], permuted(l->table, order));
}

static void emit_logic(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 plain[] = {[IR_VAND - IR_VAND] = X_PAND, [IR_VOR - IR_VAND] = X_POR,
                                [IR_VXOR - IR_VAND] = X_PXOR, [IR_VANDN - IR_VAND] = X_PANDN};
    const struct ir_node *n = x64_node(g, i);
    struct logic l;
    irv left = rotation(g->r, i->v, g->block_first);
    if (left) {
        const struct ir_node *shl = &g->r->node[left];
        x64_vshift(&g->a, (shl->aux & 15) == 3 ? X_VPSHIFTROTQ : X_VPSHIFTROTD, 1, xr(i->dst), xr(i->src[0]),
                   (u8)(shl->aux >> 4));
        return;
    }
    resolve_logic(g->r, i->v, g->block_first, &l);
    if (l.count == 2 && n->op <= IR_VANDN && l.leaf[0] == n->a && l.leaf[1] == n->b) { /* a shorter encoding */
        unsigned swap = n->op == IR_VANDN;
        x64_v3(&g->a, (enum x64_insn)plain[n->op - IR_VAND], xr(i->dst), xr(i->src[swap]), xr(i->src[!swap]));
        return;
    }
    emit_ternary(g, i, &l);
}

static void constrain_logic(const struct ir_region *r, irv v, irv block_first, struct ra_con *con)
{
    struct logic l;
    irv left = rotation(r, v, block_first);
    if (left) {
        con->nsrc = 1;
        con->src[0] = r->node[left].a;
        return;
    }
    resolve_logic(r, v, block_first, &l);
    con->nsrc = (u8)l.count;
    for (unsigned k = 0; k < l.count; k++)
        con->src[k] = l.leaf[k];
}

/* ---- integers ---- */

/* Operations of two vectors by lane, for those lanes that only this level has; 0: not here. */
static enum x64_insn by_lane(unsigned op, unsigned lane)
{
    static const struct {
        u16 word, quad;
    } insn[IR_NOPS] = {
        [IR_VMINS] = {0, X_VPMINSQ},          [IR_VMINU] = {0, X_VPMINUQ},
        [IR_VMAXS] = {0, X_VPMAXSQ},          [IR_VMAXU] = {0, X_VPMAXUQ},
        [IR_VSHLV] = {X_VPSLLVW, 0},          [IR_VSHRV] = {X_VPSRLVW, 0},
        [IR_VSARV] = {X_VPSRAVW, X_VPSRAVQ},
    };
    return (enum x64_insn)(lane == 1 ? insn[op].word : lane == 3 ? insn[op].quad : 0);
}

static void emit_by_lane(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    x64_v3(&g->a, by_lane(n->op, n->aux & 15), xr(i->dst), xr(i->src[0]), xr(i->src[1]));
}

static void emit_abs(struct x64_gen *g, const struct ra_ins *i)
{
    x64_v2(&g->a, X_VPABSQ, xr(i->dst), xr(i->src[0]));
}

static void emit_gtu(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 compare[] = {X_VPCMPUB, X_VPCMPUW, X_VPCMPUD, X_VPCMPUQ};
    static const u16 spread[] = {X_VPMOVM2B, X_VPMOVM2W, X_VPMOVM2D, X_VPMOVM2Q};
    unsigned lane = x64_node(g, i)->aux & 15;
    x64_v3i(&g->a, (enum x64_insn)compare[lane], MASK, xr(i->src[0]), xr(i->src[1]), 6); /* not less or equal */
    x64_v2(&g->a, (enum x64_insn)spread[lane], xr(i->dst), MASK);
}

/* By a matrix over bits: bit k of the result is row 7 - k times the operand. */
static void emit_sar(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned amount = n->aux >> 4;
    if ((n->aux & 15) == 3) {
        x64_vshift(&g->a, X_VPSHIFTROTQ, 4, xr(i->dst), xr(i->src[0]), (u8)MIN(amount, 63u));
        return;
    }
    v128 m;
    for (unsigned k = 0; k < 16; k++)
        m.b[7 - k % 8 + k / 8 * 8] = (u8)(1u << MIN(k % 8 + amount, 7u));
    x64_v3lit_i(g, X_VGF2P8AFFINEQB, xr(i->dst), xr(i->src[0]), m, 0);
}

static void emit_popcount(struct x64_gen *g, const struct ra_ins *i)
{
    x64_v2(&g->a, X_VPOPCNTB, xr(i->dst), xr(i->src[0]));
}

/* vpdpbusd multiplies unsigned bytes by signed ones. When both are unsigned, 128 is taken from one
 * side and added as twice 64; when both are signed, 128 is added to one and taken away again. */
static void emit_dot(struct x64_gen *g, const struct ra_ins *i)
{
    struct x64_asm *a = &g->a;
    unsigned dst = xr(i->dst), x = xr(i->src[0]), y = xr(i->src[1]), sum = xr(i->tmp[0]);
    v128 top, half;
    for (unsigned k = 0; k < 4; k++) {
        top.s[k] = 0x80808080;
        half.s[k] = 0x40404040;
    }
    x64_v3(a, X_PXOR, dst, dst, dst);
    switch (x64_node(g, i)->aux & 3) {
    case 0:
        x64_v3lit(g, X_PXOR, X64_SCRATCH, y, top);
        x64_v3(a, X_VPDPBUSD, dst, x, X64_SCRATCH);
        x64_v3lit(g, X_VPDPBUSD, dst, x, half);
        x64_v3lit(g, X_VPDPBUSD, dst, x, half);
        break;
    case 1:
        x64_v3(a, X_VPDPBUSD, dst, y, x);
        break;
    case 2:
        x64_v3(a, X_VPDPBUSD, dst, x, y);
        break;
    default:
        x64_v2lit(g, X_MOVUPS, X64_SCRATCH, top);
        x64_v3(a, X_PXOR, sum, sum, sum);
        x64_v3(a, X_VPDPBUSD, sum, X64_SCRATCH, y);
        x64_v3(a, X_PXOR, X64_SCRATCH, X64_SCRATCH, x);
        x64_v3(a, X_VPDPBUSD, dst, X64_SCRATCH, y);
        x64_v3(a, X_PSUBD, dst, dst, sum);
        break;
    }
}

/* ---- floating point ---- */

static void jump_if_any(struct x64_gen *g, const struct ra_ins *i, unsigned k, unsigned k2)
{
    x64_v2(&g->a, X_KORTESTB, k, k2);
    u8 *jump = x64_jcc(&g->a, XCC_NE, false);
    x64_cold_from(x64_cold_eval(g, i), jump);
}

/* Not by comparing: signalling NaNs would raise invalid before the operation does. */
void x64_evex_nan(struct x64_gen *g, const struct ra_ins *i, unsigned x, unsigned y, bool dbl)
{
    enum x64_insn classify = dbl ? X_VFPCLASSPD : X_VFPCLASSPS;
    x64_v2i(&g->a, classify, MASK, x, 0x81);
    if (y != x)
        x64_v2i(&g->a, classify, MASK2, y, 0x81);
    jump_if_any(g, i, MASK, y != x ? MASK2 : MASK);
}

void x64_evex_equal(struct x64_gen *g, const struct ra_ins *i, unsigned x, v128 value, bool dbl)
{
    x64_v3lit(g, dbl ? X_VPCMPEQQ : X_VPCMPEQD, MASK, x, value);
    jump_if_any(g, i, MASK, MASK);
}

/* The instruction is IEEE 754-2008's minNum or maxNum with the zeros in order: of two quiet NaNs the first,
 * of one and a number the number; signalling ones trap. The 2019 operations pass NaNs on: C does
 * that. */
static void emit_minmax(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 insn[4] = {X_VRANGEPS, X_VRANGEPD, X_VRANGESS, X_VRANGESD};
    const struct ir_node *n = x64_node(g, i);
    bool vector = n->type == IR_V64 || n->type == IR_V128, dbl = (n->aux & 15) == IR_F64;
    bool max = n->op == IR_FMAX || n->op == IR_FMAXNM, numbers = n->op == IR_FMIN || n->op == IR_FMAX;
    unsigned x = xr(i->src[0]), y = xr(i->src[1]);
    if (numbers && vector) {
        x64_evex_nan(g, i, x, y, dbl);
    } else if (numbers) {
        x64_v2(&g->a, dbl ? X_UCOMISD : X_UCOMISS, x, y);
        u8 *jump = x64_jcc(&g->a, XCC_P, false);
        x64_cold_from(x64_cold_eval(g, i), jump);
    }
    x64_v3i(&g->a, (enum x64_insn)insn[(vector ? 0 : 2) + dbl], xr(i->dst), x, y,
            (u8)(4 | max)); /* 4: the sign is the chosen operand's */
}

static void emit_convert(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 insn[2][2][2] = { /* to integers, signed, of 64 bits */
        {{X_VCVTUDQ2PS, X_VCVTUQQ2PD}, {X_CVTDQ2PS, X_VCVTQQ2PD}},
        {{X_VCVTTPS2UDQ, X_VCVTTPD2UQQ}, {X_CVTTPS2DQ, X_VCVTTPD2QQ}},
    };
    const struct ir_node *n = x64_node(g, i);
    enum x64_insn x = (enum x64_insn)insn[n->op == IR_F2IV][n->aux >> 7 & 1][(n->aux & 15) == IR_F64];
    x64_v2(&g->a, x, xr(i->dst), xr(i->src[0]));
}

static bool converts(const struct ir_node *n)
{
    unsigned round = n->aux >> 4 & 7, fp = n->aux & 15;
    return (n->type == IR_V64 || n->type == IR_V128) && (fp == IR_F32 || fp == IR_F64) && !n->imm &&
           round == (n->op == IR_F2IV ? FP_ROUND_ZERO : IR_ROUND_ENV);
}

/* ---- which ---- */

/* How the node is made at this level; NULL: as at the one below. */
static evex_fn *choose(const struct host_cpu *cpu, const struct ir_node *n)
{
    unsigned lane = n->aux & 15;
    if (cpu->level < X64_AVX512)
        return NULL;
    switch (n->op) {
    case IR_VAND:
    case IR_VOR:
    case IR_VXOR:
    case IR_VANDN:
    case IR_VNOT:
    case IR_VBSL:
        return emit_logic;
    case IR_VMINS:
    case IR_VMINU:
    case IR_VMAXS:
    case IR_VMAXU:
    case IR_VSHLV:
    case IR_VSHRV:
    case IR_VSARV:
        return by_lane(n->op, lane) ? emit_by_lane : NULL;
    case IR_VABS:
        return lane == 3 ? emit_abs : NULL;
    case IR_VCMPGTU:
        return emit_gtu;
    case IR_VSAR:
        return lane == 3 || (!lane && cpu->features[X64_F_GFNI]) ? emit_sar : NULL;
    case IR_VCNT:
        return cpu->features[X64_F_BITALG] ? emit_popcount : NULL;
    case IR_VDOT:
        return cpu->features[X64_F_VNNI] ? emit_dot : NULL;
    case IR_FMIN:
    case IR_FMAX:
    case IR_FMINNM:
    case IR_FMAXNM:
        return lane == IR_F16 ? NULL : emit_minmax;
    case IR_F2IV:
    case IR_I2FV:
        return converts(n) ? emit_convert : NULL;
    default:
        return NULL;
    }
}

bool x64_evex_has(const struct host_cpu *cpu, const struct ir_node *n)
{
    return choose(cpu, n);
}

bool x64_evex_emit(struct x64_gen *g, const struct ra_ins *i)
{
    evex_fn *fn = choose(g->cpu, x64_node(g, i));
    if (fn)
        fn(g, i);
    return fn;
}

bool x64_evex_constrain(const struct host_cpu *cpu, const struct ir_region *r, irv v, irv block_first,
                        struct ra_con *con)
{
    evex_fn *fn = choose(cpu, &r->node[v]);
    if (fn == emit_logic) {
        constrain_logic(r, v, block_first, con);
    } else if (fn == emit_dot) { /* the result is written while operands are still read */
        con->apart = 3;
        con->ntmp[1] = 1;
    } else if (fn == emit_minmax) { /* the cold path reads them again */
        con->apart = 3;
    }
    return fn;
}
