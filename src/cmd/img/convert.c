/* convert, dd and bench: many requests at once. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/img/img.h"

/* ---- convert ----
 *
 * Slots go round: each takes the next piece of the source, reads it, waits for its turn, and writes what
 * is not zero. Writing in turn keeps the image in order; -W and -c do without. */

enum { PIECE = 1 << 20, MAX_SLOTS = 16, DEFAULT_SPARSE = 4096, MAX_SPARSE = 16 << 20 };

enum slot_state { SLOT_FREE, SLOT_READING, SLOT_READ, SLOT_WRITING };

struct convert;

struct slot {
    struct convert *c;
    enum slot_state state;
    u64 turn, at, len; /* in the target */
    bool zero;         /* write zeros; nothing was read */
    u8 *buf;
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

static void write_done(struct blk_req *r)
{
    struct slot *s = container_of(r, struct slot, r);
    if (r->error) {
        slot_failed(s, false, r->error);
        return;
    }
    s->written += r->len;
    write_next(s);
}

static bool is_zero(const u8 *p, u64 len)
{
    return !p[0] && !memcmp(p, p + 1, len - 1);
}

/* The length of the run at `from` that is all zero, or all to be written. */
static u64 run_length(const struct convert *c, const struct slot *s, u64 from, bool *zero)
{
    u64 at = from;
    while (at < s->len) {
        u64 step = MIN(c->granule - (s->at + at) % c->granule, s->len - at);
        bool z = is_zero(s->buf + at, step);
        if (at == from)
            *zero = z;
        else if (z != *zero)
            break;
        at += step;
    }
    return at - from;
}

/* Write the next run of a slot, or end it. */
static void write_next(struct slot *s)
{
    struct convert *c = s->c;
    while (s->written < s->len) {
        bool zero = s->zero;
        u64 len = s->len - s->written;
        if (!zero && c->granule)
            len = run_length(c, s, s->written, &zero);
        if (!zero && c->m->compress)
            len = MIN(len, c->cluster - (s->at + s->written) % c->cluster);
        if (zero && c->zero_target) {
            s->written += len;
            continue;
        }
        s->iov = (struct iovec){s->buf + s->written, len};
        s->r = (struct blk_req){.op = zero ? BLK_ZERO : BLK_WRITE, .offset = s->at + s->written, .len = len,
                                .flags = zero ? (c->has_backing ? 0 : BLK_MAY_UNMAP) : c->m->compress ? BLK_COMPRESS : 0,
                                .iov = zero ? NULL : &s->iov, .niov = zero ? 0 : 1, .done = write_done};
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

static void read_done(struct blk_req *r)
{
    struct slot *s = container_of(r, struct slot, r);
    if (r->error && s->c->m->salvage) {
        img_fail(s->c->m, "warning: error while reading offset %" PRIu64 ": %s", s->at, strerror(r->error));
        memset(s->buf, 0, s->len);
    } else if (r->error) {
        slot_failed(s, true, r->error);
        return;
    }
    s->state = SLOT_READ;
    take_turns(s->c);
}

static int source_of(const struct convert *c, u64 at)
{
    int i = c->nsrc - 1;
    while (i && c->src_start[i] > at)
        i--;
    return i;
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
    int error = c->has_backing ? node_status(n, at, len, &c->run) : node_status_chain(n, at, len, &c->run, &depth);
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

/* Give a slot the next piece. */
static void slot_start(struct convert *c, struct slot *s)
{
    if (c->at >= c->run_end) {
        int error = look(c);
        if (error) {
            c->status = img_fail(c->m, "error while reading block status at offset %" PRIu64 ": %s", c->at, strerror(error));
            return;
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
        return;
    }
    u64 most = c->m->compress ? c->cluster : PIECE;
    if (!zero)
        len = MIN(len, most - c->at % most);
    s->at = c->at;
    s->len = len;
    s->zero = zero;
    s->written = 0;
    s->turn = c->next_turn++;
    c->at += len;
    count_rate(c, zero ? 0 : len);
    if (zero) {
        s->state = SLOT_READ;
        take_turns(c);
        return;
    }
    int i = source_of(c, s->at);
    s->state = SLOT_READING;
    s->iov = (struct iovec){s->buf, len};
    s->r = (struct blk_req){.op = BLK_READ, .offset = s->at - c->src_start[i], .len = len, .iov = &s->iov,
                            .niov = 1, .done = read_done};
    node_submit(c->src[i], &s->r);
}

static bool busy(const struct convert *c)
{
    for (unsigned i = 0; i < c->nslots; i++) {
        if (c->slots[i].state != SLOT_FREE)
            return true;
    }
    return false;
}

static void convert_run(struct convert *c)
{
    struct loop *l = block_graph_loop(c->m->g);
    progress_start(&c->progress, c->m, c->total);
    for (unsigned i = 0; i < c->nslots; i++) {
        c->slots[i].c = c;
        c->slots[i].buf = xmalloc(c->m->compress ? c->cluster : PIECE);
    }
    while ((c->at < c->total && !c->status) || busy(c)) {
        for (unsigned i = 0; i < c->nslots && c->at < c->total && !c->status && may_go(c); i++) {
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
    for (unsigned i = 0; i < c->nslots; i++)
        free(c->slots[i].buf);
    if (!c->status)
        progress_end(&c->progress);
}

static bool open_sources(struct convert *c)
{
    struct img *m = c->m;
    for (int i = 0; i < c->nsrc; i++) {
        c->src[i] = img_open(m, m->files[i], m->format, m->image_opts, 0, m->src_cache);
        if (!c->src[i])
            return false;
        if (m->snapshot) {
            if (!img_load_snapshot(c->src[i], m->snapshot, &m->e))
                return img_fail(m, "Failed to load snapshot: %s", m->e.text) == 0;
        }
        c->src_start[i] = c->total;
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
    c->dst = img_open(m, name, m->target_image_opts ? NULL : format, m->target_image_opts, OPEN_WRITE | OPEN_UNMAP,
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
        return img_create(&(struct img){.qemu = m->qemu, .name = m->name, .g = m->g, .format = format, .options = m->options, .options_help = true});
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
    if (m->backing && !m->backing_format)
        return img_fail(m, "Use of backing file requires explicit backing format");
    if (m->has_sparse && (m->sparse % 512 || m->sparse > MAX_SPARSE))
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

/* ---- dd ---- */

struct dd {
    const char *in, *out;
    u64 bs, count, skip;
    bool has_count;
};

static bool parse_dd(struct img *m, struct dd *d)
{
    for (int i = 0; i < m->nfiles; i++) {
        const char *word = m->files[i], *eq = strchr(word, '=');
        size_t n = eq ? (size_t)(eq - word) : 0;
        u64 *number = n == 2 && !strncmp(word, "bs", 2)      ? &d->bs
                      : n == 5 && !strncmp(word, "count", 5) ? &d->count
                      : n == 4 && !strncmp(word, "skip", 4)  ? &d->skip
                                                             : NULL;
        if (n == 2 && !strncmp(word, "if", 2))
            d->in = eq + 1;
        else if (n == 2 && !strncmp(word, "of", 2))
            d->out = eq + 1;
        else if (!number)
            return img_fail(m, "unrecognized operand %.*s", (int)n, word) == 0;
        else if (!size_parse(eq + 1, number))
            return img_fail(m, "Invalid %.*s specified. You may use k, M, G, T, P or E suffixes for\n"
                               "%s: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.", (int)n, word, m->name) == 0;
        else if (number == &d->bs && (!d->bs || d->bs > INT32_MAX))
            return img_fail(m, "Invalid bs specified. Must be between 1 and 2147483647.") == 0;
        d->has_count |= number == &d->count;
    }
    if (!d->in || !d->out)
        return img_fail(m, "Must specify both input and output files") == 0;
    return true;
}

static int dd_copy(struct img *m, const struct dd *d, struct node *src, u64 start, u64 len)
{
    const char *format = m->out_format ? m->out_format : "raw";
    json_set_int(m->options, "size", (s64)len);
    if (img_create_file(m, format, d->out, true))
        return 1;
    struct node *dst = img_open(m, d->out, format, false, OPEN_WRITE, NULL);
    if (!dst)
        return 1;
    u8 *buf = xmalloc(d->bs);
    int error = 0;
    struct progress p;
    progress_start(&p, m, len);
    for (u64 at = 0; at < len && !error;) {
        u64 n = MIN(d->bs, len - at);
        error = node_io(src, BLK_READ, start + at, buf, n, 0);
        if (!error)
            error = node_io(dst, BLK_WRITE, at, buf, n, 0);
        at += n;
        progress_show(&p, at);
    }
    progress_clear(&p);
    free(buf);
    return img_close(m, dst, error ? img_fail(m, "error while copying: %s", strerror(error)) : 0);
}

int img_dd(struct img *m)
{
    struct dd d = {.bs = 512};
    if (!parse_dd(m, &d))
        return 1;
    if (m->out_format && !block_create_options(m->out_format))
        return img_fail(m, "Unknown file format '%s'", m->out_format);
    struct node *src = img_open(m, d.in, m->format, m->image_opts, 0, NULL);
    if (!src)
        return 1;
    u64 size = node_size(src), start = 0;
    if (m->qemu && d.has_count && d.count < size / d.bs + 1) { /* there, `count` includes what is skipped */
        size = MIN(size, d.count * d.bs);
        d.has_count = false;
    }
    if (d.skip && d.skip > size / d.bs) {
        img_fail(m, "%s: cannot skip to specified offset", d.in);
        start = size;
    } else {
        start = d.skip * d.bs;
    }
    u64 len = size - start;
    if (d.has_count && d.count < len / d.bs + 1)
        len = MIN(len, d.count * d.bs);
    return img_close(m, src, dd_copy(m, &d, src, start, len));
}

/* ---- bench ---- */

struct bench {
    struct img *m;
    struct node *n;
    u64 left, at, since_flush;
    unsigned in_flight;
    int error;
};

struct bench_slot {
    struct blk_req r;
    struct iovec iov;
    struct bench *b;
};

static void bench_submit(struct bench_slot *s);

static void bench_done(struct blk_req *r)
{
    struct bench_slot *s = container_of(r, struct bench_slot, r);
    struct bench *b = s->b;
    b->in_flight--;
    if (r->error && !b->error)
        b->error = r->error;
    if (b->left && !b->error)
        bench_submit(s);
}

static void bench_submit(struct bench_slot *s)
{
    struct bench *b = s->b;
    struct img *m = b->m;
    if (b->at + m->buf_size > node_size(b->n))
        b->at = b->at % (node_size(b->n) - m->buf_size + 1);
    if (m->flush_interval && b->since_flush >= m->flush_interval) {
        b->since_flush = 0;
        s->r = (struct blk_req){.op = BLK_FLUSH, .done = bench_done};
    } else {
        s->r = (struct blk_req){.op = m->write ? BLK_WRITE : BLK_READ, .offset = b->at, .len = m->buf_size,
                                .iov = &s->iov, .niov = 1, .done = bench_done};
        b->at += m->step;
        b->left--;
        b->since_flush++;
    }
    b->in_flight++;
    node_submit(b->n, &s->r);
}

int img_bench(struct img *m)
{
    if (m->nfiles != 1)
        return img_usage(m, "Expecting one image file name");
    if (!m->has_count)
        m->count = 75000;
    m->depth = m->depth ? m->depth : 64;
    m->buf_size = m->buf_size ? m->buf_size : 4096;
    m->step = m->step ? m->step : m->buf_size;
    if (m->depth > 65536 || m->buf_size > INT32_MAX)
        return img_fail(m, "Invalid queue depth or buffer size specified");
    if (m->flush_interval && !m->write)
        return img_fail(m, "--flush-interval is only available in write tests");
    if (m->flush_interval && m->flush_interval < m->depth)
        return img_fail(m, "Flush interval can't be smaller than depth");
    struct node *n = img_open(m, m->files[0], m->format, m->image_opts, m->write ? OPEN_WRITE : 0, m->no_create ? "none" : m->cache);
    if (!n)
        return 1;
    if (node_size(n) < m->buf_size || m->start > node_size(n) - m->buf_size)
        return img_close(m, n, img_fail(m, "Failed request: %s\nThe first one would lie behind the end of '%s'.", strerror(EIO), m->files[0]));
    if (!m->quiet || m->qemu)
        printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %" PRIu64 " in parallel (starting at offset %" PRIu64 ", step size %" PRIu64 ")\n",
               m->count, m->write ? "write" : "read", m->buf_size, m->depth, m->start, m->step);
    struct bench b = {.m = m, .n = n, .left = m->count, .at = m->start};
    struct bench_slot *slots = xcalloc(m->depth, sizeof(*slots));
    u8 *buf = xmalloc(m->depth * m->buf_size);
    memset(buf, (int)m->pattern, m->depth * m->buf_size);
    u64 start = loop_now();
    for (u64 i = 0; i < m->depth && b.left; i++) {
        slots[i].b = &b;
        slots[i].iov = (struct iovec){buf + i * m->buf_size, m->buf_size};
        bench_submit(&slots[i]);
    }
    while (b.in_flight)
        loop_turn(block_graph_loop(m->g), true);
    double seconds = (double)(loop_now() - start) * 1e-9;
    free(slots);
    free(buf);
    if (b.error)
        return img_close(m, n, img_fail(m, "Failed request: %s", strerror(b.error)));
    if (!m->quiet || m->qemu)
        printf("Run completed in %3.3f seconds.\n", seconds);
    return img_close(m, n, 0);
}
