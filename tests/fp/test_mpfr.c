/* Against MPFR: the exact result of an operation, rounded here by the definition of IEEE 754, in
 * all six rounding directions, with tininess before and after rounding, and with flags. The NaN
 * rule is the canonical one: the other tests cover the rest. */
#include <stdint.h>

#define MPFR_USE_INTMAX_T
#include <mpfr.h>

#include "check.h"
#include "fp/fp.h"
#include "operands.h"

enum { PRECISION = 256 };

struct format {
    struct operand_format f;
    const char *name;
    u64 (*binary[4])(u64 a, u64 b, struct fp_env *env);
    u64 (*sqrt)(u64 a, struct fp_env *env);
    u64 (*fma)(u64 a, u64 b, u64 c, unsigned negate, struct fp_env *env);
    u64 (*to[3])(u64 a, struct fp_env *env); /* to 16, 32, 64 */
    u64 (*to_int)(u64 a, struct fp_int type, enum fp_round round, struct fp_env *env);
    u64 (*from_int)(u64 v, struct fp_int type, struct fp_env *env);
    u64 (*round_int)(u64 a, enum fp_round round, bool inexact, struct fp_env *env);
};

#define FORMAT_FUNCTIONS(w, type)                                                                  \
    static u64 add##w(u64 a, u64 b, struct fp_env *e)                                              \
    {                                                                                              \
        return fp##w##_add((type)a, (type)b, e);                                                   \
    }                                                                                              \
    static u64 sub##w(u64 a, u64 b, struct fp_env *e)                                              \
    {                                                                                              \
        return fp##w##_sub((type)a, (type)b, e);                                                   \
    }                                                                                              \
    static u64 mul##w(u64 a, u64 b, struct fp_env *e)                                              \
    {                                                                                              \
        return fp##w##_mul((type)a, (type)b, e);                                                   \
    }                                                                                              \
    static u64 div##w(u64 a, u64 b, struct fp_env *e)                                              \
    {                                                                                              \
        return fp##w##_div((type)a, (type)b, e);                                                   \
    }                                                                                              \
    static u64 sqrt##w(u64 a, struct fp_env *e)                                                    \
    {                                                                                              \
        return fp##w##_sqrt((type)a, e);                                                           \
    }                                                                                              \
    static u64 fma##w(u64 a, u64 b, u64 c, unsigned negate, struct fp_env *e)                      \
    {                                                                                              \
        return fp##w##_fma((type)a, (type)b, (type)c, negate, e);                                  \
    }                                                                                              \
    static u64 to_int##w(u64 a, struct fp_int t, enum fp_round round, struct fp_env *e)            \
    {                                                                                              \
        return fp##w##_to_int((type)a, t, round, e);                                               \
    }                                                                                              \
    static u64 from_int##w(u64 v, struct fp_int t, struct fp_env *e)                               \
    {                                                                                              \
        return fp##w##_from_int(v, t, e);                                                          \
    }                                                                                              \
    static u64 round_int##w(u64 a, enum fp_round round, bool inexact, struct fp_env *e)            \
    {                                                                                              \
        return fp##w##_round_int((type)a, round, inexact, e);                                      \
    }
#define CONVERSION(from, type, to)                                                                 \
    static u64 convert##from##to(u64 a, struct fp_env *e)                                          \
    {                                                                                              \
        return fp##from##_to_fp##to((type)a, e);                                                   \
    }

FORMAT_FUNCTIONS(16, u16)
FORMAT_FUNCTIONS(32, u32)
FORMAT_FUNCTIONS(64, u64)
CONVERSION(16, u16, 32)
CONVERSION(16, u16, 64)
CONVERSION(32, u32, 16)
CONVERSION(32, u32, 64)
CONVERSION(64, u64, 16)
CONVERSION(64, u64, 32)

static const struct format formats[] = {
    {.f = {5, 10},
     .name = "16",
     .binary = {add16, sub16, mul16, div16},
     .sqrt = sqrt16,
     .fma = fma16,
     .to = {NULL, convert1632, convert1664},
     .to_int = to_int16,
     .from_int = from_int16,
     .round_int = round_int16},
    {.f = {8, 23},
     .name = "32",
     .binary = {add32, sub32, mul32, div32},
     .sqrt = sqrt32,
     .fma = fma32,
     .to = {convert3216, NULL, convert3264},
     .to_int = to_int32,
     .from_int = from_int32,
     .round_int = round_int32},
    {.f = {11, 52},
     .name = "64",
     .binary = {add64, sub64, mul64, div64},
     .sqrt = sqrt64,
     .fma = fma64,
     .to = {convert6416, convert6432, NULL},
     .to_int = to_int64,
     .from_int = from_int64,
     .round_int = round_int64},
};

/* --- the reference --- */

static u64 inf_bits(struct operand_format f)
{
    return mask64(f.exp_bits) << f.frac_bits;
}

static u64 sign_bit(struct operand_format f)
{
    return (u64)1 << (f.exp_bits + f.frac_bits);
}

static bool is_nan(struct operand_format f, u64 a)
{
    return (a & (sign_bit(f) - 1)) > inf_bits(f);
}

static bool is_snan(struct operand_format f, u64 a)
{
    return is_nan(f, a) && !(a >> (f.frac_bits - 1) & 1);
}

static void decode(mpfr_t x, struct operand_format f, u64 a)
{
    const int bias = (1 << (f.exp_bits - 1)) - 1;
    u64 magnitude = a & (sign_bit(f) - 1), frac = a & mask64(f.frac_bits);
    int exp = (int)(magnitude >> f.frac_bits);

    if (is_nan(f, a)) {
        mpfr_set_nan(x);
    } else if (magnitude == inf_bits(f)) {
        mpfr_set_inf(x, 1);
    } else {
        mpfr_set_uj(x, exp ? frac | (u64)1 << f.frac_bits : frac, MPFR_RNDN);
        mpfr_mul_2si(x, x, (exp ? exp : 1) - bias - f.frac_bits, MPFR_RNDN);
    }
    mpfr_setsign(x, x, (a & sign_bit(f)) != 0, MPFR_RNDN);
}

/* |x| in units of 2^unit as an integer, by the definition of each direction. `lost`: the true |x|
 * is a little larger. */
static u64 to_units(const mpfr_t x, bool lost, long unit, enum fp_round round, bool *inexact)
{
    mpfr_t y, whole;
    mpfr_inits2(PRECISION, y, whole, (mpfr_ptr)0);
    mpfr_abs(y, x, MPFR_RNDN);
    mpfr_div_2si(y, y, unit, MPFR_RNDN);
    mpfr_floor(whole, y);
    mpfr_sub(y, y, whole, MPFR_RNDN);
    u64 q = mpfr_get_uj(whole, MPFR_RNDN);
    int half = mpfr_cmp_d(y, 0.5);
    bool negative = mpfr_signbit(x);

    *inexact = lost || !mpfr_zero_p(y);
    if (half == 0 && lost)
        half = 1;
    switch (round) {
    case FP_ROUND_EVEN:
        q += half > 0 || (half == 0 && q & 1);
        break;
    case FP_ROUND_AWAY:
        q += half >= 0;
        break;
    case FP_ROUND_UP:
        q += *inexact && !negative;
        break;
    case FP_ROUND_DOWN:
        q += *inexact && negative;
        break;
    case FP_ROUND_ZERO:
        break;
    case FP_ROUND_ODD:
        q |= *inexact;
        break;
    }
    mpfr_clears(y, whole, (mpfr_ptr)0);
    return q;
}

static u64 encode(const mpfr_t x, bool lost, struct operand_format f, const struct fp_env *env,
                  u32 *flags)
{
    const int bias = (1 << (f.exp_bits - 1)) - 1;
    const long least_unit = 1 - bias - f.frac_bits;
    const u64 sign = mpfr_signbit(x) ? sign_bit(f) : 0;
    bool inexact;

    if (mpfr_nan_p(x))
        return inf_bits(f) | (u64)1 << (f.frac_bits - 1);
    if (mpfr_inf_p(x))
        return sign | inf_bits(f);
    if (mpfr_zero_p(x))
        return sign;

    /* As if the exponent had no bounds; mpfr's significands are in [1/2, 1). */
    long exp = mpfr_get_exp(x), unit = exp - f.frac_bits - 1;
    u64 q = to_units(x, lost, unit, env->round, &inexact);
    bool tiny = env->tininess_before
                    ? exp < 2 - bias
                    : unit < least_unit && !(unit == least_unit - 1 && q == (u64)2 << f.frac_bits);
    if (unit < least_unit) {
        unit = least_unit;
        q = to_units(x, lost, unit, env->round, &inexact);
    }
    u64 bits = ((u64)(unit - least_unit) << f.frac_bits) + q;
    if (bits >= inf_bits(f)) {
        bool to_inf = env->round == FP_ROUND_EVEN || env->round == FP_ROUND_AWAY ||
                      (env->round == FP_ROUND_UP && !sign) || (env->round == FP_ROUND_DOWN && sign);
        *flags |= FP_OVERFLOW | FP_INEXACT;
        return sign | (to_inf ? inf_bits(f) : inf_bits(f) - 1);
    }
    if (inexact)
        *flags |= FP_INEXACT | (tiny ? FP_UNDERFLOW : 0);
    return sign | bits;
}

enum op { ADD, SUB, MUL, DIV, SQRT, FMA, CONVERT };

static int mpfr_op(enum op op, mpfr_t x, mpfr_t v[3], mpfr_rnd_t round)
{
    switch (op) {
    case ADD:
        return mpfr_add(x, v[0], v[1], round);
    case SUB:
        return mpfr_sub(x, v[0], v[1], round);
    case MUL:
        return mpfr_mul(x, v[0], v[1], round);
    case DIV:
        return mpfr_div(x, v[0], v[1], round);
    case SQRT:
        return mpfr_sqrt(x, v[0], round);
    case FMA:
        return mpfr_fma(x, v[0], v[1], v[2], round);
    case CONVERT:
        return mpfr_set(x, v[0], round);
    }
    return 0;
}

static u64 reference(enum op op, unsigned count, struct operand_format from,
                     struct operand_format to, const u64 bits[3], const struct fp_env *env,
                     u32 *flags)
{
    mpfr_t x, v[3];
    bool nan = false, snan = false;

    *flags = 0;
    mpfr_init2(x, PRECISION);
    for (unsigned i = 0; i < 3; i++) {
        mpfr_init2(v[i], 64);
        decode(v[i], from, bits[i]);
        nan |= i < count && is_nan(from, bits[i]);
        snan |= i < count && is_snan(from, bits[i]);
    }
    mpfr_clear_flags();
    bool lost = mpfr_op(op, x, v, MPFR_RNDZ) != 0;
    if (mpfr_divby0_p())
        *flags |= FP_DIVZERO;
    if (mpfr_zero_p(x) && env->round == FP_ROUND_DOWN)
        mpfr_op(op, x, v, MPFR_RNDD); /* an exact zero: just for its sign */
    bool inf_zero = op == FMA && ((mpfr_inf_p(v[0]) && mpfr_zero_p(v[1])) ||
                                  (mpfr_zero_p(v[0]) && mpfr_inf_p(v[1])));
    if (snan || (mpfr_nan_p(x) && !nan) || inf_zero)
        *flags |= FP_INVALID;
    u64 r = encode(x, lost, to, env, flags);
    for (unsigned i = 0; i < 3; i++)
        mpfr_clear(v[i]);
    mpfr_clear(x);
    return r;
}

/* --- the comparisons --- */

static struct fp_env random_env(struct rng *r)
{
    return (struct fp_env){
        .round = (u8)rng_below(r, 6),
        .tininess_before = rng_below(r, 2),
        .inf_zero_invalid = true,
    };
}

static int differs(const char *what, const struct format *f, const u64 v[3],
                   const struct fp_env *env, u64 ours, u64 theirs, u32 flags)
{
    if (ours == theirs && env->flags == flags)
        return 0;
    printf("# %s of %s: %#llx %#llx %#llx round %u tininess_before %d: %#llx flags %#x, "
           "expected %#llx flags %#x\n",
           what, f->name, (unsigned long long)v[0], (unsigned long long)v[1],
           (unsigned long long)v[2], env->round, env->tininess_before, (unsigned long long)ours,
           env->flags, (unsigned long long)theirs, flags);
    return 1;
}

static int compare_binary(const struct format *f, enum op op, const u64 v[3], struct fp_env env)
{
    static const char *const names[] = {"add", "sub", "mul", "div"};
    u32 flags;
    u64 theirs = reference(op, 2, f->f, f->f, v, &env, &flags);
    u64 ours = f->binary[op](v[0], v[1], &env);
    return differs(names[op], f, v, &env, ours, theirs, flags);
}

static int compare_fma(const struct format *f, const u64 v[3], unsigned negate, struct fp_env env)
{
    const u64 sign = sign_bit(f->f);
    u64 n[3] = {v[0] ^ (negate & FP_NEG_PRODUCT ? sign : 0), v[1],
                v[2] ^ (negate & FP_NEG_ADDEND ? sign : 0)};
    u32 flags;
    u64 theirs = reference(FMA, 3, f->f, f->f, n, &env, &flags);
    u64 ours = f->fma(v[0], v[1], v[2], negate, &env);
    return differs("fma", f, v, &env, ours, theirs, flags);
}

static int compare_unary(const struct format *f, u64 a, struct fp_env env)
{
    const u64 v[3] = {a, 0, 0};
    struct fp_env e = env;
    u32 flags;
    u64 theirs = reference(SQRT, 1, f->f, f->f, v, &e, &flags);
    u64 ours = f->sqrt(a, &e);
    int bad = differs("sqrt", f, v, &e, ours, theirs, flags);

    for (unsigned to = 0; to < 3; to++) {
        if (!f->to[to])
            continue;
        e = env;
        theirs = reference(CONVERT, 1, f->f, formats[to].f, v, &e, &flags);
        ours = f->to[to](a, &e);
        bad += differs("conversion", f, v, &e, ours, theirs, flags);
    }
    return bad;
}

/* To an integer, and to an integral value. */
static int compare_to_int(const struct format *f, u64 a, struct fp_int type, struct fp_env env)
{
    const u64 v[3] = {a, type.bits, type.frac_bits};
    const u64 greatest = mask64(type.bits - type.is_signed), least = type.is_signed ? ~greatest : 0;
    const bool nan = is_nan(f->f, a), negative = (a & sign_bit(f->f)) != 0;
    struct fp_env e = env;
    bool inexact;
    u32 flags = 0;
    u64 theirs, q;
    mpfr_t x;

    mpfr_init2(x, PRECISION);
    decode(x, f->f, a);
    if (!nan && !mpfr_inf_p(x) && (mpfr_zero_p(x) || mpfr_get_exp(x) + type.frac_bits <= 64)) {
        q = to_units(x, false, -(long)type.frac_bits, env.round, &inexact);
        flags = inexact ? FP_INEXACT : 0;
        theirs = negative ? -q : q;
        if (q > (negative ? -least : greatest))
            flags = FP_INVALID;
    } else {
        flags = FP_INVALID;
    }
    if (flags == FP_INVALID) {
        static const u8 nan_is_greatest[] = {
            [FP_INT_SATURATE] = false, [FP_INT_NAN_MAX] = true, [FP_INT_INDEFINITE] = false};
        theirs = nan ? (nan_is_greatest[env.int_rule] ? greatest : 0) : negative ? least : greatest;
        if (env.int_rule == FP_INT_INDEFINITE)
            theirs = type.is_signed ? least : greatest;
    }
    u64 ours = f->to_int(a, type, env.round, &e);
    int bad = differs("to integer", f, v, &e, ours, theirs, flags);

    e = env;
    flags = 0;
    if (nan) {
        theirs = inf_bits(f->f) | (u64)1 << (f->f.frac_bits - 1);
        flags = is_snan(f->f, a) ? FP_INVALID : 0;
    } else if (mpfr_inf_p(x) || mpfr_zero_p(x) || mpfr_get_exp(x) > 60) {
        theirs = a;
    } else {
        q = to_units(x, false, 0, env.round, &inexact);
        mpfr_set_uj(x, q, MPFR_RNDN);
        mpfr_setsign(x, x, negative, MPFR_RNDN);
        theirs = encode(x, false, f->f, &env, &flags);
        flags = inexact ? FP_INEXACT : 0;
    }
    ours = f->round_int(a, env.round, true, &e);
    bad += differs("to integral", f, v, &e, ours, theirs, flags);
    mpfr_clear(x);
    return bad;
}

static int compare_from_int(const struct format *f, u64 i, struct fp_int type, struct fp_env env)
{
    const u64 v[3] = {i, type.bits, type.frac_bits};
    u32 flags = 0;
    mpfr_t x;

    mpfr_init2(x, PRECISION);
    if (type.is_signed)
        mpfr_set_sj(x, sext64(i, type.bits), MPFR_RNDN);
    else
        mpfr_set_uj(x, i & mask64(type.bits), MPFR_RNDN);
    mpfr_div_2si(x, x, type.frac_bits, MPFR_RNDN);
    u64 theirs = encode(x, false, f->f, &env, &flags);
    u64 ours = f->from_int(i, type, &env);
    mpfr_clear(x);
    return differs("from integer", f, v, &env, ours, theirs, flags);
}

static struct fp_int random_type(struct rng *r)
{
    static const u8 bits[] = {8, 16, 32, 64};
    struct fp_int t = {bits[rng_below(r, 4)], rng_below(r, 2), 0};
    if (rng_below(r, 2))
        t.frac_bits = (u8)rng_below(r, 65);
    return t;
}

TEST(random_operands_as_mpfr)
{
    struct rng r = rng_seeded();
    for (unsigned k = 0; k < ARRAY_LEN(formats); k++) {
        const struct format *f = &formats[k];
        int bad = 0;
        for (int i = 0; i < 60000 && bad < 10; i++) {
            u64 v[3];
            operand_triple(&r, f->f, v);
            for (enum op op = ADD; op <= DIV; op++)
                bad += compare_binary(f, op, v, random_env(&r));
            bad += compare_fma(f, v, rng_below(&r, 4), random_env(&r));
            bad += compare_unary(f, v[0], random_env(&r));
            struct fp_env env = random_env(&r);
            env.int_rule = (u8)rng_below(&r, 3);
            bad += compare_to_int(f, v[0], random_type(&r), env);
            bad += compare_from_int(f, operand_int(&r), random_type(&r), env);
        }
        CHECK(!bad);
    }
}

TEST(every_half_as_mpfr)
{
    const struct format *f = &formats[0];
    struct rng r = {1};
    int bad = 0;
    for (u64 a = 0; a < 0x10000 && bad < 10; a++) {
        bad += compare_unary(f, a, random_env(&r));
        bad += compare_to_int(f, a, (struct fp_int){16, a & 1, 0}, random_env(&r));
        bad += compare_from_int(f, a, (struct fp_int){16, a & 1, 0}, random_env(&r));
    }
    CHECK(!bad);
}

TEST_MAIN()
