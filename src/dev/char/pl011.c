/* PL011: Arm's UART (PrimeCell UART technical reference manual, DDI 0183). The line is as fast as its
 * readers: a character written is gone at once, unless the back end cannot take it. */
#include <string.h>

#include "back/char.h"
#include "dev/list.h"

enum {
    UART_DR = 0x00, UART_RSR = 0x04, UART_FR = 0x18, UART_ILPR = 0x20, UART_IBRD = 0x24, UART_FBRD = 0x28,
    UART_LCR_H = 0x2c, UART_CR = 0x30, UART_IFLS = 0x34, UART_IMSC = 0x38, UART_RIS = 0x3c, UART_MIS = 0x40,
    UART_ICR = 0x44, UART_DMACR = 0x48, UART_ID = 0xfe0,
};

enum { FR_RXFE = 1 << 4, FR_TXFF = 1 << 5, FR_RXFF = 1 << 6, FR_TXFE = 1 << 7 };
enum { INT_RX = 1 << 4, INT_TX = 1 << 5, INT_ALL = 0x7ff };
enum { LCR_BREAK = 1 << 0, LCR_FIFO = 1 << 4, CR_LOOPBACK = 1 << 7, DR_BREAK = 1 << 10 };
enum { FIFO = 16 };

struct pl011 {
    struct dev dev;
    struct chardev *chardev;
    struct char_user user;
    u32 lcr, rsr, cr, dmacr, ifls, imsc, ris, ilpr, ibrd, fbrd;
    u32 fifo[FIFO]; /* as DR shows them: the character and its errors */
    u32 head, count;
};

static u32 depth(const struct pl011 *u)
{
    return u->lcr & LCR_FIFO ? FIFO : 1;
}

static void update(struct pl011 *u)
{
    dev_out(&u->dev, 0, u->ris & u->imsc);
}

static void flush(struct pl011 *u)
{
    u->head = u->count = 0;
}

/* A character comes in, from outside or from the transmitter. */
static void put(struct pl011 *u, u32 c)
{
    if (u->count >= depth(u))
        return;
    u->fifo[(u->head + u->count++) % FIFO] = c;
    u->ris |= INT_RX;
    update(u);
}

static u32 get(struct pl011 *u)
{
    u32 c = u->fifo[u->head];
    if (!u->count)
        return c;
    u->head = (u->head + 1) % FIFO;
    if (!--u->count)
        u->ris &= ~(u32)INT_RX;
    u->rsr = c >> 8;
    update(u);
    if (u->chardev)
        char_accept(u->chardev);
    return c;
}

static void transmit(struct pl011 *u, u8 c)
{
    if (u->cr & CR_LOOPBACK)
        put(u, c);
    else if (u->chardev)
        char_write(u->chardev, &c, 1);
    u->ris |= INT_TX;
    update(u);
}

static u32 flags(struct pl011 *u)
{
    u32 f = u->chardev && char_busy(u->chardev) ? FR_TXFF : FR_TXFE;
    return f | (u->count ? 0 : FR_RXFE) | (u->count >= depth(u) ? FR_RXFF : 0);
}

static u64 pl011_read(struct dev *d, u64 offset, unsigned size)
{
    struct pl011 *u = (struct pl011 *)d;
    switch (offset) {
    case UART_DR: return get(u);
    case UART_RSR: return u->rsr;
    case UART_FR: return flags(u);
    case UART_ILPR: return u->ilpr;
    case UART_IBRD: return u->ibrd;
    case UART_FBRD: return u->fbrd;
    case UART_LCR_H: return u->lcr;
    case UART_CR: return u->cr;
    case UART_IFLS: return u->ifls;
    case UART_IMSC: return u->imsc;
    case UART_RIS: return u->ris;
    case UART_MIS: return u->ris & u->imsc;
    case UART_DMACR: return u->dmacr;
    }
    if (offset >= UART_ID)
        return dev_primecell_id(offset, 0x011, 1);
    dev_guest_error(d, "read of register %#x", (unsigned)offset);
    return 0;
}

static void write_lcr(struct pl011 *u, u32 value)
{
    if ((u->lcr ^ value) & LCR_FIFO)
        flush(u);
    if ((u->lcr ^ value) & LCR_BREAK && u->cr & CR_LOOPBACK && value & LCR_BREAK)
        put(u, DR_BREAK);
    u->lcr = value;
}

static void pl011_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    struct pl011 *u = (struct pl011 *)d;
    u32 v = (u32)value;
    switch (offset) {
    case UART_DR: transmit(u, (u8)v); return;
    case UART_RSR: u->rsr = 0; return;
    case UART_FR: return; /* read only; Linux writes to it */
    case UART_ILPR: u->ilpr = v; return;
    case UART_IBRD: u->ibrd = v; return;
    case UART_FBRD: u->fbrd = v; return;
    case UART_LCR_H: write_lcr(u, v); return;
    case UART_CR: u->cr = v; return;
    case UART_IFLS: u->ifls = v; return;
    case UART_IMSC: u->imsc = v & INT_ALL; update(u); return;
    case UART_ICR: u->ris &= ~v; update(u); return;
    case UART_DMACR:
        u->dmacr = v;
        if (v & 3)
            dev_guest_error(d, "there is no DMA");
        return;
    }
    dev_guest_error(d, "write of register %#x", (unsigned)offset);
}

/* ---- the back end's side ---- */

static size_t pl011_room(void *opaque)
{
    struct pl011 *u = opaque;
    dev_lock(&u->dev);
    size_t n = depth(u) > u->count ? depth(u) - u->count : 0;
    dev_unlock(&u->dev);
    return n;
}

static void pl011_receive(void *opaque, const u8 *data, size_t len)
{
    struct pl011 *u = opaque;
    dev_lock(&u->dev);
    for (size_t i = 0; i < len; i++)
        put(u, data[i]);
    dev_unlock(&u->dev);
}

static void pl011_event(void *opaque, enum char_event event)
{
    struct pl011 *u = opaque;
    dev_lock(&u->dev);
    if (event == CHAR_BREAK)
        put(u, DR_BREAK);
    dev_unlock(&u->dev);
}

static void pl011_drained(void *opaque)
{
    struct pl011 *u = opaque;
    dev_lock(&u->dev);
    u->ris |= INT_TX;
    update(u);
    dev_unlock(&u->dev);
}

/* ---- life ---- */

static bool pl011_start(struct dev *d, struct err *e)
{
    struct pl011 *u = (struct pl011 *)d;
    u->user = (struct char_user){.room = pl011_room, .receive = pl011_receive, .drained = pl011_drained,
                                 .event = pl011_event, .opaque = u};
    return !u->chardev || char_attach(u->chardev, &u->user) ||
           err_set(e, 0, "character device '%s' is in use", char_id(u->chardev));
}

static void pl011_reset(struct dev *d)
{
    struct pl011 *u = (struct pl011 *)d;
    u->lcr = u->rsr = u->dmacr = u->imsc = u->ris = u->ilpr = u->ibrd = u->fbrd = 0;
    u->ifls = 0x12;
    u->cr = 0x300;
    memset(u->fifo, 0, sizeof(u->fifo));
    flush(u);
    update(u);
}

static void pl011_loaded(struct dev *d)
{
    update((struct pl011 *)d);
}

static void pl011_node(struct dev *d, const struct dev_place *p)
{
    struct fw_node *n = fw_child_at(p->parent, "pl011", p->address[0]);
    fw_strings(n, "clock-names", "uartclk\0apb_pclk");
    FW_CELLS(n, "clocks", p->clock, p->clock);
    fw_cells(n, "interrupts", p->irq, p->irq_cells);
    fw_reg(n, "reg", (const u64[]){p->address[0], 0x1000}, 1);
    fw_strings(n, "compatible", "arm,pl011\0arm,primecell");
}

static const struct dev_window pl011_windows[] = {{"pl011", 0x1000, pl011_read, pl011_write, .max = 8}, {0}};

static const struct dev_prop pl011_props[] = {
    DEV_PROP(struct pl011, "chardev", DEV_PROP_CHAR, chardev, .help = "its line"),
    {0},
};

static const struct state_field pl011_state[] = {
    STATE(struct pl011, lcr), STATE(struct pl011, rsr), STATE(struct pl011, cr), STATE(struct pl011, dmacr),
    STATE(struct pl011, ifls), STATE(struct pl011, imsc), STATE(struct pl011, ris), STATE(struct pl011, ilpr),
    STATE(struct pl011, ibrd), STATE(struct pl011, fbrd), STATE_ARRAY(struct pl011, fifo, u32),
    STATE_MAX(struct pl011, head, FIFO - 1), STATE_MAX(struct pl011, count, FIFO), {0},
};

const struct dev_class dev_pl011 = {
    .name = "pl011", .help = "Arm PL011 UART", .size = sizeof(struct pl011), .windows = pl011_windows,
    .outs = 1, .props = pl011_props, .state = pl011_state, .start = pl011_start, .reset = pl011_reset,
    .loaded = pl011_loaded, .node = pl011_node,
};
