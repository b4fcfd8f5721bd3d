/* Dirty bitmaps: which parts of a node have been written since the bitmap was made or cleared. A bit
 * stands for `granularity` bytes. An enabled bitmap has a bit set before the write that it stands for
 * begins. */
#ifndef LYRE_BLOCK_BITMAP_H
#define LYRE_BLOCK_BITMAP_H

#include "block/node.h"

enum { BITMAP_MAX_NAME = 1023, BITMAP_MIN_BITS = 9, BITMAP_MAX_BITS = 31 };

struct bitmap {
    char *name;
    u32 granularity; /* bytes, a power of two */
    u64 size;        /* bytes covered */
    u64 *bits;       /* NULL: not loaded (inconsistent ones never are) */
    bool enabled, persistent;
    bool inconsistent; /* its owner did not come to save it: only to be removed */
    struct bitmap *next;
};

/* One more for a node; NULL if the name is taken or the granularity is none. */
struct bitmap *bitmap_add(struct node *n, const char *name, u32 granularity, struct err *e);
/* NULL and an error text if there is none. */
struct bitmap *bitmap_find(const struct node *n, const char *name, struct err *e);
void bitmap_remove(struct node *n, struct bitmap *b);
void bitmaps_free(struct node *n);

/* Bytes from `offset` on that are all dirty or all clean, at most `len`. */
u64 bitmap_run(const struct bitmap *b, u64 offset, u64 len, bool *dirty);
void bitmap_set(struct bitmap *b, u64 offset, u64 len, bool dirty);
/* The node's bytes are about to change: all its enabled bitmaps take note. */
void bitmaps_mark(struct node *n, u64 offset, u64 len);
/* Set in `to` what is set in `from`; the granularities may differ. */
void bitmap_merge(struct bitmap *to, const struct bitmap *from);
void bitmap_resize(struct bitmap *b, u64 size);
u64 bitmap_count(const struct bitmap *b); /* dirty bytes */

/* The granularity of a new bitmap if none is given. */
u32 bitmap_default_granularity(u64 cluster_size);

#endif
