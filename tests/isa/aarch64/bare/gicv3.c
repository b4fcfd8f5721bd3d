/* GICv3 as one CPU sees it: random accesses to registers of its interface, the distributor and the redistributor. Interrupts
 * are never taken as exceptions. Prints what is read. */
#include "bare.h"

#define GICD 0x08000000ul
#define GICR 0x080a0000ul
#define SGI_FRAME 0x10000ul

enum { STEPS = 4000, DEPTH = 64 };

static u64 seed = 42;
static const u32 irqs[] = {1, 5, 9, 20, 29, 40, 41, 63, 64, 100};
static u32 taken[DEPTH], depth; /* interrupts, with the group above */

static u32 pick(u32 n)
{
    return (u32)(next_random(&seed) >> 32) % n;
}

static u32 pick_irq(void)
{
    return irqs[pick(sizeof(irqs) / sizeof(*irqs))];
}

/* The frame that has the registers of an interrupt. */
static u64 frame(u32 irq)
{
    return irq < 32 ? GICR + SGI_FRAME : GICD;
}

static volatile u32 *word(u64 at)
{
    return (volatile u32 *)at;
}

static void bits(void)
{
    static const u32 bases[] = {0x100, 0x100, 0x180, 0x200, 0x200, 0x200, 0x280};
    u32 irq = pick_irq();
    *word(frame(irq) + bases[pick(7)] + irq / 32 * 4) = 1u << irq % 32;
    put_value("enabled", *word(frame(irq) + 0x100 + irq / 32 * 4));
    put_value("pending", *word(frame(irq) + 0x200 + irq / 32 * 4));
    put_value("active", *word(frame(irq) + 0x300 + irq / 32 * 4));
}

static void priority(void)
{
    u32 irq = pick_irq();
    *(volatile u8 *)(frame(irq) + 0x400 + irq) = (u8)pick(256);
    put_value("priority", *word(frame(irq) + 0x400 + (irq & ~3u)));
}

static void take(void)
{
    u32 group = pick(4) != 0;
    u64 irq = group ? READ(icc_iar1_el1) : READ(icc_iar0_el1);
    put_value(group ? "iar1" : "iar0", irq);
    if (irq < 1020 && depth < DEPTH)
        taken[depth++] = (u32)irq | group << 16;
}

static void end(void)
{
    if (!depth)
        return;
    u32 last = taken[--depth], irq = last & 0xffff;
    if (last >> 16)
        WRITE(icc_eoir1_el1, irq);
    else
        WRITE(icc_eoir0_el1, irq);
    if (READ(icc_ctlr_el1) & 2)
        WRITE(icc_dir_el1, irq);
}

static void show(void)
{
    put_value("hppir0", READ(icc_hppir0_el1));
    put_value("hppir1", READ(icc_hppir1_el1));
    put_value("rpr", READ(icc_rpr_el1));
    put_value("ap0r0", READ(icc_ap0r0_el1));
    put_value("ap1r0", READ(icc_ap1r0_el1));
}

static void send(void)
{
    static const u32 sgis[] = {1, 5, 9};
    u64 v = (u64)sgis[pick(3)] << 24 | (pick(8) ? 1 : 2) | (u64)(pick(8) == 0) << 40 | (u64)(pick(8) == 0) << 16;
    u32 by = pick(4);
    put_value("by", by);
    put_value("to", v);
    switch (by) {
    case 0: WRITE(icc_sgi0r_el1, v); break;
    case 1:
    case 2: WRITE(icc_sgi1r_el1, v); break;
    case 3: WRITE(icc_asgi1r_el1, v); break;
    }
    put_value("sgis", *word(GICR + SGI_FRAME + 0x200));
}

static void mask(void)
{
    WRITE(icc_pmr_el1, pick(3) ? 0xff : pick(256));
    put_value("pmr", READ(icc_pmr_el1));
}

/* What decides about preemption changes while nothing is active. Both groups are on or off: the peer lets one that is off
 * hide what is less urgent. Bits that are reserved are written as zero: it has them count. */
static void control(void)
{
    if (READ(icc_rpr_el1) != 0xff)
        return;
    u32 on = pick(4) != 0;
    switch (pick(5)) {
    case 0: WRITE(icc_bpr0_el1, pick(8)); break;
    case 1: WRITE(icc_bpr1_el1, pick(8)); break;
    case 2: WRITE(icc_ctlr_el1, pick(4)); break;
    case 3:
        WRITE(icc_igrpen0_el1, on);
        WRITE(icc_igrpen1_el1, on);
        break;
    case 4: *word(GICR + SGI_FRAME + 0x80) = pick(0x10000) << 16 | pick(0x10000); break;
    }
    put_value("bpr0", READ(icc_bpr0_el1));
    put_value("bpr1", READ(icc_bpr1_el1));
    put_value("ctlr", READ(icc_ctlr_el1));
    put_value("on0", READ(icc_igrpen0_el1));
    put_value("on1", READ(icc_igrpen1_el1));
}

static void shape(void)
{
    u32 i = 1 + pick(6);
    *word((i < 2 ? GICR + SGI_FRAME : GICD) + 0xc00 + i * 4) = pick(0x10000) << 16 | pick(0x10000);
    put_value("config", *word((i < 2 ? GICR + SGI_FRAME : GICD) + 0xc00 + i * 4));
}

static void setup(void)
{
    *word(GICR + 0x14) = 0; /* wake up */
    put_value("waker", *word(GICR + 0x14));
    put_value("pfr0", READ(id_aa64pfr0_el1) >> 24 & 15);
    put_value("sre", READ(icc_sre_el1));
    put_value("ctlr", READ(icc_ctlr_el1));
    put_value("bpr0", READ(icc_bpr0_el1));
    put_value("bpr1", READ(icc_bpr1_el1));
    put_value("rpr", READ(icc_rpr_el1));
    WRITE(icc_sre_el1, 7);
    WRITE(icc_pmr_el1, 0xff);
    WRITE(icc_igrpen0_el1, 1);
    WRITE(icc_igrpen1_el1, 1);
    *word(GICD) = 3;
    for (u32 i = 1; i < 4; i++)
        *word(GICD + 0x80 + 4 * i) = pick(0x10000) << 16 | pick(0x10000);
    *word(GICR + SGI_FRAME + 0x80) = 0xfffff0f7;
    put("\n");
}

int main(void)
{
    void (*const steps[])(void) = {bits, bits, bits, priority, take, take, end, end, show, send, mask, control, shape};
    setup();
    for (u32 i = 0; i < STEPS; i++) {
        put_hex(i);
        steps[pick(sizeof(steps) / sizeof(*steps))]();
        put_value("isr", READ(isr_el1));
        put("\n");
    }
    return 0;
}
