#include "dev/irq/gicv3.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "dev/list.h"

enum { ROUTE_ANY_BIT = 31, LPI_ENABLED = 1, LPI_PRIORITY = 0xfc };

u32 gicv3_affinity(unsigned cpu)
{
    return (cpu / 16) << 8 | cpu % 16;
}

/* PIDR and CIDR, from 0xffd0 on; architecture version 3. */
u32 gicv3_identification(u64 offset, u32 part)
{
    static const u8 id[] = {0x44, 0, 0, 0, 0, 0xb4, 0x3b, 0, 0x0d, 0xf0, 0x05, 0xb1};
    unsigned i = (unsigned)(offset - 0xffd0) / 4;
    return i == 4 ? part : i < ARRAY_LEN(id) ? id[i] : 0;
}

/* ---- what is pending, and whether a CPU is told ---- */

static u32 candidates(const struct gicv3 *g, const struct gicv3_cpu *c, const struct gicv3_bits *b)
{
    u32 on0 = g->ctlr & 1 && c->group_on[0] ? ~b->group : 0;
    u32 on1 = g->ctlr & 2 && c->group_on[1] ? b->group : 0;
    return (b->latched | (b->level & ~b->edge)) & b->enabled & ~b->active & (on0 | on1);
}

/* Interrupts for any CPU go to the first. */
static bool goes_to(const struct gicv3 *g, unsigned irq, unsigned cpu)
{
    u64 route = g->route[irq];
    if (route >> ROUTE_ANY_BIT & 1)
        return cpu == 0;
    return ((route & 0xffffff) | (route >> 8 & 0xff000000)) == gicv3_affinity(cpu);
}

/* LPIs are of group 1. */
static void find_lpi(const struct gicv3 *g, unsigned cpu, struct gicv3_best *b)
{
    const struct gicv3_cpu *c = &g->cpu[cpu];
    if (!g->lpis[cpu] || !c->lpi_on || !(g->ctlr & 2) || !c->group_on[1])
        return;
    for (unsigned i = 0; i < ARRAY_LEN(c->lpi); i++) {
        for (u32 m = c->lpi[i]; m; m &= m - 1) {
            unsigned n = 32 * i + (unsigned)__builtin_ctz(m), p = g->lpi_config[n] & LPI_PRIORITY;
            if (g->lpi_config[n] & LPI_ENABLED && p < b->priority)
                *b = (struct gicv3_best){GICV3_LPI_FIRST + n, p, 1};
        }
    }
}

struct gicv3_best gicv3_find_best(struct gicv3 *g, unsigned cpu, unsigned mask)
{
    const struct gicv3_cpu *c = &g->cpu[cpu];
    struct gicv3_best b = {GICV3_SPURIOUS, mask, 0};
    for (unsigned i = 0; i < g->irqs / 32; i++) {
        const struct gicv3_bits *w = gicv3_word(g, cpu, i);
        for (u32 m = candidates(g, c, w); m; m &= m - 1) {
            unsigned k = (unsigned)__builtin_ctz(m), irq = 32 * i + k, p = *gicv3_priority(g, cpu, irq);
            if (p < b.priority && (!i || goes_to(g, irq, cpu)))
                b = (struct gicv3_best){irq, p, w->group >> k & 1};
        }
    }
    find_lpi(g, cpu, &b);
    return b;
}

unsigned gicv3_running(const struct gicv3_cpu *c)
{
    u32 active = c->apr[0] | c->apr[1];
    return active ? (unsigned)__builtin_ctz(active) << 3 : GICV3_IDLE;
}

unsigned gicv3_group_mask(const struct gicv3_cpu *c, unsigned group)
{
    unsigned point = group && !(c->icc_ctlr & GICV3_CBPR) ? c->bpr[1] - 1 : c->bpr[0];
    return 0x1fe & (0x1feu << (point & 7));
}

/* By the part of priorities that decides for its group. */
bool gicv3_preempts(const struct gicv3_cpu *c, const struct gicv3_best *b)
{
    unsigned mask = gicv3_group_mask(c, b->group);
    return b->irq != GICV3_SPURIOUS && (b->priority & mask) < (gicv3_running(c) & mask);
}

/* In a machine with one security state group 0 is FIQ, group 1 IRQ. */
void gicv3_update(struct gicv3 *g, unsigned cpu)
{
    struct gicv3_best b = gicv3_find_best(g, cpu, g->cpu[cpu].pmr);
    bool signal = gicv3_preempts(&g->cpu[cpu], &b);
    dev_out(&g->dev, cpu, signal && b.group);
    dev_out(&g->dev, g->cpus + cpu, signal && !b.group);
}

void gicv3_update_all(struct gicv3 *g)
{
    for (unsigned cpu = 0; cpu < g->cpus; cpu++)
        gicv3_update(g, cpu);
}

static void gicv3_line(struct dev *d, unsigned line, bool level)
{
    struct gicv3 *g = (struct gicv3 *)d;
    unsigned spis = g->irqs - GICV3_OWN, cpu = line < spis ? 0 : (line - spis) / GICV3_OWN;
    unsigned irq = line < spis ? line + GICV3_OWN : (line - spis) % GICV3_OWN;
    struct gicv3_bits *b = gicv3_word(g, cpu, irq / 32);
    u32 m = 1u << irq % 32;
    if (!(b->level & m) == !level)
        return;
    b->level ^= m;
    if (level)
        b->latched |= b->edge & m;
    if (irq < GICV3_OWN)
        gicv3_update(g, cpu);
    else
        gicv3_update_all(g);
}

/* ---- LPIs ---- */

void gicv3_set_lpi(struct gicv3 *g, unsigned cpu, unsigned irq, bool on)
{
    unsigned n = irq - GICV3_LPI_FIRST;
    u32 *w = &g->cpu[cpu].lpi[n / 32], m = 1u << n % 32;
    if (!(*w & m) == !on)
        return;
    *w ^= m;
    g->lpis[cpu] += on ? 1 : -1u;
}

static bool is_lpi(unsigned irq)
{
    return irq >= GICV3_LPI_FIRST && irq < 1u << GICV3_ID_BITS;
}

void gicv3_lpi(struct dev *gic, unsigned cpu, unsigned irq, bool pending)
{
    struct gicv3 *g = (struct gicv3 *)gic;
    if (cpu >= g->cpus || !is_lpi(irq))
        return;
    dev_lock(gic);
    if (g->cpu[cpu].ctlr & 1) {
        gicv3_set_lpi(g, cpu, irq, pending);
        gicv3_update(g, cpu);
    }
    dev_unlock(gic);
}

static void move(struct gicv3 *g, unsigned from, unsigned to, unsigned irq)
{
    unsigned n = irq - GICV3_LPI_FIRST;
    if (!(g->cpu[from].lpi[n / 32] >> n % 32 & 1))
        return;
    gicv3_set_lpi(g, from, irq, false);
    gicv3_set_lpi(g, to, irq, true);
}

static void move_some(struct dev *gic, unsigned from, unsigned to, unsigned first, unsigned end)
{
    struct gicv3 *g = (struct gicv3 *)gic;
    if (from >= g->cpus || to >= g->cpus || from == to)
        return;
    dev_lock(gic);
    for (unsigned irq = first; irq < end; irq++)
        move(g, from, to, irq);
    gicv3_update_all(g);
    dev_unlock(gic);
}

void gicv3_lpi_move(struct dev *gic, unsigned from, unsigned to, unsigned irq)
{
    if (is_lpi(irq))
        move_some(gic, from, to, irq, irq + 1);
}

void gicv3_lpi_move_all(struct dev *gic, unsigned from, unsigned to)
{
    move_some(gic, from, to, GICV3_LPI_FIRST, 1u << GICV3_ID_BITS);
}

/* The table of LPIs [first, first + count), which all CPUs share; what cannot be read stays as it is. */
static void load_config(struct gicv3 *g, unsigned first, unsigned count)
{
    u8 config[GICV3_LPIS];
    dev_lock(&g->dev);
    u64 base = g->cpu[0].propbase;
    for (unsigned cpu = 0; cpu < g->cpus; cpu++) {
        if (g->cpu[cpu].ctlr & 1)
            base = g->cpu[cpu].propbase;
    }
    dev_unlock(&g->dev);
    u64 table = base & 0xffffffffff000ull, ids = 1ull << MIN((base & 0x1f) + 1, (u64)GICV3_ID_BITS);
    u64 have = ids > GICV3_LPI_FIRST + first ? MIN(ids - GICV3_LPI_FIRST - first, (u64)count) : 0;
    if (mem_dma_read(g->dev.env->memory, table + first, config, have) != MEM_OK)
        return;
    dev_lock(&g->dev);
    memcpy(g->lpi_config + first, config, have);
    gicv3_update_all(g);
    dev_unlock(&g->dev);
}

void gicv3_lpi_reload(struct dev *gic, unsigned irq)
{
    if (is_lpi(irq))
        load_config((struct gicv3 *)gic, irq - GICV3_LPI_FIRST, 1);
}

void gicv3_lpi_reload_all(struct dev *gic)
{
    load_config((struct gicv3 *)gic, 0, GICV3_LPIS);
}

/* A CPU's table of what is pending: read when LPIs are switched on, written when they are switched off. */
static void switch_lpis(struct gicv3 *g, unsigned cpu)
{
    struct gicv3_cpu *c = &g->cpu[cpu];
    u32 bits[GICV3_LPIS / 32] = {0};
    dev_lock(&g->dev);
    bool on = c->ctlr & 1, was = c->lpi_on;
    u64 base = c->pendbase, table = (base & 0xfffffffff0000ull) + GICV3_LPI_FIRST / 8;
    memcpy(bits, c->lpi, sizeof(bits));
    dev_unlock(&g->dev);
    if (on == was)
        return;
    bool zero = base >> 62 & 1;
    if (on && (zero || mem_dma_read(g->dev.env->memory, table, bits, sizeof(bits)) != MEM_OK))
        memset(bits, 0, sizeof(bits));
    if (!on)
        mem_dma_write(g->dev.env->memory, table, bits, sizeof(bits));
    dev_lock(&g->dev);
    for (unsigned n = 0; n < GICV3_LPIS; n++) {
        if (bits[n / 32] >> n % 32 & 1)
            gicv3_set_lpi(g, cpu, GICV3_LPI_FIRST + n, on);
    }
    c->lpi_on = on;
    dev_unlock(&g->dev);
}

static void serve_lpis(struct loop_task *t)
{
    struct gicv3 *g = container_of(t, struct gicv3, lpi_task);
    atomic_store(&g->lpi_posted, false);
    for (unsigned cpu = 0; cpu < g->cpus; cpu++)
        switch_lpis(g, cpu);
    gicv3_lpi_reload_all(&g->dev);
}

/* ---- registers ---- */

static u32 mask_of(u64 offset, unsigned size)
{
    return size == 4 ? ~0u : ((1u << 8 * size) - 1) << 8 * (offset & 3);
}

static u64 dist_read(struct dev *d, u64 offset, unsigned size)
{
    return gicv3_dist_read((struct gicv3 *)d, offset & ~3ull) >> 8 * (offset & 3);
}

static void dist_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    struct gicv3 *g = (struct gicv3 *)d;
    gicv3_dist_write(g, offset & ~3ull, (u32)value << 8 * (offset & 3), mask_of(offset, size));
    gicv3_update_all(g);
}

static u64 redist_read(struct dev *d, u64 offset, unsigned size)
{
    struct gicv3 *g = (struct gicv3 *)d;
    unsigned cpu = (unsigned)(offset / GICV3_REDIST_SIZE);
    return cpu < g->cpus ? gicv3_redist_read(g, cpu, offset % GICV3_REDIST_SIZE & ~3ull) >> 8 * (offset & 3) : 0;
}

static void redist_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    struct gicv3 *g = (struct gicv3 *)d;
    unsigned cpu = (unsigned)(offset / GICV3_REDIST_SIZE);
    if (cpu >= g->cpus)
        return;
    u32 enabled = g->cpu[cpu].ctlr;
    gicv3_redist_write(g, cpu, offset % GICV3_REDIST_SIZE & ~3ull, (u32)value << 8 * (offset & 3), mask_of(offset, size));
    gicv3_update(g, cpu);
    if (g->cpu[cpu].ctlr != enabled && !atomic_exchange(&g->lpi_posted, true))
        loop_post(d->env->loop, &g->lpi_task);
}

static bool read_register(void *opaque, unsigned index, u32 key, u64 *value)
{
    struct gicv3 *g = opaque;
    dev_lock(&g->dev);
    bool there = gicv3_icc_read(g, index, key, value);
    dev_unlock(&g->dev);
    return there;
}

static bool write_register(void *opaque, unsigned index, u32 key, u64 value)
{
    struct gicv3 *g = opaque;
    dev_lock(&g->dev);
    bool there = gicv3_icc_write(g, index, key, value);
    dev_unlock(&g->dev);
    return there;
}

const struct cpu_registers *gicv3_registers(struct dev *gic)
{
    return &((struct gicv3 *)gic)->registers;
}

/* ---- life ---- */

static bool gicv3_start(struct dev *d, struct err *e)
{
    struct gicv3 *g = (struct gicv3 *)d;
    g->lpi_task.run = serve_lpis;
    g->registers = (struct cpu_registers){read_register, write_register, g};
    if (g->cpus < 1 || g->irqs % 32 || g->irqs < 64)
        return err_set(e, EINVAL, "%u CPUs and %u interrupts cannot be", g->cpus, g->irqs);
    return true;
}

static void reset_cpu(struct gicv3_cpu *c)
{
    u32 level = c->own.level;
    memset(c, 0, sizeof(*c));
    c->own.level = level;
    c->own.edge = 0xffff; /* SGIs are */
    c->waker = 6;         /* the CPU sleeps, and so does its redistributor */
    c->bpr[0] = 2;
    c->bpr[1] = 3;
}

static void gicv3_reset(struct dev *d)
{
    struct gicv3 *g = (struct gicv3 *)d;
    for (unsigned i = 0; i < GICV3_WORDS; i++)
        g->shared[i] = (struct gicv3_bits){.level = g->shared[i].level}; /* what is connected goes on */
    g->ctlr = 0;
    memset(g->priority, 0, sizeof(g->priority));
    memset(g->route, 0, sizeof(g->route));
    memset(g->lpi_config, 0, sizeof(g->lpi_config));
    memset(g->lpis, 0, sizeof(g->lpis));
    for (unsigned cpu = 0; cpu < GICV3_CPUS; cpu++)
        reset_cpu(&g->cpu[cpu]);
    gicv3_update_all(g);
}

static void gicv3_loaded(struct dev *d)
{
    struct gicv3 *g = (struct gicv3 *)d;
    for (unsigned cpu = 0; cpu < g->cpus; cpu++) {
        g->lpis[cpu] = 0;
        for (unsigned i = 0; i < ARRAY_LEN(g->cpu[cpu].lpi); i++)
            g->lpis[cpu] += (u32)__builtin_popcount(g->cpu[cpu].lpi[i]);
    }
    gicv3_update_all(g);
}

static void gicv3_node(struct dev *d, const struct dev_place *p)
{
    struct fw_node *n = fw_child_at(p->parent, "intc", p->address[0]);
    fw_phandle(n);
    fw_reg(n, "reg", (const u64[]){p->address[0], 0x10000, p->address[1], 0xf60000}, 2);
    fw_cell(n, "#redistributor-regions", 1);
    fw_string(n, "compatible", "arm,gic-v3");
    fw_empty(n, "ranges");
    fw_cell(n, "#size-cells", 2);
    fw_cell(n, "#address-cells", 2);
    fw_empty(n, "interrupt-controller");
    fw_cell(n, "#interrupt-cells", 3);
}

static const struct dev_window gicv3_windows[] = {
    {"gicv3_dist", GICV3_DIST_SIZE, dist_read, dist_write, .call_min = 1, .max = 8},
    {"gicv3_redist", (u64)GICV3_CPUS * GICV3_REDIST_SIZE, redist_read, redist_write, .call_min = 1, .max = 8},
    {0},
};

static const struct dev_prop gicv3_props[] = {
    DEV_PROP(struct gicv3, "num-cpu", DEV_PROP_U32, cpus, 1, GICV3_CPUS, "CPUs that it serves"),
    DEV_PROP(struct gicv3, "num-irq", DEV_PROP_U32, irqs, 32, 992, "interrupts, the 32 of each CPU included"),
    {0},
};

/* Members of every CPU, one array each. */
static const struct state_field gicv3_state[] = {
    STATE(struct gicv3, ctlr),
    STATE_ARRAY(struct gicv3, shared, u32),
    STATE_ARRAY(struct gicv3, priority, u8),
    STATE_ARRAY(struct gicv3, route, u64),
    STATE_ARRAY(struct gicv3, lpi_config, u8),
    STATE_ARRAY(struct gicv3, cpu, u32),
    {0},
};

const struct dev_class dev_gicv3 = {
    .name = "arm-gicv3", .help = "Arm GICv3 interrupt controller", .size = sizeof(struct gicv3),
    .windows = gicv3_windows, .outs = 2 * GICV3_CPUS, .ins = GICV3_IRQS + GICV3_CPUS * GICV3_OWN, .props = gicv3_props,
    .state = gicv3_state, .start = gicv3_start, .reset = gicv3_reset, .line = gicv3_line, .loaded = gicv3_loaded,
    .node = gicv3_node,
};
