/* convert: many requests at once. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/img/img.h"
#include "cmd/img/team.h"

/* ---- convert ----
 *
 * Slots go round: each takes the next piece of the source, reads it, waits for its turn, and writes what
 * is not zero. Writing in turn keeps the image in order; -W and -c do without.
 *
 * Where plain files are read and written a team does it instead (team.h), with a slot for each thread: who reads the next piece
 * and looks for zeros in it has it near its processor when its turn to write comes. */

enum { PIECE = 1 << 20, TEAM_PIECE = 512 << 10, MAX_SLOTS = 16, DEFAULT_SPARSE = 4096, MIN_SPARSE = 512, MAX_SPARSE = 16 << 20 };

enum slot_state { SLOT_FREE, SLOT_READING, SLOT_READ, SLOT_WRITING };

struct convert;

struct slot {
    struct convert *c;
    enum slot_state state;
    u64 turn, at, len; /* in the target */
    bool zero;         /* write zeros; nothing was read */
    struct node *from; /* the kernel is to copy it from this file; NULL: no */
    u64 from_at;
    u8 *buf;
    u8 zeros[PIECE / MIN_SPARSE + 1]; /* which granules of `buf` are all zero */
    struct iovec iov;
    struct blk_req r;
    u64 written;       /* of `len` */
};

struct convert {
    struct img *m;
    struct node **src;
    u64 *src_start;    /* offset of each in the target */
    int nsrc;
    struct node *dst;
    u64 total, at;     /* size; next byte to hand out */
    u64 done;
    u64 granule;       /* runs of zeros shorter than this are written */
    u64 cluster;       /* of the target, for -c */
    bool zero_target, has_backing, in_order;
    bool may_copy;     /* -C: by the kernel, as they are */
    bool by_team;      /* until something comes that it cannot read */
    struct team team;
    bool hollow;       /* the source (img_status()) */
    u64 next_turn, write_turn;
    u64 free_at; /* loop_now() from which on the rate allows more */
    struct slot slots[MAX_SLOTS];
    unsigned nslots;
    int status;
    struct progress progress;
    /* the run of the source that `at` is in */
    struct blk_status run;
    u64 run_end;
};

static void write_next(struct slot *s);

/* What the user can do about it, on a line of its own. */
static const char *remedy(bool reading, int error)
{
    if (reading)
        return "\n--salvage goes on with zeros in place of what cannot be read.";
    return error == ENOSPC ? "\nThere is no room left where it lies; make some, or convert to another place. What is there now is not complete."
                           : "\nWhat is there now is not complete.";
}

static void slot_failed(struct slot *s, bool reading, int error)
{
    struct convert *c = s->c;
    struct node *n = s->r.node;
    u64 at = s->at + s->written;
    if (!c->status && c->m->qemu)
        c->status = img_fail(c->m, "error while %s at byte %" PRIu64 ": %s", reading ? "reading" : "writing", at, strerror(error));
    else if (!c->status)
        c->status = img_fail(c->m, "cannot %s '%s' at byte %" PRIu64 ": %s%s%s%s", reading ? "read" : "write", node_filename(n), s->r.offset,
                             strerror(error), *node_error_text(n) ? "\n" : "", node_error_text(n), remedy(reading, error));
    s->state = SLOT_FREE;
}

static void slot_end(struct slot *s)
{
    s->state = SLOT_FREE;
    s->c->done += s->len;
    progress_show(&s->c->progress, s->c->done);
}

static void read_again(struct slot *s);

static void write_done(struct blk_req *r)
{
    struct slot *s = container_of(r, struct slot, r);
    if (r->error == ENOTSUP && s->from) {
        read_again(s);
        return;
    }
    if (r->error) {
        slot_failed(s, false, r->error);
        return;
    }
    s->written += r->len;
    write_next(s);
}

/* Bytes from `at` on in a slot that belong to one granule. */
static u64 granule_length(const struct convert *c, const struct slot *s, u64 at)
{
    return MIN(c->granule - (s->at + at) % c->granule, s->len - at);
}

/* Look for zeros in what was read. */
static void look_for_zeros(struct slot *s)
{
    const struct convert *c = s->c;
    u64 step, i = 0;
    for (u64 at = 0; c->granule && at < s->len; at += step) {
        step = granule_length(c, s, at);
        s->zeros[i++] = bytes_are_zero(s->buf + at, step);
    }
}

/* The length of the run at `from` that is all zero, or all to be written. */
static u64 run_length(const struct convert *c, const struct slot *s, u64 from, bool *zero)
{
    u64 at = from, i = (s->at + from) / c->granule - s->at / c->granule;
    *zero = s->zeros[i];
    while (at < s->len && s->zeros[i++] == *zero)
        at += granule_length(c, s, at);
    return at - from;
}

/* Write the next run of a slot, or end it. */
static void write_next(struct slot *s)
{
    struct convert *c = s->c;
    while (s->written < s->len) {
        bool zero = s->zero;
        u64 len = s->len - s->written;
        if (!zero && c->granule && !s->from)
            len = run_length(c, s, s->written, &zero);
        if (!zero && c->m->compress)
            len = MIN(len, c->cluster - (s->at + s->written) % c->cluster);
        if (zero && c->zero_target) {
            s->written += len;
            continue;
        }
        bool own = !zero && !s->from;
        if (own)
            s->iov = (struct iovec){s->buf + s->written, len};
        s->r = (struct blk_req){.op = zero ? BLK_ZERO : BLK_WRITE, .offset = s->at + s->written, .len = len,
                                .flags = zero ? (c->has_backing ? 0 : BLK_MAY_UNMAP) : c->m->compress ? BLK_COMPRESS : 0,
                                .iov = own ? &s->iov : NULL, .niov = own,
                                .from = s->from, .from_at = s->from_at + s->written, .done = write_done};
        node_submit(c->dst, &s->r);
        return;
    }
    slot_end(s);
}

/* Let those write whose turn it is. */
static void take_turns(struct convert *c)
{
    bool any = true;
    while (any) {
        any = false;
        for (unsigned i = 0; i < c->nslots; i++) {
            struct slot *s = &c->slots[i];
            if (s->state != SLOT_READ || (c->in_order && s->turn != c->write_turn))
                continue;
            s->state = SLOT_WRITING;
            c->write_turn = s->turn + 1;
            any = true;
            write_next(s);
        }
    }
}

/* Whether there is something to be written now. */
static bool have_read(struct slot *s, int error)
{
    if (error && s->c->m->salvage) {
        img_fail(s->c->m, "warning: error while reading offset %" PRIu64 ": %s", s->at, strerror(error));
        memset(s->buf, 0, s->len);
    } else if (error) {
        slot_failed(s, true, error);
        return false;
    }
    look_for_zeros(s);
    return true;
}

static void read_done(struct blk_req *r)
{
    struct slot *s = container_of(r, struct slot, r);
    if (!have_read(s, r->error))
        return;
    s->state = SLOT_READ;
    take_turns(s->c);
}

static void read_again_done(struct blk_req *r)
{
    struct slot *s = container_of(r, struct slot, r);
    if (have_read(s, r->error))
        write_next(s);
}

static int source_of(const struct convert *c, u64 at)
{
    int i = c->nsrc - 1;
    while (i && c->src_start[i] > at)
        i--;
    return i;
}

static void slot_read(struct slot *s, void (*done)(struct blk_req *r))
{
    struct convert *c = s->c;
    int i = source_of(c, s->at);
    s->from = NULL;
    s->iov = (struct iovec){s->buf, s->len};
    s->r = (struct blk_req){.op = BLK_READ, .offset = s->at - c->src_start[i], .len = s->len, .iov = &s->iov,
                            .niov = 1, .done = done};
    node_submit(c->src[i], &s->r);
}

/* The kernel cannot copy between these files. */
static void read_again(struct slot *s)
{
    s->c->may_copy = false;
    slot_read(s, read_again_done);
}

/* The file in which the source has the bytes at c->at as they are read, and where; NULL: none. */
static struct node *plain_place(const struct convert *c, u64 *host)
{
    u32 plain = STATUS_DATA | STATUS_OFFSET;
    *host = c->run.host + c->run.len - (c->run_end - c->at);
    return (c->run.flags & (plain | STATUS_COMPRESSED)) == plain ? c->run.file : NULL;
}

/* Find out what the source has at c->at. */
static int look(struct convert *c)
{
    int i = source_of(c, c->at);
    struct node *n = c->src[i];
    u64 at = c->at - c->src_start[i], len = node_size(n) - at;
    unsigned depth;
    if (c->m->has_sparse && !c->m->sparse) {
        c->run = (struct blk_status){.flags = STATUS_DATA | STATUS_ALLOCATED, .len = len};
        c->run_end = c->at + len;
        return 0;
    }
    int error = c->has_backing ? node_status(n, at, len, &c->run) : img_status(n, c->hollow, at, len, &c->run, &depth);
    c->run_end = c->at + c->run.len;
    return error;
}

/* Whether the rate (-r) allows another piece now. */
static bool may_go(const struct convert *c)
{
    return !c->m->rate || loop_now() >= c->free_at;
}

static void count_rate(struct convert *c, u64 bytes)
{
    if (c->m->rate)
        c->free_at = MAX(c->free_at, loop_now()) + (u64)((double)bytes / (double)c->m->rate * 1e9);
}

/* Give a slot the next piece. False: there is nothing to do for what is next, it failed, or it is not for a team. */
static bool next_piece(struct convert *c, struct slot *s)
{
    if (c->at >= c->run_end) {
        int error = look(c);
        if (error) {
            c->status = img_fail(c->m, "error while reading block status at offset %" PRIu64 ": %s", c->at, strerror(error));
            return false;
        }
    }
    bool zero = c->run.flags & STATUS_ZERO;
    u64 len = c->run_end - c->at;
    if (c->m->compress) { /* whole clusters, although the runs of the source may be shorter */
        if (zero && c->run_end < c->total)
            len = ALIGN_DOWN(len, c->cluster);
        zero = zero && len;
        if (!zero)
            len = MIN(c->cluster, c->total - c->at);
    }
    if ((zero && c->zero_target) || (c->has_backing && !(c->run.flags & STATUS_ALLOCATED))) {
        c->at += len;
        c->done += len;
        progress_show(&c->progress, c->done);
        return false;
    }
    s->from = zero ? NULL : plain_place(c, &s->from_at);
    if (c->by_team && !zero && !s->from) {
        c->by_team = false;
        return false;
    }
    u64 most = c->m->compress ? c->cluster : c->by_team ? TEAM_PIECE : PIECE;
    if (!zero)
        len = MIN(len, most - c->at % most);
    s->at = c->at;
    s->len = len;
    s->zero = zero;
    s->written = 0;
    s->turn = c->next_turn++;
    c->at += len;
    count_rate(c, zero ? 0 : len);
    return true;
}

static void slot_start(struct convert *c, struct slot *s)
{
    if (!next_piece(c, s))
        return;
    if (s->zero || (s->from && c->may_copy)) {
        s->state = SLOT_READ;
        take_turns(c);
    } else {
        s->state = SLOT_READING;
        slot_read(s, read_done);
    }
}

static bool busy(const struct convert *c)
{
    for (unsigned i = 0; i < c->nslots; i++) {
        if (c->slots[i].state != SLOT_FREE)
            return true;
    }
    return false;
}

static bool sources_plain(const struct convert *c)
{
    int i = 0;
    while (i < c->nsrc && node_is_plain(c->src[i]))
        i++;
    return i == c->nsrc;
}

/* Read the piece of a slot and get it written; with the lock. */
static void team_piece(struct convert *c, struct slot *s)
{
    bool good = true;
    if (!s->zero) {
        team_leave(&c->team);
        good = node_peek(s->from, s->from_at, s->buf, s->len);
        if (good)
            look_for_zeros(s);
        team_enter(&c->team);
        s->from = NULL;
    }
    s->state = good ? SLOT_READ : SLOT_READING;
    if (good)
        take_turns(c);
    else
        slot_read(s, read_done);
    while (s->state != SLOT_FREE) {
        if (s->state != SLOT_READ)
            loop_turn(block_graph_loop(c->m->g), true);
        else if (c->status) /* its turn will not come any more */
            s->state = SLOT_FREE;
        else
            team_wait(&c->team);
    }
    team_wake(&c->team);
}

static void team_work(struct team *t)
{
    struct convert *c = container_of(t, struct convert, team);
    struct slot *s = &c->slots[c->slots[0].c ? 1 : 0];
    s->c = c;
    while (c->at < c->total && !c->status && c->by_team) {
        if (next_piece(c, s))
            team_piece(c, s);
    }
}

/* How many slots work. Copies within the kernel would wait for each other there. */
static unsigned slots_used(const struct convert *c)
{
    return c->may_copy ? 1 : c->nslots;
}

static void slots_work(struct convert *c)
{
    struct loop *l = block_graph_loop(c->m->g);
    while ((c->at < c->total && !c->status) || busy(c)) {
        for (unsigned i = 0; i < slots_used(c) && c->at < c->total && !c->status && may_go(c); i++) {
            if (c->slots[i].state == SLOT_FREE)
                slot_start(c, &c->slots[i]);
        }
        if (busy(c))
            loop_turn(l, true);
        else if (!may_go(c))
            loop_sleep(l, c->free_at);
        if (c->status && c->in_order) /* nobody's turn will come any more */
            for (unsigned i = 0; i < c->nslots; i++)
                if (c->slots[i].state == SLOT_READ)
                    c->slots[i].state = SLOT_FREE;
    }
}

static void convert_run(struct convert *c)
{
    progress_start(&c->progress, c->m, c->total);
    bool plain = !c->m->compress && !c->m->salvage && sources_plain(c);
    c->may_copy = plain && c->m->copy_offload;
    c->by_team = plain && !c->may_copy && !c->m->rate && c->nslots > 1 && node_writes_at_once(c->dst);
    for (unsigned i = 0; i < c->nslots; i++)
        c->slots[i].buf = xmalloc(c->m->compress ? c->cluster : PIECE);
    if (c->by_team)
        team_run(&c->team, team_work);
    for (unsigned i = 0; i < c->nslots; i++)
        c->slots[i].c = c;
    slots_work(c);
    for (unsigned i = 0; i < c->nslots; i++)
        free(c->slots[i].buf);
    if (!c->status)
        progress_end(&c->progress);
}

static bool open_sources(struct convert *c)
{
    struct img *m = c->m;
    for (int i = 0; i < c->nsrc; i++) {
        c->src[i] = img_open(m, m->files[i], m->format, m->image_opts, OPEN_ALONE, m->src_cache);
        if (!c->src[i])
            return false;
        if (m->snapshot) {
            if (!img_load_snapshot(c->src[i], m->snapshot, &m->e))
                return img_fail(m, "Failed to load snapshot: %s", m->e.text) == 0;
        }
        c->src_start[i] = c->total;
        c->hollow |= img_is_hollow(m, c->src[i]);
        c->total += node_size(c->src[i]);
    }
    return true;
}

static bool make_target(struct convert *c, const char *format, const char *name)
{
    struct img *m = c->m;
    if (m->no_create)
        return true;
    json_set_int(m->options, "size", (s64)c->total);
    if (m->backing) {
        json_set_string(m->options, "backing_file", m->backing);
        if (m->backing_format)
            json_set_string(m->options, "backing_fmt", m->backing_format);
    }
    return !img_create_file(m, format, name, true);
}

/* ---- bitmaps ---- */

/* Before anything is written: whether all bitmaps can be copied. */
static bool may_copy_bitmaps(struct convert *c)
{
    struct img *m = c->m;
    struct bitmap_info *list;
    if (!m->bitmaps)
        return !m->skip_broken || img_fail(m, "Use of --skip-broken-bitmaps requires --bitmaps") == 0;
    if (c->nsrc > 1)
        return img_fail(m, "Copying bitmaps only possible with single source") == 0;
    if (!node_has_bitmaps(c->src[0]))
        return img_fail(m, "Source lacks bitmap support") == 0;
    size_t n = node_bitmap_list(c->src[0], &list);
    bool good = true;
    for (size_t i = 0; i < n && good && !m->skip_broken; i++) {
        if (list[i].inconsistent)
            good = img_fail(m, "Cannot copy inconsistent bitmap '%s'", list[i].name) == 0;
    }
    free(list);
    return good;
}

static bool copy_bitmaps(struct convert *c)
{
    struct img *m = c->m;
    struct bitmap_info *list;
    size_t n = m->bitmaps ? node_bitmap_list(c->src[0], &list) : 0;
    bool good = true;
    for (size_t i = 0; i < n && good; i++) {
        const char *name = list[i].name;
        if (list[i].inconsistent) {
            img_fail(m, "warning: Skipping inconsistent bitmap '%s'", name);
            continue;
        }
        good = node_bitmap(c->dst, BITMAP_ADD, name, list[i].granularity, &m->e) &&
               node_bitmap_merge(c->dst, name, c->src[0], name, &m->e) &&
               (list[i].enabled || node_bitmap(c->dst, BITMAP_DISABLE, name, 0, &m->e));
        if (!good)
            img_fail(m, "Failed to populate bitmap %s: %s", name, m->e.text);
    }
    if (n)
        free(list);
    return good;
}

static bool open_target(struct convert *c, const char *format, const char *name)
{
    struct img *m = c->m;
    if (m->compress && strcmp(format, "qcow2"))
        return img_fail(m, "Compression not supported for this file format") == 0;
    if (m->bitmaps && strcmp(format, "qcow2"))
        return img_fail(m, "Format driver '%s' does not support bitmaps", format) == 0;
    if (!make_target(c, format, name))
        return false;
    if (m->compress && json_get(m->options, "encrypt.format"))
        return img_fail(m, "Compression and encryption not supported at the same time") == 0;
    struct json *secrets = json_object(); /* a target that was made encrypted needs its key */
    for (const struct json *o = m->options->first; o && !m->no_create; o = o->next) {
        size_t len = strlen(o->key);
        if (len >= 10 && !strcmp(o->key + len - 10, "key-secret"))
            json_set(secrets, o->key, json_copy(o));
    }
    m->open_options = secrets;
    m->share = false; /* -U is about the source */
    c->dst = img_open(m, name, m->target_image_opts ? NULL : format, m->target_image_opts, OPEN_WRITE,
                      m->cache ? m->cache : "unsafe");
    json_free(secrets);
    if (!c->dst)
        return false;
    if (node_size(c->dst) < c->total)
        return img_fail(m, "output file is smaller than input file") == 0;
    struct image_info info;
    if (!node_info(c->dst, &info, &m->e))
        return img_error(m) == 0;
    c->cluster = info.cluster_size;
    c->has_backing = info.backing;
    image_info_free(&info);
    bool new = !m->no_create && !node_is_device(c->dst);
    c->zero_target = (new || m->target_is_zero) && !c->has_backing;
    u64 sparse = m->has_sparse ? m->sparse : DEFAULT_SPARSE;
    c->granule = sparse ? MAX(sparse, c->cluster) : 0;
    if (m->has_sparse && !sparse)
        c->zero_target = false;
    return true;
}

int img_convert(struct img *m)
{
    const char *format = m->out_format ? m->out_format : m->qemu ? "raw" : "qcow2";
    if (m->options_help)
        return img_create(&(struct img){.qemu = m->qemu, .name = m->name, .g = m->g, .format = format, .options = m->options, .options_help = true, .nfiles = m->nfiles});
    if (m->nfiles < 2)
        return img_fail(m, "Must specify image file name");
    if (!block_create_options(format))
        return img_fail(m, "Unknown file format '%s'", format);
    if (m->target_is_zero && !m->no_create)
        return img_fail(m, "--target-is-zero requires use of -n flag");
    if (m->target_image_opts && !m->no_create)
        return img_fail(m, "--target-image-opts requires use of -n flag");
    if (m->copy_offload && (m->compress || m->has_sparse))
        return img_fail(m, "Cannot enable copy offloading when -%c is used", m->compress ? 'c' : 'S');
    if ((m->backing || json_get(m->options, "backing_file")) && !m->backing_format && !json_get(m->options, "backing_fmt"))
        return img_fail(m, "Use of backing file requires explicit backing format");
    if (m->has_sparse && (m->sparse % MIN_SPARSE || m->sparse > MAX_SPARSE))
        return img_fail(m, "Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to 16777216. Select 0 to disable sparse detection (fully allocates output).");
    struct convert c = {.m = m, .nsrc = m->nfiles - 1};
    c.src = xcalloc((size_t)c.nsrc, sizeof(*c.src));
    c.src_start = xcalloc((size_t)c.nsrc, sizeof(*c.src_start));
    c.in_order = !m->out_of_order && !m->compress;
    c.nslots = m->compress ? MAX_SLOTS : m->parallel;
    bool ready = open_sources(&c) && may_copy_bitmaps(&c) && open_target(&c, format, m->files[m->nfiles - 1]);
    int status = 1;
    if (ready) {
        convert_run(&c);
        int error = c.status ? 0 : node_flush(c.dst);
        status = error ? img_fail(m, "error while flushing: %s", strerror(error)) : c.status;
        if (!status && !copy_bitmaps(&c))
            status = 1;
    }
    if (c.dst)
        status = img_close(m, c.dst, status);
    for (int i = 0; i < c.nsrc; i++)
        node_close(c.src[i], NULL);
    free(c.src);
    free(c.src_start);
    return status;
}
