/* The cheap allocator: for each block a backward walk that finds the next use of every operand and
 * until when each value belongs to the state, then a forward walk that hands out registers.
 *
 * A value is live while it has a next use or is part of the state of some later point where control
 * can leave. Values that only the state needs have no next use and so are evicted first; evicting
 * the current value of a slot writes the slot, which an exit would have to do anyway.
 *
 * In by_state regions a block ends as a region does, but with the slots in the homes that the region has
 * of its own; only where control enters or leaves the region do the moves to and from the outer homes
 * stand. Regions whose blocks use each other's values keep to a simple rule: at block boundaries the
 * homes hold the entry values, every value that another block uses has a spill of its own. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "jit/ir/env.h"
#include "jit/ra/ra.h"

#define FOREVER UINT32_MAX

/* A value before it was changed. */
struct undo {
    irv v;
    struct ra_value value;
};

struct work {
    irv reg_val[RA_REGS];
    irv mem_val[IR_MAX_SLOTS]; /* what the slot's memory holds; 0: nothing of use */
    irv cur[IR_MAX_SLOTS];     /* the state at the last point that may leave */
    u32 disturbed;             /* registers of outer homes whose value or whose slot's may have changed in this block */
    ra_slot_set watched;       /* slots that may be away from a home: put in this block, or apart */
    u32 superseded[IR_MAX_SLOTS];
    u32 entry_last[IR_MAX_SLOTS]; /* last node whose state has the slot's entry value in another place */
    u16 put_slot[IR_MAX_SLOTS];   /* those that superseded[] has something for */
    u32 nput_slots;
    struct ra_value entry[IR_MAX_SLOTS]; /* the entry values where a region is entered, for these; */
    irv entry_cur[IR_MAX_SLOTS], entry_mem[IR_MAX_SLOTS], entry_reg[RA_REGS]; /* cur, mem_val and reg_val there */
    const struct ir_slots *entry_slots;
    const struct ra_host *entry_host;
    u32 map;                   /* the map that cur[] shows */
    u32 locked;                /* registers in use by the node at hand */
    u64 spill_used[(IR_SPILLS + 63) / 64];
    u32 block_first, block_end;
    bool chained;              /* maps of this block build on each other */
    bool multi;                /* several blocks that use each other's values */
    u32 observer; /* the next node that may leave or call: sticky flags are to be there; 0: none */
    bool state_gone;           /* a helper wrote the state: all is at home */
    u32 leaving;               /* in the code of the side exit of this node; 0: none */
    struct undo *undo;         /* what that changes */
    u32 nundo, undo_cap;
    bool failed;
    const struct ra_homes *homes; /* of the block at hand */
};

void ra_init(struct ra *ra)
{
    memset(ra, 0, sizeof(*ra));
    ra->work = xcalloc(1, sizeof(struct work));
}

void ra_free(struct ra *ra)
{
    free(ra->ins);
    free(ra->state);
    free(ra->where);
    free(ra->value);
    free(ra->use);
    free(ra->inner);
    free(ra->block);
    if (ra->work)
        free(((struct work *)ra->work)->undo);
    free(ra->work);
    memset(ra, 0, sizeof(*ra));
}

/* ---- backward ---- */

static void extend_value(struct ra *ra, irv v, u32 until)
{
    struct work *w = ra->work;
    u32 *last = ir_is_entry(v) ? &w->entry_last[v - 1] : &ra->value[v].state_last;
    *last = MAX(*last, until);
}

static void extend_state(struct ra *ra, irv v, u32 until)
{
    struct ir_recipe recipe;
    extend_value(ra, v, until);
    if (!ir_recipe(ra->r, v, &recipe)) {
        ra->value[v].needed = true;
        return;
    }
    for (unsigned i = 0; i < recipe.count; i++) {
        extend_value(ra, recipe.arg[i], until);
        ra->value[recipe.arg[i]].needed = true;
    }
}

/* A state map seen from the end: a value belongs to the state until the last leaving node before the
 * map that supersedes it. */
static void backward_map(struct ra *ra, u32 p, u32 *later)
{
    struct work *w = ra->work;
    const struct ir_map *m = &ra->r->map[ir_node_map(&ra->r->node[p])];
    if (*later) {
        u32 next_map = ir_node_map(&ra->r->node[*later]), this_map = (u32)(m - ra->r->map);
        ra->use[*later].prev_leave = p;
        if (next_map != this_map && ra->r->map[next_map].parent != this_map)
            w->chained = false;
    }
    ra->use[p].prev_leave = 0;
    *later = p;
    for (u32 i = m->count; i-- > 0;) {
        const struct ir_put *put = &ra->r->put[m->first + i];
        u32 sup = w->superseded[put->slot];
        if (sup == p)
            continue; /* a later put of the same map */
        extend_state(ra, put->value, sup ? ra->use[sup].prev_leave : FOREVER);
        if (!sup)
            w->put_slot[w->nput_slots++] = (u16)put->slot;
        w->superseded[put->slot] = p;
        if (w->homes->reg[put->slot] != RA_NOREG)
            ra->value[put->value].hint = w->homes->reg[put->slot];
    }
}

static void use_operands(struct ra *ra, u32 p)
{
    struct ra_use *u = &ra->use[p];
    for (unsigned k = 0; k < u->con.nsrc; k++) {
        if (u->con.imm >> k & 1)
            continue;
        struct ra_value *x = &ra->value[u->con.src[k]];
        u->next[k] = x->next;
        x->next = p;
        x->needed = true;
    }
    for (unsigned k = 0; k < ARRAY_LEN(u->con.fused); k++) {
        if (u->con.fused[k])
            ra->value[u->con.fused[k]].fused = p;
    }
}

/* When maps do not build on each other, all that any of them names lives to the end. */
static void state_unchained(struct ra *ra)
{
    struct work *w = ra->work;
    struct ir_put put[IR_MAX_SLOTS];
    for (u32 p = w->block_first; p < w->block_end; p++) {
        if (!ir_has_map(ra->r->node[p].op))
            continue;
        unsigned n = ir_map_resolve(ra->r, ir_node_map(&ra->r->node[p]), put);
        for (unsigned i = 0; i < n; i++)
            extend_state(ra, put[i].value, FOREVER);
    }
}

static void backward(struct ra *ra)
{
    struct work *w = ra->work;
    const struct ir_region *r = ra->r;
    u32 later = 0;
    w->chained = true;
    w->observer = 0;
    w->nput_slots = 0;
    memset(w->superseded, 0, r->slots->count * sizeof(u32));
    memset(w->entry_last, 0, r->slots->count * sizeof(u32));
    for (u32 p = w->block_end; p-- > w->block_first;) {
        const struct ir_node *n = &r->node[p];
        struct ra_use *u = &ra->use[p];
        if (ir_has_map(n->op))
            backward_map(ra, p, &later);
        u32 observer = w->observer;
        if (n->op == IR_HELPER || (ir_effects[n->op] & (IR_E_LEAVE | IR_E_TERM)) == IR_E_LEAVE)
            w->observer = p;
        u->con.sunk = true;
        if (n->op == IR_CONST || n->op == IR_PARAM || n->op == IR_UNDEF)
            continue;
        if (ra->value[p].needed || ra->value[p].fused || ir_effects[n->op] != IR_E_PURE) {
            bool pure = ir_effects[n->op] & IR_E_PURE;
            if (pure && !ra->value[p].needed && n->type != IR_I1 && n->type != IR_FL)
                continue;
            ra->host->constrain(ra->host->opaque, r, p, ra->value[p].needed, w->block_first,
                                &u->con);
            /* A comparison that sets sticky flags is made where it stands if nobody else makes it, or
             * if somebody may look at the flags before that. */
            if (u->con.sunk && !pure &&
                (!ra->value[p].fused || (observer && observer < ra->value[p].fused)))
                u->con.sunk = false;
            if (!u->con.sunk)
                use_operands(ra, p);
            /* what is only widened on its way to a pinned slot may as well be made there */
            if (n->op == IR_ZX && ra->value[n->a].hint == RA_NOREG && !ir_is_entry(n->a))
                ra->value[n->a].hint = ra->value[p].hint;
        }
    }
    if (!w->chained || w->multi) {
        state_unchained(ra);
        return;
    }
    for (u32 i = 0; i < w->nput_slots; i++) {
        unsigned s = w->put_slot[i];
        ra->value[s + 1].state_last = MAX(w->entry_last[s], ra->use[w->superseded[s]].prev_leave);
    }
}

/* ---- forward ---- */

static struct ra_ins *emit(struct ra *ra, enum ra_kind kind)
{
    VEC_PUSH(ra->ins, ra->nins, ra->ins_cap) = (struct ra_ins){.kind = (u8)kind};
    return &ra->ins[ra->nins - 1];
}

static struct ra_loc loc(enum ra_place place, u32 index)
{
    return (struct ra_loc){.place = place, .index = index & 0x1fffffff};
}

static unsigned type_of(const struct ra *ra, irv v)
{
    return ir_value_type(ra->r, v);
}

static bool dead_after(const struct ra *ra, irv v, u32 p)
{
    const struct work *w = ra->work;
    if (w->leaving) /* nothing is wanted but the state */
        return ra->value[v].state_last < w->leaving;
    return !ra->value[v].next && ra->value[v].state_last <= p;
}

static bool in_slot(const struct ra *ra, irv v)
{
    const struct work *w = ra->work;
    u32 s = ra->value[v].slot;
    return s && w->mem_val[s - 1] == v;
}

/* Can the value be had without its register? */
static bool has_other_copy(const struct ra *ra, irv v)
{
    return ir_is_const(ra->r, v) || ra->value[v].spill || in_slot(ra, v);
}

/* The value is to be had elsewhere from here on. */
static struct ra_value *change(struct ra *ra, irv v)
{
    struct work *w = ra->work;
    if (w->leaving)
        VEC_PUSH(w->undo, w->nundo, w->undo_cap) = (struct undo){v, ra->value[v]};
    return &ra->value[v];
}

static void drop_reg(struct ra *ra, unsigned reg)
{
    struct work *w = ra->work;
    irv v = w->reg_val[reg];
    if (v && ra->value[v].reg == reg)
        change(ra, v)->reg = RA_NOREG;
    w->reg_val[reg] = 0;
    w->disturbed |= 1u << reg;
}

static void bind_reg(struct ra *ra, unsigned reg, irv v)
{
    struct work *w = ra->work;
    drop_reg(ra, reg);
    w->reg_val[reg] = v;
    change(ra, v)->reg = (u8)reg;
}

static u32 new_spill(struct ra *ra)
{
    struct work *w = ra->work;
    for (u32 i = 0; i < ARRAY_LEN(w->spill_used); i++) {
        unsigned bit = ctz64(~w->spill_used[i]);
        if (bit < 64 && i * 64 + bit < IR_SPILLS) {
            w->spill_used[i] |= 1ull << bit;
            ra->nspills = MAX(ra->nspills, i * 64 + bit + 1);
            return i * 64 + bit;
        }
    }
    w->failed = true;
    return 0;
}

static void store(struct ra *ra, struct ra_loc at, irv v)
{
    struct ra_ins *i = emit(ra, RA_STORE);
    i->src[0] = ra->value[v].reg;
    /* a slot is always written whole, also by a narrower value */
    i->type = at.place == RA_IN_SLOT ? ra->r->slots->slot[at.index].type : (u8)type_of(ra, v);
    i->loc = at;
    i->v = v;
}

/* May the slot's memory be given a new value, or does a live value sit only there? */
static bool slot_writable(const struct ra *ra, unsigned s, u32 p)
{
    const struct work *w = ra->work;
    irv u = w->mem_val[s];
    if (w->multi)
        return false;
    return !u || dead_after(ra, u, p) || ra->value[u].reg != RA_NOREG || ra->value[u].spill;
}

/* Make sure that the value of a register survives its loss, unless it is dead after `limit`. p is the node at hand,
 * whose state map may rely already on what slots hold. */
static void save_reg(struct ra *ra, unsigned reg, u32 limit, u32 p)
{
    struct work *w = ra->work;
    irv v = w->reg_val[reg];
    if (!v || dead_after(ra, v, limit) || ra->value[v].reg != reg || has_other_copy(ra, v))
        return;
    u32 s = ra->value[v].slot;
    if (s && w->cur[s - 1] == v && slot_writable(ra, s - 1, p - 1)) {
        store(ra, loc(RA_IN_SLOT, s - 1), v);
        w->mem_val[s - 1] = v;
    } else {
        u32 k = new_spill(ra);
        change(ra, v)->spill = (u16)(k + 1);
        store(ra, loc(RA_IN_SPILL, k), v);
    }
}

/* How much it hurts to lose this register: later uses hurt less, memory copies help. */
static u64 eviction_cost(const struct ra *ra, unsigned reg)
{
    const struct work *w = ra->work;
    irv v = w->reg_val[reg];
    u32 next = ra->value[v].next;
    u64 distance = next ? next - w->block_first : FOREVER;
    return ((u64)FOREVER * 2 - distance) * 2 + !has_other_copy(ra, v);
}

/* A register of the class that is not in `avoid`, emptied. before: the node's operands are still
 * live. */
static unsigned take_reg(struct ra *ra, unsigned class, u32 avoid, u32 p, bool before)
{
    struct work *w = ra->work;
    u32 pool = ra->host->allocatable & (class ? 0xffff0000u : 0xffffu) & ~avoid & ~w->locked;
    u32 limit = before ? p - 1 : p;
    unsigned best = RA_NOREG, best_free = RA_NOREG;
    u64 best_cost = ~0ull;
    for (u32 left = pool; left; left &= left - 1) {
        unsigned reg = (unsigned)__builtin_ctz(left);
        irv v = w->reg_val[reg];
        if (!v || ra->value[v].reg != reg || dead_after(ra, v, limit)) {
            if (!(w->homes->mask >> reg & 1)) {
                best_free = reg;
                break;
            }
            if (best_free == RA_NOREG)
                best_free = reg;
        } else if (best_free == RA_NOREG) {
            u64 cost = eviction_cost(ra, reg);
            if (cost < best_cost) {
                best_cost = cost;
                best = reg;
            }
        }
    }
    unsigned reg = best_free != RA_NOREG ? best_free : best;
    if (reg == RA_NOREG) {
        w->failed = true;
        return class ? RA_VEC : 0;
    }
    save_reg(ra, reg, limit, p);
    drop_reg(ra, reg);
    return reg;
}

static void load_value(struct ra *ra, unsigned reg, irv v)
{
    struct ra_ins *i;
    if (ir_is_const(ra->r, v)) {
        i = emit(ra, RA_CONST);
    } else {
        i = emit(ra, RA_LOAD);
        i->loc = ra->value[v].spill ? loc(RA_IN_SPILL, ra->value[v].spill - 1u)
                                    : loc(RA_IN_SLOT, ra->value[v].slot - 1u);
    }
    i->dst = (u8)reg;
    i->type = (u8)type_of(ra, v);
    i->v = v;
    bind_reg(ra, reg, v);
}

static unsigned want_in_reg(struct ra *ra, irv v, u32 avoid, u32 p)
{
    struct work *w = ra->work;
    if (ra->value[v].reg == RA_NOREG) {
        unsigned reg = take_reg(ra, ra_class_of_type(type_of(ra, v)), avoid, p, true);
        load_value(ra, reg, v);
    }
    w->locked |= 1u << ra->value[v].reg;
    return ra->value[v].reg;
}

static void set_cur(struct ra *ra, unsigned slot, irv v, u32 p)
{
    struct work *w = ra->work;
    w->cur[slot] = v;
    if (ra->outer.reg[slot] != RA_NOREG)
        w->disturbed |= 1u << ra->outer.reg[slot];
    /* for good: a slot that gets its entry value back may need to be written again */
    ra_add_to_set(w->watched, slot);
    /* Keep the slot whose memory holds the value, if there is one. */
    if (in_slot(ra, v))
        return;
    ra->value[v].slot = (u16)(slot + 1);
    /* What is there to stay goes home at once: there is one store in any case, and the register is free. */
    if (w->homes->reg[slot] == RA_NOREG && ra->value[v].state_last == FOREVER && !w->multi &&
        ra->value[v].reg != RA_NOREG && !ir_is_const(ra->r, v) && slot_writable(ra, slot, p - 1)) {
        store(ra, loc(RA_IN_SLOT, slot), v);
        w->mem_val[slot] = v;
    }
}

static void advance_state(struct ra *ra, u32 map, u32 p)
{
    struct work *w = ra->work;
    const struct ir_map *m = &ra->r->map[map];
    if (map == w->map)
        return;
    if (w->chained && m->parent == w->map) {
        for (u32 i = 0; i < m->count; i++)
            set_cur(ra, ra->r->put[m->first + i].slot, ra->r->put[m->first + i].value, p);
    } else {
        struct ir_put put[IR_MAX_SLOTS];
        for (unsigned s = 0; s < ra->r->slots->count; s++) {
            if (w->cur[s] != s + 1)
                set_cur(ra, s, s + 1, p);
        }
        unsigned n = ir_map_resolve(ra->r, map, put);
        for (unsigned i = 0; i < n; i++)
            set_cur(ra, put[i].slot, put[i].value, p);
    }
    w->map = map;
}

static struct ra_loc where_is(const struct ra *ra, irv v)
{
    const struct ra_value *x = &ra->value[v];
    if (ir_is_const(ra->r, v))
        return loc(RA_IN_IMM, v);
    if (x->reg != RA_NOREG)
        return loc(RA_IN_REG, x->reg);
    if (x->spill)
        return loc(RA_IN_SPILL, x->spill - 1u);
    return loc(RA_IN_SLOT, x->slot - 1u);
}

static bool made_from_recipe(const struct ra *ra, irv v, struct ir_recipe *recipe)
{
    return !ra->value[v].needed && ir_recipe(ra->r, v, recipe);
}

static bool at_home(const struct ra *ra, const struct ra_homes *homes, unsigned s)
{
    const struct work *w = ra->work;
    if (ir_is_undef(ra->r, w->cur[s]))
        return true;
    if (homes->reg[s] != RA_NOREG)
        return w->reg_val[homes->reg[s]] == w->cur[s];
    return w->mem_val[s] == w->cur[s];
}

static void record_slot(struct ra *ra, unsigned s)
{
    const struct work *w = ra->work;
    irv v = w->cur[s];
    if (at_home(ra, &ra->outer, s))
        return;
    struct ra_where x = {.slot = s};
    struct ir_recipe recipe;
    if (made_from_recipe(ra, v, &recipe)) {
        x.at = loc(RA_IN_FL, v);
        for (unsigned i = 0; i < recipe.count; i++)
            x.arg[i] = where_is(ra, recipe.arg[i]);
    } else {
        x.at = where_is(ra, v);
    }
    VEC_PUSH(ra->where, ra->nwhere, ra->where_cap) = x;
}

/* Flags from before the block may be made of what the slot was then (IR_SITE). */
static void record_step(struct ra *ra, unsigned s)
{
    const struct work *w = ra->work;
    s64 by;
    if (w->cur[s] < IR_FIRST_NODE || ra->r->slots->slot[s].type != IR_I64 || !ir_step(ra->r, s, w->cur[s], &by) ||
        by >= RA_MAX_STEP || by <= -RA_MAX_STEP)
        return;
    VEC_PUSH(ra->where, ra->nwhere, ra->where_cap) = (struct ra_where){.slot = s, .at = loc(RA_STEP, (u32)by)};
}

static bool has_flags_from_before(const struct ra *ra)
{
    const struct work *w = ra->work;
    unsigned s = ra->r->slots->flags;
    return s && w->cur[s] == s + 1;
}

/* Which slots are not at home, and where they are, for a node that may leave in its middle. */
static u32 record_state(struct ra *ra, u32 map)
{
    struct work *w = ra->work;
    struct ra_state st = {.map = map, .first = ra->nwhere};
    for (unsigned i = 0; i < ARRAY_LEN(w->watched); i++) {
        for (u64 left = w->watched[i]; left; left &= left - 1)
            record_slot(ra, i * 64 + ctz64(left));
    }
    for (u64 left = has_flags_from_before(ra) ? w->watched[0] : 0; left; left &= left - 1)
        record_step(ra, ctz64(left));
    for (u32 left = ra->outer.mask & w->disturbed; left; left &= left - 1) {
        unsigned reg = (unsigned)__builtin_ctz(left), s = ra->outer.at[reg];
        if (w->reg_val[reg] != w->cur[s] && !ra_in_set(w->watched, s))
            record_slot(ra, s);
    }
    st.count = ra->nwhere - st.first;
    VEC_PUSH(ra->state, ra->nstates, ra->state_cap) = st;
    return ra->nstates;
}

/* Free registers that a node destroys: move what lives in them. */
static void vacate(struct ra *ra, u32 regs, u32 p)
{
    struct work *w = ra->work;
    for (u32 left = regs; left; left &= left - 1) {
        unsigned reg = (unsigned)__builtin_ctz(left);
        irv v = w->reg_val[reg];
        if (v && ra->value[v].reg == reg && !dead_after(ra, v, p - 1)) {
            if (ra->value[v].next && !ir_is_const(ra->r, v)) {
                unsigned to = take_reg(ra, reg >= RA_VEC, regs, p, true);
                struct ra_ins *i = emit(ra, RA_MOVE);
                i->dst = (u8)to;
                i->src[0] = (u8)reg;
                i->type = (u8)type_of(ra, v);
                i->v = v;
                drop_reg(ra, reg);
                bind_reg(ra, to, v);
                continue;
            }
            save_reg(ra, reg, p - 1, p);
        }
        drop_reg(ra, reg);
    }
}

static unsigned choose_result(struct ra *ra, irv v, const struct ra_con *con, u32 avoid, u32 p)
{
    struct work *w = ra->work;
    unsigned hint = ra->value[v].hint;
    if (con->out != RA_NOREG) {
        drop_reg(ra, con->out);
        return con->out;
    }
    u32 blocked = avoid | w->locked | con->clobber;
    if (hint != RA_NOREG && hint / RA_VEC == (unsigned)(con->out_class - 1) &&
        !(blocked >> hint & 1)) {
        irv u = w->reg_val[hint];
        if (!u || ra->value[u].reg != hint || dead_after(ra, u, p)) {
            drop_reg(ra, hint);
            return hint;
        }
    }
    for (unsigned k = 0; k < con->nsrc; k++) { /* an operand that dies here lends its register */
        if (con->imm >> k & 1 || con->apart >> k & 1)
            continue;
        unsigned reg = ra->value[con->src[k]].reg;
        if (reg != RA_NOREG && reg / RA_VEC == (unsigned)(con->out_class - 1) &&
            !(blocked >> reg & 1) && dead_after(ra, con->src[k], p)) {
            drop_reg(ra, reg);
            return reg;
        }
    }
    return take_reg(ra, con->out_class - 1u, avoid | con->clobber, p, false);
}

static void retire_operands(struct ra *ra, u32 p)
{
    struct ra_use *u = &ra->use[p];
    for (unsigned k = u->con.nsrc; k-- > 0;) {
        if (!(u->con.imm >> k & 1))
            ra->value[u->con.src[k]].next = u->next[k];
    }
}

static void keep_cross(struct ra *ra, irv v)
{
    if (!ra->value[v].cross)
        return;
    if (!ra->value[v].spill)
        ra->value[v].spill = (u16)(new_spill(ra) + 1);
    store(ra, loc(RA_IN_SPILL, ra->value[v].spill - 1u), v);
}

/* `avoid`: registers that operands may not be brought into. */
static void allocate_op(struct ra *ra, u32 p, u32 avoid)
{
    struct work *w = ra->work;
    const struct ra_con *con = &ra->use[p].con;
    struct ra_ins op = {.kind = RA_OP, .v = p, .dst = RA_NOREG};
    w->locked = 0;
    vacate(ra, con->clobber, p);
    for (unsigned k = 0; k < con->nsrc; k++) /* those in registers first, so that none is evicted */
        if (!(con->imm >> k & 1) && ra->value[con->src[k]].reg != RA_NOREG)
            w->locked |= 1u << ra->value[con->src[k]].reg;
    for (unsigned k = 0; k < con->nsrc; k++)
        op.src[k] = con->imm >> k & 1
                        ? RA_IMM
                        : (u8)want_in_reg(ra, con->src[k], con->clobber | avoid, p);
    unsigned ntmp = 0;
    for (unsigned class = 0; class < 2; class++) {
        for (unsigned i = 0; i < con->ntmp[class]; i++) {
            unsigned reg = take_reg(ra, class, con->clobber | avoid, p, true);
            w->locked |= 1u << reg;
            op.tmp[ntmp++] = (u8)reg;
        }
    }
    u32 apart = 0, temps = 0;
    for (unsigned i = 0; i < ntmp; i++)
        temps |= 1u << op.tmp[i];
    for (unsigned k = 0; k < con->nsrc; k++)
        if (op.src[k] < RA_REGS && con->apart >> k & 1)
            apart |= 1u << op.src[k];
    if (ir_effects[ra->r->node[p].op] & IR_E_LEAVE)
        op.state = record_state(ra, ir_node_map(&ra->r->node[p]));
    retire_operands(ra, p);
    w->locked = apart | temps;
    if (con->out_class) {
        op.dst = (u8)choose_result(ra, p, con, 0, p);
        op.type = (u8)type_of(ra, p);
    }
    *emit(ra, RA_OP) = op;
    if (con->out_class) {
        bind_reg(ra, op.dst, p);
        keep_cross(ra, p);
    }
    w->locked = 0;
}

/* ---- bringing state home ---- */

struct pending {
    u8 dst;
    irv v;
};

/* Registers that hold the only copy of what a pending move still needs. */
static bool blocks(const struct ra *ra, const struct pending *pend, unsigned n, unsigned dst,
                   unsigned self)
{
    const struct work *w = ra->work;
    irv u = w->reg_val[dst];
    if (!u || ra->value[u].reg != dst)
        return false;
    for (unsigned i = 0; i < n; i++) {
        if (i != self && pend[i].v == u)
            return true;
    }
    return false;
}

static void move_into(struct ra *ra, unsigned dst, irv v, u32 p)
{
    struct work *w = ra->work;
    irv u = w->reg_val[dst];
    if (u && u != v)
        save_reg(ra, dst, p, p);
    if (ra->value[v].reg == RA_NOREG) {
        load_value(ra, dst, v);
        return;
    }
    struct ra_ins *i = emit(ra, RA_MOVE);
    i->dst = (u8)dst;
    i->src[0] = ra->value[v].reg;
    i->type = (u8)type_of(ra, v);
    i->v = v;
    /* The old register keeps a second copy that nobody tracks. */
    bind_reg(ra, dst, v);
}

static void swap_registers(struct ra *ra, unsigned dst, irv v)
{
    struct work *w = ra->work;
    unsigned from = ra->value[v].reg;
    irv u = w->reg_val[dst];
    struct ra_ins *i = emit(ra, RA_SWAP);
    i->dst = (u8)dst;
    i->src[0] = (u8)from;
    i->type = (u8)type_of(ra, v);
    i->v = v;
    w->reg_val[dst] = v;
    w->reg_val[from] = u;
    w->disturbed |= 1u << dst | 1u << from;
    change(ra, v)->reg = (u8)dst;
    change(ra, u)->reg = (u8)from;
}

/* Moves as if they happened at once. */
static void parallel_moves(struct ra *ra, struct pending *pend, unsigned n, u32 p)
{
    while (n) {
        bool progress = false;
        for (unsigned i = 0; i < n; i++) {
            if (blocks(ra, pend, n, pend[i].dst, i))
                continue;
            struct pending move = pend[i];
            pend[i--] = pend[--n];
            move_into(ra, move.dst, move.v, p);
            progress = true;
        }
        if (!progress) {
            struct pending move = pend[--n];
            swap_registers(ra, move.dst, move.v);
        }
    }
}

/* A value may be wanted in two registers: after the first move the tracked copy is the new one, so
 * the second move reads that. */
static unsigned pending_homes(struct ra *ra, const struct ra_homes *homes, struct pending *pend,
                              bool entry_values)
{
    struct work *w = ra->work;
    unsigned n = 0;
    u32 all = homes == &ra->outer && !entry_values ? homes->mask & w->disturbed : homes->mask;
    for (u32 left = all; left; left &= left - 1) {
        unsigned reg = (unsigned)__builtin_ctz(left), s = homes->at[reg];
        irv v = entry_values ? s + 1 : w->cur[s];
        if (!ir_is_undef(ra->r, v) && (w->reg_val[reg] != v || ra->value[v].reg == RA_NOREG))
            pend[n++] = (struct pending){(u8)reg, v};
    }
    return n;
}

/* At an exit entry values are no longer wanted, though in regions of several blocks they count as
 * live to the end. It matters for flags: loading them would change the host's between a comparison and
 * its jump. */
static bool done_with_flags(const struct ra *ra, irv old, u32 p)
{
    unsigned op = ra->r->node[p].op;
    return type_of(ra, old) == IR_FL && (ir_effects[op] & IR_E_TERM) && op != IR_JMP &&
           op != IR_BR;
}

static void store_slot(struct ra *ra, unsigned s, u32 p)
{
    struct work *w = ra->work;
    irv v = w->cur[s], old = w->mem_val[s];
    if (old && old != v && !dead_after(ra, old, p) && !done_with_flags(ra, old, p) &&
        ra->value[old].reg == RA_NOREG && !ra->value[old].spill) {
        w->locked = 0;
        want_in_reg(ra, old, 0, p);
    }
    w->mem_val[s] = 0;
    w->locked = 0;
    struct ir_recipe recipe;
    if (made_from_recipe(ra, v, &recipe)) {
        u8 src[RA_MAX_SRC];
        memset(src, RA_IMM, sizeof(src));
        for (unsigned k = 0; k < recipe.count; k++) {
            if (!ir_is_const(ra->r, recipe.arg[k]))
                src[k] = (u8)want_in_reg(ra, recipe.arg[k], 0, p);
        }
        struct ra_ins *i = emit(ra, RA_STORE_FL);
        i->loc = loc(RA_IN_SLOT, s);
        i->v = v;
        memcpy(i->src, src, sizeof(src));
    } else if (ir_is_const(ra->r, v) && !ir_type_is_vec(type_of(ra, v))) {
        struct ra_ins *i = emit(ra, RA_STORE_IMM);
        i->loc = loc(RA_IN_SLOT, s);
        i->v = v;
        i->type = ra->r->slots->slot[s].type;
    } else {
        want_in_reg(ra, v, 0, p);
        store(ra, loc(RA_IN_SLOT, s), v);
    }
    w->locked = 0;
    w->mem_val[s] = v;
    change(ra, v)->slot = (u16)(s + 1);
}

/* Bring every slot home; `extra` moves (the target of an indirect exit) join the parallel ones. */
static void sync_state(struct ra *ra, u32 p, const struct ra_homes *homes, struct pending *extra,
                       unsigned nextra)
{
    struct work *w = ra->work;
    struct pending pend[RA_REGS + 2];
    unsigned n = 0;
    if (!w->state_gone) {
        for (unsigned i = 0; i < ARRAY_LEN(w->watched); i++) {
            for (u64 left = w->watched[i] | homes->apart[i]; left; left &= left - 1) {
                unsigned s = i * 64 + ctz64(left);
                if (homes->reg[s] == RA_NOREG && !at_home(ra, homes, s))
                    store_slot(ra, s, p);
            }
        }
        n = pending_homes(ra, homes, pend, false);
    }
    for (unsigned i = 0; i < nextra; i++)
        pend[n++] = extra[i];
    parallel_moves(ra, pend, n, p);
}

/* ---- ends of blocks ---- */

static void copy_args(struct ra *ra, u32 edge, u32 p)
{
    const struct ir_edge *e = &ra->r->edge[edge];
    u32 first = ra->r->block[e->block].first;
    u16 tmp[64];
    if (e->count > ARRAY_LEN(tmp)) {
        ((struct work *)ra->work)->failed = true;
        return;
    }
    for (unsigned pass = 0; pass < 2; pass++) {
        for (u32 i = 0; i < e->count; i++) {
            irv arg = ra->r->args[e->first + i];
            struct work *w = ra->work;
            w->locked = 0;
            if (!pass) {
                want_in_reg(ra, arg, 0, p);
                tmp[i] = (u16)new_spill(ra);
                store(ra, loc(RA_IN_SPILL, tmp[i]), arg);
                continue;
            }
            irv param = first + i;
            unsigned reg = take_reg(ra, ra_class_of_type(type_of(ra, param)), 0, p, true);
            struct ra_ins *ld = emit(ra, RA_LOAD);
            ld->dst = (u8)reg;
            ld->type = (u8)type_of(ra, arg);
            ld->loc = loc(RA_IN_SPILL, tmp[i]);
            ld->v = arg;
            struct ra_ins *st = emit(ra, RA_STORE);
            st->src[0] = (u8)reg;
            st->type = (u8)type_of(ra, param);
            st->loc = loc(RA_IN_SPILL, ra->value[param].spill - 1u);
            st->v = arg;
        }
    }
}

/* A helper that reads the state had it in the slots: between blocks the entry values are there. */
static void restore_slots(struct ra *ra, u32 p)
{
    struct work *w = ra->work;
    for (unsigned s = 0; s < ra->r->slots->count; s++) {
        if (ra->outer.reg[s] == RA_NOREG && w->mem_val[s] != s + 1) {
            w->cur[s] = s + 1;
            store_slot(ra, s, p);
        }
    }
}

static void finish_branch(struct ra *ra, u32 p)
{
    struct work *w = ra->work;
    const struct ir_node *n = &ra->r->node[p];
    const struct ra_con *con = &ra->use[p].con;
    struct ra_ins op = {.kind = RA_COND, .v = p};
    struct pending pend[RA_REGS];
    restore_slots(ra, p);
    w->locked = 0;
    for (unsigned k = 0; k < con->nsrc; k++)
        op.src[k] = con->imm >> k & 1 ? RA_IMM : (u8)want_in_reg(ra, con->src[k], 0, p);
    for (unsigned i = 0; i < con->ntmp[0]; i++)
        op.tmp[i] = (u8)take_reg(ra, 0, 0, p, true);
    if (n->op == IR_BR)
        *emit(ra, RA_COND) = op;
    retire_operands(ra, p);
    w->locked = 0;
    parallel_moves(ra, pend, pending_homes(ra, &ra->outer, pend, true), p);
    op.kind = RA_OP;
    *emit(ra, RA_OP) = op;
    const u32 edge[2] = {n->b, n->c};
    for (unsigned i = 0; i < (n->op == IR_BR ? 2u : 1u); i++) {
        struct work saved = *w;
        struct ra_value *values = xmalloc(ra->r->count * sizeof(*values));
        memcpy(values, ra->value, ra->r->count * sizeof(*values));
        emit(ra, RA_EDGE)->v = edge[i];
        copy_args(ra, edge[i], p);
        parallel_moves(ra, pend, pending_homes(ra, &ra->outer, pend, true), p);
        saved.failed |= w->failed;
        memcpy(ra->value, values, ra->r->count * sizeof(*values));
        *w = saved;
        free(values);
        emit(ra, RA_JUMP)->loc.index = ra->r->edge[edge[i]].block & 0x1fffffff;
    }
}

/* The comparison of a conditional exit, whose operands are done with then. */
static struct ra_ins allocate_condition(struct ra *ra, u32 p)
{
    struct work *w = ra->work;
    const struct ra_con *con = &ra->use[p].con;
    struct ra_ins op = {.kind = RA_COND, .v = p};
    w->locked = 0;
    for (unsigned k = 0; k < con->nsrc; k++)
        op.src[k] = con->imm >> k & 1 ? RA_IMM : (u8)want_in_reg(ra, con->src[k], 0, p);
    for (unsigned i = 0; i < con->ntmp[0]; i++)
        op.tmp[i] = (u8)take_reg(ra, 0, 0, p, true);
    *emit(ra, RA_COND) = op;
    w->locked = 0;
    retire_operands(ra, p);
    return op;
}

/* The block of the region that an exit leads to, plus 1; 0 when control has to leave: there is none, or a helper
 * wrote the state, which is then in the outer homes. */
static u32 block_of_exit(const struct ra *ra, u32 p)
{
    const struct work *w = ra->work;
    return w->state_gone ? 0 : ir_exit_block(ra->r, &ra->r->node[p]) + 1;
}

static const struct ra_homes *homes_at(const struct ra *ra, u32 block)
{
    return block ? ra_homes_of(ra, block - 1) : &ra->outer;
}

/* The way to n->imm of a conditional exit: bring the state home, out of line, then go on as if nothing
 * had happened. */
static void allocate_side(struct ra *ra, u32 p)
{
    struct work *w = ra->work;
    u32 block = block_of_exit(ra, p);
    const struct ra_homes *homes = homes_at(ra, block);
    emit(ra, RA_SIDE)->v = p;
    irv reg_val[RA_REGS], mem_val[IR_MAX_SLOTS];
    u64 spill_used[ARRAY_LEN(w->spill_used)];
    size_t mem_size = ra->r->slots->count * sizeof(*mem_val);
    memcpy(reg_val, w->reg_val, sizeof(reg_val));
    memcpy(mem_val, w->mem_val, mem_size);
    memcpy(spill_used, w->spill_used, sizeof(spill_used));
    w->locked = 0;
    w->leaving = p;
    sync_state(ra, p, homes, NULL, 0);
    w->leaving = 0;
    w->locked = 0;
    memcpy(w->reg_val, reg_val, sizeof(reg_val));
    memcpy(w->mem_val, mem_val, mem_size);
    memcpy(w->spill_used, spill_used, sizeof(spill_used));
    for (; w->nundo; w->nundo--)
        ra->value[w->undo[w->nundo - 1].v] = w->undo[w->nundo - 1].value;
    struct ra_ins *end = emit(ra, RA_SIDE_END);
    end->v = p;
    end->loc.index = block & 0x1fffffff;
}

static void jump_to_block(struct ra *ra, u32 p, u32 block)
{
    sync_state(ra, p, homes_at(ra, block), NULL, 0);
    struct ra_ins *jump = emit(ra, RA_JUMP);
    jump->v = p;
    jump->loc.index = (block - 1) & 0x1fffffff;
}

/* The state goes home before the two ways out part. */
static void finish_conditional(struct ra *ra, u32 p)
{
    struct ra_ins op = allocate_condition(ra, p);
    sync_state(ra, p, &ra->outer, NULL, 0);
    op.kind = RA_OP;
    *emit(ra, RA_OP) = op;
}

/* The state is in the outer homes: a region or a return site is entered. fresh: entry values are as clear_entries()
 * has left them. */
static void start_state(struct ra *ra, bool fresh)
{
    struct work *w = ra->work;
    const unsigned count = ra->r->slots->count;
    memcpy(w->cur, w->entry_cur, count * sizeof(*w->cur));
    memcpy(w->mem_val, w->entry_mem, count * sizeof(*w->mem_val));
    memcpy(w->reg_val, w->entry_reg, sizeof(w->reg_val));
    memset(w->watched, 0, sizeof(w->watched));
    w->disturbed = 0;
    w->map = 0;
    w->state_gone = false;
    for (unsigned s = 0; s < count && !fresh; s++) {
        ra->value[s + 1].slot = w->entry[s].slot;
        ra->value[s + 1].spill = w->entry[s].spill;
        ra->value[s + 1].reg = w->entry[s].reg;
    }
}

/* Behind an entry or a return: from the outer homes into block `block`. */
static void enter_block(struct ra *ra, u32 block)
{
    struct work *w = ra->work;
    start_state(ra, false);
    for (unsigned s = 0; s < ra->r->slots->count; s++) {
        ra->value[s + 1].next = 0;
        ra->value[s + 1].state_last = FOREVER;
    }
    w->leaving = 1;
    sync_state(ra, 1, ra_homes_of(ra, block), NULL, 0);
    w->leaving = w->nundo = 0;
    emit(ra, RA_JUMP)->loc.index = block & 0x1fffffff;
}

static void finish_exit(struct ra *ra, u32 p)
{
    struct work *w = ra->work;
    const struct ir_node *n = &ra->r->node[p];
    struct pending target = {ra->host->target, n->a};
    struct ra_ins op = {.kind = RA_OP, .v = p};
    u32 block = n->op == IR_EXIT_LINK ? block_of_exit(ra, p) : 0;
    w->locked = 0;
    if (block) {
        jump_to_block(ra, p, block);
        return;
    }
    sync_state(ra, p, &ra->outer, &target, n->a != 0); /* it stays live until it is in its place */
    *emit(ra, RA_OP) = op;
    bool call = n->op == IR_CALL || n->op == IR_CALL_IND;
    u32 back = call ? ir_return_block(ra->r, n) + 1 : 0;
    if (back)
        enter_block(ra, back - 1);
}

/* A call that shows the state to C writes pinned registers to their slots: what else lived there
 * moves out first. */
static void clear_pinned_slots(struct ra *ra, u32 p)
{
    struct work *w = ra->work;
    for (u32 i = 0; i < ra->outer.count; i++) {
        unsigned s = ra->outer.slot[i];
        irv u = w->mem_val[s];
        if (u && u != w->cur[s] && !dead_after(ra, u, p - 1) && !ra->value[u].spill) {
            w->locked = 0;
            want_in_reg(ra, u, 0, p);
            u32 k = new_spill(ra);
            ra->value[u].spill = (u16)(k + 1);
            store(ra, loc(RA_IN_SPILL, k), u);
        }
    }
}

static void allocate_helper(struct ra *ra, u32 p)
{
    struct work *w = ra->work;
    u8 flags = ra->helpers[(u32)ra->r->node[p].imm].flags;
    u32 pins = 0;
    if (flags & (IR_HELPER_READS | IR_HELPER_WRITES)) {
        clear_pinned_slots(ra, p);
        sync_state(ra, p - 1, &ra->outer, NULL, 0);
        pins = ra->outer.mask;
        for (u32 i = 0; i < ra->outer.count; i++)
            w->mem_val[ra->outer.slot[i]] = 0; /* about to be written; no need to rely on it */
    }
    allocate_op(ra, p, pins);
    if (flags & IR_HELPER_WRITES)
        w->state_gone = true;
}

static void forward(struct ra *ra)
{
    struct work *w = ra->work;
    for (u32 p = w->block_first; p < w->block_end && !w->failed; p++) {
        const struct ir_node *n = &ra->r->node[p];
        if (ir_has_map(n->op))
            advance_state(ra, ir_node_map(n), p);
        if (n->op == IR_JMP || n->op == IR_BR)
            finish_branch(ra, p);
        else if (n->op == IR_EXIT_BR)
            finish_conditional(ra, p);
        else if (ir_effects[n->op] & IR_E_TERM)
            finish_exit(ra, p);
        else if (n->op == IR_EXIT_IF) {
            allocate_condition(ra, p);
            allocate_side(ra, p);
        } else if (n->op == IR_HELPER)
            allocate_helper(ra, p);
        else if (!ra->use[p].con.sunk)
            allocate_op(ra, p, 0);
    }
}

/* Between the blocks of a by_state region slots are in the inner homes, and those that no way to the
 * block has changed in their memory, too. */
static void start_block(struct ra *ra, u32 block)
{
    struct work *w = ra->work;
    start_state(ra, !w->multi || !block);
    if (!ra->r->by_state)
        return;
    memset(w->reg_val, 0, sizeof(w->reg_val));
    w->disturbed = ~0u;
    memcpy(w->watched, w->homes->apart, sizeof(w->watched));
    for (unsigned s = 0; s < ra->r->slots->count; s++) {
        bool in_memory = w->homes->reg[s] == RA_NOREG || ra_in_set(ra->block[block].clean, s);
        w->mem_val[s] = in_memory ? s + 1 : 0;
        ra->value[s + 1].reg = RA_NOREG;
    }
    for (u32 i = 0; i < w->homes->count; i++)
        bind_reg(ra, w->homes->reg[w->homes->slot[i]], w->homes->slot[i] + 1u);
}

static void clear_values(struct ra *ra)
{
    for (irv v = IR_FIRST_NODE; v < ra->r->count; v++)
        ra->value[v] = (struct ra_value){.reg = RA_NOREG, .hint = RA_NOREG};
}

static void make_entries(struct ra *ra)
{
    struct work *w = ra->work;
    memset(w->entry_reg, 0, sizeof(w->entry_reg));
    for (unsigned s = 0; s < ra->r->slots->count; s++) {
        unsigned reg = ra->outer.reg[s];
        w->entry[s] = (struct ra_value){.slot = (u16)(s + 1), .reg = (u8)reg, .hint = RA_NOREG,
                                        .state_last = FOREVER, .needed = true};
        w->entry_cur[s] = s + 1;
        w->entry_mem[s] = reg == RA_NOREG ? s + 1 : 0;
        if (reg != RA_NOREG)
            w->entry_reg[reg] = s + 1;
    }
    w->entry_slots = ra->r->slots;
    w->entry_host = ra->host;
}

/* Entry values as they are at the entry of a region, part of the state until something supersedes them. */
static void clear_entries(struct ra *ra)
{
    struct work *w = ra->work;
    if (w->entry_slots != ra->r->slots || w->entry_host != ra->host)
        make_entries(ra);
    memcpy(&ra->value[1], w->entry, ra->r->slots->count * sizeof(*w->entry));
}

/* Blocks after the first start with nothing in registers but the pins; what lives across is in
 * spills, and spills that are not stay free for each block. */
static void next_block(struct ra *ra)
{
    for (irv v = 1; v < ra->r->count; v = v == ra->r->slots->count ? IR_FIRST_NODE : v + 1) {
        struct ra_value *x = &ra->value[v];
        x->next = 0;
        x->state_last = ir_is_entry(v) ? FOREVER : 0;
        x->reg = x->hint = RA_NOREG;
        x->needed = x->cross || ir_is_entry(v);
        x->fused = 0;
    }
}

/* Blocks of a by_state region share nothing but the names of entry values. */
static void independent_block(struct ra *ra)
{
    struct work *w = ra->work;
    clear_entries(ra);
    memset(w->spill_used, 0, sizeof(w->spill_used));
}

static void mark_cross(struct ra *ra, irv v, const struct ir_block *block)
{
    if (v >= IR_FIRST_NODE && (v < block->first || v >= block->end))
        ra->value[v].cross = ra->value[v].needed = true;
}

static void find_cross(struct ra *ra)
{
    const struct ir_region *r = ra->r;
    struct ir_put put[IR_MAX_SLOTS];
    for (u32 b = 0; b < r->nblocks; b++) {
        const struct ir_block *block = &r->block[b];
        for (irv v = block->first; v < block->end; v++) {
            const struct ir_node *n = &r->node[v];
            struct ir_opinfo info = ir_info(n->op);
            const irv arg[3] = {n->a, n->b, n->c};
            for (unsigned i = 0; i < info.nargs; i++)
                mark_cross(ra, arg[i], block);
            if (n->op == IR_PARAM) {
                ra->value[v].cross = ra->value[v].needed = true;
                ra->value[v].spill = (u16)(new_spill(ra) + 1);
            }
            unsigned nput = ir_has_map(n->op) ? ir_map_resolve(r, ir_node_map(n), put) : 0;
            for (unsigned i = 0; i < nput; i++) {
                irv x = put[i].value;
                mark_cross(ra, x, block);
                struct ir_recipe recipe;
                ir_recipe(r, x, &recipe);
                for (unsigned k = 0; k < recipe.count; k++)
                    mark_cross(ra, recipe.arg[k], block);
            }
        }
    }
    for (u32 i = 0; i < r->nargs; i++) {
        irv v = r->args[i];
        if (v >= IR_FIRST_NODE)
            ra->value[v].cross = ra->value[v].needed = true;
    }
}

bool ra_local(struct ra *ra, const struct ir_region *r, const struct ra_host *host,
              const struct ir_helper *helpers)
{
    struct work *w = ra->work;
    ra->r = r;
    ra->host = host;
    ra->helpers = helpers;
    ra->nins = ra->nstates = ra->nwhere = ra->nspills = 0;
    if (r->count > ra->value_cap) {
        ra->value_cap = r->count + r->count / 2;
        ra->value = xrealloc(ra->value, ra->value_cap * sizeof(*ra->value));
        ra->use = xrealloc(ra->use, ra->value_cap * sizeof(*ra->use));
    }
    w->failed = false;
    w->leaving = 0;
    w->multi = r->nblocks > 1 && !r->by_state;
    memset(w->spill_used, 0, sizeof(w->spill_used));
    ra_choose_homes(ra);
    w->homes = &ra->outer;
    clear_entries(ra);
    clear_values(ra);
    if (w->multi)
        find_cross(ra);
    if (r->by_state)
        enter_block(ra, 0);
    for (u32 b = 0; b < r->nblocks && !w->failed; b++) {
        w->block_first = r->block[b].first;
        w->block_end = r->block[b].end;
        w->homes = ra_homes_of(ra, b);
        if (b && w->multi)
            next_block(ra);
        else if (r->by_state)
            independent_block(ra);
        backward(ra);
        start_block(ra, b);
        if (r->nblocks > 1 || r->by_state)
            emit(ra, RA_BLOCK)->v = b;
        forward(ra);
    }
    return !w->failed;
}
