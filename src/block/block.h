/* Disk images: a graph of nodes, each a format, a filter or a protocol (docs/block.md). A graph and its
 * nodes belong to the thread that runs its loop. */
#ifndef LYRE_BLOCK_BLOCK_H
#define LYRE_BLOCK_BLOCK_H

#include <sys/uio.h>

#include "base/err.h"
#include "base/types.h"
#include "data/json.h"
#include "event/aio.h"

struct block_graph;
struct node;

/* ---- graphs ---- */

/* How files do their I/O. AUTO: what the page cache has (or takes) at once is copied on the spot, the
 * rest goes to io_uring, or to threads where there is none. Programs that must not stall for a write
 * choose one of the others. */
enum block_aio { BLOCK_AIO_AUTO, BLOCK_AIO_THREADS, BLOCK_AIO_URING };

struct block_graph *block_graph_new(enum block_aio aio, struct err *e);
/* All nodes must be closed. */
void block_graph_free(struct block_graph *g);
struct loop *block_graph_loop(struct block_graph *g);
struct pool *block_graph_pool(struct block_graph *g);

/* Ask before a file or a server is opened, be it named by the user or by an image. `name` is a path or a URI.
 * NULL: everything may be opened, as it is without this call. */
void block_graph_restrict(struct block_graph *g, bool (*may_open)(void *opaque, const char *name, bool write), void *opaque);

/* `--object secret`: what `key-secret` options name. */
void block_secret_set(struct block_graph *g, const char *id, const u8 *data, size_t len);

/* TLS credentials of `--object tls-creds-...`, by id; they live as long as the graph. */
struct tls_config;
bool block_tls_creds_set(struct block_graph *g, const char *id, const struct tls_config *c, struct err *e);

/* Limits that filters "throttle" of the group share; set again to change them. 0: none. A burst (bytes or
 * operations) may pass at once. */
enum { BPS_TOTAL, BPS_READ, BPS_WRITE, IOPS_TOTAL, IOPS_READ, IOPS_WRITE, THROTTLE_LIMITS };
struct throttle_limits {
    u64 rate[THROTTLE_LIMITS], burst[THROTTLE_LIMITS]; /* a second */
};
bool block_throttle_group_set(struct block_graph *g, const char *id, const struct throttle_limits *l, struct err *e);

/* ---- nodes ---- */

enum open_flags {
    OPEN_WRITE = 1 << 0,
    OPEN_NO_BACKING = 1 << 1, /* do not open what the image names as its backing file */
    OPEN_NO_IO = 1 << 2,      /* metadata alone is wanted: no data file, no passphrase */
    OPEN_SHARE = 1 << 3,      /* do not take locks (-U) */
    OPEN_NO_CACHE = 1 << 4,   /* O_DIRECT */
    OPEN_NO_FLUSH = 1 << 5,   /* cache=unsafe */
    OPEN_CHECK = 1 << 6,      /* open what is marked corrupt, too, to check or repair it */
    OPEN_NO_DISCARD = 1 << 7, /* ignore discards, unless the option `discard` says otherwise */
    OPEN_WRITE_THROUGH = 1 << 8, /* a write has ended when it is on the disk */
    OPEN_ALONE = 1 << 9,      /* nobody else may write to it: a machine's disk, or what is copied. Formats with metadata always are */
    OPEN_SAME_SIZE = 1 << 10, /* nobody else may resize it */
};

/* Open an image. `options` is an object as blockdev-add has it ("driver", "file", "backing" ..., nested
 * or with dots), or NULL; `filename` may be NULL if the options name one. `format` NULL: find out.
 * Waits for the files. NULL on failure. */
struct node *node_open(struct block_graph *g, const char *filename, const char *format,
                       const struct json *options, u32 flags, struct err *e);

/* A format or filter on top of a node, which it takes over (also when it fails). */
struct node *node_open_above(struct node *file, const char *format, const struct json *options, u32 flags, struct err *e);

struct node *node_ref(struct node *n);

/* Nodes that were given a `node-name`, which other nodes' options may name as a child ("file": "NAME"). NULL: there is none. */
struct node *node_find(const struct block_graph *g, const char *name);
/* All of them, one after the other, beginning with NULL. */
struct node *node_next_named(const struct block_graph *g, const struct node *before);
const char *node_name(const struct node *n); /* NULL: none */

/* Whether others may write to its file, beside OPEN_ALONE: of who is given an image that is open. False: somebody does. */
bool node_set_alone(struct node *n, bool alone, struct err *e);
/* Drop a reference. The last one writes back what is dirty and closes; false: something was lost. */
bool node_close(struct node *n, struct err *e);

/* Open for writing what was opened read-only, a backing file for example. Waits. */
bool node_make_writable(struct node *n, struct err *e);

u64 node_size(const struct node *n);           /* bytes */
const char *node_format(const struct node *n); /* the driver's name */
const char *node_filename(const struct node *n);
bool node_read_only(const struct node *n);
struct node *node_file(const struct node *n);    /* NULL: none */
struct node *node_backing(const struct node *n); /* NULL: none, or not opened */
bool node_probed(const struct node *n);          /* its format was not given but guessed */
/* Its bytes are those of a block device: they hold something before they are written, and the size is fixed. */
bool node_is_device(const struct node *n);

/* Read bytes of a file without a request, from any thread, while the node is open and nobody writes there. Behind the end are
 * zeros. False: not to be had that way; a request reads them, or says why it cannot. */
bool node_peek(const struct node *n, u64 offset, void *buf, u64 len);
/* Whether formats and protocols are all that is read: what a status names as `file` may be read in place of the node. */
bool node_is_plain(const struct node *n);
/* Whether bytes are written to the file before node_submit() returns, if no metadata is missing. */
bool node_writes_at_once(const struct node *n);
bool bytes_are_zero(const u8 *p, u64 len);

/* ---- requests ---- */

enum blk_op { BLK_READ, BLK_WRITE, BLK_ZERO, BLK_DISCARD, BLK_FLUSH, BLK_STATUS,
    BLK_PULL, /* have in this layer what comes from its backing file */
    BLK_RESERVE /* of a file: have room for what will be written there; nothing that is read changes */ };

enum blk_flags {
    BLK_FUA = 1 << 0,
    BLK_MAY_UNMAP = 1 << 1,   /* zero: room may be given back */
    BLK_NO_FALLBACK = 1 << 2, /* zero: fail rather than write zeros */
    BLK_COMPRESS = 1 << 3,    /* write: whole clusters, compressed */
    BLK_INTERNAL = 1 << 4,    /* below the range locks: of the data path itself */
    BLK_VM_STATE = 1 << 5,    /* of a driver: what lies behind the end of the disk */
    BLK_AS_IT_IS = 1 << 6,    /* write: zeros are written, whatever `detect-zeroes` says */
};

enum status_flags {
    STATUS_DATA = 1 << 0,      /* read it to know it */
    STATUS_ZERO = 1 << 1,      /* reads as zeros */
    STATUS_ALLOCATED = 1 << 2, /* this layer decides what is read */
    STATUS_OFFSET = 1 << 3,    /* lies at `host` in `file` as it is read */
    STATUS_COMPRESSED = 1 << 4,
};

struct blk_status {
    u32 flags;
    u64 len;
    u64 host;
    struct node *file;
};

/* A request. The caller fills the first part; all that it points to must live until `done`, which is
 * called on the loop and never from within node_submit(). The node may change `op` and `flags` (`detect-zeroes`). */
struct blk_req {
    enum blk_op op;
    u32 flags;
    u64 offset, len;
    const struct iovec *iov; /* `len` bytes altogether; NULL for zero, discard, flush, status */
    unsigned niov;
    struct node *from; /* write: in place of `iov` the bytes that lie in this file at `from_at`; ENOTSUP: read them. NULL: no */
    u64 from_at;
    struct blk_status *status;
    void (*done)(struct blk_req *r);

    int error; /* out: 0 or an errno value */

    struct node *node; /* from here on the node's */
    bool cancelled;
    struct loop_task task;
    struct blk_req *next;
    struct blk_req *whole, *parts, *next_part, **this_part; /* see node_submit_part() */
};

void node_submit(struct node *n, struct blk_req *r);

/* Ask for an early end, also of what is done for the request below: `done` comes with ECANCELED if the request had not started
 * its last step, or waited for something that may never come. */
void node_cancel(struct blk_req *r);

/* Turn the loop until no request is in flight at the node. */
void node_drain(struct node *n);

/* Submit and turn the loop until done. 0 or an errno value. */
int node_io(struct node *n, enum blk_op op, u64 offset, void *buf, u64 len, u32 flags);
int node_status(struct node *n, u64 offset, u64 len, struct blk_status *s);
int node_flush(struct node *n);
/* The same for a request that the caller has filled in but for `done`. */
int node_rw(struct node *n, const struct blk_req *r);

/* As node_status(), through the backing files. *depth: in which layer it was found. */
int node_status_chain(struct node *n, u64 offset, u64 len, struct blk_status *s, unsigned *depth);

/* The same without waiting; the object is the caller's until `done`. */
struct chain_status {
    struct blk_status s; /* out, with depth and error */
    unsigned depth;
    int error;
    void (*done)(struct chain_status *c);
    struct node *n; /* the rest is the node's */
    struct blk_req r;
};
void node_chain_status_start(struct node *n, u64 offset, u64 len, struct chain_status *c);

/* Breakpoints of a `blkdebug` below the node: the request that comes after an event (of its rules' names) is held until it is let go.
 * A breakpoint is gone when it has held one. ENOTSUP: there is no such filter. ENOENT: no such event, or no breakpoint of that tag. */
struct break_watch {
    void (*told)(void *opaque, const char *tag, bool held); /* a request is held now, or goes on */
    void *opaque;
};
bool node_break_set(struct node *n, const char *event, const char *tag, const struct break_watch *watch, struct err *e);
/* Let a request go that is held under this tag. */
bool node_break_resume(struct node *n, const char *tag, struct err *e);
/* Take away the breakpoints of a tag (NULL: all), and let go what is held there. ENOENT: none of them was yet to be reached. */
bool node_break_remove(struct node *n, const char *tag, struct err *e);
/* Whether a request is held under this tag. */
bool node_break_reached(const struct node *n, const char *tag);

/* What went wrong in the last request that failed at this node, for people; "" if nothing is known. */
const char *node_error_text(const struct node *n);

/* ---- management: waits; no request may be in flight ---- */

/* Create an image file. `options` are those of the format and "size"; the file lies at `filename`. */
bool block_create(struct block_graph *g, const char *format, const char *filename,
                  const struct json *options, struct err *e);

struct block_option {
    const char *name, *type, *help; /* type as the user reads it: "size", "bool (on/off)" ... */
};
/* The options of a format, ended by a NULL name; NULL: there is no such format, or it cannot create. */
const struct block_option *block_create_options(const char *format);
const struct block_option *block_amend_options(const char *format);

/* The names of all drivers, in order, ended by NULL. */
const char *const *block_driver_names(void);

enum prealloc { PREALLOC_OFF, PREALLOC_METADATA, PREALLOC_FALLOC, PREALLOC_FULL };
bool prealloc_parse(const char *s, enum prealloc *p, struct err *e);
bool node_truncate(struct node *n, u64 size, enum prealloc p, struct err *e);

enum { FIX_LEAKS = 1, FIX_ERRORS = 2 };

struct check_result {
    u64 corruptions, leaks, corruptions_fixed, leaks_fixed;
    u64 image_end; /* first byte after the last cluster in use */
    u64 total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
    /* What was found, line by line; NULL: nobody wants to know. */
    void (*report)(struct check_result *c, const char *line);
    void (*progress)(struct check_result *c, u64 done, u64 total); /* in units of its own; may be NULL */
    void *opaque;
};
/* false: the check could not be finished. ENOTSUP: the format has none. */
bool node_check(struct node *n, u32 fix, struct check_result *c, struct err *e);

struct snapshot_info {
    char *id, *name;
    u64 vm_size, date_sec, vm_clock_nsec, icount, disk_size;
    u32 date_nsec;
    bool has_icount;
};
/* Names are ids or names. The list is the caller's to free with snapshot_list_free(). */
bool node_snapshot_list(struct node *n, struct snapshot_info **list, size_t *count, struct err *e);
void snapshot_list_free(struct snapshot_info *list, size_t count);
/* The machine that the disk belongs to, if its state has been written: what the snapshot tells of it. */
struct snapshot_vm {
    u64 size; /* bytes of state */
    u64 clock_nsec, icount;
    bool has_icount;
};
/* `vm` NULL: the disk alone. The state is the snapshot's then, and not there any more for another one. */
bool node_snapshot_create(struct node *n, const char *name, const struct snapshot_vm *vm, struct err *e);
bool node_snapshot_apply(struct node *n, const char *name, struct err *e);
bool node_snapshot_delete(struct node *n, const char *name, struct err *e);
/* Read what a snapshot holds from now on; the node is read-only. */
bool node_snapshot_load(struct node *n, const char *id, const char *name, struct err *e);

/* The state of a machine: bytes beside those of the disk, for the snapshot that is taken next, or of the one that
 * was applied last. What was not written reads as zeros. Wait. */
bool node_vmstate_write(struct node *n, u64 offset, const void *data, u64 len, struct err *e);
bool node_vmstate_read(struct node *n, u64 offset, void *data, u64 len, struct err *e);

struct image_info {
    u64 cluster_size; /* 0: none */
    u64 actual_size;  /* bytes that the file takes on the host; UINT64_MAX: not known */
    char *backing, *backing_format, *full_backing;
    u64 vm_state_offset; /* 0: none */
    bool dirty, encrypted;
    struct json *specific; /* of the format: an object, or NULL */
};
bool node_info(struct node *n, struct image_info *info, struct err *e);
void image_info_free(struct image_info *info);

/* Name another backing file in the image (NULL: none); the open graph stays as it is. */
bool node_set_backing(struct node *n, const char *file, const char *format, struct err *e);
/* `force`: also what may lose data. */
bool node_amend(struct node *n, const struct json *options, bool force, struct err *e);
/* Give up all that the image itself holds, so that it shows its backing file. */
bool node_make_empty(struct node *n, struct err *e);
/* Give the room of the file that the image does not use back to the host: as holes, and at the end of the file. An image that
 * is damaged may use more than it counts: check it first. */
bool node_give_back(struct node *n, struct err *e);
/* Whether the image has more than `bytes` of its file in use. */
bool node_uses_more(struct node *n, u64 bytes, bool *more, struct err *e);

enum bitmap_action { BITMAP_ADD, BITMAP_REMOVE, BITMAP_CLEAR, BITMAP_ENABLE, BITMAP_DISABLE };
/* Granularity (of a new one; bytes): 0 for the usual. The image has it when the node is closed. */
bool node_bitmap(struct node *n, enum bitmap_action action, const char *name, u32 granularity,
                 struct err *e);
/* Set in bitmap `name` what is set in bitmap `from` of `source`, which may be the same node. */
bool node_bitmap_merge(struct node *n, const char *name, struct node *source, const char *from, struct err *e);

struct bitmap_info {
    const char *name; /* the node's */
    u32 granularity;
    bool enabled, inconsistent;
};
/* The caller frees the list. */
size_t node_bitmap_list(const struct node *n, struct bitmap_info **list);
/* Whether the node's format can keep bitmaps. */
bool node_has_bitmaps(const struct node *n);

/* Bytes from `offset` on, at most `len`, that the bitmap says are all dirty, or all not; 0: there is no
 * such bitmap. */
u64 node_bitmap_run(struct node *n, const char *name, u64 offset, u64 len, bool *dirty);

/* How large a new image of `size` bytes would be, with the data of `source` (NULL: none), and full of
 * data. *bitmaps: room for the source's, UINT64_MAX: one of the formats has none. */
bool block_measure(const char *format, const struct json *options, u64 size, struct node *source,
                   u64 *required, u64 *full,
                   u64 *bitmaps, struct err *e);

/* "64k" as bytes: suffixes k, M, G, T, P, E; a fraction is allowed with one. */
bool size_parse(const char *s, u64 *v);

#endif
