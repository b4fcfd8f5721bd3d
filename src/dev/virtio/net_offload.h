/* What is left to do to a frame that a guest does not do itself (Virtual I/O Device specification 1.1, 5.1.6.4.1). */
#ifndef LYRE_DEV_VIRTIO_NET_OFFLOAD_H
#define LYRE_DEV_VIRTIO_NET_OFFLOAD_H

#include "back/net.h"

/* False: a guest that takes so much (NET_TAKES_*) takes no such segments. */
bool net_offload_fits(const struct net_header *h, u32 takes);
/* Its checksum is to be completed first. */
bool net_offload_is_open(const struct net_header *h, u32 takes);
void net_offload_finish(struct net_header *h, u8 *frame, size_t len);

#endif
