/* A small guest for tests of the translator: 32 general slots of which ten are pinned, 16 vector
 * slots of which eight are pinned, flags, pc. Runs a region in the interpreter or as host code from
 * the same state and compares. */
#ifndef LYRE_TESTS_JIT_MACHINE_H
#define LYRE_TESTS_JIT_MACHINE_H

#include "fp/fp.h"
#include "jit/cache/cache.h"
#include "jit/ir/build.h"
#include "jit/ir/fl.h"
#include "jit/ir/interp.h"

enum { M_X0 = 0, M_PC = 32, M_FL = 33, M_V0 = 34, M_NSLOTS = 50 };
#define M_PAGE   4096
#define M_MEMORY (4 * M_PAGE)

/* What may be done to a page of the memory. */
enum m_access { M_WRITE, M_READ, M_NOTHING };

struct m_state {
    u64 x[32];
    u64 pc;
    struct ir_flags fl;
    u64 pad;
    v128 v[16];
    struct fp_env fp;
};

struct machine {
    struct ir_region ir;
    struct ir_builder b;
    struct ra ra;
    struct host_cpu cpu;
    struct jit_cache cache;
    struct host_buf buf;
    struct ir_env *env;
    struct ir_interp interp;
    struct ir_mem mem;
    enum m_access access[M_MEMORY / M_PAGE]; /* other accesses fault, in both engines */
    u8 *stack;
    u8 *memory;
    u8 *elsewhere; /* with an MMU: where the host has the memory; NULL: at its addresses */
};

extern const struct ir_slots m_slots;
extern const struct ir_helper m_helpers[];

/* Does this computer have the level? */
bool machine_can(const char *level);

/* level: host level, NULL for the best. Fails the test process when the machine lacks it. mmu: host code translates
 * addresses, as in machines; what is not in the TLB is done by a stand-in for the engine. */
void machine_init(struct machine *m, const char *level, unsigned pins, bool mmu);
void machine_free(struct machine *m);

struct m_result {
    struct m_state state;
    u32 exit, exit_code;
    u64 exit_arg, exit_addr;
    u8 memory[M_MEMORY];
};

static inline struct m_state *m_state(struct machine *m)
{
    return (struct m_state *)(void *)m->env->slots;
}

/* Run m->ir from m's present state and memory, and keep the outcome. */
void machine_interp(struct machine *m, struct m_result *out);
bool machine_jit(struct machine *m, struct m_result *out);

/* Describe the first difference in `text`; false when there is none. */
bool m_differ(const struct m_result *a, const struct m_result *b, char *text, size_t size);

#endif
