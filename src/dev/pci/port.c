/* A root port of PCI Express: a bridge to a link with a slot, whose card comes and goes while the machine runs (PCI Express
 * Base specification 6.7). Its slot has an attention button, which asks the guest to give the card up, a power controller
 * and indicators: a card that is switched off with its indicator dark may be taken out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/list.h"
#include "dev/pci/pci.h"

enum { VENDOR = 0x1b36, DEVICE = 0x000c, SUBSYSTEM_AT = 0x40, MSIX_AT = 0x48, EXPRESS_AT = 0x54 };

/* Registers of the Express capability (7.8). */
enum { FLAGS = 0x02, DEVICE_CONTROL = 0x08, LINK = 0x0c, LINK_STATUS = 0x12, SLOT = 0x14, SLOT_CONTROL = 0x18,
       SLOT_STATUS = 0x1a, ROOT_CONTROL = 0x1c, LINK2 = 0x2c };
enum { FLAGS_SLOT = 1 << 8, LINK_WIDTH_1 = 1 << 4, LINK_SPEED_2_5 = 1, LINK_TELLS_ACTIVE = 1 << 20, LINK_ACTIVE = 1 << 13,
       LINK_PORT_SHIFT = 24, SLOT_NUMBER_SHIFT = 19 };
/* What the slot has. */
enum { HAS_BUTTON = 1 << 0, HAS_POWER = 1 << 1, HAS_ATTENTION_LIGHT = 1 << 3, HAS_POWER_LIGHT = 1 << 4, HAS_HOT_PLUG = 1 << 6 };
/* Its status, and in its control, at the same bits, of which of these there are interrupts. */
enum { BUTTON = 1 << 0, PRESENCE_CHANGED = 1 << 3, COMMAND_DONE = 1 << 4, PRESENT = 1 << 6, LINK_CHANGED = 1 << 8,
       EVENTS = BUTTON | PRESENCE_CHANGED | COMMAND_DONE | LINK_CHANGED };
enum { INTERRUPTS = 1 << 5, POWER_OFF = 1 << 10, LINK_CHANGED_ENABLED = 1 << 12, ATTENTION_SHIFT = 6, POWER_LIGHT_SHIFT = 8,
       LIGHT_ON = 1, LIGHT_BLINKS = 2, LIGHT_OFF = 3 };

struct pci_port {
    struct dev dev;
    struct pci_card card;
    struct pci_bus bus;
    u32 chassis, number, port; /* properties */
    bool hotplug;
    bool leaving;   /* the button was pressed, and the guest is to answer */
    bool signalled; /* an interrupt is asked for */
};

static struct pci_port *of(struct dev *d)
{
    return (struct pci_port *)d;
}

static u32 get(const struct pci_port *p, unsigned at)
{
    return pci_config_get(&p->card, EXPRESS_AT + at, 2);
}

static void set(struct pci_port *p, unsigned at, u32 value)
{
    pci_config_set(&p->card, EXPRESS_AT + at, 2, value);
}

/* ---- the slot; under the lock ---- */

/* 6.7.3.4: an interrupt as long as an event is there that is to be told of; a message when that begins. */
static void update_interrupt(struct pci_port *p)
{
    u32 control = get(p, SLOT_CONTROL), enabled = control & (EVENTS & ~LINK_CHANGED);
    enabled |= control & LINK_CHANGED_ENABLED ? LINK_CHANGED : 0;
    bool on = control & INTERRUPTS && get(p, SLOT_STATUS) & enabled;
    if (!pci_msix_on(&p->card))
        pci_set_interrupt(&p->card, on);
    else if (on && !p->signalled)
        pci_msix_send(&p->card, 0);
    p->signalled = on;
}

static void note(struct pci_port *p, u32 events)
{
    set(p, SLOT_STATUS, get(p, SLOT_STATUS) | events);
    update_interrupt(p);
}

/* The link is there when a card is, and has power. */
static void update_link(struct pci_port *p)
{
    bool on = get(p, SLOT_STATUS) & PRESENT && !(get(p, SLOT_CONTROL) & POWER_OFF);
    bool was = get(p, LINK_STATUS) & LINK_ACTIVE;
    set(p, LINK_STATUS, LINK_SPEED_2_5 | LINK_WIDTH_1 | (on ? LINK_ACTIVE : 0));
    p->bus.cut = !on;
    if (on != was)
        note(p, LINK_CHANGED);
}

static bool is_off(u32 control)
{
    return control & POWER_OFF && (control >> POWER_LIGHT_SHIFT & 3) == LIGHT_OFF;
}

/* The guest has done with all that is in the slot. */
static void give_up(struct pci_port *p)
{
    struct dev *d = &p->dev;
    p->leaving = false;
    for (unsigned i = 0; i < PCI_FUNCTIONS; i++) {
        if (p->bus.card[i])
            d->env->gone(d->env->opaque, p->bus.card[i]->dev);
    }
}

static void port_access(struct pci_card *c, unsigned at, unsigned size, bool write)
{
    struct pci_port *p = container_of(c, struct pci_port, card);
    unsigned control = EXPRESS_AT + SLOT_CONTROL;
    if (!write || at + size <= control || at >= control + 4)
        return;
    if (at < control + 2) {
        update_link(p);
        note(p, COMMAND_DONE);
        if (p->hotplug && is_off(get(p, SLOT_CONTROL)) && get(p, SLOT_STATUS) & PRESENT)
            give_up(p);
    }
    update_interrupt(p);
}

/* ---- cards come and go ---- */

static bool port_plug(struct dev *d, struct dev *what, struct err *e)
{
    struct pci_port *p = of(d);
    struct pci_card *c = what->class->bus_side(what);
    if (!p->card.host)
        return err_set(e, ENODEV, "Bus '%s' leads nowhere", d->name);
    c->dev = what;
    if (!pci_bus_plug(&p->bus, p->card.host, c, e))
        return false;
    dev_lock(d);
    set(p, SLOT_STATUS, get(p, SLOT_STATUS) | PRESENT);
    dev_unlock(d);
    return true;
}

/* The button is pressed, too: drivers of slots that have one wait for it. */
static void port_arrive(struct dev *d)
{
    struct pci_port *p = of(d);
    dev_lock(d);
    update_link(p);
    note(p, PRESENCE_CHANGED | (p->hotplug ? BUTTON : 0));
    dev_unlock(d);
}

static bool port_leave(struct dev *d, struct dev *what, struct err *e)
{
    struct pci_port *p = of(d);
    bool good = true;
    dev_lock(d);
    u32 control = get(p, SLOT_CONTROL);
    if (!p->hotplug)
        good = err_set(e, EINVAL, "Bus '%s' does not support hotplugging", d->name);
    else if (is_off(control))
        give_up(p);
    else if ((control >> POWER_LIGHT_SHIFT & 3) == LIGHT_BLINKS)
        good = err_set(e, EBUSY, "Hot-unplug failed: guest is busy (power indicator blinking)");
    else if (p->leaving)
        good = err_set(e, EBUSY, "Device %s is already in the process of unplug", what->name);
    else
        p->leaving = true;
    if (p->leaving)
        note(p, BUTTON);
    dev_unlock(d);
    return good;
}

static void port_unplug(struct dev *d, struct dev *what)
{
    struct pci_port *p = of(d);
    pci_bus_unplug(what->class->bus_side(what));
    bool empty = true;
    for (unsigned i = 0; i < PCI_FUNCTIONS; i++)
        empty &= !p->bus.card[i];
    if (!empty)
        return;
    dev_lock(d);
    set(p, SLOT_STATUS, get(p, SLOT_STATUS) & ~(u32)PRESENT);
    update_link(p);
    note(p, PRESENCE_CHANGED);
    dev_unlock(d);
}

/* ---- life ---- */

static void *port_bus_side(struct dev *d)
{
    return &of(d)->card;
}

static void add_bridge_header(struct pci_card *c)
{
    pci_config_set(c, PCI_HEADER_TYPE, 1, PCI_HEADER_BRIDGE | (c->multifunction ? PCI_MULTIFUNCTION : 0));
    pci_set_writable(c, PCI_PRIMARY, 4, ~0u); /* and its latency timer, which does nothing */
    pci_set_writable(c, PCI_IO_BASE, 2, 0xf0f0);
    pci_set_writable(c, PCI_MEMORY_BASE, 4, 0xfff0fff0);
    pci_set_writable(c, PCI_PREFETCH_BASE, 4, 0xfff0fff0);
    pci_config_set(c, PCI_PREFETCH_BASE, 4, 0x00010001); /* of 64 bits */
    pci_set_writable(c, PCI_PREFETCH_BASE_HIGH, 4, ~0u);
    pci_set_writable(c, PCI_PREFETCH_LIMIT_HIGH, 4, ~0u);
    pci_set_writable(c, PCI_BRIDGE_CONTROL, 2, 0x5f);
}

static void add_slot(struct pci_port *p)
{
    struct pci_card *c = &p->card;
    unsigned at = pci_add_express(c, PCI_EXPRESS_ROOT_PORT, EXPRESS_AT);
    u32 has = HAS_BUTTON | HAS_POWER | HAS_ATTENTION_LIGHT | HAS_POWER_LIGHT | HAS_HOT_PLUG;
    pci_config_set(c, at + FLAGS, 2, pci_config_get(c, at + FLAGS, 2) | FLAGS_SLOT);
    pci_set_writable(c, at + DEVICE_CONTROL, 2, 0xf);
    pci_config_set(c, at + LINK, 4, pci_config_get(c, at + LINK, 4) | p->port << LINK_PORT_SHIFT | LINK_TELLS_ACTIVE);
    pci_config_set(c, at + LINK2, 4, 1 << LINK_SPEED_2_5);
    pci_config_set(c, at + SLOT, 4, p->number << SLOT_NUMBER_SHIFT | (p->hotplug ? has : 0));
    pci_set_writable(c, at + ROOT_CONTROL, 2, 7);
    if (!p->hotplug)
        return;
    pci_set_writable(c, at + SLOT_CONTROL, 2, BUTTON | PRESENCE_CHANGED | COMMAND_DONE | INTERRUPTS | 3 << ATTENTION_SHIFT |
                                                  3 << POWER_LIGHT_SHIFT | POWER_OFF | LINK_CHANGED_ENABLED);
    memcpy(c->clears + at + SLOT_STATUS, &(u16){EVENTS}, 2);
}

static bool port_start(struct dev *d, struct err *e)
{
    struct pci_port *p = of(d);
    const struct pci_identity id = {.vendor = VENDOR, .device = DEVICE, .class = PCI_CLASS_BRIDGE};
    pci_card_init(&p->card, d, &id);
    add_bridge_header(&p->card);
    pci_config_set(&p->card, PCI_PIN, 1, 1);
    pci_add_capability(&p->card, PCI_CAP_SUBSYSTEM, SUBSYSTEM_AT, 8);
    pci_config_set(&p->card, SUBSYSTEM_AT + 4, 4, VENDOR);
    pci_add_msix(&p->card, 1, 0, MSIX_AT);
    add_slot(p);
    p->card.access = port_access;
    p->card.below = &p->bus;
    p->bus.bridge = &p->card;
    p->bus.express = true;
    p->bus.cut = true;
    return true;
}

static void port_stop(struct dev *d)
{
    pci_card_free(&of(d)->card);
}

/* What the guest was asked to give up goes with a reset. */
static void port_reset(struct dev *d)
{
    struct pci_port *p = of(d);
    bool present = get(p, SLOT_STATUS) & PRESENT;
    if (p->leaving)
        give_up(p);
    pci_card_reset(&p->card);
    pci_config_set(&p->card, PCI_IO_BASE, 1, 0xf0); /* its windows end before they begin: nothing gets through */
    pci_config_set(&p->card, PCI_MEMORY_BASE, 2, 0xfff0);
    pci_config_set(&p->card, PCI_PREFETCH_BASE, 2, 0xfff1);
    pci_config_set(&p->card, PCI_PREFETCH_BASE_HIGH, 4, 0);
    pci_config_set(&p->card, PCI_PREFETCH_LIMIT_HIGH, 4, 0);
    pci_config_set(&p->card, PCI_BRIDGE_CONTROL, 2, 0);
    u32 lights = LIGHT_OFF << ATTENTION_SHIFT | (present ? LIGHT_ON : LIGHT_OFF) << POWER_LIGHT_SHIFT;
    set(p, DEVICE_CONTROL, 0);
    set(p, ROOT_CONTROL, 0);
    set(p, SLOT_CONTROL, p->hotplug ? lights | (present ? 0 : POWER_OFF) : 0);
    update_link(p);
    set(p, SLOT_STATUS, present ? PRESENT : 0);
    p->signalled = false;
}

static void port_loaded(struct dev *d)
{
    struct pci_port *p = of(d);
    p->bus.cut = !(get(p, LINK_STATUS) & LINK_ACTIVE);
    pci_card_configured(&p->card);
}

static const struct dev_prop port_props[] = {
    PCI_CARD_PROPS(struct pci_port, card),
    DEV_PROP(struct pci_port, "chassis", DEV_PROP_U32, chassis, 0, 255, "the number of its chassis, for people"),
    DEV_PROP(struct pci_port, "slot", DEV_PROP_U32, number, 0, 8191, "the number of its slot in the chassis"),
    DEV_PROP(struct pci_port, "port", DEV_PROP_U32, port, 0, 255, "the number of its link"),
    DEV_PROP(struct pci_port, "hotplug", DEV_PROP_BOOL, hotplug, 1, .help = "its card may come and go"),
    {0},
};

static const struct state_field port_state[] = {
    PCI_CARD_STATE(struct pci_port, card), STATE_MAX(struct pci_port, leaving, 1), STATE_MAX(struct pci_port, signalled, 1), {0}};

const struct dev_class dev_pci_port = {
    .name = "pcie-root-port", .help = "PCI Express root port", .size = sizeof(struct pci_port), .props = port_props,
    .state = port_state, .start = port_start, .stop = port_stop, .reset = port_reset, .loaded = port_loaded, .category = "Controller/Bridge/Hub",
    .bus = PCI_BUS, .bus_side = port_bus_side, .slot_for = PCI_BUS, .plug = port_plug, .arrive = port_arrive,
    .leave = port_leave, .unplug = port_unplug,
};
