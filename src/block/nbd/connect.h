/* The client's side of a connection until requests may be sent. All of it waits. */
#ifndef LYRE_BLOCK_NBD_CONNECT_H
#define LYRE_BLOCK_NBD_CONNECT_H

#include "base/bytes.h"
#include "block/nbd.h"
#include "event/stream.h"

struct nbd_conn {
    struct stream *stream;
    struct loop *loop; /* NULL: the graph's */
    const char *address;
    const char *tls_creds, *hostname; /* NULL: no TLS; any name */
    void *user; /* who gets the stream's calls once nbd_go() is through */
    void (*lost)(void *user);
    bool structured, extended, no_zeroes, fixed, over;

    /* of the export, after nbd_go() */
    u64 size;
    u16 flags;
    u32 min_block, preferred_block, max_block; /* 0: not said */
    u32 context; /* id of the wanted one; 0: the server has it not */

    /* while waiting for bytes */
    u8 *data;
    size_t len;
    bool got;
};

/* Connect and greet. The conn is the caller's, with `address`, `user` and `lost` filled in; the stream's
 * opaque pointer is the conn. Ends with nbd_hang_up(), also after a failure. */
bool nbd_connect(struct block_graph *g, struct nbd_conn *c, struct err *e);
/* Choose an export and agree on what there is to agree on. `context`: which status is wanted. */
bool nbd_go(struct nbd_conn *c, const char *name, const char *context, struct err *e);
void nbd_hang_up(struct nbd_conn *c);

#endif
