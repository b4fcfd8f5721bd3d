#include "dev/virtio/ring.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

/* Of a split ring (section 2.6): descriptors, and the two rings' flags and counters. */
enum { RING_FLAGS = 0, RING_INDEX = 2, RING = 4, AVAIL_ENTRY = 2, USED_ENTRY = 8, NO_INTERRUPT = 1 };
enum { SEGMENTS_MAX = 1024 };

struct desc {
    u64 addr;
    u32 len;
    u16 flags, next;
};

u16 virtio_get16(struct virtio *v, u64 addr)
{
    u64 x = 0;
    mem_read(virtio_memory(v), addr, 2, &x);
    return (u16)x;
}

/* ---- registers ---- */

static void serve(struct loop_task *t);

void virtio_plug(struct virtio *v, struct dev *transport,
                 void (*interrupt)(struct dev *transport, u32 reason, unsigned queue))
{
    v->transport = transport;
    v->interrupt = interrupt;
    v->task.run = serve;
}

u64 virtio_offered(struct virtio *v)
{
    return v->kind->features(v) | VIRTIO_F_NOTIFY_ON_EMPTY | VIRTIO_F_ANY_LAYOUT | VIRTIO_F_INDIRECT_DESC |
           VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 | (v->packed ? VIRTIO_F_RING_PACKED : 0);
}

u32 virtio_offered_half(struct virtio *v, u32 half, bool old)
{
    u64 hidden = old ? 0 : VIRTIO_F_NOTIFY_ON_EMPTY | VIRTIO_F_ANY_LAYOUT | v->kind->old_features;
    return half > !old ? 0 : (u32)((virtio_offered(v) & ~hidden) >> 32 * half);
}

void virtio_set_half(u64 *to, bool high, u32 value)
{
    *to = high ? (*to & 0xffffffff) | (u64)value << 32 : (*to & ~0xffffffffull) | value;
}

void virtio_accept_half(struct virtio *v, u32 half, bool old, u32 value)
{
    if (half > !old || v->status & VIRTIO_FEATURES_OK)
        return;
    virtio_set_half(&v->features, half, value);
    v->features &= virtio_offered(v);
}

static void reset(struct virtio *v)
{
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        u64 epoch = v->queue[i].epoch + 1;
        unsigned size = i >= v->queues ? 0 : v->kind->queue_size ? v->kind->queue_size(v, i) : v->queue_size;
        v->queue[i] = (struct virtqueue){.size = size, .epoch = epoch};
    }
    v->features = 0;
    if (v->kind->reset)
        v->kind->reset(v);
}

/* The guest that waits for a reset sees that it goes on. */
u32 virtio_status(struct virtio *v)
{
    return !v->status && atomic_load(&v->in_flight) ? VIRTIO_NEEDS_RESET : v->status;
}

void virtio_set_status(struct virtio *v, u32 status)
{
    v->status = status & 0xff;
    trace(TRACE_VIRTIO_STATUS, "dev %s val %u", v->transport->name, v->status);
    if (!v->status)
        reset(v);
}

u32 virtio_config_read(struct virtio *v, unsigned offset, unsigned size)
{
    u8 config[VIRTIO_CONFIG_MAX] = {0};
    u32 x = 0;
    v->kind->config(v, config);
    if (offset + size <= sizeof(config))
        memcpy(&x, config + offset, size);
    return x;
}

void virtio_config_write(struct virtio *v, unsigned offset, unsigned size, u32 value)
{
    if (v->kind->config_write)
        v->kind->config_write(v, offset, size, value);
}

void virtio_queue_legacy(struct virtqueue *q, u64 address, u64 align)
{
    q->desc = address;
    q->avail = address + DESC_SIZE * q->size;
    q->used = ALIGN_UP(q->avail + RING + AVAIL_ENTRY * (q->size + 1), align);
    q->ready = address != 0;
}

void virtio_notify(struct virtio *v, unsigned queue)
{
    trace(TRACE_VIRTIO_QUEUE, "dev %s n %u", v->transport->name, queue);
    if (queue >= v->queues || !(v->status & VIRTIO_DRIVER_OK))
        return;
    atomic_fetch_or(&v->kicked, 1ull << queue);
    if (!atomic_exchange(&v->posted, true))
        loop_post(v->transport->env->loop, &v->task);
}

static void serve(struct loop_task *t)
{
    struct virtio *v = container_of(t, struct virtio, task);
    atomic_store(&v->posted, false);
    u64 m = atomic_exchange(&v->kicked, 0);
    for (; m; m &= m - 1)
        v->kind->kick(v, (unsigned)__builtin_ctzll(m));
}

/* ---- taking chains ---- */

/* The driver does what no driver may: nothing more is served before it resets the device. */
static void broken(struct virtio *v, const char *how)
{
    dev_guest_error(v->transport, "the driver has broken a queue: %s", how);
    dev_lock(v->transport);
    v->status |= VIRTIO_NEEDS_RESET;
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
        v->queue[i].ready = 0;
    dev_unlock(v->transport);
}

static bool read_desc(struct virtio *v, u64 table, unsigned i, struct desc *d)
{
    return mem_dma_read(virtio_memory(v), table + (u64)i * DESC_SIZE, d, DESC_SIZE) == MEM_OK;
}

static bool map_buffer(struct virtio *v, struct virtio_vectors *to, u64 addr, u32 len, bool write)
{
    u64 n;
    for (u64 done = 0; done < len; done += n) {
        void *host = mem_dma_map(virtio_memory(v), addr + done, len - done, write, &n);
        if (!host || to->count == SEGMENTS_MAX)
            return false;
        VEC_PUSH(to->iov, to->count, to->cap) = (struct iovec){host, n};
        VEC_PUSH(to->addr, to->addrs, to->addr_cap) = addr + done;
    }
    to->len += len;
    return true;
}

bool virtio_add_buffer(struct virtio *v, struct virtio_vectors *out, struct virtio_vectors *in, u64 addr, u32 len, bool write,
                       const char **why)
{
    *why = "a buffer to read behind one to write";
    if (!write && in->count)
        return false;
    *why = "a buffer that is not in memory";
    return map_buffer(v, write ? in : out, addr, len, write);
}

/* Walk a chain from a descriptor of a table of `size`; NULL, or what is wrong with it. */
static const char *walk(struct virtio *v, u64 table, u64 size, unsigned i, bool indirect,
                        struct virtio_vectors *out, struct virtio_vectors *in)
{
    struct desc d;
    const char *why;
    for (u64 steps = 0;; steps++) {
        if (i >= size || steps == size || !read_desc(v, table, i, &d))
            return "a descriptor outside of its table";
        if (d.flags & DESC_INDIRECT) {
            if (indirect || d.flags & DESC_NEXT || d.len % DESC_SIZE || !d.len)
                return "an indirect table that cannot be";
            return walk(v, d.addr, d.len / DESC_SIZE, 0, true, out, in);
        }
        if (!virtio_add_buffer(v, out, in, d.addr, d.len, d.flags & DESC_WRITE, &why))
            return why;
        if (!(d.flags & DESC_NEXT))
            return NULL;
        i = d.next;
    }
}

static struct virtio_chain *chain_new(struct virtio *v, unsigned queue, unsigned head, unsigned places, u64 epoch,
                                      struct virtio_vectors *out, struct virtio_vectors *in)
{
    struct virtio_chain *c = xmalloc(sizeof(*c));
    *c = (struct virtio_chain){v, queue, head, places, epoch, out->iov, in->iov, in->addr, (unsigned)out->count,
                               (unsigned)in->count, out->len, in->len};
    free(out->addr);
    atomic_fetch_add(&v->in_flight, 1);
    return c;
}

/* The queue as it is now; false: it is not to be served. */
static bool queue_now(struct virtio *v, unsigned queue, struct virtqueue *q)
{
    dev_lock(v->transport);
    *q = v->queue[queue];
    bool on = q->ready && q->size && v->status & VIRTIO_DRIVER_OK && !(v->status & VIRTIO_NEEDS_RESET);
    dev_unlock(v->transport);
    return on;
}

/* `next` moves on, unless there was a reset. */
static void took(struct virtio *v, unsigned queue, const struct virtqueue *q, unsigned places)
{
    dev_lock(v->transport);
    if (v->queue[queue].epoch == q->epoch)
        v->queue[queue].next = q->next + places;
    dev_unlock(v->transport);
}

/* Is there a chain? With event indexes the driver is first told from where on it is to notify. */
static bool available(struct virtio *v, const struct virtqueue *q, u64 features)
{
    u16 index = virtio_get16(v, q->avail + RING_INDEX);
    if (index == (u16)q->next && features & VIRTIO_F_EVENT_IDX) {
        mem_write(virtio_memory(v), q->used + RING + USED_ENTRY * q->size, 2, (u16)q->next);
        atomic_thread_fence(memory_order_seq_cst);
        index = virtio_get16(v, q->avail + RING_INDEX);
    }
    atomic_thread_fence(memory_order_acquire);
    if ((u16)(index - (u16)q->next) > q->size) {
        broken(v, "it has more chains than places");
        return false;
    }
    return index != (u16)q->next;
}

static bool is_packed(const struct virtio *v)
{
    return v->features & VIRTIO_F_RING_PACKED;
}

struct virtio_chain *virtio_take(struct virtio *v, unsigned queue)
{
    struct virtqueue q;
    struct virtio_vectors out = {0}, in = {0};
    unsigned head, places = 1;
    const char *wrong;
    if (!queue_now(v, queue, &q) || !(is_packed(v) ? virtio_packed_available(v, &q) : available(v, &q, v->features)))
        return NULL;
    if (is_packed(v)) {
        wrong = virtio_packed_walk(v, &q, &out, &in, &head, &places);
    } else {
        head = virtio_get16(v, q.avail + RING + AVAIL_ENTRY * (q.next % q.size));
        wrong = walk(v, q.desc, q.size, head, false, &out, &in);
    }
    if (wrong) {
        free(out.iov);
        free(out.addr);
        free(in.iov);
        free(in.addr);
        broken(v, wrong);
        return NULL;
    }
    took(v, queue, &q, places);
    return chain_new(v, queue, head, places, q.epoch, &out, &in);
}

/* ---- giving them back ---- */

void virtio_config_changed(struct virtio *v)
{
    dev_lock(v->transport);
    v->config_generation++;
    bool runs = v->status & VIRTIO_DRIVER_OK;
    dev_unlock(v->transport);
    if (runs)
        v->interrupt(v->transport, VIRTIO_INT_CONFIG, 0);
}

/* Section 2.6.7.2: an interrupt when the index passes what the driver asked for. */
static bool wants_interrupt(struct virtio *v, const struct virtqueue *q, u16 old, u16 new)
{
    if (v->features & VIRTIO_F_NOTIFY_ON_EMPTY && q->put == q->next && virtio_get16(v, q->avail + RING_INDEX) == (u16)q->next)
        return true; /* nothing is left to do, which the driver always wants to hear */
    if (v->features & VIRTIO_F_EVENT_IDX) {
        u16 event = virtio_get16(v, q->avail + RING + AVAIL_ENTRY * q->size);
        return (u16)(new - event - 1) < (u16)(new - old);
    }
    return !(virtio_get16(v, q->avail + RING_FLAGS) & NO_INTERRUPT);
}

static void tell_memory(const struct virtio_chain *c, u64 written)
{
    for (unsigned i = 0; i < c->ins && written; i++) {
        u64 n = MIN(written, c->in[i].iov_len);
        mem_dma_written(virtio_memory(c->v), c->in_addr[i], n);
        written -= n;
    }
}

static void put_split(const struct virtio_chain *c, const struct virtqueue *q, u64 written)
{
    struct virtio *v = c->v;
    u64 entry = q->used + RING + USED_ENTRY * (q->put % q->size);
    mem_write(virtio_memory(v), entry, 4, c->head);
    mem_write(virtio_memory(v), entry + 4, 4, written);
    atomic_thread_fence(memory_order_release);
    mem_write(virtio_memory(v), q->used + RING_INDEX, 2, (u16)(q->put + 1));
}

static void put_used(const struct virtio_chain *c, struct virtqueue *q, u64 written)
{
    struct virtio *v = c->v;
    bool packed = is_packed(v);
    if (packed)
        virtio_packed_put(v, q, c->head, written);
    else
        put_split(c, q, written);
    u64 old = q->put;
    q->put += c->places;
    dev_lock(v->transport);
    if (v->queue[c->queue].epoch == c->epoch)
        v->queue[c->queue].put = q->put;
    dev_unlock(v->transport);
    atomic_thread_fence(memory_order_seq_cst);
    if (packed ? virtio_packed_wants_interrupt(v, q, c->places) : wants_interrupt(v, q, (u16)old, (u16)q->put)) {
        trace(TRACE_VIRTIO_INTERRUPT, "dev %s n %u", v->transport->name, c->queue);
        v->interrupt(v->transport, VIRTIO_INT_QUEUE, c->queue);
    }
}

static void chain_free(struct virtio_chain *c)
{
    atomic_fetch_sub(&c->v->in_flight, 1);
    free(c->out);
    free(c->in);
    free(c->in_addr);
    free(c);
}

void virtio_untake(struct virtio_chain *c)
{
    struct virtqueue *q = &c->v->queue[c->queue];
    dev_lock(c->v->transport);
    if (q->epoch == c->epoch)
        q->next -= c->places;
    dev_unlock(c->v->transport);
    chain_free(c);
}

void virtio_put(struct virtio_chain *c, u64 written)
{
    struct virtqueue q;
    bool on = queue_now(c->v, c->queue, &q) && q.epoch == c->epoch;
    tell_memory(c, written);
    if (on)
        put_used(c, &q, written);
    chain_free(c);
}

/* ---- buffers ---- */

struct iovec *virtio_cut(const struct iovec *iov, unsigned count, u64 offset, u64 len, unsigned *parts)
{
    struct iovec *to = xcalloc(count + 1, sizeof(*to));
    *parts = 0;
    for (unsigned i = 0; i < count && len; i++) {
        u64 have = iov[i].iov_len;
        if (offset >= have) {
            offset -= have;
            continue;
        }
        u64 n = MIN(have - offset, len);
        to[(*parts)++] = (struct iovec){(u8 *)iov[i].iov_base + offset, n};
        len -= n;
        offset = 0;
    }
    return to;
}

static void copy(const struct iovec *iov, unsigned count, u64 offset, u8 *data, u64 len, bool out)
{
    unsigned parts;
    struct iovec *part = virtio_cut(iov, count, offset, len, &parts);
    for (unsigned i = 0; i < parts; i++) {
        if (out)
            mem_dma_copy(data, part[i].iov_base, part[i].iov_len);
        else
            mem_dma_copy(part[i].iov_base, data, part[i].iov_len);
        data += part[i].iov_len;
    }
    free(part);
}

bool virtio_chain_read(const struct virtio_chain *c, u64 offset, void *to, u64 len)
{
    if (offset > c->out_len || len > c->out_len - offset)
        return false;
    copy(c->out, c->outs, offset, to, len, true);
    return true;
}

bool virtio_chain_write(const struct virtio_chain *c, u64 offset, const void *from, u64 len)
{
    if (offset > c->in_len || len > c->in_len - offset)
        return false;
    copy(c->in, c->ins, offset, (u8 *)(uintptr_t)from, len, false);
    return true;
}

u64 virtio_epoch(struct virtio *v)
{
    if (!v->transport)
        return 0;
    dev_lock(v->transport);
    u64 epoch = v->queue[0].epoch;
    dev_unlock(v->transport);
    return epoch;
}

struct virtio *virtio_of(struct dev *d)
{
    return d->class->bus_side(d);
}
