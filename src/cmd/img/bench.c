/* dd and bench: requests as they are asked for. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/img/img.h"

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
            return img_fail(m, "unrecognized operand %.*s", eq ? (int)n : (int)strlen(word), word) == 0;
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
    m->share = false; /* -U is about the source */
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
        return m->qemu ? img_fail(m, "Unknown file format") : img_fail(m, "Unknown file format '%s'", m->out_format);
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
    if (m->pattern > UINT8_MAX)
        return img_fail(m, "Invalid pattern byte specified");
    if (!img_known_cache(m->cache ? m->cache : "writeback"))
        return img_fail(m, "Invalid cache mode");
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
    if ((!m->quiet || m->qemu) && m->flush_interval)
        printf("Sending flush every %" PRIu64 " requests\n", m->flush_interval);
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
