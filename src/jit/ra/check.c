/* The allocation checker: runs an allocation with names in place of numbers. Every register, spill and
 * slot holds the name of the IR value that it was last given; each operand must find the value that
 * the IR names, and wherever control may leave, each slot must be where the allocation says.
 *
 * It knows nothing of how the allocator decides, and shares no code with it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "jit/ir/env.h"
#include "jit/ra/ra.h"

struct checker {
    const struct ra *ra;
    struct err *e;
    irv reg[RA_REGS];
    irv slot[IR_MAX_SLOTS];
    irv spill[IR_SPILLS];
    irv state[IR_MAX_SLOTS]; /* the guest's state at the point looked at */
    u32 at;
    struct checker *side; /* the state to go on with behind a side exit */
    bool gone; /* a helper wrote the state */
    u32 edge;
};

#define RULE(cond, ...)                                                                            \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return err_set(c->e, EINVAL, __VA_ARGS__);                                             \
    } while (0)

static void set_homes(struct checker *c, const struct ra_homes *homes)
{
    memset(c->reg, 0, sizeof(c->reg));
    for (unsigned s = 0; s < c->ra->r->slots->count; s++) {
        c->slot[s] = homes->reg[s] == RA_NOREG ? s + 1 : 0;
        if (homes->reg[s] != RA_NOREG)
            c->reg[homes->reg[s]] = s + 1;
    }
}

/* Control comes from other regions. */
static void at_entry(struct checker *c)
{
    c->gone = false;
    set_homes(c, &c->ra->outer);
}

static void start_block(struct checker *c, u32 block)
{
    const struct ra *ra = c->ra;
    at_entry(c);
    set_homes(c, ra_homes_of(ra, block));
    for (unsigned s = 0; ra->r->by_state && s < ra->r->slots->count; s++) {
        if (ra_in_set(ra->block[block].clean, s))
            c->slot[s] = s + 1;
    }
    if (ra->r->by_state)
        return;
    for (irv v = IR_FIRST_NODE; v < ra->r->block[block].first; v++) {
        if (ra->value[v].cross && ra->value[v].spill)
            c->spill[ra->value[v].spill - 1] = v;
    }
    for (u32 i = 0; i < ra->r->block[block].nparams; i++) {
        irv v = ra->r->block[block].first + i;
        c->spill[ra->value[v].spill - 1] = v;
    }
}

static irv content(const struct checker *c, struct ra_loc at)
{
    switch (at.place) {
    case RA_IN_REG:
        return at.index < RA_REGS ? c->reg[at.index] : 0;
    case RA_IN_SLOT:
        return at.index < IR_MAX_SLOTS ? c->slot[at.index] : 0;
    case RA_IN_SPILL:
        return at.index < IR_SPILLS ? c->spill[at.index] : 0;
    case RA_IN_IMM:
        return at.index;
    default:
        return 0;
    }
}

static void set_memory(struct checker *c, struct ra_loc at, irv v)
{
    if (at.place == RA_IN_SLOT)
        c->slot[at.index] = v;
    else
        c->spill[at.index] = v;
}

static void find_state(struct checker *c, u32 map)
{
    struct ir_put put[IR_MAX_SLOTS];
    for (unsigned s = 0; s < c->ra->r->slots->count; s++)
        c->state[s] = s + 1;
    unsigned n = ir_map_resolve(c->ra->r, map, put);
    for (unsigned i = 0; i < n; i++)
        c->state[put[i].slot] = put[i].value;
}

static irv home(const struct checker *c, const struct ra_homes *homes, unsigned s)
{
    return homes->reg[s] == RA_NOREG ? c->slot[s] : c->reg[homes->reg[s]];
}

static bool check_homes(struct checker *c, const struct ra_homes *homes, u32 map)
{
    const struct ir_region *r = c->ra->r;
    if (c->gone)
        return true;
    find_state(c, map);
    for (unsigned s = 0; s < r->slots->count; s++)
        RULE(ir_is_undef(r, c->state[s]) || home(c, homes, s) == c->state[s],
             "step %u: %s leaves as v%u, not v%u", c->at, r->slots->slot[s].name, home(c, homes, s),
             c->state[s]);
    return true;
}

/* Control goes to a block of the region: its homes, and memory that it takes to be as good. */
static bool check_way_to(struct checker *c, u32 block, u32 map)
{
    const struct ir_region *r = c->ra->r;
    RULE(block < r->nblocks, "step %u: a way to block %u", c->at, block);
    RULE(!c->gone, "step %u: a way to b%u with state in the outer homes", c->at, block);
    if (!check_homes(c, ra_homes_of(c->ra, block), map))
        return false;
    for (unsigned s = 0; s < r->slots->count; s++)
        RULE(!ra_in_set(c->ra->block[block].clean, s) || c->slot[s] == c->state[s],
             "step %u: the memory of %s is v%u, not v%u", c->at, r->slots->slot[s].name, c->slot[s],
             c->state[s]);
    return true;
}

static bool check_listed(struct checker *c, const struct ra_where *w, irv want)
{
    const struct ir_region *r = c->ra->r;
    const char *name = r->slots->slot[w->slot].name;
    struct ir_recipe recipe;
    s64 by;
    if (w->at.place == RA_STEP) {
        RULE(ir_step(r, w->slot, want, &by) && by == ra_step(w->at), "step %u: %s has not moved on by %d", c->at, name,
             ra_step(w->at));
        return true;
    }
    if (w->at.place == RA_IN_FL) {
        RULE(w->at.index == want && ir_recipe(r, want, &recipe), "step %u: %s is not v%u", c->at,
             name, want);
        for (unsigned k = 0; k < recipe.count; k++)
            RULE(content(c, w->arg[k]) == recipe.arg[k],
                 "step %u: an operand of %s is said to be where v%u is, not v%u", c->at, name,
                 content(c, w->arg[k]), recipe.arg[k]);
        return true;
    }
    RULE(content(c, w->at) == want, "step %u: %s is said to be where v%u is, not v%u", c->at, name,
         content(c, w->at), want);
    return true;
}

static bool check_state(struct checker *c, const struct ra_state *st)
{
    const struct ra *ra = c->ra;
    u64 listed[IR_MAX_SLOTS / 64] = {0};
    find_state(c, st->map);
    for (u32 i = 0; i < st->count; i++) {
        const struct ra_where *w = &ra->where[st->first + i];
        if (w->at.place != RA_STEP)
            listed[w->slot / 64] |= 1ull << (w->slot & 63);
        if (!check_listed(c, w, c->state[w->slot]))
            return false;
    }
    for (unsigned s = 0; s < ra->r->slots->count; s++) {
        if (!(listed[s / 64] >> (s & 63) & 1))
            RULE(ir_is_undef(ra->r, c->state[s]) || home(c, &ra->outer, s) == c->state[s],
                 "step %u: %s is at home as v%u, not v%u", c->at, ra->r->slots->slot[s].name,
                 home(c, &ra->outer, s), c->state[s]);
    }
    return true;
}

static bool check_operands(struct checker *c, const struct ra_ins *i)
{
    const struct ra_con *con = &c->ra->use[i->v].con;
    for (unsigned k = 0; k < con->nsrc; k++) {
        if (con->imm >> k & 1)
            continue;
        RULE(i->src[k] < RA_REGS && c->reg[i->src[k]] == con->src[k],
             "step %u: operand %u of v%u is v%u in register %u, not v%u", c->at, k, i->v,
             i->src[k] < RA_REGS ? c->reg[i->src[k]] : 0, i->src[k], con->src[k]);
    }
    return true;
}

/* Temporaries and clobbered registers hold nothing afterwards; the result must not destroy what the
 * host still reads. */
static bool apply_op(struct checker *c, const struct ra_ins *i)
{
    const struct ra_con *con = &c->ra->use[i->v].con;
    unsigned ntmp = con->ntmp[0] + con->ntmp[1];
    for (unsigned k = 0; k < ntmp; k++) {
        for (unsigned j = 0; j < con->nsrc; j++)
            RULE(i->tmp[k] != i->src[j], "step %u: a temporary is an operand", c->at);
        RULE(i->tmp[k] != i->dst, "step %u: a temporary is the result", c->at);
        c->reg[i->tmp[k]] = 0;
    }
    for (unsigned j = 0; j < con->nsrc; j++)
        RULE(!(con->apart >> j & 1) || con->imm >> j & 1 || i->dst != i->src[j],
             "step %u: the result shares operand %u", c->at, j);
    for (unsigned reg = 0; reg < RA_REGS; reg++) {
        if (con->clobber >> reg & 1)
            c->reg[reg] = 0;
    }
    if (con->out_class)
        c->reg[i->dst] = i->v;
    return true;
}

static bool check_node(struct checker *c, const struct ra_ins *i)
{
    const struct ir_node *n = &c->ra->r->node[i->v];
    if (n->op == IR_JMP || n->op == IR_BR)
        return true; /* the comparison came before, the edges come after */
    if (ir_effects[n->op] & IR_E_TERM) {
        RULE(!n->a || n->op == IR_EXIT_BR || c->reg[c->ra->host->target] == n->a,
             "step %u: the target of v%u is not in its register", c->at, i->v);
        bool ok = check_homes(c, &c->ra->outer, n->c);
        at_entry(c); /* a call comes back */
        return ok;
    }
    if (!check_operands(c, i))
        return false;
    if (i->state && !check_state(c, &c->ra->state[i->state - 1]))
        return false;
    if (n->op == IR_HELPER) {
        u8 flags = c->ra->helpers[(u32)n->imm].flags;
        if (flags & (IR_HELPER_READS | IR_HELPER_WRITES) && !check_homes(c, &c->ra->outer, ir_node_map(n)))
            return false;
        for (unsigned s = 0; s < c->ra->r->slots->count; s++) { /* C sees pins in their slots */
            if (flags & (IR_HELPER_READS | IR_HELPER_WRITES) && c->ra->outer.reg[s] != RA_NOREG)
                c->slot[s] = c->reg[c->ra->outer.reg[s]];
        }
        c->gone |= flags & IR_HELPER_WRITES;
    }
    return apply_op(c, i);
}

static bool end_edge(struct checker *c)
{
    const struct ir_region *r = c->ra->r;
    const struct ir_edge *e = &r->edge[c->edge];
    for (unsigned s = 0; s < r->slots->count; s++)
        RULE(home(c, &c->ra->outer, s) == s + 1, "step %u: %s is not at home between blocks", c->at,
             r->slots->slot[s].name);
    for (u32 k = 0; k < e->count; k++) {
        irv param = r->block[e->block].first + k;
        RULE(c->spill[c->ra->value[param].spill - 1] == r->args[e->first + k],
             "step %u: argument %u of b%u is wrong", c->at, k, e->block);
    }
    return true;
}

static bool store_recipe(struct checker *c, const struct ra_ins *i)
{
    struct ir_recipe recipe;
    RULE(ir_recipe(c->ra->r, i->v, &recipe), "step %u: v%u is no recipe", c->at, i->v);
    for (unsigned k = 0; k < recipe.count; k++)
        RULE(i->src[k] == RA_IMM ? ir_is_const(c->ra->r, recipe.arg[k])
                                 : c->reg[i->src[k]] == recipe.arg[k],
             "step %u: the recipe of v%u has other operands", c->at, i->v);
    set_memory(c, i->loc, i->v);
    return true;
}

static bool step(struct checker *c, const struct ra_ins *i, struct checker *branch)
{
    irv t;
    switch (i->kind) {
    case RA_OP:
        return check_node(c, i);
    case RA_JUMP:
        if (!c->ra->r->by_state)
            return end_edge(c);
        return check_way_to(c, i->loc.index, i->v ? c->ra->r->node[i->v].c : 0);
    case RA_COND:
        return check_operands(c, i);
    case RA_MOVE:
        c->reg[i->dst] = c->reg[i->src[0]];
        return true;
    case RA_SWAP:
        t = c->reg[i->dst];
        c->reg[i->dst] = c->reg[i->src[0]];
        c->reg[i->src[0]] = t;
        return true;
    case RA_LOAD:
        RULE(content(c, i->loc) == i->v, "step %u: v%u is loaded from where v%u is", c->at, i->v,
             content(c, i->loc));
        c->reg[i->dst] = i->v;
        return true;
    case RA_STORE:
        set_memory(c, i->loc, c->reg[i->src[0]]);
        return true;
    case RA_CONST:
        c->reg[i->dst] = i->v;
        return true;
    case RA_STORE_IMM:
        set_memory(c, i->loc, i->v);
        return true;
    case RA_STORE_FL:
        return store_recipe(c, i);
    case RA_SIDE:
        *c->side = *c;
        return true;
    case RA_SIDE_END:
        if (i->loc.index ? !check_way_to(c, i->loc.index - 1, c->ra->r->node[i->v].c)
                         : !check_homes(c, &c->ra->outer, c->ra->r->node[i->v].c))
            return false;
        *c = *c->side;
        return true;
    case RA_BLOCK:
        start_block(c, i->v);
        return true;
    default: /* RA_EDGE: the second starts from the same state as the first */
        if (branch->ra)
            *c = *branch;
        else
            *branch = *c;
        c->edge = i->v;
        return true;
    }
}

bool ra_check(const struct ra *ra, struct err *e)
{
    struct checker side, c = {.ra = ra, .e = e, .side = &side}, branch = {0};
    at_entry(&c);
    for (u32 k = 0; k < ra->nins; k++) {
        c.at = k;
        if (ra->ins[k].kind == RA_BLOCK)
            branch.ra = NULL;
        if (!step(&c, &ra->ins[k], &branch))
            return false;
    }
    return true;
}
