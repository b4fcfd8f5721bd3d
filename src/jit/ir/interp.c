#include "jit/ir/interp.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "fp/fp.h"
#include "jit/ir/eval.h"
#include "jit/ir/fl.h"

struct run {
    struct ir_interp *in;
    const struct ir_region *r;
    struct ir_env *env;
    const struct ir_helper *helpers;
    u64 loaded[1 + IR_MAX_SLOTS / 64]; /* a bit for each entry value (and none) that is in `value` */
    u32 next; /* block to go on with; UINT32_MAX: the region was left */
    bool jumped; /* to it, out of the middle of a block perhaps */
    bool committed; /* the slots were written for a helper that reads them */
    bool gone;      /* a helper wrote the slots: they are the state */
    u32 site;       /* what the flags were left as last, if it was a site; or 0 */
};

void ir_slot_load(const struct ir_slot *slot, const struct ir_env *env, v128 *value)
{
    const u8 *p = env->slots + slot->offset;
    *value = (v128){0};
    switch (slot->type) {
    case IR_I32:
        memcpy(value, p, 4);
        break;
    case IR_I64:
    case IR_F64:
        memcpy(value, p, 8);
        break;
    case IR_V128:
        memcpy(value, p, 16);
        break;
    case IR_FL:
        value->d[0] = ir_flags_eval(env->slots, (const struct ir_flags *)p);
        break;
    }
}

void ir_slot_store(const struct ir_slot *slot, struct ir_env *env, const v128 *value)
{
    u8 *p = env->slots + slot->offset;
    switch (slot->type) {
    case IR_I32:
        memcpy(p, value, 4);
        break;
    case IR_I64:
    case IR_F64:
        memcpy(p, value, 8);
        break;
    case IR_V128:
        memcpy(p, value, 16);
        break;
    case IR_FL:
        memcpy(p, &(struct ir_flags){.kind = IR_FLK_BITS, .a = value->d[0] & 15}, sizeof(struct ir_flags));
        break;
    }
}

/* Slots are loaded when their entry values are asked for: most regions look at few. */
static void load_slot(struct run *x, irv v)
{
    u64 *loaded = &x->loaded[v / 64], bit = 1ull << (v % 64);
    if (!(*loaded & bit))
        ir_slot_load(&x->r->slots->slot[ir_entry_slot(v)], x->env, &x->in->value[v]);
    *loaded |= bit;
}

static const v128 *val(struct run *x, irv v)
{
    if (v < IR_FIRST_NODE)
        load_slot(x, v);
    return &x->in->value[v];
}

static u64 ival(struct run *x, irv v)
{
    return val(x, v)->d[0];
}

static void load_all(struct run *x)
{
    for (unsigned s = 0; s < x->r->slots->count; s++)
        load_slot(x, s + 1);
}

static void forget_loaded(struct run *x)
{
    memset(x->loaded, 0, sizeof(x->loaded));
    x->loaded[0] = 1;
}

static void set_pc(struct run *x, u64 pc)
{
    const struct ir_slots *slots = x->r->slots;
    ir_slot_store(&slots->slot[slots->pc], x->env, &(v128){.d = {pc}});
}

/* Flags that were left as a site are not that any more where a slot is written that it rests on, until they are written
 * themselves: whoever made the site knows that nobody reads them. */
static void note_site(struct run *x, const struct ir_put *put, unsigned n)
{
    const struct ir_slots *slots = x->r->slots;
    const unsigned flags = slots->flags;
    bool stale = false;
    for (unsigned i = 0; i < n; i++) {
        const struct ir_node *node = &x->r->node[put[i].value];
        if (put[i].slot == flags) {
            x->site = put[i].value >= IR_FIRST_NODE && node->op == IR_FL_SITE ? (u32)node->imm : 0;
            return;
        }
        stale |= x->site && ir_fl_site_is_of(x->site, slots->slot[put[i].slot].offset);
    }
    if (stale)
        x->in->undef[flags / 64] |= 1ull << (flags & 63);
}

/* Carry out a state map: every listed slot gets its value. Values are read before slots are written,
 * as they live apart from them. */
static void commit_state(struct run *x, u32 map, u64 pc)
{
    const struct ir_slots *slots = x->r->slots;
    struct ir_put put[IR_MAX_SLOTS];
    unsigned n = ir_map_resolve(x->r, map, put);
    for (unsigned i = 0; i < n; i++)
        val(x, put[i].value);
    if (x->committed) { /* slots may hold what was current for a helper */
        for (unsigned s = 0; s < slots->count; s++)
            ir_slot_store(&slots->slot[s], x->env, val(x, s + 1));
    }
    for (unsigned i = 0; i < n; i++) {
        unsigned s = put[i].slot;
        u64 bit = 1ull << (s & 63), *undef = &x->in->undef[s / 64];
        bool is = ir_is_undef(x->r, put[i].value);
        *undef = is ? *undef | bit : *undef & ~bit;
        if (!is)
            ir_slot_store(&slots->slot[s], x->env, val(x, put[i].value));
    }
    if (slots->flags)
        note_site(x, put, n);
    set_pc(x, pc);
}

/* Flags from before the block, of slots that it has added to: in the middle of it they have to be made now. */
static void settle_sites(struct run *x, u32 map)
{
    const struct ir_slots *slots = x->r->slots;
    struct ir_put put[IR_MAX_SLOTS];
    struct ir_step step[IR_MAX_SLOTS];
    unsigned n = slots->flags ? ir_map_resolve(x->r, map, put) : 0, steps = 0;
    for (unsigned i = 0; i < n; i++) {
        if (put[i].slot == slots->flags)
            return; /* they are of the block */
        step[steps].offset = slots->slot[put[i].slot].offset;
        steps += ir_step(x->r, put[i].slot, put[i].value, &step[steps].by);
    }
    if (steps)
        ir_flags_step_back(x->env->slots, env_slot(x->env, slots->slot[slots->flags].offset), step, steps);
}

static void leave(struct run *x, u32 map, u64 pc, enum ir_exit why)
{
    if (!x->gone)
        commit_state(x, map, pc);
    else
        set_pc(x, pc);
    x->env->exit = why;
    x->next = UINT32_MAX;
}

/* A direct exit, which may lead to a block of a by_state region. */
static void jump(struct run *x, const struct ir_node *n)
{
    u32 block = x->gone ? UINT32_MAX : ir_exit_block(x->r, n);
    leave(x, n->c, n->imm, IR_EXIT_LOOKUP);
    if (block == UINT32_MAX)
        return;
    forget_loaded(x);
    x->committed = false;
    x->next = block;
    x->jumped = true;
}

static void fault(struct run *x, const struct ir_node *n, u64 addr, enum ir_access access)
{
    u32 map = ir_node_map(n);
    leave(x, map, x->r->map[map].pc, IR_EXIT_FAULT);
    settle_sites(x, map);
    x->env->exit_addr = addr;
    x->env->exit_code = access;
}

static u64 address(struct run *x, const struct ir_node *n)
{
    u64 index = n->b && (n->op == IR_LD || n->op == IR_ST) ? ival(x, n->b) : 0;
    if (n->aux & IR_MEM_SEXT32)
        index = (u64)(s64)(s32)index;
    if (n->aux & IR_MEM_ZEXT32)
        index = (u32)index;
    if (n->op != IR_LD && n->op != IR_ST)
        return ival(x, n->a);
    return ival(x, n->a) + (index << ((n->aux & IR_MEM_SCALE) >> IR_MEM_SCALE_SHIFT)) +
           (u64)(s64)ir_node_disp(n);
}

static void extend_load(const struct ir_node *n, v128 *v)
{
    unsigned bits = 8 * ir_mem_bytes(n);
    if (n->aux & IR_MEM_SIGNED && bits < 64)
        v->d[0] = (u64)sext64(v->d[0], bits);
    if (n->type == IR_I32)
        v->d[0] = (u32)v->d[0];
}

static u64 rmw_result(unsigned op, u64 old, u64 v, unsigned bits)
{
    s64 so = sext64(old, bits), sv = sext64(v, bits);
    old &= mask64(bits);
    v &= mask64(bits);
    switch (op) {
    case IR_RMW_ADD:
        return old + v;
    case IR_RMW_ANDN:
        return old & ~v;
    case IR_RMW_XOR:
        return old ^ v;
    case IR_RMW_OR:
        return old | v;
    case IR_RMW_SMAX:
        return so > sv ? old : v;
    case IR_RMW_SMIN:
        return so < sv ? old : v;
    case IR_RMW_UMAX:
        return MAX(old, v);
    case IR_RMW_UMIN:
        return MIN(old, v);
    default:
        return v;
    }
}

static bool run_rmw(struct run *x, const struct ir_node *n, u64 addr, v128 *out)
{
    const struct ir_mem *m = x->in->mem;
    unsigned bytes = ir_mem_bytes(n);
    v128 old = {0}, seen = {0};
    if (!m->load(m->opaque, addr, &old, bytes))
        return false;
    for (;; old = seen) {
        v128 new = {.d = {rmw_result(n->aux >> 8, old.d[0], ival(x, n->b), bytes * 8) &
                          mask64(bytes * 8)}};
        seen = (v128){0};
        if (!m->cas(m->opaque, addr, &old, &new, &seen, bytes))
            return false;
        if (seen.d[0] == old.d[0])
            break;
    }
    *out = old;
    return true;
}

/* The reservation is {address, size, value}: a store succeeds when memory still holds the value. */
static bool run_sc(struct run *x, const struct ir_node *n, u64 addr, v128 *out)
{
    struct ir_exclusive *ex = &x->env->excl;
    const struct ir_mem *m = x->in->mem;
    unsigned bytes = ir_mem_bytes(n);
    bool ok = ex->size == bytes && ex->addr == addr;
    ex->size = 0;
    if (ok) {
        v128 old = {0}, want = {0}, new = {0};
        memcpy(&want, &ex->value, bytes);
        memcpy(&new, val(x, n->b), bytes);
        if (!m->cas(m->opaque, addr, &want, &new, &old, bytes))
            return false;
        ok = !memcmp(&old, &want, 16);
    }
    *out = (v128){.d = {!ok}};
    return true;
}

static bool access_memory(struct run *x, const struct ir_node *n, u64 addr, v128 *out)
{
    const struct ir_mem *m = n->aux & IR_MEM_UNPRIV && x->in->mem->unpriv ? x->in->mem->unpriv : x->in->mem;
    unsigned bytes = ir_mem_bytes(n);
    v128 want = {0}, new = {0};
    switch (n->op) {
    case IR_LD:
        if (!m->load(m->opaque, addr, out, bytes))
            return false;
        extend_load(n, out);
        return true;
    case IR_ST:
        return m->store(m->opaque, addr, val(x, n->c), bytes);
    case IR_CAS:
        memcpy(&want, val(x, n->b), bytes);
        memcpy(&new, val(x, n->c), bytes);
        return m->cas(m->opaque, addr, &want, &new, out, bytes);
    case IR_RMW:
        return run_rmw(x, n, addr, out);
    case IR_LL:
        if (!m->load(m->opaque, addr, out, bytes))
            return false;
        x->env->excl = (struct ir_exclusive){addr, bytes, *out};
        return true;
    default:
        return run_sc(x, n, addr, out);
    }
}

static void run_memory(struct run *x, const struct ir_node *n, v128 *out)
{
    if (n->op == IR_CLREX) {
        x->env->excl.size = 0;
        return;
    }
    if (n->op == IR_FENCE) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        return;
    }
    u64 addr = address(x, n);
    if (n->op == IR_CHKALIGN) {
        if (addr & (n->aux - 1u)) {
            u32 map = ir_node_map(n);
            leave(x, map, x->r->map[map].pc, IR_EXIT_RAISE);
            settle_sites(x, map);
            x->env->exit_code = IR_RAISE_UNALIGNED;
            x->env->exit_arg = addr;
        }
        return;
    }
    *out = (v128){0};
    if (n->aux & (IR_MEM_SC | IR_MEM_REL))
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!access_memory(x, n, addr, out))
        fault(x, n, addr, n->op == IR_LD || n->op == IR_LL ? IR_ACCESS_READ : IR_ACCESS_WRITE);
    else if (n->aux & (IR_MEM_SC | IR_MEM_ACQ))
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

u32 ir_eval_fcmp(const struct ir_node *n, const v128 *a, const v128 *b, struct fp_env *fp)
{
    static const u8 flags[] = {[FP_LESS] = IR_FL_N, [FP_EQUAL] = IR_FL_Z | IR_FL_C,
                               [FP_GREATER] = IR_FL_C, [FP_UNORDERED] = IR_FL_C | IR_FL_V};
    bool sig = n->aux >> 8 & 1;
    switch (n->aux & 15) {
    case IR_F16:
        return flags[fp16_compare(a->h[0], b->h[0], sig, fp)];
    case IR_F32:
        return flags[fp32_compare(a->s[0], b->s[0], sig, fp)];
    default:
        return flags[fp64_compare(a->d[0], b->d[0], sig, fp)];
    }
}

static u32 run_flags(struct run *x, const struct ir_node *n)
{
    u64 a = ival(x, n->a), b = ival(x, n->b);
    switch (n->op) {
    case IR_FL_ADD:
        return ir_fl_adc(a, b, 0, n->aux);
    case IR_FL_SUB:
        return ir_fl_sub(a, b, n->aux);
    case IR_FL_ADC:
        return ir_fl_adc(a, b, (u32)ival(x, n->c), n->aux);
    case IR_FL_LOGIC:
        return ir_fl_logic(a, n->aux);
    case IR_FL_SELECT:
        return (u32)(a ? b : ival(x, n->c));
    case IR_CC:
        return ir_cc_mask(n->aux) >> a & 1;
    case IR_FL_FCMP:
        return ir_eval_fcmp(n, val(x, n->a), val(x, n->b), x->env->fp);
    default: /* IR_FL_BITS, IR_FL_SITE, IR_FL_GET */
        return (u32)a & 15;
    }
}

static void run_helper(struct run *x, const struct ir_node *n, v128 *out)
{
    struct ir_env *env = x->env;
    const struct ir_helper *h = &x->helpers[(u32)n->imm];
    const irv arg[3] = {n->a, n->b, n->c};
    if (h->flags & (IR_HELPER_READS | IR_HELPER_WRITES)) {
        load_all(x);
        commit_state(x, ir_node_map(n), x->r->map[ir_node_map(n)].pc);
        x->committed = true;
        x->gone = h->flags & IR_HELPER_WRITES;
    }
    for (unsigned i = 0; i < 3; i++) {
        if (arg[i])
            env->helper_arg[i] = *val(x, arg[i]);
    }
    env->helper_ret = (v128){0};
    h->fn(env);
    *out = env->helper_ret;
    if (n->type == IR_I32)
        out->d[0] = (u32)out->d[0];
}

static void take_edge(struct run *x, u32 e)
{
    const struct ir_edge *edge = &x->r->edge[e];
    const struct ir_block *to = &x->r->block[edge->block];
    v128 small[16];
    v128 *tmp = edge->count <= ARRAY_LEN(small) ? small : xmalloc(edge->count * sizeof(*tmp));
    for (u32 i = 0; i < edge->count; i++)
        tmp[i] = *val(x, x->r->args[edge->first + i]);
    for (u32 i = 0; i < edge->count; i++)
        x->in->value[to->first + i] = tmp[i];
    if (tmp != small)
        free(tmp);
    x->next = edge->block;
    x->jumped = true;
}

static void run_control(struct run *x, const struct ir_node *n)
{
    u64 a = ival(x, n->a);
    switch (n->op) {
    case IR_JMP:
        take_edge(x, n->b);
        break;
    case IR_BR:
        take_edge(x, a ? n->b : n->c);
        break;
    case IR_EXIT_LINK:
        jump(x, n);
        break;
    case IR_CALL:
        leave(x, n->c, n->imm, IR_EXIT_LOOKUP);
        break;
    case IR_EXIT_BR:
        leave(x, n->c, a ? n->imm : ival(x, n->b), IR_EXIT_LOOKUP);
        break;
    case IR_EXIT_IF:
        if (!!a != (n->aux & 1) && (!n->b || !!ival(x, n->b) != (n->aux >> 1 & 1)))
            jump(x, n);
        break;
    case IR_RAISE:
        leave(x, n->c, x->r->map[n->c].pc, IR_EXIT_RAISE);
        x->env->exit_code = (u32)n->imm;
        x->env->exit_arg = a;
        break;
    case IR_COUNT:
        break;
    case IR_POLL:
        if (x->in->polls ? !--x->in->polls : x->env->request != 0)
            leave(x, n->c, x->r->map[n->c].pc, IR_EXIT_REQUEST);
        break;
    default: /* EXIT_IND, CALL_IND, RET */
        leave(x, n->c, a, IR_EXIT_LOOKUP);
        break;
    }
}

static void run_node(struct run *x, irv v)
{
    const struct ir_node *n = &x->r->node[v];
    v128 *out = &x->in->value[v];
    if (n->op == IR_CONST) {
        *out = (v128){.d = {n->imm, n->type == IR_V128 ? n->imm : 0}};
    } else if (n->op == IR_SELECT) {
        *out = ival(x, n->a) ? *val(x, n->b) : *val(x, n->c);
        if (n->type == IR_I32)
            out->d[0] = (u32)out->d[0];
    } else if (ir_is_int_op(n->op)) {
        *out = (v128){.d = {ir_eval_int(n, ival(x, n->a), ival(x, n->b), ival(x, n->c))}};
    } else if (n->op >= IR_FL_ADD && n->op <= IR_CC) {
        *out = (v128){.d = {run_flags(x, n)}};
    } else if (n->op >= IR_LD && n->op <= IR_CHKALIGN) {
        run_memory(x, n, out);
    } else if (n->op >= IR_FADD && n->op <= IR_FPFLAGS) {
        ir_interp_fp(n, val(x, n->a), val(x, n->b), val(x, n->c), out, x->env->fp);
    } else if (n->op >= IR_VADD && n->op <= IR_VAES) {
        ir_interp_vec(n, val(x, n->a), val(x, n->b), val(x, n->c), out);
    } else if (n->op == IR_HELPER) {
        run_helper(x, n, out);
    } else if (n->op != IR_PARAM && n->op != IR_UNDEF) {
        run_control(x, n);
    }
}

void ir_interp_free(struct ir_interp *in)
{
    free(in->value);
    in->value = NULL;
    in->cap = 0;
}

void ir_interp_run(struct ir_interp *in, const struct ir_region *r, struct ir_env *env,
                   const struct ir_helper *helpers, u64 max_blocks)
{
    struct run x = {.in = in, .r = r, .env = env, .helpers = helpers};
    if (r->count > in->cap) {
        free(in->value);
        in->cap = r->count + r->count / 2;
        in->value = xcalloc(in->cap, sizeof(*in->value));
    }
    in->value[0] = (v128){0};
    memset(in->undef, 0, sizeof(in->undef)); /* stays over jumps inside the region */
    forget_loaded(&x);
    for (u64 n = 0; x.next != UINT32_MAX; n++) {
        if (max_blocks && n == max_blocks) {
            env->exit = IR_EXIT_REQUEST;
            return;
        }
        const struct ir_block *block = &r->block[x.next];
        u32 current = x.next;
        x.jumped = false;
        for (irv v = block->first; v < block->end && x.next == current && !x.jumped; v++)
            run_node(&x, v);
    }
}

void ir_call_eval(struct ir_env *env)
{
    struct ir_node n = {.op = (u8)env->tmp[0], .type = (u8)(env->tmp[0] >> 8),
                        .aux = (u16)(env->tmp[0] >> 16), .imm = env->tmp[1]};
    const v128 *a = env->helper_arg;
    if (ir_is_int_op(n.op))
        env->helper_ret = (v128){.d = {ir_eval_int(&n, a[0].d[0], a[1].d[0], a[2].d[0])}};
    else if (n.op == IR_FL_FCMP)
        env->helper_ret = (v128){.d = {ir_eval_fcmp(&n, &a[0], &a[1], env->fp)}};
    else if (n.op <= IR_FPFLAGS)
        ir_interp_fp(&n, &a[0], &a[1], &a[2], &env->helper_ret, env->fp);
    else
        ir_interp_vec(&n, &a[0], &a[1], &a[2], &env->helper_ret);
}

void ir_call_flags(struct ir_env *env)
{
    struct ir_flags *f = env_slot(env, (u32)env->tmp[0]);
    *f = (struct ir_flags){.kind = IR_FLK_BITS, .a = ir_flags_eval(env->slots, f)};
}

static bool direct_load(void *opaque, u64 addr, void *to, unsigned bytes)
{
    memcpy(to, (const void *)addr, bytes);
    return true;
}

static bool direct_store(void *opaque, u64 addr, const void *from, unsigned bytes)
{
    memcpy((void *)addr, from, bytes);
    return true;
}

static bool direct_cas(void *opaque, u64 addr, const v128 *expected, const v128 *desired, v128 *old,
                       unsigned bytes)
{
    *old = *expected;
    switch (bytes) {
    case 1:
        __atomic_compare_exchange_n((u8 *)addr, &old->b[0], desired->b[0], false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        break;
    case 2:
        __atomic_compare_exchange_n((u16 *)addr, &old->h[0], desired->h[0], false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        break;
    case 4:
        __atomic_compare_exchange_n((u32 *)addr, &old->s[0], desired->s[0], false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        break;
    case 8:
        __atomic_compare_exchange_n((u64 *)addr, &old->d[0], desired->d[0], false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        break;
    default: {
        unsigned __int128 e, d;
        memcpy(&e, expected, 16);
        memcpy(&d, desired, 16);
        e = __sync_val_compare_and_swap((unsigned __int128 *)addr, e, d);
        memcpy(old, &e, 16);
        break;
    }
    }
    return true;
}

const struct ir_mem ir_mem_direct = {direct_load, direct_store, direct_cas, NULL};
