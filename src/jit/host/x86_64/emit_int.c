/* Integer operations. */
#include "base/bits.h"
#include "jit/host/x86_64/x64.h"

void x64_emit_adc(struct x64_gen *g, const struct ra_ins *i);

static void mov_w(struct x64_gen *g, bool wide, unsigned dst, unsigned src)
{
    if (wide)
        x64_mov(&g->a, dst, src);
    else
        x64_mov32(&g->a, dst, src);
}

/* dst = src unless they are one; the upper half may be junk before a 32-bit operation. */
static void copy(struct x64_gen *g, unsigned dst, unsigned src)
{
    x64_mov(&g->a, dst, src);
}

static void emit_add(struct x64_gen *g, const struct ra_ins *i, bool wide)
{
    struct x64_asm *a = &g->a;
    unsigned dst = i->dst, x = i->src[0], y = i->src[1];
    if (y == RA_IMM) {
        s32 imm = (s32)x64_const(g, x64_node(g, i)->b);
        if (dst == x)
            x64_alu_ri(a, XALU_ADD, wide, dst, imm);
        else
            x64_lea(a, wide, dst, x64_at(x, imm));
    } else if (dst == x || dst == y) {
        x64_alu_rr(a, XALU_ADD, wide, dst, dst == x ? y : x);
    } else {
        x64_lea(a, wide, dst, (struct x64_mem){(u8)x, (u8)y, 0, 0});
    }
}

static void emit_commutative(struct x64_gen *g, const struct ra_ins *i, enum x64_alu op, bool wide)
{
    struct x64_asm *a = &g->a;
    unsigned dst = i->dst, x = i->src[0], y = i->src[1];
    if (y == RA_IMM) {
        copy(g, dst, x);
        x64_alu_ri(a, op, wide, dst, (s32)x64_const(g, x64_node(g, i)->b));
    } else if (dst == y) {
        x64_alu_rr(a, op, wide, dst, x);
    } else {
        copy(g, dst, x);
        x64_alu_rr(a, op, wide, dst, y);
    }
}

static void emit_mul(struct x64_gen *g, const struct ra_ins *i, bool wide)
{
    unsigned dst = i->dst, x = i->src[0], y = i->src[1];
    if (dst == y) {
        x64_rr(&g->a, X_IMUL, wide, dst, x);
    } else {
        copy(g, dst, x);
        x64_rr(&g->a, X_IMUL, wide, dst, y);
    }
}

static void emit_mulh(struct x64_gen *g, const struct ra_ins *i, bool is_signed)
{
    x64_mov(&g->a, RAX, i->src[0]);
    x64_unary(&g->a, is_signed ? XU_IMUL : XU_MUL, true, i->src[1]);
}

/* Division never traps: x / 0 = 0, MIN / -1 = MIN. */
/* Division by zero and, as the host faults there, by -1 are C's. */
static void emit_div(struct x64_gen *g, const struct ra_ins *i, bool wide, bool is_signed)
{
    struct x64_asm *a = &g->a;
    unsigned y = i->src[1];
    struct x64_cold *c = x64_cold_eval(g, i);
    x64_test_rr(a, wide, y, y);
    x64_cold_from(c, x64_jcc(a, XCC_E, false));
    if (is_signed) {
        x64_alu_ri(a, XALU_CMP, wide, y, -1);
        x64_cold_from(c, x64_jcc(a, XCC_E, false));
    }
    mov_w(g, wide, RAX, i->src[0]);
    if (!is_signed) {
        x64_alu_rr(a, XALU_XOR, false, RDX, RDX);
    } else {
        if (wide)
            x64_byte(a, 0x48);
        x64_byte(a, 0x99); /* cdq, cqo */
    }
    x64_unary(a, is_signed ? XU_IDIV : XU_DIV, wide, y);
}

static void emit_shift(struct x64_gen *g, const struct ra_ins *i, bool wide)
{
    static const u8 group[] = {XSH_SHL, XSH_SHR, XSH_SAR, XSH_ROR};
    static const u16 bmi[] = {X_SHLX, X_SHRX, X_SARX, 0};
    const struct ir_node *n = x64_node(g, i);
    unsigned k = n->op - IR_SHL, dst = i->dst, x = i->src[0], y = i->src[1];
    if (y == RA_IMM) {
        u8 by = (u8)(x64_const(g, n->b) & (wide ? 63 : 31));
        if (n->op == IR_ROR && g->cpu->features[X64_F_BMI] && dst != x) {
            x64_rri(&g->a, X_RORX, wide, dst, x, by);
        } else {
            copy(g, dst, x);
            x64_shift_ri(&g->a, group[k], wide, dst, by);
        }
        if (!wide && !by)
            x64_mov32(&g->a, dst, dst); /* a shift by 0 leaves the upper half alone */
    } else if (bmi[k] && g->cpu->features[X64_F_BMI]) {
        x64_bmi_shift(&g->a, (enum x64_insn)bmi[k], wide, dst, x, y);
    } else {
        x64_mov32(&g->a, RCX, y);
        mov_w(g, wide, dst, x);
        x64_shift_cl(&g->a, group[k], wide, dst);
    }
}

static void emit_count(struct x64_gen *g, const struct ra_ins *i, bool wide)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned width = wide ? 64 : 32;
    bool leading = n->op == IR_CLZ;
    if (g->cpu->features[X64_F_LZCNT]) {
        x64_rr(&g->a, leading ? X_LZCNT : X_TZCNT, wide, i->dst, i->src[0]);
        return;
    }
    x64_rr(&g->a, leading ? X_BSR : X_BSF, wide, i->tmp[0], i->src[0]);
    x64_mov_ri(&g->a, i->dst, leading ? 2 * width - 1 : width);
    x64_cmov(&g->a, XCC_NE, wide, i->dst, i->tmp[0]);
    if (leading)
        x64_alu_ri(&g->a, XALU_XOR, wide, i->dst, (s32)width - 1);
}

static void emit_sext(struct x64_gen *g, unsigned dst, unsigned src, unsigned bits, bool wide)
{
    if (bits == 8)
        x64_rr(&g->a, X_MOVSX8, wide, dst, src);
    else if (bits == 16)
        x64_rr(&g->a, X_MOVSX16, wide, dst, src);
    else if (wide)
        x64_rr(&g->a, X_MOVSXD, true, dst, src);
    else
        x64_mov32(&g->a, dst, src);
}

static void emit_ubfx(struct x64_gen *g, const struct ra_ins *i, unsigned lsb, unsigned len,
                      bool wide)
{
    unsigned width = wide ? 64 : 32, dst = i->dst, src = i->src[0];
    if (lsb + len == width) {
        if (!lsb) {
            mov_w(g, wide, dst, src);
            return;
        }
        copy(g, dst, src);
        x64_shift_ri(&g->a, XSH_SHR, wide, dst, (u8)lsb);
        return;
    }
    if (!lsb && (len == 8 || len == 16)) {
        x64_rr(&g->a, len == 8 ? X_MOVZX8 : X_MOVZX16, false, dst, src);
        return;
    }
    if (!lsb && len == 32) {
        x64_mov32(&g->a, dst, src);
        return;
    }
    copy(g, dst, src);
    if (len <= 31) {
        if (lsb)
            x64_shift_ri(&g->a, XSH_SHR, wide, dst, (u8)lsb);
        x64_alu_ri(&g->a, XALU_AND, false, dst, (s32)mask64(len));
    } else {
        x64_shift_ri(&g->a, XSH_SHL, wide, dst, (u8)(width - lsb - len));
        x64_shift_ri(&g->a, XSH_SHR, wide, dst, (u8)(width - len));
    }
}

static void emit_sbfx(struct x64_gen *g, const struct ra_ins *i, unsigned lsb, unsigned len,
                      bool wide)
{
    unsigned width = wide ? 64 : 32;
    if (!lsb && (len == 8 || len == 16 || len == 32)) {
        emit_sext(g, i->dst, i->src[0], len, wide);
        return;
    }
    mov_w(g, wide, i->dst, i->src[0]);
    if (lsb + len < width)
        x64_shift_ri(&g->a, XSH_SHL, wide, i->dst, (u8)(width - lsb - len));
    if (len < width)
        x64_shift_ri(&g->a, XSH_SAR, wide, i->dst, (u8)(width - len));
}

/* Rotate the field to the bottom, replace it there, rotate back. */
static void emit_bfi(struct x64_gen *g, const struct ra_ins *i, unsigned lsb, unsigned len, bool wide)
{
    struct x64_asm *a = &g->a;
    unsigned width = wide ? 64 : 32, tmp = i->tmp[0], dst = i->dst;
    if (len == width) {
        mov_w(g, wide, dst, i->src[1]);
        return;
    }
    mov_w(g, wide, tmp, i->src[1]);
    if (len <= 31) {
        x64_alu_ri(a, XALU_AND, false, tmp, (s32)mask64(len));
    } else {
        x64_shift_ri(a, XSH_SHL, wide, tmp, (u8)(width - len));
        x64_shift_ri(a, XSH_SHR, wide, tmp, (u8)(width - len));
    }
    mov_w(g, wide, dst, i->src[0]);
    if (lsb)
        x64_shift_ri(a, XSH_ROR, wide, dst, (u8)lsb);
    x64_shift_ri(a, XSH_SHR, wide, dst, (u8)len);
    x64_shift_ri(a, XSH_SHL, wide, dst, (u8)len);
    x64_alu_rr(a, XALU_OR, wide, dst, tmp);
    if (lsb)
        x64_shift_ri(a, XSH_ROL, wide, dst, (u8)lsb);
}

static void emit_extr(struct x64_gen *g, const struct ra_ins *i, unsigned lsb, bool wide)
{
    if (i->src[0] == i->src[1] || !lsb) {
        mov_w(g, wide, i->dst, i->src[1]);
        if (lsb)
            x64_shift_ri(&g->a, XSH_ROR, wide, i->dst, (u8)lsb);
        return;
    }
    mov_w(g, wide, i->dst, i->src[1]);
    x64_rri(&g->a, X_SHRD, wide, i->src[0], i->dst, (u8)lsb);
}

static void emit_crc(struct x64_gen *g, const struct ra_ins *i, unsigned size)
{
    static const u16 insn[] = {X_CRC32_8, X_CRC32_16, X_CRC32, X_CRC32};
    x64_mov32(&g->a, i->dst, i->src[0]);
    if (size == 1)
        x64_byte(&g->a, 0x66);
    x64_rr(&g->a, (enum x64_insn)insn[size], size == 3, i->dst, i->src[1]);
}

static void emit_andn(struct x64_gen *g, const struct ra_ins *i, bool wide)
{
    if (g->cpu->features[X64_F_BMI]) {
        x64_vex3(&g->a, X_ANDN, wide, i->dst, i->src[1], i->src[0]);
        return;
    }
    x64_mov(&g->a, i->tmp[0], i->src[1]);
    x64_unary(&g->a, XU_NOT, wide, i->tmp[0]);
    copy(g, i->dst, i->src[0]);
    x64_alu_rr(&g->a, XALU_AND, wide, i->dst, i->tmp[0]);
}

static void emit_simple(struct x64_gen *g, const struct ra_ins *i, bool wide)
{
    const struct ir_node *n = x64_node(g, i);
    copy(g, i->dst, i->src[0]);
    switch (n->op) {
    case IR_SUB:
        x64_alu_rr(&g->a, XALU_SUB, wide, i->dst, i->src[1]);
        break;
    case IR_NOT:
        x64_unary(&g->a, XU_NOT, wide, i->dst);
        break;
    case IR_NEG:
        x64_unary(&g->a, XU_NEG, wide, i->dst);
        break;
    default: /* BSWAP */
        if (wide || i->dst >= 8)
            x64_byte(&g->a, (u8)(0x40 | wide << 3 | i->dst >> 3));
        x64_byte(&g->a, 0x0f);
        x64_byte(&g->a, (u8)(0xc8 | (i->dst & 7)));
        break;
    }
}

void x64_emit_int(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    bool wide = x64_wide(n);
    unsigned lsb = n->aux & 0xff, len = n->aux >> 8;
    switch (n->op) {
    case IR_ADD:
        emit_add(g, i, wide);
        break;
    case IR_MUL:
        emit_mul(g, i, wide);
        break;
    case IR_MULHU:
    case IR_MULHS:
        emit_mulh(g, i, n->op == IR_MULHS);
        break;
    case IR_DIVU:
    case IR_DIVS:
    case IR_REMU:
    case IR_REMS:
        emit_div(g, i, wide, n->op == IR_DIVS || n->op == IR_REMS);
        break;
    case IR_AND:
        emit_commutative(g, i, XALU_AND, wide);
        break;
    case IR_OR:
        emit_commutative(g, i, XALU_OR, wide);
        break;
    case IR_XOR:
        emit_commutative(g, i, XALU_XOR, wide);
        break;
    case IR_ANDN:
        emit_andn(g, i, wide);
        break;
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROR:
        emit_shift(g, i, wide);
        break;
    case IR_CLZ:
    case IR_CTZ:
        emit_count(g, i, wide);
        break;
    case IR_POPCNT:
        x64_rr(&g->a, X_POPCNT, wide, i->dst, i->src[0]);
        break;
    case IR_SEXT:
        emit_sext(g, i->dst, i->src[0], n->aux, wide);
        break;
    case IR_UBFX:
        emit_ubfx(g, i, lsb, len, wide);
        break;
    case IR_SBFX:
        emit_sbfx(g, i, lsb, len, wide);
        break;
    case IR_BFI:
        emit_bfi(g, i, lsb, len, wide);
        break;
    case IR_EXTR:
        emit_extr(g, i, n->aux, wide);
        break;
    case IR_ADC:
        x64_emit_adc(g, i);
        break;
    case IR_CRC32:
        emit_crc(g, i, n->aux & 3);
        break;
    default: /* SUB, NOT, NEG, BSWAP */
        emit_simple(g, i, wide);
        break;
    }
}
