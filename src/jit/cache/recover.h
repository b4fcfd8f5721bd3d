/* The way back from a host signal in translated code to precise guest state. */
#ifndef LYRE_JIT_CACHE_RECOVER_H
#define LYRE_JIT_CACHE_RECOVER_H

#include "jit/cache/cache.h"

/* Say in env why control leaves at `f`; siginfo: the signal's. */
void region_leave(const struct host *host, struct ir_env *env, const struct jit_fault *f,
                  const void *siginfo, const void *ucontext);

/* Bring the guest's state into the slots, from the context of a signal at the place of `f`. */
void region_recover(const struct host *host, const struct host_cpu *cpu, struct ir_env *env,
                    const struct jit_region *r, const struct jit_fault *f, const void *ucontext);

#endif
