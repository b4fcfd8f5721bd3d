/* RISC-V as the rest of the system sees it: registers, models, modes. RV32 and RV64 are two guests of one set of
 * tables and lifters. */
#include "cpu/isa.h"

#include <string.h>

#include "cpu/lift.h"
#include "cpu/vcpu.h"
#include "isa/riscv/helper.h"
#include "isa/riscv/lift.h"
#include "isa/riscv/state.h"

#define EM_RISCV 243

#define X(n, pin) {"x" #n, IR_I64, offsetof(struct rv_state, x[n]), pin}
#define F(n, pin) {"f" #n, IR_F64, offsetof(struct rv_state, f[n]), pin}

/* In the order of enum in state.h. The pins are what compiled programs use most (ENGINE.md): ra sp a0 a1 a2 a3 a4
 * s0 s1 s2, fa0 to fa7. */
static const struct ir_slot slots[RV_NSLOTS] = {
    {"pc", IR_I64, offsetof(struct rv_state, pc), -1},
    X(1, 0), X(2, 1), X(3, -1), X(4, -1), X(5, -1), X(6, -1), X(7, -1), X(8, 7), X(9, 8), X(10, 2),
    X(11, 3), X(12, 4), X(13, 5), X(14, 6), X(15, -1), X(16, -1), X(17, -1), X(18, 9), X(19, -1), X(20, -1),
    X(21, -1), X(22, -1), X(23, -1), X(24, -1), X(25, -1), X(26, -1), X(27, -1), X(28, -1), X(29, -1),
    X(30, -1), X(31, -1),
    F(0, -1), F(1, -1), F(2, -1), F(3, -1), F(4, -1), F(5, -1), F(6, -1), F(7, -1), F(8, -1), F(9, -1),
    F(10, 0), F(11, 1), F(12, 2), F(13, 3), F(14, 4), F(15, 5), F(16, 6), F(17, 7), F(18, -1), F(19, -1),
    F(20, -1), F(21, -1), F(22, -1), F(23, -1), F(24, -1), F(25, -1), F(26, -1), F(27, -1), F(28, -1),
    F(29, -1), F(30, -1), F(31, -1),
};

static void get_fcsr(struct vcpu *cpu, v128 *value)
{
    value->d[0] = rv_get_fcsr(cpu->env);
}

static void set_fcsr(struct vcpu *cpu, const v128 *value)
{
    rv_set_fcsr(cpu->env, value->s[0]);
}

static const struct isa_reg regs[] = {
    {"fcsr", 4, get_fcsr, set_fcsr},
    {NULL},
};

static void reset(struct vcpu *cpu)
{
    struct rv_state *s = rv_state(cpu->env);
    const struct rv_model model = s->model;
    memset(s, 0, sizeof(*s));
    s->model = model;
    cpu->env->fp = &s->fp;
    cpu->env->excl.size = 0;
    rv_set_fcsr(cpu->env, 0);
}

static bool init(struct vcpu *cpu, const char *cpu_name, struct err *e)
{
    struct rv_model *m = &rv_state(cpu->env)->model;
    if (!rv_model_find(cpu_name, cpu->isa == &isa_riscv32, m, e))
        return false;
    cpu->model = m;
    reset(cpu);
    return true;
}

static u32 key(const struct vcpu *cpu)
{
    const struct rv_state *s = rv_state(cpu->env);
    return s->frm | (cpu->isa == &isa_riscv32 ? RV_KEY_RV32 : 0);
}

/* Of all extensions: what a CPU model lacks is shown, too. */
static unsigned disas(u64 features, const u8 *code, size_t len, u64 pc, char *text, size_t size)
{
    u16 half[2] = {0};
    memcpy(half, code, MIN(len, sizeof(half)));
    unsigned bytes = rv_insn_bytes(half[0]);
    if (len < bytes)
        return 0;
    rv_disas(half[0] | (bytes == 4 ? (u32)half[1] << 16 : 0), features, pc, text, size);
    return bytes;
}

static unsigned disas64(const u8 *code, size_t len, u64 pc, char *text, size_t size)
{
    return disas(~(1ull << RV_RV32), code, len, pc, text, size);
}

static unsigned disas32(const u8 *code, size_t len, u64 pc, char *text, size_t size)
{
    return disas(~(1ull << RV_RV64), code, len, pc, text, size);
}

static void hwcap(const struct vcpu *cpu, u64 cap[2])
{
    cap[0] = rv_hwcap(cpu->model);
    cap[1] = 0;
}

static void describe(const struct vcpu *cpu, char *text, size_t size)
{
    rv_describe(cpu->model, text, size);
}

#define COMMON                                                                                     \
    .elf_machine = EM_RISCV, .insn_align = 1, .max_insn = 4,                                       \
    .slots = {slots, RV_NSLOTS, RV_PC, sizeof(struct rv_state)}, .regs = regs, .helpers = rv_helpers, \
    .init = init, .reset = reset, .key = key, .lift = rv_lift_block, .is_small_leaf = rv_is_small_leaf, \
    .call_before = rv_call_before, .hwcap = hwcap, .describe = describe, .link = RV_X0 + 1

const struct isa isa_riscv64 = {
    COMMON,
    .name = "riscv64",
    .elf_class = 2,
    .disas = disas64,
    .model_name = rv64_model_name,
};

const struct isa isa_riscv32 = {
    COMMON,
    .name = "riscv32",
    .elf_class = 1,
    .disas = disas32,
    .model_name = rv32_model_name,
};
