/* Character back ends: where the bytes of a serial line, a console or a monitor come from and go to. */
#ifndef LYRE_BACK_CHAR_H
#define LYRE_BACK_CHAR_H

#include "base/err.h"
#include "data/json.h"
#include "event/loop.h"

struct chardev;

enum char_event { CHAR_OPENED, CHAR_CLOSED, CHAR_BREAK, CHAR_FOCUSED /* a mux: what comes is for this user now */ };

/* Who uses a back end: a device, a monitor. Called on the loop's thread; members may be NULL. */
struct char_user {
    size_t (*room)(void *opaque); /* bytes that it takes now; NULL: none, ever */
    void (*receive)(void *opaque, const u8 *data, size_t len); /* at most as much */
    void (*drained)(void *opaque); /* char_busy() does not hold any more */
    void (*event)(void *opaque, enum char_event event);
    void *opaque;
    struct char_user *next; /* the back end's */
};

enum char_kind { CHAR_NULL, CHAR_STDIO, CHAR_FILE, CHAR_PIPE, CHAR_PTY, CHAR_SOCKET };

/* Strings belong to whoever filled this in (char_opts_free()). */
struct char_opts {
    enum char_kind kind;
    char *id;
    char *path;       /* file, pipe; a socket: as socket_listen() takes it */
    bool append;      /* file */
    bool server, wait; /* socket */
    bool nodelay;     /* socket: small pieces go out at once */
    bool telnet;      /* socket: its commands are answered and taken out (RFC 854) */
    u32 reconnect;    /* socket, no server: seconds until it is tried again; 0: never */
    char *log;        /* a file that gets what is written, too; NULL: none */
    bool log_append;  /* at its end */
    bool mux;         /* several users, of which Ctrl-a c chooses one; Ctrl-a x quits */
    bool signal;      /* stdio: the terminal's keys for signals stay what they are */
};

/* "null", "stdio", "mon:stdio", "file:PATH", "pipe:PATH", "pty", "unix:PATH,server=on,wait=off", "tcp:HOST:PORT,...",
 * "telnet:HOST:PORT,...": what -serial takes; and "socket,id=ID,path=PATH,...": what -chardev takes. */
bool char_opts_serial(struct char_opts *o, const char *text, struct err *e);
bool char_opts_chardev(struct char_opts *o, const char *text, struct err *e);
/* A ChardevBackend of QMP whose form has been checked: {"type": "socket", "data": {"addr": ...}}. */
bool char_opts_json(struct char_opts *o, const char *id, const struct json *backend, struct err *e);
void char_opts_free(struct char_opts *o);

/* NULL on failure. `quit` is called on the loop's thread when the user of a mux asks for the end. */
struct chardev *char_new(struct loop *l, const struct char_opts *o, void (*quit)(void *opaque), void *opaque,
                         struct err *e);
/* Another end in the place of the one that it has, for the same users; `o` stays the caller's, and stays. False: nothing has
 * changed. On the loop's thread. */
bool char_change(struct chardev *c, const struct char_opts *o, struct err *e);
/* Writes what is left, and gives the terminal back. No user may be left that calls it. NULL is allowed. */
void char_free(struct chardev *c);

const char *char_id(const struct chardev *c);
/* What it is connected to, as monitors show it: "pty:/dev/pts/3", "unix:/run/x,server=on". The caller frees it. */
char *char_describe(const struct chardev *c);
bool char_is_used(const struct chardev *c); /* somebody is attached, and connected */
bool char_is_attached(const struct chardev *c);
/* The path of a pty, which the caller frees; NULL: it is none. */
char *char_pty(const struct chardev *c);
/* As if a break had come. */
void char_break(struct chardev *c);
/* The kinds: their names, by number; NULL behind the last. */
const char *char_kind_name(unsigned kind);

/* False: it has a user, and is no mux. */
bool char_attach(struct chardev *c, struct char_user *u);

/* The user is not called any more. */
void char_detach(struct chardev *c, struct char_user *u);

bool char_is_shared(const struct chardev *c); /* it is a mux */

/* Begin to receive: once, when those that are attached are ready. */
void char_start(struct chardev *c);

/* From any thread. Bytes are kept until they can be written, but not without end: while char_busy() a user
 * that knows how to wait does. */
void char_write(struct chardev *c, const void *data, size_t len);
bool char_busy(struct chardev *c);
/* room() has become larger. From any thread. */
void char_accept(struct chardev *c);

#endif
