/* Dirty bitmaps in the image (section "Bitmaps extension" of the specification): a directory, and for each
 * bitmap a table of clusters that hold its bits.
 *
 * While a bitmap is in use its flag on disk says so, and what is on disk is not believed by anyone. It is
 * set before the first write that could change the bitmap, and taken away when the bits are saved. Both
 * are a new directory, which the header begins to name, so a crash leaves the one or the other. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "block/bitmap.h"
#include "block/qcow2/qcow2.h"

enum { EXT_LEN = 24, ENTRY = 24, MAX_BITMAPS = 65535, MAX_DIRECTORY = 64 << 20 };
enum { FLAG_IN_USE = 1 << 0, FLAG_AUTO = 1 << 1, FLAG_EXTRA_COMPATIBLE = 1 << 2 };
enum { TYPE_DIRTY = 1 };
#define ALL_ONES 1ull

/* ---- sizes ---- */

static u64 byte_count(const struct bitmap *b)
{
    return (b->size / b->granularity + (b->size % b->granularity != 0) + 7) / 8;
}

static u64 table_length(const struct qcow2 *q, u64 size, unsigned granularity_bits)
{
    u64 bits = (size >> granularity_bits) + ((size & mask64(granularity_bits)) != 0);
    return clusters_of(q, (bits + 7) / 8);
}

/* ---- the directory ---- */

static void stored_free(struct stored_bitmap *s)
{
    free(s->name);
    free(s->extra);
}

void bitmaps_drop(struct qcow2 *q)
{
    for (size_t i = 0; i < q->nbitmaps; i++)
        stored_free(&q->bitmaps[i]);
    free(q->bitmaps);
    q->bitmaps = NULL;
    q->nbitmaps = q->bitmap_cap = 0;
}

/* One entry of at most `left` bytes: its length, 0 if it is none. */
static u64 parse_entry(const struct qcow2 *q, const u8 *p, u64 left, struct stored_bitmap *s)
{
    if (left < ENTRY)
        return 0;
    u32 name = be16_at(p + 18), extra = be32_at(p + 20);
    u64 len = ALIGN_UP((u64)ENTRY + name + extra, 8u);
    *s = (struct stored_bitmap){.table = be64_at(p), .table_size = be32_at(p + 8), .flags = be32_at(p + 12),
                                .granularity_bits = p[17], .extra_len = extra};
    bool known = p[16] == TYPE_DIRTY && (!extra || (s->flags & FLAG_EXTRA_COMPATIBLE));
    bool placed = !(s->table & (q->cluster_size - 1)) && !(s->table >> 56) && s->table_size <= MAX_BITMAP_TABLE;
    if (len > left || !known || !placed || !name || name > BITMAP_MAX_NAME || extra > 65536 ||
        s->granularity_bits < BITMAP_MIN_BITS || s->granularity_bits > BITMAP_MAX_BITS)
        return 0;
    s->extra = xmalloc(extra + 1);
    memcpy(s->extra, p + ENTRY, extra);
    s->name = xprintf("%.*s", (int)name, (const char *)p + ENTRY + extra);
    return len;
}

static bool parse_directory(struct qcow2 *q, const u8 *bytes, u64 len, u32 count, struct err *e)
{
    u64 at = 0;
    for (u32 i = 0; i < count; i++) {
        struct stored_bitmap s;
        u64 step = parse_entry(q, bytes + at, len - at, &s);
        if (!step)
            return err_set(e, EINVAL, "entry %u of the bitmap directory of '%s' is damaged", i, q->fmt.node->filename);
        at += step;
        VEC_PUSH(q->bitmaps, q->nbitmaps, q->bitmap_cap) = s;
    }
    return true;
}

bool bitmaps_read(struct qcow2 *q, struct err *e)
{
    const struct extension *x = extension_get(q, EXT_BITMAPS);
    struct node *file = q->fmt.node->file;
    if (!x || !(q->autoclear & AUTOCLEAR_BITMAPS))
        return true;
    if (x->len != EXT_LEN)
        return err_set(e, EINVAL, "bitmaps_ext: Invalid extension length");
    u32 count = be32_at(x->data);
    u64 len = be64_at(x->data + 8), offset = be64_at(x->data + 16);
    if (!count || count > MAX_BITMAPS || !len || len > MAX_DIRECTORY || offset & (q->cluster_size - 1) || offset > file->size ||
        len > file->size - offset)
        return err_set(e, EINVAL, "bitmaps_ext: invalid number, size or offset of the bitmap directory");
    u8 *bytes = xmalloc(len);
    int error = node_io(file, BLK_READ, offset, bytes, len, 0);
    bool good = error ? err_set(e, error, "cannot read the bitmap directory: %s", strerror(error)) : parse_directory(q, bytes, len, count, e);
    free(bytes);
    q->bitmap_directory = offset;
    q->bitmap_directory_len = len;
    return good;
}

/* Write a directory to a new place, and the header that names it. */
static bool write_directory(struct qcow2 *q, struct err *e)
{
    u64 len = 0, offset = 0, old = q->bitmap_directory, old_len = q->bitmap_directory_len;
    for (size_t i = 0; i < q->nbitmaps; i++)
        len += ALIGN_UP(ENTRY + q->bitmaps[i].extra_len + strlen(q->bitmaps[i].name), 8u);
    u8 *bytes = xcalloc(1, len + 1), *p = bytes, ext[EXT_LEN] = {0};
    for (size_t i = 0; i < q->nbitmaps; i++) {
        const struct stored_bitmap *s = &q->bitmaps[i];
        size_t name = strlen(s->name);
        put_be64(p, s->table);
        put_be32(p + 8, s->table_size);
        put_be32(p + 12, s->flags);
        p[16] = TYPE_DIRTY;
        p[17] = s->granularity_bits;
        put_be16(p + 18, (u16)name);
        put_be32(p + 20, s->extra_len);
        memcpy(p + ENTRY, s->extra ? s->extra : p, s->extra_len);
        memcpy(p + ENTRY + s->extra_len, s->name, name);
        p += ALIGN_UP(ENTRY + s->extra_len + name, 8u);
    }
    bool good = !len || store_bytes(q, bytes, len, &offset, e);
    free(bytes);
    if (!good)
        return false;
    put_be32(ext, (u32)q->nbitmaps);
    put_be64(ext + 8, len);
    put_be64(ext + 16, offset);
    extension_set(q, EXT_BITMAPS, len ? ext : NULL, EXT_LEN);
    if (!header_fits(q, e))
        return false;
    q->autoclear = (q->autoclear & ~(u64)AUTOCLEAR_BITMAPS) | (len ? AUTOCLEAR_BITMAPS : 0);
    q->bitmap_directory = offset;
    q->bitmap_directory_len = len;
    if (old_len)
        clusters_free_later(q, old, old_len, FREED_OTHERWISE);
    return header_write_now(q, e);
}

/* ---- loading ---- */

/* The table of a bitmap as it is on disk; the caller frees it. */
static u8 *read_table(struct qcow2 *q, const struct stored_bitmap *s, struct err *e)
{
    u8 *table = xcalloc(s->table_size + 1, 8);
    int error = s->table_size ? node_io(q->fmt.node->file, BLK_READ, s->table, table, 8ull * s->table_size, 0) : 0;
    if (!error)
        return table;
    free(table);
    err_set(e, error, "cannot read bitmap '%s': %s", s->name, strerror(error));
    return NULL;
}

static bool good_entry(const struct qcow2 *q, u64 entry)
{
    u64 offset = entry & OFFSET_MASK;
    return !(entry & ~(OFFSET_MASK | ALL_ONES)) && !(offset & (q->cluster_size - 1)) && !(offset && (entry & ALL_ONES));
}

static bool load_bits(struct qcow2 *q, const struct stored_bitmap *s, struct bitmap *b, struct err *e)
{
    u64 bytes = byte_count(b);
    u8 *table = read_table(q, s, e), *buf = xmalloc(q->cluster_size);
    bool good = table != NULL;
    for (u32 i = 0; good && i < s->table_size; i++) {
        u64 entry = be64_at(table + 8ull * i), at = (u64)i << q->cluster_bits, len = MIN(bytes - at, (u64)q->cluster_size);
        int error = 0;
        if (!good_entry(q, entry))
            good = err_set(e, EINVAL, "the table of bitmap '%s' is damaged", s->name);
        else if (entry & OFFSET_MASK)
            error = node_io(q->fmt.node->file, BLK_READ, entry & OFFSET_MASK, buf, len, 0);
        else
            memset(buf, entry & ALL_ONES ? 0xff : 0, len);
        if (error)
            good = err_set(e, error, "cannot read bitmap '%s': %s", s->name, strerror(error));
        else if (good)
            bitmap_load(b, at, buf, len);
    }
    free(table);
    free(buf);
    b->changed = false;
    return good;
}

static bool load_all(struct qcow2 *q, struct err *e)
{
    for (size_t i = 0; i < q->nbitmaps; i++) {
        const struct stored_bitmap *s = &q->bitmaps[i];
        bool usable = !(s->flags & FLAG_IN_USE);
        if (usable && s->table_size != table_length(q, q->fmt.node->size, s->granularity_bits))
            return err_set(e, EINVAL, "bitmap '%s' does not fit the image", s->name);
        struct bitmap *b = bitmap_add(q->fmt.node, s->name, 1u << s->granularity_bits, usable, e);
        if (!b)
            return false;
        b->persistent = true;
        b->enabled = s->flags & FLAG_AUTO;
        if (usable && !load_bits(q, s, b, e))
            return false;
    }
    return true;
}

bool bitmaps_open(struct qcow2 *q, u32 flags, struct err *e)
{
    if (flags & (OPEN_NO_IO | OPEN_CHECK))
        return true;
    if ((flags & OPEN_WRITE) && extension_get(q, EXT_BITMAPS) && !(q->autoclear & AUTOCLEAR_BITMAPS)) {
        extension_set(q, EXT_BITMAPS, NULL, 0); /* somebody has written who did not know of them */
        header_touch(q, false);
    }
    if (!load_all(q, e)) {
        bitmaps_free(q->fmt.node);
        return !(flags & OPEN_WRITE); /* the data can be read all the same */
    }
    q->bitmaps_live = flags & OPEN_WRITE;
    bool any = false;
    for (size_t i = 0; q->bitmaps_live && i < q->nbitmaps; i++) {
        any |= !(q->bitmaps[i].flags & FLAG_IN_USE);
        q->bitmaps[i].flags |= FLAG_IN_USE;
    }
    return !any || (write_directory(q, e) && settle_all(q, e));
}

/* ---- saving ---- */

static bool free_stored(struct qcow2 *q, const struct stored_bitmap *s, struct err *e)
{
    u8 *table = read_table(q, s, e);
    for (u32 i = 0; table && i < s->table_size; i++) {
        u64 entry = be64_at(table + 8ull * i);
        if (good_entry(q, entry) && (entry & OFFSET_MASK))
            clusters_free_later(q, entry & OFFSET_MASK, q->cluster_size, FREED_OTHERWISE);
    }
    if (table && s->table_size)
        clusters_free_later(q, s->table, 8ull * s->table_size, FREED_OTHERWISE);
    bool good = table;
    free(table);
    return good;
}

static bool all_same(const u8 *p, u64 len, u8 v)
{
    return p[0] == v && !memcmp(p, p + 1, len - 1);
}

static bool store_bits(struct qcow2 *q, const struct bitmap *b, struct stored_bitmap *s, struct err *e)
{
    u64 bytes = byte_count(b), n = clusters_of(q, bytes);
    u8 *table = xcalloc(n + 1, 8), *buf = xmalloc(q->cluster_size);
    bool good = n <= MAX_BITMAP_TABLE || err_set(e, EFBIG, "bitmap '%s' is too large; a larger granularity helps", b->name);
    for (u64 i = 0; good && i < n; i++) {
        u64 at = i << q->cluster_bits, offset = 0;
        memset(buf, 0, q->cluster_size);
        bitmap_save(b, at, buf, MIN(bytes - at, (u64)q->cluster_size));
        if (all_same(buf, q->cluster_size, 0xff))
            offset = ALL_ONES;
        else if (!all_same(buf, q->cluster_size, 0))
            good = store_bytes(q, buf, q->cluster_size, &offset, e);
        put_be64(table + 8 * i, offset);
        if (good && meta_crowded(&q->fmt.meta))
            good = fmt_run_barrier(&q->fmt, e);
    }
    good = good && (!n || store_bytes(q, table, 8 * n, &s->table, e));
    s->table_size = (u32)n;
    free(table);
    free(buf);
    return good;
}

/* The entry for a bitmap that is to be saved. */
static bool save_one(struct qcow2 *q, const struct bitmap *b, const struct stored_bitmap *old, struct stored_bitmap *s, struct err *e)
{
    *s = (struct stored_bitmap){.granularity_bits = (u8)ctz64(b->granularity), .flags = b->enabled ? FLAG_AUTO : 0};
    if (old && (!b->bits || !b->changed)) {
        s->table = old->table;
        s->table_size = old->table_size;
        s->flags = b->bits ? s->flags : old->flags;
    } else if (!store_bits(q, b, s, e) || (old && !free_stored(q, old, e))) {
        return false;
    }
    if (old && old->extra_len) {
        s->flags |= FLAG_EXTRA_COMPATIBLE;
        s->extra_len = old->extra_len;
        s->extra = xmalloc(old->extra_len);
        memcpy(s->extra, old->extra, old->extra_len);
    }
    s->name = xstrdup(b->name);
    return true;
}

bool bitmaps_save(struct qcow2 *q, struct err *e)
{
    struct stored_bitmap *list = NULL;
    size_t count = 0, cap = 0, kept = 0;
    bool good = true;
    if (!q->bitmaps_live)
        return true;
    q->bitmaps_live = false;
    for (const struct bitmap *b = q->fmt.node->bitmaps; good && b; b = b->next) {
        if (!b->persistent)
            continue;
        const struct stored_bitmap *old = NULL;
        for (size_t i = 0; i < q->nbitmaps && !old; i++)
            old = strcmp(q->bitmaps[i].name, b->name) ? NULL : &q->bitmaps[i];
        struct stored_bitmap s;
        good = save_one(q, b, old, &s, e);
        if (good)
            VEC_PUSH(list, count, cap) = s;
        kept += old != NULL;
    }
    for (size_t i = 0; good && kept < q->nbitmaps && i < q->nbitmaps; i++) {
        if (!bitmap_find(q->fmt.node, q->bitmaps[i].name, NULL))
            good = free_stored(q, &q->bitmaps[i], e);
    }
    bool any = count || q->nbitmaps;
    if (!good) {
        for (size_t i = 0; i < count; i++)
            stored_free(&list[i]);
        free(list);
        return err_prefix(e, "the bitmaps of '%s' could not be saved", q->fmt.node->filename);
    }
    bitmaps_drop(q);
    q->bitmaps = list;
    q->nbitmaps = count;
    q->bitmap_cap = cap;
    return !any || (write_directory(q, e) && settle_all(q, e));
}

/* ---- what others need ---- */

enum step bitmaps_refer(struct qcow2 *q, struct bitmap_walk *w)
{
    if (q->bitmap_directory_len && !w->begun)
        w->refer(w->opaque, q->bitmap_directory, q->bitmap_directory_len);
    w->begun = true;
    for (; w->bitmap < q->nbitmaps; w->bitmap++, w->entry = 0) {
        const struct stored_bitmap *s = &q->bitmaps[w->bitmap];
        for (; w->entry < s->table_size; w->entry++) {
            const u8 *p = meta_get(&q->fmt.meta, s->table + 8ull * w->entry);
            if (!p)
                return STEP_NEED;
            u64 entry = be64_at(p);
            if (good_entry(q, entry) && (entry & OFFSET_MASK))
                w->refer(w->opaque, entry & OFFSET_MASK, q->cluster_size);
        }
        if (s->table_size)
            w->refer(w->opaque, s->table, 8ull * s->table_size);
    }
    return STEP_DONE;
}

struct json *bitmaps_json(const struct qcow2 *q)
{
    struct json *list = json_list();
    for (size_t i = 0; i < q->nbitmaps; i++) {
        const struct stored_bitmap *s = &q->bitmaps[i];
        struct json *o = json_object(), *flags = json_set(o, "flags", json_list());
        if ((s->flags & FLAG_IN_USE) && !q->bitmaps_live)
            json_push(flags, json_string("in-use"));
        if (s->flags & FLAG_AUTO)
            json_push(flags, json_string("auto"));
        json_set_string(o, "name", s->name);
        json_set_int(o, "granularity", 1ll << s->granularity_bits);
        json_push(list, o);
    }
    return list;
}

bool qcow2_bitmap_room(struct node *n, const char *name, struct err *e)
{
    const struct qcow2 *q = qcow2_of_node(n);
    size_t count = 0;
    for (const struct bitmap *b = n->bitmaps; b; b = b->next)
        count++;
    if (q->version < 3)
        return err_set(e, ENOTSUP, "Cannot store dirty bitmaps in qcow2 v2 files");
    return count < MAX_BITMAPS || err_set(e, ENOSPC, "'%s' has as many bitmaps as it can have", n->filename);
}

u64 bitmaps_measure(struct node *source, u64 size, u64 cluster_size)
{
    struct qcow2 like = {.cluster_size = (u32)cluster_size, .cluster_bits = ctz64(cluster_size)};
    u64 clusters = 0, directory = 0;
    for (const struct bitmap *b = source->bitmaps; b; b = b->next) {
        if (!b->persistent || !b->bits)
            continue;
        u64 n = table_length(&like, size, ctz64(b->granularity));
        clusters += n + clusters_of(&like, 8 * n);
        directory += ALIGN_UP(ENTRY + strlen(b->name), 8u);
    }
    return (clusters + clusters_of(&like, directory)) << like.cluster_bits;
}
