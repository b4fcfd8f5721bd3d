/* Buses: which cards are on them, and what the bridges that lead there let through. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dev/pci/pci.h"

/* ---- plugging in ---- */

/* Where a card wants to be; without an address, the first slot that is free. */
static bool choose(const struct pci_bus *b, const struct pci_card *c, unsigned *slot, unsigned *function, struct err *e)
{
    unsigned slots = b->express ? 1 : PCI_SLOTS;
    char rest;
    *slot = *function = 0;
    if (!c->addr) {
        while (*slot < slots && b->card[8 * *slot])
            ++*slot;
        return *slot < slots ||
               err_set(e, ENOSPC, "PCI: no slot/function available for %s, all in use or reserved", c->dev->class->name);
    }
    int n = sscanf(c->addr, "%x.%x%c", slot, function, &rest);
    if (n < 1 || n > 2 || *slot >= PCI_SLOTS || *function >= 8)
        return err_set(e, EINVAL, "Property '%s.addr' doesn't take value '%s'", c->dev->class->name, c->addr);
    return *slot < slots || err_set(e, EINVAL, "PCI: slot %u is not valid for %s, parent device only allows plugging into slot 0.",
                                    *slot, c->dev->class->name);
}

static bool place(const struct pci_bus *b, struct pci_card *c, struct err *e)
{
    unsigned slot, function;
    if (c->rom && *c->rom)
        return err_set(e, ENOTSUP, "romfile=%s is not supported: cards have no ROM", c->rom);
    if (!choose(b, c, &slot, &function, e))
        return false;
    c->devfn = 8 * slot + function;
    const struct pci_card *there = b->card[c->devfn], *first = b->card[8 * slot];
    if (there)
        return err_set(e, EBUSY, "PCI: slot %u function %u not available for %s, in use by %s,id=%s", slot, function,
                       c->dev->class->name, there->dev->class->name, there->dev->name);
    if (function && first && !first->multifunction)
        return err_set(e, EINVAL, "PCI: single function device can't be populated in function %x.%x", slot, function);
    return true;
}

bool pci_bus_plug(struct pci_bus *b, struct dev *host, struct pci_card *c, struct err *e)
{
    if (!place(b, c, e))
        return false;
    c->bus = b;
    c->host = host;
    if (c->seated)
        c->seated(c);
    b->card[c->devfn] = c;
    return true;
}

void pci_bus_unplug(struct pci_card *c)
{
    c->bus->card[c->devfn] = NULL;
    c->bus = NULL;
    c->host = NULL;
}

/* ---- bridges ---- */

/* A bridge's header as it is now: the guest may be about to change it. */
struct header {
    u8 bytes[PCI_HEADER_END];
};

static struct header header_of(const struct pci_card *bridge)
{
    struct header h;
    dev_lock(bridge->dev);
    memcpy(h.bytes, bridge->config, sizeof(h.bytes));
    dev_unlock(bridge->dev);
    return h;
}

static u64 get(const struct header *h, unsigned at, unsigned size)
{
    u64 v = 0;
    memcpy(&v, h->bytes + at, size);
    return v;
}

unsigned pci_bus_number(const struct pci_bus *b)
{
    return b->bridge ? header_of(b->bridge).bytes[PCI_SECONDARY] : 0;
}

struct pci_bus *pci_bus_find(struct pci_bus *b, unsigned number)
{
    if (pci_bus_number(b) == number)
        return b;
    for (unsigned i = 0; i < PCI_FUNCTIONS; i++) {
        if (!b->card[i] || !b->card[i]->below)
            continue;
        struct header h = header_of(b->card[i]);
        if (h.bytes[PCI_SECONDARY] && h.bytes[PCI_SECONDARY] <= number && number <= h.bytes[PCI_SUBORDINATE])
            return pci_bus_find(b->card[i]->below, number);
    }
    return NULL;
}

struct window {
    u64 base, last; /* base > last: nothing */
};

static struct window io_window(const struct header *h)
{
    return (struct window){(get(h, PCI_IO_BASE, 1) & 0xf0) << 8, (get(h, PCI_IO_BASE + 1, 1) & 0xf0) << 8 | 0xfff};
}

/* Of memory: 16 bits each, of which the lowest four say whether there are high parts. */
static struct window plain_window(const struct header *h)
{
    return (struct window){(get(h, PCI_MEMORY_BASE, 2) & 0xfff0) << 16, (get(h, PCI_MEMORY_BASE + 2, 2) & 0xfff0) << 16 | 0xfffff};
}

static struct window prefetch_window(const struct header *h)
{
    return (struct window){get(h, PCI_PREFETCH_BASE_HIGH, 4) << 32 | (get(h, PCI_PREFETCH_BASE, 2) & 0xfff0) << 16,
                           get(h, PCI_PREFETCH_LIMIT_HIGH, 4) << 32 | (get(h, PCI_PREFETCH_BASE + 2, 2) & 0xfff0) << 16 | 0xfffff};
}

static bool is_within(struct window w, u64 at, u64 size)
{
    return w.base <= at && at <= w.last && size - 1 <= w.last - at;
}

static bool lets_through(const struct header *h, enum pci_bar_kind kind, u64 at, u64 size)
{
    u64 command = get(h, PCI_COMMAND, 2);
    if (kind == PCI_BAR_IO)
        return command & PCI_COMMAND_IO && is_within(io_window(h), at, size);
    return command & PCI_COMMAND_MEMORY && (is_within(plain_window(h), at, size) || is_within(prefetch_window(h), at, size));
}

bool pci_bus_forwards(const struct pci_bus *b, enum pci_bar_kind kind, u64 at, u64 size)
{
    for (; b->bridge; b = b->bridge->bus) {
        struct header h = header_of(b->bridge);
        if (b->cut || !lets_through(&h, kind, at, size))
            return false;
    }
    return true;
}

/* ---- for monitors ---- */

/* What QMP calls a class. */
static const char *class_name(u16 class)
{
    static const struct {
        u16 class;
        const char *name;
    } names[] = {{PCI_CLASS_SCSI, "SCSI controller"}, {PCI_CLASS_ETHERNET, "Ethernet controller"},
                 {PCI_CLASS_HOST, "Host bridge"}, {PCI_CLASS_BRIDGE, "PCI bridge"}};
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (names[i].class == class)
            return names[i].name;
    }
    return NULL;
}

static struct json *show_bar(const struct pci_bar *b, unsigned i)
{
    struct json *j = json_object();
    json_set_int(j, "bar", i);
    json_set_int(j, "size", (s64)mem_range_size(b->range));
    json_set_int(j, "address", b->mapped ? (s64)b->at : -1);
    json_set_string(j, "type", b->kind == PCI_BAR_IO ? "io" : "memory");
    if (b->kind != PCI_BAR_IO) {
        json_set_bool(j, "prefetch", b->kind == PCI_BAR_MEMORY64);
        json_set_bool(j, "mem_type_64", b->kind == PCI_BAR_MEMORY64);
    }
    return j;
}

static void show_window(struct json *to, const char *name, struct window w)
{
    struct json *j = json_set(to, name, json_object());
    json_set_int(j, "base", (s64)w.base);
    json_set_int(j, "limit", (s64)w.last);
}

/* PciBridgeInfo: the bus's numbers and windows, and what is on it. */
static struct json *show_bridge(const struct pci_card *c)
{
    struct json *j = json_object(), *bus = json_set(j, "bus", json_object());
    struct header h = header_of(c);
    json_set_int(bus, "number", h.bytes[PCI_PRIMARY]);
    json_set_int(bus, "secondary", h.bytes[PCI_SECONDARY]);
    json_set_int(bus, "subordinate", h.bytes[PCI_SUBORDINATE]);
    show_window(bus, "io_range", io_window(&h));
    show_window(bus, "memory_range", plain_window(&h));
    show_window(bus, "prefetchable_range", prefetch_window(&h));
    if (h.bytes[PCI_SECONDARY]) /* the guest has made it a bus */
        json_set(j, "devices", pci_bus_show(c->below));
    return j;
}

/* PciDeviceInfo of QMP; "qdev_id" is the name of the device, be it the user's or not. */
static struct json *show_card(const struct pci_card *c)
{
    struct json *j = json_object(), *class, *id, *regions;
    u16 number = (u16)pci_config_get(c, PCI_CLASS, 2);
    json_set_int(j, "bus", pci_bus_number(c->bus));
    json_set_int(j, "slot", c->devfn / 8);
    json_set_int(j, "function", c->devfn % 8);
    class = json_set(j, "class_info", json_object());
    json_set_int(class, "class", number);
    if (class_name(number))
        json_set_string(class, "desc", class_name(number));
    id = json_set(j, "id", json_object());
    json_set_int(id, "vendor", pci_config_get(c, PCI_VENDOR, 2));
    json_set_int(id, "device", pci_config_get(c, PCI_DEVICE, 2));
    json_set_int(id, "subsystem-vendor", pci_config_get(c, PCI_SUBVENDOR, 2));
    json_set_int(id, "subsystem", pci_config_get(c, PCI_SUBDEVICE, 2));
    json_set_int(j, "irq_pin", c->config[PCI_PIN]);
    if (c->config[PCI_PIN])
        json_set_int(j, "irq", c->config[PCI_LINE]);
    json_set_string(j, "qdev_id", c->dev->name);
    regions = json_set(j, "regions", json_list());
    for (unsigned i = 0; i < PCI_BARS; i++) {
        if (c->bar[i].kind != PCI_BAR_NONE)
            json_push(regions, show_bar(&c->bar[i], i));
    }
    if (c->below)
        json_set(j, "pci_bridge", show_bridge(c));
    return j;
}

struct json *pci_bus_show(const struct pci_bus *b)
{
    struct json *list = json_list();
    for (unsigned i = 0; i < PCI_FUNCTIONS; i++) {
        if (b->card[i])
            json_push(list, show_card(b->card[i]));
    }
    return list;
}
