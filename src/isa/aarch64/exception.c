/* Taking exceptions to EL1, and returning from them (Arm ARM, D1.3 and D1.4). */
#include <stdatomic.h>

#include "isa/aarch64/system.h"

#define ISS_IL (1u << 25)

enum { OFFSET_SAME_SP0 = 0, OFFSET_SAME = 0x200, OFFSET_LOWER = 0x400 };
enum { OFFSET_SYNC = 0, OFFSET_IRQ = 0x80, OFFSET_FIQ = 0x100, OFFSET_ERROR = 0x180 };

static bool uses_own_sp(u64 pstate)
{
    return pstate & A64_PSTATE_EL && pstate & A64_PSTATE_SP;
}

void a64_select_sp(struct a64_state *s, u64 pstate)
{
    *(uses_own_sp(s->pstate) ? &s->sp_el1 : &s->sp_el0) = s->sp;
    s->sp = uses_own_sp(pstate) ? s->sp_el1 : s->sp_el0;
    s->pstate = pstate & A64_PSTATE_BITS;
}

/* PSTATE at the start of a handler. */
static u64 handler_pstate(const struct a64_state *s)
{
    const u64 kept = A64_PSTATE_DIT | A64_PSTATE_PAN;
    u64 p = (s->pstate & kept) | A64_PSTATE_DAIF | A64_PSTATE_EL1 | A64_PSTATE_SP;
    if (a64_has(&s->model, A64_FEAT_PAN) && !(s->sctlr_el1 & SCTLR_SPAN))
        p |= A64_PSTATE_PAN;
    if (a64_has(&s->model, A64_FEAT_SSBS) && s->sctlr_el1 & SCTLR_DSSBS)
        p |= A64_PSTATE_SSBS;
    return p;
}

/* Go to the vector for what happened at `offset`. The flags stay. */
static void enter(struct vcpu *cpu, unsigned offset)
{
    struct a64_state *s = a64_of(cpu);
    unsigned from = !a64_at_el1(s)                 ? OFFSET_LOWER
                    : s->pstate & A64_PSTATE_SP ? OFFSET_SAME
                                                   : OFFSET_SAME_SP0;
    s->spsr_el1 = a64_get_pstate(cpu->env);
    s->elr_el1 = s->pc;
    a64_select_sp(s, handler_pstate(s));
    s->pc = (s->vbar_el1 & ~0x7ffull) + from + offset;
    cpu->env->excl.size = 0;
    a64_monitors_level(cpu);
}

/* Classes that have one number for a lower level, and the next for the same one. */
static bool is_paired(enum a64_class class)
{
    return class == A64_EC_INSN_ABORT || class == A64_EC_DATA_ABORT || class == A64_EC_BREAKPOINT ||
           class == A64_EC_STEP || class == A64_EC_WATCHPOINT;
}

void a64_take(struct vcpu *cpu, enum a64_class class, u32 iss)
{
    struct a64_state *s = a64_of(cpu);
    u32 ec = (u32)class + (is_paired(class) && a64_at_el1(s));
    if (cpu->env->key & A64_KEY_STEP && class != A64_EC_STEP && class != A64_EC_SVC)
        s->pstate |= A64_PSTATE_SS; /* the instruction was not completed */
    s->esr_el1 = ec << 26 | ISS_IL | iss;
    enter(cpu, OFFSET_SYNC);
}

void a64_take_at(struct vcpu *cpu, enum a64_class class, u32 iss, u64 far)
{
    a64_of(cpu)->far_el1 = far;
    a64_take(cpu, class, iss);
}

u32 a64_fault_status(const struct isa_fault *f)
{
    switch ((enum isa_fault_kind)f->kind) {
    case ISA_FAULT_TRANSLATION:
        return 0x04u + f->level;
    case ISA_FAULT_ACCESSED:
        return 0x08u + f->level;
    case ISA_FAULT_PERMISSION:
        return 0x0cu + f->level;
    case ISA_FAULT_SIZE:
        return 0x00u + f->level;
    case ISA_FAULT_WALK:
        return 0x14u + f->level;
    case ISA_FAULT_UNALIGNED:
        return 0x21;
    case ISA_FAULT_UNSUPPORTED:
        return 0x35;
    default:
        return 0x10; /* external */
    }
}

void a64_take_data_abort(struct vcpu *cpu, const struct isa_fault *f, u32 iss)
{
    a64_take_at(cpu, A64_EC_DATA_ABORT, a64_fault_status(f) | iss, f->addr);
}

/* At the pc. */
void a64_take_insn_abort(struct vcpu *cpu, const struct isa_fault *f)
{
    a64_settle_pc(cpu);
    a64_take_at(cpu, A64_EC_INSN_ABORT, a64_fault_status(f), a64_of(cpu)->pc);
}

void a64_take_undefined(struct vcpu *cpu)
{
    a64_take(cpu, A64_EC_UNKNOWN, 0);
}

bool a64_take_interrupt(struct vcpu *cpu)
{
    static const struct {
        enum cpu_line line;
        u32 mask;
        unsigned offset;
    } kinds[] = {
        {CPU_LINE_ERROR, A64_PSTATE_A, OFFSET_ERROR},
        {CPU_LINE_FIQ, A64_PSTATE_F, OFFSET_FIQ},
        {CPU_LINE_IRQ, A64_PSTATE_I, OFFSET_IRQ},
    };
    struct a64_state *s = a64_of(cpu);
    u32 lines = atomic_load(&cpu->port->lines);
    for (unsigned i = 0; i < ARRAY_LEN(kinds) && lines; i++) {
        if (!(lines >> kinds[i].line & 1) || s->pstate & kinds[i].mask)
            continue;
        if (kinds[i].line == CPU_LINE_ERROR)
            s->esr_el1 = (u32)A64_EC_ERROR << 26 | ISS_IL;
        a64_settle_pc(cpu);
        enter(cpu, kinds[i].offset);
        return true;
    }
    return false;
}

/* What a return may go to: AArch64, at EL0 or EL1. */
static bool is_legal(u64 spsr)
{
    unsigned mode = spsr & 31;
    return mode == 0 || mode == 4 || mode == 5;
}

/* Bits of SPSR that the CPU has in PSTATE. */
static u64 pstate_bits(const struct a64_model *m)
{
    return (15ull << 28) | A64_PSTATE_IL | A64_PSTATE_DAIF | A64_PSTATE_EL | A64_PSTATE_SP |
           (a64_has(m, A64_FEAT_PAN) ? A64_PSTATE_PAN : 0) | (a64_has(m, A64_FEAT_UAO) ? A64_PSTATE_UAO : 0) |
           (a64_has(m, A64_FEAT_DIT) ? A64_PSTATE_DIT : 0) | (a64_has(m, A64_FEAT_SSBS) ? A64_PSTATE_SSBS : 0);
}

/* PSTATE.SS becomes SPSR's only where stepping is on, and was not before (AArch64.DebugExceptionReturnSS). */
static bool starts_step(const struct a64_state *s, u64 spsr)
{
    bool starts = a64_debug_enabled(s, spsr) && !a64_debug_enabled(s, s->pstate);
    return s->mdscr_el1 & MDSCR_SS && starts && spsr & A64_PSTATE_SS;
}

enum { ISS_DEBUG = 0x22 }; /* IFSC, DFSC */
enum { STEP_KNOWN = 1 << 24, STEP_EXCLUSIVE = 1 << 6 };

/* What the step exception will say of the instruction that is stepped now. */
static u64 step_syndrome(struct vcpu *cpu)
{
    unsigned id = a64_decode_id(a64_insn_at_pc(cpu));
    return STEP_KNOWN | (id == A64_LDXR || id == A64_LDXP ? STEP_EXCLUSIVE : 0);
}

void a64_take_step(struct vcpu *cpu)
{
    a64_take(cpu, A64_EC_STEP, (u32)a64_of(cpu)->el1.stepped | ISS_DEBUG);
}

void a64_take_breakpoint(struct vcpu *cpu)
{
    a64_of(cpu)->el1.break_hit = 0;
    a64_take(cpu, A64_EC_BREAKPOINT, ISS_DEBUG);
}

void a64_take_watchpoint(struct vcpu *cpu, u64 far, bool write)
{
    a64_take_at(cpu, A64_EC_WATCHPOINT, ISS_DEBUG | (write ? A64_ISS_WRITE : 0), far);
}

void a64_return(struct vcpu *cpu, u64 to)
{
    struct a64_state *s = a64_of(cpu);
    u64 spsr = s->spsr_el1, p = spsr & pstate_bits(&s->model);
    if (!is_legal(spsr)) { /* the level stays, and the next instruction faults */
        const u64 stays = A64_PSTATE_EL | A64_PSTATE_SP;
        p = (p & ~stays) | (s->pstate & stays) | A64_PSTATE_IL;
    }
    if (starts_step(s, p | (spsr & A64_PSTATE_SS)))
        p |= A64_PSTATE_SS;
    s->nzcv = (struct ir_flags){.kind = IR_FLK_BITS, .a = p >> 28 & 15};
    a64_select_sp(s, p);
    s->pc = to;
    s->el1.stepped = p & A64_PSTATE_SS ? step_syndrome(cpu) : 0;
    cpu->env->excl.size = 0;
    a64_monitors_level(cpu);
    a64_check_return(cpu, spsr >> A64_PSTATE_BTYPE_LSB & 3);
}
