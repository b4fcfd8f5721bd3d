/* TLB maintenance of a machine's guest: on its own vCPU at once, on others when they are out of guest code. */
#include <sched.h>
#include <stdatomic.h>

#include "accel/engine_impl.h"
#include "accel/jumps.h"
#include "accel/mmu.h"
#include "accel/tlb.h"

/* Others forget all: what for is not worth a queue. */
static void ask_others(struct engine *en, const struct vcpu *cpu)
{
    pthread_mutex_lock(&en->lock);
    for (struct engine_cpu *ec = en->cpus; ec; ec = ec->next) {
        if (ec->vcpu == cpu)
            continue;
        atomic_fetch_add(&ec->flush_asked, 1);
        atomic_fetch_or(&ec->vcpu->env->request, REQUEST_TLB);
    }
    pthread_mutex_unlock(&en->lock);
}

static bool compiles(const struct vcpu *cpu)
{
    return cpu->engine->opts.kind != ENGINE_INTERP;
}

static void forget(struct vcpu *cpu, const struct vcpu_flush *asked)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    struct vcpu_flush f = *asked;
    engine_count(cpu, EVENT_FLUSH);
    if (ec->mmu && vcpu_flush_is_range(&f))
        mmu_widen(ec->mmu, &f);
    if (ec->mmu)
        mmu_flush(ec->mmu, &f);
    if (ec->tlb)
        tlb_flush(cpu, &f);
    if (ec->jumps)
        jumps_flush(cpu, &f);
}

static void flush_wait(struct vcpu *cpu);

void flush_service(struct vcpu *cpu)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    atomic_fetch_and(&cpu->env->request, ~(u32)REQUEST_TLB);
    u32 asked = atomic_load(&ec->flush_asked);
    if (asked != atomic_load(&ec->flush_done)) {
        forget(cpu, &(struct vcpu_flush){.scope = VCPU_FLUSH_ALL});
        atomic_store(&ec->flush_done, asked);
    }
    if (ec->flush_waits) {
        ec->flush_waits = false;
        flush_wait(cpu);
    }
}

static void flush(struct vcpu *cpu, const struct vcpu_flush *f, bool all_cpus)
{
    forget(cpu, f);
    if (all_cpus)
        ask_others(cpu->engine, cpu);
}

/* One that is not in guest code does what it was asked for before it goes back there. */
static bool is_behind(const struct engine_cpu *ec, u32 asked)
{
    return atomic_load(&ec->in_guest) && (s32)(atomic_load(&ec->flush_done) - asked) < 0;
}

/* Two that wait for each other serve each other. */
static void flush_wait(struct vcpu *cpu)
{
    for (struct engine_cpu *ec = cpu->engine->cpus; ec; ec = ec->next) {
        u32 asked = atomic_load(&ec->flush_asked);
        while (ec->vcpu != cpu && is_behind(ec, asked)) {
            flush_service(cpu);
            sched_yield();
        }
    }
}

void flush_clean(struct mem_listener *l)
{
    struct engine *en = container_of(l, struct engine, listener);
    ask_others(en, NULL);
    for (struct engine_cpu *ec = en->cpus; ec; ec = ec->next) {
        u32 asked = atomic_load(&ec->flush_asked);
        while (is_behind(ec, asked))
            sched_yield();
    }
}

static void ask_flush_wait(struct vcpu *cpu)
{
    bool behind = false;
    for (struct engine_cpu *ec = cpu->engine->cpus; ec; ec = ec->next)
        behind |= ec->vcpu != cpu && is_behind(ec, atomic_load(&ec->flush_asked));
    if (!behind)
        return;
    engine_cpu(cpu)->flush_waits = true;
    vcpu_kick(cpu);
}

static void switch_context(struct vcpu *cpu)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    engine_count(cpu, EVENT_SWITCH);
    if (ec->mmu)
        mmu_switch_context(ec->mmu);
    if (ec->tlb)
        tlb_switch_context(cpu);
    if (ec->jumps)
        jumps_select(cpu);
}

/* The interpreter compares code with what it was made from each time it runs. */
static void code_changed(struct vcpu *cpu, u64 phys, u64 bytes)
{
    struct engine *en = cpu->engine;
    if (!compiles(cpu))
        return;
    pthread_mutex_lock(&en->lock);
    if (!bytes)
        cache_flush(&en->cache);
    if (!bytes || cache_invalidate(&en->cache, phys, bytes))
        engine_ask_flush(en);
    pthread_mutex_unlock(&en->lock);
}

/* A place stays known when the breakpoint goes: it is likely to come back, such as at the next switch of tasks. */
static void break_at(struct vcpu *cpu, u64 pc)
{
    struct engine *en = cpu->engine;
    pthread_mutex_lock(&en->lock);
    engine_add_site(en, &en->breaks, pc);
    pthread_mutex_unlock(&en->lock);
}

static bool lands(const struct vcpu *cpu)
{
    return atomic_load(&cpu->engine->guards);
}

static bool guarded(struct vcpu *cpu, u64 pc)
{
    struct mmu_page p;
    unsigned mode = cpu->isa->system->mode(cpu->env->key);
    return mmu_page(engine_cpu(cpu)->mmu, mode, pc, IR_ACCESS_EXEC, &p) && p.guarded;
}

static bool reach(struct vcpu *cpu, u64 addr, unsigned access, u64 *phys)
{
    struct mmu_page p;
    unsigned mode = cpu->isa->system->mode(cpu->env->key);
    if (!mmu_page(engine_cpu(cpu)->mmu, mode, addr, access, &p))
        return false;
    *phys = p.phys + (addr & ((1u << IR_PAGE_BITS) - 1));
    return true;
}

const struct vcpu_ops machine_ops = {
    .reach = reach,
    .flush = flush,
    .flush_wait = flush_wait,
    .ask_flush_wait = ask_flush_wait,
    .ask_leave = vcpu_kick,
    .lands = lands,
    .guarded = guarded,
    .break_at = break_at,
    .switch_context = switch_context,
    .code_changed = code_changed,
};
