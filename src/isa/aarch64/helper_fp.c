/* Floating point that is too rare for operations of the IR: by lane, with fp/'s functions. */
#include "base/bits.h"
#include "isa/aarch64/helper.h"
#include "isa/aarch64/state.h"

static u64 get_lane(const v128 *v, unsigned lane, unsigned i)
{
    return lane == IR_F16 ? v->h[i] : lane == IR_F32 ? v->s[i] : v->d[i];
}

static void set_lane(v128 *v, unsigned lane, unsigned i, u64 x)
{
    if (lane == IR_F16)
        v->h[i] = (u16)x;
    else if (lane == IR_F32)
        v->s[i] = (u32)x;
    else
        v->d[i] = x;
}

/* The function of the lane's width. */
#define BY_LANE(lane, name, ...)                                                                   \
    ((lane) == IR_F16   ? fp16_##name(__VA_ARGS__)                                                 \
     : (lane) == IR_F32 ? fp32_##name(__VA_ARGS__)                                                 \
                        : fp64_##name(__VA_ARGS__))

/* `how`: rounding in the low 3 bits, size of the integer above them. */
static u64 round_fit(unsigned lane, u64 a, unsigned how, struct fp_env *fp)
{
    unsigned round = (how & 7) == IR_ROUND_ENV ? fp->round : how & 7, bits = how & ~7u;
    return lane == IR_F32 ? fp32_round_fit((u32)a, (enum fp_round)round, bits, fp)
                          : fp64_round_fit(a, (enum fp_round)round, bits, fp);
}

static u64 one_lane(enum a64_fp_op op, unsigned lane, unsigned how, u64 a, u64 b, struct fp_env *fp)
{
    switch (op) {
    case A64_FP_ROUND_FIT:
        return round_fit(lane, a, how, fp);
    case A64_FP_TO_BF16:
        return fp32_to_bf16((u32)a, fp);
    case A64_FP_MULX:
        return BY_LANE(lane, mulx, a, b, fp);
    case A64_FP_RECIP_ESTIMATE:
        return BY_LANE(lane, recip_estimate, a, fp);
    case A64_FP_RSQRT_ESTIMATE:
        return BY_LANE(lane, rsqrt_estimate, a, fp);
    case A64_FP_RECIP_STEP:
        return BY_LANE(lane, recip_step, a, b, fp);
    case A64_FP_RSQRT_STEP:
        return BY_LANE(lane, rsqrt_step, a, b, fp);
    case A64_FP_RECIP_EXPONENT:
        return BY_LANE(lane, recip_exponent, a, fp);
    }
    return 0;
}

void a64_fp_lanes(struct ir_env *env)
{
    const v128 a = env->helper_arg[0], b = env->helper_arg[1];
    u64 what = env->helper_arg[2].d[0];
    enum a64_fp_op op = (enum a64_fp_op)(what & 0xff);
    unsigned lane = what >> 8 & 15, lanes = what >> 12 & 15, how = what >> 16 & 0xff;
    v128 r = {0};
    for (unsigned i = 0; i < lanes; i++)
        set_lane(&r, lane, i,
                 one_lane(op, lane, how, get_lane(&a, lane, i), get_lane(&b, lane, i), env->fp));
    env->helper_ret = r;
}

void a64_fjcvtzs(struct ir_env *env)
{
    bool exact;
    u32 v = fp64_to_int32_modulo(env->helper_arg[0].d[0], &exact, env->fp);
    env->helper_ret.d[0] = v | (u64)exact << 32;
}
