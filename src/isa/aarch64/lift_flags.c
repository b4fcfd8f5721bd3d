/* NZCV at the end of a block. Most flags are dead by then, but nothing in the block says so; a look at
 * the code that follows often does. What is written again before anything can see it is not stored
 * at all; what a fault could still see, but can be computed again from registers that stay as they
 * are, costs one constant store (IR_SITE). What the next block reads is stored as bits. */
#include <string.h>

#include "isa/aarch64/lift.h"
#include "jit/ir/fl.h"

#define LOOK          16 /* instructions ahead, on each way */
#define LOOK_BRANCHES 2
#define LEAF          24 /* instructions of a function that is inlined, at most */

/* What may still see the flags, from least to most. */
enum fate { FATE_DEAD, FATE_FAULT, FATE_LIVE, FATE_READ };

/* Registers that an instruction may write, as far as a look at its bits tells: sets of x0..x30. All when it cannot
 * tell. */
struct changes {
    u32 stepped; /* a small constant is added */
    u32 other;
};

/* ADD, SUB (immediate) of 64 bits, unshifted, of a register to itself. */
static bool is_step(u32 insn)
{
    return (insn & 0xbfc00000) == 0x91000000 && (insn & 31) == (insn >> 5 & 31);
}

/* Of what computes: does it write a vector register? Conversions, moves and copies may write a general one. */
static bool is_of_vectors(u32 insn)
{
    bool converts = (insn & 0x5f200000) == 0x1e000000 || (insn & 0x5f20fc00) == 0x1e200000;
    bool copies = (insn & 0x9fe08400) == 0x0e000400;
    return (insn >> 25 & 7) == 7 && !converts && !copies;
}

static struct changes written(u32 insn, const struct insn *e)
{
    u32 rd = 1u << (insn & 31), rn = 1u << (insn >> 5 & 31), rt2 = 1u << (insn >> 10 & 31);
    bool vector = insn >> 26 & 1;
    if (!(e->effects & (INSN_LOADS | INSN_STORES)))
        return is_step(insn) ? (struct changes){.stepped = rd} : (struct changes){.other = is_of_vectors(insn) ? 0 : rd};
    if ((insn >> 27 & 7) == 5) /* pairs */
        return (struct changes){insn >> 23 & 1 ? rn : 0, insn >> 22 & 1 && !vector ? rd | rt2 : 0};
    if ((insn >> 27 & 7) != 7 || (!(insn >> 24 & 1) && (insn >> 21 & 1) && (insn >> 10 & 3) != 2))
        return (struct changes){.other = ~0u}; /* exclusives, atomics, structures */
    bool writeback = !(insn >> 24 & 1) && !(insn >> 21 & 1) && (insn >> 10 & 1);
    return (struct changes){writeback ? rn : 0, vector ? 0 : rd};
}

/* Loads and stores, and what computes: nothing that C does on the state. */
static bool is_plain(u32 insn)
{
    unsigned op = insn >> 25 & 15;
    return (op & 5) == 4 || (op & 14) == 8 || (op & 7) == 5 || (op & 7) == 7;
}

/* Where a branch that depends on no flags goes; 0: nowhere that the bits say. */
static u64 branch_target(u32 insn, u64 pc)
{
    s32 words;
    if (insn >> 26 == 5) /* b */
        words = (s32)(insn << 6) >> 6;
    else if ((insn >> 25 & 0x3f) == 0x1a) /* cbz, cbnz */
        words = (s32)(insn << 8) >> 13;
    else if ((insn >> 25 & 0x3f) == 0x1b) /* tbz, tbnz */
        words = (s32)(insn << 13) >> 18;
    else
        return 0;
    return pc + (u64)(s64)words * 4;
}

/* A look along the ways that control may go. */
struct path {
    u64 pc, start; /* start: of the block */
    u32 operands; /* registers that must stay as they are */
    u32 changed;  /* those that do not */
    u32 stepped;  /* those that constants were added to, which does no harm within one block */
    enum fate fate;
    unsigned branches; /* that may still be followed */
};

static enum fate look_along(struct lift *l, struct path p);

static enum fate look_past_branch(struct lift *l, struct path *p, u32 insn)
{
    struct path taken = *p;
    taken.pc = taken.start = branch_target(insn, p->pc);
    p->pc += 4;
    p->start = p->pc;
    if (!taken.pc || !p->branches || p->stepped & p->operands)
        return FATE_LIVE;
    p->branches = --taken.branches;
    enum fate fate = look_along(l, taken);
    if (insn >> 26 == 5 || fate >= FATE_LIVE)
        return fate;
    enum fate other = look_along(l, *p);
    return MAX(fate, other);
}

/* Where the block that starts at p->start goes on: not behind its page, nor where each instruction is a block. */
static bool stays_in_block(const struct lift *l, const struct path *p, u32 insn)
{
    return is_plain(insn) && !((p->pc ^ p->start) >> IR_PAGE_BITS) && l->max_insns > 1;
}

/* That control may be taken away between instructions does not count: whoever gets it there by chance
 * finds older flags, and nothing rests on them. */
static enum fate look_along(struct lift *l, struct path p)
{
    u32 code[LOOK];
    if (l->key & (A64_KEY_NO_FP | A64_KEY_STEP | A64_KEY_BREAKS) || !ir_with(l->b->r, IR_PASS_FLAGS))
        return FATE_LIVE; /* any instruction may leave, or nobody shall look */
    size_t n = l->peek ? l->peek(l, p.pc, code, sizeof(code)) / 4 : 0;
    for (size_t i = 0; i < n; i++, p.pc += 4) {
        const struct insn *e = a64_decode(code[i]);
        if (!e || !has_feature(l, e->feature) || e->effects & INSN_TODO || lift_site(l->breaks, p.pc))
            return FATE_LIVE;
        if (e->effects & INSN_READS_FLAGS)
            return FATE_READ;
        if (e->effects & INSN_WRITES_FLAGS)
            return p.fate;
        if (e->effects & INSN_ENDS_BLOCK)
            return look_past_branch(l, &p, code[i]);
        if (p.stepped & p.operands && !stays_in_block(l, &p, code[i]))
            return FATE_LIVE;
        if (e->effects & (INSN_LOADS | INSN_STORES)) {
            if (p.changed & p.operands)
                return FATE_LIVE;
            p.fate = FATE_FAULT;
        }
        const struct changes c = written(code[i], e);
        p.changed |= c.other;
        p.stepped |= c.stepped;
    }
    return FATE_LIVE;
}

static enum fate look(struct lift *l, u64 pc, u32 operands)
{
    return look_along(l, (struct path){.pc = pc, .start = pc, .operands = operands, .branches = LOOK_BRANCHES});
}

/* The register that holds a value now; -1: none. */
static int holder(const struct lift *l, irv v)
{
    for (unsigned r = 0; r <= A64_SP; r++) {
        if (l->b->cur[A64_X0 + r] == v)
            return (int)r;
    }
    return -1;
}

/* The register that holds a + k. */
static int holder_of_sum(const struct lift *l, irv a, u64 k, unsigned type)
{
    const struct ir_region *r = l->b->r;
    for (unsigned s = 0; s <= A64_SP; s++) {
        irv v = l->b->cur[A64_X0 + s];
        if (v < IR_FIRST_NODE || r->node[v].op != IR_ADD || r->node[v].a != a ||
            r->node[v].type != type || !ir_is_const(r, r->node[v].b))
            continue;
        u64 mask = type == IR_I32 ? 0xffffffff : ~0ull;
        if (!((r->node[r->node[v].b].imm ^ k) & mask))
            return (int)s;
    }
    return -1;
}

static bool immediate(u64 k, u32 *field)
{
    if (k < 4096) {
        *field = (u32)k;
        return true;
    }
    *field = (u32)(k >> 12) | 1u << 12;
    return !(k & 0xfff) && k >> 24 == 0;
}

/* The flags as a site, and the registers that it rests on; 0 when they cannot be found again. */
static irv make_site(struct lift *l, irv fl, u32 *operands)
{
    const struct ir_region *r = l->b->r;
    if (fl < IR_FIRST_NODE)
        return 0;
    const struct ir_node n = r->node[fl];
    bool sub = n.op == IR_FL_SUB, wide = n.aux == 64;
    if (!sub && n.op != IR_FL_ADD)
        return 0;
    enum ir_fl_kind kind = (sub ? IR_FLK_SUB32 : IR_FLK_ADD32) + wide;
    enum ir_fl_site_a how = IR_FL_A_IS;
    int a = holder(l, n.a), b = -1;
    u32 field = 0;
    if (ir_is_const(r, n.b)) {
        u64 k = r->node[n.b].imm;
        if (!immediate(k, &field))
            return 0;
        if (a < 0) {
            a = holder_of_sum(l, n.a, sub ? 0 - k : k, wide ? IR_I64 : IR_I32);
            how = sub ? IR_FL_A_PLUS_B : IR_FL_A_MINUS_B;
        }
    } else {
        b = holder(l, n.b);
        if (b < 0)
            return 0;
        field = (u32)b * 8;
    }
    if (a < 0)
        return 0;
    *operands = 1u << a | (b >= 0 ? 1u << b : 0);
    return ir_emit(l->b, IR_FL_SITE, IR_FL, 0, fl, 0, 0,
                   ir_fl_site(kind, how, (u32)a * 8, b >= 0, field));
}

static void end_flags(struct lift *l, u64 yes, u64 no)
{
    irv fl = get_flags(l);
    u32 operands = 0;
    if (fl == A64_NZCV + 1)
        return; /* as they were at the block's start */
    irv site = make_site(l, fl, &operands);
    enum fate fate = look(l, yes, operands);
    if (no != yes) {
        enum fate other = look(l, no, operands);
        fate = MAX(fate, other);
    }
    if (fate == FATE_DEAD)
        put_flags(l, ir_undef(l->b, IR_FL));
    else if (fate == FATE_FAULT && site)
        put_flags(l, site);
    else if (fate == FATE_READ && fl >= IR_FIRST_NODE) /* plain bits are quick to test */
        put_flags(l, ir_emit(l->b, IR_FL_BITS, IR_FL, 0,
                             ir_emit(l->b, IR_FL_GET, IR_I32, 0, fl, 0, 0, 0), 0, 0, 0));
}

/* Flags from before the block may rest on registers that it has added to. */
static bool may_stop(struct lift *l)
{
    s64 by;
    bool found = false;
    for (unsigned r = 0; r <= A64_SP && !found && get_flags(l) == A64_NZCV + 1; r++)
        found = ir_step(l->b->r, A64_X0 + r, l->b->cur[A64_X0 + r], &by);
    return !found;
}

static bool may_join(struct lift *l)
{
    return may_stop(l) && (get_flags(l) == A64_NZCV + 1 || look(l, l->pc, 0) != FATE_READ);
}

const struct isa_flags a64_flags = {A64_NZCV, end_flags, may_join, may_stop};

/* Straight code up to a plain return that leaves the link register alone. Of the hints only NOP is let in:
 * pointer authentication is among them. */
bool a64_is_small_leaf(struct lift *l, u64 pc)
{
    u32 code[LEAF];
    size_t n = l->peek(l, pc, code, sizeof(code)) / 4;
    for (size_t i = 0; i < n; i++) {
        const struct insn *e = a64_decode(code[i]);
        struct changes c = e ? written(code[i], e) : (struct changes){0};
        bool hint = (code[i] & 0xfffff01f) == 0xd503201f && code[i] != 0xd503201f;
        if (code[i] == 0xd65f03c0) /* ret */
            return true;
        if (!e || !has_feature(l, e->feature) || e->effects & (INSN_TODO | INSN_ENDS_BLOCK) || hint ||
            (c.other | c.stepped) >> 30 & 1)
            return false;
    }
    return false;
}

u64 a64_call_before(struct lift *l, u64 back)
{
    u32 insn;
    bool call = l->peek(l, back - 4, &insn, sizeof(insn)) == sizeof(insn) && insn >> 26 == 0x25; /* BL */
    return call ? back - 4 + ((u64)sext64(insn, 26) << 2) : 0;
}
