#include "block/bitmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"

static u64 bit_count(const struct bitmap *b)
{
    return b->size / b->granularity + (b->size % b->granularity != 0);
}

static size_t words(u64 bits)
{
    return (size_t)(bits / 64 + 1); /* one more than needed: a scan may look at it */
}

struct bitmap *bitmap_add(struct node *n, const char *name, u32 granularity, struct err *e)
{
    size_t len = strlen(name);
    if (!len || len > BITMAP_MAX_NAME) {
        err_set(e, EINVAL, len ? "Bitmap name too long" : "Bitmap name cannot be empty");
        return NULL;
    }
    if (!is_pow2(granularity) || granularity < 1u << BITMAP_MIN_BITS || granularity > 1u << BITMAP_MAX_BITS) {
        err_set(e, EINVAL, granularity < 512 ? "Granularity must be at least 512" : "Granularity must be a power of two of at most 2 GiB");
        return NULL;
    }
    struct bitmap **last = &n->bitmaps;
    for (; *last; last = &(*last)->next) {
        if (!strcmp((*last)->name, name)) {
            err_set(e, EEXIST, "Bitmap already exists: %s", name);
            return NULL;
        }
    }
    struct bitmap *b = *last = xcalloc(1, sizeof(*b));
    b->name = xstrdup(name);
    b->granularity = granularity;
    b->enabled = true;
    bitmap_resize(b, n->size);
    return b;
}

struct bitmap *bitmap_find(const struct node *n, const char *name, struct err *e)
{
    struct bitmap *b = n->bitmaps;
    while (b && strcmp(b->name, name))
        b = b->next;
    if (!b)
        err_set(e, ENOENT, "Dirty bitmap '%s' not found", name);
    return b;
}

void bitmap_remove(struct node *n, struct bitmap *b)
{
    struct bitmap **p = &n->bitmaps;
    while (*p != b)
        p = &(*p)->next;
    *p = b->next;
    free(b->name);
    free(b->bits);
    free(b);
}

void bitmaps_free(struct node *n)
{
    while (n->bitmaps)
        bitmap_remove(n, n->bitmaps);
}

static bool bit_at(const struct bitmap *b, u64 i)
{
    return b->bits[i / 64] >> (i % 64) & 1;
}

/* The first bit from `i` on that is `v`, below `end`; `end` if there is none. */
static u64 find_bit(const struct bitmap *b, u64 i, u64 end, bool v)
{
    while (i < end) {
        u64 word = (v ? b->bits[i / 64] : ~b->bits[i / 64]) >> (i % 64);
        if (word)
            return MIN(end, i + ctz64(word));
        i = (i / 64 + 1) * 64;
    }
    return end;
}

u64 bitmap_run(const struct bitmap *b, u64 offset, u64 len, bool *dirty)
{
    u64 end = offset + len, first = offset / b->granularity, last = (end - 1) / b->granularity + 1;
    *dirty = bit_at(b, first);
    u64 stop = find_bit(b, first, last, !*dirty);
    return stop == last ? len : stop * b->granularity - offset;
}

void bitmap_set(struct bitmap *b, u64 offset, u64 len, bool dirty)
{
    if (!len || offset >= b->size)
        return;
    u64 first = offset / b->granularity, last = (MIN(offset + len, b->size) - 1) / b->granularity;
    for (u64 i = first; i <= last;) {
        u64 n = MIN(64 - i % 64, last - i + 1), bits = mask64((unsigned)n) << (i % 64);
        b->bits[i / 64] = dirty ? b->bits[i / 64] | bits : b->bits[i / 64] & ~bits;
        i += n;
    }
}

void bitmaps_mark(struct node *n, u64 offset, u64 len)
{
    for (struct bitmap *b = n->bitmaps; b; b = b->next) {
        if (b->enabled && b->bits)
            bitmap_set(b, offset, len, true);
    }
}

u64 node_bitmap_run(struct node *n, const char *name, u64 offset, u64 len, bool *dirty)
{
    const struct bitmap *b = bitmap_find(n, name, NULL);
    if (!b || !b->bits || offset >= b->size)
        return 0;
    return bitmap_run(b, offset, MIN(len, b->size - offset), dirty);
}

void bitmap_merge(struct bitmap *to, const struct bitmap *from)
{
    u64 end = MIN(to->size, from->size);
    for (u64 at = 0; at < end;) {
        bool dirty;
        u64 n = bitmap_run(from, at, end - at, &dirty);
        if (dirty)
            bitmap_set(to, at, n, true);
        at += n;
    }
}

void bitmap_resize(struct bitmap *b, u64 size)
{
    u64 old = b->bits ? bit_count(b) : 0;
    b->size = size;
    u64 now = bit_count(b);
    b->bits = xrealloc(b->bits, words(now) * 8);
    u64 keep = MIN(old, now);
    b->bits[keep / 64] &= keep % 64 ? mask64((unsigned)(keep % 64)) : 0;
    memset(b->bits + keep / 64 + 1, 0, (words(now) - keep / 64 - 1) * 8);
}

u64 bitmap_count(const struct bitmap *b)
{
    u64 bytes = 0;
    for (u64 at = 0; at < b->size;) {
        bool dirty;
        u64 n = bitmap_run(b, at, b->size - at, &dirty);
        bytes += dirty ? n : 0;
        at += n;
    }
    return bytes;
}

u32 bitmap_default_granularity(u64 cluster_size)
{
    return cluster_size ? (u32)MIN(MAX(cluster_size, 4096u), 65536u) : 65536;
}
