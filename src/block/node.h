/* What drivers see of nodes and graphs. */
#ifndef LYRE_BLOCK_NODE_H
#define LYRE_BLOCK_NODE_H

#include "block/block.h"

enum node_kind { NODE_FORMAT, NODE_FILTER, NODE_PROTOCOL };

struct fmt;

/* What a format does to the node below it, told in advance: for blkdebug. */
enum blk_event {
    EVENT_NONE, EVENT_READ_AIO, EVENT_WRITE_AIO, EVENT_COW_READ, EVENT_COW_WRITE, EVENT_L1_UPDATE, EVENT_L2_UPDATE,
    EVENT_L2_LOAD, EVENT_REFTABLE_UPDATE, EVENT_REFBLOCK_UPDATE, EVENT_FLUSH_TO_OS, EVENT_FLUSH_TO_DISK, EVENT_READ_BACKING_AIO,
    EVENT_READ_COMPRESSED, EVENT_WRITE_COMPRESSED, EVENT_COR_WRITE, EVENT_VMSTATE_LOAD, EVENT_VMSTATE_SAVE, EVENT_CLUSTER_ALLOC,
    EVENT_CLUSTER_ALLOC_BYTES, EVENT_CLUSTER_FREE, EVENT_REFBLOCK_ALLOC, EVENT_REFTABLE_GROW, EVENT_L1_GROW_ALLOC_TABLE,
    EVENT_EMPTY_IMAGE_PREPARE, EVENT_PWRITEV, EVENT_PWRITEV_ZERO, BLK_EVENTS,
};

/* Breakpoints, as block.h has them for whole graphs. */
struct break_ops {
    bool (*set)(struct node *n, const char *event, const char *tag, const struct break_watch *watch, struct err *e);
    bool (*resume)(struct node *n, const char *tag, struct err *e);
    bool (*remove)(struct node *n, const char *tag, struct err *e);
    bool (*reached)(const struct node *n, const char *tag);
};

struct driver {
    const char *name;
    enum node_kind kind;
    /* How sure the driver is that the first bytes are its format's: 0 is no. */
    int (*probe)(const u8 *head, size_t len);
    /* Options are flat names below this node's; those used are taken out, and what is left is refused. */
    bool (*open)(struct node *n, struct json *options, u32 flags, struct err *e);
    bool (*close)(struct node *n, struct err *e); /* free the state; false: something was lost */
    /* Requests, of protocols and filters; formats have struct format_ops. */
    void (*submit)(struct node *n, struct blk_req *r);
    void (*cancel)(struct node *n, struct blk_req *r);
    void (*event)(struct node *n, enum blk_event event); /* NULL: of no interest */
    const struct break_ops *breaks; /* NULL: none */
    bool (*peek)(const struct node *n, u64 offset, void *buf, u64 len); /* as node_peek(); NULL: never */
    bool copies; /* takes writes with `from` */
    bool reserves; /* takes BLK_RESERVE, which the others have nothing to do for */
    bool fua; /* it sees to BLK_FUA itself; otherwise node_done() flushes */

    bool (*create)(struct block_graph *g, const char *filename, struct json *options, struct err *e);
    const struct block_option *create_options, *amend_options;
    /* What opening for writing does beyond opening; n->flags has OPEN_WRITE already. NULL: nothing. */
    bool (*make_writable)(struct node *n, struct err *e);
    bool (*truncate)(struct node *n, u64 size, enum prealloc p, struct err *e);
    bool (*check)(struct node *n, u32 fix, struct check_result *c, struct err *e);
    bool (*snapshot_list)(struct node *n, struct snapshot_info **list, size_t *count, struct err *e);
    bool (*snapshot_create)(struct node *n, const char *name, const struct snapshot_vm *vm, struct err *e);
    bool (*snapshot_apply)(struct node *n, const char *name, struct err *e);
    bool (*snapshot_delete)(struct node *n, const char *name, struct err *e);
    bool (*snapshot_load)(struct node *n, const char *id, const char *name, struct err *e);
    bool (*vmstate_write)(struct node *n, u64 offset, const void *data, u64 len, struct err *e);
    bool (*vmstate_read)(struct node *n, u64 offset, void *data, u64 len, struct err *e);
    bool (*info)(struct node *n, struct image_info *info, struct err *e);
    bool (*set_backing)(struct node *n, const char *file, const char *format, struct err *e);
    bool (*amend)(struct node *n, const struct json *options, bool force, struct err *e);
    bool (*make_empty)(struct node *n, struct err *e);
    bool (*give_back)(struct node *n, struct err *e); /* NULL: it keeps no room that it does not use */
    bool (*uses_more)(struct node *n, u64 bytes, bool *more, struct err *e); /* NULL: it does not know */
    /* Whether one more bitmap can be stored. The driver saves the persistent ones when it closes. */
    bool (*bitmap_room)(struct node *n, const char *name, struct err *e);
    bool (*measure)(const struct json *options, u64 size, struct node *source, u64 *required, u64 *full,
                    u64 *bitmaps, struct err *e);
};

struct node {
    const struct driver *drv;
    struct block_graph *graph;
    char *filename;
    char *name; /* `node-name`; NULL: none */
    struct node *next_named;
    unsigned refs;
    u32 flags; /* open_flags */
    bool probed;
    bool growable; /* protocol: a write may go beyond the end */
    bool device;   /* its bytes are those of a block device, which hold something before they are written */
    bool no_discard; /* discards are ignored, and what becomes zeros keeps its room */
    enum { DETECT_OFF, DETECT_ON, DETECT_UNMAP } detect_zeroes; /* in writes; UNMAP: and give up their room */
    bool at_once;  /* protocol: bytes are written within submit */
    u64 size;
    struct bitmap *bitmaps;
    struct node *file, *backing, *data; /* children; `data`: external data file */
    char *backing_name, *backing_format; /* as the image has them; NULL: none */
    unsigned depth; /* layers above it */
    struct fmt *fmt;                    /* formats */
    void *state;                        /* protocols and filters */
    unsigned inflight;
    unsigned jobs;                      /* that work on it: it must stay as it is, but for what is written */
    struct err error; /* of the last request that failed for a reason worth words */
};

struct secret {
    char *id;
    u8 *data;
    size_t len;
    struct secret *next;
};

struct tls_named {
    char *id;
    bool server;
    const struct tls_ops *ops;
    struct tls_creds *creds;
    struct tls_named *next;
};

struct block_graph {
    struct loop *loop;
    struct pool *pool;
    struct aio *aio;
    bool copy_at_once; /* BLOCK_AIO_AUTO */
    unsigned nodes;
    struct node *named;
    struct secret *secrets;
    struct throttle_group *throttle_groups;
    struct tls_named *tls;
    bool (*may_open)(void *opaque, const char *name, bool write);
    void *may_open_opaque;
};

/* Whether no job works on the node; otherwise *e says so. */
bool node_is_free(const struct node *n, struct err *e);

/* throttle.c */
void throttle_groups_free(struct block_graph *g);

static inline void node_event(struct node *n, enum blk_event event)
{
    if (n->drv->event)
        n->drv->event(n, event);
}

extern const struct driver *const drivers[]; /* ended by NULL */
const struct driver *driver_by_name(const char *name);

/* The format that a file begins like. */
enum { PROBE_SIZE = 512 };
const struct driver *format_of(const u8 *head);

/* Submit what is done for another request, in whole or in part: it is cancelled with that one. */
void node_submit_part(struct node *n, struct blk_req *r, struct blk_req *whole);

/* End a request: on the loop, now or from within submit. */
void node_done(struct blk_req *r, int error);
/* The same, but later: for what ends within submit. */
void node_done_later(struct blk_req *r, int error);

/* Do a request to write zeros by writing them, unless it has BLK_NO_FALLBACK: for a protocol that has no
 * better way. From within submit or later. */
void node_write_zeros(struct node *n, struct blk_req *r);

/* A node without state; it belongs to the graph until node_close(). */
struct node *node_new(struct block_graph *g, const struct driver *drv, const char *filename, u32 flags);

/* Open the child that `options` describes under `name` ("file"), or `filename`. */
struct node *node_open_child(struct node *parent, const char *name, const char *filename,
                             const char *format, struct json *options, u32 flags, struct err *e);

/* Take the lock of an image's external data file, which nobody else may resize and so no other image may have. */
bool node_lock_data(struct node *n, struct err *e);

void tls_creds_free(struct block_graph *g);
/* From now on the stream's bytes are encrypted; its handshake is part of the first reads and writes. */
struct stream;
/* `peer` as of struct tls_ops. */
bool tls_begin(const struct tls_named *t, struct stream *s, const char *peer, struct err *e);
/* The credentials of that id, which must be a server's or a client's. */
const struct tls_named *tls_find(const struct block_graph *g, const char *id, bool server, struct err *e);

/* Whether the protocol node may open what it is to be; its file name is final. */
bool node_may_open(const struct node *n, struct err *e);

/* What the option `key-secret` or similar names. */
const struct secret *secret_find(const struct block_graph *g, const char *id, struct err *e);

/* The protocol that a file name asks for: by its prefix, otherwise `file`. NULL and an error if there is
 * none. Its options are added to `options` (may be NULL); *rest is what is left as a file's name, or NULL. */
const struct driver *protocol_of(const char *filename, struct json *options, const char **rest, struct err *e);

/* The name that an image gets for its backing file, wherever the image lies; the caller frees it. */
char *node_lasting_name(const struct node *n);

/* A name that an image holds, seen from the directory of the image; the caller frees it. */
char *path_beside(const char *image, const char *name);

/* ---- scatter/gather ---- */

/* Write to `out` what lies `skip` bytes into a vector, `len` bytes long; returns how many entries
 * (at most niov). */
unsigned iov_slice(const struct iovec *iov, unsigned niov, u64 skip, u64 len, struct iovec *out);
void iov_from(const struct iovec *iov, unsigned niov, u64 skip, const void *from, u64 len);
void iov_to(const struct iovec *iov, unsigned niov, u64 skip, void *to, u64 len);
void iov_zero(const struct iovec *iov, unsigned niov, u64 skip, u64 len);
bool iov_is_zero(const struct iovec *iov, unsigned niov);

/* ---- options ---- */

/* Take the members out whose names begin with "name.", without that. NULL: there are none. */
struct json *opt_group(struct json *o, const char *name);
/* Take out what a format passes on to the file that it makes. */
struct json *opt_of_file(struct json *o);
bool opt_has_group(const struct json *o, const char *name);
/* Take a member out of an options object. A missing member leaves *v as it is and is no error. */
bool opt_string(struct json *o, const char *name, char **v, struct err *e);
bool opt_size(struct json *o, const char *name, u64 *v, struct err *e);
bool opt_bool(struct json *o, const char *name, bool *v, struct err *e);

#endif
