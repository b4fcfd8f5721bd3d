/* The TLS module, with GnuTLS. */
#include "event/tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

extern const struct tls_ops lyre_tls_ops;

struct tls_creds {
    struct tls_config c; /* its strings are not used after creds_new */
    char *priority;
    gnutls_certificate_credentials_t x509;
    gnutls_psk_server_credentials_t psk_server;
    gnutls_psk_client_credentials_t psk_client;
    gnutls_anon_server_credentials_t anon_server;
    gnutls_anon_client_credentials_t anon_client;
};

struct tls_layer {
    struct stream_layer layer;
    gnutls_session_t session;
    bool ready;
    bool server, x509;
    char *peer; /* who the other side must be; NULL: anybody */
    char error[200];
};

/* ---- credentials ---- */

static void creds_free(struct tls_creds *c)
{
    if (!c)
        return;
    if (c->x509)
        gnutls_certificate_free_credentials(c->x509);
    if (c->psk_server)
        gnutls_psk_free_server_credentials(c->psk_server);
    if (c->psk_client)
        gnutls_psk_free_client_credentials(c->psk_client);
    if (c->anon_server)
        gnutls_anon_free_server_credentials(c->anon_server);
    if (c->anon_client)
        gnutls_anon_free_client_credentials(c->anon_client);
    free(c->priority);
    free(c);
}

static bool failed(int code, const char *what, struct err *e)
{
    return code < 0 ? err_set(e, EINVAL, "%s: %s", what, gnutls_strerror(code)) : true;
}

static bool load_x509(struct tls_creds *c, struct err *e)
{
    const char *side = c->c.server ? "server" : "client";
    char *ca = xprintf("%s/ca-cert.pem", c->c.dir), *cert = xprintf("%s/%s-cert.pem", c->c.dir, side);
    char *key = xprintf("%s/%s-key.pem", c->c.dir, side);
    FILE *f = c->c.server ? NULL : fopen(cert, "re");
    bool has_cert = c->c.server || f;
    if (f)
        fclose(f);
    bool good = failed(gnutls_certificate_allocate_credentials(&c->x509), "TLS", e) &&
                failed(gnutls_certificate_set_x509_trust_file(c->x509, ca, GNUTLS_X509_FMT_PEM), ca, e) &&
                (!has_cert || failed(gnutls_certificate_set_x509_key_file(c->x509, cert, key, GNUTLS_X509_FMT_PEM), cert, e));
    free(ca);
    free(cert);
    free(key);
    return good;
}

/* The line "username:key" of a client's file. */
static bool load_psk_client(struct tls_creds *c, const char *path, struct err *e)
{
    const char *user = c->c.username ? c->c.username : "qemu";
    char line[1024];
    FILE *f = fopen(path, "re");
    bool found = false;
    while (f && !found && fgets(line, sizeof(line), f))
        found = !strncmp(line, user, strlen(user)) && line[strlen(user)] == ':';
    if (f)
        fclose(f);
    if (!found)
        return err_set(e, ENOENT, "Unable to find username '%s' in '%s'", user, path);
    line[strcspn(line, "\r\n")] = 0;
    const char *hex = line + strlen(user) + 1;
    gnutls_datum_t key = {(unsigned char *)hex, (unsigned)strlen(hex)};
    bool good = failed(gnutls_psk_allocate_client_credentials(&c->psk_client), "TLS", e) &&
                failed(gnutls_psk_set_client_credentials(c->psk_client, user, &key, GNUTLS_PSK_KEY_HEX), path, e);
    explicit_bzero(line, sizeof(line));
    return good;
}

static bool load_psk(struct tls_creds *c, struct err *e)
{
    char *path = xprintf("%s/keys.psk", c->c.dir);
    bool good = !c->c.server ? load_psk_client(c, path, e)
                             : failed(gnutls_psk_allocate_server_credentials(&c->psk_server), "TLS", e) &&
                                   failed(gnutls_psk_set_server_credentials_file(c->psk_server, path), path, e);
    free(path);
    return good;
}

static bool load_anon(struct tls_creds *c, struct err *e)
{
    return c->c.server ? failed(gnutls_anon_allocate_server_credentials(&c->anon_server), "TLS", e)
                       : failed(gnutls_anon_allocate_client_credentials(&c->anon_client), "TLS", e);
}

static struct tls_creds *creds_new(const struct tls_config *config, struct err *e)
{
    static const char *const usual[] = {"NORMAL:+ANON-ECDH:+ANON-DH", "NORMAL:+ECDHE-PSK:+DHE-PSK:+PSK", "NORMAL"};
    struct tls_creds *c = xcalloc(1, sizeof(*c));
    c->c = *config;
    c->priority = xstrdup(config->priority ? config->priority : usual[config->kind]);
    bool good = config->dir || config->kind == TLS_ANON || err_set(e, EINVAL, "TLS credentials need 'dir'");
    good = good && (config->kind == TLS_X509 ? load_x509(c, e) : config->kind == TLS_PSK ? load_psk(c, e) : load_anon(c, e));
    if (good)
        return c;
    creds_free(c);
    return NULL;
}

/* ---- the layer ---- */

static int give_up(struct tls_layer *t, const char *text)
{
    snprintf(t->error, sizeof(t->error), "TLS: %s", text);
    errno = EPROTO;
    return -1;
}

/* Whether the client's certificate is of the name that it must be of. */
static bool is_peer(const struct tls_layer *t)
{
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(t->session, &count);
    gnutls_x509_crt_t crt;
    char name[1024];
    size_t len = sizeof(name);
    if (!chain || !count || gnutls_x509_crt_init(&crt) < 0)
        return false;
    bool same = gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) >= 0 && gnutls_x509_crt_get_dn(crt, name, &len) >= 0 &&
                !strcmp(name, t->peer);
    gnutls_x509_crt_deinit(crt);
    return same;
}

/* 0: done. -1 with errno: EAGAIN as long as it goes on. */
static int handshake(struct tls_layer *t)
{
    if (t->ready)
        return 0;
    if (t->error[0])
        return give_up(t, t->error + 5);
    int code = gnutls_handshake(t->session);
    if (code == GNUTLS_E_SUCCESS && t->server && t->x509 && t->peer && !is_peer(t))
        return give_up(t, "the client may not connect: its certificate is of another name");
    if (code == GNUTLS_E_SUCCESS) {
        t->ready = true;
        return 0;
    }
    if (!gnutls_error_is_fatal(code)) {
        errno = EAGAIN;
        return -1;
    }
    gnutls_datum_t why;
    if (code == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR &&
        !gnutls_certificate_verification_status_print(gnutls_session_get_verify_cert_status(t->session),
                                                      gnutls_certificate_type_get(t->session), &why, 0)) {
        give_up(t, (const char *)why.data);
        gnutls_free(why.data);
        return -1;
    }
    return give_up(t, gnutls_strerror(code));
}

static struct tls_layer *of(struct stream_layer *l)
{
    return container_of(l, struct tls_layer, layer);
}

/* What gnutls returned as recv() and send() would have it. */
static ssize_t as_call(struct tls_layer *t, ssize_t n)
{
    if (n >= 0)
        return n;
    if (n == GNUTLS_E_PREMATURE_TERMINATION)
        return 0;
    if (gnutls_error_is_fatal((int)n))
        return give_up(t, gnutls_strerror((int)n));
    errno = EAGAIN;
    return -1;
}

static ssize_t layer_recv(struct stream_layer *l, void *to, size_t n)
{
    struct tls_layer *t = of(l);
    return handshake(t) ? -1 : as_call(t, gnutls_record_recv(t->session, to, n));
}

static ssize_t layer_send(struct stream_layer *l, const void *from, size_t n)
{
    struct tls_layer *t = of(l);
    return handshake(t) ? -1 : as_call(t, gnutls_record_send(t->session, from, n));
}

static bool layer_pending(struct stream_layer *l)
{
    struct tls_layer *t = of(l);
    return t->ready && gnutls_record_check_pending(t->session);
}

static bool layer_needs_input(struct stream_layer *l)
{
    struct tls_layer *t = of(l);
    return !t->ready && !t->error[0] && gnutls_record_get_direction(t->session) == 0;
}

static const char *layer_error(struct stream_layer *l)
{
    return of(l)->error;
}

static void layer_free(struct stream_layer *l)
{
    struct tls_layer *t = of(l);
    if (t->ready)
        gnutls_bye(t->session, GNUTLS_SHUT_WR);
    gnutls_deinit(t->session);
    free(t->peer);
    free(t);
}

static int set_credentials(gnutls_session_t session, const struct tls_creds *c)
{
    if (c->c.kind == TLS_X509)
        return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, c->x509);
    if (c->c.kind == TLS_PSK)
        return gnutls_credentials_set(session, GNUTLS_CRD_PSK, c->c.server ? (void *)c->psk_server : (void *)c->psk_client);
    return gnutls_credentials_set(session, GNUTLS_CRD_ANON, c->c.server ? (void *)c->anon_server : (void *)c->anon_client);
}

static struct stream_layer *layer_new(int fd, const struct tls_creds *c, const char *peer, struct err *e)
{
    struct tls_layer *t = xcalloc(1, sizeof(*t));
    t->layer = (struct stream_layer){.recv = layer_recv, .send = layer_send, .pending = layer_pending,
                                     .needs_input = layer_needs_input, .error = layer_error, .free = layer_free};
    t->peer = peer ? xstrdup(peer) : NULL;
    t->server = c->c.server;
    t->x509 = c->c.kind == TLS_X509;
    int code = gnutls_init(&t->session, (c->c.server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    if (code >= 0)
        code = gnutls_priority_set_direct(t->session, c->priority, NULL);
    if (code >= 0)
        code = set_credentials(t->session, c);
    if (!failed(code, "TLS", e)) {
        if (t->session)
            gnutls_deinit(t->session);
        free(t->peer);
        free(t);
        return NULL;
    }
    if (c->c.kind == TLS_X509 && c->c.server && c->c.verify)
        gnutls_certificate_server_set_request(t->session, GNUTLS_CERT_REQUIRE);
    if (c->c.kind == TLS_X509 && (c->c.verify || !c->c.server))
        gnutls_session_set_verify_cert(t->session, c->c.server ? NULL : t->peer, 0);
    if (peer && !c->c.server && c->c.kind == TLS_X509)
        gnutls_server_name_set(t->session, GNUTLS_NAME_DNS, peer, strlen(peer));
    gnutls_transport_set_int(t->session, fd);
    return &t->layer;
}

const struct tls_ops lyre_tls_ops = {.creds_new = creds_new, .creds_free = creds_free, .layer_new = layer_new};
