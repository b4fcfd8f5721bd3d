/* The system registers that a machine's EL1 and EL0 see: who may access each, where it is kept, what else happens. */
#include <stdatomic.h>
#include <stddef.h>

#include "isa/aarch64/system.h"

#define AT(member)  .at = offsetof(struct a64_state, member)
#define SLOT(name)  .slot = A64_##name
#define ID(name)    {A64_REG_##name, A64_R1, .constant = true}

/* ---- effects ---- */

static void flush(struct vcpu *cpu, enum vcpu_flush_scope scope)
{
    cpu->ops->flush(cpu, &(struct vcpu_flush){.scope = scope}, false);
}

static void write_sctlr(struct vcpu *cpu, u64 v)
{
    struct a64_state *s = a64_of(cpu);
    u64 was = s->sctlr_el1;
    s->sctlr_el1 = v & ~SCTLR_BIG; /* ID_AA64MMFR0_EL1: there is no big-endian data */
    if ((was ^ s->sctlr_el1) & (SCTLR_M | SCTLR_WXN))
        flush(cpu, VCPU_FLUSH_ALL);
}

static void write_tcr(struct vcpu *cpu, u64 v)
{
    a64_of(cpu)->tcr_el1 = v;
    flush(cpu, VCPU_FLUSH_ALL);
    cpu->ops->switch_context(cpu);
}

static void write_mair(struct vcpu *cpu, u64 v)
{
    a64_of(cpu)->mair_el1 = v;
    flush(cpu, VCPU_FLUSH_ALL);
}

static void write_ttbr0(struct vcpu *cpu, u64 v)
{
    a64_of(cpu)->ttbr0_el1 = v;
    cpu->ops->switch_context(cpu);
}

static void write_ttbr1(struct vcpu *cpu, u64 v)
{
    a64_of(cpu)->ttbr1_el1 = v;
    cpu->ops->switch_context(cpu);
}

static u64 read_isr(struct vcpu *cpu)
{
    u32 lines = atomic_load(&cpu->port->lines);
    return (lines >> CPU_LINE_IRQ & 1) << 7 | (lines >> CPU_LINE_FIQ & 1) << 6 | (lines >> CPU_LINE_ERROR & 1) << 8;
}

static u64 read_daif(struct vcpu *cpu)
{
    return a64_of(cpu)->pstate & A64_PSTATE_DAIF;
}

static void write_daif(struct vcpu *cpu, u64 v)
{
    struct a64_state *s = a64_of(cpu);
    s->pstate = (s->pstate & ~(u64)A64_PSTATE_DAIF) | (v & A64_PSTATE_DAIF);
}

static void write_pan(struct vcpu *cpu, u64 v)
{
    struct a64_state *s = a64_of(cpu);
    s->pstate = (s->pstate & ~(u64)A64_PSTATE_PAN) | (v & A64_PSTATE_PAN);
}

static void write_uao(struct vcpu *cpu, u64 v)
{
    struct a64_state *s = a64_of(cpu);
    s->pstate = (s->pstate & ~(u64)A64_PSTATE_UAO) | (v & A64_PSTATE_UAO);
}

static void write_spsel(struct vcpu *cpu, u64 v)
{
    struct a64_state *s = a64_of(cpu);
    a64_select_sp(s, (s->pstate & ~(u64)A64_PSTATE_SP) | (v & A64_PSTATE_SP));
}

static u64 read_ccsidr(struct vcpu *cpu)
{
    const struct a64_state *s = a64_of(cpu);
    return a64_cache_size(&s->model, s->el1.csselr & 15);
}

static void write_csselr(struct vcpu *cpu, u64 v)
{
    a64_of(cpu)->el1.csselr = v & 15;
}

static u64 read_ctr(struct vcpu *cpu)
{
    return A64_CTR;
}

/* ---- debug ---- */

static void write_oslar(struct vcpu *cpu, u64 v)
{
    a64_of(cpu)->el1.os_lock = v & 1;
    a64_debug_changed(cpu);
}

static u64 read_oslsr(struct vcpu *cpu)
{
    return 1 << 3 | a64_of(cpu)->el1.os_lock << 1; /* the lock is there */
}

static void write_claimset(struct vcpu *cpu, u64 v)
{
    a64_of(cpu)->el1.dbgclaim |= v & 0xff;
}

static u64 read_claimset(struct vcpu *cpu)
{
    return 0xff;
}

static void write_claimclr(struct vcpu *cpu, u64 v)
{
    a64_of(cpu)->el1.dbgclaim &= ~v;
}

static u64 read_zero(struct vcpu *cpu)
{
    return 0;
}

static void write_nothing(struct vcpu *cpu, u64 v)
{
}

/* ---- the performance monitors ---- */

#define EVENTS(n)                                                                                  \
    static u64 read_count##n(struct vcpu *cpu)                                                     \
    {                                                                                              \
        return a64_count(cpu, n);                                                                  \
    }                                                                                              \
    static u64 read_type##n(struct vcpu *cpu)                                                      \
    {                                                                                              \
        return a64_count_type(cpu, n);                                                             \
    }                                                                                              \
    static void write_count##n(struct vcpu *cpu, u64 v)                                            \
    {                                                                                              \
        a64_set_count(cpu, n, v);                                                                  \
    }                                                                                              \
    static void write_type##n(struct vcpu *cpu, u64 v)                                             \
    {                                                                                              \
        a64_set_count_type(cpu, n, v);                                                             \
    }
EVENTS(0)
EVENTS(1)
EVENTS(2)
EVENTS(3)
EVENTS(4)
EVENTS(5)
EVENTS(31)
#undef EVENTS

/* Of the counter that PMSELR_EL0 names. */
static u64 read_pmxevtyper(struct vcpu *cpu)
{
    return a64_count_type(cpu, (unsigned)a64_of(cpu)->el1.pmselr);
}

static void write_pmxevtyper(struct vcpu *cpu, u64 v)
{
    a64_set_count_type(cpu, (unsigned)a64_of(cpu)->el1.pmselr, v);
}

static u64 read_pmxevcntr(struct vcpu *cpu)
{
    u64 n = a64_of(cpu)->el1.pmselr;
    return n < A64_EVENTS ? a64_count(cpu, (unsigned)n) : 0;
}

static void write_pmxevcntr(struct vcpu *cpu, u64 v)
{
    u64 n = a64_of(cpu)->el1.pmselr;
    if (n < A64_EVENTS)
        a64_set_count(cpu, (unsigned)n, v);
}

static void write_pmcntenset(struct vcpu *cpu, u64 v)
{
    a64_set_counting(cpu, a64_of(cpu)->el1.pmcnten | v);
}

static void write_pmcntenclr(struct vcpu *cpu, u64 v)
{
    a64_set_counting(cpu, a64_of(cpu)->el1.pmcnten & ~v);
}

static void write_pmintenset(struct vcpu *cpu, u64 v)
{
    a64_set_count_interrupts(cpu, a64_of(cpu)->el1.pminten | v);
}

static void write_pmintenclr(struct vcpu *cpu, u64 v)
{
    a64_set_count_interrupts(cpu, a64_of(cpu)->el1.pminten & ~v);
}

static void write_pmovsset(struct vcpu *cpu, u64 v)
{
    a64_set_overflows(cpu, a64_overflows(cpu) | v);
}

static void write_pmovsclr(struct vcpu *cpu, u64 v)
{
    a64_set_overflows(cpu, a64_overflows(cpu) & ~v);
}

static void write_pmselr(struct vcpu *cpu, u64 v)
{
    a64_of(cpu)->el1.pmselr = v & 31;
}

static void write_pmuserenr(struct vcpu *cpu, u64 v)
{
    a64_of(cpu)->el1.pmuserenr = v & 15;
}

/* ---- counters and timers ---- */

static u64 read_counter(struct vcpu *cpu)
{
    return a64_counter(cpu);
}

#define TIMER(name, id)                                                                            \
    static u64 read_##name##_ctl(struct vcpu *cpu)                                                 \
    {                                                                                              \
        return a64_timer_ctl(cpu, id);                                                             \
    }                                                                                              \
    static u64 read_##name##_tval(struct vcpu *cpu)                                                \
    {                                                                                              \
        return a64_timer_tval(cpu, id);                                                            \
    }                                                                                              \
    static void write_##name##_ctl(struct vcpu *cpu, u64 v)                                        \
    {                                                                                              \
        a64_timer_set_ctl(cpu, id, v);                                                             \
    }                                                                                              \
    static void write_##name##_cval(struct vcpu *cpu, u64 v)                                       \
    {                                                                                              \
        a64_timer_set_cval(cpu, id, v);                                                            \
    }                                                                                              \
    static void write_##name##_tval(struct vcpu *cpu, u64 v)                                       \
    {                                                                                              \
        a64_timer_set_tval(cpu, id, v);                                                            \
    }
TIMER(cntp, A64_TIMER_PHYSICAL)
TIMER(cntv, A64_TIMER_VIRTUAL)
#undef TIMER

/* ---- gates of EL0 ---- */

/* CNTKCTL_EL1 and PMUSERENR_EL0. */
enum { EL0PCTEN = 1, EL0VCTEN = 2, EL0VTEN = 1 << 8, EL0PTEN = 1 << 9 };
enum { PMU_EN = 1, PMU_SW = 2, PMU_CR = 4, PMU_ER = 8 };

bool a64_gate_open(const struct a64_state *s, enum a64_gate gate, bool write)
{
    u64 user = s->el1.pmuserenr;
    switch (gate) {
    case A64_GATE_MASKS:
        return s->sctlr_el1 & SCTLR_UMA;
    case A64_GATE_CTR:
        return s->sctlr_el1 & SCTLR_UCT;
    case A64_GATE_COUNTER_P:
        return s->cntkctl_el1 & EL0PCTEN;
    case A64_GATE_COUNTER_V:
        return s->cntkctl_el1 & EL0VCTEN;
    case A64_GATE_FREQUENCY:
        return s->cntkctl_el1 & (EL0PCTEN | EL0VCTEN);
    case A64_GATE_TIMER_P:
        return s->cntkctl_el1 & EL0PTEN;
    case A64_GATE_TIMER_V:
        return s->cntkctl_el1 & EL0VTEN;
    case A64_GATE_PMU:
        return user & PMU_EN;
    case A64_GATE_PMU_CYCLES:
        return user & PMU_EN || (!write && user & PMU_CR);
    case A64_GATE_PMU_SW:
        return user & (PMU_EN | PMU_SW);
    case A64_GATE_PMU_READ:
        return user & PMU_EN || (!write && user & PMU_ER);
    case A64_GATE_PMU_SELECT:
        return user & (PMU_EN | PMU_ER);
    case A64_GATE_DEBUG:
        return !(s->mdscr_el1 & MDSCR_TDCC);
    default:
        return true;
    }
}

/* ---- the table ---- */

#define KEY_FEATURE .feature = A64_FEAT_PAuth
#define PAUTH(name, k)                                                                             \
    {A64_REG_AP##name##KEYLO_EL1, A64_RW1, KEY_FEATURE, .at = offsetof(struct a64_state, pauth_key[A64_KEY_##k][0])},  \
    {A64_REG_AP##name##KEYHI_EL1, A64_RW1, KEY_FEATURE, .at = offsetof(struct a64_state, pauth_key[A64_KEY_##k][1])}
#define DEBUG(name, member) A64_REG_##name, A64_RW1, AT(member), .wrote = a64_debug_changed
#define BREAK(n) {DEBUG(DBGBVR##n##_EL1, el1.dbgbvr[n])}, {DEBUG(DBGBCR##n##_EL1, el1.dbgbcr[n])}
#define WATCH(n) {DEBUG(DBGWVR##n##_EL1, el1.dbgwvr[n]), .fixed = 3}, {DEBUG(DBGWCR##n##_EL1, el1.dbgwcr[n])}
/* Limited ordering regions: there are none. */
#define LOR(name) {A64_REG_##name, A64_RW1, .feature = A64_FEAT_LOR, .read = read_zero, .write = write_nothing}
#define GATED(name, how, door) A64_REG_##name, how, .gate = A64_GATE_##door
#define EVENT_COUNT(n) {GATED(PMEVCNTR##n##_EL0, A64_RW01, PMU_READ), .read = read_count##n, .write = write_count##n}
#define EVENT_TYPE(n)  {GATED(PMEVTYPER##n##_EL0, A64_RW01, PMU), .read = read_type##n, .write = write_type##n}


const struct a64_register a64_registers[] = {
    {A64_REG_OSDTRRX_EL1, A64_RW1, AT(el1.osdtrrx)},
    BREAK(0), WATCH(0), BREAK(1), WATCH(1),
    {A64_REG_MDCCINT_EL1, A64_RW1, AT(el1.mdccint)},
    {DEBUG(MDSCR_EL1, mdscr_el1)},
    BREAK(2), WATCH(2),
    {A64_REG_OSDTRTX_EL1, A64_RW1, AT(el1.osdtrtx)},
    BREAK(3), WATCH(3), BREAK(4), BREAK(5),
    {A64_REG_OSECCR_EL1, A64_RW1, AT(el1.oseccr)},
    {A64_REG_MDRAR_EL1, A64_R1, .read = read_zero},
    {A64_REG_OSLAR_EL1, A64_W1, .write = write_oslar},
    {A64_REG_OSLSR_EL1, A64_R1, .read = read_oslsr},
    {DEBUG(OSDLR_EL1, el1.osdlr), .fixed = ~1ull},
    {A64_REG_DBGPRCR_EL1, A64_RW1, .read = read_zero, .write = write_nothing},
    {A64_REG_DBGCLAIMSET_EL1, A64_RW1, .read = read_claimset, .write = write_claimset},
    {A64_REG_DBGCLAIMCLR_EL1, A64_RW1, AT(el1.dbgclaim), .write = write_claimclr},
    {A64_REG_DBGAUTHSTATUS_EL1, A64_R1, .read = read_zero},
    {A64_REG_MDCCSR_EL0, A64_R01, .gate = A64_GATE_DEBUG, .read = read_zero},
    {A64_REG_DBGDTR_EL0, A64_RW01, .gate = A64_GATE_DEBUG, .read = read_zero, .write = write_nothing},
    {A64_REG_DBGDTRRX_EL0, A64_RW01, .gate = A64_GATE_DEBUG, .read = read_zero, .write = write_nothing},

    ID(MIDR_EL1),
    {A64_REG_MPIDR_EL1, A64_R1, AT(el1.mpidr)},
    ID(REVIDR_EL1),
    ID(ID_PFR0_EL1), ID(ID_PFR1_EL1), ID(ID_DFR0_EL1), ID(ID_AFR0_EL1),
    ID(ID_MMFR0_EL1), ID(ID_MMFR1_EL1), ID(ID_MMFR2_EL1), ID(ID_MMFR3_EL1),
    ID(ID_ISAR0_EL1), ID(ID_ISAR1_EL1), ID(ID_ISAR2_EL1), ID(ID_ISAR3_EL1), ID(ID_ISAR4_EL1), ID(ID_ISAR5_EL1),
    ID(ID_MMFR4_EL1), ID(ID_ISAR6_EL1), ID(MVFR0_EL1), ID(MVFR1_EL1), ID(MVFR2_EL1),
    ID(ID_PFR2_EL1), ID(ID_DFR1_EL1), ID(ID_MMFR5_EL1),
    ID(ID_AA64PFR0_EL1), ID(ID_AA64PFR1_EL1), ID(ID_AA64ZFR0_EL1), ID(ID_AA64SMFR0_EL1),
    ID(ID_AA64DFR0_EL1), ID(ID_AA64DFR1_EL1), ID(ID_AA64AFR0_EL1), ID(ID_AA64AFR1_EL1),
    ID(ID_AA64ISAR0_EL1), ID(ID_AA64ISAR1_EL1), ID(ID_AA64ISAR2_EL1),
    ID(ID_AA64MMFR0_EL1), ID(ID_AA64MMFR1_EL1), ID(ID_AA64MMFR2_EL1),
    {A64_REG_SCTLR_EL1, A64_RW1, SLOT(SCTLR_EL1), .write = write_sctlr},
    {A64_REG_ACTLR_EL1, A64_RW1, AT(el1.actlr), .write = write_nothing},
    {A64_REG_CPACR_EL1, A64_RW1, AT(cpacr_el1)},
    {A64_REG_TTBR0_EL1, A64_RW1, SLOT(TTBR0_EL1), .write = write_ttbr0},
    {A64_REG_TTBR1_EL1, A64_RW1, SLOT(TTBR1_EL1), .write = write_ttbr1},
    {A64_REG_TCR_EL1, A64_RW1, SLOT(TCR_EL1), .write = write_tcr},
    PAUTH(IA, IA), PAUTH(IB, IB), PAUTH(DA, DA), PAUTH(DB, DB), PAUTH(GA, GA),
    {A64_REG_SPSR_EL1, A64_RW1, SLOT(SPSR_EL1)},
    {A64_REG_ELR_EL1, A64_RW1, SLOT(ELR_EL1)},
    {A64_REG_SP_EL0, A64_RW1, SLOT(SP_EL0)},
    {A64_REG_SPSEL, A64_RW1, AT(pstate), .fixed = ~(u64)A64_PSTATE_SP, .write = write_spsel},
    {A64_REG_CURRENTEL, A64_R1, AT(pstate), .fixed = ~(u64)A64_PSTATE_EL},
    {A64_REG_PAN, A64_RW1, AT(pstate), .fixed = ~(u64)A64_PSTATE_PAN, .feature = A64_FEAT_PAN, .write = write_pan},
    {A64_REG_UAO, A64_RW1, AT(pstate), .fixed = ~(u64)A64_PSTATE_UAO, .feature = A64_FEAT_UAO, .write = write_uao},
    {A64_REG_AFSR0_EL1, A64_RW1, AT(el1.afsr0), .write = write_nothing},
    {A64_REG_AFSR1_EL1, A64_RW1, AT(el1.afsr1), .write = write_nothing},
    {A64_REG_ESR_EL1, A64_RW1, SLOT(ESR_EL1)},
    {A64_REG_FAR_EL1, A64_RW1, SLOT(FAR_EL1)},
    {A64_REG_PAR_EL1, A64_RW1, SLOT(PAR_EL1)},
    {A64_REG_PMINTENSET_EL1, A64_RW1, AT(el1.pminten), .write = write_pmintenset},
    {A64_REG_PMINTENCLR_EL1, A64_RW1, AT(el1.pminten), .write = write_pmintenclr},
    {A64_REG_MAIR_EL1, A64_RW1, SLOT(MAIR_EL1), .write = write_mair},
    {A64_REG_AMAIR_EL1, A64_RW1, AT(el1.amair), .write = write_nothing},
    LOR(LORSA_EL1), LOR(LOREA_EL1), LOR(LORN_EL1), LOR(LORC_EL1), LOR(LORID_EL1),
    {A64_REG_VBAR_EL1, A64_RW1, SLOT(VBAR_EL1), .fixed = 0x7ff},
    {A64_REG_RVBAR_EL1, A64_R1, .read = read_zero},
    {A64_REG_ISR_EL1, A64_R1, .read = read_isr},
    {A64_REG_CONTEXTIDR_EL1, A64_RW1, SLOT(CONTEXTIDR_EL1), .wrote = a64_debug_changed},
    {A64_REG_TPIDR_EL1, A64_RW1, SLOT(TPIDR_EL1)},
    {A64_REG_CNTKCTL_EL1, A64_RW1, AT(cntkctl_el1)},
    {A64_REG_CCSIDR_EL1, A64_R1, .read = read_ccsidr},
    ID(CLIDR_EL1),
    ID(AIDR_EL1),
    {A64_REG_CSSELR_EL1, A64_RW1, AT(el1.csselr), .write = write_csselr},
    {A64_REG_CTR_EL0, A64_R01, .gate = A64_GATE_CTR, .read = read_ctr},
    {A64_REG_DAIF, A64_RW01, .gate = A64_GATE_MASKS, .read = read_daif, .write = write_daif},

    {GATED(PMCR_EL0, A64_RW01, PMU), AT(el1.pmcr), .write = a64_set_pmcr},
    {GATED(PMCNTENSET_EL0, A64_RW01, PMU), AT(el1.pmcnten), .write = write_pmcntenset},
    {GATED(PMCNTENCLR_EL0, A64_RW01, PMU), AT(el1.pmcnten), .write = write_pmcntenclr},
    {GATED(PMOVSCLR_EL0, A64_RW01, PMU), .read = a64_overflows, .write = write_pmovsclr},
    {GATED(PMSWINC_EL0, A64_W0 | A64_W1, PMU_SW), .write = a64_count_software},
    {GATED(PMSELR_EL0, A64_RW01, PMU_SELECT), AT(el1.pmselr), .write = write_pmselr},
    {GATED(PMCEID0_EL0, A64_R01, PMU), .constant = true},
    {GATED(PMCEID1_EL0, A64_R01, PMU), .constant = true},
    {GATED(PMCCNTR_EL0, A64_RW01, PMU_CYCLES), .read = read_count31, .write = write_count31},
    {GATED(PMXEVTYPER_EL0, A64_RW01, PMU), .read = read_pmxevtyper, .write = write_pmxevtyper},
    {GATED(PMXEVCNTR_EL0, A64_RW01, PMU_READ), .read = read_pmxevcntr, .write = write_pmxevcntr},
    {GATED(PMUSERENR_EL0, A64_R0 | A64_RW1, NONE), AT(el1.pmuserenr), .write = write_pmuserenr},
    {GATED(PMOVSSET_EL0, A64_RW01, PMU), .read = a64_overflows, .write = write_pmovsset},

    {GATED(CNTFRQ_EL0, A64_R01 | A64_W1, FREQUENCY), AT(el1.cntfrq), .fixed = ~0xffffffffull},
    {GATED(CNTPCT_EL0, A64_R01, COUNTER_P), .read = read_counter},
    {GATED(CNTVCT_EL0, A64_R01, COUNTER_V), .read = read_counter},
    {GATED(CNTP_TVAL_EL0, A64_RW01, TIMER_P), .read = read_cntp_tval, .write = write_cntp_tval},
    {GATED(CNTP_CTL_EL0, A64_RW01, TIMER_P), .read = read_cntp_ctl, .write = write_cntp_ctl},
    {GATED(CNTP_CVAL_EL0, A64_RW01, TIMER_P), AT(el1.cntp_cval), .write = write_cntp_cval},
    {GATED(CNTV_TVAL_EL0, A64_RW01, TIMER_V), .read = read_cntv_tval, .write = write_cntv_tval},
    {GATED(CNTV_CTL_EL0, A64_RW01, TIMER_V), .read = read_cntv_ctl, .write = write_cntv_ctl},
    {GATED(CNTV_CVAL_EL0, A64_RW01, TIMER_V), AT(el1.cntv_cval), .write = write_cntv_cval},
    EVENT_COUNT(0), EVENT_COUNT(1), EVENT_COUNT(2), EVENT_COUNT(3), EVENT_COUNT(4), EVENT_COUNT(5),
    EVENT_TYPE(0), EVENT_TYPE(1), EVENT_TYPE(2), EVENT_TYPE(3), EVENT_TYPE(4), EVENT_TYPE(5),
    {GATED(PMCCFILTR_EL0, A64_RW01, PMU), .read = read_type31, .write = write_type31},
};
const unsigned a64_registers_count = ARRAY_LEN(a64_registers);

const struct a64_register *a64_register(const struct a64_model *m, u32 key)
{
    unsigned low = 0, high = a64_registers_count;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (a64_registers[mid].key < key)
            low = mid + 1;
        else
            high = mid;
    }
    const struct a64_register *r = &a64_registers[low];
    return low < a64_registers_count && r->key == key && a64_has(m, r->feature) ? r : NULL;
}
