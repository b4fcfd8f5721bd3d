/* throttle: requests wait so that no more than so many bytes or operations pass in a second. The limits
 * are those of a group, which any number of filters share.
 *
 * Each limit is a bucket that leaks at its rate; a request goes when none is over its burst, and fills
 * them. Requests leave in the order in which they came. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/filter/filter.h"

struct throttle_group {
    char *id;
    struct throttle_limits limits;
    double level[THROTTLE_LIMITS]; /* of the buckets: bytes or operations */
    u64 leaked_at;                 /* loop_now() */
    struct waiting *first, **last;
    struct loop_timer timer;
    struct block_graph *g;
    struct throttle_group *next;
};

struct waiting {
    struct blk_req *r;
    struct node *n;
    struct waiting *next;
};

static struct throttle_group *find_group(struct block_graph *g, const char *id)
{
    struct throttle_group *t = g->throttle_groups;
    while (t && strcmp(t->id, id))
        t = t->next;
    return t;
}

void throttle_groups_free(struct block_graph *g)
{
    for (struct throttle_group *t = g->throttle_groups, *next; t; t = next) {
        next = t->next;
        loop_timer_cancel(g->loop, &t->timer);
        free(t->id);
        free(t);
    }
}

/* ---- buckets ---- */

static void leak(struct throttle_group *t)
{
    u64 now = loop_now();
    double seconds = (double)(now - t->leaked_at) * 1e-9;
    t->leaked_at = now;
    for (unsigned i = 0; i < THROTTLE_LIMITS; i++) {
        t->level[i] -= (double)t->limits.rate[i] * seconds;
        t->level[i] = MAX(t->level[i], 0.0);
    }
}

/* What a request adds to a bucket. */
static double weight(unsigned limit, const struct blk_req *r)
{
    static const bool bytes[] = {[BPS_TOTAL] = true, [BPS_READ] = true, [BPS_WRITE] = true};
    bool read = r->op == BLK_READ, write = r->op == BLK_WRITE || r->op == BLK_ZERO || r->op == BLK_DISCARD;
    bool counts = limit == BPS_TOTAL || limit == IOPS_TOTAL ? read || write : limit == BPS_READ || limit == IOPS_READ ? read : write;
    return !counts ? 0 : limit < ARRAY_LEN(bytes) && bytes[limit] ? (double)r->len : 1;
}

/* Nanoseconds until the request may go. */
static u64 delay(const struct throttle_group *t, const struct blk_req *r)
{
    double longest = 0;
    for (unsigned i = 0; i < THROTTLE_LIMITS; i++) {
        double rate = (double)t->limits.rate[i];
        /* as much as comes in a tenth of a second may pass at once, or the burst that is asked for */
        double room = t->limits.burst[i] ? (double)t->limits.burst[i] : rate / 10;
        if (t->limits.rate[i] && weight(i, r) != 0 && t->level[i] > room)
            longest = MAX(longest, (t->level[i] - room) / rate);
    }
    return (u64)(longest * 1e9);
}

static void let_go(struct throttle_group *t)
{
    while (t->first) {
        struct waiting *w = t->first;
        leak(t);
        u64 wait = w->r->cancelled ? 0 : delay(t, w->r);
        if (wait) {
            loop_timer_set(t->g->loop, &t->timer, loop_now() + wait + 1000);
            return;
        }
        t->first = w->next;
        if (!t->first)
            t->last = &t->first;
        for (unsigned i = 0; i < THROTTLE_LIMITS; i++)
            t->level[i] += w->r->cancelled ? 0 : weight(i, w->r);
        struct blk_req *r = w->r;
        struct node *n = w->n;
        free(w);
        if (r->cancelled)
            node_done_later(r, ECANCELED);
        else
            filter_pass(n, r, 0);
    }
}

static void timer_fires(struct loop_timer *timer)
{
    let_go(container_of(timer, struct throttle_group, timer));
}

bool block_throttle_group_set(struct block_graph *g, const char *id, const struct throttle_limits *l, struct err *e)
{
    struct throttle_group *t = find_group(g, id);
    for (unsigned i = 0; i < THROTTLE_LIMITS; i++) {
        if (l->rate[i] > 1000000000000000 || l->burst[i] > 1000000000000000)
            return err_set(e, EINVAL, "bps/iops/max values must be within [0, 1000000000000000]");
        if (l->burst[i] && l->burst[i] < l->rate[i])
            return err_set(e, EINVAL, "bps_max/iops_max cannot be lower than bps/iops");
    }
    if (!t) {
        t = xcalloc(1, sizeof(*t));
        t->id = xstrdup(id);
        t->g = g;
        t->last = &t->first;
        t->timer.fire = timer_fires;
        t->leaked_at = loop_now();
        t->next = g->throttle_groups;
        g->throttle_groups = t;
    }
    t->limits = *l;
    let_go(t);
    return true;
}

/* ---- the filter ---- */

static void throttle_submit(struct node *n, struct blk_req *r)
{
    struct throttle_group *t = n->state;
    if (r->op == BLK_FLUSH || r->op == BLK_STATUS) {
        filter_pass(n, r, 0);
        return;
    }
    struct waiting *w = xcalloc(1, sizeof(*w));
    w->r = r;
    w->n = n;
    *t->last = w;
    t->last = &w->next;
    if (t->first == w)
        let_go(t);
}

static void throttle_cancel(struct node *n, struct blk_req *r)
{
    let_go(n->state);
}

static bool throttle_open(struct node *n, struct json *options, u32 flags, struct err *e)
{
    char *id = NULL;
    if (!opt_string(options, "throttle-group", &id, e))
        return false;
    n->state = id ? find_group(n->graph, id) : NULL;
    if (!id)
        err_set(e, EINVAL, "Please specify a throttle group");
    else if (!n->state)
        err_set(e, ENOENT, "Throttle group '%s' does not exist", id);
    free(id);
    return n->state && filter_open_child(n, "file", options, flags, e);
}

const struct driver driver_throttle = {
    .name = "throttle",
    .kind = NODE_FILTER,
    .open = throttle_open,
    .close = filter_close_nothing, /* the group is the graph's */
    .submit = throttle_submit,
    .cancel = throttle_cancel,
    .truncate = filter_truncate,
    .fua = true,
};
