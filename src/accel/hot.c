/* Hot code: the second translation of what runs often. The code around a hot entry becomes one region of
 * several blocks, made of the code that control has been seen to reach from there, in which loops run
 * without leaving. It takes the place of the first translation of that entry; ways out of it lead to first
 * translations.
 *
 * What is hot is found by sampling: a thread asks the vCPUs now and then to leave at the next poll, which is
 * at the head of a loop or at a called function, and looks where that is. Counters in the code would cost
 * a tight loop half its speed (docs/decisions). The same thread compiles, and takes its time: a small part
 * of what the process has used so far. What it finds of the engine, and what it leaves there, is under the
 * engine's lock; the work in between is not, and is thrown away if code was changed meanwhile. */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "accel/engine_impl.h"
#include "accel/jumps.h"
#include "base/bits.h"
#include "base/log.h"
#include "base/mem.h"
#include "jit/opt/legalise.h"

#define ENOUGH      2        /* samples that make code hot */
#define SHARE       40       /* the thread gets one part in so many of the processor time, */
#define BURST       4000000  /* ns, and that much in advance */
#define FIRST_NAP   8000000  /* ns: many programs are over by then */
#define SHORT_NAP   1000000  /* ns between samples, when there is something to find */
#define LONG_NAP    8000000
#define IDLE_NAP    1000000000 /* when no vCPU runs, */
#define IDLE_RUNS   64       /* unless they have been entered so often meanwhile */
#define EARLY       50       /* samples */
#define WATCHED     6        /* polls in a row that calls are looked for at */
#define MAX_CALLERS 8        /* regions that are made again for one call */

/* ---- one region ---- */

/* The vCPU that the sample is from may be gone, and its model with it. */
static bool model_lives(const struct engine *en, const void *model)
{
    const struct engine_cpu *ec = en->cpus;
    while (ec && ec->vcpu->model != model)
        ec = ec->next;
    return ec != NULL;
}

/* There are as many regions as were asked for. */
static bool no_more(const struct engine *en)
{
    return en->opts.hot_regions && en->hot.stat_regions >= en->opts.hot_regions;
}

/* What is to be done, found under the lock. False when there is nothing. */
static bool begin(struct engine *en, const struct hot_place *p)
{
    const struct ir_lowering lowering = {en->host->has, opt_legalise, &en->host_cpu};
    const struct jit_region *old = cache_find(&en->cache, p->pc, p->key, p->at.phys);
    return old && !no_more(en) && (!old->tier || p->again) && model_lives(en, p->model) &&
           hot_form(en, &en->hot.compiler, p, &lowering);
}

static bool allocate(struct engine *en)
{
    compiler_verify(&en->hot.compiler, en);
    return compiler_allocate(&en->hot.compiler, en);
}

/* Inline look-ups still lead to the old code. An entry without its address matches nothing, whatever its
 * owner writes there meanwhile. */
static void forget_entry(struct engine *en, u64 pc)
{
    for (struct engine_cpu *ec = en->cpus; ec; ec = ec->next) {
        if (en->opts.memory) {
            jumps_forget_entry(ec->vcpu, pc);
            continue;
        }
        u64 *at = &engine_jump(en, ec->vcpu->env, pc)->pc;
        if (__atomic_load_n(at, __ATOMIC_RELAXED) == pc)
            __atomic_store_n(at, ir_jump_nowhere(pc), __ATOMIC_RELAXED);
    }
}

struct jit_region *hot_install(struct engine *en, struct compiler *c, unsigned tier)
{
    struct jit_region *r = compiler_install(c, en);
    if (!r)
        return NULL;
    __atomic_store_n(&r->tier, (u8)tier, __ATOMIC_RELAXED); /* it can be found and run already */
    struct jit_region *old = cache_find_other(&en->cache, r);
    if (old)
        cache_supersede(&en->cache, old, r);
    forget_entry(en, r->pc);
    return r;
}

static void queue(struct hot *h, const struct hot_place *p)
{
    const u32 size = ARRAY_LEN(h->next);
    for (u32 i = 0; i < h->nexts; i++) {
        if (h->next[(h->next_first + i) % size].pc == p->pc && h->next[(h->next_first + i) % size].key == p->key)
            return;
    }
    if (h->nexts < size)
        h->next[(h->next_first + h->nexts++) % size] = *p;
}

/* What hot code calls, or goes on with, is likely hot, too, even if no vCPU is found there: where polls are near each
 * other, the next one is seldom it. */
static void queue_next(struct engine *en, const struct hot_place *from, u64 pc)
{
    struct hot_place p = {.pc = pc, .key = from->key, .model = from->model};
    if (from->at.page) { /* of another page is not known where it is */
        if ((pc ^ from->pc) >> IR_PAGE_BITS)
            return;
        p.at = (struct code_at){from->at.phys + (pc - from->pc), from->at.page};
    }
    const struct jit_region *r = cache_find(&en->cache, pc, from->key, p.at.phys);
    if (r && !r->tier)
        queue(&en->hot, &p);
}

/* Put it in the place of what is there, under the lock. */
static void finish(struct engine *en, const struct hot_place *p)
{
    struct compiler *c = &en->hot.compiler;
    if (!hot_install(en, c, 1))
        return;
    en->hot.stat_regions++;
    log_print(LOG_HOT, "hot region %" PRIu64 " at 0x%" PRIx64 "\n", en->hot.stat_regions, p->pc);
    en->hot.stat_insns += c->ir.insns;
    for (u32 b = 0; b < c->ir.nblocks; b++) {
        const struct ir_node *n = &c->ir.node[c->ir.block[b].end - 1];
        if (n->op == IR_CALL || (n->op == IR_EXIT_LINK && ir_exit_block(&c->ir, n) == UINT32_MAX))
            queue_next(en, p, n->imm);
    }
}

/* ---- the thread ---- */

static u64 nanoseconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

/* Ask the vCPUs that run where they are. Called with the lock held; returns whether there are any. */
static bool ask(struct engine *en)
{
    bool any = false;
    for (struct engine_cpu *ec = en->cpus; ec; ec = ec->next) {
        if (!atomic_load(&ec->in_code))
            continue;
        atomic_fetch_or(&ec->vcpu->env->request, REQUEST_SAMPLE);
        any = true;
    }
    return any;
}

static struct engine_place *profile_place(struct engine_place *table, size_t size, u64 pc)
{
    size_t i = pc * 0x9e3779b97f4a7c15ull >> 32;
    while (table[i & (size - 1)].samples && table[i & (size - 1)].pc != pc)
        i++;
    table[i & (size - 1)].pc = pc;
    return &table[i & (size - 1)];
}

static void profile_grow(struct hot *h)
{
    size_t size = h->profile_size ? h->profile_size * 2 : 1024;
    struct engine_place *table = xcalloc(size, sizeof(*table));
    for (size_t i = 0; i < h->profile_size; i++) {
        if (h->profile[i].samples)
            *profile_place(table, size, h->profile[i].pc) = h->profile[i];
    }
    free(h->profile);
    h->profile = table;
    h->profile_size = size;
}

static void profile_add(struct hot *h, u64 pc)
{
    if (h->profiled * 2 >= h->profile_size)
        profile_grow(h);
    h->profiled += !profile_place(h->profile, h->profile_size, pc)->samples++;
}

struct engine_place *engine_profile(struct engine *en, size_t *count)
{
    struct hot *h = &en->hot;
    *count = 0;
    pthread_mutex_lock(&en->lock); /* vCPUs may still be running, and add to it */
    struct engine_place *out = xcalloc(h->profiled + 1, sizeof(*out));
    for (size_t i = 0; i < h->profile_size; i++) {
        if (h->profile[i].samples)
            out[(*count)++] = h->profile[i];
    }
    pthread_mutex_unlock(&en->lock);
    return out;
}

static struct hot_place *place_of(struct engine *en, u64 pc)
{
    u64 hash = pc * 0x9e3779b97f4a7c15ull >> 32;
    return &en->hot.place[hash % ARRAY_LEN(en->hot.place)];
}

/* The vCPU was seen at pc, the start of a function that was called with a return address of `back`. True when that
 * is news for the code around the call: at most twice, as code is made again for it. */
static bool note_callee(struct hot *h, u64 back, u64 pc)
{
    struct hot_callee *c = hot_callee_of(h, back);
    if (c->back != back)
        *c = (struct hot_callee){.back = back};
    unsigned i = c->pc[0] && c->pc[0] != pc;
    if (c->pc[i])
        return false;
    c->pc[i] = pc;
    return true;
}

/* The vCPU may be at a function whose call is in hot regions that do not know yet that it is taken often, or where it
 * goes: have them made again. */
static void queue_callers(struct vcpu *cpu, const struct hot_place *at)
{
    struct engine *en = cpu->engine;
    u64 pc = at->pc;
    v128 back;
    u64 moved = at->at.page ? at->at.phys - pc : 0;
    ir_slot_load(&en->isa->slots.slot[en->isa->link], cpu->env, &back);
    if (at->at.page && (back.d[0] - 1) >> IR_PAGE_BITS != pc >> IR_PAGE_BITS)
        return; /* of another page is not known where it is */
    if (compiler_call_before(cpu, back.d[0], pc, at->at) != pc && !compiler_is_small_leaf(cpu, pc, at->at))
        return;
    if (!note_callee(&en->hot, back.d[0], pc))
        return;
    struct jit_region *caller[MAX_CALLERS];
    unsigned n = cache_regions_over(&en->cache, back.d[0] + moved - 1, 1, caller, MAX_CALLERS);
    for (unsigned i = 0; i < n; i++) {
        struct hot_place p = {.pc = caller[i]->pc, .key = caller[i]->key, .model = cpu->model, .again = true};
        p.at = (struct code_at){caller[i]->phys, at->at.page};
        queue(&en->hot, &p);
    }
}

/* A poll is the first one behind a request as often as much code is run before it. For a function with little before
 * its call that is seldom: calls are looked for at a few polls in a row. */
static bool go_on_watching(struct vcpu *cpu)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    bool first = !ec->watched;
    ec->watched = first ? WATCHED : ec->watched - 1;
    if (ec->watched)
        atomic_fetch_or(&cpu->env->request, REQUEST_SAMPLE);
    return !first;
}

/* Where the vCPU is. False: there is no memory. */
static bool find_place(struct vcpu *cpu, struct hot_place *p)
{
    bool global;
    *p = (struct hot_place){.pc = vcpu_pc(cpu), .key = cpu->env->key, .count = 1, .model = cpu->model};
    return !cpu->engine->opts.memory || (engine_find_code(cpu, p->pc, &p->at, &global) && p->at.page);
}

void hot_sample(struct vcpu *cpu, bool in_hot)
{
    struct engine *en = cpu->engine;
    struct hot *h = &en->hot;
    struct hot_place at;
    if (!find_place(cpu, &at))
        return;
    pthread_mutex_lock(&en->lock);
    queue_callers(cpu, &at);
    if (go_on_watching(cpu)) {
        pthread_mutex_unlock(&en->lock);
        return;
    }
    const struct jit_region *r = cache_find(&en->cache, at.pc, at.key, at.at.phys);
    in_hot |= r && r->tier;
    h->samples[in_hot]++;
    if (log_on(LOG_PROFILE))
        profile_add(h, at.pc);
    struct hot_place *p = place_of(en, at.pc);
    if (!in_hot && p->pc == at.pc && p->key == at.key && p->at.phys == at.at.phys)
        p->count++;
    else if (!in_hot && p->count)
        p->count--; /* what is there wears off */
    else if (!in_hot)
        *p = at;
    pthread_mutex_unlock(&en->lock);
}

/* What the thread may have used by now. */
static u64 earned(void)
{
    return BURST + nanoseconds(CLOCK_PROCESS_CPUTIME_ID) / SHARE;
}

/* The place with the most samples, if they are enough: one is, while the thread has used little. */
static struct hot_place *hottest(struct hot *h)
{
    const u32 enough = nanoseconds(CLOCK_THREAD_CPUTIME_ID) < earned() / 4 ? 1 : ENOUGH;
    struct hot_place *best = &h->place[0];
    for (unsigned i = 1; i < ARRAY_LEN(h->place); i++) {
        if (h->place[i].count > best->count)
            best = &h->place[i];
    }
    return best->count < enough ? NULL : best;
}

static bool may_work(void)
{
    return nanoseconds(CLOCK_THREAD_CPUTIME_ID) <= earned();
}

/* What to compile. False when there is nothing. */
static bool choose(struct hot *h, struct hot_place *p)
{
    struct hot_place *best = hottest(h);
    if (best) {
        *p = *best;
        best->count = 0;
    } else if (h->nexts) {
        *p = h->next[h->next_first];
        h->next_first = (h->next_first + 1) % ARRAY_LEN(h->next);
        h->nexts--;
        return true;
    }
    return best != NULL;
}

/* `busy` is held while the compiler is at work: a fork waits for that. False when there was nothing to do. */
static bool work(struct engine *en)
{
    struct hot *h = &en->hot;
    struct hot_place p;
    pthread_mutex_lock(&h->busy);
    pthread_mutex_lock(&en->lock);
    u64 changes = en->cache.changes;
    bool chosen = choose(h, &p), ok = chosen && begin(en, &p);
    pthread_mutex_unlock(&en->lock);
    ok = ok && allocate(en);
    pthread_mutex_lock(&en->lock);
    if (ok && changes == en->cache.changes)
        finish(en, &p);
    pthread_mutex_unlock(&en->lock);
    pthread_mutex_unlock(&h->busy);
    h->stat_ns = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    return chosen;
}

/* Naps grow longer while samples are in hot code, after the program's start, and soon short again when they are
 * not. */
static u64 next_nap(const struct hot *h, u64 nap, bool running, bool cold)
{
    if (!running)
        return MIN(nap * 2, (u64)IDLE_NAP);
    nap = MIN(nap, (u64)LONG_NAP);
    if (h->samples[0] + h->samples[1] < EARLY || log_on(LOG_PROFILE))
        return SHORT_NAP;
    return cold ? MAX(nap / 4, (u64)SHORT_NAP) : MIN(nap + nap / 4, (u64)LONG_NAP);
}

/* Called with the lock held, which is free meanwhile; hot_stop() ends it, and hot_rouse() a long one. */
static void take_nap(struct engine *en, u64 nap)
{
    struct hot *h = &en->hot;
    u64 end = nanoseconds(CLOCK_MONOTONIC) + nap;
    struct timespec t = {(time_t)(end / 1000000000), (long)(end % 1000000000)};
    const bool dozes = nap == IDLE_NAP;
    atomic_store(&h->runs, 0);
    atomic_store(&h->dozes, dozes);
    while (!atomic_load(&h->stop) && atomic_load(&h->dozes) == dozes && !pthread_cond_timedwait(&h->wake, &en->lock, &t))
        ;
    atomic_store(&h->dozes, false);
}

void hot_rouse(struct engine *en)
{
    if (atomic_fetch_add(&en->hot.runs, 1) != IDLE_RUNS)
        return;
    pthread_mutex_lock(&en->lock);
    atomic_store(&en->hot.dozes, false);
    pthread_cond_signal(&en->hot.wake);
    pthread_mutex_unlock(&en->lock);
}

static void *hot_thread(void *opaque)
{
    struct engine *en = opaque;
    struct hot *h = &en->hot;
    u64 nap = FIRST_NAP, seen = 0;
    while (!atomic_load(&h->stop)) {
        pthread_mutex_lock(&en->lock);
        take_nap(en, nap);
        bool running = ask(en);
        nap = next_nap(h, nap, running, h->samples[0] != seen);
        seen = h->samples[0];
        pthread_mutex_unlock(&en->lock);
        bool more = running && en->opts.hot_after;
        while (more && may_work() && !atomic_load(&h->stop))
            more = work(en);
    }
    return NULL;
}

/* Anew for each thread: a forked child has the state of its parent's, with a thread that is not there. */
static void make_wake(struct hot *h)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&h->wake, &attr);
    pthread_condattr_destroy(&attr);
}

/* A child of vfork() shares this memory, but a thread that it made would be its own. The thread takes no
 * signals but those of reading guest code that has gone. */
void hot_start(struct engine *en)
{
    struct hot *h = &en->hot;
    sigset_t all, old;
    bool wanted = log_on(LOG_PROFILE) || (en->opts.hot_after && !en->opts.hot_at_once);
    if (!wanted || en->opts.kind != ENGINE_JIT || en->opts.one_insn || getpid() != h->pid)
        return;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    atomic_store(&h->stop, false);
    make_wake(h);
    h->running = !pthread_create(&h->thread, NULL, hot_thread, en);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void hot_init(struct engine *en)
{
    struct hot *h = &en->hot;
    compiler_init(&h->compiler);
    pthread_mutex_init(&h->busy, NULL);
    pthread_mutex_init(&h->stopping, NULL);
    h->pid = getpid();
}

/* A child of vfork() has but one thread, and its parent's is none of its business. */
void hot_stop(struct engine *en)
{
    struct hot *h = &en->hot;
    if (getpid() != h->pid)
        return;
    pthread_mutex_lock(&h->stopping);
    h->stopped++;
    pthread_mutex_lock(&en->lock);
    bool running = h->running;
    atomic_store(&h->stop, true);
    pthread_cond_signal(&h->wake);
    pthread_mutex_unlock(&en->lock);
    if (running) {
        pthread_join(h->thread, NULL);
        pthread_mutex_lock(&en->lock);
        h->running = false;
        pthread_mutex_unlock(&en->lock);
    }
    pthread_mutex_unlock(&h->stopping);
}

void hot_restart(struct engine *en)
{
    struct hot *h = &en->hot;
    if (getpid() != h->pid)
        return;
    pthread_mutex_lock(&h->stopping);
    if (!--h->stopped)
        hot_start(en);
    pthread_mutex_unlock(&h->stopping);
}

void hot_free(struct engine *en)
{
    hot_stop(en);
    compiler_free(&en->hot.compiler);
    free(en->hot.profile);
    pthread_mutex_destroy(&en->hot.busy);
    pthread_mutex_destroy(&en->hot.stopping);
}

void hot_fork_prepare(struct engine *en)
{
    pthread_mutex_lock(&en->hot.busy);
}

void hot_fork_parent(struct engine *en)
{
    pthread_mutex_unlock(&en->hot.busy);
}

void hot_fork_child(struct engine *en)
{
    struct hot *h = &en->hot;
    pthread_mutex_unlock(&h->busy);
    pthread_mutex_init(&h->stopping, NULL);
    h->stopped = 0; /* whoever stopped it is not here */
    h->running = false;
    h->pid = getpid();
}

/* ---- without the thread ---- */

void hot_entry(struct vcpu *cpu)
{
    struct engine *en = cpu->engine;
    struct hot_place p;
    heat_reset(en, cpu->env, vcpu_pc(cpu), no_more(en) ? INT32_MAX : en->threshold);
    if (!find_place(cpu, &p))
        return;
    pthread_mutex_lock(&en->lock);
    queue_callers(cpu, &p);
    do {
        if (begin(en, &p) && allocate(en))
            finish(en, &p);
    } while (choose(&en->hot, &p));
    pthread_mutex_unlock(&en->lock);
}
