/* The metadata cache of a format driver: aligned blocks of the image file, as they are on disk.
 *
 * A driver asks for a block; if it is not there, the driver's step ends with STEP_NEED, the data path
 * loads it and calls the step again. Blocks stay where they are while a step runs.
 *
 * A block is made dirty with a rank. Blocks are written in the order of their ranks, with the file
 * flushed between two ranks, and all of one write-back are taken at the same instant: what a block of a
 * higher rank refers to is on disk before it. */
#ifndef LYRE_BLOCK_META_H
#define LYRE_BLOCK_META_H

#include "block/node.h"

struct meta_block;
struct meta_job;

enum { META_RANKS = 4 };

struct meta {
    struct node *file;
    u32 block; /* bytes, a power of two */
    u64 need;  /* which block the last failed meta_get() wanted */
    size_t limit; /* blocks to keep */
    bool data_first; /* dirty blocks refer to data that must be on disk before them */

    /* Of the driver, called around a write-back; both may be NULL. */
    void *opaque;
    /* The new header if it has changed, with its length; NULL: it has not. It is written before the
     * blocks of *rank (META_RANKS: last). The caller frees it. */
    u8 *(*header)(void *opaque, u32 *len, unsigned *rank);
    /* All that was dirty at the time of the call to meta_writeback is on disk. */
    void (*settled)(void *opaque);
    void (*begun)(void *opaque); /* the instant at which the dirty blocks are taken; may set `first_rank` */
    unsigned first_rank;         /* blocks of lower ranks stay dirty, to be written later */

    /* NULL everywhere but in the test that plants a wrong order. */
    unsigned (*mutate)(unsigned rank);

    /* The blocks that were asked for last, by their number: most calls find theirs here. */
    struct meta_recent {
        u64 offset;
        u8 *data; /* NULL: none */
    } recent[16];
    unsigned shift; /* log2 of `block` */

    struct meta_block **buckets;
    size_t nbuckets, count, dirty, dirty_of[META_RANKS];
    struct meta_block *lru_first, *lru_last; /* oldest first */
    struct meta_job *writing;                /* the write-back that runs */
    struct meta_wait *waiting, **waiting_last; /* for the one after it */
};

struct meta_wait {
    void (*done)(struct meta_wait *w, int error);
    struct meta_wait *next;
};

void meta_init(struct meta *m, struct node *file, u32 block, size_t limit);
void meta_free(struct meta *m);

u8 *meta_find(struct meta *m, u64 offset);

/* The byte at `offset` and the rest of its block; NULL: not there, m->need says which. */
static inline u8 *meta_get(struct meta *m, u64 offset)
{
    const struct meta_recent *r = &m->recent[offset >> m->shift & (ARRAY_LEN(m->recent) - 1)];
    u64 in = offset & (m->block - 1);
    return likely(r->data && r->offset == offset - in) ? r->data + in : meta_find(m, offset);
}

/* The same for a block whose content on disk does not matter: all zeros. */
u8 *meta_new(struct meta *m, u64 offset);
void meta_dirty(struct meta *m, u64 offset, unsigned rank);
/* The blocks are not metadata any more. */
void meta_forget(struct meta *m, u64 offset, u64 len);
/* Forget everything, changes included. */
void meta_drop(struct meta *m);

/* Read the block at m->need. */
void meta_load(struct meta *m, struct meta_wait *w);
/* Write all that is dirty now and flush the file. */
void meta_writeback(struct meta *m, struct meta_wait *w);
bool meta_is_dirty(const struct meta *m);
/* So much is dirty that it should be written back before more becomes so. */
bool meta_crowded(const struct meta *m);

/* Both, turning the loop until done; 0 or an errno value. */
int meta_load_now(struct meta *m);
int meta_writeback_now(struct meta *m);

#endif
