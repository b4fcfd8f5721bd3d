/* The homes of a region's slots. At its boundaries they are what all regions agree on: pinned slots in
 * their registers, all others in memory. Inside a by_state region the registers go to the slots that
 * gain most by having one, counted with the depth of the loops around; a pinned slot that the region
 * hardly touches waits in memory. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "jit/ra/ra.h"

#define MAX_DEPTH 5 /* of loops that count */
#define DEPTH_LOG 3 /* a loop is taken to go round 8 times */

static void add_home(struct ra_homes *h, unsigned slot, unsigned reg)
{
    h->reg[slot] = (u8)reg;
    h->slot[h->count++] = (u16)slot;
    h->mask |= 1u << reg;
}

static void no_homes(struct ra_homes *h)
{
    memset(h->reg, RA_NOREG, sizeof(h->reg));
    h->count = 0;
    h->mask = 0;
}

static void outer_homes(struct ra *ra)
{
    const struct ir_slots *slots = ra->r->slots;
    no_homes(&ra->outer);
    for (unsigned s = 0; s < slots->count; s++) {
        unsigned class = ra_class_of_type(slots->slot[s].type);
        s8 pin = slots->slot[s].pin;
        if (pin >= 0 && pin < ra->host->npins[class])
            add_home(&ra->outer, s, ra->host->pin[class][pin]);
    }
}

/* What the choice rests on, in executions of accesses to memory that a register saves. */
struct weights {
    s64 used[IR_MAX_SLOTS];
    s64 crossed;     /* boundaries */
    ra_slot_set put; /* anywhere in the region */
    ra_slot_set *dirty_in, *dirty_out;
    u8 *depth;       /* of blocks */
};

static u64 block_last_pc(const struct ir_region *r, u32 b)
{
    return ir_insn_pc(r, r->block[b].end - 1);
}

/* Call visit for each block that control may go to from block b. */
static void each_successor(const struct ir_region *r, u32 b,
                           void (*visit)(void *opaque, u32 from, u32 to, bool call), void *opaque)
{
    u32 end = r->block[b].end;
    for (irv v = r->block[b].first; v < end; v++) {
        const struct ir_node *n = &r->node[v];
        u64 pc[2] = {n->imm, 0};
        unsigned count = 0;
        bool call = n->op == IR_CALL || n->op == IR_CALL_IND;
        if (n->op == IR_EXIT_IF || n->op == IR_EXIT_LINK || n->op == IR_EXIT_BR)
            count = 1;
        if (n->op == IR_EXIT_BR)
            pc[count++] = r->node[n->b].imm;
        if (call)
            pc[count++] = r->node[n->b].imm;
        for (unsigned i = 0; i < count; i++) {
            u32 to = ir_block_at(r, pc[i]);
            if (to != UINT32_MAX)
                visit(opaque, b, to, call);
        }
    }
}

struct loops {
    const struct ir_region *r;
    u64 *last; /* by block: the end of the loop that it heads, 0 if it heads none */
};

static void note_loop(void *opaque, u32 from, u32 to, bool call)
{
    struct loops *l = opaque;
    u64 last = block_last_pc(l->r, from);
    if (l->r->block[to].pc <= last)
        l->last[to] = MAX(l->last[to], last);
}

/* Loops are taken to be contiguous in the guest's memory, from the target of a jump backwards to the jump. */
static void find_depth(const struct ir_region *r, u8 *depth)
{
    struct loops l = {.r = r, .last = xcalloc(r->nblocks, sizeof(u64))};
    for (u32 b = 0; b < r->nblocks; b++)
        each_successor(r, b, note_loop, &l);
    for (u32 b = 0; b < r->nblocks; b++) {
        for (u32 h = 0; h < r->nblocks; h++) {
            if (l.last[h] && r->block[h].pc <= r->block[b].pc && r->block[b].pc <= l.last[h])
                depth[b] = (u8)MIN(depth[b] + 1, MAX_DEPTH);
        }
    }
    free(l.last);
}

static s64 block_weight(const struct weights *w, u32 b)
{
    return (s64)1 << (DEPTH_LOG * w->depth[b]);
}

/* Ways out that the region's maker did not follow are taken to be rare. */
static bool crosses(const struct ir_region *r, const struct ir_node *n)
{
    switch (n->op) {
    case IR_CALL:
    case IR_CALL_IND:
    case IR_EXIT_IND:
    case IR_RET:
    case IR_HELPER:
        return true;
    case IR_EXIT_LINK:
        return ir_block_at(r, n->imm) == UINT32_MAX;
    default:
        return false;
    }
}

static void weigh_block(const struct ir_region *r, struct weights *w, u32 b)
{
    ra_slot_set read = {0};
    struct ir_put put[IR_MAX_SLOTS];
    s64 weight = block_weight(w, b);
    for (irv v = r->block[b].first; v < r->block[b].end; v++) {
        const struct ir_node *n = &r->node[v];
        const irv arg[3] = {n->a, n->b, n->c};
        struct ir_opinfo info = ir_info(n->op);
        for (unsigned i = 0; i < info.nargs; i++) {
            if (ir_is_entry(arg[i]))
                ra_add_to_set(read, ir_entry_slot(arg[i]));
        }
        unsigned nput = ir_has_map(n->op) ? ir_map_resolve(r, ir_node_map(n), put) : 0;
        for (unsigned i = 0; i < nput; i++) {
            ra_add_to_set(w->dirty_out[b], put[i].slot);
            if (ir_is_entry(put[i].value))
                ra_add_to_set(read, ir_entry_slot(put[i].value));
        }
        if (crosses(r, n))
            w->crossed += weight;
    }
    for (unsigned s = 0; s < r->slots->count; s++) {
        w->used[s] += weight * (ra_in_set(read, s) + ra_in_set(w->dirty_out[b], s));
        if (ra_in_set(w->dirty_out[b], s))
            ra_add_to_set(w->put, s);
    }
}

/* A slot without a pin costs a load after each boundary, and if it changes a store before it; a pinned
 * one without a register costs both the other way round. */
static s64 gain(const struct ra *ra, const struct weights *w, unsigned s)
{
    s64 boundary = w->crossed + 1;
    if (ra->outer.reg[s] != RA_NOREG)
        return w->used[s] + boundary * 2;
    return w->used[s] - boundary * (1 + ra_in_set(w->put, s));
}

static unsigned best_slot(const struct ra *ra, const struct weights *w, unsigned class,
                          const ra_slot_set taken)
{
    const struct ir_slots *slots = ra->r->slots;
    unsigned best = IR_MAX_SLOTS;
    s64 most = 0;
    for (unsigned s = 0; s < slots->count; s++) {
        unsigned type = slots->slot[s].type;
        if (s == slots->pc || type == IR_FL || ra_class_of_type(type) != class ||
            ra_in_set(taken, s) || gain(ra, w, s) <= most)
            continue;
        most = gain(ra, w, s);
        best = s;
    }
    return best;
}

/* Pinned slots among the chosen keep their registers, the others get what is left. */
static void choose(struct ra *ra, const struct weights *w, unsigned class)
{
    u32 left = ra->host->allocatable & (class ? 0xffff0000u : 0xffffu) & ~ra->host->scratch;
    unsigned room = (unsigned)__builtin_popcount(left), count = 0, chosen[RA_REGS];
    ra_slot_set taken = {0};
    while (count < room) {
        unsigned s = best_slot(ra, w, class, taken);
        if (s == IR_MAX_SLOTS)
            break;
        ra_add_to_set(taken, s);
        chosen[count++] = s;
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned reg = ra->outer.reg[chosen[i]];
        if (reg != RA_NOREG) {
            add_home(&ra->inner, chosen[i], reg);
            left &= ~(1u << reg);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        if (ra->inner.reg[chosen[i]] == RA_NOREG) {
            add_home(&ra->inner, chosen[i], ctz64(left));
            left &= left - 1;
        }
    }
}

struct flow {
    struct weights *w;
    bool changed;
};

static void pass_dirt(void *opaque, u32 from, u32 to, bool call)
{
    struct flow *f = opaque;
    if (call)
        return; /* all was at home */
    for (unsigned i = 0; i < ARRAY_LEN(f->w->dirty_in[to]); i++) {
        u64 in = f->w->dirty_in[from][i] | f->w->dirty_out[from][i];
        f->changed |= (in & ~f->w->dirty_in[to][i]) != 0;
        f->w->dirty_in[to][i] |= in;
    }
}

static void find_clean(struct ra *ra, struct weights *w)
{
    const struct ir_region *r = ra->r;
    struct flow f = {.w = w, .changed = true};
    while (f.changed) {
        f.changed = false;
        for (u32 b = 0; b < r->nblocks; b++)
            each_successor(r, b, pass_dirt, &f);
    }
    if (r->nblocks > ra->clean_cap) {
        ra->clean_cap = r->nblocks * 2;
        ra->clean = xrealloc(ra->clean, ra->clean_cap * sizeof(*ra->clean));
    }
    memset(ra->clean, 0, r->nblocks * sizeof(*ra->clean));
    for (u32 b = 0; b < r->nblocks; b++) {
        for (u32 i = 0; i < ra->inner.count; i++) {
            unsigned s = ra->inner.slot[i];
            if (ra->outer.reg[s] == RA_NOREG && !ra_in_set(w->dirty_in[b], s))
                ra_add_to_set(ra->clean[b], s);
        }
    }
}

void ra_choose_homes(struct ra *ra)
{
    const struct ir_region *r = ra->r;
    outer_homes(ra);
    memset(ra->apart, 0, sizeof(ra->apart));
    if (!r->by_state) {
        ra->inner = ra->outer;
        return;
    }
    struct weights w = {.depth = xcalloc(r->nblocks, 1),
                        .dirty_in = xcalloc(r->nblocks, sizeof(ra_slot_set)),
                        .dirty_out = xcalloc(r->nblocks, sizeof(ra_slot_set))};
    find_depth(r, w.depth);
    for (u32 b = 0; b < r->nblocks; b++)
        weigh_block(r, &w, b);
    no_homes(&ra->inner);
    choose(ra, &w, 0);
    choose(ra, &w, 1);
    for (unsigned s = 0; s < r->slots->count; s++) {
        if (ra->inner.reg[s] != ra->outer.reg[s])
            ra_add_to_set(ra->apart, s);
    }
    find_clean(ra, &w);
    free(w.depth);
    free(w.dirty_in);
    free(w.dirty_out);
}
