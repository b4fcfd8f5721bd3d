#include "dev/virtio/net_offload.h"

enum { NEEDS_CSUM = 1 }; /* flags */
enum { GSO_NONE = 0, GSO_TCPV4 = 1, GSO_UDP = 3, GSO_TCPV6 = 4, GSO_ECN = 0x80 }; /* gso_type */

bool net_offload_fits(const struct net_header *h, u32 takes)
{
    if (h->gso_type & GSO_ECN && !(takes & NET_TAKES_ECN))
        return false;
    switch (h->gso_type & ~GSO_ECN) {
    case GSO_NONE: return true;
    case GSO_TCPV4: return takes & NET_TAKES_TSO4;
    case GSO_TCPV6: return takes & NET_TAKES_TSO6;
    case GSO_UDP: return takes & NET_TAKES_UFO;
    default: return false;
    }
}

bool net_offload_is_open(const struct net_header *h, u32 takes)
{
    return h->flags & NEEDS_CSUM && !(takes & NET_TAKES_CSUM);
}

/* The Internet checksum (RFC 1071) of what follows, which includes the pseudo header's at its place. */
static u16 checksum(const u8 *data, size_t len)
{
    u64 sum = 0;
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += (u32)data[i] << 8 | data[i + 1];
    if (len & 1)
        sum += (u32)data[len - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (u16)~sum;
}

void net_offload_finish(struct net_header *h, u8 *frame, size_t len)
{
    const size_t start = h->csum_start, at = start + h->csum_offset;
    if (at + 2 <= len) {
        u16 sum = checksum(frame + start, len - start);
        sum = sum ? sum : 0xffff; /* zero says that there is none, in UDP */
        frame[at] = (u8)(sum >> 8);
        frame[at + 1] = (u8)sum;
    }
    h->flags = 0;
}
