/* qcow2 against a plain array in memory, under random requests; then what a crash at any moment, or a
 * failure of any write, leaves behind.
 *
 * A crash keeps all that was written before the last flush and any part of what was written since, in
 * any order. Whatever that makes, the image opens, a check finds at most leaks, and every sector holds
 * what it held at the last flush of the guest or what was written to it since. */
#include <errno.h>

#include "base/mem.h"
#include "block/format.h"
#include "block/memory.h"
#include "block/qcow2/qcow2.h"
#include "check.h"

enum { DISK = 256 << 10, SECTOR = 512, SECTORS = DISK / SECTOR, STEPS = 120 };

static const char *const kinds[] = {
    "{'cluster_size': 512}",
    "{'cluster_size': 512, 'refcount_bits': 1}",
    "{'cluster_size': 1024, 'refcount_bits': 64}",
    "{'cluster_size': 4096}",
    "{'cluster_size': 4096, 'compat': '0.10'}",
    "{'cluster_size': 512, 'lazy_refcounts': 'on'}",
    "{'cluster_size': 4096, 'refcount_bits': 64, 'lazy_refcounts': 'on'}",
    "{'cluster_size': 16384, 'extended_l2': 'on'}",
};

/* What a sector may hold: numbers that fill it. 0 is zeros; ANY after a discard or a failed write. */
enum { ANY = 0xffff };

struct world {
    struct block_graph *g;
    struct memory m;
    struct node *n;
    struct rng rng;
    unsigned next_value;
    u16 now[SECTORS]; /* the model */
    bool snapshots;   /* of the workload */
    unsigned (*mutate)(unsigned rank);
};

/* A flush of the guest that has ended: where in the log, and what the disk held. */
struct mark {
    size_t event;
    u16 held[SECTORS];
};

/* A write that was sent: from when on it may be seen. */
struct sent {
    size_t event; /* log position when it was sent */
    u32 sector, count;
    u16 value;
};

struct history {
    struct mark *marks;
    size_t nmarks, mark_cap;
    struct sent *sent;
    size_t nsent, sent_cap;
};

static void fill(u8 *p, u16 value)
{
    for (unsigned i = 0; i < SECTOR; i += 2)
        memcpy(p + i, &value, 2);
}

static void world_open(struct world *w, const char *kind)
{
    struct err e;
    w->g = block_graph_new(BLOCK_AIO_THREADS, &e);
    if (!memory_create(w->g, &w->m, kind, DISK))
        exit(1);
    w->n = node_open_above(memory_node(w->g, &w->m, OPEN_WRITE), "qcow2", NULL, OPEN_WRITE, &e);
    node_bitmap(w->n, BITMAP_ADD, "b", 4096, &e); /* where the version has bitmaps */
    memset(w->now, 0, sizeof(w->now));
    w->next_value = 1;
}

static void world_close(struct world *w)
{
    node_close(w->n, NULL);
    memory_free(&w->m);
    block_graph_free(w->g);
}

static void note(struct world *w, struct history *h, u32 sector, u32 count, u16 value)
{
    if (h)
        VEC_PUSH(h->sent, h->nsent, h->sent_cap) = (struct sent){w->m.count, sector, count, value};
}

static void set_model(struct world *w, u32 sector, u32 count, u16 value)
{
    for (u32 i = sector; i < sector + count; i++)
        w->now[i] = value;
}

static int do_write(struct world *w, struct history *h, u32 sector, u32 count)
{
    u16 value = (u16)(w->next_value++ % (ANY - 1) + 1);
    u8 *buf = xmalloc(count * SECTOR);
    for (u32 i = 0; i < count; i++)
        fill(buf + i * SECTOR, value);
    note(w, h, sector, count, value);
    bool packed = !(sector % 32) && count >= 32 && !rng_below(&w->rng, 2);
    u32 cluster = w->n->fmt->cluster;
    int error;
    if (packed && (u64)count * SECTOR >= cluster && !((u64)sector * SECTOR % cluster))
        error = node_io(w->n, BLK_WRITE, (u64)sector * SECTOR, buf, cluster, BLK_COMPRESS), count = cluster / SECTOR;
    else
        error = node_io(w->n, BLK_WRITE, (u64)sector * SECTOR, buf, (u64)count * SECTOR, 0);
    set_model(w, sector, count, error ? ANY : value);
    free(buf);
    return error;
}

static int do_flush(struct world *w, struct history *h)
{
    int error = node_flush(w->n);
    if (!error && h) {
        struct mark *m = &VEC_PUSH(h->marks, h->nmarks, h->mark_cap);
        m->event = w->m.count;
        memcpy(m->held, w->now, sizeof(m->held));
    }
    return error;
}

/* Close and open again: saves the bitmap. */
static void do_reopen(struct world *w, struct history *h)
{
    struct err e;
    do_flush(w, h);
    if (!node_close(w->n, &e))
        printf("# closing failed: %s\n", e.text);
    w->n = node_open_above(memory_node(w->g, &w->m, OPEN_WRITE), "qcow2", NULL, OPEN_WRITE, &e);
    w->n->fmt->meta.mutate = w->mutate;
}

/* Other counts: all of them are written anew. Or another version: zero clusters go, those of snapshots, too. */
static void do_amend(struct world *w)
{
    struct err e;
    struct json *o = json_object();
    bool version = !rng_below(&w->rng, 3), old = rng_below(&w->rng, 2);
    json_set_int(o, "refcount_bits", version ? 16 : 1 << rng_below(&w->rng, 7));
    if (version)
        json_set_string(o, "compat", old ? "0.10" : "1.1");
    if (version && old) /* which has no bitmaps */
        node_bitmap(w->n, BITMAP_REMOVE, "b", 0, &e);
    node_amend(w->n, o, false, &e);
    json_free(o);
}

static void do_snapshot(struct world *w)
{
    struct err e;
    struct snapshot_info *list;
    size_t count;
    node_snapshot_list(w->n, &list, &count, &e);
    if (count < 3 && rng_below(&w->rng, 3))
        node_snapshot_create(w->n, "s", NULL, &e);
    else if (count)
        node_snapshot_delete(w->n, list[rng_below(&w->rng, count)].id, &e);
    snapshot_list_free(list, count);
}

/* One random request; returns its error. */
static int step(struct world *w, struct history *h)
{
    u32 sector = (u32)rng_below(&w->rng, SECTORS), count = (u32)rng_below(&w->rng, 70) + 1;
    u64 what = rng_below(&w->rng, 20);
    int error = 0;
    count = MIN(count, SECTORS - sector);
    if (what < 11)
        return do_write(w, h, what & 1 ? sector & ~31u : sector, MIN(count, SECTORS - (sector & ~31u)));
    if (what < 14) {
        note(w, h, sector, count, 0);
        error = node_io(w->n, BLK_ZERO, (u64)sector * SECTOR, NULL, (u64)count * SECTOR, what & 1 ? BLK_MAY_UNMAP : 0);
        set_model(w, sector, count, error ? ANY : 0);
    } else if (what < 17) { /* zeros or what was there */
        note(w, h, sector, count, ANY);
        error = node_io(w->n, BLK_DISCARD, (u64)sector * SECTOR, NULL, (u64)count * SECTOR, 0);
        set_model(w, sector, count, ANY);
    } else if (what < 19) {
        return do_flush(w, h);
    } else if (!rng_below(&w->rng, 3) && (w->snapshots || h)) {
        do_amend(w);
    } else if (w->snapshots && (!h || qcow2_of_node(w->n)->version >= 3)) { /* version 2 has no mark that asks for a repair */
        do_snapshot(w);
    } else if (h) {
        do_reopen(w, h);
    }
    return error;
}

/* Compare the node with the model. */
static unsigned differences(struct world *w, struct node *n)
{
    u8 *buf = xmalloc(DISK), want[SECTOR];
    unsigned bad = 0;
    if (node_io(n, BLK_READ, 0, buf, DISK, 0))
        bad = SECTORS;
    for (u32 i = 0; i < SECTORS && !bad; i++) {
        fill(want, w->now[i]);
        if (w->now[i] != ANY && memcmp(buf + i * SECTOR, want, SECTOR)) {
            printf("# sector %u is %02x%02x, should be %04x\n", i, buf[i * SECTOR + 1], buf[i * SECTOR], w->now[i]);
            bad++;
        }
    }
    free(buf);
    return bad;
}

static void print_finding(struct check_result *c, const char *line)
{
    if (!strncmp(line, "ERROR", 5))
        printf("# %s\n", line);
}

/* Whether a check of these bytes finds nothing worse than leaks; -1: it does not open. */
static s64 errors_in(struct block_graph *g, struct memory *m, bool print)
{
    struct err e;
    struct check_result c = {.report = print ? print_finding : NULL};
    struct node *n = node_open_above(memory_node(g, m, 0), "qcow2", NULL, OPEN_CHECK, &e);
    if (!n)
        return -1;
    bool good = node_check(n, 0, &c, &e);
    node_close(n, NULL);
    return good ? (s64)c.corruptions : -1;
}

/* Who opens a dirty image for writing has it repaired. */
static void mend(struct block_graph *g, struct memory *m)
{
    struct err e;
    struct node *n = node_open_above(memory_node(g, m, OPEN_WRITE), "qcow2", NULL, OPEN_WRITE, &e);
    if (!n)
        printf("# it cannot be opened for writing: %s\n", e.text);
    else
        node_close(n, NULL);
}

/* Whether a change of snapshots was under way. */
static bool is_dirty(struct block_graph *g, struct memory *m)
{
    struct err e;
    struct image_info info = {0};
    struct node *n = node_open_above(memory_node(g, m, 0), "qcow2", NULL, 0, &e);
    bool dirty = n && node_info(n, &info, &e) && info.dirty;
    image_info_free(&info);
    if (n)
        node_close(n, NULL);
    return dirty;
}

/* Write what may be late until the image is closed. */
static void have_all_counted(struct world *w)
{
    CHECK_EQ(node_flush(w->n), 0);
    if (is_dirty(w->g, &w->m))
        do_reopen(w, NULL);
}

TEST(random_requests_against_the_model)
{
    struct rng rng = rng_seeded();
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        for (unsigned round = 0; round < 4; round++) {
            struct world w = {.rng = rng, .snapshots = true};
            world_open(&w, kinds[k]);
            for (unsigned i = 0; i < STEPS * 3; i++)
                CHECK_EQ(step(&w, NULL), 0);
            CHECK_EQ(differences(&w, w.n), 0);
            have_all_counted(&w);
            CHECK_EQ(errors_in(w.g, &w.m, true), 0);
            rng = w.rng;
            world_close(&w);
        }
    }
}

/* ---- many at once ---- */

enum { AT_ONCE = 24, SLOT = SECTORS / AT_ONCE };

struct flight {
    struct blk_req r;
    struct iovec iov;
    bool done;
};

static void landed(struct blk_req *r)
{
    container_of(r, struct flight, r)->done = true;
}

/* Requests that share clusters, not sectors, all in flight together. */
static void fly(struct world *w)
{
    struct flight all[AT_ONCE];
    u8 *buf = xcalloc(AT_ONCE * SLOT, SECTOR);
    for (u32 i = 0; i < AT_ONCE; i++) {
        u32 first = (u32)rng_below(&w->rng, SLOT), count = (u32)rng_below(&w->rng, SLOT - first) + 1;
        u32 sector = i * SLOT + first;
        u64 what = rng_below(&w->rng, 8);
        u16 value = what < 5 ? (u16)(w->next_value++ % (ANY - 1) + 1) : what < 7 ? 0 : ANY;
        struct flight *f = &all[i];
        *f = (struct flight){.iov = {buf + i * SLOT * SECTOR, count * SECTOR}};
        for (u32 k = 0; k < count; k++)
            fill(buf + (i * SLOT + k) * SECTOR, value);
        f->r = (struct blk_req){.op = what < 5 ? BLK_WRITE : what < 7 ? BLK_ZERO : BLK_DISCARD, .offset = (u64)sector * SECTOR,
                                .len = (u64)count * SECTOR, .iov = what < 5 ? &f->iov : NULL, .niov = what < 5,
                                .flags = what == 6 ? BLK_MAY_UNMAP : what == 4 ? BLK_FUA : 0, .done = landed};
        set_model(w, sector, count, value);
        node_submit(w->n, &f->r);
    }
    for (u32 i = 0; i < AT_ONCE; i++) {
        loop_until(block_graph_loop(w->g), &all[i].done);
        CHECK_EQ(all[i].r.error, 0);
    }
    free(buf);
}

TEST(many_requests_at_once)
{
    struct rng rng = rng_seeded();
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        struct world w = {.rng = rng};
        world_open(&w, kinds[k]);
        for (unsigned i = 0; i < 60; i++)
            fly(&w);
        CHECK_EQ(differences(&w, w.n), 0);
        have_all_counted(&w);
        CHECK_EQ(errors_in(w.g, &w.m, true), 0);
        rng = w.rng;
        world_close(&w);
    }
}

/* ---- crashes ---- */

static void apply(struct memory *to, const struct memory_event *e)
{
    if (e->offset + e->len > to->size) {
        to->bytes = xrealloc(to->bytes, e->offset + e->len);
        memset(to->bytes + to->size, 0, e->offset + e->len - to->size);
        to->size = e->offset + e->len;
    }
    memcpy(to->bytes + e->offset, e->data, e->len);
}

/* What may be on disk after a crash when `end` events have happened: all up to the last flush, and of
 * the rest some, in a random order. */
static struct memory crash(const struct memory *first, const struct memory *log, size_t end, struct rng *rng)
{
    struct memory m = {.size = first->size, .bytes = xmalloc(first->size + 1)};
    memcpy(m.bytes, first->bytes, first->size);
    size_t flush = end;
    while (flush && log->events[flush - 1].data)
        flush--;
    for (size_t i = 0; i < flush; i++) {
        if (log->events[i].data)
            apply(&m, &log->events[i]);
    }
    size_t n = end - flush, *order = xcalloc(n + 1, sizeof(*order));
    for (size_t i = 0; i < n; i++) {
        size_t k = rng_below(rng, i + 1);
        order[i] = order[k];
        order[k] = flush + i;
    }
    size_t keep = n ? rng_below(rng, n + 1) : 0;
    bool in_order = rng_below(rng, 2);
    for (size_t i = 0; i < keep; i++)
        apply(&m, &log->events[in_order ? flush + i : order[i]]);
    free(order);
    return m;
}

/* Whether a sector's bytes are one of the values that it may have. */
static bool allowed(const struct history *h, size_t event, u32 sector, const u8 *p)
{
    size_t i = h->nmarks;
    while (i && h->marks[i - 1].event > event)
        i--;
    size_t since = i ? h->marks[i - 1].event : 0;
    u16 held = i ? h->marks[i - 1].held[sector] : 0;
    u8 want[SECTOR];
    fill(want, held);
    bool good = held == ANY || !memcmp(p, want, SECTOR);
    for (size_t k = 0; k < h->nsent && !good; k++) {
        const struct sent *s = &h->sent[k];
        if (s->event < since || s->event > event || sector < s->sector || sector >= s->sector + s->count)
            continue;
        fill(want, s->value);
        good = s->value == ANY || !memcmp(p, want, SECTOR);
    }
    return good;
}

/* The disk began as zeros and the bitmap clean: what is not zero must be dirty, if the bitmap is to be believed. */
static bool bitmap_tells(struct node *n, u32 sector, const u8 *p)
{
    bool dirty = true;
    if (p[0] || p[1])
        node_bitmap_run(n, "b", (u64)sector * SECTOR, SECTOR, &dirty);
    return dirty;
}

static unsigned wrong_sectors(struct block_graph *g, struct memory *m, const struct history *h, size_t event)
{
    struct err e;
    struct node *n = node_open_above(memory_node(g, m, 0), "qcow2", NULL, 0, &e);
    if (!n)
        return SECTORS;
    u8 *buf = xmalloc(DISK);
    unsigned bad = node_io(n, BLK_READ, 0, buf, DISK, 0) ? SECTORS : 0;
    for (u32 i = 0; i < SECTORS && bad < SECTORS; i++)
        bad += !allowed(h, event, i, buf + i * SECTOR) || !bitmap_tells(n, i, buf + i * SECTOR);
    free(buf);
    node_close(n, NULL);
    return bad;
}

static unsigned reversed(unsigned rank)
{
    return META_RANKS - 1 - rank;
}

/* Reference counts after the tables that refer. */
static unsigned counted_last(unsigned rank)
{
    return rank ? rank : META_RANKS - 1;
}

/* A random workload and `samples` crashes in it. Returns how many of them did harm. */
static unsigned crashes(struct rng *rng, const char *kind, unsigned samples, unsigned (*planted)(unsigned rank))
{
    struct world w = {.rng = *rng, .snapshots = rng_below(rng, 2)};
    struct history h = {0};
    unsigned harm = 0;
    world_open(&w, kind);
    struct memory first = {.size = w.m.size, .bytes = xmalloc(w.m.size)};
    memcpy(first.bytes, w.m.bytes, w.m.size);
    w.m.record = true;
    w.mutate = w.n->fmt->meta.mutate = planted;
    for (unsigned i = 0; i < STEPS; i++)
        step(&w, &h);
    w.m.record = false;
    for (unsigned i = 0; i < samples && w.m.count; i++) {
        size_t end = rng_below(&w.rng, w.m.count + 1);
        struct memory m = crash(&first, &w.m, end, &w.rng);
        if (is_dirty(w.g, &m))
            mend(w.g, &m);
        s64 errors = errors_in(w.g, &m, !planted);
        unsigned wrong = errors ? 0 : wrong_sectors(w.g, &m, &h, end);
        if ((errors || wrong) && !planted && !harm)
            printf("# %s: a crash after event %zu of %zu: %lld errors, %u wrong sectors\n", kind, end, w.m.count,
                   (long long)errors, wrong);
        harm += errors || wrong;
        memory_free(&m);
    }
    free(h.marks);
    free(h.sent);
    memory_free(&first);
    *rng = w.rng;
    world_close(&w);
    return harm;
}

TEST(crashes_leave_at_most_leaks)
{
    struct rng rng = rng_seeded();
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        for (unsigned round = 0; round < 4; round++)
            CHECK_EQ(crashes(&rng, kinds[k], 60, NULL), 0);
    }
}

TEST(a_planted_wrong_order_is_found)
{
    unsigned (*const planted[])(unsigned) = {reversed, counted_last};
    struct rng rng = rng_seeded();
    for (unsigned i = 0; i < ARRAY_LEN(planted); i++) {
        unsigned harm = 0;
        for (unsigned round = 0; round < 10 && !harm; round++)
            harm = crashes(&rng, kinds[3], 60, planted[i]);
        CHECK(harm != 0);
    }
}

/* ---- failures ---- */

TEST(a_failed_write_or_flush_does_no_harm)
{
    struct rng rng = rng_seeded();
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        for (unsigned at = 1; at < 120; at += 1 + (unsigned)rng_below(&rng, 3)) {
            struct world w = {.rng = rng, .snapshots = at & 1};
            world_open(&w, kinds[k]);
            w.m.ops = 0;
            w.m.fail_count = 1 + rng_below(&rng, 3);
            w.m.fail_at = at;
            for (unsigned i = 0; i < 40; i++)
                step(&w, NULL);
            w.m.fail_at = 0;
            do_reopen(&w, NULL); /* a change of snapshots that has failed half-way is put in order at the latest now */
            have_all_counted(&w);
            CHECK_EQ(errors_in(w.g, &w.m, true), 0);
            CHECK_EQ(differences(&w, w.n), 0);
            rng = w.rng;
            world_close(&w);
        }
    }
}

TEST(a_full_disk_does_no_harm)
{
    struct rng rng = rng_seeded();
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        struct world w = {.rng = rng, .snapshots = true};
        world_open(&w, kinds[k]);
        w.m.limit = w.m.size + 60000;
        unsigned full = 0;
        for (unsigned i = 0; i < STEPS; i++)
            full += step(&w, NULL) == ENOSPC;
        CHECK(full != 0);
        w.m.limit = 64 << 20;
        do_reopen(&w, NULL);
        have_all_counted(&w);
        CHECK_EQ(errors_in(w.g, &w.m, true), 0);
        CHECK_EQ(differences(&w, w.n), 0);
        rng = w.rng;
        world_close(&w);
    }
}

TEST_MAIN()
