/* Connecting to a server without waiting: on a worker, with a loop of its own. */
#ifndef LYRE_BLOCK_NBD_ATTEMPT_H
#define LYRE_BLOCK_NBD_ATTEMPT_H

#include "block/nbd/connect.h"

struct nbd_attempt;

/* Connect as `like` (address, TLS) and choose the export. `done` is called on the graph's loop, with whether that
 * was successful; the attempt is the caller's from then on. Strings must live until then. NULL: not even begun. */
struct nbd_attempt *nbd_attempt_start(struct block_graph *g, const struct nbd_conn *like, const char *export, const char *context,
                                      void (*done)(void *opaque, bool good), void *opaque);
/* What was agreed on, after success. */
const struct nbd_conn *nbd_attempt_conn(const struct nbd_attempt *a);
/* After success: the connection becomes `to`, on the graph's loop. `to` keeps its `address`, `user`, `lost` ... */
bool nbd_attempt_take(struct nbd_attempt *a, struct nbd_conn *to, struct err *e);
/* Make it end soon, by `done`. */
void nbd_attempt_abort(struct nbd_attempt *a);
void nbd_attempt_free(struct nbd_attempt *a);

#endif
