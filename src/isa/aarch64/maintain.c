/* SYS instructions in C: maintenance of caches and TLBs, address translation (Arm ARM, C5.3 to C5.5). Caches are
 * coherent, so what is left of most is whether the access is allowed. */
#include "base/bits.h"
#include "isa/aarch64/system.h"

u64 a64_general(const struct a64_state *s, unsigned reg)
{
    return reg == 31 ? 0 : s->x[reg];
}

static unsigned privileged_mode(const struct a64_state *s)
{
    return !a64_at_el1(s) ? A64_MODE_EL0 : s->pstate & A64_PSTATE_PAN ? A64_MODE_EL1_PAN : A64_MODE_EL1;
}

/* ---- caches ---- */

/* False: the access faults, and the exception has been taken. */
static bool reach(struct vcpu *cpu, u64 addr, u64 *phys)
{
    struct isa_page page;
    struct isa_fault f;
    if (cpu->ops->reach(cpu, addr, IR_ACCESS_READ, phys))
        return true;
    if (a64_translate(cpu, addr, IR_ACCESS_READ, privileged_mode(a64_of(cpu)), &page, &f)) {
        *phys = page.phys + (addr & (page.bytes - 1));
        return true;
    }
    a64_take_data_abort(cpu, &f, A64_ISS_MAINTENANCE | A64_ISS_WRITE);
    return false;
}

static bool insn_line(struct vcpu *cpu, u64 addr)
{
    u64 phys;
    if (!reach(cpu, addr, &phys))
        return false;
    cpu->ops->code_changed(cpu, phys & ~63ull, 64);
    return true;
}

bool a64_only_reaches(const struct a64_model *m, u32 op)
{
    switch (op) {
    case A64_OP_DC_CVAC:
    case A64_OP_DC_CVAU:
    case A64_OP_DC_CIVAC:
        return true;
    case A64_OP_DC_CVAP:
        return a64_has(m, A64_FEAT_DPB);
    case A64_OP_DC_CVADP:
        return a64_has(m, A64_FEAT_DPB2);
    default:
        return false;
    }
}

/* ---- TLBs ---- */

/* Where each kind of TLBI stands among the values of op2. */
enum { TLBI_ALL = 0, TLBI_VA = 1, TLBI_CONTEXT = 2, TLBI_VA_ALL = 3, TLBI_LAST = 5, TLBI_LAST_ALL = 7 };

/* The bits of an address are 55..12, for each granule. */
static u64 page_address(u64 arg)
{
    return (u64)sext64(arg << 12, 56);
}

/* Range forms: the granule, and a number of pages in three fields. */
static void range_of(u64 arg, struct vcpu_flush *f)
{
    static const u8 grain[] = {0, 12, 14, 16};
    unsigned lsb = grain[arg >> 46 & 3], scale = arg >> 44 & 3, num = arg >> 39 & 31;
    f->addr = (u64)sext64((arg & mask64(37)) << lsb, 37 + lsb);
    f->bytes = (u64)(num + 1) << (5 * scale + 1) << lsb;
}

/* CRm: 1, 5 outer shareable (5: ranges); 2, 3 inner shareable; 6, 7 this CPU. Odd ones are no ranges, but for 5. */
static bool tlbi(struct vcpu *cpu, u32 op, u64 arg)
{
    const struct a64_model *m = &a64_of(cpu)->model;
    unsigned crm = op >> 3 & 15, kind = op & 7;
    bool outer = crm == 1 || crm == 5, range = crm == 2 || crm == 5 || crm == 6, everywhere = crm < 6;
    if ((outer && !a64_has(m, A64_FEAT_TLBIOS)) || (range && (!a64_has(m, A64_FEAT_TLBIRANGE) || !(kind & 1))))
        return false;
    struct vcpu_flush f = {.context = (unsigned)(arg >> 48), .addr = page_address(arg), .bytes = 4096};
    if (!(a64_of(cpu)->tcr_el1 & TCR_AS))
        f.context &= 0xff;
    switch (kind) {
    case TLBI_ALL:
        f.scope = VCPU_FLUSH_ALL;
        break;
    case TLBI_CONTEXT:
        f.scope = VCPU_FLUSH_CONTEXT;
        break;
    case TLBI_VA:
    case TLBI_LAST:
        f.scope = VCPU_FLUSH_RANGE;
        break;
    case TLBI_VA_ALL:
    case TLBI_LAST_ALL:
        f.scope = VCPU_FLUSH_RANGE_ALL;
        break;
    default:
        return false;
    }
    if (range) {
        range_of(arg, &f);
        if (!(arg >> 46 & 3))
            return true; /* a reserved granule: nothing needs to go */
    }
    cpu->ops->flush(cpu, &f, everywhere);
    if (everywhere)
        ((struct a64_cpu *)cpu->system)->unsynchronised = true;
    return true;
}

/* ---- address translation ---- */

enum outcome { UNDEFINED, DONE, TAKEN };

static enum outcome translate(struct vcpu *cpu, u32 op, u64 addr)
{
    struct a64_state *s = a64_of(cpu);
    bool pan = op == A64_OP_AT_S1E1RP || op == A64_OP_AT_S1E1WP;
    bool write = op == A64_OP_AT_S1E1W || op == A64_OP_AT_S1E0W || op == A64_OP_AT_S1E1WP;
    unsigned mode = op == A64_OP_AT_S1E0R || op == A64_OP_AT_S1E0W ? A64_MODE_EL0
                    : pan && s->pstate & A64_PSTATE_PAN            ? A64_MODE_EL1_PAN
                                                                   : A64_MODE_EL1;
    struct isa_page page;
    struct isa_fault f;
    u64 attr;
    if (pan && !a64_has(&s->model, A64_FEAT_PAN2))
        return UNDEFINED;
    if (!a64_translate_for_at(cpu, addr, write ? IR_ACCESS_WRITE : IR_ACCESS_READ, mode, &page, &attr, &f)) {
        if (f.kind == ISA_FAULT_WALK) { /* the one that is not reported in PAR_EL1 */
            a64_take_data_abort(cpu, &f, A64_ISS_MAINTENANCE | A64_ISS_WRITE);
            return TAKEN;
        }
        s->par_el1 = 1 | a64_fault_status(&f) << 1 | 1 << 11;
        return DONE;
    }
    u64 phys = page.phys + (addr & (page.bytes - 1) & ~4095ull);
    s->par_el1 = attr | phys | 1 << 11 | 1 << 9; /* not secure */
    return DONE;
}

/* ---- what is what ---- */

/* EL0 may do it if SCTLR_EL1 says so. */
static u64 gate_of(u32 op)
{
    switch (op) {
    case A64_OP_DC_ZVA:
        return SCTLR_DZE;
    case A64_OP_IC_IVAU:
    case A64_OP_DC_CVAC:
    case A64_OP_DC_CVAU:
    case A64_OP_DC_CVAP:
    case A64_OP_DC_CVADP:
    case A64_OP_DC_CIVAC:
        return SCTLR_UCI;
    default:
        return 0;
    }
}

static enum outcome outcome(bool done)
{
    return done ? DONE : TAKEN;
}

static enum outcome sys(struct vcpu *cpu, u32 op, u64 arg)
{
    const struct a64_model *m = &a64_of(cpu)->model;
    u64 phys;
    if (a64_only_reaches(m, op))
        return outcome(reach(cpu, arg, &phys));
    switch (op) {
    case A64_OP_IC_IALLUIS:
    case A64_OP_IC_IALLU:
        cpu->ops->code_changed(cpu, 0, 0);
        return DONE;
    case A64_OP_IC_IVAU:
        return outcome(insn_line(cpu, arg));
    case A64_OP_DC_ISW:
    case A64_OP_DC_CSW:
    case A64_OP_DC_CISW:
        return DONE;
    case A64_OP_DC_IVAC:
        return outcome(reach(cpu, arg, &phys));
    case A64_OP_AT_S1E1R:
    case A64_OP_AT_S1E1W:
    case A64_OP_AT_S1E0R:
    case A64_OP_AT_S1E0W:
    case A64_OP_AT_S1E1RP:
    case A64_OP_AT_S1E1WP:
        return translate(cpu, op, arg);
    default: /* TLBI of EL1: op1 0, CRn 8, CRm 1, 2, 3, 5, 6, 7 */
        return op >> 7 == 8 && 0xee >> (op >> 3 & 15) & 1 && tlbi(cpu, op, arg) ? DONE : UNDEFINED;
    }
}

void a64_execute_sys(struct vcpu *cpu, u32 insn)
{
    struct a64_state *s = a64_of(cpu);
    u32 op = insn >> 5 & 0x3fff, rt = insn & 31;
    enum outcome o = UNDEFINED;
    if (insn >> 21 & 1) { /* SYSL */
    } else if (a64_at_el1(s) || s->sctlr_el1 & gate_of(op)) {
        o = sys(cpu, op, a64_general(s, rt));
    } else if (gate_of(op)) {
        u32 op1 = op >> 11, crn = op >> 7 & 15, crm = op >> 3 & 15, op2 = op & 7;
        a64_take(cpu, A64_EC_REGISTER, 1u << 20 | op2 << 17 | op1 << 14 | crn << 10 | rt << 5 | crm << 1);
        return;
    }
    if (o == DONE)
        s->pc += 4;
    if (o == UNDEFINED)
        a64_take_undefined(cpu);
}
