#include "block/meta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"

struct meta_block {
    u64 offset;
    u8 *data;
    s8 rank;       /* dirty with this rank; -1: clean */
    bool writing;  /* part of the write-back that runs */
    bool forgotten; /* to be discarded when that ends */
    struct meta_block *next; /* in its bucket */
    struct meta_block *newer, *older;
};

enum { CLEAN = -1 };

void meta_init(struct meta *m, struct node *file, u32 block, size_t limit)
{
    m->file = file;
    m->block = block;
    m->shift = ctz64(block);
    m->limit = limit;
    m->nbuckets = 64;
    m->buckets = xcalloc(m->nbuckets, sizeof(*m->buckets));
    m->waiting_last = &m->waiting;
}

static struct meta_block **bucket(struct meta *m, u64 offset)
{
    return &m->buckets[((offset >> m->shift) * 0x9e3779b97f4a7c15u >> 32) & (m->nbuckets - 1)];
}

static struct meta_block *find(struct meta *m, u64 offset)
{
    struct meta_block *b = *bucket(m, offset);
    while (b && b->offset != offset)
        b = b->next;
    return b;
}

static void lru_remove(struct meta *m, struct meta_block *b)
{
    *(b->older ? &b->older->newer : &m->lru_first) = b->newer;
    *(b->newer ? &b->newer->older : &m->lru_last) = b->older;
}

static void lru_add(struct meta *m, struct meta_block *b)
{
    b->newer = NULL;
    b->older = m->lru_last;
    *(b->older ? &b->older->newer : &m->lru_first) = b;
    m->lru_last = b;
}

static struct meta_recent *recent(struct meta *m, u64 offset)
{
    return &m->recent[offset >> m->shift & (ARRAY_LEN(m->recent) - 1)];
}

/* Also CLEAN. */
static void set_rank(struct meta *m, struct meta_block *b, s8 rank)
{
    if (b->rank != CLEAN) {
        m->dirty--;
        m->dirty_of[b->rank]--;
    }
    b->rank = rank;
    if (rank != CLEAN) {
        m->dirty++;
        m->dirty_of[rank]++;
    }
}

static void discard(struct meta *m, struct meta_block *b)
{
    struct meta_recent *r = recent(m, b->offset);
    if (r->data == b->data)
        r->data = NULL;
    struct meta_block **p = bucket(m, b->offset);
    while (*p != b)
        p = &(*p)->next;
    *p = b->next;
    lru_remove(m, b);
    m->count--;
    set_rank(m, b, CLEAN);
    free(b->data);
    free(b);
}

static void grow_buckets(struct meta *m)
{
    struct meta_block **old = m->buckets;
    size_t n = m->nbuckets;
    m->nbuckets *= 4;
    m->buckets = xcalloc(m->nbuckets, sizeof(*m->buckets));
    for (size_t i = 0; i < n; i++) {
        for (struct meta_block *b = old[i], *next; b; b = next) {
            next = b->next;
            struct meta_block **p = bucket(m, b->offset);
            b->next = *p;
            *p = b;
        }
    }
    free(old);
}

/* A new block, not yet filled. */
static struct meta_block *add(struct meta *m, u64 offset)
{
    if (m->count >= m->nbuckets * 2)
        grow_buckets(m);
    struct meta_block *b = xcalloc(1, sizeof(*b));
    b->offset = offset;
    b->data = xmalloc(m->block);
    b->rank = CLEAN;
    struct meta_block **p = bucket(m, offset);
    b->next = *p;
    *p = b;
    lru_add(m, b);
    m->count++;
    return b;
}

/* Make room, oldest first. Dirty blocks stay; whoever dirties writes back in time. */
static void evict(struct meta *m)
{
    struct meta_block *b = m->lru_first;
    for (unsigned tries = 0; m->count > m->limit && b && tries < 32; tries++) {
        struct meta_block *newer = b->newer;
        if (b->rank == CLEAN && !b->writing && recent(m, b->offset)->data != b->data)
            discard(m, b);
        b = newer;
    }
}

u8 *meta_find(struct meta *m, u64 offset)
{
    u64 start = ALIGN_DOWN(offset, (u64)m->block);
    struct meta_block *b = find(m, start);
    if (!b) {
        m->need = start;
        return NULL;
    }
    if (b != m->lru_last) {
        lru_remove(m, b);
        lru_add(m, b);
    }
    *recent(m, start) = (struct meta_recent){start, b->data};
    return b->data + (offset - start);
}

u8 *meta_new(struct meta *m, u64 offset)
{
    struct meta_block *b = find(m, offset);
    if (!b)
        b = add(m, offset);
    b->forgotten = false;
    memset(b->data, 0, m->block);
    return b->data;
}

void meta_dirty(struct meta *m, u64 offset, unsigned rank)
{
    struct meta_block *b = find(m, ALIGN_DOWN(offset, (u64)m->block));
    set_rank(m, b, (s8)(m->mutate ? m->mutate(rank) : rank));
}

void meta_forget(struct meta *m, u64 offset, u64 len)
{
    for (u64 at = ALIGN_DOWN(offset, (u64)m->block); at < offset + len; at += m->block) {
        struct meta_block *b = find(m, at);
        if (b && !b->writing) {
            discard(m, b);
        } else if (b) {
            set_rank(m, b, CLEAN);
            b->forgotten = true;
        }
    }
}

void meta_drop(struct meta *m)
{
    while (m->lru_first)
        discard(m, m->lru_first);
}

void meta_free(struct meta *m)
{
    if (m->buckets)
        meta_drop(m);
    free(m->buckets);
    m->buckets = NULL;
}

bool meta_is_dirty(const struct meta *m)
{
    return m->dirty != 0;
}

bool meta_crowded(const struct meta *m)
{
    return m->dirty > m->limit / 2 && !m->writing;
}

/* ---- loading ---- */

struct load {
    struct blk_req r;
    struct iovec iov;
    struct meta *m;
    struct meta_wait *wait;
};

static void load_done(struct blk_req *r)
{
    struct load *l = container_of(r, struct load, r);
    struct meta *m = l->m;
    if (!r->error && !find(m, r->offset)) { /* somebody else may have wanted it, too */
        evict(m);
        memcpy(add(m, r->offset)->data, l->iov.iov_base, m->block);
    }
    struct meta_wait *w = l->wait;
    int error = r->error;
    free(l->iov.iov_base);
    free(l);
    w->done(w, error);
}

void meta_load(struct meta *m, struct meta_wait *w)
{
    struct load *l = xcalloc(1, sizeof(*l));
    l->m = m;
    l->wait = w;
    l->iov = (struct iovec){xmalloc(m->block), m->block};
    l->r = (struct blk_req){.op = BLK_READ, .offset = m->need, .len = m->block, .iov = &l->iov,
                            .niov = 1, .done = load_done};
    node_event(m->file, EVENT_L2_LOAD);
    node_submit(m->file, &l->r);
}

/* ---- writing back ---- */

/* Adjacent blocks of one rank as they were when the write-back began. */
struct meta_run {
    struct blk_req r;
    struct iovec iov;
    struct meta_job *job;
    unsigned rank; /* 2n: of blocks of rank n; 2n - 1: of a header in front of those */
};

struct meta_job {
    struct meta *m;
    struct meta_wait *waiting;
    struct meta_block **blocks; /* sorted by rank, then offset */
    s8 *ranks;
    size_t count;
    struct meta_run *runs;
    size_t nruns, next;
    unsigned pending;
    bool unflushed, flushed; /* the next rank needs a flush; flushed at least once */
    int error;
    struct blk_req sync;
};

static void job_step(struct meta_job *j);

static int by_rank(const void *a, const void *b)
{
    const struct meta_block *x = *(struct meta_block *const *)a, *y = *(struct meta_block *const *)b;
    if (x->rank != y->rank)
        return x->rank - y->rank;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static void take_dirty(struct meta_job *j)
{
    struct meta *m = j->m;
    j->blocks = xcalloc(m->dirty + 1, sizeof(*j->blocks));
    j->ranks = xcalloc(m->dirty + 1, 1);
    for (struct meta_block *b = m->lru_first; b; b = b->newer) {
        if (b->rank >= (s8)m->first_rank)
            j->blocks[j->count++] = b;
    }
    qsort(j->blocks, j->count, sizeof(*j->blocks), by_rank);
    j->runs = xcalloc(j->count + 1, sizeof(*j->runs));
    for (size_t i = 0; i < j->count;) {
        size_t n = 1;
        struct meta_block **b = &j->blocks[i];
        while (i + n < j->count && n < 64 && b[n]->rank == b[0]->rank &&
               b[n]->offset == b[0]->offset + n * m->block)
            n++;
        struct meta_run *run = &j->runs[j->nruns++];
        run->job = j;
        run->rank = 2 * (unsigned)b[0]->rank;
        run->iov = (struct iovec){xmalloc(n * m->block), n * m->block};
        run->r.offset = b[0]->offset;
        for (size_t k = 0; k < n; k++, i++) {
            memcpy((u8 *)run->iov.iov_base + k * m->block, b[k]->data, m->block);
            j->ranks[i] = b[k]->rank;
            set_rank(m, b[k], CLEAN);
            b[k]->writing = true;
        }
    }
}

static void job_end(struct meta_job *j)
{
    struct meta *m = j->m;
    for (size_t i = 0; i < j->count; i++) {
        struct meta_block *b = j->blocks[i];
        b->writing = false;
        if (b->forgotten) {
            discard(m, b);
        } else if (j->error && b->rank == CLEAN) {
            set_rank(m, b, j->ranks[i]);
        }
    }
    for (size_t i = 0; i < j->nruns; i++)
        free(j->runs[i].iov.iov_base);
    m->writing = NULL;
    m->data_first |= j->error != 0;
    if (!j->error && m->settled)
        m->settled(m->opaque);
    struct meta_wait *w = j->waiting;
    int error = j->error;
    free(j->blocks);
    free(j->ranks);
    free(j->runs);
    free(j);
    if (m->waiting) { /* who came meanwhile wants what was dirtied meanwhile, too */
        struct meta_wait *all = m->waiting;
        m->waiting = NULL;
        m->waiting_last = &m->waiting;
        meta_writeback(m, all);
    }
    while (w) {
        struct meta_wait *next = w->next;
        w->next = NULL;
        w->done(w, error);
        w = next;
    }
}

static void piece_done(struct meta_job *j, int error)
{
    if (error && !j->error)
        j->error = error;
    if (!--j->pending)
        job_step(j);
}

static void run_done(struct blk_req *r)
{
    struct meta_run *run = container_of(r, struct meta_run, r);
    piece_done(run->job, r->error);
}

static void sync_done(struct blk_req *r)
{
    piece_done(container_of(r, struct meta_job, sync), r->error);
}

static void submit_sync(struct meta_job *j)
{
    j->unflushed = false;
    j->flushed = true;
    j->pending = 1;
    node_event(j->m->file, EVENT_FLUSH_TO_DISK);
    j->sync = (struct blk_req){.op = BLK_FLUSH, .done = sync_done};
    node_submit(j->m->file, &j->sync);
}

/* Put the header into its place among the runs. */
static void insert_header(struct meta_job *j, u8 *header, u32 len, unsigned rank)
{
    size_t i = j->nruns++;
    for (; i && j->runs[i - 1].rank >= 2 * rank; i--)
        j->runs[i] = j->runs[i - 1];
    j->runs[i] = (struct meta_run){.job = j, .iov = {header, len}, .rank = 2 * rank - 1};
}

/* Write the runs of the next rank, or flush before them, or end. */
static void job_step(struct meta_job *j)
{
    if (j->error) {
        job_end(j);
        return;
    }
    if (j->next == j->nruns) {
        if (j->unflushed || !j->flushed)
            submit_sync(j);
        else
            job_end(j);
        return;
    }
    if (j->unflushed) {
        submit_sync(j);
        return;
    }
    static const enum blk_event events[META_RANKS] = {EVENT_REFBLOCK_UPDATE, EVENT_REFTABLE_UPDATE, EVENT_L2_UPDATE, EVENT_L1_UPDATE};
    unsigned rank = j->runs[j->next].rank;
    if (rank / 2 < META_RANKS)
        node_event(j->m->file, events[rank / 2]);
    size_t first = j->next, end = first;
    while (end < j->nruns && j->runs[end].rank == rank)
        end++;
    j->next = end;
    j->pending = (unsigned)(end - first);
    j->unflushed = true;
    for (size_t i = first; i < end; i++) {
        struct meta_run *run = &j->runs[i];
        run->r = (struct blk_req){.op = BLK_WRITE, .offset = run->r.offset, .len = run->iov.iov_len,
                                  .iov = &run->iov, .niov = 1, .done = run_done};
        node_submit(j->m->file, &run->r);
    }
}

void meta_writeback(struct meta *m, struct meta_wait *w)
{
    if (m->writing) {
        *m->waiting_last = w;
        while (w->next)
            w = w->next;
        m->waiting_last = &w->next;
        return;
    }
    struct meta_job *j = xcalloc(1, sizeof(*j));
    j->m = m;
    j->waiting = w;
    m->writing = j;
    node_event(m->file, EVENT_FLUSH_TO_OS);
    if (m->begun)
        m->begun(m->opaque);
    take_dirty(j);
    u32 len;
    unsigned rank;
    u8 *header = m->header ? m->header(m->opaque, &len, &rank) : NULL;
    if (header)
        insert_header(j, header, len, rank);
    /* Blocks of the lowest rank do not refer to data, and the file is flushed behind them anyway. */
    j->unflushed = m->data_first && j->nruns && j->runs[0].rank > 0;
    m->data_first = false;
    job_step(j);
}

/* ---- waiting ---- */

struct meta_sync {
    struct meta_wait wait;
    bool done;
    int error;
};

static void sync_wait_done(struct meta_wait *w, int error)
{
    struct meta_sync *s = container_of(w, struct meta_sync, wait);
    s->error = error;
    s->done = true;
}

int meta_load_now(struct meta *m)
{
    struct meta_sync s = {.wait = {.done = sync_wait_done}};
    meta_load(m, &s.wait);
    loop_until(m->file->graph->loop, &s.done);
    return s.error;
}

int meta_writeback_now(struct meta *m)
{
    struct meta_sync s = {.wait = {.done = sync_wait_done}};
    meta_writeback(m, &s.wait);
    loop_until(m->file->graph->loop, &s.done);
    return s.error;
}
