#include "cpu/clock.h"

#include "jit/ir/env.h"

u64 clock_nanoseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}

void clock_realtime(struct ir_env *env)
{
    env->helper_ret.d[0] = clock_nanoseconds(CLOCK_REALTIME);
}

void clock_monotonic(struct ir_env *env)
{
    env->helper_ret.d[0] = clock_nanoseconds(CLOCK_MONOTONIC);
}
