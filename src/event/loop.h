/* An event loop: deferred calls, calls posted by other threads, timers, file descriptors, and sources
 * of completions such as io_uring. One thread runs a loop; only loop_post() and loop_wake() may be
 * called from others. */
#ifndef LYRE_EVENT_LOOP_H
#define LYRE_EVENT_LOOP_H

#include "base/err.h"
#include "base/types.h"

struct loop;

/* A call to be made by the loop. It lies in the caller's object; once `run` is called it may be freed
 * or used again. */
struct loop_task {
    void (*run)(struct loop_task *t);
    struct loop_task *next;
};

struct loop_timer {
    void (*fire)(struct loop_timer *t);
    u64 when;       /* loop_now() at which it fires */
    size_t index;   /* place in the loop's heap + 1; 0: not set */
};

struct loop_fd {
    int fd;
    void (*ready)(struct loop_fd *f, u32 events); /* epoll's event bits */
};

/* Something that collects work while calls run and has completions of its own. `poll` hands out what
 * was collected, runs what has completed, and returns whether anything did. */
struct loop_source {
    bool (*poll)(struct loop_source *s);
    struct loop_source *next;
};

struct loop *loop_new(struct err *e);
void loop_free(struct loop *l);

/* Run what is ready; if nothing is and `block` is set, wait for the first event. */
void loop_turn(struct loop *l, bool block);

/* Turn until *done. */
void loop_until(struct loop *l, const bool *done);
/* Turn until it is `when`, by loop_now(). */
void loop_sleep(struct loop *l, u64 when);

void loop_defer(struct loop *l, struct loop_task *t);
void loop_post(struct loop *l, struct loop_task *t); /* from any thread */

/* The monotonic clock, in nanoseconds. */
u64 loop_now(void);
void loop_timer_set(struct loop *l, struct loop_timer *t, u64 when);
void loop_timer_cancel(struct loop *l, struct loop_timer *t);

bool loop_fd_add(struct loop *l, struct loop_fd *f, u32 events, struct err *e);
void loop_fd_change(struct loop *l, struct loop_fd *f, u32 events);
void loop_fd_remove(struct loop *l, struct loop_fd *f);

void loop_source_add(struct loop *l, struct loop_source *s);
void loop_source_remove(struct loop *l, struct loop_source *s);

#endif
