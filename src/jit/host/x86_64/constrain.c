/* What each operation wants of the allocator. */
#include <string.h>

#include "jit/host/x86_64/x64.h"

bool x64_imm_fits(const struct ir_region *r, irv v, bool wide)
{
    if (!ir_is_const(r, v) || !ir_type_is_int(r->node[v].type))
        return false;
    u64 x = r->node[v].imm;
    return !wide || (s64)x == (s32)x;
}

static const u8 cc_of_sub[14] = {XCC_E, XCC_NE, XCC_AE, XCC_B,  XCC_S,  XCC_NS, XCC_O,
                                 XCC_NO, XCC_A, XCC_BE, XCC_GE, XCC_L,  XCC_G,  XCC_LE};

/* Conditions after ucomis; swap: with the operands exchanged. */
static const struct {
    u8 cc;
    bool swap;
    s8 parity;
} cc_of_fcmp[14] = {
    [IR_CC_EQ] = {XCC_E, false, 1},  [IR_CC_NE] = {XCC_NE, false, -1}, [IR_CC_CS] = {XCC_BE, true, 0},
    [IR_CC_CC] = {XCC_A, true, 0},   [IR_CC_MI] = {XCC_A, true, 0},    [IR_CC_PL] = {XCC_BE, true, 0},
    [IR_CC_VS] = {XCC_P, false, 0},  [IR_CC_VC] = {XCC_NP, false, 0},  [IR_CC_HI] = {XCC_B, true, 0},
    [IR_CC_LS] = {XCC_AE, true, 0},  [IR_CC_GE] = {XCC_AE, false, 0},  [IR_CC_LT] = {XCC_B, false, 0},
    [IR_CC_GT] = {XCC_A, false, 0},  [IR_CC_LE] = {XCC_BE, false, 0},
};

static void resolve_icmp(const struct ir_node *n, struct x64_cond *c)
{
    static const u8 cc[12] = {XCC_E, XCC_NE, XCC_B, XCC_AE, XCC_BE, XCC_A,
                              XCC_L, XCC_GE, XCC_LE, XCC_G, XCC_E, XCC_NE};
    unsigned cond = n->aux & 15;
    c->kind = cond >= IR_TZ ? XC_TEST : XC_CMP;
    c->wide = n->aux >> 4 == 2;
    c->cc = cc[cond];
    c->a = n->a;
    c->b = n->b;
}

static void set_fcmp(struct x64_cond *c, const struct ir_node *n, unsigned type, bool swap)
{
    c->kind = XC_FCMP;
    c->dbl = type == IR_F64;
    c->a = swap ? n->b : n->a;
    c->b = swap ? n->a : n->b;
}

static bool resolve_fcmp(const struct ir_region *r, const struct ir_node *n, struct x64_cond *c)
{
    static const struct {
        u8 cc;
        bool swap;
    } map[5] = {{XCC_E, false}, {XCC_A, true}, {XCC_AE, true}, {XCC_A, false}, {XCC_AE, false}};
    unsigned cond = n->aux >> 4 & 15, type = n->aux & 15;
    if (type == IR_F16 || ir_soft_fp(r, n))
        return false;
    set_fcmp(c, n, type, map[cond & 7].swap);
    c->cc = map[cond & 7].cc;
    c->parity = (cond & 7) == IR_FEQ;
    c->signalling = cond & 8;
    return true;
}

static bool resolve_cc(const struct ir_region *r, const struct ir_node *n, irv block_first,
                       struct x64_cond *c)
{
    const struct ir_node *f = n->a >= block_first ? &r->node[n->a] : NULL;
    c->cc = cc_of_sub[n->aux];
    c->fused = n->a;
    switch (f ? f->op : IR_NOPS) {
    case IR_FL_SUB:
        c->kind = XC_CMP;
        break;
    case IR_FL_ADD:
        c->kind = XC_ADD;
        c->carry = true;
        break;
    case IR_FL_LOGIC:
        if (n->aux == IR_CC_CS || n->aux == IR_CC_CC || n->aux == IR_CC_HI || n->aux == IR_CC_LS) {
            c->kind = XC_ADD; /* a + 0: no carry, complemented */
            c->carry = true;
        } else {
            c->kind = XC_TEST;
        }
        break;
    case IR_FL_FCMP:
        if ((f->aux & 15) == IR_F16 || ir_soft_fp(r, f))
            break;
        set_fcmp(c, f, f->aux & 15, cc_of_fcmp[n->aux].swap);
        c->cc = cc_of_fcmp[n->aux].cc;
        c->parity = cc_of_fcmp[n->aux].parity;
        c->signalling = f->aux >> 8 & 1;
        return true;
    default:
        break;
    }
    if (c->kind != XC_REG) {
        c->wide = f->aux == 64;
        c->a = f->a;
        c->b = f->op == IR_FL_LOGIC ? (c->kind == XC_TEST ? f->a : 0) : f->b;
        return true;
    }
    c->kind = XC_IMAGE;
    c->a = n->a;
    c->fused = 0;
    c->cc = XCC_B;
    return true;
}

void x64_resolve_cond(const struct ir_region *r, irv v, irv block_first, struct x64_cond *c)
{
    *c = (struct x64_cond){.kind = XC_REG, .cc = XCC_NE, .a = v};
    if (v < block_first || v < IR_FIRST_NODE)
        return;
    const struct ir_node *n = &r->node[v];
    if (n->op == IR_ICMP) {
        resolve_icmp(n, c);
        c->fused = v;
    } else if (n->op == IR_FCMP) {
        if (resolve_fcmp(r, n, c))
            c->fused = v;
    } else if (n->op == IR_CC) {
        resolve_cc(r, n, block_first, c);
        c->mask = (u16)n->aux; /* the condition; its mask is looked up when emitting */
    }
}

/* ---- constraints ---- */

static void add_src(struct ra_con *con, const struct ir_region *r, irv v, int imm_width)
{
    if (imm_width && x64_imm_fits(r, v, imm_width == 64))
        con->imm |= (u8)(1u << con->nsrc);
    con->src[con->nsrc++] = v;
}

/* The operands of a comparison that this node makes itself. Two sources, always; k: the first or second such
 * comparison. */
static void cond_sources(struct ra_con *con, const struct ir_region *r, const struct x64_cond *c,
                         unsigned k)
{
    add_src(con, r, c->a, 0);
    if (c->b) {
        int width = c->kind == XC_FCMP ? 0 : c->wide ? 64 : 32;
        add_src(con, r, c->b, width);
    } else {
        con->imm |= (u8)(1u << con->nsrc);
        con->src[con->nsrc++] = c->a; /* not read */
    }
    con->fused[k] = c->fused;
    if (c->kind == XC_ADD || c->kind == XC_IMAGE)
        con->ntmp[0] = 1;
}

static void constrain_select(const struct ir_region *r, const struct ir_node *n, irv block_first,
                             struct ra_con *con)
{
    struct x64_cond c;
    x64_resolve_cond(r, n->a, block_first, &c);
    cond_sources(con, r, &c, 0);
    add_src(con, r, n->b, 0);
    add_src(con, r, n->c, 0);
    con->apart = 4 | (c.parity ? 8 : 0);
    u64 yes = ir_is_const(r, n->b) ? r->node[n->b].imm : 2;
    u64 no = ir_is_const(r, n->c) ? r->node[n->c].imm : 2;
    if (!ir_type_is_vec(n->type) && yes == 1 && no == 0 && !c.parity)
        con->imm |= 12; /* setcc */
}

static void constrain_compare(const struct ir_region *r, irv v, bool needed, irv block_first,
                              struct ra_con *con)
{
    struct x64_cond c;
    con->sunk = !needed;
    x64_resolve_cond(r, v, block_first, &c);
    con->nsrc = 0;
    cond_sources(con, r, &c, 0);
    con->fused[0] = 0;
    if (c.parity)
        con->ntmp[0] = 1;
    if (!needed)
        con->out_class = 0;
}

static void constrain_flags(const struct ir_region *r, const struct ir_node *n, bool needed,
                            struct ra_con *con)
{
    con->sunk = !needed;
    con->nsrc = 0;
    con->out_class = needed ? 1 : 0;
    switch (n->op) {
    case IR_FL_SUB:
    case IR_FL_ADD:
        add_src(con, r, n->a, 0);
        add_src(con, r, n->b, n->aux);
        break;
    case IR_FL_FCMP:
        add_src(con, r, n->a, 0);
        add_src(con, r, n->b, 0);
        break;
    case IR_FL_ADC:
        add_src(con, r, n->a, 0);
        add_src(con, r, n->b, 0);
        add_src(con, r, n->c, 0);
        break;
    default: /* FL_LOGIC */
        add_src(con, r, n->a, 0);
        break;
    }
    if (needed) {
        con->clobber = 1u << RAX;
        con->out = RAX;
        con->ntmp[0] = 1;
    }
}

static void constrain_int(const struct host_cpu *cpu, const struct ir_region *r,
                          const struct ir_node *n, struct ra_con *con)
{
    int width = n->type == IR_I32 ? 32 : 64;
    bool bmi = cpu->features[X64_F_BMI];
    switch (n->op) {
    case IR_ADD:
    case IR_AND:
    case IR_OR:
    case IR_XOR:
        if (x64_imm_fits(r, n->b, width == 64))
            con->imm |= 2;
        break;
    case IR_SUB:
        con->apart = 2;
        break;
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROR:
        if (ir_is_const(r, n->b))
            con->imm |= 2;
        else if (!bmi || n->op == IR_ROR)
            con->clobber = 1u << RCX;
        break;
    case IR_ANDN:
        con->ntmp[0] = bmi ? 0 : 1;
        break;
    case IR_MULHU:
    case IR_MULHS:
        con->clobber = 1u << RAX | 1u << RDX;
        con->out = RDX;
        break;
    case IR_DIVU:
    case IR_DIVS:
        con->clobber = 1u << RAX | 1u << RDX;
        con->out = RAX;
        break;
    case IR_REMU:
    case IR_REMS:
        con->clobber = 1u << RAX | 1u << RDX;
        con->out = RDX;
        break;
    case IR_CLZ:
    case IR_CTZ:
        if (!cpu->features[X64_F_LZCNT]) {
            con->apart = 1;
            con->ntmp[0] = 1;
        }
        break;
    case IR_BFI:
        con->ntmp[0] = 1;
        break;
    case IR_EXTR:
        con->apart = n->a == n->b ? 0 : 1;
        break;
    case IR_ADC:
        con->apart = 2;
        con->ntmp[0] = 1;
        break;
    case IR_CRC32:
        con->apart = 2;
        break;
    default:
        break;
    }
}

static void constrain_atomic(const struct ir_node *n, bool needed, struct ra_con *con)
{
    bool wide = ir_mem_bytes(n) == 16;
    u32 quad = 1u << RAX | 1u << RDX | 1u << RBX | 1u << RCX;
    switch (n->op) {
    case IR_CAS:
        con->clobber = wide ? quad : 1u << RAX;
        con->out = wide ? RA_NOREG : RAX;
        break;
    case IR_SC:
        con->clobber = wide ? quad : 1u << RAX;
        con->out = RAX;
        break;
    case IR_RMW:
        con->ntmp[0] = 2;
        if (n->aux >> 8 != IR_RMW_ADD && n->aux >> 8 != IR_RMW_SWAP) {
            con->clobber = 1u << RAX;
            con->out = RAX;
        }
        break;
    default:
        break;
    }
}

static void constrain_mem(const struct ir_region *r, const struct ir_node *n, bool needed,
                          struct ra_con *con)
{
    con->nsrc = 0;
    con->imm = 0;
    if (!n->a)
        return; /* fence, clrex */
    add_src(con, r, n->a, 0);
    if (n->op == IR_LD || n->op == IR_ST) {
        if (n->b)
            add_src(con, r, n->b, 0);
        if (n->aux & (IR_MEM_SEXT32 | IR_MEM_ZEXT32))
            con->ntmp[0]++;
    }
    if (n->op == IR_LD) {
        if (ir_type_is_vec(n->type) && ir_mem_bytes(n) == 2)
            con->ntmp[0]++;
    } else if (n->op == IR_ST) {
        bool sc = n->aux & IR_MEM_SC;
        add_src(con, r, n->c, sc ? 0 : ir_mem_bytes(n) == 8 ? 64 : 32);
        if (sc || (ir_type_is_vec(ir_value_type(r, n->c)) && ir_mem_bytes(n) == 2))
            con->ntmp[0]++;
    } else if (n->op == IR_CAS) {
        add_src(con, r, n->b, 0);
        add_src(con, r, n->c, 0);
    } else if (n->op == IR_SC || n->op == IR_RMW) {
        add_src(con, r, n->b, 0);
    } else if (n->op == IR_LL && ir_type_is_vec(n->type) && ir_mem_bytes(n) == 2) {
        con->ntmp[0]++;
    }
    constrain_atomic(n, needed, con);
    if (r->mmu && n->op != IR_CHKALIGN)
        con->ntmp[0] += 2; /* address and entry, the last ones */
}

static bool two_operand(const struct host_cpu *cpu)
{
    return cpu->level < X64_AVX2;
}

/* Must the result be looked at for the least normal number? */
bool x64_checks_tiny(const struct ir_region *r, const struct ir_node *n)
{
    return r->tiny && (n->op == IR_FMUL || n->op == IR_FDIV || n->op == IR_FMA ||
                       (n->op == IR_F2F && n->type == IR_F32 && (n->aux & 15) == IR_F64));
}

static void constrain_fp(const struct host_cpu *cpu, const struct ir_region *r,
                         const struct ir_node *n, struct ra_con *con)
{
    bool vector = n->type == IR_V64 || n->type == IR_V128;
    switch (n->op) {
    case IR_FADD:
    case IR_FSUB:
    case IR_FMUL:
    case IR_FDIV:
        con->apart = two_operand(cpu) ? 2 : 0;
        break;
    case IR_FMIN:
    case IR_FMAX:
    case IR_FMINNM:
    case IR_FMAXNM:
        con->apart = 3; /* the cold path reads them again */
        con->ntmp[0] = vector;
        break;
    case IR_FMA:
        con->apart = 7;
        con->ntmp[0] = vector && cpu->level < X64_AVX512;
        break;
    case IR_FCMPV:
        con->apart = 3;
        break;
    case IR_F2F:
        con->ntmp[0] = (n->aux & 15) == IR_F16;
        break;
    case IR_I2F:
        con->ntmp[0] = cpu->level < X64_AVX512;
        break;
    case IR_ZX:
        con->ntmp[0] = (n->aux & 15) == IR_F16;
        break;
    case IR_FUNBOX:
        con->ntmp[0] = 1;
        break;
    case IR_FCANON:
        con->ntmp[0] = n->type == IR_F16;
        break;
    default:
        break;
    }
    if (x64_checks_tiny(r, n)) { /* the cold path reads the operands again */
        con->apart = 7;
        con->ntmp[0] = vector && cpu->level < X64_AVX512;
    }
}

static void constrain_sha(unsigned what, struct ra_con *con)
{
    switch (what) {
    case IR_SHA256_ROUNDS:
    case IR_SHA256_ROUNDS2:
        con->clobber = 1u << RA_VEC; /* xmm0 is an operand of the host's instruction */
        con->ntmp[1] = 2;
        break;
    case IR_SHA256_SCHEDULE1:
        con->apart = 2;
        break;
    case IR_SHA256_SCHEDULE2:
        con->apart = 4;
        break;
    default:
        con->apart = 0;
        con->ntmp[1] = 1;
        break;
    }
}

static void constrain_vec(const struct host_cpu *cpu, const struct ir_node *n, struct ra_con *con)
{
    bool two = two_operand(cpu);
    con->apart = two ? 6 : 0; /* dst is written while later operands are still read */
    switch (n->op) {
    case IR_VANDN:
    case IR_VEXT:
        con->apart = two ? 1 : 0;
        break;
    case IR_VNEG:
        con->apart = 1;
        break;
    case IR_VCNT:
        con->apart = 1;
        con->ntmp[1] = 1;
        break;
    case IR_VBSL:
        con->apart = 7;
        break;
    case IR_VCMPGTS:
        con->apart = two ? 2 : 0;
        break;
    case IR_VCMPGTU:
    case IR_VUZP1:
    case IR_VUZP2:
    case IR_VMULL:
        con->apart = 3;
        break;
    case IR_VINSV:
        con->ntmp[0] = 1;
        con->apart = two ? 2 : 0;
        break;
    case IR_VDOT:
        con->apart = 3;
        con->ntmp[1] = 1;
        break;
    case IR_VSHA:
        constrain_sha(n->aux, con);
        break;
    case IR_VPAIR:
    case IR_VAES:
        con->apart = 3;
        break;
    default:
        break;
    }
}

void x64_constrain(const void *opaque, const struct ir_region *r, irv v, bool needed,
                   irv block_first, struct ra_con *con)
{
    const struct host_cpu *cpu = opaque;
    const struct ir_node *n = &r->node[v];
    memset(con, 0, sizeof(*con));
    con->out = RA_NOREG;
    con->out_class = n->type == IR_VOID ? 0 : ir_type_is_vec(n->type) ? 2 : 1;
    bool by_c = !x64_has_emitter(cpu, r, n);
    if ((n->op == IR_ICMP || n->op == IR_FCMP || n->op == IR_CC) && !by_c) {
        constrain_compare(r, v, needed, block_first, con);
        return;
    }
    if (n->op == IR_SELECT || n->op == IR_FL_SELECT) {
        constrain_select(r, n, block_first, con);
        return;
    }
    if (n->op >= IR_FL_ADD && n->op <= IR_FL_FCMP && !by_c) {
        constrain_flags(r, n, needed, con);
        return;
    }
    if (n->op == IR_BR || n->op == IR_EXIT_BR || n->op == IR_EXIT_IF) {
        struct x64_cond c;
        x64_resolve_cond(r, n->a, block_first, &c);
        cond_sources(con, r, &c, 0);
        if (n->op == IR_EXIT_IF && n->b) {
            x64_resolve_cond(r, n->b, block_first, &c);
            cond_sources(con, r, &c, 1);
        }
        return;
    }
    if (ir_effects[n->op] & IR_E_TERM) {
        if (n->a) /* the allocator brings the target where it belongs */
            add_src(con, r, n->a, 0);
        return;
    }
    const irv arg[3] = {n->a, n->b, n->c};
    for (unsigned i = 0; i < 3 && n->op != IR_POLL && n->op != IR_FENCE; i++) {
        if (arg[i])
            add_src(con, r, arg[i], 0);
    }
    if (n->op == IR_HELPER || by_c) {
        con->imm = 0;
        for (unsigned i = 0; i < con->nsrc; i++)
            con->imm |= (u8)(x64_imm_fits(r, con->src[i], true) << i);
        return;
    }
    if (x64_evex_constrain(cpu, r, v, block_first, con))
        return;
    if (n->op >= IR_ADD && n->op <= IR_CRC32)
        constrain_int(cpu, r, n, con);
    else if (n->op >= IR_LD && n->op <= IR_CHKALIGN)
        constrain_mem(r, n, needed, con);
    else if (n->op >= IR_FADD && n->op <= IR_FPFLAGS)
        constrain_fp(cpu, r, n, con);
    else if (n->op >= IR_VADD && n->op <= IR_VAES)
        constrain_vec(cpu, n, con);
}
