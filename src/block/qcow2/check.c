/* Consistency: count all references and compare with what the image says. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "block/qcow2/qcow2.h"

/* ---- references that were found ----
 *
 * Pages of counts in a hash: a damaged image may name clusters anywhere. */

enum { PAGE = 1024 };

struct page {
    u64 index;
    struct page *next;
    u32 count[PAGE];
    u8 kind[PAGE]; /* the highest enum kind that was found */
};

/* What a reference makes of a cluster. L2 tables may be shared. */
enum kind { KIND_DATA, KIND_L2, KIND_TABLE };

enum { BUCKETS = 1 << 12 };

enum phase { PHASE_HEADER, PHASE_BITMAPS, PHASE_L1, PHASE_TABLES, PHASE_COMPARE, PHASE_END };

struct check {
    struct fmt_job job;
    struct check_result *r;
    u32 fix;
    bool look;          /* only find out whether a repair can be begun */
    bool overlaps;      /* two tables are in one cluster: */
    u64 overlap;
    struct page **buckets;
    struct page *last;
    u64 *pages;         /* indexes of all pages, sorted */
    size_t npages;

    int table;          /* which L1 table: -1 the active one, else a snapshot's */
    u32 l1_next;
    bool counted;       /* the L2 tables have been counted: now the COPIED flags */
    u64 next;           /* cluster or entry to go on with */
    u64 no_room_below;  /* from `next` to here all clusters are in use */
    enum phase phase;
    struct qcow2 *q;
    struct bitmap_walk bitmaps;
};

static struct page *page_of(struct check *c, u64 cluster)
{
    u64 index = cluster / PAGE;
    if (c->last && c->last->index == index)
        return c->last;
    struct page **p = &c->buckets[(index * 0x9e3779b97f4a7c15u >> 40) % BUCKETS];
    while (*p && (*p)->index != index)
        p = &(*p)->next;
    if (!*p) {
        *p = xcalloc(1, sizeof(**p));
        (*p)->index = index;
    }
    return c->last = *p;
}

static u32 *count_of(struct check *c, u64 cluster)
{
    return &page_of(c, cluster)->count[cluster % PAGE];
}

/* The same without making a page. */
static u32 found_count(struct check *c, u64 cluster)
{
    u64 index = cluster / PAGE;
    if (c->last && c->last->index == index)
        return c->last->count[cluster % PAGE];
    struct page *p = c->buckets[(index * 0x9e3779b97f4a7c15u >> 40) % BUCKETS];
    while (p && p->index != index)
        p = p->next;
    if (p)
        c->last = p;
    return p ? p->count[cluster % PAGE] : 0;
}

static void pages_free(struct check *c)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct page *p = c->buckets[i], *next; p; p = next) {
            next = p->next;
            free(p);
        }
    }
    free(c->buckets);
    free(c->pages);
}

static void say(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void say(struct check *c, const char *fmt, ...)
{
    char line[300];
    if (!c->r->report)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    c->r->report(c->r, line);
}

/* Bytes at `offset` are in use. */
static void refer_as(struct qcow2 *q, struct check *c, u64 offset, u64 len, enum kind kind)
{
    if (!len)
        return;
    u64 file = q->fmt.node->file->size;
    if (offset >= ALIGN_UP(file, (u64)q->cluster_size) && offset > file + ((u64)1 << 40)) {
        say(c, "ERROR: counting reference for region exceeding the end of the file by one cluster or more: offset 0x%" PRIx64 " size 0x%" PRIx64, offset, len);
        c->r->corruptions++;
        return;
    }
    u64 first = offset >> q->cluster_bits, end = (offset + len - 1) >> q->cluster_bits;
    for (u64 i = first; i <= end; i++) {
        struct page *p = page_of(c, i);
        p->count[i % PAGE] += p->count[i % PAGE] != UINT32_MAX;
        u8 *before = &p->kind[i % PAGE];
        if (kind + *before > KIND_TABLE && kind && *before) {
            c->overlaps = true;
            c->overlap = i;
        }
        *before = (u8)MAX(kind, *before);
    }
}

static void refer(struct qcow2 *q, struct check *c, u64 offset, u64 len)
{
    refer_as(q, c, offset, len, KIND_DATA);
}

static void refer_table(struct qcow2 *q, struct check *c, u64 offset, u64 len)
{
    refer_as(q, c, offset, len, KIND_TABLE);
}

/* A repair changes tables. If one lies over another it would destroy what it is to save. */
static enum step tables_apart(struct qcow2 *q, const struct check *c)
{
    if (!c->overlaps)
        return STEP_DONE;
    return fmt_fail(&q->fmt, EIO, "two tables of '%s' lie at %#llx, which cannot be repaired; convert what can be read",
                    q->fmt.node->filename, (unsigned long long)(c->overlap << q->cluster_bits));
}

/* ---- tables ---- */

/* How many of a table's entries lie in the file; those behind its end are all zero. */
static u64 entries_in_file(const struct qcow2 *q, u64 offset, u64 entries)
{
    u64 end = ALIGN_UP(q->fmt.node->file->size, (u64)q->cluster_size);
    return offset < end ? MIN(entries, (end - offset) / 8) : 0;
}

static u64 reftable_entries(const struct qcow2 *q)
{
    return entries_in_file(q, q->reftable_offset, (u64)q->reftable_clusters << (q->cluster_bits - 3));
}

static enum step count_entries(struct qcow2 *q, struct check *c, u64 table, u64 guest)
{
    struct meta *m = &q->fmt.meta;
    for (u64 at = 0; at < q->cluster_size; at += m->block) {
        if (!meta_get(m, table + at))
            return STEP_NEED;
    }
    struct check_result *r = c->r;
    u64 expected = 0; /* where the next cluster is if the file is in order */
    for (u32 i = 0; i < 1u << q->l2_bits; i++) {
        struct l2_entry l;
        u64 at = guest + ((u64)i << q->cluster_bits), entry = table + i * q->l2_entry;
        u8 *p = meta_get(m, entry);
        if (l2_decode(q, p, at, &l) != STEP_DONE) {
            say(c, "%s offset=%" PRIx64 ": Cluster is not properly aligned; L2 entry corrupted.", c->fix & FIX_ERRORS ? "Repairing" : "ERROR", l.host);
            if (c->fix & FIX_ERRORS) { /* what it showed cannot be known any more: zeros */
                put_be64(p, q->version >= 3 && !q->ext_l2 ? L2_ZERO : 0);
                if (q->ext_l2)
                    put_be64(p + 8, mask64(SUBCLUSTERS) << SUBCLUSTERS);
                meta_dirty(m, entry, RANK_L2);
                r->corruptions_fixed++;
            } else {
                r->corruptions++;
            }
            continue;
        }
        bool data = l.packed || l.host || (has_data_file(q) && l.copied);
        if (!data)
            continue;
        if (l.packed || !has_data_file(q))
            refer(q, c, l.host, l.packed ? l.packed_len : q->cluster_size);
        if (c->table >= 0)
            continue;
        r->allocated_clusters++;
        r->compressed_clusters += l.packed;
        r->fragmented_clusters += l.packed || (expected && expected != l.host);
        expected = l.packed ? 0 : l.host + q->cluster_size;
    }
    return STEP_DONE;
}

/* COPIED says that the count is 1. */
static enum step check_copied(struct qcow2 *q, struct check *c, u8 *p, u64 where, const char *what, u64 host, unsigned rank)
{
    u64 count, entry = be64_at(p);
    if (has_data_file(q) && rank == RANK_L2)
        return STEP_DONE;
    enum step s = refcount_get(q, host >> q->cluster_bits, &count);
    if (s != STEP_DONE)
        return s;
    bool copied = entry & L2_COPIED;
    if (copied == (count == 1))
        return STEP_DONE;
    bool fix = c->fix & FIX_ERRORS;
    char index[32] = "";
    if (rank == RANK_L1)
        snprintf(index, sizeof(index), "l1_index=%u ", c->l1_next);
    say(c, "%s OFLAG_COPIED %s: %s%s_entry=%" PRIx64 " refcount=%" PRIu64, fix ? "Repairing" : "ERROR", what, index,
        rank == RANK_L1 ? "l1" : "l2", entry, count);
    if (!fix) {
        c->r->corruptions++;
        return STEP_DONE;
    }
    put_be64(p, (entry & ~L2_COPIED) | (copied ? 0 : L2_COPIED));
    meta_dirty(&q->fmt.meta, where, rank);
    c->r->corruptions_fixed++;
    return STEP_DONE;
}

static enum step check_flags(struct qcow2 *q, struct check *c, u64 table, u64 guest)
{
    struct meta *m = &q->fmt.meta;
    u64 seen = UINT64_MAX; /* a cluster whose count is in the cache, with those of its block */
    for (unsigned round = 0; round < 2; round++) { /* first everything into the cache */
        for (u32 i = 0; i < 1u << q->l2_bits; i++) {
            u64 where = table + i * q->l2_entry, count;
            u8 *p = meta_get(m, where);
            struct l2_entry l;
            if (!p)
                return STEP_NEED;
            if (l2_decode(q, p, guest, &l) != STEP_DONE || l.packed || !l.host)
                continue;
            u64 cluster = l.host >> q->cluster_bits;
            if (!round && seen != UINT64_MAX && refcount_same_block(q, cluster, seen))
                continue;
            seen = cluster;
            enum step s = round ? check_copied(q, c, p, where, "data cluster", l.host, RANK_L2) : refcount_get(q, cluster, &count);
            if (s == STEP_NEED)
                return s;
        }
    }
    return STEP_DONE;
}

/* Each table counts as one; the active one is looked at twice, as a check of its flags takes as long. */
static void tell_progress(const struct qcow2 *q, const struct check *c, u64 end)
{
    u64 tables = q->nsnapshots + 2, now = c->counted ? tables - 1 : (u64)(c->table + 1);
    if (c->r->progress && end)
        c->r->progress(c->r, now * end + c->l1_next, tables * end);
}

/* One L1 table: count what it refers to, or (of the active one) check its flags. */
static enum step check_l1(struct qcow2 *q, struct check *c, u64 l1, u32 size)
{
    struct meta *m = &q->fmt.meta;
    u64 end = entries_in_file(q, l1, size);
    for (; c->l1_next < end; c->l1_next++) {
        u64 where = l1 + 8ull * c->l1_next;
        u8 *p = meta_get(m, where);
        if (!p)
            return STEP_NEED;
        u64 entry = be64_at(p), table, guest = (u64)c->l1_next << (q->cluster_bits + q->l2_bits);
        if (l1_decode(q, entry, &table) != STEP_DONE) {
            bool fix = c->fix & FIX_ERRORS;
            say(c, "%s l2_offset=%" PRIx64 ": Table is not cluster aligned; L1 entry corrupted", fix ? "Repairing" : "ERROR", table);
            if (fix) {
                put_be64(p, 0);
                meta_dirty(m, where, RANK_L1);
                c->r->corruptions_fixed++;
            } else {
                c->r->corruptions++;
            }
            continue;
        }
        if (!table)
            continue;
        u64 count;
        enum step s = refcount_get(q, table >> q->cluster_bits, &count);
        if (s == STEP_NEED)
            return s;
        s = c->counted ? check_flags(q, c, table, guest) : count_entries(q, c, table, guest);
        if (s != STEP_DONE)
            return s;
        if (c->counted) {
            p = meta_get(m, where);
            if (!p)
                return STEP_NEED;
            check_copied(q, c, p, where, "L2 cluster", table, RANK_L1);
        } else {
            refer_as(q, c, table, q->cluster_size, KIND_L2);
        }
        tell_progress(q, c, end);
        if (meta_crowded(m)) {
            c->l1_next++;
            return STEP_BARRIER;
        }
    }
    return STEP_DONE;
}

static void refer_bitmap(void *opaque, u64 offset, u64 len)
{
    struct check *c = opaque;
    refer_table(c->q, c, offset, len);
}

static enum step check_mappings(struct qcow2 *q, struct check *c)
{
    for (; c->table < (int)q->nsnapshots; c->table++, c->l1_next = 0) {
        u64 l1 = c->table < 0 ? q->l1_offset : q->snapshots[c->table].l1_offset;
        u32 size = c->table < 0 ? q->l1_size : q->snapshots[c->table].l1_size;
        if (c->counted && c->table >= 0)
            break;
        enum step s = check_l1(q, c, l1, size);
        if (s != STEP_DONE)
            return s;
        if (!c->counted)
            refer_table(q, c, l1, 8ull * size);
    }
    c->table = -1;
    c->l1_next = 0;
    return STEP_DONE;
}

/* The refcount table and its blocks. */
static enum step check_blocks(struct qcow2 *q, struct check *c)
{
    u64 entries = reftable_entries(q);
    for (; c->next < entries; c->next++) {
        u64 where = q->reftable_offset + 8 * c->next;
        u8 *p = meta_get(&q->fmt.meta, where);
        if (!p)
            return STEP_NEED;
        u64 block = be64_at(p) & ~(u64)511;
        bool outside = block >= q->fmt.node->file->size;
        if (block & (q->cluster_size - 1) || block >> 56 || (block && (outside || overlaps_tables(q, block, q->cluster_size)))) {
            bool fix = c->fix & FIX_ERRORS;
            say(c, "%s refcount block %" PRIu64 " is %s", fix ? "Repairing" : "ERROR", c->next,
                outside && !(block & (q->cluster_size - 1)) ? "outside image" : "not cluster aligned; refcount table entry corrupted");
            if (fix) {
                put_be64(p, 0);
                meta_dirty(&q->fmt.meta, where, RANK_REFTABLE);
                c->r->corruptions_fixed++;
            } else {
                c->r->corruptions++;
            }
        } else if (block) {
            refer_table(q, c, block, q->cluster_size);
            if (found_count(c, block >> q->cluster_bits) != 1)
                return fmt_fail(&q->fmt, EIO, "refcount block %llu of '%s' lies over other tables; nothing can be checked",
                                (unsigned long long)c->next, q->fmt.node->filename);
        }
    }
    c->next = 0;
    return STEP_DONE;
}

static void refer_snapshot_table(struct qcow2 *q, struct check *c)
{
    u64 len = 0;
    for (u32 i = 0; i < q->nsnapshots; i++) {
        const struct snapshot *s = &q->snapshots[i];
        len += ALIGN_UP(40 + 24 + (u64)s->more_len + strlen(s->info.id) + strlen(s->info.name), 8u);
    }
    refer_table(q, c, q->snapshots_offset, len);
    const struct extension *x = extension_get(q, EXT_CRYPTO);
    if (x && x->len >= 16)
        refer_table(q, c, be64_at(x->data), MIN(be64_at(x->data + 8), (u64)64 << 20));
}

/* ---- comparing ---- */

/* Make a block that counts the cluster, or bring that nearer: the block needs a cluster that nobody uses, and
 * that something counts. */
static enum step cover(struct qcow2 *q, struct check *c, u64 cluster)
{
    if (!refcount_in_table(q, cluster)) {
        u64 behind = c->npages ? (c->pages[c->npages - 1] + 1) * PAGE : 0;
        u64 first;
        enum step s = refcount_grow_table(q, cluster, behind, &first);
        u64 end = (q->reftable_offset >> q->cluster_bits) + q->reftable_clusters;
        for (; s == STEP_BARRIER && first < end; first++)
            *count_of(c, first) = 1;
        return s;
    }
    u64 at = MAX(cluster, c->no_room_below), count;
    while (found_count(c, at))
        at++;
    c->no_room_below = at;
    enum step s = refcount_get(q, at, &count);
    if (s != STEP_DONE)
        return s;
    bool counted = refcount_same_block(q, at, cluster) || refcount_covered(q, at);
    s = refcount_add_block(q, counted ? cluster : at, at);
    if (s == STEP_DONE)
        *count_of(c, at) = 1;
    return s;
}

static enum step compare_one(struct qcow2 *q, struct check *c, u64 cluster)
{
    u64 count, found = found_count(c, cluster);
    enum step s = refcount_get(q, cluster, &count);
    bool lost = s == STEP_FAIL; /* what would count it is damaged, so nothing does */
    if (s != STEP_DONE && !lost)
        return s;
    if (count == found) {
        if (count)
            c->r->image_end = MAX(c->r->image_end, (cluster + 1) << q->cluster_bits);
        return STEP_DONE;
    }
    bool leak = count > found, fix = !lost && c->fix & (leak ? FIX_LEAKS : FIX_ERRORS) && found <= refcount_max(q);
    while (fix && !refcount_covered(q, cluster)) {
        s = cover(q, c, cluster);
        if (s != STEP_DONE)
            return s;
    }
    say(c, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
        fix ? "Repairing" : leak ? "Leaked" : "ERROR", cluster, count, found);
    if (!fix) {
        (*(leak ? &c->r->leaks : &c->r->corruptions))++;
    } else {
        refcount_set(q, cluster, found);
        (*(leak ? &c->r->leaks_fixed : &c->r->corruptions_fixed))++;
    }
    if (found)
        c->r->image_end = MAX(c->r->image_end, (cluster + 1) << q->cluster_bits);
    return STEP_DONE;
}

/* The first cluster from `from` on that some page has a count for; UINT64_MAX: none. */
static u64 next_referred(const struct check *c, u64 from)
{
    size_t lo = 0, hi = c->npages;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if ((c->pages[mid] + 1) * PAGE > from)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo < c->npages ? MAX(from, c->pages[lo] * PAGE) : UINT64_MAX;
}

static int by_index(const void *a, const void *b)
{
    u64 x = *(const u64 *)a, y = *(const u64 *)b;
    return (x > y) - (x < y);
}

/* All clusters that are counted or referred to; where no block counts, only those referred to. */
static enum step compare(struct qcow2 *q, struct check *c)
{
    unsigned bits = q->cluster_bits + 3 - q->refcount_order;
    u64 entries = reftable_entries(q);
    for (;;) {
        u64 i = c->next >> bits, stop = (i + 1) << bits;
        const u8 *p = i < entries ? meta_get(&q->fmt.meta, q->reftable_offset + 8 * i) : NULL;
        if (i < entries && !p)
            return STEP_NEED;
        if (!p || !be64_at(p)) { /* nothing is counted here: on to what is referred to, or to the next block */
            u64 referred = next_referred(c, c->next);
            if (referred == UINT64_MAX && i >= entries)
                return STEP_DONE;
            if (referred >= stop) {
                c->next = i < entries ? stop : referred;
                continue;
            }
            c->next = referred;
            stop = MIN(stop, (referred / PAGE + 1) * PAGE);
        }
        for (; c->next < stop; c->next++) {
            enum step s = compare_one(q, c, c->next);
            if (s != STEP_DONE)
                return s;
        }
        if (meta_crowded(&q->fmt.meta))
            return STEP_BARRIER;
    }
}

/* Now that all references are found: the pages in order. */
static void sort_pages(struct check *c)
{
    size_t cap = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct page *p = c->buckets[i]; p; p = p->next)
            VEC_PUSH(c->pages, c->npages, cap) = p->index;
    }
    if (c->npages)
        qsort(c->pages, c->npages, sizeof(*c->pages), by_index);
}

static enum step check_step(struct fmt *f, struct fmt_job *j)
{
    struct check *c = container_of(j, struct check, job);
    struct qcow2 *q = qcow2_of(f);
    enum step s = STEP_DONE;
    switch (c->phase) {
    case PHASE_HEADER:
        refer_table(q, c, 0, q->cluster_size);
        refer_table(q, c, q->reftable_offset, (u64)q->reftable_clusters << q->cluster_bits);
        refer_snapshot_table(q, c);
        c->q = q;
        c->bitmaps = (struct bitmap_walk){.refer = refer_bitmap, .opaque = c};
        c->phase = PHASE_BITMAPS;
        FALLTHROUGH;
    case PHASE_BITMAPS:
        s = bitmaps_refer(q, &c->bitmaps);
        if (s != STEP_DONE)
            return s;
        c->phase = PHASE_TABLES;
        FALLTHROUGH;
    case PHASE_TABLES:
        s = check_blocks(q, c);
        if (s != STEP_DONE)
            return s;
        c->phase = PHASE_L1;
        FALLTHROUGH;
    case PHASE_L1:
        s = check_mappings(q, c);
        if (s != STEP_DONE)
            return s;
        if (c->look)
            return tables_apart(q, c);
        sort_pages(c);
        c->phase = PHASE_COMPARE;
        FALLTHROUGH;
    case PHASE_COMPARE:
        s = compare(q, c);
        if (s != STEP_DONE)
            return s;
        c->phase = PHASE_END;
        c->counted = true;
        FALLTHROUGH;
    case PHASE_END:
        break;
    }
    return check_mappings(q, c);
}

static bool run(struct qcow2 *q, u32 fix, bool look, struct check_result *r, struct err *e)
{
    struct check c = {.job.step = check_step, .r = r, .fix = fix, .look = look, .table = -1};
    c.buckets = xcalloc(BUCKETS, sizeof(*c.buckets));
    bool good = fmt_run(&q->fmt, &c.job, e);
    pages_free(&c);
    return good;
}

bool qcow2_check(struct node *n, u32 fix, struct check_result *r, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    struct check_result unread = {0};
    r->total_clusters = clusters_of(q, n->size);
    bool good = (!fix || run(q, 0, true, &unread, e)) && run(q, fix, false, r, e);
    if (good && (fix & FIX_ERRORS) && !r->corruptions && (q->incompatible & (INCOMPAT_DIRTY | INCOMPAT_CORRUPT))) {
        q->incompatible &= ~(u64)(INCOMPAT_DIRTY | INCOMPAT_CORRUPT);
        q->late = false;
        header_touch(q, false);
    }
    return good && (!fix || settle_all(q, e));
}
