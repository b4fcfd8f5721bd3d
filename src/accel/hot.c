/* Hot code: the second translation of what runs often. Entries of the first one count down; the code
 * around an entry whose counter runs out becomes one region of several blocks, made of the code that
 * control has been seen to reach from there, in which loops run without leaving. It takes the place of
 * the first translation of that entry; ways out of it lead to first translations. */
#include <string.h>

#include "accel/engine_impl.h"
#include "base/bits.h"
#include "jit/opt/legalise.h"

#define HOT_BLOCKS 32
#define HOT_INSNS  400
#define BLOCK_INSNS 64

/* A region in the making. */
struct former {
    struct lifting from;
    struct compiler *c;
    u64 todo[HOT_BLOCKS]; /* blocks to come, the last one first */
    unsigned ntodo;
};

static bool is_todo(const struct former *f, u64 pc)
{
    for (unsigned i = 0; i < f->ntodo; i++) {
        if (f->todo[i] == pc)
            return true;
    }
    return false;
}

static bool joins(struct lift *l, u64 pc)
{
    const struct former *f = ((struct lifting *)l->opaque)->opaque;
    return ir_block_at(&f->c->ir, pc) != UINT32_MAX || is_todo(f, pc);
}

static bool want_block(struct former *f, u64 pc)
{
    if (ir_block_at(&f->c->ir, pc) != UINT32_MAX || is_todo(f, pc))
        return true;
    if (f->ntodo + f->c->ir.nblocks >= HOT_BLOCKS || f->c->ir.insns >= HOT_INSNS)
        return false;
    f->todo[f->ntodo++] = pc;
    return true;
}

/* Code without a translation has not run, or only as the middle of a block. */
static bool follow(struct lift *l, u64 pc)
{
    struct former *f = ((struct lifting *)l->opaque)->opaque;
    return cache_find(&f->from.en->cache, pc, f->from.key) && want_block(f, pc);
}

/* Where the block goes on that has just been lifted. */
static void follow_end(struct former *f)
{
    const struct ir_region *r = &f->c->ir;
    const struct ir_block *b = &r->block[r->nblocks - 1];
    const struct ir_node *n = &r->node[b->end - 1];
    if (n->op == IR_EXIT_LINK)
        want_block(f, n->imm);
    if (n->op != IR_CALL && n->op != IR_CALL_IND)
        return;
    u64 back = r->node[n->b].imm;
    if (cache_find(&f->from.en->cache, back, f->from.key))
        want_block(f, back);
}

/* Lift the region. False when there is no code at its entry. */
static bool form(struct former *f, u64 pc)
{
    struct engine *en = f->from.en;
    const struct ir_lowering lowering = {en->host->has, opt_legalise, &en->host_cpu};
    compiler_start(f->c, &f->from, pc, &lowering);
    f->c->ir.by_state = true;
    f->todo[f->ntodo++] = pc;
    while (f->ntodo) {
        u64 next = f->todo[--f->ntodo];
        if (!compiler_block(f->c, &f->from, next, BLOCK_INSNS)) {
            if (next == pc)
                return false;
            continue; /* its jumps leave the region */
        }
        follow_end(f);
    }
    return true;
}

/* Called with the lock held. */
static void optimise(struct engine *en, struct vcpu *cpu, u64 pc)
{
    struct former f = {.from = {.en = en, .model = cpu->model, .key = cpu->env->key,
                                .follow = follow, .joins = joins},
                       .c = &en->hot};
    struct jit_region *old = cache_find(&en->cache, pc, f.from.key);
    f.from.opaque = &f;
    if (!old || old->tier || !form(&f, pc))
        return;
    compiler_verify(&f.c->ir);
    if (!compiler_allocate(f.c, en))
        return;
    struct jit_region *r = compiler_install(f.c, en);
    if (!r)
        return;
    r->tier = 1;
    cache_remove(&en->cache, old);
    engine_ask_flush(en);
    en->stat_hot_regions++;
    en->stat_hot_insns += f.c->ir.insns;
}

void hot_entry(struct vcpu *cpu)
{
    struct engine *en = cpu->engine;
    u64 pc = vcpu_pc(cpu);
    heat_reset(en, cpu->env, pc);
    pthread_mutex_lock(&en->lock);
    optimise(en, cpu, pc);
    pthread_mutex_unlock(&en->lock);
}
