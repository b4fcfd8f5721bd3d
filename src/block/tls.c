/* TLS credentials of a graph, by name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/node.h"
#include "event/tls.h"

bool block_tls_creds_set(struct block_graph *g, const char *id, const struct tls_config *c, struct err *e)
{
    const struct tls_ops *ops = tls_module(e);
    struct tls_creds *creds = ops ? ops->creds_new(c, e) : NULL;
    if (!creds)
        return false;
    struct tls_named *t = xcalloc(1, sizeof(*t));
    *t = (struct tls_named){.id = xstrdup(id), .server = c->server, .ops = ops, .creds = creds, .next = g->tls};
    g->tls = t;
    return true;
}

const struct tls_named *tls_find(const struct block_graph *g, const char *id, bool server, struct err *e)
{
    const struct tls_named *t = g->tls;
    while (t && strcmp(t->id, id))
        t = t->next;
    if (!t)
        err_set(e, ENOENT, "No TLS credentials with id '%s'", id);
    else if (t->server != server)
        err_set(e, EINVAL, "Expecting TLS credentials with a %s endpoint", server ? "server" : "client");
    return t && t->server == server ? t : NULL;
}

void tls_creds_free(struct block_graph *g)
{
    for (struct tls_named *t = g->tls, *next; t; t = next) {
        next = t->next;
        t->ops->creds_free(t->creds);
        free(t->id);
        free(t);
    }
}

bool tls_begin(const struct tls_named *t, struct stream *s, const char *peer, struct err *e)
{
    struct stream_layer *layer = t->ops->layer_new(stream_fd(s), t->creds, peer, e);
    if (layer)
        stream_set_layer(s, layer);
    return layer;
}
