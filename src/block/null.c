/* null-co and null-aio: a disk that takes everything and holds nothing. */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "block/node.h"

struct null {
    bool zeroes;  /* reads fill the buffer */
    u64 latency;  /* nanoseconds */
};

/* A request that waits for its time. */
struct null_wait {
    struct loop_timer timer;
    struct blk_req *r;
};

static void null_fire(struct loop_timer *t)
{
    struct null_wait *w = container_of(t, struct null_wait, timer);
    struct blk_req *r = w->r;
    free(w);
    node_done(r, r->cancelled ? ECANCELED : 0);
}

static void null_submit(struct node *n, struct blk_req *r)
{
    const struct null *s = n->state;
    if (r->op == BLK_STATUS)
        *r->status = (struct blk_status){.flags = STATUS_ALLOCATED | STATUS_OFFSET | (s->zeroes ? STATUS_ZERO : STATUS_DATA),
                                         .len = r->len, .host = r->offset, .file = n};
    if (r->op == BLK_READ && s->zeroes)
        iov_zero(r->iov, r->niov, 0, r->len);
    if (!s->latency) {
        node_done_later(r, 0);
        return;
    }
    struct null_wait *w = xcalloc(1, sizeof(*w));
    w->r = r;
    w->timer.fire = null_fire;
    loop_timer_set(n->graph->loop, &w->timer, loop_now() + s->latency);
}

static bool null_open(struct node *n, struct json *options, u32 flags, struct err *e)
{
    struct null *s = xcalloc(1, sizeof(*s));
    n->state = s;
    n->size = (u64)1 << 30;
    if (!n->filename)
        n->filename = xprintf("%s://", n->drv->name);
    return opt_size(options, "size", &n->size, e) && opt_size(options, "latency-ns", &s->latency, e) &&
           opt_bool(options, "read-zeroes", &s->zeroes, e);
}

static bool null_close(struct node *n, struct err *e)
{
    free(n->state);
    return true;
}

const struct driver driver_null_co = {
    .name = "null-co",
    .kind = NODE_PROTOCOL,
    .open = null_open,
    .close = null_close,
    .submit = null_submit,
};

const struct driver driver_null_aio = {
    .name = "null-aio",
    .kind = NODE_PROTOCOL,
    .open = null_open,
    .close = null_close,
    .submit = null_submit,
};
