/* Packed rings (section 2.7): one ring, in which descriptors that are available and those that are used follow each other.
 * Which is which, flags say, whose sense changes with each turn around the ring. q->next and q->put count places without
 * end: the place is the remainder, the turn the quotient. */
#include "dev/virtio/ring.h"

enum { FLAG_AVAIL = 1 << 7, FLAG_USED = 1 << 15, FLAGS_AT = 14, ID_AT = 12 };
/* The two event structures: where the driver (at q->avail) and the device (at q->used) want to hear of progress. */
enum { EVENT_PLACE = 0, EVENT_FLAGS = 2, EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2, TURN = 1 << 15 };

struct packed {
    u64 addr;
    u32 len;
    u16 id, flags;
};

static u64 place(const struct virtqueue *q, u64 count)
{
    return q->desc + count % q->size * DESC_SIZE;
}

/* The first turn is one in which flags that are set say so. */
static bool turn(const struct virtqueue *q, u64 count)
{
    return !(count / q->size & 1);
}

static bool is_available(struct virtio *v, const struct virtqueue *q)
{
    u16 flags = virtio_get16(v, place(q, q->next) + FLAGS_AT);
    bool now = turn(q, q->next);
    return !(flags & FLAG_AVAIL) == !now && !(flags & FLAG_USED) == now;
}

bool virtio_packed_available(struct virtio *v, const struct virtqueue *q)
{
    bool there = is_available(v, q);
    if (!there) {
        bool by_place = v->features & VIRTIO_F_EVENT_IDX;
        u64 where = q->next % q->size | (turn(q, q->next) ? TURN : 0);
        mem_write(virtio_memory(v), q->used + EVENT_PLACE, 2, where);
        mem_write(virtio_memory(v), q->used + EVENT_FLAGS, 2, by_place ? EVENT_DESC : EVENT_ENABLE);
        atomic_thread_fence(memory_order_seq_cst);
        there = is_available(v, q);
    }
    atomic_thread_fence(memory_order_acquire);
    return there;
}

static const char *walk_table(struct virtio *v, const struct packed *d, struct virtio_vectors *out, struct virtio_vectors *in)
{
    struct packed e;
    const char *why;
    if (d->flags & DESC_NEXT || d->len % DESC_SIZE || !d->len || d->len / DESC_SIZE > VIRTIO_QUEUE_MAX)
        return "an indirect table that cannot be";
    for (u32 i = 0; i < d->len / DESC_SIZE; i++) {
        if (mem_dma_read(virtio_memory(v), d->addr + (u64)i * DESC_SIZE, &e, sizeof(e)) != MEM_OK)
            return "an indirect table that is not in memory";
        if (!virtio_add_buffer(v, out, in, e.addr, e.len, e.flags & DESC_WRITE, &why))
            return why;
    }
    return NULL;
}

const char *virtio_packed_walk(struct virtio *v, const struct virtqueue *q, struct virtio_vectors *out,
                               struct virtio_vectors *in, unsigned *id, unsigned *places)
{
    struct packed d;
    const char *why;
    for (*places = 1; *places <= q->size; (*places)++) {
        if (mem_dma_read(virtio_memory(v), place(q, q->next + *places - 1), &d, sizeof(d)) != MEM_OK)
            return "a ring that is not in memory";
        *id = d.id; /* the last one's counts */
        if (d.flags & DESC_INDIRECT)
            return *places == 1 ? walk_table(v, &d, out, in) : "an indirect table behind other buffers";
        if (!virtio_add_buffer(v, out, in, d.addr, d.len, d.flags & DESC_WRITE, &why))
            return why;
        if (!(d.flags & DESC_NEXT))
            return NULL;
    }
    return "a chain without an end";
}

void virtio_packed_put(struct virtio *v, const struct virtqueue *q, unsigned id, u64 written)
{
    u64 at = place(q, q->put);
    u16 flags = (u16)((turn(q, q->put) ? FLAG_AVAIL | FLAG_USED : 0) | (written ? DESC_WRITE : 0));
    mem_write(virtio_memory(v), at + ID_AT - 4, 4, written);
    mem_write(virtio_memory(v), at + ID_AT, 2, id);
    atomic_thread_fence(memory_order_release);
    mem_write(virtio_memory(v), at + FLAGS_AT, 2, flags);
}

bool virtio_packed_wants_interrupt(struct virtio *v, const struct virtqueue *q, unsigned places)
{
    u16 flags = virtio_get16(v, q->avail + EVENT_FLAGS), where = virtio_get16(v, q->avail + EVENT_PLACE);
    if (flags != EVENT_DESC || !(v->features & VIRTIO_F_EVENT_IDX))
        return flags != EVENT_DISABLE;
    u16 event = where & (TURN - 1), new = (u16)(q->put % q->size);
    if (!(where & TURN) == turn(q, q->put))
        event = (u16)(event - q->size);
    return (u16)(new - event - 1) < places;
}
