/* Lockstep now and then: every so many milliseconds each running vCPU leaves at a poll and runs some regions in
 * lockstep, alone, before it goes on as before. What is compared is made on the spot, as hot code mostly, and stays:
 * so long as a program runs, more and more of its code is translated anew and compared.
 *
 * A loop would keep a region of hot code for ever: interpreter and host code both leave at a poll of the same
 * number. */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "accel/engine_impl.h"
#include "jit/opt/legalise.h"

#define STEPS     16 /* regions in a row */
#define MAX_POLLS 8
#define FLAT_ONE_IN 4 /* first translations among the regions */

/* ---- alone ---- */

/* Every other vCPU is out of generated code until resume_others(). The caller's own is out of it. */
static void pause_others(struct engine *en, const struct engine_cpu *self)
{
    pthread_mutex_lock(&en->lockstep_lock);
    atomic_fetch_and(&self->vcpu->env->request, ~(u32)REQUEST_PAUSE);
    pthread_mutex_lock(&en->lock);
    for (struct engine_cpu *ec = en->cpus; ec; ec = ec->next) {
        if (ec != self)
            atomic_fetch_or(&ec->vcpu->env->request, REQUEST_PAUSE);
    }
    for (struct engine_cpu *ec = en->cpus; ec; ec = ec->next) {
        while (ec != self && atomic_load(&ec->in_code))
            sched_yield();
    }
    pthread_mutex_unlock(&en->lock);
}

static void resume_others(struct engine *en)
{
    pthread_mutex_lock(&en->lock);
    for (struct engine_cpu *ec = en->cpus; ec; ec = ec->next)
        atomic_fetch_and(&ec->vcpu->env->request, ~(u32)REQUEST_PAUSE);
    pthread_mutex_unlock(&en->lock);
    pthread_mutex_unlock(&en->lockstep_lock);
}

void sampled_wait(struct vcpu *cpu)
{
    struct engine *en = cpu->engine;
    pthread_mutex_lock(&en->lockstep_lock);
    atomic_fetch_and(&cpu->env->request, ~(u32)REQUEST_PAUSE);
    pthread_mutex_unlock(&en->lockstep_lock);
}

/* ---- one region ---- */

static bool form(struct vcpu *cpu, struct compiler *c, const struct code_at *code, bool hot, const struct ir_lowering *lowering)
{
    const struct hot_place at = {.pc = vcpu_pc(cpu), .at = *code, .key = cpu->env->key, .model = cpu->model};
    if (hot)
        return hot_form(cpu->engine, c, &at, lowering);
    return compiler_lift(c, cpu, at.pc, code, BLOCK_INSNS, lowering);
}

/* Host code for it, in the place of what there is. NULL when it does not fit. */
static struct jit_region *translate(struct vcpu *cpu, const struct code_at *code, bool hot)
{
    struct engine *en = cpu->engine;
    struct compiler *c = &en->compiler;
    const struct ir_lowering lowering = {en->host->has, opt_legalise, &en->host_cpu};
    c->buf.heat = 0;
    if (!form(cpu, c, code, hot, &lowering))
        return NULL;
    c->ir.neighbours = IR_SHARE_OR_COPY; /* or it would leave where they cannot share */
    compiler_verify(c, en);
    return compiler_allocate(c, en) ? hot_install(en, c, hot) : NULL;
}

/* False when there is nothing to compare. */
static bool step(struct vcpu *cpu)
{
    struct engine *en = cpu->engine;
    struct engine_cpu *ec = engine_cpu(cpu);
    bool hot = engine_random_below(ec, FLAT_ONE_IN);
    u32 polls = 1 + engine_random_below(ec, MAX_POLLS);
    struct code_at code = {0};
    bool global;
    if (en->opts.memory && !engine_find_code(cpu, vcpu_pc(cpu), &code, &global))
        return false;
    pthread_mutex_lock(&en->lock);
    const struct jit_region *r = form(cpu, ec->own, &code, hot, NULL) ? translate(cpu, &code, hot) : NULL;
    if (!r) {
        pthread_mutex_unlock(&en->lock);
        return false;
    }
    lockstep_predict(cpu, ec->own, polls);
    ec->polls = polls;
    atomic_fetch_or(&cpu->env->request, REQUEST_CHECK);
    jit_run_region(cpu, r);
    ec->polls = 0;
    atomic_fetch_and(&cpu->env->request, ~(u32)REQUEST_CHECK);
    en->stat_compared[hot] += lockstep_compare(cpu, ec->own);
    return true;
}

void sampled_check(struct vcpu *cpu)
{
    struct engine *en = cpu->engine;
    pause_others(en, engine_cpu(cpu));
    atomic_fetch_and(&cpu->env->request, ~(u32)REQUEST_CHECK);
    lockstep_prepare(cpu);
    for (unsigned i = 0; i < STEPS && step(cpu) && cpu->env->exit == IR_EXIT_LOOKUP; i++)
        ;
    resume_others(en);
}

/* ---- now and then ---- */

static void *ask(void *opaque)
{
    struct engine *en = opaque;
    const u32 ms = en->opts.lockstep_ms;
    while (!atomic_load(&en->stop)) {
        nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
        pthread_mutex_lock(&en->lock);
        for (struct engine_cpu *ec = en->cpus; ec; ec = ec->next) {
            if (atomic_load(&ec->in_code))
                atomic_fetch_or(&ec->vcpu->env->request, REQUEST_CHECK);
        }
        pthread_mutex_unlock(&en->lock);
    }
    return NULL;
}

void sampled_start(struct engine *en)
{
    sigset_t all, old;
    if (!en->opts.lockstep_ms || en->opts.kind != ENGINE_JIT || en->opts.one_insn)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    en->sampled_on = !pthread_create(&en->sampled_thread, NULL, ask, en);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void sampled_stop(struct engine *en)
{
    if (en->sampled_on)
        pthread_join(en->sampled_thread, NULL);
}
