#include "event/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

struct stream {
    struct loop *loop;
    struct loop_fd watch;
    struct loop_task task; /* to go on with what is there already */
    struct stream_layer *layer;
    void *opaque;
    void (*closed)(void *opaque, int error);
    void (*drained)(void *opaque);
    void (*got)(void *opaque, const u8 *data, size_t n);
    size_t need;
    u8 *in, *out;
    size_t in_start, in_end, in_size, out_start, out_end, out_size;
    u32 events;
    int error;
    bool task_set, running, freed, over, told;
};

enum { READ_AT_LEAST = 64 << 10 };

static void end(struct stream *s, int error)
{
    if (s->over)
        return;
    s->over = true;
    s->error = error;
    loop_fd_remove(s->loop, &s->watch);
}

static void destroy(struct stream *s)
{
    free(s->in);
    free(s->out);
    free(s);
}

static bool wants_input(const struct stream *s)
{
    return s->got && s->in_end - s->in_start < s->need;
}

/* Hand over what is there, as long as somebody asks for it. */
static void deliver(struct stream *s)
{
    while (!s->freed && s->got && !wants_input(s)) {
        void (*got)(void *, const u8 *, size_t) = s->got;
        const u8 *data = s->in + s->in_start;
        s->got = NULL;
        s->in_start += s->need;
        got(s->opaque, data, s->need);
    }
    if (s->in_start == s->in_end)
        s->in_start = s->in_end = 0;
}

static void make_room(struct stream *s)
{
    size_t there = s->in_end - s->in_start, room = MAX(s->need, there) + READ_AT_LEAST;
    if (s->in_size - s->in_start >= room)
        return;
    if (s->in_start)
        memmove(s->in, s->in + s->in_start, there);
    s->in_start = 0;
    s->in_end = there;
    if (s->in_size < room) {
        s->in_size = room;
        s->in = xrealloc(s->in, room);
    }
}

static void receive(struct stream *s)
{
    make_room(s);
    u8 *to = s->in + s->in_end;
    size_t room = s->in_size - s->in_end;
    ssize_t n = s->layer ? s->layer->recv(s->layer, to, room) : recv(s->watch.fd, to, room, 0);
    if (n > 0)
        s->in_end += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        end(s, n ? errno : 0);
}

static void transmit(struct stream *s)
{
    bool any = s->out_start < s->out_end;
    while (s->out_start < s->out_end && !s->over) {
        const u8 *from = s->out + s->out_start;
        size_t len = s->out_end - s->out_start;
        ssize_t n = s->layer ? s->layer->send(s->layer, from, len) : send(s->watch.fd, from, len, MSG_NOSIGNAL);
        if (n > 0)
            s->out_start += (size_t)n;
        else if (n < 0 && errno == EAGAIN)
            return;
        else if (n == 0 || errno != EINTR)
            end(s, n ? errno : EPIPE);
    }
    s->out_start = s->out_end = 0;
    if (any && s->drained && !s->freed)
        s->drained(s->opaque);
}

static void update_events(struct stream *s)
{
    bool queued = s->out_start < s->out_end, blocked = queued && s->layer && s->layer->needs_input(s->layer);
    u32 events = (wants_input(s) || blocked ? EPOLLIN : 0) | (queued && !blocked ? EPOLLOUT : 0);
    if (!s->over && events != s->events)
        loop_fd_change(s->loop, &s->watch, events);
    s->events = events;
}

static void look_later(struct stream *s);

/* All that a stream does is done here, and it ends here. */
static void run(struct stream *s, u32 events)
{
    s->running = true;
    bool hung_up = events & (EPOLLHUP | EPOLLERR);
    if (!s->over)
        transmit(s);
    if (!s->over && !s->freed && ((events & EPOLLIN) || hung_up)) {
        if (wants_input(s))
            receive(s);
        else if (hung_up)
            end(s, 0);
    }
    if (!s->freed)
        deliver(s);
    while (!s->freed && !s->over && s->layer && wants_input(s) && s->layer->pending(s->layer)) {
        receive(s);
        deliver(s);
    }
    if (s->over && !s->told && !s->freed) {
        s->told = true;
        if (s->closed)
            s->closed(s->opaque, s->error);
    }
    s->running = false;
    if (!s->freed) {
        update_events(s);
        if (s->over && !s->told)
            look_later(s);
    } else if (!s->task_set) {
        destroy(s);
    }
}

static void ready(struct loop_fd *f, u32 events)
{
    run(container_of(f, struct stream, watch), events);
}

static void later(struct loop_task *t)
{
    struct stream *s = container_of(t, struct stream, task);
    s->task_set = false;
    if (s->freed)
        destroy(s);
    else
        run(s, 0);
}

static void look_later(struct stream *s)
{
    if (s->task_set)
        return;
    s->task_set = true;
    s->task.run = later;
    loop_defer(s->loop, &s->task);
}

struct stream *stream_new(struct loop *l, int fd, void *opaque, struct err *e)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* fails on others than TCP: no harm */
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    struct stream *s = xcalloc(1, sizeof(*s));
    s->loop = l;
    s->opaque = opaque;
    s->watch = (struct loop_fd){.fd = fd, .ready = ready};
    if (!loop_fd_add(l, &s->watch, 0, e)) {
        close(fd);
        free(s);
        return NULL;
    }
    return s;
}

void stream_free(struct stream *s)
{
    if (!s || s->freed)
        return;
    s->drained = NULL;
    if (!s->over)
        transmit(s);
    end(s, 0);
    if (s->layer)
        s->layer->free(s->layer);
    close(s->watch.fd);
    s->freed = true;
    if (!s->running)
        look_later(s);
}

void stream_on_close(struct stream *s, void (*closed)(void *opaque, int error))
{
    s->closed = closed;
}

void stream_on_drain(struct stream *s, void (*drained)(void *opaque))
{
    s->drained = drained;
}

void stream_read(struct stream *s, size_t n, void (*got)(void *opaque, const u8 *data, size_t n))
{
    s->need = n;
    s->got = got;
    if (!s->running)
        look_later(s);
}

void stream_write(struct stream *s, const void *data, size_t len)
{
    if (s->over || !len)
        return;
    if (s->out_size < s->out_end + len) {
        s->out_size = (s->out_end + len) * 2;
        s->out = xrealloc(s->out, s->out_size);
    }
    memcpy(s->out + s->out_end, data, len);
    s->out_end += len;
    look_later(s); /* what is written together goes out together */
}

size_t stream_queued(const struct stream *s)
{
    return s->out_end - s->out_start;
}

void stream_set_layer(struct stream *s, struct stream_layer *layer)
{
    transmit(s);
    if (s->in_start != s->in_end || s->out_start != s->out_end)
        end(s, EPROTO); /* bytes in front of the layer that would seem to have come through it */
    s->layer = layer;
    look_later(s); /* it may have bytes already */
}

const char *stream_error(const struct stream *s)
{
    return s->layer ? s->layer->error(s->layer) : "";
}

int stream_fd(const struct stream *s)
{
    return s->watch.fd;
}

void stream_detach(struct stream *s)
{
    while (s->task_set)
        loop_turn(s->loop, false);
    if (!s->over)
        loop_fd_remove(s->loop, &s->watch);
    s->events = 0;
}

bool stream_attach(struct stream *s, struct loop *l, void *opaque, struct err *e)
{
    s->loop = l;
    s->opaque = opaque;
    if (!s->over && !loop_fd_add(l, &s->watch, 0, e)) {
        s->over = true;
        return false;
    }
    return true;
}
