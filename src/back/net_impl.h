/* Inside src/back: what network back ends have in common. */
#ifndef LYRE_BACK_NET_IMPL_H
#define LYRE_BACK_NET_IMPL_H

#include "back/net.h"

struct net_frame;

/* A kind of network; its struct begins with a struct netdev. */
struct netdev_ops {
    void (*send)(struct netdev *n, const u8 *frame, size_t len); /* from the card */
    void (*free)(struct netdev *n);   /* all but the struct itself */
    bool (*forward)(struct netdev *n, const struct net_forward *f, bool add, struct err *e); /* NULL: it has no ports */
    char *(*connections)(struct netdev *n); /* NULL: it knows of none */
    void (*enable)(struct netdev *n, bool on);         /* NULL: as what follows, of networks without headers */
    void (*set_offloads)(struct netdev *n, u32 takes);
};

struct netdev {
    const struct netdev_ops *ops;
    struct loop *loop;
    struct net_user user;
    struct net_frame *first, **last; /* that wait for the card */
    unsigned frames;
    u32 abilities;
    bool headers, disabled;
    struct netdev *next_queue; /* NULL: this is the last */
};

void netdev_init(struct netdev *n, const struct netdev_ops *ops, struct loop *l);
/* To the card, behind those that wait; lost if too many do. */
void netdev_deliver(struct netdev *n, const u8 *frame, size_t len);

struct netdev *net_user_new(struct loop *l, const struct net_opts *o, struct err *e);
struct netdev *net_hub_new(struct loop *l, const struct net_opts *o);
struct netdev *net_tap_new(struct loop *l, const struct net_opts *o, struct err *e);
struct netdev *net_link_new(struct loop *l, const struct net_opts *o, struct err *e);

#endif
