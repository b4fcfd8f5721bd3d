/* The data path of all formats: what a request for guest bytes means for the files below. It asks the
 * driver for its mapping, loads what metadata the driver misses, and does all I/O: reads from the image,
 * its backing file or a compressed cluster; writes in place, or to new clusters together with what
 * surrounds the written bytes there (copy on write).
 *
 * A request becomes a `struct op`, which advances from `at` to `end`. It ends its step when it waits for
 * something, and is stepped again when that has come. Pieces of I/O that do not depend on each other
 * are in flight together; `pending` counts them. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/format.h"

struct op;
typedef void op_fn(struct op *op);

struct op {
    struct blk_req *req;
    struct fmt *f;
    op_fn *step;     /* what to go on with */
    u64 at, end;     /* bytes still to be dealt with */
    unsigned pending; /* things awaited, and 1 while a step runs */
    bool finished;   /* nothing more to begin: ends when nothing is awaited */
    bool submitting; /* within path_submit() */
    bool pull;       /* BLK_PULL: nothing of the request's own is written */
    u64 pull_len;    /* how much of it at once */
    bool has_room;   /* x is allocated and not yet linked: given back on failure */
    int error;
    struct meta_wait wait;
    struct range_lock lock;
    struct loop_task task;

    /* the allocation that is being written */
    struct extent x;
    u64 x_at;    /* its guest offset */
    u8 *around;  /* the bytes in front and behind */
    u8 *packed;
};

/* One piece of I/O of an op, at another node. */
struct piece {
    struct blk_req r;
    struct op *op;
    u64 guest;        /* of an encrypted piece */
    u64 skip;         /* where its bytes are in the op's vector */
    u64 front;        /* bytes of the bounce buffer that come before them */
    u64 want;         /* how many of them */
    u8 *bounce;
    struct extent x;  /* of a packed piece */
    struct pool_job job;
    struct iovec iov[]; /* the slice, or the bounce buffer */
};

static bool op_advance(struct op *op);

/* ---- range locks ---- */

static bool conflicts(const struct range_lock *a, const struct range_lock *b)
{
    return a->start < b->end && b->start < a->end && (a->exclusive || b->exclusive);
}

/* Whether nobody who came before is in the way. */
static bool lock_free(const struct fmt *f, const struct range_lock *l)
{
    for (const struct range_lock *o = f->locks; o != l; o = o->next) {
        if (conflicts(o, l))
            return false;
    }
    return true;
}

/* True if granted at once; otherwise `granted` is called later. */
static bool lock_take(struct fmt *f, struct range_lock *l)
{
    struct range_lock **p = &f->locks;
    while (*p)
        p = &(*p)->next;
    l->next = NULL;
    *p = l;
    l->held = lock_free(f, l);
    return l->held;
}

static void lock_drop(struct fmt *f, struct range_lock *l)
{
    struct range_lock **p = &f->locks;
    while (*p != l)
        p = &(*p)->next;
    *p = l->next;
    l->held = false;
    for (struct range_lock *o = l->next; o; o = o->next) {
        if (!o->held && conflicts(l, o) && lock_free(f, o)) {
            o->held = true;
            o->granted(o);
        }
    }
}

/* ---- the life of an op ---- */

static void op_end(struct op *op)
{
    struct blk_req *r = op->req;
    int error = op->error;
    if (op->lock.held)
        lock_drop(op->f, &op->lock);
    free(op->around);
    free(op->packed);
    bool later = op->submitting;
    free(op);
    if (later)
        node_done_later(r, error);
    else
        node_done(r, error);
}

static void step_empty(struct op *op);
static void step_release(struct op *op);

static void op_fail(struct op *op, int error)
{
    if (!op->error)
        op->error = error;
    if (op->has_room)
        op->step = op->error == ENOSPC ? step_empty : step_release;
    else
        op->finished = true;
}

/* Something that was awaited has come. */
static void op_arrive(struct op *op, int error)
{
    if (error)
        op_fail(op, error);
    op->pending--;
    op_advance(op);
}

static void op_again(struct loop_task *t)
{
    op_advance(container_of(t, struct op, task));
}

/* Step the op if it waits for nothing. False: it has ended. */
static bool op_advance(struct op *op)
{
    if (op->pending)
        return true;
    if (op->req->cancelled && !op->finished && !op->has_room)
        op_fail(op, ECANCELED);
    if (!op->finished) {
        op->pending = 1;
        op->step(op);
        op->pending--;
        if (op->pending)
            return true;
    }
    if (op->finished) {
        op_end(op);
        return false;
    }
    /* A step that neither waits nor has finished wants to be called again; from the loop, so that
     * neither the stack nor the others suffer. */
    op->task.run = op_again;
    loop_defer(op->f->node->graph->loop, &op->task);
    return true;
}

static void wait_done(struct meta_wait *w, int error)
{
    op_arrive(container_of(w, struct op, wait), error);
}

static void reserve(struct op *op);

/* What a driver's function returned: true to go on, false if the op waits (and its step is called
 * again) or has failed. */
static bool went(struct op *op, enum step s)
{
    struct fmt *f = op->f;
    if (s == STEP_DONE)
        return true;
    if (s == STEP_FAIL) {
        op_fail(op, f->failure);
        return false;
    }
    if (s == STEP_ROOM) {
        reserve(op);
        return false;
    }
    op->pending++;
    op->wait.done = wait_done;
    if (s == STEP_NEED)
        meta_load(&f->meta, &op->wait);
    else
        meta_writeback(&f->meta, &op->wait);
    return false;
}

/* ---- pieces ---- */

static struct piece *piece_new(struct op *op, u64 guest, u64 len, bool bounce)
{
    struct blk_req *r = op->req;
    unsigned slots = bounce ? 1 : r->niov;
    struct piece *p = xmalloc(sizeof(*p) + slots * sizeof(p->iov[0]));
    *p = (struct piece){.op = op, .guest = guest, .skip = guest - r->offset};
    p->r.flags = BLK_INTERNAL;
    p->r.len = len;
    p->r.from = r->from;
    p->r.from_at = r->from_at + p->skip;
    p->r.iov = p->iov;
    if (bounce) {
        p->bounce = xmalloc(len);
        p->iov[0] = (struct iovec){p->bounce, len};
        p->r.niov = 1;
    } else {
        p->r.niov = iov_slice(r->iov, r->niov, p->skip, len, p->iov);
    }
    return p;
}

static void piece_free(struct piece *p, int error)
{
    struct op *op = p->op;
    free(p->bounce);
    free(p);
    op_arrive(op, error);
}

static void piece_done(struct blk_req *r)
{
    piece_free(container_of(r, struct piece, r), r->error);
}

static void piece_submit(struct piece *p, struct node *to, enum blk_op what, u64 offset)
{
    p->r.op = what;
    p->r.offset = offset;
    if (!p->r.done)
        p->r.done = piece_done;
    p->op->pending++;
    node_submit_part(to, &p->r, p->op->req);
}

/* ---- room for tables ---- */

enum step fmt_have_room(struct fmt *f, u64 offset, u64 len)
{
    unsigned i = 0;
    if (!f->node->file->drv->reserves)
        return STEP_DONE;
    while (i < ROOMS_KEPT && (f->rooms[i].offset != offset || f->rooms[i].len != len))
        i++;
    f->wanted = (struct fmt_room){offset, len};
    if (i == ROOMS_KEPT)
        return STEP_ROOM;
    memmove(f->rooms + 1, f->rooms, i * sizeof(f->rooms[0]));
    f->rooms[0] = f->wanted;
    return STEP_DONE;
}

static void room_add(struct fmt *f, u64 offset, u64 len)
{
    memmove(f->rooms + 1, f->rooms, sizeof(f->rooms) - sizeof(f->rooms[0]));
    f->rooms[0] = (struct fmt_room){offset, len};
}

static void rooms_forget(struct fmt *f)
{
    memset(f->rooms, 0, sizeof(f->rooms));
}

static void reserved(struct blk_req *r)
{
    struct piece *p = container_of(r, struct piece, r);
    if (!r->error)
        room_add(p->op->f, r->offset, r->len);
    piece_free(p, r->error);
}

static void reserve(struct op *op)
{
    struct piece *p = xmalloc(sizeof(*p));
    *p = (struct piece){.op = op, .r = {.flags = BLK_INTERNAL, .len = op->f->wanted.len, .done = reserved}};
    piece_submit(p, op->f->node->file, BLK_RESERVE, op->f->wanted.offset);
}

static int reserve_now(struct fmt *f)
{
    struct fmt_room w = f->wanted;
    int error = node_io(f->node->file, BLK_RESERVE, w.offset, NULL, w.len, 0);
    if (!error)
        room_add(f, w.offset, w.len);
    return error;
}

/* ---- reading ---- */

static void decrypt_work(struct pool_job *j)
{
    struct piece *p = container_of(j, struct piece, job);
    struct fmt *f = p->op->f;
    f->ops->crypt(f, false, p->guest, p->x.host, p->bounce, p->r.len);
}

static void decrypt_done(struct pool_job *j)
{
    struct piece *p = container_of(j, struct piece, job);
    struct blk_req *r = p->op->req;
    iov_from(r->iov, r->niov, p->skip, p->bounce + p->front, p->want);
    piece_free(p, 0);
}

static void crypt_read_done(struct blk_req *r)
{
    struct piece *p = container_of(r, struct piece, r);
    if (r->error) {
        piece_free(p, r->error);
        return;
    }
    p->job = (struct pool_job){.work = decrypt_work, .done = decrypt_done};
    pool_submit(p->op->f->node->graph->pool, &p->job);
}

enum { SECTOR = 512, PULL_PIECE = 1 << 20 };

/* Encrypted bytes come in whole sectors. */
static void read_encrypted(struct op *op, const struct extent *x)
{
    u64 front = op->at % SECTOR;
    struct piece *p = piece_new(op, op->at, ALIGN_UP(front + x->len, (u64)SECTOR), true);
    p->guest -= front;
    p->front = front;
    p->want = x->len;
    p->x = *x;
    p->x.host -= front;
    p->r.done = crypt_read_done;
    piece_submit(p, x->file, BLK_READ, p->x.host);
}

static u8 *unpacked_find(const struct fmt *f, u64 host)
{
    for (unsigned i = 0; i < UNPACKED_KEPT; i++) {
        if (f->unpacked[i].data && f->unpacked[i].host == host)
            return f->unpacked[i].data;
    }
    return NULL;
}

static void unpacked_forget(struct fmt *f)
{
    for (unsigned i = 0; i < UNPACKED_KEPT; i++) {
        free(f->unpacked[i].data);
        f->unpacked[i].data = NULL;
    }
}

static void unpack_work(struct pool_job *j)
{
    struct piece *p = container_of(j, struct piece, job);
    struct fmt *f = p->op->f;
    u8 *whole = xmalloc(f->cluster);
    bool good = f->ops->unpack(f, p->bounce, p->r.len, whole);
    free(p->bounce);
    p->bounce = good ? whole : NULL;
    if (!good)
        free(whole);
}

static void unpack_done(struct pool_job *j)
{
    struct piece *p = container_of(j, struct piece, job);
    struct fmt *f = p->op->f;
    struct blk_req *r = p->op->req;
    if (!p->bounce) {
        err_set(&f->node->error, EIO, "the compressed cluster at %#llx in '%s' is damaged",
                (unsigned long long)p->x.host, f->node->filename);
        piece_free(p, EIO);
        return;
    }
    iov_from(r->iov, r->niov, p->skip, p->bounce + p->guest % f->cluster, p->x.len);
    unsigned i = f->unpacked_next++ % UNPACKED_KEPT;
    free(f->unpacked[i].data);
    f->unpacked[i].data = p->bounce;
    f->unpacked[i].host = p->x.host;
    p->bounce = NULL;
    piece_free(p, 0);
}

static void packed_read_done(struct blk_req *r)
{
    struct piece *p = container_of(r, struct piece, r);
    if (r->error) {
        piece_free(p, r->error);
        return;
    }
    p->job = (struct pool_job){.work = unpack_work, .done = unpack_done};
    pool_submit(p->op->f->node->graph->pool, &p->job);
}

static void read_packed(struct op *op, const struct extent *x)
{
    struct fmt *f = op->f;
    const u8 *data = unpacked_find(f, x->host);
    if (data) {
        iov_from(op->req->iov, op->req->niov, op->at - op->req->offset, data + op->at % f->cluster, x->len);
        return;
    }
    struct piece *p = piece_new(op, op->at, x->packed_len, true);
    p->x = *x;
    p->r.done = packed_read_done;
    piece_submit(p, x->file, BLK_READ, x->host);
}

static void read_backing(struct op *op, u64 len)
{
    struct blk_req *r = op->req;
    struct node *backing = r->flags & BLK_VM_STATE ? NULL : op->f->node->backing;
    u64 there = backing && op->at < backing->size ? MIN(len, backing->size - op->at) : 0;
    node_event(op->f->node->file, EVENT_READ_BACKING_AIO);
    if (there)
        piece_submit(piece_new(op, op->at, there, false), backing, BLK_READ, op->at);
    iov_zero(r->iov, r->niov, op->at + there - r->offset, len - there);
}

static void step_read(struct op *op)
{
    struct fmt *f = op->f;
    struct blk_req *r = op->req;
    while (op->at < op->end) {
        struct extent x = {0};
        if (!went(op, f->ops->map(f, op->at, op->end - op->at, &x)))
            return;
        if (x.kind == EXTENT_DATA || x.kind == EXTENT_PACKED)
            node_event(x.file, x.kind == EXTENT_DATA ? EVENT_READ_AIO : EVENT_READ_COMPRESSED);
        switch (x.kind) {
        case EXTENT_BACKING:
            read_backing(op, x.len);
            break;
        case EXTENT_ZERO:
            iov_zero(r->iov, r->niov, op->at - r->offset, x.len);
            break;
        case EXTENT_DATA:
            if (f->encrypted)
                read_encrypted(op, &x);
            else
                piece_submit(piece_new(op, op->at, x.len, false), x.file, BLK_READ, x.host);
            break;
        case EXTENT_PACKED:
            read_packed(op, &x);
            break;
        }
        op->at += x.len;
    }
    op->finished = true;
}

/* ---- writing ---- */

static void step_write(struct op *op);

static void write_in_place(struct op *op, const struct extent *x)
{
    struct fmt *f = op->f;
    struct piece *p = piece_new(op, op->at, x->len, f->encrypted);
    if (f->encrypted) {
        iov_to(op->req->iov, op->req->niov, p->skip, p->bounce, x->len);
        f->ops->crypt(f, true, op->at, x->host, p->bounce, x->len);
    }
    node_event(x->file, EVENT_WRITE_AIO);
    piece_submit(p, x->file, BLK_WRITE, x->host);
}

static void step_pull(struct op *op);

static void step_link(struct op *op)
{
    struct fmt *f = op->f;
    if (!went(op, f->ops->link(f, &op->x)))
        return;
    op->has_room = false;
    unpacked_forget(f);
    free(op->around);
    op->around = NULL;
    op->at = MIN(op->end, op->x_at + op->x.len);
    op->step = op->pull ? step_pull : step_write;
    op->finished = op->at == op->end;
    if (meta_crowded(&f->meta))
        went(op, STEP_BARRIER);
}

static void step_release(struct op *op)
{
    op->f->ops->release(op->f, &op->x);
    op->has_room = false;
    op->finished = true;
}

/* A discard is a hint: whether the file could follow it makes no difference. */
static void emptied(struct blk_req *r)
{
    piece_free(container_of(r, struct piece, r), 0);
}

/* What was written before the disk was full goes back to it: metadata of writes that have ended may need the room. */
static void step_empty(struct op *op)
{
    op->step = step_release;
    if (op->x.has_room || op->x.kind != EXTENT_DATA || op->x.file != op->f->node->file)
        return;
    struct piece *p = xmalloc(sizeof(*p));
    *p = (struct piece){.op = op, .r = {.flags = BLK_INTERNAL, .len = op->x.len, .done = emptied}};
    piece_submit(p, op->x.file, BLK_DISCARD, op->x.host);
}

/* The new clusters are written, or are not. */
static void new_done(struct blk_req *r)
{
    struct piece *p = container_of(r, struct piece, r);
    if (!r->error)
        p->op->step = step_link;
    piece_free(p, r->error);
}

/* The bytes of the new room: what comes from around the request, what is its own, what is around again. */
static void parts_of_new(const struct op *op, u64 *front, u64 *body, u64 *behind)
{
    u64 stop = MIN(op->end, op->x_at + op->x.len);
    *front = op->pull ? op->x.len : op->at - op->x_at;
    *body = op->pull ? 0 : stop - op->at;
    *behind = op->x.len - *front - *body;
}

/* Write what the request has for the new clusters, with what is around it. */
static void step_write_new(struct op *op)
{
    struct fmt *f = op->f;
    struct blk_req *r = op->req;
    u64 front, body, behind;
    parts_of_new(op, &front, &body, &behind);
    struct piece *p;
    u64 host = op->x.host;
    node_event(op->x.file, op->pull ? EVENT_COR_WRITE : op->around ? EVENT_COW_WRITE : EVENT_WRITE_AIO);
    if (!op->around) { /* nothing around it, or zeros that are there already */
        p = piece_new(op, op->at, body, f->encrypted);
        if (f->encrypted)
            iov_to(r->iov, r->niov, p->skip, p->bounce, body);
        host += front;
    } else if (f->encrypted) {
        p = piece_new(op, op->at, op->x.len, true);
        memcpy(p->bounce, op->around, front);
        iov_to(r->iov, r->niov, p->skip, p->bounce + front, body);
        memcpy(p->bounce + front + body, op->around + front, behind);
    } else {
        p = xmalloc(sizeof(*p) + (r->niov + 2) * sizeof(p->iov[0]));
        *p = (struct piece){.op = op};
        unsigned n = 0;
        if (front)
            p->iov[n++] = (struct iovec){op->around, front};
        if (body)
            n += iov_slice(r->iov, r->niov, op->at - r->offset, body, p->iov + n);
        if (behind)
            p->iov[n++] = (struct iovec){op->around + front, behind};
        p->r = (struct blk_req){.len = op->x.len, .iov = p->iov, .niov = n, .flags = BLK_INTERNAL};
    }
    if (f->encrypted)
        f->ops->crypt(f, true, op->x_at + (host - op->x.host), host, p->bounce, p->r.len);
    p->r.done = new_done;
    piece_submit(p, op->x.file, BLK_WRITE, host);
}

static void read_around(struct op *op, u64 guest, u8 *to, u64 len)
{
    struct node *n = op->f->node;
    u64 there = guest < n->size ? MIN(len, n->size - guest) : 0;
    memset(to + there, 0, len - there);
    if (!there)
        return;
    node_event(n->file, EVENT_COW_READ);
    struct piece *p = xmalloc(sizeof(*p) + sizeof(p->iov[0]));
    *p = (struct piece){.op = op};
    p->iov[0] = (struct iovec){to, there};
    p->r = (struct blk_req){.len = there, .iov = p->iov, .niov = 1, .flags = BLK_INTERNAL};
    piece_submit(p, n, BLK_READ, guest);
}

/* Whether all of [start, end) reads as zeros by this layer and has nothing behind it. */
static enum step reads_zero(struct fmt *f, u64 start, u64 end, bool *zero)
{
    end = MIN(end, f->node->size);
    *zero = true;
    while (start < end && *zero) {
        struct extent x = {0};
        enum step s = f->ops->map(f, start, end - start, &x);
        if (s != STEP_DONE)
            return s;
        *zero = x.kind == EXTENT_ZERO ||
                (x.kind == EXTENT_BACKING && (!f->node->backing || start >= f->node->backing->size));
        start += x.len;
    }
    return STEP_DONE;
}

/* Room is there: get what surrounds the written bytes in it. */
static void step_around(struct op *op)
{
    struct fmt *f = op->f;
    u64 x_end = op->x_at + op->x.len, front, body, behind;
    parts_of_new(op, &front, &body, &behind);
    u64 stop = op->x_at + front + body;
    bool zero_front = true, zero_behind = true;
    if (op->x.fresh && !f->encrypted && !op->pull) {
        if (!went(op, reads_zero(f, op->x_at, op->at, &zero_front)) ||
            !went(op, reads_zero(f, stop, x_end, &zero_behind)))
            return;
        if (zero_front && zero_behind)
            front = behind = 0;
    }
    op->step = step_write_new;
    if (!front && !behind)
        return;
    if (op->req->from) {
        op_fail(op, ENOTSUP);
        return;
    }
    op->around = xmalloc(front + behind);
    if (front)
        read_around(op, op->x_at, op->around, front);
    if (behind)
        read_around(op, stop, op->around + front, behind);
}

static void step_alloc(struct op *op)
{
    struct fmt *f = op->f;
    u64 stop = op->pull ? op->at + op->pull_len : op->end;
    u64 start = ALIGN_DOWN(op->at, (u64)f->unit), end = ALIGN_UP(stop, (u64)f->unit);
    op->x = (struct extent){.kind = EXTENT_DATA, .start = start};
    if (!went(op, f->ops->alloc(f, start, end - start, &op->x)))
        return;
    op->has_room = true;
    op->x_at = op->x.start;
    op->step = step_around;
}

static bool lock_range(struct op *op, bool exclusive);
static bool locked(const struct op *op, bool exclusive);

/* Write in place as far as that goes; the rest needs the range alone. */
static void step_write(struct op *op)
{
    struct fmt *f = op->f;
    while (op->at < op->end) {
        struct extent x = {0};
        if (!went(op, f->ops->map(f, op->at, op->end - op->at, &x)))
            return;
        if (!x.in_place || (f->encrypted && (op->at | x.len) % SECTOR)) {
            if (op->pending > 1)
                return; /* what is under way ends first */
            if (locked(op, true) || lock_range(op, true))
                op->step = step_alloc;
            return;
        }
        if (!locked(op, false) && !lock_range(op, false))
            return; /* it may look different then */
        write_in_place(op, &x);
        op->at += x.len;
    }
    op->finished = true;
}

/* Copy what comes from the backing file into this layer, a piece at a time. */
static void step_pull(struct op *op)
{
    struct fmt *f = op->f;
    while (op->at < op->end) {
        struct extent x = {0};
        if (!went(op, f->ops->map(f, op->at, op->end - op->at, &x)))
            return;
        bool behind = f->node->backing && op->at < f->node->backing->size;
        if (x.kind != EXTENT_BACKING || !behind) {
            op->at += x.len;
            continue;
        }
        if (!locked(op, true) && !lock_range(op, true))
            return; /* it may look different then */
        op->pull_len = MIN(x.len, (u64)PULL_PIECE);
        op->step = step_alloc;
        return;
    }
    op->finished = true;
}

/* ---- compressed writing ---- */

struct pack {
    struct pool_job job;
    struct op *op;
    u8 *cluster;
    size_t len; /* of what came out; 0: does not get smaller */
};

static void pack_work(struct pool_job *j)
{
    struct pack *k = container_of(j, struct pack, job);
    const struct fmt *f = k->op->f;
    k->len = f->ops->pack(f, k->cluster, k->op->packed, f->cluster - 1);
}

static void step_write_packed(struct op *op)
{
    struct fmt *f = op->f;
    if (!went(op, f->ops->alloc_packed(f, &op->x)))
        return;
    op->has_room = true;
    struct piece *p = xmalloc(sizeof(*p) + sizeof(p->iov[0]));
    *p = (struct piece){.op = op};
    p->iov[0] = (struct iovec){op->packed, op->x.packed_len};
    p->r = (struct blk_req){.len = op->x.packed_len, .iov = p->iov, .niov = 1, .flags = BLK_INTERNAL,
                            .done = new_done};
    node_event(op->x.file, EVENT_WRITE_COMPRESSED);
    piece_submit(p, op->x.file, BLK_WRITE, op->x.host);
}

static void pack_done(struct pool_job *j)
{
    struct pack *k = container_of(j, struct pack, job);
    struct op *op = k->op;
    op->step = k->len ? step_write_packed : step_write;
    op->x = (struct extent){.kind = EXTENT_PACKED, .start = op->at, .len = op->end - op->at, .packed_len = (u32)k->len};
    op->x_at = op->at;
    free(k->cluster);
    free(k);
    op_arrive(op, 0);
}

/* One cluster, or the part of it up to the end of the image. */
static void step_compress(struct op *op)
{
    struct fmt *f = op->f;
    u64 len = op->end - op->at;
    if (!f->ops->pack || f->encrypted) {
        op_fail(op, ENOTSUP);
        return;
    }
    if (op->at % f->cluster || len > f->cluster || (len < f->cluster && op->end != f->node->size)) {
        op_fail(op, EINVAL);
        return;
    }
    struct extent x = {0};
    if (!went(op, f->ops->map(f, op->at, len, &x)))
        return;
    if (!locked(op, true) && !lock_range(op, true))
        return;
    if (x.kind == EXTENT_DATA || x.kind == EXTENT_PACKED) { /* what is there stays where it is */
        op->step = step_write;
        return;
    }
    struct pack *k = xcalloc(1, sizeof(*k));
    k->op = op;
    k->cluster = xcalloc(1, f->cluster);
    iov_to(op->req->iov, op->req->niov, 0, k->cluster, len);
    op->packed = xmalloc(f->cluster);
    k->job = (struct pool_job){.work = pack_work, .done = pack_done};
    op->pending++;
    pool_submit(f->node->graph->pool, &k->job);
}

/* ---- zeros and discards ---- */

enum { ZERO_CHUNK = 1 << 20 };

/* Zeros by writing them: a request of its own at this node, under the lock of this one. */
static void write_zeros(struct op *op, u64 len)
{
    len = MIN(len, ZERO_CHUNK);
    if (op->req->flags & BLK_NO_FALLBACK) {
        op_fail(op, ENOTSUP);
        return;
    }
    struct piece *p = xmalloc(sizeof(*p) + sizeof(p->iov[0]));
    *p = (struct piece){.op = op, .bounce = xcalloc(1, len)};
    p->iov[0] = (struct iovec){p->bounce, len};
    p->r = (struct blk_req){.len = len, .iov = p->iov, .niov = 1, .flags = BLK_INTERNAL | BLK_AS_IT_IS};
    u64 at = op->at;
    op->at += len;
    piece_submit(p, op->f->node, BLK_WRITE, at);
}

static void step_zero(struct op *op)
{
    struct fmt *f = op->f;
    if (!locked(op, true) && !lock_range(op, true))
        return;
    if (op->at == op->end) {
        op->finished = true;
        return;
    }
    bool whole_end = op->end == f->node->size || op->end % f->unit == 0;
    u64 stop = whole_end ? ALIGN_UP(op->end, (u64)f->unit) : ALIGN_DOWN(op->end, (u64)f->unit), done = 0;
    if (op->at % f->unit) {
        write_zeros(op, MIN(ALIGN_UP(op->at, (u64)f->unit), op->end) - op->at);
    } else if (op->at >= stop) {
        write_zeros(op, op->end - op->at);
    } else {
        if (!went(op, f->ops->zero(f, op->at, stop - op->at, op->req->flags, &done)))
            return;
        unpacked_forget(f);
        if (done)
            op->at = MIN(op->at + done, op->end);
        else
            write_zeros(op, MIN(f->cluster, op->end - op->at));
    }
}

/* Zeros or a discard for the data file, which has the bytes at the place that they have on the disk. */
static void clear_data_file(struct op *op, enum blk_op what, u64 at, u64 len)
{
    struct piece *p = xmalloc(sizeof(*p));
    *p = (struct piece){.op = op};
    p->r = (struct blk_req){.len = len, .flags = BLK_INTERNAL | BLK_MAY_UNMAP};
    piece_submit(p, op->f->node->data, what, at);
}

static void step_discard(struct op *op)
{
    struct fmt *f = op->f;
    if (!locked(op, true) && !lock_range(op, true))
        return;
    u64 at = ALIGN_UP(op->at, (u64)f->cluster), done = 0;
    u64 stop = op->end == f->node->size ? ALIGN_UP(op->end, (u64)f->cluster) : ALIGN_DOWN(op->end, (u64)f->cluster);
    if (at >= stop) {
        op->finished = true;
    } else if (went(op, f->ops->discard(f, at, stop - at, &done))) {
        unpacked_forget(f);
        u64 len = MIN(done ? at + done : stop, f->node->size) - at;
        if (f->node->data)
            clear_data_file(op, done ? BLK_DISCARD : BLK_ZERO, at, len);
        op->at = done ? at + done : stop;
    }
}

/* ---- flush and status ---- */

static void step_flush(struct op *op)
{
    struct fmt *f = op->f;
    op->finished = true;
    if (f->node->data) {
        struct piece *p = xmalloc(sizeof(*p));
        *p = (struct piece){.op = op};
        piece_submit(p, f->node->data, BLK_FLUSH, 0);
    }
    op->pending++;
    op->wait.done = wait_done;
    meta_writeback(&f->meta, &op->wait);
}

static void step_status(struct op *op)
{
    struct fmt *f = op->f;
    struct blk_status *s = op->req->status;
    struct extent x = {0};
    if (!went(op, f->ops->map(f, op->at, op->end - op->at, &x)))
        return;
    s->len = x.len;
    op->finished = true;
    bool shows_room = x.has_room && !f->encrypted;
    switch (x.kind) {
    case EXTENT_BACKING:
        s->flags = shows_room ? STATUS_OFFSET : 0;
        break;
    case EXTENT_ZERO:
        s->flags = STATUS_ALLOCATED | STATUS_ZERO | (shows_room ? STATUS_OFFSET : 0);
        break;
    case EXTENT_PACKED:
        s->flags = STATUS_ALLOCATED | STATUS_DATA | STATUS_COMPRESSED;
        break;
    case EXTENT_DATA:
        s->flags = STATUS_ALLOCATED | STATUS_DATA | (f->encrypted ? 0 : STATUS_OFFSET);
        break;
    }
    s->host = x.host;
    s->file = x.file;
}

/* ---- formats that map everything to itself ---- */

struct forward {
    struct blk_req r;
    struct blk_req *from;
    u64 shift;
};

static void forward_done(struct blk_req *r)
{
    struct forward *w = container_of(r, struct forward, r);
    struct blk_req *from = w->from;
    if (from->op == BLK_STATUS)
        from->status->flags |= STATUS_ALLOCATED;
    int error = r->error;
    free(w);
    node_done(from, error);
}

static void forward(struct fmt *f, struct blk_req *r)
{
    struct forward *w = xmalloc(sizeof(*w));
    *w = (struct forward){.r = *r, .from = r};
    w->r.offset += f->shift;
    w->r.done = forward_done;
    node_submit_part(f->node->file, &w->r, r);
}

/* ---- the way in ---- */

static void go_on_locked(struct loop_task *t)
{
    op_arrive(container_of(t, struct op, task), 0);
}

static void lock_granted(struct range_lock *l)
{
    struct op *op = container_of(l, struct op, lock);
    op->task.run = go_on_locked;
    loop_defer(op->f->node->graph->loop, &op->task);
}

/* Requests of the data path itself run under the lock of the one that they belong to. */
static bool locked(const struct op *op, bool exclusive)
{
    return (op->req->flags & BLK_INTERNAL) || (op->lock.held && (op->lock.exclusive || !exclusive));
}

/* Take the range in whole clusters; false: wait, the step is called again. */
static bool lock_range(struct op *op, bool exclusive)
{
    struct fmt *f = op->f;
    if (op->lock.held)
        lock_drop(f, &op->lock);
    op->lock = (struct range_lock){
        .start = ALIGN_DOWN(op->req->offset, (u64)f->cluster),
        .end = ALIGN_UP(op->end, (u64)f->cluster),
        .exclusive = exclusive,
        .granted = lock_granted,
    };
    if (lock_take(f, &op->lock))
        return true;
    op->pending++;
    return false;
}

void path_submit(struct node *n, struct blk_req *r)
{
    static op_fn *const first[] = {
        [BLK_READ] = step_read,       [BLK_WRITE] = step_write, [BLK_ZERO] = step_zero,
        [BLK_DISCARD] = step_discard, [BLK_FLUSH] = step_flush, [BLK_STATUS] = step_status,
        [BLK_PULL] = step_pull,
    };
    struct fmt *f = n->fmt;
    if (!f->ops->alloc && r->op == BLK_PULL) {
        node_done_later(r, 0);
        return;
    }
    if (!f->ops->alloc) {
        forward(f, r);
        return;
    }
    if (r->from && (f->encrypted || (r->flags & BLK_COMPRESS))) {
        node_done_later(r, ENOTSUP);
        return;
    }
    struct op *op = xcalloc(1, sizeof(*op));
    op->req = r;
    op->f = f;
    op->at = r->offset;
    op->end = r->offset + r->len;
    op->pull = r->op == BLK_PULL;
    op->step = r->op == BLK_WRITE && (r->flags & BLK_COMPRESS) ? step_compress : first[r->op];
    op->submitting = true;
    if (op_advance(op))
        op->submitting = false;
}

/* ---- giving room back to the host ---- */

struct leaving {
    struct blk_req r; /* with the range */
    struct fmt *f;
    bool sent;
    struct leaving *next;
};

/* A discard is a hint: whether the file could follow it makes no difference. */
static void has_left(struct blk_req *r)
{
    struct leaving *l = container_of(r, struct leaving, r), **p = &l->f->leaving;
    while (*p != l)
        p = &(*p)->next;
    *p = l->next;
    l->f->nleaving--;
    l->f->ops->left(l->f, r->offset);
    free(l);
}

static void leave(struct loop_task *t)
{
    struct fmt *f = container_of(t, struct fmt, leave);
    for (struct leaving *l = f->leaving; l && !l->sent; l = l->next) {
        l->sent = true;
        node_submit(f->node->file, &l->r);
    }
}

void fmt_give_up(struct fmt *f, u64 offset, u64 len)
{
    struct leaving *last = f->leaving;
    rooms_forget(f);
    bool waits = last && !last->sent; /* those that wait come first in the list */
    if (waits && last->r.offset + last->r.len == offset) {
        last->r.len += len;
        return;
    }
    if (waits && offset + len == last->r.offset) {
        last->r.offset = offset;
        last->r.len += len;
        return;
    }
    struct leaving *l = xcalloc(1, sizeof(*l));
    l->f = f;
    l->r = (struct blk_req){.op = BLK_DISCARD, .offset = offset, .len = len, .done = has_left};
    l->next = f->leaving;
    f->leaving = l;
    f->nleaving++;
    if (!waits) {
        f->leave.run = leave;
        loop_defer(f->node->graph->loop, &f->leave);
    }
}

bool fmt_is_leaving(const struct fmt *f, u64 offset)
{
    const struct leaving *l = f->leaving;
    while (l && !(offset >= l->r.offset && offset - l->r.offset < l->r.len))
        l = l->next;
    return l;
}

static void wait_for_leaving(struct fmt *f)
{
    while (f->leaving)
        loop_turn(f->node->graph->loop, true);
}

/* ---- drivers' helpers ---- */

void fmt_init(struct fmt *f, struct node *n, const struct format_ops *ops)
{
    f->node = n;
    f->ops = ops;
    n->fmt = f;
}

void fmt_free(struct fmt *f)
{
    wait_for_leaving(f);
    unpacked_forget(f);
    meta_free(&f->meta);
}

enum step fmt_fail(struct fmt *f, int error, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    f->failure = error;
    err_set(&f->node->error, error, "%s", text);
    return STEP_FAIL;
}

bool fmt_run(struct fmt *f, struct fmt_job *j, struct err *e)
{
    node_drain(f->node);
    wait_for_leaving(f);
    for (;;) {
        enum step s = j->step(f, j);
        int error = s == STEP_NEED      ? meta_load_now(&f->meta)
                    : s == STEP_BARRIER ? meta_writeback_now(&f->meta)
                    : s == STEP_ROOM    ? reserve_now(f)
                                        : 0;
        if (s == STEP_DONE)
            break;
        if (s == STEP_FAIL)
            return err_set(e, f->failure, "%s", f->node->error.text);
        if (error)
            return err_set(e, error, "cannot %s metadata of '%s' at %#llx: %s",
                           s == STEP_NEED ? "read" : "write", f->node->filename,
                           (unsigned long long)f->meta.need, strerror(error));
    }
    unpacked_forget(f);
    return true;
}

bool fmt_run_barrier(struct fmt *f, struct err *e)
{
    int error = meta_writeback_now(&f->meta);
    return !error || err_set(e, error, "cannot write metadata of '%s': %s", f->node->filename, strerror(error));
}
