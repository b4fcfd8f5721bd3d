/* What a format driver implements: a mapping from guest offsets to places in files, and its changes.
 *
 * None of these functions waits. A function that misses metadata returns STEP_NEED (meta_get() has noted
 * which); it is called again when the block is there, so it changes nothing before it has all that it
 * needs. The data path (path.c) does all I/O, and calls these under its range locks. */
#ifndef LYRE_BLOCK_FORMAT_H
#define LYRE_BLOCK_FORMAT_H

#include "block/meta.h"

enum step {
    STEP_DONE,
    STEP_NEED,    /* load meta.need, then call again */
    STEP_BARRIER, /* write back all metadata, then call again */
    STEP_ROOM,    /* have the file reserve fmt.wanted, then call again */
    STEP_FAIL,    /* the errno value is in fmt.failure */
};

enum extent_kind {
    EXTENT_BACKING, /* not here */
    EXTENT_ZERO,
    EXTENT_DATA,
    EXTENT_PACKED, /* a compressed cluster */
};

struct extent {
    enum extent_kind kind;
    u64 len;            /* bytes from the offset asked for that are all like this */
    u64 start;          /* of alloc: the guest offset at which it begins */
    struct node *file;  /* where `host` is */
    u64 host;           /* of the offset asked for; packed: of the first compressed byte */
    u32 packed_len;     /* bytes to read for a packed cluster, at most */
    bool in_place;      /* a write may go to `host` without asking */
    bool fresh;         /* of alloc: all of it reads as zeros where nothing is written */
    bool has_room;      /* zero: `host` is valid and reserved. alloc: it was reserved before */
};

struct fmt;

struct format_ops {
    enum step (*map)(struct fmt *f, u64 offset, u64 len, struct extent *x);

    /* Room for a write of `len` bytes, both aligned to f->unit. Fills x->file, host, fresh, x->start and
     * x->len: the room is for the bytes from there on, which may be fewer than asked for, or more on
     * either side. What is there is unchanged until link(). NULL: the format maps all offsets to
     * themselves plus a constant, and everything is passed on. */
    enum step (*alloc)(struct fmt *f, u64 offset, u64 len, struct extent *x);
    /* Room for one compressed cluster of x->packed_len bytes. */
    enum step (*alloc_packed)(struct fmt *f, struct extent *x); /* with x->start and len set */
    /* The data is written: show it. */
    enum step (*link)(struct fmt *f, const struct extent *x);
    /* The data could not be written: give the room back. */
    void (*release)(struct fmt *f, const struct extent *x);
    /* What fmt_give_up() was told, from this offset of the file on, may be used again. */
    void (*left)(struct fmt *f, u64 offset);

    /* Make whole units read as zeros, or give them up. *done: bytes dealt with; 0 means that the format has no way
     * to say it: zeros are to be written, or of `discard` made in the data file, which has them at the same place. */
    enum step (*zero)(struct fmt *f, u64 offset, u64 len, u32 flags, u64 *done);
    enum step (*discard)(struct fmt *f, u64 offset, u64 len, u64 *done);

    /* Compress and expand one cluster, on any thread. pack returns the length, 0 if it did not fit into
     * `room`; unpack whether it was well-formed. */
    size_t (*pack)(const struct fmt *f, const u8 *from, u8 *to, size_t room);
    bool (*unpack)(const struct fmt *f, const u8 *from, size_t len, u8 *to);
    /* Encrypt or decrypt in place; `guest` and `host` as in the extent. NULL: plain. On any thread. */
    void (*crypt)(const struct fmt *f, bool encrypt, u64 guest, u64 host, u8 *data, size_t len);
};

struct range_lock {
    u64 start, end;
    bool exclusive, held;
    void (*granted)(struct range_lock *l);
    struct range_lock *next;
};

/* A range of the file. */
struct fmt_room {
    u64 offset, len;
};

enum { UNPACKED_KEPT = 4, ROOMS_KEPT = 16 };

/* The part of a driver's state that the data path works on. */
struct fmt {
    struct node *node;
    const struct format_ops *ops;
    struct meta meta;
    u32 unit;    /* bytes: the smallest piece that can be mapped on its own */
    u32 cluster; /* bytes: of compression and allocation; 0: none */
    u64 shift;   /* of formats without alloc(): host offset of guest offset 0 */
    bool encrypted;
    int failure; /* why a step failed, an errno value */

    struct fmt_room wanted, rooms[ROOMS_KEPT]; /* rooms: that were reserved, the one that was asked for last first */
    struct range_lock *locks; /* in order of arrival */
    struct leaving *leaving;  /* room that is given up, that of the last call first */
    size_t nleaving;
    struct loop_task leave;
    struct { /* clusters that were expanded last */
        u64 host;
        u8 *data;
    } unpacked[UNPACKED_KEPT];
    unsigned unpacked_next;
};

void fmt_init(struct fmt *f, struct node *n, const struct format_ops *ops);
void fmt_free(struct fmt *f);

/* The submit function of all formats. */
void path_submit(struct node *n, struct blk_req *r);

/* The file is to give up the room of this range, to which nothing refers on disk: soon, together with what else becomes
 * free meanwhile. Until ops->left() says so the range must not be used for anything else. */
void fmt_give_up(struct fmt *f, u64 offset, u64 len);
bool fmt_is_leaving(const struct fmt *f, u64 offset);

/* To be asked by a step before it changes tables in this range: a disk that is full then fails the request that needs them, and not
 * the write-back of what others were told is written. STEP_DONE: there is room. */
enum step fmt_have_room(struct fmt *f, u64 offset, u64 len);

/* A step failed: set the error and its text for the node, and return STEP_FAIL. */
/* Wait until all metadata is on disk. */
bool fmt_run_barrier(struct fmt *f, struct err *e);

enum step fmt_fail(struct fmt *f, int error, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* A change that takes many steps (a check, a snapshot). `step` keeps its place in the object that the
 * job lies in. Turns the loop until done; no request may be in flight. */
struct fmt_job {
    enum step (*step)(struct fmt *f, struct fmt_job *j);
};
bool fmt_run(struct fmt *f, struct fmt_job *j, struct err *e);

#endif
