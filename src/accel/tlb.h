/* Machines under the JIT: the TLB that compiled code looks up, the accesses that it leaves to C, and the inline
 * look-ups of code, one for each mode. All on the vCPU's thread. */
#ifndef LYRE_ACCEL_TLB_H
#define LYRE_ACCEL_TLB_H

#include "cpu/vcpu.h"

struct engine_cpu;

void tlb_init(struct vcpu *cpu);

/* env->c_call[IR_CALL_MMU]. */
void tlb_access(struct ir_env *env);

void tlb_flush(struct vcpu *cpu, const struct vcpu_flush *f);
void tlb_switch_context(struct vcpu *cpu);

/* Have env->jumps be those of the mode and key that env->key names. True: they are others than before. */
bool tlb_select_jumps(struct vcpu *cpu);
/* Forget where code is, in all modes. */
void tlb_forget_jumps(struct vcpu *cpu);
/* An entry of env->jumps leads to the page of pc. global: in all contexts. */
void tlb_note_jump(struct vcpu *cpu, u64 pc, bool global);
void tlb_free_jumps(struct engine_cpu *ec);

#endif
