#include "isa/aarch64/helper.h"

#include "cpu/clock.h"
#include "isa/aarch64/state.h"

/* FPSR: the cumulative bits. */
static const struct {
    u32 fpsr;
    u32 flag;
} sticky[] = {
    {1 << 0, FP_INVALID},   {1 << 1, FP_DIVZERO}, {1 << 2, FP_OVERFLOW},
    {1 << 3, FP_UNDERFLOW}, {1 << 4, FP_INEXACT}, {1 << 7, FP_DENORMAL_IN},
};

/* An engine that computes in software has no unit to tell. */
static void push(struct ir_env *env)
{
    if (env->fp_push)
        env->fp_push(env);
}

void a64_set_fpcr(struct ir_env *env, u32 fpcr)
{
    struct a64_state *s = a64_state(env);
    fpcr &= A64_FPCR_MASK;
    u8 flush = (fpcr & A64_FPCR_FZ ? FP_FLUSH_WIDE : 0) | (fpcr & A64_FPCR_FZ16 ? FP_FLUSH_HALF : 0);
    s->fpcr = fpcr;
    s->fp = (struct fp_env){
        .round = fpcr >> 22 & 3,
        .nan_rule = FP_NAN_ARM,
        .int_rule = FP_INT_SATURATE,
        .denormal_rule = FP_DENORMAL_FLUSHED,
        .flush_inputs = flush,
        .flush_outputs = flush,
        .default_nan = fpcr & A64_FPCR_DN,
        .tininess_before = true,
        .inf_zero_invalid = true,
        .alternative_half = fpcr & A64_FPCR_AHP,
        .flags = s->fp.flags,
    };
    push(env);
}

/* Without what is in the slot of QC: translated code may hold that elsewhere. */
static u32 fpsr_without_slots(struct ir_env *env)
{
    struct a64_state *s = a64_state(env);
    u32 fpsr = s->qc ? A64_FPSR_QC : 0;
    for (unsigned i = 0; i < ARRAY_LEN(sticky); i++)
        fpsr |= s->fp.flags & sticky[i].flag ? sticky[i].fpsr : 0;
    return fpsr;
}

u32 a64_get_fpsr(struct ir_env *env)
{
    const v128 *lanes = &a64_state(env)->qc_lanes;
    return fpsr_without_slots(env) | (lanes->d[0] | lanes->d[1] ? A64_FPSR_QC : 0);
}

void a64_set_fpsr(struct ir_env *env, u32 fpsr)
{
    struct a64_state *s = a64_state(env);
    s->fpsr_written = 1;
    s->qc_lanes = (v128){0};
    s->qc = fpsr & A64_FPSR_QC ? 1 : 0;
    s->fp.flags = 0;
    for (unsigned i = 0; i < ARRAY_LEN(sticky); i++)
        s->fp.flags |= fpsr & sticky[i].fpsr ? sticky[i].flag : 0;
    push(env);
}

static void get_fpcr(struct ir_env *env)
{
    env->helper_ret.d[0] = a64_state(env)->fpcr;
}

static void set_fpcr(struct ir_env *env)
{
    a64_set_fpcr(env, env->helper_arg[0].s[0]);
}

static void get_fpsr(struct ir_env *env)
{
    env->helper_ret.d[0] = fpsr_without_slots(env);
}

static void set_fpsr(struct ir_env *env)
{
    a64_set_fpsr(env, env->helper_arg[0].s[0]);
}

/* CNTVCT_EL0 as a user program sees it: ticks of A64_CNTFRQ. */
static void counter(struct ir_env *env)
{
    env->helper_ret.d[0] = clock_nanoseconds(CLOCK_MONOTONIC) / (1000000000 / A64_CNTFRQ);
}

const struct ir_helper a64_helpers[A64_HELPERS + 1] = {
    [A64_HELPER_GET_FPCR] = {"get_fpcr", get_fpcr, 0},
    [A64_HELPER_SET_FPCR] = {"set_fpcr", set_fpcr, IR_HELPER_WRITES | IR_HELPER_FP},
    [A64_HELPER_GET_FPSR] = {"get_fpsr", get_fpsr, IR_HELPER_FP},
    [A64_HELPER_SET_FPSR] = {"set_fpsr", set_fpsr, IR_HELPER_FP},
    [A64_HELPER_COUNTER] = {"counter", counter, IR_HELPER_VARIES},
    [A64_HELPER_REALTIME] = {"realtime", clock_realtime, IR_HELPER_VARIES},
    [A64_HELPER_MONOTONIC] = {"monotonic", clock_monotonic, IR_HELPER_VARIES},
    [A64_HELPER_FP_LANES] = {"fp_lanes", a64_fp_lanes, IR_HELPER_FP},
    [A64_HELPER_WIDEN_HALF] = {"widen_half", a64_widen_half, IR_HELPER_FP},
    [A64_HELPER_BFDOT] = {"bfdot", a64_bfdot, IR_HELPER_PURE},
    [A64_HELPER_BFMMLA] = {"bfmmla", a64_bfmmla, IR_HELPER_PURE},
    [A64_HELPER_SQRDMLAH_H] = {"sqrdmlah_h", a64_sqrdmlah_h, 0},
    [A64_HELPER_SQRDMLAH_S] = {"sqrdmlah_s", a64_sqrdmlah_s, 0},
    [A64_HELPER_SQRDMLSH_H] = {"sqrdmlsh_h", a64_sqrdmlsh_h, 0},
    [A64_HELPER_SQRDMLSH_S] = {"sqrdmlsh_s", a64_sqrdmlsh_s, 0},
    [A64_HELPER_MACHINE_COUNTER] = {"machine_counter", a64_machine_counter, IR_HELPER_VARIES},
    [A64_HELPER_UNMASKED] = {"unmasked", a64_unmasked, IR_HELPER_VARIES},
    [A64_HELPER_SYNCHRONISE] = {"synchronise", a64_synchronise, IR_HELPER_VARIES},
    [A64_HELPER_BREAKS] = {"breaks", a64_break_at, IR_HELPER_VARIES},
    [A64_HELPER_REACHES] = {"reaches", a64_reaches, IR_HELPER_VARIES},
    [A64_HELPER_LANDS] = {"lands", a64_landing, IR_HELPER_VARIES},
    [A64_HELPER_JUMP_TYPE] = {"jump_type", a64_jump_type, IR_HELPER_VARIES},
    [A64_HELPER_RETURN_TO] = {"return_to", a64_return_address, IR_HELPER_VARIES},
    [A64_HELPER_PAUTH] = {"pauth", a64_pauth, 0},
    [A64_HELPER_SM3PARTW1] = {"sm3partw1", a64_sm3partw1, IR_HELPER_PURE},
    [A64_HELPER_SM3PARTW2] = {"sm3partw2", a64_sm3partw2, IR_HELPER_PURE},
    [A64_HELPER_SM3SS1] = {"sm3ss1", a64_sm3ss1, IR_HELPER_PURE},
    [A64_HELPER_SM3TT1A] = {"sm3tt1a", a64_sm3tt1a, IR_HELPER_PURE},
    [A64_HELPER_SM3TT1B] = {"sm3tt1b", a64_sm3tt1b, IR_HELPER_PURE},
    [A64_HELPER_SM3TT2A] = {"sm3tt2a", a64_sm3tt2a, IR_HELPER_PURE},
    [A64_HELPER_SM3TT2B] = {"sm3tt2b", a64_sm3tt2b, IR_HELPER_PURE},
    [A64_HELPER_SM4E] = {"sm4e", a64_sm4e, IR_HELPER_PURE},
    [A64_HELPER_SM4EKEY] = {"sm4ekey", a64_sm4ekey, IR_HELPER_PURE},
};
