/* The first runs of code: in the interpreter. Most of what a program runs when it starts it runs once or twice, and to
 * translate code costs as much as to lift and interpret it about six times. Code that has run so often is translated;
 * so is all code of a program that is no longer young, as what it runs then it mostly runs often. */
#include <stdatomic.h>
#include <stdlib.h>

#include "accel/engine_impl.h"
#include "base/log.h"
#include "base/mem.h"

/* How long it is young, in runs, and how many counters there are, as a power of two. */
static const struct youth {
    u32 runs;
    unsigned bits;
} program = {16000, 14}, machine = {800000, 17};

static const struct youth *youth(const struct engine *en)
{
    return en->opts.memory ? &machine : &program;
}

static bool is_wanted(const struct engine_opts *o)
{
    bool shown = log_on(LOG_IN_ASM | LOG_IR | LOG_IR_OPT | LOG_OUT_ASM | LOG_VERIFY); /* translations are */
    bool compared = o->kind != ENGINE_JIT || o->lockstep_ms;
    return o->cold_runs && !o->one_insn && !(o->without >> IR_PASS_COLD & 1) && !shown && !compared;
}

void cold_init(struct engine *en)
{
    if (!is_wanted(&en->opts))
        return;
    en->cold.runs = xcalloc((size_t)1 << youth(en)->bits, 1);
    en->cold.left = youth(en)->runs;
}

void cold_again(struct engine *en)
{
    for (unsigned i = 0; en->cold.runs && i < 1u << youth(en)->bits; i++)
        atomic_store_explicit(&en->cold.runs[i], 0, memory_order_relaxed);
    atomic_store_explicit(&en->cold.left, en->cold.runs ? youth(en)->runs : 0, memory_order_relaxed);
}

void cold_free(struct engine *en)
{
    free((void *)en->cold.runs);
}

/* Two threads may lose a count to each other, which does no harm. */
bool cold_takes(struct vcpu *cpu, u64 pc)
{
    struct engine *en = cpu->engine;
    struct cold *c = &en->cold;
    u32 left = atomic_load_explicit(&c->left, memory_order_relaxed);
    if (!left || engine_cpu(cpu)->watched || atomic_load(&cpu->env->request) & (REQUEST_FLUSH | REQUEST_PAUSE))
        return false;
    u32 hash = (u32)(pc >> en->isa->insn_align) * 0x9e3779b1u;
    _Atomic u8 *runs = &c->runs[hash >> (32 - youth(en)->bits)];
    u8 before = atomic_load_explicit(runs, memory_order_relaxed);
    if (before >= en->opts.cold_runs)
        return false;
    atomic_store_explicit(runs, before + 1, memory_order_relaxed);
    atomic_store_explicit(&c->left, left - 1, memory_order_relaxed);
    return true;
}

bool cold_run(struct vcpu *cpu, struct vcpu_exit *exit)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    interp_prepare(cpu);
    if (atomic_load(&cpu->env->request)) {
        cpu->env->exit = IR_EXIT_REQUEST;
    } else if (!compiler_lift_once(ec->own, cpu, vcpu_pc(cpu))) {
        engine_fetch_fault(cpu, exit);
        return false;
    } else {
        interp_region(cpu, &ec->own->ir);
        cpu->env->counted[COUNT_COLD] += ec->own->ir.insns;
    }
    return engine_exit(cpu, exit);
}
