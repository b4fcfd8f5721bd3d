#include "user/maptab.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void maptab_free(struct maptab *t)
{
    free(t->map);
    *t = (struct maptab){0};
}

size_t maptab_lower(const struct maptab *t, u64 addr)
{
    size_t lo = 0, hi = t->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (t->map[mid].end > addr)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

const struct map *maptab_find(const struct maptab *t, u64 addr)
{
    size_t i = maptab_lower(t, addr);
    return i < t->count && t->map[i].start <= addr ? &t->map[i] : NULL;
}

/* Open `n` unused entries at index `i`. */
static void open_gap(struct maptab *t, size_t i, size_t n)
{
    while (t->count + n > t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->map = xrealloc(t->map, t->cap * sizeof(*t->map));
    }
    memmove(&t->map[i + n], &t->map[i], (t->count - i) * sizeof(*t->map));
    t->count += n;
}

static void close_gap(struct maptab *t, size_t i, size_t n)
{
    memmove(&t->map[i], &t->map[i + n], (t->count - i - n) * sizeof(*t->map));
    t->count -= n;
}

static void move_start(struct map *m, u64 start)
{
    if (m->flags & MAP_IS_FILE)
        m->offset += start - m->start;
    m->start = start;
}

/* Make sure that no mapping reaches over `addr`. */
static void split(struct maptab *t, u64 addr)
{
    size_t i = maptab_lower(t, addr);
    if (i == t->count || t->map[i].start >= addr)
        return;
    open_gap(t, i, 1);
    t->map[i] = t->map[i + 1];
    t->map[i].end = addr;
    move_start(&t->map[i + 1], addr);
}

void maptab_remove(struct maptab *t, u64 start, u64 end)
{
    split(t, start);
    split(t, end);
    size_t i = maptab_lower(t, start), j = i;
    while (j < t->count && t->map[j].start < end)
        j++;
    if (j > i)
        close_gap(t, i, j - i);
}

static bool continues(const struct map *a, const struct map *b)
{
    return a->end == b->start && a->prot == b->prot && a->flags == b->flags && a->dev == b->dev &&
           a->ino == b->ino && a->offset + (a->flags & MAP_IS_FILE ? a->end - a->start : 0) == b->offset;
}

/* Join entries i and i + 1 if they continue each other. */
static void join(struct maptab *t, size_t i)
{
    if (i + 1 < t->count && continues(&t->map[i], &t->map[i + 1])) {
        t->map[i].end = t->map[i + 1].end;
        close_gap(t, i + 1, 1);
    }
}

void maptab_insert(struct maptab *t, const struct map *m)
{
    struct map copy = *m; /* it may lie in the table */
    maptab_remove(t, copy.start, copy.end);
    size_t i = maptab_lower(t, copy.start);
    open_gap(t, i, 1);
    t->map[i] = copy;
    join(t, i);
    if (i)
        join(t, i - 1);
}

void maptab_protect(struct maptab *t, u64 start, u64 end, u32 prot)
{
    split(t, start);
    split(t, end);
    size_t first = maptab_lower(t, start), i = first;
    for (; i < t->count && t->map[i].start < end; i++)
        t->map[i].prot = prot;
    while (i > first)
        join(t, --i);
    if (first)
        join(t, first - 1);
}

bool maptab_covers(const struct maptab *t, u64 start, u64 end)
{
    for (size_t i = maptab_lower(t, start); start < end; i++) {
        if (i == t->count || t->map[i].start > start)
            return false;
        start = t->map[i].end;
    }
    return true;
}

bool maptab_overlaps(const struct maptab *t, u64 start, u64 end)
{
    size_t i = maptab_lower(t, start);
    return start < end && i < t->count && t->map[i].start < end;
}

bool maptab_executable(const struct maptab *t, u64 start, u64 end)
{
    for (size_t i = maptab_lower(t, start); i < t->count && t->map[i].start < end; i++) {
        if (t->map[i].prot & MAP_EXEC)
            return true;
    }
    return false;
}

u64 maptab_gap(const struct maptab *t, u64 len, u64 align, u64 low, u64 high)
{
    size_t i = maptab_lower(t, high);
    if (i < t->count && t->map[i].start < high)
        high = t->map[i].start;
    for (;;) {
        u64 floor = i ? t->map[i - 1].end : 0;
        if (floor < low)
            floor = low;
        if (high < low || high < len)
            return 0;
        u64 at = ALIGN_DOWN(high - len, align);
        if (at >= floor && at)
            return at;
        if (!i)
            return 0;
        high = t->map[--i].start;
    }
}
