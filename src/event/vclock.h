/* The clocks of a machine: its virtual time, which stands while the machine does, and, behind the same interface, times of
 * the host that do not. All are in nanoseconds. Timers run on a thread of the clock's own, or, when the clock is stepped by
 * hand (tests), on the thread that steps it. All functions may be called from any thread. */
#ifndef LYRE_EVENT_VCLOCK_H
#define LYRE_EVENT_VCLOCK_H

#include "base/err.h"
#include "base/types.h"

struct vclock;

/* Lies in its user's object. `fire` is called without a lock and may set the timer again. */
struct vtimer {
    void (*fire)(struct vtimer *t);
    u64 when;
    struct vtimer *next, **prev; /* of those that are set, in order; prev is NULL when it is not */
};

/* Virtual: stopped at 0. By hand: time passes by vclock_step() alone. Those of the host always run: its clock since 1970,
 * which people set, and its time since some moment, which nobody does. */
enum vclock_kind { VCLOCK_VIRTUAL, VCLOCK_BY_HAND, VCLOCK_HOST, VCLOCK_REAL };
struct vclock *vclock_new(enum vclock_kind kind, struct err *e);
void vclock_free(struct vclock *c);

u64 vclock_now(struct vclock *c);

/* Of virtual ones. */
void vclock_start(struct vclock *c);
void vclock_stop(struct vclock *c);

/* Have t->fire called when it is `when`, or soon if that has passed; takes the place of an earlier time. */
void vtimer_set(struct vclock *c, struct vtimer *t, u64 when);
/* After the call `fire` does not run and is not about to, unless it is what calls. */
void vtimer_cancel(struct vclock *c, struct vtimer *t);

/* Of a clock by hand: move on to `when`, running timers in order. */
void vclock_step(struct vclock *c, u64 when);
/* When the next timer is due; UINT64_MAX: none is set. */
u64 vclock_next(struct vclock *c);

#endif
