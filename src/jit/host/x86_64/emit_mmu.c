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

/* The page of the address in `addr` is looked up, of which `span` bytes are wanted: the TLB's entry for it goes to `entry`,
 * and its tag is taken out of `addr`. Returns the jump of those that are not found. */
static u8 *look_up(struct x64_gen *g, const struct ir_node *n, bool write, unsigned addr, unsigned entry, s32 span)
{
    struct x64_asm *a = &g->a;
    size_t tag = write ? offsetof(struct ir_tlb_entry, write) : offsetof(struct ir_tlb_entry, read);
    if (g->cpu->features[X64_F_BMI]) {
        x64_rri(a, X_RORX, true, entry, addr, INDEX_SHIFT);
    } else {
        x64_mov(a, entry, addr);
        x64_shift_ri(a, XSH_SHR, true, entry, INDEX_SHIFT);
    }
    x64_alu_ri(a, XALU_AND, false, entry, INDEX_MASK);
    x64_alu_rm(a, XALU_ADD, true, entry, table(g, n));
    x64_alu_rm(a, XALU_XOR, true, addr, x64_at(entry, (s32)tag));
    x64_alu_ri(a, XALU_CMP, true, addr, (1 << IR_PAGE_BITS) - span);
    return x64_jcc(a, XCC_A, false);
}

/* What makes a host address of one in the entry's page. */
static void load_add(struct x64_gen *g, unsigned dst, unsigned entry)
{
    x64_load(&g->a, true, dst, x64_at(entry, offsetof(struct ir_tlb_entry, add)));
}

static void load_ea(struct x64_gen *g, unsigned dst, struct x64_mem ea)
{
    if (ea.index == X64_NONE && !ea.disp)
        x64_mov(&g->a, dst, ea.base);
    else
        x64_lea(&g->a, true, dst, ea);
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
    unsigned entry = i->tmp[g->ra->use[i->v].con.ntmp[0] - 1];
    load_ea(g, X64_NEAR, x64_at(i->src[0], group.low));
    u8 *miss = look_up(g, x64_node(g, i), write, X64_NEAR, entry, group.high - group.low);
    load_add(g, X64_NEAR, entry);
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

/* `entry` holds what makes a host address of the guest's. Only loads and stores have forms for that. */
static struct x64_mem with_add(struct x64_gen *g, const struct ir_node *n, struct x64_mem ea, unsigned addr, unsigned entry)
{
    if (n->op != IR_LD && n->op != IR_ST) {
        x64_lea(&g->a, true, addr, (struct x64_mem){ea.base, (u8)entry, 0, 0});
        return x64_at(addr, 0);
    }
    if (ea.index == X64_NONE)
        return (struct x64_mem){ea.base, (u8)entry, 0, ea.disp};
    x64_alu_rr(&g->a, XALU_ADD, true, entry, ea.base);
    return (struct x64_mem){(u8)entry, ea.index, ea.scale, ea.disp};
}

/* One comparison finds another page, a wrong tag, and an access that goes on in the next page: the address with the tag
 * taken out is an offset that leaves room for the access. */
struct x64_mem x64_mmu_find(struct x64_gen *g, const struct ra_ins *i, struct x64_mem ea, struct x64_cold **cold)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned ntmp = g->ra->use[i->v].con.ntmp[0];
    unsigned addr = i->tmp[ntmp - 2], entry = i->tmp[ntmp - 1];
    *cold = NULL;
    if (in_group(g, n))
        return (struct x64_mem){ea.base, X64_NEAR, 0, ea.disp};
    load_ea(g, addr, ea);
    u8 *miss = look_up(g, n, writes(n), addr, entry, (s32)ir_mem_bytes(n));
    load_add(g, entry, entry);
    struct x64_cold *c = x64_cold_add(g, X64_COLD_MMU);
    x64_cold_from(c, miss);
    c->ins = i;
    c->back = g->a.p;
    *cold = c;
    return with_add(g, n, ea, addr, entry);
}

/* ---- what is left to C ---- */

/* The description of an access: ir_mmu.what; the registers of the address without the tag, the entry and what is stored; is
 * that in ir_mmu.value? It is the operand of an instruction without effect. */
#define SITE_WHAT   0x7fff
#define SITE_STORED 0x8000
#define SITE_ADDR   16
#define SITE_ENTRY  20
#define SITE_VALUE  24

static u32 what_of(const struct x64_gen *g, const struct ir_node *n)
{
    u32 what = ir_mem_bytes(n) | mode_of(g, n) * IR_MMU_MODE;
    if (n->op == IR_ST && n->aux & IR_MEM_SC)
        what |= IR_MMU_ORDERED;
    if (writes(n))
        what |= n->op == IR_ST ? IR_MMU_WRITE : IR_MMU_WRITE | IR_MMU_LOCKED;
    return what;
}

/* What is stored: in its register, or else in env->mmu. */
static u32 describe_value(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    if (n->op != IR_ST)
        return 0;
    unsigned value = i->src[n->b ? 2 : 1];
    if (value != RA_IMM)
        return value << SITE_VALUE;
    x64_emit_value(g, i, ENV_MEM(mmu.value));
    return SITE_STORED;
}

void x64_mmu_cold(struct x64_gen *g, const struct x64_cold *c)
{
    const struct ra_ins *i = c->ins;
    const struct ir_node *n = x64_node(g, i);
    struct x64_asm *a = &g->a;
    unsigned ntmp = g->ra->use[i->v].con.ntmp[0];
    u32 site = what_of(g, n) | describe_value(g, i) | (u32)i->tmp[ntmp - 2] << SITE_ADDR |
               (u32)i->tmp[ntmp - 1] << SITE_ENTRY;
    x64_call_thunk(g, X64_T_MMU);
    struct host_buf *b = g->buf;
    u32 back = x64_offset(g, a->p); /* C leaves from here if the access faults */
    VEC_PUSH(b->fault, b->nfaults, b->fault_cap) = (struct host_fault){
        .start = back, .end = back + 1, .state = i->state - 1, .what = HOST_LEAVE_MMU, .write = writes(n)};
    x64_byte(a, 0xa9); /* test eax, site */
    x64_u32(a, site);
    u8 *jump = x64_jmp(a, false);
    if (!a->overflow)
        x64_patch(jump, c->back);
}

/* What is stored goes to ir_mmu.value unless it is there. */
static void take_value(struct ir_env *env, u32 site, const u64 *gpr)
{
    unsigned value = site >> SITE_VALUE & 31;
    if (!(site & IR_MMU_WRITE) || site & (IR_MMU_LOCKED | SITE_STORED))
        return;
    env->mmu.value = value < RA_VEC ? (v128){.d = {gpr[value]}} : env->save[value - RA_VEC];
}

void x64_access(struct ir_env *env)
{
    u64 *gpr = x64_saved_gprs(env);
    u32 site;
    __builtin_memcpy(&site, (const u8 *)(uintptr_t)env->tmp[X64_SAVED_BACK] + 1, sizeof(site));
    u64 *entry = &gpr[site >> SITE_ENTRY & 15];
    const struct ir_tlb_entry *t = (const void *)(uintptr_t)*entry;
    env->mmu.addr = gpr[site >> SITE_ADDR & 15] ^ (site & IR_MMU_WRITE ? t->write : t->read);
    env->mmu.what = site & SITE_WHAT;
    take_value(env, site, gpr);
    env->mmu.access(env);
    *entry = env->mmu.add;
}
