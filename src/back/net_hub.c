/* Hubs: what one port sends all others get. Behind a port is a card, or another network. */
#include <stdlib.h>

#include "back/net_impl.h"
#include "base/mem.h"

struct port {
    struct netdev net;
    u32 hub;
    struct port *next; /* of this hub, in a ring */
    struct netdev *behind; /* NULL: a card is */
};

/* To all ports but the one that it came from. */
static void spread(struct port *from, const u8 *frame, size_t len)
{
    for (struct port *p = from->next; p != from; p = p->next) {
        if (p->behind)
            net_send(p->behind, frame, len);
        else
            netdev_deliver(&p->net, frame, len);
    }
}

static void port_send(struct netdev *n, const u8 *frame, size_t len)
{
    spread((struct port *)n, frame, len);
}

static bool receive_from_behind(void *opaque, const u8 *frame, size_t len)
{
    spread(opaque, frame, len);
    return true;
}

static void port_free(struct netdev *n)
{
    struct port *p = (struct port *)n, *before = p;
    while (before->next != p)
        before = before->next;
    before->next = p->next;
    if (p->behind)
        net_detach(p->behind, p);
}

static const struct netdev_ops port_ops = {.send = port_send, .free = port_free};

struct netdev *net_hub_new(struct loop *l, const struct net_opts *o)
{
    struct port *p = xcalloc(1, sizeof(*p));
    netdev_init(&p->net, &port_ops, l);
    p->hub = o->hub;
    p->next = p;
    return &p->net;
}

void net_hub_join(struct netdev *n, struct netdev *other)
{
    struct port *p = (struct port *)n, *q = (struct port *)other;
    if (other->ops != &port_ops || n->ops != &port_ops || p->hub != q->hub || p->next != p || p == q)
        return;
    p->next = q->next;
    q->next = p;
}

bool net_hub_put_behind(struct netdev *n, struct netdev *behind)
{
    struct port *p = (struct port *)n;
    const struct net_user user = {receive_from_behind, p};
    if (!net_attach(behind, &user))
        return false;
    p->behind = behind;
    return true;
}
