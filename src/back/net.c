#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "back/net_impl.h"
#include "base/mem.h"

enum { BACKLOG = 512 }; /* frames that wait for the card */

struct net_frame {
    struct net_frame *next;
    size_t len;
    u8 data[];
};

void netdev_init(struct netdev *n, const struct netdev_ops *ops, struct loop *l)
{
    n->ops = ops;
    n->loop = l;
    n->last = &n->first;
}

static bool deliver(struct netdev *n, const u8 *data, size_t len)
{
    return !n->user.receive || n->user.receive(n->user.opaque, data, len);
}

void netdev_deliver(struct netdev *n, const u8 *frame, size_t len)
{
    if ((!n->first && deliver(n, frame, len)) || n->frames == BACKLOG)
        return; /* lost, as on a wire */
    struct net_frame *f = xmalloc(sizeof(*f) + len);
    f->next = NULL;
    f->len = len;
    memcpy(f->data, frame, len);
    *n->last = f;
    n->last = &f->next;
    n->frames++;
}

static void drop_first(struct netdev *n)
{
    struct net_frame *f = n->first;
    n->first = f->next;
    if (!n->first)
        n->last = &n->first;
    n->frames--;
    free(f);
}

void net_accept(struct netdev *n)
{
    while (n->first && deliver(n, n->first->data, n->first->len))
        drop_first(n);
}

void net_send(struct netdev *n, const u8 *frame, size_t len)
{
    n->ops->send(n, frame, len);
}

static bool no_ports(struct err *e)
{
    return err_set(e, ENOTSUP, "this network has no ports of the host");
}

bool net_forward_add(struct netdev *n, const struct net_forward *f, struct err *e)
{
    return n->ops->forward ? n->ops->forward(n, f, true, e) : no_ports(e);
}

bool net_forward_remove(struct netdev *n, const struct net_forward *f, struct err *e)
{
    return n->ops->forward ? n->ops->forward(n, f, false, e) : no_ports(e);
}

char *net_connections(struct netdev *n, struct err *e)
{
    if (n->ops->connections)
        return n->ops->connections(n);
    no_ports(e);
    return NULL;
}

bool net_attach(struct netdev *n, const struct net_user *u)
{
    if (n->user.receive)
        return false;
    n->user = *u;
    return true;
}

struct netdev *net_queue(struct netdev *n, unsigned i)
{
    while (n && i--)
        n = n->next_queue;
    return n;
}

void net_enable(struct netdev *n, bool on)
{
    if (on == !n->disabled)
        return;
    n->disabled = !on;
    if (n->ops->enable)
        n->ops->enable(n, on);
}

u32 net_abilities(const struct netdev *n)
{
    return n->abilities;
}

void net_use_headers(struct netdev *n)
{
    n->headers = n->abilities & NET_HEADERS;
}

void net_set_offloads(struct netdev *n, u32 takes)
{
    if (n->headers)
        n->ops->set_offloads(n, takes);
}

bool net_is_used(const struct netdev *n)
{
    return n->user.receive;
}

void net_detach(struct netdev *n, const void *opaque)
{
    if (n->user.opaque != opaque)
        return;
    net_set_offloads(n, 0);
    n->user = (struct net_user){0};
    n->headers = false;
    while (n->first) /* they are of another form than the next user may want */
        drop_first(n);
}

struct netdev *net_new(struct loop *l, const struct net_opts *o, struct err *e)
{
    switch (o->kind) {
    case NET_USER: return net_user_new(l, o, e);
    case NET_HUB: return net_hub_new(l, o);
    case NET_TAP: return net_tap_new(l, o, e);
    default: return net_link_new(l, o, e);
    }
}

void net_free(struct netdev *n)
{
    if (!n)
        return;
    net_free(n->next_queue);
    n->ops->free(n);
    while (n->first)
        drop_first(n);
    free(n);
}
