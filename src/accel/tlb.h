/* Machines under the JIT: the TLB that compiled code looks up, and the accesses that it leaves to C. All on the vCPU's
 * thread. */
#ifndef LYRE_ACCEL_TLB_H
#define LYRE_ACCEL_TLB_H

#include "cpu/vcpu.h"

struct tlb;

/* The vCPU has its modes and its context. */
struct tlb *tlb_new(struct vcpu *cpu);
void tlb_free(struct tlb *t); /* NULL is allowed */

/* env->mmu.access. */
void tlb_access(struct ir_env *env);

void tlb_flush(struct vcpu *cpu, const struct vcpu_flush *f);
/* struct isa_system.context may have changed. */
void tlb_switch_context(struct vcpu *cpu);

#endif
