/* Virtio devices (Virtual I/O Device specification 1.1) between their transport, which shows registers to the guest,
 * and their kind (block, network ...), which serves queues.
 *
 * Registers are the vCPUs' and under the transport's lock. Queues are served on the machine's loop, without a lock:
 * a guest's notification posts a task there. A reset takes effect at once, but the guest may see it only when what was
 * in flight has ended (virtio_status()). */
#ifndef LYRE_DEV_VIRTIO_VIRTIO_H
#define LYRE_DEV_VIRTIO_VIRTIO_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "dev/dev.h"

enum { VIRTIO_QUEUES = 64, VIRTIO_QUEUE_MAX = 1024, VIRTIO_CONFIG_MAX = 256 };

/* Features of all kinds (section 6, and 6.3 for what older drivers know). */
#define VIRTIO_F_NOTIFY_ON_EMPTY (1ull << 24)
#define VIRTIO_F_ANY_LAYOUT      (1ull << 27)
#define VIRTIO_F_INDIRECT_DESC   (1ull << 28)
#define VIRTIO_F_EVENT_IDX       (1ull << 29)
#define VIRTIO_F_VERSION_1       (1ull << 32)
#define VIRTIO_F_RING_PACKED     (1ull << 34)

enum { VIRTIO_ACKNOWLEDGE = 1, VIRTIO_DRIVER = 2, VIRTIO_DRIVER_OK = 4, VIRTIO_FEATURES_OK = 8, VIRTIO_NEEDS_RESET = 64,
       VIRTIO_FAILED = 128 };
enum { VIRTIO_INT_QUEUE = 1, VIRTIO_INT_CONFIG = 2 };

struct virtio;

/* What a kind of device is. */
struct virtio_kind {
    u32 id; /* section 5 */
    u64 (*features)(struct virtio *v); /* beside those of all kinds */
    u64 old_features; /* of them, those that only drivers before version 1 know */
    /* The configuration space as it is now; its length. */
    unsigned (*config)(struct virtio *v, u8 *to);
    void (*config_write)(struct virtio *v, unsigned offset, unsigned size, u32 value); /* NULL: read only */
    /* On the loop: there may be something in the queue. */
    void (*kick)(struct virtio *v, unsigned queue);
    void (*reset)(struct virtio *v); /* under the transport's lock; NULL: nothing to do */
    unsigned (*queue_size)(struct virtio *v, unsigned queue); /* NULL: all are of struct virtio.queue_size */
    void (*spread)(struct virtio *v, unsigned cpus); /* have a queue for each CPU if nothing else was asked for; NULL: no */
};

/* A queue, as its driver has set it up, and how far the device is: all of it is saved. */
struct virtqueue {
    u64 desc, avail, used; /* addresses of its three parts */
    u64 size, ready;
    u64 next;   /* how many chains were taken; the ring's index is this modulo 2^16 */
    u64 put;    /* how many were given back */
    u64 epoch;  /* one more with each reset: what was taken before is dropped */
};

struct virtio {
    const struct virtio_kind *kind;
    struct dev *transport; /* whose lock, machine and reset it shares; NULL: not plugged in */
    void (*interrupt)(struct dev *transport, u32 reason, unsigned queue); /* from any thread, without the lock */

    bool packed;  /* a property: offer packed rings */
    u64 features; /* as the driver took them */
    u32 status;
    u32 queues, queue_size;
    u32 config_generation;
    struct virtqueue queue[VIRTIO_QUEUES];

    _Atomic u32 in_flight;
    _Atomic u64 kicked; /* a bit for each queue */
    _Atomic bool posted;
    struct loop_task task;
};

/* ---- for transports: under their lock ---- */

void virtio_plug(struct virtio *v, struct dev *transport,
                 void (*interrupt)(struct dev *transport, u32 reason, unsigned queue));
u64 virtio_offered(struct virtio *v);
/* Halves of the features, 0 and 1: what is offered, and what the driver takes. `old` drivers have the first alone. */
u32 virtio_offered_half(struct virtio *v, u32 half, bool old);
void virtio_accept_half(struct virtio *v, u32 half, bool old, u32 value);
void virtio_set_half(u64 *to, bool high, u32 value);
u32 virtio_status(struct virtio *v);
void virtio_set_status(struct virtio *v, u32 status); /* 0: reset */
u32 virtio_config_read(struct virtio *v, unsigned offset, unsigned size);
void virtio_config_write(struct virtio *v, unsigned offset, unsigned size, u32 value);
/* The layout that drivers before version 1 use: one piece, `align` between its halves. */
void virtio_queue_legacy(struct virtqueue *q, u64 address, u64 align);
void virtio_notify(struct virtio *v, unsigned queue);

/* ---- for kinds: on the loop ---- */

/* A chain of buffers: what the device reads, then what it writes. Freed by virtio_put(). */
struct virtio_chain {
    struct virtio *v;
    unsigned queue, head, places; /* head: what the ring calls it; the places that it takes there */
    u64 epoch;
    struct iovec *out, *in;
    u64 *in_addr; /* guest addresses of `in` */
    unsigned outs, ins;
    u64 out_len, in_len;
};

/* The next chain; NULL: there is none, or the driver has broken the queue, which is logged and needs a reset. */
struct virtio_chain *virtio_take(struct virtio *v, unsigned queue);
/* The chain that was taken last, from this queue, is as if it had not been: it is there to be taken again. Frees it. */
void virtio_untake(struct virtio_chain *c);
/* Give it back with `written` bytes of what the device writes, and interrupt if the driver wants that. */
void virtio_put(struct virtio_chain *c, u64 written);

/* It is another one after each reset, which a kind can notice by it. */
u64 virtio_epoch(struct virtio *v);

/* Its configuration has changed by itself: drivers that run are told. Without the transport's lock. */
void virtio_config_changed(struct virtio *v);

/* Copy from the start of what the device reads, or to an offset of what it writes; false: it is too short. */
bool virtio_chain_read(const struct virtio_chain *c, u64 offset, void *to, u64 len);
bool virtio_chain_write(const struct virtio_chain *c, u64 offset, const void *from, u64 len);
/* The part [offset, offset + len) of a vector; the caller frees it. */
struct iovec *virtio_cut(const struct iovec *iov, unsigned count, u64 offset, u64 len, unsigned *parts);

/* The properties that every kind has beside its own. */
#define VIRTIO_PROPS(type, member)                                                                 \
    DEV_PROP(type, "packed", DEV_PROP_BOOL, member.packed, .help = "offer packed rings")

/* The state that every kind saves beside its own. */
#define VIRTIO_STATE(type, member)                                                                 \
    STATE(type, member.features), STATE_MAX(type, member.status, 0xff),                            \
        STATE(type, member.config_generation), STATE_ARRAY(type, member.queue, u64)

/* What a class that is plugged into a virtio bus gives to it. */
struct virtio *virtio_of(struct dev *d);

#endif
