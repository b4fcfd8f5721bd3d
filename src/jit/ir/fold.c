#include "jit/ir/fold.h"

#include "base/bits.h"
#include "jit/ir/eval.h"
#include "jit/ir/fl.h"

static const struct ir_node *def(const struct ir_builder *b, irv v)
{
    static const struct ir_node none = {.op = IR_NOPS};
    return v >= IR_FIRST_NODE ? &b->r->node[v] : &none;
}

static bool is_const(const struct ir_builder *b, irv v, u64 *value)
{
    const struct ir_node *n = def(b, v);
    if (n->op != IR_CONST)
        return false;
    *value = n->imm;
    return true;
}

static void swap_operands(struct ir_node *n)
{
    irv t = n->a;
    n->a = n->b;
    n->b = t;
}

/* x as a value of the node's type: itself, or its low half. */
static irv same(struct ir_builder *b, const struct ir_node *n, irv x)
{
    if (n->type == IR_I32 && ir_value_type(b->r, x) == IR_I64)
        return ir_ubfx(b, IR_I32, x, 0, 32);
    return x;
}

static irv fold_all_const(struct ir_builder *b, const struct ir_node *n)
{
    u64 x = 0, y = 0, z = 0;
    if (!is_const(b, n->a, &x) || (n->b && !is_const(b, n->b, &y)) ||
        (n->c && !is_const(b, n->c, &z)))
        return 0;
    return ir_const(b, n->type, ir_eval_int(n, x, y, z));
}

/* (x + k1) + k2 and x - k, in terms of one addition. */
static irv fold_add(struct ir_builder *b, struct ir_node *n)
{
    u64 k, k1;
    if (!is_const(b, n->b, &k))
        return 0;
    u64 mask = n->type == IR_I32 ? 0xffffffff : ~0ull;
    if (!(k & mask))
        return same(b, n, n->a);
    const struct ir_node *x = def(b, n->a);
    if (x->op == IR_ADD && x->type == n->type && is_const(b, x->b, &k1)) {
        n->a = x->a;
        n->b = ir_const(b, n->type, k + k1);
        if (!((k + k1) & mask))
            return same(b, n, n->a);
    }
    return 0;
}

static irv fold_sub(struct ir_builder *b, struct ir_node *n)
{
    u64 k;
    if (n->a == n->b)
        return ir_const(b, n->type, 0);
    if (is_const(b, n->b, &k)) {
        n->op = IR_ADD;
        n->b = ir_const(b, n->type, 0 - k);
        return fold_add(b, n);
    }
    if (is_const(b, n->a, &k) && !k) {
        n->op = IR_NEG;
        n->a = n->b;
        n->b = 0;
    }
    return 0;
}

static irv fold_logic(struct ir_builder *b, struct ir_node *n)
{
    u64 k, mask = n->type == IR_I32 ? 0xffffffff : ~0ull;
    if (n->a == n->b && (n->op == IR_AND || n->op == IR_OR))
        return same(b, n, n->a);
    if (n->a == n->b)
        return ir_const(b, n->type, 0); /* xor, andn */
    if (!is_const(b, n->b, &k))
        return 0;
    k &= mask;
    switch (n->op) {
    case IR_AND:
        if (!k)
            return ir_const(b, n->type, 0);
        return k == mask ? same(b, n, n->a) : 0;
    case IR_ANDN:
        n->op = IR_AND;
        n->b = ir_const(b, n->type, ~k);
        return fold_logic(b, n);
    case IR_OR:
        return k ? 0 : same(b, n, n->a);
    default:
        if (k == mask) {
            n->op = IR_NOT;
            n->b = 0;
        }
        return k ? 0 : same(b, n, n->a);
    }
}

/* (x << left) >> right: a field, as guests without such instructions get it. */
static irv fold_field(struct ir_builder *b, const struct ir_node *n, unsigned right)
{
    const struct ir_node *x = def(b, n->a);
    u64 k;
    if (x->op != IR_SHL || x->type != n->type || !is_const(b, x->b, &k))
        return 0;
    unsigned width = n->type == IR_I32 ? 32 : 64, left = (unsigned)k & (width - 1), len = width - right;
    if (left > right)
        return 0;
    if (n->op == IR_SHR)
        return ir_ubfx(b, n->type, x->a, right - left, width - right);
    if (left == right && (len == 8 || len == 16 || len == 32))
        return ir_sext(b, n->type, x->a, len);
    return ir_sbfx(b, n->type, x->a, right - left, len);
}

static irv fold_shift(struct ir_builder *b, struct ir_node *n)
{
    u64 k;
    if (!is_const(b, n->b, &k))
        return 0;
    k &= n->type == IR_I32 ? 31 : 63;
    if (k && (n->op == IR_SHR || n->op == IR_SAR))
        return fold_field(b, n, (unsigned)k);
    return k ? 0 : same(b, n, n->a);
}

static irv fold_mul(struct ir_builder *b, struct ir_node *n)
{
    u64 k;
    if (!is_const(b, n->b, &k))
        return 0;
    if (n->type == IR_I32)
        k = (u32)k;
    if (!k)
        return ir_const(b, n->type, 0);
    if (k == 1)
        return same(b, n, n->a);
    if (is_pow2(k)) {
        n->op = IR_SHL;
        n->b = ir_const(b, n->type, ctz64(k));
    }
    return 0;
}

static irv fold_icmp(struct ir_builder *b, struct ir_node *n)
{
    u64 k;
    unsigned cond = n->aux & 15, width = (n->aux >> 4) * 32u;
    /* 0 < x and x < 1, unsigned */
    if (cond == IR_ULT && is_const(b, n->a, &k) && !(k & mask64(width))) {
        swap_operands(n);
        n->aux ^= IR_ULT ^ IR_NE;
    } else if (cond == IR_ULT && is_const(b, n->b, &k) && (k & mask64(width)) == 1) {
        n->b = ir_const(b, IR_I64, 0);
        n->aux ^= IR_ULT ^ IR_EQ;
    }
    cond = n->aux & 15;
    /* (x & y) == 0 in one test */
    if ((cond | 1) == IR_NE && is_const(b, n->b, &k) && !(k & mask64(width))) {
        const struct ir_node *x = def(b, n->a);
        if (x->op == IR_AND && (width == 32 || x->type == IR_I64)) {
            n->aux = (u16)((n->aux & ~15) | IR_TZ | (cond & 1));
            n->a = x->a;
            n->b = x->b;
        }
    }
    return 0;
}

/* The low half of what has no other. */
static irv fold_ubfx(struct ir_builder *b, struct ir_node *n)
{
    unsigned lsb = n->aux & 0xff, len = n->aux >> 8, type = ir_value_type(b->r, n->a);
    return !lsb && len >= 32 && (type == IR_I32 || type == IR_I1) ? n->a : 0;
}

/* Trailing zeros, for guests that count them with the bits reversed. */
static void fold_clz(struct ir_builder *b, struct ir_node *n)
{
    const struct ir_node *x = def(b, n->a);
    if (x->op == IR_BITREV && x->type == n->type) {
        n->op = IR_CTZ;
        n->a = x->a;
    }
}

/* A condition of a subtraction is a comparison; of a logical result, a comparison with zero. */
static irv fold_cc(struct ir_builder *b, struct ir_node *n)
{
    static const s8 of_sub[] = {IR_EQ, IR_NE, IR_UGE, IR_ULT, -1, -1, -1, -1,
                                IR_UGT, IR_ULE, IR_SGE, IR_SLT, IR_SGT, IR_SLE};
    static const s8 of_logic[] = {IR_EQ, IR_NE, -1, -1, IR_SLT, IR_SGE, -1, -1,
                                  -1, -1, IR_SGE, IR_SLT, IR_SGT, IR_SLE};
    struct ir_node fl = *def(b, n->a);
    u64 bits;
    if (fl.op == IR_FL_SUB && of_sub[n->aux] >= 0)
        return ir_icmp(b, (enum ir_icond)of_sub[n->aux], fl.aux, fl.a, fl.b);
    if (fl.op == IR_FL_LOGIC && of_logic[n->aux] >= 0)
        return ir_icmp(b, (enum ir_icond)of_logic[n->aux], fl.aux, fl.a,
                       ir_const(b, IR_I64, 0));
    if (fl.op == IR_FL_LOGIC) { /* carry and overflow are clear */
        bool value = n->aux == IR_CC_CC || n->aux == IR_CC_VC || n->aux == IR_CC_LS;
        return ir_const(b, IR_I1, value);
    }
    if (fl.op == IR_FL_BITS && is_const(b, fl.a, &bits))
        return ir_const(b, IR_I1, ir_cc_mask(n->aux) >> (bits & 15) & 1);
    if (fl.op == IR_FL_SELECT) { /* a conditional compare: choose among conditions, not flags */
        irv yes = ir_cc(b, (enum ir_cc)n->aux, fl.b), no = ir_cc(b, (enum ir_cc)n->aux, fl.c);
        return ir_select(b, IR_I1, fl.a, yes, no);
    }
    return 0;
}

static irv fold_select(struct ir_builder *b, struct ir_node *n)
{
    u64 k;
    if (n->b == n->c && (ir_value_type(b->r, n->b) == n->type || ir_type_is_int(n->type)))
        return same(b, n, n->b);
    if (is_const(b, n->a, &k)) {
        irv pick = k ? n->b : n->c;
        if (ir_value_type(b->r, pick) == n->type)
            return pick;
    }
    return 0;
}

static irv fold_zx(struct ir_builder *b, struct ir_node *n)
{
    const struct ir_node *x = def(b, n->a);
    return x->op == IR_ZX && x->aux <= n->aux ? n->a : 0;
}

/* Fold constants into the displacement, additions into base and index. */
static irv fold_address(struct ir_builder *b, struct ir_node *n)
{
    u64 k;
    const struct ir_node *x = def(b, n->a);
    s64 disp = ir_node_disp(n);
    if (x->op == IR_ADD && x->type == IR_I64 && is_const(b, x->b, &k) &&
        (s64)k + disp == (s32)((s64)k + disp) && ir_value_type(b->r, x->a) == IR_I64) {
        n->a = x->a;
        disp += (s64)k;
        x = def(b, n->a);
    }
    if (n->b && is_const(b, n->b, &k)) {
        if (n->aux & IR_MEM_SEXT32)
            k = (u64)sext64(k, 32);
        if (n->aux & IR_MEM_ZEXT32)
            k = (u32)k;
        k <<= (n->aux & IR_MEM_SCALE) >> IR_MEM_SCALE_SHIFT;
        if ((s64)k + disp == (s32)((s64)k + disp)) {
            n->b = 0;
            n->aux &= (u16) ~(IR_MEM_SCALE | IR_MEM_SEXT32 | IR_MEM_ZEXT32);
            disp += (s64)k;
        }
    }
    n->imm = (u32)disp;
    return 0;
}

/* Mixing the columns of what was just substituted: a whole round, which hosts do at once. */
static irv fold_aes(struct ir_builder *b, struct ir_node *n)
{
    const struct ir_node *x = def(b, n->a);
    if ((n->aux == IR_AES_MIX || n->aux == IR_AES_INV_MIX) && x->op == IR_VAES &&
        x->aux + IR_AES_MIX == n->aux) {
        n->aux += IR_AES_SUB_MIX - IR_AES_MIX;
        n->a = x->a;
        n->b = x->b;
    }
    return 0;
}

static irv fold_unbox(struct ir_builder *b, struct ir_node *n)
{
    const struct ir_node *x = def(b, n->a);
    return x->op == IR_FBOX && x->aux == n->type ? x->a : 0;
}

irv ir_fold(struct ir_builder *b, struct ir_node *n)
{
    u64 k;
    if (ir_is_int_op(n->op) && n->op != IR_SELECT) {
        irv v = fold_all_const(b, n);
        if (v)
            return v;
    }
    if ((ir_effects[n->op] & IR_E_COMM) && ir_type_is_int(n->type) && is_const(b, n->a, &k))
        swap_operands(n);
    switch (n->op) {
    case IR_ADD:
        return fold_add(b, n);
    case IR_SUB:
        return fold_sub(b, n);
    case IR_MUL:
        return fold_mul(b, n);
    case IR_AND:
    case IR_OR:
    case IR_XOR:
    case IR_ANDN:
        return fold_logic(b, n);
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROR:
        return fold_shift(b, n);
    case IR_UBFX:
        return fold_ubfx(b, n);
    case IR_CLZ:
        fold_clz(b, n);
        return 0;
    case IR_ICMP:
        return fold_icmp(b, n);
    case IR_CC:
        return fold_cc(b, n);
    case IR_SELECT:
    case IR_FL_SELECT:
        return fold_select(b, n);
    case IR_ZX:
        return fold_zx(b, n);
    case IR_FUNBOX:
        return fold_unbox(b, n);
    case IR_VAES:
        return fold_aes(b, n);
    case IR_LD:
    case IR_ST:
        return fold_address(b, n);
    default:
        return 0;
    }
}
