/* Guest addresses of machines: the look-up in the vCPU's TLB, and what is left to C (struct ir_mmu). */
#include "base/mem.h"
#include "jit/host/x86_64/x64.h"

#define INDEX_SHIFT (IR_PAGE_BITS - 5) /* an entry has 32 bytes */
#define INDEX_MASK  (((1 << IR_TLB_BITS) - 1) << 5)

static bool writes(const struct ir_node *n)
{
    return n->op != IR_LD && n->op != IR_LL;
}

static unsigned mode_of(const struct x64_gen *g, const struct ir_node *n)
{
    bool unprivileged = (n->op == IR_LD || n->op == IR_ST) && n->aux & IR_MEM_UNPRIV;
    return unprivileged ? 0 : g->r->mmu - 1u;
}

/* Where the table of the node's mode is. */
static struct x64_mem table(const struct x64_gen *g, const struct ir_node *n)
{
    struct x64_mem m = ENV_MEM(tlb);
    m.disp += (s32)(mode_of(g, n) * sizeof(struct ir_tlb_entry *));
    return m;
}

static struct x64_mem tag(const struct ir_node *n, unsigned entry)
{
    return x64_at(entry, writes(n) ? offsetof(struct ir_tlb_entry, write) : offsetof(struct ir_tlb_entry, read));
}

/* The page of the address in `addr` is looked up, of which `span` bytes are wanted; `entry`: a temporary. Adding the
 * entry's host to `addr` makes a host address of it. Returns the jump of those that are not found. */
static u8 *look_up(struct x64_gen *g, const struct ir_node *n, bool write, unsigned addr, unsigned entry, s32 span)
{
    struct x64_asm *a = &g->a;
    size_t tag = write ? offsetof(struct ir_tlb_entry, write) : offsetof(struct ir_tlb_entry, read);
    x64_mov(a, entry, addr);
    x64_shift_ri(a, XSH_SHR, true, entry, INDEX_SHIFT);
    x64_alu_ri(a, XALU_AND, false, entry, INDEX_MASK);
    x64_alu_rm(a, XALU_ADD, true, entry, table(g, n));
    x64_alu_rm(a, XALU_XOR, true, addr, x64_at(entry, (s32)tag));
    x64_alu_ri(a, XALU_CMP, true, addr, (1 << IR_PAGE_BITS) - span);
    u8 *miss = x64_jcc(a, XCC_A, false);
    x64_alu_rm(a, XALU_ADD, true, addr, x64_at(entry, offsetof(struct ir_tlb_entry, host)));
    return miss;
}

/* ---- neighbours ---- */

#define MAX_SPAN 256 /* bytes from the first to behind the last */
#define MAX_GAP  16  /* instructions between two of them */

static bool may_share(const struct ir_node *n)
{
    const unsigned apart = IR_MEM_UNPRIV | IR_MEM_SC;
    return (n->op == IR_LD || n->op == IR_ST) && !n->b && !(n->aux & apart);
}

/* The span of a group grows by an access at `disp`. False: it is too far away. */
static bool take_in(struct x64_group *group, s32 disp, s32 bytes)
{
    s32 low = MIN(group->low, disp), high = MAX(group->high, disp + bytes);
    if (high - low > MAX_SPAN)
        return false;
    group->low = low;
    group->high = high;
    return true;
}

/* What comes behind the access at i in its block and shares its base. Returns whether any does. */
static bool gather(const struct x64_gen *g, const struct ra_ins *i, struct x64_group *group, bool *write)
{
    const struct ra_ins *end = g->ra->ins + g->ra->nins;
    const struct ir_node *n = x64_node(g, i);
    *group = (struct x64_group){.first = i, .last = i, .base = n->a, .low = ir_node_disp(n)};
    group->high = group->low + (s32)ir_mem_bytes(n);
    *write = writes(n);
    for (i++; i < end && i - group->last <= MAX_GAP; i++) {
        if (i->kind == RA_BLOCK || i->kind == RA_EDGE || i->kind == RA_JUMP)
            break;
        n = i->kind == RA_OP ? x64_node(g, i) : NULL;
        if (n && ir_effects[n->op] & IR_E_TERM)
            break;
        if (!n || !may_share(n) || n->a != group->base ||
            !take_in(group, ir_node_disp(n), (s32)ir_mem_bytes(n)))
            continue;
        group->last = i;
        *write |= writes(n);
    }
    return group->last != group->first;
}

/* One look-up finds the whole span in one page. If it does not, the same instructions are run as they are without a
 * group. A page that may be written may be read. */
void x64_group_begin(struct x64_gen *g, const struct ra_ins *i)
{
    struct x64_group group;
    bool write;
    if (g->one_by_one || g->group.first || i->kind != RA_OP || !may_share(x64_node(g, i)) ||
        !gather(g, i, &group, &write))
        return;
    struct x64_mem ea = x64_at(i->src[0], group.low);
    unsigned entry = i->tmp[g->ra->use[i->v].con.ntmp[0] - 1];
    if (ea.disp)
        x64_lea(&g->a, true, X64_NEAR, ea);
    else
        x64_mov(&g->a, X64_NEAR, ea.base);
    u8 *miss = look_up(g, x64_node(g, i), write, X64_NEAR, entry, group.high - group.low);
    struct x64_cold *c = x64_cold_add(g, X64_COLD_GROUP);
    x64_cold_from(c, miss);
    c->ins = i;
    c->last = group.last;
    c->block_first = g->block_first;
    group.cold = g->ncold - 1;
    g->group = group;
}

void x64_group_end(struct x64_gen *g, const struct ra_ins *i)
{
    if (g->group.last != i)
        return;
    g->cold[g->group.cold].back = g->a.p;
    g->group = (struct x64_group){0};
}

static bool in_group(const struct x64_gen *g, const struct ir_node *n)
{
    s32 disp = ir_node_disp(n);
    return g->group.first && may_share(n) && n->a == g->group.base && disp >= g->group.low &&
           disp + (s32)ir_mem_bytes(n) <= g->group.high;
}

/* ---- one access ---- */

/* One comparison finds another page, a wrong tag, and an access that goes on in the next page: the address with the tag
 * taken out is an offset that leaves room for the access. */
struct x64_mem x64_mmu_find(struct x64_gen *g, const struct ra_ins *i, struct x64_mem ea, struct x64_cold **cold)
{
    const struct ir_node *n = x64_node(g, i);
    struct x64_asm *a = &g->a;
    unsigned ntmp = g->ra->use[i->v].con.ntmp[0];
    unsigned addr = i->tmp[ntmp - 2], entry = i->tmp[ntmp - 1];
    if (in_group(g, n)) {
        *cold = NULL;
        return x64_at(X64_NEAR, ea.disp - g->group.low);
    }
    if (ea.index == X64_NONE && !ea.disp)
        x64_mov(a, addr, ea.base);
    else
        x64_lea(a, true, addr, ea);
    u8 *miss = look_up(g, n, writes(n), addr, entry, (s32)ir_mem_bytes(n));
    struct x64_cold *c = x64_cold_add(g, X64_COLD_MMU);
    x64_cold_from(c, miss);
    c->ins = i;
    c->back = a->p;
    *cold = c;
    return x64_at(addr, 0);
}

static s32 what_of(const struct x64_gen *g, const struct ir_node *n)
{
    u32 what = ir_mem_bytes(n) | mode_of(g, n) * IR_MMU_MODE;
    if (n->op == IR_ST && n->aux & IR_MEM_SC)
        what |= IR_MMU_ORDERED;
    if (writes(n))
        what |= n->op == IR_ST ? IR_MMU_WRITE : IR_MMU_WRITE | IR_MMU_LOCKED;
    return (s32)what;
}

void x64_mmu_cold(struct x64_gen *g, const struct x64_cold *c)
{
    const struct ra_ins *i = c->ins;
    const struct ir_node *n = x64_node(g, i);
    struct x64_asm *a = &g->a;
    unsigned ntmp = g->ra->use[i->v].con.ntmp[0];
    unsigned addr = i->tmp[ntmp - 2], entry = i->tmp[ntmp - 1];
    x64_alu_rm(a, XALU_XOR, true, addr, tag(n, entry));
    if (n->op == IR_ST)
        x64_emit_value(g, i, ENV_MEM(mmu.value));
    x64_store(a, true, ENV_MEM(mmu.addr), addr);
    x64_mov_mi(a, false, ENV_MEM(mmu.what), what_of(g, n));
    x64_call_thunk(g, X64_T_MMU);
    struct host_buf *b = g->buf;
    u32 back = x64_offset(g, a->p); /* C leaves from here if the access faults */
    VEC_PUSH(b->fault, b->nfaults, b->fault_cap) = (struct host_fault){
        .start = back, .end = back + 1, .state = i->state - 1, .what = HOST_LEAVE_MMU, .write = writes(n)};
    if (n->op != IR_ST)
        x64_load(a, true, addr, ENV_MEM(mmu.host));
    u8 *jump = x64_jmp(a, false);
    if (!a->overflow)
        x64_patch(jump, c->back);
}
