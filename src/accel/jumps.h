/* Machines under the JIT: where the code for guest addresses is, for the inline look-ups of code, one table for each
 * mode and context, and for vCPUs that come out of code. All on the vCPU's thread unless it says otherwise. */
#ifndef LYRE_ACCEL_JUMPS_H
#define LYRE_ACCEL_JUMPS_H

#include "cpu/vcpu.h"

struct jumps;

struct jumps *jumps_new(struct vcpu *cpu);
void jumps_free(struct jumps *j); /* NULL is allowed */

/* Have env->jumps be those of the key and context that hold now, and forget predictions if they are others than
 * before. */
void jumps_select(struct vcpu *cpu);

/* An entry of env->jumps is about to lead to the page of pc. global: in all contexts. */
void jumps_note(struct vcpu *cpu, u64 pc, bool global);

/* What may be wrong when the guest has flushed translations of addresses; all of it. */
void jumps_flush(struct vcpu *cpu, const struct vcpu_flush *f);
void jumps_forget(struct vcpu *cpu);

/* Code that was found once stays known until jumps_forget(), also where env->jumps has forgotten it: the entry for pc,
 * whose physical address is `phys`, with the key that holds, or NULL. */
const u8 *jumps_known(const struct vcpu *cpu, u64 pc, u64 phys);
void jumps_know(struct vcpu *cpu, u64 pc, u64 phys, const u8 *entry);

/* From any thread: no look-up finds the code for pc any more unless it is told again. */
void jumps_forget_entry(struct vcpu *cpu, u64 pc);

#endif
