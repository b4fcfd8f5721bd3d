/* Branch target identification in machines (Arm ARM, D8.4.4 and the BTI instruction). Where pages are guarded PSTATE.BTYPE
 * is in the low bits of the pc from an indirect branch to the instruction that it leads to. */
#include "isa/aarch64/lift.h"
#include "isa/aarch64/system.h"

static bool is_strict(const struct a64_state *s)
{
    return s->sctlr_el1 & (a64_at_el1(s) ? SCTLR_BT1 : SCTLR_BT0);
}

bool a64_lands(struct vcpu *cpu, u64 pc)
{
    u64 to = pc & ~3ull;
    return !cpu->ops->guarded(cpu, to) ||
           a64_is_landing(a64_insn_at(cpu, to), (enum a64_btype)(pc & 3), is_strict(a64_of(cpu)));
}

void a64_settle_pc(struct vcpu *cpu)
{
    struct a64_state *s = a64_of(cpu);
    if (!(s->pc & 3) || !cpu->ops->lands(cpu))
        return;
    s->pstate |= (s->pc & 3) << A64_PSTATE_BTYPE_LSB;
    s->pc &= ~3ull;
}

void a64_take_landing(struct vcpu *cpu)
{
    u32 type = a64_of(cpu)->pc & 3;
    a64_settle_pc(cpu);
    a64_take(cpu, A64_EC_LANDING, type);
}

/* The key is still that of the level before. */
static bool is_guarded_now(struct vcpu *cpu)
{
    const struct a64_state *s = a64_of(cpu);
    struct isa_page page;
    struct isa_fault f;
    unsigned mode = a64_at_el1(s) ? A64_MODE_EL1 : A64_MODE_EL0;
    return a64_translate(cpu, s->pc, IR_ACCESS_EXEC, mode, &page, &f) && page.guarded;
}

void a64_check_return(struct vcpu *cpu, unsigned type)
{
    struct a64_state *s = a64_of(cpu);
    if (s->pc & 3 && cpu->ops->lands(cpu)) {
        a64_take_at(cpu, A64_EC_PC_ALIGN, 0, s->pc);
    } else if (type && a64_has(&s->model, A64_FEAT_BTI) && !(s->pstate & A64_PSTATE_IL) && is_guarded_now(cpu) &&
               !a64_is_landing(a64_insn_at_pc(cpu), (enum a64_btype)type, is_strict(s))) {
        s->pstate |= type << A64_PSTATE_BTYPE_LSB;
        a64_take(cpu, A64_EC_LANDING, type);
    }
}

enum { OPC_BR, OPC_BLR, OPC_RET };

/* Of BR, BLR, RET and those that authenticate: the type of the branch. */
static enum a64_btype type_of(struct vcpu *cpu, u32 insn)
{
    unsigned opc = insn >> 21 & 3, rn = insn >> 5 & 31;
    if (opc == OPC_RET)
        return A64_BTYPE_NONE;
    if (opc == OPC_BLR)
        return A64_BTYPE_CALL;
    return rn == 16 || rn == 17 || !cpu->ops->guarded(cpu, a64_of(cpu)->pc) ? A64_BTYPE_TAIL : A64_BTYPE_JUMP;
}

void a64_take_misaligned_branch(struct vcpu *cpu, u32 insn, u64 to)
{
    struct a64_state *s = a64_of(cpu);
    s->pstate |= (u64)type_of(cpu, insn) << A64_PSTATE_BTYPE_LSB;
    if ((insn >> 21 & 3) == OPC_BLR)
        s->x[30] = s->pc + 4;
    s->pc = to;
    a64_take_at(cpu, A64_EC_PC_ALIGN, 0, to);
}
