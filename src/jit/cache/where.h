/* What a region keeps of the places where it may leave in its middle, and which slots are stale there: packed. */
#ifndef LYRE_JIT_CACHE_WHERE_H
#define LYRE_JIT_CACHE_WHERE_H

#include "jit/cache/cache.h"

/* Pack what an allocation and the places in its code say: lists of stale slots, and buf->nfaults faults that name them. */
void where_encode(struct jit_bytes *lists, struct jit_bytes *faults, const struct ra *ra, const struct host_buf *buf);

/* The first of so many faults whose code is at offset `at`; false: there is none. */
bool where_find(const u8 *lists, const u8 *faults, u32 count, u32 at, struct jit_fault *out);

#endif
