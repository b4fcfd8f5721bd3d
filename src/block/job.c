#include "block/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/bitmap.h"
#include "block/filter/filter.h"

enum { SLOTS = 8, GRANULE = 64 << 10, PIECE = 1 << 20, RETRY_NS = 100000000 };
static const char hidden_name[] = "#job";

enum kind { STREAM, COMMIT, BACKUP, MIRROR };

/* A piece of work: [at, end) is still to be done. */
struct slot {
    struct block_job *j;
    bool busy;
    u64 start, at, end;
    struct chain_status status;
    struct blk_req r;
    bool under_way; /* r is */
    struct iovec iov;
};

/* A write of the guest that waits for what it overwrites to be copied. */
struct held {
    struct blk_req *r;
    struct held *next;
};

struct block_job {
    enum kind kind;
    struct job_options o;
    enum job_state state;
    struct node *root, *source, *target, *base, *filter;
    struct node *over; /* of a commit from within the chain: whose backing file the source is; NULL: it is the active image */
    unsigned base_depth; /* layers of the source above the base; UINT_MAX: no base */
    struct bitmap *todo;
    struct bitmap *before; /* of SYNC_BITMAP: what it was, should the job fail */
    u64 cursor, done;
    struct slot slots[SLOTS];
    unsigned busy;
    struct held *held;
    struct loop_task task;
    struct loop_timer timer;
    bool task_set, paused, cancelled, completing;
    u64 free_at; /* loop_now() from which on speed allows more */
    int error;
};

static void job_step(struct block_job *j);

/* ---- states ---- */

static void set_state(struct block_job *j, enum job_state state)
{
    if (j->state == state)
        return;
    j->state = state;
    if (j->o.changed)
        j->o.changed(j, j->o.opaque);
}

static void step_task(struct loop_task *t)
{
    struct block_job *j = container_of(t, struct block_job, task);
    j->task_set = false;
    job_step(j);
}

static void step_timer(struct loop_timer *t)
{
    job_step(container_of(t, struct block_job, timer));
}

static void step_later(struct block_job *j)
{
    if (j->task_set)
        return;
    j->task_set = true;
    j->task.run = step_task;
    loop_defer(j->root->graph->loop, &j->task);
}

static void fail(struct block_job *j, int error)
{
    if (!j->error)
        j->error = error;
}

/* ---- copying ---- */

static bool overlaps(const struct slot *s, u64 start, u64 end)
{
    return s->busy && s->start < end && start < s->end;
}

static bool in_flight(const struct block_job *j, u64 start, u64 end)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (overlaps(&j->slots[i], start, end))
            return true;
    }
    return false;
}

static void recheck_held(struct block_job *j);

static void slot_end(struct slot *s, int error)
{
    struct block_job *j = s->j;
    s->busy = false;
    j->busy--;
    free(s->iov.iov_base);
    s->iov.iov_base = NULL;
    if (!error) {
        j->done += s->end - s->start;
    } else {
        bitmap_set(j->todo, s->start, s->end - s->start, true);
        bool held = j->kind == BACKUP && j->held; /* the guest does not wait for a target that may never be well again */
        if (j->o.on_error == ON_ERROR_REPORT || error == ECANCELED || held)
            fail(j, error);
        else if (j->o.on_error == ON_ERROR_STOP)
            j->paused = true;
        else
            j->free_at = loop_now() + RETRY_NS;
    }
    recheck_held(j);
    step_later(j);
}

static void slot_step(struct slot *s);

static void slot_submit(struct slot *s, struct node *n)
{
    s->under_way = true;
    node_submit(n, &s->r);
}

static void written(struct blk_req *r)
{
    struct slot *s = container_of(r, struct slot, r);
    s->under_way = false;
    if (r->error) {
        slot_end(s, r->error);
        return;
    }
    s->at += r->len;
    slot_step(s);
}

static void read_done(struct blk_req *r)
{
    struct slot *s = container_of(r, struct slot, r);
    s->under_way = false;
    if (r->error) {
        slot_end(s, r->error);
        return;
    }
    s->r = (struct blk_req){.op = BLK_WRITE, .offset = s->at, .len = r->len, .iov = &s->iov, .niov = 1, .done = written};
    slot_submit(s, s->j->target);
}

/* Whether bytes with this status are to be dealt with. */
static bool wanted(const struct block_job *j, const struct chain_status *c)
{
    bool allocated = c->s.flags & STATUS_ALLOCATED;
    switch (j->kind) {
    case STREAM:
        return allocated && c->depth > 0 && c->depth < j->base_depth;
    case COMMIT:
        return allocated && c->depth < j->base_depth;
    case BACKUP:
    case MIRROR:
        break;
    }
    return j->o.sync != SYNC_TOP || (allocated && c->depth == 0);
}

static void status_done(struct chain_status *c)
{
    struct slot *s = container_of(c, struct slot, status);
    struct block_job *j = s->j;
    u64 len = MIN(c->s.len, s->end - s->at);
    if (c->error) {
        slot_end(s, c->error);
        return;
    }
    bool zero = c->s.flags & STATUS_ZERO;
    if (!wanted(j, c) || (zero && j->kind == BACKUP && j->o.target_is_zero)) {
        s->at += len;
        slot_step(s);
        return;
    }
    s->r = (struct blk_req){.op = BLK_PULL, .offset = s->at, .len = len, .done = written};
    if (j->kind == STREAM) {
        slot_submit(s, j->source);
    } else if (zero) {
        s->r.op = BLK_ZERO;
        s->r.flags = BLK_MAY_UNMAP;
        slot_submit(s, j->target);
    } else {
        if (!s->iov.iov_base)
            s->iov.iov_base = xmalloc(PIECE);
        s->iov.iov_len = len;
        s->r = (struct blk_req){.op = BLK_READ, .offset = s->at, .len = len, .iov = &s->iov, .niov = 1, .done = read_done};
        slot_submit(s, j->source);
    }
}

static void slot_step(struct slot *s)
{
    if (s->at == s->end || s->j->cancelled) {
        slot_end(s, s->at == s->end ? 0 : ECANCELED);
        return;
    }
    s->status.done = status_done;
    node_chain_status_start(s->j->source, s->at, s->end - s->at, &s->status);
}

static bool slot_start(struct block_job *j, u64 start, u64 end)
{
    struct slot *s = j->slots;
    while (s < j->slots + SLOTS && s->busy)
        s++;
    if (s == j->slots + SLOTS)
        return false;
    bitmap_set(j->todo, start, end - start, false);
    s->j = j;
    s->busy = true;
    s->start = s->at = start;
    s->end = end;
    j->busy++;
    slot_step(s);
    return true;
}

/* The next piece to be done that nobody is at; false: there is none. */
static bool find_piece(struct block_job *j, u64 *start, u64 *end)
{
    u64 size = j->todo->size, at = j->cursor < size ? j->cursor : 0, first = at;
    for (bool wrapped = false; !wrapped || at < first;) {
        bool dirty;
        u64 n = at < size ? bitmap_run(j->todo, at, size - at, &dirty) : 0;
        if (!n) {
            if (wrapped)
                return false;
            wrapped = true;
            at = 0;
            continue;
        }
        n = dirty ? MIN(n, (u64)PIECE - at % PIECE) : n;
        if (dirty && !in_flight(j, at, at + n)) {
            *start = at;
            *end = at + n;
            return true;
        }
        at += n;
    }
    return false;
}

/* Whether the speed allows another piece now; if not, the timer is set. */
static bool may_go(struct block_job *j, u64 bytes)
{
    u64 now = loop_now();
    if (j->free_at > now) {
        loop_timer_set(j->root->graph->loop, &j->timer, j->free_at);
        return false;
    }
    if (j->o.speed)
        j->free_at = now + (u64)((double)bytes / (double)j->o.speed * 1e9);
    return true;
}

static void job_step(struct block_job *j)
{
    u64 start = 0, end = 0;
    bool more = true;
    if (j->state == JOB_PENDING)
        return;
    while (!j->paused && !j->cancelled && !j->error && j->busy < SLOTS && (more = find_piece(j, &start, &end)) && may_go(j, end - start)) {
        j->cursor = end;
        slot_start(j, start, end);
    }
    if (j->busy) {
        if (!j->paused && j->state == JOB_PAUSED)
            set_state(j, JOB_RUNNING);
        return;
    }
    if (j->error || j->cancelled)
        set_state(j, JOB_PENDING);
    else if (j->paused)
        set_state(j, JOB_PAUSED);
    else if (more)
        set_state(j, j->state == JOB_READY ? JOB_READY : JOB_RUNNING);
    else if (j->kind == MIRROR && !j->completing)
        set_state(j, JOB_READY);
    else
        set_state(j, JOB_PENDING);
}

/* ---- copy before write ---- */

/* Copy what the write overwrites and is not copied yet; false: it has to wait. */
static bool clear_way(struct block_job *j, const struct blk_req *r)
{
    u64 start = ALIGN_DOWN(r->offset, (u64)GRANULE), end = MIN(ALIGN_UP(r->offset + r->len, (u64)GRANULE), j->todo->size);
    if (j->error || j->cancelled || j->state == JOB_PENDING)
        return true;
    for (u64 at = start; at < end;) {
        bool dirty;
        u64 n = bitmap_run(j->todo, at, end - at, &dirty);
        n = dirty ? MIN(n, (u64)PIECE) : n;
        if (dirty && !in_flight(j, at, at + n) && !slot_start(j, at, at + n))
            return false;
        at += n;
    }
    return !in_flight(j, start, end);
}

static void recheck_held(struct block_job *j)
{
    struct held *list = j->held;
    j->held = NULL;
    while (list) {
        struct held *h = list;
        list = h->next;
        if (clear_way(j, h->r)) {
            struct blk_req *r = h->r;
            free(h);
            filter_pass(r->node, r, 0);
        } else {
            h->next = j->held;
            j->held = h;
        }
    }
}

static void cbw_submit(struct node *n, struct blk_req *r)
{
    struct block_job *j = n->state;
    bool changes = r->op == BLK_WRITE || r->op == BLK_ZERO || r->op == BLK_DISCARD;
    if (!changes || clear_way(j, r)) {
        filter_pass(n, r, 0);
        return;
    }
    struct held *h = xcalloc(1, sizeof(*h));
    h->r = r;
    h->next = j->held;
    j->held = h;
}

static const struct driver driver_copy_before_write = {
    .name = "copy-before-write", .kind = NODE_FILTER, .submit = cbw_submit, .close = filter_close_nothing, .fua = true,
};

/* ---- starting ---- */

static struct bitmap *bitmap_of(struct node *n)
{
    struct bitmap *b = xcalloc(1, sizeof(*b));
    b->name = xstrdup(hidden_name);
    b->granularity = GRANULE;
    b->enabled = true;
    bitmap_resize(b, n->size);
    return b;
}

static void bitmap_free(struct bitmap *b)
{
    if (!b)
        return;
    free(b->bits);
    free(b->name);
    free(b);
}

/* Where a node hangs: below the root, or the last of the filters there. `n` NULL: any that is no filter. NULL: it does not. */
static struct node **place_of(struct node *root, const struct node *n)
{
    struct node **p = &root->file;
    while (*p && *p != n && (*p)->drv->kind == NODE_FILTER && (*p)->file)
        p = &(*p)->file;
    return n && *p != n ? NULL : p;
}

static struct block_job *job_new(enum kind kind, struct node *root, struct node *target, const struct job_options *o)
{
    struct block_job *j = xcalloc(1, sizeof(*j));
    j->kind = kind;
    j->root = root;
    j->source = *place_of(root, NULL);
    j->target = target;
    j->o = *o;
    j->base_depth = UINT32_MAX;
    j->timer.fire = step_timer;
    j->todo = bitmap_of(j->source);
    return j;
}

enum { USERS = 4 };

static void users(struct block_job *j, struct node *list[USERS])
{
    list[0] = j->root;
    list[1] = j->source;
    list[2] = j->target;
    list[3] = j->over;
}

/* From now on it runs, and its nodes are its. */
static struct block_job *begin(struct block_job *j)
{
    struct node *list[USERS];
    users(j, list);
    for (unsigned i = 0; i < ARRAY_LEN(list); i++) {
        if (list[i])
            list[i]->jobs++;
    }
    step_later(j);
    return j;
}

/* Before the graph changes, and nodes go. */
static void let_go(struct block_job *j)
{
    struct node *list[USERS];
    users(j, list);
    for (unsigned i = 0; i < ARRAY_LEN(list); i++) {
        if (list[i])
            list[i]->jobs--;
    }
}

static void job_free(struct block_job *j)
{
    loop_timer_cancel(j->root->graph->loop, &j->timer);
    bitmap_free(j->todo);
    bitmap_free(j->before);
    free(j);
}

static bool can_take(const struct node *n, u64 size, struct err *e)
{
    if (!(n->flags & OPEN_WRITE))
        return err_set(e, EPERM, "'%s' is opened read-only", n->filename);
    return n->size >= size || n->growable || err_set(e, EINVAL, "'%s' is too small: %llu of %llu bytes", n->filename,
                                                     (unsigned long long)n->size, (unsigned long long)size);
}

static bool find_base(struct block_job *j, struct node *base, struct err *e)
{
    unsigned depth = 0;
    struct node *n = j->source;
    while (n && n != base) {
        n = n->backing;
        depth++;
    }
    if (!n || n == j->source)
        return err_set(e, EINVAL, "'%s' is not in the backing chain of '%s'", base->filename, j->source->filename);
    j->base = base;
    j->base_depth = depth;
    return true;
}

struct block_job *job_stream(struct node *root, struct node *base, const struct job_options *o, struct err *e)
{
    struct block_job *j = job_new(STREAM, root, NULL, o);
    if (!node_is_free(root, e) || !can_take(j->source, 0, e) || (base && !find_base(j, base, e))) {
        job_free(j);
        return NULL;
    }
    bitmap_set(j->todo, 0, j->todo->size, true);
    return begin(j);
}

/* The image of the chain that has `n` as its backing file; NULL: none. */
static struct node *overlay_of(struct node *over, const struct node *n)
{
    while (over && over->backing != n)
        over = over->backing;
    return over;
}

struct block_job *job_commit(struct node *root, struct node *top, struct node *base, const struct job_options *o, struct err *e)
{
    struct node *active = *place_of(root, NULL), *from = top ? top : active, *to = base ? base : from->backing;
    struct node *over = overlay_of(active, from);
    if (!to || (!over && from != active)) {
        err_set(e, EINVAL, to ? "'%s' is not in the chain" : "'%s' has no backing file", from->filename);
        return NULL;
    }
    struct block_job *j = job_new(COMMIT, root, to, o);
    j->source = from;
    j->over = over;
    bool good = node_is_free(root, e) && node_is_free(from, e) && node_is_free(to, e) && find_base(j, to, e) && node_make_writable(to, e) &&
                (!j->over || node_make_writable(j->over, e)) &&
                (to->size >= from->size || node_truncate(to, from->size, PREALLOC_OFF, e));
    if (!good) {
        job_free(j);
        return NULL;
    }
    node_drain(root);
    bitmap_resize(j->todo, from->size);
    bitmap_set(j->todo, 0, j->todo->size, true);
    if (!j->over) { /* writes that come meanwhile are committed, too, as a mirror would do it */
        j->todo->next = from->bitmaps;
        from->bitmaps = j->todo;
    }
    return begin(j);
}

/* What of the source is to be copied at first. */
static bool first_todo(struct block_job *j, struct err *e)
{
    struct bitmap *b;
    switch (j->o.sync) {
    case SYNC_FULL:
    case SYNC_TOP:
        bitmap_set(j->todo, 0, j->todo->size, true);
        return true;
    case SYNC_NONE:
        return true;
    case SYNC_BITMAP:
        break;
    }
    b = bitmap_find(j->source, j->o.bitmap ? j->o.bitmap : "", e);
    if (!b || !b->bits)
        return b ? err_set(e, EINVAL, "bitmap '%s' is not to be believed", b->name) : false;
    j->before = bitmap_of(j->source);
    bitmap_merge(j->before, b);
    bitmap_merge(j->todo, b);
    bitmap_set(b, 0, b->size, false);
    return true;
}

struct block_job *job_backup(struct node *root, struct node *target, const struct job_options *o, struct err *e)
{
    struct block_job *j = job_new(BACKUP, root, target, o);
    node_drain(root);
    if (!node_is_free(root, e) || !node_is_free(target, e) || !can_take(target, j->source->size, e) || !first_todo(j, e)) {
        job_free(j);
        return NULL;
    }
    j->filter = filter_above(&driver_copy_before_write, j->source);
    j->filter->state = j;
    *place_of(root, j->source) = j->filter;
    return begin(j);
}

struct block_job *job_mirror(struct node *root, struct node *target, const struct job_options *o, struct err *e)
{
    struct block_job *j = job_new(MIRROR, root, target, o);
    node_drain(root);
    if (!node_is_free(root, e) || !node_is_free(target, e) || !can_take(target, j->source->size, e) || !first_todo(j, e)) {
        job_free(j);
        return NULL;
    }
    j->todo->next = j->source->bitmaps; /* so that it notes what is written */
    j->source->bitmaps = j->todo;
    return begin(j);
}

/* ---- while it runs ---- */

const char *job_type(const struct block_job *j)
{
    static const char *const names[] = {[STREAM] = "stream", [COMMIT] = "commit", [BACKUP] = "backup", [MIRROR] = "mirror"};
    return names[j->kind];
}

enum job_state job_state(const struct block_job *j)
{
    return j->state;
}

int job_error(const struct block_job *j)
{
    return j->error;
}

u64 job_speed(const struct block_job *j)
{
    return j->o.speed;
}

void job_progress(const struct block_job *j, u64 *done, u64 *total)
{
    u64 left = bitmap_count(j->todo);
    for (unsigned i = 0; i < SLOTS; i++)
        left += j->slots[i].busy ? j->slots[i].end - j->slots[i].start : 0;
    *done = j->done;
    *total = j->done + left;
}

void job_pause(struct block_job *j)
{
    j->paused = true;
    step_later(j);
}

void job_resume(struct block_job *j)
{
    j->paused = false;
    step_later(j);
}

void job_set_speed(struct block_job *j, u64 speed)
{
    j->o.speed = speed;
    j->free_at = 0;
    step_later(j);
}

void job_cancel(struct block_job *j)
{
    j->cancelled = true;
    fail(j, ECANCELED);
    for (unsigned i = 0; i < SLOTS; i++) {
        if (j->slots[i].under_way)
            node_cancel(&j->slots[i].r);
    }
    step_later(j);
}

void job_complete(struct block_job *j)
{
    j->completing = true;
    step_later(j);
}

/* ---- the end ---- */

static void turn_until_pending(struct block_job *j)
{
    while (j->state != JOB_PENDING)
        loop_turn(j->root->graph->loop, true);
}

/* No request of the guest is under way. Copy what has been written since the last piece. */
static bool copy_rest(struct block_job *j, struct err *e)
{
    j->state = JOB_RUNNING;
    step_later(j);
    turn_until_pending(j);
    int error = j->error ? j->error : node_flush(j->target);
    return !error || err_set(e, error, "the target '%s' could not be written: %s", j->target->filename, strerror(error));
}

static void detach_bitmap(struct block_job *j)
{
    struct bitmap **p = &j->source->bitmaps;
    while (*p && *p != j->todo)
        p = &(*p)->next;
    if (*p)
        *p = j->todo->next;
}

/* `n` takes the place of the source, which is closed. */
static bool take_place(struct block_job *j, struct node *n, struct err *e)
{
    detach_bitmap(j);
    *place_of(j->root, j->source) = node_ref(n);
    j->root->size = n->size;
    return node_close(j->source, e);
}

/* `over` gets another backing file, in the image and in the graph; the one that it has is closed. */
static bool replace_backing(struct node *over, struct node *base, struct err *e)
{
    struct node *old = over->backing;
    char *name = base ? node_lasting_name(base) : NULL;
    bool good = node_set_backing(over, name, base ? base->drv->name : NULL, e);
    free(name);
    if (!good)
        return false;
    over->backing = base ? node_ref(base) : NULL;
    return node_close(old, e);
}

static bool finish_stream(struct block_job *j, struct err *e)
{
    struct node *top = j->source;
    int error = node_flush(top);
    if (error)
        return err_set(e, error, "cannot flush '%s': %s", top->filename, strerror(error));
    return !top->backing || replace_backing(top, j->base, e);
}

/* The base takes the place of what has been committed into it. */
static bool finish_commit(struct block_job *j, struct err *e)
{
    if (!copy_rest(j, e))
        return false;
    if (j->over)
        return replace_backing(j->over, j->base, e);
    return take_place(j, j->base, e);
}

static bool finish_mirror(struct block_job *j, struct err *e)
{
    if (!copy_rest(j, e))
        return false;
    return take_place(j, j->target, e);
}

static void remove_filter(struct block_job *j)
{
    if (!j->filter)
        return;
    *place_of(j->root, j->filter) = j->source;
    j->filter->file = NULL; /* the source is the root's again */
    node_close(j->filter, NULL);
}

bool job_finish(struct block_job *j, struct err *e)
{
    turn_until_pending(j);
    node_drain(j->root);
    let_go(j);
    bool good = !j->error || err_set(e, j->error, "%s", j->cancelled ? "the job was cancelled" : strerror(j->error));
    if (good && j->kind == STREAM)
        good = finish_stream(j, e);
    else if (good && j->kind == COMMIT)
        good = finish_commit(j, e);
    else if (good && j->kind == MIRROR)
        good = finish_mirror(j, e);
    else if (good)
        good = copy_rest(j, e);
    if (!good && (j->kind == COMMIT || j->kind == MIRROR) && place_of(j->root, j->source))
        detach_bitmap(j);
    struct bitmap *b = !good && j->before ? bitmap_find(j->source, j->o.bitmap, NULL) : NULL;
    if (b)
        bitmap_merge(b, j->before);
    remove_filter(j);
    while (j->task_set)
        loop_turn(j->root->graph->loop, false);
    job_free(j);
    return good;
}

bool job_run(struct block_job *j, struct err *e)
{
    while (j->state != JOB_PENDING) {
        if (j->state == JOB_READY)
            job_complete(j);
        loop_turn(j->root->graph->loop, true);
    }
    return job_finish(j, e);
}
