/* The homes of a region's slots. At its boundaries they are what all regions agree on: pinned slots in
 * their registers, all others in memory. Inside the loops of a by_state region the registers go to the
 * slots that gain most by having one; a pinned slot that a loop hardly touches waits in memory. Each loop
 * has homes of its own, chosen from the outermost inwards, so that what both use can stay where it is. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "jit/ra/ra.h"

#define TRIPS 4   /* how often a loop is taken to go round */
#define TURN  256 /* the unit of weights: once in a turn of the loop */

static void add_home(struct ra_homes *h, unsigned slot, unsigned reg)
{
    h->reg[slot] = (u8)reg;
    h->slot[h->count++] = (u16)slot;
    h->at[reg] = (u16)slot;
    h->mask |= 1u << reg;
}

static void no_homes(struct ra_homes *h)
{
    memset(h, 0, sizeof(*h));
    memset(h->reg, RA_NOREG, sizeof(h->reg));
}

static void outer_homes(struct ra *ra, struct ra_homes *h)
{
    const struct ir_slots *slots = ra->r->slots;
    no_homes(h);
    for (unsigned s = 0; s < slots->count; s++) {
        unsigned class = ra_class_of_type(slots->slot[s].type);
        s8 pin = slots->slot[s].pin;
        if (pin >= 0 && pin < ra->host->npins[class])
            add_home(h, s, ra->host->pin[class][pin]);
    }
}

/* ---- loops ---- */

__extension__ typedef unsigned __int128 block_set; /* IR_MAX_STATE_BLOCKS bits */

static block_set set_of(u32 block)
{
    return (block_set)1 << block;
}

static u32 first_block(block_set s)
{
    return (u64)s ? ctz64((u64)s) : 64 + ctz64((u64)(s >> 64));
}

static int count_blocks(block_set s)
{
    return __builtin_popcountll((u64)s) + __builtin_popcountll((u64)(s >> 64));
}

/* A natural loop: what can reach a jump back to a block that is passed on every way in. Loop 0 is
 * the whole region, which is none. */
struct loop {
    block_set body;
    u32 head, parent;
    u32 weight[IR_MAX_STATE_BLOCKS]; /* of each block of the body: how often it is run in a turn */
    s64 used[IR_MAX_SLOTS]; /* accesses to memory that a register would save */
    s64 crossed;            /* times that control leaves the region and comes back */
    ra_slot_set put;
};

struct loops {
    const struct ir_region *r;
    struct loop *loop; /* outer ones first */
    u32 count, cap;
    block_set pred[IR_MAX_STATE_BLOCKS], dom[IR_MAX_STATE_BLOCKS]; /* by block */
    ra_slot_set *put;  /* by block */
    ra_slot_set *dirty;
};

/* The blocks that control may go to at a node; NONE: it does not. */
#define NONE UINT32_MAX
struct ways {
    u32 to, other;
    bool call; /* it comes back there */
};

static struct ways ways_at(const struct ir_region *r, const struct ir_node *n)
{
    struct ways w = {NONE, NONE, n->op == IR_CALL || n->op == IR_CALL_IND};
    if (n->op == IR_EXIT_IF || n->op == IR_EXIT_LINK || n->op == IR_EXIT_BR)
        w.to = ir_exit_block(r, n);
    if (n->op == IR_EXIT_BR || w.call)
        w.other = ir_return_block(r, n);
    return w;
}

/* Call visit for each block that control may go to from block b. */
static void each_successor(const struct ir_region *r, u32 b,
                           void (*visit)(void *opaque, u32 from, u32 to, bool call), void *opaque)
{
    u32 end = r->block[b].end;
    for (irv v = r->block[b].first; v < end; v++) {
        struct ways w = ways_at(r, &r->node[v]);
        if (w.to != NONE)
            visit(opaque, b, w.to, w.call);
        if (w.other != NONE)
            visit(opaque, b, w.other, w.call);
    }
}

static void note_pred(void *opaque, u32 from, u32 to, bool call)
{
    struct loops *l = opaque;
    l->pred[to] |= set_of(from);
}

/* Block d is in the set of b if each way from the region's entry to b leads through d. */
static void find_dominators(struct loops *l)
{
    u32 n = l->r->nblocks;
    l->dom[0] = 1;
    for (u32 b = 1; b < n; b++)
        l->dom[b] = ~(block_set)0;
    for (bool changed = true; changed;) {
        changed = false;
        for (u32 b = 1; b < n; b++) {
            block_set dom = ~(block_set)0;
            for (block_set left = l->pred[b]; left; left &= left - 1)
                dom &= l->dom[first_block(left)];
            dom |= set_of(b);
            changed |= dom != l->dom[b];
            l->dom[b] = dom;
        }
    }
}

/* The head, and everything that leads to the jump back without passing it. */
static block_set body_of(const struct loops *l, u32 head, u32 latch)
{
    block_set body = set_of(head), todo = set_of(latch) & ~body;
    while (todo) {
        body |= todo;
        block_set next = 0;
        for (block_set left = todo; left; left &= left - 1)
            next |= l->pred[first_block(left)];
        todo = next & ~body;
    }
    return body;
}

/* Several jumps back to one head make one loop. But all that leads to the region's entry seems to have it
 * for its head, as control got in there: loops within loops, if they look like it. */
static void add_loop(struct loops *l, u32 head, block_set body)
{
    for (u32 i = 1; i < l->count; i++) {
        struct loop *x = &l->loop[i];
        block_set both = x->body & body;
        bool nested = !head && both != 1 && (both == body || both == x->body) && x->body != body;
        if (x->head == head && !nested) {
            x->body |= body;
            return;
        }
    }
    VEC_PUSH(l->loop, l->count, l->cap) = (struct loop){.head = head, .body = body};
}

static int by_size(const void *a, const void *b)
{
    const struct loop *x = a, *y = b;
    int p = count_blocks(x->body), q = count_blocks(y->body);
    return p != q ? q - p : (int)x->head - (int)y->head;
}

/* The innermost loop that the block is in, among the first `count`. */
static u32 loop_of(const struct loops *l, u32 block, u32 count)
{
    u32 i = count;
    while (--i && !(l->loop[i].body >> block & 1))
        ;
    return i;
}

static void find_loops(struct loops *l)
{
    const struct ir_region *r = l->r;
    VEC_PUSH(l->loop, l->count, l->cap) = (struct loop){.body = ~(block_set)0};
    for (u32 b = 0; b < r->nblocks; b++)
        each_successor(r, b, note_pred, l);
    find_dominators(l);
    for (u32 head = 0; head < r->nblocks; head++) {
        for (block_set left = l->pred[head]; left; left &= left - 1) {
            if (l->dom[first_block(left)] >> head & 1)
                add_loop(l, head, body_of(l, head, first_block(left)));
        }
    }
    qsort(l->loop + 1, l->count - 1, sizeof(*l->loop), by_size);
    for (u32 i = 1; i < l->count; i++)
        l->loop[i].parent = loop_of(l, l->loop[i].head, i);
}

/* ---- weights ---- */

#define MAX_EDGES (4 * IR_MAX_STATE_BLOCKS)
#define SWEEPS    32

/* How likely it is that control goes from one block to another, in parts of TURN. */
struct chance {
    u8 from, to;
    u16 share;
};

struct chances {
    struct chance edge[MAX_EDGES];
    u32 count;
};

static void add_chance(struct chances *c, u32 from, u32 to, u32 share)
{
    if (to != NONE && c->count < MAX_EDGES)
        c->edge[c->count++] = (struct chance){(u8)from, (u8)to, (u16)share};
}

/* Of what gets to a node, so much goes on behind it. Nobody has counted: each way of two is as likely as the other, but
 * for those that lead out of the region, as they were not seen to be taken. */
static u32 goes_on(const struct ir_region *r, const struct ir_node *n, u32 rest)
{
    return n->op == IR_EXIT_IF && ir_exit_block(r, n) != NONE ? rest / 2 : rest;
}

static void find_chances(const struct ir_region *r, struct chances *c)
{
    c->count = 0;
    for (u32 b = 0; b < r->nblocks; b++) {
        u32 rest = TURN;
        for (irv v = r->block[b].first; v < r->block[b].end; v++) {
            struct ways w = ways_at(r, &r->node[v]);
            u32 behind = goes_on(r, &r->node[v], rest);
            bool one_of_two = behind != rest || (w.to != NONE && w.other != NONE);
            add_chance(c, b, w.to, one_of_two ? rest / 2 : rest);
            add_chance(c, b, w.other, one_of_two ? rest / 2 : rest);
            rest = behind;
        }
    }
}

/* What flows from the loop's head comes to its blocks; what gets back to the head is the next turn's. */
static void weigh_blocks(struct loop *l, const struct chances *c)
{
    u32 now[IR_MAX_STATE_BLOCKS] = {0}, next[IR_MAX_STATE_BLOCKS];
    now[l->head] = TURN;
    for (int sweep = MIN(count_blocks(l->body), SWEEPS); sweep--;) {
        memset(next, 0, sizeof(next));
        for (u32 i = 0; i < c->count; i++) {
            const struct chance *e = &c->edge[i];
            next[e->to] += now[e->from] * e->share / TURN;
        }
        for (u32 b = 0; b < IR_MAX_STATE_BLOCKS; b++)
            now[b] = l->body >> b & 1 ? MIN(next[b], (u32)TURN * TRIPS) : 0;
        now[l->head] = TURN;
    }
    memcpy(l->weight, now, sizeof(now));
}

static void weigh_loops(struct loops *l)
{
    struct chances c;
    find_chances(l->r, &c);
    for (u32 i = 1; i < l->count; i++)
        weigh_blocks(&l->loop[i], &c);
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
        return ir_exit_block(r, n) == UINT32_MAX;
    default:
        return false;
    }
}

/* The slots among `now` that are not among `before` are used, with that weight. */
static void use(struct loop *loop, ra_slot_set before, const ra_slot_set now, u32 weight)
{
    for (unsigned k = 0; k < ARRAY_LEN(loop->put); k++) {
        for (u64 left = now[k] & ~before[k]; left; left &= left - 1)
            loop->used[k * 64 + ctz64(left)] += weight;
        before[k] |= now[k];
    }
}

static void weigh_block(const struct ir_region *r, struct loop *loop, u32 b, ra_slot_set put)
{
    ra_slot_set read = {0}, was_put = {0};
    struct ir_put list[IR_MAX_SLOTS];
    u32 weight = loop->weight[b];
    for (irv v = r->block[b].first; v < r->block[b].end; v++) {
        const struct ir_node *n = &r->node[v];
        const irv arg[3] = {n->a, n->b, n->c};
        struct ir_opinfo info = ir_info(n->op);
        ra_slot_set reads = {0};
        for (unsigned i = 0; i < info.nargs; i++) {
            if (ir_is_entry(arg[i]))
                ra_add_to_set(reads, ir_entry_slot(arg[i]));
        }
        unsigned nput = ir_has_map(n->op) ? ir_map_resolve(r, ir_node_map(n), list) : 0;
        for (unsigned i = 0; i < nput; i++) {
            ra_add_to_set(put, list[i].slot);
            if (ir_is_entry(list[i].value))
                ra_add_to_set(reads, ir_entry_slot(list[i].value));
        }
        use(loop, read, reads, weight);
        use(loop, was_put, put, weight);
        loop->crossed += crosses(r, n) ? weight : 0;
        weight = goes_on(r, n, weight);
    }
    for (unsigned k = 0; k < ARRAY_LEN(loop->put); k++)
        loop->put[k] |= put[k];
}

/* For the loop around it, a loop is one use of what it uses. */
static void pass_to_parent(struct loops *l, u32 i)
{
    const struct loop *in = &l->loop[i];
    struct loop *out = &l->loop[in->parent];
    for (unsigned s = 0; s < l->r->slots->count; s++)
        out->used[s] += ((in->used[s] != 0) + ra_in_set(in->put, s)) * out->weight[in->head];
    for (unsigned k = 0; k < ARRAY_LEN(in->put); k++)
        out->put[k] |= in->put[k];
}

/* A slot that is in memory on the other side of a boundary costs a load behind it, and if it changes a store
 * before it; one that is in a register there costs both the other way round. */
static s64 boundary(const struct ra_homes *beyond, const struct loop *l, unsigned s)
{
    return beyond->reg[s] != RA_NOREG ? 2 : -1 - (s64)ra_in_set(l->put, s);
}

/* What a register for the slot saves while the loop runs once. */
static s64 gain(const struct ra_homes *outer, const struct ra_homes *parent, const struct loop *l,
                unsigned s)
{
    return l->used[s] * TRIPS + boundary(outer, l, s) * l->crossed * TRIPS + boundary(parent, l, s) * TURN;
}

/* ---- choice ---- */

static unsigned best_slot(const struct ra *ra, const struct ra_homes *parent, const struct loop *l,
                          unsigned class, const ra_slot_set taken)
{
    const struct ir_slots *slots = ra->r->slots;
    unsigned best = IR_MAX_SLOTS;
    s64 most = 0;
    for (unsigned s = 0; s < slots->count; s++) {
        unsigned type = slots->slot[s].type;
        if (s == slots->pc || type == IR_FL || ra_class_of_type(type) != class ||
            ra_in_set(taken, s) || gain(&ra->outer, parent, l, s) <= most)
            continue;
        most = gain(&ra->outer, parent, l, s);
        best = s;
    }
    return best;
}

/* Those of the chosen that have a register in `like` get it, if it is free. */
static void keep_registers(struct ra_homes *h, const struct ra_homes *like, const unsigned *chosen,
                           unsigned count, u32 *left)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned reg = like->reg[chosen[i]];
        if (h->reg[chosen[i]] != RA_NOREG || reg == RA_NOREG || !(*left >> reg & 1))
            continue;
        add_home(h, chosen[i], reg);
        *left &= ~(1u << reg);
    }
}

static void choose(const struct ra *ra, const struct loop *l, const struct ra_homes *parent,
                   unsigned class, struct ra_homes *h)
{
    u32 left = ra->host->allocatable & (class ? 0xffff0000u : 0xffffu) & ~ra->host->scratch;
    unsigned room = (unsigned)__builtin_popcount(left), count = 0, chosen[RA_REGS];
    ra_slot_set taken = {0};
    while (count < room) {
        unsigned s = best_slot(ra, parent, l, class, taken);
        if (s == IR_MAX_SLOTS)
            break;
        ra_add_to_set(taken, s);
        chosen[count++] = s;
    }
    keep_registers(h, &ra->outer, chosen, count, &left);
    keep_registers(h, parent, chosen, count, &left);
    for (unsigned i = 0; i < count; i++) {
        if (h->reg[chosen[i]] == RA_NOREG) {
            add_home(h, chosen[i], ctz64(left));
            left &= left - 1;
        }
    }
}

static void choose_all(struct ra *ra, const struct loops *l)
{
    if (l->count > ra->inner_cap) {
        ra->inner_cap = l->count * 2;
        ra->inner = xrealloc(ra->inner, ra->inner_cap * sizeof(*ra->inner));
    }
    ra->inner[0] = ra->outer;
    for (u32 i = 1; i < l->count; i++) {
        struct ra_homes *h = &ra->inner[i];
        *h = ra->outer;
        if (!ir_with(ra->r, IR_PASS_HOMES))
            continue;
        no_homes(h);
        for (unsigned class = 0; class < 2; class++)
            choose(ra, &l->loop[i], &ra->inner[l->loop[i].parent], class, h);
        for (unsigned s = 0; s < ra->r->slots->count; s++) {
            if (h->reg[s] != ra->outer.reg[s])
                ra_add_to_set(h->apart, s);
        }
    }
}

/* ---- memory that is as good ---- */

struct flow {
    struct ra *ra;
    struct loops *l;
    bool changed;
};

/* A slot becomes dirty in a register when it is put there; whoever has it in memory, as all have at calls,
 * makes it clean. */
static void pass_dirt(void *opaque, u32 from, u32 to, bool call)
{
    struct flow *f = opaque;
    const struct ra_homes *h = ra_homes_of(f->ra, to);
    ra_slot_set in = {0};
    if (call)
        return;
    for (u32 i = 0; i < h->count; i++) {
        unsigned s = h->slot[i];
        if (ra_in_set(f->l->dirty[from], s) || ra_in_set(f->l->put[from], s))
            ra_add_to_set(in, s);
    }
    for (unsigned i = 0; i < ARRAY_LEN(in); i++) {
        f->changed |= (in[i] & ~f->l->dirty[to][i]) != 0;
        f->l->dirty[to][i] |= in[i];
    }
}

static void find_clean(struct ra *ra, struct loops *l)
{
    const struct ir_region *r = ra->r;
    struct flow f = {.ra = ra, .l = l, .changed = true};
    while (f.changed) {
        f.changed = false;
        for (u32 b = 0; b < r->nblocks; b++)
            each_successor(r, b, pass_dirt, &f);
    }
    for (u32 b = 0; b < r->nblocks; b++) {
        const struct ra_homes *h = ra_homes_of(ra, b);
        memset(ra->block[b].clean, 0, sizeof(ra_slot_set));
        for (u32 i = 0; i < h->count; i++) {
            unsigned s = h->slot[i];
            if (ra->outer.reg[s] == RA_NOREG && !ra_in_set(l->dirty[b], s))
                ra_add_to_set(ra->block[b].clean, s);
        }
    }
}

void ra_choose_homes(struct ra *ra)
{
    const struct ir_region *r = ra->r;
    if (ra->outer_slots != r->slots || ra->outer_host != ra->host) {
        outer_homes(ra, &ra->outer);
        ra->outer_slots = r->slots;
        ra->outer_host = ra->host;
    }
    if (!r->by_state)
        return;
    struct loops l = {.r = r, .put = xcalloc(r->nblocks, sizeof(ra_slot_set)),
                      .dirty = xcalloc(r->nblocks, sizeof(ra_slot_set))};
    if (r->nblocks > ra->block_cap) {
        ra->block_cap = r->nblocks * 2;
        ra->block = xrealloc(ra->block, ra->block_cap * sizeof(*ra->block));
    }
    find_loops(&l);
    weigh_loops(&l);
    for (u32 b = 0; b < r->nblocks; b++) {
        ra->block[b].homes = loop_of(&l, b, l.count);
        ra->block[b].heads = l.loop[ra->block[b].homes].head == b && ra->block[b].homes;
        weigh_block(r, &l.loop[ra->block[b].homes], b, l.put[b]);
    }
    for (u32 i = l.count; --i;)
        pass_to_parent(&l, i);
    choose_all(ra, &l);
    find_clean(ra, &l);
    free(l.loop);
    free(l.put);
    free(l.dirty);
}
