/* Reference counts, and with them free clusters. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "block/qcow2/qcow2.h"

u64 refcount_max(const struct qcow2 *q)
{
    return mask64(1u << q->refcount_order);
}

/* Counts in a block, as a power of two. */
static unsigned block_bits(const struct qcow2 *q)
{
    return q->cluster_bits + 3 - q->refcount_order;
}

static u64 table_entries(const struct qcow2 *q)
{
    return (u64)q->reftable_clusters << (q->cluster_bits - 3);
}

/* The offset of the block that counts this cluster; 0: there is none. */
static enum step find_block(struct qcow2 *q, u64 cluster, u64 *block)
{
    u64 i = cluster >> block_bits(q);
    *block = 0;
    if (i >= table_entries(q))
        return STEP_DONE;
    const u8 *p = meta_get(&q->fmt.meta, q->reftable_offset + 8 * i);
    if (!p)
        return STEP_NEED;
    u64 at = be64_at(p) & ~(u64)511;
    if (at & (q->cluster_size - 1) || at >> 56)
        return fmt_fail(&q->fmt, EIO, "entry %llu of the refcount table of '%s' is damaged: %#llx; try \"check -r all\"",
                        (unsigned long long)i, q->fmt.node->filename, (unsigned long long)at);
    *block = at;
    return STEP_DONE;
}

/* The place of a count in its block: byte, and for counts of less than a byte the shift. */
static u64 place(const struct qcow2 *q, u64 cluster, unsigned *shift)
{
    u64 bit = (cluster & mask64(block_bits(q))) << q->refcount_order;
    *shift = (unsigned)(bit & 7);
    return bit >> 3;
}

static u64 load_count(const struct qcow2 *q, const u8 *p, unsigned shift)
{
    switch (q->refcount_order) {
    case 3:
        return *p;
    case 4:
        return be16_at(p);
    case 5:
        return be32_at(p);
    case 6:
        return be64_at(p);
    default:
        return *p >> shift & refcount_max(q);
    }
}

void refcount_store(unsigned order, u8 *p, unsigned shift, u64 v)
{
    switch (order) {
    case 3:
        *p = (u8)v;
        break;
    case 4:
        p[0] = (u8)(v >> 8);
        p[1] = (u8)v;
        break;
    case 5:
        put_be32(p, (u32)v);
        break;
    case 6:
        put_be64(p, v);
        break;
    default:
        *p = (u8)((*p & ~(mask64(1u << order) << shift)) | v << shift);
    }
}

enum step refcount_get(struct qcow2 *q, u64 cluster, u64 *count)
{
    u64 block;
    unsigned shift;
    *count = 0;
    enum step s = find_block(q, cluster, &block);
    if (s != STEP_DONE || !block)
        return s;
    const u8 *p = meta_get(&q->fmt.meta, block + place(q, cluster, &shift));
    if (!p)
        return STEP_NEED;
    *count = load_count(q, p, shift);
    return STEP_DONE;
}

bool refcount_same_block(const struct qcow2 *q, u64 a, u64 b)
{
    return a >> block_bits(q) == b >> block_bits(q);
}

bool refcount_in_table(const struct qcow2 *q, u64 cluster)
{
    return cluster >> block_bits(q) < table_entries(q);
}

bool refcount_covered(struct qcow2 *q, u64 cluster)
{
    u64 block;
    return find_block(q, cluster, &block) == STEP_DONE && block;
}

void refcount_set(struct qcow2 *q, u64 cluster, u64 count)
{
    u64 block;
    unsigned shift;
    find_block(q, cluster, &block);
    u64 at = block + place(q, cluster, &shift);
    refcount_store(q->refcount_order, meta_get(&q->fmt.meta, at), shift, count);
    meta_dirty(&q->fmt.meta, at, RANK_REFCOUNT);
    if (!count) {
        q->free_hint = MIN(q->free_hint, cluster);
        meta_forget(&q->fmt.meta, cluster << q->cluster_bits, q->cluster_size);
        if (q->packed_at >> q->cluster_bits == cluster)
            q->packed_at = 0;
    }
}

void refcount_drop(struct qcow2 *q, u64 cluster, u64 count, enum freed_by by)
{
    refcount_set(q, cluster, count - 1);
    if (count == 1 && q->gives_up[by])
        fmt_give_up(&q->fmt, cluster << q->cluster_bits, q->cluster_size);
}

/* ---- growing ---- */

/* A cluster full of zeros in the cache, to be written. */
static void new_cluster(struct qcow2 *q, u64 offset, unsigned rank)
{
    struct meta *m = &q->fmt.meta;
    for (u64 at = offset; at < offset + q->cluster_size; at += m->block) {
        meta_new(m, at);
        meta_dirty(m, at, rank);
    }
}

/* Have all of the table in the cache. It may be long: each call goes on where the last one missed a block. */
static enum step load_table(struct qcow2 *q)
{
    struct meta *m = &q->fmt.meta;
    u64 end = (u64)q->reftable_clusters << q->cluster_bits, at = MIN(q->table_seen, end);
    while (at < end && meta_get(m, q->reftable_offset + at))
        at += m->block;
    q->table_seen = at < end ? at : 0;
    for (u64 again = 0; at == end && again < end; again += m->block) { /* it may have gone meanwhile */
        if (!meta_get(m, q->reftable_offset + again))
            return STEP_NEED;
    }
    return at < end ? STEP_NEED : STEP_DONE;
}

enum step refcount_grow_table(struct qcow2 *q, u64 cluster, u64 behind, u64 *first)
{
    struct meta *m = &q->fmt.meta;
    u64 per_block = (u64)1 << block_bits(q), old = table_entries(q);
    u64 group = MAX(old, (behind + per_block - 1) >> block_bits(q)), start = group << block_bits(q);
    u64 entries = MAX(old * 2, (cluster >> block_bits(q)) + 2), blocks = 0, clusters;
    do {
        blocks++;
        entries = MAX(entries, group + blocks + 1);
        clusters = clusters_of(q, entries * 8);
    } while (blocks * per_block < blocks + clusters);
    if (clusters << q->cluster_bits > MAX_REFTABLE_BYTES || start + blocks + clusters > (u64)1 << (56 - q->cluster_bits))
        return fmt_fail(&q->fmt, EFBIG, "'%s' cannot grow: its refcount table would be too long; larger clusters help",
                        q->fmt.node->filename);
    node_event(q->fmt.node->file, EVENT_REFTABLE_GROW);
    enum step s = load_table(q); /* before anything changes */
    if (s == STEP_DONE)
        s = fmt_have_room(&q->fmt, start << q->cluster_bits, (blocks + clusters) << q->cluster_bits);
    if (s != STEP_DONE)
        return s;
    u64 table = (start + blocks) << q->cluster_bits;
    for (u64 i = 0; i < clusters; i++)
        new_cluster(q, table + (i << q->cluster_bits), RANK_REFTABLE);
    for (u64 at = 0; at < old * 8; at += m->block)
        memcpy(meta_get(m, table + at), meta_get(m, q->reftable_offset + at), m->block);
    for (u64 i = 0; i < blocks; i++) {
        new_cluster(q, (start + i) << q->cluster_bits, RANK_REFCOUNT);
        put_be64(meta_get(m, table + 8 * (group + i)), (start + i) << q->cluster_bits);
    }
    clusters_free_later(q, q->reftable_offset, (u64)q->reftable_clusters << q->cluster_bits, FREED_OTHERWISE);
    q->reftable_offset = table;
    q->reftable_clusters = (u32)clusters;
    for (u64 i = 0; i < blocks + clusters; i++)
        refcount_set(q, start + i, 1);
    header_touch(q, true);
    *first = start;
    return STEP_BARRIER;
}

enum step refcount_add_block(struct qcow2 *q, u64 cluster, u64 at)
{
    struct meta *m = &q->fmt.meta;
    u64 i = cluster >> block_bits(q), count, first;
    node_event(q->fmt.node->file, EVENT_REFBLOCK_ALLOC);
    if (i >= table_entries(q))
        return refcount_grow_table(q, cluster, 0, &first);
    u8 *p = meta_get(m, q->reftable_offset + 8 * i);
    if (!p)
        return STEP_NEED;
    enum step s = refcount_same_block(q, at, cluster) ? STEP_DONE : refcount_get(q, at, &count);
    if (s == STEP_DONE)
        s = fmt_have_room(&q->fmt, at << q->cluster_bits, q->cluster_size);
    if (s != STEP_DONE)
        return s;
    new_cluster(q, at << q->cluster_bits, RANK_REFCOUNT);
    put_be64(p, at << q->cluster_bits);
    meta_dirty(m, q->reftable_offset + 8 * i, RANK_REFTABLE);
    refcount_set(q, at, 1);
    return STEP_DONE;
}

/* ---- allocating ---- */

bool overlaps_tables(const struct qcow2 *q, u64 offset, u64 len)
{
    const u64 ranges[][2] = {
        {0, q->cluster_size},
        {q->l1_offset, (u64)q->l1_size * 8},
        {q->active.offset, (u64)q->active.size * 8},
        {q->reftable_offset, (u64)q->reftable_clusters << q->cluster_bits},
    };
    for (unsigned i = 0; i < ARRAY_LEN(ranges); i++) {
        if (offset < ranges[i][0] + ranges[i][1] && ranges[i][0] < offset + len)
            return true;
    }
    return false;
}

/* Count how many clusters from `first` on are free and counted, up to `most`. *bare: the run ends at a
 * cluster without a block to count it. */
static enum step free_run(struct qcow2 *q, u64 first, u64 most, u64 *n, bool *bare)
{
    *bare = false;
    for (*n = 0; *n < most; ++*n) {
        u64 block, count;
        enum step s = find_block(q, first + *n, &block);
        if (s == STEP_DONE && !block) {
            *bare = true;
            return STEP_DONE;
        }
        if (s == STEP_DONE)
            s = refcount_get(q, first + *n, &count);
        if (s != STEP_DONE)
            return s;
        if (count || fmt_is_leaving(&q->fmt, (first + *n) << q->cluster_bits))
            return STEP_DONE;
    }
    return STEP_DONE;
}

/* A block may have holes where nothing was counted yet. */
static enum step have_room_to_count(struct qcow2 *q, u64 cluster)
{
    u64 block;
    enum step s = find_block(q, cluster, &block);
    return s == STEP_DONE ? fmt_have_room(&q->fmt, block, q->cluster_size) : s;
}

enum step clusters_find(struct qcow2 *q, u64 least, u64 most, u64 *first, u64 *count)
{
    u64 at = q->free_hint, n;
    node_event(q->fmt.node->file, EVENT_CLUSTER_ALLOC);
    for (;;) {
        bool bare;
        enum step s = free_run(q, at, most, &n, &bare);
        if (s != STEP_DONE)
            return s;
        if (n >= least)
            break;
        if (bare) {
            s = refcount_add_block(q, at + n, at + n);
            if (s != STEP_DONE)
                return s;
        }
        at += n + 1;
        if (least == 1)
            q->free_hint = at;
        if (at >> (56 - q->cluster_bits))
            return fmt_fail(&q->fmt, EFBIG, "'%s' has no room for more clusters", q->fmt.node->filename);
    }
    u64 offset = at << q->cluster_bits;
    if (overlaps_tables(q, offset, n << q->cluster_bits))
        return fmt_fail(&q->fmt, EIO, "'%s' is damaged: a cluster in use at %#llx is counted as free; run \"check -r all\"",
                        q->fmt.node->filename, (unsigned long long)offset);
    *first = at;
    *count = n;
    enum step s = have_room_to_count(q, at);
    return s == STEP_DONE ? have_room_to_count(q, at + n - 1) : s;
}

void clusters_take(struct qcow2 *q, u64 first, u64 count)
{
    for (u64 i = 0; i < count; i++)
        refcount_set(q, first + i, 1);
    if (first == q->free_hint)
        q->free_hint = first + count;
}

enum step clusters_alloc(struct qcow2 *q, u64 least, u64 most, u64 *first, u64 *count)
{
    enum step s = clusters_find(q, least, most, first, count);
    if (s == STEP_DONE)
        clusters_take(q, *first, *count);
    return s;
}

/* ---- freeing ---- */

void freed_push(struct freed_list *l, u64 offset, u64 count, enum freed_by by)
{
    VEC_PUSH(l->items, l->count, l->cap) = (struct freed){offset, count, by};
}

void clusters_free_later(struct qcow2 *q, u64 offset, u64 bytes, enum freed_by by)
{
    u64 start = ALIGN_DOWN(offset, (u64)q->cluster_size);
    struct freed *last = q->freed.count ? &q->freed.items[q->freed.count - 1] : NULL;
    u64 n = clusters_of(q, offset + bytes - start);
    node_event(q->fmt.node->file, EVENT_CLUSTER_FREE);
    if (last && last->by == by && last->offset + (last->count << q->cluster_bits) == start)
        last->count += n;
    else
        freed_push(&q->freed, start, n, by);
}

static void move_all(struct freed_list *to, struct freed_list *from)
{
    for (size_t i = 0; i < from->count; i++)
        freed_push(to, from->items[i].offset, from->items[i].count, from->items[i].by);
    from->count = 0;
}

/* With lazy counts the image is marked dirty before the first of its tables refers to what is not counted on disk. From then
 * on counts stay in memory until there are many of them, or the header changes, or the image is closed. */
static void leave_counts(struct qcow2 *q)
{
    struct meta *m = &q->fmt.meta;
    bool few = m->dirty <= m->limit / 2, any = m->dirty_of[RANK_REFCOUNT] || m->dirty_of[RANK_REFTABLE];
    m->first_rank = 0;
    if (!q->lazy || q->settling_all || !any)
        return;
    if (q->late && !q->header_changed && few) {
        m->first_rank = RANK_L2;
    } else if (!q->late) {
        q->late = true;
        q->incompatible |= INCOMPAT_DIRTY;
        header_touch(q, true);
    }
}

void qcow2_begun(void *opaque)
{
    struct qcow2 *q = opaque;
    move_all(&q->settling, &q->freed); /* `settling` has something already if the last one failed */
    leave_counts(q);
}

void qcow2_settled(void *opaque)
{
    struct qcow2 *q = opaque;
    move_all(&q->ready, &q->settling);
    if (q->header_written == q->header_version)
        q->header_changed = q->header_early = false;
}

enum step clusters_settle(struct qcow2 *q)
{
    while (q->ready.count) {
        struct freed *f = &q->ready.items[q->ready.count - 1];
        while (f->count) {
            u64 cluster = (f->offset >> q->cluster_bits) + f->count - 1, count;
            enum step s = refcount_get(q, cluster, &count);
            if (s != STEP_DONE)
                return s;
            f->count--;
            if (count) /* of a damaged image it may be 0; a check will tell */
                refcount_drop(q, cluster, count, f->by);
        }
        q->ready.count--;
    }
    return STEP_DONE;
}
