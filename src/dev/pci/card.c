/* A card's configuration space. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dev/pci/pci.h"

enum { BAR_IO = 1, BAR_64 = 4, BAR_PREFETCH = 8, CAP_ID = 0, CAP_NEXT = 1 };
/* Of the MSI-X capability, and a vector's entry in the table. */
enum { MSIX_CONTROL = 2, MSIX_TABLE = 4, MSIX_PBA = 8, MSIX_CAP_SIZE = 12, MSIX_CAP_AT = 0x98, MSIX_ON = 0x8000,
       MSIX_MASKED = 0x4000, MSIX_RANGE = 0x1000, MSIX_PBA_AT = 0x800 };
/* Of the Express capability (7.8). */
enum { EXPRESS_SIZE = 0x3c, EXPRESS_FLAGS = 2, EXPRESS_DEVICE = 4, EXPRESS_VERSION = 2, EXPRESS_LINK = 0x0c,
       EXPRESS_LINK_CONTROL = 0x10, EXPRESS_LINK_STATUS = 0x12, LINK_COMMON_CLOCK = 1 << 6,
       LINK_EXTENDED_SYNC = 1 << 7, LINK_L0S = 1 << 10, LINK_WIDTH_1 = 1 << 4, LINK_SPEED_2_5 = 1,
       ROLE_BASED_ERRORS = 1 << 15 };
enum { ENTRY_LOW, ENTRY_HIGH, ENTRY_DATA, ENTRY_CONTROL, ENTRY_MASKED = 1 };

u32 pci_config_get(const struct pci_card *c, unsigned at, unsigned size)
{
    u32 v = 0;
    memcpy(&v, c->config + at, size);
    return v;
}

void pci_config_set(struct pci_card *c, unsigned at, unsigned size, u32 value)
{
    memcpy(c->config + at, &value, size);
}

void pci_set_writable(struct pci_card *c, unsigned at, unsigned size, u32 mask)
{
    memcpy(c->writable + at, &mask, size);
}

void pci_card_init(struct pci_card *c, struct dev *d, const struct pci_identity *id)
{
    c->dev = d;
    pci_config_set(c, PCI_VENDOR, 2, id->vendor);
    pci_config_set(c, PCI_DEVICE, 2, id->device);
    pci_config_set(c, PCI_REVISION, 1, id->revision);
    pci_config_set(c, PCI_CLASS, 2, id->class);
    pci_config_set(c, PCI_SUBVENDOR, 2, id->subvendor);
    pci_config_set(c, PCI_SUBDEVICE, 2, id->subdevice);
    pci_config_set(c, PCI_HEADER_TYPE, 1, c->multifunction ? PCI_MULTIFUNCTION : 0);
    pci_set_writable(c, PCI_COMMAND, 2,
                 PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_SERR | PCI_COMMAND_NO_INTX);
    pci_set_writable(c, PCI_CACHE_LINE, 1, 0xff);
    pci_set_writable(c, PCI_LINE, 1, 0xff);
    memset(c->writable + PCI_HEADER_END, 0xff, PCI_CONFIG_SIZE - PCI_HEADER_END);
    c->cap_end = PCI_HEADER_END;
}

void pci_card_free(struct pci_card *c)
{
    mem_range_free(c->msix_range);
    free(c->addr);
    free(c->rom);
}

/* ---- BARs ---- */

static unsigned bar_at(unsigned i)
{
    return PCI_BAR0 + 4 * i;
}

void pci_set_bar(struct pci_card *c, unsigned i, enum pci_bar_kind kind, struct mem_range *range)
{
    u64 mask = ~(mem_range_size(range) - 1);
    u32 flags = kind == PCI_BAR_IO ? BAR_IO : kind == PCI_BAR_MEMORY64 ? BAR_64 | BAR_PREFETCH : 0;
    c->bar[i] = (struct pci_bar){.kind = kind, .range = range};
    pci_config_set(c, bar_at(i), 4, flags);
    pci_set_writable(c, bar_at(i), 4, (u32)mask);
    if (kind == PCI_BAR_MEMORY64)
        pci_set_writable(c, bar_at(i + 1), 4, (u32)(mask >> 32));
}

/* The address that the guest has chosen; false: none, as it is at the end, where sizes are asked for, or none that leads there. */
static bool chosen(const struct pci_card *c, unsigned i, u64 *at)
{
    const struct pci_bar *b = &c->bar[i];
    u64 size = mem_range_size(b->range), low = pci_config_get(c, bar_at(i), 4);
    u32 command = pci_config_get(c, PCI_COMMAND, 2);
    if (b->kind == PCI_BAR_MEMORY64)
        low |= (u64)pci_config_get(c, bar_at(i + 1), 4) << 32;
    u64 limit = b->kind == PCI_BAR_IO ? 0x10000 : b->kind == PCI_BAR_MEMORY ? 1ull << 32 : ~0ull;
    *at = low & ~(size - 1);
    return command & (b->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY) && *at && *at < limit - size &&
           (!c->bus || pci_bus_forwards(c->bus, b->kind, *at, size));
}

/* Have BARs be where the configuration says. */
static void map_bars(struct pci_card *c)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *b = &c->bar[i];
        u64 at;
        if (b->kind == PCI_BAR_NONE)
            continue;
        bool on = chosen(c, i, &at);
        if (c->host && (on != b->mapped || (on && at != b->at)))
            pci_host_map(c->host, b, on, at);
    }
}

/* ---- capabilities ---- */

unsigned pci_add_capability(struct pci_card *c, u8 id, unsigned at, unsigned len)
{
    if (!at)
        at = c->cap_end;
    c->cap_end = at + ALIGN_UP(len, 4u);
    memset(c->writable + at, 0, len);
    c->config[at + CAP_ID] = id;
    c->config[at + CAP_NEXT] = c->config[PCI_CAPABILITIES];
    c->config[PCI_CAPABILITIES] = (u8)at;
    c->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    return at;
}

/* ---- interrupts ---- */

static void update_intx(struct pci_card *c)
{
    bool level = c->intx && !(pci_config_get(c, PCI_COMMAND, 2) & PCI_COMMAND_NO_INTX);
    if (c->host && level != c->intx_seen) {
        c->intx_seen = level;
        pci_host_interrupt(c->host, c, level);
    }
}

void pci_set_interrupt(struct pci_card *c, bool level)
{
    c->intx = level;
    update_intx(c);
}

static u32 msix_control(const struct pci_card *c)
{
    return c->vectors ? pci_config_get(c, c->msix_cap + MSIX_CONTROL, 2) : 0;
}

bool pci_msix_on(const struct pci_card *c)
{
    return msix_control(c) & MSIX_ON;
}

static bool may_send(const struct pci_card *c, unsigned vector)
{
    return (msix_control(c) & (MSIX_ON | MSIX_MASKED)) == MSIX_ON && !(c->msix_table[vector][ENTRY_CONTROL] & ENTRY_MASKED) &&
           pci_config_get(c, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

void pci_msix_send(struct pci_card *c, unsigned vector)
{
    if (vector >= c->vectors || !pci_msix_on(c) || !c->host)
        return;
    const u32 *t = c->msix_table[vector];
    u32 *pending = &c->msix_pending[vector / 32], m = 1u << vector % 32;
    *pending = may_send(c, vector) ? *pending & ~m : *pending | m;
    if (!(*pending & m))
        pci_host_message(c->host, c, (u64)t[ENTRY_HIGH] << 32 | t[ENTRY_LOW], t[ENTRY_DATA]);
}

/* Vectors that were pending are sent when nothing holds them back any more. */
static void send_pending(struct pci_card *c)
{
    for (unsigned v = 0; v < c->vectors; v++) {
        if (c->msix_pending[v / 32] >> v % 32 & 1 && may_send(c, v))
            pci_msix_send(c, v);
    }
}

static enum mem_result msix_read(void *opaque, u64 offset, unsigned size, u64 *value)
{
    struct pci_card *c = opaque;
    dev_lock(c->dev);
    if (offset < 16ull * c->vectors)
        *value = c->msix_table[offset / 16][offset % 16 / 4];
    else if (offset >= MSIX_PBA_AT && offset - MSIX_PBA_AT < sizeof(c->msix_pending))
        *value = c->msix_pending[(offset - MSIX_PBA_AT) / 4];
    else
        *value = 0;
    dev_unlock(c->dev);
    return MEM_OK;
}

static enum mem_result msix_write(void *opaque, u64 offset, unsigned size, u64 value)
{
    struct pci_card *c = opaque;
    dev_lock(c->dev);
    if (offset < 16ull * c->vectors) {
        c->msix_table[offset / 16][offset % 16 / 4] = (u32)value;
        send_pending(c);
    }
    dev_unlock(c->dev);
    return MEM_OK;
}

void pci_add_msix(struct pci_card *c, u32 vectors, unsigned bar, unsigned at)
{
    c->vectors = vectors;
    c->msix_io = (struct mem_io){.read = msix_read, .write = msix_write, .min = 1, .max = 8, .call_min = 4, .call_max = 4};
    c->msix_range = mem_io_new("msix", MSIX_RANGE, &c->msix_io, c);
    pci_set_bar(c, bar, PCI_BAR_MEMORY, c->msix_range);
    unsigned end = c->cap_end, usual = end > PCI_HEADER_END ? MAX(end, (unsigned)MSIX_CAP_AT) : end;
    c->msix_cap = pci_add_capability(c, PCI_CAP_MSIX, at ? at : usual, MSIX_CAP_SIZE);
    pci_config_set(c, c->msix_cap + MSIX_CONTROL, 2, vectors - 1);
    pci_set_writable(c, c->msix_cap + MSIX_CONTROL, 2, MSIX_ON | MSIX_MASKED);
    pci_config_set(c, c->msix_cap + MSIX_TABLE, 4, bar);
    pci_config_set(c, c->msix_cap + MSIX_PBA, 4, MSIX_PBA_AT | bar);
}

/* ---- PCI Express ---- */

unsigned pci_add_express(struct pci_card *c, unsigned type, unsigned at)
{
    at = pci_add_capability(c, PCI_CAP_EXPRESS, at, EXPRESS_SIZE);
    pci_config_set(c, at + EXPRESS_FLAGS, 2, EXPRESS_VERSION | type << 4);
    pci_config_set(c, at + EXPRESS_DEVICE, 4, ROLE_BASED_ERRORS);
    pci_config_set(c, at + EXPRESS_LINK, 4, LINK_L0S | LINK_WIDTH_1 | LINK_SPEED_2_5);
    pci_set_writable(c, at + EXPRESS_LINK_CONTROL, 2, LINK_COMMON_CLOCK | LINK_EXTENDED_SYNC); /* which do nothing */
    pci_config_set(c, at + EXPRESS_LINK_STATUS, 2, LINK_WIDTH_1 | LINK_SPEED_2_5);
    return at;
}

/* ---- accesses ---- */

void pci_card_configured(struct pci_card *c)
{
    map_bars(c);
    update_intx(c);
    send_pending(c);
}

u32 pci_config_read(struct pci_card *c, unsigned at, unsigned size)
{
    if (at + size > PCI_CONFIG_SIZE)
        return ~0u;
    if (c->access)
        c->access(c, at, size, false);
    u32 v = pci_config_get(c, at, size);
    return c->intx && at <= PCI_STATUS && PCI_STATUS < at + size ? v | PCI_STATUS_INTX << 8 * (PCI_STATUS - at) : v;
}

void pci_config_write(struct pci_card *c, unsigned at, unsigned size, u32 value)
{
    if (at + size > PCI_CONFIG_SIZE)
        return;
    for (unsigned i = 0; i < size; i++) {
        u8 m = c->writable[at + i], v = (u8)(value >> 8 * i);
        c->config[at + i] = (u8)((c->config[at + i] & ~m) | (v & m));
        c->config[at + i] &= (u8)~(v & c->clears[at + i]);
    }
    pci_card_configured(c);
    if (c->access)
        c->access(c, at, size, true);
}

/* ---- life ---- */

void pci_card_reset(struct pci_card *c)
{
    pci_config_set(c, PCI_COMMAND, 2, 0);
    c->config[PCI_CACHE_LINE] = c->config[PCI_LINE] = 0;
    for (unsigned i = 0; i < PCI_BARS; i++) {
        for (unsigned k = 0; k < 4; k++)
            c->config[bar_at(i) + k] &= (u8)~c->writable[bar_at(i) + k];
    }
    if (c->vectors)
        pci_config_set(c, c->msix_cap + MSIX_CONTROL, 2, c->vectors - 1);
    memset(c->msix_table, 0, sizeof(c->msix_table));
    for (unsigned v = 0; v < PCI_VECTORS; v++)
        c->msix_table[v][ENTRY_CONTROL] = ENTRY_MASKED;
    memset(c->msix_pending, 0, sizeof(c->msix_pending));
    c->intx = false;
    pci_card_configured(c);
}
