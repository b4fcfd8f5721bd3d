/* The generic timer (Arm ARM, D11): the system counter is the machine's clock, and each CPU compares it with two
 * values. */
#include "isa/aarch64/system.h"

#define NS_PER_TICK (1000000000 / A64_CNTFRQ)

enum { CTL_ENABLE = 1, CTL_MASK = 2, CTL_STATUS = 4 };

u64 a64_counter(const struct vcpu *cpu)
{
    return vclock_now(cpu->port->clock) / NS_PER_TICK;
}

static u64 *ctl_of(const struct a64_timer *t)
{
    struct a64_el1 *e = &a64_of(t->of->cpu)->el1;
    return t->id == A64_TIMER_VIRTUAL ? &e->cntv_ctl : &e->cntp_ctl;
}

static u64 *cval_of(const struct a64_timer *t)
{
    struct a64_el1 *e = &a64_of(t->of->cpu)->el1;
    return t->id == A64_TIMER_VIRTUAL ? &e->cntv_cval : &e->cntp_cval;
}

static const struct wire *output_of(const struct a64_timer *t)
{
    return &t->of->cpu->port->output[t->id == A64_TIMER_VIRTUAL ? CPU_TIMER_VIRTUAL : CPU_TIMER_PHYSICAL];
}

/* Bring the output in line with the registers, and have this done again when the value is reached. An alarm that is
 * no longer wanted does no harm. */
static void update(struct a64_timer *t)
{
    struct vclock *clock = t->of->cpu->port->clock;
    u64 ctl = *ctl_of(t), cval = *cval_of(t);
    bool met = vclock_now(clock) / NS_PER_TICK >= cval;
    wire_set(output_of(t), (ctl & (CTL_ENABLE | CTL_MASK)) == CTL_ENABLE && met);
    if (ctl & CTL_ENABLE && !met && cval <= UINT64_MAX / NS_PER_TICK)
        vtimer_set(clock, &t->alarm, cval * NS_PER_TICK);
}

static void alarm(struct vtimer *v)
{
    struct a64_timer *t = (struct a64_timer *)(void *)v;
    pthread_mutex_lock(&t->of->lock);
    update(t);
    pthread_mutex_unlock(&t->of->lock);
}

static struct a64_timer *timer_of(struct vcpu *cpu, enum a64_timer_id id)
{
    return &((struct a64_cpu *)cpu->system)->timer[id];
}

static void set(struct vcpu *cpu, enum a64_timer_id id, u64 *at, u64 v)
{
    struct a64_timer *t = timer_of(cpu, id);
    pthread_mutex_lock(&t->of->lock);
    *at = v;
    update(t);
    pthread_mutex_unlock(&t->of->lock);
}

u64 a64_timer_ctl(struct vcpu *cpu, enum a64_timer_id id)
{
    const struct a64_timer *t = timer_of(cpu, id);
    u64 ctl = *ctl_of(t);
    return ctl & CTL_ENABLE && a64_counter(cpu) >= *cval_of(t) ? ctl | CTL_STATUS : ctl;
}

u64 a64_timer_tval(struct vcpu *cpu, enum a64_timer_id id)
{
    return (u32)(*cval_of(timer_of(cpu, id)) - a64_counter(cpu));
}

void a64_timer_set_ctl(struct vcpu *cpu, enum a64_timer_id id, u64 v)
{
    set(cpu, id, ctl_of(timer_of(cpu, id)), v & (CTL_ENABLE | CTL_MASK));
}

void a64_timer_set_cval(struct vcpu *cpu, enum a64_timer_id id, u64 v)
{
    set(cpu, id, cval_of(timer_of(cpu, id)), v);
}

void a64_timer_set_tval(struct vcpu *cpu, enum a64_timer_id id, u64 v)
{
    a64_timer_set_cval(cpu, id, a64_counter(cpu) + (u64)(s64)(s32)v);
}

void a64_timers_init(struct a64_cpu *c)
{
    pthread_mutex_init(&c->lock, NULL);
    for (unsigned i = 0; i < A64_TIMERS; i++)
        c->timer[i] = (struct a64_timer){.alarm.fire = alarm, .of = c, .id = (enum a64_timer_id)i};
}

void a64_timers_reset(struct a64_cpu *c)
{
    for (unsigned i = 0; i < A64_TIMERS; i++) {
        if (c->cpu->port->clock)
            vtimer_cancel(c->cpu->port->clock, &c->timer[i].alarm);
        wire_set(output_of(&c->timer[i]), false);
    }
}

void a64_timers_free(struct a64_cpu *c)
{
    for (unsigned i = 0; i < A64_TIMERS && c->cpu->port->clock; i++)
        vtimer_cancel(c->cpu->port->clock, &c->timer[i].alarm);
    pthread_mutex_destroy(&c->lock);
}
