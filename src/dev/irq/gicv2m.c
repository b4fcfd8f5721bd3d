/* GICv2m: message-signalled interrupts for a GICv2 (Arm's Server Base System Architecture, appendix E): what
 * is written to a frame's register becomes the edge of an SPI. */
#include <errno.h>

#include "dev/list.h"

enum { MSI_TYPER = 0x008, MSI_SETSPI_NS = 0x040, MSI_IIDR = 0xfcc, SPIS = 1020 };

struct gicv2m {
    struct dev dev;
    u32 base, count; /* properties: SPIs, counted as interrupts */
};

static u64 gicv2m_read(struct dev *d, u64 offset, unsigned size)
{
    struct gicv2m *m = (struct gicv2m *)d;
    if (offset == MSI_TYPER)
        return m->base << 16 | m->count;
    if (offset == MSI_IIDR)
        return 'Q' << 20; /* the product that guests know this frame by */
    return 0;
}

static void gicv2m_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    struct gicv2m *m = (struct gicv2m *)d;
    u64 spi = (value & 0x3ff) - m->base;
    if (offset != MSI_SETSPI_NS || spi >= m->count)
        return;
    dev_out(d, (unsigned)spi, true);
    dev_out(d, (unsigned)spi, false);
}

/* All sources share the interrupts. */
static void gicv2m_message(struct dev *d, u32 source, u64 offset, u32 data)
{
    gicv2m_write(d, offset, 4, data);
}

static bool gicv2m_start(struct dev *d, struct err *e)
{
    struct gicv2m *m = (struct gicv2m *)d;
    return (m->base >= 32 && m->count && m->base + m->count <= SPIS) ||
           err_set(e, EINVAL, "%u interrupts from %u on cannot be", m->count, m->base);
}

/* Within the interrupt controller's node. */
static void gicv2m_node(struct dev *d, const struct dev_place *p)
{
    struct fw_node *n = fw_child_at(p->parent, "v2m", p->address[0]);
    fw_phandle(n);
    fw_reg(n, "reg", (const u64[]){p->address[0], 0x1000}, 1);
    fw_empty(n, "msi-controller");
    fw_string(n, "compatible", "arm,gic-v2m-frame");
}

static const struct dev_window gicv2m_windows[] = {{"gicv2m", 0x1000, gicv2m_read, gicv2m_write}, {0}};

static const struct dev_prop gicv2m_props[] = {
    DEV_PROP(struct gicv2m, "base-spi", DEV_PROP_U32, base, 0, SPIS, "the first interrupt"),
    DEV_PROP(struct gicv2m, "num-spi", DEV_PROP_U32, count, 64, SPIS, "how many"),
    {0},
};

const struct dev_class dev_gicv2m = {
    .name = "arm-gicv2m", .help = "Arm GICv2m message frame", .size = sizeof(struct gicv2m),
    .windows = gicv2m_windows, .outs = SPIS, .props = gicv2m_props, .start = gicv2m_start, .node = gicv2m_node,
    .message = gicv2m_message,
};
