#include "block/filter/filter.h"

#include <stdlib.h>

#include "base/mem.h"

bool filter_open_child(struct node *n, const char *name, struct json *options, u32 flags, struct err *e)
{
    if (!n->file) /* node_open_above() has it */
        n->file = node_open_child(n, name, NULL, "file", options, flags, e);
    if (!n->file)
        return false;
    if (!n->filename)
        n->filename = xstrdup(n->file->filename);
    n->size = n->file->size;
    n->growable = n->file->growable;
    n->device = n->file->device;
    return true;
}

struct passed {
    struct blk_req r, *from;
};

static void passed_done(struct blk_req *r)
{
    struct passed *p = container_of(r, struct passed, r);
    struct blk_req *from = p->from;
    int error = r->error;
    from->node->size = from->node->file->size;
    free(p);
    node_done(from, error);
}

void filter_pass(struct node *n, struct blk_req *from, u32 flags)
{
    struct passed *p = xmalloc(sizeof(*p));
    *p = (struct passed){.r = *from, .from = from};
    p->r.flags |= flags;
    p->r.done = passed_done;
    node_submit_part(n->file, &p->r, from);
}

struct node *filter_above(const struct driver *drv, struct node *n)
{
    struct node *above = node_new(n->graph, drv, n->filename, n->flags);
    above->file = n;
    above->size = n->size;
    above->growable = n->growable;
    return above;
}

bool filter_close_nothing(struct node *n, struct err *e)
{
    return true;
}

bool filter_truncate(struct node *n, u64 size, enum prealloc p, struct err *e)
{
    bool good = node_truncate(n->file, size, p, e);
    n->size = n->file->size;
    return good;
}
