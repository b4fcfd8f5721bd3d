/* Requests from one node to the next, and waiting for them. */
#include "block/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/bitmap.h"
#include "block/format.h"

u64 node_size(const struct node *n)
{
    return n->size;
}

const char *node_format(const struct node *n)
{
    return n->drv->name;
}

const char *node_filename(const struct node *n)
{
    return n->filename;
}

bool node_read_only(const struct node *n)
{
    return !(n->flags & OPEN_WRITE);
}

struct node *node_file(const struct node *n)
{
    return n->file;
}

struct node *node_backing(const struct node *n)
{
    return n->backing;
}

bool node_probed(const struct node *n)
{
    return n->probed;
}

bool node_is_device(const struct node *n)
{
    return n->device;
}

bool node_has_bitmaps(const struct node *n)
{
    return n->drv->bitmap_room;
}

const char *node_error_text(const struct node *n)
{
    return n->error.text;
}

bool node_peek(const struct node *n, u64 offset, void *buf, u64 len)
{
    return n->drv->peek && n->drv->peek(n, offset, buf, len);
}

bool node_is_plain(const struct node *n)
{
    return n->drv->kind == NODE_PROTOCOL || (n->drv->kind == NODE_FORMAT && node_is_plain(n->file) &&
           (!n->data || node_is_plain(n->data)) && (!n->backing || node_is_plain(n->backing)));
}

bool node_writes_at_once(const struct node *n)
{
    return n->at_once || (n->fmt && !n->fmt->encrypted && node_writes_at_once(n->data ? n->data : n->file));
}

/* ---- requests ---- */

static bool changes(const struct blk_req *r)
{
    return r->op == BLK_WRITE || r->op == BLK_ZERO || r->op == BLK_DISCARD;
}

static void leave_whole(struct blk_req *r)
{
    if (!r->whole)
        return;
    *r->this_part = r->next_part;
    if (r->next_part)
        r->next_part->this_part = r->this_part;
    r->whole = NULL;
}

static void end_request(struct blk_req *r, int error)
{
    struct node *n = r->node;
    leave_whole(r);
    r->error = error;
    n->inflight--;
    if (n->bitmaps && changes(r) && !(r->flags & BLK_VM_STATE))
        bitmaps_mark(n, r->offset, r->len); /* who looked meanwhile may have seen what was before */
    r->done(r);
}

/* The flush behind a request with BLK_FUA. */
struct fua {
    struct blk_req r, *from;
};

static void fua_done(struct blk_req *r)
{
    struct fua *f = container_of(r, struct fua, r);
    struct blk_req *from = f->from;
    int error = r->error;
    free(f);
    end_request(from, error);
}

void node_done(struct blk_req *r, int error)
{
    if (error || !(r->flags & BLK_FUA) || r->node->drv->fua || !changes(r)) {
        end_request(r, error);
        return;
    }
    struct fua *f = xcalloc(1, sizeof(*f));
    f->from = r;
    f->r = (struct blk_req){.op = BLK_FLUSH, .done = fua_done};
    node_submit_part(r->node, &f->r, r);
}

static void done_task(struct loop_task *t)
{
    struct blk_req *r = container_of(t, struct blk_req, task);
    node_done(r, r->error);
}

void node_done_later(struct blk_req *r, int error)
{
    r->error = error;
    r->task.run = done_task;
    loop_defer(r->node->graph->loop, &r->task);
}

/* What `detect-zeroes` and `discard` make of a request. */
static void apply_options(const struct node *n, struct blk_req *r)
{
    bool as_it_is = r->from || (r->flags & (BLK_AS_IT_IS | BLK_COMPRESS | BLK_VM_STATE));
    if (r->op == BLK_WRITE && n->detect_zeroes != DETECT_OFF && !as_it_is && iov_is_zero(r->iov, r->niov)) {
        r->op = BLK_ZERO;
        r->flags |= n->detect_zeroes == DETECT_UNMAP ? BLK_MAY_UNMAP : 0;
    }
    if (n->no_discard && r->op == BLK_ZERO)
        r->flags &= ~(u32)BLK_MAY_UNMAP;
}

static void submit(struct node *n, struct blk_req *r)
{
    r->node = n;
    r->parts = NULL;
    r->error = 0;
    if ((n->flags & OPEN_WRITE_THROUGH) && changes(r) && !(r->flags & BLK_INTERNAL))
        r->flags |= BLK_FUA;
    n->inflight++;
    apply_options(n, r);
    bool on_disk = r->op != BLK_FLUSH && !(r->flags & BLK_VM_STATE);
    if (on_disk && !n->growable && (r->offset > n->size || r->len > n->size - r->offset))
        node_done_later(r, n->device && n->drv->kind == NODE_PROTOCOL && changes(r) ? ENOSPC : EIO);
    else if (r->offset > INT64_MAX || r->len > INT64_MAX - r->offset)
        node_done_later(r, EFBIG);
    else if ((changes(r) || r->op == BLK_PULL || r->op == BLK_RESERVE) && !(n->flags & OPEN_WRITE))
        node_done_later(r, EPERM);
    else if (r->op == BLK_PULL && n->drv->kind == NODE_PROTOCOL)
        node_done_later(r, 0); /* there is nothing behind it */
    else if (r->op == BLK_RESERVE && !n->drv->reserves)
        node_done_later(r, 0);
    else if (r->from && !n->drv->copies)
        node_done_later(r, ENOTSUP);
    else if ((!r->len && r->op != BLK_FLUSH) || (r->op == BLK_DISCARD && n->no_discard))
        node_done_later(r, 0);
    else {
        if (n->bitmaps && on_disk && changes(r))
            bitmaps_mark(n, r->offset, r->len);
        n->drv->submit(n, r);
    }
}

void node_submit(struct node *n, struct blk_req *r)
{
    r->whole = NULL;
    r->cancelled = false;
    submit(n, r);
}

void node_submit_part(struct node *n, struct blk_req *r, struct blk_req *whole)
{
    r->whole = whole;
    r->cancelled = whole->cancelled;
    r->next_part = whole->parts;
    r->this_part = &whole->parts;
    if (r->next_part)
        r->next_part->this_part = &r->next_part;
    whole->parts = r;
    submit(n, r);
}

/* ---- zeros by writing them ---- */

enum { ZERO_PIECE = 1 << 20, ZERO_ALIGN = 4096 };

struct zeros {
    struct blk_req r, *from;
    struct iovec iov;
    u64 at;
};

static void zeros_step(struct blk_req *r)
{
    struct zeros *z = container_of(r, struct zeros, r);
    struct blk_req *from = z->from;
    int error = from->cancelled ? ECANCELED : r->error;
    u64 end = from->offset + from->len;
    if (error || z->at == end) {
        free(z->iov.iov_base);
        free(z);
        node_done(from, error);
        return;
    }
    z->iov.iov_len = MIN(end - z->at, (u64)ZERO_PIECE);
    z->r = (struct blk_req){.op = BLK_WRITE, .flags = BLK_AS_IT_IS, .offset = z->at, .len = z->iov.iov_len, .iov = &z->iov, .niov = 1, .done = zeros_step};
    z->at += z->iov.iov_len;
    node_submit_part(from->node, &z->r, from);
}

void node_write_zeros(struct node *n, struct blk_req *r)
{
    if (r->flags & BLK_NO_FALLBACK) {
        node_done_later(r, ENOTSUP);
        return;
    }
    struct zeros *z = xcalloc(1, sizeof(*z));
    z->from = r;
    z->at = r->offset;
    z->iov.iov_base = aligned_alloc(ZERO_ALIGN, ZERO_PIECE);
    if (!z->iov.iov_base) {
        free(z);
        node_done_later(r, ENOMEM);
        return;
    }
    memset(z->iov.iov_base, 0, ZERO_PIECE);
    zeros_step(&z->r);
}

void node_cancel(struct blk_req *r)
{
    r->cancelled = true;
    if (r->node->drv->cancel)
        r->node->drv->cancel(r->node, r);
    for (struct blk_req *part = r->parts; part; part = part->next_part)
        node_cancel(part);
}

void node_drain(struct node *n)
{
    while (n->inflight)
        loop_turn(n->graph->loop, true);
}

/* ---- waiting ---- */

struct waiter {
    struct blk_req r;
    bool done;
};

static void waiter_done(struct blk_req *r)
{
    container_of(r, struct waiter, r)->done = true;
}

static int wait_for(struct node *n, struct waiter *w)
{
    w->r.done = waiter_done;
    n->error.text[0] = 0;
    node_submit(n, &w->r);
    loop_until(n->graph->loop, &w->done);
    return w->r.error;
}

int node_io(struct node *n, enum blk_op op, u64 offset, void *buf, u64 len, u32 flags)
{
    struct iovec iov = {buf, len};
    struct waiter w = {.r = {.op = op, .offset = offset, .len = len, .flags = flags}};
    if (buf) {
        w.r.iov = &iov;
        w.r.niov = 1;
    }
    return wait_for(n, &w);
}

int node_rw(struct node *n, const struct blk_req *r)
{
    struct waiter w = {.r = *r};
    return wait_for(n, &w);
}

int node_status(struct node *n, u64 offset, u64 len, struct blk_status *s)
{
    *s = (struct blk_status){0};
    struct waiter w = {.r = {.op = BLK_STATUS, .offset = offset, .len = len, .status = s}};
    return wait_for(n, &w);
}

int node_flush(struct node *n)
{
    return node_io(n, BLK_FLUSH, 0, NULL, 0, 0);
}

static struct node *below_filters(struct node *n)
{
    while (n->drv->kind == NODE_FILTER && n->file)
        n = n->file;
    return n;
}

static void chain_ask(struct node *n, u64 offset, u64 len, struct chain_status *c);

static void chain_step(struct blk_req *r)
{
    struct chain_status *c = container_of(r, struct chain_status, r);
    struct node *n = c->n;
    if (r->error || (c->s.flags & STATUS_ALLOCATED)) {
        c->error = r->error;
        c->done(c);
    } else if (!n->backing || r->offset >= n->backing->size) {
        /* Beyond the end of the chain: zeros that nobody has written. */
        c->s.flags = STATUS_ZERO | (c->s.flags & STATUS_OFFSET);
        c->done(c);
    } else {
        c->depth++;
        chain_ask(n->backing, r->offset, MIN(c->s.len, n->backing->size - r->offset), c);
    }
}

static void chain_ask(struct node *n, u64 offset, u64 len, struct chain_status *c)
{
    c->n = below_filters(n);
    c->error = 0;
    c->s = (struct blk_status){0};
    c->r = (struct blk_req){.op = BLK_STATUS, .offset = offset, .len = len, .status = &c->s, .done = chain_step};
    node_submit(c->n, &c->r);
}

void node_chain_status_start(struct node *n, u64 offset, u64 len, struct chain_status *c)
{
    c->depth = 0;
    chain_ask(n, offset, len, c);
}

struct chain_waiter {
    struct chain_status c;
    bool done;
};

static void chain_waiter_done(struct chain_status *c)
{
    container_of(c, struct chain_waiter, c)->done = true;
}

int node_status_chain(struct node *n, u64 offset, u64 len, struct blk_status *s, unsigned *depth)
{
    struct chain_waiter w = {.c.done = chain_waiter_done};
    node_chain_status_start(n, offset, len, &w.c);
    loop_until(n->graph->loop, &w.done);
    *s = w.c.s;
    *depth = w.c.depth;
    return w.c.error;
}

/* ---- scatter/gather ---- */

unsigned iov_slice(const struct iovec *iov, unsigned niov, u64 skip, u64 len, struct iovec *out)
{
    unsigned count = 0;
    for (unsigned i = 0; i < niov && len; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        size_t n = MIN(iov[i].iov_len - skip, len);
        out[count++] = (struct iovec){(u8 *)iov[i].iov_base + skip, n};
        skip = 0;
        len -= n;
    }
    return count;
}

bool bytes_are_zero(const u8 *p, u64 len)
{
    return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

bool iov_is_zero(const struct iovec *iov, unsigned niov)
{
    unsigned i = 0;
    while (i < niov && bytes_are_zero(iov[i].iov_base, iov[i].iov_len))
        i++;
    return i == niov;
}

/* Call with each piece of memory in turn; `from` and `to`: which side the other memory is on. */
static void iov_walk(const struct iovec *iov, unsigned niov, u64 skip, const u8 *from, u8 *to, u64 len)
{
    for (unsigned i = 0; i < niov && len; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        u8 *piece = (u8 *)iov[i].iov_base + skip;
        size_t n = MIN(iov[i].iov_len - skip, len);
        if (from) {
            memcpy(piece, from, n);
            from += n;
        } else if (to) {
            memcpy(to, piece, n);
            to += n;
        } else {
            memset(piece, 0, n);
        }
        skip = 0;
        len -= n;
    }
}

void iov_from(const struct iovec *iov, unsigned niov, u64 skip, const void *from, u64 len)
{
    iov_walk(iov, niov, skip, from, NULL, len);
}

void iov_to(const struct iovec *iov, unsigned niov, u64 skip, void *to, u64 len)
{
    iov_walk(iov, niov, skip, NULL, to, len);
}

void iov_zero(const struct iovec *iov, unsigned niov, u64 skip, u64 len)
{
    iov_walk(iov, niov, skip, NULL, NULL, len);
}
