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

/* One comparison finds another page, a wrong tag, and an access that goes on in the next page: the address with the tag
 * taken out is an offset that leaves room for the access. */
struct x64_mem x64_mmu_find(struct x64_gen *g, const struct ra_ins *i, struct x64_mem ea, struct x64_cold **cold)
{
    const struct ir_node *n = x64_node(g, i);
    struct x64_asm *a = &g->a;
    unsigned ntmp = g->ra->use[i->v].con.ntmp[0];
    unsigned addr = i->tmp[ntmp - 2], entry = i->tmp[ntmp - 1];
    if (ea.index == X64_NONE && !ea.disp)
        x64_mov(a, addr, ea.base);
    else
        x64_lea(a, true, addr, ea);
    x64_mov(a, entry, addr);
    x64_shift_ri(a, XSH_SHR, true, entry, INDEX_SHIFT);
    x64_alu_ri(a, XALU_AND, false, entry, INDEX_MASK);
    x64_alu_rm(a, XALU_ADD, true, entry, table(g, n));
    x64_alu_rm(a, XALU_XOR, true, addr, tag(n, entry));
    x64_alu_ri(a, XALU_CMP, true, addr, (1 << IR_PAGE_BITS) - (s32)ir_mem_bytes(n));
    u8 *miss = x64_jcc(a, XCC_A, false);
    struct x64_cold *c = x64_cold_add(g, X64_COLD_MMU);
    x64_cold_from(c, miss);
    c->ins = i;
    x64_alu_rm(a, XALU_ADD, true, addr, x64_at(entry, offsetof(struct ir_tlb_entry, host)));
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
