/* virtio-net: a network card (section 5.1 of the specification), with one pair of queues, a control queue
 * and without offloads. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "back/net.h"
#include "base/mem.h"
#include "dev/list.h"
#include "dev/virtio/net_filter.h"
#include "dev/virtio/virtio.h"

#define F_MAC       (1ull << 5)
#define F_MRG_RXBUF (1ull << 15)
#define F_STATUS    (1ull << 16)
#define F_CTRL_VQ   (1ull << 17)
#define F_CTRL_RX   (1ull << 18)
#define F_CTRL_VLAN (1ull << 19)
#define F_CTRL_RX_EXTRA (1ull << 20)
#define F_GUEST_ANNOUNCE (1ull << 21)
#define F_CTRL_MAC  (1ull << 23)

enum { RX, TX, CONTROL, QUEUES };
enum { HEADER = 12, LEGACY_HEADER = 10, BUFFERS_AT = 10, LINK_UP = 1, ANNOUNCE = 2, CHAINS_MAX = 64 };
/* Classes of commands of the control queue, and commands (5.1.6.5). */
enum { CTRL_RX = 0, CTRL_MAC = 1, CTRL_VLAN = 2, CTRL_ANNOUNCE = 3, CTRL_OK = 0, CTRL_ERROR = 1, CTRL_MAX = 4096,
       MAC_TABLES = 0, MAC_ADDRESS = 1, VLAN_ADD = 0, VLAN_DEL = 1, ANNOUNCE_ACK = 0 };

struct virtio_net {
    struct dev dev;
    struct virtio virtio;
    struct netdev *netdev;
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
    return F_MAC | F_MRG_RXBUF | F_STATUS | F_CTRL_VQ | F_CTRL_RX | F_CTRL_VLAN | F_CTRL_RX_EXTRA | F_GUEST_ANNOUNCE |
           F_CTRL_MAC;
}

static unsigned net_config(struct virtio *v, u8 *to)
{
    u16 status = (of(v)->unplugged ? 0 : LINK_UP) | (of(v)->announcing ? ANNOUNCE : 0);
    memcpy(to, of(v)->mac, 6);
    memcpy(to + 6, &status, 2);
    return 8;
}

/* The count of buffers ends it for all but old drivers without mergeable buffers. */
static u64 header_size(const struct virtio *v)
{
    return v->features & (F_MRG_RXBUF | VIRTIO_F_VERSION_1) ? HEADER : LEGACY_HEADER;
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

static bool obey(struct virtio_net *n, u8 class, u8 command, const u8 *data, size_t len)
{
    switch (class) {
    case CTRL_RX: return set_mode(n, command, data, len);
    case CTRL_MAC: return set_address(n, command, data, len);
    case CTRL_VLAN: return set_vlan(n, command, data, len);
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
    virtio_put(c, virtio_chain_write(c, 0, &answer, 1));
}

/* ---- from the guest ---- */

static void transmit(struct virtio_net *n, struct virtio_chain *c)
{
    u8 frame[NET_FRAME_MAX];
    u64 skip = header_size(&n->virtio), len = c->out_len > skip ? c->out_len - skip : 0;
    if (len && len <= sizeof(frame) && !n->unplugged && virtio_chain_read(c, skip, frame, len))
        net_send(n->netdev, frame, len);
    virtio_put(c, 0);
}

static void net_kick(struct virtio *v, unsigned queue)
{
    struct virtio_chain *c;
    if (queue == RX) {
        net_accept(of(v)->netdev);
        return;
    }
    while ((c = virtio_take(v, queue))) {
        if (queue == TX)
            transmit(of(v), c);
        else
            control(of(v), c);
    }
}

/* ---- to the guest ---- */

/* Chains with room for `need` bytes, one if buffers are not merged. 0: there are not enough now; what was taken is not
 * lost, but goes back unused, as no ring can take it back otherwise. */
static unsigned take_room(struct virtio *v, u64 need, struct virtio_chain **chains)
{
    unsigned n = 0, most = v->features & F_MRG_RXBUF ? CHAINS_MAX : 1;
    for (u64 room = 0; room < need && n < most; n++) {
        chains[n] = virtio_take(v, RX);
        if (!chains[n])
            break;
        room += chains[n]->in_len;
        if (room >= need)
            return n + 1;
    }
    for (unsigned i = 0; i < n; i++)
        virtio_put(chains[i], 0);
    return 0;
}

static bool wants(struct virtio_net *n, const u8 *frame, size_t len)
{
    dev_lock(n->virtio.transport);
    bool passes = net_filter_passes(&n->filter, n->mac, n->virtio.features & F_CTRL_VLAN, frame, len);
    dev_unlock(n->virtio.transport);
    return passes;
}

/* Before the driver runs, frames fall to the ground as on a wire. */
static bool net_receive(void *opaque, const u8 *frame, size_t len)
{
    struct virtio_net *n = opaque;
    struct virtio *v = &n->virtio;
    struct virtio_chain *chains[CHAINS_MAX];
    u8 header[HEADER] = {0};
    u64 head = header_size(v);
    if (!v->transport || !(v->status & VIRTIO_DRIVER_OK) || n->unplugged || !wants(n, frame, len))
        return true;
    unsigned count = take_room(v, head + len, chains);
    if (!count)
        return false;
    header[BUFFERS_AT] = (u8)count;
    u8 *all = xmalloc(head + len), *at = all;
    memcpy(all, header, head);
    memcpy(all + head, frame, len);
    for (unsigned i = 0; i < count; i++) {
        u64 part = MIN(chains[i]->in_len, (u64)(all + head + len - at));
        virtio_chain_write(chains[i], 0, at, part);
        virtio_put(chains[i], part);
        at += part;
    }
    free(all);
    return true;
}

static const struct virtio_kind net_kind = {
    .id = 1, .features = net_features, .config = net_config, .config_write = net_config_write, .kick = net_kick,
    .reset = net_reset,
};

/* RARP (RFC 903): a request for the card's own address, from which bridges learn where it is. */
static void send_rarp(struct virtio_net *n)
{
    static const u8 head[] = {0x80, 0x35, 0, 1, 8, 0, NET_MAC, 4, 0, 3}; /* Ethernet, IPv4, request */
    enum { HEAD_AT = 2 * NET_MAC, SENDER_AT = HEAD_AT + sizeof(head), TARGET_AT = SENDER_AT + NET_MAC + 4, LEAST = 60 };
    u8 frame[LEAST] = {0};
    memset(frame, 0xff, NET_MAC);
    memcpy(frame + NET_MAC, n->mac, NET_MAC);
    memcpy(frame + HEAD_AT, head, sizeof(head));
    memcpy(frame + SENDER_AT, n->mac, NET_MAC);
    memcpy(frame + TARGET_AT, n->mac, NET_MAC);
    net_send(n->netdev, frame, sizeof(frame));
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

static bool net_start(struct dev *d, struct err *e)
{
    struct virtio_net *n = (struct virtio_net *)d;
    const struct net_user user = {net_receive, n};
    n->virtio.kind = &net_kind;
    n->virtio.queues = QUEUES;
    n->virtio.queue_size = 256;
    if (!n->netdev)
        return err_set(e, EINVAL, "netdev property not set");
    return parse_mac(n, e) && (net_attach(n->netdev, &user) || err_set(e, EBUSY, "its netdev is in use"));
}

static void net_stop(struct dev *d)
{
    struct virtio_net *n = (struct virtio_net *)d;
    if (n->netdev)
        net_detach(n->netdev, n);
    free(n->mac_text);
}

static void *net_bus_side(struct dev *d)
{
    return &((struct virtio_net *)d)->virtio;
}

static const struct dev_prop net_props[] = {
    VIRTIO_PROPS(struct virtio_net, virtio),
    DEV_PROP(struct virtio_net, "netdev", DEV_PROP_NET, netdev, .help = "its network: the id of a -netdev"),
    DEV_PROP(struct virtio_net, "mac", DEV_PROP_STRING, mac_text, .help = "its address"),
    {0},
};

static const struct state_field net_state[] = {
    VIRTIO_STATE(struct virtio_net, virtio), STATE_MAX(struct virtio_net, unplugged, 1), STATE_ARRAY(struct virtio_net, mac, u8),
    STATE_MAX(struct virtio_net, announcing, 1), STATE_MAX(struct virtio_net, filter.modes, (1 << NET_RX_MODES) - 1),
    STATE_MAX(struct virtio_net, filter.uni.count, NET_FILTER_MACS), STATE_MAX(struct virtio_net, filter.uni.overflow, 1),
    STATE_ARRAY(struct virtio_net, filter.uni.mac, u8), STATE_MAX(struct virtio_net, filter.multi.count, NET_FILTER_MACS),
    STATE_MAX(struct virtio_net, filter.multi.overflow, 1), STATE_ARRAY(struct virtio_net, filter.multi.mac, u8),
    STATE_ARRAY(struct virtio_net, filter.vlans, u32), {0}};

const struct dev_class dev_virtio_net = {
    .name = "virtio-net-device", .help = "virtio network card", .size = sizeof(struct virtio_net), .props = net_props,
    .state = net_state, .start = net_start, .stop = net_stop, .category = "Network", .bus = "virtio-bus",
    .bus_side = net_bus_side, .boot_unit = "ethernet-phy@0", .subject = "link", .order = net_order,
};
