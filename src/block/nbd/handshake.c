/* The server's side of the handshake: which export, and what the two agree on. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/nbd/server.h"

static void want_option(struct nbd_client *c);

static void reply(struct nbd_client *c, u32 type, const void *data, size_t len)
{
    u8 h[NBD_OPTION_REPLY_LEN];
    put_be64(h, NBD_REPLY_MAGIC);
    put_be32(h + 8, c->option);
    put_be32(h + 12, type);
    put_be32(h + 16, (u32)len);
    stream_write(c->stream, h, sizeof(h));
    stream_write(c->stream, data, len);
}

/* The end of an option: the next one may come. */
static void answer(struct nbd_client *c, u32 type)
{
    reply(c, type, NULL, 0);
    want_option(c);
}

/* A refusal with a reason for people. */
static void refuse(struct nbd_client *c, u32 type, const char *text)
{
    reply(c, type, text, strlen(text));
    want_option(c);
}

/* A number and a text. */
static void reply_text(struct nbd_client *c, u32 type, unsigned number_bytes, u32 number, const char *text)
{
    size_t n = strlen(text);
    u8 *data = xmalloc(4 + n);
    if (number_bytes == 4)
        put_be32(data, number);
    else
        put_be16(data, (u16)number);
    memcpy(data + number_bytes, text, n);
    reply(c, type, data, number_bytes + n);
    free(data);
}

static u16 export_flags(const struct nbd_client *c, const struct nbd_export *x)
{
    bool read_only = x->read_only || node_read_only(x->node);
    return FLAG_HAS_FLAGS | FLAG_FLUSH | FLAG_FUA | FLAG_MULTI_CONN | (c->structured ? FLAG_DF : 0) |
           (read_only ? FLAG_READ_ONLY : FLAG_TRIM | FLAG_ZEROES | FLAG_FAST_ZERO);
}

static const struct nbd_export *find_export(const struct nbd_client *c, const u8 *name, u32 len)
{
    struct nbd_server_export *o = c->s->exports;
    while (o && (strlen(o->x.name) != len || memcmp(o->x.name, name, len)))
        o = o->next;
    return o ? &o->x : NULL;
}

static void choose(struct nbd_client *c, const struct nbd_export *x)
{
    c->x = x;
    if (c->contexts_of != x)
        c->contexts = 0;
    nbd_want_request(c);
}

/* ---- options ---- */

/* A name with its length in front. False: it does not fit. */
static bool take_name(const u8 **p, u32 *left, const u8 **name, u32 *len)
{
    if (*left < 4 || be32_at(*p) > *left - 4)
        return false;
    *len = be32_at(*p);
    *name = *p + 4;
    *p += 4 + *len;
    *left -= 4 + *len;
    return true;
}

static void option_export_name(struct nbd_client *c, const u8 *data, u32 len)
{
    u8 h[134] = {0};
    const struct nbd_export *x = find_export(c, data, len);
    if (!x) {
        nbd_client_end(c); /* this option has no way to say no */
        return;
    }
    put_be64(h, node_size(x->node));
    put_be16(h + 8, export_flags(c, x));
    stream_write(c->stream, h, c->no_zeroes ? 10 : sizeof(h));
    choose(c, x);
}

static void option_go(struct nbd_client *c, const u8 *data, u32 len)
{
    const u8 *name;
    u32 name_len;
    if (!take_name(&data, &len, &name, &name_len) || len < 2 || len - 2 != 2u * be16_at(data)) {
        answer(c, REP_INVALID);
        return;
    }
    const struct nbd_export *x = find_export(c, name, name_len);
    if (!x) {
        char *text = xprintf("export '%.*s' not present", (int)name_len, (const char *)name);
        refuse(c, REP_UNKNOWN, text);
        free(text);
        return;
    }
    u8 info[12] = {0}, sizes[14] = {0, INFO_BLOCK_SIZE};
    put_be64(info + 2, node_size(x->node));
    put_be16(info + 10, export_flags(c, x));
    reply(c, REP_INFO, info, sizeof(info));
    reply_text(c, REP_INFO, 2, INFO_NAME, x->name);
    if (x->description)
        reply_text(c, REP_INFO, 2, INFO_DESCRIPTION, x->description);
    put_be32(sizes + 2, 1);
    put_be32(sizes + 6, 4096);
    put_be32(sizes + 10, NBD_MAX_REQUEST);
    reply(c, REP_INFO, sizes, sizeof(sizes));
    if (c->option == OPT_INFO) {
        answer(c, REP_ACK);
        return;
    }
    reply(c, REP_ACK, NULL, 0);
    choose(c, x);
}

char *nbd_context_name(const struct nbd_export *x, enum nbd_context context)
{
    if (context == CONTEXT_ALLOCATION)
        return xstrdup(NBD_ALLOCATION);
    if (context == CONTEXT_DEPTH)
        return x->depth ? xstrdup(NBD_DEPTH) : NULL;
    return x->bitmap ? xprintf(NBD_BITMAP "%s", x->bitmap) : NULL;
}

/* Whether a query names a context: itself, or when listing what it begins with up to a colon. */
static bool matches(const char *name, const u8 *query, u32 len, bool listing)
{
    size_t n = strlen(name);
    if (len == n)
        return !memcmp(name, query, n);
    return listing && len && len < n && query[len - 1] == ':' && !memcmp(name, query, len);
}

/* The contexts that the queries name, as bits; false: the data are no queries. */
static bool queried(const struct nbd_client *c, const struct nbd_export *x, const u8 *data, u32 len, u32 *bits)
{
    bool listing = c->option == OPT_LIST_CONTEXT;
    if (len < 4)
        return false;
    u32 count = be32_at(data);
    data += 4;
    len -= 4;
    *bits = listing && !count ? (1u << CONTEXTS) - 1 : 0;
    for (u32 i = 0; i < count; i++) {
        const u8 *query;
        u32 n;
        if (!take_name(&data, &len, &query, &n))
            return false;
        for (unsigned k = 0; k < CONTEXTS; k++) {
            char *name = nbd_context_name(x, k);
            if (name && matches(name, query, n, listing))
                *bits |= 1u << k;
            free(name);
        }
    }
    return len == 0;
}

static void option_context(struct nbd_client *c, const u8 *data, u32 len)
{
    const u8 *name;
    u32 name_len, bits;
    if (!c->structured) {
        refuse(c, REP_INVALID, "request option '9' when structured reply is not negotiated");
        return;
    }
    if (!take_name(&data, &len, &name, &name_len)) {
        answer(c, REP_INVALID);
        return;
    }
    const struct nbd_export *x = find_export(c, name, name_len);
    if (!x) {
        answer(c, REP_UNKNOWN);
        return;
    }
    if (!queried(c, x, data, len, &bits)) {
        answer(c, REP_INVALID);
        return;
    }
    u32 agreed = 0;
    for (unsigned k = 0; k < CONTEXTS; k++) {
        char *text = bits >> k & 1 ? nbd_context_name(x, k) : NULL;
        if (text) {
            reply_text(c, REP_CONTEXT, 4, c->option == OPT_SET_CONTEXT ? k + 1 : 0, text);
            agreed |= 1u << k;
        }
        free(text);
    }
    if (c->option == OPT_SET_CONTEXT) {
        c->contexts = agreed;
        c->contexts_of = x;
    }
    answer(c, REP_ACK);
}

static void option_list(struct nbd_client *c)
{
    for (const struct nbd_server_export *o = c->s->exports; o; o = o->next) {
        size_t n = strlen(o->x.name), d = o->x.description ? strlen(o->x.description) : 0;
        u8 *entry = xmalloc(4 + n + d);
        put_be32(entry, (u32)n);
        memcpy(entry + 4, o->x.name, n);
        if (d)
            memcpy(entry + 4 + n, o->x.description, d);
        reply(c, REP_SERVER, entry, 4 + n + d);
        free(entry);
    }
    answer(c, REP_ACK);
}

static void option_tls(struct nbd_client *c)
{
    struct err e;
    if (!c->s->tls || c->tls) {
        refuse(c, c->tls ? REP_INVALID : REP_POLICY, c->tls ? "TLS is in use already" : "TLS not configured");
        return;
    }
    reply(c, REP_ACK, NULL, 0);
    if (!tls_begin(c->s->tls, c->stream, c->s->allowed, &e)) {
        nbd_client_end(c);
        return;
    }
    c->tls = true;
    c->structured = c->extended = false; /* what was said in the clear does not count */
    c->contexts = 0;
    want_option(c);
}

/* ---- reading options ---- */

static void got_data(void *opaque, const u8 *data, size_t n)
{
    struct nbd_client *c = opaque;
    u32 len = (u32)n;
    bool bare = c->option == OPT_STRUCTURED || c->option == OPT_EXTENDED || c->option == OPT_LIST || c->option == OPT_STARTTLS;
    if (c->option == OPT_ABORT) {
        reply(c, REP_ACK, NULL, 0);
        nbd_client_end(c);
    } else if (c->s->tls && !c->tls && c->option == OPT_EXPORT_NAME) {
        nbd_client_end(c);
    } else if (c->s->tls && !c->tls && c->option != OPT_STARTTLS) {
        refuse(c, REP_TLS_REQUIRED, "Option not permitted before TLS");
    } else if (bare && len) {
        answer(c, REP_INVALID);
    } else if (c->option == OPT_EXPORT_NAME) {
        option_export_name(c, data, len);
    } else if (c->option == OPT_GO || c->option == OPT_INFO) {
        option_go(c, data, len);
    } else if (c->option == OPT_SET_CONTEXT || c->option == OPT_LIST_CONTEXT) {
        option_context(c, data, len);
    } else if (c->option == OPT_LIST) {
        option_list(c);
    } else if (c->option == OPT_STARTTLS) {
        option_tls(c);
    } else if (c->option == OPT_STRUCTURED || c->option == OPT_EXTENDED) {
        c->structured = true;
        c->extended |= c->option == OPT_EXTENDED;
        answer(c, REP_ACK);
    } else {
        refuse(c, REP_UNSUPPORTED, "Unsupported option");
    }
}

static void got_option(void *opaque, const u8 *data, size_t n)
{
    struct nbd_client *c = opaque;
    c->option = be32_at(data + 8);
    c->option_len = be32_at(data + 12);
    if (be64_at(data) != NBD_OPTION_MAGIC || c->option_len > 4 * NBD_MAX_NAME)
        nbd_client_end(c);
    else
        stream_read(c->stream, c->option_len, got_data);
}

static void want_option(struct nbd_client *c)
{
    stream_read(c->stream, NBD_OPTION_LEN, got_option);
}

static void got_flags(void *opaque, const u8 *data, size_t n)
{
    struct nbd_client *c = opaque;
    u32 flags = be32_at(data);
    c->no_zeroes = flags & NO_ZEROES;
    if (flags & ~(u32)(FIXED_NEWSTYLE | NO_ZEROES))
        nbd_client_end(c);
    else
        want_option(c);
}

void nbd_handshake(struct nbd_client *c)
{
    u8 hello[18];
    put_be64(hello, NBD_MAGIC);
    put_be64(hello + 8, NBD_OPTION_MAGIC);
    put_be16(hello + 16, FIXED_NEWSTYLE | NO_ZEROES);
    stream_write(c->stream, hello, sizeof(hello));
    stream_read(c->stream, 4, got_flags);
}
