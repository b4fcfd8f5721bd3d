/* What runs a record on our side. */
#ifndef LYRE_TESTS_A64_RUNNER_H
#define LYRE_TESTS_A64_RUNNER_H

#include "base/err.h"
#include "jit/ir/env.h"
#include "record.h"

/* Pointer authentication is off, as in the oracle: its keys are random. */
#define RUNNER_MODEL "max,pauth=off"

struct runner {
    const char *name;
    const char *level; /* of the host that it needs; NULL: any */
    void *(*open)(struct err *e); /* NULL on failure */
    /* Runs r->insn from the state in r; leaves the state behind in r. */
    void (*run)(void *self, struct record *r);
    void (*close)(void *self);
};

extern const struct runner runner_interp, runner_jit, runner_jit_no_pins, runner_jit_avx2, runner_jit_sse;

/* What runners share: registers, flags and control registers of a record as guest state. */
void state_from_record(struct ir_env *env, const struct record *r);
void state_to_record(struct ir_env *env, struct record *r);

#endif
