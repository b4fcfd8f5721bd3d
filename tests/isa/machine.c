#include "isa/machine.h"

#include "base/err.h"
#include "base/mem.h"
#include "check.h"

struct machine *machine_new(const struct isa *isa, const char *model)
{
    struct machine *m = xcalloc(1, sizeof(*m));
    size_t size = ALIGN_UP(sizeof(struct ir_env) + isa->slots.size, (size_t)64);
    struct err e;
    m->cpu = (struct vcpu){.isa = isa, .env = aligned_alloc(64, size)};
    memset(m->cpu.env, 0, size);
    m->interp.mem = &ir_mem_direct;
    ir_region_init(&m->region);
    CHECK(isa->init(&m->cpu, model, &e));
    return m;
}

void machine_free(struct machine *m)
{
    ir_region_free(&m->region);
    ir_interp_free(&m->interp);
    free(m->cpu.env);
    free(m);
}

static bool lift(struct machine *m, u64 pc, const void *code, size_t len, unsigned max_insns)
{
    const struct isa *isa = m->cpu.isa;
    ir_region_start(&m->region, &isa->slots, pc);
    ir_build_start(&m->builder, &m->region);
    struct lift l = {.b = &m->builder, .isa = isa, .model = m->cpu.model, .key = isa->key(&m->cpu), .start = pc,
                     .code = code, .code_len = len, .max_insns = max_insns, .pc = pc};
    isa->lift(&l);
    return l.ended;
}

static void show(const struct machine *m, const u8 *code, size_t len, const char *why)
{
    const struct isa *isa = m->cpu.isa;
    char text[64];
    for (size_t at = 0, bytes; (bytes = isa->disas(code + at, len - at, PC + at, text, sizeof(text))); at += bytes)
        printf("# %s\n", text);
    char *ir = ir_print(&m->region);
    printf("# %s\n%s\n", why, ir);
    free(ir);
}

bool machine_lift(struct machine *m, u64 pc, const void *code, size_t len)
{
    struct err e = {.text = "no end"};
    bool ok = lift(m, pc, code, len, 64) && ir_verify(&m->region, m->cpu.isa->helpers, &e);
    if (!ok)
        show(m, code, len, e.text);
    return ok;
}

enum ir_exit machine_run_at(struct machine *m, u64 pc, u32 insn)
{
    vcpu_set_pc(&m->cpu, pc);
    CHECK(lift(m, pc, &insn, sizeof(insn), 1));
    ir_interp_run(&m->interp, &m->region, m->cpu.env, m->cpu.isa->helpers, 0);
    return (enum ir_exit)m->cpu.env->exit;
}

enum ir_exit machine_run(struct machine *m, u32 insn)
{
    return machine_run_at(m, PC, insn);
}

void machine_check_raise(const struct machine *m, u32 code, u64 arg, u64 pc)
{
    CHECK_EQ(m->cpu.env->exit, IR_EXIT_RAISE);
    CHECK_EQ(m->cpu.env->exit_code, code);
    CHECK_EQ(m->cpu.env->exit_arg, arg);
    CHECK_EQ(vcpu_pc(&m->cpu), pc);
}
