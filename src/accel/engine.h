/* How vCPUs run. One engine serves all vCPUs of a process or machine: it owns the translations,
 * which they share. */
#ifndef LYRE_ACCEL_ENGINE_H
#define LYRE_ACCEL_ENGINE_H

#include <stdio.h>

#include "base/err.h"
#include "jit/ir/passes.h"
#include "cpu/vcpu.h"

enum engine_kind { ENGINE_JIT, ENGINE_INTERP, ENGINE_LOCKSTEP };

/* Where a planted bug comes in; the product of the stage is a struct ir_region, a struct ra, or a
 * struct host_buf. */
enum engine_stage { ENGINE_IR, ENGINE_ALLOCATION, ENGINE_CODE };

#define ENGINE_HOT_AFTER 4000 /* a good value for hot_after */
#define ENGINE_COLD_RUNS 6    /* and for cold_runs, at most 255 */
#define ENGINE_COLD_RUNS_MACHINE 6

struct engine_opts {
    enum engine_kind kind;
    const char *host_cpu;  /* NULL: as found; "sse4.2", "avx2", "avx512": at most this level */
    u32 cold_runs;         /* so many times a block is interpreted before it is translated, while the program is young */
    size_t cache_size;     /* bytes of code cache; 0: the default */
    u32 stress_ms;         /* free all code every so many milliseconds; 0: never */
    u32 lockstep_ms;       /* compare some regions with the interpreter every so many ms; 0: never */
    u32 hot_after;         /* entries after which code is translated again, as hot; 0: never */
    bool hot_at_once;      /* then and there, not by a thread of its own: for tests */
    u32 hot_regions;       /* no more of them than that are made; 0: any number */
    u32 without;           /* bit p: pass p (enum ir_pass) is left out */
    unsigned pins;         /* how many pinned registers to use; UINT_MAX: all */

    /* Copy `len` bytes of guest code at `addr` to `to`; returns how many bytes could be read. Called
     * on vCPU threads; must not fault. */
    size_t (*fetch)(void *opaque, u64 addr, void *to, size_t len);
    /* Asked after engine_check_landings(): is the page of `addr` guarded? May be NULL before. */
    bool (*guarded)(void *opaque, u64 addr);
    /* Asked by the comparison of engines: may another process write there? */
    bool (*shared)(void *opaque, u64 addr);
    void *opaque;

    /* Of a machine: what physical addresses are of; guest addresses are translated by struct isa.system. Then fetch is
     * not called. NULL: programs, whose addresses are the host's. */
    struct mem_space *memory;

    bool one_insn;         /* one guest instruction per region, for debugging (-singlestep) */
    bool perf_map, jitdump;
    bool count_insns;      /* say in engine_stats() how many guest instructions ran in which kind of code */

    /* For the test of lockstep, NULL otherwise: may spoil what a stage of the compilation of host
     * code has made. The interpreter's regions are not touched. */
    void (*mutate)(void *opaque, enum engine_stage stage, void *product);
};

/* NULL on failure. */
struct engine *engine_new(const struct isa *isa, const struct engine_opts *opts, struct err *e);
void engine_free(struct engine *en);

/* A vCPU of this engine, at its reset state, and its end. A vCPU belongs to the thread that calls
 * vcpu_run. */
struct vcpu *vcpu_new(struct engine *en, const char *cpu_name, struct err *e);
void vcpu_free(struct vcpu *cpu);

/* Copy all guest state (for a new thread). */
void vcpu_copy_state(struct vcpu *to, const struct vcpu *from);

/* Run guest code on this thread until something happens. */
void vcpu_run(struct vcpu *cpu, struct vcpu_exit *exit);

/* Code in [start, start + len) may have changed or gone away: no translation of the old bytes is
 * entered by this thread after the call returns, nor by others after their next safepoint. */
void engine_invalidate(struct engine *en, u64 start, u64 len);

/* From now on there are guarded pages, whose instructions indirect branches may not go to unless they
 * are landing pads. Before, code need not know where branches come from. */
void engine_check_landings(struct engine *en);

/* Call first from the handlers of SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP with the handler's
 * siginfo and ucontext. True: the signal came from translated code and the context now leads out of
 * it (vcpu_run returns VCPU_EXIT_FAULT with precise state) or past it. False: not ours. */
bool engine_host_signal(struct vcpu *cpu, int sig, void *siginfo, void *ucontext);

/* End all threads that the engine has made for itself, for system calls that want a process with one
 * thread; and start them again. */
void engine_stop_threads(struct engine *en);
void engine_restart_threads(struct engine *en);

/* Around fork(): the child gets a code cache of its own. `cpu` is the calling thread's; in the child
 * it is the only one that goes on. */
void engine_fork_prepare(struct engine *en);
void engine_fork_parent(struct engine *en);
void engine_fork_child(struct engine *en, struct vcpu *cpu);

/* Where vCPUs were found, if LOG_PROFILE is on: at which guest addresses, each the head of a loop or a function
 * that was called, and how often. The array is the caller's; *count is its length. */
struct engine_place {
    u64 pc, samples;
};
struct engine_place *engine_profile(struct engine *en, size_t *count);

/* Counters in a form for people (`-d stats`). */
void engine_stats(struct engine *en, FILE *to);

/* Have that, or another report, in the log if `class` (enum log_class) is on. */
void engine_report(struct engine *en, u32 class, void (*print)(struct engine *en, FILE *to));

#endif
