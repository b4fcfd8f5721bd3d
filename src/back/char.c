/* A back end is a descriptor to read from and one to write to, each perhaps absent. Bytes to be written wait
 * in a queue, which any thread fills and the loop empties; bytes that come are read when somebody has room. */
#include "back/char.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "back/char_host.h"
#include "back/char_telnet.h"
#include "base/log.h"
#include "base/mem.h"
#include "event/stream.h"

enum {
    BUSY = 4096,             /* bytes that wait, from which on the user should */
    QUEUE_MAX = 1 << 20,     /* from where on they are lost */
    CHUNK = 4096,            /* what a pipe that can be written to takes without waiting */
    DRAIN_MS = 2000,         /* how long the end waits for a reader */
    CTRL_A = 1,
};

struct chardev {
    struct loop *loop;
    struct char_host host;
    struct loop_fd in, out, listen;
    bool in_watched, out_watched, in_asks; /* in_asks: a file, which is always ready */
    u32 in_events;
    struct loop_task task; /* posted by other threads */
    struct loop_timer again; /* a connection that is gone is tried again */
    struct socket_attempt *attempt; /* NULL: none is under way */
    bool complained;         /* of one that failed, and none has succeeded since */
    bool freed;              /* as soon as its task has run */
    struct telnet telnet;
    int log; /* a file; -1: none */

    pthread_mutex_t lock; /* for what follows */
    u8 *queue;
    size_t head, len, cap; /* bytes [head, head + len) of it wait */
    bool posted, lost;

    struct char_user *users, *focus;
    bool mux, escape, started;
    char *id;
    const struct char_opts *opts; /* the caller's */
    void (*quit)(void *opaque);
    void *opaque;
};

/* ---- out ---- */

static void post(struct chardev *c)
{
    if (c->posted)
        return;
    c->posted = true;
    loop_post(c->loop, &c->task);
}

/* Under the lock. */
static void enqueue(struct chardev *c, const void *data, size_t len)
{
    if (c->len + len > QUEUE_MAX) {
        if (!c->lost)
            log_warn("chardev %s: nobody reads; output is lost\n", c->id);
        c->lost = true;
        return;
    }
    if (c->head + c->len + len > c->cap) {
        if (c->head)
            memmove(c->queue, c->queue + c->head, c->len);
        c->head = 0;
        if (c->len + len > c->cap) {
            c->cap = MAX(2 * c->cap, ALIGN_UP(c->len + len, CHUNK));
            c->queue = xrealloc(c->queue, c->cap);
        }
    }
    memcpy(c->queue + c->head + c->len, data, len);
    c->len += len;
}

/* With the byte that telnet begins commands with twice. */
static void enqueue_telnet(struct chardev *c, const u8 *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        enqueue(c, data + i, 1);
        if (data[i] == TELNET_IAC)
            enqueue(c, data + i, 1);
    }
}

/* A log that takes no more is not the guest's concern. */
static void write_log(struct chardev *c, const u8 *data, size_t len)
{
    ssize_t n = 1;
    while (c->log >= 0 && len && n > 0) {
        n = write(c->log, data, len);
        data += MAX(n, 0);
        len -= (size_t)MAX(n, 0);
    }
}

void char_write(struct chardev *c, const void *data, size_t len)
{
    pthread_mutex_lock(&c->lock);
    write_log(c, data, len);
    if (c->host.out >= 0) {
        if (c->opts->telnet)
            enqueue_telnet(c, data, len);
        else
            enqueue(c, data, len);
        post(c);
    }
    pthread_mutex_unlock(&c->lock);
}

bool char_busy(struct chardev *c)
{
    pthread_mutex_lock(&c->lock);
    bool busy = c->len >= BUSY;
    pthread_mutex_unlock(&c->lock);
    return busy;
}

void char_accept(struct chardev *c)
{
    pthread_mutex_lock(&c->lock);
    post(c);
    pthread_mutex_unlock(&c->lock);
}

/* Write what goes without waiting; under the lock. False: the other side is gone. */
static bool flush(struct chardev *c, int timeout)
{
    while (c->len && c->host.out >= 0) {
        struct pollfd p = {c->host.out, POLLOUT, 0};
        if (poll(&p, 1, timeout) <= 0)
            return true;
        ssize_t n = write(c->host.out, c->queue + c->head, MIN(c->len, (size_t)CHUNK));
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        if (n > 0) {
            c->head += (size_t)n;
            c->len -= (size_t)n;
        }
    }
    if (!c->len)
        c->head = 0;
    return true;
}

static void hang_up(struct chardev *c);

static void watch_out(struct chardev *c, bool on)
{
    if (c->host.kind == CHAR_SOCKET || on == c->out_watched)
        return; /* a socket's one descriptor is watched for both */
    c->out.fd = c->host.out;
    if (on && !loop_fd_add(c->loop, &c->out, EPOLLOUT, NULL))
        return; /* a file is always ready, and this never asked for */
    if (!on)
        loop_fd_remove(c->loop, &c->out);
    c->out_watched = on;
}

static void tell(struct chardev *c, enum char_event event)
{
    for (struct char_user *u = c->users; u; u = u->next) {
        if (u->event)
            u->event(u->opaque, event);
    }
}

/* There is somebody to speak to now. */
static void opened(struct chardev *c)
{
    int on = 1;
    if (c->opts->nodelay) /* without effect on sockets of other kinds */
        setsockopt(c->host.in, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (c->opts->telnet) {
        c->telnet = (struct telnet){0};
        pthread_mutex_lock(&c->lock);
        enqueue(c, telnet_greeting, sizeof(telnet_greeting));
        post(c);
        pthread_mutex_unlock(&c->lock);
    }
    tell(c, CHAR_OPENED);
}

/* ---- in ---- */

static size_t room(const struct chardev *c)
{
    const struct char_user *u = c->focus;
    return u && u->room ? u->room(u->opaque) : 0;
}

static void send_to_focus(struct chardev *c, const u8 *data, size_t len)
{
    if (c->focus && len)
        c->focus->receive(c->focus->opaque, data, len);
}

static const char mux_help[] = "\r\nC-a h    print this help\r\n"
                               "C-a x    exit emulator\r\n"
                               "C-a b    send break (magic sysrq)\r\n"
                               "C-a c    switch between console and monitor\r\n"
                               "C-a C-a  sends C-a\r\n";

static void mux_command(struct chardev *c, u8 key)
{
    if (key == CTRL_A) {
        send_to_focus(c, &key, 1);
    } else if (key == 'x') {
        c->quit(c->opaque);
    } else if (key == 'b' && c->focus && c->focus->event) {
        c->focus->event(c->focus->opaque, CHAR_BREAK);
    } else if (key == 'c' && c->focus) {
        c->focus = c->focus->next ? c->focus->next : c->users;
        if (c->focus->event)
            c->focus->event(c->focus->opaque, CHAR_FOCUSED);
    } else if (key == 'h' || key == '?') {
        char_write(c, mux_help, sizeof(mux_help) - 1);
    }
}

static void received(struct chardev *c, const u8 *data, size_t len)
{
    if (!c->mux) {
        send_to_focus(c, data, len);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if (c->escape) {
            c->escape = false;
            mux_command(c, data[i]);
        } else if (data[i] == CTRL_A) {
            c->escape = true;
        } else {
            send_to_focus(c, data + i, 1);
        }
    }
}

/* Read once; false: there is nothing more to come now, or the other side is gone. */
static bool read_some(struct chardev *c)
{
    u8 data[CHUNK];
    size_t most = MIN(room(c), sizeof(data));
    if (!most)
        return false;
    ssize_t n = read(c->host.in, data, most);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        hang_up(c);
        return false;
    }
    if (c->opts->telnet)
        n = (ssize_t)telnet_filter(&c->telnet, data, (size_t)n);
    if (c->telnet.broken && c->focus && c->focus->event)
        c->focus->event(c->focus->opaque, CHAR_BREAK);
    c->telnet.broken = false;
    received(c, data, (size_t)n);
    return true;
}

/* Ask for what can be dealt with. `waits`: there are bytes that could not be written yet. */
static void watch_in(struct chardev *c, bool waits)
{
    if (!c->started || c->host.in < 0)
        return;
    u32 events = room(c) ? EPOLLIN : 0;
    if (c->host.kind == CHAR_SOCKET && waits)
        events |= EPOLLOUT;
    if (c->in_asks) {
        while (read_some(c)) {
        }
    } else if (!c->in_watched) {
        c->in.fd = c->host.in;
        c->in_events = events;
        c->in_watched = loop_fd_add(c->loop, &c->in, events, NULL);
        c->in_asks = !c->in_watched;
        if (c->in_asks)
            char_accept(c);
    } else if (events != c->in_events) {
        c->in_events = events;
        loop_fd_change(c->loop, &c->in, events);
    }
}

/* ---- both ---- */

static void try_again(struct chardev *c)
{
    if (c->opts->reconnect && c->host.in < 0)
        loop_timer_set(c->loop, &c->again, loop_now() + c->opts->reconnect * 1000000000ull);
}

/* The other side of a connection is gone; a server waits for the next. */
static void hang_up(struct chardev *c)
{
    if (c->in_watched)
        loop_fd_remove(c->loop, &c->in);
    c->in_watched = false;
    watch_out(c, false);
    pthread_mutex_lock(&c->lock);
    char_host_close(&c->host, c->host.kind != CHAR_STDIO);
    if (c->host.out < 0)
        c->len = c->head = 0;
    else if (c->len) /* the input alone has ended: who spoke last is answered */
        post(c);
    pthread_mutex_unlock(&c->lock);
    tell(c, CHAR_CLOSED);
    try_again(c);
}

/* Write and read what goes. */
static void turn(struct chardev *c)
{
    pthread_mutex_lock(&c->lock);
    bool was_busy = c->len >= BUSY;
    bool gone = !flush(c, 0);
    bool busy = c->len >= BUSY, waits = c->len;
    pthread_mutex_unlock(&c->lock);
    if (gone) {
        hang_up(c);
        return;
    }
    watch_out(c, waits);
    watch_in(c, waits);
    for (struct char_user *u = c->users; u && was_busy && !busy; u = u->next) {
        if (u->drained)
            u->drained(u->opaque);
    }
}

static void destroy(struct chardev *c)
{
    pthread_mutex_destroy(&c->lock);
    free(c->queue);
    free(c->id);
    free(c);
}

static void run(struct loop_task *t)
{
    struct chardev *c = container_of(t, struct chardev, task);
    pthread_mutex_lock(&c->lock);
    c->posted = false; /* here alone: a task must not be posted again while it waits */
    pthread_mutex_unlock(&c->lock);
    if (c->freed)
        destroy(c);
    else
        turn(c);
}

static void in_ready(struct loop_fd *f, u32 events)
{
    struct chardev *c = container_of(f, struct chardev, in);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_some(c);
    if (c->host.in >= 0)
        turn(c);
}

static void out_ready(struct loop_fd *f, u32 events)
{
    turn(container_of(f, struct chardev, out));
}

/* Somebody is there, at this descriptor. */
static void connected(struct chardev *c, int fd)
{
    pthread_mutex_lock(&c->lock);
    c->host.in = c->host.out = fd;
    pthread_mutex_unlock(&c->lock);
    opened(c);
    watch_in(c, false);
}

static void attempted(void *opaque, int fd, const struct err *e)
{
    struct chardev *c = opaque;
    c->attempt = NULL;
    if (fd < 0) {
        if (!c->complained)
            log_warn("Unable to connect character device %s: %s\n", c->id, e->text);
        c->complained = true;
        try_again(c);
        return;
    }
    c->complained = false;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    connected(c, fd);
}

/* A host that does not answer must not keep the loop. */
static void attempt(struct chardev *c)
{
    c->attempt = socket_connect_later(c->loop, c->opts->path, attempted, c);
}

static void connect_again(struct loop_timer *t)
{
    attempt(container_of(t, struct chardev, again));
}

static void accept_ready(struct loop_fd *f, u32 events)
{
    struct chardev *c = container_of(f, struct chardev, listen);
    int fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (c->host.in >= 0) { /* one at a time */
        close(fd);
        return;
    }
    connected(c, fd);
}

/* False: there is no such file. */
static bool open_log(const struct char_opts *o, int *fd, struct err *e)
{
    *fd = -1;
    if (!o->log)
        return true;
    *fd = open(o->log, O_WRONLY | O_CREAT | O_CLOEXEC | (o->log_append ? O_APPEND : O_TRUNC), 0666);
    return *fd >= 0 || err_set(e, errno, "Unable to open logfile %s: %s", o->log, strerror(errno));
}

/* What an end is: a file, a terminal, a socket. */
struct end {
    struct char_host host;
    int log;
};

static bool open_end(struct end *end, const struct char_opts *o, struct err *e)
{
    if (!open_log(o, &end->log, e))
        return false;
    if (char_host_open(&end->host, o, e))
        return true;
    if (end->log >= 0)
        close(end->log);
    return false;
}

static void take_end(struct chardev *c, const struct end *end, const struct char_opts *o)
{
    c->host = end->host;
    c->log = end->log;
    c->opts = o;
    c->listen = (struct loop_fd){end->host.listen, accept_ready};
}

/* What is left is written if there is a reader within so many milliseconds, and nothing comes any more. */
static void leave_end(struct chardev *c, int drain_ms)
{
    if (c->in_watched)
        loop_fd_remove(c->loop, &c->in);
    c->in_watched = c->in_asks = false;
    watch_out(c, false);
    if (c->started && c->host.listen >= 0)
        loop_fd_remove(c->loop, &c->listen);
    flush(c, drain_ms);
    loop_timer_cancel(c->loop, &c->again);
    socket_give_up(c->attempt);
    c->attempt = NULL;
    char_host_end(&c->host);
    if (c->log >= 0)
        close(c->log);
}

struct chardev *char_new(struct loop *l, const struct char_opts *o, void (*quit)(void *opaque), void *opaque,
                         struct err *e)
{
    struct end end;
    if (!open_end(&end, o, e))
        return NULL;
    struct chardev *c = xcalloc(1, sizeof(*c));
    c->loop = l;
    take_end(c, &end, o);
    c->task.run = run;
    c->again.fire = connect_again;
    c->in.ready = in_ready;
    c->out.ready = out_ready;
    c->mux = o->mux;
    c->id = xstrdup(o->id ? o->id : "serial");
    c->quit = quit;
    c->opaque = opaque;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static bool is_open(const struct chardev *c)
{
    return c->host.in >= 0 || c->host.out >= 0;
}

bool char_change(struct chardev *c, const struct char_opts *o, struct err *e)
{
    struct end end;
    if (c->mux || o->mux)
        return err_set(e, EBUSY, "Mux device hotswap not supported yet");
    if (!open_end(&end, o, e))
        return false;
    bool was_open = is_open(c);
    if (c->host.unlink && end.host.unlink && !strcmp(c->host.unlink, end.host.unlink)) {
        free(c->host.unlink); /* the file is the new one's */
        c->host.unlink = NULL;
    }
    pthread_mutex_lock(&c->lock); /* other threads write */
    leave_end(c, 0);
    take_end(c, &end, o);
    c->head = c->len = 0;
    pthread_mutex_unlock(&c->lock);
    c->complained = false;
    if (was_open)
        tell(c, CHAR_CLOSED);
    if (c->started)
        char_start(c);
    return true;
}

void char_free(struct chardev *c)
{
    if (!c)
        return;
    leave_end(c, DRAIN_MS);
    c->freed = true;
    if (!c->posted)
        destroy(c);
}

const char *char_id(const struct chardev *c)
{
    return c->id;
}

bool char_is_attached(const struct chardev *c)
{
    return c->users;
}

void char_break(struct chardev *c)
{
    tell(c, CHAR_BREAK);
}

bool char_is_used(const struct chardev *c)
{
    return c->users && (c->opts->kind == CHAR_NULL || is_open(c));
}

static char *describe_socket(const struct chardev *c)
{
    const struct char_opts *o = c->opts;
    bool local = !strncmp(o->path, "unix:", 5), open = is_open(c);
    if (local && open && !o->server)
        return xstrdup("unix:"); /* the peer's end has no name */
    return xprintf("%s%s%s%s", open ? "" : "disconnected:", local ? "" : o->telnet ? "telnet:" : "tcp:", o->path, o->server ? ",server=on" : "");
}

char *char_pty(const struct chardev *c)
{
    char name[64];
    return c->opts->kind == CHAR_PTY && !ptsname_r(c->host.in, name, sizeof(name)) ? xstrdup(name) : NULL;
}

char *char_describe(const struct chardev *c)
{
    if (c->mux)
        return xstrdup("mux");
    char *pty = char_pty(c), *text = pty ? xprintf("pty:%s", pty) : NULL;
    free(pty);
    if (text)
        return text;
    return c->opts->kind == CHAR_SOCKET ? describe_socket(c) : xstrdup(char_kind_name(c->opts->kind));
}

bool char_attach(struct chardev *c, struct char_user *u)
{
    if (c->users && !c->mux)
        return false;
    struct char_user **last = &c->users;
    while (*last)
        last = &(*last)->next;
    *last = u;
    u->next = NULL;
    if (!c->focus)
        c->focus = u;
    if (c->started) /* there is room now */
        char_accept(c);
    return true;
}

void char_detach(struct chardev *c, struct char_user *u)
{
    struct char_user **at = &c->users;
    while (*at && *at != u)
        at = &(*at)->next;
    if (*at)
        *at = u->next;
    if (c->focus == u)
        c->focus = c->users;
}

bool char_is_shared(const struct chardev *c)
{
    return c->mux;
}

void char_start(struct chardev *c)
{
    c->started = true;
    if (c->host.listen >= 0)
        loop_fd_add(c->loop, &c->listen, EPOLLIN, NULL);
    if (is_open(c))
        opened(c);
    else if (c->opts->reconnect)
        attempt(c);
    watch_in(c, false);
}
