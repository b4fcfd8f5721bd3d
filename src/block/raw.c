/* The raw format: guest offsets are file offsets, or lie in a window of the file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/format.h"

enum { SECTOR = 512 }; /* what disks are made of */

extern const struct driver driver_raw;

struct raw {
    struct fmt fmt;
    bool window;
    bool guarded; /* the format was guessed */
    u8 head[PROBE_SIZE]; /* guarded: the first bytes as they were written last */
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
    s->guarded = n->probed && !offset;
    int error = s->guarded ? node_io(n->file, BLK_READ, 0, s->head, PROBE_SIZE, 0) : 0;
    if (error)
        return err_set(e, error, "Could not read '%s': %s", n->filename, strerror(error));
    n->size = size != UINT64_MAX ? size : n->file->growable ? ALIGN_UP(there - offset, (u64)SECTOR) : there - offset;
    n->device = n->file->device;
    return true;
}

/* Whether a write may be done. What a guest writes to an image whose format was guessed must not make it another one the next time: the
 * guest would choose which files that one names. Guests write whole sectors, so the head is theirs or ours. */
static bool may_write(struct raw *s, const struct blk_req *r)
{
    bool zeros = r->op == BLK_ZERO || r->op == BLK_DISCARD;
    if (!s->guarded || r->offset >= PROBE_SIZE || (r->op != BLK_WRITE && !zeros))
        return true;
    u8 head[PROBE_SIZE];
    u64 len = MIN(r->len, PROBE_SIZE - r->offset);
    memcpy(head, s->head, PROBE_SIZE);
    if (zeros)
        memset(head + r->offset, 0, len);
    else
        iov_to(r->iov, r->niov, 0, head + r->offset, len);
    if (format_of(head) != &driver_raw)
        return false;
    memcpy(s->head, head, PROBE_SIZE);
    return true;
}

static void raw_submit(struct node *n, struct blk_req *r)
{
    struct raw *s = container_of(n->fmt, struct raw, fmt);
    if (s->guarded && r->from)
        node_done_later(r, ENOTSUP); /* the bytes have to be seen */
    else if (!may_write(s, r))
        node_done_later(r, EPERM);
    else
        path_submit(n, r);
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
    .submit = raw_submit,
    .copies = true,
    .fua = true, /* passed on */
    .create = raw_create,
    .create_options = raw_options,
    .truncate = raw_truncate,
    .measure = raw_measure,
};
