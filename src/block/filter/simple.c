/* Filters that do next to nothing: copy-on-read, compress. */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "block/filter/filter.h"

/* ---- copy-on-read: what a backing file had to be asked for is in the image from then on ---- */

struct pulled {
    struct blk_req r, *from;
};

/* Whether it could be kept or not: it can be read. */
static void pulled_done(struct blk_req *r)
{
    struct pulled *p = container_of(r, struct pulled, r);
    struct blk_req *from = p->from;
    free(p);
    filter_pass(from->node, from, 0);
}

static void cor_submit(struct node *n, struct blk_req *r)
{
    if (r->op != BLK_READ) {
        filter_pass(n, r, 0);
        return;
    }
    struct pulled *p = xcalloc(1, sizeof(*p));
    p->from = r;
    p->r = (struct blk_req){.op = BLK_PULL, .offset = r->offset, .len = r->len, .done = pulled_done};
    node_submit_part(n->file, &p->r, r);
}

static bool cor_open(struct node *n, struct json *options, u32 flags, struct err *e)
{
    if (!(flags & OPEN_WRITE))
        return err_set(e, EPERM, "Block node is read-only");
    return filter_open_child(n, "file", options, flags, e);
}

const struct driver driver_copy_on_read = {
    .name = "copy-on-read",
    .kind = NODE_FILTER,
    .open = cor_open,
    .close = filter_close_nothing,
    .submit = cor_submit,
    .truncate = filter_truncate,
    .fua = true,
};

/* ---- compress: whole clusters are written compressed ---- */

static void compress_submit(struct node *n, struct blk_req *r)
{
    u64 cluster = (u64)(uintptr_t)n->state;
    bool whole = r->op == BLK_WRITE && r->offset % cluster == 0 && r->len == cluster;
    filter_pass(n, r, whole ? BLK_COMPRESS : 0);
}

static bool compress_open(struct node *n, struct json *options, u32 flags, struct err *e)
{
    struct image_info info;
    if (!filter_open_child(n, "file", options, flags, e) || !node_info(n->file, &info, e))
        return false;
    n->state = (void *)(uintptr_t)info.cluster_size;
    image_info_free(&info);
    return n->state || err_set(e, ENOTSUP, "Compression is not supported for underlying format: %s", n->file->drv->name);
}

const struct driver driver_compress = {
    .name = "compress",
    .kind = NODE_FILTER,
    .open = compress_open,
    .close = filter_close_nothing,
    .submit = compress_submit,
    .truncate = filter_truncate,
    .fua = true,
};
