/* The trap that makes the fast floating point exact: an operation with a signalling NaN, or one
 * whose result would be the host's default NaN, or an integer out of range, raises invalid. Its
 * instruction is decoded here and computed in software by the guest's rules. */
#include <string.h>
#include <ucontext.h>

#include "fp/fp.h"
#include "jit/host/x86_64/x64.h"

struct insn {
    u8 map, op;
    u8 pp;       /* 0: none, 1: 66, 2: f3, 3: f2 */
    bool wide, vex, evex;
    u8 reg, vvvv, rm;
    const v128 *mem; /* the operand in memory, or NULL */
    u8 imm;
    unsigned length;
};

/* EVEX, VEX or legacy prefixes, escape bytes, opcode. Returns the byte behind it, NULL for other code. */
static const u8 *decode_opcode(const u8 *p, struct insn *x, u8 *r, u8 *b)
{
    if (*p == 0xc5) {
        *x = (struct insn){.map = 1, .pp = p[1] & 3, .vvvv = ~p[1] >> 3 & 15, .vex = true};
        *r = !(p[1] >> 7);
        x->op = p[2];
        return p + 3;
    }
    if (*p == 0xc4) {
        *x = (struct insn){.map = p[1] & 31, .pp = p[2] & 3, .vvvv = ~p[2] >> 3 & 15,
                           .wide = p[2] >> 7, .vex = true};
        *r = !(p[1] >> 7);
        *b = !(p[1] >> 5 & 1);
        x->op = p[3];
        return p + 4;
    }
    if (*p == 0x62) {
        *x = (struct insn){.map = p[1] & 7, .pp = p[2] & 3, .vvvv = ~p[2] >> 3 & 15, .wide = p[2] >> 7,
                           .vex = true, .evex = true};
        *r = !(p[1] >> 7);
        *b = !(p[1] >> 5 & 1);
        x->op = p[4];
        return p + 5;
    }
    *x = (struct insn){.pp = *p == 0x66 ? 1 : *p == 0xf3 ? 2 : *p == 0xf2 ? 3 : 0};
    p += x->pp != 0;
    if ((*p & 0xf0) == 0x40) {
        *r = *p >> 2 & 1;
        *b = *p & 1;
        x->wide = *p >> 3 & 1;
        p++;
    }
    if (*p++ != 0x0f)
        return NULL;
    x->map = *p == 0x38 ? 2 : *p == 0x3a ? 3 : 1;
    p += x->map > 1;
    x->op = *p++;
    return p;
}

static bool decode(const u8 *start, struct insn *x)
{
    u8 r = 0, b = 0;
    const u8 *p = decode_opcode(start, x, &r, &b);
    if (!p)
        return false;
    u8 modrm = *p++;
    bool has_imm = x->map == 3 || (x->map == 1 && x->op == 0xc2);
    x->reg = (u8)((modrm >> 3 & 7) | r << 3);
    x->rm = (u8)((modrm & 7) | b << 3);
    if ((modrm & 0xc7) == 5) { /* rip-relative */
        s32 disp;
        memcpy(&disp, p, 4);
        p += 4;
        x->mem = (const v128 *)(const void *)(p + has_imm + disp);
    } else if (modrm >> 6 != 3) {
        return false;
    }
    if (has_imm)
        x->imm = *p++;
    x->length = (unsigned)(p - start);
    if (!x->vex)
        x->vvvv = x->reg;
    return true;
}

static u64 lane(const v128 *v, bool dbl, unsigned i)
{
    return dbl ? v->d[i] : v->s[i];
}

static void set_lane(v128 *v, bool dbl, unsigned i, u64 x)
{
    if (dbl)
        v->d[i] = x;
    else
        v->s[i] = (u32)x;
}

static u64 compare_lane(unsigned imm, bool dbl, u64 a, u64 b, struct fp_env *fp)
{
    bool signalling = (imm & 0x13) == 1 || (imm & 0x13) == 2;
    enum fp_order o = dbl ? fp64_compare(a, b, signalling, fp)
                          : fp32_compare((u32)a, (u32)b, signalling, fp);
    bool yes;
    switch (imm & 15) {
    case 0:
        yes = o == FP_EQUAL;
        break;
    case 1:
        yes = o == FP_LESS;
        break;
    case 2:
        yes = o == FP_LESS || o == FP_EQUAL;
        break;
    default:
        yes = o == FP_UNORDERED;
        break;
    }
    return yes ? ~0ull : 0;
}

static u64 round_lane(unsigned imm, bool dbl, u64 a, struct fp_env *fp)
{
    static const u8 mode[] = {FP_ROUND_EVEN, FP_ROUND_DOWN, FP_ROUND_UP, FP_ROUND_ZERO};
    enum fp_round round = imm & 4 ? (enum fp_round)fp->round : (enum fp_round)mode[imm & 3];
    bool inexact = !(imm & 8);
    return dbl ? fp64_round_int(a, round, inexact, fp) : fp32_round_int((u32)a, round, inexact, fp);
}

static bool arith_lane(const struct insn *x, bool dbl, u64 a, u64 b, u64 *r, struct fp_env *fp)
{
    switch (x->op) {
    case 0x51:
        *r = dbl ? fp64_sqrt(b, fp) : fp32_sqrt((u32)b, fp);
        return true;
    case 0x58:
        *r = dbl ? fp64_add(a, b, fp) : fp32_add((u32)a, (u32)b, fp);
        return true;
    case 0x59:
        *r = dbl ? fp64_mul(a, b, fp) : fp32_mul((u32)a, (u32)b, fp);
        return true;
    case 0x5c:
        *r = dbl ? fp64_sub(a, b, fp) : fp32_sub((u32)a, (u32)b, fp);
        return true;
    case 0x5e:
        *r = dbl ? fp64_div(a, b, fp) : fp32_div((u32)a, (u32)b, fp);
        return true;
    case 0xc2:
        *r = compare_lane(x->imm, dbl, a, b, fp);
        return true;
    default:
        return false;
    }
}

/* Forms 231 of the fused operations: destination = +-(a * b) +- destination. */
static bool fma_lane(const struct insn *x, bool dbl, u64 a, u64 b, u64 c, u64 *r, struct fp_env *fp)
{
    if (x->op < 0xb8 || x->op > 0xbf)
        return false;
    unsigned form = (x->op - 0xb8) >> 1; /* madd, msub, nmadd, nmsub */
    unsigned neg = (form & 2 ? FP_NEG_PRODUCT : 0) | (form & 1 ? FP_NEG_ADDEND : 0);
    *r = dbl ? fp64_fma(a, b, c, neg, fp) : fp32_fma((u32)a, (u32)b, (u32)c, neg, fp);
    return true;
}

/* vrange: the emitters make minNum and maxNum of it. */
static u64 range_lane(unsigned imm, bool dbl, u64 a, u64 b, struct fp_env *fp)
{
    const enum fp_min_rule rule = fp_number_rule(fp);
    if (imm & 1)
        return dbl ? fp64_max(a, b, rule, fp) : fp32_max((u32)a, (u32)b, rule, fp);
    return dbl ? fp64_min(a, b, rule, fp) : fp32_min((u32)a, (u32)b, rule, fp);
}

static bool by_lane(const struct insn *x, v128 *dst, const v128 *s1, const v128 *s2,
                    struct fp_env *fp)
{
    bool fma = x->map == 2, range = x->map == 3 && x->evex, round = x->map == 3 && !x->evex;
    bool scalar = fma || range ? x->op & 1 : round ? x->op >= 0x0a : x->pp >= 2;
    bool dbl = fma || range ? x->wide : round ? x->op & 1 : x->pp == 1 || x->pp == 3;
    unsigned lanes = scalar ? 1 : dbl ? 2 : 4;
    v128 r = scalar && !fma ? *s1 : *dst;
    if ((round && (x->op < 0x08 || x->op > 0x0b)) || (range && x->op != 0x50 && x->op != 0x51))
        return false;
    for (unsigned i = 0; i < lanes; i++) {
        u64 a = lane(s1, dbl, i), b = lane(s2, dbl, i), out;
        if (round)
            out = round_lane(x->imm, dbl, b, fp);
        else if (range)
            out = range_lane(x->imm, dbl, a, b, fp);
        else if (!(fma ? fma_lane(x, dbl, a, b, lane(dst, dbl, i), &out, fp)
                       : arith_lane(x, dbl, a, b, &out, fp)))
            return false;
        set_lane(&r, dbl, i, out);
    }
    *dst = r;
    return true;
}

static void convert_precision(const struct insn *x, v128 *dst, const v128 *s1, const v128 *s2,
                              struct fp_env *fp)
{
    v128 r = *s1;
    switch (x->pp) {
    case 2:
        r.d[0] = fp32_to_fp64(s2->s[0], fp);
        break;
    case 3:
        r.s[0] = fp64_to_fp32(s2->d[0], fp);
        break;
    case 1:
        r = (v128){.s = {fp64_to_fp32(s2->d[0], fp), fp64_to_fp32(s2->d[1], fp)}};
        break;
    default:
        r = (v128){.d = {fp32_to_fp64(s2->s[0], fp), fp32_to_fp64(s2->s[1], fp)}};
        break;
    }
    *dst = r;
}

static void from_halves(v128 *dst, const v128 *src, struct fp_env *fp)
{
    for (unsigned i = 0; i < 4; i++)
        dst->s[i] = fp16_to_fp32(src->h[i], fp);
}

static void to_halves(v128 *dst, const v128 *src, struct fp_env *fp)
{
    dst->d[1] = 0;
    for (unsigned i = 0; i < 4; i++)
        dst->h[i] = fp32_to_fp16(src->s[i], fp);
}

static u64 to_integer(bool dbl, bool wide, bool is_signed, bool truncate, u64 v, struct fp_env *fp)
{
    struct fp_int type = {wide ? 64 : 32, is_signed, 0};
    enum fp_round round = truncate ? FP_ROUND_ZERO : (enum fp_round)fp->round;
    u64 r = dbl ? fp64_to_int(v, type, round, fp) : fp32_to_int((u32)v, type, round, fp);
    return wide ? r : (u32)r;
}

/* cvttss2si and its like: the result is in a general register. */
static bool to_register(const struct insn *x, const v128 *s2, u64 *r, struct fp_env *fp)
{
    bool is_unsigned = x->op == 0x78, dbl = x->pp == 3;
    if (x->map != 1 || x->pp < 2 || (x->op != 0x2c && x->op != 0x2d && !is_unsigned))
        return false;
    *r = to_integer(dbl, x->wide, !is_unsigned, x->op != 0x2d, lane(s2, dbl, 0), fp);
    return true;
}

/* Lanes to integers of their size: cvttps2dq, and with EVEX vcvttps2udq, vcvttpd2uqq, vcvttpd2qq. */
static bool to_lanes(const struct insn *x, v128 *dst, const v128 *s2, struct fp_env *fp)
{
    bool dbl = x->wide, is_signed = x->op == 0x7a || x->op == 0x5b;
    if (x->map != 1 || (x->op == 0x5b ? x->pp != 2 : !x->evex || (x->op != 0x78 && x->op != 0x7a)))
        return false;
    for (unsigned i = 0; i < (dbl ? 2 : 4); i++)
        set_lane(dst, dbl, i, to_integer(dbl, dbl, is_signed, true, lane(s2, dbl, i), fp));
    return true;
}

static void ucomis(const struct insn *x, ucontext_t *uc, const v128 *a, const v128 *b,
                   struct fp_env *fp)
{
    static const u16 eflags[] = {[FP_LESS] = 1, [FP_EQUAL] = 0x40, [FP_GREATER] = 0,
                                 [FP_UNORDERED] = 0x45};
    bool dbl = x->pp == 1, signalling = x->op == 0x2f;
    enum fp_order o = dbl ? fp64_compare(a->d[0], b->d[0], signalling, fp)
                          : fp32_compare(a->s[0], b->s[0], signalling, fp);
    greg_t *efl = &uc->uc_mcontext.gregs[REG_EFL];
    *efl = (*efl & ~(greg_t)0x8d5) | eflags[o];
}

bool x64_fp_trap(struct ir_env *env, void *context)
{
    static const u8 greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                   REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                   REG_R12, REG_R13, REG_R14, REG_R15};
    ucontext_t *uc = context;
    greg_t *gregs = uc->uc_mcontext.gregs;
    struct insn x;
    if (!decode((const u8 *)gregs[REG_RIP], &x))
        return false;
    v128 *xmm = (v128 *)(void *)uc->uc_mcontext.fpregs->_xmm;
    v128 dst = xmm[x.reg], s1 = xmm[x.vvvv], s2;
    memcpy(&s2, x.mem ? x.mem : &xmm[x.rm], sizeof(s2));
    u64 integer;
    if (to_register(&x, &s2, &integer, env->fp)) {
        gregs[greg_of[x.reg]] = (greg_t)integer;
    } else if (to_lanes(&x, &dst, &s2, env->fp)) {
        xmm[x.reg] = dst;
    } else if (x.map == 1 && (x.op == 0x2e || x.op == 0x2f)) {
        ucomis(&x, uc, &dst, &s2, env->fp);
    } else if (x.map == 1 && x.op == 0x5a) {
        convert_precision(&x, &dst, &s1, &s2, env->fp);
        xmm[x.reg] = dst;
    } else if (x.map == 2 && x.op == 0x13) {
        from_halves(&xmm[x.reg], &s2, env->fp);
    } else if (x.map == 3 && x.op == 0x1d) {
        to_halves(&xmm[x.rm], &dst, env->fp);
    } else if (by_lane(&x, &dst, &s1, &s2, env->fp)) {
        xmm[x.reg] = dst;
    } else {
        return false;
    }
    gregs[REG_RIP] += (greg_t)x.length;
    return true;
}
