/* A virtual CPU: guest state, and how to run it. The engine behind it (interp, JIT) is chosen when
 * the vCPU is made; nobody above needs to know which it is. */
#ifndef LYRE_CPU_VCPU_H
#define LYRE_CPU_VCPU_H

#include "cpu/isa.h"
#include "jit/ir/env.h"

enum vcpu_exit_kind {
    VCPU_EXIT_REQUEST, /* vcpu_kick() was called; state is precise, pc is the next instruction */
    VCPU_EXIT_RAISE,   /* code: enum isa_raise; arg. After a SYSCALL pc is the next instruction */
    VCPU_EXIT_FAULT,   /* memory access at pc failed: addr, access; sig/sicode as the host saw it */
};

struct vcpu_exit {
    enum vcpu_exit_kind kind;
    u32 code;              /* enum isa_raise */
    u64 arg;
    u64 addr;              /* guest address of a fault */
    enum ir_access access;
    int sig, sicode;       /* a fault: host signal and si_code (SIGSEGV, SEGV_MAPERR ...); sig 0:
                            * the engine does not know */
    u8 fault, level;       /* a fault in a machine: struct isa_fault */
};

struct engine; /* accel/engine.h */
struct vcpu_ops;

struct vcpu {
    const struct isa *isa;
    struct ir_env *env;
    struct engine *engine;
    const struct vcpu_ops *ops; /* the engine's, for machines */
    void *engine_data; /* the engine's own part of this vCPU */
    void *owner;       /* struct thread in user mode */
    const void *model; /* the isa's CPU model */

    /* In a machine, else NULL. */
    struct cpu_port *port;    /* its lines */
    struct mem_space *memory; /* what physical addresses are of */
    void *system;             /* the isa's own part, made by struct isa_system.reset */
};

/* Registers by name. isa_reg_find: an index for vcpu_reg_get/set, or -1. Slots and derived
 * registers share the index space. Values are little-endian images of the register's width. */
int isa_reg_find(const struct isa *isa, const char *name);
unsigned isa_reg_bytes(const struct isa *isa, int reg);
void vcpu_reg_get(struct vcpu *cpu, int reg, v128 *value);
void vcpu_reg_set(struct vcpu *cpu, int reg, const v128 *value);

/* The same for registers of at most 64 bits. */
u64 vcpu_get(struct vcpu *cpu, int reg);
void vcpu_set(struct vcpu *cpu, int reg, u64 value);
/* Where landings are checked (engine_check_landings()), the bits that instructions are aligned to may hold
 * the kind of the indirect branch that came here. */
u64 vcpu_pc(const struct vcpu *cpu);
void vcpu_set_pc(struct vcpu *cpu, u64 pc);

/* Ask the vCPU to leave guest code soon (within 1 ms of guest code). Safe from any thread and from
 * signal handlers. The request stays until vcpu_run() returns VCPU_EXIT_REQUEST. The engine has it. */
void vcpu_kick(struct vcpu *cpu);

/* ---- machines: the guest changed what addresses mean; what engines do about it ---- */

enum vcpu_flush_scope {
    VCPU_FLUSH_ALL,
    VCPU_FLUSH_LOCAL,         /* all but global entries */
    VCPU_FLUSH_CONTEXT,       /* those of `context`, but global ones */
    VCPU_FLUSH_RANGE,         /* of `context` and global, that lie in the range */
    VCPU_FLUSH_RANGE_ALL,     /* of all contexts, that lie in the range */
};

struct vcpu_flush {
    enum vcpu_flush_scope scope;
    u64 addr, bytes;  /* the range; the top isa->tag_bits of addresses do not count */
    unsigned context; /* what struct isa_system.context gave */
};

static inline bool vcpu_flush_is_range(const struct vcpu_flush *f)
{
    return f->scope == VCPU_FLUSH_RANGE || f->scope == VCPU_FLUSH_RANGE_ALL;
}

/* Called on the vCPU's thread, out of translated code but for what helpers call. */
struct vcpu_ops {
    /* Forget translations of addresses, on this vCPU at once. all_cpus: also on the others, which do it before they run
     * another instruction behind flush_wait(). */
    void (*flush)(struct vcpu *cpu, const struct vcpu_flush *f, bool all_cpus);
    void (*flush_wait)(struct vcpu *cpu);
    /* From a helper: leave translated code at the next poll, and do flush_wait() there. */
    void (*ask_flush_wait)(struct vcpu *cpu);
    /* From a helper: leave translated code at the next poll. */
    void (*ask_leave)(struct vcpu *cpu);
    /* Do the low bits of the pc say which branch led there (struct lift.guarded)? */
    bool (*lands)(const struct vcpu *cpu);
    /* Where the byte at addr is, in the mode of the key that holds; false: the access (enum ir_access) may fault. */
    bool (*reach)(struct vcpu *cpu, u64 addr, unsigned access, u64 *phys);
    /* Is the page of code at pc guarded, in the mode of the key that holds? */
    bool (*guarded)(struct vcpu *cpu, u64 pc);
    /* From now on instructions at pc are lifted with struct lift.breaks, in all code. */
    void (*break_at)(struct vcpu *cpu, u64 pc);
    /* struct isa_system.context changed. */
    void (*switch_context)(struct vcpu *cpu);
    /* Instructions in [phys, phys + bytes) of physical memory may have changed; 0 bytes: all of memory. All vCPUs. */
    void (*code_changed)(struct vcpu *cpu, u64 phys, u64 bytes);
};

#endif
