/* compare: whether two images hold the same bytes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/img/img.h"
#include "cmd/img/team.h"

enum { CHUNK = 512 << 10 }; /* two of them lie near a processor */

/* Exit codes besides 0. */
enum { DIFFERENT = 1, NO_STATUS = 3, NO_READ = 4 };

struct side {
    struct node *n;
    const char *name;
    bool hollow;
    struct blk_status s; /* of what begins at run_at */
    unsigned depth;
    u64 run_at;
};

/* What is to be compared by one thread. */
struct chunk {
    u64 at, len;
    struct {
        bool zero;
        struct node *file; /* in which the bytes lie as they are read, at `host`; NULL: none */
        u64 host;
        u8 *buf;
    } of[2];
};

struct comparison {
    struct img *m;
    struct team team;
    struct side sides[2];
    u64 at, end;     /* next byte to hand out */
    u64 done;
    struct progress progress;
    /* what was found first, by its place */
    u64 found_at;    /* UINT64_MAX: nothing */
    int status;
    char *text;
};

static void found(struct comparison *c, int status, u64 at, char *text)
{
    if (at >= c->found_at) {
        free(text);
        return;
    }
    free(c->text);
    c->found_at = at;
    c->status = status;
    c->text = text;
}

static void found_error(struct comparison *c, int status, u64 at, const struct side *x, int error)
{
    found(c, status, at, status == NO_READ ? xprintf("Error while reading offset %" PRIu64 " of %s: %s", at, x->name, strerror(error))
                                           : xprintf("Sector allocation test failed: %s: %s", x->name, strerror(error)));
}

/* Know what the side has at c->at. Beyond its end an image reads as zeros. */
static int side_look(const struct comparison *c, struct side *x)
{
    u64 size = node_size(x->n);
    if (c->at < x->run_at + x->s.len)
        return 0;
    x->run_at = c->at;
    if (c->at < size)
        return img_status(x->n, x->hollow, c->at, size - c->at, &x->s, &x->depth);
    x->s = (struct blk_status){.flags = STATUS_ZERO, .len = c->end - c->at};
    return 0;
}

/* The chunk begins at c->at: how each side has it. */
static void chunk_begin(const struct comparison *c, struct chunk *k)
{
    u32 plain = STATUS_DATA | STATUS_OFFSET;
    k->at = c->at;
    k->len = c->end - c->at;
    for (unsigned i = 0; i < 2; i++) {
        const struct side *x = &c->sides[i];
        u64 skip = c->at - x->run_at;
        bool zero = x->s.flags & STATUS_ZERO;
        k->len = MIN(k->len, x->s.len - skip);
        k->of[i].zero = zero;
        k->of[i].file = !zero && (x->s.flags & (plain | STATUS_COMPRESSED)) == plain && node_is_plain(x->n) ? x->s.file : NULL;
        k->of[i].host = x->s.host + skip;
    }
}

/* Find the next bytes that have to be compared. False: there are none. */
static bool next_chunk(struct comparison *c, struct chunk *k)
{
    const u32 shown = STATUS_ALLOCATED | STATUS_ZERO | STATUS_DATA;
    while (c->at < c->end && c->at < c->found_at) {
        for (unsigned i = 0; i < 2; i++) {
            int error = side_look(c, &c->sides[i]);
            if (error) {
                found_error(c, NO_STATUS, c->at, &c->sides[i], error);
                return false;
            }
        }
        if (c->m->strict && ((c->sides[0].s.flags ^ c->sides[1].s.flags) & shown)) {
            found(c, DIFFERENT, c->at, xprintf("Strict mode: Offset %" PRIu64 " block status mismatch!", c->at));
            return false;
        }
        chunk_begin(c, k);
        bool both_zero = k->of[0].zero && k->of[1].zero;
        if (!both_zero)
            k->len = MIN(k->len, CHUNK - k->at % CHUNK);
        c->at += k->len;
        if (!both_zero)
            return true;
        c->done += k->len;
        progress_show(&c->progress, c->done);
    }
    return false;
}

/* Without the lock. */
static int read_side(struct comparison *c, struct chunk *k, unsigned i)
{
    int error = 0;
    if (k->of[i].zero) {
        memset(k->of[i].buf, 0, k->len);
    } else if (!k->of[i].file || !node_peek(k->of[i].file, k->of[i].host, k->of[i].buf, k->len)) {
        team_enter(&c->team);
        error = node_io(c->sides[i].n, BLK_READ, k->at, k->of[i].buf, k->len, 0);
        if (error)
            found_error(c, NO_READ, k->at, &c->sides[i], error);
        team_leave(&c->team);
    }
    return error;
}

/* The first byte where they differ; `len` if they do not. */
static size_t first_difference(const u8 *a, const u8 *b, size_t len)
{
    if (!memcmp(a, b, len))
        return len;
    size_t i = 0;
    while (a[i] == b[i])
        i++;
    return i;
}

static void compare_work(struct team *t)
{
    struct comparison *c = container_of(t, struct comparison, team);
    struct chunk k = {0};
    k.of[0].buf = xmalloc(CHUNK);
    k.of[1].buf = xmalloc(CHUNK);
    while (next_chunk(c, &k)) {
        size_t differ = k.len;
        team_leave(t);
        if (!read_side(c, &k, 0) && !read_side(c, &k, 1))
            differ = first_difference(k.of[0].buf, k.of[1].buf, k.len);
        team_enter(t);
        u64 sector = k.at + ALIGN_DOWN(differ, (size_t)512);
        if (differ < k.len)
            found(c, DIFFERENT, k.at, xprintf("Content mismatch at offset %" PRIu64 "!", sector));
        c->done += k.len;
        progress_show(&c->progress, c->done);
    }
    free(k.of[0].buf);
    free(k.of[1].buf);
}

static void tell(struct comparison *c)
{
    u64 size_a = node_size(c->sides[0].n), size_b = node_size(c->sides[1].n), common = MIN(size_a, size_b);
    if (c->m->quiet && c->status <= DIFFERENT)
        return;
    if (size_a != size_b && !c->m->strict && !c->m->quiet && c->found_at >= common)
        printf("Warning: Image size mismatch!\n");
    if (c->status > DIFFERENT)
        img_fail(c->m, "%s", c->text);
    else
        puts(c->text ? c->text : "Images are identical.");
}

int img_compare(struct img *m)
{
    if (m->nfiles != 2)
        return img_usage(m, "Expecting two image file names");
    struct comparison c = {.m = m, .found_at = UINT64_MAX};
    const char *formats[] = {m->format, m->backing_format};
    for (unsigned i = 0; i < 2; i++) {
        struct side *x = &c.sides[i];
        x->name = m->files[i];
        x->n = img_open(m, x->name, formats[i], m->image_opts, 0, m->src_cache);
        if (!x->n) {
            if (i)
                node_close(c.sides[0].n, NULL);
            return 2;
        }
        x->hollow = img_is_hollow(m, x->n);
        c.end = MAX(c.end, node_size(x->n));
    }
    progress_start(&c.progress, m, c.end);
    if (m->strict && node_size(c.sides[0].n) != node_size(c.sides[1].n))
        found(&c, DIFFERENT, 0, xprintf("Strict mode: Image size mismatch!"));
    team_run(&c.team, compare_work);
    progress_end(&c.progress);
    tell(&c);
    free(c.text);
    int status = img_close(m, c.sides[0].n, c.status);
    return img_close(m, c.sides[1].n, status);
}
