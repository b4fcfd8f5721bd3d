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

/* What is known of a page of 4 KiB. */
struct mmu_page {
    u8 *host;  /* NULL: accesses are calls */
    u64 phys;
    u8 rights; /* a bit 1 << enum ir_access each */
    bool global, device;
    bool writable; /* host memory may be written */
    bool watched;  /* the guest wants to know of some accesses: struct ir_mem has them checked */
    bool guarded;  /* indirect branches land on landing pads only */
};

/* The page of an access that is known to be in one; false: it faults. */
bool mmu_page(struct mmu *m, unsigned mode, u64 addr, enum ir_access access, struct mmu_page *out);

/* An atomic access: does the guest want to know of it? Then the fault is there. */
bool mmu_catches_atomic(struct mmu *m, unsigned mode, u64 addr, unsigned bytes);
/* One to what is no memory, or that is caught: false, and the fault is there. */
bool mmu_refuse_atomic(struct mmu *m, unsigned mode, u64 addr, unsigned bytes);

/* Copy instructions: returns how many of `len` bytes could be read before a fault. */
size_t mmu_fetch(struct mmu *m, unsigned mode, u64 addr, void *to, size_t len);

/* Can the `len` bytes of instructions at addr be fetched, and are they those of `code`? */
bool mmu_same_code(struct mmu *m, unsigned mode, u64 addr, const void *code, size_t len);

/* A page of the guest goes as a whole, of which only pieces of 4 KiB are known: have a range hold all of those that it
 * touches. */
void mmu_widen(const struct mmu *m, struct vcpu_flush *f);
void mmu_flush(struct mmu *m, const struct vcpu_flush *f);
void mmu_switch_context(struct mmu *m);

#endif
