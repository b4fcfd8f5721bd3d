/* Internal snapshots, and the walk over all tables that they need. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "block/qcow2/qcow2.h"

enum { ENTRY = 40, EXTRA = 24, MAX_LEAVING = 4096 };

/* ---- settling ---- */

static enum step settle_step(struct fmt *f, struct fmt_job *j)
{
    return clusters_settle(qcow2_of(f));
}

bool settle_all(struct qcow2 *q, struct err *e)
{
    struct fmt_job job = {.step = settle_step};
    bool good = true;
    q->settling_all = true;
    while (good && (meta_is_dirty(&q->fmt.meta) || q->header_changed || q->freed.count || q->settling.count || q->ready.count))
        good = (!q->header_changed || header_fits(q, e)) && fmt_run_barrier(&q->fmt, e) && fmt_run(&q->fmt, &job, e);
    q->settling_all = false;
    return good;
}

/* ---- storing ---- */

struct store {
    struct fmt_job job;
    const u8 *bytes;
    u64 len, offset;
};

static enum step store_step(struct fmt *f, struct fmt_job *j)
{
    struct store *t = container_of(j, struct store, job);
    struct qcow2 *q = qcow2_of(f);
    u64 first, n, count = MAX(clusters_of(q, t->len), 1u);
    enum step s = clusters_find(q, count, count, &first, &n);
    if (s == STEP_DONE)
        s = fmt_have_room(f, first << q->cluster_bits, n << q->cluster_bits);
    if (s != STEP_DONE)
        return s;
    clusters_take(q, first, n);
    t->offset = first << q->cluster_bits;
    for (u64 at = 0; at < n << q->cluster_bits; at += f->meta.block) {
        u8 *to = meta_new(&f->meta, t->offset + at);
        if (at < t->len)
            memcpy(to, t->bytes + at, MIN(t->len - at, f->meta.block));
        meta_dirty(&f->meta, t->offset + at, RANK_L1);
    }
    return STEP_DONE;
}

bool store_bytes(struct qcow2 *q, const u8 *bytes, u64 len, u64 *offset, struct err *e)
{
    struct store t = {.job.step = store_step, .bytes = bytes, .len = len};
    if (!fmt_run(&q->fmt, &t.job, e))
        return false;
    *offset = t.offset;
    return true;
}

/* ---- the walk ---- */

/* The host clusters that an entry refers to: *first, and how many. */
static u64 referred(const struct qcow2 *q, const struct l2_entry *l, u64 *first)
{
    if (!l->host || (has_data_file(q) && !l->packed))
        return 0;
    *first = l->host >> q->cluster_bits;
    return clusters_of(q, (l->host & (q->cluster_size - 1)) + (l->packed ? l->packed_len : q->cluster_size));
}

/* packed: several entries may refer to the cluster, and each of those that it counts will add one. */
static enum step room_for(struct qcow2 *q, u64 cluster, int addend, bool packed)
{
    u64 count, most = packed ? refcount_max(q) / 2 : refcount_max(q) - 1;
    enum step s = refcount_get(q, cluster, &count);
    if (s == STEP_DONE && (!count || (addend > 0 && count > most)))
        return fmt_fail(&q->fmt, EINVAL, count ? "the reference count of cluster %llu cannot grow; wider counts (refcount_bits) are needed"
                                                    : "cluster %llu is in use but not counted; run \"check -r all\"",
                        (unsigned long long)cluster);
    return s;
}

static void add_count(struct qcow2 *q, u64 cluster, int addend)
{
    u64 count;
    refcount_get(q, cluster, &count);
    if (!count) /* room_for() has seen one; of a damaged image it may have changed since */
        return;
    if (addend > 0)
        refcount_set(q, cluster, count + 1);
    else
        refcount_drop(q, cluster, count, FREED_BY_SNAPSHOT);
}

/* One entry: first (change = false) only look, so that everything is in the cache. */
static enum step visit_entry(struct qcow2 *q, const struct walk *w, u64 offset, u64 guest, bool change)
{
    u8 *p = meta_get(&q->fmt.meta, offset);
    struct l2_entry l;
    enum step s = p ? l2_decode(q, p, guest, &l) : STEP_NEED;
    u64 first, n = s == STEP_DONE ? referred(q, &l, &first) : 0, count;
    if (s != STEP_DONE)
        return s;
    for (u64 i = 0; i < n && w->addend; i++) {
        if (change)
            add_count(q, first + i, w->addend);
        else if ((s = room_for(q, first + i, w->addend, l.packed)) != STEP_DONE)
            return s;
    }
    if (w->addend < 0 || !n || l.packed)
        return STEP_DONE;
    s = refcount_get(q, first, &count);
    bool copied = w->addend == 0 && count == 1;
    if (s == STEP_DONE && change && copied != l.copied) {
        put_be64(p, (l.raw & ~L2_COPIED) | (copied ? L2_COPIED : 0));
        meta_dirty(&q->fmt.meta, offset, RANK_L2);
    }
    return s;
}

static enum step walk_step(struct fmt *f, struct fmt_job *j)
{
    struct walk *w = container_of(j, struct walk, job);
    struct qcow2 *q = qcow2_of(f);
    for (; w->next < w->l1_size; w->next++) {
        u8 *p = meta_get(&f->meta, w->l1_offset + 8ull * w->next);
        if (!p)
            return STEP_NEED;
        u64 entry = be64_at(p), table, count;
        enum step s = l1_decode(q, entry, &table);
        if (s != STEP_DONE)
            return s;
        if (!table)
            continue;
        u64 guest = (u64)w->next << (q->cluster_bits + q->l2_bits);
        s = w->addend ? room_for(q, table >> q->cluster_bits, w->addend, false) : STEP_DONE;
        for (unsigned change = 0; change < (w->dry ? 1 : 2) && s == STEP_DONE; change++) {
            for (u32 i = 0; i < 1u << q->l2_bits && s == STEP_DONE; i++)
                s = visit_entry(q, w, table + i * q->l2_entry, guest + ((u64)i << q->cluster_bits), change);
            if (!change && s == STEP_DONE && !w->dry)
                s = refcount_get(q, table >> q->cluster_bits, &count);
        }
        if (s != STEP_DONE)
            return s;
        if (w->dry)
            continue;
        if (w->addend)
            add_count(q, table >> q->cluster_bits, w->addend);
        refcount_get(q, table >> q->cluster_bits, &count);
        bool copied = w->addend == 0 && count == 1;
        if (w->addend >= 0 && copied != !!(entry & L2_COPIED)) {
            p = meta_get(&f->meta, w->l1_offset + 8ull * w->next);
            put_be64(p, (entry & ~L2_COPIED) | (copied ? L2_COPIED : 0));
            meta_dirty(&f->meta, w->l1_offset + 8ull * w->next, RANK_L1);
        }
        if (meta_crowded(&f->meta) || f->nleaving > MAX_LEAVING) {
            w->next++;
            return STEP_BARRIER;
        }
    }
    return STEP_DONE;
}

bool walk_run(struct qcow2 *q, u64 l1_offset, u32 l1_size, int addend, bool dry, struct err *e)
{
    struct walk w = {.job.step = walk_step, .l1_offset = l1_offset, .l1_size = l1_size, .addend = addend, .dry = dry};
    return fmt_run(&q->fmt, &w.job, e);
}

/* ---- the table of snapshots ---- */

static void snapshot_free(struct snapshot *s)
{
    free(s->info.id);
    free(s->info.name);
    free(s->more);
}

void snapshots_drop(struct qcow2 *q)
{
    for (u32 i = 0; q->snapshots && i < q->nsnapshots; i++)
        snapshot_free(&q->snapshots[i]);
    free(q->snapshots);
    q->snapshots = NULL;
}

/* Parse one entry of at most `left` bytes; returns its length, 0 if it does not fit. */
static u64 parse_snapshot(struct snapshot *s, const u8 *p, u64 left)
{
    if (left < ENTRY)
        return 0;
    u32 id = be16_at(p + 12), name = be16_at(p + 14), extra = be32_at(p + 36);
    if (extra > 1024 || left - ENTRY < (u64)extra + id + name)
        return 0;
    s->l1_offset = be64_at(p);
    s->l1_size = be32_at(p + 8);
    s->info.date_sec = be32_at(p + 16);
    s->info.date_nsec = be32_at(p + 20);
    s->info.vm_clock_nsec = be64_at(p + 24);
    s->vm_size_low = be32_at(p + 32);
    s->info.vm_size = extra >= 8 ? be64_at(p + 40) : s->vm_size_low;
    s->info.disk_size = extra >= 16 ? be64_at(p + 48) : 0;
    s->info.has_icount = extra >= 24 && be64_at(p + 56) != UINT64_MAX;
    s->info.icount = s->info.has_icount ? be64_at(p + 56) : 0;
    if (extra > EXTRA) {
        s->more_len = extra - EXTRA;
        s->more = xmalloc(s->more_len);
        memcpy(s->more, p + ENTRY + EXTRA, s->more_len);
    }
    s->info.id = xprintf("%.*s", (int)id, (const char *)p + ENTRY + extra);
    s->info.name = xprintf("%.*s", (int)name, (const char *)p + ENTRY + extra + id);
    return ALIGN_UP((u64)ENTRY + extra + id + name, 8u);
}

bool snapshots_read(struct qcow2 *q, struct err *e)
{
    struct node *n = q->fmt.node;
    u32 count = q->nsnapshots;
    q->nsnapshots = 0;
    if (!count)
        return true;
    u64 there = q->snapshots_offset < n->file->size ? n->file->size - q->snapshots_offset : 0;
    u64 len = MIN((u64)count * 4096, MIN(there, (u64)MAX_SNAPSHOT_TABLE)), at = 0;
    u8 *bytes = xcalloc(1, len + 8);
    int error = len ? node_io(n->file, BLK_READ, q->snapshots_offset, bytes, len, 0) : 0;
    bool good = !error || err_set(e, error, "Could not read snapshots: %s", strerror(error));
    for (u32 i = 0; i < count && good; i++) {
        struct snapshot s = {0};
        u64 step = parse_snapshot(&s, bytes + at, len - MIN(at, len));
        bool fits = step && s.l1_size <= MAX_L1_BYTES / 8 && !(s.l1_offset & (q->cluster_size - 1)) && !(s.l1_offset >> 56);
        if (!fits)
            good = err_set(e, EINVAL, "Could not read snapshots: snapshot table entry %u is invalid", i);
        if (!step)
            break;
        at += step;
        u32 cap = (u32)q->snapshot_cap;
        VEC_PUSH(q->snapshots, q->nsnapshots, cap) = s;
        q->snapshot_cap = cap;
    }
    free(bytes);
    return good;
}

static u8 *pack_table(const struct qcow2 *q, u64 *len)
{
    *len = 0;
    for (u32 i = 0; i < q->nsnapshots; i++) {
        const struct snapshot *s = &q->snapshots[i];
        *len += ALIGN_UP((u64)ENTRY + EXTRA + s->more_len + strlen(s->info.id) + strlen(s->info.name), 8u);
    }
    u8 *bytes = xcalloc(1, *len + 1), *p = bytes;
    for (u32 i = 0; i < q->nsnapshots; i++) {
        const struct snapshot *s = &q->snapshots[i];
        u32 id = (u32)strlen(s->info.id), name = (u32)strlen(s->info.name);
        put_be64(p, s->l1_offset);
        put_be32(p + 8, s->l1_size);
        put_be32(p + 12, id << 16 | name);
        put_be32(p + 16, (u32)s->info.date_sec);
        put_be32(p + 20, s->info.date_nsec);
        put_be64(p + 24, s->info.vm_clock_nsec);
        put_be32(p + 32, s->vm_size_low);
        put_be32(p + 36, EXTRA + s->more_len);
        put_be64(p + 40, s->info.vm_size);
        put_be64(p + 48, s->info.disk_size);
        put_be64(p + 56, s->info.has_icount ? s->info.icount : UINT64_MAX);
        u8 *at = p + ENTRY + EXTRA;
        if (s->more_len)
            memcpy(at, s->more, s->more_len);
        memcpy(at + s->more_len, s->info.id, id);
        memcpy(at + s->more_len + id, s->info.name, name);
        p += ALIGN_UP((u64)ENTRY + EXTRA + s->more_len + id + name, 8u);
    }
    return bytes;
}

/* How long the table on disk is. */
static u64 table_length(const struct qcow2 *q)
{
    u64 len;
    free(pack_table(q, &len));
    return len;
}

/* Write the table to a new place, and the header that names it. `old_len`: of the one before. On failure
 * q->snapshots_offset tells which table the next header will name: what is in memory has to be that one. */
static bool write_table(struct qcow2 *q, u64 old_len, struct err *e)
{
    u64 len, offset = 0, old = q->snapshots_offset;
    u8 *bytes = pack_table(q, &len);
    bool good = !len || store_bytes(q, bytes, len, &offset, e);
    free(bytes);
    if (!good)
        return false;
    if (old && old_len)
        clusters_free_later(q, old, old_len, FREED_BY_SNAPSHOT);
    q->snapshots_offset = offset;
    return header_write_now(q, e);
}

static struct snapshot *find(struct qcow2 *q, const char *id, const char *name)
{
    for (u32 i = 0; id && i < q->nsnapshots; i++) {
        if (!strcmp(q->snapshots[i].info.id, id))
            return &q->snapshots[i];
    }
    for (u32 i = 0; name && i < q->nsnapshots; i++) {
        if (!strcmp(q->snapshots[i].info.name, name))
            return &q->snapshots[i];
    }
    return NULL;
}

bool qcow2_snapshot_list(struct node *n, struct snapshot_info **list, size_t *count, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    *count = q->nsnapshots;
    *list = xcalloc(q->nsnapshots + 1, sizeof(**list));
    for (u32 i = 0; i < q->nsnapshots; i++) {
        (*list)[i] = q->snapshots[i].info;
        (*list)[i].id = xstrdup(q->snapshots[i].info.id);
        (*list)[i].name = xstrdup(q->snapshots[i].info.name);
    }
    return true;
}

/* ---- create, apply, delete ---- */

/* An L1 table as bytes. */
struct l1_copy {
    struct fmt_job job;
    u64 offset;
    u32 size;
    u8 *bytes;
    bool plain; /* without COPIED flags */
};

static enum step copy_step(struct fmt *f, struct fmt_job *j)
{
    struct l1_copy *c = container_of(j, struct l1_copy, job);
    for (u32 i = 0; i < c->size; i++) {
        const u8 *p = meta_get(&f->meta, c->offset + 8ull * i);
        if (!p)
            return STEP_NEED;
        put_be64(c->bytes + 8ull * i, c->plain ? be64_at(p) & ~L2_COPIED : be64_at(p));
    }
    return STEP_DONE;
}

bool l1_copy(struct qcow2 *q, u64 from, u32 size, u32 new_size, bool plain, u64 *offset, struct err *e)
{
    struct l1_copy c = {.job.step = copy_step, .offset = from, .size = size, .plain = plain};
    c.bytes = xcalloc(MAX(new_size, 1u), 8);
    bool good = fmt_run(&q->fmt, &c.job, e) && store_bytes(q, c.bytes, 8ull * new_size, offset, e);
    free(c.bytes);
    return good;
}

bool refresh_flags(struct qcow2 *q, struct err *e)
{
    if (q->flags_stale && (!settle_all(q, e) || !walk_run(q, q->l1_offset, q->l1_size, 0, false, e) || !settle_all(q, e)))
        return false;
    q->flags_stale = false;
    return true;
}

/* Counts and COPIED flags change in many places, which no order of writing holds together. Until they fit again an image
 * of version 3 is marked as dirty: after a crash who opens it for writing repairs it. */
bool counts_begin(struct qcow2 *q, struct err *e)
{
    if (q->version < 3)
        return true;
    q->incompatible |= INCOMPAT_DIRTY;
    return header_write_now(q, e);
}

/* Also sets the COPIED flags that a change of snapshots has left to be set. */
bool counts_end(struct qcow2 *q, struct err *e)
{
    if (!refresh_flags(q, e) || !settle_all(q, e))
        return false;
    bool marked = q->incompatible & INCOMPAT_DIRTY;
    q->incompatible &= ~(u64)INCOMPAT_DIRTY;
    q->late = false;
    return !marked || header_write_now(q, e);
}

bool qcow2_snapshot_create(struct node *n, const char *name, const struct snapshot_vm *vm, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    if (has_data_file(q))
        return err_set(e, ENOTSUP, "an image with an external data file has no snapshots");
    if (q->nsnapshots >= MAX_SNAPSHOTS || strlen(name) > 1000)
        return err_set(e, EFBIG, q->nsnapshots >= MAX_SNAPSHOTS ? "there are too many snapshots" : "the name is too long");
    if (!settle_all(q, e) || !walk_run(q, q->l1_offset, q->l1_size, 1, true, e) || !counts_begin(q, e) ||
        !walk_run(q, q->l1_offset, q->l1_size, 1, false, e))
        return false;
    unsigned long id = 0;
    for (u32 i = 0; i < q->nsnapshots; i++)
        id = MAX(id, strtoul(q->snapshots[i].info.id, NULL, 10));
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct snapshot s = {.l1_size = q->l1_size};
    s.info = (struct snapshot_info){.date_sec = (u64)now.tv_sec, .date_nsec = (u32)now.tv_nsec, .disk_size = n->size,
                                    .has_icount = !vm || vm->has_icount, .icount = vm ? vm->icount : 0,
                                    .vm_size = vm ? vm->size : 0, .vm_clock_nsec = vm ? vm->clock_nsec : 0};
    s.vm_size_low = (u32)MIN(s.info.vm_size, (u64)UINT32_MAX);
    if (!l1_copy(q, q->l1_offset, q->l1_size, q->l1_size, true, &s.l1_offset, e))
        return false;
    s.info.id = xprintf("%lu", id + 1);
    s.info.name = xstrdup(name);
    u64 old_len = table_length(q);
    u32 cap = (u32)q->snapshot_cap;
    VEC_PUSH(q->snapshots, q->nsnapshots, cap) = s;
    q->snapshot_cap = cap;
    u64 old = q->snapshots_offset;
    bool good = write_table(q, old_len, e);
    if (!good && q->snapshots_offset == old)
        snapshot_free(&q->snapshots[--q->nsnapshots]);
    return good && vmstate_drop(q, e) && counts_end(q, e);
}

bool qcow2_snapshot_delete(struct node *n, const char *name, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    struct snapshot *s = find(q, name, name);
    if (!s)
        return err_set(e, ENOENT, "snapshot not found");
    struct snapshot gone = *s;
    u64 old_len = table_length(q);
    if (!settle_all(q, e) || !walk_run(q, gone.l1_offset, gone.l1_size, -1, true, e) || !counts_begin(q, e))
        return false;
    q->flags_stale = true;
    u64 old = q->snapshots_offset;
    memmove(s, s + 1, (size_t)(&q->snapshots[q->nsnapshots] - (s + 1)) * sizeof(*s));
    q->nsnapshots--;
    bool good = write_table(q, old_len, e);
    if (!good && q->snapshots_offset == old) {
        memmove(s + 1, s, (size_t)(&q->snapshots[q->nsnapshots++] - s) * sizeof(*s));
        *s = gone;
        return false;
    }
    good = good && walk_run(q, gone.l1_offset, gone.l1_size, -1, false, e);
    if (good && gone.l1_size)
        clusters_free_later(q, gone.l1_offset, 8ull * gone.l1_size, FREED_BY_SNAPSHOT);
    snapshot_free(&gone);
    return good && counts_end(q, e);
}

bool qcow2_snapshot_apply(struct node *n, const char *name, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    struct snapshot *s = find(q, name, name);
    if (!s)
        return err_set(e, ENOENT, "snapshot not found");
    u64 size = s->info.disk_size ? s->info.disk_size : n->size, span = (u64)q->cluster_size << q->l2_bits;
    u64 needed = size / span + (size % span != 0);
    if (size > INT64_MAX || needed > MAX_L1_BYTES / 8 || needed > MAX(s->l1_size, q->l1_size))
        return err_set(e, EINVAL, "the snapshot's size is damaged");
    u64 old = q->l1_offset, offset;
    u32 old_size = q->l1_size, new_size = (u32)MAX(MAX(needed, (u64)s->l1_size), 1u);
    if (!settle_all(q, e) || !walk_run(q, s->l1_offset, s->l1_size, 1, true, e) || !counts_begin(q, e) ||
        !walk_run(q, s->l1_offset, s->l1_size, 1, false, e) ||
        !l1_copy(q, s->l1_offset, s->l1_size, new_size, true, &offset, e))
        return false;
    q->flags_stale = true;
    q->l1_offset = offset;
    q->l1_size = new_size;
    n->size = size;
    if (!header_write_now(q, e) || !walk_run(q, old, old_size, -1, false, e))
        return false;
    clusters_free_later(q, old, 8ull * old_size, FREED_BY_SNAPSHOT);
    return counts_end(q, e);
}

bool qcow2_snapshot_load(struct node *n, const char *id, const char *name, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    const struct snapshot *s = find(q, id, name);
    if (!s)
        return err_set(e, ENOENT, "Can't find snapshot");
    n->flags &= ~(u32)OPEN_WRITE;
    q->frozen = true;
    q->l1_offset = s->l1_offset;
    q->l1_size = s->l1_size;
    if (s->info.disk_size)
        n->size = MIN(s->info.disk_size, (u64)INT64_MAX);
    return true;
}
