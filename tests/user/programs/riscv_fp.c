/* F and D at the edges: NaN boxing, canonical NaNs, rounding modes, flags, saturating conversions.
 * guest: riscv64
 * link: static */
#include "riscv_check.h"

#include <setjmp.h>

enum { NX = 1, UF = 2, OF = 4, DZ = 8, NV = 16 };

#define NAN32  0x7fc00000u         /* the canonical NaNs */
#define NAN64  0x7ff8000000000000ul
#define SNAN32 0x7f800001u
#define SNAN64 0x7ff0000000000001ul
#define QNAN64 0xfff8000000001234ul
#define INF64  0x7ff0000000000000ul
#define BOX(v) (0xffffffff00000000ul | (v))

/* An instruction on raw bits of floating-point registers, with its flags. */
static uint64_t flags;

#define FP(insn, a, b, c)                                                                          \
    ({                                                                                             \
        uint64_t d_;                                                                               \
        __asm__ volatile("fmv.d.x ft1, %2\n fmv.d.x ft2, %3\n fmv.d.x ft3, %4\n csrw fflags, zero\n" insn  \
                         "\n csrr %1, fflags\n fmv.x.d %0, ft0"                                     \
                         : "=r"(d_), "=r"(flags)                                                   \
                         : "r"((uint64_t)(a)), "r"((uint64_t)(b)), "r"((uint64_t)(c))              \
                         : "ft0", "ft1", "ft2", "ft3");                                            \
        d_;                                                                                        \
    })
#define FP_TO_X(insn, a, b)                                                                        \
    ({                                                                                             \
        uint64_t d_;                                                                               \
        __asm__ volatile("fmv.d.x ft1, %2\n fmv.d.x ft2, %3\n csrw fflags, zero\n" insn "\n csrr %1, fflags"  \
                         : "=&r"(d_), "=r"(flags)                                                  \
                         : "r"((uint64_t)(a)), "r"((uint64_t)(b))                                  \
                         : "ft1", "ft2");                                                          \
        d_;                                                                                        \
    })

static void expect(const char *name, uint64_t got, uint64_t want, uint64_t want_flags)
{
    uint64_t seen = flags;
    check(name, got, want);
    if (seen != want_flags)
        printf("%s: flags\n", name);
    check("flags", seen, want_flags);
}

#define D(insn, a, b, want, f)    expect(insn, FP(insn " ft0, ft1, ft2", bits(a), bits(b), 0), want, f)
#define RAW(insn, a, b, want, f)  expect(insn, FP(insn " ft0, ft1, ft2", a, b, 0), want, f)
#define RAW1(insn, a, want, f)    expect(insn, FP(insn " ft0, ft1", a, 0, 0), want, f)
#define RAW3(insn, a, b, c, want, f) expect(insn, FP(insn " ft0, ft1, ft2, ft3", a, b, c), want, f)
#define X2(insn, a, b, want, f)   expect(insn, FP_TO_X(insn " %0, ft1, ft2", a, b), want, f)
#define X1(insn, a, want, f)      expect(insn, FP_TO_X(insn " %0, ft1", a, 0), want, f)
#define XR(insn, mode, a, want, f) expect(insn " " mode, FP_TO_X(insn " %0, ft1, " mode, a, 0), want, f)

static uint64_t bits(double v)
{
    uint64_t u;
    memcpy(&u, &v, 8);
    return u;
}

static uint64_t box(float v)
{
    uint32_t u;
    memcpy(&u, &v, 4);
    return BOX(u);
}

static void nan_boxing(void)
{
    const uint64_t one = 0x3f800000;
    RAW("fadd.s", one, box(1), BOX(NAN32), 0); /* not boxed: a quiet NaN */
    RAW("fadd.s", BOX(one), box(1), box(2), 0);
    RAW("fsgnj.s", one, one, BOX(NAN32), 0);
    RAW("fsgnjn.s", BOX(one), one, BOX(0xbf800000), 0); /* its sign is the canonical NaN's */
    RAW("fmin.s", one, box(3), box(3), 0);
    RAW1("fsqrt.s", 0xfffffffe3f800000, BOX(NAN32), 0);
    RAW1("fcvt.d.s", one, NAN64, 0);
    RAW1("fcvt.s.d", bits(1.5), box(1.5f), 0);
    X1("fclass.s", one, 1 << 9, 0);
    X1("fmv.x.w", 0x0000000080000000, 0xffffffff80000000, 0); /* moves look at no box */
    X2("feq.s", one, one, 0, 0);
    X1("fcvt.w.s", one, 0x7fffffff, NV);
    uint64_t out;
    float memory = 1;
    __asm__ volatile("flw ft0, 0(%1)\n fmv.x.d %0, ft0" : "=r"(out) : "r"(&memory) : "ft0", "memory");
    check("flw", out, box(1));
    __asm__ volatile("fmv.d.x ft0, %1\n fsw ft0, 0(%2)\n lwu %0, 0(%2)" : "=r"(out) : "r"(0x1234567840000000), "r"(&memory)
                     : "ft0", "memory");
    check("fsw", out, 0x40000000);
    __asm__ volatile("fmv.w.x ft0, %1\n fmv.x.d %0, ft0" : "=r"(out) : "r"(0x12345678bf800000) : "ft0");
    check("fmv.w.x", out, BOX(0xbf800000));
}

static void nans(void)
{
    RAW("fadd.d", INF64, INF64 | MIN64, NAN64, NV);
    RAW("fadd.d", QNAN64, bits(1), NAN64, 0); /* payloads are not kept */
    RAW("fadd.d", SNAN64, bits(1), NAN64, NV);
    RAW("fmul.d", INF64, 0, NAN64, NV);
    RAW("fdiv.d", 0, 0, NAN64, NV);
    RAW("fdiv.d", bits(-1), 0, INF64 | MIN64, DZ);
    RAW1("fsqrt.d", bits(-1), NAN64, NV);
    RAW1("fsqrt.d", MIN64, MIN64, 0);
    RAW3("fmadd.d", INF64, 0, QNAN64, NAN64, NV); /* an invalid product counts before a quiet NaN */
    RAW3("fmadd.d", QNAN64, 0, 0, NAN64, 0);
    RAW1("fcvt.s.d", QNAN64, BOX(NAN32), 0);
    RAW1("fcvt.d.s", BOX(SNAN32), NAN64, NV);
    RAW("fmin.d", QNAN64, bits(1), bits(1), 0);
    RAW("fmax.d", bits(1), SNAN64, bits(1), NV);
    RAW("fmin.d", QNAN64, QNAN64, NAN64, 0);
    RAW("fmin.d", 0, MIN64, MIN64, 0);
    RAW("fmax.d", MIN64, 0, 0, 0);
    RAW("fsgnjx.d", SNAN64 | MIN64, MIN64, SNAN64, 0); /* signs move without a look at the value */
    X2("feq.d", QNAN64, bits(1), 0, 0);
    X2("feq.d", SNAN64, bits(1), 0, NV);
    X2("flt.d", QNAN64, bits(1), 0, NV);
    X2("fle.d", bits(1), QNAN64, 0, NV);
    X2("feq.d", 0, MIN64, 1, 0);
    X2("flt.d", MIN64, 0, 0, 0);
}

static void classes(void)
{
    static const uint64_t of[10] = {INF64 | MIN64, 0xbff0000000000000, MIN64 | 1, MIN64, 0,
                                    1, 0x3ff0000000000000, INF64, SNAN64, QNAN64};
    for (int i = 0; i < 10; i++)
        X1("fclass.d", of[i], 1u << i, 0);
    X1("fclass.s", BOX(0x80000001), 1 << 2, 0);
    X1("fclass.s", BOX(SNAN32), 1 << 8, 0);
}

/* What does not fit becomes the nearest that does, NaN the largest: all of these are invalid and not inexact. */
static void saturation(void)
{
    XR("fcvt.w.d", "rtz", NAN64, 0x7fffffff, NV);
    XR("fcvt.w.d", "rtz", INF64 | MIN64, 0xffffffff80000000, NV);
    XR("fcvt.w.d", "rtz", bits(2147483647.5), 0x7fffffff, NX);
    XR("fcvt.w.d", "rup", bits(2147483647.5), 0x7fffffff, NV);
    XR("fcvt.w.d", "rne", bits(-2147483648.5), 0xffffffff80000000, NX);
    XR("fcvt.w.d", "rdn", bits(-2147483648.5), 0xffffffff80000000, NV);
    XR("fcvt.wu.d", "rtz", bits(-0.5), 0, NX);
    XR("fcvt.wu.d", "rdn", bits(-0.5), 0, NV);
    XR("fcvt.wu.d", "rtz", bits(-1), 0, NV);
    XR("fcvt.wu.d", "rtz", bits(4294967295.0), ALL, 0); /* sign-extended, as all words are */
    XR("fcvt.wu.d", "rtz", bits(4294967296.0), ALL, NV);
    XR("fcvt.wu.d", "rtz", NAN64, ALL, NV);
    XR("fcvt.l.d", "rtz", bits(9223372036854775808.0), MAX64, NV);
    XR("fcvt.l.d", "rtz", bits(-9223372036854775808.0), MIN64, 0);
    XR("fcvt.lu.d", "rtz", bits(18446744073709551616.0), ALL, NV);
    XR("fcvt.lu.d", "rtz", bits(9223372036854775808.0), MIN64, 0);
    XR("fcvt.lu.s", "rtz", BOX(SNAN32), ALL, NV);
    XR("fcvt.l.s", "rtz", box(-1e30f), MIN64, NV);
}

static void rounding(void)
{
    static const double in[] = {2.5, -2.5, 3.5, -0.5, 0.75};
    static const int64_t want[5][5] = {{2, -2, 4, 0, 1}, {2, -2, 3, 0, 0}, {2, -3, 3, -1, 0}, {3, -2, 4, 0, 1}, {3, -3, 4, -1, 1}};
    for (int i = 0; i < 5; i++) {
        XR("fcvt.l.d", "rne", bits(in[i]), (uint64_t)want[0][i], NX);
        XR("fcvt.l.d", "rtz", bits(in[i]), (uint64_t)want[1][i], NX);
        XR("fcvt.l.d", "rdn", bits(in[i]), (uint64_t)want[2][i], NX);
        XR("fcvt.l.d", "rup", bits(in[i]), (uint64_t)want[3][i], NX);
        XR("fcvt.l.d", "rmm", bits(in[i]), (uint64_t)want[4][i], NX);
        for (uint64_t mode = 0; mode < 5; mode++) { /* by frm */
            __asm__ volatile("csrw frm, %0" ::"r"(mode));
            XR("fcvt.l.d", "dyn", bits(in[i]), (uint64_t)want[mode][i], NX);
        }
        __asm__ volatile("csrw frm, zero");
    }
    const uint64_t one = bits(1), half_ulp = bits(0x1p-53), next = one + 1;
    RAW("fadd.d", one, half_ulp, one, NX);
    expect("fadd.d rup", FP("fadd.d ft0, ft1, ft2, rup", one, half_ulp, 0), next, NX);
    expect("fadd.d rmm", FP("fadd.d ft0, ft1, ft2, rmm", one, half_ulp, 0), next, NX);
    expect("fadd.d rtz", FP("fadd.d ft0, ft1, ft2, rtz", next, half_ulp, 0), next, NX);
    expect("fsub.d rdn", FP("fsub.d ft0, ft1, ft2, rdn", one, one, 0), MIN64, 0); /* x - x is -0 then */
    expect("fcvt.s.d rne", FP("fcvt.s.d ft0, ft1, rne", bits(1e300), 0, 0), BOX(0x7f800000), OF | NX);
    expect("fcvt.s.d rtz", FP("fcvt.s.d ft0, ft1, rtz", bits(1e300), 0, 0), BOX(0x7f7fffff), OF | NX);
    expect("fcvt.s.d rup", FP("fcvt.s.d ft0, ft1, rup", bits(-1e300), 0, 0), BOX(0xff7fffff), OF | NX);
    expect("fcvt.s.d rmm", FP("fcvt.s.d ft0, ft1, rmm", bits(-1e300), 0, 0), BOX(0xff800000), OF | NX);
    uint64_t out;
    __asm__ volatile("csrw fflags, zero\n fcvt.s.l ft0, %2, rup\n csrr %1, fflags\n fmv.x.d %0, ft0"
                     : "=r"(out), "=r"(flags) : "r"(0x1000001l) : "ft0");
    expect("fcvt.s.l rup", out, BOX(0x4b800001), NX);
}

/* Tininess is looked at after rounding, as if exponents had no end. */
static void underflow(void)
{
    const uint64_t smallest = bits(0x1p-1022);
    RAW3("fmadd.d", bits(-0x1p-538), bits(0x1p-538), smallest, smallest, NX);
    RAW3("fmadd.d", bits(-0x1p-537), bits(0x1p-538), smallest, smallest, NX | UF);
    RAW("fmul.d", bits(0x1p-1074), bits(0.5), 0, NX | UF);
    RAW("fmul.d", bits(0x1p-1074), bits(2), 2, 0); /* exact: no underflow */
    RAW("fdiv.d", smallest, bits(2), 0x0008000000000000, 0);
    RAW("fmul.s", box(0x1p-149f), box(0.25f), BOX(0), NX | UF);
}

static void fused(void)
{
    RAW3("fmadd.d", bits(3), bits(4), bits(5), bits(17), 0);
    RAW3("fmsub.d", bits(3), bits(4), bits(5), bits(7), 0);
    RAW3("fnmsub.d", bits(3), bits(4), bits(5), bits(-7), 0);
    RAW3("fnmadd.d", bits(3), bits(4), bits(5), bits(-17), 0);
    RAW3("fnmadd.d", bits(3), bits(4), bits(-12), MIN64 ^ MIN64, 0); /* -(12) - (-12) is +0 */
    RAW3("fmadd.d", bits(0x1.0000000000001p0), bits(0x1.0000000000001p0), bits(-0x1.0000000000002p0), bits(0x1p-104), 0);
    RAW3("fmadd.s", box(3), box(4), 0x40a00000, BOX(NAN32), 0);
}

static sigjmp_buf back;

static void on_illegal(int sig)
{
    siglongjmp(back, 1);
}

/* frm of 5 to 7 may be written; what asks for it then is illegal, what names its own mode is not. */
static void bad_modes(void)
{
    signal(SIGILL, on_illegal);
    for (uint64_t mode = 5; mode < 8; mode++) {
        volatile int illegal = 1;
        __asm__ volatile("csrw frm, %0" ::"r"(mode));
        XR("fcvt.l.d", "rtz", bits(2.5), 2, NX);
        RAW("fmin.d", bits(1), bits(2), bits(1), 0);
        if (!sigsetjmp(back, 1)) {
            __asm__ volatile("csrw frm, %0\n fadd.d ft0, ft0, ft0, dyn" ::"r"(mode) : "ft0");
            illegal = 0;
        }
        check("dynamic rounding by a mode that is none", illegal, 1);
        __asm__ volatile("csrw frm, zero");
    }
}

static void control(void)
{
    uint64_t a, b, c;
    __asm__ volatile("li %0, 0x1ff\n csrw fcsr, %0\n csrr %0, fcsr\n csrr %1, frm\n csrr %2, fflags" : "=&r"(a), "=&r"(b), "=&r"(c));
    check("fcsr keeps eight bits", a, 0xff);
    check("frm", b, 7);
    check("fflags", c, 31);
    __asm__ volatile("csrw fcsr, zero\n csrrwi %0, frm, 3\n csrrsi %1, fflags, 5\n csrrci %2, fflags, 4" : "=r"(a), "=r"(b), "=r"(c));
    check("csrrwi", a, 0);
    check("csrrsi", b, 0);
    check("csrrci", c, 5);
    __asm__ volatile("csrrw %0, fcsr, zero" : "=r"(a));
    check("fcsr", a, 0x61);
    __asm__ volatile("rdcycle %0\n rdinstret %1\n rdtime %2" : "=r"(a), "=r"(b), "=r"(c));
    uint64_t later, until = 1000;
    do
        __asm__ volatile("rdtime %0" : "=r"(later));
    while (later == c && until--);
    check("time goes on", later > c, 1);
}

int main(void)
{
    nan_boxing();
    nans();
    classes();
    saturation();
    rounding();
    underflow();
    fused();
    bad_modes();
    control();
    return report();
}
