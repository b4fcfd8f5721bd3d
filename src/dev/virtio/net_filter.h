/* Which frames a network card takes: what its driver says on the control queue (Virtio 1.1, 5.1.6.5). */
#ifndef LYRE_DEV_VIRTIO_NET_FILTER_H
#define LYRE_DEV_VIRTIO_NET_FILTER_H

#include "base/types.h"

enum { NET_MAC = 6, NET_FILTER_MACS = 64, NET_VLANS = 4096 };

/* Modes, by the number of their command. */
enum net_rx_mode { NET_RX_PROMISC, NET_RX_ALL_MULTI, NET_RX_ALL_UNI, NET_RX_NO_MULTI, NET_RX_NO_UNI, NET_RX_NO_BROADCAST, NET_RX_MODES };

struct net_macs {
    u32 count;
    u32 overflow; /* there were more than there is room: all are taken */
    u8 mac[NET_FILTER_MACS * NET_MAC];
};

struct net_filter {
    u32 modes; /* a bit for each */
    struct net_macs uni, multi;
    u32 vlans[NET_VLANS / 32];
};

/* As a driver finds it: everything is taken. */
void net_filter_reset(struct net_filter *f);

/* Whether a frame for the card with this address passes. `vlans`: of virtual networks only those that the driver has named. */
bool net_filter_passes(const struct net_filter *f, const u8 *own, bool vlans, const u8 *frame, size_t len);

void net_filter_set_mode(struct net_filter *f, enum net_rx_mode mode, bool on);
/* False: there is no such network. */
bool net_filter_set_vlan(struct net_filter *f, u32 vlan, bool on);
/* Two tables of addresses, each behind its length in four bytes: false: they are not complete. */
bool net_filter_set_macs(struct net_filter *f, const u8 *tables, size_t len);

#endif
