/* The list of drivers, and operations on whole images: each asks the node's driver. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/bitmap.h"
#include "block/format.h"
#include "block/node.h"

extern const struct driver driver_file, driver_host_device, driver_null_co, driver_null_aio, driver_nbd,
    driver_luks, driver_raw, driver_qcow2, driver_blkdebug, driver_blkverify,
    driver_compress, driver_copy_on_read, driver_preallocate, driver_quorum, driver_throttle;

const struct driver *const drivers[] = {
    &driver_blkdebug, &driver_blkverify, &driver_compress, &driver_copy_on_read, &driver_file, &driver_host_device, &driver_luks,
    &driver_nbd, &driver_null_aio, &driver_null_co, &driver_preallocate, &driver_qcow2, &driver_quorum, &driver_raw, &driver_throttle, NULL,
};

static const char *const names[] = {"blkdebug", "blkverify", "compress", "copy-on-read", "file", "host_device", "luks", "nbd",
                                    "null-aio", "null-co", "preallocate", "qcow2", "quorum", "raw", "throttle", NULL};

const char *const *block_driver_names(void)
{
    return names;
}

const struct driver *driver_by_name(const char *name)
{
    unsigned i = 0;
    while (drivers[i] && strcmp(drivers[i]->name, name))
        i++;
    return drivers[i];
}

static bool lacks(const struct node *n, const char *what, struct err *e)
{
    return err_set(e, ENOTSUP, "'%s': the format %s %s", n->filename, n->drv->name, what);
}

bool node_is_free(const struct node *n, struct err *e)
{
    return !n->jobs || err_set(e, EBUSY, "a job works on '%s'; it has to end first", n->filename);
}

bool block_create(struct block_graph *g, const char *format, const char *filename,
                  const struct json *options, struct err *e)
{
    const struct driver *drv = driver_by_name(format);
    if (!drv)
        return err_set(e, ENOENT, "Unknown file format '%s'", format);
    if (!drv->create)
        return err_set(e, ENOTSUP, "Format driver '%s' does not support image creation", format);
    const char *rest;
    const struct driver *protocol = protocol_of(filename, NULL, &rest, e);
    if (!protocol)
        return false;
    if (strcmp(protocol->name, "file"))
        return err_set(e, ENOTSUP, "Protocol driver '%s' does not support image creation; make it there, and convert with -n",
                       protocol->name);
    filename = rest;
    struct json *copy = json_copy(options);
    bool good = drv->create(g, filename, copy, e);
    if (good && copy->first)
        good = err_set(e, EINVAL, "Invalid parameter '%s'", copy->first->key);
    json_free(copy);
    return good;
}

const struct block_option *block_create_options(const char *format)
{
    const struct driver *drv = driver_by_name(format);
    return drv ? drv->create_options : NULL;
}

const struct block_option *block_amend_options(const char *format)
{
    const struct driver *drv = driver_by_name(format);
    return drv ? drv->amend_options : NULL;
}

bool node_truncate(struct node *n, u64 size, enum prealloc p, struct err *e)
{
    if (!(n->flags & OPEN_WRITE))
        return err_set(e, EPERM, "'%s' is opened read-only", n->filename);
    if (size > INT64_MAX)
        return err_set(e, EFBIG, "Required too big image size, it must be not greater than 9223372036854775807");
    for (const struct bitmap *b = n->bitmaps; b; b = b->next) {
        if (!b->bits && b->persistent)
            return err_set(e, ENOTSUP, "Bitmap '%s' is inconsistent and cannot be used\nRemove it before '%s' is resized.", b->name, n->filename);
    }
    if (!node_is_free(n, e))
        return false;
    node_drain(n);
    u64 before = n->size;
    bool good = n->drv->truncate ? n->drv->truncate(n, size, p, e) : lacks(n, "cannot be resized", e);
    for (struct bitmap *b = n->bitmaps; b; b = b->next) {
        bitmap_resize(b, n->size);
        if (b->enabled && n->size > before)
            bitmap_set(b, before, n->size - before, true);
    }
    return good;
}

bool node_check(struct node *n, u32 fix, struct check_result *c, struct err *e)
{
    return n->drv->check ? n->drv->check(n, fix, c, e) : lacks(n, "has nothing to check", e);
}

bool node_snapshot_list(struct node *n, struct snapshot_info **list, size_t *count, struct err *e)
{
    *list = NULL;
    *count = 0;
    return !n->drv->snapshot_list || n->drv->snapshot_list(n, list, count, e);
}

void snapshot_list_free(struct snapshot_info *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(list[i].id);
        free(list[i].name);
    }
    free(list);
}

bool node_snapshot_create(struct node *n, const char *name, const struct snapshot_vm *vm, struct err *e)
{
    return n->drv->snapshot_create ? n->drv->snapshot_create(n, name, vm, e) : lacks(n, "has no snapshots", e);
}

bool node_snapshot_apply(struct node *n, const char *name, struct err *e)
{
    if (!node_is_free(n, e))
        return false;
    bitmaps_mark(n, 0, n->size);
    return n->drv->snapshot_apply ? n->drv->snapshot_apply(n, name, e) : lacks(n, "has no snapshots", e);
}

bool node_snapshot_delete(struct node *n, const char *name, struct err *e)
{
    return n->drv->snapshot_delete ? n->drv->snapshot_delete(n, name, e) : lacks(n, "has no snapshots", e);
}

bool node_snapshot_load(struct node *n, const char *id, const char *name, struct err *e)
{
    return n->drv->snapshot_load ? n->drv->snapshot_load(n, id, name, e) : lacks(n, "has no snapshots", e);
}

bool node_vmstate_write(struct node *n, u64 offset, const void *data, u64 len, struct err *e)
{
    if (!(n->flags & OPEN_WRITE))
        return err_set(e, EPERM, "'%s' is opened read-only", n->filename);
    return n->drv->vmstate_write ? n->drv->vmstate_write(n, offset, data, len, e) : lacks(n, "cannot hold a machine's state", e);
}

bool node_vmstate_read(struct node *n, u64 offset, void *data, u64 len, struct err *e)
{
    return n->drv->vmstate_read ? n->drv->vmstate_read(n, offset, data, len, e) : lacks(n, "cannot hold a machine's state", e);
}

bool node_info(struct node *n, struct image_info *info, struct err *e)
{
    *info = (struct image_info){0};
    if (n->file && !node_info(n->file, info, e))
        return false;
    if (n->backing_name) {
        info->backing = xstrdup(n->backing_name);
        info->full_backing = path_beside(n->filename, n->backing_name);
    }
    if (n->backing_format)
        info->backing_format = xstrdup(n->backing_format);
    return !n->drv->info || n->drv->info(n, info, e);
}

void image_info_free(struct image_info *info)
{
    free(info->backing);
    free(info->backing_format);
    free(info->full_backing);
    json_free(info->specific);
}

bool node_set_backing(struct node *n, const char *file, const char *format, struct err *e)
{
    if (!n->drv->set_backing)
        return lacks(n, "has no backing files", e);
    return n->drv->set_backing(n, file, format, e);
}

static bool has_option(const struct block_option *o, const char *name)
{
    while (o && o->name && strcmp(o->name, name))
        o++;
    return o && o->name;
}

bool node_amend(struct node *n, const struct json *options, bool force, struct err *e)
{
    if (!n->drv->amend)
        return err_set(e, ENOTSUP, "Format driver '%s' does not support option amendment", n->drv->name);
    if (!node_is_free(n, e))
        return false;
    for (const struct json *c = options->first; c; c = c->next) {
        if (!has_option(n->drv->amend_options, c->key))
            return err_set(e, EINVAL, "Invalid parameter '%s'%s", c->key,
                           has_option(n->drv->create_options, c->key) ? "\nThis option is only supported for image creation" : "");
    }
    return n->drv->amend(n, options, force, e);
}

bool node_make_empty(struct node *n, struct err *e)
{
    if (!node_is_free(n, e))
        return false;
    bitmaps_mark(n, 0, n->size);
    return n->drv->make_empty ? n->drv->make_empty(n, e) : lacks(n, "cannot be emptied", e);
}

bool block_measure(const char *format, const struct json *options, u64 size, struct node *source,
                   u64 *required, u64 *full,
                   u64 *bitmaps, struct err *e)
{
    const struct driver *drv = driver_by_name(format);
    if (!drv)
        return err_set(e, ENOENT, "Unknown file format '%s'", format);
    if (!drv->measure)
        return err_set(e, ENOTSUP, "Format driver '%s' does not support measuring", format);
    return drv->measure(options, size, source, required, full, bitmaps, e);
}

bool node_give_back(struct node *n, struct err *e)
{
    if (!node_is_free(n, e))
        return false;
    node_drain(n);
    return !n->drv->give_back || n->drv->give_back(n, e);
}

bool node_uses_more(struct node *n, u64 bytes, bool *more, struct err *e)
{
    *more = false;
    return !n->drv->uses_more || n->drv->uses_more(n, bytes, more, e);
}

/* The node at or below `n` that has breakpoints. */
static struct node *with_breaks(const struct node *n, struct err *e)
{
    while (n && !n->drv->breaks)
        n = n->file;
    if (!n)
        err_set(e, ENOTSUP, "%s", strerror(ENOTSUP));
    return (struct node *)n;
}

bool node_break_set(struct node *n, const char *event, const char *tag, const struct break_watch *watch, struct err *e)
{
    n = with_breaks(n, e);
    return n && n->drv->breaks->set(n, event, tag, watch, e);
}

bool node_break_resume(struct node *n, const char *tag, struct err *e)
{
    n = with_breaks(n, e);
    return n && n->drv->breaks->resume(n, tag, e);
}

bool node_break_remove(struct node *n, const char *tag, struct err *e)
{
    n = with_breaks(n, e);
    return n && n->drv->breaks->remove(n, tag, e);
}

bool node_break_reached(const struct node *n, const char *tag)
{
    n = with_breaks(n, NULL);
    return n && n->drv->breaks->reached(n, tag);
}
