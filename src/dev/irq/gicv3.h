/* GICv3: Arm's interrupt controller (Generic Interrupt Controller architecture specification 3 and 4, IHI 0069H), with one
 * security state (GICD_CTLR.DS is 1) and affinity routing, and its parts: distributor, redistributors, the CPUs' interface
 * in system registers, and what a translation service (gicv3_its.c) asks of it.
 *
 * Interrupts 0 to 31 (SGIs, PPIs) exist once for each CPU, those from 32 on (SPIs) once, those from 8192 on (LPIs) are
 * messages that are pending at one CPU. Inputs: the SPIs, then 32 for each CPU. Outputs: IRQ of each CPU, then FIQ. */
#ifndef LYRE_DEV_IRQ_GICV3_H
#define LYRE_DEV_IRQ_GICV3_H

#include "cpu/port.h"
#include "dev/dev.h"

enum {
    GICV3_CPUS = 16, GICV3_OWN = 32, GICV3_IRQS = 1020, GICV3_WORDS = 32,
    GICV3_LPI_FIRST = 8192, GICV3_ID_BITS = 16, GICV3_LPIS = (1 << GICV3_ID_BITS) - GICV3_LPI_FIRST,
    GICV3_CBPR = 1, /* of ICC_CTLR_EL1: group 1 has the binary point of group 0 */
    GICV3_SPURIOUS = 1023, GICV3_IDLE = 0x100, GICV3_NOBODY = 0xff,
    GICV3_DIST_SIZE = 0x10000, GICV3_REDIST_SIZE = 0x20000,
};

/* A bit for each interrupt of 32. */
struct gicv3_bits {
    u32 group, enabled, latched, level, active, edge;
};

/* What a CPU has for itself. */
struct gicv3_cpu {
    struct gicv3_bits own;
    u8 priority[GICV3_OWN];
    u32 waker, ctlr;           /* GICR_WAKER, GICR_CTLR */
    u64 propbase, pendbase;
    u32 lpi[GICV3_LPIS / 32];  /* pending */
    u32 lpi_on;                /* the tables have been read */

    u32 pmr, bpr[2], apr[2], icc_ctlr, group_on[2];
};

struct gicv3 {
    struct dev dev;
    u32 cpus, irqs; /* properties */

    u32 ctlr;
    struct gicv3_bits shared[GICV3_WORDS]; /* the first is unused */
    u8 priority[GICV3_IRQS + 4];
    u64 route[GICV3_IRQS];
    u8 lpi_config[GICV3_LPIS]; /* as the guest's table has it */
    struct gicv3_cpu cpu[GICV3_CPUS];

    struct cpu_registers registers;
    u32 lpis[GICV3_CPUS];      /* how many are pending */
    struct loop_task lpi_task; /* tables are read and written on the loop */
    _Atomic bool lpi_posted;
};

/* Of 32 interrupts as a CPU sees them. */
static inline struct gicv3_bits *gicv3_word(struct gicv3 *g, unsigned cpu, unsigned i)
{
    return i ? &g->shared[i] : &g->cpu[cpu].own;
}

static inline u8 *gicv3_priority(struct gicv3 *g, unsigned cpu, unsigned irq)
{
    return irq < GICV3_OWN ? &g->cpu[cpu].priority[irq] : &g->priority[irq];
}

struct gicv3_best {
    unsigned irq, priority, group;
};

/* The most urgent interrupt that there is for a CPU, of those with a priority below `mask`; irq is GICV3_SPURIOUS if there
 * is none. */
struct gicv3_best gicv3_find_best(struct gicv3 *g, unsigned cpu, unsigned mask);
/* The priority of the most urgent interrupt that the CPU is at; GICV3_IDLE: none. */
unsigned gicv3_running(const struct gicv3_cpu *c);
/* The bits of a priority that decide about preemption, of 9; for group 1 the binary point is one higher. */
unsigned gicv3_group_mask(const struct gicv3_cpu *c, unsigned group);
/* Is it more urgent than what the CPU is at? */
bool gicv3_preempts(const struct gicv3_cpu *c, const struct gicv3_best *b);
void gicv3_update(struct gicv3 *g, unsigned cpu);
void gicv3_update_all(struct gicv3 *g);
void gicv3_set_lpi(struct gicv3 *g, unsigned cpu, unsigned irq, bool on);
/* The affinity of a CPU, as GICR_TYPER and MPIDR_EL1 have it. */
u32 gicv3_affinity(unsigned cpu);
u32 gicv3_identification(u64 offset, u32 part);

/* Registers: words, of which a write changes the bytes in `mask`. */
u32 gicv3_dist_read(struct gicv3 *g, u64 offset);
void gicv3_dist_write(struct gicv3 *g, u64 offset, u32 value, u32 mask);
u32 gicv3_redist_read(struct gicv3 *g, unsigned cpu, u64 offset);
void gicv3_redist_write(struct gicv3 *g, unsigned cpu, u64 offset, u32 value, u32 mask);
/* The registers that SGIs, PPIs and SPIs have alike: i is the word of 32. False: this is none of them. */
bool gicv3_bits_read(struct gicv3 *g, unsigned cpu, unsigned i, u64 offset, u32 *value);
bool gicv3_bits_write(struct gicv3 *g, unsigned cpu, unsigned i, u64 offset, u32 value, u32 mask);
u32 gicv3_config_read(struct gicv3 *g, unsigned cpu, unsigned i);
void gicv3_config_write(struct gicv3 *g, unsigned cpu, unsigned i, u32 value, u32 mask);

/* System registers. */
bool gicv3_icc_read(struct gicv3 *g, unsigned cpu, u32 key, u64 *value);
bool gicv3_icc_write(struct gicv3 *g, unsigned cpu, u32 key, u64 value);

/* ---- for boards ---- */

/* How CPUs reach it: for cpu_port.registers. It lives as long as the device. */
const struct cpu_registers *gicv3_registers(struct dev *gic);

/* ---- for a translation service, on the loop and under no lock ---- */

/* An LPI arrives at a CPU, or is taken back. Any thread. */
void gicv3_lpi(struct dev *gic, unsigned cpu, unsigned irq, bool pending);
void gicv3_lpi_move(struct dev *gic, unsigned from, unsigned to, unsigned irq);
void gicv3_lpi_move_all(struct dev *gic, unsigned from, unsigned to);
/* Read again what the guest's table says about one, or all of them. */
void gicv3_lpi_reload(struct dev *gic, unsigned irq);
void gicv3_lpi_reload_all(struct dev *gic);

#endif
