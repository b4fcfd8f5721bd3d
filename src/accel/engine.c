#include "accel/engine.h"

#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "accel/engine_impl.h"
#include "accel/jumps.h"
#include "accel/mmu.h"
#include "accel/tlb.h"
#include "cpu/system.h"
#include "base/log.h"
#include "base/mem.h"
#include "jit/ir/fl.h"

#define DEFAULT_CACHE ((size_t)64 << 20)

static void fp_nothing(struct ir_env *env)
{
}

/* ---- safepoints ---- */

void engine_ask_flush(struct engine *en)
{
    if (en->opts.kind == ENGINE_INTERP)
        return; /* it keeps nothing */
    for (struct engine_cpu *ec = en->cpus; ec; ec = ec->next)
        atomic_fetch_or(&ec->vcpu->env->request, REQUEST_FLUSH);
}

static bool is_past(const struct engine_cpu *ec, u64 epoch)
{
    return !atomic_load(&ec->in_code) || atomic_load(&ec->seen) >= epoch;
}

/* Every other vCPU is out of generated code or has entered it after `epoch`. The caller's own is out
 * of it and flushes before it goes back. */
static bool passed_safepoints(void *opaque, u64 epoch, bool wait)
{
    struct engine *en = opaque;
    bool passed = true;
    engine_ask_flush(en);
    for (struct engine_cpu *ec = en->cpus; ec && passed; ec = ec->next) {
        while (!(passed = is_past(ec, epoch)) && wait)
            sched_yield();
    }
    return passed;
}

/* What is known about instructions does not hold for others at their place. A full list means all
 * instructions, and stays. */
static void drop_sites(struct lift_sites *sites, u64 start, u64 len)
{
    unsigned kept = 0;
    if (sites->count == sites->limit)
        return;
    for (unsigned i = 0; i < sites->count; i++) {
        if (sites->pc[i] - start >= len)
            sites->pc[kept++] = sites->pc[i];
    }
    if (kept != sites->count)
        sites->count = kept;
}

void engine_invalidate(struct engine *en, u64 start, u64 len)
{
    if (en->opts.kind == ENGINE_INTERP)
        return;
    pthread_mutex_lock(&en->lock);
    drop_sites(&en->tagged, start, len);
    drop_sites(&en->invalid, start, len);
    if (cache_invalidate(&en->cache, start, len))
        engine_ask_flush(en);
    pthread_mutex_unlock(&en->lock);
}

void engine_check_landings(struct engine *en)
{
    pthread_mutex_lock(&en->lock);
    atomic_store(&en->guards, true);
    if (en->opts.kind != ENGINE_INTERP) {
        cache_flush(&en->cache);
        engine_ask_flush(en);
    }
    pthread_mutex_unlock(&en->lock);
}

/* Frees all code, and has it be cold, again and again, for tests. */
static void *stress(void *opaque)
{
    struct engine *en = opaque;
    struct timespec pause = {en->opts.stress_ms / 1000, en->opts.stress_ms % 1000 * 1000000l};
    while (!atomic_load(&en->stop)) {
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&en->lock);
        cache_flush(&en->cache);
        engine_ask_flush(en);
        cold_again(en);
        pthread_mutex_unlock(&en->lock);
    }
    return NULL;
}

static void start_stress(struct engine *en)
{
    sigset_t all, old;
    if (!en->opts.stress_ms)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    en->stress_on = !pthread_create(&en->stress_thread, NULL, stress, en);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* ---- life ---- */

static void collect_helpers(struct engine *en)
{
    unsigned n = 0;
    while (en->isa->helpers && en->isa->helpers[n].fn)
        n++;
    en->helper_fns = xcalloc(n, sizeof(*en->helper_fns));
    for (unsigned i = 0; i < n; i++)
        en->helper_fns[i] = (const void *)(uintptr_t)en->isa->helpers[i].fn;
}

static void collect_flags(struct engine *en)
{
    const struct ir_slots *slots = &en->isa->slots;
    en->flags_at = xmalloc(slots->count * sizeof(*en->flags_at));
    for (unsigned s = 0; s < slots->count; s++) {
        if (slots->slot[s].type == IR_FL)
            en->flags_at[en->nflags++] = slots->slot[s].offset;
    }
}

struct engine *engine_new(const struct isa *isa, const struct engine_opts *opts, struct err *e)
{
    struct engine *en = xcalloc(1, sizeof(*en));
    en->isa = isa;
    en->opts = *opts;
    if (opts->without >> IR_PASS_HOT & 1)
        en->opts.hot_after = 0;
    en->host = &host_x86_64;
    pthread_mutex_init(&en->lock, NULL);
    pthread_mutex_init(&en->lockstep_lock, NULL);
    en->tagged.limit = MAX_TAGGED;
    en->invalid.limit = en->breaks.limit = LIFT_SITES;
    compiler_init(&en->compiler);
    hot_init(en);
    cold_init(en);
    if (opts->kind == ENGINE_JIT && opts->hot_at_once && !opts->one_insn)
        en->threshold = en->opts.hot_after;
    collect_helpers(en);
    collect_flags(en);
    en->host_cpu.slots = &isa->slots;
    en->host_cpu.helpers = isa->helpers;
    en->host_cpu.insn_align = isa->insn_align;
    en->host_cpu.mmu = opts->memory;
    if (!perf_open(&en->perf, opts->perf_map, opts->jitdump, e) ||
        !en->host->detect(&en->host_cpu, opts->host_cpu, opts->pins, e) ||
        !cache_init(&en->cache, en->host, &en->host_cpu,
                    opts->cache_size ? opts->cache_size : DEFAULT_CACHE, e)) {
        perf_close(&en->perf);
        compiler_free(&en->compiler);
        cold_free(en);
        hot_free(en);
        free(en->helper_fns);
        free(en->flags_at);
        free(en);
        return NULL;
    }
    if (opts->kind == ENGINE_LOCKSTEP)
        en->turn = turn_new();
    en->cache.passed = passed_safepoints;
    en->listener.clean = flush_clean;
    if (opts->memory)
        mem_space_listen(opts->memory, &en->listener);
    en->cache.opaque = en;
    start_stress(en);
    sampled_start(en);
    hot_start(en);
    return en;
}

void engine_free(struct engine *en)
{
    atomic_store(&en->stop, true);
    if (en->opts.memory)
        mem_space_ignore(en->opts.memory, &en->listener);
    if (en->stress_on)
        pthread_join(en->stress_thread, NULL);
    sampled_stop(en);
    cold_free(en);
    hot_free(en);
    perf_close(&en->perf);
    cache_free(&en->cache);
    compiler_free(&en->compiler);
    turn_free(en->turn);
    pthread_mutex_destroy(&en->lock);
    free(en->helper_fns);
    free(en->flags_at);
    free(en);
}

static void prepare_machine(struct vcpu *cpu)
{
    engine_cpu(cpu)->mmu = mmu_new(cpu);
    engine_cpu(cpu)->tlb = tlb_new(cpu);
    engine_cpu(cpu)->jumps = jumps_new(cpu);
    jumps_select(cpu);
}

struct vcpu *vcpu_new(struct engine *en, const char *cpu_name, struct err *e)
{
    struct vcpu *cpu = xcalloc(1, sizeof(*cpu));
    struct engine_cpu *ec = xcalloc(1, sizeof(*ec));
    size_t size = sizeof(struct ir_env) + en->isa->slots.size;
    struct ir_env *env = aligned_alloc(64, ALIGN_UP(size, (size_t)64));
    if (!env)
        abort();
    memset(env, 0, size);
    *cpu = (struct vcpu){.isa = en->isa, .env = env, .engine = en, .engine_data = ec, .memory = en->opts.memory, .ops = &machine_ops};
    env->cpu = cpu;
    env->helpers = en->helper_fns;
    for (unsigned i = 0; i < IR_HEAT_COUNTERS; i++)
        env->heat[i] = (s32)en->threshold;
    if (!en->opts.memory)
        env->jumps = ir_jumps_new();
    ec->no_jumps = true;
    env->c_call[IR_CALL_MMU] = en->host->access;
    env->mmu.access = tlb_access;
    env->c_call[IR_CALL_POLL] = jit_poll;
    env->c_call[IR_CALL_FIND] = jit_find;
    env->c_call[IR_CALL_EVAL] = ir_call_eval;
    env->c_call[IR_CALL_FLAGS] = ir_call_flags;
    env->fp_push = en->opts.kind != ENGINE_INTERP ? en->host->fp_push : fp_nothing;
    ec->vcpu = cpu;
    ec->seen = 0;
    prediction_stack_make(en, ec);
    if (!en->isa->init(cpu, cpu_name, e)) {
        prediction_stack_free(ec);
        free(env->jumps);
        free(env);
        free(ec);
        free(cpu);
        return NULL;
    }
    en->host->fp_setup(env);
    en->isa->reset(cpu);
    env->key = en->isa->key(cpu);
    if (en->opts.memory && en->opts.kind != ENGINE_INTERP)
        prepare_machine(cpu);
    engine_cpu_flush(en, ec);
    pthread_mutex_lock(&en->lock);
    ec->next = en->cpus;
    ec->prev = &en->cpus;
    if (ec->next)
        ec->next->prev = &ec->next;
    en->cpus = ec;
    pthread_mutex_unlock(&en->lock);
    return cpu;
}

static void add_counted(const struct engine_cpu *ec, u64 *counted)
{
    for (unsigned i = 0; i < IR_COUNTERS; i++)
        counted[i] += ec->vcpu->env->counted[i];
}

static void add_events(const struct engine_cpu *ec, u64 *events)
{
    for (unsigned i = 0; i < EVENTS; i++)
        events[i] += ec->events[i];
}

void vcpu_free(struct vcpu *cpu)
{
    struct engine *en = cpu->engine;
    struct engine_cpu *ec = engine_cpu(cpu);
    pthread_mutex_lock(&en->lock);
    add_counted(ec, en->stat_counted);
    add_events(ec, en->stat_events);
    *ec->prev = ec->next;
    if (ec->next)
        ec->next->prev = ec->prev;
    pthread_mutex_unlock(&en->lock);
    prediction_stack_free(ec);
    ir_interp_free(&ec->interp);
    if (ec->own) {
        compiler_free(ec->own);
        free(ec->own);
    }
    lockstep_free(ec->lockstep);
    interp_machine_free(ec);
    if (cpu->system)
        cpu->isa->system->free(cpu);
    tlb_free(ec->tlb);
    jumps_free(ec->jumps);
    if (!cpu->engine->opts.memory)
        free(cpu->env->jumps);
    free(cpu->env);
    free(ec);
    free(cpu);
}

void vcpu_copy_state(struct vcpu *to, const struct vcpu *from)
{
    memcpy(to->env->slots, from->env->slots, from->isa->slots.size);
    to->env->key = from->env->key;
    to->env->excl = (struct ir_exclusive){0};
    to->env->host_fp = from->env->host_fp;
}

IN_HANDLER void vcpu_kick(struct vcpu *cpu)
{
    atomic_fetch_or(&cpu->env->request, REQUEST_KICK);
}

/* ---- exits ---- */

void engine_fetch_fault(struct vcpu *cpu, struct vcpu_exit *exit)
{
    *exit = (struct vcpu_exit){.kind = VCPU_EXIT_FAULT, .addr = vcpu_pc(cpu),
                               .access = IR_ACCESS_EXEC, .sig = SIGSEGV, .sicode = SEGV_MAPERR};
}

/* A mode bit changed, by the guest or by whoever set a register between two runs. */
static void resync(struct vcpu *cpu)
{
    u32 key = cpu->isa->key(cpu);
    if (key == cpu->env->key)
        return;
    cpu->env->key = key;
    if (!cpu->engine->opts.memory)
        engine_cpu_flush(cpu->engine, engine_cpu(cpu));
    else if (cpu->engine->opts.kind != ENGINE_INTERP)
        jumps_select(cpu);
}

bool engine_add_site(struct engine *en, struct lift_sites *sites, u64 pc)
{
    if (lift_site(sites, pc))
        return false;
    sites->pc[sites->count++] = pc;
    if (sites->count == sites->limit || en->opts.memory) /* code of machines is known by physical address */
        cache_flush(&en->cache);
    else
        cache_invalidate(&en->cache, pc, en->isa->max_insn);
    engine_ask_flush(en);
    return true;
}

/* Runs in a signal handler, over translated code: whoever holds the lock may be waiting for this
 * thread, so it is only tried. */
void engine_count_fp_trap(struct engine *en, struct engine_cpu *ec, u64 pc)
{
    atomic_fetch_add(&en->stat_fp_traps, 1);
    struct fp_traps *t = &ec->fp_traps[pc >> en->isa->insn_align & (ARRAY_LEN(ec->fp_traps) - 1)];
    if (t->pc != pc)
        *t = (struct fp_traps){.pc = pc};
    if (++t->count < FP_TRAPS || pthread_mutex_trylock(&en->lock))
        return;
    engine_add_site(en, &en->invalid, pc);
    pthread_mutex_unlock(&en->lock);
}

/* A program may keep data in the ignored bits of a pointer. Accesses do not clear them, as nearly none
 * has any: the first fault of an instruction by a tagged address has it translated again, with the
 * tag cleared. */
static bool met_tag(struct vcpu *cpu)
{
    struct engine *en = cpu->engine;
    u64 pc = vcpu_pc(cpu), addr = cpu->env->exit_addr;
    unsigned bits = en->isa->tag_bits;
    if (!bits || !(addr >> (64 - bits)) || addr >> (63 - bits) & 1)
        return false;
    pthread_mutex_lock(&en->lock);
    bool added = engine_add_site(en, &en->tagged, pc);
    pthread_mutex_unlock(&en->lock);
    /* another thread may have met it while this one ran the code from before */
    bool again = added || engine_cpu(cpu)->tag_at != pc;
    engine_cpu(cpu)->tag_at = pc;
    return again;
}

static bool handle_raise(struct vcpu *cpu, struct vcpu_exit *exit)
{
    struct ir_env *env = cpu->env;
    switch (env->exit_code) {
    case ISA_RAISE_RESYNC:
        resync(cpu);
        return true;
    default:
        *exit = (struct vcpu_exit){.kind = VCPU_EXIT_RAISE, .code = env->exit_code,
                                   .arg = env->exit_arg};
        return false;
    }
}

/* A flags slot may name other slots (IR_SITE): before anybody outside changes those, it gets the
 * bits themselves. */
static void settle_flags(struct vcpu *cpu)
{
    const struct engine *en = cpu->engine;
    for (unsigned i = 0; i < en->nflags; i++) {
        struct ir_flags *f = env_slot(cpu->env, en->flags_at[i]);
        if ((u32)f->kind & IR_SITE)
            *f = (struct ir_flags){.kind = IR_FLK_BITS, .a = ir_flags_eval(cpu->env->slots, f)};
    }
}

bool engine_exit(struct vcpu *cpu, struct vcpu_exit *exit)
{
    struct ir_env *env = cpu->env;
    if (env->exit != IR_EXIT_LOOKUP)
        settle_flags(cpu);
    switch (env->exit) {
    case IR_EXIT_REQUEST:
        if (atomic_load(&env->request) & REQUEST_TLB)
            flush_service(cpu);
        if (atomic_load(&env->request) & REQUEST_SAMPLE) {
            atomic_fetch_and(&env->request, ~(u32)REQUEST_SAMPLE);
            hot_sample(cpu, engine_cpu(cpu)->polled_in_hot);
        }
        engine_cpu(cpu)->polled_in_hot = false;
        if (atomic_load(&env->request) & REQUEST_LANDINGS) {
            atomic_fetch_and(&env->request, ~(u32)REQUEST_LANDINGS);
            engine_check_landings(cpu->engine);
        }
        if (atomic_load(&env->request) & REQUEST_CHECK) {
            sampled_check(cpu);
            return engine_exit(cpu, exit);
        }
        if (!(atomic_load(&env->request) & REQUEST_KICK))
            return true;
        atomic_fetch_and(&env->request, ~(u32)REQUEST_KICK);
        *exit = (struct vcpu_exit){.kind = VCPU_EXIT_REQUEST};
        return false;
    case IR_EXIT_RAISE:
        return handle_raise(cpu, exit);
    case IR_EXIT_FAULT:
        if (!cpu->engine->opts.memory && met_tag(cpu))
            return true;
        *exit = engine_cpu(cpu)->fault;
        exit->kind = VCPU_EXIT_FAULT;
        exit->addr = env->exit_addr;
        exit->access = env->exit_code;
        return false;
    default:
        return true;
    }
}

void vcpu_run(struct vcpu *cpu, struct vcpu_exit *exit)
{
    resync(cpu);
    if (atomic_load_explicit(&cpu->engine->hot.dozes, memory_order_relaxed))
        hot_rouse(cpu->engine);
    if (cpu->engine->opts.kind == ENGINE_INTERP)
        (cpu->engine->opts.memory ? interp_machine_run : interp_run)(cpu, exit);
    else if (cpu->engine->opts.memory)
        jit_machine_run(cpu, exit);
    else if (cpu->engine->opts.kind == ENGINE_LOCKSTEP)
        lockstep_run(cpu, exit);
    else
        jit_run(cpu, exit);
}

/* ---- fork ---- */

void engine_stop_threads(struct engine *en)
{
    hot_stop(en);
}

void engine_restart_threads(struct engine *en)
{
    hot_restart(en);
}

void engine_fork_prepare(struct engine *en)
{
    struct err e;
    pthread_mutex_lock(&en->lockstep_lock);
    hot_fork_prepare(en);
    pthread_mutex_lock(&en->lock);
    if (!cache_fork_prepare(&en->cache, &e))
        log_warn("fork: %s\n", e.text);
}

static void fork_unlock(struct engine *en)
{
    pthread_mutex_unlock(&en->lock);
    pthread_mutex_unlock(&en->lockstep_lock);
}

void engine_fork_parent(struct engine *en)
{
    cache_fork_parent(&en->cache);
    hot_fork_parent(en);
    fork_unlock(en);
}

void engine_fork_child(struct engine *en, struct vcpu *cpu)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    struct err e;
    for (struct engine_cpu *o = en->cpus, *next; o; o = next) {
        next = o->next; /* the other threads did not come along; their vCPUs may be freed yet */
        o->next = NULL;
        o->prev = &o->next;
    }
    en->cpus = ec;
    ec->next = NULL;
    ec->prev = &en->cpus;
    perf_close(&en->perf); /* they name the parent */
    if (!cache_fork_child(&en->cache, &e)) {
        log_warn("fork: %s\n", e.text);
        abort();
    }
    hot_fork_child(en);
    fork_unlock(en);
    start_stress(en);
    sampled_start(en);
    hot_start(en);
}

/* ---- statistics ---- */

/* The time within which 99 of 100 evictions were done, as a power of two. */
static void print_stalls(const struct engine *en, FILE *to)
{
    u64 all = 0, seen = 0;
    unsigned i = 0;
    for (unsigned k = 0; k < ARRAY_LEN(en->stat_stall); k++)
        all += en->stat_stall[k];
    if (!all)
        return;
    while ((seen += en->stat_stall[i]) * 100 < all * 99)
        i++;
    fprintf(to, "evictions           %" PRIu64 ", 99 %% within %.3f ms\n", all,
            (double)(1ull << i) / 1e6);
}

static void print_hot(const struct engine *en, FILE *to)
{
    const struct hot *h = &en->hot;
    u64 all = h->samples[0] + h->samples[1];
    fprintf(to, "hot regions         %" PRIu64 ", of %" PRIu64 " instructions, made in %.1f ms\n",
            h->stat_regions, h->stat_insns, (double)h->stat_ns / 1e6);
    if (all)
        fprintf(to, "time in hot regions %.0f %% of %" PRIu64 " samples\n",
                100.0 * (double)h->samples[1] / (double)all, all);
}

static void print_counted(struct engine *en, FILE *to)
{
    static const char *const kinds[] = {"the interpreter", "first translations", "hot regions", "hot regions that loop or call"};
    u64 counted[IR_COUNTERS], all = 0;
    pthread_mutex_lock(&en->lock);
    memcpy(counted, en->stat_counted, sizeof(counted));
    for (const struct engine_cpu *ec = en->cpus; ec; ec = ec->next)
        add_counted(ec, counted);
    pthread_mutex_unlock(&en->lock);
    for (unsigned i = 0; i < IR_COUNTERS; i++)
        all += counted[i];
    fprintf(to, "instructions run    %" PRIu64 "\n", all);
    for (unsigned i = 0; i < IR_COUNTERS && all; i++)
        fprintf(to, "  in %-30s %5.1f %%\n", kinds[i], 100.0 * (double)counted[i] / (double)all);
}

static void print_events(struct engine *en, FILE *to)
{
    static const char *const names[EVENTS] = {
        "entries into code", "look-ups of code", "accesses in C", "groups taken apart", "page walks",
        "context switches", "TLB flushes", "look-ups emptied", "exits to C",
    };
    u64 events[EVENTS];
    pthread_mutex_lock(&en->lock);
    memcpy(events, en->stat_events, sizeof(events));
    for (const struct engine_cpu *ec = en->cpus; ec; ec = ec->next)
        add_events(ec, events);
    pthread_mutex_unlock(&en->lock);
    for (unsigned i = 0; i < EVENTS; i++)
        fprintf(to, "%-19s %" PRIu64 "\n", names[i], events[i]);
}

void engine_report(struct engine *en, u32 class, void (*print)(struct engine *en, FILE *to))
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = log_on(class) ? open_memstream(&text, &len) : NULL;
    if (!f)
        return;
    print(en, f);
    fclose(f);
    log_print(class, "%s", text);
    free(text);
}

void engine_stats(struct engine *en, FILE *to)
{
    const struct jit_cache *c = &en->cache;
    fprintf(to, "regions translated  %" PRIu64 "\n", c->stat_regions);
    fprintf(to, "guest instructions  %" PRIu64 "\n", en->stat_guest_insns);
    fprintf(to, "guest bytes         %" PRIu64 "\n", en->stat_guest_bytes);
    fprintf(to, "host bytes          %" PRIu64 "\n", c->stat_bytes);
    fprintf(to, "host per guest byte %.2f\n",
            en->stat_guest_bytes ? (double)c->stat_bytes / (double)en->stat_guest_bytes : 0.0);
    fprintf(to, "regions evicted     %" PRIu64 "\n", c->stat_evicted);
    print_stalls(en, to);
    fprintf(to, "regions invalidated %" PRIu64 "\n", c->stat_invalidated);
    print_hot(en, to);
    if (en->opts.count_insns)
        print_counted(en, to);
    if (en->opts.memory)
        print_events(en, to);
    if (en->opts.lockstep_ms)
        fprintf(to, "regions compared    %" PRIu64 ", and %" PRIu64 " hot ones\n", en->stat_compared[0],
                en->stat_compared[1]);
    fprintf(to, "FP traps            %" PRIu64 "\n", atomic_load(&en->stat_fp_traps));
}
