/* Network back ends: where a card's frames go to and come from. All on the loop's thread. */
#ifndef LYRE_BACK_NET_H
#define LYRE_BACK_NET_H

#include <netinet/in.h>

#include "base/err.h"
#include "data/json.h"
#include "event/loop.h"

struct netdev;

/* The card. */
struct net_user {
    /* False: it has no room, and asks for it with net_accept() when it has. */
    bool (*receive)(void *opaque, const u8 *frame, size_t len);
    void *opaque;
};

enum { NET_FORWARDS = 32, NET_SERVICES = 8, NET_QUEUES = 16, NET_FRAME_MAX = 65536 + 64 };

/* Before each frame of a network with NET_HEADERS, once net_use_headers() was called: what is left to do to it (struct
 * virtio_net_hdr of linux/virtio_net.h, without the count of buffers). */
struct net_header {
    u8 flags, gso_type;
    u16 header_len, gso_size, csum_start, csum_offset;
};

/* What a network can do: take and give frames with a header; and with such as are UDP fragments to be. */
enum { NET_HEADERS = 1, NET_UFO = 2 };
/* What its user does: complete checksums, and take TCP segments (with ECN) and UDP fragments that were not cut. */
enum { NET_TAKES_CSUM = 1, NET_TAKES_TSO4 = 2, NET_TAKES_TSO6 = 4, NET_TAKES_ECN = 8, NET_TAKES_UFO = 16 };

/* A port of the host that leads into the guest. */
struct net_forward {
    bool udp;
    struct in_addr host, guest; /* 0: any, and the first address that the guest gets */
    u16 host_port, guest_port;
};

/* A port of the guest's network behind which there is a program or a character device. */
struct net_service {
    struct in_addr address;
    u16 port;
    char *command; /* started for each connection; NULL: none ... */
    char *line;    /* ... but this, as char_opts_serial() takes it: one for all connections */
};

/* USER: the guest is behind a router that is this process. TAP: frames are those of an interface of the host. STREAM:
 * they go to another program, each behind its length in four bytes, big-endian. DGRAM: each in a datagram. HUB: a port of
 * a hub, which others of its number get them from. */
enum net_kind { NET_USER, NET_TAP, NET_STREAM, NET_DGRAM, NET_HUB };

/* Strings belong to who filled this in. */
struct net_opts {
    enum net_kind kind;
    char *id;
    char *local, *remote; /* stream, dgram: as socket_listen() takes them; stream: one of the two. tap: local is its name */
    int fd[NET_QUEUES];   /* 1 + a descriptor that is there already; 0: none */
    unsigned queues;      /* tap: how many; 0: one */
    bool no_headers;      /* tap: checksums and segments are the guest's alone */
    char *script, *downscript; /* tap: programs to run with the interface's name when it is there and when it goes; NULL: none */
    char *bridge, *helper; /* tap: the bridge that a program is to connect it to, and that program; NULL: neither */
    u32 hub;              /* hub: its number ... */
    char *behind;         /* ... and the id of the network behind its port; NULL: a card is */
    bool restricted; /* the guest reaches nothing but what is forwarded */
    char *hostname, *domainname, *tftp, *bootfile; /* NULL: none */
    char *net, *host, *dhcpstart, *dns;            /* addresses; NULL: 10.0.2.0/24 and .2, .15, .3 in it */
    struct net_forward forward[NET_FORWARDS];
    unsigned forwards;
    struct net_service service[NET_SERVICES];
    unsigned services;
};

/* "user,id=ID,hostfwd=tcp::2222-:22,restrict=on ...", what -netdev and -nic take. What is not known is added to `rest`
 * as "name=value", or refused if that is NULL. */
bool net_opts_parse(struct net_opts *o, const char *text, char **rest, struct err *e);
/* The same of an object of QMP's netdev_add. */
bool net_opts_json(struct net_opts *o, const struct json *from, struct err *e);
void net_opts_free(struct net_opts *o);
/* The text of a hostfwd: "tcp:[HOST]:PORT-[GUEST]:PORT"; `whole` false: what is before the minus alone. */
bool net_forward_parse(struct net_forward *f, const char *text, bool whole, struct err *e);

struct netdev *net_new(struct loop *l, const struct net_opts *o, struct err *e);
void net_free(struct netdev *n); /* NULL is allowed */

/* False: it has a card already. */
bool net_attach(struct netdev *n, const struct net_user *u);
/* Whether it has a card, or is behind a port of a hub. */
bool net_is_used(const struct netdev *n);
/* The card goes. */
void net_detach(struct netdev *n, const void *opaque);
void net_send(struct netdev *n, const u8 *frame, size_t len);
/* Networks may have several queues, each with a user of its own: the i-th, 0 being the network itself; NULL behind the last. */
struct netdev *net_queue(struct netdev *n, unsigned i);
/* Frames go through a queue, or do not. */
void net_enable(struct netdev *n, bool on);
u32 net_abilities(const struct netdev *n);
/* Of those with NET_HEADERS: frames have headers from now on; what the user does (NET_TAKES_*). */
void net_use_headers(struct netdev *n);
void net_set_offloads(struct netdev *n, u32 takes);
/* Of user-mode networking (ENOTSUP of others): a port of the host more or less, and what is connected, for people, which the
 * caller frees. */
bool net_forward_add(struct netdev *n, const struct net_forward *f, struct err *e);
bool net_forward_remove(struct netdev *n, const struct net_forward *f, struct err *e);
char *net_connections(struct netdev *n, struct err *e);
/* Of a hub: a port joins the hub of another, if it has the same number; has another network behind it, false: that has a card. */
void net_hub_join(struct netdev *n, struct netdev *other);
bool net_hub_put_behind(struct netdev *n, struct netdev *behind);
/* There is room again: frames that wait are received. */
void net_accept(struct netdev *n);

#endif
