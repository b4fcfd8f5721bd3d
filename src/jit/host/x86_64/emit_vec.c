/* Integer vectors. What has no short form here is run by C (x64_has() says which). */
#include "fp/fp.h"
#include "jit/host/x86_64/x64.h"

#define NONE X64_NINSNS

/* By lane size: bytes, 16, 32, 64 bits. */
static const u16 by_lane[IR_NOPS][4] = {
    [IR_VADD] = {X_PADDB, X_PADDW, X_PADDD, X_PADDQ},
    [IR_VSUB] = {X_PSUBB, X_PSUBW, X_PSUBD, X_PSUBQ},
    [IR_VMUL] = {NONE, X_PMULLW, X_PMULLD, NONE},
    [IR_VAND] = {X_PAND, X_PAND, X_PAND, X_PAND},
    [IR_VOR] = {X_POR, X_POR, X_POR, X_POR},
    [IR_VXOR] = {X_PXOR, X_PXOR, X_PXOR, X_PXOR},
    [IR_VMINS] = {X_PMINSB, X_PMINSW, X_PMINSD, NONE},
    [IR_VMINU] = {X_PMINUB, X_PMINUW, X_PMINUD, NONE},
    [IR_VMAXS] = {X_PMAXSB, X_PMAXSW, X_PMAXSD, NONE},
    [IR_VMAXU] = {X_PMAXUB, X_PMAXUW, X_PMAXUD, NONE},
    [IR_VCMPEQ] = {X_PCMPEQB, X_PCMPEQW, X_PCMPEQD, X_PCMPEQQ},
    [IR_VCMPGTS] = {X_PCMPGTB, X_PCMPGTW, X_PCMPGTD, X_PCMPGTQ},
    [IR_VQADDS] = {X_PADDSB, X_PADDSW, NONE, NONE},
    [IR_VQADDU] = {X_PADDUSB, X_PADDUSW, NONE, NONE},
    [IR_VQSUBS] = {X_PSUBSB, X_PSUBSW, NONE, NONE},
    [IR_VQSUBU] = {X_PSUBUSB, X_PSUBUSW, NONE, NONE},
    [IR_VAVGU] = {X_PAVGB, X_PAVGW, NONE, NONE},
    [IR_VABS] = {X_PABSB, X_PABSW, X_PABSD, NONE},
    [IR_VZIP1] = {X_PUNPCKLBW, X_PUNPCKLWD, X_PUNPCKLDQ, X_PUNPCKLQDQ},
    [IR_VZIP2] = {X_PUNPCKHBW, X_PUNPCKHWD, X_PUNPCKHDQ, X_PUNPCKHQDQ},
    [IR_VCMPGTU] = {X_PMAXUB, X_PMAXUW, X_PMAXUD, NONE},
    [IR_VSHL] = {NONE, X_PSHIFTW, X_PSHIFTD, X_PSHIFTQ},
    [IR_VSHR] = {NONE, X_PSHIFTW, X_PSHIFTD, X_PSHIFTQ},
    [IR_VSAR] = {NONE, X_PSHIFTW, X_PSHIFTD, NONE},
    [IR_VSHLV] = {NONE, NONE, X_VPSLLVD, X_VPSLLVQ},
    [IR_VSHRV] = {NONE, NONE, X_VPSRLVD, X_VPSRLVQ},
    [IR_VSARV] = {NONE, NONE, X_VPSRAVD, NONE},
};

enum x64_insn x64_vec_insn(const struct ir_node *n)
{
    unsigned lane = n->aux & 15;
    const u16 *row = by_lane[n->op];
    if (lane > 3 || !(row[0] | row[1] | row[2] | row[3]))
        return NONE;
    return (enum x64_insn)row[lane];
}

static void all_ones(struct x64_gen *g, unsigned reg)
{
    x64_v3(&g->a, X_PCMPEQD, reg, reg, reg);
}

static void zero(struct x64_gen *g, unsigned reg)
{
    x64_v3(&g->a, X_PXOR, reg, reg, reg);
}

/* a > b, unsigned: not (max(a, b) == b). */
static void emit_gtu(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 eq[] = {X_PCMPEQB, X_PCMPEQW, X_PCMPEQD};
    const struct ir_node *n = x64_node(g, i);
    unsigned dst = xr(i->dst);
    x64_v3(&g->a, x64_vec_insn(n), dst, xr(i->src[0]), xr(i->src[1]));
    x64_v3(&g->a, (enum x64_insn)eq[n->aux & 15], dst, dst, xr(i->src[1]));
    all_ones(g, X64_SCRATCH);
    x64_v3(&g->a, X_PXOR, dst, dst, X64_SCRATCH);
}

static void emit_shift(struct x64_gen *g, const struct ra_ins *i)
{
    static const u8 digit[] = {[IR_VSHL - IR_VSHL] = 6, [IR_VSHR - IR_VSHL] = 2,
                               [IR_VSAR - IR_VSHL] = 4};
    const struct ir_node *n = x64_node(g, i);
    x64_vshift(&g->a, x64_vec_insn(n), digit[n->op - IR_VSHL], xr(i->dst), xr(i->src[0]),
               (u8)(n->aux >> 4 & 127));
}

static void emit_zip(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned dst = xr(i->dst), x = xr(i->src[0]), y = xr(i->src[1]);
    if (n->op == IR_VZIP2 && n->type == IR_V64) { /* the upper half of the low halves' zip */
        struct ir_node low = *n;
        low.op = IR_VZIP1;
        x64_v3(&g->a, x64_vec_insn(&low), dst, x, y);
        x64_v2i(&g->a, X_PSHUFD, dst, dst, 0xee);
        return;
    }
    x64_v3(&g->a, x64_vec_insn(n), dst, x, y);
}

/* Byte shuffle that gathers the even or odd lanes of 16 bytes into the low 8. */
static v128 gather(unsigned lane, unsigned odd)
{
    v128 m;
    unsigned size = 1u << lane;
    for (unsigned k = 0; k < 16; k++)
        m.b[k] = k < 8 ? (u8)((k / size * 2 + odd) * size + k % size) : 0x80;
    return m;
}

static void emit_unzip(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned dst = xr(i->dst), x = xr(i->src[0]), y = xr(i->src[1]), lane = n->aux & 15;
    unsigned odd = n->op == IR_VUZP2;
    if (n->type == IR_V64) {
        x64_v3(&g->a, X_PUNPCKLQDQ, dst, x, y);
        x64_v3lit(g, X_PSHUFB, dst, dst, gather(lane, odd));
    } else if (lane == 3) {
        x64_v3(&g->a, odd ? X_PUNPCKHQDQ : X_PUNPCKLQDQ, dst, x, y);
    } else if (lane == 2) {
        x64_v3i(&g->a, X_SHUFPS, dst, x, y, odd ? 0xdd : 0x88);
    } else {
        x64_v3lit(g, X_PSHUFB, X64_SCRATCH, y, gather(lane, odd));
        x64_v3lit(g, X_PSHUFB, dst, x, gather(lane, odd));
        x64_v3(&g->a, X_PUNPCKLQDQ, dst, dst, X64_SCRATCH);
    }
}

static void emit_addp(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned dst = xr(i->dst), x = xr(i->src[0]), y = xr(i->src[1]), lane = n->aux & 15;
    if (lane == 3) {
        x64_v3(&g->a, X_PUNPCKHQDQ, X64_SCRATCH, x, y);
        x64_v3(&g->a, X_PUNPCKLQDQ, dst, x, y);
        x64_v3(&g->a, X_PADDQ, dst, dst, X64_SCRATCH);
        return;
    }
    enum x64_insn add = lane == 1 ? X_PHADDW : X_PHADDD;
    if (n->type == IR_V64) {
        x64_v3(&g->a, X_PUNPCKLQDQ, dst, x, y);
        x64_v3(&g->a, add, dst, dst, dst);
    } else {
        x64_v3(&g->a, add, dst, x, y);
    }
}

static void emit_extend(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 insn[2][3] = {{X_PMOVZXBW, X_PMOVZXWD, X_PMOVZXDQ},
                                   {X_PMOVSXBW, X_PMOVSXWD, X_PMOVSXDQ}};
    const struct ir_node *n = x64_node(g, i);
    unsigned src = xr(i->src[0]);
    if (n->aux >> 5 & 1) {
        x64_v2i(&g->a, X_PSHUFD, X64_SCRATCH, src, 0xee);
        src = X64_SCRATCH;
    }
    x64_v2(&g->a, (enum x64_insn)insn[n->aux >> 4 & 1][n->aux & 15], xr(i->dst), src);
}

/* Widening products of 8- and 16-bit lanes extend first; 32-bit lanes have instructions. */
static void emit_mull(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 extend[2][2] = {{X_PMOVZXBW, X_PMOVZXWD}, {X_PMOVSXBW, X_PMOVSXWD}};
    const struct ir_node *n = x64_node(g, i);
    unsigned dst = xr(i->dst), x = xr(i->src[0]), y = xr(i->src[1]), lane = n->aux & 15;
    bool is_signed = n->aux >> 4 & 1, high = n->aux >> 5 & 1;
    if (lane == 2) { /* lanes 0, 1 (or 2, 3) to places 0 and 2 */
        u8 spread = high ? 0xfa : 0x50;
        x64_v2i(&g->a, X_PSHUFD, dst, x, spread);
        x64_v2i(&g->a, X_PSHUFD, X64_SCRATCH, y, spread);
        x64_v3(&g->a, is_signed ? X_PMULDQ : X_PMULUDQ, dst, dst, X64_SCRATCH);
        return;
    }
    enum x64_insn ext = (enum x64_insn)extend[is_signed][lane];
    if (high) {
        x64_v2i(&g->a, X_PSHUFD, dst, x, 0xee);
        x64_v2i(&g->a, X_PSHUFD, X64_SCRATCH, y, 0xee);
        x = dst;
        y = X64_SCRATCH;
    }
    x64_v2(&g->a, ext, dst, x);
    x64_v2(&g->a, ext, X64_SCRATCH, y);
    x64_v3(&g->a, lane ? X_PMULLD : X_PMULLW, dst, dst, X64_SCRATCH);
}

/* By halves: bytes become words, of which pmaddwd adds neighbouring products. */
static void emit_dot(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 extend[2] = {X_PMOVZXBW, X_PMOVSXBW};
    const struct ir_node *n = x64_node(g, i);
    unsigned dst = xr(i->dst), x = xr(i->src[0]), y = xr(i->src[1]), tmp = xr(i->tmp[0]);
    enum x64_insn ext_x = (enum x64_insn)extend[n->aux & 1];
    enum x64_insn ext_y = (enum x64_insn)extend[n->aux >> 1 & 1];
    x64_v2(&g->a, ext_x, dst, x);
    x64_v2(&g->a, ext_y, tmp, y);
    x64_v3(&g->a, X_PMADDWD, dst, dst, tmp);
    if (n->type == IR_V64) {
        x64_v3(&g->a, X_PHADDD, dst, dst, dst);
        return;
    }
    x64_v2i(&g->a, X_PSHUFD, tmp, x, 0xee);
    x64_v2i(&g->a, X_PSHUFD, X64_SCRATCH, y, 0xee);
    x64_v2(&g->a, ext_x, tmp, tmp);
    x64_v2(&g->a, ext_y, X64_SCRATCH, X64_SCRATCH);
    x64_v3(&g->a, X_PMADDWD, tmp, tmp, X64_SCRATCH);
    x64_v3(&g->a, X_PHADDD, dst, dst, tmp);
}

static void emit_narrow(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned lane = (n->aux & 15) - 1u;
    x64_v3lit(g, X_PSHUFB, xr(i->dst), xr(i->src[0]), gather(lane, 0));
}

static void emit_splat(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 broadcast[] = {X_VPBROADCASTB, X_VPBROADCASTW, X_VPBROADCASTD, X_VPBROADCASTQ};
    const struct ir_node *n = x64_node(g, i);
    unsigned dst = xr(i->dst), lane = n->aux & 15;
    x64_vg(&g->a, X_MOVD_XR, lane == 3, dst, i->src[0]);
    if (g->a.level >= X64_AVX2) {
        x64_v2(&g->a, (enum x64_insn)broadcast[lane], dst, dst);
    } else if (lane >= 2) {
        x64_v2i(&g->a, X_PSHUFD, dst, dst, lane == 3 ? 0x44 : 0);
    } else {
        v128 m;
        for (unsigned k = 0; k < 16; k++)
            m.b[k] = lane ? k & 1 : 0;
        x64_v3lit(g, X_PSHUFB, dst, dst, m);
    }
}

static void emit_dup(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned dst = xr(i->dst), src = xr(i->src[0]), lane = n->aux & 15, at = n->aux >> 4 & 15;
    if (lane == 3) {
        x64_v2i(&g->a, X_PSHUFD, dst, src, at ? 0xee : 0x44);
    } else if (lane == 2) {
        x64_v2i(&g->a, X_PSHUFD, dst, src, (u8)(at * 0x55));
    } else {
        v128 m;
        for (unsigned k = 0; k < 16; k++)
            m.b[k] = (u8)((at << lane) + (lane ? k & 1 : 0));
        x64_v3lit(g, X_PSHUFB, dst, src, m);
    }
}

static void insert(struct x64_gen *g, unsigned lane, unsigned dst, unsigned vec, unsigned gpr,
                   unsigned at)
{
    static const u16 insn[] = {X_PINSRB, X_PINSRW, X_PINSRD, X_PINSRD};
    x64_v3g(&g->a, (enum x64_insn)insn[lane], lane == 3, dst, vec, gpr);
    x64_byte(&g->a, (u8)at);
}

static void extract(struct x64_gen *g, unsigned lane, unsigned gpr, unsigned vec, unsigned at)
{
    static const u16 insn[] = {X_PEXTRB, X_PEXTRW, X_PEXTRD, X_PEXTRD};
    if (!at && lane >= 2) {
        x64_vg(&g->a, X_MOVD_RX, lane == 3, vec, gpr);
        return;
    }
    x64_vg(&g->a, (enum x64_insn)insn[lane], lane == 3, vec, gpr);
    x64_byte(&g->a, (u8)at);
}

static void emit_get(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 sext[] = {X_MOVSX8, X_MOVSX16, X_MOVSXD};
    const struct ir_node *n = x64_node(g, i);
    unsigned lane = n->aux & 15, at = n->aux >> 4 & 15;
    extract(g, lane, i->dst, xr(i->src[0]), at);
    if (n->aux >> 8 & 1 && lane < 2)
        x64_rr(&g->a, (enum x64_insn)sext[lane], n->type == IR_I64, i->dst, i->dst);
    else if (n->aux >> 8 & 1 && lane == 2 && n->type == IR_I64)
        x64_rr(&g->a, X_MOVSXD, true, i->dst, i->dst);
    else if (lane == 3 && n->type == IR_I32)
        x64_mov32(&g->a, i->dst, i->dst);
}

static void emit_insv(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned lane = n->aux & 15, to = n->aux >> 4 & 15, from = n->aux >> 8 & 15;
    extract(g, lane, i->tmp[0], xr(i->src[1]), from);
    insert(g, lane, xr(i->dst), xr(i->src[0]), i->tmp[0], to);
}

static void emit_rev(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned size = 1u << (n->aux & 15), group = 1u << (n->aux >> 4 & 15);
    v128 m;
    for (unsigned k = 0; k < 16; k++)
        m.b[k] = (u8)(k / group * group + (group / size - 1 - k % group / size) * size + k % size);
    x64_v3lit(g, X_PSHUFB, xr(i->dst), xr(i->src[0]), m);
}

static void emit_ext(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned dst = xr(i->dst), x = xr(i->src[0]), y = xr(i->src[1]);
    u8 by = (u8)(n->aux & 31);
    if (n->type == IR_V64) {
        x64_v3(&g->a, X_PUNPCKLQDQ, X64_SCRATCH, x, y);
        x64_vshift(&g->a, X_PSHIFTQ, 3, dst, X64_SCRATCH, by); /* psrldq */
    } else {
        x64_v3i(&g->a, X_PALIGNR, dst, y, x, by);
    }
}

static void emit_table(struct x64_gen *g, const struct ra_ins *i)
{
    v128 m;
    for (unsigned k = 0; k < 16; k++)
        m.b[k] = 0x70; /* saturating: indexes from 16 on get bit 7, which pshufb makes 0 */
    x64_v3lit(g, X_PADDUSB, X64_SCRATCH, xr(i->src[1]), m);
    x64_v3(&g->a, X_PSHUFB, xr(i->dst), xr(i->src[0]), X64_SCRATCH);
}

/* Ones per byte: look up both nibbles. Each look-up needs the table as its destination. */
static void emit_popcount(struct x64_gen *g, const struct ra_ins *i)
{
    static const v128 table = {.b = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4}};
    unsigned dst = xr(i->dst), src = xr(i->src[0]), high = xr(i->tmp[0]);
    v128 low;
    for (unsigned k = 0; k < 16; k++)
        low.b[k] = 15;
    x64_v3lit(g, X_PAND, X64_SCRATCH, src, low);
    x64_v2lit(g, X_MOVUPS, dst, table);
    x64_v3(&g->a, X_PSHUFB, dst, dst, X64_SCRATCH);
    x64_vshift(&g->a, X_PSHIFTW, 2, X64_SCRATCH, src, 4);
    x64_v3lit(g, X_PAND, X64_SCRATCH, X64_SCRATCH, low);
    x64_v2lit(g, X_MOVUPS, high, table);
    x64_v3(&g->a, X_PSHUFB, high, high, X64_SCRATCH);
    x64_v3(&g->a, X_PADDB, dst, dst, high);
}

static void emit_bitwise(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned dst = xr(i->dst), x = xr(i->src[0]), y = xr(i->src[1]), z = xr(i->src[2]);
    switch (n->op) {
    case IR_VANDN:
        x64_v3(&g->a, X_PANDN, dst, y, x);
        break;
    case IR_VNOT:
        all_ones(g, X64_SCRATCH);
        x64_v3(&g->a, X_PXOR, dst, x, X64_SCRATCH);
        break;
    case IR_VBSL:
        x64_v3(&g->a, X_PAND, X64_SCRATCH, x, y);
        x64_v3(&g->a, X_PANDN, dst, x, z);
        x64_v3(&g->a, X_POR, dst, dst, X64_SCRATCH);
        break;
    default: { /* and, or, xor; aux is not a lane */
        static const u16 insn[] = {X_PAND, X_POR, X_PXOR};
        x64_v3(&g->a, (enum x64_insn)insn[n->op - IR_VAND], dst, x, y);
        break;
    }
    }
}

static void emit_plain(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    x64_v3(&g->a, x64_vec_insn(n), xr(i->dst), xr(i->src[0]), xr(i->src[1]));
}

typedef void emit_fn(struct x64_gen *g, const struct ra_ins *i);

static void emit_neg(struct x64_gen *g, const struct ra_ins *i)
{
    struct ir_node sub = *x64_node(g, i);
    sub.op = IR_VSUB;
    zero(g, xr(i->dst));
    x64_v3(&g->a, x64_vec_insn(&sub), xr(i->dst), xr(i->dst), xr(i->src[0]));
}

static void emit_abs(struct x64_gen *g, const struct ra_ins *i)
{
    x64_v2(&g->a, x64_vec_insn(x64_node(g, i)), xr(i->dst), xr(i->src[0]));
}

static void emit_ins(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    insert(g, n->aux & 15, xr(i->dst), xr(i->src[0]), i->src[1], n->aux >> 4 & 15);
}

static void emit_pair(struct x64_gen *g, const struct ra_ins *i)
{
    x64_vg(&g->a, X_MOVD_XR, true, xr(i->dst), i->src[0]);
    insert(g, 3, xr(i->dst), xr(i->dst), i->src[1], 1);
}

static emit_fn *const emitters[IR_NOPS] = {
    [IR_VAND] = emit_bitwise,    [IR_VOR] = emit_bitwise,   [IR_VXOR] = emit_bitwise,
    [IR_VANDN] = emit_bitwise,   [IR_VNOT] = emit_bitwise,  [IR_VBSL] = emit_bitwise,
    [IR_VNEG] = emit_neg,        [IR_VABS] = emit_abs,      [IR_VCMPGTU] = emit_gtu,
    [IR_VSHL] = emit_shift,      [IR_VSHR] = emit_shift,    [IR_VSAR] = emit_shift,
    [IR_VZIP1] = emit_zip,       [IR_VZIP2] = emit_zip,     [IR_VUZP1] = emit_unzip,
    [IR_VUZP2] = emit_unzip,     [IR_VADDP] = emit_addp,    [IR_VEXTEND] = emit_extend,
    [IR_VMULL] = emit_mull,      [IR_VNARROW] = emit_narrow, [IR_VSPLAT] = emit_splat,
    [IR_VDUP] = emit_dup,        [IR_VINS] = emit_ins,      [IR_VINSV] = emit_insv,
    [IR_VGET] = emit_get,        [IR_VREV] = emit_rev,      [IR_VEXT] = emit_ext,
    [IR_VTBL] = emit_table,      [IR_VPAIR] = emit_pair,    [IR_VCNT] = emit_popcount,
    [IR_VPMULL] = x64_emit_pmull, [IR_VAES] = x64_emit_aes, [IR_VSHA] = x64_emit_sha,
    [IR_VDOT] = emit_dot,
};

void x64_emit_vec(struct x64_gen *g, const struct ra_ins *i)
{
    if (x64_evex_emit(g, i))
        return;
    emit_fn *fn = emitters[x64_node(g, i)->op];
    (fn ? fn : emit_plain)(g, i);
}

static bool fp_has_emitter(const struct host_cpu *cpu, const struct ir_region *r, const struct ir_node *n)
{
    unsigned round = n->aux >> 4 & 7;
    bool vector = n->type == IR_V64 || n->type == IR_V128;
    switch (n->op) {
    case IR_F2IM:
        return true;
    case IR_FMOV:
    case IR_FBITS:
        return n->type != IR_F16;
    case IR_ZX:
    case IR_FBOX:
    case IR_FUNBOX:
    case IR_FCANON:
    case IR_FPFLAGS:
        return true;
    case IR_FMA:
        return (n->aux & 15) != IR_F16 && cpu->level >= X64_AVX2;
    case IR_FMIN:
    case IR_FMAX:
    case IR_FMINNM:
    case IR_FMAXNM:
        return (n->aux & 15) != IR_F16;
    case IR_F2I:
        return (n->aux & 15) != IR_F16 && !n->imm &&
               (round == 3 || (round != 4 && n->aux >> 7 & 1));
    case IR_I2F:
        return n->type != IR_F16 && !n->imm && round == IR_ROUND_ENV;
    case IR_F2F:
        if (n->type == IR_F16 || (n->aux & 15) == IR_F16)
            return cpu->features[X64_F_F16C] && (n->type == IR_F32 || ((n->aux & 15) == IR_F32 && !r->tiny));
        return true;
    case IR_FROUND:
        return (n->aux & 15) != IR_F16 && round != 4;
    case IR_F2IV: /* others by lane, here and below */
    case IR_I2FV:
        return vector && (n->aux & 15) == IR_F32 && n->aux >> 7 & 1 && !n->imm &&
               round == (n->op == IR_F2IV ? FP_ROUND_ZERO : IR_ROUND_ENV);
    case IR_FCMPV:
        return (n->aux & 15) != IR_F16 &&
               (cpu->level >= X64_AVX2 || (n->aux >> 4 & 8) || !(n->aux >> 4 & 7));
    default:
        return (n->aux & 15) != IR_F16;
    }
}

static bool vec_has_emitter(const struct host_cpu *cpu, const struct ir_node *n)
{
    unsigned lane = n->aux & 15;
    switch (n->op) {
    case IR_VADDP:
        return lane;
    case IR_VPMULL:
        return cpu->features[X64_F_PCLMUL];
    case IR_VAES:
        return cpu->features[X64_F_AES];
    case IR_VSHA:
        return cpu->features[X64_F_SHA];
    case IR_VZIP1:
    case IR_VZIP2:
    case IR_VUZP1:
    case IR_VUZP2:
        return n->type == IR_V128 || lane < 3;
    case IR_VSHL:
    case IR_VSHR:
    case IR_VSAR:
    case IR_VABS:
    case IR_VCMPGTU:
        return x64_vec_insn(n) != NONE;
    case IR_VSHLV:
    case IR_VSHRV:
    case IR_VSARV:
        return cpu->level >= X64_AVX2 && x64_vec_insn(n) != NONE;
    case IR_VNEG:
        return true;
    default:
        return emitters[n->op] || x64_vec_insn(n) != NONE;
    }
}

bool x64_has(const void *host_cpu, const struct ir_region *r, const struct ir_node *n)
{
    const struct host_cpu *cpu = host_cpu;
    if (x64_is_plain(n))
        return x64_has_plain(n);
    if (ir_soft_fp(r, n) && (r->soft_fp || (n->op != IR_F2I && n->op != IR_F2IM))) /* they have a range test */
        return false;
    if (n->op == IR_FCMP || n->op == IR_FL_FCMP)
        return (n->aux & 15) != IR_F16;
    if (x64_evex_has(cpu, n))
        return true;
    if (n->op >= IR_FADD && n->op <= IR_FPFLAGS)
        return fp_has_emitter(cpu, r, n);
    if (n->op >= IR_VADD && n->op <= IR_VAES)
        return vec_has_emitter(cpu, n);
    return true;
}
