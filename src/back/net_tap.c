/* Interfaces of the host: /dev/net/tun (Documentation/networking/tuntap.rst), with a descriptor for each queue. Where the kernel
 * has them frames carry headers, so that checksums and segments can be left to the other side. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "back/net_impl.h"
#include "back/net_tap.h"
#include "base/mem.h"

enum { FRAMES_A_TURN = 64, IN_MAX = sizeof(struct net_header) + NET_FRAME_MAX };

struct tap {
    struct netdev net;
    struct loop_fd fd; /* -1: none */
    bool first;        /* of the queues */
    char *downscript, *name;
    u8 in[IN_MAX];
};

/* ---- frames ---- */

/* What cannot be written is lost, as on a wire. */
static void tap_send(struct netdev *n, const u8 *frame, size_t len)
{
    struct tap *t = (struct tap *)n;
    const struct net_header none = {0};
    bool add = n->abilities & NET_HEADERS && !n->headers;
    const struct iovec iov[] = {{(void *)(uintptr_t)&none, add ? sizeof(none) : 0}, {(void *)(uintptr_t)frame, len}};
    ssize_t done = writev(t->fd.fd, iov, 2);
    (void)done;
}

static void tap_ready(struct loop_fd *f, u32 events)
{
    struct tap *t = container_of(f, struct tap, fd);
    for (unsigned i = 0; i < FRAMES_A_TURN; i++) {
        const size_t skip = t->net.abilities & NET_HEADERS && !t->net.headers ? sizeof(struct net_header) : 0;
        ssize_t n = read(f->fd, t->in, sizeof(t->in));
        if (n <= (ssize_t)skip)
            return;
        netdev_deliver(&t->net, t->in + skip, (size_t)n - skip);
    }
}

static void tap_enable(struct netdev *n, bool on)
{
    struct ifreq request = {.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};
    ioctl(((struct tap *)n)->fd.fd, TUNSETQUEUE, &request); /* of one queue alone there is none to be chosen */
}

/* ECN goes with segments alone. */
static void tap_set_offloads(struct netdev *n, u32 takes)
{
    u32 flags = 0;
    if (takes & NET_TAKES_CSUM) {
        flags = TUN_F_CSUM | (takes & NET_TAKES_TSO4 ? TUN_F_TSO4 : 0) | (takes & NET_TAKES_TSO6 ? TUN_F_TSO6 : 0) |
                (takes & NET_TAKES_UFO ? TUN_F_UFO : 0);
        if (flags & (TUN_F_TSO4 | TUN_F_TSO6) && takes & NET_TAKES_ECN)
            flags |= TUN_F_TSO_ECN;
    }
    ioctl(((struct tap *)n)->fd.fd, TUNSETOFFLOAD, flags);
}

/* ---- life ---- */

static void tap_free(struct netdev *n)
{
    struct tap *t = (struct tap *)n;
    if (t->fd.fd >= 0) {
        loop_fd_remove(n->loop, &t->fd);
        if (t->first && t->downscript)
            tap_script(t->downscript, t->name, NULL);
        close(t->fd.fd);
    }
    free(t->downscript);
    free(t->name);
}

static const struct netdev_ops tap_ops = {.send = tap_send, .free = tap_free, .enable = tap_enable, .set_offloads = tap_set_offloads};

/* The interface of this name, or a new one whose name is filled in. -1 on failure. */
static int open_interface(const struct net_opts *o, char name[IFNAMSIZ], struct err *e)
{
    unsigned known = 0;
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd >= 0 && !ioctl(fd, TUNGETFEATURES, &known) && known & IFF_VNET_HDR && !o->no_headers)
        request.ifr_flags |= IFF_VNET_HDR;
    if (o->queues > 1)
        request.ifr_flags |= IFF_MULTI_QUEUE;
    memcpy(request.ifr_name, name, IFNAMSIZ);
    if (fd >= 0 && !ioctl(fd, TUNSETIFF, &request)) {
        memcpy(name, request.ifr_name, IFNAMSIZ);
        return fd;
    }
    err_set(e, errno, "could not configure /dev/net/tun (%s): %s", name, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* What the interface behind a descriptor can do; false: it is none. */
static bool ask_interface(struct tap *t, const struct net_opts *o, struct err *e)
{
    struct ifreq request = {0};
    int size = sizeof(struct net_header);
    if (ioctl(t->fd.fd, TUNGETIFF, &request))
        return err_set(e, errno, "the descriptor is no interface: %s", strerror(errno));
    if (!(request.ifr_flags & IFF_VNET_HDR) || ioctl(t->fd.fd, TUNSETVNETHDRSZ, &size))
        return true;
    t->net.abilities = NET_HEADERS;
    if (!ioctl(t->fd.fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_UFO))
        t->net.abilities |= NET_UFO;
    ioctl(t->fd.fd, TUNSETOFFLOAD, 0);
    return true;
}

static struct netdev *queue_new(struct loop *loop, const struct net_opts *o, int fd, struct err *e)
{
    struct tap *t = xcalloc(1, sizeof(*t));
    netdev_init(&t->net, &tap_ops, loop);
    t->fd = (struct loop_fd){fd, tap_ready};
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (ask_interface(t, o, e) && loop_fd_add(loop, &t->fd, EPOLLIN, e))
        return &t->net;
    close(fd);
    t->fd.fd = -1;
    net_free(&t->net);
    return NULL;
}

static int queue_fd(const struct net_opts *o, unsigned i, char name[IFNAMSIZ], struct err *e)
{
    if (o->fd[i])
        return o->fd[i] - 1;
    return o->bridge ? tap_from_helper(o->helper, o->bridge, !o->no_headers, e) : open_interface(o, name, e);
}

struct netdev *net_tap_new(struct loop *loop, const struct net_opts *o, struct err *e)
{
    char name[IFNAMSIZ] = "";
    struct netdev *first = NULL, **last = &first;
    if (o->local && strlen(o->local) >= IFNAMSIZ) {
        err_set(e, EINVAL, "'%s' is no name of an interface", o->local);
        return NULL;
    }
    memcpy(name, o->local ? o->local : "", o->local ? strlen(o->local) : 0);
    for (unsigned i = 0; i < MAX(o->queues, 1u); i++) {
        int fd = queue_fd(o, i, name, e);
        *last = fd >= 0 ? queue_new(loop, o, fd, e) : NULL;
        if (!*last) {
            net_free(first);
            return NULL;
        }
        last = &(*last)->next_queue;
    }
    struct tap *t = (struct tap *)first;
    t->first = true;
    if (o->script && !tap_script(o->script, name, e)) {
        net_free(first);
        return NULL;
    }
    t->name = xstrdup(name);
    t->downscript = o->downscript ? xstrdup(o->downscript) : NULL;
    return first;
}
