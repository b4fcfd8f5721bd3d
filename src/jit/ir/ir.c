#include "jit/ir/ir.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "jit/ir/fl.h"

static const char *const type_names[IR_NTYPES] = {
    "void", "i1", "i32", "i64", "f16", "f32", "f64", "v64", "v128", "fl",
};

const char *ir_type_name(unsigned type)
{
    return type < IR_NTYPES ? type_names[type] : "?";
}

/* The letters of the table's last column. */
enum {
    P = IR_E_PURE,
    L = IR_E_LEAVE,
    R = IR_E_READ,
    W = IR_E_WRITE,
    S = IR_E_SIDE,
    E = IR_E_FP,
    T = IR_E_TERM,
    C = IR_E_COMM,
};

const u8 ir_effects[IR_NOPS] = {
#define OP(name, text, sig, effects) effects,
#include "jit/ir/ops.def"
#undef OP
};

static const struct {
    const char *text, *sig;
} op_table[IR_NOPS] = {
#define OP(name, text, sig, effects) {text, sig},
#include "jit/ir/ops.def"
#undef OP
};

/* Signatures are read at run time by tools (printer, verifier); compilation itself does not. */
struct ir_opinfo ir_info(unsigned op)
{
    const char *sig = op_table[op].sig;
    struct ir_opinfo info = {.text = op_table[op].text, .sig = sig, .effects = ir_effects[op],
                             .result = sig[0], .aux = ""};
    const char *p = sig + 2;
    for (; *p && *p != ':'; p++) {
        if (*p == '?')
            info.optional[info.nargs - 1] = true;
        else
            info.arg[info.nargs++] = *p;
    }
    if (*p)
        info.aux = p + 1;
    return info;
}

static bool simple_recipe(const struct ir_region *r, const struct ir_node *n, struct ir_recipe *out)
{
    bool wide = n->aux == 64;
    *out = (struct ir_recipe){.count = 2, .arg = {n->a, n->b}};
    switch (n->op) {
    case IR_FL_ADD:
        out->kind = IR_FLK_ADD32 + wide;
        return true;
    case IR_FL_SUB:
        out->kind = IR_FLK_SUB32 + wide;
        return true;
    case IR_FL_LOGIC:
        out->kind = IR_FLK_LOGIC32 + wide;
        out->count = 1;
        return true;
    case IR_FL_FCMP:
        out->kind = (n->aux & 15) == IR_F64 ? IR_FLK_FCMP64 : IR_FLK_FCMP32;
        return (n->aux & 15) != IR_F16 && !ir_soft_fp(r, n);
    default:
        return false;
    }
}

/* A conditional compare: the flags of one comparison if another holds, else a constant. */
static bool select_recipe(const struct ir_region *r, const struct ir_node *n, struct ir_recipe *out)
{
    if (n->a < IR_FIRST_NODE || n->b < IR_FIRST_NODE || n->c < IR_FIRST_NODE)
        return false;
    const struct ir_node *cond = &r->node[n->a], *no = &r->node[n->c];
    if (cond->op != IR_ICMP || no->op != IR_FL_BITS || !ir_is_const(r, no->a) ||
        !simple_recipe(r, &r->node[n->b], out))
        return false;
    out->kind = ir_fl_select_kind(out->kind, cond->aux & 15, cond->aux >> 4 == 2,
                                  (u32)r->node[no->a].imm);
    out->count = 4;
    if (!out->arg[1])
        out->arg[1] = out->arg[0]; /* not read */
    out->arg[2] = cond->a;
    out->arg[3] = cond->b;
    return true;
}

bool ir_recipe(const struct ir_region *r, irv v, struct ir_recipe *out)
{
    const struct ir_node *n = &r->node[v];
    *out = (struct ir_recipe){0};
    if (ir_is_entry(v) || n->type != IR_FL)
        return false;
    if (n->op == IR_FL_SITE) {
        out->kind = (u32)n->imm;
        return true;
    }
    bool ok = n->op == IR_FL_SELECT ? select_recipe(r, n, out) : simple_recipe(r, n, out);
    if (!ok)
        *out = (struct ir_recipe){0};
    return ok;
}

bool ir_step(const struct ir_region *r, unsigned slot, irv v, s64 *by)
{
    u64 sum = 0;
    for (; v >= IR_FIRST_NODE; v = r->node[v].a) {
        const struct ir_node *n = &r->node[v];
        if ((n->op != IR_ADD && n->op != IR_SUB) || n->type != IR_I64 || !ir_is_const(r, n->b))
            return false;
        u64 k = r->node[n->b].imm;
        sum += n->op == IR_ADD ? k : 0 - k;
    }
    *by = (s64)sum;
    return v == slot + 1 && sum;
}

void ir_region_init(struct ir_region *r)
{
    memset(r, 0, sizeof(*r));
    r->node_cap = 1024;
    r->node = xcalloc(r->node_cap, sizeof(*r->node));
}

void ir_region_start(struct ir_region *r, const struct ir_slots *slots, u64 pc)
{
    r->slots = slots;
    r->pc = pc;
    r->key = 0;
    r->insns = 0;
    r->soft_fp = r->tiny = r->by_state = false;
    r->neighbours = IR_SHARE;
    r->mmu = 0;
    r->count = IR_FIRST_NODE;
    r->nblocks = r->nedges = r->nargs = r->nputs = 0;
    r->nmaps = 0;
    VEC_PUSH(r->map, r->nmaps, r->map_cap) = (struct ir_map){.pc = pc};
}

u32 ir_block_at(const struct ir_region *r, u64 pc, u32 copy)
{
    for (u32 b = 0; r->by_state && b < r->nblocks; b++) {
        if (r->block[b].pc == pc && r->block[b].copy == copy)
            return b;
    }
    return UINT32_MAX;
}

u32 ir_exit_block(const struct ir_region *r, const struct ir_node *n)
{
    bool out = n->op == IR_EXIT_IF && n->aux & IR_EXIT_OUT;
    return out ? UINT32_MAX : ir_block_at(r, n->imm, n->aux >> IR_EXIT_COPY_SHIFT);
}

u32 ir_return_block(const struct ir_region *r, const struct ir_node *call)
{
    return ir_block_at(r, r->node[call->b].imm, call->aux >> IR_EXIT_COPY_SHIFT);
}

void ir_mark_insn(struct ir_region *r, u64 pc)
{
    VEC_PUSH(r->insn, r->insns, r->insn_cap) = (struct ir_insn){r->count, (u32)(pc - r->pc)};
}

u64 ir_insn_pc(const struct ir_region *r, irv v)
{
    u32 low = 0, high = r->insns; /* the last one that starts at v or before */
    while (low < high) {
        u32 mid = (low + high) / 2;
        if (r->insn[mid].first <= v)
            low = mid + 1;
        else
            high = mid;
    }
    return r->pc + (low ? (u64)(s32)r->insn[low - 1].offset : 0);
}

void ir_region_free(struct ir_region *r)
{
    free(r->node);
    free(r->block);
    free(r->edge);
    free(r->args);
    free(r->map);
    free(r->put);
    free(r->insn);
    memset(r, 0, sizeof(*r));
}

unsigned ir_map_resolve(const struct ir_region *r, u32 m, struct ir_put *out)
{
    u64 seen[IR_MAX_SLOTS / 64] = {0};
    unsigned n = 0;
    for (;; m = r->map[m].parent) {
        const struct ir_map *map = &r->map[m];
        for (u32 i = map->count; i-- > 0;) {
            const struct ir_put *p = &r->put[map->first + i];
            u64 bit = 1ull << (p->slot & 63);
            if (seen[p->slot / 64] & bit)
                continue;
            seen[p->slot / 64] |= bit;
            if (p->value != p->slot + 1)
                out[n++] = *p;
        }
        if (!m)
            return n;
    }
}
