/* A slot for a virtio device in memory (Virtual I/O Device specification 1.1, 4.2.4 with 4.2.2). */
#include "dev/list.h"

enum { MMIO_MAGIC = 0x000, MMIO_VERSION = 0x004, MMIO_DEVICE_ID = 0x008, MMIO_VENDOR_ID = 0x00c };

struct virtio_mmio {
    struct dev dev;
};

/* An empty slot: device 0, which drivers pass over. */
static u64 mmio_read(struct dev *d, u64 offset, unsigned size)
{
    switch (offset) {
    case MMIO_MAGIC: return 0x74726976;  /* "virt" */
    case MMIO_VERSION: return 1;         /* legacy */
    case MMIO_VENDOR_ID: return 0x554d4551; /* the vendor that guests know this by */
    }
    return 0;
}

static void mmio_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
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
    {"virtio-mmio", 0x200, mmio_read, mmio_write, .call_min = 1, .call_max = 8, .max = 8}, {0}};

const struct dev_class dev_virtio_mmio = {
    .name = "virtio-mmio", .help = "slot for a virtio device in memory", .size = sizeof(struct virtio_mmio),
    .windows = mmio_windows, .outs = 1, .node = mmio_node,
};
