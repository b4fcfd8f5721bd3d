#include "event/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

struct loop {
    int epoll, wake;
    struct loop_task *first, **last;    /* deferred, in order */
    struct loop_task *posted;           /* by other threads, newest first: atomic */
    bool asleep;                        /* atomic: whoever posts must write to `wake` */
    struct loop_timer **heap;           /* heap[0] fires first */
    size_t timers, timer_cap;
    struct loop_source *sources;
};

struct loop *loop_new(struct err *e)
{
    struct loop *l = xcalloc(1, sizeof(*l));
    l->last = &l->first;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN};
    if (l->epoll < 0 || l->wake < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wake, &ev)) {
        err_set(e, errno, "cannot make an event loop: %s", strerror(errno));
        loop_free(l);
        return NULL;
    }
    return l;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    if (l->epoll >= 0)
        close(l->epoll);
    if (l->wake >= 0)
        close(l->wake);
    free(l->heap);
    free(l);
}

void loop_defer(struct loop *l, struct loop_task *t)
{
    t->next = NULL;
    *l->last = t;
    l->last = &t->next;
}

void loop_post(struct loop *l, struct loop_task *t)
{
    struct loop_task *head = __atomic_load_n(&l->posted, __ATOMIC_RELAXED);
    do
        t->next = head;
    while (!__atomic_compare_exchange_n(&l->posted, &head, t, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST));
    if (__atomic_load_n(&l->asleep, __ATOMIC_SEQ_CST)) {
        u64 one = 1;
        ssize_t n = write(l->wake, &one, sizeof(one));
        (void)n; /* a full counter wakes as well */
    }
}

/* Take over what other threads have posted, in the order in which they did. */
static void take_posted(struct loop *l)
{
    if (!__atomic_load_n(&l->posted, __ATOMIC_RELAXED))
        return;
    struct loop_task *t = __atomic_exchange_n(&l->posted, NULL, __ATOMIC_SEQ_CST), *in_order = NULL;
    while (t) {
        struct loop_task *next = t->next;
        t->next = in_order;
        in_order = t;
        t = next;
    }
    while (in_order) {
        t = in_order;
        in_order = t->next;
        loop_defer(l, t);
    }
}

static bool run_deferred(struct loop *l)
{
    struct loop_task *t = l->first;
    l->first = NULL;
    l->last = &l->first;
    bool any = t != NULL;
    while (t) {
        struct loop_task *next = t->next;
        t->run(t);
        t = next;
    }
    return any;
}

/* ---- timers: a binary heap ---- */

u64 loop_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static void heap_put(struct loop *l, size_t i, struct loop_timer *t)
{
    l->heap[i] = t;
    t->index = i + 1;
}

static void heap_up(struct loop *l, size_t i, struct loop_timer *t)
{
    while (i && l->heap[(i - 1) / 2]->when > t->when) {
        heap_put(l, i, l->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_put(l, i, t);
}

static void heap_down(struct loop *l, size_t i, struct loop_timer *t)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < l->timers && l->heap[child + 1]->when < l->heap[child]->when)
            child++;
        if (child >= l->timers || l->heap[child]->when >= t->when)
            break;
        heap_put(l, i, l->heap[child]);
        i = child;
    }
    heap_put(l, i, t);
}

void loop_timer_set(struct loop *l, struct loop_timer *t, u64 when)
{
    loop_timer_cancel(l, t);
    t->when = when;
    VEC_PUSH(l->heap, l->timers, l->timer_cap) = t;
    heap_up(l, l->timers - 1, t);
}

void loop_timer_cancel(struct loop *l, struct loop_timer *t)
{
    if (!t->index)
        return;
    size_t i = t->index - 1;
    t->index = 0;
    struct loop_timer *moved = l->heap[--l->timers];
    if (moved == t)
        return;
    if (i && l->heap[(i - 1) / 2]->when > moved->when)
        heap_up(l, i, moved);
    else
        heap_down(l, i, moved);
}

static bool run_timers(struct loop *l)
{
    if (!l->timers)
        return false;
    u64 now = loop_now();
    bool any = false;
    while (l->timers && l->heap[0]->when <= now) {
        struct loop_timer *t = l->heap[0];
        loop_timer_cancel(l, t);
        t->fire(t);
        any = true;
    }
    return any;
}

/* Milliseconds until the first timer, rounded up; -1: none. */
static int until_timer(struct loop *l)
{
    if (!l->timers)
        return -1;
    u64 now = loop_now(), when = l->heap[0]->when;
    return when <= now ? 0 : (int)MIN((when - now + 999999) / 1000000, 3600000u);
}

/* ---- descriptors and sources ---- */

bool loop_fd_add(struct loop *l, struct loop_fd *f, u32 events, struct err *e)
{
    struct epoll_event ev = {.events = events, .data.ptr = f};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, f->fd, &ev))
        return err_set(e, errno, "cannot watch a descriptor: %s", strerror(errno));
    return true;
}

void loop_fd_change(struct loop *l, struct loop_fd *f, u32 events)
{
    struct epoll_event ev = {.events = events, .data.ptr = f};
    epoll_ctl(l->epoll, EPOLL_CTL_MOD, f->fd, &ev);
}

void loop_fd_remove(struct loop *l, struct loop_fd *f)
{
    epoll_ctl(l->epoll, EPOLL_CTL_DEL, f->fd, NULL);
}

void loop_source_add(struct loop *l, struct loop_source *s)
{
    s->next = l->sources;
    l->sources = s;
}

void loop_source_remove(struct loop *l, struct loop_source *s)
{
    struct loop_source **p = &l->sources;
    while (*p && *p != s)
        p = &(*p)->next;
    if (*p)
        *p = s->next;
}

static bool poll_sources(struct loop *l)
{
    bool any = false;
    for (struct loop_source *s = l->sources; s; s = s->next)
        any |= s->poll(s);
    return any;
}

enum { FDS_AT_ONCE = 64 };

/* Wait for descriptors. One event at a time: a callback may remove any descriptor. Not for ever: what it
 * does may be left to the others to take up. */
static void wait_fds(struct loop *l, int timeout)
{
    struct epoll_event ev;
    for (unsigned i = 0; i < FDS_AT_ONCE && epoll_wait(l->epoll, &ev, 1, timeout) == 1; i++) {
        struct loop_fd *f = ev.data.ptr;
        if (f) {
            f->ready(f, ev.events);
        } else {
            u64 count;
            ssize_t n = read(l->wake, &count, sizeof(count));
            (void)n;
        }
        if (timeout)
            break;
    }
}

void loop_turn(struct loop *l, bool block)
{
    take_posted(l);
    bool any = run_deferred(l);
    any |= poll_sources(l);
    any |= run_timers(l);
    if (any || l->first || !block)
        return;
    __atomic_store_n(&l->asleep, true, __ATOMIC_SEQ_CST);
    bool more = __atomic_load_n(&l->posted, __ATOMIC_SEQ_CST);
    wait_fds(l, more ? 0 : until_timer(l));
    __atomic_store_n(&l->asleep, false, __ATOMIC_SEQ_CST);
}

void loop_until(struct loop *l, const bool *done)
{
    for (unsigned turn = 1; !*done; turn++) {
        loop_turn(l, true);
        if (turn % 64 == 0) /* a loop that is always busy looks at its descriptors, too */
            wait_fds(l, 0);
    }
}

struct nap {
    struct loop_timer timer;
    bool over;
};

static void nap_over(struct loop_timer *t)
{
    container_of(t, struct nap, timer)->over = true;
}

void loop_sleep(struct loop *l, u64 when)
{
    struct nap nap = {.timer.fire = nap_over};
    loop_timer_set(l, &nap.timer, when);
    loop_until(l, &nap.over);
}
