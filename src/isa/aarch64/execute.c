/* Instructions that a machine's code leaves to C: accesses to system registers with effects or under a condition,
 * calls of other levels, waiting, returns. */
#include <stdatomic.h>

#include "base/log.h"
#include "isa/aarch64/system.h"

/* ---- MRS, MSR ---- */

static void take_register_trap(struct vcpu *cpu, u32 key, unsigned rt, bool read)
{
    u32 op0 = key >> 14, op1 = key >> 11 & 7, crn = key >> 7 & 15, crm = key >> 3 & 15, op2 = key & 7;
    a64_take(cpu, A64_EC_REGISTER,
             op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | rt << 5 | crm << 1 | (u32)read);
}

static u64 *kept_at(struct vcpu *cpu, const struct a64_register *r)
{
    u32 at = r->slot ? cpu->isa->slots.slot[r->slot].offset : r->at;
    return (u64 *)(void *)(cpu->env->slots + at);
}

/* Whether the interrupt controller has registers here is the board's to say. */
static u64 read_id(struct vcpu *cpu, u32 key)
{
    u64 v = 0;
    a64_machine_id(&a64_of(cpu)->model, key, &v);
    return key == A64_REG_ID_AA64PFR0_EL1 && cpu->port->registers ? v | 1 << 24 : v;
}

static u64 read_register(struct vcpu *cpu, const struct a64_register *r)
{
    u64 v = 0;
    if (r->constant)
        v = read_id(cpu, r->key);
    else if (r->read)
        v = r->read(cpu);
    else if (r->slot || r->at)
        v = *kept_at(cpu, r) & ~r->fixed;
    return v;
}

static void write_register(struct vcpu *cpu, const struct a64_register *r, u64 v)
{
    if (r->write) {
        r->write(cpu, v);
    } else {
        u64 *at = kept_at(cpu, r);
        *at = (*at & r->fixed) | (v & ~r->fixed);
        if (r->wrote)
            r->wrote(cpu);
    }
}

/* A device's register, such as one of the interrupt controller. */
static bool move_outside(struct vcpu *cpu, u32 key, unsigned rt, bool read)
{
    const struct cpu_registers *o = cpu->port->registers;
    struct a64_state *s = a64_of(cpu);
    u64 v = 0;
    if (!o || !a64_at_el1(s))
        return false;
    if (!read)
        return o->write(o->opaque, cpu->port->index, key, a64_general(s, rt));
    if (!o->read(o->opaque, cpu->port->index, key, &v))
        return false;
    if (rt != 31)
        s->x[rt] = v;
    return true;
}

/* With FEAT_IDST reads of ID registers by EL0 trap as such, so that they can be emulated. */
static bool is_identification(const struct a64_state *s, u32 key, bool read)
{
    u32 op1 = key >> 11 & 7, crn = key >> 7 & 15;
    return read && a64_has(&s->model, A64_FEAT_IDST) && key >> 14 == 3 && !crn && (op1 < 2 || op1 == 3);
}

/* SP_EL0 cannot be named where it is the stack pointer in use. */
static bool is_hidden(const struct a64_state *s, u32 key)
{
    return key == A64_REG_SP_EL0 && !(s->pstate & A64_PSTATE_SP);
}

static bool is_floating(u32 key)
{
    return key == A64_REG_FPCR || key == A64_REG_FPSR;
}

void a64_execute_move(struct vcpu *cpu, u32 insn)
{
    struct a64_state *s = a64_of(cpu);
    u32 key = (insn >> 5 & 0x7fff) | A64_REG_OP0, rt = insn & 31;
    bool read = insn >> 21 & 1, el1 = a64_at_el1(s);
    unsigned right = read ? (el1 ? A64_R1 : A64_R0) : el1 ? A64_W1 : A64_W0;
    if (is_floating(key)) { /* left to C where it traps */
        a64_take(cpu, A64_EC_FP, 0x1e00000);
        return;
    }
    const struct a64_register *r = a64_register(&s->model, key);
    if (!r && move_outside(cpu, key, rt, read)) {
        s->pc += 4;
        return;
    }
    if ((!r || !(r->rights & right)) && !el1 && is_identification(s, key, read)) {
        take_register_trap(cpu, key, rt, read);
        return;
    }
    if (!r || !(r->rights & right) || is_hidden(s, key)) {
        if (log_on(LOG_UNIMP) && el1)
            log_print(LOG_UNIMP, "aarch64: %#llx: no system register %#x\n", (unsigned long long)s->pc, key);
        a64_take_undefined(cpu);
        return;
    }
    if (!el1 && !a64_gate_open(s, (enum a64_gate)r->gate, !read)) {
        take_register_trap(cpu, key, rt, read);
        return;
    }
    if (!read)
        write_register(cpu, r, a64_general(s, rt));
    else if (rt != 31)
        s->x[rt] = read_register(cpu, r);
    s->pc += 4;
}

/* ---- MSR (immediate) ---- */

static void move_immediate(struct vcpu *cpu, unsigned id, unsigned imm)
{
    struct a64_state *s = a64_of(cpu);
    const bool set = imm & 1;
    if (id == A64_DAIFSET || id == A64_DAIFCLR) { /* EL0 under SCTLR_EL1.UMA; EL1 has code for it */
        if (!a64_at_el1(s) && !a64_gate_open(s, A64_GATE_MASKS, true)) {
            /* the encoding's own fields: op0 0, op1 3, CRn 4 */
            a64_take(cpu, A64_EC_REGISTER,
                     (id == A64_DAIFSET ? 6u : 7u) << 17 | 3u << 14 | 4u << 10 | 31u << 5 | imm << 1);
            return;
        }
        u64 mask = (u64)imm << 6;
        s->pstate = id == A64_DAIFSET ? s->pstate | mask : s->pstate & ~mask;
    } else if (!a64_at_el1(s)) {
        a64_take_undefined(cpu);
        return;
    } else {
        u64 bit = id == A64_SPSEL ? A64_PSTATE_SP : id == A64_PAN ? A64_PSTATE_PAN : A64_PSTATE_UAO;
        u64 pstate = (s->pstate & ~bit) | (set ? bit : 0);
        a64_select_sp(s, pstate);
    }
    s->pc += 4;
}

/* ---- the others ---- */

static enum isa_next wait(struct vcpu *cpu, unsigned id)
{
    struct a64_state *s = a64_of(cpu);
    bool for_event = id == A64_WFE;
    if (for_event && atomic_exchange(&cpu->port->event, false)) { /* it has come already */
        s->pc += 4;
        return ISA_NEXT_RUN;
    }
    if (!a64_at_el1(s) && !(s->sctlr_el1 & (for_event ? SCTLR_NTWE : SCTLR_NTWI))) {
        a64_take(cpu, A64_EC_WAIT, 0x1e00000 | (u32)for_event);
        return ISA_NEXT_RUN;
    }
    s->pc += 4;
    if (cpu->env->key & A64_KEY_STEP)
        return ISA_NEXT_RUN; /* an exception is to come; a wait may end at any time */
    return for_event ? ISA_NEXT_PAUSE : ISA_NEXT_WAIT;
}

static enum isa_next call(struct vcpu *cpu, enum cpu_conduit by)
{
    enum isa_next next = ISA_NEXT_RUN;
    if (!a64_at_el1(a64_of(cpu)) || !a64_psci(cpu, by, &next))
        a64_take_undefined(cpu);
    return next;
}

static void send_event(struct vcpu *cpu, bool local)
{
    const struct cpu_power *p = cpu->port->power;
    if (!local && p)
        p->send_event(p->opaque);
    atomic_store(&cpu->port->event, true);
    a64_of(cpu)->pc += 4;
}

enum isa_next a64_execute(struct vcpu *cpu, u32 insn)
{
    struct a64_state *s = a64_of(cpu);
    unsigned id = a64_decode_id(insn);
    if (s->pstate & A64_PSTATE_IL) {
        a64_take(cpu, A64_EC_ILLEGAL, 0);
        return ISA_NEXT_RUN;
    }
    switch (id) {
    case A64_MSR:
    case A64_MRS:
        a64_execute_move(cpu, insn);
        break;
    case A64_SYS:
    case A64_SYSL:
        a64_execute_sys(cpu, insn);
        break;
    case A64_WFI:
    case A64_WFE:
        return wait(cpu, id);
    case A64_SEV:
    case A64_SEVL:
        send_event(cpu, id == A64_SEVL);
        break;
    case A64_HVC:
        return call(cpu, CPU_CONDUIT_HVC);
    case A64_SMC:
        return call(cpu, CPU_CONDUIT_SMC);
    case A64_ERET:
        a64_return(cpu, s->elr_el1);
        break;
    case A64_ERETAA:
    case A64_ERETAB:
        a64_return(cpu, s->el1.return_to);
        break;
    case A64_DAIFSET:
    case A64_DAIFCLR:
    case A64_SPSEL:
    case A64_PAN:
    case A64_UAO:
        move_immediate(cpu, id, insn >> 8 & 15);
        break;
    default:
        if (cpu->env->key & A64_KEY_NO_FP && (insn >> 26 & 3) == 3)
            a64_take(cpu, A64_EC_FP, 0x1e00000);
        else
            a64_take_undefined(cpu);
    }
    return ISA_NEXT_RUN;
}
