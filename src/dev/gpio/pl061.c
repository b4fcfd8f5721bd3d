/* PL061: Arm's eight general-purpose pins (PrimeCell General Purpose Input/Output technical reference manual,
 * DDI 0190). Outputs: the interrupt, then the pins. Inputs: the pins. */
#include "dev/list.h"

enum {
    GPIO_DATA_END = 0x400, GPIO_DIR = 0x400, GPIO_IS = 0x404, GPIO_IBE = 0x408, GPIO_IEV = 0x40c, GPIO_IE = 0x410,
    GPIO_RIS = 0x414, GPIO_MIS = 0x418, GPIO_IC = 0x41c, GPIO_AFSEL = 0x420, GPIO_ID = 0xfe0,
};

enum { PINS = 8 };

struct pl061 {
    struct dev dev;
    u32 data;    /* what is written to the pins that are outputs */
    u32 in;      /* levels from outside */
    u32 old;     /* levels of inputs when they were last looked at */
    u32 dir, is, ibe, iev, ie, ris, afsel;
};

static u32 levels(const struct pl061 *p)
{
    return (p->data & p->dir) | (p->in & ~p->dir);
}

static void drive(struct pl061 *p)
{
    for (unsigned i = 0; i < PINS; i++)
        dev_out(&p->dev, 1 + i, p->data & p->dir & 1u << i);
    dev_out(&p->dev, 0, p->ris & p->ie);
}

/* Edges of inputs since the last time; levels of all pins, which stay until they are cleared. */
static void update(struct pl061 *p)
{
    u32 now = levels(p), changed = (p->old ^ now) & ~p->dir;
    u32 edges = changed & (p->ibe | ~(now ^ p->iev));
    p->ris |= (edges & ~p->is) | (~(now ^ p->iev) & p->is);
    p->old = now;
    drive(p);
}

/* The address says which pins an access is about. */
static u32 pins_of(u64 offset)
{
    return (u32)offset >> 2 & 0xff;
}

static u64 pl061_read(struct dev *d, u64 offset, unsigned size)
{
    struct pl061 *p = (struct pl061 *)d;
    if (offset < GPIO_DATA_END)
        return levels(p) & pins_of(offset);
    switch (offset) {
    case GPIO_DIR: return p->dir;
    case GPIO_IS: return p->is;
    case GPIO_IBE: return p->ibe;
    case GPIO_IEV: return p->iev;
    case GPIO_IE: return p->ie;
    case GPIO_RIS: return p->ris;
    case GPIO_MIS: return p->ris & p->ie;
    case GPIO_AFSEL: return p->afsel;
    }
    if (offset >= GPIO_ID)
        return dev_primecell_id(offset, 0x061, 0);
    dev_guest_error(d, "read of register %#x", (unsigned)offset);
    return 0;
}

static void pl061_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    struct pl061 *p = (struct pl061 *)d;
    u32 v = (u32)value & 0xff;
    if (offset < GPIO_DATA_END) {
        u32 pins = pins_of(offset) & p->dir;
        p->data = (p->data & ~pins) | (v & pins);
        update(p);
        return;
    }
    switch (offset) {
    case GPIO_DIR: p->dir = v; break;
    case GPIO_IS: p->is = v; break;
    case GPIO_IBE: p->ibe = v; break;
    case GPIO_IEV: p->iev = v; break;
    case GPIO_IE: p->ie = v; break;
    case GPIO_IC: p->ris &= ~v; break;
    case GPIO_AFSEL: p->afsel = v; break;
    default: dev_guest_error(d, "write of register %#x", (unsigned)offset); return;
    }
    update(p);
}

static void pl061_line(struct dev *d, unsigned line, bool level)
{
    struct pl061 *p = (struct pl061 *)d;
    p->in = level ? p->in | 1u << line : p->in & ~(1u << line);
    update(p);
}

static void pl061_reset(struct dev *d)
{
    struct pl061 *p = (struct pl061 *)d;
    p->data = p->dir = p->is = p->ibe = p->iev = p->ie = p->ris = p->afsel = 0;
    p->old = p->in;
    update(p);
}

static void pl061_loaded(struct dev *d)
{
    drive((struct pl061 *)d);
}

static void pl061_node(struct dev *d, const struct dev_place *p)
{
    struct fw_node *n = fw_child_at(p->parent, "pl061", p->address[0]);
    fw_phandle(n);
    fw_string(n, "clock-names", "apb_pclk");
    fw_cell(n, "clocks", p->clock);
    fw_cells(n, "interrupts", p->irq, p->irq_cells);
    fw_empty(n, "gpio-controller");
    fw_cell(n, "#gpio-cells", 2);
    fw_strings(n, "compatible", "arm,pl061\0arm,primecell");
    fw_reg(n, "reg", (const u64[]){p->address[0], 0x1000}, 1);
}

static const struct dev_window pl061_windows[] = {{"pl061", 0x1000, pl061_read, pl061_write, .max = 8}, {0}};

static const struct state_field pl061_state[] = {
    STATE_MAX(struct pl061, data, 0xff), STATE_MAX(struct pl061, in, 0xff), STATE_MAX(struct pl061, old, 0xff),
    STATE_MAX(struct pl061, dir, 0xff), STATE_MAX(struct pl061, is, 0xff), STATE_MAX(struct pl061, ibe, 0xff),
    STATE_MAX(struct pl061, iev, 0xff), STATE_MAX(struct pl061, ie, 0xff), STATE_MAX(struct pl061, ris, 0xff),
    STATE_MAX(struct pl061, afsel, 0xff), {0},
};

const struct dev_class dev_pl061 = {
    .name = "pl061", .help = "Arm PL061 GPIO", .size = sizeof(struct pl061), .windows = pl061_windows,
    .outs = 1 + PINS, .ins = PINS, .state = pl061_state, .reset = pl061_reset, .line = pl061_line,
    .loaded = pl061_loaded, .node = pl061_node,
};
