/* The lists of stale slots that a region keeps for its faults, packed. */
#ifndef LYRE_JIT_CACHE_WHERE_H
#define LYRE_JIT_CACHE_WHERE_H

#include "jit/cache/cache.h"

/* Fill region->fault and region->where from an allocation and the places in its code. */
void where_encode(struct jit_cache *c, const struct ra *ra, const struct host_buf *buf, struct jit_region *region);

#endif
