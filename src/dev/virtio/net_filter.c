#include "dev/virtio/net_filter.h"

#include <string.h>

enum { VLAN_TAG_AT = 12, VLAN_ID_AT = 14, VLAN_MASK = 0xfff, HEADER = 14 };

void net_filter_reset(struct net_filter *f)
{
    *f = (struct net_filter){.modes = 1u << NET_RX_PROMISC};
}

static bool has(const struct net_filter *f, enum net_rx_mode mode)
{
    return f->modes >> mode & 1;
}

static bool lists(const struct net_macs *t, const u8 *mac)
{
    for (u32 i = 0; i < t->count; i++) {
        if (!memcmp(t->mac + i * NET_MAC, mac, NET_MAC))
            return true;
    }
    return t->overflow;
}

static bool passes_vlan(const struct net_filter *f, const u8 *frame, size_t len)
{
    if (len < VLAN_ID_AT + 2 || frame[VLAN_TAG_AT] != 0x81 || frame[VLAN_TAG_AT + 1])
        return true;
    unsigned id = (unsigned)(frame[VLAN_ID_AT] << 8 | frame[VLAN_ID_AT + 1]) & VLAN_MASK;
    return f->vlans[id / 32] >> id % 32 & 1;
}

bool net_filter_passes(const struct net_filter *f, const u8 *own, bool vlans, const u8 *frame, size_t len)
{
    static const u8 everybody[NET_MAC] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    if (has(f, NET_RX_PROMISC) || len < HEADER)
        return true;
    if (vlans && !passes_vlan(f, frame, len))
        return false;
    if (!memcmp(frame, everybody, NET_MAC))
        return !has(f, NET_RX_NO_BROADCAST);
    if (frame[0] & 1)
        return !has(f, NET_RX_NO_MULTI) && (has(f, NET_RX_ALL_MULTI) || lists(&f->multi, frame));
    return !has(f, NET_RX_NO_UNI) && (has(f, NET_RX_ALL_UNI) || !memcmp(frame, own, NET_MAC) || lists(&f->uni, frame));
}

void net_filter_set_mode(struct net_filter *f, enum net_rx_mode mode, bool on)
{
    f->modes = on ? f->modes | 1u << mode : f->modes & ~(1u << mode);
}

bool net_filter_set_vlan(struct net_filter *f, u32 vlan, bool on)
{
    if (vlan >= NET_VLANS)
        return false;
    u32 bit = 1u << vlan % 32;
    f->vlans[vlan / 32] = on ? f->vlans[vlan / 32] | bit : f->vlans[vlan / 32] & ~bit;
    return true;
}

/* One table; what is behind it, NULL: it is not complete. */
static const u8 *take_table(struct net_macs *t, const u8 *at, const u8 *end)
{
    u32 count;
    if (end - at < (ptrdiff_t)sizeof(count))
        return NULL;
    memcpy(&count, at, sizeof(count));
    at += sizeof(count);
    if (count > (size_t)(end - at) / NET_MAC)
        return NULL;
    *t = (struct net_macs){.count = count, .overflow = count > NET_FILTER_MACS};
    if (t->overflow)
        t->count = 0;
    memcpy(t->mac, at, t->count * NET_MAC);
    return at + (size_t)count * NET_MAC;
}

bool net_filter_set_macs(struct net_filter *f, const u8 *tables, size_t len)
{
    struct net_macs uni, multi;
    const u8 *end = tables + len, *second = take_table(&uni, tables, end);
    if (!second || take_table(&multi, second, end) != end)
        return false;
    f->uni = uni;
    f->multi = multi;
    return true;
}
