/* virtio-blk: a disk (section 5.2 of the specification). Requests go to the image with the guest's own memory as their
 * buffers; each ends by itself, in any order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "block/block.h"
#include "dev/list.h"
#include "dev/virtio/virtio.h"

#define F_SEG_MAX      (1ull << 2)
#define F_GEOMETRY     (1ull << 4)
#define F_RO           (1ull << 5)
#define F_BLK_SIZE     (1ull << 6)
#define F_FLUSH        (1ull << 9)
#define F_TOPOLOGY     (1ull << 10)
#define F_CONFIG_WCE   (1ull << 11)
#define F_MQ           (1ull << 12)
#define F_DISCARD      (1ull << 13)
#define F_WRITE_ZEROES (1ull << 14)

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
enum { SECTOR = 512, ID_BYTES = 20, SECTORS_MAX = 1 << 22, CONFIG_WCE_AT = 32 };

struct config {
    u64 capacity; /* sectors */
    u32 size_max, seg_max;
    u16 cylinders;
    u8 heads, sectors;
    u32 blk_size;
    u8 physical_exponent, alignment;
    u16 min_io;
    u32 opt_io;
    u8 writeback, unused;
    u16 queues;
    u32 max_discard_sectors, max_discard_segments, discard_alignment;
    u32 max_zero_sectors, max_zero_segments;
    u8 zero_may_unmap, unused1[3];
} __attribute__((packed));

struct header {
    u32 type, reserved;
    u64 sector;
};

/* What is to be discarded or zeroed. */
struct range {
    u64 sector;
    u32 sectors, flags;
};

/* What is counted of each kind of request, as QMP calls it. */
enum { COUNT_READ, COUNT_WRITE, COUNT_FLUSH, COUNT_UNMAP, COUNTS };

struct counts {
    u64 bytes, operations, failed, invalid, ns;
};

struct virtio_blk {
    struct dev dev;
    struct virtio virtio;
    struct node *node;
    char *serial;
    u32 queue_size, queues;
    bool write_cache;
    bool writeback; /* what the guest has chosen */
    struct counts counts[COUNTS];
    u64 written_to; /* the end of the highest write */
    u64 last;       /* when a request ended; 0: none has */
};

struct request {
    struct blk_req blk;
    struct virtio_blk *disk;
    struct virtio_chain *chain;
    struct iovec *iov;
    u64 read; /* bytes that the guest gets */
    u64 begun;
};

static struct virtio_blk *of(struct virtio *v)
{
    return container_of(v, struct virtio_blk, virtio);
}

static u64 blk_features(struct virtio *v)
{
    struct virtio_blk *b = of(v);
    return F_SEG_MAX | F_GEOMETRY | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | F_CONFIG_WCE | F_DISCARD | F_WRITE_ZEROES |
           (v->queues > 1 ? F_MQ : 0) | (node_read_only(b->node) ? F_RO : 0);
}

static unsigned blk_config(struct virtio *v, u8 *to)
{
    struct virtio_blk *b = of(v);
    u64 sectors = node_size(b->node) / SECTOR;
    u64 cylinders = sectors / (16 * 63);
    struct config c = {.capacity = sectors, .seg_max = b->queue_size - 2, .heads = 16, .sectors = 63,
                       .cylinders = (u16)MIN(MAX(cylinders, 2u), 16383u), .blk_size = SECTOR,
                       .writeback = b->writeback, .queues = (u16)v->queues, .max_discard_sectors = SECTORS_MAX,
                       .max_discard_segments = 1, .discard_alignment = 1, .max_zero_sectors = SECTORS_MAX,
                       .max_zero_segments = 1, .zero_may_unmap = 1};
    memcpy(to, &c, sizeof(c));
    return sizeof(c);
}

static void blk_config_write(struct virtio *v, unsigned offset, unsigned size, u32 value)
{
    if (offset == CONFIG_WCE_AT && size == 1)
        of(v)->writeback = value & 1;
}

/* ---- requests ---- */

/* The last byte that the device writes says how it went. */
static void end(struct virtio_chain *c, u8 status, u64 read)
{
    virtio_chain_write(c, c->in_len - 1, &status, 1);
    virtio_put(c, read + 1);
}

static u64 now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static struct counts *counts_of(struct virtio_blk *b, enum blk_op op)
{
    static const u8 of_op[] = {[BLK_READ] = COUNT_READ, [BLK_WRITE] = COUNT_WRITE, [BLK_ZERO] = COUNT_WRITE,
                               [BLK_DISCARD] = COUNT_UNMAP, [BLK_FLUSH] = COUNT_FLUSH};
    return &b->counts[of_op[op]];
}

static void count(const struct request *q)
{
    struct virtio_blk *b = q->disk;
    struct counts *c = counts_of(b, q->blk.op);
    b->last = now();
    c->ns += b->last - q->begun;
    if (q->blk.error) {
        c->failed++;
        return;
    }
    c->operations++;
    c->bytes += q->blk.len;
    if (c == &b->counts[COUNT_WRITE])
        b->written_to = MAX(b->written_to, q->blk.offset + q->blk.len);
}

static void done(struct blk_req *r)
{
    struct request *q = container_of(r, struct request, blk);
    count(q);
    trace(TRACE_BLK_DONE, "dev %s error %d", q->disk->dev.name, r->error);
    end(q->chain, r->error == ENOTSUP ? S_UNSUPP : r->error ? S_IOERR : S_OK, r->error ? 0 : q->read);
    free(q->iov);
    free(q);
}

static struct request *request_new(struct virtio_blk *b, struct virtio_chain *c, enum blk_op op)
{
    struct request *q = xcalloc(1, sizeof(*q));
    q->disk = b;
    q->chain = c;
    q->blk.op = op;
    q->begun = now();
    q->blk.done = done;
    return q;
}

static bool inside(const struct virtio_blk *b, u64 sector, u64 bytes)
{
    u64 size = node_size(b->node) / SECTOR;
    return bytes % SECTOR == 0 && sector <= size && bytes / SECTOR <= size - sector;
}

static void transfer(struct virtio_blk *b, struct virtio_chain *c, const struct header *h)
{
    bool write = h->type == T_OUT;
    u64 len = write ? c->out_len - sizeof(*h) : c->in_len - 1;
    if (!inside(b, h->sector, len) || (write && node_read_only(b->node))) {
        counts_of(b, write ? BLK_WRITE : BLK_READ)->invalid++;
        end(c, S_IOERR, 0);
        return;
    }
    if (!len) {
        end(c, S_OK, 0);
        return;
    }
    struct request *q = request_new(b, c, write ? BLK_WRITE : BLK_READ);
    trace(write ? TRACE_BLK_WRITE : TRACE_BLK_READ, "dev %s sector %llu nsectors %llu", b->dev.name, (unsigned long long)h->sector,
          (unsigned long long)(len / SECTOR));
    q->iov = write ? virtio_cut(c->out, c->outs, sizeof(*h), len, &q->blk.niov)
                   : virtio_cut(c->in, c->ins, 0, len, &q->blk.niov);
    q->read = write ? 0 : len;
    q->blk.offset = h->sector * SECTOR;
    q->blk.len = len;
    q->blk.iov = q->iov;
    q->blk.flags = write && !b->writeback ? BLK_FUA : 0;
    node_submit(b->node, &q->blk);
}

static void erase(struct virtio_blk *b, struct virtio_chain *c, const struct header *h)
{
    struct range r;
    bool one = c->out_len == sizeof(*h) + sizeof(r) && virtio_chain_read(c, sizeof(*h), &r, sizeof(r));
    bool unmap = one && r.flags & 1;
    if (!one || r.flags & ~1u || (unmap && h->type == T_DISCARD)) {
        end(c, S_UNSUPP, 0);
        return;
    }
    if (!inside(b, r.sector, (u64)r.sectors * SECTOR) || r.sectors > SECTORS_MAX || node_read_only(b->node)) {
        counts_of(b, h->type == T_DISCARD ? BLK_DISCARD : BLK_ZERO)->invalid++;
        end(c, S_IOERR, 0);
        return;
    }
    struct request *q = request_new(b, c, h->type == T_DISCARD ? BLK_DISCARD : BLK_ZERO);
    q->blk.offset = r.sector * SECTOR;
    q->blk.len = (u64)r.sectors * SECTOR;
    q->blk.flags = unmap ? BLK_MAY_UNMAP : 0;
    node_submit(b->node, &q->blk);
}

static void identify(struct virtio_blk *b, struct virtio_chain *c)
{
    char id[ID_BYTES] = {0};
    if (b->serial)
        memcpy(id, b->serial, MIN(strlen(b->serial), sizeof(id)));
    u64 n = MIN(sizeof(id), c->in_len - 1);
    virtio_chain_write(c, 0, id, n);
    end(c, S_OK, n);
}

static void start(struct virtio_blk *b, struct virtio_chain *c)
{
    struct header h;
    if (!c->in_len || !virtio_chain_read(c, 0, &h, sizeof(h))) {
        dev_guest_error(&b->dev, "a request without a header or a status");
        virtio_put(c, 0);
        return;
    }
    switch (h.type) {
    case T_IN:
    case T_OUT: transfer(b, c, &h); return;
    case T_FLUSH: node_submit(b->node, &request_new(b, c, BLK_FLUSH)->blk); return;
    case T_GET_ID: identify(b, c); return;
    case T_DISCARD:
    case T_WRITE_ZEROES: erase(b, c, &h); return;
    }
    end(c, S_UNSUPP, 0);
}

static void blk_kick(struct virtio *v, unsigned queue)
{
    struct virtio_chain *c;
    while ((c = virtio_take(v, queue)))
        start(of(v), c);
}

static void blk_reset(struct virtio *v)
{
    of(v)->writeback = of(v)->write_cache;
}

static void set_queues(struct virtio_blk *b, u32 queues)
{
    b->virtio.queues = MIN(MAX(queues, 1u), (u32)VIRTIO_QUEUES);
}

static void blk_spread(struct virtio *v, unsigned cpus)
{
    if (!of(v)->queues)
        set_queues(of(v), cpus);
}

static const struct virtio_kind blk_kind = {
    .id = 2, .features = blk_features, .config = blk_config, .config_write = blk_config_write, .kick = blk_kick,
    .reset = blk_reset, .spread = blk_spread,
};

/* ---- for monitors ---- */

static void show_count(struct json *to, const char *kind, const char *of_what, u64 v)
{
    char *name = xprintf(of_what, kind);
    json_set_int(to, name, (s64)v);
    free(name);
}

/* BlockDeviceStats of QMP; requests are not merged. */
static struct json *blk_show(struct dev *d)
{
    static const char *const kinds[] = {"rd", "wr", "flush", "unmap"};
    struct virtio_blk *b = (struct virtio_blk *)d;
    struct json *j = json_object();
    for (unsigned i = 0; i < COUNTS; i++) {
        const struct counts *c = &b->counts[i];
        if (i != COUNT_FLUSH) {
            show_count(j, kinds[i], "%s_bytes", c->bytes);
            show_count(j, kinds[i], "%s_merged", 0);
        }
        show_count(j, kinds[i], "%s_operations", c->operations);
        show_count(j, kinds[i], "%s_total_time_ns", c->ns);
        show_count(j, kinds[i], "failed_%s_operations", c->failed);
        show_count(j, kinds[i], "invalid_%s_operations", c->invalid);
    }
    json_set_int(j, "wr_highest_offset", (s64)b->written_to);
    if (b->last)
        json_set_int(j, "idle_time_ns", (s64)(now() - b->last));
    json_set_bool(j, "account_invalid", true);
    json_set_bool(j, "account_failed", true);
    json_set(j, "timed_stats", json_list());
    return j;
}

/* The image has another size now. */
static void blk_order(struct dev *d, u64 size)
{
    virtio_config_changed(&((struct virtio_blk *)d)->virtio);
}

/* ---- life ---- */

static bool blk_start(struct dev *d, struct err *e)
{
    struct virtio_blk *b = (struct virtio_blk *)d;
    if (!b->node)
        return err_set(e, EINVAL, "drive property not set");
    if (b->queue_size < 4 || b->queue_size & (b->queue_size - 1))
        return err_set(e, EINVAL, "queue-size must be a power of two, from 4 to %u", VIRTIO_QUEUE_MAX);
    b->virtio.kind = &blk_kind;
    set_queues(b, b->queues);
    b->virtio.queue_size = b->queue_size;
    b->writeback = b->write_cache;
    return true;
}

static void blk_stop(struct dev *d)
{
    free(((struct virtio_blk *)d)->serial);
}

static void *blk_bus_side(struct dev *d)
{
    return &((struct virtio_blk *)d)->virtio;
}

static const struct dev_prop blk_props[] = {
    VIRTIO_PROPS(struct virtio_blk, virtio),
    DEV_PROP(struct virtio_blk, "drive", DEV_PROP_BLOCK, node, .help = "its image: the id of a -drive or -blockdev"),
    DEV_PROP(struct virtio_blk, "serial", DEV_PROP_STRING, serial, .help = "what it calls itself, up to 20 letters"),
    DEV_PROP(struct virtio_blk, "queue-size", DEV_PROP_U32, queue_size, 256, VIRTIO_QUEUE_MAX, "places of a queue"),
    DEV_PROP(struct virtio_blk, "num-queues", DEV_PROP_U32, queues, 0, VIRTIO_QUEUES,
             "queues; 0: one, on PCI one for each CPU"),
    DEV_PROP(struct virtio_blk, "write-cache", DEV_PROP_BOOL, write_cache, 1, .help = "writes end before they are safe"),
    {0},
};

static const struct state_field blk_state[] = {
    VIRTIO_STATE(struct virtio_blk, virtio), STATE_MAX(struct virtio_blk, writeback, 1), {0}};

const struct dev_class dev_virtio_blk = {
    .name = "virtio-blk-device", .help = "virtio disk", .size = sizeof(struct virtio_blk), .props = blk_props,
    .state = blk_state, .start = blk_start, .stop = blk_stop, .category = "Storage", .bus = "virtio-bus",
    .bus_side = blk_bus_side, .boot_unit = "disk@0,0", .subject = "blockstats", .show = blk_show,
    .order = blk_order,
};
