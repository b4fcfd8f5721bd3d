/* Inside src/back: the options of networks that are a descriptor. */
#ifndef LYRE_BACK_NET_OPTS_H
#define LYRE_BACK_NET_OPTS_H

#include "back/net.h"

#define NET_BRIDGE "br0" /* if none is named */

/* Members of an address that come one by one: "addr.type=unix,addr.path=P", "local.host=H,local.port=N". */
struct net_place {
    char *type, *path, *host, *port, *str;
};

struct net_places {
    struct net_place addr, local, remote;
    bool server;
    bool socket; /* -netdev socket, which may turn out to be one of datagrams */
};

/* The same as what follows, for tap and bridge. */
bool net_tap_word(struct net_opts *o, const char *name, const char *value, bool *known, struct err *e);
bool net_tap_end(struct net_opts *o, struct err *e);

/* One option; *known: whether it is one of these. */
bool net_link_word(struct net_opts *o, struct net_places *p, const char *name, const char *value, bool *known, struct err *e);
/* All have been read. Frees what is in *p. */
bool net_link_end(struct net_opts *o, struct net_places *p, struct err *e);

#endif
