/* What runs a record on our side. */
#ifndef LYRE_TESTS_ISA_RUNNER_H
#define LYRE_TESTS_ISA_RUNNER_H

#include "base/err.h"
#include "cpu/vcpu.h"
#include "isa/diff/guest.h"

struct runner {
    const char *name;
    const char *level; /* of the host that it needs; NULL: any */
    void *(*open)(const struct guest *g, struct err *e); /* NULL on failure */
    /* Runs r->code from the state in r; leaves the state behind in r. */
    void (*run)(void *self, struct record *r);
    void (*close)(void *self);
};

extern const struct runner runner_interp, runner_jit, runner_jit_no_pins, runner_jit_avx2, runner_jit_sse;

/* What runners share: registers of a record as guest state. */
void state_from_record(const struct guest *g, struct vcpu *cpu, const struct record *r);
void state_to_record(const struct guest *g, struct vcpu *cpu, struct record *r);

#endif
