/* TLS on streams. It is a module of its own (lyre-tls.so, with GnuTLS), opened when credentials are made. */
#ifndef LYRE_EVENT_TLS_H
#define LYRE_EVENT_TLS_H

#include "event/stream.h"

struct tls_creds;

enum tls_kind { TLS_ANON, TLS_PSK, TLS_X509 };

struct tls_config {
    enum tls_kind kind;
    bool server, verify; /* verify: the other side must have a certificate of the authority (x509) */
    const char *dir;     /* where ca-cert.pem, server-cert.pem, server-key.pem, client-*.pem or keys.psk lie */
    const char *username; /* of a client with PSK */
    const char *priority; /* NULL: the usual */
};

struct tls_ops {
    struct tls_creds *(*creds_new)(const struct tls_config *c, struct err *e);
    void (*creds_free)(struct tls_creds *c);
    /* For a stream on that socket. With x509, who the other side must be (NULL: anybody with a good certificate):
     * of a server its host name, of a client its distinguished name (RFC 4514). */
    struct stream_layer *(*layer_new)(int fd, const struct tls_creds *c, const char *peer, struct err *e);
};

/* NULL: the module or its libraries are not there. */
const struct tls_ops *tls_module(struct err *e);

#endif
