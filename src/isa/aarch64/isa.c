/* AArch64 as the rest of the system sees it: registers, models, modes. */
#include "cpu/isa.h"

#include <string.h>

#include "cpu/lift.h"
#include "cpu/vcpu.h"
#include "isa/aarch64/decode.h"
#include "isa/aarch64/helper.h"
#include "isa/aarch64/lift.h"
#include "isa/aarch64/state.h"
#include "isa/aarch64/system.h"

#define EM_AARCH64 183

#define X(n, pin)       {"x" #n, IR_I64, offsetof(struct a64_state, x[n]), pin}
#define V(n, pin)       {"v" #n, IR_V128, offsetof(struct a64_state, v[n]), pin}
#define R(name, member) {name, IR_I64, offsetof(struct a64_state, member), -1}
#define S(member)       R(#member, member)
#define KEY(name, k)                                                                               \
    R(name "keylo_el1", pauth_key[A64_KEY_##k][0]), R(name "keyhi_el1", pauth_key[A64_KEY_##k][1])

/* In the order of enum in state.h. The pins are what compiled programs use most (ENGINE.md). */
static const struct ir_slot slots[A64_NSLOTS] = {
    X(0, 0), X(1, 1), X(2, 2), X(3, 3), X(4, -1), X(5, -1), X(6, -1), X(7, -1),
    X(8, -1), X(9, -1), X(10, -1), X(11, -1), X(12, -1), X(13, -1), X(14, -1), X(15, -1),
    X(16, -1), X(17, -1), X(18, -1), X(19, 4), X(20, 5), X(21, 6), X(22, -1), X(23, -1),
    X(24, -1), X(25, -1), X(26, -1), X(27, -1), X(28, -1), X(29, 7), X(30, 8),
    {"sp", IR_I64, offsetof(struct a64_state, sp), 9},
    R("pc", pc),
    {"nzcv", IR_FL, offsetof(struct a64_state, nzcv), -1},
    R("tpidr_el0", tpidr_el0),
    R("tpidrro_el0", tpidrro_el0),
    R("pstate_bits", pstate),
    KEY("apia", IA), KEY("apib", IB), KEY("apda", DA), KEY("apdb", DB), KEY("apga", GA),
    {"qc", IR_V128, offsetof(struct a64_state, qc_lanes), -1},
    V(0, 0), V(1, 1), V(2, 2), V(3, 3), V(4, 4), V(5, 5), V(6, 6), V(7, 7),
    V(8, -1), V(9, -1), V(10, -1), V(11, -1), V(12, -1), V(13, -1), V(14, -1), V(15, -1),
    V(16, -1), V(17, -1), V(18, -1), V(19, -1), V(20, -1), V(21, -1), V(22, -1), V(23, -1),
    V(24, -1), V(25, -1), V(26, -1), V(27, -1), V(28, -1), V(29, -1), V(30, -1), V(31, -1),
    S(sp_el0), S(sp_el1),
    S(elr_el1), S(spsr_el1), S(esr_el1), S(far_el1), S(vbar_el1), S(tpidr_el1),
    S(sctlr_el1), S(tcr_el1), S(ttbr0_el1), S(ttbr1_el1), S(mair_el1),
    S(cpacr_el1), S(contextidr_el1), S(cntkctl_el1), S(mdscr_el1), S(par_el1),
};

/* PSTATE as debuggers and signal frames hold it: N Z C V in bits 31..28, and what a program may set besides. */
static void get_pstate(struct vcpu *cpu, v128 *value)
{
    value->d[0] = a64_get_pstate(cpu->env);
}

static void set_pstate(struct vcpu *cpu, const v128 *value)
{
    struct a64_state *s = a64_state(cpu->env);
    const u64 free = A64_PSTATE_DIT | A64_PSTATE_SSBS;
    a64_set_pstate(cpu->env, (value->d[0] & ~A64_PSTATE_BITS) | (s->pstate & ~free) | (value->d[0] & free));
}

static void get_fpcr(struct vcpu *cpu, v128 *value)
{
    value->d[0] = a64_state(cpu->env)->fpcr;
}

static void set_fpcr(struct vcpu *cpu, const v128 *value)
{
    a64_set_fpcr(cpu->env, value->s[0]);
}

static void get_fpsr(struct vcpu *cpu, v128 *value)
{
    value->d[0] = a64_get_fpsr(cpu->env);
}

static void set_fpsr(struct vcpu *cpu, const v128 *value)
{
    a64_set_fpsr(cpu->env, value->s[0]);
}

static void get_midr(struct vcpu *cpu, v128 *value)
{
    value->d[0] = a64_state(cpu->env)->model.midr;
}

/* Constant. */
static void set_midr(struct vcpu *cpu, const v128 *value)
{
}

static const struct isa_reg regs[] = {
    {"pstate", 4, get_pstate, set_pstate},
    {"fpcr", 4, get_fpcr, set_fpcr},
    {"fpsr", 4, get_fpsr, set_fpsr},
    {"midr_el1", 8, get_midr, set_midr},
    {NULL},
};

/* Linux starts programs with speculation that bypasses stores: SSBS. */
static void reset(struct vcpu *cpu)
{
    struct a64_state *s = a64_state(cpu->env);
    const struct a64_model model = s->model;
    memset(s, 0, sizeof(*s));
    s->model = model;
    s->pstate = a64_has(&model, A64_FEAT_SSBS) ? A64_PSTATE_SSBS : 0;
    cpu->env->fp = &s->fp;
    cpu->env->excl.size = 0;
    a64_set_fpcr(cpu->env, 0);
}

static bool init(struct vcpu *cpu, const char *cpu_name, struct err *e)
{
    struct a64_model *m = &a64_state(cpu->env)->model;
    if (!a64_model_find(cpu_name, m, e))
        return false;
    cpu->model = m;
    reset(cpu);
    return true;
}

static u32 key(const struct vcpu *cpu)
{
    const struct a64_state *s = a64_state(cpu->env);
    u32 fp = (s->fpcr & A64_FPCR_KEY) | (s->fpsr_written ? A64_KEY_TINY : 0);
    return s->el1.machine ? fp | a64_machine_key(s) : fp;
}

static unsigned disas(const u8 *code, size_t len, u64 pc, char *text, size_t size)
{
    if (len < 4)
        return 0;
    u32 insn;
    memcpy(&insn, code, 4);
    a64_disas(insn, pc, text, size);
    return 4;
}

static void hwcap(const struct vcpu *cpu, u64 cap[2])
{
    a64_hwcap(cpu->model, cap);
}

const struct isa isa_aarch64 = {
    .name = "aarch64",
    .elf_machine = EM_AARCH64,
    .elf_class = 2,
    .insn_align = 2,
    .max_insn = 4,
    .slots = {slots, A64_NSLOTS, A64_PC, sizeof(struct a64_state), A64_NZCV},
    .regs = regs,
    .helpers = a64_helpers,
    .init = init,
    .reset = reset,
    .link = A64_X0 + 30,
    .tag_bits = 8,
    .key = key,
    .lift = a64_lift_block,
    .flags = &a64_flags,
    .is_small_leaf = a64_is_small_leaf,
    .call_before = a64_call_before,
    .disas = disas,
    .model_name = a64_model_name,
    .hwcap = hwcap,
    .show = a64_show,
    .system = &a64_system,
};
