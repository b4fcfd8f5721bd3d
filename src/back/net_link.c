/* Networks that are a descriptor: a connection to another program (stream), datagrams. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "back/net_impl.h"
#include "base/mem.h"
#include "event/stream.h"

enum { LENGTH = 4, IN_MAX = LENGTH + NET_FRAME_MAX, OUT_MAX = 1 << 20, FRAMES_A_TURN = 64 };

struct link {
    struct netdev net;
    enum net_kind kind;
    struct loop_fd fd, listen; /* -1: none */
    bool waits;                /* for room to write */
    u8 *in, *out;              /* a stream's: what has come of a frame, and what could not be written yet */
    size_t in_len, out_len;
    struct sockaddr_storage remote; /* of datagrams; remote_len 0: nobody */
    socklen_t remote_len;
    char *unlink; /* a socket's file to remove at the end */
};

static void hang_up(struct link *l)
{
    loop_fd_remove(l->net.loop, &l->fd);
    close(l->fd.fd);
    l->fd.fd = -1;
    l->in_len = l->out_len = 0;
    l->waits = false;
}

/* ---- from the card ---- */

static void ask_for_room(struct link *l, bool on)
{
    if (l->waits != on)
        loop_fd_change(l->net.loop, &l->fd, on ? EPOLLIN | EPOLLOUT : EPOLLIN);
    l->waits = on;
}

static void flush(struct link *l)
{
    ssize_t n = l->out_len ? send(l->fd.fd, l->out, l->out_len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (n > 0) {
        l->out_len -= (size_t)n;
        memmove(l->out, l->out + n, l->out_len);
    }
    ask_for_room(l, l->out_len); /* a peer that is gone shows when it is read from */
}

static void link_send(struct netdev *n, const u8 *frame, size_t len)
{
    struct link *l = (struct link *)n;
    if (l->fd.fd < 0)
        return;
    if (l->kind == NET_DGRAM) {
        if (l->remote_len)
            sendto(l->fd.fd, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&l->remote, l->remote_len);
    } else if (l->out_len + LENGTH + len <= OUT_MAX) {
        u32 length = htonl((u32)len);
        memcpy(l->out + l->out_len, &length, LENGTH);
        memcpy(l->out + l->out_len + LENGTH, frame, len);
        l->out_len += LENGTH + len;
        flush(l);
    }
}

/* ---- to the card ---- */

/* Whole frames of what has come. False: it is no such stream. */
static bool take_frames(struct link *l)
{
    size_t at = 0;
    while (l->in_len - at >= LENGTH) {
        u32 length;
        memcpy(&length, l->in + at, LENGTH);
        length = ntohl(length);
        if (length > NET_FRAME_MAX)
            return false;
        if (l->in_len - at - LENGTH < length)
            break;
        netdev_deliver(&l->net, l->in + at + LENGTH, length);
        at += LENGTH + length;
    }
    l->in_len -= at;
    memmove(l->in, l->in + at, l->in_len);
    return true;
}

static void read_stream(struct link *l)
{
    ssize_t n = recv(l->fd.fd, l->in + l->in_len, IN_MAX - l->in_len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        l->in_len += (size_t)n;
    if (n <= 0 || !take_frames(l))
        hang_up(l);
}

static void link_ready(struct loop_fd *f, u32 events)
{
    struct link *l = container_of(f, struct link, fd);
    if (l->kind == NET_STREAM) {
        if (events & EPOLLOUT)
            flush(l);
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            read_stream(l);
        return;
    }
    for (unsigned i = 0; i < FRAMES_A_TURN; i++) {
        ssize_t n = read(f->fd, l->in, IN_MAX);
        if (n <= 0)
            return;
        netdev_deliver(&l->net, l->in, (size_t)n);
    }
}

/* ---- making them ---- */

/* "unix:PATH" or "ADDRESS:PORT" of IPv4. */
static socklen_t datagram_address(const char *text, struct sockaddr_storage *to, struct err *e)
{
    struct sockaddr_un *un = (struct sockaddr_un *)to;
    struct sockaddr_in *in = (struct sockaddr_in *)to;
    memset(to, 0, sizeof(*to));
    if (!strncmp(text, "unix:", 5) && strlen(text + 5) < sizeof(un->sun_path)) {
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, text + 5, strlen(text + 5));
        return sizeof(*un);
    }
    char *host = xstrdup(text), *colon = strrchr(host, ':');
    unsigned long port = colon ? strtoul(colon + 1, NULL, 10) : 0;
    if (colon)
        *colon = 0;
    in->sin_family = AF_INET;
    in->sin_port = htons((u16)port);
    bool good = port && port <= 65535 && inet_pton(AF_INET, host, &in->sin_addr) == 1;
    free(host);
    return good ? sizeof(*in) : (err_set(e, EINVAL, "'%s' is no address of datagrams", text), 0);
}

/* All that send to the group's address hear each other, also on this host. `local`: the address of the interface; NULL: any. */
static bool join_group(int fd, const struct sockaddr_in *group, const char *local, struct err *e)
{
    struct ip_mreq m = {.imr_multiaddr = group->sin_addr};
    int on = 1;
    if (local && inet_pton(AF_INET, local, &m.imr_interface) != 1)
        return err_set(e, EINVAL, "'%s' is no address of an interface", local);
    return (!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) &&
            !setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)) &&
            (!local || !setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m.imr_interface, sizeof(m.imr_interface)))) ||
           err_set(e, errno, "cannot join the group: %s", strerror(errno));
}

static bool is_group(const struct sockaddr_storage *a)
{
    return a->ss_family == AF_INET && IN_MULTICAST(ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr));
}

static bool open_dgram(struct link *l, const struct net_opts *o, struct err *e)
{
    struct sockaddr_storage local;
    l->remote_len = o->remote ? datagram_address(o->remote, &l->remote, e) : 0;
    if (o->remote && !l->remote_len)
        return false;
    bool group = l->remote_len && is_group(&l->remote);
    if (!group && !o->local)
        return err_set(e, EINVAL, "dgram: local= is missing");
    socklen_t len = group ? l->remote_len : datagram_address(o->local, &local, e);
    if (!len)
        return false;
    if (group)
        local = l->remote;
    if (local.ss_family == AF_UNIX) {
        unlink(o->local + 5); /* what an earlier run has left */
        l->unlink = xstrdup(o->local + 5);
    }
    l->fd.fd = socket(local.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (l->fd.fd >= 0 && group && !join_group(l->fd.fd, (const struct sockaddr_in *)&l->remote, o->local, e))
        return false;
    return (l->fd.fd >= 0 && !bind(l->fd.fd, (struct sockaddr *)&local, len)) ||
           err_set(e, errno, "cannot bind %s: %s", group ? o->remote : o->local, strerror(errno));
}

static bool start(struct link *l, struct err *e)
{
    fcntl(l->fd.fd, F_SETFL, fcntl(l->fd.fd, F_GETFL) | O_NONBLOCK);
    return loop_fd_add(l->net.loop, &l->fd, EPOLLIN, e);
}

/* One at a time; the next comes when it has gone. */
static void connected(struct loop_fd *f, u32 events)
{
    struct link *l = container_of(f, struct link, listen);
    int fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0 && l->fd.fd >= 0) {
        close(fd);
    } else if (fd >= 0) {
        l->fd.fd = fd;
        if (!start(l, NULL)) {
            close(fd);
            l->fd.fd = -1;
        }
    }
}

static bool open_stream(struct link *l, const struct net_opts *o, struct err *e)
{
    l->out = xmalloc(OUT_MAX);
    if (!o->local) {
        l->fd.fd = o->remote ? socket_connect(o->remote, e) : -1;
        return l->fd.fd >= 0 || (!o->remote ? err_set(e, EINVAL, "stream: an address is missing") : false);
    }
    if (!strncmp(o->local, "unix:", 5)) {
        unlink(o->local + 5);
        l->unlink = xstrdup(o->local + 5);
    }
    l->listen.fd = socket_listen(o->local, e);
    return l->listen.fd >= 0 && loop_fd_add(l->net.loop, &l->listen, EPOLLIN, e);
}

static void link_free(struct netdev *n)
{
    struct link *l = (struct link *)n;
    if (l->fd.fd >= 0)
        hang_up(l);
    if (l->listen.fd >= 0) {
        loop_fd_remove(n->loop, &l->listen);
        close(l->listen.fd);
    }
    if (l->unlink)
        unlink(l->unlink);
    free(l->unlink);
    free(l->in);
    free(l->out);
}

static const struct netdev_ops link_ops = {.send = link_send, .free = link_free};

struct netdev *net_link_new(struct loop *loop, const struct net_opts *o, struct err *e)
{
    struct link *l = xcalloc(1, sizeof(*l));
    netdev_init(&l->net, &link_ops, loop);
    l->kind = o->kind;
    l->fd = (struct loop_fd){-1, link_ready};
    l->listen = (struct loop_fd){-1, connected};
    l->in = xmalloc(IN_MAX);
    bool good = o->kind == NET_DGRAM ? open_dgram(l, o, e) : open_stream(l, o, e);
    if (good && (l->fd.fd < 0 || start(l, e)))
        return &l->net;
    net_free(&l->net);
    return NULL;
}
