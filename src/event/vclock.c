#include "event/vclock.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

struct vclock {
    enum vclock_kind kind;
    bool running, ending, has_thread;
    _Atomic u64 base;  /* while the host's clock is added: what that is behind by; else the time */
    _Atomic bool adds; /* the host's clock is added: running, and not by hand */
    _Atomic u32 changes; /* of the two above: odd while they change, under the lock */
    pthread_mutex_t lock;
    pthread_cond_t fired;   /* a timer's function has returned */
    struct vtimer *first, *firing;
    pthread_t firing_on; /* while firing is not NULL */
    pthread_t thread;
    int alarm;    /* timerfd that the thread waits for; -1: by hand */
    bool waits;   /* it does */
    u64 alarm_at; /* by the host's clock; 0: it is not set */
};

static u64 read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static u64 host_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

static u64 now(const struct vclock *c)
{
    if (c->kind == VCLOCK_HOST)
        return read_clock(CLOCK_REALTIME);
    return c->adds ? host_now() + c->base : c->base;
}

/* Guests read the time often, and from all CPUs. */
u64 vclock_now(struct vclock *c)
{
    for (;;) {
        u32 before = atomic_load(&c->changes);
        u64 time = now(c);
        if (!(before & 1) && atomic_load(&c->changes) == before)
            return time;
    }
}

/* Under the lock. */
static void set_time(struct vclock *c, u64 base, bool adds)
{
    atomic_fetch_add(&c->changes, 1);
    c->base = base;
    c->adds = adds;
    atomic_fetch_add(&c->changes, 1);
}

/* Run the first timer's function without the lock. */
static void fire_first(struct vclock *c)
{
    struct vtimer *t = c->first;
    c->first = t->next;
    if (t->next)
        t->next->prev = &c->first;
    t->prev = NULL;
    c->firing = t;
    c->firing_on = pthread_self();
    pthread_mutex_unlock(&c->lock);
    t->fire(t);
    pthread_mutex_lock(&c->lock);
    c->firing = NULL;
    pthread_cond_broadcast(&c->fired);
}

/* When the thread has something to do, by the host's clock; 0: never. */
static u64 due(const struct vclock *c)
{
    if (c->ending)
        return 1;
    return c->running && c->first ? MAX(c->first->when - c->base, (u64)1) : 0;
}

/* Have the thread, if it waits, wake up in time and not before: guests set timers more often than they fire, and the
 * kernel's timer is set without the thread. A clock that people set wakes it when they do. */
static void set_alarm(struct vclock *c)
{
    const int flags = TFD_TIMER_ABSTIME | (c->kind == VCLOCK_HOST ? TFD_TIMER_CANCEL_ON_SET : 0);
    u64 at = due(c);
    if (!c->waits || at == c->alarm_at)
        return;
    struct itimerspec t = {.it_value = {(time_t)(at / 1000000000), (long)(at % 1000000000)}};
    while (timerfd_settime(c->alarm, flags, &t, NULL) && errno == ECANCELED)
        ;
    c->alarm_at = at;
}

static void wait_for_alarm(struct vclock *c)
{
    u64 times;
    c->waits = true;
    set_alarm(c);
    pthread_mutex_unlock(&c->lock);
    while (read(c->alarm, &times, sizeof(times)) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&c->lock);
    c->waits = false;
    c->alarm_at = 0; /* or it is set again */
}

static void *run(void *opaque)
{
    struct vclock *c = opaque;
    pthread_mutex_lock(&c->lock);
    while (!c->ending) {
        if (c->running && c->first && c->first->when <= now(c))
            fire_first(c);
        else
            wait_for_alarm(c);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static bool start_thread(struct vclock *c)
{
    sigset_t all, old;
    c->alarm = timerfd_create(c->kind == VCLOCK_HOST ? CLOCK_REALTIME : CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (c->alarm < 0)
        return false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&c->thread, NULL, run, c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return !failed;
}

struct vclock *vclock_new(enum vclock_kind kind, struct err *e)
{
    struct vclock *c = xcalloc(1, sizeof(*c));
    c->kind = kind;
    c->adds = kind == VCLOCK_REAL;
    c->running = kind == VCLOCK_HOST || kind == VCLOCK_REAL;
    c->alarm = -1;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->fired, NULL);
    c->has_thread = kind != VCLOCK_BY_HAND && start_thread(c);
    if (c->has_thread || kind == VCLOCK_BY_HAND)
        return c;
    vclock_free(c);
    err_set(e, EAGAIN, "cannot start a thread for the machine's clock");
    return NULL;
}

void vclock_free(struct vclock *c)
{
    if (!c)
        return;
    if (c->has_thread) {
        pthread_mutex_lock(&c->lock);
        c->ending = true;
        set_alarm(c);
        pthread_mutex_unlock(&c->lock);
        pthread_join(c->thread, NULL);
    }
    if (c->alarm >= 0)
        close(c->alarm);
    pthread_cond_destroy(&c->fired);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* What vclock_now() gives does not jump. */
static void set_running(struct vclock *c, bool running)
{
    pthread_mutex_lock(&c->lock);
    u64 time = now(c);
    bool adds = running && c->kind == VCLOCK_VIRTUAL;
    c->running = running;
    set_time(c, adds ? time - host_now() : time, adds);
    set_alarm(c);
    pthread_mutex_unlock(&c->lock);
}

void vclock_start(struct vclock *c)
{
    set_running(c, true);
}

void vclock_stop(struct vclock *c)
{
    set_running(c, false);
}

static void take_out(struct vtimer *t)
{
    if (!t->prev)
        return;
    *t->prev = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->prev = NULL;
}

void vtimer_set(struct vclock *c, struct vtimer *t, u64 when)
{
    pthread_mutex_lock(&c->lock);
    take_out(t);
    t->when = when;
    struct vtimer **at = &c->first;
    while (*at && (*at)->when <= when)
        at = &(*at)->next;
    t->next = *at;
    t->prev = at;
    *at = t;
    if (t->next)
        t->next->prev = &t->next;
    set_alarm(c);
    pthread_mutex_unlock(&c->lock);
}

void vtimer_cancel(struct vclock *c, struct vtimer *t)
{
    pthread_mutex_lock(&c->lock);
    while (c->firing == t && !pthread_equal(c->firing_on, pthread_self()))
        pthread_cond_wait(&c->fired, &c->lock);
    take_out(t);
    pthread_mutex_unlock(&c->lock);
}

void vclock_step(struct vclock *c, u64 when)
{
    pthread_mutex_lock(&c->lock);
    while (c->first && c->first->when <= when) {
        set_time(c, MAX(c->base, c->first->when), false);
        fire_first(c);
    }
    set_time(c, MAX(c->base, when), false);
    pthread_mutex_unlock(&c->lock);
}

u64 vclock_next(struct vclock *c)
{
    pthread_mutex_lock(&c->lock);
    u64 when = c->first ? c->first->when : UINT64_MAX;
    pthread_mutex_unlock(&c->lock);
    return when;
}
