/* virtio-net: a network card (section 5.1 of the specification), with one pair of queues and without offloads. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "back/net.h"
#include "base/mem.h"
#include "dev/list.h"
#include "dev/virtio/virtio.h"

#define F_MAC       (1ull << 5)
#define F_MRG_RXBUF (1ull << 15)
#define F_STATUS    (1ull << 16)

enum { RX, TX, QUEUE_PAIR };
enum { HEADER = 12, LEGACY_HEADER = 10, BUFFERS_AT = 10, LINK_UP = 1, CHAINS_MAX = 64 };

struct virtio_net {
    struct dev dev;
    struct virtio virtio;
    struct netdev *netdev;
    char *mac_text;
    u8 mac[6];
    bool unplugged; /* what a monitor says of its cable */
};

static struct virtio_net *of(struct virtio *v)
{
    return container_of(v, struct virtio_net, virtio);
}

static u64 net_features(struct virtio *v)
{
    return F_MAC | F_MRG_RXBUF | F_STATUS;
}

static unsigned net_config(struct virtio *v, u8 *to)
{
    u16 status = of(v)->unplugged ? 0 : LINK_UP;
    memcpy(to, of(v)->mac, 6);
    memcpy(to + 6, &status, 2);
    return 8;
}

/* The count of buffers ends it for all but old drivers without mergeable buffers. */
static u64 header_size(const struct virtio *v)
{
    return v->features & (F_MRG_RXBUF | VIRTIO_F_VERSION_1) ? HEADER : LEGACY_HEADER;
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
    while (queue == TX && (c = virtio_take(v, queue)))
        transmit(of(v), c);
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

/* Before the driver runs, frames fall to the ground as on a wire. */
static bool net_receive(void *opaque, const u8 *frame, size_t len)
{
    struct virtio_net *n = opaque;
    struct virtio *v = &n->virtio;
    struct virtio_chain *chains[CHAINS_MAX];
    u8 header[HEADER] = {0};
    u64 head = header_size(v);
    if (!v->transport || !(v->status & VIRTIO_DRIVER_OK) || n->unplugged)
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
    .id = 1, .features = net_features, .config = net_config, .kick = net_kick,
};

static void net_order(struct dev *d, u64 up)
{
    struct virtio_net *n = (struct virtio_net *)d;
    struct virtio *v = &n->virtio;
    dev_lock(v->transport);
    n->unplugged = !up;
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
        n->mac[i] = (u8)b[i];
    return true;
}

static bool net_start(struct dev *d, struct err *e)
{
    struct virtio_net *n = (struct virtio_net *)d;
    const struct net_user user = {net_receive, n};
    n->virtio.kind = &net_kind;
    n->virtio.queues = QUEUE_PAIR;
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
    VIRTIO_STATE(struct virtio_net, virtio), STATE_MAX(struct virtio_net, unplugged, 1), {0}};

const struct dev_class dev_virtio_net = {
    .name = "virtio-net-device", .help = "virtio network card", .size = sizeof(struct virtio_net), .props = net_props,
    .state = net_state, .start = net_start, .stop = net_stop, .category = "Network", .bus = "virtio-bus",
    .bus_side = net_bus_side, .boot_unit = "ethernet-phy@0", .subject = "link", .order = net_order,
};
