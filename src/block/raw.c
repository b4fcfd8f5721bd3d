/* The raw format: guest offsets are file offsets, or lie in a window of the file. */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "block/format.h"

enum { SECTOR = 512 }; /* what disks are made of */

struct raw {
    struct fmt fmt;
    bool window;
};

static const struct format_ops raw_ops = {0}; /* everything is passed on */

static int raw_probe(const u8 *head, size_t len)
{
    return 1; /* what is nothing else */
}

static bool raw_open(struct node *n, struct json *options, u32 flags, struct err *e)
{
    u64 offset = 0, size = UINT64_MAX;
    if (!opt_size(options, "offset", &offset, e) || !opt_size(options, "size", &size, e))
        return false;
    u64 there = n->file->size;
    if (offset > there || (size != UINT64_MAX && size > there - offset))
        return err_set(e, EINVAL, "The window at %llu lies outside of '%s', which has %llu bytes",
                       (unsigned long long)offset, n->filename, (unsigned long long)there);
    struct raw *s = xcalloc(1, sizeof(*s));
    fmt_init(&s->fmt, n, &raw_ops);
    s->fmt.shift = offset;
    s->window = offset || size != UINT64_MAX;
    n->size = size != UINT64_MAX ? size : n->file->growable ? ALIGN_UP(there - offset, (u64)SECTOR) : there - offset;
    n->device = n->file->device;
    return true;
}

static bool raw_close(struct node *n, struct err *e)
{
    if (n->fmt) {
        fmt_free(n->fmt);
        free(container_of(n->fmt, struct raw, fmt));
    }
    return true;
}

static bool raw_create(struct block_graph *g, const char *filename, struct json *options, struct err *e)
{
    return driver_by_name("file")->create(g, filename, options, e);
}

static bool raw_truncate(struct node *n, u64 size, enum prealloc p, struct err *e)
{
    struct raw *s = container_of(n->fmt, struct raw, fmt);
    if (s->window)
        return err_set(e, ENOTSUP, "'%s' is opened as a window, which cannot be resized", n->filename);
    if (p == PREALLOC_METADATA)
        return err_set(e, ENOTSUP, "Unsupported preallocation mode: metadata");
    if (!node_truncate(n->file, size, p, e))
        return false;
    n->size = n->file->growable ? ALIGN_UP(n->file->size, (u64)SECTOR) : n->file->size;
    return true;
}

static bool raw_measure(const struct json *options, u64 size, struct node *source, u64 *required, u64 *full,
                        u64 *bitmaps, struct err *e)
{
    *required = *full = ALIGN_UP(size, (u64)SECTOR);
    *bitmaps = UINT64_MAX;
    return true;
}

static const struct block_option raw_options[] = {
    {"size", "size", "Virtual disk size"},
    {NULL},
};

const struct driver driver_raw = {
    .name = "raw",
    .kind = NODE_FORMAT,
    .probe = raw_probe,
    .open = raw_open,
    .close = raw_close,
    .submit = path_submit,
    .copies = true,
    .fua = true, /* passed on */
    .create = raw_create,
    .create_options = raw_options,
    .truncate = raw_truncate,
    .measure = raw_measure,
};
