/* Comparisons, conditions and flag images. A flag image is N Z C V in bits 3..0 of a register. */
#include "jit/host/x86_64/x64.h"
#include "jit/ir/fl.h"

u64 x64_const(const struct x64_gen *g, irv v)
{
    return g->r->node[v].imm;
}

static void emit_cmp(struct x64_gen *g, const struct x64_cond *c, unsigned a, unsigned b)
{
    if (b != RA_IMM) {
        x64_alu_rr(&g->a, XALU_CMP, c->wide, a, b);
    } else {
        s32 imm = (s32)x64_const(g, c->b);
        if (imm)
            x64_alu_ri(&g->a, XALU_CMP, c->wide, a, imm);
        else
            x64_test_rr(&g->a, c->wide, a, a);
    }
}

static void emit_test(struct x64_gen *g, const struct x64_cond *c, unsigned a, unsigned b)
{
    if (b != RA_IMM)
        x64_test_rr(&g->a, c->wide, a, b);
    else if (c->a == c->b)
        x64_test_rr(&g->a, c->wide, a, a);
    else
        x64_test_ri(&g->a, c->wide, a, (s32)x64_const(g, c->b));
}

static void emit_add(struct x64_gen *g, const struct x64_cond *c, unsigned a, unsigned b,
                     unsigned tmp)
{
    x64_mov(&g->a, tmp, a);
    if (b != RA_IMM)
        x64_alu_rr(&g->a, XALU_ADD, c->wide, tmp, b);
    else
        x64_alu_ri(&g->a, XALU_ADD, c->wide, tmp, c->b ? (s32)x64_const(g, c->b) : 0);
}

static void emit_ucomis(struct x64_gen *g, const struct x64_cond *c, unsigned a, unsigned b)
{
    static const u8 insn[2][2] = {{X_UCOMISS, X_UCOMISD}, {X_COMISS, X_COMISD}};
    x64_v2(&g->a, (enum x64_insn)insn[c->signalling][c->dbl], xr(a), xr(b));
}

void x64_emit_cond(struct x64_gen *g, const struct x64_cond *c, unsigned a, unsigned b, unsigned tmp)
{
    switch (c->kind) {
    case XC_REG:
        x64_test_rr(&g->a, false, a, a);
        break;
    case XC_CMP:
        emit_cmp(g, c, a, b);
        break;
    case XC_TEST:
        emit_test(g, c, a, b);
        break;
    case XC_ADD:
        emit_add(g, c, a, b, tmp);
        break;
    case XC_FCMP:
        emit_ucomis(g, c, a, b);
        break;
    default: /* XC_IMAGE */
        x64_mov_ri(&g->a, tmp, ir_cc_mask(c->mask));
        x64_rr(&g->a, X_BT_RR, false, a, tmp);
        break;
    }
    if (c->carry)
        x64_byte(&g->a, 0xf5); /* cmc */
}

/* A condition as 0 or 1 in dst. */
static void emit_setcc(struct x64_gen *g, const struct x64_cond *c, unsigned dst, unsigned tmp)
{
    x64_setcc(&g->a, c->cc, dst);
    if (c->parity) {
        x64_setcc(&g->a, c->parity > 0 ? XCC_NP : XCC_P, tmp);
        x64_alu_rr(&g->a, c->parity > 0 ? XALU_AND : XALU_OR, false, dst, tmp);
    }
    x64_rr(&g->a, X_MOVZX8, false, dst, dst);
}

static void emit_compare(struct x64_gen *g, const struct ra_ins *i)
{
    struct x64_cond c;
    x64_resolve_cond(g->r, i->v, g->block_first, &c);
    x64_emit_cond(g, &c, i->src[0], i->src[1], i->tmp[0]);
    if (i->dst != RA_NOREG)
        emit_setcc(g, &c, i->dst, i->tmp[0]);
}

void x64_emit_select(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    struct x64_cond c;
    unsigned yes = i->src[2], no = i->src[3], dst = i->dst;
    bool wide = n->type == IR_I64;
    x64_resolve_cond(g->r, n->a, g->block_first, &c);
    x64_emit_cond(g, &c, i->src[0], i->src[1], i->tmp[0]);
    if (yes == RA_IMM) {
        emit_setcc(g, &c, dst, 0);
        return;
    }
    if (ir_type_is_vec(n->type)) {
        u8 *over[2] = {NULL, NULL};
        x64_vmov(&g->a, xr(dst), xr(no));
        if (c.parity > 0)
            over[1] = x64_jcc(&g->a, XCC_P, false);
        if (c.parity < 0)
            over[1] = x64_jcc(&g->a, XCC_P, false);
        over[0] = x64_jcc(&g->a, c.cc ^ 1, false);
        if (c.parity < 0)
            x64_patch(over[1], g->a.p);
        x64_vmov(&g->a, xr(dst), xr(yes));
        x64_patch(over[0], g->a.p);
        if (c.parity > 0)
            x64_patch(over[1], g->a.p);
        return;
    }
    if (c.parity > 0) { /* equal and ordered, else `no` */
        if (wide)
            x64_mov(&g->a, dst, yes);
        else
            x64_mov32(&g->a, dst, yes);
        x64_cmov(&g->a, c.cc ^ 1, wide, dst, no);
        x64_cmov(&g->a, XCC_P, wide, dst, no);
        return;
    }
    if (wide)
        x64_mov(&g->a, dst, no);
    else if (dst != no)
        x64_mov32(&g->a, dst, no);
    x64_cmov(&g->a, c.cc, wide, dst, yes);
    if (c.parity < 0)
        x64_cmov(&g->a, XCC_P, wide, dst, yes);
}

/* rax = image of the host's flags; the carry is already the guest's. */
static void image_from_flags(struct x64_gen *g, unsigned tmp)
{
    struct x64_asm *a = &g->a;
    x64_byte(a, 0x9f); /* lahf: SF ZF . . . . . CF in bits 15, 14, 8 */
    x64_setcc(a, XCC_O, RAX);
    if (g->cpu->features[X64_F_BMI]) {
        x64_mov_ri(a, tmp, 0xc101);
        x64_vex3(a, X_PEXT, false, RAX, RAX, tmp);
        return;
    }
    x64_rr(a, X_MOVZX16, false, tmp, RAX);
    x64_rr(a, X_MOVZX8, false, RAX, RAX);
    x64_shift_ri(a, XSH_SHR, false, tmp, 7); /* CF to bit 1, ZF and SF to 7 and 8 */
    x64_test_ri(a, false, tmp, 2);
    u8 *skip = x64_jcc(a, XCC_E, false);
    x64_alu_ri(a, XALU_OR, false, RAX, 2);
    x64_patch(skip, a->p);
    x64_shift_ri(a, XSH_SHR, false, tmp, 5);
    x64_alu_ri(a, XALU_AND, false, tmp, 12);
    x64_alu_rr(a, XALU_OR, false, RAX, tmp);
}

static void image_from_fcmp(struct x64_gen *g, unsigned tmp)
{
    static const struct {
        u8 cc, image;
    } step[] = {{XCC_B, IR_FL_N}, {XCC_E, IR_FL_Z | IR_FL_C}, {XCC_P, IR_FL_C | IR_FL_V}};
    x64_mov_ri(&g->a, RAX, IR_FL_C);
    for (unsigned i = 0; i < ARRAY_LEN(step); i++) {
        x64_mov_ri(&g->a, tmp, step[i].image);
        x64_cmov(&g->a, step[i].cc, false, RAX, tmp);
    }
}

/* c != 0 into the carry flag, through tmp. */
static void carry_in(struct x64_gen *g, unsigned c, unsigned tmp)
{
    x64_mov(&g->a, tmp, c);
    x64_alu_ri(&g->a, XALU_ADD, false, tmp, -1);
}

void x64_emit_flags(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    bool wide = n->aux == 64;
    unsigned tmp = i->tmp[0];
    struct x64_cond c = {.wide = wide, .a = n->a, .b = n->b};
    switch (n->op) {
    case IR_ICMP:
    case IR_FCMP:
    case IR_CC:
        emit_compare(g, i);
        return;
    case IR_FL_SUB:
        if (i->src[1] == RA_IMM)
            x64_alu_ri(&g->a, XALU_CMP, wide, i->src[0], (s32)x64_const(g, n->b));
        else
            x64_alu_rr(&g->a, XALU_CMP, wide, i->src[0], i->src[1]);
        x64_byte(&g->a, 0xf5); /* cmc: carry means no borrow */
        image_from_flags(g, tmp);
        return;
    case IR_FL_ADD:
        emit_add(g, &c, i->src[0], i->src[1], tmp);
        image_from_flags(g, tmp);
        return;
    case IR_FL_ADC:
        carry_in(g, i->src[2], tmp);
        x64_mov(&g->a, tmp, i->src[0]);
        x64_alu_rr(&g->a, XALU_ADC, wide, tmp, i->src[1]);
        image_from_flags(g, tmp);
        return;
    case IR_FL_LOGIC:
        x64_test_rr(&g->a, wide, i->src[0], i->src[0]);
        image_from_flags(g, tmp);
        return;
    case IR_FL_FCMP:
        c.dbl = (n->aux & 15) == IR_F64;
        c.signalling = n->aux >> 8 & 1;
        emit_ucomis(g, &c, i->src[0], i->src[1]);
        if (i->dst != RA_NOREG)
            image_from_fcmp(g, tmp);
        return;
    case IR_FL_BITS:
        x64_mov(&g->a, i->dst, i->src[0]);
        if (n->a < IR_FIRST_NODE || g->r->node[n->a].op != IR_FL_GET)
            x64_alu_ri(&g->a, XALU_AND, false, i->dst, 15);
        return;
    default: /* FL_GET */
        x64_mov(&g->a, i->dst, i->src[0]);
        return;
    }
}

/* a + b + c, for x64_emit_int. */
void x64_emit_adc(struct x64_gen *g, const struct ra_ins *i);
void x64_emit_adc(struct x64_gen *g, const struct ra_ins *i)
{
    bool wide = x64_wide(x64_node(g, i));
    carry_in(g, i->src[2], i->tmp[0]);
    x64_mov(&g->a, i->dst, i->src[0]);
    x64_alu_rr(&g->a, XALU_ADC, wide, i->dst, i->src[1]);
}
