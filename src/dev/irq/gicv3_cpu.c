/* The CPUs' interface of GICv3: system registers (IHI 0069H, 12.2), with 5 bits of priority. */
#include "dev/irq/gicv3.h"

/* op0 is 3, op1 is 0. */
#define KEY(crn, crm, op2) (3u << 14 | (crn) << 7 | (crm) << 3 | (op2))

enum {
    ICC_PMR = KEY(4, 6, 0),
    ICC_IAR0 = KEY(12, 8, 0), ICC_EOIR0 = KEY(12, 8, 1), ICC_HPPIR0 = KEY(12, 8, 2), ICC_BPR0 = KEY(12, 8, 3),
    ICC_AP0R0 = KEY(12, 8, 4), ICC_AP1R0 = KEY(12, 9, 0), ICC_DIR = KEY(12, 11, 1), ICC_RPR = KEY(12, 11, 3),
    ICC_SGI1R = KEY(12, 11, 5), ICC_ASGI1R = KEY(12, 11, 6), ICC_SGI0R = KEY(12, 11, 7),
    ICC_IAR1 = KEY(12, 12, 0), ICC_EOIR1 = KEY(12, 12, 1), ICC_HPPIR1 = KEY(12, 12, 2), ICC_BPR1 = KEY(12, 12, 3),
    ICC_CTLR = KEY(12, 12, 4), ICC_SRE = KEY(12, 12, 5), ICC_IGRPEN0 = KEY(12, 12, 6), ICC_IGRPEN1 = KEY(12, 12, 7),
};

enum { CTLR_EOI_MODE = 2, CTLR_PRI_BITS = 4 << 8, CTLR_ID_BITS = 1 << 11, CTLR_A3V = 1 << 15, SRE = 7 };
enum { PRIORITY_MASK = 0xf8, PRIORITY_SHIFT = 3, BPR_MIN = 2, LEAST_URGENT = 0xff };

static void set_active(struct gicv3 *g, unsigned cpu, unsigned irq, bool on)
{
    u32 *w = &gicv3_word(g, cpu, irq / 32)->active, m = 1u << irq % 32;
    *w = on ? *w | m : *w & ~m;
}

/* Tell those who may care about an interrupt. */
static void update(struct gicv3 *g, unsigned cpu, unsigned irq)
{
    if (irq < GICV3_OWN || irq >= GICV3_LPI_FIRST)
        gicv3_update(g, cpu);
    else
        gicv3_update_all(g);
}

static unsigned take(struct gicv3 *g, unsigned cpu, unsigned group)
{
    struct gicv3_cpu *c = &g->cpu[cpu];
    struct gicv3_best b = gicv3_find_best(g, cpu, c->pmr);
    if (!gicv3_preempts(c, &b) || b.group != group)
        return GICV3_SPURIOUS;
    c->apr[group] |= 1u << ((b.priority & gicv3_group_mask(c, group)) >> PRIORITY_SHIFT);
    if (b.irq >= GICV3_LPI_FIRST) { /* which are never active */
        gicv3_set_lpi(g, cpu, b.irq, false);
    } else {
        set_active(g, cpu, b.irq, true);
        gicv3_word(g, cpu, b.irq / 32)->latched &= ~(1u << b.irq % 32);
    }
    update(g, cpu, b.irq);
    return b.irq;
}

static bool is_there(const struct gicv3 *g, u64 irq)
{
    return irq < g->irqs || irq >= GICV3_LPI_FIRST;
}

static void deactivate(struct gicv3 *g, unsigned cpu, unsigned irq)
{
    if (irq < g->irqs)
        set_active(g, cpu, irq, false);
    update(g, cpu, irq);
}

/* Of the group that the CPU is at. */
static void end(struct gicv3 *g, unsigned cpu, unsigned group, u64 irq)
{
    struct gicv3_cpu *c = &g->cpu[cpu];
    u32 mine = c->apr[group], other = c->apr[!group];
    if (!is_there(g, irq) || !mine || (other && __builtin_ctz(other) < __builtin_ctz(mine)))
        return;
    c->apr[group] &= mine - 1;
    if (!(c->icc_ctlr & CTLR_EOI_MODE))
        deactivate(g, cpu, (unsigned)irq);
    gicv3_update(g, cpu);
}

static unsigned highest_pending(struct gicv3 *g, unsigned cpu, unsigned group)
{
    struct gicv3_best b = gicv3_find_best(g, cpu, LEAST_URGENT);
    return b.group == group ? b.irq : GICV3_SPURIOUS;
}

/* ICC_SGI0R, ICC_SGI1R: to those of a list, or to all but the sender. */
static void send_sgi(struct gicv3 *g, unsigned from, unsigned group, u64 v)
{
    unsigned irq = v >> 24 & 15;
    u32 cluster = (u32)((v >> 16 & 0xff) << 8 | (v >> 32 & 0xff) << 16 | (v >> 48 & 0xff) << 24);
    bool all = v >> 40 & 1, in_range = !(v >> 44 & 15);
    for (unsigned cpu = 0; cpu < g->cpus; cpu++) {
        u32 affinity = gicv3_affinity(cpu);
        bool listed = in_range && (affinity & ~0xffu) == cluster && v >> (affinity & 15) & 1;
        struct gicv3_bits *own = &g->cpu[cpu].own;
        if ((all ? cpu != from : listed) && (own->group >> irq & 1) == group) {
            own->latched |= 1u << irq;
            gicv3_update(g, cpu);
        }
    }
}

static u32 read_bpr1(const struct gicv3_cpu *c)
{
    return c->icc_ctlr & GICV3_CBPR ? MIN(c->bpr[0] + 1, 7u) : c->bpr[1];
}

bool gicv3_icc_read(struct gicv3 *g, unsigned cpu, u32 key, u64 *value)
{
    struct gicv3_cpu *c = &g->cpu[cpu];
    switch (key) {
    case ICC_PMR: *value = c->pmr; return true;
    case ICC_IAR0: *value = take(g, cpu, 0); return true;
    case ICC_IAR1: *value = take(g, cpu, 1); return true;
    case ICC_HPPIR0: *value = highest_pending(g, cpu, 0); return true;
    case ICC_HPPIR1: *value = highest_pending(g, cpu, 1); return true;
    case ICC_BPR0: *value = c->bpr[0]; return true;
    case ICC_BPR1: *value = read_bpr1(c); return true;
    case ICC_AP0R0: *value = c->apr[0]; return true;
    case ICC_AP1R0: *value = c->apr[1]; return true;
    case ICC_RPR: *value = MIN(gicv3_running(c), 0xffu); return true;
    case ICC_CTLR: *value = c->icc_ctlr | CTLR_PRI_BITS | CTLR_ID_BITS | CTLR_A3V; return true;
    case ICC_SRE: *value = SRE; return true;
    case ICC_IGRPEN0: *value = c->group_on[0]; return true;
    case ICC_IGRPEN1: *value = c->group_on[1]; return true;
    }
    return false;
}

bool gicv3_icc_write(struct gicv3 *g, unsigned cpu, u32 key, u64 value)
{
    struct gicv3_cpu *c = &g->cpu[cpu];
    switch (key) {
    case ICC_PMR: c->pmr = value & PRIORITY_MASK; break;
    case ICC_EOIR0: end(g, cpu, 0, value & 0xffffff); return true;
    case ICC_EOIR1: end(g, cpu, 1, value & 0xffffff); return true;
    case ICC_BPR0: c->bpr[0] = MAX(value & 7, (u64)BPR_MIN); break;
    case ICC_BPR1:
        if (!(c->icc_ctlr & GICV3_CBPR))
            c->bpr[1] = MAX(value & 7, (u64)BPR_MIN + 1);
        break;
    case ICC_AP0R0: c->apr[0] = (u32)value; break;
    case ICC_AP1R0: c->apr[1] = (u32)value; break;
    case ICC_DIR:
        if (c->icc_ctlr & CTLR_EOI_MODE && (value & 0xffffff) < g->irqs)
            deactivate(g, cpu, value & 0xffffff);
        return true;
    case ICC_SGI0R: send_sgi(g, cpu, 0, value); return true;
    case ICC_SGI1R: send_sgi(g, cpu, 1, value); return true;
    case ICC_ASGI1R: send_sgi(g, cpu, 0, value); return true; /* what the other security state takes as group 0 */
    case ICC_CTLR: c->icc_ctlr = value & (GICV3_CBPR | CTLR_EOI_MODE); break;
    case ICC_SRE: return true;
    case ICC_IGRPEN0: c->group_on[0] = value & 1; break;
    case ICC_IGRPEN1: c->group_on[1] = value & 1; break;
    default: return false;
    }
    gicv3_update(g, cpu);
    return true;
}
