/* What a region of hot code is made of: the blocks around an entry that control has been seen to reach, and copies
 * of the functions that are often called there. */
#include <limits.h>
#include <string.h>

#include "accel/engine_impl.h"

#define HOT_BLOCKS    IR_MAX_STATE_BLOCKS
#define HOT_INSNS     2000
#define MAX_COPIES    16 /* of functions, in the places of calls to them */
#define COPY_BLOCKS   40 /* of each */
#define COPY_DEPTH    3  /* within each other */
#define MAX_TOO_LARGE 8

/* A region in the making. Functions take the place of calls to them as copies, the region's own code being copy 0;
 * a copy is a guess at where its function returns to, which its returns check. One that turns out to be too large
 * is a call when the region is made again. */
struct former {
    struct lifting from;
    struct compiler *c;
    struct {
        u64 pc;
        u32 copy;
    } todo[HOT_BLOCKS]; /* blocks to come, the last one first */
    unsigned ntodo;
    struct copy {
        u64 entry, back;
        u32 caller; /* copy */
        u32 depth, blocks;
    } copy[MAX_COPIES];
    unsigned copies;
    u64 too_large[MAX_TOO_LARGE];
    unsigned ntoo_large;
    bool again; /* one is too large */
};

static struct former *former_of(const struct lift *l)
{
    return ((struct lifting *)l->opaque)->opaque;
}

/* The index in todo, or UINT_MAX. */
static unsigned find_todo(const struct former *f, u64 pc, u32 copy)
{
    unsigned i = 0;
    while (i < f->ntodo && (f->todo[i].pc != pc || f->todo[i].copy != copy))
        i++;
    return i < f->ntodo ? i : UINT_MAX;
}

/* A region of a machine is made of one page: only there is known where another one leads. */
static bool in_reach(const struct former *f, u64 pc)
{
    return !f->from.at.page || !((pc ^ f->from.pc) >> IR_PAGE_BITS);
}

static bool has_block(const struct former *f, u64 pc, u32 copy)
{
    return ir_block_at(&f->c->ir, pc, copy) != UINT32_MAX || find_todo(f, pc, copy) != UINT_MAX;
}

static bool joins(struct lift *l, u64 pc)
{
    return has_block(former_of(l), pc, l->b->copy);
}

static bool is_too_large(const struct former *f, u64 entry)
{
    bool found = f->ntoo_large == MAX_TOO_LARGE;
    for (unsigned i = 0; i < f->ntoo_large && !found; i++)
        found = f->too_large[i] == entry;
    return found;
}

/* There is none for another block: the largest copy is too large. */
static void no_room(struct former *f)
{
    u32 largest = 0;
    for (u32 i = 1; i < f->copies; i++) {
        if (f->copy[i].blocks > f->copy[largest].blocks)
            largest = i;
    }
    u64 entry = f->copy[largest].entry;
    if (!largest || is_too_large(f, entry))
        return;
    f->too_large[f->ntoo_large++] = entry;
    f->again = true;
}

static bool want_block(struct former *f, u64 pc, u32 copy)
{
    if (ir_block_at(&f->c->ir, pc, copy) != UINT32_MAX)
        return true;
    if (!in_reach(f, pc))
        return false;
    unsigned i = find_todo(f, pc, copy);
    if (i != UINT_MAX) { /* now it comes next */
        memmove(&f->todo[i], &f->todo[i + 1], (f->ntodo - i - 1) * sizeof(*f->todo));
        f->ntodo--;
    } else if (f->ntodo + f->c->ir.nblocks >= HOT_BLOCKS || f->c->ir.insns >= HOT_INSNS ||
               (copy && f->copy[copy].blocks++ == COPY_BLOCKS)) {
        no_room(f);
        return false;
    }
    f->todo[f->ntodo].pc = pc;
    f->todo[f->ntodo++].copy = copy;
    return true;
}

/* Code without a translation has not run, or only as the middle of a block. */
static bool has_run(const struct former *f, u64 pc)
{
    const struct lifting *from = &f->from;
    u64 phys = from->at.phys + (from->at.page ? pc - from->pc : 0);
    return in_reach(f, pc) && cache_find(&from->en->cache, pc, from->key, phys) != NULL;
}

static bool follow(struct lift *l, u64 pc)
{
    struct former *f = former_of(l);
    return (joins(l, pc) || has_run(f, pc)) && want_block(f, pc, l->b->copy);
}

static bool need(struct lift *l, u64 pc)
{
    return want_block(former_of(l), pc, l->b->copy);
}

/* ---- calls by pointer ---- */

static u64 callee(struct lift *l, u64 back, bool second)
{
    const struct lifting *from = l->opaque;
    const struct hot_callee *c = hot_callee_of(&from->en->hot, back);
    return c->back == back ? c->pc[second] : 0;
}

/* ---- copies of functions ---- */

/* Is the function at `entry` at work already: is a copy of it, or the region's own code, around this one? */
static bool recurs(const struct former *f, u64 entry, u32 copy)
{
    bool found = entry == f->c->ir.pc;
    for (; copy && !found; copy = f->copy[copy].caller)
        found = f->copy[copy].entry == entry;
    return found;
}

static u32 inlines(struct lift *l, u64 to, u64 back)
{
    struct former *f = former_of(l);
    const struct hot_callee *seen = hot_callee_of(&f->from.en->hot, back);
    u32 caller = l->b->copy, depth = f->copy[caller].depth + 1;
    bool was_seen = seen->back == back && (seen->pc[0] == to || seen->pc[1] == to);
    if (!was_seen || !has_run(f, to) || !has_run(f, back) || depth > COPY_DEPTH || f->copies == MAX_COPIES ||
        recurs(f, to, caller) || is_too_large(f, to) || !want_block(f, back, caller))
        return 0;
    f->copy[f->copies] = (struct copy){.entry = to, .back = back, .caller = caller, .depth = depth};
    if (!want_block(f, to, f->copies))
        return 0;
    f->c->inlines = true;
    return f->copies++;
}

/* ---- what a region is made of ---- */

/* Where the block goes on that has just been lifted. */
static void follow_end(struct former *f)
{
    const struct ir_region *r = &f->c->ir;
    const struct ir_block *b = &r->block[r->nblocks - 1];
    const struct ir_node *n = &r->node[b->end - 1];
    u32 copy = n->aux >> IR_EXIT_COPY_SHIFT;
    if (n->op == IR_EXIT_LINK)
        want_block(f, n->imm, copy);
    if (n->op != IR_CALL && n->op != IR_CALL_IND)
        return;
    u64 back = r->node[n->b].imm;
    if (has_run(f, back))
        want_block(f, back, copy);
}

/* Lift the region. False when there is no code at its entry. */
static bool form(struct former *f, u64 pc, const struct ir_lowering *lowering)
{
    compiler_start(f->c, &f->from, pc, lowering);
    f->c->ir.by_state = true;
    f->again = false;
    f->copies = 1;
    f->ntodo = 0;
    want_block(f, pc, 0);
    while (f->ntodo) {
        u64 next = f->todo[--f->ntodo].pc;
        f->from.copy = f->todo[f->ntodo].copy;
        f->from.copy_back = f->copy[f->from.copy].back;
        f->from.copy_caller = f->copy[f->from.copy].caller;
        if (!compiler_block(f->c, &f->from, next, BLOCK_INSNS)) {
            if (next == pc)
                return false;
            continue; /* its jumps leave the region */
        }
        follow_end(f);
    }
    return true;
}

bool hot_form(struct engine *en, struct compiler *c, const struct hot_place *at,
              const struct ir_lowering *lowering)
{
    struct former f = {.from = {.en = en, .model = at->model, .key = at->key, .at = at->at, .locked = true, .follow = follow,
                                .joins = joins, .need = need, .callee = callee, .inlines = inlines},
                       .c = c};
    f.from.opaque = &f;
    bool formed;
    do
        formed = form(&f, at->pc, lowering);
    while (formed && f.again);
    return formed;
}
