/* A protocol for tests: a file in memory that remembers what was written and flushed, and can fail. */
#ifndef LYRE_TESTS_BLOCK_MEMORY_H
#define LYRE_TESTS_BLOCK_MEMORY_H

#include "block/node.h"

/* A write with its bytes, or (data NULL) a flush. */
struct memory_event {
    u64 offset, len;
    u8 *data;
};

struct memory {
    u8 *bytes;
    u64 room; /* bytes allocated */
    u64 size, limit; /* writes beyond the limit fail with ENOSPC */
    bool record;
    struct memory_event *events;
    size_t count, cap;
    u64 ops, fail_at; /* the write or flush with this number (from 1) fails with EIO; 0: none does */
    u64 fail_count;   /* how many in a row */
};

/* The memory is the caller's and outlives the node. */
struct node *memory_node(struct block_graph *g, struct memory *m, u32 flags);
void memory_free(struct memory *m);
/* A new image in it. */
bool memory_create(struct block_graph *g, struct memory *m, const char *options, u64 size);

struct rng {
    u64 state;
};
u64 rng_next(struct rng *r);
u64 rng_below(struct rng *r, u64 n);
/* LYRE_TEST_SEED, or another one each time; prints it. */
struct rng rng_seeded(void);

#endif
