/* A connected socket on a loop: exact numbers of bytes in, any bytes out, neither waits. A stream may be
 * freed by any of its own callbacks. */
#ifndef LYRE_EVENT_STREAM_H
#define LYRE_EVENT_STREAM_H

#include <sys/types.h>

#include "event/loop.h"

struct stream;

/* Takes the socket over, also when it fails. */
struct stream *stream_new(struct loop *l, int fd, void *opaque, struct err *e);
/* Send what goes out at once, close the socket, forget the rest. NULL is allowed. */
void stream_free(struct stream *s);

/* `closed` is called once, after all that was asked for and has come is handed over: the other side has
 * closed (error 0), or something failed. `drained` is called when nothing waits to be sent any more. */
void stream_on_close(struct stream *s, void (*closed)(void *opaque, int error));
void stream_on_drain(struct stream *s, void (*drained)(void *opaque));

/* Call `got` with the next `n` bytes; they are its to read until it returns. One at a time: `got` asks
 * for what comes next. As long as nobody asks, nothing is received. */
void stream_read(struct stream *s, size_t n, void (*got)(void *opaque, const u8 *data, size_t n));

/* Send a copy. */
void stream_write(struct stream *s, const void *data, size_t len);
/* Bytes that wait to be sent. */
size_t stream_queued(const struct stream *s);

/* What lies between a stream and its socket (TLS). Both return bytes, 0 at the end, -1 with errno as
 * recv() and send() do. `free` ends it; the stream calls it before the socket is closed. */
struct stream_layer {
    ssize_t (*recv)(struct stream_layer *l, void *to, size_t n);
    ssize_t (*send)(struct stream_layer *l, const void *from, size_t n);
    bool (*pending)(struct stream_layer *l); /* bytes that recv() has without asking the socket */
    bool (*needs_input)(struct stream_layer *l); /* send() goes on when something has come */
    const char *(*error)(struct stream_layer *l); /* what went wrong, "" if nothing did */
    void (*free)(struct stream_layer *l);
};
/* From now on; the stream owns the layer. Nothing may wait to be sent or delivered. */
void stream_set_layer(struct stream *s, struct stream_layer *layer);
/* For people: why the layer has ended the stream; "" if it has not. */
const char *stream_error(const struct stream *s);
int stream_fd(const struct stream *s);

/* A stream goes from one loop to another, which may be another thread's: it leaves the one, and joins the other.
 * Outside of its callbacks; nothing may wait to be sent. It is still to be freed if it cannot join. */
void stream_detach(struct stream *s);
bool stream_attach(struct stream *s, struct loop *l, void *opaque, struct err *e);

/* "unix:PATH" or "HOST:PORT" (an IPv6 host in brackets) as a connected or a listening socket, or "fd:NUMBER",
 * which is one already; -1 on failure. A unix socket's file must not exist. */
int socket_connect(const char *address, struct err *e);
int socket_listen(const char *address, struct err *e);

/* The same as socket_connect() without waiting: `done` is called on the loop with the socket, which is then its own, or with -1 and
 * the error. Until then it can be given up, after which nobody is called. NULL is allowed there. */
struct socket_attempt;
struct socket_attempt *socket_connect_later(struct loop *l, const char *address,
                                            void (*done)(void *opaque, int fd, const struct err *e), void *opaque);
void socket_give_up(struct socket_attempt *a);

#endif
