/* Each kind of exception, from EL1 and from EL0: what ESR, ELR, SPSR and FAR say. One line for each. */
#include "bare.h"

#define CODE(name, text)                                                                           \
    void name(u64 arg);                                                                            \
    __asm__(".text\n.balign 64\n.globl " #name "\n" #name ":\n" text "\nsvc #0x77\nret\n")

CODE(do_svc, "svc #0x1234");
CODE(do_brk, "brk #0xabc");
CODE(do_undefined, ".inst 0");
CODE(do_smc, "smc #1");
CODE(do_eret, "eret");
CODE(do_pc_align, "add x0, x0, #2\nbr x0");
CODE(do_sp_align, "mov x1, sp\nsub sp, sp, #8\nldr x2, [sp]\nmov sp, x1");
CODE(do_read_el1, "mrs x1, sctlr_el1");
CODE(do_write_el1, "msr vbar_el1, x0");
CODE(do_read_id, "mrs x1, midr_el1");
CODE(do_read_ctr, "mrs x5, ctr_el0");
CODE(do_read_dczid, "mrs x1, dczid_el0");
CODE(do_read_daif, "mrs x3, daif");
CODE(do_daifset, "msr daifset, #2");
CODE(do_daifclr, "msr daifclr, #4");
CODE(do_spsel, "msr spsel, #0");
CODE(do_counter, "mrs x1, cntvct_el0");
CODE(do_counter_p, "mrs x7, cntpct_el0");
CODE(do_frequency, "mrs x1, cntfrq_el0");
CODE(do_timer, "mrs x1, cntv_ctl_el0");
CODE(do_timer_p, "msr cntp_cval_el0, x0");
CODE(do_pmu, "mrs x1, pmccntr_el0");
CODE(do_pmu_enable, "msr pmcntenset_el0, xzr");
CODE(do_pmuserenr, "mrs x1, pmuserenr_el0");
CODE(do_zva, "dc zva, x0");
CODE(do_cvau, "dc cvau, x0");
CODE(do_civac, "dc civac, x0");
CODE(do_ivac, "dc ivac, x0");
CODE(do_ivau, "ic ivau, x0");
CODE(do_ialluis, "ic ialluis");
CODE(do_tlbi, "tlbi vmalle1");
CODE(do_at, "at s1e1r, x0");
CODE(do_wfi, "wfi");
CODE(do_wfe, "sevl\nwfe");
CODE(do_fp, "fmov d0, x0");
CODE(do_simd_load, "ldr q1, [x0]");
CODE(do_fpcr, "mrs x1, fpcr");
CODE(do_fpsr, "msr fpsr, x0");
CODE(do_crc, "crc32x w1, w0, x0");
CODE(do_load, "ldr x1, [x0]");
CODE(do_store, "str x0, [x0]");
CODE(do_load_pair, "ldp x1, x2, [x0]");
CODE(do_load_byte, "ldrb w1, [x0]");
CODE(do_swap, "ldxr x1, [x0]\nstxr w2, x1, [x0]");
CODE(do_acquire, "ldar x1, [x0]");
CODE(do_unprivileged, "ldtr x1, [x0]");
CODE(do_branch, "br x0");
CODE(do_el, "mrs x0, currentel");
CODE(do_sp0, "msr spsel, #0\nmrs x0, sp_el0");
CODE(do_gic, "mrs x1, s3_0_c0_c3_7");

struct test {
    const char *name;
    void (*f)(u64);
    u64 arg;
};

#define T(f, arg) {#f, do_##f, arg}
#define UNMAPPED 0x200000000ul   /* beyond what the CPU's addresses are of; without MMU an external abort */

static u64 words[8] __attribute__((aligned(64)));

static const struct test tests[] = {
    T(svc, 0), T(brk, 0), T(undefined, 0), T(smc, 0), T(pc_align, 0x40080000), T(sp_align, 0),
    T(read_el1, 0), T(read_id, 0), T(read_ctr, 0), T(read_dczid, 0), T(read_daif, 0), T(daifset, 0), T(daifclr, 0),
    T(counter, 0), T(counter_p, 0), T(frequency, 0), T(timer, 0), T(timer_p, 0), T(pmu, 0), T(pmu_enable, 0),
    T(pmuserenr, 0), T(zva, (u64)words), T(cvau, (u64)words), T(civac, (u64)words), T(ivac, (u64)words),
    T(ivau, (u64)words), T(ialluis, 0), T(tlbi, 0), T(at, (u64)words), T(wfe, 0), T(fp, 0), T(simd_load, (u64)words),
    T(fpcr, 0), T(fpsr, 0), T(crc, 0), T(load, (u64)words), T(load_byte, (u64)words + 1), T(swap, (u64)words),
    T(swap, (u64)words + 4), T(acquire, (u64)words + 4), T(unprivileged, (u64)words), T(el, 0),
};

static void result(const char *where, const struct test *t, u64 trapped)
{
    put(where);
    put_char(' ');
    put(t->name);
    if (trapped) {
        u64 start = (u64)t->f;
        put_value("vector", trap.vector);
        put_value("esr", trap.esr);
        put_value("spsr", trap.spsr);
        u64 class = trap.esr >> 26 & 63;
        if (trap.elr - start < 64)
            put_value("at", trap.elr - start);
        else
            put_value("elr", trap.elr);
        if (class == 0x24 || class == 0x25 || class == 0x20 || class == 0x21 || class == 0x22)
            put_value("far", trap.far);
    }
    put("\n");
}

static void run_all(const char *what)
{
    for (u64 i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        const struct test *t = &tests[i];
        put(what);
        result(" el1", t, call_el1(t->f, t->arg));
        put(what);
        result(" el0", t, call_el0((u64)t->f, t->arg, EL0_MASKED));
    }
}

/* SCTLR, CPACR, CNTKCTL, PMUSERENR: each by itself lets EL0 do something. */
static void gates(void)
{
    const u64 sctlr = READ(sctlr_el1);
    static const u8 bits[] = {3, 4, 9, 14, 15, 16, 18, 26};
    for (u64 i = 0; i < sizeof(bits); i++) {
        put("sctlr");
        put_value("bit", bits[i]);
        put("\n");
        WRITE(sctlr_el1, sctlr ^ 1ul << bits[i]);
        run_all("sctlr");
    }
    WRITE(sctlr_el1, sctlr);
    for (u64 fpen = 0; fpen < 4; fpen++) {
        WRITE(cpacr_el1, fpen << 20);
        put_value("fpen", fpen);
        run_all("fpen");
    }
    WRITE(cpacr_el1, 3ul << 20);
    static const u64 counters[] = {1, 2, 1 << 8, 1 << 9};
    for (u64 i = 0; i < 4; i++) {
        WRITE(cntkctl_el1, counters[i]);
        run_all("cntkctl");
    }
    WRITE(cntkctl_el1, 0);
    for (u64 bit = 1; bit < 16; bit <<= 1) {
        WRITE(pmuserenr_el0, bit);
        run_all("pmuserenr");
    }
    WRITE(pmuserenr_el0, 0);
}

/* Returns to states that there are, and are not. */
static void returns(void)
{
    for (u64 mode = 0; mode < 32; mode++) {
        static const struct test t = {"return", do_el, 0};
        u64 sp = READ(sp_el0);
        put_value("mode", mode);
        result("", &t, call_el0((u64)do_el, 0, 0x300003c0 | mode));
        (void)sp;
    }
    static const struct test il = {"illegal", do_svc, 0};
    result("spsr.il", &il, call_el0((u64)do_svc, 0, EL0_MASKED | 1 << 20));
    result("spsr.il", &il, call_el0((u64)do_svc, 0, 0x3c5 | 1 << 20));
}

/* At EL1 with the stack pointer of EL0. */
static void thread_mode(void)
{
    static const struct test t[] = {T(svc, 0), T(sp0, 0), T(sp_align, 0)};
    for (u64 i = 0; i < 3; i++)
        result("el1t", &t[i], call_el0((u64)t[i].f, 0, 0x3c4));
}

CODE(do_nop, "nop");
CODE(do_jump, "b 0f\nnop\n0:");
CODE(do_call, "adr x9, 0f\n0: br x9\n");
CODE(do_exclusive, "ldxr x1, [x0]");
CODE(do_msr, "msr tpidr_el0, x0");
CODE(do_barrier, "isb");
CODE(do_not_taken, "cbnz xzr, do_nop");

/* Software step, to EL0 and to EL1: one instruction, or none if PSTATE.SS is clear. */
static void steps(void)
{
    static const struct test t[] = {
        T(nop, 0), T(jump, 0), T(call, 0), T(exclusive, (u64)words), T(msr, 0), T(barrier, 0), T(not_taken, 0),
        T(svc, 0), T(brk, 0), T(undefined, 0), T(load, (u64)words), T(store, (u64)words), T(swap, (u64)words + 4),
        T(read_el1, 0), T(fp, 0), T(wfi, 0), T(pc_align, 0x40080000), T(branch, (u64)do_nop),
    };
    WRITE(oslar_el1, 0);
    for (u64 kernel = 0; kernel < 2; kernel++) {
        u64 to = kernel ? 0x1c5 : 0x1c0; /* debug exceptions are not masked */
        for (u64 i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
            for (u64 active = 0; active < 2; active++) {
                put(active ? "step" : "no step");
                WRITE(mdscr_el1, 1 | kernel << 13);
                u64 trapped = call_el0((u64)t[i].f, t[i].arg, to | active << 21);
                WRITE(mdscr_el1, 0);
                result(kernel ? " el1" : " el0", &t[i], trapped);
            }
        }
    }
}

void main(void)
{
    WRITE(sctlr_el1, READ(sctlr_el1) & ~(1ul << 4 | 1ul << 3));
    run_all("plain");
    gates();
    returns();
    thread_mode();
    steps();
}
