/* The table of a guest's mappings: disjoint ranges in address order. It only keeps books; space.c
 * makes the host follow. No locking: the owner has one lock for table and host calls together. */
#ifndef LYRE_USER_MAPTAB_H
#define LYRE_USER_MAPTAB_H

#include "base/types.h"

enum map_flags {
    MAP_IS_SHARED = 1 << 0,
    MAP_IS_FILE = 1 << 1,
    MAP_IS_STACK = 1 << 2,
    MAP_IS_HEAP = 1 << 3, /* the brk area */
    MAP_IS_VDSO = 1 << 4,
    MAP_IS_SHM = 1 << 5, /* System V shared memory */
};

/* MAP_GUARDED: indirect branches may only go to landing pads. */
enum map_prot { MAP_READ = 1, MAP_WRITE = 2, MAP_EXEC = 4, MAP_GUARDED = 8, MAP_PROT = 15 };

struct map {
    u64 start, end; /* page aligned, end exclusive */
    u32 prot;       /* enum map_prot, as the guest asked for */
    u32 flags;
    u64 dev, ino, offset; /* of files: which one, and the offset of `start`; else 0 */
};

struct maptab {
    struct map *map;
    size_t count, cap;
};

void maptab_free(struct maptab *t);

/* Index of the first mapping that ends after `addr`; t->count if there is none. */
size_t maptab_lower(const struct maptab *t, u64 addr);

/* The mapping that contains `addr`, or NULL. Valid until the next change. */
const struct map *maptab_find(const struct maptab *t, u64 addr);

/* Take [start, end) out, splitting mappings that reach over its ends. */
void maptab_remove(struct maptab *t, u64 start, u64 end);

/* Put a mapping in, in place of whatever was in its range. Neighbours that continue each other are
 * joined. */
void maptab_insert(struct maptab *t, const struct map *m);

/* Give [start, end), all of which is mapped, a new protection. */
void maptab_protect(struct maptab *t, u64 start, u64 end, u32 prot);

/* Is all of [start, end) mapped; is any byte of it; is any mapping of it executable? */
bool maptab_covers(const struct maptab *t, u64 start, u64 end);
bool maptab_overlaps(const struct maptab *t, u64 start, u64 end);
bool maptab_executable(const struct maptab *t, u64 start, u64 end);

/* The highest address `a`, a multiple of `align`, with low <= a, a + len <= high and nothing mapped
 * in between; 0 if there is none. */
u64 maptab_gap(const struct maptab *t, u64 len, u64 align, u64 low, u64 high);

#endif
