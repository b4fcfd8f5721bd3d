/* What the parts of the server share: a client's connection. */
#ifndef LYRE_BLOCK_NBD_SERVER_H
#define LYRE_BLOCK_NBD_SERVER_H

#include "base/bytes.h"
#include "block/nbd.h"
#include "block/node.h"
#include "event/stream.h"

struct nbd_server_export {
    struct nbd_export x;
    struct nbd_server_export *next;
};

struct nbd_server {
    struct block_graph *g;
    struct loop_fd listener;
    struct nbd_server_export *exports;
    const struct tls_named *tls; /* NULL: none */
    char *allowed;               /* the name that a client's certificate must be of; NULL: any */
    struct nbd_client *clients;
    unsigned count, most;
    void (*changed)(void *opaque, unsigned clients);
    void *opaque;
};

/* What a client may ask the status of; as bits, and bit n has the id n + 1 on the wire. */
enum nbd_context { CONTEXT_ALLOCATION, CONTEXT_DEPTH, CONTEXT_BITMAP, CONTEXTS };

struct nbd_client {
    struct nbd_server *s;
    struct stream *stream;
    struct nbd_client *next;
    const struct nbd_export *x; /* chosen; NULL: still negotiating */
    const struct nbd_export *contexts_of;
    u32 contexts;               /* bits, agreed on for `contexts_of` */
    bool no_zeroes, structured, extended, tls, gone, paused;
    u32 option, option_len;
    unsigned in_flight;
    u64 bytes; /* of the requests in flight */
    struct nbd_request *current; /* whose data are coming */
};

/* No more from this client; it goes when its requests have ended, perhaps at once. */
void nbd_client_end(struct nbd_client *c);
/* handshake.c: begin with a new client. Goes on with nbd_want_request(). */
void nbd_handshake(struct nbd_client *c);
void nbd_want_request(struct nbd_client *c);
/* The client's name of a context; the caller frees it. NULL: this export has no such. */
char *nbd_context_name(const struct nbd_export *x, enum nbd_context context);

#endif
