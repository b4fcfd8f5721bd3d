#include "block/nbd/connect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/node.h"

enum {
    MAX_REPLY = 64 << 10, /* bytes of an option's reply */
    MAX_LISTED = 1000,    /* exports, contexts */
};

/* ---- waiting ---- */

static void conn_closed(void *opaque, int error)
{
    struct nbd_conn *c = opaque;
    c->over = true;
    c->got = true; /* whoever waits goes on */
    if (c->lost)
        c->lost(c->user);
}

static void conn_got(void *opaque, const u8 *data, size_t n)
{
    struct nbd_conn *c = opaque;
    c->data = xrealloc(c->data, n + 1);
    memcpy(c->data, data, n);
    c->data[n] = 0;
    c->len = n;
    c->got = true;
}

/* The next bytes, in c->data. */
static bool take(struct nbd_conn *c, size_t n, struct err *e)
{
    if (c->over)
        return err_set(e, EPIPE, "the server at %s has closed the connection", c->address);
    c->got = false;
    stream_read(c->stream, n, conn_got);
    loop_until(c->loop, &c->got);
    if (!c->over)
        return true;
    const char *why = stream_error(c->stream);
    return err_set(e, EPIPE, "the server at %s has closed the connection%s%s", c->address, *why ? ": " : "", why);
}

static bool nonsense(const struct nbd_conn *c, const char *what, struct err *e)
{
    return err_set(e, EPROTO, "the server at %s does not follow the NBD protocol: %s", c->address, what);
}

/* ---- greeting ---- */

static bool start_tls(struct nbd_conn *c, const struct tls_named *t, struct err *e);

bool nbd_connect(struct block_graph *g, struct nbd_conn *c, struct err *e)
{
    if (!c->loop)
        c->loop = block_graph_loop(g);
    const struct tls_named *tls = c->tls_creds ? tls_find(g, c->tls_creds, false, e) : NULL;
    if (c->tls_creds && !tls)
        return false;
    int fd = socket_connect(c->address, e);
    c->stream = fd >= 0 ? stream_new(c->loop, fd, c, e) : NULL;
    if (!c->stream)
        return false;
    stream_on_close(c->stream, conn_closed);
    c->over = false;
    if (!take(c, 18, e))
        return false;
    if (be64_at(c->data) != NBD_MAGIC)
        return nonsense(c, "no magic number", e);
    if (be64_at(c->data + 8) != NBD_OPTION_MAGIC)
        return err_set(e, ENOTSUP, "the server at %s uses the oldstyle handshake, which is not supported", c->address);
    u16 flags = be16_at(c->data + 16);
    c->fixed = flags & FIXED_NEWSTYLE;
    c->no_zeroes = flags & NO_ZEROES;
    u8 mine[4];
    put_be32(mine, flags & (FIXED_NEWSTYLE | NO_ZEROES));
    stream_write(c->stream, mine, sizeof(mine));
    return !tls || start_tls(c, tls, e);
}

void nbd_hang_up(struct nbd_conn *c)
{
    stream_free(c->stream);
    c->stream = NULL;
    free(c->data);
    c->data = NULL;
}

/* ---- options ---- */

static void send_option(struct nbd_conn *c, u32 option, const void *data, size_t len)
{
    u8 h[NBD_OPTION_LEN];
    put_be64(h, NBD_OPTION_MAGIC);
    put_be32(h + 8, option);
    put_be32(h + 12, (u32)len);
    stream_write(c->stream, h, sizeof(h));
    stream_write(c->stream, data, len);
}

/* One reply: its type, and its data in c->data. */
static bool take_reply(struct nbd_conn *c, u32 option, u32 *type, struct err *e)
{
    if (!take(c, NBD_OPTION_REPLY_LEN, e))
        return false;
    u32 len = be32_at(c->data + 16);
    *type = be32_at(c->data + 12);
    if (be64_at(c->data) != NBD_REPLY_MAGIC || be32_at(c->data + 8) != option)
        return nonsense(c, "a reply to another option", e);
    if (len > MAX_REPLY)
        return nonsense(c, "a reply that is too long", e);
    return take(c, len, e);
}

/* What the server says about a refusal, on a line of its own. */
static bool refused(const struct nbd_conn *c, u32 type, struct err *e)
{
    const char *what = type == REP_UNKNOWN        ? "Requested export not available"
                       : type == REP_POLICY       ? "Request not permitted by server policy"
                       : type == REP_TLS_REQUIRED ? "TLS negotiation required before option; give tls-creds"
                       : type == REP_UNSUPPORTED  ? "Server does not support this request"
                                                  : "Server refused the request";
    return err_set(e, type == REP_UNKNOWN ? ENOENT : EPERM, "%s%s%.200s", what, c->len ? "\nserver reported: " : "",
                   c->len ? (const char *)c->data : "");
}

static bool start_tls(struct nbd_conn *c, const struct tls_named *t, struct err *e)
{
    u32 type;
    if (!c->fixed)
        return err_set(e, ENOTSUP, "the server at %s has no TLS", c->address);
    send_option(c, OPT_STARTTLS, NULL, 0);
    if (!take_reply(c, OPT_STARTTLS, &type, e))
        return false;
    return type == REP_ACK ? tls_begin(t, c->stream, c->hostname, e) : refused(c, type, e);
}

/* An option without data that the server may not know. */
static bool want(struct nbd_conn *c, u32 option, bool *has, struct err *e)
{
    u32 type;
    send_option(c, option, NULL, 0);
    if (!take_reply(c, option, &type, e))
        return false;
    *has = type == REP_ACK;
    if (type == REP_TLS_REQUIRED)
        return refused(c, type, e);
    return *has || (type & REP_ERROR) || nonsense(c, "an odd reply", e);
}

/* The best kind of replies that the server has. */
static bool want_structured(struct nbd_conn *c, struct err *e)
{
    if (c->fixed && !want(c, OPT_EXTENDED, &c->extended, e))
        return false;
    c->structured = c->extended; /* which means both */
    return !c->fixed || c->extended || want(c, OPT_STRUCTURED, &c->structured, e);
}

/* Texts with their lengths in front: the export's name, then the number of queries and each of them. */
static u8 *context_request(const char *name, const char *query, size_t *len)
{
    size_t n = strlen(name), q = query ? strlen(query) : 0;
    *len = 4 + n + 4 + (query ? 4 + q : 0);
    u8 *data = xcalloc(1, *len + 1);
    put_be32(data, (u32)n);
    memcpy(data + 4, name, n);
    put_be32(data + 4 + n, query ? 1 : 0);
    if (query) {
        put_be32(data + 8 + n, (u32)q);
        memcpy(data + 12 + n, query, q);
    }
    return data;
}

/* Ask for a context; c->context is its id, 0 if the server has none of that name. */
static bool want_context(struct nbd_conn *c, const char *name, const char *context, struct err *e)
{
    size_t len;
    u32 type;
    u8 *data = context_request(name, context, &len);
    send_option(c, OPT_SET_CONTEXT, data, len);
    free(data);
    for (unsigned i = 0; i < MAX_LISTED; i++) {
        if (!take_reply(c, OPT_SET_CONTEXT, &type, e))
            return false;
        if (type == REP_ACK || (type & REP_ERROR))
            return true;
        if (type != REP_CONTEXT || c->len < 4)
            return nonsense(c, "an odd reply", e);
        if (!strcmp((const char *)c->data + 4, context))
            c->context = be32_at(c->data);
    }
    return nonsense(c, "more contexts than were asked for", e);
}

static bool good_export(const struct nbd_conn *c, struct err *e)
{
    if (c->size > INT64_MAX)
        return err_set(e, EFBIG, "the export is too large: %llu bytes", (unsigned long long)c->size);
    bool sizes = c->min_block | c->max_block;
    if (sizes && (!c->min_block || (c->min_block & (c->min_block - 1)) || c->min_block > 65536 || c->max_block < c->min_block))
        return nonsense(c, "block sizes that cannot be", e);
    return (c->flags & FLAG_HAS_FLAGS) || nonsense(c, "no flags", e);
}

static bool take_info(struct nbd_conn *c, struct err *e)
{
    const u8 *p = c->data;
    u16 info = c->len >= 2 ? be16_at(p) : UINT16_MAX;
    if (info == UINT16_MAX || (info == INFO_EXPORT && c->len != 12) || (info == INFO_BLOCK_SIZE && c->len != 14))
        return nonsense(c, "export information of a wrong length", e);
    if (info == INFO_EXPORT) {
        c->size = be64_at(p + 2);
        c->flags = be16_at(p + 10);
    } else if (info == INFO_BLOCK_SIZE) {
        c->min_block = be32_at(p + 2);
        c->preferred_block = be32_at(p + 6);
        c->max_block = be32_at(p + 10);
    }
    return true;
}

/* OPT_INFO or OPT_GO. *type: how it ended. `text` (may be NULL) gets the description. */
static bool ask_export(struct nbd_conn *c, u32 option, const char *name, u32 *type, char **text, struct err *e)
{
    size_t n = strlen(name);
    u8 *data = xcalloc(1, 4 + n + 2 + 4);
    put_be32(data, (u32)n);
    memcpy(data + 4, name, n);
    put_be16(data + 4 + n, 2);
    put_be16(data + 6 + n, INFO_BLOCK_SIZE);
    put_be16(data + 8 + n, INFO_DESCRIPTION);
    send_option(c, option, data, 4 + n + 2 + 4);
    free(data);
    for (unsigned i = 0; i < MAX_LISTED; i++) {
        if (!take_reply(c, option, type, e))
            return false;
        if (*type == REP_ACK)
            return good_export(c, e);
        if (*type & REP_ERROR)
            return true;
        if (*type != REP_INFO || !take_info(c, e))
            return nonsense(c, "an odd reply", e);
        if (text && be16_at(c->data) == INFO_DESCRIPTION) {
            free(*text);
            *text = xstrdup((const char *)c->data + 2);
        }
    }
    return nonsense(c, "information without end", e);
}

static bool old_go(struct nbd_conn *c, const char *name, struct err *e)
{
    send_option(c, OPT_EXPORT_NAME, name, strlen(name));
    if (!take(c, c->no_zeroes ? 10 : 134, e))
        return err_set(e, ENOENT, "the server at %s has closed the connection: it may have no export '%s'", c->address, name);
    c->size = be64_at(c->data);
    c->flags = be16_at(c->data + 8);
    return good_export(c, e);
}

bool nbd_go(struct nbd_conn *c, const char *name, const char *context, struct err *e)
{
    u32 type;
    if (strlen(name) > NBD_MAX_NAME)
        return err_set(e, EINVAL, "the name of an export has at most %d bytes", NBD_MAX_NAME);
    if (!want_structured(c, e) || (c->structured && !want_context(c, name, context, e)))
        return false;
    if (!c->fixed)
        return old_go(c, name, e);
    if (!ask_export(c, OPT_GO, name, &type, NULL, e))
        return false;
    if (type == REP_UNSUPPORTED)
        return old_go(c, name, e);
    return type == REP_ACK || refused(c, type, e);
}

/* ---- listing ---- */

static bool list_names(struct nbd_conn *c, struct nbd_listed **list, size_t *count, struct err *e)
{
    size_t cap = 0;
    u32 type;
    send_option(c, OPT_LIST, NULL, 0);
    while (*count < MAX_LISTED) {
        if (!take_reply(c, OPT_LIST, &type, e))
            return false;
        if (type == REP_ACK)
            return true;
        if (type & REP_ERROR)
            return refused(c, type, e);
        if (type != REP_SERVER || c->len < 4 || be32_at(c->data) > c->len - 4)
            return nonsense(c, "an odd reply", e);
        u32 n = be32_at(c->data);
        const char *text = (const char *)c->data + 4;
        struct nbd_listed *x = &VEC_PUSH(*list, *count, cap);
        *x = (struct nbd_listed){.name = xprintf("%.*s", (int)n, text)};
        x->description = c->len > 4 + n ? xprintf("%.*s", (int)(c->len - 4 - n), text + n) : NULL;
    }
    return nonsense(c, "too many exports", e);
}

static bool list_contexts(struct nbd_conn *c, struct nbd_listed *x, struct err *e)
{
    size_t len;
    u32 type;
    u8 *data = context_request(x->name, NULL, &len);
    send_option(c, OPT_LIST_CONTEXT, data, len);
    free(data);
    while (x->ncontexts < MAX_LISTED) {
        if (!take_reply(c, OPT_LIST_CONTEXT, &type, e))
            return false;
        if (type == REP_ACK || (type & REP_ERROR))
            return true;
        if (type != REP_CONTEXT || c->len < 4)
            return nonsense(c, "an odd reply", e);
        VEC_PUSH(x->contexts, x->ncontexts, x->context_cap) = xstrdup((const char *)c->data + 4);
    }
    return nonsense(c, "too many contexts", e);
}

static bool list_one(struct nbd_conn *c, struct nbd_listed *x, struct err *e)
{
    u32 type;
    c->min_block = c->preferred_block = c->max_block = 0;
    if (!ask_export(c, OPT_INFO, x->name, &type, &x->description, e))
        return false;
    if (type != REP_ACK)
        return true; /* its name is all that is to be had */
    x->size = c->size;
    x->flags = c->flags;
    x->min_block = c->min_block;
    x->preferred_block = c->preferred_block;
    x->max_block = c->max_block;
    return !c->structured || list_contexts(c, x, e);
}

bool nbd_list(struct block_graph *g, const char *address, const char *tls_creds, const char *hostname, struct nbd_listed **list, size_t *count, struct err *e)
{
    struct nbd_conn c = {.address = address, .tls_creds = tls_creds, .hostname = hostname};
    *list = NULL;
    *count = 0;
    bool good = nbd_connect(g, &c, e) && want_structured(&c, e) && list_names(&c, list, count, e);
    for (size_t i = 0; good && i < *count; i++)
        good = list_one(&c, &(*list)[i], e);
    if (good)
        send_option(&c, OPT_ABORT, NULL, 0);
    nbd_hang_up(&c);
    if (c.loop)
        loop_turn(c.loop, false); /* the stream ends on the loop */
    return good;
}

void nbd_list_free(struct nbd_listed *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(list[i].name);
        free(list[i].description);
        for (size_t k = 0; k < list[i].ncontexts; k++)
            free(list[i].contexts[k]);
        free(list[i].contexts);
    }
    free(list);
}
