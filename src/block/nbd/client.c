/* The client: a node whose bytes a server has. A request becomes one or more commands; each has a slot
 * until its reply is there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/nbd/attempt.h"
#include "block/node.h"

enum { SLOTS = 64, MAX_EFFECT = 1 << 30 /* without extended headers */, RETRY_MS = 500 };

/* A request, of which [at, end) is still to be sent. */
struct op {
    struct blk_req *r;
    u64 at, end;
    unsigned pending; /* commands under way */
    int error;
    struct op *next;
};

struct slot {
    struct op *op; /* NULL: free */
    u16 command;
    u64 offset, len;
    u32 received; /* bytes; of a read by structured replies */
    int error;
    u32 turn; /* distinguishes the uses of a slot in the handle */
};

struct nbd {
    struct nbd_conn conn;
    struct node *n;
    char *address, *export, *context, *tls_creds, *hostname;
    struct slot slots[SLOTS];
    struct op *first, **last; /* not yet sent as a whole */
    bool lost;
    u64 reconnect_delay, open_timeout; /* seconds */
    bool patient;                      /* the connection is lost, and requests wait for another */
    struct nbd_attempt *attempt;       /* to make one; NULL: none runs */
    struct loop_timer retry, give_up;
    /* the reply that is being read */
    struct slot *slot;
    u16 chunk, chunk_flags;
};

/* ---- the end of things ---- */

/* Nothing more of it is sent. */
static void dequeue(struct nbd *s, struct op *op)
{
    struct op **p = &s->first;
    while (*p && *p != op)
        p = &(*p)->next;
    if (*p) {
        *p = op->next;
        if (!op->next)
            s->last = p;
    }
    op->at = op->end;
}

static void op_end(struct op *op)
{
    struct blk_req *r = op->r;
    int error = op->error;
    free(op);
    node_done(r, error);
}

static void slot_end(struct nbd *s, struct slot *slot, int error)
{
    struct op *op = slot->op;
    slot->op = NULL;
    slot->turn++;
    op->pending--;
    if (error && !op->error) {
        op->error = error;
        dequeue(s, op);
    }
    if (!op->pending && op->at >= op->end)
        op_end(op);
}

static void fail_all(struct nbd *s)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (s->slots[i].op)
            slot_end(s, &s->slots[i], EIO);
    }
    while (s->first) { /* of which nothing has been sent */
        struct op *op = s->first;
        dequeue(s, op);
        op->error = EIO;
        op_end(op);
    }
}

/* ---- another connection ---- */

/* Everything that is not answered is to be sent again. */
static void requeue_all(struct nbd *s)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &s->slots[i];
        struct op *op = slot->op, *queued = s->first;
        if (!op)
            continue;
        if (op->error) { /* of which nothing more is wanted */
            slot_end(s, slot, 0);
            continue;
        }
        slot->op = NULL;
        slot->turn++;
        op->pending--;
        while (queued && queued != op)
            queued = queued->next;
        if (queued)
            continue;
        op->next = NULL;
        *s->last = op;
        s->last = &op->next;
    }
    for (struct op *op = s->first; op; op = op->next)
        op->at = op->r->offset;
}

static void attempt_done(void *opaque, bool good);

static void try_again(struct loop_timer *t)
{
    struct nbd *s = container_of(t, struct nbd, retry);
    if (!s->attempt)
        s->attempt = nbd_attempt_start(s->n->graph, &s->conn, s->export, s->context, attempt_done, s);
    if (!s->attempt)
        loop_timer_set(s->n->graph->loop, &s->retry, loop_now() + RETRY_MS * 1000000ull);
}

static void out_of_patience(struct loop_timer *t)
{
    struct nbd *s = container_of(t, struct nbd, give_up);
    s->patient = false;
    fail_all(s);
}

/* No request can be answered on this connection. */
static void lose(struct nbd *s)
{
    u64 now = loop_now();
    s->lost = true;
    err_set(&s->n->error, EIO, "the connection to the NBD server at %s is lost", s->address);
    if (!s->reconnect_delay) {
        fail_all(s);
        return;
    }
    s->patient = true;
    requeue_all(s);
    loop_timer_set(s->n->graph->loop, &s->give_up, now + s->reconnect_delay * 1000000000ull);
    loop_timer_set(s->n->graph->loop, &s->retry, now);
}

static void connection_lost(void *user)
{
    struct nbd *s = user;
    if (!s->lost && s->n->state == s)
        lose(s);
}

/* The server says what makes no sense: nothing more can be believed. */
static void give_up(struct nbd *s)
{
    stream_free(s->conn.stream);
    s->conn.stream = NULL;
    lose(s);
}

/* ---- sending ---- */

static const u16 commands[] = {[BLK_READ] = CMD_READ,       [BLK_WRITE] = CMD_WRITE, [BLK_ZERO] = CMD_ZEROES,
                               [BLK_DISCARD] = CMD_TRIM,    [BLK_FLUSH] = CMD_FLUSH, [BLK_STATUS] = CMD_STATUS};

/* A flush follows what needs one (node_done()), so FUA is not asked for. */
static u16 command_flags(const struct blk_req *r)
{
    u16 flags = 0;
    if (r->op == BLK_ZERO && !(r->flags & BLK_MAY_UNMAP))
        flags |= CMD_FLAG_NO_HOLE;
    if (r->op == BLK_ZERO && (r->flags & BLK_NO_FALLBACK))
        flags |= CMD_FLAG_FAST_ZERO;
    return r->op == BLK_STATUS ? CMD_FLAG_REQ_ONE : flags;
}

static void send_header(struct nbd *s, u16 flags, u16 command, u64 handle, u64 offset, u64 len)
{
    u8 h[NBD_EXTENDED_LEN];
    bool extended = s->conn.extended;
    put_be32(h, extended ? NBD_EXTENDED_REQUEST : NBD_REQUEST);
    put_be16(h + 4, flags | (extended && command == CMD_WRITE ? CMD_FLAG_PAYLOAD : 0));
    put_be16(h + 6, command);
    put_be64(h + 8, handle);
    put_be64(h + 16, offset);
    if (extended)
        put_be64(h + 24, len);
    else
        put_be32(h + 24, (u32)len);
    stream_write(s->conn.stream, h, extended ? NBD_EXTENDED_LEN : NBD_REQUEST_LEN);
}

static void send_piece(struct nbd *s, struct slot *slot, struct op *op)
{
    struct blk_req *r = op->r;
    bool carries = r->op == BLK_READ || r->op == BLK_WRITE;
    u64 most = carries ? s->conn.max_block : s->conn.extended ? INT64_MAX : MAX_EFFECT;
    slot->op = op;
    slot->command = commands[r->op];
    slot->offset = op->at;
    slot->len = MIN(op->end - op->at, most);
    slot->received = 0;
    slot->error = 0;
    op->pending++;
    op->at = r->op == BLK_STATUS ? op->end : op->at + slot->len; /* a status is of the first bytes */
    bool flush = slot->command == CMD_FLUSH;
    send_header(s, command_flags(r), slot->command, (u64)slot->turn << 32 | (u64)(slot - s->slots), flush ? 0 : slot->offset,
                flush ? 0 : slot->len);
    if (r->op != BLK_WRITE)
        return;
    struct iovec *iov = xmalloc(r->niov * sizeof(*iov));
    unsigned n = iov_slice(r->iov, r->niov, slot->offset - r->offset, slot->len, iov);
    for (unsigned i = 0; i < n; i++)
        stream_write(s->conn.stream, iov[i].iov_base, iov[i].iov_len);
    free(iov);
}

/* Send what waits, as far as there are slots. */
static void pump(struct nbd *s)
{
    for (unsigned i = 0; i < SLOTS && s->first && !s->lost; i++) {
        struct op *op = s->first;
        if (s->slots[i].op)
            continue;
        send_piece(s, &s->slots[i], op);
        if (op->at >= op->end) {
            s->first = op->next;
            if (!s->first)
                s->last = &s->first;
        }
    }
}

/* ---- replies ---- */

int nbd_error_from_wire(u32 error)
{
    static const int known[] = {EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP, ESHUTDOWN};
    for (unsigned i = 0; i < ARRAY_LEN(known); i++) {
        if ((u32)known[i] == error)
            return known[i];
    }
    return error ? EIO : 0;
}

static void want_reply(struct nbd *s);

static void next_reply(struct nbd *s)
{
    pump(s);
    if (!s->lost)
        want_reply(s);
}

static struct nbd *nbd_of(void *opaque)
{
    return container_of((struct nbd_conn *)opaque, struct nbd, conn);
}

/* The slot of a handle; NULL: nobody waits for such a reply. */
static struct slot *slot_of(struct nbd *s, u64 handle)
{
    u32 i = (u32)handle;
    struct slot *slot = i < SLOTS ? &s->slots[i] : NULL;
    return slot && slot->op && slot->turn == (u32)(handle >> 32) ? slot : NULL;
}

static void got_simple_data(void *opaque, const u8 *data, size_t n)
{
    struct nbd *s = nbd_of(opaque);
    struct slot *slot = s->slot;
    struct blk_req *r = slot->op->r;
    iov_from(r->iov, r->niov, slot->offset - r->offset, data, n);
    slot_end(s, slot, 0);
    next_reply(s);
}

static void got_simple(struct nbd *s, struct slot *slot, u32 error)
{
    if (slot->command == CMD_READ && !error) {
        s->slot = slot;
        stream_read(s->conn.stream, slot->len, got_simple_data);
        return;
    }
    slot_end(s, slot, slot->command == CMD_STATUS && !error ? EIO : nbd_error_from_wire(error));
    next_reply(s);
}

/* Whether [offset, offset + len) is a part of the read that has not come yet. */
static bool part_of(const struct slot *slot, u64 offset, u64 len)
{
    return slot->command == CMD_READ && offset >= slot->offset && len <= slot->len - slot->received &&
           offset - slot->offset <= slot->len - len;
}

static bool data_chunk(struct slot *slot, const u8 *p, u32 len)
{
    struct blk_req *r = slot->op->r;
    if (len <= 8 || !part_of(slot, be64_at(p), len - 8))
        return false;
    iov_from(r->iov, r->niov, be64_at(p) - r->offset, p + 8, len - 8);
    slot->received += len - 8;
    return true;
}

static bool hole_chunk(struct slot *slot, const u8 *p, u32 len)
{
    struct blk_req *r = slot->op->r;
    if (len != 12 || !be32_at(p + 8) || !part_of(slot, be64_at(p), be32_at(p + 8)))
        return false;
    iov_zero(r->iov, r->niov, be64_at(p) - r->offset, be32_at(p + 8));
    slot->received += be32_at(p + 8);
    return true;
}

static bool status_chunk(struct nbd *s, struct slot *slot, const u8 *p, u32 len)
{
    bool extended = s->conn.extended;
    if (slot->command != CMD_STATUS || slot->received || len < (extended ? 24 : 12) || be32_at(p) != s->conn.context)
        return false;
    u64 there = extended ? be64_at(p + 8) : be32_at(p + 4), bits = extended ? be64_at(p + 16) : be32_at(p + 8);
    if (!there)
        return false;
    struct blk_status *st = slot->op->r->status;
    slot->received = 1;
    if (!strcmp(s->context, NBD_ALLOCATION) && !(bits & STATE_ZERO))
        bits &= ~(u64)STATE_HOLE; /* a hole may hold anything: it has to be read */
    st->len = MIN(there, slot->len);
    st->flags = STATUS_ALLOCATED | STATUS_OFFSET | (bits & STATE_HOLE ? 0 : STATUS_DATA) | (bits & STATE_ZERO ? STATUS_ZERO : 0);
    st->host = slot->offset;
    st->file = s->n;
    return true;
}

static bool error_chunk(struct nbd *s, struct slot *slot, const u8 *p, u32 len)
{
    if (len < 6 || be16_at(p + 4) > len - 6 || !be32_at(p))
        return false;
    slot->error = nbd_error_from_wire(be32_at(p));
    if (be16_at(p + 4))
        err_set(&s->n->error, slot->error, "the NBD server says: %.*s", be16_at(p + 4), (const char *)p + 6);
    return true;
}

static void got_chunk(void *opaque, const u8 *p, size_t n)
{
    struct nbd *s = nbd_of(opaque);
    struct slot *slot = s->slot;
    u16 status = s->conn.extended ? CHUNK_STATUS_EXT : CHUNK_STATUS;
    bool good = s->chunk == CHUNK_NONE   ? n == 0 && (s->chunk_flags & CHUNK_DONE)
                : s->chunk == CHUNK_DATA ? data_chunk(slot, p, (u32)n)
                : s->chunk == CHUNK_HOLE ? hole_chunk(slot, p, (u32)n)
                : s->chunk == status     ? status_chunk(s, slot, p, (u32)n)
                                         : (s->chunk & 0x8000) && error_chunk(s, slot, p, (u32)n);
    if (!good) {
        give_up(s);
        return;
    }
    if (s->chunk_flags & CHUNK_DONE) {
        bool all = slot->command == CMD_READ ? slot->received == slot->len : slot->command != CMD_STATUS || slot->received;
        slot_end(s, slot, slot->error ? slot->error : all ? 0 : EIO);
    }
    next_reply(s);
}

/* The length of a chunk's bytes. */
static void got_length(void *opaque, const u8 *p, size_t n)
{
    struct nbd *s = nbd_of(opaque);
    u64 len = s->conn.extended ? be64_at(p) : be32_at(p), most = s->slot->command == CMD_READ ? s->slot->len + 4096 : 64 << 10;
    if (len > most)
        give_up(s);
    else
        stream_read(s->conn.stream, len, got_chunk);
}

/* The first 16 bytes of simple replies and chunks, or the header of an extended chunk. */
static void got_reply(void *opaque, const u8 *p, size_t n)
{
    struct nbd *s = nbd_of(opaque);
    u32 magic = be32_at(p);
    struct slot *slot = slot_of(s, be64_at(p + 8));
    bool extended = s->conn.extended, chunk = s->conn.structured && magic == (extended ? NBD_EXTENDED : NBD_STRUCTURED);
    if (slot && magic == NBD_SIMPLE && !extended && !(s->conn.structured && slot->command == CMD_READ)) {
        got_simple(s, slot, be32_at(p + 4));
    } else if (slot && chunk) {
        s->slot = slot;
        s->chunk_flags = be16_at(p + 4);
        s->chunk = be16_at(p + 6);
        if (extended)
            got_length(opaque, p + 24, 8);
        else
            stream_read(s->conn.stream, NBD_STRUCTURED_LEN - NBD_SIMPLE_LEN, got_length);
    } else {
        give_up(s);
    }
}

static void want_reply(struct nbd *s)
{
    stream_read(s->conn.stream, s->conn.extended ? NBD_EXTENDED_LEN : NBD_SIMPLE_LEN, got_reply);
}

/* ---- requests ---- */

static void client_submit(struct node *n, struct blk_req *r)
{
    struct nbd *s = n->state;
    u16 flags = s->conn.flags;
    u64 bits = r->offset | r->len;
    bool carries = r->op == BLK_READ || r->op == BLK_WRITE;
    int error = s->lost && !s->patient ? EIO : carries && bits & (s->conn.min_block - 1) ? EINVAL : 0;
    if (error) {
        node_done_later(r, error);
    } else if (r->op == BLK_STATUS && !s->conn.context) {
        *r->status = (struct blk_status){.flags = STATUS_ALLOCATED | STATUS_DATA | STATUS_OFFSET, .len = r->len,
                                         .host = r->offset, .file = n};
        node_done_later(r, 0);
    } else if (r->op == BLK_ZERO && (!(flags & FLAG_ZEROES) || ((r->flags & BLK_NO_FALLBACK) && !(flags & FLAG_FAST_ZERO)))) {
        node_write_zeros(n, r);
    } else if ((r->op == BLK_DISCARD && !(flags & FLAG_TRIM)) || (r->op == BLK_FLUSH && !(flags & FLAG_FLUSH))) {
        node_done_later(r, 0);
    } else {
        struct op *op = xcalloc(1, sizeof(*op));
        *op = (struct op){.r = r, .at = r->offset, .end = r->op == BLK_FLUSH ? r->offset + 1 : r->offset + r->len};
        *s->last = op;
        s->last = &op->next;
        pump(s);
    }
}

/* What has been sent is answered soon; what waits for another connection might wait for long. */
static void client_cancel(struct node *n, struct blk_req *r)
{
    struct nbd *s = n->state;
    struct op *op = s->lost ? s->first : NULL;
    while (op && op->r != r)
        op = op->next;
    if (!op)
        return;
    dequeue(s, op);
    free(op);
    node_done_later(r, ECANCELED);
}

/* ---- opening ---- */

static void unescape(char *s)
{
    char *to = s;
    for (; *s; s++, to++) {
        unsigned v;
        if (*s == '%' && sscanf(s + 1, "%2x", &v) == 1 && s[1] && s[2]) {
            *to = (char)v;
            s += 2;
        } else {
            *to = *s;
        }
    }
    *to = 0;
}

/* nbd://host[:port][/export], nbd+unix:///[export]?socket=path */
static bool parse_uri(const char *uri, struct json *o, struct err *e)
{
    bool local = !strncmp(uri, "nbd+unix://", 11);
    const char *host = uri + (local ? 11 : !strncmp(uri, "nbd+tcp://", 10) ? 10 : 6), *path = host + strcspn(host, "/?");
    const char *query = strchr(path, '?');
    size_t host_len = (size_t)(path - host), path_len = query ? (size_t)(query - path) : strlen(path);
    char *export = xprintf("%.*s", path_len ? (int)path_len - 1 : 0, path_len ? path + 1 : path);
    unescape(export);
    json_set_string(o, "export", export);
    free(export);
    if (local) {
        bool good = query && !strncmp(query, "?socket=", 8) && !host_len;
        char *socket = xstrdup(good ? query + 8 : "");
        unescape(socket);
        json_set_string(o, "path", socket);
        free(socket);
        return good || err_set(e, EINVAL, "'%s' needs the form nbd+unix:///export?socket=path", uri);
    }
    const char *end = host[0] == '[' ? memchr(host, ']', host_len) : NULL;
    const char *colon = memchr(end ? end : host, ':', (size_t)(path - (end ? end : host)));
    char *name = xprintf("%.*s", (int)((colon ? colon : path) - host), host);
    char *port = colon ? xprintf("%.*s", (int)(path - colon - 1), colon + 1) : xprintf("%d", NBD_PORT);
    bool good = *name && !query;
    json_set_string(o, "host", name);
    json_set_string(o, "port", port);
    free(name);
    free(port);
    return good || err_set(e, EINVAL, "'%s' needs the form nbd://host[:port]/export", uri);
}

/* nbd:host:port[:exportname=name], nbd:unix:path[:exportname=name] */
static bool parse_old(const char *text, struct json *o, struct err *e)
{
    const char *rest = text + 4, *name = strstr(rest, ":exportname=");
    size_t len = name ? (size_t)(name - rest) : strlen(rest);
    char *address = xprintf("%.*s", (int)len, rest), *colon = strrchr(address, ':');
    bool good = colon != NULL;
    if (name)
        json_set_string(o, "export", name + 12);
    if (good && !strncmp(address, "unix:", 5)) {
        json_set_string(o, "path", address + 5);
    } else if (good) {
        *colon = 0;
        json_set_string(o, "host", address);
        json_set_string(o, "port", colon + 1);
    }
    free(address);
    return good || err_set(e, EINVAL, "'%s' needs the form nbd:host:port or nbd:unix:path", text);
}

bool nbd_parse_filename(const char *filename, struct json *o, struct err *e)
{
    if (!strncmp(filename, "nbd://", 6) || !strncmp(filename, "nbd+tcp://", 10) || !strncmp(filename, "nbd+unix://", 11))
        return parse_uri(filename, o, e);
    if (!strncmp(filename, "nbd:", 4))
        return parse_old(filename, o, e);
    return err_set(e, ENOTSUP, "Unknown protocol '%.*s'", (int)strcspn(filename, ":"), filename);
}

struct place {
    char *path, *host, *port, *type, *s_path, *s_host, *s_port, *s_fd;
};

static void place_free(struct place *p)
{
    char *all[] = {p->path, p->host, p->port, p->type, p->s_path, p->s_host, p->s_port, p->s_fd};
    for (unsigned i = 0; i < ARRAY_LEN(all); i++)
        free(all[i]);
}

/* The options as an address for socket_connect(), and as the URI that users see. */
static bool take_place(struct nbd *s, struct json *o, struct err *e)
{
    struct place p = {0};
    bool good = opt_string(o, "path", &p.path, e) && opt_string(o, "host", &p.host, e) && opt_string(o, "port", &p.port, e) &&
                opt_string(o, "server.type", &p.type, e) && opt_string(o, "server.path", &p.s_path, e) &&
                opt_string(o, "server.host", &p.s_host, e) && opt_string(o, "server.port", &p.s_port, e) && opt_string(o, "server.str", &p.s_fd, e) &&
                opt_string(o, "export", &s->export, e) && opt_string(o, "x-dirty-bitmap", &s->context, e) &&
                opt_string(o, "tls-creds", &s->tls_creds, e) && opt_string(o, "tls-hostname", &s->hostname, e) &&
                opt_size(o, "reconnect-delay", &s->reconnect_delay, e) && opt_size(o, "open-timeout", &s->open_timeout, e);
    const char *path = p.path ? p.path : p.s_path, *host = p.host ? p.host : p.s_host;
    const char *port = p.port ? p.port : p.s_port;
    char number[16];
    snprintf(number, sizeof(number), "%d", NBD_PORT);
    if (good && p.s_fd && (s->reconnect_delay || s->open_timeout))
        good = err_set(e, EINVAL, "a connection that was handed over cannot be made again: no 'reconnect-delay', no 'open-timeout'");
    else if (good && !!path + !!host + !!p.s_fd != 1)
        good = err_set(e, EINVAL, path ? "path and host may not be used at the same time" : "NBD server address missing");
    if (!s->export)
        s->export = xstrdup("");
    if (!s->context)
        s->context = xstrdup(NBD_ALLOCATION);
    if (good) {
        s->address = p.s_fd ? xprintf("fd:%s", p.s_fd) : path ? xprintf("unix:%s", path) : xprintf("%s:%s", host, port ? port : number);
        free(s->n->filename);
        s->n->filename = p.s_fd ? xstrdup(s->address) : path ? xprintf("nbd+unix://%s%s?socket=%s", *s->export ? "/" : "", s->export, path)
                              : xprintf("nbd://%s:%s%s%s", host, port ? port : number, *s->export ? "/" : "", s->export);
    }
    if (good && host && !s->hostname)
        s->hostname = xstrdup(host);
    place_free(&p);
    return good;
}

/* Sizes of requests, when nothing or too much is said of them. */
static void limit_blocks(struct nbd_conn *c)
{
    c->max_block = MIN(c->max_block ? c->max_block : NBD_MAX_REQUEST, (u32)NBD_MAX_REQUEST);
    c->min_block = c->min_block ? c->min_block : 1;
    c->max_block -= c->max_block % c->min_block;
}

/* Whether a connection made anew shows the same export. */
static bool is_same(const struct nbd *s, const struct nbd_conn *c)
{
    return c->size == s->conn.size && !(c->flags & ~s->conn.flags & FLAG_READ_ONLY) && MAX(c->min_block, 1u) <= s->conn.min_block &&
           !c->context == !s->conn.context;
}

static void attempt_done(void *opaque, bool good)
{
    struct nbd *s = opaque;
    struct nbd_attempt *a = s->attempt;
    struct err e;
    s->attempt = NULL;
    good = good && is_same(s, nbd_attempt_conn(a)) && nbd_attempt_take(a, &s->conn, &e);
    nbd_attempt_free(a);
    if (!good) {
        loop_timer_set(s->n->graph->loop, &s->retry, loop_now() + RETRY_MS * 1000000ull);
        return;
    }
    limit_blocks(&s->conn);
    loop_timer_cancel(s->n->graph->loop, &s->give_up);
    s->lost = s->patient = false;
    want_reply(s);
    pump(s);
}

/* Connect; until `open-timeout` seconds have passed, again and again. */
static bool connect_patiently(struct nbd *s, struct err *e)
{
    u64 until = loop_now() + s->open_timeout * 1000000000ull;
    while (!nbd_connect(s->n->graph, &s->conn, e)) {
        u64 now = loop_now();
        if (now >= until)
            return false;
        nbd_hang_up(&s->conn);
        loop_sleep(s->n->graph->loop, MIN(until, now + RETRY_MS * 1000000ull));
    }
    return true;
}

static bool client_open(struct node *n, struct json *options, u32 flags, struct err *e)
{
    struct nbd *s = xcalloc(1, sizeof(*s));
    n->state = s;
    s->n = n;
    s->last = &s->first;
    s->retry.fire = try_again;
    s->give_up.fire = out_of_patience;
    if (!take_place(s, options, e) || !node_may_open(n, e))
        return false;
    s->conn.address = s->address;
    s->conn.user = s;
    s->conn.tls_creds = s->tls_creds;
    s->conn.hostname = s->hostname;
    if (!connect_patiently(s, e) || !nbd_go(&s->conn, s->export, s->context, e))
        return false;
    if ((flags & OPEN_WRITE) && (s->conn.flags & FLAG_READ_ONLY))
        return err_set(e, EACCES, "request on write denied without write permission: the export is read-only");
    if (strcmp(s->context, NBD_ALLOCATION) && !s->conn.context)
        return err_set(e, EINVAL, "requested x-dirty-bitmap %s not found", s->context);
    limit_blocks(&s->conn);
    s->conn.lost = connection_lost;
    n->size = s->conn.size;
    want_reply(s);
    return true;
}

/* Nothing is tried any more. */
static void stop_trying(struct nbd *s)
{
    struct loop *l = s->n->graph->loop;
    while (s->attempt) {
        nbd_attempt_abort(s->attempt);
        loop_turn(l, true);
    }
    loop_timer_cancel(l, &s->retry);
    loop_timer_cancel(l, &s->give_up);
}

static bool client_close(struct node *n, struct err *e)
{
    struct nbd *s = n->state;
    if (!s)
        return true;
    stop_trying(s);
    if (s->conn.stream && s->conn.size && !s->lost)
        send_header(s, 0, CMD_DISC, 0, 0, 0);
    s->conn.lost = NULL;
    nbd_hang_up(&s->conn);
    loop_turn(n->graph->loop, false); /* the stream ends on the loop */
    free(s->address);
    free(s->export);
    free(s->context);
    free(s->tls_creds);
    free(s->hostname);
    free(s);
    n->state = NULL;
    return true;
}

static bool client_truncate(struct node *n, u64 size, enum prealloc p, struct err *e)
{
    return size == n->size || err_set(e, ENOTSUP, "an NBD export cannot be resized");
}

static bool client_info(struct node *n, struct image_info *info, struct err *e)
{
    info->actual_size = UINT64_MAX;
    return true;
}

const struct driver driver_nbd = {
    .name = "nbd",
    .kind = NODE_PROTOCOL,
    .open = client_open,
    .close = client_close,
    .submit = client_submit,
    .cancel = client_cancel,
    .truncate = client_truncate,
    .info = client_info,
};
