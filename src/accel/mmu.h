/* Memory of a machine as C reaches it on behalf of a vCPU: guest addresses through a small table of translations, and
 * what is behind them. The interpreter runs over it; it is the slow path of others. All on the vCPU's thread. */
#ifndef LYRE_ACCEL_MMU_H
#define LYRE_ACCEL_MMU_H

#include "cpu/system.h"
#include "cpu/vcpu.h"
#include "jit/ir/interp.h"

struct mmu;

struct mmu *mmu_new(struct vcpu *cpu);
void mmu_free(struct mmu *m);

/* The accessors for code whose mode is `mode`. Valid until mmu_free(). */
const struct ir_mem *mmu_mem(struct mmu *m, unsigned mode);

/* Why the last accessor, or mmu_fetch(), failed. */
const struct isa_fault *mmu_fault(const struct mmu *m);

/* Copy instructions: returns how many of `len` bytes could be read before a fault. */
size_t mmu_fetch(struct mmu *m, unsigned mode, u64 addr, void *to, size_t len);

/* Can the `len` bytes of instructions at addr be fetched, and are they those of `code`? */
bool mmu_same_code(struct mmu *m, unsigned mode, u64 addr, const void *code, size_t len);

void mmu_flush(struct mmu *m, const struct vcpu_flush *f);
void mmu_switch_context(struct mmu *m);

#endif
