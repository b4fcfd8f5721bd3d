/* What a device holds: a root, below which the graph changes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/filter/filter.h"
#include "block/job.h"

static void root_submit(struct node *n, struct blk_req *r)
{
    filter_pass(n, r, 0);
}

static const struct driver driver_root = {
    .name = "root", .kind = NODE_FILTER, .submit = root_submit, .close = filter_close_nothing, .truncate = filter_truncate, .fua = true,
};

struct node *node_root(struct node *n)
{
    return filter_above(&driver_root, n);
}

struct node *node_root_child(const struct node *root)
{
    return root->file;
}

char *node_lasting_name(const struct node *n)
{
    char *path = realpath(n->filename, NULL);
    return path ? path : xstrdup(n->filename);
}

/* Whether the graph below the root may change now, and nothing is under way there. */
static bool may_change(struct node *root, struct err *e)
{
    if (!node_is_free(root, e))
        return false;
    node_drain(root);
    int error = root->file->flags & OPEN_WRITE ? node_flush(root->file) : 0;
    return !error || err_set(e, error, "cannot flush '%s': %s", root->filename, strerror(error));
}

bool node_put_overlay(struct node *root, struct node *overlay, struct err *e)
{
    struct node *old = root->file;
    bool good = overlay->drv->set_backing || err_set(e, ENOTSUP, "the format %s has no backing files", overlay->drv->name);
    if (good && overlay->backing)
        good = err_set(e, EINVAL, "The overlay already has a backing image");
    if (good && !(overlay->flags & OPEN_WRITE))
        good = err_set(e, EPERM, "'%s' is opened read-only", overlay->filename);
    if (good && overlay->size < old->size)
        good = err_set(e, EINVAL, "'%s' is smaller than what it is to cover", overlay->filename);
    if (!good || !may_change(root, e)) {
        node_close(overlay, NULL);
        return false;
    }
    overlay->flags &= ~(u32)OPEN_NO_BACKING;
    overlay->backing = old;
    root->file = overlay;
    root->size = overlay->size;
    return true;
}

bool node_overlay(struct node *root, const char *filename, const char *format, struct err *e)
{
    if (!node_is_free(root, e))
        return false;
    struct node *old = root->file;
    struct json *o = json_object();
    char *name = node_lasting_name(old);
    json_set_int(o, "size", (s64)old->size);
    json_set_string(o, "backing_file", name);
    free(name);
    json_set_string(o, "backing_fmt", old->drv->name);
    bool good = block_create(root->graph, format, filename, o, e);
    json_free(o);
    struct node *n = good ? node_open(root->graph, filename, format, NULL, (old->flags & ~(u32)OPEN_CHECK) | OPEN_WRITE | OPEN_NO_BACKING, e) : NULL;
    return n && node_put_overlay(root, n, e);
}

bool node_put_filter(struct node *root, const char *driver, const struct json *options, struct err *e)
{
    if (!may_change(root, e))
        return false;
    struct node *old = root->file, *n = node_open_above(node_ref(old), driver, options, old->flags, e);
    if (!n)
        return false;
    root->file = n;
    return node_close(old, e); /* the filter has it */
}

bool node_take_filter(struct node *root, struct err *e)
{
    struct node *filter = root->file;
    if (filter->drv->kind != NODE_FILTER || !filter->file)
        return err_set(e, EINVAL, "'%s' has no filter in front of it", filter->filename);
    if (!may_change(root, e))
        return false;
    root->file = node_ref(filter->file);
    return node_close(filter, e);
}
