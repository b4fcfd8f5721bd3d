/* One vCPU of any guest for unit tests: lifts code and runs it with the reference interpreter. */
#ifndef LYRE_TESTS_ISA_MACHINE_H
#define LYRE_TESTS_ISA_MACHINE_H

#include "cpu/lift.h"
#include "cpu/vcpu.h"
#include "jit/ir/interp.h"

enum { PC = 0x400000 };

struct machine {
    struct vcpu cpu;
    struct ir_region region;
    struct ir_builder builder;
    struct ir_interp interp;
};

/* model: as for struct isa.init; it must be there. */
struct machine *machine_new(const struct isa *isa, const char *model);
void machine_free(struct machine *m);

/* Lift a block of code at pc. False, with the IR printed, when it is not valid or has no end. */
bool machine_lift(struct machine *m, u64 pc, const void *code, size_t len);

/* Run one instruction at pc; returns how control left. */
enum ir_exit machine_run_at(struct machine *m, u64 pc, u32 insn);
enum ir_exit machine_run(struct machine *m, u32 insn);

/* The last run ended in a raise. */
void machine_check_raise(const struct machine *m, u32 code, u64 arg, u64 pc);

#endif
