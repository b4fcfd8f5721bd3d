/* Changes of what kind of image it is: version, width of the reference counts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "block/qcow2/qcow2.h"

/* ---- the width of reference counts ----
 *
 * All counts are written once more, behind the end of what is counted so far; then the header names those in
 * place of the old ones. A crash before that leaves the old image, one after it leaves the old counts as leaks. */

struct rewidth {
    struct fmt_job job;
    unsigned order;
    u64 first, blocks, table_clusters; /* the new structure: blocks, then their table */
    u64 counted;                       /* clusters up to the last one in use */
    u64 checked, at;                   /* clusters to go on with */
    struct freed *old;                 /* blocks of the old structure */
    size_t nold, old_cap;
    u64 scanned;
};

/* Find how far the old structure counts, and its blocks. */
static enum step scan_old(struct qcow2 *q, struct rewidth *w)
{
    unsigned bits = q->cluster_bits + 3 - q->refcount_order;
    u64 entries = (u64)q->reftable_clusters << (q->cluster_bits - 3);
    for (; w->scanned < entries; w->scanned++) {
        const u8 *p = meta_get(&q->fmt.meta, q->reftable_offset + 8 * w->scanned);
        if (!p)
            return STEP_NEED;
        u64 block = be64_at(p) & ~(u64)511;
        if (!block)
            continue;
        VEC_PUSH(w->old, w->nold, w->old_cap) = (struct freed){block, 1};
        w->counted = (w->scanned + 1) << bits;
    }
    for (; w->counted; w->counted--) { /* the last block is not full */
        u64 count;
        enum step s = refcount_get(q, w->counted - 1, &count);
        if (s != STEP_DONE)
            return s;
        if (count)
            break;
    }
    return STEP_DONE;
}

/* Where the new structure goes, and how much of it there is: it counts itself, too. */
static bool plan_new(const struct qcow2 *q, struct rewidth *w)
{
    unsigned bits = q->cluster_bits + 3 - w->order;
    w->first = MAX(w->counted, clusters_of(q, q->fmt.node->file->size));
    for (w->blocks = 0, w->table_clusters = 0;;) {
        u64 all = w->first + w->blocks + w->table_clusters, blocks = (all >> bits) + 1, table = clusters_of(q, 8 * blocks);
        if (blocks == w->blocks && table == w->table_clusters)
            break;
        w->blocks = MAX(blocks, w->blocks);
        w->table_clusters = MAX(table, w->table_clusters);
    }
    return w->table_clusters << q->cluster_bits <= MAX_REFTABLE_BYTES;
}

static void new_blocks(struct qcow2 *q, u64 cluster, unsigned rank)
{
    struct meta *m = &q->fmt.meta;
    for (u64 at = cluster << q->cluster_bits; at < (cluster + 1) << q->cluster_bits; at += m->block) {
        meta_new(m, at);
        meta_dirty(m, at, rank);
    }
}

/* Before anything is written: what lies behind the end of the image would be in the way of its clusters. */
static enum step check_counts(struct qcow2 *q, struct rewidth *w)
{
    u64 most = mask64(1u << w->order);
    for (; w->checked < w->counted; w->checked++) {
        u64 count;
        enum step s = refcount_get(q, w->checked, &count);
        if (s != STEP_DONE)
            return s;
        if (count > most)
            return fmt_fail(&q->fmt, EINVAL, "Cannot decrease refcount entry width to %u bits: Cluster at offset %#llx has a refcount of %llu",
                            1u << w->order, (unsigned long long)(w->checked << q->cluster_bits), (unsigned long long)count);
    }
    return STEP_DONE;
}

static enum step copy_counts(struct qcow2 *q, struct rewidth *w)
{
    unsigned bits = q->cluster_bits + 3 - w->order;
    u64 end = w->first + w->blocks + w->table_clusters;
    for (; w->at < w->blocks << bits; w->at++) {
        u64 count = 0;
        enum step s = w->at < w->counted ? refcount_get(q, w->at, &count) : STEP_DONE;
        if (s != STEP_DONE)
            return s;
        if (w->at >= w->first)
            count = w->at < end;
        u64 block = w->first + (w->at >> bits), bit = (w->at & mask64(bits)) << w->order;
        if (!(w->at & mask64(bits))) {
            if (meta_crowded(&q->fmt.meta))
                return STEP_BARRIER;
            new_blocks(q, block, RANK_REFCOUNT);
        }
        u64 offset = (block << q->cluster_bits) + (bit >> 3);
        if (!count)
            continue;
        u8 *p = meta_get(&q->fmt.meta, offset); /* written back and forgotten, perhaps */
        if (!p)
            return STEP_NEED;
        refcount_store(w->order, p, (unsigned)(bit & 7), count);
        meta_dirty(&q->fmt.meta, offset, RANK_REFCOUNT);
    }
    return STEP_DONE;
}

static void write_table(struct qcow2 *q, const struct rewidth *w)
{
    u64 table = (w->first + w->blocks) << q->cluster_bits;
    for (u64 i = 0; i < w->table_clusters; i++)
        new_blocks(q, w->first + w->blocks + i, RANK_REFTABLE);
    for (u64 i = 0; i < w->blocks; i++)
        put_be64(meta_get(&q->fmt.meta, table + 8 * i), (w->first + i) << q->cluster_bits);
}

static enum step rewidth_step(struct fmt *f, struct fmt_job *j)
{
    struct rewidth *w = container_of(j, struct rewidth, job);
    struct qcow2 *q = qcow2_of(f);
    enum step s = scan_old(q, w);
    if (s == STEP_DONE)
        s = check_counts(q, w);
    if (s != STEP_DONE)
        return s;
    if (!w->blocks && !plan_new(q, w))
        return fmt_fail(f, EFBIG, "the refcount table of '%s' would be too long", f->node->filename);
    s = copy_counts(q, w);
    if (s == STEP_DONE)
        write_table(q, w);
    return s;
}

static bool change_width(struct qcow2 *q, unsigned order, struct err *e)
{
    struct rewidth w = {.job.step = rewidth_step, .order = order};
    if (order == q->refcount_order)
        return true;
    bool good = settle_all(q, e) && fmt_run(&q->fmt, &w.job, e) && fmt_run_barrier(&q->fmt, e);
    if (good) {
        u64 old_table = q->reftable_offset, old_clusters = q->reftable_clusters;
        q->refcount_order = order;
        q->reftable_offset = (w.first + w.blocks) << q->cluster_bits;
        q->reftable_clusters = (u32)w.table_clusters;
        good = header_write_now(q, e);
        for (size_t i = 0; i < w.nold; i++)
            clusters_free_later(q, w.old[i].offset, q->cluster_size, FREED_OTHERWISE);
        clusters_free_later(q, old_table, old_clusters << q->cluster_bits, FREED_OTHERWISE);
        q->free_hint = 0;
        q->packed_at = 0;
    } else { /* nothing leads to them */
        meta_forget(&q->fmt.meta, w.first << q->cluster_bits, (w.blocks + w.table_clusters) << q->cluster_bits);
    }
    free(w.old);
    return good && settle_all(q, e);
}

/* ---- version 2 ---- */

/* What the L1 table in use maps at `at`, which may lie behind the disk. */
static int status_of(struct node *n, u64 at, u64 len, struct blk_status *s)
{
    *s = (struct blk_status){0};
    return node_rw(n, &(struct blk_req){.op = BLK_STATUS, .flags = BLK_VM_STATE, .offset = at, .len = len, .status = s});
}

/* Version 2 has no clusters that are zero by their entry: they are given up, or in front of a backing file written. */
static bool expand_zeros(struct qcow2 *q, struct err *e)
{
    struct node *n = q->fmt.node;
    u64 disk = n->size, all = (u64)q->l1_size << (q->l2_bits + q->cluster_bits);
    for (u64 at = 0; at < all;) {
        struct blk_status s;
        int error = status_of(n, at, (at < disk ? disk : all) - at, &s);
        bool zero = !error && (s.flags & STATUS_ZERO) && (s.flags & STATUS_ALLOCATED);
        u64 end = at + s.len;
        if (zero && n->backing_name && at < disk) {
            s.len = MIN(s.len, (u64)1 << 20);
            u8 *zeros = xcalloc(1, s.len);
            error = node_io(n, BLK_WRITE, at, zeros, s.len, 0);
            free(zeros);
        } else if (zero && !change_range(q, at, ALIGN_UP(end, (u64)q->cluster_size), map_drop, e)) {
            return false;
        }
        if (error)
            return err_set(e, error, "cannot write the zero clusters of '%s': %s", n->filename, strerror(error));
        at = at + s.len == disk ? ALIGN_UP(disk, (u64)q->cluster_size) : at + s.len;
    }
    return true;
}

/* The same in a snapshot, whose L1 table stands in for the active one meanwhile. What loses a reference there may have
 * one left, in the active table: the COPIED flags have to be set anew. */
static bool expand_snapshot(struct qcow2 *q, const struct snapshot *s, struct err *e)
{
    if (!s->l1_size)
        return true;
    q->active = (struct l1_place){q->l1_offset, q->l1_size};
    q->flags_stale = true;
    q->l1_offset = s->l1_offset;
    q->l1_size = s->l1_size;
    bool good = expand_zeros(q, e) && settle_all(q, e);
    q->l1_offset = q->active.offset;
    q->l1_size = q->active.size;
    q->active = (struct l1_place){0};
    return good;
}

static bool expand_all(struct qcow2 *q, struct err *e)
{
    if (!expand_zeros(q, e) || !settle_all(q, e) || !counts_begin(q, e))
        return false;
    for (u32 i = 0; i < q->nsnapshots; i++) {
        if (!expand_snapshot(q, &q->snapshots[i], e))
            return false;
    }
    return counts_end(q, e);
}

static bool may_be_v2(const struct qcow2 *q, struct err *e)
{
    if (q->incompatible & ~(u64)INCOMPAT_DIRTY || q->compression)
        return err_set(e, ENOTSUP, "Cannot downgrade an image with incompatible features set; convert it with -o compat=0.10");
    if (q->nbitmaps)
        return err_set(e, ENOTSUP, "compat=0.10 has no bitmaps; remove them first");
    for (u32 i = 0; i < q->nsnapshots; i++) { /* sizes of their own are not in version 2 */
        const struct snapshot_info *s = &q->snapshots[i].info;
        if (s->vm_size > UINT32_MAX || (s->disk_size && s->disk_size != q->fmt.node->size))
            return err_set(e, ENOTSUP, "Internal snapshots prevent downgrade of image");
    }
    return true;
}

bool qcow2_change_version(struct qcow2 *q, u32 version, unsigned order, bool lazy, struct err *e)
{
    if (version < 3 && order != 4)
        return err_set(e, EINVAL, order == q->refcount_order ? "compat=0.10 requires refcount_bits=16"
                                                             : "Refcount widths other than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)");
    if (version < q->version && !may_be_v2(q, e))
        return false;
    if (version > q->version) { /* counts of another width need the version first, and the other way round */
        q->version = version;
        if (!header_write_now(q, e))
            return false;
    }
    if (version < q->version && !expand_all(q, e))
        return false;
    if (!change_width(q, order, e))
        return false;
    q->version = version;
    q->compatible = (q->compatible & ~(u64)COMPAT_LAZY_REFCOUNTS) | (lazy ? COMPAT_LAZY_REFCOUNTS : 0);
    return header_write_now(q, e) && settle_all(q, e);
}
