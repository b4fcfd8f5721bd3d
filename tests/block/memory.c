#include "block/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

static void resize(struct memory *m, u64 size)
{
    if (size >= m->room) {
        m->room = size + size / 2 + 4096;
        m->bytes = xrealloc(m->bytes, m->room);
    }
    if (size > m->size)
        memset(m->bytes + m->size, 0, size - m->size);
    m->size = size;
}

static int do_write(struct node *n, struct memory *m, struct blk_req *r)
{
    if (r->offset + r->len > m->limit)
        return ENOSPC;
    if (r->offset + r->len > m->size)
        resize(m, r->offset + r->len);
    if (r->op == BLK_WRITE)
        iov_to(r->iov, r->niov, 0, m->bytes + r->offset, r->len);
    else if (r->op == BLK_ZERO)
        memset(m->bytes + r->offset, 0, r->len);
    n->size = m->size;
    return 0;
}

static void memory_submit(struct node *n, struct blk_req *r)
{
    struct memory *m = n->state;
    int error = 0;
    bool changes = r->op != BLK_READ && r->op != BLK_STATUS;
    u64 len = r->op != BLK_DISCARD ? r->len : r->offset < m->size ? MIN(r->len, m->size - r->offset) : 0;
    if (changes && ++m->ops >= m->fail_at && m->fail_at && m->ops < m->fail_at + m->fail_count)
        error = EIO;
    else if (r->op == BLK_DISCARD && len) /* who relies on what was discarded finds zeros */
        memset(m->bytes + r->offset, 0, len);
    else if (r->op == BLK_WRITE || r->op == BLK_ZERO)
        error = do_write(n, m, r);
    else if (r->op == BLK_STATUS)
        *r->status = (struct blk_status){.flags = STATUS_DATA | STATUS_ALLOCATED | STATUS_OFFSET, .len = r->len, .host = r->offset, .file = n};
    else if (r->op == BLK_READ) {
        u64 there = r->offset < m->size ? MIN(r->len, m->size - r->offset) : 0;
        iov_from(r->iov, r->niov, 0, m->bytes + r->offset, there);
        iov_zero(r->iov, r->niov, there, r->len - there);
    }
    if (m->record && !error && changes) {
        struct memory_event e = {.offset = r->offset, .len = len};
        if (r->op != BLK_FLUSH) {
            e.data = xmalloc(len + 1);
            memcpy(e.data, m->bytes + r->offset, len);
        }
        VEC_PUSH(m->events, m->count, m->cap) = e;
    }
    node_done_later(r, error);
}

static bool memory_truncate(struct node *n, u64 size, enum prealloc p, struct err *e)
{
    struct memory *m = n->state;
    resize(m, size);
    n->size = size;
    return true;
}

static bool memory_close(struct node *n, struct err *e)
{
    return true;
}

static const struct driver driver_memory = {
    .name = "memory",
    .kind = NODE_PROTOCOL,
    .submit = memory_submit,
    .truncate = memory_truncate,
    .close = memory_close,
};

struct node *memory_node(struct block_graph *g, struct memory *m, u32 flags)
{
    struct node *n = node_new(g, &driver_memory, "memory", flags);
    n->state = m;
    n->growable = true;
    n->size = m->size;
    if (!m->limit)
        m->limit = 64 << 20;
    return n;
}

void memory_free(struct memory *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->events[i].data);
    free(m->events);
    free(m->bytes);
    *m = (struct memory){0};
}

bool memory_create(struct block_graph *g, struct memory *m, const char *options, u64 size)
{
    char name[] = "/tmp/lyre-memory-XXXXXX";
    int fd = mkstemp(name);
    struct json *o = json_parse(options, NULL);
    json_set_int(o, "size", (s64)size);
    struct err e;
    bool good = fd >= 0 && block_create(g, "qcow2", name, o, &e);
    if (!good)
        printf("# cannot create: %s\n", e.text);
    struct stat st;
    if (good && !fstat(fd, &st)) {
        resize(m, (u64)st.st_size);
        good = pread(fd, m->bytes, m->size, 0) == (ssize_t)m->size;
    }
    close(fd);
    unlink(name);
    json_free(o);
    return good;
}

u64 rng_next(struct rng *r)
{
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return r->state * 0x2545f4914f6cdd1du;
}

u64 rng_below(struct rng *r, u64 n)
{
    return (rng_next(r) >> 16) % n;
}

struct rng rng_seeded(void)
{
    const char *text = getenv("LYRE_TEST_SEED");
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    u64 seed = text ? strtoull(text, NULL, 0) : (u64)t.tv_nsec * 2 + 1;
    printf("# seed: LYRE_TEST_SEED=%llu\n", (unsigned long long)seed);
    return (struct rng){seed ? seed : 1};
}
