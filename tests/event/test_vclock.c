#include "check.h"

#include <stdatomic.h>
#include <time.h>

#include "event/vclock.h"

struct alarm {
    struct vtimer timer;
    struct vclock *clock;
    u64 again;       /* set it again for so much later, once */
    u64 at;          /* when it fired last */
    _Atomic unsigned fired;
};

static void fire(struct vtimer *t)
{
    struct alarm *a = (struct alarm *)(void *)t;
    a->at = vclock_now(a->clock);
    if (a->again)
        vtimer_set(a->clock, t, a->at + a->again);
    a->again = 0;
    atomic_fetch_add(&a->fired, 1);
}

TEST(steps_run_timers_in_order)
{
    struct vclock *c = vclock_new(VCLOCK_BY_HAND, NULL);
    struct alarm a = {{fire}, c, .again = 5}, b = {{fire}, c}, gone = {{fire}, c};
    vtimer_set(c, &b.timer, 30);
    vtimer_set(c, &a.timer, 10);
    vtimer_set(c, &gone.timer, 20);
    vtimer_cancel(c, &gone.timer);
    CHECK_EQ(vclock_next(c), 10);
    vclock_step(c, 12);
    CHECK_EQ(a.fired, 1);
    CHECK_EQ(a.at, 10);
    CHECK_EQ(vclock_now(c), 12);
    vclock_step(c, 40);
    CHECK_EQ(a.fired, 2);
    CHECK_EQ(a.at, 15);
    CHECK_EQ(b.at, 30);
    CHECK_EQ(gone.fired, 0);
    CHECK_EQ(vclock_next(c), UINT64_MAX);
    vclock_free(c);
}

TEST(a_timer_that_is_set_moves)
{
    struct vclock *c = vclock_new(VCLOCK_BY_HAND, NULL);
    struct alarm a = {{fire}, c};
    vtimer_set(c, &a.timer, 10);
    vtimer_set(c, &a.timer, 50);
    vclock_step(c, 20);
    CHECK_EQ(a.fired, 0);
    vclock_step(c, 50);
    CHECK_EQ(a.fired, 1);
    vclock_free(c);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void wait_for(const struct alarm *a, unsigned times)
{
    for (unsigned i = 0; i < 5000 && a->fired < times; i++)
        pause_ms(1);
    CHECK_EQ(a->fired, times);
}

/* The thread sleeps until a time that is changed meanwhile. */
TEST(timers_are_set_on_a_running_clock)
{
    struct err e;
    struct vclock *c = vclock_new(VCLOCK_VIRTUAL, &e);
    struct alarm late = {{fire}, c}, early = {{fire}, c};
    vclock_start(c);
    pause_ms(2);
    vtimer_set(c, &late.timer, 3600ull * 1000000000);
    pause_ms(2);
    vtimer_set(c, &early.timer, vclock_now(c) + 1000000);
    wait_for(&early, 1);
    vtimer_set(c, &early.timer, 7200ull * 1000000000);
    CHECK_EQ(late.fired, 0);
    vtimer_set(c, &late.timer, 1); /* has passed */
    wait_for(&late, 1);
    CHECK_EQ(early.fired, 1);
    vclock_free(c);
}

TEST(time_stands_while_the_clock_is_stopped)
{
    struct err e;
    struct vclock *c = vclock_new(VCLOCK_VIRTUAL, &e);
    struct alarm a = {{fire}, c};
    vtimer_set(c, &a.timer, 1000000);
    pause_ms(5);
    CHECK_EQ(vclock_now(c), 0);
    CHECK_EQ(a.fired, 0);
    vclock_start(c);
    wait_for(&a, 1);
    vclock_stop(c);
    CHECK_EQ(a.fired, 1);
    CHECK(a.at >= 1000000);
    u64 now = vclock_now(c);
    pause_ms(2);
    CHECK_EQ(vclock_now(c), now);
    vclock_free(c);
}

/* Those of the host agree with it, are not stopped, and fire. */
TEST(clocks_of_the_host)
{
    static const struct {
        enum vclock_kind kind;
        clockid_t id;
    } kinds[] = {{VCLOCK_HOST, CLOCK_REALTIME}, {VCLOCK_REAL, CLOCK_MONOTONIC}};
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        struct timespec t;
        struct err e;
        struct vclock *c = vclock_new(kinds[i].kind, &e);
        struct alarm a = {{fire}, c};
        u64 first = vclock_now(c);
        clock_gettime(kinds[i].id, &t);
        u64 host = (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
        CHECK(first <= host && host <= vclock_now(c));
        vtimer_set(c, &a.timer, vclock_now(c) + 2000000);
        wait_for(&a, 1);
        CHECK(a.at >= a.timer.when);
        vclock_free(c);
    }
}

TEST_MAIN()
