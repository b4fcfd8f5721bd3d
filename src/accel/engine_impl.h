/* What the parts of the engine share. */
#ifndef LYRE_ACCEL_ENGINE_IMPL_H
#define LYRE_ACCEL_ENGINE_IMPL_H

#include <pthread.h>

#include "accel/engine.h"
#include "accel/perf.h"
#include "cpu/lift.h"
#include "cpu/system.h"
#include "jit/cache/cache.h"
#include "jit/host/disas.h"
#include "jit/ir/interp.h"
#include "mem/mem.h"

/* Bits of ir_env.request. */
enum {
    REQUEST_KICK = 1,  /* vcpu_kick(): return to the caller */
    REQUEST_FLUSH = 2, /* code went away: forget predictions and inline look-ups */
    REQUEST_SAMPLE = 4, /* say where you are: hot_sample() */
    REQUEST_CHECK = 8,  /* run some regions in lockstep: sampled_check() */
    REQUEST_PAUSE = 16, /* another vCPU wants to be alone: sampled_wait() */
    REQUEST_TLB = 32,   /* machines: flush_service() */
    REQUEST_LANDINGS = 64, /* machines: engine_check_landings(), as there are guarded pages */
};

#define PAGE_BYTES  4096 /* the host's: what one mapping is made of, and where a fault begins */
#define MAX_TAGGED  32
#define FP_TRAPS    4   /* an instruction that raised `invalid` so often gets other code */
#define BLOCK_INSNS 64  /* of the guest in one block, at most */
#define FETCH_BYTES 256 /* guest code that one region is made from, at most */

/* Of env->counted: the interpreter's; first translations; hot regions without and with a loop, or a call and what comes
 * behind it. */
enum { COUNT_COLD, COUNT_FIRST, COUNT_HOT, COUNT_HOT_LOOP };

/* Where in a machine's memory the code for an address is; all 0 in programs, and where the vCPU is to find it. */
struct code_at {
    u64 phys;       /* of the address itself */
    const u8 *page; /* host memory of the page that it is in */
};

/* Everything that one compilation needs; kept between compilations. */
struct compiler {
    struct ir_region ir;
    struct ir_builder builder;
    struct ra ra;
    struct host_buf buf;
    struct host_disas *disas; /* for -d out_asm; NULL: bytes */
    u8 code[FETCH_BYTES];
    struct code_at at;       /* of the region's pc */
    struct jit_range *range; /* guest code that the region depends on, by physical address in machines */
    u32 nranges, range_cap;
    bool inlines; /* a function stands in the place of a call to it */
};

/* What guest code is lifted for. */
struct lifting {
    struct engine *en;
    const void *model; /* struct vcpu.model */
    u32 key;
    u64 pc;            /* of the region */
    struct code_at at; /* of that: the region is made of one page */
    bool locked;       /* the engine's lock is held */
    struct vcpu *cpu;  /* machines, without `at`: whose translations of addresses hold */
    struct compiler *compiler; /* the one at work */
    bool (*follow)(struct lift *l, u64 pc); /* struct lift's */
    bool (*joins)(struct lift *l, u64 pc);
    bool (*need)(struct lift *l, u64 pc);
    u64 (*callee)(struct lift *l, u64 back, bool second);
    u32 (*inlines)(struct lift *l, u64 to, u64 back);
    u32 copy; /* that the next block is of, where that returns to, and which copy that is in */
    u64 copy_back;
    u32 copy_caller;
    void *opaque;
};

/* Of a machine's vCPU, counted for -d stats: what is done outside of translated code. */
enum engine_event {
    EVENT_ENTRY,  /* translated code was entered */
    EVENT_LOOKUP, /* code was looked for in the cache, or made */
    EVENT_ACCESS, /* an access was left to C */
    EVENT_APART,  /* accesses that share a look-up were made one by one */
    EVENT_WALK,   /* the guest's tables were walked */
    EVENT_SWITCH, /* the guest changed its context */
    EVENT_FLUSH,  /* the guest flushed translations of addresses, or another CPU asked for it */
    EVENT_FORGET, /* inline look-ups of code were emptied */
    EVENT_EXIT,   /* vcpu_run() began: there was an exit before */
    EVENTS,
};

/* The engine's part of a vCPU. */
struct engine_cpu {
    struct vcpu *vcpu;
    struct engine_cpu *next, **prev;
    _Atomic bool in_code; /* running generated code, or about to */
    _Atomic u64 seen;     /* cache epoch at its last safepoint */
    u8 *stack;            /* prediction stack with its guard pages */
    struct vcpu_exit fault; /* host signal of the last fault */
    bool polled_in_hot;     /* the last poll that left was inside a hot region */
    bool no_jumps;          /* env->jumps is empty; not of machines */
    u8 watched;             /* say so often more where polls are */
    u32 polls;              /* the poll to leave at, the next one being 1; 0: the next, too */
    u64 often_apart;        /* the guest address of a region that was left so often with IR_EXIT_APART; 0: none */
    struct fp_traps {
        u64 pc;
        u32 count;
    } fp_traps[64]; /* by guest instruction, direct-mapped */
    u64 tag_at;             /* instruction that last met a tagged address */
    struct ir_interp interp;
    struct compiler *own;   /* interp and lockstep translate for themselves */
    struct mmu *mmu;        /* machines: translations, for C */
    struct tlb *tlb;        /* the same for compiled code, and where code is: NULL in the interpreter */
    struct jumps *jumps;
    struct kept_regions *regions; /* machines: the interpreter's */
    _Atomic bool in_guest;  /* machines: may use translations */
    bool flush_waits;       /* ask_flush_wait() of struct vcpu_ops */
    _Atomic u32 flush_asked, flush_done; /* by others, and how much of that is done */
    struct lockstep *lockstep;
    u64 random;             /* state of engine_random_below() */
    u64 events[EVENTS];     /* by enum engine_event */
};

/* The first runs of code (cold.c). */
struct cold {
    _Atomic u32 left;         /* runs of blocks, then all code is translated */
    _Atomic u8 *runs;         /* so often each has run; several share one */
};

/* The second translation of hot code (hot.c). */
struct hot {
    struct compiler compiler;
    struct hot_place {
        u64 pc;
        struct code_at at;
        u32 key;
        u32 count;         /* of samples */
        bool again;        /* though it is hot code already */
        const void *model; /* struct vcpu.model */
    } place[256];          /* by pc, direct-mapped */
    struct hot_place next[64]; /* a queue: what hot code leads to, for when nothing is known to be hot */
    u32 next_first, nexts;
    struct hot_callee {
        u64 back;          /* where a call returns to */
        u64 pc[2];         /* where it went; 0: not seen yet */
    } callee[1024];        /* by `back`, direct-mapped */
    u64 samples[2];        /* in first translations, in hot regions */
    struct engine_place *profile; /* a hash table by pc, a power of two long; NULL: not wanted */
    size_t profiled, profile_size;
    pthread_t thread;
    int pid;              /* of the process that the thread belongs to */
    bool running;
    _Atomic bool stop;
    pthread_cond_t wake;  /* for `stop` and `dozes`, with the engine's lock */
    _Atomic bool dozes;   /* the thread sleeps long, as no vCPU ran ... */
    _Atomic u32 runs;     /* ... and so often they were entered since */
    pthread_mutex_t stopping; /* one at a time */
    unsigned stopped;         /* by so many threads at the moment */
    pthread_mutex_t busy; /* the compiler is in use; taken before the engine's lock */
    u64 stat_regions, stat_insns, stat_ns;
};

struct engine {
    const struct isa *isa;
    struct engine_opts opts;
    const struct host *host;
    struct host_cpu host_cpu;
    pthread_mutex_t lockstep_lock; /* one vCPU at a time; taken before the engine's lock */
    struct turn *turn;             /* and one process; lockstep alone has it */
    pthread_mutex_t lock; /* translation, cache, list of vCPUs */
    struct jit_cache cache;
    struct compiler compiler;
    struct engine_cpu *cpus;
    struct mem_listener listener; /* machines */
    struct lift_sites tagged, invalid, breaks;
    struct cold cold;
    struct hot hot;
    u32 threshold;        /* entries after which code is hot, if they are counted; or 0 */
    const void **helper_fns;
    u16 *flags_at, nflags; /* offsets of the guest's flags slots */
    pthread_t stress_thread;
    bool stress_on;
    pthread_t sampled_thread;
    bool sampled_on;
    u64 stat_compared[2]; /* regions: first translations, hot ones */
    _Atomic bool stop;
    _Atomic bool guards; /* there are guarded pages */
    u64 stat_guest_insns, stat_guest_bytes;
    u64 stat_counted[IR_COUNTERS]; /* of vCPUs that are gone */
    u64 stat_events[EVENTS];       /* of those, too */
    _Atomic u64 stat_fp_traps;
    u64 stat_stall[32]; /* evictions by log2 of the nanoseconds that they took */
    struct perf perf;
};

static inline struct engine_cpu *engine_cpu(const struct vcpu *cpu)
{
    return cpu->engine_data;
}

static inline void engine_count(const struct vcpu *cpu, enum engine_event what)
{
    engine_cpu(cpu)->events[what]++;
}

static inline u32 engine_random_below(struct engine_cpu *ec, u32 n)
{
    ec->random = ec->random * 6364136223846793005u + 1442695040888963407u;
    return (u32)(ec->random >> 33) % n;
}

void compiler_init(struct compiler *c);
void compiler_free(struct compiler *c);

/* Lift the block at pc into c->ir, at most max_insns of it. Returns the bytes of guest code that it covers; 0 when
 * none could be read. at: NULL where the vCPU is to find it. lowering: the host that it is for, NULL: none. The engine is locked. */
u32 compiler_lift(struct compiler *c, struct vcpu *cpu, u64 pc, const struct code_at *at, unsigned max_insns,
                  const struct ir_lowering *lowering);

/* The same for the interpreter, without the lock. */
u32 compiler_lift_unlocked(struct compiler *c, struct vcpu *cpu, u64 pc);

/* And for one run there, as quickly as possible. */
u32 compiler_lift_once(struct compiler *c, struct vcpu *cpu, u64 pc);

/* The stages, for who does more than one block: begin a region; append the block at pc, at most max_insns of
 * it, and return the length in bytes of what it was made from last (0: no code there); check, abort if that fails; find places for
 * values, false if they do not fit; make code and put it into the cache, NULL if it is too large. */
void compiler_start(struct compiler *c, struct lifting *from, u64 pc, const struct ir_lowering *lowering);
u32 compiler_block(struct compiler *c, struct lifting *from, u64 pc, unsigned max_insns);
void compiler_verify(const struct compiler *c, const struct engine *en);
bool compiler_is_small_leaf(struct vcpu *cpu, u64 pc, struct code_at at);
/* The direct call before `back`: where it goes, as struct isa says. The vCPU is at pc. */
u64 compiler_call_before(struct vcpu *cpu, u64 back, u64 pc, struct code_at at);
bool compiler_allocate(struct compiler *c, const struct engine *en);
struct jit_region *compiler_install(struct compiler *c, struct engine *en);

/* A region for pc; NULL when its code cannot be read. IR_SHARE_OR_COPY: it takes the place of one that has IR_SHARE. Called
 * with the lock held. */
struct jit_region *engine_translate(struct engine *en, struct vcpu *cpu, u64 pc, const struct code_at *at,
                                    enum ir_neighbours neighbours);
/* Where the code at pc is, for the vCPU as it is now. False: it cannot be fetched. *global: in all contexts. */
bool engine_find_code(struct vcpu *cpu, u64 pc, struct code_at *at, bool *global);

/* The counter in env->heat for entries at pc. */
static inline u32 heat_index(const struct engine *en, u64 pc)
{
    return (u32)(pc >> en->isa->insn_align) % IR_HEAT_COUNTERS;
}

/* The entry of the inline look-up for pc. */
static inline struct ir_jump *engine_jump(const struct engine *en, struct ir_env *env, u64 pc)
{
    return &env->jumps[ir_jump_index(pc, en->isa->insn_align)];
}

/* Start the count again: so many entries to go. */
static inline void heat_reset(const struct engine *en, struct ir_env *env, u64 pc, u32 entries)
{
    env->heat[heat_index(en, pc)] = (s32)entries;
}

/* What is known of the indirect, or often taken, call that returns to `back`; or of another one. */
static inline struct hot_callee *hot_callee_of(struct hot *h, u64 back)
{
    return &h->callee[(back >> 1) % ARRAY_LEN(h->callee)];
}

/* Lift the code around pc into a region for hot code. False when there is none. Called with the lock held. */
bool hot_form(struct engine *en, struct compiler *c, const struct hot_place *at,
              const struct ir_lowering *lowering);
/* Make code of what is allocated and put it in the place of what is there. NULL when it is too large. Called with
 * the lock held. */
struct jit_region *hot_install(struct engine *en, struct compiler *c, unsigned tier);
/* The counter of the code at the vCPU's pc has run out. */
void hot_entry(struct vcpu *cpu);
/* The vCPU left at a poll, at its pc; in_hot: out of a hot region. */
void hot_sample(struct vcpu *cpu, bool in_hot);
/* A vCPU is about to run while the thread dozes. */
void hot_rouse(struct engine *en);
void hot_start(struct engine *en);
void hot_init(struct engine *en);
void hot_free(struct engine *en);
void hot_fork_prepare(struct engine *en);
void hot_fork_parent(struct engine *en);
void hot_fork_child(struct engine *en);
/* End the thread, until everybody who did has called hot_restart(). */
void hot_stop(struct engine *en);
void hot_restart(struct engine *en);

void cold_init(struct engine *en);
/* From now on the program is young again, and its code has not run. */
void cold_again(struct engine *en);
void cold_free(struct engine *en);
/* The code at pc, which has no entry yet, should be interpreted. Counts its runs. */
bool cold_takes(struct vcpu *cpu, u64 pc);
/* Interpret a block. Returns as engine_exit(). */
bool cold_run(struct vcpu *cpu, struct vcpu_exit *exit);

/* The run loops. */
void jit_run(struct vcpu *cpu, struct vcpu_exit *exit);
void interp_run(struct vcpu *cpu, struct vcpu_exit *exit);
/* Give the vCPU a compiler of its own, once. */
void interp_prepare(struct vcpu *cpu);
/* Run a region, over a program's memory or a machine's. */
void interp_region(struct vcpu *cpu, const struct ir_region *ir);
void interp_machine_run(struct vcpu *cpu, struct vcpu_exit *exit);
void jit_machine_run(struct vcpu *cpu, struct vcpu_exit *exit);
/* Machines: out of the code that called for an access or at a poll, with the guest's state as it was before. */
void jit_leave(struct ir_env *env);
/* env->c_call[IR_CALL_POLL]: the same, unless it is not the poll to leave at. */
void jit_poll(struct ir_env *env);
/* The same of accesses that share a look-up: they are made one by one. */
void jit_leave_apart(struct ir_env *env);
/* env->c_call[IR_CALL_FIND]. */
void jit_find(struct ir_env *env);
/* Of a machine's exit by a fault: say more of it. */
void machine_fill_fault(struct vcpu *cpu, struct vcpu_exit *exit);
void interp_machine_free(struct engine_cpu *ec);

/* Machines: the vCPU is out of guest code, and does what others asked for (flush.c). */
void flush_service(struct vcpu *cpu);
/* As struct mem_listener.clean: vCPUs have nothing left of what they might write. */
void flush_clean(struct mem_listener *l);
extern const struct vcpu_ops machine_ops;
void lockstep_run(struct vcpu *cpu, struct vcpu_exit *exit);

/* Run one region as host code, from the vCPU's state back to it: nothing is linked. False when the
 * code at pc cannot be read. */
bool jit_step(struct vcpu *cpu);
/* The same with a region that nothing has been linked to yet, from behind its first poll. Called with the lock
 * held; lets it go. */
void jit_run_region(struct vcpu *cpu, const struct jit_region *r);

/* What the engine does with an exit from IR code. True: go on running; false: `exit` is filled. */
bool engine_exit(struct vcpu *cpu, struct vcpu_exit *exit);
void engine_fetch_fault(struct vcpu *cpu, struct vcpu_exit *exit);

/* Have the instruction translated again, by another recipe. False when it was known already. Called with the lock
 * held. */
bool engine_add_site(struct engine *en, struct lift_sites *sites, u64 pc);

/* An FP operation of the guest instruction at pc raised `invalid`. */
void engine_count_fp_trap(struct engine *en, struct engine_cpu *ec, u64 pc);

/* Lockstep: once for a vCPU; run c->ir in the interpreter, beside the state and memory, to an exit or the poll of
 * that number (0: none); after host code did the same, compare: a difference ends the process. False: it could not be predicted. */
void lockstep_prepare(struct vcpu *cpu);
void lockstep_predict(struct vcpu *cpu, const struct compiler *c, u32 polls);
bool lockstep_compare(struct vcpu *cpu, const struct compiler *c);
void lockstep_free(struct lockstep *ls);
/* What the interpreter does there: a load of host memory, false if it cannot be read, and a store. */
bool lockstep_load(struct lockstep *ls, u64 addr, void *to, unsigned bytes);
void lockstep_store(struct lockstep *ls, u64 addr, const void *from, unsigned bytes);

/* Machines (lockstep_machine.c): memory by guest address, on the way to those; free() ends it. Before a run: the accessors for
 * the mode that holds; behind it: was there an access that cannot be tried? */
struct lockstep_ports *lockstep_ports_new(struct vcpu *cpu, struct lockstep *ls);
const struct ir_mem *lockstep_ports_mem(struct lockstep_ports *ports, const struct vcpu *cpu);
bool lockstep_ports_gave_up(const struct lockstep_ports *ports);

/* Of the guest code that a region depends on. */
u32 lockstep_sum(const struct engine *en, const struct jit_region *r);

/* Lockstep now and then (sampled.c): the vCPU, at its pc, was asked to check; wait until nobody wants to be
 * alone. */
void sampled_check(struct vcpu *cpu);
void sampled_wait(struct vcpu *cpu);
void sampled_start(struct engine *en);
void sampled_stop(struct engine *en);

/* Processes that came out of each other by fork() may share memory and take turns, too. */
struct turn *turn_new(void);
void turn_free(struct turn *turn);

void prediction_stack_make(struct engine *en, struct engine_cpu *ec);
void prediction_stack_free(struct engine_cpu *ec);
/* Have every vCPU do engine_cpu_flush() at its next safepoint. Called with the lock held. */
void engine_ask_flush(struct engine *en);
/* Forget everything that leads into code: predictions and inline look-ups; predictions alone. */
void engine_cpu_flush(struct engine *en, struct engine_cpu *ec);
void engine_drop_predictions(struct vcpu *cpu);

/* Memory as the interpreter may touch it: faults come back as false. */
extern const struct ir_mem guarded_mem;
bool guest_writable(u64 addr);

/* The interpreter's fault knows where the access began: if its first page is there, it failed behind
 * that. */
void guest_settle_fault(struct ir_env *env);

#endif
