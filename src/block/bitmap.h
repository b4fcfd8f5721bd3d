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
    u64 *bits;       /* NULL: whoever had it did not come to save it, so it is good for nothing */
    bool enabled, persistent;
    bool changed;      /* since it was loaded */
    struct bitmap *next;
};

/* One more for a node; NULL if the name is taken, the granularity is none, or it would take too much memory. */
struct bitmap *bitmap_add(struct node *n, const char *name, u32 granularity, bool with_bits, struct err *e);
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

/* Bits as bytes, the lowest bit first: those from byte `at` on. */
void bitmap_load(struct bitmap *b, u64 at, const u8 *from, u64 len);
void bitmap_save(const struct bitmap *b, u64 at, u8 *to, u64 len);

#endif
