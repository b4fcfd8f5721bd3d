/* A host bridge with its bus, and those behind ports on it, whose configuration space is memory (ECAM, PCI Express Base specification 7.2.2). Itself it
 * is the card in slot 0. Interrupts A to D of the slots are its four outputs, swizzled. */
#include "dev/list.h"
#include "dev/pci/pci.h"

enum { LINES = 4, BUSES = 256, FUNCTION_SHIFT = 12, BUS_SHIFT = 20, IO_SIZE = 0x10000 };
enum { SPACE_IO = 0x1000000, SPACE_MEMORY = 0x2000000, SPACE_MEMORY64 = 0x3000000 }; /* as device trees have it */

struct pci_host {
    struct dev dev;
    struct pci_card bridge;
    struct pci_bus bus;
    struct mem_range *memory, *ports, *no_memory, *no_ports; /* what answers where no card does */
    struct dev *messages; /* where they go ... */
    u64 messages_at, messages_size;
    u32 levels[LINES];    /* how many cards pull it */
};

/* ---- configuration ---- */

/* The card of an address in the configuration space. */
static struct pci_card *addressed(struct pci_host *h, u64 offset)
{
    struct pci_bus *b = pci_bus_find(&h->bus, (unsigned)(offset >> BUS_SHIFT));
    return b && !b->cut ? b->card[offset >> FUNCTION_SHIFT & 0xff] : NULL;
}

/* A bridge has changed: what lies behind it may be seen at other places, or not at all. */
static void reconfigure(struct pci_bus *b)
{
    for (unsigned i = 0; i < PCI_FUNCTIONS; i++) {
        struct pci_card *c = b->card[i];
        if (!c)
            continue;
        dev_lock(c->dev);
        pci_card_configured(c);
        dev_unlock(c->dev);
        if (c->below)
            reconfigure(c->below);
    }
}

static u64 ecam_read(struct dev *d, u64 offset, unsigned size)
{
    struct pci_card *c = addressed((struct pci_host *)d, offset);
    if (!c)
        return ~0ull;
    dev_lock(c->dev);
    u32 v = pci_config_read(c, offset & ((1 << FUNCTION_SHIFT) - 1), size);
    dev_unlock(c->dev);
    return v;
}

static void ecam_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    struct pci_card *c = addressed((struct pci_host *)d, offset);
    if (!c)
        return;
    dev_lock(c->dev);
    pci_config_write(c, offset & ((1 << FUNCTION_SHIFT) - 1), size, (u32)value);
    dev_unlock(c->dev);
    if (c->below)
        reconfigure(c->below);
}

static enum mem_result nothing_read(void *opaque, u64 offset, unsigned size, u64 *value)
{
    *value = ~0ull;
    return MEM_OK;
}

static enum mem_result nothing_write(void *opaque, u64 offset, unsigned size, u64 value)
{
    return MEM_OK;
}

static const struct mem_io nothing = {.read = nothing_read, .write = nothing_write, .unaligned = true};

/* ---- what cards ask for ---- */

void pci_host_interrupt(struct dev *host, struct pci_card *c, bool level)
{
    struct pci_host *h = (struct pci_host *)host;
    unsigned line = (c->devfn / 8 + c->config[PCI_PIN] - 1u) % LINES;
    for (const struct pci_card *up = c->bus->bridge; up; up = up->bus->bridge)
        line = (line + up->devfn / 8) % LINES;
    dev_lock(host);
    h->levels[line] += level ? 1 : -1u;
    dev_out(host, line, h->levels[line]);
    dev_unlock(host);
}

/* What is no interrupt is a write like another. */
void pci_host_message(struct dev *host, const struct pci_card *c, u64 addr, u32 data)
{
    struct pci_host *h = (struct pci_host *)host;
    if (h->messages && addr - h->messages_at < h->messages_size)
        h->messages->class->message(h->messages, pci_bus_number(c->bus) << 8 | c->devfn, addr - h->messages_at, data);
    else
        mem_dma_write(host->env->memory, addr, &data, sizeof(data));
}

void pci_host_map(struct dev *host, struct pci_bar *b, bool on, u64 at)
{
    struct pci_host *h = (struct pci_host *)host;
    dev_lock(host);
    if (b->mapped)
        mem_range_remove(b->range);
    if (on)
        mem_range_add(b->kind == PCI_BAR_IO ? h->ports : h->memory, at, 1, b->range);
    b->mapped = on;
    b->at = at;
    mem_space_update(host->env->memory);
    dev_unlock(host);
}

/* ---- for boards ---- */

static void show(struct mem_range *root, u64 at, const char *name, struct mem_range *of, u64 from, u64 size)
{
    if (size)
        mem_range_add(root, at, 0, mem_alias_new(name, of, from, size));
}

void pci_host_show(struct dev *host, struct mem_range *root, const struct pci_map *m)
{
    struct pci_host *h = (struct pci_host *)host;
    struct mem_range *ecam = mem_container_new("pcie-mmcfg-mmio", m->buses << BUS_SHIFT);
    mem_range_add(ecam, 0, 0, dev_window(host, 0));
    mem_range_add(root, m->ecam, 0, ecam);
    show(root, m->mmio, "pcie-mmio", h->memory, m->mmio, m->mmio_size);
    show(root, m->high, "pcie-mmio-high", h->memory, m->high, m->high_size);
    mem_range_add(root, m->ports, 0, h->ports);
}

/* A window as its node has it: the kind of space, its address there and for CPUs, its size. */
enum { WINDOW_CELLS = 7 };
#define WINDOW(space, there, here, size)                                                            \
    space, (u32)((there) >> 32), (u32)(there), (u32)((here) >> 32), (u32)(here), (u32)((size) >> 32), (u32)(size)

struct fw_node *pci_host_describe(struct fw_node *parent, const struct pci_map *m)
{
    struct fw_node *n = fw_child_at(parent, "pcie", m->mmio);
    fw_string(n, "compatible", "pci-host-ecam-generic");
    fw_string(n, "device_type", "pci");
    fw_cell(n, "#address-cells", 3);
    fw_cell(n, "#size-cells", 2);
    fw_cell(n, "#interrupt-cells", 1);
    fw_cell(n, "linux,pci-domain", 0);
    FW_CELLS(n, "bus-range", 0, m->buses - 1);
    fw_empty(n, "dma-coherent");
    fw_reg(n, "reg", (const u64[]){m->ecam, m->buses << BUS_SHIFT}, 1);
    const u32 ranges[][WINDOW_CELLS] = {
        {WINDOW(SPACE_IO, 0ull, m->ports, (u64)IO_SIZE)},
        {WINDOW(SPACE_MEMORY, m->mmio, m->mmio, m->mmio_size)},
        {WINDOW(SPACE_MEMORY64, m->high, m->high, m->high_size)},
    };
    fw_cells(n, "ranges", ranges[0], (m->high_size ? 3 : 2) * WINDOW_CELLS);
    return n;
}

void pci_host_messages(struct dev *host, struct dev *to, u64 at, u64 size)
{
    struct pci_host *h = (struct pci_host *)host;
    h->messages = to;
    h->messages_at = at;
    h->messages_size = size;
}

static bool host_plug(struct dev *d, struct dev *what, struct err *e)
{
    struct pci_card *c = what->class->bus_side(what);
    c->dev = what;
    return pci_bus_plug(&((struct pci_host *)d)->bus, d, c, e);
}

/* PciInfo of QMP. */
static struct json *host_show(struct dev *d)
{
    struct json *j = json_object();
    json_set_int(j, "bus", 0);
    json_set(j, "devices", pci_bus_show(&((struct pci_host *)d)->bus));
    return j;
}

/* ---- life ---- */

static bool host_start(struct dev *d, struct err *e)
{
    struct pci_host *h = (struct pci_host *)d;
    const struct pci_identity id = {.vendor = 0x1b36, .device = 0x0008, .class = PCI_CLASS_HOST, .subvendor = 0x1af4,
                                    .subdevice = 0x1100};
    pci_card_init(&h->bridge, d, &id);
    h->bus.card[0] = &h->bridge;
    h->bridge.bus = &h->bus;
    h->memory = mem_container_new("gpex_mmio_window", 0);
    h->ports = mem_container_new("gpex_ioport_window", IO_SIZE);
    h->no_memory = mem_io_new("gpex_mmio_window", 0, &nothing, NULL);
    h->no_ports = mem_io_new("gpex_ioport_window", IO_SIZE, &nothing, NULL);
    mem_range_add(h->memory, 0, 0, h->no_memory);
    mem_range_add(h->ports, 0, 0, h->no_ports);
    return true;
}

static void host_stop(struct dev *d)
{
    struct pci_host *h = (struct pci_host *)d;
    mem_range_free(h->no_memory);
    mem_range_free(h->no_ports);
    mem_range_free(h->memory);
    mem_range_free(h->ports);
}

static void host_reset(struct dev *d)
{
    pci_card_reset(&((struct pci_host *)d)->bridge);
}

static const struct dev_window host_windows[] = {
    {"pcie-mmcfg-mmio", BUSES << BUS_SHIFT, ecam_read, ecam_write, .call_min = 1, .call_max = 4, .max = 8}, {0}};

static const struct state_field host_state[] = {STATE_ARRAY(struct pci_host, bridge.config, u8), {0}};

const struct dev_class dev_pci_host = {
    .name = "gpex-pcihost", .help = "PCI Express host bridge", .size = sizeof(struct pci_host), .owner = DEV_OWNER_SELF,
    .windows = host_windows, .outs = LINES, .state = host_state, .start = host_start, .reset = host_reset, .stop = host_stop,
    .slot_for = PCI_BUS, .plug = host_plug, .subject = "pci", .show = host_show,
};
