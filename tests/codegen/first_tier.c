#include "first_tier.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "jit/opt/legalise.h"

bool first_tier_start(struct first_tier *t, const struct isa *isa, const char *level, size_t cache_size, struct err *e)
{
    size_t size = ALIGN_UP(sizeof(struct ir_env) + isa->slots.size, (size_t)64);
    t->vcpu = (struct vcpu){.isa = isa, .env = aligned_alloc(64, size)};
    memset(t->vcpu.env, 0, size);
    ir_region_init(&t->ir);
    ra_init(&t->ra);
    t->cpu.slots = &isa->slots;
    t->cpu.helpers = isa->helpers;
    t->cpu.insn_align = isa->insn_align;
    return isa->init(&t->vcpu, "max", e) && host_x86_64.detect(&t->cpu, level, 32, e) &&
           cache_init(&t->cache, &host_x86_64, &t->cpu, cache_size, e);
}

void first_tier_stop(struct first_tier *t)
{
    cache_free(&t->cache);
    ra_free(&t->ra);
    ir_region_free(&t->ir);
    host_buf_free(&t->buf);
    free(t->vcpu.env);
}

u64 first_tier_lift(struct first_tier *t, u64 pc, const u8 *code, size_t len, unsigned max_insns,
                    size_t (*peek)(struct lift *l, u64 pc, void *to, size_t len))
{
    const struct ir_lowering lowering = {host_x86_64.has, opt_legalise, &t->cpu};
    const struct isa *isa = t->vcpu.isa;
    ir_region_start(&t->ir, &isa->slots, pc);
    t->ir.key = isa->key(&t->vcpu);
    ir_build_start(&t->b, &t->ir);
    t->b.lowering = &lowering;
    t->b.pc = pc;
    ir_block_start(&t->b);
    struct lift l = {.b = &t->b, .isa = isa, .model = t->vcpu.model, .key = t->ir.key, .start = pc, .code = code,
                     .code_len = len, .max_insns = max_insns, .pc = pc, .peek = peek};
    isa->lift(&l);
    return l.pc;
}
