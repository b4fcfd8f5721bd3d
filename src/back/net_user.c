/* User-mode networking with libslirp. It wants its sockets polled: they are in an epoll descriptor of its own, which
 * is one descriptor of the loop. */
#include <arpa/inet.h>
#include <errno.h>
#include <slirp/libslirp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "back/char.h"
#include "back/net_impl.h"
#include "base/log.h"
#include "base/mem.h"

/* A socket that the library wants to know about; its place is the index that the library gets. */
struct watched {
    int fd;
    u32 wanted, ready;
    bool seen; /* in this round */
};

/* A character device behind a port of the guest's network; its bytes go to whoever is connected. */
struct service {
    struct user *user;
    struct char_opts opts;
    struct chardev *line;
    struct char_user side;
    struct in_addr address;
    int port;
};

/* Look again at what is to be polled. A task that waits cannot be taken back, so it may outlive the network. */
struct look {
    struct loop_task task;
    struct user *user; /* NULL: gone */
    bool pending;
};

struct user {
    struct netdev net;
    Slirp *slirp;
    struct in_addr first; /* the address that the guest gets */
    struct service service[NET_SERVICES];
    unsigned services;
    struct loop_fd sockets; /* the epoll descriptor */
    struct loop_timer timer;
    struct look *look;
    struct watched *watched;
    size_t count, cap;
};

/* ---- frames ---- */

static ssize_t send_packet(const void *data, size_t len, void *opaque)
{
    netdev_deliver(opaque, data, len);
    return (ssize_t)len;
}

/* ---- polling ---- */

static void look_again(struct user *n)
{
    if (n->look->pending)
        return;
    n->look->pending = true;
    loop_defer(n->net.loop, &n->look->task);
}

static int add_poll(int fd, int events, void *opaque)
{
    struct user *n = opaque;
    u32 wanted = (events & SLIRP_POLL_IN ? (u32)EPOLLIN : 0) | (events & SLIRP_POLL_OUT ? (u32)EPOLLOUT : 0) |
                 (events & SLIRP_POLL_PRI ? (u32)EPOLLPRI : 0);
    size_t i = 0;
    while (i < n->count && n->watched[i].fd != fd)
        i++;
    bool fresh = i == n->count;
    if (fresh)
        VEC_PUSH(n->watched, n->count, n->cap) = (struct watched){.fd = fd};
    struct watched *w = &n->watched[i];
    struct epoll_event ev = {.events = wanted, .data.u64 = (u64)fd};
    if (fresh || w->wanted != wanted) {
        if (epoll_ctl(n->sockets.fd, fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev) && fresh)
            epoll_ctl(n->sockets.fd, EPOLL_CTL_MOD, fd, &ev);
        w->wanted = wanted;
    }
    w->seen = true;
    return (int)i;
}

/* Ask the library what it waits for. A number that was closed and opened again is another socket, so what it did not
 * name is forgotten at once. */
static void fill(struct user *n)
{
    u32 timeout = UINT32_MAX;
    for (size_t i = 0; i < n->count; i++)
        n->watched[i].seen = false;
    slirp_pollfds_fill(n->slirp, &timeout, add_poll, n);
    for (size_t i = 0; i < n->count;) {
        if (n->watched[i].seen) {
            i++;
            continue;
        }
        epoll_ctl(n->sockets.fd, EPOLL_CTL_DEL, n->watched[i].fd, NULL);
        n->watched[i] = n->watched[--n->count];
    }
    if (timeout != UINT32_MAX)
        loop_timer_set(n->net.loop, &n->timer, loop_now() + timeout * 1000000ull);
}

static void fill_later(struct loop_task *t)
{
    struct look *l = container_of(t, struct look, task);
    l->pending = false; /* here alone: a task must not be deferred again while it waits */
    if (l->user)
        fill(l->user);
    else
        free(l);
}

static int get_revents(int index, void *opaque)
{
    struct user *n = opaque;
    u32 r = (size_t)index < n->count ? n->watched[index].ready : 0;
    return (r & EPOLLIN ? SLIRP_POLL_IN : 0) | (r & EPOLLOUT ? SLIRP_POLL_OUT : 0) | (r & EPOLLPRI ? SLIRP_POLL_PRI : 0) |
           (r & EPOLLERR ? SLIRP_POLL_ERR : 0) | (r & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

/* The library gives indexes anew in each round: fill and poll belong together. */
static void poll_now(struct user *n)
{
    struct epoll_event ev[64];
    fill(n);
    for (size_t i = 0; i < n->count; i++)
        n->watched[i].ready = 0;
    int got = epoll_wait(n->sockets.fd, ev, ARRAY_LEN(ev), 0);
    for (int k = 0; k < got; k++) {
        for (size_t i = 0; i < n->count; i++) {
            if (n->watched[i].fd == (int)ev[k].data.u64)
                n->watched[i].ready = ev[k].events;
        }
    }
    slirp_pollfds_poll(n->slirp, got < 0, get_revents, n);
    look_again(n);
}

static void sockets_ready(struct loop_fd *f, u32 events)
{
    poll_now(container_of(f, struct user, sockets));
}

static void timer_fires(struct loop_timer *t)
{
    poll_now(container_of(t, struct user, timer));
}

static void user_send(struct netdev *n, const u8 *frame, size_t len)
{
    struct user *u = (struct user *)n;
    slirp_input(u->slirp, frame, (int)len);
    look_again(u);
}

/* ---- what the library asks for ---- */

static void guest_error(const char *text, void *opaque)
{
    log_print(LOG_GUEST_ERROR, "network: %s\n", text);
}

static int64_t clock_get_ns(void *opaque)
{
    return (int64_t)loop_now();
}

struct slirp_timer {
    struct loop_timer timer;
    SlirpTimerCb call;
    void *call_opaque;
    struct user *user;
};

static void slirp_timer_fires(struct loop_timer *t)
{
    struct slirp_timer *s = container_of(t, struct slirp_timer, timer);
    s->call(s->call_opaque);
    look_again(s->user);
}

static void *timer_new(SlirpTimerCb call, void *call_opaque, void *opaque)
{
    struct slirp_timer *s = xcalloc(1, sizeof(*s));
    *s = (struct slirp_timer){{.fire = slirp_timer_fires}, call, call_opaque, opaque};
    return s;
}

static void timer_free(void *timer, void *opaque)
{
    struct slirp_timer *s = timer;
    loop_timer_cancel(s->user->net.loop, &s->timer);
    free(s);
}

static void timer_mod(void *timer, int64_t ms, void *opaque)
{
    struct slirp_timer *s = timer;
    loop_timer_set(s->user->net.loop, &s->timer, (u64)ms * 1000000);
}

static void poll_fd_changed(int fd, void *opaque)
{
}

static void notify(void *opaque)
{
    look_again(opaque);
}

static const SlirpCb callbacks = {
    .send_packet = send_packet, .guest_error = guest_error, .clock_get_ns = clock_get_ns, .timer_new = timer_new,
    .timer_free = timer_free, .timer_mod = timer_mod, .register_poll_fd = poll_fd_changed,
    .unregister_poll_fd = poll_fd_changed, .notify = notify,
};

/* ---- life ---- */

static bool address(const char *text, const char *otherwise, struct in_addr *to, struct err *e)
{
    return inet_pton(AF_INET, text ? text : otherwise, to) == 1 || err_set(e, EINVAL, "'%s' is no address", text);
}

/* "10.1.2.0" or "10.1.2.0/24" */
static bool network(const char *text, struct in_addr *net, struct in_addr *mask, struct err *e)
{
    char copy[64];
    strncpy(copy, text ? text : "10.0.2.0/24", sizeof(copy) - 1);
    copy[sizeof(copy) - 1] = 0;
    char *slash = strchr(copy, '/');
    unsigned long bits = slash ? strtoul(slash + 1, NULL, 10) : 24;
    if (slash)
        *slash = 0;
    mask->s_addr = bits && bits <= 32 ? htonl(~(u32)0 << (32 - bits)) : 0;
    return (bits >= 8 && bits <= 30 && address(copy, NULL, net, e)) || err_set(e, EINVAL, "'%s' is no network", text);
}

/* The n-th address of the network. */
static struct in_addr host_of(struct in_addr net, u32 n)
{
    return (struct in_addr){net.s_addr | htonl(n)};
}

static bool configure(SlirpConfig *c, const struct net_opts *o, struct err *e)
{
    *c = (SlirpConfig){.version = 1, .restricted = o->restricted, .in_enabled = true, .vhostname = o->hostname,
                       .vdomainname = o->domainname, .tftp_path = o->tftp, .bootfile = o->bootfile};
    if (!network(o->net, &c->vnetwork, &c->vnetmask, e))
        return false;
    c->vhost = host_of(c->vnetwork, 2);
    c->vnameserver = host_of(c->vnetwork, 3);
    c->vdhcp_start = host_of(c->vnetwork, 15);
    return (!o->host || address(o->host, NULL, &c->vhost, e)) && (!o->dns || address(o->dns, NULL, &c->vnameserver, e)) &&
           (!o->dhcpstart || address(o->dhcpstart, NULL, &c->vdhcp_start, e));
}

static bool forward(struct netdev *net, const struct net_forward *f, bool add, struct err *e)
{
    struct user *n = (struct user *)net;
    struct in_addr guest = f->guest.s_addr ? f->guest : n->first;
    look_again(n);
    if (!add)
        return slirp_remove_hostfwd(n->slirp, f->udp, f->host, f->host_port) == 0 ||
               err_set(e, ENOENT, "there is no such rule");
    return slirp_add_hostfwd(n->slirp, f->udp, f->host, f->host_port, guest, f->guest_port) == 0 ||
           err_set(e, errno, "Could not set up host forwarding rule for port %u: %s", f->host_port, strerror(errno));
}

static char *connections(struct netdev *net)
{
    return slirp_connection_info(((struct user *)net)->slirp);
}

/* ---- what is behind ports of the guest's network ---- */

static ssize_t service_takes(const void *data, size_t len, void *opaque)
{
    char_write(((struct service *)opaque)->line, data, len);
    return (ssize_t)len;
}

static size_t service_room(void *opaque)
{
    struct service *s = opaque;
    return slirp_socket_can_recv(s->user->slirp, s->address, s->port);
}

static void service_receives(void *opaque, const u8 *data, size_t len)
{
    struct service *s = opaque;
    slirp_socket_recv(s->user->slirp, s->address, s->port, data, (int)len);
    look_again(s->user);
}

static bool add_service(struct user *n, const struct net_service *o, struct err *e)
{
    struct service *s = &n->service[n->services++];
    *s = (struct service){.user = n, .address = o->address, .port = o->port};
    int error = 0;
    if (o->command) {
        error = slirp_add_exec(n->slirp, o->command, &s->address, s->port);
    } else {
        if (!char_opts_serial(&s->opts, o->line, e))
            return false;
        s->opts.id = xprintf("guestfwd.tcp.%d", s->port);
        s->line = char_new(n->net.loop, &s->opts, NULL, NULL, e);
        if (!s->line)
            return false;
        s->side = (struct char_user){.room = service_room, .receive = service_receives, .opaque = s};
        char_attach(s->line, &s->side);
        error = slirp_add_guestfwd(n->slirp, service_takes, s, &s->address, s->port);
        char_start(s->line);
    }
    return !error || err_set(e, EINVAL, "Conflicting/invalid host:port in guest forwarding rule for port %d", s->port);
}

static void user_free(struct netdev *net)
{
    struct user *n = (struct user *)net;
    if (n->slirp)
        slirp_cleanup(n->slirp);
    for (unsigned i = 0; i < n->services; i++) {
        char_free(n->service[i].line);
        char_opts_free(&n->service[i].opts);
    }
    loop_timer_cancel(net->loop, &n->timer);
    if (n->sockets.fd >= 0) {
        loop_fd_remove(net->loop, &n->sockets);
        close(n->sockets.fd);
    }
    free(n->watched);
    n->look->user = NULL;
    if (!n->look->pending)
        free(n->look);
}

static const struct netdev_ops user_ops = {.send = user_send, .free = user_free, .forward = forward,
                                          .connections = connections};

struct netdev *net_user_new(struct loop *l, const struct net_opts *o, struct err *e)
{
    SlirpConfig config;
    if (!configure(&config, o, e))
        return NULL;
    struct user *n = xcalloc(1, sizeof(*n));
    netdev_init(&n->net, &user_ops, l);
    n->first = config.vdhcp_start;
    n->look = xcalloc(1, sizeof(*n->look));
    *n->look = (struct look){.task.run = fill_later, .user = n};
    n->timer.fire = timer_fires;
    n->sockets = (struct loop_fd){epoll_create1(EPOLL_CLOEXEC), sockets_ready};
    n->slirp = slirp_new(&config, &callbacks, n);
    bool good = n->sockets.fd >= 0 && n->slirp && loop_fd_add(l, &n->sockets, EPOLLIN, e);
    for (unsigned i = 0; i < o->forwards && good; i++)
        good = forward(&n->net, &o->forward[i], true, e);
    for (unsigned i = 0; i < o->services && good; i++)
        good = add_service(n, &o->service[i], e);
    if (!good) {
        net_free(&n->net);
        return NULL;
    }
    look_again(n);
    return &n->net;
}
