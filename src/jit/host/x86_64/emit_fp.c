/* Floating point on the host's unit. The guest's rounding mode is in MXCSR and only invalid is
 * unmasked, so that add, subtract, multiply, divide and square root need no check: two quiet NaNs
 * give the first operand here as on Arm, and whatever else differs traps (fptrap.c). Fused
 * operations pick another NaN, so an unordered result goes to C. */
#include "fp/fp.h"
#include "jit/host/x86_64/x64.h"

enum { COL_PS, COL_PD, COL_SS, COL_SD };

static unsigned column(const struct ir_node *n)
{
    bool dbl = (n->aux & 15) == IR_F64;
    bool vector = n->type == IR_V64 || n->type == IR_V128;
    return (vector ? 0 : 2) + dbl;
}

static enum x64_insn arith_insn(const struct ir_node *n)
{
    static const u16 insn[][4] = {
        [IR_FADD - IR_FADD] = {X_ADDPS, X_ADDPD, X_ADDSS, X_ADDSD},
        [IR_FSUB - IR_FADD] = {X_SUBPS, X_SUBPD, X_SUBSS, X_SUBSD},
        [IR_FMUL - IR_FADD] = {X_MULPS, X_MULPD, X_MULSS, X_MULSD},
        [IR_FDIV - IR_FADD] = {X_DIVPS, X_DIVPD, X_DIVSS, X_DIVSD},
        [IR_FSQRT - IR_FADD] = {X_SQRTPS, X_SQRTPD, X_SQRTSS, X_SQRTSD},
    };
    return (enum x64_insn)insn[n->op - IR_FADD][column(n)];
}

static void emit_arith(struct x64_gen *g, const struct ra_ins *i)
{
    static const v128 ones_s = {.s = {0, 0, 0x3f800000, 0x3f800000}};
    static const v128 ones_d = {.d = {0, 0x3ff0000000000000}};
    const struct ir_node *n = x64_node(g, i);
    unsigned dst = xr(i->dst), x = xr(i->src[0]), y = xr(i->src[1]);
    if (n->op == IR_FSQRT) {
        if (column(n) >= COL_SS)
            x64_v3(&g->a, arith_insn(n), dst, x, x);
        else
            x64_v2(&g->a, arith_insn(n), dst, x);
        return;
    }
    if (n->op == IR_FDIV && n->type == IR_V64) { /* 0 / 0 above would be invalid */
        x64_v3lit(g, X_ORPS, X64_SCRATCH, y, (n->aux & 15) == IR_F64 ? ones_d : ones_s);
        y = X64_SCRATCH;
    }
    x64_v3(&g->a, arith_insn(n), dst, x, y);
}

static void jump_if_unordered(struct x64_gen *g, const struct ra_ins *i, unsigned reg, unsigned other)
{
    const struct ir_node *n = x64_node(g, i);
    struct x64_cold *c;
    unsigned col = column(n);
    if (col >= COL_SS) {
        x64_v2(&g->a, col == COL_SD ? X_UCOMISD : X_UCOMISS, reg, other);
        u8 *jump = x64_jcc(&g->a, XCC_P, false);
        c = x64_cold_eval(g, i);
        x64_cold_from(c, jump);
        return;
    }
    if (g->a.level >= X64_AVX512) {
        x64_evex_nan(g, i, reg, other, col == COL_PD);
        return;
    }
    x64_v3i(&g->a, col == COL_PD ? X_CMPPD : X_CMPPS, X64_SCRATCH, reg, other, 3); /* unordered */
    x64_vg(&g->a, X_MOVMSKPS, false, i->tmp[0], X64_SCRATCH);
    x64_test_rr(&g->a, false, i->tmp[0], i->tmp[0]);
    u8 *jump = x64_jcc(&g->a, XCC_NE, false);
    c = x64_cold_eval(g, i);
    x64_cold_from(c, jump);
}

/* The host finds tininess after rounding, the guest may ask for before: they differ only for results
 * that rounded up to the least normal number. C does those again. */
static void jump_if_tiny(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned col = n->op == IR_F2F ? COL_SS : column(n);
    bool dbl = col & 1;
    v128 mask, least;
    for (unsigned k = 0; k < 2; k++) {
        mask.d[k] = dbl ? 0x7fffffffffffffff : 0x7fffffff7fffffff;
        least.d[k] = dbl ? 0x0010000000000000 : 0x0080000000800000;
    }
    u8 *jump;
    x64_v3lit(g, X_PAND, X64_SCRATCH, xr(i->dst), mask);
    if (col >= COL_SS) { /* the comparison of unordered operands jumps, too: NaNs are rare */
        x64_v2lit(g, dbl ? X_UCOMISD : X_UCOMISS, X64_SCRATCH, least);
        jump = x64_jcc(&g->a, XCC_E, false);
    } else if (g->a.level >= X64_AVX512) {
        x64_evex_equal(g, i, X64_SCRATCH, least, dbl);
        return;
    } else {
        x64_v3lit(g, dbl ? X_PCMPEQQ : X_PCMPEQD, X64_SCRATCH, X64_SCRATCH, least);
        x64_vg(&g->a, X_MOVMSKPS, false, i->tmp[0], X64_SCRATCH);
        x64_test_rr(&g->a, false, i->tmp[0], i->tmp[0]);
        jump = x64_jcc(&g->a, XCC_NE, false);
    }
    x64_cold_from(x64_cold_eval(g, i), jump);
}

static void emit_fma(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 insn[4][4] = {
        {X_VFMADD231PS, X_VFMADD231PD, X_VFMADD231SS, X_VFMADD231SD},
        {X_VFNMADD231PS, X_VFNMADD231PD, X_VFNMADD231SS, X_VFNMADD231SD},
        {X_VFMSUB231PS, X_VFMSUB231PD, X_VFMSUB231SS, X_VFMSUB231SD},
        {X_VFNMSUB231PS, X_VFNMSUB231PD, X_VFNMSUB231SS, X_VFNMSUB231SD},
    };
    const struct ir_node *n = x64_node(g, i);
    unsigned form = n->aux >> 8 & 3, dst = xr(i->dst);
    x64_vmov(&g->a, dst, xr(i->src[2]));
    x64_v3(&g->a, (enum x64_insn)insn[form][column(n)], dst, xr(i->src[0]), xr(i->src[1]));
    jump_if_unordered(g, i, dst, dst);
}

/* Of equal operands the host takes the second; they differ if they are zeros of two signs, so do it both
 * ways and join their bits. Unordered ones are C's. */
static void emit_minmax(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 insn[2][4] = {{X_MINPS, X_MINPD, X_MINSS, X_MINSD},
                                   {X_MAXPS, X_MAXPD, X_MAXSS, X_MAXSD}};
    const struct ir_node *n = x64_node(g, i);
    unsigned col = column(n), dst = xr(i->dst), x = xr(i->src[0]), y = xr(i->src[1]);
    bool max = n->op == IR_FMAX || n->op == IR_FMAXNM;
    jump_if_unordered(g, i, x, y);
    x64_v3(&g->a, (enum x64_insn)insn[max][col], X64_SCRATCH, y, x);
    x64_v3(&g->a, (enum x64_insn)insn[max][col], dst, x, y);
    x64_v3(&g->a, max ? X_ANDPS : X_ORPS, dst, dst, X64_SCRATCH);
}

static v128 sign_mask(const struct ir_node *n)
{
    bool dbl = (n->aux & 15) == IR_F64;
    unsigned bytes = n->type == IR_V128 ? 16 : n->type == IR_V64 ? 8 : dbl ? 8 : 4;
    v128 m = {0};
    if (dbl) {
        for (unsigned k = 0; k < bytes / 8; k++)
            m.d[k] = 1ull << 63;
    } else {
        for (unsigned k = 0; k < bytes / 4; k++)
            m.s[k] = 1u << 31;
    }
    return m;
}

static void emit_sign(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    v128 m = sign_mask(n);
    if (n->op == IR_FABS) { /* keep all but the sign, and only the lanes of the type */
        bool dbl = (n->aux & 15) == IR_F64;
        for (unsigned k = 0; k < 4; k++)
            m.s[k] = (dbl ? m.d[k / 2] : m.s[k]) ? ~m.s[k] : 0;
    }
    x64_v3lit(g, n->op == IR_FABS ? X_ANDPS : X_XORPS, xr(i->dst), xr(i->src[0]), m);
}

static void emit_cmpv(struct x64_gen *g, const struct ra_ins *i)
{
    /* predicates: eq (quiet), lt and le signalling or, with AVX, quiet */
    static const u8 quiet[5] = {0, 0x11, 0x12, 0x11, 0x12}, signalling[5] = {0, 1, 2, 1, 2};
    const struct ir_node *n = x64_node(g, i);
    unsigned cond = n->aux >> 4 & 15, k = cond & 7;
    bool swap = k == IR_FGT || k == IR_FGE;
    unsigned x = xr(i->src[swap]), y = xr(i->src[!swap]);
    x64_v3i(&g->a, (n->aux & 15) == IR_F64 ? X_CMPPD : X_CMPPS, xr(i->dst), x, y,
            cond & 8 ? signalling[k] : quiet[k]);
}

/* Signed conversions trap on what does not fit; where that happens often, C does it. `fraction`: what lies
 * above the largest integer counts, too, as it may be rounded up. */
static void jump_if_out_of_range(struct x64_gen *g, const struct ra_ins *i, bool fraction)
{
    static const u64 power[2][2] = {{0x4f000000, 0x5f000000},
                                    {0x41e0000000000000, 0x43e0000000000000}}; /* 2^31, 2^63 */
    const struct ir_node *n = x64_node(g, i);
    bool dbl = (n->aux & 15) == IR_F64, wide = n->type == IR_I64;
    enum x64_insn cmp = dbl ? X_UCOMISD : X_UCOMISS;
    u64 high = power[dbl][wide], low = high | (dbl ? 1ull << 63 : 1u << 31);
    if (fraction)
        high = 0x41dfffffffc00000; /* 2^31 - 1 */
    x64_v2lit(g, cmp, xr(i->src[0]), (v128){.d = {high}});
    u8 *above = x64_jcc(&g->a, fraction ? XCC_A : XCC_AE, false);
    x64_v2lit(g, cmp, xr(i->src[0]), (v128){.d = {low}});
    u8 *below = x64_jcc(&g->a, XCC_B, false); /* or unordered */
    struct x64_cold *c = x64_cold_eval(g, i);
    x64_cold_from(c, above);
    x64_cold_from(c, below);
}

/* The immediate of ROUNDSS and its like. */
static const u8 host_rounding[] = {[FP_ROUND_EVEN] = 0, [FP_ROUND_UP] = 2, [FP_ROUND_DOWN] = 1,
                                   [FP_ROUND_ZERO] = 3, [IR_ROUND_ENV] = 4};

static void emit_f2i(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    bool dbl = (n->aux & 15) == IR_F64, wide = n->type == IR_I64;
    unsigned mode = n->aux >> 4 & 7, src = xr(i->src[0]);
    bool env = mode == IR_ROUND_ENV;
    enum x64_insn x = dbl ? (env ? X_CVTSD2SI : X_CVTTSD2SI) : (env ? X_CVTSS2SI : X_CVTTSS2SI);
    if (n->aux >> 7 & 1) {
        bool fraction = !env && mode != FP_ROUND_ZERO && dbl && !wide;
        if (n->aux & IR_AUX_INVALID || fraction)
            jump_if_out_of_range(g, i, fraction);
        if (!env && mode != FP_ROUND_ZERO) { /* tells when it is inexact */
            x64_v3i(&g->a, dbl ? X_ROUNDSD : X_ROUNDSS, X64_SCRATCH, src, src, host_rounding[mode]);
            src = X64_SCRATCH;
        }
        x64_vg(&g->a, x, wide, i->dst, src);
        return;
    }
    if (g->a.level >= X64_AVX512 && !(n->aux & IR_AUX_INVALID)) {
        x64_vg(&g->a, dbl ? X_VCVTTSD2USI : X_VCVTTSS2USI, wide, i->dst, xr(i->src[0]));
        return;
    }
    /* Unsigned: in [0, 2^63) or [0, 2^32) the signed 64-bit conversion does it, the rest is C's. */
    static const u64 limit[2][2] = {{0x4f800000, 0x5f000000},
                                    {0x41f0000000000000, 0x43e0000000000000}};
    enum x64_insn cmp = dbl ? X_UCOMISD : X_UCOMISS;
    x64_v3(&g->a, X_PXOR, X64_SCRATCH, X64_SCRATCH, X64_SCRATCH);
    x64_v2(&g->a, cmp, xr(i->src[0]), X64_SCRATCH);
    u8 *below = x64_jcc(&g->a, XCC_B, false); /* or unordered */
    x64_v2lit(g, cmp, xr(i->src[0]), (v128){.d = {limit[dbl][wide]}});
    u8 *above = x64_jcc(&g->a, XCC_AE, false);
    struct x64_cold *c = x64_cold_eval(g, i);
    x64_cold_from(c, below);
    x64_cold_from(c, above);
    x64_vg(&g->a, x, true, i->dst, xr(i->src[0]));
}

static void emit_i2f(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 signed_insn[] = {X_CVTSI2SS, X_CVTSI2SD}, unsigned_insn[] = {X_VCVTUSI2SS, X_VCVTUSI2SD};
    const struct ir_node *n = x64_node(g, i);
    bool wide = (n->aux & 15) == IR_I64, as_signed = n->aux >> 7 & 1;
    unsigned src = i->src[0], dst = xr(i->dst);
    if (!as_signed && g->a.level < X64_AVX512) {
        as_signed = true;
        if (wide) {
            x64_test_rr(&g->a, true, src, src);
            u8 *top = x64_jcc(&g->a, XCC_S, false);
            x64_cold_from(x64_cold_eval(g, i), top);
        } else {
            x64_mov32(&g->a, i->tmp[0], src);
            src = i->tmp[0];
            wide = true;
        }
    }
    x64_v3(&g->a, X_PXOR, dst, dst, dst);
    const u16 *insn = as_signed ? signed_insn : unsigned_insn;
    x64_v3g(&g->a, (enum x64_insn)insn[n->type == IR_F64], wide, dst, dst, src);
}

static void emit_round(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 insn[4] = {X_ROUNDPS, X_ROUNDPD, X_ROUNDSS, X_ROUNDSD};
    const struct ir_node *n = x64_node(g, i);
    u8 imm = host_rounding[n->aux >> 4 & 7] | (n->aux >> 8 & 1 ? 0 : 8);
    unsigned dst = xr(i->dst), src = xr(i->src[0]), col = column(n);
    if (col >= COL_SS)
        x64_v3i(&g->a, (enum x64_insn)insn[col], dst, src, src, imm);
    else
        x64_v2i(&g->a, (enum x64_insn)insn[col], dst, src, imm);
}

/* The host converts four lanes: those that are not asked for must be zero, so that they raise nothing. */
static void emit_half(struct x64_gen *g, const struct ra_ins *i)
{
    unsigned dst = xr(i->dst), src = xr(i->src[0]);
    if (x64_node(g, i)->type == IR_F32) {
        x64_vg(&g->a, X_MOVD_RX, false, src, i->tmp[0]);
        x64_rr(&g->a, X_MOVZX16, false, i->tmp[0], i->tmp[0]);
        x64_vg(&g->a, X_MOVD_XR, false, X64_SCRATCH, i->tmp[0]);
        x64_v2(&g->a, X_VCVTPH2PS, dst, X64_SCRATCH);
    } else {
        x64_v3i(&g->a, X_INSERTPS, X64_SCRATCH, src, src, 0x0e);
        x64_v2i(&g->a, X_VCVTPS2PH, X64_SCRATCH, dst, host_rounding[IR_ROUND_ENV]);
    }
}

static void emit_zx(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned dst = xr(i->dst), src = xr(i->src[0]), lane = n->aux & 15;
    bool known = n->a >= IR_FIRST_NODE && g->r->node[n->a].type == lane &&
                 (g->r->node[n->a].aux & IR_AUX_UPZ);
    if (known || lane == IR_V128) {
        x64_vmov(&g->a, dst, src);
    } else if (lane == IR_F64 || lane == IR_V64) {
        x64_v2(&g->a, X_MOVQ, dst, src);
    } else if (lane == IR_F32) {
        x64_v3i(&g->a, X_INSERTPS, dst, src, src, 0x0e);
    } else {
        x64_vg(&g->a, X_MOVD_RX, false, src, i->tmp[0]);
        x64_rr(&g->a, X_MOVZX16, false, i->tmp[0], i->tmp[0]);
        x64_vg(&g->a, X_MOVD_XR, false, dst, i->tmp[0]);
    }
}

static void emit_box(struct x64_gen *g, const struct ra_ins *i)
{
    v128 ones = {.d = {x64_node(g, i)->aux == IR_F16 ? ~0xffffull : ~0xffffffffull}};
    x64_v3lit(g, X_ORPS, xr(i->dst), xr(i->src[0]), ones);
}

/* What is not boxed is rare: C's. */
static void emit_unbox(struct x64_gen *g, const struct ra_ins *i)
{
    unsigned tmp = i->tmp[0];
    x64_vg(&g->a, X_MOVD_RX, true, xr(i->src[0]), tmp);
    x64_shift_ri(&g->a, XSH_SAR, true, tmp, x64_node(g, i)->type == IR_F16 ? 16 : 32);
    x64_alu_ri(&g->a, XALU_CMP, true, tmp, -1);
    x64_cold_from(x64_cold_eval(g, i), x64_jcc(&g->a, XCC_NE, false));
    x64_vmov(&g->a, xr(i->dst), xr(i->src[0]));
}

/* So are NaNs. */
static void emit_canon(struct x64_gen *g, const struct ra_ins *i)
{
    unsigned type = x64_node(g, i)->type, src = xr(i->src[0]);
    enum x64_cc nan = XCC_P;
    if (type == IR_F16) {
        x64_vg(&g->a, X_MOVD_RX, false, src, i->tmp[0]);
        x64_alu_ri(&g->a, XALU_AND, false, i->tmp[0], 0x7fff);
        x64_alu_ri(&g->a, XALU_CMP, false, i->tmp[0], 0x7c00);
        nan = XCC_A;
    } else {
        x64_v2(&g->a, type == IR_F64 ? X_UCOMISD : X_UCOMISS, src, src);
    }
    u8 *jump = x64_jcc(&g->a, nan, false);
    x64_cold_from(x64_cold_eval(g, i), jump);
    x64_vmov(&g->a, xr(i->dst), src);
}

/* Those that C has seen are in memory, the others in the unit. */
static void emit_flags(struct x64_gen *g, const struct ra_ins *i)
{
    struct x64_asm *a = &g->a;
    unsigned dst = i->dst;
    x64_mxcsr(a, ENV_MEM(tmp), false);
    x64_load(a, true, dst, ENV_MEM(fp));
    x64_load(a, false, dst, x64_at(dst, (s32)offsetof(struct fp_env, flags)));
    x64_alu_rm(a, XALU_OR, false, dst, ENV_MEM(tmp));
    x64_alu_ri(a, XALU_AND, false, dst, MXCSR_STICKY);
}

void x64_emit_fp(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned dst = xr(i->dst), src = xr(i->src[0]);
    if (x64_evex_emit(g, i))
        return;
    switch (n->op) {
    case IR_FMA:
        emit_fma(g, i);
        break;
    case IR_FMIN:
    case IR_FMAX:
    case IR_FMINNM:
    case IR_FMAXNM:
        emit_minmax(g, i);
        break;
    case IR_FNEG:
    case IR_FABS:
        emit_sign(g, i);
        break;
    case IR_FCMPV:
        emit_cmpv(g, i);
        break;
    case IR_F2I:
        emit_f2i(g, i);
        break;
    case IR_F2IM:
        jump_if_out_of_range(g, i, false);
        x64_vg(&g->a, X_CVTTSD2SI, false, i->dst, src);
        break;
    case IR_I2F:
        emit_i2f(g, i);
        break;
    case IR_F2F:
        if (n->type == IR_F16 || (n->aux & 15) == IR_F16)
            emit_half(g, i);
        else
            x64_v3(&g->a, n->type == IR_F64 ? X_CVTSS2SD : X_CVTSD2SS, dst, src, src);
        break;
    case IR_FROUND:
        emit_round(g, i);
        break;
    case IR_F2IV:
    case IR_I2FV:
        x64_v2(&g->a, n->op == IR_F2IV ? X_CVTTPS2DQ : X_CVTDQ2PS, dst, src);
        break;
    case IR_FMOV:
        x64_vg(&g->a, X_MOVD_XR, n->type != IR_F32 && n->type != IR_F16, dst, i->src[0]);
        break;
    case IR_FBITS:
        x64_vg(&g->a, X_MOVD_RX, n->type == IR_I64, src, i->dst);
        break;
    case IR_ZX:
        emit_zx(g, i);
        break;
    case IR_FBOX:
        emit_box(g, i);
        break;
    case IR_FUNBOX:
        emit_unbox(g, i);
        break;
    case IR_FCANON:
        emit_canon(g, i);
        break;
    case IR_FPFLAGS:
        emit_flags(g, i);
        break;
    default:
        emit_arith(g, i);
        break;
    }
    if (x64_checks_tiny(g->r, n))
        jump_if_tiny(g, i);
}
