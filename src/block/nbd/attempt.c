#include "block/nbd/attempt.h"

#include <stdlib.h>

#include "base/mem.h"
#include "block/node.h"

/* A server that accepts and then says nothing is given up after this. */
enum { PATIENCE_S = 30 };

struct nbd_attempt {
    struct pool_job job;
    struct block_graph *g;
    struct loop *loop; /* of the worker, while it works */
    struct nbd_conn conn;
    const char *export, *context;
    void (*done)(void *opaque, bool good);
    void *opaque;
    struct loop_task abort; /* posted to `loop` */
    struct loop_timer timer;
    bool aborted, good;
};

/* Whoever waits for bytes goes on and finds that there is no connection. */
static void give_up(struct nbd_attempt *a)
{
    a->conn.over = a->conn.got = true;
}

static void abort_task(struct loop_task *t)
{
    give_up(container_of(t, struct nbd_attempt, abort));
}

static void timer_fired(struct loop_timer *t)
{
    give_up(container_of(t, struct nbd_attempt, timer));
}

static void work(struct pool_job *j)
{
    struct nbd_attempt *a = container_of(j, struct nbd_attempt, job);
    struct err e;
    loop_timer_set(a->loop, &a->timer, loop_now() + PATIENCE_S * 1000000000ull);
    a->good = nbd_connect(a->g, &a->conn, &e) && nbd_go(&a->conn, a->export, a->context, &e);
    loop_timer_cancel(a->loop, &a->timer);
    if (a->good)
        stream_detach(a->conn.stream);
}

static void job_done(struct pool_job *j)
{
    struct nbd_attempt *a = container_of(j, struct nbd_attempt, job);
    a->done(a->opaque, a->good);
}

struct nbd_attempt *nbd_attempt_start(struct block_graph *g, const struct nbd_conn *like, const char *export, const char *context,
                                      void (*done)(void *opaque, bool good), void *opaque)
{
    struct nbd_attempt *a = xcalloc(1, sizeof(*a));
    a->g = g;
    a->loop = loop_new(NULL);
    if (!a->loop) {
        free(a);
        return NULL;
    }
    a->conn = (struct nbd_conn){.address = like->address, .tls_creds = like->tls_creds, .hostname = like->hostname, .loop = a->loop};
    a->export = export;
    a->context = context;
    a->done = done;
    a->opaque = opaque;
    a->abort.run = abort_task;
    a->timer.fire = timer_fired;
    a->job = (struct pool_job){.work = work, .done = job_done};
    pool_submit(g->pool, &a->job);
    return a;
}

const struct nbd_conn *nbd_attempt_conn(const struct nbd_attempt *a)
{
    return &a->conn;
}

bool nbd_attempt_take(struct nbd_attempt *a, struct nbd_conn *to, struct err *e)
{
    struct loop *loop = block_graph_loop(a->g);
    struct nbd_conn *from = &a->conn;
    if (!stream_attach(from->stream, loop, to, e))
        return false;
    nbd_hang_up(to);
    to->stream = from->stream;
    to->loop = loop;
    to->structured = from->structured;
    to->extended = from->extended;
    to->no_zeroes = from->no_zeroes;
    to->fixed = from->fixed;
    to->over = false;
    to->flags = from->flags;
    to->min_block = from->min_block;
    to->preferred_block = from->preferred_block;
    to->max_block = from->max_block;
    to->context = from->context;
    from->stream = NULL;
    return true;
}

void nbd_attempt_abort(struct nbd_attempt *a)
{
    if (!a->aborted)
        loop_post(a->loop, &a->abort);
    a->aborted = true;
}

void nbd_attempt_free(struct nbd_attempt *a)
{
    nbd_hang_up(&a->conn);
    loop_turn(a->loop, false); /* the stream ends on the loop */
    loop_free(a->loop);
    free(a);
}
