/* From an allocation to host code: walks the allocated instructions, then emits what was put out of
 * line, then the literal pool. */
#include "jit/host/x86_64/x64.h"

#include <stdlib.h>
#include <string.h>
#include <sys/platform/x86.h>

#include "base/mem.h"
#include "jit/ir/fl.h"

#define LOOP_ALIGN 32

static struct x64_mem slot_mem(const struct x64_gen *g, unsigned slot, s32 plus)
{
    return x64_at(X64_ENV, (s32)g->r->slots->slot[slot].offset + plus - IR_ENV_BIAS);
}

static struct x64_mem loc_mem(const struct x64_gen *g, struct ra_loc at)
{
    if (at.place == RA_IN_SLOT)
        return slot_mem(g, at.index, 0);
    return x64_at(X64_ENV, ENV(spill) + (s32)(at.index * sizeof(v128)));
}

/* ---- literals ---- */

static void add_literal(struct x64_gen *g, u8 *rel32, unsigned after, v128 value, unsigned size)
{
    VEC_PUSH(g->literal, g->nliterals, g->literal_cap) = (struct x64_literal){rel32, (u8)after, (u8)size, value};
}

/* Compare a register with a constant that may be wide. The program's own code has it in an instruction often: what is
 * returned to was put into the link register. */
static void compare_wide(struct x64_gen *g, unsigned reg, u64 value)
{
    const u8 *at = NULL;
    if ((s64)value == (s32)value) {
        x64_alu_ri(&g->a, XALU_CMP, true, reg, (s32)value);
        return;
    }
    x64_alu_rm(&g->a, XALU_CMP, true, reg, (struct x64_mem){X64_RIP, X64_NONE, 0, 0});
    for (unsigned k = 0; k < ARRAY_LEN(g->wide) && !at; k++)
        at = g->wide[k].at && g->wide[k].value == value ? g->wide[k].at : NULL;
    if (!at)
        add_literal(g, g->a.p - 4, 0, (v128){.d = {value}}, sizeof(value));
    else if (!g->a.overflow)
        x64_patch(g->a.p - 4, at);
}

void x64_v3lit(struct x64_gen *g, enum x64_insn x, unsigned dst, unsigned s1, v128 value)
{
    x64_v3m(&g->a, x, dst, s1, (struct x64_mem){.base = X64_RIP, .index = X64_NONE});
    add_literal(g, g->a.p - 4, 0, value, sizeof(value));
}

void x64_v2lit(struct x64_gen *g, enum x64_insn x, unsigned reg, v128 value)
{
    x64_v2m(&g->a, x, reg, (struct x64_mem){.base = X64_RIP, .index = X64_NONE});
    add_literal(g, g->a.p - 4, 0, value, sizeof(value));
}

void x64_v3lit_i(struct x64_gen *g, enum x64_insn x, unsigned dst, unsigned s1, v128 value, u8 imm)
{
    x64_v3m(&g->a, x, dst, s1, (struct x64_mem){.base = X64_RIP, .index = X64_NONE});
    x64_byte(&g->a, imm);
    add_literal(g, g->a.p - 5, 1, value, sizeof(value));
}

/* Where the same constant stands already, or NULL. */
static const u8 *find_literal(const struct x64_gen *g, const struct x64_literal *l)
{
    for (const struct x64_literal *k = g->literal; k < l; k++) {
        s32 d;
        if (k->size != l->size || memcmp(&k->value, &l->value, sizeof(k->value)))
            continue;
        memcpy(&d, k->rel32, sizeof(d));
        return k->rel32 + 4 + k->after + d;
    }
    return NULL;
}

static void emit_literal(struct x64_gen *g, const struct x64_literal *l)
{
    const u8 *at = find_literal(g, l);
    if (!at) {
        if (l->size == sizeof(v128))
            while ((uintptr_t)g->a.p & (sizeof(v128) - 1))
                x64_byte(&g->a, 0xcc);
        at = g->a.p;
        for (unsigned k = 0; k < l->size / sizeof(u64); k++)
            x64_u64(&g->a, l->value.d[k]);
    }
    if (!g->a.overflow)
        x64_patch(l->rel32, at - l->after);
}

/* What has to be aligned comes last. */
static void emit_literals(struct x64_gen *g)
{
    for (unsigned size = sizeof(u64); size <= sizeof(v128); size *= 2) {
        for (u32 i = 0; i < g->nliterals && !g->a.overflow; i++) {
            if (g->literal[i].size == size)
                emit_literal(g, &g->literal[i]);
        }
    }
}

/* ---- moves ---- */

/* A wide one may be compared with later: it stands at the end of its instruction. */
static void move_const(struct x64_gen *g, unsigned dst, u64 value)
{
    const u8 *start = g->a.p;
    x64_mov_ri(&g->a, dst, value);
    if (g->a.p - start == X64_MOV_WIDE_BYTES)
        g->wide[g->nwide++ % ARRAY_LEN(g->wide)] = (struct x64_wide){value, g->a.p - sizeof(value)};
}

static void load_const(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    if (i->dst < RA_VEC) {
        if (!n->imm && !g->flags_live)
            x64_alu_rr(&g->a, XALU_XOR, false, i->dst, i->dst);
        else
            move_const(g, i->dst, n->imm);
        return;
    }
    v128 value = {.d = {n->imm, n->type == IR_V128 ? n->imm : 0}};
    if (!n->imm)
        x64_v3(&g->a, X_PXOR, xr(i->dst), xr(i->dst), xr(i->dst));
    else
        x64_v2lit(g, X_MOVUPS, xr(i->dst), value);
}

/* A slot of an FP register that is no vector. */
static bool is_narrow(const struct ra_ins *i)
{
    return i->type == IR_F64 && i->loc.place == RA_IN_SLOT;
}

/* What was written with 64 bits is read with as many: a narrower load would not get it from the store at once. */
static bool loads_wide(const struct x64_gen *g, const struct ra_ins *i)
{
    bool narrow_slot = i->loc.place == RA_IN_SLOT && g->r->slots->slot[i->loc.index].type == IR_I32;
    return i->type != IR_I32 || !narrow_slot;
}

static void load_loc(struct x64_gen *g, const struct ra_ins *i)
{
    struct x64_mem m = loc_mem(g, i->loc);
    if (i->dst >= RA_VEC) {
        x64_v2m(&g->a, is_narrow(i) ? X_MOVQ : X_MOVUPS, xr(i->dst), m);
    } else if (i->type == IR_FL && i->loc.place == RA_IN_SLOT) {
        /* a recipe in memory is made into bits first, once */
        x64_alu_mi(&g->a, XALU_CMP, false, m, IR_FLK_BITS);
        struct x64_cold *c = x64_cold_add(g, X64_COLD_FLAGS);
        x64_cold_from(c, x64_jcc(&g->a, XCC_NE, false));
        c->slot = i->loc.index;
        c->back = g->a.p;
        m.disp += (s32)offsetof(struct ir_flags, a);
        x64_load(&g->a, false, i->dst, m);
    } else {
        x64_load(&g->a, loads_wide(g, i), i->dst, m);
    }
}

static void store_loc(struct x64_gen *g, const struct ra_ins *i)
{
    struct x64_mem m = loc_mem(g, i->loc);
    unsigned src = i->src[0];
    if (src >= RA_VEC) {
        x64_v2m(&g->a, is_narrow(i) ? X_MOVQ_ST : X_MOVUPS_ST, xr(src), m);
    } else if (i->type == IR_FL && i->loc.place == RA_IN_SLOT) {
        x64_mov_mi(&g->a, true, m, IR_FLK_BITS);
        m.disp += (s32)offsetof(struct ir_flags, a);
        x64_store(&g->a, true, m, src);
    } else {
        x64_store(&g->a, i->type != IR_I32 || i->loc.place == RA_IN_SPILL, m, src);
    }
}

/* A 64-bit constant to memory without a register and without touching the flags. */
static void store_imm64(struct x64_gen *g, struct x64_mem m, u64 value)
{
    if ((s64)value == (s32)value) {
        x64_mov_mi(&g->a, true, m, (s32)value);
        return;
    }
    x64_mov_mi(&g->a, false, m, (s32)(u32)value);
    m.disp += 4;
    x64_mov_mi(&g->a, false, m, (s32)(u32)(value >> 32));
}

static void store_const(struct x64_gen *g, const struct ra_ins *i)
{
    struct x64_mem m = loc_mem(g, i->loc);
    if (i->type == IR_I32)
        x64_mov_mi(&g->a, false, m, (s32)(u32)x64_const(g, i->v));
    else
        store_imm64(g, m, x64_const(g, i->v));
}

static void store_recipe(struct x64_gen *g, const struct ra_ins *i)
{
    static const u8 place[IR_RECIPE_ARGS] = {
        offsetof(struct ir_flags, a), offsetof(struct ir_flags, b), offsetof(struct ir_flags, c),
        offsetof(struct ir_flags, d)};
    struct ir_recipe recipe;
    ir_recipe(g->r, i->v, &recipe);
    /* of the kind only the low half counts */
    x64_mov_mi(&g->a, false, loc_mem(g, i->loc), (s32)recipe.kind);
    for (unsigned k = 0; k < recipe.count; k++) {
        struct x64_mem m = loc_mem(g, i->loc);
        m.disp += place[k];
        if (i->src[k] == RA_IMM)
            store_imm64(g, m, x64_const(g, recipe.arg[k]));
        else if (i->src[k] >= RA_VEC)
            x64_v2m(&g->a, X_MOVQ_ST, xr(i->src[k]), m);
        else
            x64_store(&g->a, true, m, i->src[k]);
    }
}

static void swap_regs(struct x64_gen *g, const struct ra_ins *i)
{
    unsigned x = i->dst, y = i->src[0];
    if (x < RA_VEC) {
        x64_rr(&g->a, X_XCHG, true, x, y);
        return;
    }
    x64_vmov(&g->a, X64_SCRATCH, xr(x));
    x64_vmov(&g->a, xr(x), xr(y));
    x64_vmov(&g->a, xr(y), X64_SCRATCH);
}

void x64_emit_move(struct x64_gen *g, const struct ra_ins *i)
{
    switch (i->kind) {
    case RA_MOVE:
        if (i->dst >= RA_VEC)
            x64_vmov(&g->a, xr(i->dst), xr(i->src[0]));
        else
            x64_mov(&g->a, i->dst, i->src[0]);
        break;
    case RA_SWAP:
        swap_regs(g, i);
        break;
    case RA_LOAD:
        load_loc(g, i);
        break;
    case RA_STORE:
        store_loc(g, i);
        break;
    case RA_CONST:
        load_const(g, i);
        break;
    case RA_STORE_IMM:
        store_const(g, i);
        break;
    default: /* RA_STORE_FL */
        store_recipe(g, i);
        break;
    }
}

/* ---- calls into C ---- */

static void to_thunk(struct x64_gen *g, u8 *rel32, enum x64_thunk t)
{
    if (!g->a.overflow)
        x64_patch(rel32, g->cpu->thunks + g->cpu->thunk_at[t] - g->rx_minus_rw);
}

void x64_call_thunk(struct x64_gen *g, enum x64_thunk t)
{
    to_thunk(g, x64_call(&g->a, false), t);
}

static void jump_thunk(struct x64_gen *g, enum x64_thunk t)
{
    x64_jmp_to(&g->a, g->cpu->thunks + g->cpu->thunk_at[t], g->rx_minus_rw);
}

static void pass_arguments(struct x64_gen *g, const struct ra_ins *i, const struct ir_node *n)
{
    const irv arg[3] = {n->a, n->b, n->c};
    unsigned k = 0;
    for (unsigned at = 0; at < 3; at++) {
        struct x64_mem m = ENV_MEM(helper_arg);
        m.disp += (s32)(at * sizeof(v128));
        if (!arg[at])
            continue;
        unsigned src = i->src[k++];
        if (src == RA_IMM)
            x64_mov_mi(&g->a, true, m, (s32)x64_const(g, arg[at]));
        else if (src >= RA_VEC)
            x64_v2m(&g->a, X_MOVUPS_ST, xr(src), m);
        else
            x64_store(&g->a, true, m, src);
    }
}

static void take_result(struct x64_gen *g, const struct ra_ins *i, const struct ir_node *n)
{
    struct x64_mem m = ENV_MEM(helper_ret);
    if (i->dst == RA_NOREG)
        return;
    if (i->dst < RA_VEC)
        x64_load(&g->a, n->type == IR_I64, i->dst, m);
    else if (n->type == IR_F32)
        x64_v2m(&g->a, X_MOVSS, xr(i->dst), m);
    else if (n->type == IR_F64 || n->type == IR_V64)
        x64_v2m(&g->a, X_MOVQ, xr(i->dst), m);
    else
        x64_v2m(&g->a, X_MOVUPS, xr(i->dst), m);
}

void x64_emit_helper(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    u8 flags = g->cpu->helpers[(u32)n->imm].flags;
    pass_arguments(g, i, n);
    x64_mov_mi(&g->a, true, ENV_MEM(tmp), (s32)(u32)n->imm);
    x64_call_thunk(g, flags & IR_HELPER_WRITES  ? X64_T_HELPER_WRITE
                      : flags & IR_HELPER_READS ? X64_T_HELPER_READ
                      : flags & IR_HELPER_FP    ? X64_T_HELPER
                                                : X64_T_HELPER_INT);
    take_result(g, i, n);
}

void x64_emit_eval(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    struct x64_mem imm = ENV_MEM(tmp);
    imm.disp += 8;
    pass_arguments(g, i, n);
    x64_mov_mi(&g->a, true, ENV_MEM(tmp), (s32)(n->op | (u32)n->type << 8 | (u32)n->aux << 16));
    x64_mov_mi(&g->a, true, imm, (s32)(u32)n->imm);
    x64_call_thunk(g, ir_effects[n->op] & IR_E_FP ? X64_T_EVAL : X64_T_EVAL_INT);
    take_result(g, i, n);
}

/* ---- cold code ---- */

struct x64_cold *x64_cold_add(struct x64_gen *g, enum x64_cold_kind kind)
{
    VEC_PUSH(g->cold, g->ncold, g->cold_cap) = (struct x64_cold){.kind = (u8)kind};
    return &g->cold[g->ncold - 1];
}

void x64_cold_from(struct x64_cold *c, u8 *rel32)
{
    c->rel32[c->njumps++] = rel32;
}

struct x64_cold *x64_cold_eval(struct x64_gen *g, const struct ra_ins *i)
{
    struct x64_cold *c = x64_cold_add(g, X64_COLD_EVAL);
    c->ins = i;
    return c;
}

/* Where a page of a machine leads may change while the code stays: ways to another one ask the inline look-up, and so do
 * those that are too far away for struct host_link. */
static bool is_far(const struct x64_gen *g, u64 pc)
{
    s64 away = (s64)(pc - g->r->pc);
    return (g->r->mmu && (pc ^ g->r->pc) >> IR_PAGE_BITS) || away != (s32)away;
}

/* What leaves hot code often is found by polls. */
static struct host_link *new_link(struct x64_gen *g, u64 pc, bool polls)
{
    struct host_buf *b = g->buf;
    VEC_PUSH(b->link, b->nlinks, b->link_cap) = (struct host_link){.pc = pc, .polls = polls || g->r->by_state};
    return &b->link[b->nlinks - 1];
}

void x64_add_link(struct x64_gen *g, u8 *rel32, u64 pc, bool polls)
{
    if (is_far(g, pc)) {
        struct x64_cold *far = x64_cold_add(g, X64_COLD_FAR);
        x64_cold_from(far, rel32);
        far->pc = pc;
        return;
    }
    new_link(g, pc, polls)->at = x64_offset(g, rel32);
    struct x64_cold *c = x64_cold_add(g, X64_COLD_LINK);
    x64_cold_from(c, rel32);
    c->link = g->buf->nlinks - 1;
}

void x64_fault_range(struct x64_gen *g, const struct ra_ins *i, const u8 *start, bool write,
                     const struct x64_mem *m)
{
    struct host_buf *b = g->buf;
    struct host_fault f = {.start = x64_offset(g, start),
                           .end = x64_offset(g, g->a.p),
                           .state = i->state - 1,
                           .what = HOST_LEAVE_ACCESS,
                           .write = write,
                           .base = m->base,
                           .index = m->index,
                           .scale = m->scale,
                           .disp = m->disp};
    VEC_PUSH(b->fault, b->nfaults, b->fault_cap) = f;
}

/* C leaves from here: by way of a signal, or, where that is frequent, of a call. */
static void cold_trap(struct x64_gen *g, const struct x64_cold *c)
{
    struct host_buf *b = g->buf;
    bool calls = c->what == HOST_LEAVE_POLL && g->r->mmu;
    if (calls)
        x64_call_thunk(g, X64_T_POLL);
    u32 start = x64_offset(g, g->a.p);
    if (!calls)
        x64_ud2(&g->a);
    VEC_PUSH(b->fault, b->nfaults, b->fault_cap) =
        (struct host_fault){.start = start, .end = start + X64_UD2_BYTES, .state = c->state - 1,
                            .what = c->what, .base = c->dst, .index = 0xff};
}

static bool backward(const struct x64_gen *g, u64 pc)
{
    return pc <= g->r->pc;
}

static void far_jump(struct x64_gen *g, u64 pc)
{
    struct x64_asm *a = &g->a;
    const s32 entry = (s32)(ir_jump_index(pc, g->cpu->insn_align) * sizeof(struct ir_jump));
    x64_mov_ri(a, RAX, pc);
    x64_load(a, true, RCX, ENV_MEM(jumps));
    x64_alu_rm(a, XALU_CMP, true, RAX, x64_at(RCX, entry + (s32)offsetof(struct ir_jump, pc)));
    to_thunk(g, x64_jcc(a, XCC_NE, false), X64_T_MISS);
    x64_jmp_mem(a, x64_at(RCX, entry + (s32)offsetof(struct ir_jump, host)));
}

/* A link that is its own stub: the call that leaves becomes a jump. */
static void link_here(struct x64_gen *g, u64 pc, bool polls)
{
    if (is_far(g, pc)) {
        far_jump(g, pc);
        return;
    }
    x64_keep_in_line(&g->a, X64_CALL_BYTES);
    struct host_link *l = new_link(g, pc, polls);
    l->stub = x64_offset(g, g->a.p);
    l->at = l->stub + 1;
    x64_call_thunk(g, X64_T_LINK);
}

static void direct_jump(struct x64_gen *g, u64 pc)
{
    link_here(g, pc, backward(g, pc));
}

static void jump_to_block(struct x64_gen *g, u8 *rel32, u32 block)
{
    VEC_PUSH(g->fix, g->nfixes, g->fix_cap) = (struct x64_fix){rel32, block};
}

/* The state goes home, then control to the exit's pc. */
static void emit_side(struct x64_gen *g, const struct ra_ins *i)
{
    for (; i->kind != RA_SIDE_END; i++)
        x64_emit_move(g, i);
    if (i->loc.index)
        jump_to_block(g, x64_jmp(&g->a, false), i->loc.index - 1);
    else
        direct_jump(g, x64_node(g, i)->imm);
}

static void emit_one_by_one(struct x64_gen *g, const struct x64_cold *c);

static void emit_cold(struct x64_gen *g, const struct x64_cold *c)
{
    for (unsigned k = 0; k < c->njumps && !g->a.overflow; k++)
        x64_patch(c->rel32[k], g->a.p);
    switch (c->kind) {
    case X64_COLD_LINK:
        g->buf->link[c->link].stub = x64_offset(g, g->a.p);
        x64_call_thunk(g, X64_T_LINK);
        return;
    case X64_COLD_FAR:
        far_jump(g, c->pc);
        return;
    case X64_COLD_MMU:
        x64_mmu_cold(g, c);
        return;
    case X64_COLD_GROUP:
        x64_group_cold(g, c);
        return;
    case X64_COLD_COPY:
        emit_one_by_one(g, c);
        break;
    case X64_COLD_TRAP:
        cold_trap(g, c);
        if (c->what != HOST_LEAVE_POLL)
            return;
        break; /* context_pass() may go on */
    case X64_COLD_EVAL:
        x64_emit_eval(g, c->ins);
        break;
    case X64_COLD_FLAGS:
        x64_mov_mi(&g->a, true, ENV_MEM(tmp), g->r->slots->slot[c->slot].offset);
        x64_call_thunk(g, X64_T_FLAGS);
        break;
    case X64_COLD_SIDE:
        emit_side(g, c->ins);
        return;
    case X64_COLD_CALL_MISS:
        x64_call_thunk(g, X64_T_MISS);
        break;
    default: /* X64_COLD_HOT */
        x64_call_thunk(g, X64_T_HOT);
        return;
    }
    u8 *back = x64_jmp(&g->a, false);
    if (!g->a.overflow)
        x64_patch(back, c->back);
}

void x64_finish_cold(struct x64_gen *g)
{
    for (u32 i = 0; i < g->ncold && !g->a.overflow; i++) {
        struct x64_cold c = g->cold[i]; /* cold code may have cold code of its own */
        emit_cold(g, &c);
    }
}

/* ---- exits ---- */

static void conditional_exit(struct x64_gen *g, const struct ir_node *n)
{
    struct x64_cond c;
    u64 other = x64_const(g, n->b);
    x64_resolve_cond(g->r, n->a, g->block_first, &c);
    if (c.parity) { /* unordered: false for `equal`, true for `not equal` */
        u64 pc = c.parity > 0 ? other : n->imm;
        x64_add_link(g, x64_jcc(&g->a, XCC_P, true), pc, backward(g, pc));
    }
    x64_add_link(g, x64_jcc(&g->a, c.cc, true), n->imm, backward(g, n->imm));
    direct_jump(g, other);
}

u8 *x64_probe(struct x64_asm *a, const struct host_cpu *cpu)
{
    unsigned shift = 4 - cpu->insn_align;
    x64_load(a, true, RCX, ENV_MEM(jumps));
    x64_mov32(a, RDX, RAX);
    x64_shift_ri(a, XSH_SHR, false, RDX, IR_JUMP_BITS);
    x64_alu_rr(a, XALU_XOR, false, RDX, RAX);
    if (shift)
        x64_shift_ri(a, XSH_SHL, false, RDX, (u8)shift);
    x64_alu_ri(a, XALU_AND, false, RDX, ((1 << IR_JUMP_BITS) - 1) << 4);
    x64_alu_rm(a, XALU_CMP, true, RAX, (struct x64_mem){RCX, RDX, 0, 0});
    return x64_jcc(a, XCC_NE, false);
}

/* Where a call comes back: is it what the guest returns to? */
static void return_site(struct x64_gen *g, const struct ir_node *call)
{
    u64 pc = x64_const(g, call->b);
    compare_wide(g, RAX, pc);
    to_thunk(g, x64_jcc(&g->a, XCC_NE, false), X64_T_MISS);
    if (ir_return_block(g->r, call) == UINT32_MAX)
        link_here(g, pc, false);
}

static void indirect_call(struct x64_gen *g, const struct ir_node *n)
{
    u8 *miss = x64_probe(&g->a, g->cpu);
    x64_call_mem(&g->a, (struct x64_mem){RCX, RDX, 0, 8});
    struct x64_cold *c = x64_cold_add(g, X64_COLD_CALL_MISS);
    x64_cold_from(c, miss);
    c->back = g->a.p;
    return_site(g, n);
}

static void store_pc(struct x64_gen *g, u64 pc)
{
    store_imm64(g, slot_mem(g, g->r->slots->pc, 0), pc);
}

static void emit_raise(struct x64_gen *g, const struct ir_node *n)
{
    if (n->a)
        x64_store(&g->a, true, ENV_MEM(exit_arg), RAX);
    x64_mov_mi(&g->a, false, ENV_MEM(exit_code), (s32)n->imm);
    x64_mov_mi(&g->a, false, ENV_MEM(exit), IR_EXIT_RAISE);
    store_pc(g, g->r->map[n->c].pc);
    jump_thunk(g, X64_T_LEAVE);
}

static void emit_branch(struct x64_gen *g, const struct ir_node *n)
{
    struct x64_cond c;
    g->edge_rel32 = g->edge_rel32_2 = NULL;
    if (n->op == IR_JMP)
        return;
    /* the code of the first edge (condition true) follows; false jumps to the second edge's */
    x64_resolve_cond(g->r, n->a, g->block_first, &c);
    if (c.parity > 0) {
        g->edge_rel32_2 = x64_jcc(&g->a, XCC_P, false);
        g->edge_rel32 = x64_jcc(&g->a, c.cc ^ 1, false);
    } else if (c.parity < 0) {
        u8 *yes = x64_jcc(&g->a, XCC_P, false);
        g->edge_rel32 = x64_jcc(&g->a, c.cc ^ 1, false);
        x64_patch(yes, g->a.p);
    } else {
        g->edge_rel32 = x64_jcc(&g->a, c.cc ^ 1, false);
    }
}

static void negate(struct x64_cond *c)
{
    c->cc ^= 1;
    c->parity = -c->parity;
}

/* A side exit with nothing to move jumps right to the block or the link. */
static void jump_from_side(struct x64_gen *g, const struct ra_ins *i, unsigned cc)
{
    u32 block = i[1].loc.index;
    u64 pc = x64_node(g, i)->imm;
    u8 *rel = x64_jcc(&g->a, cc, !block);
    if (block)
        jump_to_block(g, rel, block - 1);
    else
        x64_add_link(g, rel, pc, backward(g, pc));
}

/* What stands between a side exit and the jump back of its loop, if that is all: a store of flags that the
 * side exit stores in its own way. Returns the jump, NULL for anything else. */
static const struct ra_ins *jump_behind(const struct x64_gen *g, const struct ra_ins *side,
                                        const struct ra_ins *end)
{
    const struct ra_ins *i = end + 1, *last = g->ra->ins + g->ra->nins;
    if (i < last && i->kind == RA_STORE_FL) {
        bool stored = false;
        for (const struct ra_ins *k = side + 1; k < end; k++)
            stored |= (k->kind == RA_STORE_FL || k->kind == RA_STORE) && k->loc.place == RA_IN_SLOT &&
                      k->loc.index == i->loc.index;
        i += stored;
    }
    return i < last && i->kind == RA_JUMP && g->block_at[i->loc.index] ? i : NULL;
}

/* `if (c) leave; jump back` as `if (!c) jump back; leave`. Returns the last instruction that it dealt with,
 * NULL for none. */
static const struct ra_ins *close_loop(struct x64_gen *g, const struct ra_ins *i,
                                       const struct x64_cond *c)
{
    const struct ra_ins *end = i;
    while (end->kind != RA_SIDE_END)
        end++;
    const struct ra_ins *jump = c->parity ? NULL : jump_behind(g, i, end);
    if (!jump)
        return NULL;
    if (jump != end + 1)
        x64_emit_move(g, end + 1);
    jump_to_block(g, x64_jcc(&g->a, c->cc ^ 1, false), jump->loc.index);
    for (i++; i < end; i++)
        x64_emit_move(g, i);
    bool next = jump + 1 < g->ra->ins + g->ra->nins && jump[1].kind == RA_BLOCK &&
                jump[1].v + 1 == end->loc.index;
    if (!end->loc.index)
        direct_jump(g, x64_node(g, end)->imm);
    else if (!next)
        jump_to_block(g, x64_jmp(&g->a, false), end->loc.index - 1);
    return jump;
}

/* Returns the last instruction that has been dealt with. */
static const struct ra_ins *jump_to_side(struct x64_gen *g, const struct ra_ins *i)
{
    struct x64_cond c;
    const struct ir_node *n = x64_node(g, i);
    x64_resolve_cond(g->r, n->b ? n->b : n->a, g->block_first, &c);
    if (n->aux >> (n->b != 0) & 1)
        negate(&c);
    const struct ra_ins *last = n->b ? NULL : close_loop(g, i, &c);
    if (last)
        return last;
    u8 *over = c.parity > 0 ? x64_jcc(&g->a, XCC_P, false) : NULL;
    if (i[1].kind == RA_SIDE_END) {
        if (c.parity < 0)
            jump_from_side(g, i, XCC_P);
        jump_from_side(g, i, c.cc);
    } else {
        struct x64_cold *side = x64_cold_add(g, X64_COLD_SIDE);
        side->ins = i + 1;
        if (c.parity < 0)
            x64_cold_from(side, x64_jcc(&g->a, XCC_P, false));
        x64_cold_from(side, x64_jcc(&g->a, c.cc, false));
    }
    if (over)
        x64_patch(over, g->a.p);
    for (unsigned k = 0; n->b && k < 2; k++) {
        if (g->skip[k])
            x64_patch(g->skip[k], g->a.p);
    }
    while (i->kind != RA_SIDE_END) /* comes later, out of line */
        i++;
    return i;
}

void x64_emit_exit(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    switch (n->op) {
    case IR_JMP:
    case IR_BR:
        emit_branch(g, n);
        break;
    case IR_EXIT_LINK:
        direct_jump(g, n->imm);
        break;
    case IR_EXIT_BR:
        conditional_exit(g, n);
        break;
    case IR_CALL: {
        u8 *rel = x64_call(&g->a, true);
        x64_add_link(g, rel, n->imm, true);
        return_site(g, n);
        break;
    }
    case IR_CALL_IND:
        indirect_call(g, n);
        break;
    case IR_EXIT_IND: {
        u8 *miss = x64_probe(&g->a, g->cpu);
        to_thunk(g, miss, X64_T_MISS);
        x64_jmp_mem(&g->a, (struct x64_mem){RCX, RDX, 0, 8});
        break;
    }
    case IR_RET:
        x64_ret(&g->a);
        break;
    default: /* IR_RAISE */
        emit_raise(g, n);
        break;
    }
}

/* ---- the walk ---- */

/* A side exit with two conditions: jump over it unless the first holds. */
static void skip_unless(struct x64_gen *g, const struct x64_cond *c)
{
    u8 *holds = c->parity < 0 ? x64_jcc(&g->a, XCC_P, false) : NULL;
    g->skip[1] = c->parity > 0 ? x64_jcc(&g->a, XCC_P, false) : NULL;
    g->skip[0] = x64_jcc(&g->a, c->cc ^ 1, false);
    if (holds)
        x64_patch(holds, g->a.p);
}

static void emit_cond_ins(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    struct x64_cond c;
    x64_resolve_cond(g->r, n->a, g->block_first, &c);
    x64_emit_cond(g, &c, i->src[0], i->src[1], i->tmp[0]);
    if (n->op != IR_EXIT_IF || !n->b)
        return;
    if (n->aux & 1)
        negate(&c);
    skip_unless(g, &c);
    x64_resolve_cond(g->r, n->b, g->block_first, &c);
    x64_emit_cond(g, &c, i->src[2], i->src[3], i->tmp[0]);
}

static void add_fp_site(struct x64_gen *g, irv v)
{
    struct host_buf *b = g->buf;
    VEC_PUSH(b->fp_site, b->nfp_sites, b->fp_site_cap) =
        (struct host_fp_site){x64_offset(g, g->a.p), ir_insn_pc(g->r, v)};
}

static void emit_count(struct x64_gen *g, u16 insns)
{
    struct x64_mem counter = ENV_MEM(counted);
    counter.disp += (s32)(g->buf->counter * sizeof(u64));
    x64_alu_mi(&g->a, XALU_ADD, true, counter, insns);
}

static void emit_node(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    u32 cold = g->ncold;
    if (n->op == IR_HELPER)
        x64_emit_helper(g, i);
    else if (ir_effects[n->op] & IR_E_TERM)
        x64_emit_exit(g, i);
    else if (n->op == IR_POLL)
        x64_emit_mem(g, i);
    else if (n->op == IR_COUNT)
        emit_count(g, n->aux);
    else if (n->op == IR_SELECT || n->op == IR_FL_SELECT)
        x64_emit_select(g, i);
    else if (!x64_has_emitter(g->cpu, g->r, n))
        x64_emit_eval(g, i);
    else if (n->op == IR_ICMP || n->op == IR_FCMP || (n->op >= IR_FL_ADD && n->op <= IR_CC))
        x64_emit_flags(g, i);
    else if (n->op >= IR_ADD && n->op <= IR_CRC32)
        x64_emit_int(g, i);
    else if (n->op >= IR_LD && n->op <= IR_CHKALIGN)
        x64_emit_mem(g, i);
    else if (n->op >= IR_FADD && n->op <= IR_FPFLAGS)
        x64_emit_fp(g, i);
    else
        x64_emit_vec(g, i);
    if (ir_effects[n->op] & IR_E_FP)
        add_fp_site(g, i->v);
    for (; cold < g->ncold; cold++) {
        if (g->cold[cold].kind == X64_COLD_EVAL)
            g->cold[cold].back = g->a.p;
    }
}

/* Returns the last instruction that has been dealt with. */
static const struct ra_ins *emit_ins(struct x64_gen *g, const struct ra_ins *i, u32 *edges)
{
    switch (i->kind) {
    case RA_OP:
        emit_node(g, i);
        g->flags_live = false;
        *edges = 0;
        break;
    case RA_JUMP:
        if (i + 1 == g->ra->ins + g->ra->nins || i[1].kind != RA_BLOCK || i[1].v != i->loc.index)
            jump_to_block(g, x64_jmp(&g->a, false), i->loc.index);
        break;
    case RA_COND:
        emit_cond_ins(g, i);
        g->flags_live = true;
        break;
    case RA_SIDE:
        g->flags_live = false;
        return jump_to_side(g, i);
    case RA_BLOCK:
        if (g->r->by_state && g->ra->block[i->v].heads)
            x64_nops(&g->a, (unsigned)(-(uintptr_t)g->a.p & (LOOP_ALIGN - 1)));
        g->block_at[i->v] = g->a.p;
        g->block_first = g->r->block[i->v].first;
        break;
    case RA_EDGE:
        if (++*edges == 2 && !g->a.overflow) {
            x64_patch(g->edge_rel32, g->a.p);
            if (g->edge_rel32_2)
                x64_patch(g->edge_rel32_2, g->a.p);
        }
        break;
    default:
        x64_emit_move(g, i);
        break;
    }
    return i;
}

/* A group of hot code that is not in one page: the same code again, with a look-up for each access. */
static void emit_one_by_one(struct x64_gen *g, const struct x64_cold *c)
{
    u32 edges = 0;
    g->one_by_one = true;
    g->block_first = c->block_first;
    g->flags_live = false;
    for (const struct ra_ins *i = c->ins; i <= c->last && !g->a.overflow; i++)
        i = emit_ins(g, i, &edges);
    g->one_by_one = false;
}

static void add_mark(struct x64_gen *g, const struct ra_ins *i)
{
    struct host_buf *buf = g->buf;
    if (i->kind != RA_OP)
        return;
    u64 pc = ir_insn_pc(g->r, i->v);
    if (!buf->nmarks || buf->mark[buf->nmarks - 1].pc != pc)
        VEC_PUSH(buf->mark, buf->nmarks, buf->mark_cap) = (struct host_mark){x64_offset(g, g->a.p), pc};
}

/* The lists of the last region, to be filled again. */
static void take_lists(struct x64_gen *g, struct host_buf *b)
{
    g->fix = b->list[0], g->fix_cap = b->list_cap[0];
    g->literal = b->list[1], g->literal_cap = b->list_cap[1];
    g->cold = b->list[2], g->cold_cap = b->list_cap[2];
    g->block_at = b->list[3], g->block_at_cap = b->list_cap[3];
    u32 blocks = g->r->nblocks;
    if (blocks > g->block_at_cap) {
        g->block_at = xrealloc(g->block_at, blocks * sizeof(*g->block_at));
        g->block_at_cap = blocks;
    }
    memset(g->block_at, 0, blocks * sizeof(*g->block_at));
}

static void give_lists_back(const struct x64_gen *g, struct host_buf *b)
{
    b->list[0] = g->fix, b->list_cap[0] = g->fix_cap;
    b->list[1] = g->literal, b->list_cap[1] = g->literal_cap;
    b->list[2] = g->cold, b->list_cap[2] = g->cold_cap;
    b->list[3] = g->block_at, b->list_cap[3] = g->block_at_cap;
}

/* Where control comes that may be part of a cycle: somebody may want it to stop, and it is counted. What leaves then
 * stands in front, near enough for a short jump. */
static void emit_entry(struct x64_gen *g)
{
    const u8 *leave = g->a.p;
    x64_call_thunk(g, X64_T_REQUEST);
    g->buf->entry = x64_offset(g, g->a.p);
    x64_alu_mi(&g->a, XALU_CMP, false, ENV_MEM(request), 0);
    x64_jcc_back(&g->a, XCC_NE, leave);
    if (!g->buf->heat)
        return;
    struct x64_mem counter = ENV_MEM(heat);
    counter.disp += (s32)((g->buf->heat - 1) * sizeof(s32));
    x64_alu_mi(&g->a, XALU_SUB, false, counter, 1);
    x64_cold_from(x64_cold_add(g, X64_COLD_HOT), x64_jcc(&g->a, XCC_S, false));
}

static bool emit(const struct host_cpu *cpu, const struct ra *ra, struct host_buf *buf)
{
    struct x64_gen g = {
        .a = {.p = buf->rw, .start = buf->rw, .end = buf->rw + buf->size,
              .level = (enum x64_level)cpu->level},
        .cpu = cpu, .ra = ra, .r = ra->r, .buf = buf, .rx_minus_rw = buf->rx - buf->rw,
        .block_first = ra->r->block[0].first, .one_by_one = ra->r->neighbours == IR_APART, .accessed = ~0ull,
    };
    u32 edges = 0;
    take_lists(&g, buf);
    buf->nlinks = buf->nfaults = buf->nfp_sites = buf->nmarks = 0;
    emit_entry(&g);
    buf->body = x64_offset(&g, g.a.p);
    for (const struct ra_ins *i = ra->ins; i < ra->ins + ra->nins && !g.a.overflow; i++) {
        if (buf->want_marks)
            add_mark(&g, i);
        if (g.r->mmu)
            x64_group_begin(&g, i);
        i = emit_ins(&g, i, &edges);
        if (g.r->mmu)
            x64_group_end(&g, i);
    }
    buf->cold = x64_offset(&g, g.a.p);
    x64_finish_cold(&g);
    for (u32 k = 0; k < g.nfixes && !g.a.overflow; k++)
        x64_patch(g.fix[k].rel32, g.block_at[g.fix[k].block]);
    buf->data = x64_offset(&g, g.a.p);
    emit_literals(&g);
    buf->used = (size_t)(g.a.p - buf->rw);
    bool ok = !g.a.overflow;
    give_lists_back(&g, buf);
    return ok;
}

/* ---- the description of the host ---- */

/* The C library has asked the processor already: each question costs a virtual machine microseconds. */
#define HAS(name) (CPU_FEATURE_ACTIVE(name) != 0)

static bool detect(struct host_cpu *cpu, const char *limit, unsigned pins, struct err *e)
{
    static const char *const names[] = {"sse4.2", "avx2", "avx512"};
    static const u8 gpr_pins[] = {RDI, RSI, R8, R9, RBX, RBP, R10, R11, R12, R13};
    unsigned have = X64_SSE42;
    if (!HAS(SSE4_2) || !HAS(POPCNT))
        return err_set(e, 0, "this processor lacks SSE4.2, which lyre needs");
    if (HAS(AVX2) && HAS(BMI1) && HAS(BMI2) && HAS(FMA))
        have = X64_AVX2;
    if (have == X64_AVX2 && HAS(AVX512F) && HAS(AVX512VL) && HAS(AVX512BW) && HAS(AVX512DQ))
        have = X64_AVX512;
    unsigned level = have;
    if (limit && strcmp(limit, "host")) {
        for (level = 0; level < ARRAY_LEN(names) && strcmp(limit, names[level]); level++)
            ;
        if (level == ARRAY_LEN(names))
            return err_set(e, 0, "unknown host CPU level '%s'; the levels are sse4.2, avx2, "
                           "avx512 and host", limit);
        if (level > have)
            return err_set(e, 0, "this processor does not have %s; the highest level here is %s",
                           limit, names[have]);
    }
    cpu->level = (u8)level;
    cpu->features[X64_F_BMI] = cpu->features[X64_F_LZCNT] = level >= X64_AVX2;
    cpu->features[X64_F_F16C] = level >= X64_AVX2;
    cpu->features[X64_F_AES] = HAS(AES);
    cpu->features[X64_F_PCLMUL] = HAS(PCLMULQDQ);
    cpu->features[X64_F_SHA] = HAS(SHA);
    bool evex = level >= X64_AVX512;
    cpu->features[X64_F_BITALG] = evex && HAS(AVX512_BITALG);
    cpu->features[X64_F_GFNI] = evex && HAS(GFNI);
    cpu->features[X64_F_VNNI] = evex && HAS(AVX512_VNNI);
    cpu->ra = (struct ra_host){
        .opaque = cpu,
        .allocatable = (0xffffu & ~(1u << RSP | 1u << X64_ENV | (cpu->mmu ? 1u << X64_NEAR : 0))) | 0x7fff0000u,
        .scratch = 1u << RAX | 1u << RCX | 1u << RDX | 0xfu << (RA_VEC + 11),
        .target = RAX,
        .constrain = x64_constrain,
    };
    cpu->ra.npins[0] = (u8)MIN(pins, ARRAY_LEN(gpr_pins));
    cpu->ra.npins[1] = (u8)MIN(pins, 8u);
    memcpy(cpu->ra.pin[0], gpr_pins, sizeof(gpr_pins));
    for (unsigned i = 0; i < 8; i++)
        cpu->ra.pin[1][i] = (u8)(RA_VEC + i);
    return true;
}

/* One store: all of the instruction is in one line of the cache. Where the word is not aligned, compilers have no atomic
 * operation, but the host's moves do. */
static void patch_insn(u8 *rw, u8 opcode, s32 d)
{
    typedef u64 __attribute__((aligned(1), may_alias)) word;
    unsigned at = (unsigned)((uintptr_t)rw & 63), back = at > 56 ? at - 56 : 0;
    u8 bytes[8];
    memcpy(bytes, rw - back, sizeof(bytes));
    bytes[back] = opcode;
    memcpy(bytes + back + 1, &d, sizeof(d));
    u64 value;
    memcpy(&value, bytes, sizeof(value));
    __atomic_thread_fence(__ATOMIC_RELEASE);
    *(volatile word *)(void *)(rw - back) = value;
}

static void patch(const struct host_cpu *cpu, u8 *rw, const u8 *rx, u32 at, u32 stub, const u8 *to)
{
    bool own = stub + 1 == at;
    const u8 *unlinked = own ? cpu->thunks + cpu->thunk_at[X64_T_LINK] : rx + stub;
    s32 d = (s32)((to ? to : unlinked) - (rx + at + 4));
    if (own)
        patch_insn(rw + stub, to ? X64_OP_JMP : X64_OP_CALL, d);
    else
        __atomic_store_n((s32 *)(void *)(rw + at), d, __ATOMIC_RELEASE);
}

const struct host host_x86_64 = {
    .name = "x86_64",
    .capstone_arch = 3,      /* CS_ARCH_X86 */
    .capstone_mode = 1 << 3, /* CS_MODE_64 */
    .detect = detect,
    .make_thunks = x64_make_thunks,
    .has = x64_has,
    .emit = emit,
    .patch = patch,
    .enter = x64_enter,
    .fp_setup = x64_fp_setup,
    .fp_push = x64_fp_push,
    .fp_trap = x64_fp_trap,
    .return_base = x64_return_base,
    .context_pc = x64_context_pc,
    .context_reg = x64_context_reg,
    .context_abandon = x64_context_abandon,
    .context_pass = x64_context_pass,
    .call_context = x64_call_context,
    .access = x64_access,
    .context_reset_stack = x64_context_reset_stack,
};
