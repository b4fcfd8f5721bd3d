/* A bump allocator: many small objects that die together. Not for several threads at once. */
#ifndef LYRE_BASE_ARENA_H
#define LYRE_BASE_ARENA_H

#include "base/types.h"

struct arena_block;

struct arena {
    struct arena_block *head; /* the block in use; older ones hang off it */
    size_t used, size;
};

/* Zeroed memory, aligned to 16 bytes. Never NULL: running out of host memory ends the process, as
 * no caller could go on. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_copy(struct arena *a, const void *data, size_t size);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Forget all objects but keep the largest block for the next use. */
void arena_reset(struct arena *a);
void arena_free(struct arena *a);

#endif
