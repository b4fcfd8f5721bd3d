#include "isa/riscv/helper.h"

#include "cpu/clock.h"
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
        .inf_zero_invalid = true,
    };
    for (unsigned i = 0; i < ARRAY_LEN(sticky); i++)
        s->fp.flags |= fcsr & sticky[i].fflag ? sticky[i].flag : 0;
    if (env->fp_push) /* an engine that computes in software has no unit to tell */
        env->fp_push(env);
}

static void get_fcsr(struct ir_env *env)
{
    env->helper_ret.d[0] = rv_get_fcsr(env);
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

const struct ir_helper rv_helpers[RV_HELPERS + 1] = {
    [RV_HELPER_GET_FCSR] = {"get_fcsr", get_fcsr, IR_HELPER_FP},
    [RV_HELPER_SET_FCSR] = {"set_fcsr", set_fcsr, IR_HELPER_WRITES | IR_HELPER_FP},
    [RV_HELPER_SET_FFLAGS] = {"set_fflags", set_fflags, IR_HELPER_FP},
    [RV_HELPER_TIME] = {"time", time_counter, IR_HELPER_VARIES},
    [RV_HELPER_REALTIME] = {"realtime", clock_realtime, IR_HELPER_VARIES},
    [RV_HELPER_MONOTONIC] = {"monotonic", clock_monotonic, IR_HELPER_VARIES},
};
