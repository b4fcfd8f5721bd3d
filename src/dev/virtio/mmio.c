/* A slot for a virtio device in memory: the transport of section 4.2, in its legacy form (4.2.4) unless
 * force-legacy=off. */
#include <errno.h>

#include "dev/list.h"
#include "dev/virtio/virtio.h"

enum {
    MAGIC = 0x000, VERSION = 0x004, DEVICE_ID = 0x008, VENDOR_ID = 0x00c, DEVICE_FEATURES = 0x010,
    DEVICE_FEATURES_SEL = 0x014, DRIVER_FEATURES = 0x020, DRIVER_FEATURES_SEL = 0x024, GUEST_PAGE_SIZE = 0x028,
    QUEUE_SEL = 0x030, QUEUE_NUM_MAX = 0x034, QUEUE_NUM = 0x038, QUEUE_ALIGN = 0x03c, QUEUE_PFN = 0x040,
    QUEUE_READY = 0x044, QUEUE_NOTIFY = 0x050, INTERRUPT_STATUS = 0x060, INTERRUPT_ACK = 0x064, STATUS = 0x070,
    QUEUE_DESC = 0x080, QUEUE_AVAIL = 0x090, QUEUE_USED = 0x0a0, CONFIG_GENERATION = 0x0fc, CONFIG = 0x100,
};

struct virtio_mmio {
    struct dev dev;
    bool legacy;
    struct virtio *virtio; /* NULL: the slot is empty */
    u32 device_sel, driver_sel, queue_sel, page_size, align, isr, pfn[VIRTIO_QUEUES];
};

static void update(struct virtio_mmio *m)
{
    dev_out(&m->dev, 0, m->isr);
}

static void mmio_interrupt(struct dev *d, u32 reason, unsigned queue)
{
    struct virtio_mmio *m = (struct virtio_mmio *)d;
    dev_lock(d);
    m->isr |= reason;
    update(m);
    dev_unlock(d);
}

/* The queue that is chosen; a spare one for numbers that there are not. */
static struct virtqueue *chosen(struct virtio_mmio *m)
{
    return &m->virtio->queue[m->queue_sel % VIRTIO_QUEUES];
}

static bool queue_there(const struct virtio_mmio *m)
{
    return m->queue_sel < m->virtio->queues;
}

static u64 mmio_read(struct dev *d, u64 offset, unsigned size)
{
    struct virtio_mmio *m = (struct virtio_mmio *)d;
    switch (offset) { /* what an empty slot has, too */
    case MAGIC: return 0x74726976; /* "virt" */
    case VERSION: return m->legacy ? 1 : 2;
    case VENDOR_ID: return 0x554d4551; /* the vendor that guests know this by */
    }
    if (!m->virtio)
        return 0;
    if (offset >= CONFIG)
        return virtio_config_read(m->virtio, (unsigned)(offset - CONFIG), MIN(size, 4u));
    switch (offset) {
    case DEVICE_ID: return m->virtio->kind->id;
    case DEVICE_FEATURES: return virtio_offered_half(m->virtio, m->device_sel, m->legacy);
    case QUEUE_NUM_MAX: return queue_there(m) ? VIRTIO_QUEUE_MAX : 0;
    case QUEUE_PFN: return m->legacy && queue_there(m) ? m->pfn[m->queue_sel] : 0;
    case QUEUE_READY: return m->legacy ? 0 : chosen(m)->ready;
    case INTERRUPT_STATUS: return m->isr;
    case STATUS: return virtio_status(m->virtio);
    case CONFIG_GENERATION: return m->legacy ? 0 : m->virtio->config_generation;
    }
    dev_guest_error(d, "read of register %#x", (unsigned)offset);
    return 0;
}

static void write_status(struct virtio_mmio *m, u32 value)
{
    virtio_set_status(m->virtio, value);
    if (value & 0xff)
        return;
    m->isr = m->queue_sel = m->device_sel = m->driver_sel = 0;
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
        m->pfn[i] = 0;
    update(m);
}

static void write_pfn(struct virtio_mmio *m, u32 value)
{
    if (!queue_there(m) || !m->page_size)
        return;
    m->pfn[m->queue_sel] = value;
    virtio_queue_legacy(chosen(m), (u64)value * m->page_size, m->align ? m->align : 4096);
}

/* Registers that the two forms do not share. */
static void write_legacy(struct virtio_mmio *m, u64 offset, u32 v)
{
    switch (offset) {
    case GUEST_PAGE_SIZE: m->page_size = v && !(v & (v - 1)) ? v : 0; return;
    case QUEUE_ALIGN: m->align = v && !(v & (v - 1)) ? v : 0; return;
    case QUEUE_PFN: write_pfn(m, v); return;
    }
    dev_guest_error(&m->dev, "write of register %#x", (unsigned)offset);
}

static void write_modern(struct virtio_mmio *m, u64 offset, u32 v)
{
    struct virtqueue *q = chosen(m);
    bool high = offset & 4;
    switch (offset & ~4ull) {
    case QUEUE_READY & ~4: q->ready = v & 1; return;
    case QUEUE_DESC: virtio_set_half(&q->desc, high, v); return;
    case QUEUE_AVAIL: virtio_set_half(&q->avail, high, v); return;
    case QUEUE_USED: virtio_set_half(&q->used, high, v); return;
    }
    dev_guest_error(&m->dev, "write of register %#x", (unsigned)offset);
}

static void mmio_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    struct virtio_mmio *m = (struct virtio_mmio *)d;
    u32 v = (u32)value;
    if (!m->virtio)
        return;
    if (offset >= CONFIG) {
        virtio_config_write(m->virtio, (unsigned)(offset - CONFIG), MIN(size, 4u), v);
        return;
    }
    switch (offset) {
    case DEVICE_FEATURES_SEL: m->device_sel = v; return;
    case DRIVER_FEATURES: virtio_accept_half(m->virtio, m->driver_sel, m->legacy, v); return;
    case DRIVER_FEATURES_SEL: m->driver_sel = v; return;
    case QUEUE_SEL: m->queue_sel = v; return;
    case QUEUE_NUM:
        if (queue_there(m) && v && v <= VIRTIO_QUEUE_MAX && !(v & (v - 1)))
            chosen(m)->size = v;
        return;
    case QUEUE_NOTIFY: virtio_notify(m->virtio, v); return;
    case INTERRUPT_ACK: m->isr &= ~v; update(m); return;
    case STATUS: write_status(m, v); return;
    }
    if (m->legacy)
        write_legacy(m, offset, v);
    else
        write_modern(m, offset, v);
}

static void mmio_reset(struct dev *d)
{
    struct virtio_mmio *m = (struct virtio_mmio *)d;
    m->page_size = m->align = 0;
    if (m->virtio)
        write_status(m, 0);
}

static bool mmio_plug(struct dev *d, struct dev *what, struct err *e)
{
    struct virtio_mmio *m = (struct virtio_mmio *)d;
    if (m->virtio)
        return err_set(e, EBUSY, "%s has a device", d->name);
    m->virtio = virtio_of(what);
    virtio_plug(m->virtio, d, mmio_interrupt);
    return true;
}

static void mmio_loaded(struct dev *d)
{
    update((struct virtio_mmio *)d);
}

static void mmio_node(struct dev *d, const struct dev_place *p)
{
    struct fw_node *n = fw_child_at(p->parent, "virtio_mmio", p->address[0]);
    fw_empty(n, "dma-coherent");
    fw_cells(n, "interrupts", p->irq, p->irq_cells);
    fw_reg(n, "reg", (const u64[]){p->address[0], 0x200}, 1);
    fw_string(n, "compatible", "virtio,mmio");
}

static const struct dev_window mmio_windows[] = {
    {"virtio-mmio", 0x200, mmio_read, mmio_write, .call_min = 1, .call_max = 4, .max = 8}, {0}};

static const struct dev_prop mmio_props[] = {
    DEV_PROP(struct virtio_mmio, "force-legacy", DEV_PROP_BOOL, legacy, 1, .help = "as before version 1"), {0}};

static const struct state_field mmio_state[] = {
    STATE(struct virtio_mmio, device_sel), STATE(struct virtio_mmio, driver_sel), STATE(struct virtio_mmio, queue_sel),
    STATE(struct virtio_mmio, page_size), STATE(struct virtio_mmio, align), STATE_MAX(struct virtio_mmio, isr, 3),
    STATE_ARRAY(struct virtio_mmio, pfn, u32), {0},
};

const struct dev_class dev_virtio_mmio = {
    .name = "virtio-mmio", .help = "slot for a virtio device in memory", .size = sizeof(struct virtio_mmio),
    .windows = mmio_windows, .outs = 1, .props = mmio_props, .state = mmio_state, .reset = mmio_reset,
    .loaded = mmio_loaded, .node = mmio_node, .slot_for = "virtio-bus", .slot_name = "virtio-mmio-bus.", .plug = mmio_plug,
};
