#include "isa/riscv/helper.h"

#include "cpu/clock.h"
#include "cpu/sm4.h"
#include "isa/riscv/state.h"

/* frm in terms of enum fp_round; those that are reserved round to even, and nothing asks. */
static const u8 rounding[8] = {FP_ROUND_EVEN, FP_ROUND_ZERO, FP_ROUND_DOWN, FP_ROUND_UP, FP_ROUND_AWAY};

static const struct {
    u8 fflag, flag;
} sticky[] = {
    {RV_FFLAGS_NX, FP_INEXACT},  {RV_FFLAGS_UF, FP_UNDERFLOW}, {RV_FFLAGS_OF, FP_OVERFLOW},
    {RV_FFLAGS_DZ, FP_DIVZERO},  {RV_FFLAGS_NV, FP_INVALID},
};

u32 rv_get_fcsr(struct ir_env *env)
{
    const struct rv_state *s = rv_state(env);
    u32 fcsr = s->frm << 5;
    for (unsigned i = 0; i < ARRAY_LEN(sticky); i++)
        fcsr |= s->fp.flags & sticky[i].flag ? sticky[i].fflag : 0;
    return fcsr;
}

void rv_set_fcsr(struct ir_env *env, u32 fcsr)
{
    struct rv_state *s = rv_state(env);
    s->frm = fcsr >> 5 & 7;
    s->fp = (struct fp_env){
        .round = rounding[s->frm],
        .nan_rule = FP_NAN_CANONICAL,
        .int_rule = FP_INT_NAN_MAX,
        .number_2019 = true,
        .inf_zero_invalid = true,
    };
    for (unsigned i = 0; i < ARRAY_LEN(sticky); i++)
        s->fp.flags |= fcsr & sticky[i].fflag ? sticky[i].flag : 0;
    if (env->fp_push) /* an engine that computes in software has no unit to tell */
        env->fp_push(env);
}

static void set_fcsr(struct ir_env *env)
{
    rv_set_fcsr(env, env->helper_arg[0].s[0]);
}

static void set_fflags(struct ir_env *env)
{
    rv_set_fcsr(env, rv_state(env)->frm << 5 | (env->helper_arg[0].s[0] & 31));
}

static void time_counter(struct ir_env *env)
{
    env->helper_ret.d[0] = clock_nanoseconds(CLOCK_MONOTONIC) / (1000000000 / RV_TIMEBASE);
}

/* Negative infinity, normal, denormal, zero; the same of positive ones in reverse; signalling and quiet NaN. */
static void fclass(struct ir_env *env)
{
    static const u8 bit[] = {[FP_CLASS_ZERO] = 3, [FP_CLASS_DENORMAL] = 2, [FP_CLASS_NORMAL] = 1, [FP_CLASS_INF] = 0};
    u64 v = env->helper_arg[0].d[0];
    unsigned type = env->helper_arg[1].s[0];
    enum fp_class c = type == IR_F16   ? fp16_class((u16)v)
                      : type == IR_F32 ? fp32_class((u32)v)
                                       : fp64_class(v);
    bool negative = v >> (type == IR_F16 ? 15 : type == IR_F32 ? 31 : 63) & 1;
    if (c >= FP_CLASS_QNAN)
        env->helper_ret.d[0] = c == FP_CLASS_SNAN ? 1 << 8 : 1 << 9;
    else
        env->helper_ret.d[0] = 1u << (negative ? bit[c] : 7 - bit[c]);
}

/* A word here is in little-endian order. */
static void sm4ed(struct ir_env *env)
{
    u32 x = sm4_substitute(env->helper_arg[0].s[0] << 24) & 0xff000000;
    env->helper_ret.d[0] = __builtin_bswap32(sm4_mix_data(x));
}

static void sm4ks(struct ir_env *env)
{
    u32 x = sm4_substitute(env->helper_arg[0].s[0] << 24) & 0xff000000;
    env->helper_ret.d[0] = __builtin_bswap32(sm4_mix_key(x));
}

const struct ir_helper rv_helpers[RV_HELPERS + 1] = {
    [RV_HELPER_SET_FCSR] = {"set_fcsr", set_fcsr, IR_HELPER_WRITES | IR_HELPER_FP},
    [RV_HELPER_SET_FFLAGS] = {"set_fflags", set_fflags, IR_HELPER_FP},
    [RV_HELPER_TIME] = {"time", time_counter, IR_HELPER_VARIES},
    [RV_HELPER_REALTIME] = {"realtime", clock_realtime, IR_HELPER_VARIES},
    [RV_HELPER_MONOTONIC] = {"monotonic", clock_monotonic, IR_HELPER_VARIES},
    [RV_HELPER_FCLASS] = {"fclass", fclass, IR_HELPER_PURE},
    [RV_HELPER_SM4ED] = {"sm4ed", sm4ed, IR_HELPER_PURE},
    [RV_HELPER_SM4KS] = {"sm4ks", sm4ks, IR_HELPER_PURE},
};
