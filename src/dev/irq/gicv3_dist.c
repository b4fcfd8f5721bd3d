/* The registers of the distributor (IHI 0069H, 12.9) and of redistributors (12.11). */
#include <string.h>

#include "dev/irq/gicv3.h"

enum {
    GICD_CTLR = 0x0000, GICD_TYPER = 0x0004, GICD_IIDR = 0x0008, IGROUPR = 0x0080, ISENABLER = 0x0100,
    ICENABLER = 0x0180, ISPENDR = 0x0200, ICPENDR = 0x0280, ISACTIVER = 0x0300, ICACTIVER = 0x0380,
    IPRIORITYR = 0x0400, ITARGETSR = 0x0800, ICFGR = 0x0c00, IGRPMODR = 0x0d00, GICD_IROUTER = 0x6000,
    GICD_IROUTER_END = 0x7fe0, IDS = 0xffd0,
    GICR_CTLR = 0x0000, GICR_IIDR = 0x0004, GICR_TYPER = 0x0008, GICR_WAKER = 0x0014, GICR_PROPBASER = 0x0070,
    GICR_PENDBASER = 0x0078, GICR_SGI = 0x10000,
};

enum {
    CTLR_GROUPS = 3, CTLR_ARE = 1 << 4, CTLR_DS = 1 << 6,
    TYPER_LPIS = 1 << 17, TYPER_ID_BITS = (GICV3_ID_BITS - 1) << 19, TYPER_A3V = 1 << 24, TYPER_NO_1_OF_N = 1 << 25,
    IIDR = 0x43b, CTLR_LPIS = 1, CTLR_CLEARABLE = 2, REDIST_LPIS = 1, REDIST_LAST = 1 << 4, REDIST_SHARED_TABLES = 1 << 24,
    WAKER_SLEEPS = 2, WAKER_ASLEEP = 4,
};

static u32 changed(u32 old, u32 value, u32 mask)
{
    return (old & ~mask) | (value & mask);
}

/* ---- what SGIs, PPIs and SPIs have alike ---- */

bool gicv3_bits_read(struct gicv3 *g, unsigned cpu, unsigned i, u64 offset, u32 *value)
{
    const struct gicv3_bits *b = gicv3_word(g, cpu, i);
    switch (offset & ~0x7full) {
    case IGROUPR: *value = b->group; return true;
    case ISENABLER:
    case ICENABLER: *value = b->enabled; return true;
    case ISPENDR:
    case ICPENDR: *value = b->latched | (b->level & ~b->edge); return true;
    case ISACTIVER:
    case ICACTIVER: *value = b->active; return true;
    }
    return false;
}

bool gicv3_bits_write(struct gicv3 *g, unsigned cpu, unsigned i, u64 offset, u32 value, u32 mask)
{
    struct gicv3_bits *b = gicv3_word(g, cpu, i);
    switch (offset & ~0x7full) {
    case IGROUPR: b->group = changed(b->group, value, mask); return true;
    case ISENABLER: b->enabled |= value; return true;
    case ICENABLER: b->enabled &= ~value; return true;
    case ISPENDR: b->latched |= value; return true;
    case ICPENDR: b->latched &= ~value; return true;
    case ISACTIVER: b->active |= value; return true;
    case ICACTIVER: b->active &= ~value; return true;
    }
    return false;
}

/* Two bits for each interrupt of 16; the upper one: it is triggered by edges. */
u32 gicv3_config_read(struct gicv3 *g, unsigned cpu, unsigned i)
{
    u32 edges = gicv3_word(g, cpu, i / 2)->edge >> i % 2 * 16, v = 0;
    for (unsigned k = 0; k < 16; k++)
        v |= (edges >> k & 1) << (2 * k + 1);
    return v;
}

/* SGIs are what they are. */
void gicv3_config_write(struct gicv3 *g, unsigned cpu, unsigned i, u32 value, u32 mask)
{
    u32 *edge = &gicv3_word(g, cpu, i / 2)->edge;
    for (unsigned k = 0; k < 16 && i; k++) {
        u32 m = 1u << (i % 2 * 16 + k);
        if (mask >> 2 * k & 3)
            *edge = value >> (2 * k + 1) & 1 ? *edge | m : *edge & ~m;
    }
}

static u32 read_priority(const u8 *from)
{
    u32 v;
    memcpy(&v, from, 4);
    return v;
}

static void write_priority(u8 *to, u32 value, u32 mask)
{
    u32 v = changed(read_priority(to), value, mask);
    memcpy(to, &v, 4);
}

/* ---- distributor: what CPUs have for themselves is zero here. GICD_TYPER speaks of 32 interrupts less than there are, as
 * it does in the model that guests know. ---- */

u32 gicv3_dist_read(struct gicv3 *g, u64 offset)
{
    unsigned i = offset % 0x80 / 4, irq = offset % 0x400;
    u32 v = 0;
    switch (offset) {
    case GICD_CTLR: return g->ctlr | CTLR_ARE | CTLR_DS;
    case GICD_TYPER: return (g->irqs / 32 - 2) | TYPER_LPIS | TYPER_ID_BITS | TYPER_A3V | TYPER_NO_1_OF_N;
    case GICD_IIDR: return IIDR;
    case IGROUPR ... IPRIORITYR - 1:
        return i && i < g->irqs / 32 && gicv3_bits_read(g, 0, i, offset, &v) ? v : 0;
    case IPRIORITYR ... ITARGETSR - 1: return irq >= GICV3_OWN && irq < g->irqs ? read_priority(g->priority + irq) : 0;
    case ICFGR ... IGRPMODR - 1:
        i = offset % 0x100 / 4;
        return i >= 2 && i < g->irqs / 16 ? gicv3_config_read(g, 0, i) : 0;
    case GICD_IROUTER ... GICD_IROUTER_END - 1:
        irq = (unsigned)(offset - GICD_IROUTER) / 8;
        return irq >= GICV3_OWN && irq < g->irqs ? (u32)(g->route[irq] >> 8 * (offset & 4)) : 0;
    case IDS ... GICV3_DIST_SIZE - 1: return gicv3_identification(offset, 0x92);
    }
    return 0;
}

static void write_half(u64 *to, u64 offset, u32 value, u32 mask)
{
    unsigned shift = 8 * (offset & 4);
    *to = (*to & ~((u64)mask << shift)) | (u64)(value & mask) << shift;
}

void gicv3_dist_write(struct gicv3 *g, u64 offset, u32 value, u32 mask)
{
    unsigned i = offset % 0x80 / 4, irq = offset % 0x400;
    switch (offset) {
    case GICD_CTLR: g->ctlr = changed(g->ctlr, value, mask) & CTLR_GROUPS; return;
    case IGROUPR ... IPRIORITYR - 1:
        if (i && i < g->irqs / 32)
            gicv3_bits_write(g, 0, i, offset, value, mask);
        return;
    case IPRIORITYR ... ITARGETSR - 1:
        if (irq >= GICV3_OWN && irq < g->irqs)
            write_priority(g->priority + irq, value, mask);
        return;
    case ICFGR ... IGRPMODR - 1:
        i = offset % 0x100 / 4;
        if (i >= 2 && i < g->irqs / 16)
            gicv3_config_write(g, 0, i, value, mask);
        return;
    case GICD_IROUTER ... GICD_IROUTER_END - 1:
        irq = (unsigned)(offset - GICD_IROUTER) / 8;
        if (irq >= GICV3_OWN && irq < g->irqs)
            write_half(&g->route[irq], offset, value, mask);
        return;
    }
    dev_guest_error(&g->dev, "write of distributor register %#x", (unsigned)offset);
}

/* ---- redistributors: a frame of their own, and one for SGIs and PPIs ---- */

static u32 sgi_read(struct gicv3 *g, unsigned cpu, u64 offset)
{
    u32 v = 0;
    switch (offset) {
    case IPRIORITYR ... IPRIORITYR + GICV3_OWN - 1: return read_priority(g->cpu[cpu].priority + (offset - IPRIORITYR));
    case ICFGR:
    case ICFGR + 4: return gicv3_config_read(g, cpu, (unsigned)(offset - ICFGR) / 4);
    }
    return offset % 0x80 == 0 && gicv3_bits_read(g, cpu, 0, offset, &v) ? v : 0;
}

static void sgi_write(struct gicv3 *g, unsigned cpu, u64 offset, u32 value, u32 mask)
{
    switch (offset) {
    case IPRIORITYR ... IPRIORITYR + GICV3_OWN - 1:
        write_priority(g->cpu[cpu].priority + (offset - IPRIORITYR), value, mask);
        return;
    case ICFGR:
    case ICFGR + 4: gicv3_config_write(g, cpu, (unsigned)(offset - ICFGR) / 4, value, mask); return;
    }
    if (offset % 0x80 || !gicv3_bits_write(g, cpu, 0, offset, value, mask))
        dev_guest_error(&g->dev, "write of redistributor register %#x", (unsigned)(GICR_SGI + offset));
}

/* The number of the CPU, its affinity, and whether more follow. */
static u64 redist_type(const struct gicv3 *g, unsigned cpu)
{
    u64 last = cpu + 1 == g->cpus ? REDIST_LAST : 0;
    return (u64)gicv3_affinity(cpu) << 32 | REDIST_SHARED_TABLES | cpu << 8 | last | REDIST_LPIS;
}

u32 gicv3_redist_read(struct gicv3 *g, unsigned cpu, u64 offset)
{
    const struct gicv3_cpu *c = &g->cpu[cpu];
    unsigned shift = 8 * (offset & 4);
    switch (offset) {
    case GICR_CTLR: return c->ctlr | CTLR_CLEARABLE;
    case GICR_IIDR: return IIDR;
    case GICR_TYPER:
    case GICR_TYPER + 4: return (u32)(redist_type(g, cpu) >> shift);
    case GICR_WAKER: return c->waker;
    case GICR_PROPBASER:
    case GICR_PROPBASER + 4: return (u32)(c->propbase >> shift);
    case GICR_PENDBASER:
    case GICR_PENDBASER + 4: return (u32)(c->pendbase >> shift);
    case IDS ... 0xffff: return gicv3_identification(offset, 0x93);
    }
    return offset >= GICR_SGI ? sgi_read(g, cpu, offset - GICR_SGI) : 0;
}

void gicv3_redist_write(struct gicv3 *g, unsigned cpu, u64 offset, u32 value, u32 mask)
{
    struct gicv3_cpu *c = &g->cpu[cpu];
    switch (offset) {
    case GICR_CTLR: c->ctlr = changed(c->ctlr, value, mask) & CTLR_LPIS; return;
    case GICR_WAKER: /* it wakes up and falls asleep at once */
        value = changed(c->waker, value, mask) & WAKER_SLEEPS;
        c->waker = value ? value | WAKER_ASLEEP : 0;
        return;
    case GICR_PROPBASER:
    case GICR_PROPBASER + 4: write_half(&c->propbase, offset, value, mask); return;
    case GICR_PENDBASER:
    case GICR_PENDBASER + 4: write_half(&c->pendbase, offset, value, mask); return;
    }
    if (offset >= GICR_SGI)
        sgi_write(g, cpu, offset - GICR_SGI, value, mask);
    else
        dev_guest_error(&g->dev, "write of redistributor register %#x", (unsigned)offset);
}
