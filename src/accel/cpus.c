#include "accel/cpus.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/current.h"
#include "base/mem.h"
#include "cpu/system.h"
#include "event/vclock.h"

#define SIGNAL_STACK 65536
#define PAUSE_NS 50000 /* a guest that spins waiting for an event gives its host CPU away for so long */

struct one {
    struct cpus *of;
    struct vcpu *vcpu;
    struct cpu_port port;
    pthread_t thread;
    bool has_thread;
    pid_t tid; /* under the lock; 0: it has not begun */
    bool waits; /* the guest does, for an interrupt; the thread's own */
    u8 signal_stack[SIGNAL_STACK]; /* translated code has none that handlers could run on */
    _Atomic bool leave; /* out of guest code: something below has changed */

    /* Under the lock. */
    enum cpu_power_state power;
    u64 pc, arg; /* where it starts, while POWER_PENDING */
    bool stands; /* no guest code runs */
};

struct cpus {
    struct engine *en;
    struct cpus_opts opts;
    struct cpu_power power;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool running, ending;
    struct one *one;
};

/* ---- one vCPU ---- */

static const struct isa_system *system_of(const struct one *o)
{
    return o->vcpu->isa->system;
}

static void sleep_until_woken(struct one *o)
{
    const struct isa_system *s = system_of(o);
    while (!atomic_load(&o->leave) && !s->wakes(o->vcpu))
        cpu_port_sleep(&o->port, s->wakes, 0);
    o->waits = !s->wakes(o->vcpu);
}

static void pause_a_moment(struct one *o)
{
    cpu_port_sleep(&o->port, system_of(o)->wakes, PAUSE_NS);
    atomic_store(&o->port.event, false);
}

/* Until it is to leave. */
static void run_guest(struct one *o)
{
    const struct isa_system *s = system_of(o);
    while (!atomic_load(&o->leave)) {
        if (o->waits) {
            sleep_until_woken(o);
            continue;
        }
        struct vcpu_exit exit;
        s->interrupt(o->vcpu);
        vcpu_run(o->vcpu, &exit);
        if (exit.kind == VCPU_EXIT_REQUEST)
            continue;
        enum isa_next next = s->exit(o->vcpu, &exit);
        o->waits = next == ISA_NEXT_WAIT;
        if (next == ISA_NEXT_PAUSE)
            pause_a_moment(o);
    }
}

static bool may_run(const struct one *o)
{
    return o->of->running && o->power != CPU_POWER_OFF;
}

static void *thread(void *opaque)
{
    struct one *o = opaque;
    struct cpus *c = o->of;
    current_set(&o->port); /* whose access a device sees */
    stack_t before; /* a sanitizer's, which it takes back */
    sigaltstack(&(stack_t){.ss_sp = o->signal_stack, .ss_size = sizeof(o->signal_stack)}, &before);
    pthread_mutex_lock(&c->lock);
    o->tid = gettid();
    pthread_cond_broadcast(&c->changed);
    while (!c->ending) {
        if (!may_run(o)) {
            o->stands = true;
            pthread_cond_broadcast(&c->changed);
            pthread_cond_wait(&c->changed, &c->lock);
            continue;
        }
        o->stands = false;
        if (o->power == CPU_POWER_PENDING) {
            system_of(o)->reset(o->vcpu, o->port.index);
            system_of(o)->start(o->vcpu, o->pc, o->arg);
            o->waits = false;
            o->power = CPU_POWER_ON;
        }
        atomic_store(&o->leave, false);
        pthread_mutex_unlock(&c->lock);
        run_guest(o);
        pthread_mutex_lock(&c->lock);
    }
    o->stands = true;
    pthread_mutex_unlock(&c->lock);
    sigaltstack(&before, NULL);
    return NULL;
}

/* ---- power, as guests ask for it ---- */

/* Have the thread look at what has changed. Under the lock. */
static void nudge(struct one *o)
{
    atomic_store(&o->leave, true);
    cpu_port_kick(&o->port);
    pthread_cond_broadcast(&o->of->changed);
}

static enum cpu_power_result power_start(void *opaque, unsigned index, u64 pc, u64 arg)
{
    struct cpus *c = opaque;
    enum cpu_power_result r = CPU_POWER_OK;
    if (index >= c->opts.count)
        return CPU_POWER_NO_SUCH;
    struct one *o = &c->one[index];
    pthread_mutex_lock(&c->lock);
    if (o->power != CPU_POWER_OFF) {
        r = o->power == CPU_POWER_ON ? CPU_POWER_ALREADY_ON : CPU_POWER_STARTING;
    } else {
        o->power = CPU_POWER_PENDING;
        o->pc = pc;
        o->arg = arg;
        nudge(o);
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

static void power_stop(void *opaque, unsigned index)
{
    struct cpus *c = opaque;
    pthread_mutex_lock(&c->lock);
    c->one[index].power = CPU_POWER_OFF;
    nudge(&c->one[index]);
    pthread_mutex_unlock(&c->lock);
}

static enum cpu_power_state power_state(void *opaque, unsigned index)
{
    struct cpus *c = opaque;
    pthread_mutex_lock(&c->lock);
    enum cpu_power_state s = c->one[index].power;
    pthread_mutex_unlock(&c->lock);
    return s;
}

static void system_off(void *opaque)
{
    struct cpus *c = opaque;
    c->opts.system_off(c->opts.opaque);
}

static void system_reset(void *opaque)
{
    struct cpus *c = opaque;
    c->opts.system_reset(c->opts.opaque);
}

static void send_event(void *opaque)
{
    struct cpus *c = opaque;
    for (unsigned i = 0; i < c->opts.count; i++)
        cpu_port_event(&c->one[i].port);
}

/* ---- all ---- */

static bool start_one(struct cpus *c, unsigned i, struct err *e)
{
    struct one *o = &c->one[i];
    sigset_t all, old;
    o->of = c;
    o->vcpu = vcpu_new(c->en, c->opts.model, e);
    if (!o->vcpu)
        return false;
    cpu_port_init(&o->port, o->vcpu, i);
    o->vcpu->port = &o->port;
    o->port.power = &c->power;
    o->port.clock = c->opts.clock;
    o->power = CPU_POWER_OFF;
    o->stands = true;
    system_of(o)->reset(o->vcpu, i);
    sigfillset(&all);
    sigdelset(&all, SIGFPE); /* what translated code may raise */
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGILL);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    o->has_thread = !pthread_create(&o->thread, NULL, thread, o);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return o->has_thread || err_set(e, EAGAIN, "cannot start a thread for CPU %u", i);
}

struct cpus *cpus_new(struct engine *en, const struct cpus_opts *opts, struct err *e)
{
    struct cpus *c = xcalloc(1, sizeof(*c));
    c->en = en;
    c->opts = *opts;
    c->one = xcalloc(opts->count, sizeof(*c->one));
    c->power = (struct cpu_power){
        .start = power_start,
        .stop = power_stop,
        .state = power_state,
        .system_off = system_off,
        .system_reset = system_reset,
        .send_event = send_event,
        .opaque = c,
        .count = opts->count,
        .conduit = opts->conduit,
    };
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    for (unsigned i = 0; i < opts->count; i++) {
        if (!start_one(c, i, e)) {
            cpus_free(c);
            return NULL;
        }
    }
    return c;
}

void cpus_free(struct cpus *c)
{
    if (!c)
        return;
    cpus_pause(c);
    pthread_mutex_lock(&c->lock);
    c->ending = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    for (unsigned i = 0; i < c->opts.count; i++) {
        struct one *o = &c->one[i];
        if (o->has_thread)
            pthread_join(o->thread, NULL);
        if (!o->vcpu)
            continue;
        vcpu_free(o->vcpu); /* timers first: they use the port */
        cpu_port_destroy(&o->port);
    }
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c->one);
    free(c);
}

struct cpu_port *cpus_port(struct cpus *c, unsigned index)
{
    return &c->one[index].port;
}

struct vcpu *cpus_vcpu(struct cpus *c, unsigned index)
{
    return c->one[index].vcpu;
}

pid_t cpus_thread(struct cpus *c, unsigned index)
{
    struct one *o = &c->one[index];
    pthread_mutex_lock(&c->lock);
    while (!o->tid)
        pthread_cond_wait(&c->changed, &c->lock);
    pid_t tid = o->tid;
    pthread_mutex_unlock(&c->lock);
    return tid;
}

bool cpus_power_on(struct cpus *c, unsigned index, u64 pc, u64 arg)
{
    return power_start(c, index, pc, arg) == CPU_POWER_OK;
}

void cpus_resume(struct cpus *c)
{
    pthread_mutex_lock(&c->lock);
    c->running = true;
    vclock_start(c->opts.clock);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static bool all_stand(const struct cpus *c)
{
    bool all = true;
    for (unsigned i = 0; i < c->opts.count; i++)
        all &= c->one[i].stands || !c->one[i].has_thread;
    return all;
}

void cpus_pause(struct cpus *c)
{
    pthread_mutex_lock(&c->lock);
    c->running = false;
    for (unsigned i = 0; i < c->opts.count; i++) {
        if (c->one[i].has_thread)
            nudge(&c->one[i]);
    }
    while (!all_stand(c))
        pthread_cond_wait(&c->changed, &c->lock);
    vclock_stop(c->opts.clock);
    pthread_mutex_unlock(&c->lock);
}

void cpus_reset(struct cpus *c)
{
    pthread_mutex_lock(&c->lock);
    for (unsigned i = 0; i < c->opts.count; i++) {
        struct one *o = &c->one[i];
        o->power = CPU_POWER_OFF;
        o->waits = false;
        atomic_store(&o->port.event, false);
        system_of(o)->reset(o->vcpu, i);
    }
    pthread_mutex_unlock(&c->lock);
}
