/* What a machine asks of AArch64 (cpu/system.h): reset, exits, interrupts. */
#include "isa/aarch64/system.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "mem/mem.h"

/* ---- modes ---- */

static bool traps_fp(const struct a64_state *s)
{
    unsigned fpen = s->cpacr_el1 >> 20 & 3;
    return !(fpen & 1) || (fpen == 1 && !a64_at_el1(s));
}

static bool steps(const struct a64_state *s)
{
    return s->mdscr_el1 & MDSCR_SS && a64_debug_enabled(s, s->pstate);
}

static u32 key_if(bool condition, u32 bit)
{
    return condition ? bit : 0;
}

u32 a64_machine_key(const struct a64_state *s)
{
    const u64 c = s->sctlr_el1;
    bool el1 = a64_at_el1(s);
    u32 pauth = key_if(c & SCTLR_ENIA, 1) | key_if(c & SCTLR_ENIB, 2) | key_if(c & SCTLR_ENDA, 4) |
                key_if(c & SCTLR_ENDB, 8);
    return A64_KEY_MACHINE | key_if(el1, A64_KEY_EL1) | key_if(el1 && s->pstate & A64_PSTATE_PAN, A64_KEY_PAN) |
           key_if(el1 && s->pstate & A64_PSTATE_UAO, A64_KEY_UAO) |
           key_if(s->pstate & A64_PSTATE_IL, A64_KEY_ILLEGAL) | key_if(traps_fp(s), A64_KEY_NO_FP) |
           key_if(c & SCTLR_A, A64_KEY_ALIGN) | key_if(c & (el1 ? SCTLR_SA : SCTLR_SA0), A64_KEY_SP_ALIGN) |
           key_if(el1 || c & SCTLR_DZE, A64_KEY_ZVA) |
           key_if(el1 || a64_gate_open(s, A64_GATE_COUNTER_V, false), A64_KEY_COUNTER) |
           key_if(steps(s), A64_KEY_STEP) | key_if(el1 && !(s->pstate & A64_PSTATE_SP), A64_KEY_SP0) |
           key_if(c & (el1 ? SCTLR_BT1 : SCTLR_BT0), A64_KEY_BT) |
           key_if(s->mdscr_el1 & MDSCR_KDE, A64_KEY_KDE) | key_if(a64_breaks_anywhere(s), A64_KEY_BREAKS) |
           key_if(pauth, pauth << A64_KEY_PAUTH_LSB);
}

static unsigned mode(u32 key)
{
    return !(key & A64_KEY_EL1) ? A64_MODE_EL0 : key & A64_KEY_PAN ? A64_MODE_EL1_PAN : A64_MODE_EL1;
}

/* ---- life ---- */

static void reset(struct vcpu *cpu, unsigned index)
{
    struct a64_cpu *c = cpu->system;
    cpu->isa->reset(cpu);
    if (!c) {
        c = cpu->system = xcalloc(1, sizeof(*c));
        c->cpu = cpu;
        a64_timers_init(c);
        a64_monitors_init(c);
    }
    c->unsynchronised = false;
    struct a64_state *s = a64_of(cpu);
    s->pstate = A64_PSTATE_EL1 | A64_PSTATE_SP | A64_PSTATE_DAIF;
    s->sctlr_el1 = 0x00c50838; /* as Cortex-A57 */
    s->cpacr_el1 = 0;
    u64 mmfr0;
    a64_machine_id(&s->model, A64_REG_ID_AA64MMFR0_EL1, &mmfr0);
    s->el1 = (struct a64_el1){
        .machine = 1,
        .physical_bits = MIN(a64_physical_bits(mmfr0 & 15), 48u),
        .mpidr = 1ull << 31 | (u64)(index / 16) << 8 | index % 16,
        .os_lock = 1,
        .cntfrq = A64_CNTFRQ,
        .pmcr = a64_pmcr(&s->model),
    };
    a64_timers_reset(c);
    a64_monitors_reset(c);
    a64_debug_changed(cpu);
    cpu->ops->flush(cpu, &(struct vcpu_flush){.scope = VCPU_FLUSH_ALL}, false);
}

static void free_system(struct vcpu *cpu)
{
    if (!cpu->system)
        return;
    a64_monitors_free(cpu->system);
    a64_timers_free(cpu->system);
    free(cpu->system);
    cpu->system = NULL;
}

/* Also what PSCI says of CPU_ON: interrupts are masked, translation is off. */
static void start(struct vcpu *cpu, u64 pc, u64 arg)
{
    struct a64_state *s = a64_of(cpu);
    s->pc = pc;
    s->x[0] = arg;
}

/* ---- exits ---- */

static bool wakes(const struct vcpu *cpu)
{
    return atomic_load(&cpu->port->lines) != 0;
}

u32 a64_insn_at(struct vcpu *cpu, u64 pc)
{
    struct isa_page page;
    struct isa_fault f;
    const struct a64_state *s = a64_of(cpu);
    u64 len;
    bool writable;
    if (!a64_translate(cpu, pc, IR_ACCESS_EXEC, a64_at_el1(s) ? A64_MODE_EL1 : A64_MODE_EL0, &page, &f))
        return 0;
    const void *host = mem_host(cpu->memory, page.phys + (pc & (page.bytes - 1)), &len, &writable);
    u32 insn = 0;
    if (host)
        memcpy(&insn, host, sizeof(insn));
    return insn;
}

u32 a64_insn_at_pc(struct vcpu *cpu)
{
    return a64_insn_at(cpu, a64_of(cpu)->pc);
}

/* A load or store that has the stack pointer for a base: the field is where all of them have it. */
static bool based_on_sp(u32 insn)
{
    bool literal = (insn >> 27 & 7) == 3 && !(insn >> 24 & 3);
    return (insn >> 25 & 5) == 4 && (insn >> 5 & 31) == 31 && !literal;
}

/* BR, BLR, RET, and those that authenticate. */
static bool is_branch_by_register(u32 insn)
{
    return insn >> 25 == 0x6b;
}

static bool is_sys(u32 insn)
{
    const struct insn *e = a64_decode(insn);
    return e && e->id == A64_SYS && (insn >> 5 & 0x3fff) != A64_OP_DC_ZVA;
}

static void unaligned(struct vcpu *cpu, u64 addr)
{
    const struct a64_state *s = a64_of(cpu);
    if (s->pc & 3) {
        a64_take_landing(cpu);
        return;
    }
    if (s->el1.break_hit) {
        a64_take_breakpoint(cpu);
        return;
    }
    if (cpu->env->key & A64_KEY_STEP && addr == 1) { /* a64_lift_prepare() */
        a64_take_step(cpu);
        return;
    }
    u32 insn = a64_insn_at_pc(cpu);
    if (is_sys(insn)) { /* a64_machine_sys() */
        a64_execute_sys(cpu, insn);
        return;
    }
    if (is_branch_by_register(insn)) {
        a64_take_misaligned_branch(cpu, insn, addr);
        return;
    }
    if (cpu->env->key & A64_KEY_SP_ALIGN && s->sp & 15 && based_on_sp(insn)) {
        a64_take(cpu, A64_EC_SP_ALIGN, 0);
        return;
    }
    const struct insn *e = a64_decode(insn);
    bool write = e && e->effects & INSN_STORES;
    struct isa_fault f = {.addr = addr, .kind = ISA_FAULT_UNALIGNED};
    a64_take_data_abort(cpu, &f, write ? A64_ISS_WRITE : 0);
}

/* ESR_EL1.WnR. An atomic instruction both reads and writes: it counts as a write where a read would not have faulted,
 * or been caught. */
static bool counts_as_write(struct vcpu *cpu, const struct vcpu_exit *x)
{
    const u16 both = INSN_LOADS | INSN_STORES;
    const struct insn *e = a64_decode(a64_insn_at_pc(cpu));
    struct isa_page page;
    struct isa_fault f;
    if (x->access != IR_ACCESS_WRITE || !e || (e->effects & both) != both || e->id == A64_SYS)
        return x->access == IR_ACCESS_WRITE;
    if (x->fault == ISA_FAULT_WATCHED)
        return !a64_caught(cpu, x->addr, 1, 1u << IR_ACCESS_READ, mode(cpu->env->key), &f);
    return a64_translate(cpu, x->addr, IR_ACCESS_READ, mode(cpu->env->key), &page, &f);
}

static void fault(struct vcpu *cpu, const struct vcpu_exit *x)
{
    struct isa_fault f = {.addr = x->addr, .kind = x->fault, .level = x->level};
    struct a64_state *s = a64_of(cpu);
    if (x->fault == ISA_FAULT_PC)
        s->pc = a64_plain_pc(s, s->pc);
    else if (x->access == IR_ACCESS_EXEC)
        a64_take_insn_abort(cpu, &f);
    else if (x->fault == ISA_FAULT_WATCHED)
        a64_take_watchpoint(cpu, f.addr, counts_as_write(cpu, x));
    else
        a64_take_data_abort(cpu, &f, counts_as_write(cpu, x) ? A64_ISS_WRITE : 0);
}

static enum isa_next raised(struct vcpu *cpu, const struct vcpu_exit *x)
{
    struct a64_state *s = a64_of(cpu);
    switch ((enum isa_raise)x->code) {
    case ISA_RAISE_SYSCALL:
        a64_take(cpu, A64_EC_SVC, (u32)x->arg);
        break;
    case ISA_RAISE_BREAK:
        a64_take(cpu, A64_EC_BRK, (u32)x->arg);
        break;
    case ISA_RAISE_UNALIGNED:
        unaligned(cpu, x->arg);
        break;
    case ISA_RAISE_PC_ALIGN:
        a64_take_at(cpu, A64_EC_PC_ALIGN, 0, s->pc);
        break;
    case ISA_RAISE_INSN:
        return a64_execute(cpu, (u32)x->arg);
    default:
        log_print(LOG_UNIMP, "undefined instruction %#llx at %#llx\n", (unsigned long long)x->arg,
                  (unsigned long long)s->pc);
        a64_take_undefined(cpu);
        break;
    }
    return ISA_NEXT_RUN;
}

static enum isa_next handle_exit(struct vcpu *cpu, const struct vcpu_exit *x)
{
    if (x->kind == VCPU_EXIT_RAISE)
        return raised(cpu, x);
    if (x->kind == VCPU_EXIT_FAULT)
        fault(cpu, x);
    return ISA_NEXT_RUN;
}

const struct isa_system a64_system = {
    .modes = A64_MODES,
    .mode = mode,
    .reset = reset,
    .free = free_system,
    .start = start,
    .translate = a64_translate,
    .watches = a64_watches,
    .caught = a64_caught,
    .context = a64_context,
    .exit = handle_exit,
    .interrupt = a64_take_interrupt,
    .wakes = wakes,
};
