/* preallocate: a file that grows is given room well ahead of what is written, in one piece, and is cut to what was
 * written when it is closed. Between a format and its file. */
#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/mem.h"
#include "block/filter/filter.h"

enum { DEFAULT_ALIGN = 1 << 20, DEFAULT_SIZE = 128 << 20 };

struct preallocate {
    struct node *n;
    u64 align, room;      /* bytes: what the room ends at a multiple of, and how much there is at once */
    u64 there;            /* up to here the file has room */
    struct blk_req *held; /* what goes beyond that, until there is more; newest first */
    struct blk_req grow;  /* makes it */
    bool growing;
};

struct passed {
    struct blk_req r, *from;
};

/* The node's size is that of what was written, not of the file. */
static void passed_done(struct blk_req *r)
{
    struct passed *p = container_of(r, struct passed, r);
    struct blk_req *from = p->from;
    struct node *n = from->node;
    int error = r->error;
    free(p);
    if (!error && (from->op == BLK_WRITE || from->op == BLK_ZERO))
        n->size = MAX(n->size, from->offset + from->len);
    node_done(from, error);
}

static void pass(struct blk_req *from)
{
    struct passed *p = xmalloc(sizeof(*p));
    *p = (struct passed){.r = *from, .from = from};
    p->r.done = passed_done;
    node_submit_part(from->node->file, &p->r, from);
}

/* Whether there is room or not: the file grows by the write itself otherwise. */
static void grown(struct blk_req *r)
{
    struct preallocate *s = container_of(r, struct preallocate, grow);
    struct blk_req *list = s->held;
    s->held = NULL;
    s->growing = false;
    s->there = r->error ? s->there : r->offset + r->len;
    while (list) {
        struct blk_req *next = list->next;
        pass(list);
        list = next;
    }
}

static void submit(struct node *n, struct blk_req *r)
{
    struct preallocate *s = n->state;
    u64 end = r->offset + r->len;
    bool grows = (r->op == BLK_WRITE || r->op == BLK_ZERO) && end > s->there && end < INT64_MAX - s->room - s->align;
    if (!grows) {
        pass(r);
        return;
    }
    r->next = s->held;
    s->held = r;
    if (s->growing)
        return;
    u64 from = MAX(s->there, n->file->size);
    s->growing = true;
    s->grow = (struct blk_req){.op = BLK_ZERO, .flags = BLK_NO_FALLBACK, .offset = from,
                               .len = ALIGN_UP(end + s->room, s->align) - from, .done = grown};
    node_submit(n->file, &s->grow);
}

static bool preallocate_open(struct node *n, struct json *options, u32 flags, struct err *e)
{
    struct preallocate *s = xcalloc(1, sizeof(*s));
    n->state = s;
    s->n = n;
    s->align = DEFAULT_ALIGN;
    s->room = DEFAULT_SIZE;
    if (!opt_size(options, "prealloc-align", &s->align, e) || !opt_size(options, "prealloc-size", &s->room, e) ||
        !filter_open_child(n, "file", options, flags, e))
        return false;
    if (!is_pow2(s->align) || s->align % 512)
        return err_set(e, EINVAL, "prealloc-align parameter of preallocate filter is not aligned to 512");
    if (s->room > INT64_MAX / 4 || s->align > INT64_MAX / 4)
        return err_set(e, EINVAL, "prealloc-size is too large");
    s->there = n->size;
    return true;
}

static bool preallocate_close(struct node *n, struct err *e)
{
    struct preallocate *s = n->state;
    bool cut = s && n->file && (n->flags & OPEN_WRITE) && n->file->growable && n->file->size > n->size;
    bool good = !cut || node_truncate(n->file, n->size, PREALLOC_OFF, e);
    free(s);
    return good;
}

static bool preallocate_truncate(struct node *n, u64 size, enum prealloc p, struct err *e)
{
    struct preallocate *s = n->state;
    if (!node_truncate(n->file, size, p, e))
        return false;
    n->size = s->there = n->file->size;
    return true;
}

const struct driver driver_preallocate = {
    .name = "preallocate",
    .kind = NODE_FILTER,
    .open = preallocate_open,
    .close = preallocate_close,
    .submit = submit,
    .truncate = preallocate_truncate,
    .fua = true,
};
