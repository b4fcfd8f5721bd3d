/* Which frames a network card takes. */
#include <string.h>

#include "dev/virtio/net_filter.h"
#include "check.h"

static const u8 own[NET_MAC] = {0x52, 0x54, 0, 0, 0, 1};

/* A frame to `to`, in the virtual network `vlan` if that is not 0. */
static bool passes(const struct net_filter *f, const char *to, unsigned vlan)
{
    u8 frame[60] = {0};
    memcpy(frame, to, NET_MAC);
    if (vlan) {
        frame[12] = 0x81;
        frame[14] = (u8)(vlan >> 8);
        frame[15] = (u8)vlan;
    }
    return net_filter_passes(f, own, true, frame, sizeof(frame));
}

#define OWN       "\x52\x54\0\0\0\1"
#define OTHER     "\x52\x54\0\0\0\2"
#define BROADCAST "\xff\xff\xff\xff\xff\xff"
#define MULTICAST "\x33\x33\0\0\0\1"

TEST(modes)
{
    struct net_filter f;
    net_filter_reset(&f);
    CHECK(passes(&f, OTHER, 7));
    net_filter_set_mode(&f, NET_RX_PROMISC, false);
    CHECK(passes(&f, OWN, 0) && passes(&f, BROADCAST, 0));
    CHECK(!passes(&f, OTHER, 0) && !passes(&f, MULTICAST, 0));
    net_filter_set_mode(&f, NET_RX_ALL_MULTI, true);
    CHECK(passes(&f, MULTICAST, 0) && !passes(&f, OTHER, 0));
    net_filter_set_mode(&f, NET_RX_ALL_UNI, true);
    CHECK(passes(&f, OTHER, 0));
    net_filter_set_mode(&f, NET_RX_NO_UNI, true);
    net_filter_set_mode(&f, NET_RX_NO_MULTI, true);
    net_filter_set_mode(&f, NET_RX_NO_BROADCAST, true);
    CHECK(!passes(&f, OWN, 0) && !passes(&f, MULTICAST, 0) && !passes(&f, BROADCAST, 0));
}

TEST(virtual_networks)
{
    struct net_filter f;
    net_filter_reset(&f);
    net_filter_set_mode(&f, NET_RX_PROMISC, false);
    CHECK(!passes(&f, OWN, 5));
    CHECK(net_filter_set_vlan(&f, 5, true) && !net_filter_set_vlan(&f, NET_VLANS, true));
    CHECK(passes(&f, OWN, 5) && passes(&f, OWN, 0x2005) && !passes(&f, OWN, 6));
    net_filter_set_vlan(&f, 5, false);
    CHECK(!passes(&f, OWN, 5));
}

TEST(tables)
{
    struct net_filter f;
    u8 many[8 + NET_MAC * (NET_FILTER_MACS + 1)] = {NET_FILTER_MACS + 1};
    net_filter_reset(&f);
    net_filter_set_mode(&f, NET_RX_PROMISC, false);
    static const u8 both[] = "\1\0\0\0" OTHER "\1\0\0\0" MULTICAST;
    CHECK(net_filter_set_macs(&f, both, sizeof(both) - 1));
    CHECK(passes(&f, OTHER, 0) && passes(&f, MULTICAST, 0));
    CHECK(!net_filter_set_macs(&f, both, sizeof(both) - 2));
    CHECK(!net_filter_set_macs(&f, both, 10));
    CHECK(!net_filter_set_macs(&f, (const u8 *)"\xff\xff\xff\xff\0\0\0\0", 8));
    CHECK(passes(&f, OTHER, 0)); /* as before */
    CHECK(net_filter_set_macs(&f, many, sizeof(many)));
    CHECK(passes(&f, OTHER, 0) && !passes(&f, MULTICAST, 0));
}

TEST_MAIN()
