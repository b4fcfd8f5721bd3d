/* Filters with several children that hold the same: quorum, where the majority is right, and blkverify,
 * where a difference is an error. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/filter/filter.h"

enum { MAX_CHILDREN = 32 };

struct quorum {
    struct node *children[MAX_CHILDREN];
    unsigned count, threshold;
    bool rewrite, fifo;
};

struct vote {
    struct blk_req r;
    struct iovec iov;
    struct blk_status status;
    struct ballot *b;
};

/* A request, asked of all children. */
struct ballot {
    struct blk_req *from;
    struct quorum *q;
    unsigned pending, next; /* next: of fifo */
    bool rewriting;
    struct vote votes[];
};

static void ballot_end(struct ballot *b, int error)
{
    struct blk_req *from = b->from;
    for (unsigned i = 0; i < b->q->count; i++)
        free(b->votes[i].iov.iov_base);
    free(b);
    node_done(from, error);
}

static bool same(const struct vote *a, const struct vote *b)
{
    return !a->r.error && !b->r.error && !memcmp(a->iov.iov_base, b->iov.iov_base, a->iov.iov_len);
}

/* How many agree with vote i. */
static unsigned supporters(const struct ballot *b, unsigned i)
{
    unsigned n = 0;
    for (unsigned k = 0; k < b->q->count; k++)
        n += same(&b->votes[i], &b->votes[k]);
    return n;
}

/* The first error of those there are, when too few have succeeded. */
static int outvoted(const struct ballot *b)
{
    unsigned good = 0;
    int error = EIO;
    for (unsigned i = 0; i < b->q->count; i++) {
        good += !b->votes[i].r.error;
        error = b->votes[i].r.error ? b->votes[i].r.error : error;
    }
    return good >= b->q->threshold ? 0 : error;
}

static void vote_done(struct blk_req *r);

/* Write what the majority has to those that have something else. */
static void rewrite_others(struct ballot *b, unsigned winner)
{
    b->rewriting = true;
    b->pending = 1;
    for (unsigned i = 0; i < b->q->count; i++) {
        struct vote *v = &b->votes[i];
        if (same(v, &b->votes[winner]))
            continue;
        memcpy(v->iov.iov_base, b->votes[winner].iov.iov_base, v->iov.iov_len);
        v->r = (struct blk_req){.op = BLK_WRITE, .offset = b->from->offset, .len = b->from->len, .iov = &v->iov, .niov = 1, .done = vote_done};
        b->pending++;
        node_submit_part(b->q->children[i], &v->r, b->from);
    }
    if (!--b->pending)
        ballot_end(b, 0);
}

static void count_reads(struct ballot *b)
{
    struct blk_req *from = b->from;
    for (unsigned i = 0; i < b->q->count; i++) {
        unsigned n = supporters(b, i);
        if (n < b->q->threshold)
            continue;
        iov_from(from->iov, from->niov, 0, b->votes[i].iov.iov_base, from->len);
        if (b->q->rewrite && n < b->q->count)
            rewrite_others(b, i);
        else
            ballot_end(b, 0);
        return;
    }
    err_set(&from->node->error, EIO, "the children do not agree on %llu bytes at %llu", (unsigned long long)from->len,
            (unsigned long long)from->offset);
    ballot_end(b, EIO);
}

static void ask(struct ballot *b, unsigned i);

static void vote_done(struct blk_req *r)
{
    struct vote *v = container_of(r, struct vote, r);
    struct ballot *b = v->b;
    struct blk_req *from = b->from;
    if (b->q->fifo && from->op == BLK_READ && !b->rewriting && r->error && b->next < b->q->count) {
        ask(b, b->next++);
        return;
    }
    if (--b->pending)
        return;
    if (from->op != BLK_READ || b->rewriting)
        ballot_end(b, b->rewriting ? 0 : outvoted(b));
    else if (!b->q->fifo)
        count_reads(b);
    else if (!r->error)
        iov_from(from->iov, from->niov, 0, v->iov.iov_base, from->len), ballot_end(b, 0);
    else
        ballot_end(b, r->error);
}

static void ask(struct ballot *b, unsigned i)
{
    struct vote *v = &b->votes[i];
    v->b = b;
    v->r = (struct blk_req){.op = b->from->op, .flags = b->from->flags, .offset = b->from->offset, .len = b->from->len,
                            .iov = b->from->iov, .niov = b->from->niov, .done = vote_done, .status = &v->status};
    if (b->from->op == BLK_READ) {
        v->iov = (struct iovec){xmalloc(b->from->len), b->from->len};
        v->r.iov = &v->iov;
        v->r.niov = 1;
    }
    node_submit_part(b->q->children[i], &v->r, b->from);
}

static void quorum_submit(struct node *n, struct blk_req *r)
{
    struct quorum *q = n->state;
    if (r->op == BLK_PULL) {
        node_done_later(r, 0);
        return;
    }
    if (r->op == BLK_STATUS) { /* what may differ has to be read */
        *r->status = (struct blk_status){.flags = STATUS_DATA | STATUS_ALLOCATED, .len = r->len};
        node_done_later(r, 0);
        return;
    }
    struct ballot *b = xcalloc(1, sizeof(*b) + q->count * sizeof(b->votes[0]));
    b->from = r;
    b->q = q;
    if (q->fifo && r->op == BLK_READ) {
        b->pending = b->next = 1;
        ask(b, 0);
        return;
    }
    b->pending = q->count;
    for (unsigned i = 0; i < q->count; i++)
        ask(b, i);
}

static bool quorum_close(struct node *n, struct err *e)
{
    struct quorum *q = n->state;
    bool good = true;
    for (unsigned i = 0; q && i < q->count; i++)
        good = node_close(q->children[i], good ? e : NULL) && good;
    free(q);
    return good;
}

static bool quorum_truncate(struct node *n, u64 size, enum prealloc p, struct err *e)
{
    struct quorum *q = n->state;
    for (unsigned i = 0; i < q->count; i++) {
        if (!node_truncate(q->children[i], size, p, e))
            return false;
    }
    n->size = q->children[0]->size;
    return true;
}

static bool add_child(struct node *n, const char *name, const char *format, struct json *options, u32 flags, struct err *e)
{
    struct quorum *q = n->state;
    struct node *c = node_open_child(n, name, NULL, format, options, flags, e);
    if (!c)
        return false;
    q->children[q->count++] = c;
    if (q->count == 1)
        n->size = c->size;
    return c->size == n->size || err_set(e, EINVAL, "the children of '%s' differ in size: %llu and %llu bytes", n->drv->name,
                                         (unsigned long long)n->size, (unsigned long long)c->size);
}

static bool quorum_open(struct node *n, struct json *options, u32 flags, struct err *e)
{
    struct quorum *q = xcalloc(1, sizeof(*q));
    n->filename = n->filename ? n->filename : xstrdup("quorum");
    u64 threshold = 0;
    bool verify = false;
    char *pattern = NULL;
    n->state = q;
    bool good = opt_size(options, "vote-threshold", &threshold, e) && opt_bool(options, "blkverify", &verify, e) &&
                opt_bool(options, "rewrite-corrupted", &q->rewrite, e) && opt_string(options, "read-pattern", &pattern, e);
    q->fifo = pattern && !strcmp(pattern, "fifo");
    if (good && pattern && !q->fifo && strcmp(pattern, "quorum"))
        good = err_set(e, EINVAL, "Please set read-pattern as fifo or quorum");
    free(pattern);
    for (unsigned i = 0; good && i < MAX_CHILDREN; i++) {
        char name[32];
        snprintf(name, sizeof(name), "children.%u", i);
        if (!opt_has_group(options, name))
            break;
        good = add_child(n, name, NULL, options, flags, e);
    }
    q->threshold = (unsigned)MIN(threshold, (u64)UINT32_MAX);
    if (good && !q->count)
        good = err_set(e, EINVAL, "Number of provided children must be 1 or more");
    if (good && (!q->threshold || q->threshold > q->count))
        good = err_set(e, EINVAL, q->threshold ? "threshold may not exceed children count" : "Parameter 'vote-threshold' expects a value >= 1");
    if (good && verify && (q->count != 2 || q->threshold != 2))
        good = err_set(e, EINVAL, "blkverify=on can only be set if there are exactly two files and vote-threshold is 2");
    return good;
}

const struct driver driver_quorum = {
    .name = "quorum",
    .kind = NODE_FILTER,
    .open = quorum_open,
    .close = quorum_close,
    .submit = quorum_submit,
    .truncate = quorum_truncate,
    .fua = true,
};

/* blkverify: "raw", to which it must be equal, and "test". */
static bool verify_open(struct node *n, struct json *options, u32 flags, struct err *e)
{
    struct quorum *q = xcalloc(1, sizeof(*q));
    n->state = q;
    n->filename = n->filename ? n->filename : xstrdup("blkverify");
    q->threshold = 2;
    return add_child(n, "raw", "file", options, flags, e) && add_child(n, "test", NULL, options, flags, e);
}

const struct driver driver_blkverify = {
    .name = "blkverify",
    .kind = NODE_FILTER,
    .open = verify_open,
    .close = quorum_close,
    .submit = quorum_submit,
    .truncate = quorum_truncate,
    .fua = true,
};
