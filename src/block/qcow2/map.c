/* The mapping itself: L1 and L2 tables, and all changes of them that requests make. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "block/qcow2/qcow2.h"

enum step qcow2_damaged(struct qcow2 *q, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    u32 flags = q->fmt.node->flags;
    if ((flags & OPEN_WRITE) && !(flags & OPEN_CHECK) && q->version >= 3 && !q->damaged) {
        q->damaged = true;
        q->incompatible |= INCOMPAT_CORRUPT;
        header_touch(q, false);
    }
    return fmt_fail(&q->fmt, EIO, "%s", text);
}

/* ---- reading entries ---- */

static u64 l2_index(const struct qcow2 *q, u64 guest)
{
    return guest >> q->cluster_bits & mask64(q->l2_bits);
}

static u64 l1_index(const struct qcow2 *q, u64 guest)
{
    return guest >> (q->cluster_bits + q->l2_bits);
}

enum step l1_decode(struct qcow2 *q, u64 entry, u64 *table)
{
    *table = entry & OFFSET_MASK;
    if (*table & (q->cluster_size - 1) || (*table && overlaps_tables(q, *table, q->cluster_size)))
        return qcow2_damaged(q, "'%s' is damaged: an L1 entry names an L2 table at %#llx; try \"check -r all\"",
                        q->fmt.node->filename, (unsigned long long)*table);
    return STEP_DONE;
}

enum step l2_decode(struct qcow2 *q, const u8 *p, u64 guest, struct l2_entry *l)
{
    *l = (struct l2_entry){.raw = be64_at(p), .bitmap = q->ext_l2 ? be64_at(p + 8) : 0};
    if (l->raw & L2_COMPRESSED) {
        unsigned bits = 62 - (q->cluster_bits - 8);
        l->packed = true;
        l->host = l->raw & mask64(bits);
        l->packed_len = (u32)((bits64(l->raw, bits, 62 - bits) + 1) * 512 - (l->host & 511));
        if (l->host >> 56)
            return qcow2_damaged(q, "'%s' is damaged at guest offset %#llx: compressed data at %#llx",
                            q->fmt.node->filename, (unsigned long long)guest, (unsigned long long)l->host);
        return STEP_DONE;
    }
    l->copied = l->raw & L2_COPIED;
    l->zero = !q->ext_l2 && q->version >= 3 && (l->raw & L2_ZERO);
    l->host = l->raw & OFFSET_MASK;
    bool both = l->bitmap & l->bitmap >> SUBCLUSTERS & mask64(SUBCLUSTERS);
    if ((l->host & (q->cluster_size - 1)) || both)
        return qcow2_damaged(q, "'%s' is damaged at guest offset %#llx: L2 entry %#llx; try \"check -r all\"",
                        q->fmt.node->filename, (unsigned long long)guest, (unsigned long long)l->raw);
    return STEP_DONE;
}

/* Whether the entry has a place for data; in an external file, 0 is one. */
static bool has_host(const struct qcow2 *q, const struct l2_entry *l)
{
    return !l->packed && (l->host || (has_data_file(q) && l->copied));
}

/* What the entry says of the (sub)cluster with this guest offset. */
static enum extent_kind kind_of(const struct qcow2 *q, const struct l2_entry *l, u64 guest)
{
    if (l->packed)
        return EXTENT_PACKED;
    if (q->ext_l2) {
        unsigned i = (unsigned)((guest & (q->cluster_size - 1)) / q->fmt.unit);
        if (l->bitmap >> i & 1)
            return has_host(q, l) ? EXTENT_DATA : EXTENT_ZERO;
        return l->bitmap >> (SUBCLUSTERS + i) & 1 ? EXTENT_ZERO : EXTENT_BACKING;
    }
    return l->zero ? EXTENT_ZERO : has_host(q, l) ? EXTENT_DATA : EXTENT_BACKING;
}

/* How many of the `most` entries behind p are what it is, each `step` bytes on: those need no decoding. */
static u64 entries_alike(const u8 *p, u64 most, u64 step)
{
    u64 n = 0, raw = be64_at(p) + step;
    while (n < most && be64_at(p + (n + 1) * sizeof(raw)) == raw) {
        raw += step;
        n++;
    }
    return n;
}

/* The L2 table of a guest offset; 0: there is none. */
static enum step find_table(struct qcow2 *q, u64 guest, u64 *table, bool *copied)
{
    *table = 0;
    *copied = false;
    if (l1_index(q, guest) >= q->l1_size)
        return STEP_DONE;
    const u8 *p = meta_get(&q->fmt.meta, q->l1_offset + 8 * l1_index(q, guest));
    if (!p)
        return STEP_NEED;
    u64 entry = be64_at(p);
    *copied = entry & L2_COPIED;
    return l1_decode(q, entry, table);
}

static u64 entry_offset(const struct qcow2 *q, u64 table, u64 guest)
{
    return table + l2_index(q, guest) * q->l2_entry;
}

/* How many entries from this one on lie in the same block of the cache and the same table. */
static u64 entries_left(const struct qcow2 *q, u64 guest)
{
    u64 per_block = q->fmt.meta.block / q->l2_entry;
    return per_block - l2_index(q, guest) % per_block;
}

static enum step map(struct fmt *f, u64 offset, u64 len, struct extent *x)
{
    struct qcow2 *q = qcow2_of(f);
    u64 table, mask = q->cluster_size - 1;
    bool copied;
    enum step s = find_table(q, offset, &table, &copied);
    if (s != STEP_DONE)
        return s;
    x->file = f->node->data ? f->node->data : f->node->file;
    if (!table) {
        u64 span = (u64)q->cluster_size << q->l2_bits;
        x->kind = EXTENT_BACKING;
        x->len = MIN(len, span - (offset & (span - 1)));
        return STEP_DONE;
    }
    const u8 *p = meta_get(&f->meta, entry_offset(q, table, offset));
    if (!p)
        return STEP_NEED;
    u64 left = entries_left(q, offset), at = offset;
    struct l2_entry l;
    s = l2_decode(q, p, at, &l);
    if (s != STEP_DONE)
        return s;
    x->kind = kind_of(q, &l, at);
    x->host = l.packed ? l.host : l.host + (offset & mask);
    x->packed_len = l.packed_len;
    x->has_room = x->kind != EXTENT_DATA && has_host(q, &l);
    x->in_place = x->kind == EXTENT_DATA && l.copied && !q->frozen && !q->damaged;
    if (l.packed)
        x->file = f->node->file;
    u64 clusters = MIN(left, clusters_of(q, (offset & mask) + len)), step = has_host(q, &l) ? q->cluster_size : 0;
    u64 alike = q->ext_l2 || l.packed ? 0 : entries_alike(p, clusters - 1, step);
    at += alike << q->cluster_bits;
    p += alike * q->l2_entry;
    left -= alike;
    l.host += alike * step;
    /* Go on while it looks the same. */
    for (;;) {
        u64 next = ALIGN_DOWN(at, (u64)f->unit) + f->unit;
        if (l.packed)
            next = ALIGN_DOWN(at, (u64)q->cluster_size) + q->cluster_size;
        at = next;
        if (at - offset >= len || l.packed)
            break;
        if (!(at & mask)) {
            if (!--left)
                break;
            p += q->l2_entry;
            u64 host = l.host;
            bool was_host = has_host(q, &l), was_copied = l.copied;
            if (l2_decode(q, p, at, &l) != STEP_DONE)
                break; /* an error for who reads that far */
            bool places = x->kind == EXTENT_DATA || x->has_room;
            if (has_host(q, &l) != was_host)
                break;
            if (places && (l.host != host + q->cluster_size || l.copied != was_copied))
                break;
        }
        if (kind_of(q, &l, at) != x->kind)
            break;
    }
    x->len = MIN(len, at - offset);
    if (x->in_place && !has_data_file(q) && overlaps_tables(q, x->host, x->len))
        return qcow2_damaged(q, "'%s' is damaged: guest offset %#llx lies over the image's own tables; try \"check -r all\"",
                        f->node->filename, (unsigned long long)offset);
    return STEP_DONE;
}

/* ---- an L2 table that may be written ---- */

/* Copy a table that a snapshot has, too, or make a new one. */
static enum step own_table(struct qcow2 *q, u64 guest, u64 *table)
{
    struct meta *m = &q->fmt.meta;
    bool copied;
    enum step s = find_table(q, guest, table, &copied);
    if (s != STEP_DONE || (*table && copied))
        return s;
    if (l1_index(q, guest) >= q->l1_size)
        return fmt_fail(&q->fmt, EIO, "'%s': guest offset %#llx lies beyond the L1 table", q->fmt.node->filename,
                        (unsigned long long)guest);
    for (u64 at = 0; *table && at < q->cluster_size; at += m->block) {
        if (!meta_get(m, *table + at))
            return STEP_NEED;
    }
    u64 first, n;
    s = clusters_find(q, 1, 1, &first, &n);
    if (s == STEP_DONE)
        s = fmt_have_room(&q->fmt, first << q->cluster_bits, q->cluster_size);
    u64 l1 = q->l1_offset + 8 * l1_index(q, guest);
    if (s == STEP_DONE)
        s = fmt_have_room(&q->fmt, ALIGN_DOWN(l1, (u64)m->block), m->block);
    if (s != STEP_DONE)
        return s;
    clusters_take(q, first, n);
    u64 new = first << q->cluster_bits;
    for (u64 at = 0; at < q->cluster_size; at += m->block) {
        u8 *to = meta_new(m, new + at);
        if (*table)
            memcpy(to, meta_get(m, *table + at), m->block);
        meta_dirty(m, new + at, RANK_L2);
    }
    if (*table)
        clusters_free_later(q, *table, q->cluster_size, FREED_OTHERWISE);
    put_be64(meta_get(m, l1), new | L2_COPIED);
    meta_dirty(m, l1, RANK_L1);
    *table = new;
    return STEP_DONE;
}

/* The entry of a guest offset in a table that may be written. */
static enum step own_entry(struct qcow2 *q, u64 guest, u8 **p)
{
    u64 table;
    if (q->damaged)
        return fmt_fail(&q->fmt, EIO, "'%s' is damaged and not written any more; run \"check -r all\"", q->fmt.node->filename);
    enum step s = clusters_settle(q);
    if (s == STEP_DONE)
        s = own_table(q, guest, &table);
    if (s != STEP_DONE)
        return s;
    *p = meta_get(&q->fmt.meta, entry_offset(q, table, guest));
    return *p ? STEP_DONE : STEP_NEED;
}

static void dirty_entry(struct qcow2 *q, u64 guest)
{
    u64 table;
    bool copied;
    find_table(q, guest, &table, &copied);
    meta_dirty(&q->fmt.meta, entry_offset(q, table, guest), RANK_L2);
}

static void put_entry(struct qcow2 *q, u8 *p, u64 entry, u64 bitmap)
{
    put_be64(p, entry);
    if (q->ext_l2)
        put_be64(p + 8, bitmap);
}

/* What an entry referred to is not wanted any more. */
static void drop_data(struct qcow2 *q, const struct l2_entry *l, enum freed_by by)
{
    if (l->packed || (l->host && !has_data_file(q)))
        clusters_free_later(q, l->host, l->packed ? l->packed_len : q->cluster_size, by);
}

/* ---- room for writes ---- */

/* How many clusters from an entry on need new room, up to `most`. */
static enum step count_new(struct qcow2 *q, const u8 *p, u64 guest, u64 most, u64 *n)
{
    for (*n = 0; *n < most; ++*n) {
        struct l2_entry l;
        enum step s = l2_decode(q, p + *n * q->l2_entry, guest + (*n << q->cluster_bits), &l);
        if (s != STEP_DONE)
            return s;
        bool comes_along = q->ext_l2 && (l.packed || has_host(q, &l)); /* as a whole: on its own, later */
        if (*n && (comes_along || (has_host(q, &l) && l.copied)))
            return STEP_DONE;
    }
    return STEP_DONE;
}

static enum step alloc(struct fmt *f, u64 offset, u64 len, struct extent *x)
{
    struct qcow2 *q = qcow2_of(f);
    struct node *data = f->node->data;
    u64 mask = q->cluster_size - 1, in = offset & mask, n;
    struct l2_entry l;
    u8 *p;
    enum step s = own_entry(q, offset, &p);
    if (s == STEP_DONE)
        s = l2_decode(q, p, offset, &l);
    if (s != STEP_DONE)
        return s;
    x->start = offset;
    if (has_host(q, &l) && l.copied) { /* the place is there, only not in use as it is */
        if (!data && overlaps_tables(q, l.host, q->cluster_size))
            return qcow2_damaged(q, "'%s' is damaged: guest offset %#llx lies over the image's own tables; try \"check -r all\"",
                            f->node->filename, (unsigned long long)offset);
        x->file = data ? data : f->node->file;
        x->host = l.host + in;
        x->len = MIN(len, q->cluster_size - in);
        x->has_room = true;
        return STEP_DONE;
    }
    if (l.packed || has_host(q, &l)) { /* the rest of the cluster comes along */
        x->start = offset - in;
        len = MAX(len + in, (u64)q->cluster_size);
        in = 0;
    }
    u64 wanted = clusters_of(q, in + len);
    s = count_new(q, p, offset, MIN(wanted, entries_left(q, offset)), &n);
    if (s != STEP_DONE)
        return s;
    if (data) {
        x->file = data;
        x->host = x->start;
    } else {
        u64 first;
        s = clusters_alloc(q, 1, n, &first, &n);
        if (s != STEP_DONE)
            return s;
        x->file = f->node->file;
        x->host = (first << q->cluster_bits) + in;
        x->fresh = x->file->growable && first << q->cluster_bits >= x->file->size;
    }
    x->len = MIN(len, (n << q->cluster_bits) - in);
    return STEP_DONE;
}

static enum step link_packed(struct qcow2 *q, const struct extent *x)
{
    struct l2_entry l;
    u8 *p;
    enum step s = own_entry(q, x->start, &p);
    if (s == STEP_DONE)
        s = l2_decode(q, p, x->start, &l);
    if (s != STEP_DONE)
        return s;
    drop_data(q, &l, FREED_OTHERWISE);
    q->fmt.meta.data_first = true;
    u64 sectors = ((x->host & 511) + x->packed_len + 511) / 512 - 1;
    put_entry(q, p, L2_COMPRESSED | sectors << (62 - (q->cluster_bits - 8)) | x->host, 0);
    dirty_entry(q, x->start);
    return STEP_DONE;
}

static enum step link(struct fmt *f, const struct extent *x)
{
    struct qcow2 *q = qcow2_of(f);
    if (x->kind == EXTENT_PACKED)
        return link_packed(q, x);
    u64 mask = q->cluster_size - 1, end = x->start + x->len;
    u8 *p;
    enum step s = own_entry(q, x->start, &p);
    if (s != STEP_DONE)
        return s;
    for (u64 at = x->start; at < end; p += q->l2_entry) {
        u64 stop = MIN(end, ALIGN_DOWN(at, (u64)q->cluster_size) + q->cluster_size);
        u64 host = ALIGN_DOWN(x->host + (at - x->start), (u64)q->cluster_size), bitmap = 0;
        struct l2_entry l;
        if (l2_decode(q, p, at, &l) != STEP_DONE)
            return STEP_FAIL;
        if (l.packed || (has_host(q, &l) && l.host != host))
            drop_data(q, &l, FREED_OTHERWISE);
        /* What shows now must be there before the map shows it: copies of what was there, or zeros. */
        f->meta.data_first |= !x->fresh || l.raw || l.bitmap;
        if (q->ext_l2) {
            u64 bits = mask64((unsigned)((stop - at + f->unit - 1) / f->unit)) << (at & mask) / f->unit;
            bitmap = ((l.packed ? 0 : l.bitmap) | bits) & ~(bits << SUBCLUSTERS);
        }
        put_entry(q, p, host | L2_COPIED, bitmap);
        at = stop;
    }
    dirty_entry(q, x->start);
    return STEP_DONE;
}

static void release(struct fmt *f, const struct extent *x)
{
    struct qcow2 *q = qcow2_of(f);
    u64 start = ALIGN_DOWN(x->host, (u64)q->cluster_size);
    u64 len = x->kind == EXTENT_PACKED ? x->packed_len : x->len;
    if (!x->has_room && x->file != f->node->data) /* nothing refers to it, so nothing has to be written first */
        freed_push(&q->ready, start, clusters_of(q, x->host + len - start), FREED_OTHERWISE);
}

static void left(struct fmt *f, u64 offset)
{
    struct qcow2 *q = qcow2_of(f);
    q->free_hint = MIN(q->free_hint, offset >> q->cluster_bits);
}

/* Compressed clusters stand one behind the other, and share the clusters of the file. */
static enum step alloc_packed(struct fmt *f, struct extent *x)
{
    struct qcow2 *q = qcow2_of(f);
    u64 shared = 0, first, n;
    u8 *p;
    node_event(f->node->file, EVENT_CLUSTER_ALLOC_BYTES);
    enum step s = own_entry(q, x->start, &p);
    u64 at = q->packed_at, in = at & (q->cluster_size - 1); /* own_entry() may have freed that cluster */
    if (s == STEP_DONE && at)
        s = refcount_get(q, at >> q->cluster_bits, &shared);
    if (s != STEP_DONE)
        return s;
    x->file = f->node->file;
    bool may_share = at && in && shared && shared < refcount_max(q);
    if (!may_share || in + x->packed_len > q->cluster_size) {
        s = clusters_alloc(q, 1, 1, &first, &n);
        if (s != STEP_DONE)
            return s;
        bool goes_on = may_share && first == (at >> q->cluster_bits) + 1;
        if (!goes_on) {
            may_share = false;
            at = first << q->cluster_bits;
        }
    }
    if (may_share)
        refcount_set(q, at >> q->cluster_bits, shared + 1);
    x->host = at;
    at += x->packed_len;
    q->packed_at = at & (q->cluster_size - 1) ? at : 0;
    return STEP_DONE;
}

/* ---- zeros and discards ---- */

/* Make [offset, offset + len) of one cluster zero or (of a discard) empty. */
static void clear_entry(struct qcow2 *q, u8 *p, const struct l2_entry *l, u64 offset, u64 len, bool keep)
{
    u32 unit = q->fmt.unit;
    bool whole = len == q->cluster_size;
    if (!q->ext_l2) {
        keep = keep && has_host(q, l) && l->copied;
        if (!keep)
            drop_data(q, l, FREED_BY_REQUEST);
        put_be64(p, q->version < 3 ? 0 : keep ? l->host | L2_COPIED | L2_ZERO : L2_ZERO);
        return;
    }
    u64 bits = mask64((unsigned)((len + unit - 1) / unit)) << (offset & (q->cluster_size - 1)) / unit;
    u64 bitmap = (l->packed ? 0 : l->bitmap & ~bits) | bits << SUBCLUSTERS;
    keep = has_host(q, l) && ((keep && l->copied) || !whole);
    if (!keep && whole)
        drop_data(q, l, FREED_BY_REQUEST);
    put_entry(q, p, keep ? l->raw & (OFFSET_MASK | L2_COPIED) : 0, bitmap);
}

static enum step zero(struct fmt *f, u64 offset, u64 len, u32 flags, u64 *done)
{
    struct qcow2 *q = qcow2_of(f);
    u64 n = 0;
    *done = 0;
    if (q->version < 3 || (f->node->data && (q->autoclear & AUTOCLEAR_DATA_RAW)))
        return STEP_DONE;
    u8 *p;
    enum step s = own_entry(q, offset, &p);
    if (s != STEP_DONE)
        return s;
    u64 most = entries_left(q, offset), at = offset;
    for (; at < offset + len && n < most; n++, p += q->l2_entry) {
        u64 stop = MIN(offset + len, ALIGN_DOWN(at, (u64)q->cluster_size) + q->cluster_size);
        struct l2_entry l;
        s = l2_decode(q, p, at, &l);
        if (s != STEP_DONE)
            return at > offset ? STEP_DONE : s;
        bool part = stop - at != q->cluster_size;
        if (part && (l.packed || (has_host(q, &l) && !l.copied)))
            break; /* parts of what is compressed or shared: write zeros */
        if (!(l.zero && (!(flags & BLK_MAY_UNMAP) || !l.host)))
            clear_entry(q, p, &l, at, stop - at, !(flags & BLK_MAY_UNMAP));
        at = stop;
        *done = at - offset;
    }
    if (*done)
        dirty_entry(q, offset);
    return STEP_DONE;
}

static enum step discard(struct fmt *f, u64 offset, u64 len, u64 *done)
{
    struct qcow2 *q = qcow2_of(f);
    u64 table, span = (u64)q->cluster_size << q->l2_bits;
    bool copied;
    enum step s = find_table(q, offset, &table, &copied);
    if (s != STEP_DONE)
        return s;
    if (f->node->data && (q->autoclear & AUTOCLEAR_DATA_RAW)) { /* it must go on to show what the disk shows */
        *done = 0;
        return STEP_DONE;
    }
    if ((q->version < 3 && f->node->backing_name) || (!table && !f->node->backing_name)) {
        *done = MIN(len, span - (offset & (span - 1)));
        return STEP_DONE;
    }
    u8 *p;
    s = own_entry(q, offset, &p);
    if (s != STEP_DONE)
        return s;
    u64 n = MIN(len >> q->cluster_bits, entries_left(q, offset));
    for (u64 i = 0; i < n; i++, p += q->l2_entry) {
        struct l2_entry l;
        u64 at = offset + (i << q->cluster_bits);
        s = l2_decode(q, p, at, &l);
        if (s != STEP_DONE)
            return s;
        bool empty = !l.raw && !l.bitmap && !f->node->backing_name;
        if (!empty)
            clear_entry(q, p, &l, at, q->cluster_size, false);
    }
    dirty_entry(q, offset);
    *done = n << q->cluster_bits;
    return STEP_DONE;
}

/* ---- whole tables ---- */

/* Give up a table with all that it refers to. */
static enum step drop_table(struct qcow2 *q, u64 guest, u64 table)
{
    struct meta *m = &q->fmt.meta;
    struct l2_entry l;
    for (unsigned change = 0; change < 2; change++) {
        for (u32 i = 0; i < 1u << q->l2_bits; i++) {
            const u8 *p = meta_get(m, table + i * q->l2_entry);
            enum step s = p ? l2_decode(q, p, guest + ((u64)i << q->cluster_bits), &l) : STEP_NEED;
            if (s != STEP_DONE)
                return s;
            if (change)
                drop_data(q, &l, FREED_BY_REQUEST);
        }
    }
    clusters_free_later(q, table, q->cluster_size, FREED_BY_REQUEST);
    u64 l1 = q->l1_offset + 8 * l1_index(q, guest);
    u8 *p = meta_get(m, l1);
    if (!p)
        return STEP_NEED;
    put_be64(p, 0);
    meta_dirty(m, l1, RANK_L1);
    return STEP_DONE;
}

enum step map_drop(struct qcow2 *q, u64 *at, u64 end)
{
    u64 span = (u64)q->cluster_size << q->l2_bits;
    while (*at < end) {
        u64 table;
        bool copied;
        enum step s = find_table(q, *at, &table, &copied);
        if (s != STEP_DONE)
            return s;
        u64 stop = ALIGN_DOWN(*at, span) + span;
        if (table && !(*at & (span - 1)) && stop <= end) {
            if (!meta_get(&q->fmt.meta, q->l1_offset + 8 * l1_index(q, *at)))
                return STEP_NEED;
            s = drop_table(q, *at, table);
        } else if (table) {
            u8 *p;
            struct l2_entry l;
            stop = *at + q->cluster_size;
            s = own_entry(q, *at, &p);
            if (s == STEP_DONE)
                s = l2_decode(q, p, *at, &l);
            if (s == STEP_DONE && l.raw | l.bitmap) {
                drop_data(q, &l, FREED_BY_REQUEST);
                put_entry(q, p, 0, 0);
                dirty_entry(q, *at);
            }
        }
        if (s != STEP_DONE)
            return s;
        *at = stop;
        if (meta_crowded(&q->fmt.meta))
            return STEP_BARRIER;
    }
    return STEP_DONE;
}

enum step map_prealloc(struct qcow2 *q, u64 *at, u64 end)
{
    while (*at < end) {
        struct extent x = {.kind = EXTENT_DATA}, now = {0};
        enum step s = map(&q->fmt, *at, end - *at, &now);
        if (s == STEP_DONE && now.kind != EXTENT_BACKING) {
            *at += now.len;
            continue;
        }
        if (s == STEP_DONE)
            s = alloc(&q->fmt, *at, MIN(now.len, (u64)q->cluster_size << 10), &x);
        if (s != STEP_DONE)
            return s;
        /* own_entry() in alloc() has just had the entry, and x lies in one block of the cache. */
        if (x.fresh || x.file == q->fmt.node->data)
            s = link(&q->fmt, &x);
        else
            release(&q->fmt, &x);
        if (s != STEP_DONE)
            return s;
        *at += x.len;
        if (meta_crowded(&q->fmt.meta))
            return STEP_BARRIER;
    }
    return STEP_DONE;
}

const struct format_ops qcow2_ops = {
    .map = map,
    .alloc = alloc,
    .alloc_packed = alloc_packed,
    .link = link,
    .release = release,
    .left = left,
    .zero = zero,
    .discard = discard,
    .pack = qcow2_pack,
    .unpack = qcow2_unpack,
    .crypt = qcow2_crypt,
};
