/* Timers, waiting, PSCI, and several CPUs, on the board of board.h: the virtual timer is IRQ, the physical one FIQ.
 * Prints TAP. */
#include "tap.h"

#define FREQUENCY 62500000ul
#define MS (FREQUENCY / 1000)

static u64 now(void)
{
    __asm__ volatile("isb");
    return READ(cntvct_el0);
}

static void unmask_and_wait(u64 unused)
{
    __asm__ volatile("msr daifclr, #3\nwfi\nnop\nnop\nmsr daifset, #3" ::: "memory");
}

static void wait_masked(u64 unused)
{
    __asm__ volatile("wfi" ::: "memory");
}

static void spin(u64 unused)
{
    __asm__ volatile("msr daifclr, #3\n0: b 0b" ::: "memory");
}

static void psci_wait(u64 unused)
{
    register u64 x0 __asm__("x0") = 0xc4000001;
    __asm__ volatile("hvc #0" : "+r"(x0)::"memory");
    trap.x0 = x0;
}

static u64 hvc(u64 f, u64 a, u64 b, u64 c)
{
    register u64 x0 __asm__("x0") = f;
    register u64 x1 __asm__("x1") = a;
    register u64 x2 __asm__("x2") = b;
    register u64 x3 __asm__("x3") = c;
    __asm__ volatile("hvc #0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}

static void timers(void)
{
    u64 start = now();
    check("the frequency", READ(cntfrq_el0) == FREQUENCY);
    WRITE(cntv_cval_el0, start + 20 * MS);
    WRITE(cntv_ctl_el0, 1);
    check("not yet", READ(cntv_ctl_el0) == 1 && !(READ(isr_el1) & 0x80));
    u64 left = READ(cntv_tval_el0);
    check("tval counts down", left <= 20 * MS && left > 0);
    wait_masked(0);
    check("wfi ends though masked", now() - start >= 20 * MS);
    check("status", READ(cntv_ctl_el0) == 5);
    check("isr", (READ(isr_el1) & 0x1c0) == 0x80);
    check("irq", call_el1(unmask_and_wait, 0) && trap.vector == 5);
    WRITE(cntv_ctl_el0, 3);
    check("a masked output falls", !(READ(isr_el1) & 0x80) && READ(cntv_ctl_el0) == 7);
    WRITE(cntv_tval_el0, -5);
    WRITE(cntv_ctl_el0, 1);
    check("tval is signed", READ(cntv_ctl_el0) == 5 && (u32)READ(cntv_tval_el0) >> 31);
    WRITE(cntv_cval_el0, ~0ul);
    check("far away", READ(cntv_ctl_el0) == 1 && !(READ(isr_el1) & 0x80));
    WRITE(cntv_tval_el0, 5 * MS);
    check("irq in a loop", call_el1(spin, 0) && trap.vector == 5);
    WRITE(cntv_ctl_el0, 0);
    WRITE(cntp_tval_el0, MS);
    WRITE(cntp_ctl_el0, 1);
    check("fiq", call_el1(spin, 0) && trap.vector == 6);
    WRITE(cntp_ctl_el0, 0);
    WRITE(cntv_tval_el0, MS);
    WRITE(cntv_ctl_el0, 1);
    check("suspend is a wait", !call_el1(psci_wait, 0) && trap.x0 == 0 && READ(cntv_ctl_el0) == 5);
    static const u32 forever = 0x14000000;
    check("irq from el0", call_el0((u64)&forever, 0, 0) && trap.vector == 9);
    WRITE(cntv_ctl_el0, 0);
}

/* The cycle counter stands, runs, and starts again. */
static void cycles(void)
{
    WRITE(pmcr_el0, 1 | 1 << 2);
    u64 first = READ(pmccntr_el0);
    check("no cycles while disabled", READ(pmccntr_el0) == first);
    WRITE(pmcntenset_el0, 1ul << 31);
    first = READ(pmccntr_el0);
    for (volatile int i = 0; i < 1000; i++)
        ;
    check("cycles", READ(pmccntr_el0) > first);
    WRITE(pmcntenclr_el0, 1ul << 31);
    WRITE(pmccntr_el0, 77);
    check("cycles stand", READ(pmccntr_el0) == 77);
}

/* ---- a second CPU ---- */

static volatile u64 second_id, order, seen, lap;
static u64 flat[512] __attribute__((aligned(4096)));
static u64 small[512] __attribute__((aligned(4096)));
static u64 pages[2][512] __attribute__((aligned(4096)));
static u64 middle[512] __attribute__((aligned(4096)));

#define MOVING 0x80000000ul /* what `small` maps */

static void translation_on(void)
{
    WRITE(mair_el1, 0xff00);
    WRITE(ttbr0_el1, flat);
    WRITE(tcr_el1, 25ul | 25ul << 16 | 1ul << 23 | 2ul << 30 | 5ul << 32 | 3ul << 12);
    __asm__ volatile("dsb sy\ntlbi vmalle1\ndsb sy\nisb" ::: "memory");
    WRITE(sctlr_el1, READ(sctlr_el1) | 1);
}

/* It reads what is at MOVING, and says so, until it is told to stop. */
__attribute__((used)) static void second_main(u64 context)
{
    second_id = READ(mpidr_el1) << 16 | context;
    translation_on();
    while (order == 0) {
        seen = *(volatile u64 *)MOVING;
        lap++;
    }
    __asm__ volatile("dsb sy\nsevl\nwfe\n0: wfe\nldr x1, [%0]\ncmp x1, #2\nb.ne 0b" ::"r"(&order) : "x1", "memory");
    hvc(0x84000002, 0, 0, 0); /* CPU_OFF */
    for (;;)
        ;
}

void second_start(void);
__asm__(".text\nsecond_start:\nldr x1, =second_stack_top\nmov sp, x1\nmov x1, #3 << 20\nmsr cpacr_el1, x1\nisb\nb second_main\n"
        ".ltorg\n.bss\n.balign 16\n.skip 4096\nsecond_stack_top:\n.text\n");

static u64 state_of_second(void)
{
    return hvc(0xc4000004, 1, 0, 0);
}

static void wait_until(volatile u64 *what, u64 above)
{
    while (*what <= above)
        __asm__ volatile("yield");
}

static void swap(u64 at)
{
    __asm__ volatile(".arch_extension lse\nswp xzr, x1, [%0]" ::"r"(at) : "x1", "memory");
}

/* What ESR says of an atomic instruction that faults. */
static void atomics(void)
{
    small[1] = (u64)pages[1] | 0x787; /* read-only */
    small[2] = 0;
    __asm__ volatile("dsb ishst\nisb" ::: "memory");
    check("a swap that cannot be read reads", call_el1(swap, MOVING + 0x2000) && trap.esr == 0x96000007);
    check("a swap that can be read writes", call_el1(swap, MOVING + 0x1000) && trap.esr == 0x9600004f);
    check("one that can be written", !call_el1(swap, MOVING));
}

static void second_cpu(void)
{
    flat[0] = 0x401ul;
    flat[1] = 0x40000000ul | 0x705;
    flat[2] = (u64)middle | 3;
    middle[0] = (u64)small | 3;
    small[0] = (u64)pages[0] | 0x707;
    pages[0][0] = 1000;
    pages[1][0] = 2000;
    translation_on();
    atomics();
    check("version", hvc(0x84000000, 0, 0, 0) == 0x10001);
    check("the second is off", state_of_second() == 1);
    check("no third", (long)hvc(0xc4000003, 2, (u64)second_start, 0) == -2);
    check("no such call", (long)hvc(0x84000099, 0, 0, 0) == -1);
    check("on", hvc(0xc4000003, 1, (u64)second_start, 0x55) == 0);
    wait_until(&lap, 0);
    check("its number and argument", second_id == (0x80000001ul << 16 | 0x55));
    check("already on", (long)hvc(0xc4000003, 1, (u64)second_start, 0) == -4 && state_of_second() == 0);
    u64 good = 1;
    for (u64 i = 1; i < 200; i++) {
        pages[i & 1][0] = i;
        __asm__ volatile("dsb ishst" ::: "memory");
        small[0] = (u64)pages[i & 1] | 0x707;
        __asm__ volatile("dsb ishst\ntlbi vaae1is, %0\ndsb ish\nisb" ::"r"(MOVING >> 12) : "memory");
        pages[~i & 1][0] = 0; /* nobody sees the old page any more */
        u64 from = lap;
        wait_until(&lap, from + 1);
        good &= seen == i;
    }
    check("translations are gone everywhere", good);
    order = 1;
    __asm__ volatile("dsb sy\nsev");
    order = 2;
    __asm__ volatile("dsb sy\nsev");
    while (state_of_second() != 1)
        ;
    check("off again", 1);
}

void main(void)
{
    timers();
    cycles();
    second_cpu();
    put_plan();
}
