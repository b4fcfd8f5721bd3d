#include "block/bitmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"

#define MAX_BITS (1ull << 32) /* of all bitmaps of a node: half a GiB */

static u64 bit_count(const struct bitmap *b)
{
    return b->size / b->granularity + (b->size % b->granularity != 0);
}

static size_t words(u64 bits)
{
    return (size_t)(bits / 64 + 1); /* one more than needed: a scan may look at it */
}

static bool good_name(const struct node *n, const char *name, struct err *e)
{
    size_t len = strlen(name);
    if (!len || len > BITMAP_MAX_NAME)
        return err_set(e, EINVAL, len ? "Bitmap name too long" : "Bitmap name cannot be empty");
    for (const struct bitmap *b = n->bitmaps; b; b = b->next) {
        if (!strcmp(b->name, name))
            return err_set(e, EEXIST, "Bitmap already exists: %s", name);
    }
    return true;
}

static bool has_memory(const struct node *n, u32 granularity, struct err *e)
{
    u64 bits = n->size / granularity;
    for (const struct bitmap *b = n->bitmaps; b; b = b->next)
        bits += b->bits ? bit_count(b) : 0;
    return bits <= MAX_BITS || err_set(e, EFBIG, "so many bits would not fit into memory; a larger granularity helps");
}

struct bitmap *bitmap_add(struct node *n, const char *name, u32 granularity, bool with_bits, struct err *e)
{
    if (!is_pow2(granularity) || granularity < 1u << BITMAP_MIN_BITS || granularity > 1u << BITMAP_MAX_BITS) {
        err_set(e, EINVAL, "Granularity must be power of 2 and at least 512");
        return NULL;
    }
    if (!good_name(n, name, e) || (with_bits && !has_memory(n, granularity, e)))
        return NULL;
    struct bitmap **last = &n->bitmaps;
    while (*last)
        last = &(*last)->next;
    struct bitmap *b = *last = xcalloc(1, sizeof(*b));
    b->name = xstrdup(name);
    b->granularity = granularity;
    b->enabled = true;
    b->size = n->size;
    if (with_bits)
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
    b->changed = true;
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
    b->changed = true;
    b->size = size;
    u64 now = bit_count(b);
    b->bits = xrealloc(b->bits, words(now) * 8);
    u64 keep = MIN(old, now);
    b->bits[keep / 64] &= keep % 64 ? mask64((unsigned)(keep % 64)) : 0;
    memset(b->bits + keep / 64 + 1, 0, (words(now) - keep / 64 - 1) * 8);
}

void bitmap_load(struct bitmap *b, u64 at, const u8 *from, u64 len)
{
    for (u64 i = 0; i < len; i++) {
        unsigned shift = (unsigned)((at + i) % 8 * 8);
        u64 *word = &b->bits[(at + i) / 8];
        *word = (*word & ~((u64)0xff << shift)) | (u64)from[i] << shift;
    }
}

void bitmap_save(const struct bitmap *b, u64 at, u8 *to, u64 len)
{
    for (u64 i = 0; i < len; i++)
        to[i] = (u8)(b->bits[(at + i) / 8] >> (at + i) % 8 * 8);
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

/* ---- what users ask for ---- */

static u32 default_granularity(struct node *n)
{
    struct image_info info;
    struct err e;
    u64 cluster = 65536;
    if (node_info(n, &info, &e)) {
        cluster = info.cluster_size ? MIN(MAX(info.cluster_size, 4096u), 65536u) : cluster;
        image_info_free(&info);
    }
    return (u32)cluster;
}

static bool add(struct node *n, const char *name, u32 granularity, struct err *e)
{
    if (!n->drv->bitmap_room)
        return err_set(e, ENOTSUP, "Can't store persistent bitmaps to %s: Operation not supported", n->filename);
    struct bitmap *b = n->drv->bitmap_room(n, name, e)
                           ? bitmap_add(n, name, granularity ? granularity : default_granularity(n), true, e)
                           : NULL;
    if (b)
        b->persistent = true;
    return b;
}

/* A bitmap that is good for something. */
static struct bitmap *usable(const struct node *n, const char *name, struct err *e)
{
    struct bitmap *b = bitmap_find(n, name, e);
    if (!b || b->bits)
        return b;
    err_set(e, EINVAL, "Bitmap '%s' is inconsistent and cannot be used\nTry block-dirty-bitmap-remove to delete this bitmap from disk", name);
    return NULL;
}

bool node_bitmap(struct node *n, enum bitmap_action action, const char *name, u32 granularity, struct err *e)
{
    if (!(n->flags & OPEN_WRITE))
        return err_set(e, EPERM, "'%s' is opened read-only", n->filename);
    if (action == BITMAP_ADD)
        return add(n, name, granularity, e);
    struct bitmap *b = action == BITMAP_REMOVE ? bitmap_find(n, name, e) : usable(n, name, e);
    if (!b)
        return false;
    if (action == BITMAP_REMOVE)
        bitmap_remove(n, b);
    else if (action == BITMAP_CLEAR)
        bitmap_set(b, 0, b->size, false);
    else
        b->enabled = action == BITMAP_ENABLE;
    return true;
}

bool node_bitmap_merge(struct node *n, const char *name, struct node *source, const char *from, struct err *e)
{
    struct bitmap *to = usable(n, name, e);
    const struct bitmap *b = to ? usable(source, from, e) : NULL;
    if (b && to->size != b->size)
        return err_set(e, EINVAL, "Bitmaps are of different sizes (destination size is %llu bytes) and can't be merged",
                       (unsigned long long)to->size);
    if (b)
        bitmap_merge(to, b);
    return b;
}

size_t node_bitmap_list(const struct node *n, struct bitmap_info **list)
{
    size_t count = 0, cap = 0;
    *list = NULL;
    for (const struct bitmap *b = n->bitmaps; b; b = b->next)
        if (b->persistent)
            VEC_PUSH(*list, count, cap) = (struct bitmap_info){b->name, b->granularity, b->enabled, !b->bits};
    return count;
}
