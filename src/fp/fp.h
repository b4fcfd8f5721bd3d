/* Software floating point: pure functions over raw bits, for every format and flag model.
 *
 * A value is its bit pattern: u16 (IEEE 754 binary16, or bfloat16 where the name says bf16), u32
 * (binary32), u64 (binary64). All behaviour that differs between machines is data in struct fp_env;
 * nothing here knows a guest, reads the host's rounding mode or touches the host's flags.
 *
 * "754" below is IEEE 754-2019; "Arm" is the shared pseudo-code of the Arm ARM (DDI 0487). */
#ifndef LYRE_FP_FP_H
#define LYRE_FP_FP_H

#include "base/types.h"

/* Rounding directions (754 section 4.3). The first four have the numbers of Arm's FPCR.RMode. */
enum fp_round {
    FP_ROUND_EVEN, /* to nearest, ties to even */
    FP_ROUND_UP,   /* towards plus infinity */
    FP_ROUND_DOWN, /* towards minus infinity */
    FP_ROUND_ZERO, /* truncate */
    FP_ROUND_AWAY, /* to nearest, ties away from zero */
    FP_ROUND_ODD,  /* truncate, then set the last bit if anything was lost: safe to round again */
};

/* Sticky exception flags. The numbers are those of x86's MXCSR, so that the flags of an x86-64 host
 * merge with an OR. */
enum fp_flag {
    FP_INVALID = 1,
    FP_DENORMAL_IN = 2, /* see fp_denormal_rule */
    FP_DIVZERO = 4,
    FP_OVERFLOW = 8,
    FP_UNDERFLOW = 16,
    FP_INEXACT = 32,
};

/* Which NaN an operation with NaN operands returns. Signalling NaNs come out quiet and raise
 * FP_INVALID under every rule. */
enum fp_nan_rule {
    FP_NAN_CANONICAL, /* the default NaN, always (RISC-V) */
    FP_NAN_ARM, /* the first signalling NaN, else the first quiet one; order a, b; fused: c, a, b.
                   A fused operation's negation flips the sign of a NaN operand too */
    FP_NAN_X86, /* the first NaN; order a, b; fused: a, b, c. Negation leaves NaNs alone */
};

/* What raises FP_DENORMAL_IN. */
enum fp_denormal_rule {
    FP_DENORMAL_NEVER,
    FP_DENORMAL_FLUSHED, /* a denormal operand was taken as zero; binary16 never (Arm FPSR.IDC) */
    FP_DENORMAL_USED,    /* a denormal operand was used, and the operation was neither invalid nor a
                            division by zero, nor had a NaN operand (x86 MXCSR.DE) */
};

/* What a conversion to integer gives for a NaN or a value out of range; all raise FP_INVALID. */
enum fp_int_rule {
    FP_INT_SATURATE,   /* the nearest integer; 0 for a NaN (Arm) */
    FP_INT_NAN_MAX,    /* the nearest integer; the greatest for a NaN (RISC-V) */
    FP_INT_INDEFINITE, /* signed: the least integer; unsigned: the greatest (x86) */
};

/* Formats for the flush_ fields, a bit set: machines flush binary16 by a switch of its own or
 * never. Conversions between formats never flush their binary16 side. */
enum fp_flush {
    FP_FLUSH_NONE = 0,
    FP_FLUSH_HALF = 1, /* binary16 */
    FP_FLUSH_WIDE = 2, /* all others */
};

/* The state and the rules of one floating-point unit. All zero is 754 with canonical NaNs (+). */
struct fp_env {
    u8 round;              /* enum fp_round */
    u8 nan_rule;           /* enum fp_nan_rule */
    u8 int_rule;           /* enum fp_int_rule */
    u8 denormal_rule;      /* enum fp_denormal_rule */
    u8 flush_inputs;       /* enum fp_flush: denormal operands count as zero of their sign */
    u8 flush_outputs;      /* enum fp_flush: tiny results become zero and raise FP_UNDERFLOW ... */
    bool flush_inexact;    /* ... and FP_INEXACT (x86) */
    bool default_nan;      /* return the default NaN in place of any operand NaN */
    bool default_nan_sign; /* the default NaN is negative (x86) */
    bool tininess_before;  /* detect tininess before rounding (Arm), else after (x86, RISC-V) */
    bool number_2019;      /* what this unit calls minimum and maximum of numbers is FP_MIN_NUMBER_2019, else
                              FP_MIN_NUMBER_2008: see fp_number_rule() */
    bool inf_zero_invalid; /* fused inf * 0 + quiet NaN is invalid and gives the default NaN (Arm,
                              RISC-V), else it is just an operation with a NaN operand (x86) */
    bool alternative_half; /* conversions: binary16 has no infinities and NaNs (Arm FPCR.AHP) */
    u32 flags;             /* enum fp_flag, sticky: only ever set here */
};

/* 754 section 5.4.1. sqrt of a negative number, inf - inf, 0 * inf, 0 / 0, inf / inf are invalid
 * and give the default NaN. An exact zero sum of nonzero terms is +0, or -0 when rounding down. */
u16 fp16_add(u16 a, u16 b, struct fp_env *env);
u32 fp32_add(u32 a, u32 b, struct fp_env *env);
u64 fp64_add(u64 a, u64 b, struct fp_env *env);
u16 fp16_sub(u16 a, u16 b, struct fp_env *env);
u32 fp32_sub(u32 a, u32 b, struct fp_env *env);
u64 fp64_sub(u64 a, u64 b, struct fp_env *env);
u16 fp16_mul(u16 a, u16 b, struct fp_env *env);
u32 fp32_mul(u32 a, u32 b, struct fp_env *env);
u64 fp64_mul(u64 a, u64 b, struct fp_env *env);
u16 fp16_div(u16 a, u16 b, struct fp_env *env);
u32 fp32_div(u32 a, u32 b, struct fp_env *env);
u64 fp64_div(u64 a, u64 b, struct fp_env *env);
u16 fp16_sqrt(u16 a, struct fp_env *env);
u32 fp32_sqrt(u32 a, struct fp_env *env);
u64 fp64_sqrt(u64 a, struct fp_env *env);

/* a * b + c, rounded once. `negate` is a set of enum fp_negate and acts on the operands (so that
 * zero results have the sign of the negated sum); what it does to NaNs is part of the NaN rule. */
enum fp_negate {
    FP_NEG_PRODUCT = 1,
    FP_NEG_ADDEND = 2,
};
u16 fp16_fma(u16 a, u16 b, u16 c, unsigned negate, struct fp_env *env);
u32 fp32_fma(u32 a, u32 b, u32 c, unsigned negate, struct fp_env *env);
u64 fp64_fma(u64 a, u64 b, u64 c, unsigned negate, struct fp_env *env);

/* 754 section 5.11. The quiet form raises FP_INVALID for signalling NaNs only, the signalling form
 * for all NaNs. */
enum fp_order {
    FP_LESS,
    FP_EQUAL,
    FP_GREATER,
    FP_UNORDERED,
};
enum fp_order fp16_compare(u16 a, u16 b, bool signalling, struct fp_env *env);
enum fp_order fp32_compare(u32 a, u32 b, bool signalling, struct fp_env *env);
enum fp_order fp64_compare(u64 a, u64 b, bool signalling, struct fp_env *env);

/* The families of minimum and maximum. -0 < +0 in all but FP_MIN_SECOND. */
enum fp_min_rule {
    FP_MIN_NAN,         /* a NaN operand gives a NaN: 754-2019 minimum, Arm FMIN */
    FP_MIN_NUMBER_2008, /* a number beats a quiet NaN, not a signalling one: 754-2008 minNum, Arm
                           FMINNM */
    FP_MIN_NUMBER_2019, /* a number beats any NaN: 754-2019 minimumNumber, RISC-V FMIN */
    FP_MIN_SECOND,      /* a < b ? a : b as written; all NaNs are invalid: x86 MINSD */
};
static inline enum fp_min_rule fp_number_rule(const struct fp_env *env)
{
    return env->number_2019 ? FP_MIN_NUMBER_2019 : FP_MIN_NUMBER_2008;
}
u16 fp16_min(u16 a, u16 b, enum fp_min_rule rule, struct fp_env *env);
u32 fp32_min(u32 a, u32 b, enum fp_min_rule rule, struct fp_env *env);
u64 fp64_min(u64 a, u64 b, enum fp_min_rule rule, struct fp_env *env);
u16 fp16_max(u16 a, u16 b, enum fp_min_rule rule, struct fp_env *env);
u32 fp32_max(u32 a, u32 b, enum fp_min_rule rule, struct fp_env *env);
u64 fp64_max(u64 a, u64 b, enum fp_min_rule rule, struct fp_env *env);

/* What a value is; raises nothing and flushes nothing. */
enum fp_class {
    FP_CLASS_ZERO,
    FP_CLASS_DENORMAL,
    FP_CLASS_NORMAL,
    FP_CLASS_INF,
    FP_CLASS_QNAN,
    FP_CLASS_SNAN,
};
enum fp_class fp16_class(u16 a);
enum fp_class fp32_class(u32 a);
enum fp_class fp64_class(u64 a);

/* Round to an integral value in the same format (754 section 5.9); `inexact`: raise FP_INEXACT when
 * the value changes. Zero results keep the sign. FP_DENORMAL_USED does not apply. */
u16 fp16_round_int(u16 a, enum fp_round round, bool inexact, struct fp_env *env);
u32 fp32_round_int(u32 a, enum fp_round round, bool inexact, struct fp_env *env);
u64 fp64_round_int(u64 a, enum fp_round round, bool inexact, struct fp_env *env);

/* The same, for a result that must fit a signed integer of `bits` (32 or 64): NaNs, infinities and
 * values out of range give -2^(bits-1) and raise FP_INVALID (Arm FPRoundIntN: FRINT32Z ...). */
u32 fp32_round_fit(u32 a, enum fp_round round, unsigned bits, struct fp_env *env);
u64 fp64_round_fit(u64 a, enum fp_round round, unsigned bits, struct fp_env *env);

/* Between formats (754 section 5.4.2; Arm FPConvert), rounding by env->round. NaN payloads keep
 * their high bits. */
u32 fp16_to_fp32(u16 a, struct fp_env *env);
u64 fp16_to_fp64(u16 a, struct fp_env *env);
u16 fp32_to_fp16(u32 a, struct fp_env *env);
u64 fp32_to_fp64(u32 a, struct fp_env *env);
u16 fp64_to_fp16(u64 a, struct fp_env *env);
u32 fp64_to_fp32(u64 a, struct fp_env *env);
u16 fp32_to_bf16(u32 a, struct fp_env *env);
u32 bf16_to_fp32(u16 a, struct fp_env *env);

/* An integer or fixed-point type. */
struct fp_int {
    u8 bits; /* 1..64 */
    bool is_signed;
    u8 frac_bits; /* bits below the binary point, 0..64 */
};

/* To an integer (754 section 5.8; Arm FPToFixed): the value times 2^frac_bits, rounded, in the low
 * `bits` of the result, sign extended to 64 if signed. Values that do not fit raise FP_INVALID
 * alone, otherwise lost bits raise FP_INEXACT. FP_DENORMAL_USED does not apply. */
u64 fp16_to_int(u16 a, struct fp_int type, enum fp_round round, struct fp_env *env);
u64 fp32_to_int(u32 a, struct fp_int type, enum fp_round round, struct fp_env *env);
u64 fp64_to_int(u64 a, struct fp_int type, enum fp_round round, struct fp_env *env);

/* From the low type.bits of v, divided by 2^frac_bits, rounding by env->round (Arm FixedToFP). */
u16 fp16_from_int(u64 v, struct fp_int type, struct fp_env *env);
u32 fp32_from_int(u64 v, struct fp_int type, struct fp_env *env);
u64 fp64_from_int(u64 v, struct fp_int type, struct fp_env *env);

/* Truncate to 32 bits modulo 2^32, as ECMAScript's ToInt32; *exact: the value was an integer in the
 * signed 32-bit range and not -0 (Arm FPToFixedJS). Out of range raises FP_INVALID, else lost bits
 * raise FP_INEXACT. */
u32 fp64_to_int32_modulo(u64 a, bool *exact, struct fp_env *env);

/* Multiply, but 0 * inf is 2 with the sign of the product and raises nothing (Arm FPMulX). */
u16 fp16_mulx(u16 a, u16 b, struct fp_env *env);
u32 fp32_mulx(u32 a, u32 b, struct fp_env *env);
u64 fp64_mulx(u64 a, u64 b, struct fp_env *env);

/* Eight-bit estimates of 1/a and 1/sqrt(a) (Arm FPRecipEstimate, FPRSqrtEstimate). */
u16 fp16_recip_estimate(u16 a, struct fp_env *env);
u32 fp32_recip_estimate(u32 a, struct fp_env *env);
u64 fp64_recip_estimate(u64 a, struct fp_env *env);
u16 fp16_rsqrt_estimate(u16 a, struct fp_env *env);
u32 fp32_rsqrt_estimate(u32 a, struct fp_env *env);
u64 fp64_rsqrt_estimate(u64 a, struct fp_env *env);

/* Newton steps, fused: 2 - a*b and (3 - a*b) / 2, where 0 * inf counts as 0 (Arm FPRecipStepFused,
 * FPRSqrtStepFused; a is negated before NaNs are looked at, as a fused operation would). */
u16 fp16_recip_step(u16 a, u16 b, struct fp_env *env);
u32 fp32_recip_step(u32 a, u32 b, struct fp_env *env);
u64 fp64_recip_step(u64 a, u64 b, struct fp_env *env);
u16 fp16_rsqrt_step(u16 a, u16 b, struct fp_env *env);
u32 fp32_rsqrt_step(u32 a, u32 b, struct fp_env *env);
u64 fp64_rsqrt_step(u64 a, u64 b, struct fp_env *env);

/* A power of two near 1/a: the exponent inverted, the fraction dropped (Arm FPRecpX). */
u16 fp16_recip_exponent(u16 a, struct fp_env *env);
u32 fp32_recip_exponent(u32 a, struct fp_env *env);
u64 fp64_recip_exponent(u64 a, struct fp_env *env);

/* The estimates on unsigned fixed point: 0.32 bits in; 1.31 bits out, all ones where the operand is
 * too small (Arm UnsignedRecipEstimate, UnsignedRSqrtEstimate). */
u32 fp_recip_estimate_u32(u32 a);
u32 fp_rsqrt_estimate_u32(u32 a);

#endif
