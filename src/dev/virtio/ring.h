/* Inside src/dev/virtio: what split and packed rings share, and packed rings (section 2.7). */
#ifndef LYRE_DEV_VIRTIO_RING_H
#define LYRE_DEV_VIRTIO_RING_H

#include "dev/virtio/virtio.h"

enum { DESC_SIZE = 16, DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

/* Buffers of a chain, those that are read or those that are written. */
struct virtio_vectors {
    struct iovec *iov;
    u64 *addr;
    size_t count, cap, addrs, addr_cap;
    u64 len;
};

/* What the device's addresses are of. */
static inline struct mem_space *virtio_memory(const struct virtio *v)
{
    return v->transport->env->memory;
}

/* A buffer of a chain: false, with what is wrong in *why. */
bool virtio_add_buffer(struct virtio *v, struct virtio_vectors *out, struct virtio_vectors *in, u64 addr, u32 len, bool write,
                       const char **why);
u16 virtio_get16(struct virtio *v, u64 addr);

/* Is there a chain? If not, the driver has been told from where on it is to notify. */
bool virtio_packed_available(struct virtio *v, const struct virtqueue *q);
/* The next chain: what it is called, and how many places of the ring it takes. NULL, or what is wrong with it. */
const char *virtio_packed_walk(struct virtio *v, const struct virtqueue *q, struct virtio_vectors *out,
                               struct virtio_vectors *in, unsigned *id, unsigned *places);
/* Write the used descriptor of a chain, before q->put moves on by its places. */
void virtio_packed_put(struct virtio *v, const struct virtqueue *q, unsigned id, u64 written);
/* After it has: is the driver to be interrupted? */
bool virtio_packed_wants_interrupt(struct virtio *v, const struct virtqueue *q, unsigned places);

#endif
