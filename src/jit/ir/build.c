#include "jit/ir/build.h"

#include <string.h>

#include "base/mem.h"
#include "jit/ir/fold.h"

void ir_build_start(struct ir_builder *b, struct ir_region *r)
{
    b->r = r;
    b->pc = r->pc;
    b->map = 0;
    b->map_puts = 0;
    b->block = UINT32_MAX;
    b->copy = 0;
    b->raw = false;
    b->lowering = NULL;
    b->strip = 0;
    b->invalid = false;
    b->aligned = 0;
    memset(b->known, 0, sizeof(b->known));
}

static irv append(struct ir_builder *b, const struct ir_node *n)
{
    struct ir_region *r = b->r;
    if (r->count == r->node_cap) {
        r->node_cap *= 2;
        r->node = xrealloc(r->node, r->node_cap * sizeof(*r->node));
    }
    r->node[r->count] = *n;
    return r->count++;
}

/* The earlier node of this block that computes the same, or a new one. The table is a cache: an entry
 * counts only if it still names an equal node, so nothing ever clears it. */
static irv number(struct ir_builder *b, const struct ir_node *n)
{
    const struct ir_region *r = b->r;
    u64 h = n->imm ^ n->op ^ (u64)n->type << 8 ^ (u64)n->aux << 16 ^ (u64)n->a << 32 ^
            (u64)n->b << 44 ^ (u64)n->c << 24;
    irv *known = &b->known[h * 0x9e3779b97f4a7c15ull >> (64 - IR_KNOWN_BITS)];
    if (*known < r->block[b->block].first || *known >= r->count ||
        memcmp(&r->node[*known], n, sizeof(*n)))
        *known = append(b, n);
    return *known;
}

u32 ir_block_start(struct ir_builder *b)
{
    struct ir_region *r = b->r;
    b->block = r->nblocks;
    b->count = 0;
    b->aligned = 0;
    VEC_PUSH(r->block, r->nblocks, r->block_cap) =
        (struct ir_block){.pc = b->pc, .copy = b->copy, .first = r->count, .end = r->count};
    /* State maps of one block do not build on those of another. */
    b->map = 0;
    b->map_puts = r->nputs;
    const unsigned count = r->slots->count;
    for (unsigned s = 0; s < count; s++)
        b->cur[s] = s + 1;
    return b->block;
}

void ir_insn(struct ir_builder *b, u64 pc)
{
    b->pc = pc;
    ir_mark_insn(b->r, pc);
    if (!b->counts)
        return;
    if (!b->count)
        b->count = append(b, &(struct ir_node){.op = IR_COUNT, .type = IR_VOID});
    b->r->node[b->count].aux++;
}

irv ir_param(struct ir_builder *b, unsigned type, unsigned slot_plus_1)
{
    b->r->block[b->block].nparams++;
    irv v = append(b, &(struct ir_node){.op = IR_PARAM, .type = (u8)type, .imm = slot_plus_1});
    if (slot_plus_1)
        ir_put(b, slot_plus_1 - 1, v);
    return v;
}

void ir_put(struct ir_builder *b, unsigned slot, irv v)
{
    if (!b->raw && b->r->slots->slot[slot].type == IR_V128 &&
        ir_value_type(b->r, v) != IR_V128)
        v = ir_zx(b, ir_value_type(b->r, v), v);
    if (b->cur[slot] == v)
        return;
    b->cur[slot] = v;
    VEC_PUSH(b->r->put, b->r->nputs, b->r->put_cap) = (struct ir_put){v, slot};
}

u32 ir_state_map(struct ir_builder *b, u64 pc)
{
    struct ir_region *r = b->r;
    if (b->map_puts != r->nputs || r->map[b->map].pc != pc) {
        struct ir_map m = {
            .pc = pc, .parent = b->map, .first = b->map_puts, .count = r->nputs - b->map_puts};
        b->map = r->nmaps;
        b->map_puts = r->nputs;
        VEC_PUSH(r->map, r->nmaps, r->map_cap) = m;
    }
    return b->map;
}

/* What the host's scalar operations leave above their result is the first operand's, or the addend's. */
static bool is_scalar(unsigned type)
{
    return type == IR_F32 || type == IR_F64;
}

/* Is everything above the width of an FP-class value known to be zero? Of one that is read through a narrower type that
 * is so if it was widened from that. */
static bool upper_zero(const struct ir_region *r, irv v, unsigned type)
{
    if (!ir_type_is_vec(ir_value_type(r, v)))
        return false;
    if (ir_value_type(r, v) == IR_V128)
        return is_scalar(type) && v >= IR_FIRST_NODE && r->node[v].op == IR_ZX && r->node[v].aux == type;
    return r->node[v].aux & IR_AUX_UPZ;
}

static bool result_upper_zero(const struct ir_region *r, const struct ir_node *n)
{
    switch (n->op) {
    case IR_CONST:
    case IR_LD:
    case IR_LL:
    case IR_CAS:
    case IR_FMOV:
    case IR_I2F:
    case IR_HELPER:
    case IR_FABS:
    case IR_VNARROW:
        return true;
    case IR_FADD:
    case IR_FSUB:
    case IR_FMUL:
    case IR_FDIV:
    case IR_FSQRT:
    case IR_FROUND:
    case IR_FNEG:
    case IR_VINS:
    case IR_VINSV:
    case IR_VSHL:
    case IR_VSHR:
    case IR_VSAR:
    case IR_VNEG:
    case IR_VABS:
        return n->type != IR_F16 && upper_zero(r, n->a, n->type);
    case IR_F2F:
        return n->type == IR_F64 && upper_zero(r, n->a, n->type);
    case IR_SELECT:
        return upper_zero(r, n->b, n->type) && upper_zero(r, n->c, n->type);
    case IR_FMA:
        return upper_zero(r, n->c, n->type) &&
               (is_scalar(n->type) || (upper_zero(r, n->a, n->type) && upper_zero(r, n->b, n->type)));
    case IR_FMIN:
    case IR_FMAX:
    case IR_FMINNM:
    case IR_FMAXNM:
    case IR_VADD:
    case IR_VSUB:
    case IR_VMUL:
    case IR_VAND:
    case IR_VOR:
    case IR_VXOR:
    case IR_VANDN:
        return upper_zero(r, n->a, n->type) && upper_zero(r, n->b, n->type);
    default:
        return false;
    }
}

/* Flag-raising operations on v64 must not see what lies above their operands. */
static bool reads_upper(const struct ir_node *n)
{
    return n->type == IR_V64 && (ir_effects[n->op] & IR_E_FP);
}

irv ir_zx(struct ir_builder *b, unsigned lane, irv x)
{
    return ir_emit(b, IR_ZX, IR_V128, lane, x, 0, 0, 0);
}

/* The address of an access as one value, with its tag replaced by the sign: addresses that are not the
 * program's stay so. */
static void strip_tag(struct ir_builder *b, struct ir_node *n)
{
    u8 bits = b->strip;
    b->strip = 0; /* what follows are no accesses */
    irv addr = n->a;
    if (n->op == IR_LD || n->op == IR_ST) {
        if (n->b) {
            irv index = n->b;
            if (n->aux & IR_MEM_SEXT32)
                index = ir_sext(b, IR_I64, index, 32);
            if (n->aux & IR_MEM_ZEXT32)
                index = ir_ubfx(b, IR_I64, index, 0, 32);
            index = ir_shl(b, IR_I64, index,
                           ir_const(b, IR_I64, (n->aux & IR_MEM_SCALE) >> IR_MEM_SCALE_SHIFT));
            addr = ir_add(b, IR_I64, addr, index);
        }
        addr = ir_addi(b, IR_I64, addr, ir_node_disp(n));
        n->aux &= (u16) ~(IR_MEM_SCALE | IR_MEM_SEXT32 | IR_MEM_ZEXT32);
        n->b = 0;
        n->imm = 0;
    }
    n->a = ir_sbfx(b, IR_I64, addr, 0, 64u - bits);
    b->strip = bits;
}

/* C computes it as it is. */
static bool rounds_itself(const struct ir_node *n)
{
    return (ir_effects[n->op] & IR_E_FP) && n->aux & IR_AUX_ROUND;
}

irv ir_emit(struct ir_builder *b, unsigned op, unsigned type, unsigned aux, irv x, irv y, irv z,
            u64 imm)
{
    struct ir_node n = {.op = (u8)op, .type = (u8)type, .aux = (u16)aux, .a = x, .b = y, .c = z,
                        .imm = imm};
    if (!b->raw) {
        if (reads_upper(&n)) {
            irv *arg[] = {&n.a, &n.b, &n.c};
            for (unsigned i = 0; i < 3; i++) {
                if (*arg[i] && !upper_zero(b->r, *arg[i], n.type))
                    *arg[i] = ir_zx(b, IR_V64, *arg[i]);
            }
        }
        if (b->invalid && (ir_effects[op] & IR_E_FP))
            n.aux |= IR_AUX_INVALID;
        if (b->strip && op >= IR_LD && op <= IR_SC)
            strip_tag(b, &n);
        irv v = ir_with(b->r, IR_PASS_FOLD) ? ir_fold(b, &n) : 0;
        if (!v && b->lowering && n.op >= IR_BITREV && !rounds_itself(&n) && !b->lowering->has(b->lowering->host, b->r, &n))
            v = b->lowering->expand(b, &n);
        if (v)
            return v;
    }
    if (n.type >= IR_F16 && n.type <= IR_V64 && result_upper_zero(b->r, &n))
        n.aux |= IR_AUX_UPZ;
    if (op >= IR_LD && op <= IR_CHKALIGN && (ir_effects[op] & IR_E_LEAVE))
        n.imm = (u32)n.imm | (u64)ir_state_map(b, b->pc) << 32;
    if (!b->raw && ir_with(b->r, IR_PASS_SHARE) && (ir_effects[op] & IR_E_PURE))
        return number(b, &n);
    return append(b, &n);
}

irv ir_const(struct ir_builder *b, unsigned type, u64 value)
{
    struct ir_node n = {.op = IR_CONST, .type = (u8)type,
                        .imm = type == IR_I32 ? (u32)value : value};
    if (type >= IR_F16 && type <= IR_V64)
        n.aux = IR_AUX_UPZ;
    return b->raw ? append(b, &n) : number(b, &n);
}

/* Adding a multiple makes no difference. */
static irv without_multiples(const struct ir_region *r, irv x, unsigned bytes)
{
    const struct ir_node *n = &r->node[x];
    while (n->op == IR_ADD && ir_is_const(r, n->b) && !(r->node[n->b].imm & (bytes - 1))) {
        x = n->a;
        n = &r->node[x];
    }
    return x;
}

void ir_chkalign(struct ir_builder *b, irv x, unsigned bytes)
{
    irv base = without_multiples(b->r, x, bytes);
    if (!b->raw && base == b->aligned && b->aligned_to >= bytes)
        return;
    ir_emit(b, IR_CHKALIGN, IR_VOID, bytes, x, 0, 0, 0);
    b->aligned = base;
    b->aligned_to = bytes;
}

irv ir_helper(struct ir_builder *b, unsigned index, unsigned type, irv x, irv y, irv z)
{
    /* A helper that reads state needs a map; it stands in the upper half, as for memory. */
    u64 map = ir_state_map(b, b->pc);
    return ir_emit(b, IR_HELPER, type, 0, x, y, z, index | map << 32);
}

static void end_block(struct ir_builder *b, struct ir_node n)
{
    append(b, &n);
    b->r->block[b->block].end = b->r->count;
    b->block = UINT32_MAX;
}

static void end_region(struct ir_builder *b, unsigned op, irv x, irv y, u64 imm, u64 pc)
{
    bool direct = op == IR_EXIT_LINK || op == IR_CALL || op == IR_CALL_IND; /* or comes back directly */
    u16 aux = (u16)(direct ? b->copy << IR_EXIT_COPY_SHIFT : 0);
    u32 map = ir_state_map(b, pc);
    end_block(b, (struct ir_node){.op = (u8)op, .aux = aux, .a = x, .b = y, .c = map, .imm = imm});
}

void ir_exit(struct ir_builder *b, u64 next)
{
    end_region(b, IR_EXIT_LINK, 0, 0, next, next);
}

/* A choice between a condition and a constant, as conditional comparisons make it: when a is `when`, the
 * condition is x, else it is `other`. */
struct choice {
    irv a, x;
    bool when, other;
};

static bool is_choice(const struct ir_region *r, irv cond, struct choice *c)
{
    const struct ir_node *n = cond >= IR_FIRST_NODE ? &r->node[cond] : NULL;
    if (!n || n->op != IR_SELECT || ir_is_const(r, n->b) == ir_is_const(r, n->c))
        return false;
    c->when = ir_is_const(r, n->c);
    c->a = n->a;
    c->x = c->when ? n->b : n->c;
    c->other = r->node[c->when ? n->c : n->b].imm;
    return true;
}

/* aux: what is in that of the exit besides its conditions. */
static bool exit_if(struct ir_builder *b, irv cond, bool want, u64 pc, unsigned aux)
{
    const struct ir_region *r = b->r;
    struct choice c;
    struct ir_node n = {.op = IR_EXIT_IF, .aux = (u16)(aux | (unsigned)!want), .a = cond, .imm = pc};
    if (ir_is_const(r, cond)) {
        bool leaves = r->node[cond].imm == want;
        if (leaves)
            ir_exit(b, pc);
        return !leaves;
    }
    if (!b->raw && is_choice(r, cond, &c)) {
        if (c.other == want)
            return exit_if(b, c.a, !c.when, pc, aux) && exit_if(b, c.x, want, pc, aux);
        if (r->node[c.x].op == IR_ICMP) { /* that may be left undone */
            n.a = c.a;
            n.b = c.x;
            n.aux = (u16)(aux | (unsigned)!want << 1 | (unsigned)!c.when);
        }
    }
    n.c = ir_state_map(b, pc);
    append(b, &n);
    b->count = 0;
    return true;
}

bool ir_exit_if(struct ir_builder *b, irv cond, bool want, u64 pc)
{
    return exit_if(b, cond, want, pc, b->copy << IR_EXIT_COPY_SHIFT);
}

bool ir_leave_if(struct ir_builder *b, irv cond, bool want, u64 pc)
{
    return exit_if(b, cond, want, pc, IR_EXIT_OUT);
}

void ir_exit_br(struct ir_builder *b, irv cond, u64 yes, u64 no)
{
    struct choice c;
    if (ir_is_const(b->r, cond)) {
        ir_exit(b, b->r->node[cond].imm ? yes : no);
        return;
    }
    if (!b->raw && is_choice(b->r, cond, &c)) {
        if (ir_exit_if(b, c.a, !c.when, c.other ? yes : no))
            ir_exit_br(b, c.x, yes, no);
        return;
    }
    irv other = ir_const(b, IR_I64, no);
    end_region(b, IR_EXIT_BR, cond, other, yes, b->pc);
}


void ir_exit_ind(struct ir_builder *b, irv pc)
{
    end_region(b, IR_EXIT_IND, pc, 0, 0, b->pc);
}

void ir_call(struct ir_builder *b, u64 target, u64 ret)
{
    irv r = ir_const(b, IR_I64, ret);
    end_region(b, IR_CALL, 0, r, target, target);
}

void ir_call_ind(struct ir_builder *b, irv target, u64 ret)
{
    irv r = ir_const(b, IR_I64, ret);
    end_region(b, IR_CALL_IND, target, r, 0, b->pc);
}

void ir_ret(struct ir_builder *b, irv pc)
{
    end_region(b, IR_RET, pc, 0, 0, b->pc);
}

void ir_raise(struct ir_builder *b, unsigned code, irv arg, u64 pc)
{
    end_region(b, IR_RAISE, arg, 0, code, pc);
}

u32 ir_edge(struct ir_builder *b, u32 block, const irv *args, unsigned count)
{
    struct ir_region *r = b->r;
    struct ir_edge e = {block, r->nargs, count};
    for (unsigned i = 0; i < count; i++)
        VEC_PUSH(r->args, r->nargs, r->args_cap) = args[i];
    VEC_PUSH(r->edge, r->nedges, r->edge_cap) = e;
    return r->nedges - 1;
}

void ir_jmp(struct ir_builder *b, u32 edge)
{
    end_block(b, (struct ir_node){.op = IR_JMP, .b = edge});
}

void ir_br(struct ir_builder *b, irv cond, u32 edge_true, u32 edge_false)
{
    end_block(b, (struct ir_node){.op = IR_BR, .a = cond, .b = edge_true, .c = edge_false});
}
