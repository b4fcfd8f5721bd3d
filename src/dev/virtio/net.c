/* virtio-net: a network card (section 5.1 of the specification), with pairs of queues, as many as its network has, and a control
 * queue. Checksums and segments are left to the other side where the network's frames have headers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "back/net.h"
#include "base/mem.h"
#include "dev/list.h"
#include "dev/virtio/net_filter.h"
#include "dev/virtio/net_offload.h"
#include "dev/virtio/virtio.h"

#define F_CTRL_GUEST_OFFLOADS (1ull << 2)
#define F_MTU       (1ull << 3)
#define F_MAC       (1ull << 5)
#define F_GSO       (1ull << 6) /* older drivers' word for all of HOST_* */
#define F_MRG_RXBUF (1ull << 15)
#define F_CTRL_VQ   (1ull << 17)
#define F_CTRL_VLAN (1ull << 19)
#define F_GUEST_ANNOUNCE (1ull << 21)
#define F_MQ        (1ull << 22)
#define F_CTRL_MAC  (1ull << 23)

/* Features that a property of the same name switches off: their bit, and what the network must have for them. */
enum wish {
    W_CSUM, W_GUEST_CSUM, W_CTRL_GUEST_OFFLOADS, W_GSO, W_GUEST_TSO4, W_GUEST_TSO6, W_GUEST_ECN, W_GUEST_UFO, W_HOST_TSO4, W_HOST_TSO6,
    W_HOST_ECN, W_HOST_UFO, W_MRG_RXBUF, W_STATUS, W_CTRL_VQ, W_CTRL_RX, W_CTRL_VLAN, W_CTRL_RX_EXTRA, W_GUEST_ANNOUNCE, W_CTRL_MAC,
    WISHES,
};

static const struct {
    u8 bit;
    u8 needs; /* NET_HEADERS ... */
    u8 takes; /* what the guest's consent tells the network: NET_TAKES_* */
} wishes[] = {
    [W_CSUM] = {0, NET_HEADERS, 0}, [W_GUEST_CSUM] = {1, NET_HEADERS, NET_TAKES_CSUM}, [W_CTRL_GUEST_OFFLOADS] = {2, 0, 0},
    [W_GSO] = {6, 0, 0},
    [W_GUEST_TSO4] = {7, NET_HEADERS, NET_TAKES_TSO4}, [W_GUEST_TSO6] = {8, NET_HEADERS, NET_TAKES_TSO6},
    [W_GUEST_ECN] = {9, NET_HEADERS, NET_TAKES_ECN}, [W_GUEST_UFO] = {10, NET_HEADERS | NET_UFO, NET_TAKES_UFO},
    [W_HOST_TSO4] = {11, NET_HEADERS, 0}, [W_HOST_TSO6] = {12, NET_HEADERS, 0}, [W_HOST_ECN] = {13, NET_HEADERS, 0},
    [W_HOST_UFO] = {14, NET_HEADERS | NET_UFO, 0}, [W_MRG_RXBUF] = {15, 0, 0}, [W_STATUS] = {16, 0, 0}, [W_CTRL_VQ] = {17, 0, 0},
    [W_CTRL_RX] = {18, 0, 0}, [W_CTRL_VLAN] = {19, 0, 0}, [W_CTRL_RX_EXTRA] = {20, 0, 0}, [W_GUEST_ANNOUNCE] = {21, 0, 0},
    [W_CTRL_MAC] = {23, 0, 0},
};

enum { RX, TX, PAIR, CONTROL = PAIR /* of drivers that know of one pair */, PAIRS_MAX = NET_QUEUES };
enum { LEGACY_HEADER = sizeof(struct net_header), LINK_UP = 1, ANNOUNCE = 2, CHAINS_MAX = 64 };
enum { QUEUE_SIZE = 256, QUEUE_SIZE_MIN = 256, QUEUE_SIZE_MAX = 1024, CONTROL_SIZE = 64, MTU_MIN = 68 };
/* Classes of commands of the control queue, and commands (5.1.6.5). */
enum { CTRL_RX = 0, CTRL_MAC = 1, CTRL_VLAN = 2, CTRL_ANNOUNCE = 3, CTRL_MQ = 4, CTRL_OFFLOADS = 5, CTRL_OK = 0,
       CTRL_ERROR = 1, CTRL_MAX = 4096, MQ_PAIRS = 0, OFFLOADS_SET = 0, MAC_TABLES = 0, MAC_ADDRESS = 1, VLAN_ADD = 0, VLAN_DEL = 1, ANNOUNCE_ACK = 0 };

struct header {
    struct net_header plain;
    u16 buffers;
};

struct virtio_net;

struct pair {
    struct virtio_net *card;
    unsigned number;
    struct netdev *netdev; /* this queue of the network */
};

struct virtio_net {
    struct dev dev;
    struct virtio virtio;
    struct netdev *netdev;
    struct pair pair[PAIRS_MAX];
    u32 pairs;       /* that there are; */
    u32 used;        /* that the driver uses */
    u64 offloads;    /* features of GUEST_* that hold now; ~0: those that the driver took */
    u32 applied_used; /* what the network was told, on the loop */
    u32 applied_takes;
    bool wish[WISHES], mq;
    u32 rx_size, tx_size, mtu; /* mtu 0: it says nothing of it */
    u8 frame[sizeof(struct net_header) + NET_FRAME_MAX]; /* of the loop */
    char *mac_text;
    u8 own[NET_MAC], mac[NET_MAC]; /* its own address, and that which the driver has given it */
    struct net_filter filter;
    bool announcing; /* the driver was asked to have the network learn where it is, and has not said that it does */
    bool unplugged; /* what a monitor says of its cable */
};

static struct virtio_net *of(struct virtio *v)
{
    return container_of(v, struct virtio_net, virtio);
}

static u64 net_features(struct virtio *v)
{
    const struct virtio_net *n = of(v);
    u64 f = F_MAC | (n->mq ? F_MQ : 0) | (n->mtu ? F_MTU : 0);
    for (unsigned i = 0; i < WISHES; i++) {
        if (n->wish[i] && !(wishes[i].needs & ~net_abilities(n->netdev)))
            f |= 1ull << wishes[i].bit;
    }
    return f;
}

static unsigned net_config(struct virtio *v, u8 *to)
{
    const struct virtio_net *n = of(v);
    u16 status = (n->unplugged ? 0 : LINK_UP) | (n->announcing ? ANNOUNCE : 0);
    const u16 more[] = {status, (u16)n->pairs, (u16)n->mtu};
    memcpy(to, n->mac, NET_MAC);
    memcpy(to + NET_MAC, more, sizeof(more));
    return NET_MAC + (n->mtu ? 6 : n->mq ? 4 : 2); /* as much as there is a feature for */
}

/* What the control queue's number is depends on whether the driver knows of several pairs. */
static bool is_control(const struct virtio *v, unsigned queue)
{
    return queue == (v->features & F_MQ ? v->queues - 1 : CONTROL);
}

static unsigned net_queue_size(struct virtio *v, unsigned queue)
{
    const struct virtio_net *n = of(v);
    return queue == v->queues - 1 ? CONTROL_SIZE : queue % PAIR == RX ? n->rx_size : n->tx_size;
}

/* The count of buffers ends it for all but old drivers without mergeable buffers. */
static u64 header_size(const struct virtio *v)
{
    return v->features & (F_MRG_RXBUF | VIRTIO_F_VERSION_1) ? sizeof(struct header) : LEGACY_HEADER;
}

/* How drivers change the address that have no control queue for it. */
static void net_config_write(struct virtio *v, unsigned offset, unsigned size, u32 value)
{
    if (!(v->features & (F_CTRL_MAC | VIRTIO_F_VERSION_1)) && offset + size <= NET_MAC)
        memcpy(of(v)->mac + offset, &value, size);
}

static void net_reset(struct virtio *v)
{
    struct virtio_net *n = of(v);
    net_filter_reset(&n->filter);
    memcpy(n->mac, n->own, NET_MAC);
    n->announcing = false;
    n->used = 1;
    n->offloads = ~0ull;
}

/* ---- what the network is told of the driver's choices; on the loop ---- */

static u32 takes(const struct virtio_net *n)
{
    u32 t = 0;
    for (unsigned i = 0; i < WISHES; i++)
        t |= n->virtio.features & n->offloads & 1ull << wishes[i].bit ? wishes[i].takes : 0;
    return t;
}

static void apply(struct virtio_net *n)
{
    dev_lock(n->virtio.transport);
    u32 used = n->used, want = takes(n);
    dev_unlock(n->virtio.transport);
    if (used == n->applied_used && want == n->applied_takes)
        return;
    for (unsigned i = 0; i < n->pairs; i++) {
        net_enable(n->pair[i].netdev, i < used);
        net_set_offloads(n->pair[i].netdev, want);
    }
    n->applied_used = used;
    n->applied_takes = want;
}

/* ---- commands of the driver; on the loop, under the transport's lock ---- */

static bool set_address(struct virtio_net *n, u8 command, const u8 *data, size_t len)
{
    if (command == MAC_TABLES)
        return net_filter_set_macs(&n->filter, data, len);
    if (command != MAC_ADDRESS || len != NET_MAC)
        return false;
    memcpy(n->mac, data, NET_MAC);
    return true;
}

static bool set_mode(struct virtio_net *n, u8 command, const u8 *data, size_t len)
{
    if (command >= NET_RX_MODES || len != 1)
        return false;
    net_filter_set_mode(&n->filter, command, data[0]);
    return true;
}

static bool set_vlan(struct virtio_net *n, u8 command, const u8 *data, size_t len)
{
    return len == 2 && command <= VLAN_DEL &&
           net_filter_set_vlan(&n->filter, (u32)data[0] | (u32)data[1] << 8, command == VLAN_ADD);
}

static bool set_pairs(struct virtio_net *n, u8 command, const u8 *data, size_t len)
{
    u32 pairs = len == 2 ? (u32)data[0] | (u32)data[1] << 8 : 0;
    if (command != MQ_PAIRS || !pairs || pairs > n->pairs || !(n->virtio.features & F_MQ))
        return false;
    n->used = pairs;
    return true;
}

/* Some of those that the driver has taken. */
static bool set_offloads(struct virtio_net *n, u8 command, const u8 *data, size_t len)
{
    u64 wanted, there = 0;
    if (command != OFFLOADS_SET || len != sizeof(wanted) || !(n->virtio.features & F_CTRL_GUEST_OFFLOADS))
        return false;
    memcpy(&wanted, data, sizeof(wanted));
    for (unsigned i = 0; i < WISHES; i++)
        there |= wishes[i].takes ? n->virtio.features & 1ull << wishes[i].bit : 0;
    if (wanted & ~there)
        return false;
    n->offloads = wanted;
    return true;
}

static bool obey(struct virtio_net *n, u8 class, u8 command, const u8 *data, size_t len)
{
    switch (class) {
    case CTRL_RX: return set_mode(n, command, data, len);
    case CTRL_MAC: return set_address(n, command, data, len);
    case CTRL_VLAN: return set_vlan(n, command, data, len);
    case CTRL_MQ: return set_pairs(n, command, data, len);
    case CTRL_OFFLOADS: return set_offloads(n, command, data, len);
    case CTRL_ANNOUNCE: n->announcing &= command != ANNOUNCE_ACK; return command == ANNOUNCE_ACK;
    }
    return false;
}

/* Class and command, what belongs to it, and a byte that says how it went. */
static void control(struct virtio_net *n, struct virtio_chain *c)
{
    u8 data[CTRL_MAX], answer = CTRL_ERROR;
    if (c->out_len >= 2 && c->out_len <= sizeof(data) && virtio_chain_read(c, 0, data, c->out_len)) {
        dev_lock(n->virtio.transport);
        answer = obey(n, data[0], data[1], data + 2, c->out_len - 2) ? CTRL_OK : CTRL_ERROR;
        dev_unlock(n->virtio.transport);
    }
    apply(n);
    virtio_put(c, virtio_chain_write(c, 0, &answer, 1));
}

/* ---- from the guest ---- */

/* The network takes the header, but not the count of buffers that may end it. */
static void transmit(struct pair *p, struct virtio_chain *c)
{
    struct virtio_net *n = p->card;
    u64 skip = header_size(&n->virtio), len = c->out_len > skip ? c->out_len - skip : 0;
    u64 head = net_abilities(p->netdev) & NET_HEADERS ? sizeof(struct net_header) : 0;
    if (len && len <= NET_FRAME_MAX && !n->unplugged && virtio_chain_read(c, 0, n->frame, head) &&
        virtio_chain_read(c, skip, n->frame + head, len))
        net_send(p->netdev, n->frame, head + len);
    virtio_put(c, 0);
}

static void net_kick(struct virtio *v, unsigned queue)
{
    struct virtio_net *n = of(v);
    struct virtio_chain *c;
    apply(n);
    bool is_command = is_control(v, queue);
    if (!is_command && queue / PAIR >= n->pairs)
        return;
    struct pair *p = &n->pair[is_command ? 0 : queue / PAIR];
    if (!is_command && queue % PAIR == RX) {
        net_accept(p->netdev);
        return;
    }
    while ((c = virtio_take(v, queue))) {
        if (is_command)
            control(n, c);
        else
            transmit(p, c);
    }
}

/* ---- to the guest ---- */

/* Chains with room for `need` bytes, one if buffers are not merged. 0: there are not enough now; what was taken is not
 * lost, but goes back unused, as no ring can take it back otherwise. */
static unsigned take_room(struct virtio *v, unsigned queue, u64 need, struct virtio_chain **chains)
{
    unsigned n = 0, most = v->features & F_MRG_RXBUF ? CHAINS_MAX : 1;
    for (u64 room = 0; room < need && n < most; n++) {
        chains[n] = virtio_take(v, queue);
        if (!chains[n])
            break;
        room += chains[n]->in_len;
        if (room >= need)
            return n + 1;
    }
    while (n)
        virtio_untake(chains[--n]);
    return 0;
}

static bool wants(struct virtio_net *n, const u8 *frame, size_t len)
{
    dev_lock(n->virtio.transport);
    bool passes = net_filter_passes(&n->filter, n->mac, n->virtio.features & F_CTRL_VLAN, frame, len);
    dev_unlock(n->virtio.transport);
    return passes;
}

/* A header and a frame over several chains. */
static void fill(struct virtio_chain **chains, unsigned count, const u8 *header, u64 head, const u8 *frame, u64 len)
{
    for (unsigned i = 0; i < count; i++) {
        u64 first = i ? 0 : head, part = MIN(chains[i]->in_len - first, len);
        virtio_chain_write(chains[i], 0, header, first);
        virtio_chain_write(chains[i], first, frame, part);
        virtio_put(chains[i], first + part);
        frame += part;
        len -= part;
    }
}

/* The frame with its checksum complete, where the guest wants that: a copy, which the caller frees. NULL: it is complete. */
static u8 *finish(const struct virtio_net *n, struct net_header *h, const u8 *frame, size_t len)
{
    if (!net_offload_is_open(h, n->applied_takes))
        return NULL;
    u8 *copy = xmalloc(len);
    memcpy(copy, frame, len);
    net_offload_finish(h, copy, len);
    return copy;
}

/* Before the driver runs, frames fall to the ground as on a wire, and so do those of a queue that it does not use. */
static bool net_receive(void *opaque, const u8 *frame, size_t len)
{
    struct pair *p = opaque;
    struct virtio_net *n = p->card;
    struct virtio *v = &n->virtio;
    struct virtio_chain *chains[CHAINS_MAX];
    struct header header = {0};
    u64 head = header_size(v), given = net_abilities(p->netdev) & NET_HEADERS ? sizeof(struct net_header) : 0;
    if (!v->transport || !(v->status & VIRTIO_DRIVER_OK) || n->unplugged || p->number >= n->used || len <= given)
        return true;
    apply(n);
    memcpy(&header.plain, frame, given);
    frame += given;
    len -= given;
    if (!net_offload_fits(&header.plain, n->applied_takes) || !wants(n, frame, len))
        return true;
    unsigned count = take_room(v, PAIR * p->number + RX, head + len, chains);
    if (!count)
        return false;
    if (chains[0]->in_len < head) { /* no driver does that */
        while (count)
            virtio_put(chains[--count], 0);
        return true;
    }
    header.buffers = (u16)count;
    u8 *finished = finish(n, &header.plain, frame, len);
    fill(chains, count, (const u8 *)&header, head, finished ? finished : frame, len);
    free(finished);
    return true;
}

static const struct virtio_kind net_kind = {
    .id = 1, .features = net_features, .old_features = F_GSO, .config = net_config, .config_write = net_config_write, .kick = net_kick,
    .reset = net_reset, .queue_size = net_queue_size,
};

/* RARP (RFC 903): a request for the card's own address, from which bridges learn where it is. */
static void send_rarp(struct virtio_net *n)
{
    static const u8 begin[] = {0x80, 0x35, 0, 1, 8, 0, NET_MAC, 4, 0, 3}; /* Ethernet, IPv4, request */
    enum { HEAD_AT = 2 * NET_MAC, SENDER_AT = HEAD_AT + sizeof(begin), TARGET_AT = SENDER_AT + NET_MAC + 4, LEAST = 60 };
    u64 head = net_abilities(n->netdev) & NET_HEADERS ? sizeof(struct net_header) : 0;
    u8 all[sizeof(struct net_header) + LEAST] = {0}, *frame = all + head;
    memset(frame, 0xff, NET_MAC);
    memcpy(frame + NET_MAC, n->mac, NET_MAC);
    memcpy(frame + HEAD_AT, begin, sizeof(begin));
    memcpy(frame + SENDER_AT, n->mac, NET_MAC);
    memcpy(frame + TARGET_AT, n->mac, NET_MAC);
    net_send(n->netdev, all, head + LEAST);
}

/* For the addresses that the card does not know the driver is asked, if it understands. */
static void announce(struct virtio_net *n)
{
    struct virtio *v = &n->virtio;
    send_rarp(n);
    if (!(v->features & F_GUEST_ANNOUNCE) || !(v->features & F_CTRL_VQ))
        return;
    dev_lock(v->transport);
    n->announcing = true;
    dev_unlock(v->transport);
    virtio_config_changed(v);
}

static void net_order(struct dev *d, u64 order)
{
    struct virtio_net *n = (struct virtio_net *)d;
    struct virtio *v = &n->virtio;
    if (order == DEV_LINK_ANNOUNCE) {
        announce(n);
        return;
    }
    dev_lock(v->transport);
    n->unplugged = order == DEV_LINK_DOWN;
    dev_unlock(v->transport);
    virtio_config_changed(v);
}

/* ---- life ---- */

static bool parse_mac(struct virtio_net *n, struct err *e)
{
    unsigned b[6];
    char rest;
    const char *text = n->mac_text ? n->mac_text : "52:54:00:12:34:56";
    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &rest) != 6 || b[0] & 1)
        return err_set(e, EINVAL, "'%s' is no address of a card", text);
    for (unsigned i = 0; i < 6; i++)
        n->mac[i] = n->own[i] = (u8)b[i];
    net_filter_reset(&n->filter);
    return true;
}

static bool check_size(const char *name, u32 size, struct err *e)
{
    return (size >= QUEUE_SIZE_MIN && size <= QUEUE_SIZE_MAX && !(size & (size - 1))) ||
           err_set(e, EINVAL, "Invalid %s (= %u), must be a power of 2 between %d and %d.", name, size, QUEUE_SIZE_MIN, QUEUE_SIZE_MAX);
}

/* A card for each queue of the network, if there are to be several. */
static bool attach_pairs(struct virtio_net *n, struct err *e)
{
    for (struct netdev *q; n->pairs < (n->mq ? PAIRS_MAX : 1u) && (q = net_queue(n->netdev, n->pairs)); n->pairs++) {
        struct pair *p = &n->pair[n->pairs];
        const struct net_user user = {net_receive, p};
        *p = (struct pair){n, n->pairs, q};
        if (!net_attach(q, &user))
            return err_set(e, EBUSY, "its netdev is in use");
        net_use_headers(q);
    }
    for (struct netdev *q = net_queue(n->netdev, n->pairs); q; q = net_queue(q, 1))
        net_enable(q, false);
    return true;
}

static bool net_start(struct dev *d, struct err *e)
{
    struct virtio_net *n = (struct virtio_net *)d;
    n->virtio.kind = &net_kind;
    if (!n->netdev)
        return err_set(e, EINVAL, "netdev property not set");
    if (!check_size("rx_queue_size", n->rx_size, e) || !check_size("tx_queue_size", n->tx_size, e))
        return false;
    if (n->mtu && n->mtu < MTU_MIN)
        return err_set(e, EINVAL, "host_mtu is at least %d", MTU_MIN);
    n->tx_size = MIN(n->tx_size, (u32)QUEUE_SIZE); /* which is what the peer does, too */
    n->used = 1;
    n->offloads = ~0ull;
    if (!parse_mac(n, e) || !attach_pairs(n, e))
        return false;
    n->virtio.queues = PAIR * n->pairs + 1;
    return true;
}

static void net_stop(struct dev *d)
{
    struct virtio_net *n = (struct virtio_net *)d;
    for (unsigned i = 0; i < n->pairs; i++)
        net_detach(n->pair[i].netdev, &n->pair[i]);
    free(n->mac_text);
}

static void *net_bus_side(struct dev *d)
{
    return &((struct virtio_net *)d)->virtio;
}

#define WISH(number, name, text) DEV_PROP(struct virtio_net, name, DEV_PROP_BOOL, wish[number], 1, .help = text)

static const struct dev_prop net_props[] = {
    VIRTIO_PROPS(struct virtio_net, virtio),
    DEV_PROP(struct virtio_net, "netdev", DEV_PROP_NET, netdev, .help = "its network: the id of a -netdev"),
    DEV_PROP(struct virtio_net, "mac", DEV_PROP_STRING, mac_text, .help = "its address"),
    DEV_PROP(struct virtio_net, "mq", DEV_PROP_BOOL, mq, .help = "a pair of queues for each that its network has"),
    DEV_PROP(struct virtio_net, "rx_queue_size", DEV_PROP_U32, rx_size, QUEUE_SIZE, .help = "places: 256, 512 or 1024"),
    DEV_PROP(struct virtio_net, "tx_queue_size", DEV_PROP_U32, tx_size, QUEUE_SIZE, .help = "places: 256"),
    DEV_PROP(struct virtio_net, "host_mtu", DEV_PROP_U32, mtu, 0, 65535, "what the guest is told of the network's largest frames; 0: nothing"),
    WISH(W_CSUM, "csum", "checksums may be left to the network"),
    WISH(W_GSO, "gso", "so may segments, by older drivers"),
    WISH(W_HOST_TSO4, "host_tso4", "so may TCP segments over IPv4"),
    WISH(W_HOST_TSO6, "host_tso6", "so may TCP segments over IPv6"),
    WISH(W_HOST_ECN, "host_ecn", "so may those with ECN"),
    WISH(W_HOST_UFO, "host_ufo", "so may UDP fragments"),
    WISH(W_GUEST_CSUM, "guest_csum", "the guest may get frames without checksums"),
    WISH(W_GUEST_TSO4, "guest_tso4", "and TCP segments over IPv4 that were not cut"),
    WISH(W_GUEST_TSO6, "guest_tso6", "and TCP segments over IPv6"),
    WISH(W_GUEST_ECN, "guest_ecn", "and those with ECN"),
    WISH(W_GUEST_UFO, "guest_ufo", "and UDP fragments"),
    WISH(W_CTRL_GUEST_OFFLOADS, "ctrl_guest_offloads", "the guest may change what it takes"),
    WISH(W_MRG_RXBUF, "mrg_rxbuf", "a frame may lie in several buffers"),
    WISH(W_STATUS, "status", "the state of the cable"),
    WISH(W_CTRL_VQ, "ctrl_vq", "a queue for commands"),
    WISH(W_CTRL_RX, "ctrl_rx", "commands: modes of reception"),
    WISH(W_CTRL_RX_EXTRA, "ctrl_rx_extra", "more of them"),
    WISH(W_CTRL_VLAN, "ctrl_vlan", "virtual networks"),
    WISH(W_CTRL_MAC, "ctrl_mac_addr", "the address"),
    WISH(W_GUEST_ANNOUNCE, "guest_announce", "the guest may be asked to announce itself"),
    {0},
};

static const struct state_field net_state[] = {
    VIRTIO_STATE(struct virtio_net, virtio), STATE_MAX(struct virtio_net, unplugged, 1), STATE_ARRAY(struct virtio_net, mac, u8),
    STATE_MAX(struct virtio_net, announcing, 1), STATE_MAX(struct virtio_net, used, PAIRS_MAX), STATE(struct virtio_net, offloads), STATE_MAX(struct virtio_net, filter.modes, (1 << NET_RX_MODES) - 1),
    STATE_MAX(struct virtio_net, filter.uni.count, NET_FILTER_MACS), STATE_MAX(struct virtio_net, filter.uni.overflow, 1),
    STATE_ARRAY(struct virtio_net, filter.uni.mac, u8), STATE_MAX(struct virtio_net, filter.multi.count, NET_FILTER_MACS),
    STATE_MAX(struct virtio_net, filter.multi.overflow, 1), STATE_ARRAY(struct virtio_net, filter.multi.mac, u8),
    STATE_ARRAY(struct virtio_net, filter.vlans, u32), {0}};

const struct dev_class dev_virtio_net = {
    .name = "virtio-net-device", .help = "virtio network card", .size = sizeof(struct virtio_net), .props = net_props,
    .state = net_state, .start = net_start, .stop = net_stop, .category = "Network", .bus = "virtio-bus",
    .bus_side = net_bus_side, .boot_unit = "ethernet-phy@0", .subject = "link", .order = net_order,
};
