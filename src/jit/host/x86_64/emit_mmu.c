/* Guest addresses of machines: the look-up in the vCPU's TLB, and what is left to C (struct ir_mmu). */
#include "base/mem.h"
#include "jit/host/x86_64/x64.h"

#define INDEX_SHIFT (IR_PAGE_BITS - 5) /* an entry has 32 bytes */
#define INDEX_MASK  (((1 << IR_TLB_BITS) - 1) << 5)

/* The description of an access: ir_mmu.what; the registers of the address without the tag, the entry and what is stored; is
 * that in ir_mmu.value? It is the operand of an instruction without effect. */
#define SITE_WHAT   0x7fff
#define SITE_STORED 0x8000
#define SITE_ADDR   16
#define SITE_ENTRY  20
#define SITE_VALUE  24

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

static u64 insn_of(const struct x64_gen *g, const struct ra_ins *i)
{
    return g->r->map[g->ra->state[i->state - 1].map].pc;
}

static bool has_copies(const struct x64_gen *g)
{
    return g->r->by_state || g->r->neighbours == IR_SHARE_OR_COPY;
}

/* If the span is not in one page of memory hot code makes the same accesses one by one, in a copy of the instructions; other
 * code leaves, as such a copy is seldom needed, and begins the guest's instruction again: there is no access of it before. */
static struct x64_cold *add_cold(struct x64_gen *g, const struct x64_group *group)
{
    struct x64_cold *c = x64_cold_add(g, has_copies(g) ? X64_COLD_COPY : X64_COLD_GROUP);
    c->ins = group->first;
    c->last = group->last;
    c->block_first = g->block_first;
    return c;
}

/* One look-up finds the whole span in one page. A page that may be written may be read. */
void x64_group_begin(struct x64_gen *g, const struct ra_ins *i)
{
    struct x64_group group;
    bool write;
    if (g->one_by_one || g->group.first || i->kind != RA_OP || !may_share(x64_node(g, i)) ||
        (!has_copies(g) && insn_of(g, i) == g->accessed) || !gather(g, i, &group, &write))
        return;
    const struct ir_node *n = x64_node(g, i);
    const s32 span = group.high - group.low;
    unsigned entry = i->tmp[g->ra->use[i->v].con.ntmp[0] - 1];
    load_ea(g, X64_NEAR, x64_at(i->src[0], group.low));
    u8 *miss = look_up(g, n, write, X64_NEAR, entry, span);
    load_add(g, X64_NEAR, entry);
    struct x64_cold *c = add_cold(g, &group);
    x64_cold_from(c, miss);
    c->back = g->a.p;
    c->site = (u32)span | mode_of(g, n) * IR_MMU_MODE | IR_MMU_GROUP | (write ? IR_MMU_WRITE : 0) |
              entry << SITE_ENTRY | X64_NEAR << SITE_ADDR;
    group.cold = g->ncold - 1;
    g->group = group;
}

void x64_group_end(struct x64_gen *g, const struct ra_ins *i)
{
    if (g->group.last != i)
        return;
    if (has_copies(g))
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
    g->accessed = insn_of(g, i);
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

/* C leaves from here if it cannot do what the site says. */
static void call_site(struct x64_gen *g, const struct x64_cold *c, u32 site)
{
    struct x64_asm *a = &g->a;
    struct host_buf *b = g->buf;
    x64_call_thunk(g, X64_T_MMU);
    u32 back = x64_offset(g, a->p);
    VEC_PUSH(b->fault, b->nfaults, b->fault_cap) =
        (struct host_fault){.start = back, .end = back + 1, .state = c->ins->state - 1, .what = HOST_LEAVE_MMU,
                            .write = site & IR_MMU_WRITE};
    x64_byte(a, 0xa9); /* test eax, site */
    x64_u32(a, site);
    u8 *jump = x64_jmp(a, false);
    if (!a->overflow)
        x64_patch(jump, c->back);
}

void x64_mmu_cold(struct x64_gen *g, const struct x64_cold *c)
{
    const struct ra_ins *i = c->ins;
    unsigned ntmp = g->ra->use[i->v].con.ntmp[0];
    u32 site = what_of(g, x64_node(g, i)) | describe_value(g, i);
    call_site(g, c, site | (u32)i->tmp[ntmp - 2] << SITE_ADDR | (u32)i->tmp[ntmp - 1] << SITE_ENTRY);
}

void x64_group_cold(struct x64_gen *g, const struct x64_cold *c)
{
    call_site(g, c, c->site);
}

/* What is stored goes to ir_mmu.value unless it is there. */
static void take_value(struct ir_env *env, u32 site, const u64 *gpr)
{
    unsigned value = site >> SITE_VALUE & 31;
    if (!(site & IR_MMU_WRITE) || site & (IR_MMU_LOCKED | IR_MMU_GROUP | SITE_STORED))
        return;
    env->mmu.value = value < RA_VEC ? (v128){.d = {gpr[value]}} : env->save[value - RA_VEC];
}

void x64_access(struct ir_env *env)
{
    u64 *gpr = x64_saved_gprs(env);
    u32 site;
    __builtin_memcpy(&site, (const u8 *)(uintptr_t)env->tmp[X64_SAVED_BACK] + 1, sizeof(site));
    u64 *entry = &gpr[site >> SITE_ENTRY & 15], *addr = &gpr[site >> SITE_ADDR & 15];
    const struct ir_tlb_entry *t = (const void *)(uintptr_t)*entry;
    env->mmu.addr = *addr ^ (site & IR_MMU_WRITE ? t->write : t->read);
    env->mmu.what = site & SITE_WHAT;
    take_value(env, site, gpr);
    env->mmu.access(env);
    *(site & IR_MMU_GROUP ? addr : entry) = env->mmu.add;
}
