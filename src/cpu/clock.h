/* The host's clocks, for counters that guests read. */
#ifndef LYRE_CPU_CLOCK_H
#define LYRE_CPU_CLOCK_H

#include <time.h>

#include "base/types.h"

struct ir_env;

u64 clock_nanoseconds(clockid_t clock);

/* Helpers (struct ir_helper.fn) that return nanoseconds, for the code of a vDSO. */
void clock_realtime(struct ir_env *env);
void clock_monotonic(struct ir_env *env);

#endif
