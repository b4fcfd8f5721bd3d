/* The server: exported nodes, any number of clients, and what these ask for once a handshake is over. */
#include "block/nbd/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    MAX_IN_FLIGHT = 64,
    MAX_BYTES = 64 << 20, /* of one client: in flight, or waiting to be sent; one request may go beyond */
};

struct extent {
    u64 len;
    u32 flags;
};

struct nbd_request {
    struct nbd_client *c;
    struct blk_req r;
    struct iovec iov;
    u64 handle;
    u16 command, flags;
    /* of a status */
    struct chain_status chain;
    struct extent *extents[CONTEXTS];
    unsigned count[CONTEXTS];
    unsigned context;
    u64 at;
    u8 data[];
};

u32 nbd_error_to_wire(int error)
{
    switch (error) {
    case 0:
    case EPERM:
    case EIO:
    case ENOMEM:
    case EINVAL:
    case ENOSPC:
        return (u32)error;
    case EOVERFLOW:
    case ENOTSUP:
    case ESHUTDOWN:
        return (u32)error; /* Linux's numbers are the protocol's */
    case EROFS:
        return EPERM;
    case EFBIG:
    case EDQUOT:
        return ENOSPC;
    default:
        return EIO;
    }
}

/* ---- ends ---- */

/* Who comes when the server is full waits to be accepted. */
static void count_clients(struct nbd_server *s, int change)
{
    s->count += (unsigned)change;
    loop_fd_change(block_graph_loop(s->g), &s->listener, s->count < s->most ? EPOLLIN : 0);
    if (s->changed)
        s->changed(s->opaque, s->count);
}

static void client_free(struct nbd_client *c)
{
    struct nbd_server *s = c->s;
    struct nbd_client **p = &s->clients;
    while (*p != c)
        p = &(*p)->next;
    *p = c->next;
    stream_free(c->stream);
    free(c->current);
    free(c);
    count_clients(s, -1);
}

void nbd_client_end(struct nbd_client *c)
{
    c->gone = true;
    if (!c->in_flight)
        client_free(c);
}

static void client_closed(void *opaque, int error)
{
    nbd_client_end(opaque);
}

/* ---- replies ---- */

static void reply_simple(const struct nbd_request *q, int error, const void *data, size_t len)
{
    u8 h[NBD_SIMPLE_LEN];
    put_be32(h, NBD_SIMPLE);
    put_be32(h + 4, nbd_error_to_wire(error));
    put_be64(h + 8, q->handle);
    stream_write(q->c->stream, h, sizeof(h));
    stream_write(q->c->stream, data, error ? 0 : len);
}

/* One chunk: its own header of `head_len` bytes, and what follows. */
static void chunk(const struct nbd_request *q, u16 type, bool last, const void *head, u32 head_len, const void *data, size_t len)
{
    u8 h[NBD_EXTENDED_LEN];
    bool extended = q->c->extended;
    put_be32(h, extended ? NBD_EXTENDED : NBD_STRUCTURED);
    put_be16(h + 4, last ? CHUNK_DONE : 0);
    put_be16(h + 6, type);
    put_be64(h + 8, q->handle);
    if (extended) {
        put_be64(h + 16, q->r.offset);
        put_be64(h + 24, head_len + len);
    } else {
        put_be32(h + 16, head_len + (u32)len);
    }
    stream_write(q->c->stream, h, extended ? NBD_EXTENDED_LEN : NBD_STRUCTURED_LEN);
    stream_write(q->c->stream, head, head_len);
    stream_write(q->c->stream, data, len);
}

/* The extents of a context as they go over the wire; returns the bytes of each. */
static unsigned put_extents(const struct nbd_request *q, unsigned k, u8 *to)
{
    unsigned size = q->c->extended ? 16 : 8;
    for (unsigned i = 0; i < q->count[k]; i++, to += size) {
        if (q->c->extended) {
            put_be64(to, q->extents[k][i].len);
            put_be64(to + 8, q->extents[k][i].flags);
        } else {
            put_be32(to, (u32)q->extents[k][i].len);
            put_be32(to + 4, q->extents[k][i].flags);
        }
    }
    return size;
}

static void reply_extents(const struct nbd_request *q)
{
    u32 left = q->c->contexts;
    bool extended = q->c->extended;
    for (unsigned k = 0; k < CONTEXTS; k++) {
        if (!(q->c->contexts >> k & 1))
            continue;
        left &= ~(1u << k);
        u8 head[8], *data = xmalloc(16ull * q->count[k] + 1);
        put_be32(head, k + 1);
        put_be32(head + 4, q->count[k]);
        size_t len = (size_t)put_extents(q, k, data) * q->count[k];
        chunk(q, extended ? CHUNK_STATUS_EXT : CHUNK_STATUS, !left, head, extended ? 8 : 4, data, len);
        free(data);
    }
}

static void reply_structured(const struct nbd_request *q, int error)
{
    u8 h[8] = {0};
    if (error) {
        put_be32(h, nbd_error_to_wire(error));
        chunk(q, CHUNK_ERROR, true, h, 6, NULL, 0);
    } else if (q->command == CMD_READ) {
        put_be64(h, q->r.offset);
        chunk(q, CHUNK_DATA, true, h, sizeof(h), q->data, q->iov.iov_len);
    } else if (q->command == CMD_STATUS) {
        reply_extents(q);
    } else {
        chunk(q, CHUNK_NONE, true, NULL, 0, NULL, 0);
    }
}

static bool may_read(const struct nbd_client *c)
{
    return c->in_flight < MAX_IN_FLIGHT && c->bytes < MAX_BYTES && stream_queued(c->stream) < MAX_BYTES;
}

static void resume(struct nbd_client *c)
{
    if (c->paused && !c->gone && may_read(c))
        nbd_want_request(c);
}

static void client_drained(void *opaque)
{
    resume(opaque);
}

static void request_end(struct nbd_request *q, int error)
{
    struct nbd_client *c = q->c;
    bool structured = c->extended || (c->structured && (q->command == CMD_READ || q->command == CMD_STATUS));
    if (!c->gone && structured)
        reply_structured(q, error);
    else if (!c->gone)
        reply_simple(q, error, q->data, q->command == CMD_READ ? q->iov.iov_len : 0);
    c->in_flight--;
    c->bytes -= q->iov.iov_len;
    for (unsigned k = 0; k < CONTEXTS; k++)
        free(q->extents[k]);
    free(q);
    if (c->gone && !c->in_flight)
        client_free(c);
    else
        resume(c);
}

static void request_done(struct blk_req *r)
{
    request_end(container_of(r, struct nbd_request, r), r->error);
}

/* ---- status ---- */

static void next_context(struct nbd_request *q);

/* Take the next run of a context; false: it has all that it may have. */
static bool add_extent(struct nbd_request *q, u64 len, u32 flags)
{
    unsigned k = q->context, n = q->count[k];
    struct extent *list = q->extents[k];
    len = MIN(len, q->r.offset + q->r.len - q->at);
    q->at += len;
    if (n && list[n - 1].flags == flags) {
        list[n - 1].len += len;
    } else {
        list[n].len = len;
        list[n].flags = flags;
        q->count[k]++;
    }
    bool one = q->flags & CMD_FLAG_REQ_ONE;
    return q->at < q->r.offset + q->r.len && !one && q->count[k] < NBD_MAX_EXTENTS;
}

static void status_step(struct nbd_request *q)
{
    node_chain_status_start(q->c->x->node, q->at, q->r.offset + q->r.len - q->at, &q->chain);
}

static void status_done(struct chain_status *s)
{
    struct nbd_request *q = container_of(s, struct nbd_request, chain);
    u32 bits = s->s.flags, flags = (bits & STATUS_DATA ? 0 : STATE_HOLE) | (bits & STATUS_ZERO ? STATE_ZERO : 0);
    if (q->context == CONTEXT_DEPTH)
        flags = bits & STATUS_ALLOCATED ? s->depth + 1 : 0;
    if (s->error)
        request_end(q, s->error);
    else if (add_extent(q, s->s.len, flags))
        status_step(q);
    else
        next_context(q);
}

static void bitmap_status(struct nbd_request *q)
{
    const struct nbd_export *x = q->c->x;
    bool more = true;
    while (more) {
        bool dirty;
        u64 len = node_bitmap_run(x->node, x->bitmap, q->at, q->r.offset + q->r.len - q->at, &dirty);
        if (!len) {
            request_end(q, EINVAL);
            return;
        }
        more = add_extent(q, len, dirty ? STATE_DIRTY : 0);
    }
    next_context(q);
}

static void next_context(struct nbd_request *q)
{
    while (++q->context < CONTEXTS && !(q->c->contexts >> q->context & 1))
        ;
    q->at = q->r.offset;
    if (q->context >= CONTEXTS) {
        request_end(q, 0);
        return;
    }
    q->extents[q->context] = xcalloc(NBD_MAX_EXTENTS, sizeof(struct extent));
    if (q->context == CONTEXT_BITMAP)
        bitmap_status(q);
    else
        status_step(q);
}

/* ---- requests ---- */

static bool changes(const struct nbd_request *q)
{
    return q->command == CMD_WRITE || q->command == CMD_TRIM || q->command == CMD_ZEROES;
}

static int why_not(const struct nbd_request *q)
{
    const struct nbd_client *c = q->c;
    static const u16 allowed[] = { /* FUA is, with all; it has no meaning with some */
        [CMD_READ] = CMD_FLAG_DF, [CMD_STATUS] = CMD_FLAG_REQ_ONE,
        [CMD_ZEROES] = CMD_FLAG_NO_HOLE | CMD_FLAG_FAST_ZERO,
    };
    u64 size = node_size(c->x->node);
    u16 payload = c->extended && q->command == CMD_WRITE ? CMD_FLAG_PAYLOAD : 0;
    if (q->command > CMD_STATUS || q->command == CMD_CACHE || (q->flags & ~(allowed[q->command] | CMD_FLAG_FUA | payload)))
        return EINVAL;
    if ((payload && !(q->flags & payload)) || (q->command == CMD_READ && q->r.len > NBD_MAX_REQUEST))
        return EINVAL;
    if (changes(q) && c->x->read_only)
        return EPERM;
    if (q->command == CMD_STATUS && (!c->contexts || !q->r.len))
        return EINVAL;
    if (q->r.offset > size || q->r.len > size - q->r.offset)
        return changes(q) ? ENOSPC : EINVAL;
    return 0;
}

static void request_start(struct nbd_request *q)
{
    static const enum blk_op ops[] = {[CMD_READ] = BLK_READ,    [CMD_WRITE] = BLK_WRITE, [CMD_FLUSH] = BLK_FLUSH,
                                      [CMD_TRIM] = BLK_DISCARD, [CMD_ZEROES] = BLK_ZERO, [CMD_STATUS] = BLK_STATUS};
    int error = why_not(q);
    if (error) {
        request_end(q, error);
    } else if (q->command == CMD_STATUS) {
        q->chain.done = status_done;
        q->context = (unsigned)-1;
        next_context(q);
    } else {
        q->r.op = ops[q->command];
        q->r.done = request_done;
        q->r.flags = (q->flags & CMD_FLAG_FUA ? BLK_FUA : 0) | (q->flags & CMD_FLAG_FAST_ZERO ? BLK_NO_FALLBACK : 0) |
                     (q->command == CMD_ZEROES && !(q->flags & CMD_FLAG_NO_HOLE) ? BLK_MAY_UNMAP : 0);
        node_submit(q->c->x->node, &q->r);
    }
}

static void got_data(void *opaque, const u8 *data, size_t n)
{
    struct nbd_client *c = opaque;
    struct nbd_request *q = c->current;
    c->current = NULL;
    memcpy(q->data, data, n);
    c->in_flight++;
    c->bytes += n;
    nbd_want_request(c);
    request_start(q);
}

static void got_request(void *opaque, const u8 *p, size_t n)
{
    struct nbd_client *c = opaque;
    u16 flags = be16_at(p + 4), command = be16_at(p + 6);
    u64 len = c->extended ? be64_at(p + 24) : be32_at(p + 24);
    bool reads = command == CMD_READ, carries = reads || command == CMD_WRITE, too_long = len > NBD_MAX_REQUEST;
    bool payload = c->extended ? flags & CMD_FLAG_PAYLOAD : command == CMD_WRITE;
    bool hopeless = too_long && (payload || (reads && !c->extended));
    if (be32_at(p) != (c->extended ? NBD_EXTENDED_REQUEST : NBD_REQUEST) || command == CMD_DISC || hopeless) {
        nbd_client_end(c);
        return;
    }
    size_t room = payload || (reads && !too_long) ? len : 0;
    struct nbd_request *q = xmalloc(sizeof(*q) + room);
    *q = (struct nbd_request){.c = c, .handle = be64_at(p + 8), .command = command, .flags = flags};
    q->iov = (struct iovec){q->data, room};
    q->r = (struct blk_req){.offset = be64_at(p + 16), .len = len, .iov = carries ? &q->iov : NULL, .niov = carries};
    if (payload) {
        c->current = q;
        stream_read(c->stream, len, got_data);
        return;
    }
    c->in_flight++;
    c->bytes += room;
    nbd_want_request(c);
    request_start(q);
}

void nbd_want_request(struct nbd_client *c)
{
    c->paused = !may_read(c);
    if (!c->paused)
        stream_read(c->stream, c->extended ? NBD_EXTENDED_LEN : NBD_REQUEST_LEN, got_request);
}

/* ---- the server ---- */

static void accept_client(struct loop_fd *f, u32 events)
{
    int fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        nbd_server_take(container_of(f, struct nbd_server, listener), fd);
}

void nbd_server_take(struct nbd_server *s, int fd)
{
    struct nbd_client *c = xcalloc(1, sizeof(*c));
    c->s = s;
    c->stream = stream_new(block_graph_loop(s->g), fd, c, NULL);
    if (!c->stream) {
        free(c);
        return;
    }
    c->next = s->clients;
    s->clients = c;
    stream_on_close(c->stream, client_closed);
    stream_on_drain(c->stream, client_drained);
    nbd_handshake(c);
    count_clients(s, 1);
}

struct nbd_server *nbd_server_new(struct block_graph *g, int fd, unsigned most, const char *tls_creds,
                                  void (*changed)(void *opaque, unsigned clients), void *opaque, struct err *e)
{
    const struct tls_named *tls = tls_creds ? tls_find(g, tls_creds, true, e) : NULL;
    if (tls_creds && !tls) {
        close(fd);
        return NULL;
    }
    struct nbd_server *s = xcalloc(1, sizeof(*s));
    *s = (struct nbd_server){.g = g, .most = most ? most : UINT32_MAX, .tls = tls, .changed = changed, .opaque = opaque,
                             .listener = {.fd = fd, .ready = accept_client}};
    if (loop_fd_add(block_graph_loop(g), &s->listener, EPOLLIN, e))
        return s;
    close(fd);
    free(s);
    return NULL;
}

void nbd_server_allow(struct nbd_server *s, const char *name)
{
    free(s->allowed);
    s->allowed = xstrdup(name);
}

void nbd_server_add(struct nbd_server *s, const struct nbd_export *x)
{
    struct nbd_server_export *o = xcalloc(1, sizeof(*o));
    o->x = *x;
    o->next = s->exports;
    s->exports = o;
}

void nbd_server_free(struct nbd_server *s)
{
    if (!s)
        return;
    loop_fd_remove(block_graph_loop(s->g), &s->listener);
    close(s->listener.fd);
    s->changed = NULL;
    for (struct nbd_client *c = s->clients, *next; c; c = next) {
        next = c->next;
        if (!c->gone)
            nbd_client_end(c);
    }
    while (s->clients)
        loop_turn(block_graph_loop(s->g), true);
    for (struct nbd_server_export *o = s->exports, *next; o; o = next) {
        next = o->next;
        free(o);
    }
    free(s->allowed);
    free(s);
}
