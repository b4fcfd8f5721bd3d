/* The rules of the IR. A region that breaks one is a bug of whoever made it.
 *
 * 1. A region has at least one block; blocks are not empty, lie one after the other, and end with
 *    the only terminator they have. Parameters come first in a block; block 0 has none.
 * 2. Operands are entry values or nodes that dominate their use: earlier in the same block, or in a
 *    block that every path from block 0 goes through.
 * 3. Operand and result types fit the signature in ops.def: integer operands may be wider or
 *    narrower than the operation, FP operands are read by their low lane.
 * 4. Edges lead to existing blocks, not to block 0, with as many arguments as the block has
 *    parameters, of the parameters' types (or a narrower integer: an edge does not cut off).
 * 5. State maps exist; their slots exist, their values dominate the node and have the slot's type
 *    (an i32 value may stand for an i64 slot).
 * 6. Helpers exist. Behind one that writes state come pure operations alone, and then an exit whose map
 *    lists nothing that the helper's own did not.
 * 7. Undefined values are named by state maps alone.
 * 8. Blocks of a by_state region have no edges and no parameters, each an address and copy of its own; there are not
 *    too many.
 * 9. aux and imm are in range for those operations that would otherwise read out of bounds. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "jit/ir/ir.h"

struct verifier {
    const struct ir_region *r;
    const struct ir_helper *helpers;
    u32 nhelpers;
    u32 *block_of; /* block of each node */
    u32 *idom;     /* immediate dominators of blocks; UINT32_MAX where not reached */
    struct err *e;
};

#define RULE(cond, ...)                                                                            \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return err_set(v->e, EINVAL, __VA_ARGS__);                                             \
    } while (0)

static bool check_shape(struct verifier *v)
{
    const struct ir_region *r = v->r;
    RULE(r->nblocks, "a region needs a block");
    u32 at = IR_FIRST_NODE;
    for (u32 b = 0; b < r->nblocks; b++) {
        const struct ir_block *block = &r->block[b];
        RULE(block->first == at && block->end > at && block->end <= r->count,
             "b%u is empty or out of place", b);
        RULE(b || !block->nparams, "b0 has parameters");
        RULE(block->nparams <= block->end - block->first, "b%u: too many parameters", b);
        for (u32 i = block->first; i < block->end; i++) {
            RULE(r->node[i].op < IR_NOPS, "v%u: operation out of range", i);
            RULE(r->node[i].type < IR_NTYPES, "v%u: type out of range", i);
            RULE((r->node[i].op == IR_PARAM) == (i - block->first < block->nparams),
                 "v%u: a parameter out of place", i);
            RULE(!!(ir_effects[r->node[i].op] & IR_E_TERM) == (i + 1 == block->end),
                 "v%u: b%u must end with its only terminator", i, b);
            v->block_of[i] = b;
        }
        at = block->end;
    }
    RULE(at == r->count, "nodes lie outside all blocks");
    return true;
}

static bool check_state_blocks(struct verifier *v)
{
    const struct ir_region *r = v->r;
    if (!r->by_state)
        return true;
    RULE(r->nblocks <= IR_MAX_STATE_BLOCKS, "%u blocks are too many", r->nblocks);
    RULE(r->block[0].pc == r->pc, "b0 is not where the region starts");
    for (u32 b = 0; b < r->nblocks; b++) {
        unsigned op = r->node[r->block[b].end - 1].op;
        RULE(r->block[b].copy < IR_MAX_COPIES, "b%u: there are not so many copies", b);
        RULE(!r->block[b].nparams && op != IR_JMP && op != IR_BR, "b%u has an edge or parameters", b);
        RULE(ir_block_at(r, r->block[b].pc, r->block[b].copy) == b,
             "b%u: another block has its address", b);
    }
    return true;
}

static unsigned successors(const struct ir_region *r, u32 b, u32 out[2])
{
    const struct ir_node *t = &r->node[r->block[b].end - 1];
    if (t->op == IR_JMP) {
        out[0] = t->b;
        return 1;
    }
    if (t->op == IR_BR) {
        out[0] = t->b;
        out[1] = t->c;
        return 2;
    }
    return 0;
}

static bool check_edges(struct verifier *v)
{
    const struct ir_region *r = v->r;
    for (u32 b = 0; b < r->nblocks; b++) {
        u32 edge[2];
        unsigned n = successors(r, b, edge);
        for (unsigned i = 0; i < n; i++) {
            RULE(edge[i] < r->nedges, "b%u: no such edge", b);
            const struct ir_edge *e = &r->edge[edge[i]];
            RULE(e->block && e->block < r->nblocks, "b%u: an edge to b%u", b, e->block);
            RULE(e->first + e->count <= r->nargs, "b%u: edge arguments out of range", b);
            RULE(e->count == r->block[e->block].nparams, "b%u: b%u takes %u arguments, not %u", b,
                 e->block, r->block[e->block].nparams, e->count);
        }
    }
    return true;
}

static u32 common_dominator(const u32 *idom, u32 a, u32 b)
{
    while (a != b) {
        while (a > b)
            a = idom[a];
        while (b > a)
            b = idom[b];
    }
    return a;
}

/* Dominators by iteration. Blocks need not be in an order that makes numbers decrease along idom, so
 * the walk uses reverse post-order numbers. */
static void find_dominators(struct verifier *v)
{
    const struct ir_region *r = v->r;
    u32 n = r->nblocks, count = 0, depth = 0;
    u32 *order = xcalloc(n, sizeof(u32)), *number = xcalloc(n, sizeof(u32));
    u32 *stack = xcalloc(n, sizeof(u32)), *idom = xcalloc(n, sizeof(u32));
    u8 *state = xcalloc(n, 1);
    stack[depth++] = 0;
    state[0] = 1;
    while (depth) { /* post-order: state counts the successors looked at, plus one */
        u32 b = stack[depth - 1], edge[2];
        unsigned nsucc = successors(r, b, edge);
        if (state[b] <= nsucc) {
            u32 to = r->edge[edge[state[b]++ - 1]].block;
            if (!state[to]) {
                state[to] = 1;
                stack[depth++] = to;
            }
        } else {
            order[count++] = b;
            depth--;
        }
    }
    for (u32 i = 0; i < n; i++)
        number[i] = idom[i] = UINT32_MAX;
    for (u32 i = 0; i < count; i++)
        number[order[i]] = count - 1 - i;
    idom[0] = 0; /* in reverse post-order numbers */
    for (bool changed = true; changed;) {
        changed = false;
        for (u32 i = count; i-- > 0;) {
            u32 b = order[i], edge[2];
            u32 from = number[b];
            if (idom[from] == UINT32_MAX)
                continue;
            unsigned nsucc = successors(r, b, edge);
            for (unsigned k = 0; k < nsucc; k++) {
                u32 to = number[r->edge[edge[k]].block];
                u32 d = idom[to] == UINT32_MAX ? from : common_dominator(idom, idom[to], from);
                changed |= d != idom[to];
                idom[to] = d;
            }
        }
    }
    for (u32 i = 0; i < count; i++) {
        u32 b = order[i];
        v->idom[b] = order[count - 1 - idom[number[b]]];
    }
    free(order);
    free(number);
    free(stack);
    free(idom);
    free(state);
}

static bool dominates(const struct verifier *v, irv def, irv use)
{
    if (ir_is_entry(def))
        return def - 1 < v->r->slots->count;
    if (def >= v->r->count)
        return false;
    u32 db = v->block_of[def], ub = v->block_of[use];
    if (db == ub)
        return def < use;
    while (ub != db && ub && v->idom[ub] != UINT32_MAX)
        ub = v->idom[ub];
    return ub == db;
}

static bool fits(unsigned type, char want)
{
    switch (want) {
    case 'n':
    case 'x':
        return ir_type_is_int(type);
    case '1':
        return type == IR_I1;
    case 'i':
        return type == IR_I32 || type == IR_I64;
    case 'q':
        return ir_type_is_vec(type);
    case 'r':
        return ir_type_is_vec(type);
    case 'F':
        return type == IR_FL;
    case 'a':
    case 't':
        return type != IR_VOID;
    default:
        return type == IR_VOID;
    }
}

static bool check_operands(struct verifier *v, irv id)
{
    const struct ir_node *n = &v->r->node[id];
    struct ir_opinfo info = ir_info(n->op);
    const irv arg[3] = {n->a, n->b, n->c};
    RULE(n->op == IR_HELPER || fits(n->type, info.result), "v%u: %s cannot give %s", id, info.text,
         ir_type_name(n->type));
    for (unsigned i = 0; i < info.nargs; i++) {
        if (!arg[i]) {
            RULE(info.optional[i], "v%u: operand %u is missing", id, i);
            continue;
        }
        RULE(dominates(v, arg[i], id), "v%u: operand v%u does not dominate it", id, arg[i]);
        RULE(!ir_is_undef(v->r, arg[i]), "v%u: operand %u is undefined", id, i);
        RULE(fits(ir_value_type(v->r, arg[i]), info.arg[i]), "v%u: operand %u of %s is %s", id, i,
             info.text, ir_type_name(ir_value_type(v->r, arg[i])));
    }
    if (n->op == IR_EXIT_BR || n->op == IR_CALL || n->op == IR_CALL_IND)
        RULE(ir_is_const(v->r, n->b) && n->b < id, "v%u: the other pc is not a constant", id);
    return true;
}

static bool check_map(struct verifier *v, irv id)
{
    const struct ir_region *r = v->r;
    u32 m = ir_node_map(&r->node[id]);
    RULE(m < r->nmaps, "v%u: no state map %u", id, m);
    for (;; m = r->map[m].parent) {
        const struct ir_map *map = &r->map[m];
        RULE(map->parent <= m, "map %u: its parent is younger", m);
        RULE(map->first + map->count <= r->nputs, "map %u: entries out of range", m);
        for (u32 i = 0; i < map->count; i++) {
            const struct ir_put *p = &r->put[map->first + i];
            RULE(p->slot < r->slots->count, "map %u: no slot %u", m, p->slot);
            RULE(p->value && dominates(v, p->value, id), "v%u: v%u in its map does not dominate it",
                 id, p->value);
            unsigned want = r->slots->slot[p->slot].type, has = ir_value_type(r, p->value);
            RULE(want == has || (ir_type_is_int(want) && ir_type_is_int(has)),
                 "v%u: %s is %s, but its map gives it %s", id, r->slots->slot[p->slot].name,
                 ir_type_name(want), ir_type_name(has));
        }
        if (!m)
            return true;
    }
}

static bool check_aux(struct verifier *v, irv id)
{
    const struct ir_node *n = &v->r->node[id];
    unsigned width = n->type == IR_I32 ? 32 : 64, lsb = n->aux & 0xff, len = n->aux >> 8;
    unsigned lane = n->aux & 15;
    const char *kind = ir_info(n->op).aux;
    if (!strcmp(kind, "field"))
        RULE(len && lsb + len <= width, "v%u: field %u+%u", id, lsb, len);
    if (n->op == IR_EXTR)
        RULE(n->aux < width, "v%u: shift %u", id, n->aux);
    if (n->op == IR_SEXT)
        RULE(n->aux == 8 || n->aux == 16 || n->aux == 32, "v%u: extension from %u", id, n->aux);
    if (!strcmp(kind, "width"))
        RULE(n->aux == 32 || n->aux == 64, "v%u: width %u", id, n->aux);
    if (!strcmp(kind, "mem"))
        RULE((n->aux & IR_MEM_SIZE) <= (n->op == IR_SC         ? 4
                                             : n->type == IR_I32 ? 2
                                             : n->type == IR_I64 ? 3
                                                                 : 4),
             "v%u: access size", id);
    if (!strcmp(kind, "icond"))
        RULE((n->aux & 15) < 12 && (n->aux >> 4 == 1 || n->aux >> 4 == 2), "v%u: comparison", id);
    if (!strcmp(kind, "cc"))
        RULE(n->aux < 14, "v%u: condition", id);
    if (n->op >= IR_FADD && n->op <= IR_FABS)
        RULE(lane >= IR_F16 && lane <= IR_F64, "v%u: FP lane", id);
    if (n->op >= IR_VADD && n->op <= IR_VTRN2)
        RULE(lane <= 3, "v%u: lane", id);
    if (n->op == IR_VMULL || n->op == IR_VEXTEND)
        RULE(lane <= 2 && n->type == IR_V128, "v%u: widening", id);
    if (n->op == IR_VNARROW)
        RULE(lane >= 1, "v%u: narrowing", id);
    if (n->op == IR_VDUP || n->op == IR_VINS || n->op == IR_VGET || n->op == IR_VINSV)
        RULE((n->aux >> 4 & 15) < 16u >> lane, "v%u: lane index", id);
    if (n->op == IR_VREV)
        RULE(lane < (n->aux >> 4 & 15) && (n->aux >> 4 & 15) <= 3, "v%u: group", id);
    if (n->op == IR_VEXT)
        RULE(n->aux % 32u < (n->type == IR_V64 ? 8u : 16u), "v%u: byte offset", id);
    if (n->op == IR_PARAM)
        RULE(n->imm <= v->r->slots->count, "v%u: slot", id);
    return true;
}

static bool check_edge_args(struct verifier *v, irv id)
{
    const struct ir_region *r = v->r;
    const struct ir_node *n = &r->node[id];
    const u32 edge[2] = {n->b, n->c};
    for (unsigned i = 0; i < (n->op == IR_BR ? 2u : 1u); i++) {
        const struct ir_edge *e = &r->edge[edge[i]];
        for (u32 k = 0; k < e->count; k++) {
            irv arg = r->args[e->first + k];
            RULE(arg && dominates(v, arg, id), "v%u: edge argument v%u does not dominate it", id,
                 arg);
            unsigned want = r->node[r->block[e->block].first + k].type;
            unsigned has = ir_value_type(r, arg);
            RULE(want == has || (ir_type_is_int(has) && has < want && ir_type_is_int(want)),
                 "v%u: edge argument %u is %s, not %s", id, k, ir_type_name(has),
                 ir_type_name(want));
        }
    }
    return true;
}

/* Does the map of node `id` say of every slot what the map of node `before` said, or nothing? */
static bool map_adds_nothing(const struct ir_region *r, irv before, irv id)
{
    struct ir_put old[IR_MAX_SLOTS], new[IR_MAX_SLOTS];
    unsigned nold = ir_map_resolve(r, ir_node_map(&r->node[before]), old);
    unsigned nnew = ir_map_resolve(r, ir_node_map(&r->node[id]), new);
    for (unsigned i = 0; i < nnew; i++) {
        unsigned k = 0;
        while (k < nold && (old[k].slot != new[i].slot || old[k].value != new[i].value))
            k++;
        if (k == nold)
            return false;
    }
    return true;
}

static bool check_helper(struct verifier *v, irv id)
{
    const struct ir_region *r = v->r;
    u32 index = (u32)r->node[id].imm;
    RULE(index < v->nhelpers, "v%u: no helper %u", id, index);
    if (!(v->helpers[index].flags & IR_HELPER_WRITES))
        return true;
    irv last = r->block[v->block_of[id]].end - 1;
    for (irv k = id + 1; k < last; k++)
        RULE(ir_effects[r->node[k].op] & IR_E_PURE, "v%u: behind a helper that writes state", k);
    RULE(ir_effects[r->node[last].op] & IR_E_LEAVE, "v%u: a helper that writes state needs an exit", id);
    RULE(map_adds_nothing(r, id, last), "v%u: state that its helper did not know of", last);
    return true;
}

static bool check_nodes(struct verifier *v)
{
    const struct ir_region *r = v->r;
    for (irv id = IR_FIRST_NODE; id < r->count; id++) {
        const struct ir_node *n = &r->node[id];
        if (!check_operands(v, id) || !check_aux(v, id))
            return false;
        if (ir_has_map(n->op) && !check_map(v, id))
            return false;
    }
    /* what these rules look at lies behind the node */
    for (irv id = IR_FIRST_NODE; id < r->count; id++) {
        const struct ir_node *n = &r->node[id];
        if (n->op == IR_HELPER && !check_helper(v, id))
            return false;
        if ((n->op == IR_JMP || n->op == IR_BR) && !check_edge_args(v, id))
            return false;
    }
    return true;
}

bool ir_verify(const struct ir_region *r, const struct ir_helper *helpers, struct err *e)
{
    struct verifier v = {
        .r = r,
        .helpers = helpers,
        .block_of = xcalloc(r->count, sizeof(u32)),
        .idom = xcalloc(r->nblocks, sizeof(u32)),
        .e = e,
    };
    while (helpers && helpers[v.nhelpers].fn)
        v.nhelpers++;
    for (u32 b = 0; b < r->nblocks; b++)
        v.idom[b] = UINT32_MAX;
    bool ok = check_shape(&v) && check_state_blocks(&v) && check_edges(&v);
    if (ok) {
        find_dominators(&v);
        ok = check_nodes(&v);
    }
    free(v.block_of);
    free(v.idom);
    return ok;
}
