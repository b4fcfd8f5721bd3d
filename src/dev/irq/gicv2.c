/* GICv2: Arm's interrupt controller (Generic Interrupt Controller architecture specification 2.0, IHI 0048B),
 * distributor and CPU interfaces, without the security extensions: a CPU sees both groups.
 *
 * Interrupts 0 to 31 (SGIs from CPUs, PPIs from the CPU's own devices) exist once for each CPU, those from
 * 32 on (SPIs) once. Inputs: the SPIs, then 32 for each CPU. Outputs: IRQ of each CPU, then FIQ of each. */
#include <errno.h>
#include <string.h>

#include "base/current.h"
#include "cpu/port.h"
#include "dev/list.h"

enum { CPUS = 8, SGIS = 16, OWN = 32, IRQS = 1020, WORDS = 32, LEVELS = 4 /* words of 128 priorities */ };
enum { SPURIOUS = 1023, OTHER_GROUP = 1022, IDLE = 0x100 };

/* A bit for each interrupt. */
struct bits {
    u32 own[CPUS]; /* interrupts 0 to 31 */
    u32 shared[WORDS];
};

struct interface {
    u32 ctlr, pmr, bpr, abpr;
    u32 apr[LEVELS], nsapr[LEVELS]; /* priorities that are active, in group 0 and 1 */
};

struct gicv2 {
    struct dev dev;
    u32 cpus, irqs, revision; /* properties */

    u32 ctlr;
    struct bits group, enabled, latched, level, active, edge;
    u8 own_priority[CPUS][OWN], priority[IRQS + 4], target[IRQS + 4];
    u8 source[CPUS][SGIS]; /* which CPUs have sent it */
    struct interface cpu[CPUS];
};

enum {
    GICD_CTLR = 0x000, GICD_TYPER = 0x004, GICD_IIDR = 0x008, GICD_IGROUPR = 0x080, GICD_ISENABLER = 0x100,
    GICD_ICENABLER = 0x180, GICD_ISPENDR = 0x200, GICD_ICPENDR = 0x280, GICD_ISACTIVER = 0x300,
    GICD_ICACTIVER = 0x380, GICD_IPRIORITYR = 0x400, GICD_ITARGETSR = 0x800, GICD_ICFGR = 0xc00,
    GICD_NSACR = 0xe00, GICD_SGIR = 0xf00, GICD_CPENDSGIR = 0xf10, GICD_SPENDSGIR = 0xf20, GICD_ID = 0xfd0,
};

enum {
    GICC_CTLR = 0x00, GICC_PMR = 0x04, GICC_BPR = 0x08, GICC_IAR = 0x0c, GICC_EOIR = 0x10, GICC_RPR = 0x14,
    GICC_HPPIR = 0x18, GICC_ABPR = 0x1c, GICC_AIAR = 0x20, GICC_AEOIR = 0x24, GICC_AHPPIR = 0x28,
    GICC_APR = 0xd0, GICC_NSAPR = 0xe0, GICC_IIDR = 0xfc, GICC_DIR = 0x1000,
};

/* Bits of GICC_CTLR. */
enum { ENABLE0 = 1 << 0, ENABLE1 = 1 << 1, ACK_CTL = 1 << 2, FIQ_EN = 1 << 3, CBPR = 1 << 4, EOI_MODE = 1 << 9,
       CTLR_BITS = 0x21f };

static u32 *word(struct bits *b, unsigned cpu, unsigned i)
{
    return i ? &b->shared[i] : &b->own[cpu];
}

static bool bit(struct bits *b, unsigned cpu, unsigned irq)
{
    return *word(b, cpu, irq / 32) >> irq % 32 & 1;
}

static void set_bit(struct bits *b, unsigned cpu, unsigned irq, bool on)
{
    u32 *w = word(b, cpu, irq / 32), m = 1u << irq % 32;
    *w = on ? *w | m : *w & ~m;
}

static u8 *priority(struct gicv2 *g, unsigned cpu, unsigned irq)
{
    return irq < OWN ? &g->own_priority[cpu][irq] : &g->priority[irq];
}

/* The CPU whose access this is: devices' and tests' count as the first's. */
static unsigned accessor(const struct gicv2 *g)
{
    const struct cpu_port *port = current_get();
    return port && port->index < g->cpus ? port->index : 0;
}

/* ---- what is pending, and whether the CPU is told ---- */

static u32 pending(struct gicv2 *g, unsigned cpu, unsigned i)
{
    return *word(&g->latched, cpu, i) | (*word(&g->level, cpu, i) & ~*word(&g->edge, cpu, i));
}

struct best {
    unsigned irq, priority, group;
};

/* The most urgent interrupt that the distributor has for the CPU and that its mask lets through. */
static struct best find_best(struct gicv2 *g, unsigned cpu)
{
    const struct interface *c = &g->cpu[cpu];
    struct best b = {SPURIOUS, c->pmr, 0};
    u32 on = g->ctlr & c->ctlr & (ENABLE0 | ENABLE1);
    if (!on)
        return b;
    for (unsigned i = 0; i < g->irqs / 32; i++) {
        u32 group1 = *word(&g->group, cpu, i);
        u32 forwarded = (on & ENABLE0 ? ~group1 : 0) | (on & ENABLE1 ? group1 : 0);
        u32 m = pending(g, cpu, i) & *word(&g->enabled, cpu, i) & ~*word(&g->active, cpu, i) & forwarded;
        for (; m; m &= m - 1) {
            unsigned irq = 32 * i + (unsigned)__builtin_ctz(m), p = *priority(g, cpu, irq);
            if (p < b.priority && (irq < OWN || g->target[irq] >> cpu & 1))
                b = (struct best){irq, p, group1 >> irq % 32 & 1};
        }
    }
    return b;
}

static unsigned running_priority(const struct interface *c)
{
    for (unsigned i = 0; i < LEVELS; i++) {
        u32 m = c->apr[i] | c->nsapr[i];
        if (m)
            return 2 * (32 * i + (unsigned)__builtin_ctz(m));
    }
    return IDLE;
}

/* The part of a priority that decides about preemption. */
static unsigned group_priority(const struct interface *c, const struct best *b)
{
    unsigned point = b->group && !(c->ctlr & CBPR) ? c->abpr - 1 : c->bpr;
    return b->priority & (0xfeu << point);
}

/* The running priority is that of a group: what is below it is of a more urgent one. */
static bool preempts(const struct interface *c, const struct best *b)
{
    return b->irq != SPURIOUS && b->priority < running_priority(c);
}

static void update_cpu(struct gicv2 *g, unsigned cpu)
{
    const struct interface *c = &g->cpu[cpu];
    struct best b = find_best(g, cpu);
    bool signal = preempts(c, &b), fiq = !b.group && c->ctlr & FIQ_EN;
    dev_out(&g->dev, cpu, signal && !fiq);
    dev_out(&g->dev, g->cpus + cpu, signal && fiq);
}

static void update(struct gicv2 *g)
{
    for (unsigned cpu = 0; cpu < g->cpus; cpu++)
        update_cpu(g, cpu);
}

static void gicv2_line(struct dev *d, unsigned line, bool level)
{
    struct gicv2 *g = (struct gicv2 *)d;
    unsigned spis = g->irqs - OWN, cpu = line < spis ? 0 : (line - spis) / OWN;
    unsigned irq = line < spis ? line + OWN : (line - spis) % OWN;
    bool was = bit(&g->level, cpu, irq);
    if (was == level)
        return;
    set_bit(&g->level, cpu, irq, level);
    if (level && bit(&g->edge, cpu, irq))
        set_bit(&g->latched, cpu, irq, true);
    if (irq < OWN)
        update_cpu(g, cpu);
    else
        update(g);
}

/* ---- CPU interface ---- */

static unsigned take(struct gicv2 *g, unsigned cpu)
{
    struct interface *c = &g->cpu[cpu];
    struct best b = find_best(g, cpu);
    if (b.group && !(c->ctlr & ACK_CTL))
        return OTHER_GROUP;
    if (!preempts(c, &b))
        return SPURIOUS;
    unsigned level = group_priority(c, &b) / 2, sender = 0;
    (b.group ? c->nsapr : c->apr)[level / 32] |= 1u << level % 32;
    set_bit(&g->active, cpu, b.irq, true);
    if (b.irq < SGIS) {
        u8 *from = &g->source[cpu][b.irq];
        sender = *from ? (unsigned)__builtin_ctz(*from) : 0;
        *from &= (u8)(*from - 1);
        set_bit(&g->latched, cpu, b.irq, *from);
    } else {
        set_bit(&g->latched, cpu, b.irq, false);
    }
    update(g);
    return b.irq | sender << 10;
}

/* The same through the register for group 1. */
static unsigned take_group1(struct gicv2 *g, unsigned cpu)
{
    struct interface *c = &g->cpu[cpu];
    struct best b = find_best(g, cpu);
    if (b.irq == SPURIOUS || !b.group)
        return SPURIOUS;
    u32 ctlr = c->ctlr;
    c->ctlr |= ACK_CTL;
    unsigned irq = take(g, cpu);
    c->ctlr = ctlr;
    return irq;
}

static void end(struct gicv2 *g, unsigned cpu, unsigned irq)
{
    struct interface *c = &g->cpu[cpu];
    if (irq >= g->irqs || running_priority(c) == IDLE)
        return;
    u32 *active = bit(&g->group, cpu, irq) ? c->nsapr : c->apr;
    for (unsigned i = 0; i < LEVELS; i++) {
        if (active[i]) {
            active[i] &= active[i] - 1;
            break;
        }
    }
    if (!(c->ctlr & EOI_MODE))
        set_bit(&g->active, cpu, irq, false);
    update(g);
}

static void deactivate(struct gicv2 *g, unsigned cpu, unsigned irq)
{
    if (irq < g->irqs && g->cpu[cpu].ctlr & EOI_MODE)
        set_bit(&g->active, cpu, irq, false);
    update(g);
}

static unsigned highest_pending(struct gicv2 *g, unsigned cpu, bool group1)
{
    struct best b = find_best(g, cpu);
    if (b.irq == SPURIOUS || (group1 && !b.group))
        return SPURIOUS;
    return b.group && !group1 && !(g->cpu[cpu].ctlr & ACK_CTL) ? OTHER_GROUP : b.irq;
}

static u64 cpu_read(struct dev *d, u64 offset, unsigned size)
{
    struct gicv2 *g = (struct gicv2 *)d;
    unsigned cpu = accessor(g);
    struct interface *c = &g->cpu[cpu];
    switch (offset) {
    case GICC_CTLR: return c->ctlr;
    case GICC_PMR: return c->pmr;
    case GICC_BPR: return c->bpr;
    case GICC_IAR: return take(g, cpu);
    case GICC_RPR: return MIN(running_priority(c), 0xffu);
    case GICC_HPPIR: return highest_pending(g, cpu, false);
    case GICC_ABPR: return c->abpr;
    case GICC_AIAR: return take_group1(g, cpu);
    case GICC_AHPPIR: return highest_pending(g, cpu, true);
    case GICC_APR ... GICC_APR + 4 * LEVELS - 1: return c->apr[(offset - GICC_APR) / 4];
    case GICC_NSAPR ... GICC_NSAPR + 4 * LEVELS - 1: return c->nsapr[(offset - GICC_NSAPR) / 4];
    case GICC_IIDR: return g->revision << 16 | 0x43b;
    }
    dev_guest_error(d, "read of CPU interface register %#x", (unsigned)offset);
    return 0;
}

static void cpu_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    struct gicv2 *g = (struct gicv2 *)d;
    unsigned cpu = accessor(g);
    struct interface *c = &g->cpu[cpu];
    u32 v = (u32)value;
    switch (offset) {
    case GICC_CTLR: c->ctlr = v & CTLR_BITS; break;
    case GICC_PMR: c->pmr = v & 0xff; break;
    case GICC_BPR: c->bpr = v & 7; break;
    case GICC_ABPR: c->abpr = MAX(v & 7, 1u); break;
    case GICC_EOIR:
    case GICC_AEOIR: end(g, cpu, v & 0x3ff); return;
    case GICC_DIR: deactivate(g, cpu, v & 0x3ff); return;
    case GICC_APR ... GICC_APR + 4 * LEVELS - 1: c->apr[(offset - GICC_APR) / 4] = v; break;
    case GICC_NSAPR ... GICC_NSAPR + 4 * LEVELS - 1: c->nsapr[(offset - GICC_NSAPR) / 4] = v; break;
    default: dev_guest_error(d, "write of CPU interface register %#x", (unsigned)offset); return;
    }
    update_cpu(g, cpu);
}

/* ---- distributor: registers are words of bits, or of bytes ---- */

static u32 read_bytes(const u8 *from, unsigned i)
{
    u32 v;
    memcpy(&v, from + i, 4);
    return v;
}

/* Two bits for each interrupt; the upper one: it is triggered by edges. */
static u32 read_config(struct gicv2 *g, unsigned cpu, unsigned i)
{
    u32 edges = *word(&g->edge, cpu, i / 2) >> i % 2 * 16, v = 0;
    for (unsigned k = 0; k < 16; k++)
        v |= (edges >> k & 1) << (2 * k + 1);
    return v;
}

static u32 read_targets(struct gicv2 *g, unsigned cpu, unsigned irq)
{
    if (g->cpus == 1)
        return 0;
    return irq < OWN ? 0x01010101u << cpu : read_bytes(g->target, irq);
}

static u32 identification(const struct gicv2 *g, unsigned i)
{
    static const u8 id[] = {0x04, 0, 0, 0, 0x90, 0xb4, 0x2b, 0, 0x0d, 0xf0, 0x05, 0xb1};
    return i < ARRAY_LEN(id) ? id[i] : 0;
}

static u32 dist_word(struct gicv2 *g, unsigned cpu, u64 offset)
{
    unsigned i = offset % 0x80 / 4, irq = offset % 0x400;
    bool there = i < g->irqs / 32, irq_there = irq < g->irqs;
    switch (offset) {
    case GICD_CTLR: return g->ctlr;
    case GICD_TYPER: return (g->irqs / 32 - 1) | (g->cpus - 1) << 5;
    case GICD_IIDR: return 0x43b;
    case GICD_IGROUPR ... GICD_ISENABLER - 1: return there ? *word(&g->group, cpu, i) : 0;
    case GICD_ISENABLER ... GICD_ISPENDR - 1: return there ? *word(&g->enabled, cpu, i) : 0;
    case GICD_ISPENDR ... GICD_ISACTIVER - 1: return there ? pending(g, cpu, i) : 0;
    case GICD_ISACTIVER ... GICD_IPRIORITYR - 1: return there ? *word(&g->active, cpu, i) : 0;
    case GICD_IPRIORITYR ... GICD_ITARGETSR - 1: return irq_there ? read_bytes(priority(g, cpu, irq), 0) : 0;
    case GICD_ITARGETSR ... GICD_ICFGR - 1: return irq_there ? read_targets(g, cpu, irq) : 0;
    case GICD_ICFGR ... GICD_NSACR - 1:
        i = offset % 0x100 / 4;
        return i < g->irqs / 16 ? read_config(g, cpu, i) : 0;
    case GICD_CPENDSGIR ... GICD_SPENDSGIR + 15: return read_bytes(g->source[cpu], offset % 16);
    case GICD_ID ... 0xfff: return identification(g, (unsigned)(offset - GICD_ID) / 4);
    }
    return 0;
}

static u64 dist_read(struct dev *d, u64 offset, unsigned size)
{
    struct gicv2 *g = (struct gicv2 *)d;
    return dist_word(g, accessor(g), offset & ~3ull) >> 8 * (offset & 3);
}

static void write_bytes(u8 *to, u32 value, u32 mask)
{
    for (unsigned k = 0; k < 4; k++) {
        if (mask >> 8 * k & 0xff)
            to[k] = (u8)(value >> 8 * k);
    }
}

/* SGIs are what they are. */
static void write_config(struct gicv2 *g, unsigned cpu, unsigned i, u32 value, u32 mask)
{
    for (unsigned k = 0; k < 16; k++) {
        if (mask >> 2 * k & 3 && i)
            set_bit(&g->edge, cpu, 16 * i + k, value >> (2 * k + 1) & 1);
    }
}

/* What is enabled or made pending says where it is now: nothing is lost between. */
static void write_bits(struct gicv2 *g, unsigned cpu, u64 offset, u32 value)
{
    unsigned i = offset % 0x80 / 4;
    u32 not_sgis = i ? ~0u : ~0xffffu;
    if (i >= g->irqs / 32)
        return;
    switch (offset & ~0x7full) {
    case GICD_ISENABLER: *word(&g->enabled, cpu, i) |= value; break;
    case GICD_ICENABLER: *word(&g->enabled, cpu, i) &= ~(value & not_sgis); break;
    case GICD_ISPENDR: *word(&g->latched, cpu, i) |= value & not_sgis; break;
    case GICD_ICPENDR: *word(&g->latched, cpu, i) &= ~(value & not_sgis); break;
    case GICD_ISACTIVER: *word(&g->active, cpu, i) |= value; break;
    case GICD_ICACTIVER: *word(&g->active, cpu, i) &= ~value; break;
    }
}

static void send_sgi(struct gicv2 *g, unsigned from, u32 value)
{
    unsigned irq = value & 15, filter = value >> 24 & 3;
    u32 to = filter == 0 ? value >> 16 & 0xff : filter == 1 ? ~(1u << from) : filter == 2 ? 1u << from : 0;
    for (unsigned cpu = 0; cpu < g->cpus; cpu++) {
        if (to >> cpu & 1) {
            g->source[cpu][irq] |= (u8)(1u << from);
            set_bit(&g->latched, cpu, irq, true);
        }
    }
}

/* SGIs as sent by certain CPUs, taken back or made pending. */
static void write_sources(struct gicv2 *g, unsigned cpu, u64 offset, u32 value)
{
    for (unsigned k = 0; k < 4; k++) {
        unsigned irq = offset % 16 + k;
        u8 *from = &g->source[cpu][irq], m = (u8)(value >> 8 * k);
        *from = offset < GICD_SPENDSGIR ? *from & (u8)~m : *from | m;
        set_bit(&g->latched, cpu, irq, *from);
    }
}

/* The bytes of `mask` of a word. */
static void dist_write_word(struct gicv2 *g, unsigned cpu, u64 offset, u32 v, u32 mask)
{
    unsigned i = offset % 0x80 / 4, irq = offset % 0x400;
    bool there = i < g->irqs / 32, irq_there = irq < g->irqs;
    switch (offset) {
    case GICD_CTLR: g->ctlr = v & 3; break;
    case GICD_IGROUPR ... GICD_ISENABLER - 1:
        if (there)
            *word(&g->group, cpu, i) = (*word(&g->group, cpu, i) & ~mask) | v;
        break;
    case GICD_ISENABLER ... GICD_IPRIORITYR - 1: write_bits(g, cpu, offset, v); break;
    case GICD_IPRIORITYR ... GICD_ITARGETSR - 1:
        if (irq_there)
            write_bytes(priority(g, cpu, irq), v, mask);
        break;
    case GICD_ITARGETSR ... GICD_ICFGR - 1:
        if (irq_there && irq >= OWN && g->cpus > 1)
            write_bytes(g->target + irq, v & 0x01010101 * ((1u << g->cpus) - 1), mask);
        break;
    case GICD_ICFGR ... GICD_NSACR - 1:
        i = offset % 0x100 / 4;
        if (i < g->irqs / 16)
            write_config(g, cpu, i, v, mask);
        break;
    case GICD_SGIR: send_sgi(g, cpu, v); break;
    case GICD_CPENDSGIR ... GICD_SPENDSGIR + 15: write_sources(g, cpu, offset, v); break;
    default: dev_guest_error(&g->dev, "write of distributor register %#x", (unsigned)offset);
    }
}

static void dist_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    struct gicv2 *g = (struct gicv2 *)d;
    unsigned shift = 8 * (offset & 3);
    u32 mask = size == 4 ? ~0u : ((1u << 8 * size) - 1) << shift;
    dist_write_word(g, accessor(g), offset & ~3ull, (u32)value << shift, mask);
    update(g);
}

/* ---- life ---- */

static bool gicv2_start(struct dev *d, struct err *e)
{
    struct gicv2 *g = (struct gicv2 *)d;
    if (g->cpus < 1 || g->irqs % 32 || g->irqs < 64)
        return err_set(e, EINVAL, "%u CPUs and %u interrupts cannot be", g->cpus, g->irqs);
    return true;
}

static void gicv2_reset(struct dev *d)
{
    struct gicv2 *g = (struct gicv2 *)d;
    struct bits level = g->level; /* what is connected goes on */
    memset(&g->ctlr, 0, sizeof(*g) - offsetof(struct gicv2, ctlr));
    g->level = level;
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        g->enabled.own[cpu] = 0xffff;
        g->edge.own[cpu] = 0xffff;
        g->cpu[cpu].abpr = 1;
    }
    if (g->cpus == 1)
        memset(g->target, 1, sizeof(g->target));
    update(g);
}

static void gicv2_loaded(struct dev *d)
{
    update((struct gicv2 *)d);
}

static void gicv2_node(struct dev *d, const struct dev_place *p)
{
    struct fw_node *n = fw_child_at(p->parent, "intc", p->address[0]);
    fw_phandle(n);
    fw_reg(n, "reg", (const u64[]){p->address[0], 0x10000, p->address[1], 0x10000}, 2);
    fw_string(n, "compatible", "arm,cortex-a15-gic");
    fw_empty(n, "ranges");
    fw_cell(n, "#size-cells", 2);
    fw_cell(n, "#address-cells", 2);
    fw_empty(n, "interrupt-controller");
    fw_cell(n, "#interrupt-cells", 3);
}

static const struct dev_window gicv2_windows[] = {
    {"gic_dist", 0x1000, dist_read, dist_write, .call_min = 1},
    {"gic_cpu", 0x2000, cpu_read, cpu_write},
    {0},
};

static const struct dev_prop gicv2_props[] = {
    DEV_PROP(struct gicv2, "num-cpu", DEV_PROP_U32, cpus, 1, CPUS, "CPUs that it serves"),
    DEV_PROP(struct gicv2, "num-irq", DEV_PROP_U32, irqs, 32, 992, "interrupts, the 32 of each CPU included"),
    DEV_PROP(struct gicv2, "revision", DEV_PROP_U32, revision, 2, 2, "version of the architecture"),
    {0},
};

static const struct state_field gicv2_state[] = {
    STATE(struct gicv2, ctlr),
    STATE_ARRAY(struct gicv2, group, u32),
    STATE_ARRAY(struct gicv2, enabled, u32),
    STATE_ARRAY(struct gicv2, latched, u32),
    STATE_ARRAY(struct gicv2, level, u32),
    STATE_ARRAY(struct gicv2, active, u32),
    STATE_ARRAY(struct gicv2, edge, u32),
    STATE_ARRAY(struct gicv2, own_priority, u8),
    STATE_ARRAY(struct gicv2, priority, u8),
    STATE_ARRAY(struct gicv2, target, u8),
    STATE_ARRAY(struct gicv2, source, u8),
    STATE_ARRAY(struct gicv2, cpu, u32),
    {0},
};

const struct dev_class dev_gicv2 = {
    .name = "arm_gic", .help = "Arm GICv2 interrupt controller", .size = sizeof(struct gicv2),
    .windows = gicv2_windows, .outs = 2 * CPUS, .ins = IRQS + CPUS * OWN, .props = gicv2_props, .state = gicv2_state,
    .start = gicv2_start, .reset = gicv2_reset, .line = gicv2_line, .loaded = gicv2_loaded, .node = gicv2_node,
};
