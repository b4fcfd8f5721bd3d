/* Zfa, computed by MPFR in numbers of any size, for half, single and double precision. */
#include <math.h>
#include <mpfr.h>
#include <string.h>

#include "spec.h"

enum { NX = 1, UF = 2, OF = 4, DZ = 8, NV = 16 };
enum { RNE, RTZ, RDN, RUP, RMM, DYN = 7 };

/* A format of IEEE 754: bits of its exponent and of its fraction. */
struct format {
    unsigned exponent, fraction;
};

/* By the instructions' fmt field (bits 26..25). */
static const struct format formats[4] = {{8, 23}, {11, 52}, {5, 10}, {0, 0}};

static const struct format *format_of(u32 i)
{
    return &formats[bits32(i, 25, 2)];
}

static unsigned width(const struct format *t)
{
    return 1 + t->exponent + t->fraction;
}

static u64 exponent_mask(const struct format *t)
{
    return mask64(t->exponent) << t->fraction;
}

static u64 canonical_nan(const struct format *t)
{
    return exponent_mask(t) | 1ull << (t->fraction - 1);
}

static bool is_nan(const struct format *t, u64 v)
{
    return (v & mask64(width(t) - 1)) > exponent_mask(t);
}

static bool is_signaling(const struct format *t, u64 v)
{
    return is_nan(t, v) && !(v >> (t->fraction - 1) & 1);
}

static bool is_infinite(const struct format *t, u64 v)
{
    return (v & mask64(width(t) - 1)) == exponent_mask(t);
}

/* What a register holds as a value of the format: the canonical NaN unless it is boxed in ones. */
static u64 get_f(const struct spec_state *s, u32 n, const struct format *t)
{
    u64 upper = ~mask64(width(t));
    return (s->f[n] & upper) == upper ? s->f[n] & mask64(width(t)) : canonical_nan(t);
}

static void set_f(struct spec_state *s, u32 n, const struct format *t, u64 v)
{
    s->f[n] = v | ~mask64(width(t));
}

/* A number, exactly; infinities too. */
static void to_mpfr(mpfr_t out, const struct format *t, u64 v)
{
    u64 exponent = v >> t->fraction & mask64(t->exponent), fraction = v & mask64(t->fraction);
    int bias = (1 << (t->exponent - 1)) - 1, scale = 1 - bias - (int)t->fraction;
    if (is_infinite(t, v)) {
        mpfr_set_inf(out, 1);
    } else {
        u64 digits = exponent ? fraction | 1ull << t->fraction : fraction;
        mpfr_set_ui_2exp(out, digits, scale + (exponent ? (int)exponent - 1 : 0), MPFR_RNDN);
    }
    mpfr_setsign(out, out, v >> (width(t) - 1) & 1, MPFR_RNDN);
}

/* The other way, for what the format can hold. */
static u64 from_mpfr(const struct format *t, const mpfr_t in)
{
    u64 sign = (u64)(mpfr_signbit(in) != 0) << (width(t) - 1);
    int bias = (1 << (t->exponent - 1)) - 1;
    if (mpfr_zero_p(in))
        return sign;
    if (mpfr_inf_p(in))
        return sign | exponent_mask(t);
    mpfr_exp_t e = mpfr_get_exp(in) - 1; /* |in| is in [2^e, 2^(e+1)) */
    int lowest = MAX((int)e, 1 - bias) - (int)t->fraction;
    mpfr_t scaled;
    mpfr_init2(scaled, 200);
    mpfr_mul_2si(scaled, in, -lowest, MPFR_RNDN);
    mpfr_abs(scaled, scaled, MPFR_RNDN);
    u64 digits = mpfr_get_ui(scaled, MPFR_RNDZ);
    mpfr_clear(scaled);
    if (e < 1 - bias)
        return sign | digits;
    return sign | (u64)(e + bias) << t->fraction | (digits & mask64(t->fraction));
}

/* The rounding mode that an instruction asks for; -1: there is none of that number. */
static int rounding(const struct spec_state *s, u32 i)
{
    u32 rm = bits32(i, 12, 3);
    if (rm == DYN)
        rm = s->fcsr >> 5 & 7;
    return rm <= RMM ? (int)rm : -1;
}

/* ---- fli: the 32 values of the manual's table ---- */

static double fli_value(u32 n, const struct format *t)
{
    static const double values[32] = {
        -1.0,     0,      0x1p-16, 0x1p-15, 0x1p-8, 0x1p-7, 0.0625, 0.125, 0.25, 0.3125, 0.375,
        0.4375,   0.5,    0.625,   0.75,    0.875,  1.0,    1.25,   1.5,   1.75, 2.0,    2.5,
        3.0,      4.0,    8.0,     16.0,    128.0,  256.0,  0x1p15, 0x1p16, INFINITY, NAN,
    };
    if (n == 1) /* the smallest normal number */
        return ldexp(1, 2 - (1 << (t->exponent - 1)));
    if (n == 29 && t->exponent == 5) /* is beyond half precision */
        return INFINITY;
    return values[n];
}

static void fli(struct spec_state *s, u32 i)
{
    const struct format *t = format_of(i);
    double v = fli_value(rs1(i), t);
    mpfr_t m;
    mpfr_init2(m, 64);
    mpfr_set_d(m, v, MPFR_RNDN);
    set_f(s, rd(i), t, isnan(v) ? canonical_nan(t) : from_mpfr(t, m));
    mpfr_clear(m);
}

/* ---- fminm, fmaxm: any NaN makes the canonical NaN; -0 is less than +0 ---- */

static void min_max(struct spec_state *s, u32 i, bool max)
{
    const struct format *t = format_of(i);
    u64 a = get_f(s, rs1(i), t), b = get_f(s, rs2(i), t), out = canonical_nan(t);
    if (is_signaling(t, a) || is_signaling(t, b))
        s->fcsr |= NV;
    if (!is_nan(t, a) && !is_nan(t, b)) {
        mpfr_t x, y;
        mpfr_inits2(64, x, y, (mpfr_ptr)0);
        to_mpfr(x, t, a);
        to_mpfr(y, t, b);
        int order = mpfr_cmp(x, y);
        if (!order) /* equal, or zeros: the negative one is less */
            order = (int)(mpfr_signbit(y) != 0) - (int)(mpfr_signbit(x) != 0);
        out = (order < 0) != max ? a : b;
        mpfr_clears(x, y, (mpfr_ptr)0);
    }
    set_f(s, rd(i), t, out);
}

static void fminm(struct spec_state *s, u32 i)
{
    min_max(s, i, false);
}

static void fmaxm(struct spec_state *s, u32 i)
{
    min_max(s, i, true);
}

/* ---- fround, froundnx ---- */

static void round_mpfr(mpfr_t out, const mpfr_t in, int mode)
{
    static const mpfr_rnd_t modes[] = {MPFR_RNDN, MPFR_RNDZ, MPFR_RNDD, MPFR_RNDU};
    if (mode == RMM)
        mpfr_round(out, in); /* halves go away from zero */
    else
        mpfr_rint(out, in, modes[mode]);
}

static void round_to_integral(struct spec_state *s, u32 i, bool tell)
{
    const struct format *t = format_of(i);
    u64 a = get_f(s, rs1(i), t), out = canonical_nan(t);
    int mode = rounding(s, i);
    if (mode < 0) {
        s->trap = TRAP_ILLEGAL;
        return;
    }
    if (is_signaling(t, a))
        s->fcsr |= NV;
    if (!is_nan(t, a)) {
        mpfr_t x, y;
        mpfr_inits2(64, x, y, (mpfr_ptr)0);
        to_mpfr(x, t, a);
        round_mpfr(y, x, mode);
        mpfr_setsign(y, y, mpfr_signbit(x), MPFR_RNDN); /* zeros keep the operand's */
        if (tell && mpfr_cmp(x, y))
            s->fcsr |= NX;
        out = from_mpfr(t, y);
        mpfr_clears(x, y, (mpfr_ptr)0);
    }
    set_f(s, rd(i), t, out);
}

static void fround(struct spec_state *s, u32 i)
{
    round_to_integral(s, i, false);
}

static void froundnx(struct spec_state *s, u32 i)
{
    round_to_integral(s, i, true);
}

/* ---- fcvtmod.w.d: the low 32 bits of the integer, flags as for a conversion that saturates ---- */

static void fcvtmod(struct spec_state *s, u32 i)
{
    const struct format *t = &formats[1];
    u64 a = get_f(s, rs1(i), t), out = 0;
    if (is_nan(t, a) || is_infinite(t, a)) {
        s->fcsr |= NV;
    } else {
        mpfr_t x, y;
        mpz_t z;
        mpfr_inits2(64, x, y, (mpfr_ptr)0);
        mpz_init(z);
        to_mpfr(x, t, a);
        mpfr_trunc(y, x);
        if (!mpfr_fits_sint_p(y, MPFR_RNDZ))
            s->fcsr |= NV;
        else if (mpfr_cmp(x, y))
            s->fcsr |= NX;
        mpfr_get_z(z, y, MPFR_RNDZ);
        mpz_fdiv_r_2exp(z, z, 32); /* of two's complement: never negative */
        out = (u64)(s32)mpz_get_ui(z);
        mpfr_clears(x, y, (mpfr_ptr)0);
        mpz_clear(z);
    }
    set_x(s, rd(i), out);
}

/* ---- fleq, fltq: quiet NaNs raise nothing ---- */

static void quiet_compare(struct spec_state *s, u32 i, bool or_equal)
{
    const struct format *t = format_of(i);
    u64 a = get_f(s, rs1(i), t), b = get_f(s, rs2(i), t), out = 0;
    if (is_signaling(t, a) || is_signaling(t, b))
        s->fcsr |= NV;
    if (!is_nan(t, a) && !is_nan(t, b)) {
        mpfr_t x, y;
        mpfr_inits2(64, x, y, (mpfr_ptr)0);
        to_mpfr(x, t, a);
        to_mpfr(y, t, b);
        out = or_equal ? mpfr_cmp(x, y) <= 0 : mpfr_cmp(x, y) < 0;
        mpfr_clears(x, y, (mpfr_ptr)0);
    }
    set_x(s, rd(i), out);
}

static void fleq(struct spec_state *s, u32 i)
{
    quiet_compare(s, i, true);
}

static void fltq(struct spec_state *s, u32 i)
{
    quiet_compare(s, i, false);
}

/* ---- fmvh.x.d, fmvp.d.x: halves of doubles, as RV32 moves them ---- */

static void fmvh(struct spec_state *s, u32 i)
{
    set_x(s, rd(i), s->f[rs1(i)] >> 32);
}

static void fmvp(struct spec_state *s, u32 i)
{
    s->f[rd(i)] = s->x[rs2(i)] << 32 | s->x[rs1(i)];
}

/* ---- operands ---- */

/* Values at the edges of formats and of integers, and anything; not always boxed. */
static u64 operand(const struct format *t, struct spec_random *r)
{
    static const double edges[] = {0, 0.5, 1, 1.5, 2.5, 0.49999999, 1e-40, 2047.5, 8388607.5, 16777216,
                                   2147483647, 2147483648.5, 2147483647.5, 4294967295.0, 1e10,
                                   1.8446744073709552e19, 4503599627370495.5, 1e300, INFINITY};
    u64 pick = spec_next(r), v = spec_next(r) & mask64(width(t)), sign = pick >> 32 & 1;
    mpfr_t m;
    switch (pick % 8) {
    case 0: /* a NaN of either kind */
        v |= exponent_mask(t) | 1;
        break;
    case 1: /* subnormal */
        v &= ~exponent_mask(t);
        break;
    case 2: { /* around one with digits behind the point */
        unsigned bias = (1u << (t->exponent - 1)) - 1, e = bias - 2 + (unsigned)(pick >> 40 & 31);
        v = (v & mask64(t->fraction)) | (u64)MIN(e, 2 * bias) << t->fraction;
        break;
    }
    case 3:
    case 4:
        mpfr_init2(m, t->fraction + 1);
        mpfr_set_d(m, edges[(pick >> 8 & 255) % ARRAY_LEN(edges)], MPFR_RNDZ);
        v = mpfr_get_d(m, MPFR_RNDZ) < ldexp(1, 1 << (t->exponent - 1)) ? from_mpfr(t, m) : exponent_mask(t);
        mpfr_clear(m);
        break;
    default:
        break;
    }
    v = (v & mask64(width(t) - 1)) | sign << (width(t) - 1);
    return pick >> 33 & 15 || width(t) == 64 ? v | ~mask64(width(t)) : v | (pick & ~mask64(width(t)));
}

static void prepare_fp(struct spec_state *s, u32 i, struct spec_random *r)
{
    const struct format *t = format_of(i);
    s->f[rs1(i)] = operand(t, r);
    s->f[rs2(i)] = spec_next(r) & 7 ? operand(t, r) : s->f[rs1(i)];
    s->fcsr = (u32)(spec_next(r) % 256);
}

#define RD        (31u << 7)
#define RS1       (31u << 15)
#define RS2       (31u << 20)
#define RM        (7u << 12)
#define S_(x)     (x)
#define D_(x)     ((x) | 1u << 25)
#define H_(x)     ((x) | 2u << 25)
/* One line for each precision. */
#define FORMATS(name, bits, fields, prepare, define)                                               \
    {name ".h", "zfh+zfa", H_(bits), fields, 4, prepare, define},                                  \
    {name ".s", "zfa", S_(bits), fields, 4, prepare, define},                                      \
    {name ".d", "zfa", D_(bits), fields, 4, prepare, define}

const struct spec_insn spec_zfa[] = {
    FORMATS("fli", 0xf0100053, RD | RS1, NULL, fli),
    FORMATS("fminm", 0x28002053, RD | RS1 | RS2, prepare_fp, fminm),
    FORMATS("fmaxm", 0x28003053, RD | RS1 | RS2, prepare_fp, fmaxm),
    FORMATS("fround", 0x40400053, RD | RS1 | RM, prepare_fp, fround),
    FORMATS("froundnx", 0x40500053, RD | RS1 | RM, prepare_fp, froundnx),
    FORMATS("fleq", 0xa0004053, RD | RS1 | RS2, prepare_fp, fleq),
    FORMATS("fltq", 0xa0005053, RD | RS1 | RS2, prepare_fp, fltq),
    {"fcvtmod.w.d", "zfa", 0xc2801053, RD | RS1, 4, prepare_fp, fcvtmod},
    {"fmvh.x.d", "zfa", 0xe2100053, RD | RS1, 4, NULL, fmvh, WIDTH_ONLY_32},
    {"fmvp.d.x", "zfa", 0xb2000053, RD | RS1 | RS2, 4, NULL, fmvp, WIDTH_ONLY_32},
    {0},
};
