/* The NBD protocol (doc/proto.md of the NBD project; names are its), and serving it. */
#ifndef LYRE_BLOCK_NBD_H
#define LYRE_BLOCK_NBD_H

#include "block/block.h"

#define NBD_MAGIC        0x4e42444d41474943ull
#define NBD_OPTION_MAGIC 0x49484156454f5054ull
#define NBD_REPLY_MAGIC  0x0003e889045565a9ull

enum { NBD_REQUEST = 0x25609513, NBD_SIMPLE = 0x67446698, NBD_STRUCTURED = 0x668e33ef };
enum { NBD_REQUEST_LEN = 28, NBD_SIMPLE_LEN = 16, NBD_STRUCTURED_LEN = 20, NBD_OPTION_LEN = 16, NBD_OPTION_REPLY_LEN = 20 };
/* With extended headers: lengths of 64 bits, and chunks in reply to everything. */
enum { NBD_EXTENDED_REQUEST = 0x21e41c71, NBD_EXTENDED = 0x6e8a278c, NBD_EXTENDED_LEN = 32 /* of both */ };

enum { FIXED_NEWSTYLE = 1, NO_ZEROES = 2 }; /* of both sides */

enum nbd_option { OPT_EXPORT_NAME = 1, OPT_ABORT, OPT_LIST, OPT_STARTTLS = 5, OPT_INFO, OPT_GO, OPT_STRUCTURED,
                  OPT_LIST_CONTEXT, OPT_SET_CONTEXT, OPT_EXTENDED };
enum nbd_reply { REP_ACK = 1, REP_SERVER, REP_INFO, REP_CONTEXT };
#define REP_ERROR        (1u << 31)
#define REP_UNSUPPORTED  (REP_ERROR | 1)
#define REP_POLICY       (REP_ERROR | 2)
#define REP_INVALID      (REP_ERROR | 3)
#define REP_TLS_REQUIRED (REP_ERROR | 5)
#define REP_UNKNOWN      (REP_ERROR | 6)
enum nbd_info { INFO_EXPORT, INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE };

enum { FLAG_HAS_FLAGS = 1, FLAG_READ_ONLY = 2, FLAG_FLUSH = 4, FLAG_FUA = 8, FLAG_TRIM = 32, FLAG_ZEROES = 64,
       FLAG_DF = 128, FLAG_MULTI_CONN = 256, FLAG_FAST_ZERO = 2048 };
enum nbd_command { CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_CACHE, CMD_ZEROES, CMD_STATUS };
enum { CMD_FLAG_FUA = 1, CMD_FLAG_NO_HOLE = 2, CMD_FLAG_DF = 4, CMD_FLAG_REQ_ONE = 8, CMD_FLAG_FAST_ZERO = 16,
       CMD_FLAG_PAYLOAD = 32 /* extended: so many bytes follow as the length says */ };
enum nbd_chunk { CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS = 5, CHUNK_STATUS_EXT, CHUNK_ERROR = 0x8001, CHUNK_ERROR_OFFSET };
enum { CHUNK_DONE = 1 };
enum { STATE_HOLE = 1, STATE_ZERO = 2 };
enum { STATE_DIRTY = 1 };

enum { NBD_MAX_NAME = 4096, NBD_MAX_REQUEST = 32 << 20, NBD_MAX_EXTENTS = 2048, NBD_PORT = 10809 };
#define NBD_ALLOCATION "base:allocation"
#define NBD_DEPTH      "qemu:allocation-depth"
#define NBD_BITMAP     "qemu:dirty-bitmap:"

/* errno values as the protocol has them, and back. */
u32 nbd_error_to_wire(int error);
int nbd_error_from_wire(u32 error);

/* An NBD URI or "nbd:HOST:PORT" as options of the driver. */
bool nbd_parse_filename(const char *filename, struct json *options, struct err *e);

/* ---- serving ---- */

/* Nodes that others may use over NBD. */
struct nbd_server;

struct nbd_export {
    struct node *node;
    const char *name, *description; /* strings: the caller's, as long as the server lives */
    bool read_only;
    bool depth;                     /* tell in which layer data lie */
    const char *bitmap;             /* tell what this bitmap has as dirty; NULL: none */
};

/* Serve on a listening socket, which is taken over. At most `most` clients at a time (0: no limit).
 * `changed` (may be NULL) is called when a client has come or gone, with how many there are. `tls_creds` (NULL:
 * none) are an id; with them clients must use TLS. */
struct nbd_server *nbd_server_new(struct block_graph *g, int fd, unsigned most, const char *tls_creds,
                                  void (*changed)(void *opaque, unsigned clients), void *opaque, struct err *e);
/* From now on clients must have a certificate (TLS with x509) of this distinguished name, as RFC 4514 writes it. */
void nbd_server_allow(struct nbd_server *s, const char *name);
/* Serve a connected socket, which is taken over. */
void nbd_server_take(struct nbd_server *s, int fd);
/* The node stays the caller's and outlives the server. */
void nbd_server_add(struct nbd_server *s, const struct nbd_export *x);
/* Ends all connections; waits for the requests that run. */
void nbd_server_free(struct nbd_server *s);

/* ---- asking a server what it has ---- */

struct nbd_listed {
    char *name, *description;
    u64 size;
    u16 flags;
    u32 min_block, preferred_block, max_block; /* 0: not said */
    char **contexts;
    size_t ncontexts, context_cap;
};
/* `address` as of socket_connect(), `tls_creds` an id or NULL, `hostname` what the server's certificate must be
 * for (NULL: as in the address). Free with nbd_list_free(). */
bool nbd_list(struct block_graph *g, const char *address, const char *tls_creds, const char *hostname, struct nbd_listed **list,
              size_t *count, struct err *e);
void nbd_list_free(struct nbd_listed *list, size_t count);

#endif
