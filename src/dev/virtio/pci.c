/* A virtio device on a PCI card (section 4.1): the structures of version 1 in BAR 4, and those of older drivers
 * (4.1.4.8) in BAR 0, so that one card serves both. MSI-X is in BAR 1. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/list.h"
#include "dev/pci/pci.h"
#include "dev/virtio/virtio.h"

enum { VENDOR = 0x1af4, MODERN_DEVICE = 0x1040, MODERN_SUBDEVICE = 0x1100, VECTORS_AUTO = 0xffff };

/* The structures of version 1, each in a piece of BAR 4. */
enum { BAR_OLD = 0, BAR_MSIX = 1, BAR_MODERN = 4, PIECE = 0x1000, PIECES = 4 };
enum { CFG_COMMON = 1, CFG_NOTIFY = 2, CFG_ISR = 3, CFG_DEVICE = 4, CFG_PCI = 5 };
enum { CAP_HEAD = 2, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_SIZE = 16, CAP_MULTIPLIER = 16,
       CAP_DATA = 16, NOTIFY_MULTIPLIER = 4 };

/* Power management (PCI Bus Power Management Interface specification, 3.2). */
enum { POWER_SIZE = 8, POWER_VERSION = 2, POWER_STATE = 4 };

/* The common structure (4.1.4.3). */
enum {
    DEVICE_FEATURES_SEL = 0x00, DEVICE_FEATURES = 0x04, DRIVER_FEATURES_SEL = 0x08, DRIVER_FEATURES = 0x0c,
    CONFIG_VECTOR = 0x10, NUM_QUEUES = 0x12, STATUS = 0x14, GENERATION = 0x15, QUEUE_SEL = 0x16, QUEUE_SIZE = 0x18,
    QUEUE_VECTOR = 0x1a, QUEUE_ENABLE = 0x1c, QUEUE_NOTIFY_OFF = 0x1e, QUEUE_DESC = 0x20, QUEUE_AVAIL = 0x28,
    QUEUE_USED = 0x30,
};

/* What older drivers have. */
enum {
    OLD_DEVICE_FEATURES = 0x00, OLD_DRIVER_FEATURES = 0x04, OLD_PFN = 0x08, OLD_QUEUE_SIZE = 0x0c, OLD_QUEUE_SEL = 0x0e,
    OLD_NOTIFY = 0x10, OLD_STATUS = 0x12, OLD_ISR = 0x13, OLD_CONFIG_VECTOR = 0x14, OLD_QUEUE_VECTOR = 0x16,
    OLD_CONFIG = 0x14, OLD_CONFIG_MSIX = 0x18, OLD_PAGE = 4096,
};

/* Kinds of devices: what cards with them are called before version 1. */
static const struct model {
    u32 kind;
    u16 device, class, vectors; /* vectors 0: one for each queue, and one */
    bool no_messages;
} models[] = {
    {1, 0x1000, PCI_CLASS_ETHERNET, 4}, {2, 0x1001, PCI_CLASS_SCSI, 0}, {3, 0x1003, PCI_CLASS_COMMUNICATION, 2},
    {4, 0x1005, PCI_CLASS_OTHER, 2}, {5, 0x1002, PCI_CLASS_OTHER, .no_messages = true},
};

struct virtio_pci {
    struct dev dev;
    struct pci_card card;
    struct virtio *virtio;
    u32 no_old;     /* properties: an enum dev_switch, */
    bool no_modern;
    u32 vectors;

    struct mem_io old_io, modern_io;
    struct mem_range *old, *modern;
    unsigned window; /* where the capability for accesses through the configuration space is */

    u32 device_sel, driver_sel, queue_sel, isr, config_vector;
    u32 vector[VIRTIO_QUEUES], pfn[VIRTIO_QUEUES];
};

static struct virtio_pci *of(struct dev *d)
{
    return (struct virtio_pci *)d;
}

/* The queue that is chosen; NULL: there is none of that number. */
static struct virtqueue *chosen(struct virtio_pci *p)
{
    return p->queue_sel < p->virtio->queues ? &p->virtio->queue[p->queue_sel] : NULL;
}

static void pci_interrupt(struct dev *d, u32 reason, unsigned queue)
{
    struct virtio_pci *p = of(d);
    dev_lock(d);
    if (pci_msix_on(&p->card)) {
        pci_msix_send(&p->card, reason == VIRTIO_INT_QUEUE ? p->vector[queue] : p->config_vector);
    } else {
        p->isr |= reason | VIRTIO_INT_QUEUE; /* the peer's sets both: drivers that know the first bit alone wake up */
        pci_set_interrupt(&p->card, true);
    }
    dev_unlock(d);
}

/* ---- registers that both forms have; under the lock ---- */

static u32 read_isr(struct virtio_pci *p)
{
    u32 isr = p->isr;
    p->isr = 0;
    pci_set_interrupt(&p->card, false);
    return isr;
}

static void set_status(struct virtio_pci *p, u32 status)
{
    virtio_set_status(p->virtio, status);
    if (status)
        return;
    p->device_sel = p->driver_sel = p->queue_sel = p->isr = 0;
    p->config_vector = PCI_NO_VECTOR;
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        p->vector[i] = PCI_NO_VECTOR;
        p->pfn[i] = 0;
    }
    pci_set_interrupt(&p->card, false);
}

static u32 there(const struct virtio_pci *p, u32 vector)
{
    return vector < p->card.vectors ? vector : PCI_NO_VECTOR;
}

static u32 queue_vector(const struct virtio_pci *p)
{
    return p->queue_sel < p->virtio->queues ? p->vector[p->queue_sel] : PCI_NO_VECTOR;
}

static void set_queue_vector(struct virtio_pci *p, u32 vector)
{
    if (chosen(p))
        p->vector[p->queue_sel] = there(p, vector);
}

/* ---- the form of version 1 ---- */

static u32 common_read(struct virtio_pci *p, u64 offset)
{
    struct virtio *v = p->virtio;
    const struct virtqueue none = {0}, *q = chosen(p) ? chosen(p) : &none;
    switch (offset) {
    case DEVICE_FEATURES_SEL: return p->device_sel;
    case DEVICE_FEATURES: return virtio_offered_half(v, p->device_sel, false);
    case DRIVER_FEATURES_SEL: return p->driver_sel;
    case DRIVER_FEATURES: return p->driver_sel > 1 ? 0 : (u32)(v->features >> 32 * p->driver_sel);
    case CONFIG_VECTOR: return p->config_vector;
    case NUM_QUEUES: return v->queues;
    case STATUS: return virtio_status(v);
    case GENERATION: return v->config_generation & 0xff;
    case QUEUE_SEL: return p->queue_sel;
    case QUEUE_SIZE: return (u32)q->size;
    case QUEUE_VECTOR: return queue_vector(p);
    case QUEUE_ENABLE: return (u32)q->ready;
    case QUEUE_NOTIFY_OFF: return p->queue_sel;
    case QUEUE_DESC: return (u32)q->desc;
    case QUEUE_DESC + 4: return (u32)(q->desc >> 32);
    case QUEUE_AVAIL: return (u32)q->avail;
    case QUEUE_AVAIL + 4: return (u32)(q->avail >> 32);
    case QUEUE_USED: return (u32)q->used;
    case QUEUE_USED + 4: return (u32)(q->used >> 32);
    }
    return 0;
}

static void queue_write(struct virtio_pci *p, u64 offset, u32 x)
{
    struct virtqueue *q = chosen(p);
    bool high = offset & 4;
    if (!q)
        return;
    switch (offset) {
    case QUEUE_SIZE:
        if (x && x <= VIRTIO_QUEUE_MAX && !(x & (x - 1)))
            q->size = x;
        return;
    case QUEUE_ENABLE: q->ready = x & 1; return;
    case QUEUE_DESC:
    case QUEUE_DESC + 4: virtio_set_half(&q->desc, high, x); return;
    case QUEUE_AVAIL:
    case QUEUE_AVAIL + 4: virtio_set_half(&q->avail, high, x); return;
    case QUEUE_USED:
    case QUEUE_USED + 4: virtio_set_half(&q->used, high, x); return;
    }
    dev_guest_error(&p->dev, "write of register %#x", (unsigned)offset);
}

static void common_write(struct virtio_pci *p, u64 offset, u32 x)
{
    switch (offset) {
    case DEVICE_FEATURES_SEL: p->device_sel = x; return;
    case DRIVER_FEATURES_SEL: p->driver_sel = x; return;
    case DRIVER_FEATURES: virtio_accept_half(p->virtio, p->driver_sel, false, x); return;
    case CONFIG_VECTOR: p->config_vector = there(p, x); return;
    case STATUS: set_status(p, x & 0xff); return;
    case QUEUE_SEL: p->queue_sel = x & 0xffff; return;
    case QUEUE_VECTOR: set_queue_vector(p, x); return;
    }
    queue_write(p, offset, x);
}

/* The pieces in their order: common, interrupt status, the kind's own, notifications. */
static u32 pieces_read(struct virtio_pci *p, u64 offset, unsigned size)
{
    u64 at = offset % PIECE;
    switch (offset / PIECE) {
    case 0: return common_read(p, at);
    case 1: return at ? 0 : read_isr(p);
    case 2: return at < VIRTIO_CONFIG_MAX ? virtio_config_read(p->virtio, (unsigned)at, size) : 0;
    }
    return 0;
}

static void pieces_write(struct virtio_pci *p, u64 offset, unsigned size, u32 value)
{
    u64 at = offset % PIECE;
    switch (offset / PIECE) {
    case 0: common_write(p, at, value); return;
    case 2: virtio_config_write(p->virtio, (unsigned)at, size, value); return;
    case 3: virtio_notify(p->virtio, (unsigned)(at / NOTIFY_MULTIPLIER)); return;
    }
}

static enum mem_result modern_read(void *opaque, u64 offset, unsigned size, u64 *value)
{
    struct virtio_pci *p = opaque;
    dev_lock(&p->dev);
    *value = pieces_read(p, offset, size);
    dev_unlock(&p->dev);
    return MEM_OK;
}

static enum mem_result modern_write(void *opaque, u64 offset, unsigned size, u64 value)
{
    struct virtio_pci *p = opaque;
    dev_lock(&p->dev);
    pieces_write(p, offset, size, (u32)value);
    dev_unlock(&p->dev);
    return MEM_OK;
}

/* For guests that cannot reach BARs, the pieces are also seen through a register of the configuration space (4.1.4.7). */
static void window_access(struct pci_card *c, unsigned at, unsigned size, bool write)
{
    struct virtio_pci *p = container_of(c, struct virtio_pci, card);
    u32 offset = pci_config_get(c, p->window + CAP_OFFSET, 4), len = pci_config_get(c, p->window + CAP_LENGTH, 4);
    bool fits = (len == 1 || len == 2 || len == 4) && offset % len == 0 && offset < PIECES * PIECE;
    if (at != p->window + CAP_DATA || size < len || !fits || c->config[p->window + CAP_BAR] != BAR_MODERN)
        return;
    if (write)
        pieces_write(p, offset, len, pci_config_get(c, at, len));
    else
        pci_config_set(c, at, len, pieces_read(p, offset, len));
}

/* ---- the form of older drivers ---- */

/* Two registers are there with MSI-X alone, and move what follows. */
static unsigned old_config(const struct virtio_pci *p)
{
    return pci_msix_on(&p->card) ? OLD_CONFIG_MSIX : OLD_CONFIG;
}

static u32 old_register(struct virtio_pci *p, u64 offset)
{
    const struct virtqueue *q = chosen(p);
    switch (offset) {
    case OLD_DEVICE_FEATURES: return virtio_offered_half(p->virtio, 0, true);
    case OLD_DRIVER_FEATURES: return (u32)p->virtio->features;
    case OLD_PFN: return q ? p->pfn[p->queue_sel] : 0;
    case OLD_QUEUE_SIZE: return q ? (u32)q->size : 0;
    case OLD_QUEUE_SEL: return p->queue_sel;
    case OLD_STATUS: return virtio_status(p->virtio);
    case OLD_ISR: return read_isr(p);
    case OLD_CONFIG_VECTOR: return p->config_vector;
    case OLD_QUEUE_VECTOR: return queue_vector(p);
    }
    return 0;
}

static void old_register_write(struct virtio_pci *p, u64 offset, u32 x)
{
    switch (offset) {
    case OLD_DRIVER_FEATURES: virtio_accept_half(p->virtio, 0, true, x); return;
    case OLD_PFN:
        if (chosen(p)) {
            p->pfn[p->queue_sel] = x;
            virtio_queue_legacy(chosen(p), (u64)x * OLD_PAGE, OLD_PAGE);
        }
        return;
    case OLD_QUEUE_SEL: p->queue_sel = x & 0xffff; return;
    case OLD_NOTIFY: virtio_notify(p->virtio, x & 0xffff); return;
    case OLD_STATUS: set_status(p, x & 0xff); return;
    case OLD_CONFIG_VECTOR: p->config_vector = there(p, x & 0xffff); return;
    case OLD_QUEUE_VECTOR: set_queue_vector(p, x & 0xffff); return;
    }
    dev_guest_error(&p->dev, "write of old register %#x", (unsigned)offset);
}

static enum mem_result old_read(void *opaque, u64 offset, unsigned size, u64 *value)
{
    struct virtio_pci *p = opaque;
    dev_lock(&p->dev);
    unsigned config = old_config(p);
    *value = offset < config ? old_register(p, offset) : virtio_config_read(p->virtio, (unsigned)offset - config, size);
    dev_unlock(&p->dev);
    return MEM_OK;
}

static enum mem_result old_write(void *opaque, u64 offset, unsigned size, u64 value)
{
    struct virtio_pci *p = opaque;
    dev_lock(&p->dev);
    unsigned config = old_config(p);
    if (offset < config)
        old_register_write(p, offset, (u32)value);
    else
        virtio_config_write(p->virtio, (unsigned)offset - config, size, (u32)value);
    dev_unlock(&p->dev);
    return MEM_OK;
}

/* ---- life ---- */

static bool pci_plug(struct dev *d, struct dev *what, struct err *e)
{
    struct virtio_pci *p = of(d);
    p->virtio = virtio_of(what);
    virtio_plug(p->virtio, d, pci_interrupt);
    if (p->virtio->kind->spread)
        p->virtio->kind->spread(p->virtio, d->env->cpus);
    return true;
}

/* A vendor's capability that says where a structure is. */
static unsigned add_structure(struct virtio_pci *p, u8 type, unsigned piece, unsigned len)
{
    unsigned at = pci_add_capability(&p->card, PCI_CAP_VENDOR, 0, len);
    pci_config_set(&p->card, at + CAP_HEAD, 1, len);
    pci_config_set(&p->card, at + CAP_TYPE, 1, type);
    if (type == CFG_PCI)
        return at;
    pci_config_set(&p->card, at + CAP_BAR, 1, BAR_MODERN);
    pci_config_set(&p->card, at + CAP_OFFSET, 4, piece * PIECE);
    pci_config_set(&p->card, at + CAP_LENGTH, 4, PIECE);
    return at;
}

static void add_modern(struct virtio_pci *p)
{
    p->modern_io = (struct mem_io){.read = modern_read, .write = modern_write, .min = 1, .max = 8, .call_min = 1, .call_max = 4};
    p->modern = mem_io_new("virtio-pci", (u64)PIECES * PIECE, &p->modern_io, p);
    pci_set_bar(&p->card, BAR_MODERN, PCI_BAR_MEMORY64, p->modern);
    add_structure(p, CFG_COMMON, 0, CAP_SIZE);
    add_structure(p, CFG_ISR, 1, CAP_SIZE);
    add_structure(p, CFG_DEVICE, 2, CAP_SIZE);
    unsigned notify = add_structure(p, CFG_NOTIFY, 3, CAP_SIZE + 4);
    pci_config_set(&p->card, notify + CAP_MULTIPLIER, 4, NOTIFY_MULTIPLIER);
    p->window = add_structure(p, CFG_PCI, 0, CAP_SIZE + 4);
    pci_set_writable(&p->card, p->window + CAP_BAR, 1, 0xff);
    for (unsigned at = CAP_OFFSET; at <= CAP_DATA; at += 4)
        pci_set_writable(&p->card, p->window + at, 4, ~0u);
    p->card.access = window_access;
}

static void add_old(struct virtio_pci *p)
{
    u8 config[VIRTIO_CONFIG_MAX];
    u64 size = OLD_CONFIG_MSIX + p->virtio->kind->config(p->virtio, config), power = 32;
    while (power < size)
        power *= 2;
    p->old_io = (struct mem_io){.read = old_read, .write = old_write, .min = 1, .max = 8, .call_min = 1, .call_max = 4,
                                .unaligned = true};
    p->old = mem_io_new("virtio-pci-old", power, &p->old_io, p);
    pci_set_bar(&p->card, BAR_OLD, PCI_BAR_IO, p->old);
}

static struct pci_identity identity(const struct virtio_pci *p, const struct model *m)
{
    struct pci_identity id = {.vendor = VENDOR, .device = m->device, .class = m->class, .subvendor = VENDOR,
                              .subdevice = (u16)m->kind};
    if (p->no_old) {
        id.device = (u16)(MODERN_DEVICE + m->kind);
        id.subdevice = MODERN_SUBDEVICE;
        id.revision = 1;
    }
    return id;
}

/* As an endpoint of PCI Express it is without the old form, unless that was asked for, and can be switched on and off. */
static void seat(struct pci_card *c)
{
    struct virtio_pci *p = container_of(c, struct virtio_pci, card);
    struct dev *d = &p->dev;
    const struct model *m = models;
    while (m->kind != p->virtio->kind->id)
        m++;
    if (p->no_old == DEV_AUTO)
        p->no_old = c->bus->express && !p->no_modern;
    struct pci_identity id = identity(p, m);
    u32 usual = m->vectors || m->no_messages ? m->vectors : p->virtio->queues + 1;
    u32 vectors = p->vectors != VECTORS_AUTO ? p->vectors : usual;
    pci_card_init(&p->card, d, &id);
    pci_config_set(&p->card, PCI_PIN, 1, 1);
    if (c->bus->express) {
        pci_add_express(c, PCI_EXPRESS_ENDPOINT, 0);
        unsigned at = pci_add_capability(c, PCI_CAP_POWER, 0, POWER_SIZE);
        pci_config_set(c, at + POWER_VERSION, 2, 3);
        pci_set_writable(c, at + POWER_STATE, 2, 3);
    }
    if (!p->no_modern)
        add_modern(p);
    if (vectors)
        pci_add_msix(&p->card, MIN(vectors, (u32)PCI_VECTORS), BAR_MSIX, 0);
    if (!p->no_old)
        add_old(p);
}

static bool pci_start(struct dev *d, struct err *e)
{
    struct virtio_pci *p = of(d);
    p->card.seated = seat;
    return !(p->no_old == DEV_ON && p->no_modern) ||
           err_set(e, EINVAL, "device cannot work as neither modern nor legacy mode is enabled");
}

static void pci_stop(struct dev *d)
{
    struct virtio_pci *p = of(d);
    mem_range_free(p->old);
    mem_range_free(p->modern);
    pci_card_free(&p->card);
}

static void pci_reset(struct dev *d)
{
    struct virtio_pci *p = of(d);
    pci_card_reset(&p->card);
    if (p->virtio)
        set_status(p, 0);
}

static void pci_loaded(struct dev *d)
{
    pci_card_configured(&of(d)->card);
}

static void *pci_bus_side(struct dev *d)
{
    return &of(d)->card;
}

#define COMMON_PROPS                                                                               \
    PCI_CARD_PROPS(struct virtio_pci, card),                                                       \
        DEV_PROP(struct virtio_pci, "vectors", DEV_PROP_U32, vectors, VECTORS_AUTO, VECTORS_AUTO, "messages of MSI-X; 0: none")

static const struct dev_prop pci_props[] = {
    COMMON_PROPS,
    DEV_PROP(struct virtio_pci, "disable-legacy", DEV_PROP_SWITCH, no_old, DEV_AUTO, .help = "without what drivers before version 1 use"),
    DEV_PROP(struct virtio_pci, "disable-modern", DEV_PROP_BOOL, no_modern, .help = "without version 1"),
    {0},
}, fixed_props[] = {COMMON_PROPS, {0}};

/* Cards whose names say which drivers they are for. */
static bool transitional_start(struct dev *d, struct err *e)
{
    of(d)->no_old = DEV_OFF;
    return pci_start(d, e);
}

static bool modern_start(struct dev *d, struct err *e)
{
    of(d)->no_old = DEV_ON;
    return pci_start(d, e);
}

static const struct state_field pci_state[] = {
    PCI_CARD_STATE(struct virtio_pci, card), STATE(struct virtio_pci, device_sel), STATE(struct virtio_pci, driver_sel),
    STATE(struct virtio_pci, queue_sel), STATE_MAX(struct virtio_pci, isr, 3),
    STATE_MAX(struct virtio_pci, config_vector, PCI_NO_VECTOR), STATE_ARRAY_MAX(struct virtio_pci, vector, u32, PCI_NO_VECTOR),
    STATE_ARRAY(struct virtio_pci, pfn, u32), {0},
};

#define CARD(symbol, title, text, kind, properties, begin)                                         \
    const struct dev_class symbol = {                                                               \
        .name = title, .help = text, .size = sizeof(struct virtio_pci), .props = properties, .state = pci_state, \
        .start = begin, .stop = pci_stop, .reset = pci_reset, .loaded = pci_loaded, .bus = PCI_BUS, \
        .bus_side = pci_bus_side, .plug = pci_plug, .inner = &kind}

#define CARDS(symbol, title, text, kind)                                                            \
    CARD(symbol, title, text, kind, pci_props, pci_start);                                          \
    CARD(symbol##_transitional, title "-transitional", text ", for all drivers", kind, fixed_props, transitional_start); \
    CARD(symbol##_modern, title "-non-transitional", text ", for drivers of version 1", kind, fixed_props, modern_start)

CARDS(dev_virtio_blk_pci, "virtio-blk-pci", "virtio disk on a PCI card", dev_virtio_blk);
CARDS(dev_virtio_net_pci, "virtio-net-pci", "virtio network card", dev_virtio_net);
CARDS(dev_virtio_serial_pci, "virtio-serial-pci", "virtio serial ports on a PCI card", dev_virtio_serial);
CARDS(dev_virtio_balloon_pci, "virtio-balloon-pci", "virtio memory balloon on a PCI card", dev_virtio_balloon);
CARDS(dev_virtio_rng_pci, "virtio-rng-pci", "virtio random numbers on a PCI card", dev_virtio_rng);
