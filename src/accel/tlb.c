#include "accel/tlb.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "accel/engine_impl.h"
#include "accel/mmu.h"
#include "base/mem.h"
#include "jit/cache/recover.h"

#define PAGE    (1ull << IR_PAGE_BITS)
#define ENTRIES (1u << IR_TLB_BITS)

static struct ir_tlb *tlb_of(const struct vcpu *cpu)
{
    return (void *)(cpu->env->slots + ir_tlb_at(cpu->isa->slots.size));
}

static unsigned index_of(u64 addr)
{
    return addr >> IR_PAGE_BITS & (ENTRIES - 1);
}

/* A tag that matches no address of the entry: one of another entry. */
static u64 nowhere(unsigned index)
{
    return (u64)(index ^ 1) << IR_PAGE_BITS;
}

static void forget_entry(struct ir_tlb_entry *t, unsigned index)
{
    t->read = t->write = nowhere(index);
}

static void forget_entries(struct vcpu *cpu, bool global)
{
    struct ir_tlb *tlb = tlb_of(cpu);
    for (unsigned mode = 0; mode < cpu->isa->system->modes; mode++) {
        for (unsigned i = 0; i < ENTRIES; i++) {
            if (global || !tlb->entry[mode][i].global)
                forget_entry(&tlb->entry[mode][i], i);
        }
    }
}

static void forget_page(struct vcpu *cpu, u64 addr)
{
    const unsigned i = index_of(addr), tag = cpu->isa->tag_bits;
    for (unsigned mode = 0; mode < cpu->isa->system->modes; mode++) {
        struct ir_tlb_entry *t = &tlb_of(cpu)->entry[mode][i];
        if (!((t->read ^ addr) << tag >> IR_PAGE_BITS) || !((t->write ^ addr) << tag >> IR_PAGE_BITS))
            forget_entry(t, i);
    }
}

/* Those that are not global: they are few where the guest switches often. */
static void forget_local(struct vcpu *cpu)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    if (ec->nlocal > ARRAY_LEN(ec->local))
        forget_entries(cpu, false);
    for (unsigned i = 0; ec->nlocal <= ARRAY_LEN(ec->local) && i < ec->nlocal; i++) {
        unsigned mode = ec->local[i] >> IR_TLB_BITS, index = ec->local[i] & (ENTRIES - 1);
        forget_entry(&tlb_of(cpu)->entry[mode][index], index);
    }
    ec->nlocal = 0;
}

void tlb_init(struct vcpu *cpu)
{
    forget_entries(cpu, true);
}

/* ---- what compiled code leaves to C ---- */

static void fill(struct vcpu *cpu, unsigned mode, u64 addr, const struct mmu_page *p)
{
    const unsigned i = index_of(addr);
    const u64 page = addr & ~(PAGE - 1);
    struct engine_cpu *ec = engine_cpu(cpu);
    if (!p->global && ec->nlocal++ < ARRAY_LEN(ec->local))
        ec->local[ec->nlocal - 1] = (u16)(mode << IR_TLB_BITS | i);
    bool writable = p->rights >> IR_ACCESS_WRITE & 1 && p->writable;
    tlb_of(cpu)->entry[mode][i] = (struct ir_tlb_entry){
        .read = p->rights >> IR_ACCESS_READ & 1 ? page : nowhere(i),
        .write = writable ? page : nowhere(i),
        .host = (u64)(uintptr_t)p->host,
        .global = p->global,
    };
}

/* In one page of memory: compiled code may do it, this time, and the next if the guest takes it for memory, too. */
static bool find_host(struct vcpu *cpu, unsigned mode, unsigned bytes, bool write)
{
    struct ir_mmu *x = &cpu->env->mmu;
    struct mmu_page p;
    if ((x->addr & (PAGE - 1)) + bytes > PAGE ||
        !mmu_page(engine_cpu(cpu)->mmu, mode, x->addr, write ? IR_ACCESS_WRITE : IR_ACCESS_READ, &p) || !p.host ||
        (p.device && x->addr & (bytes - 1)) || (write && !p.writable))
        return false;
    if (!p.device)
        fill(cpu, mode, x->addr, &p);
    x->host = (u64)(uintptr_t)(p.host + (x->addr & (PAGE - 1)));
    return true;
}

static bool do_access(struct vcpu *cpu, unsigned mode, unsigned bytes)
{
    struct ir_mmu *x = &cpu->env->mmu;
    struct mmu *mmu = engine_cpu(cpu)->mmu;
    const struct ir_mem *m = mmu_mem(mmu, mode);
    bool found = find_host(cpu, mode, bytes, x->what & IR_MMU_WRITE);
    if (x->what & IR_MMU_LOCKED)
        return found || mmu_refuse_atomic(mmu, mode, x->addr);
    if (x->what & IR_MMU_WRITE)
        return m->store(m->opaque, x->addr, &x->value, bytes);
    if (found)
        return true;
    x->host = (u64)(uintptr_t)&x->copy;
    return m->load(m->opaque, x->addr, &x->copy, bytes);
}

/* Out of the code that called, with the guest's state as it was before the access. */
static void leave(struct vcpu *cpu)
{
    struct engine *en = cpu->engine;
    struct host_context room;
    const void *context = en->host->call_context(cpu->env, &room);
    const u8 *pc = en->host->context_pc(context);
    const struct jit_region *r = cache_at(&en->cache, pc);
    const struct jit_fault *f = region_fault_at(&en->cache, r, pc);
    region_leave(en->host, cpu->env, f, NULL, context);
    region_recover(en->host, &en->host_cpu, cpu->env, r, f, context);
}

void tlb_access(struct ir_env *env)
{
    struct vcpu *cpu = env->cpu;
    struct ir_mmu *x = &env->mmu;
    x->failed = !do_access(cpu, x->what / IR_MMU_MODE, x->what & 0xff);
    if (x->failed)
        leave(cpu);
    if (x->what & IR_MMU_ORDERED)
        atomic_thread_fence(memory_order_seq_cst);
}

/* ---- where code is ---- */

static void clear_jumps(struct exec_jumps *t)
{
    if (t->used)
        ir_jumps_clear(t->jumps);
    t->used = t->local = false;
    memset(t->pages, 0, sizeof(t->pages));
}

/* The look-ups that code with this key may use now. */
static struct exec_jumps *find_jumps(struct vcpu *cpu)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    const u32 key = cpu->env->key, context = cpu->isa->system->context(cpu);
    const unsigned mode = cpu->isa->system->mode(key);
    for (unsigned i = 0; i < EXEC_WAYS; i++) {
        struct exec_jumps *t = &ec->exec[mode][i];
        if (t->jumps && t->key == key && (!t->local || t->context == context))
            return t;
    }
    struct exec_jumps *t = &ec->exec[mode][ec->exec_next[mode]++ % EXEC_WAYS];
    if (!t->jumps)
        t->jumps = ir_jumps_new();
    clear_jumps(t);
    t->key = key;
    return t;
}

bool tlb_select_jumps(struct vcpu *cpu)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    struct exec_jumps *t = find_jumps(cpu);
    bool others = ec->exec_now != t;
    ec->exec_now = t;
    cpu->env->jumps = t->jumps;
    return others;
}

void tlb_forget_jumps(struct vcpu *cpu)
{
    struct exec_jumps *t = engine_cpu(cpu)->exec[0];
    for (unsigned i = 0; i < ISA_MODES * EXEC_WAYS; i++) {
        if (t[i].jumps)
            clear_jumps(&t[i]);
    }
}

static unsigned page_bit(u64 pc)
{
    return pc >> IR_PAGE_BITS & 255;
}

void tlb_note_jump(struct vcpu *cpu, u64 pc, bool global)
{
    struct exec_jumps *t = engine_cpu(cpu)->exec_now;
    t->used = true;
    if (!global) {
        t->local = true;
        t->context = cpu->isa->system->context(cpu);
    }
    t->pages[page_bit(pc) / 64] |= 1ull << (page_bit(pc) & 63);
}

void tlb_free_jumps(struct engine_cpu *ec)
{
    struct exec_jumps *t = ec->exec[0];
    for (unsigned i = 0; i < ISA_MODES * EXEC_WAYS; i++)
        free(t[i].jumps);
}

/* Predictions may lead there, too. */
static void forget_code(struct vcpu *cpu, bool (*concerned)(const struct exec_jumps *t, u64 page), u64 page)
{
    bool any = false;
    struct exec_jumps *t = engine_cpu(cpu)->exec[0];
    for (unsigned i = 0; i < ISA_MODES * EXEC_WAYS; i++) {
        if (!t[i].used || !concerned(&t[i], page))
            continue;
        clear_jumps(&t[i]);
        any = true;
    }
    if (any)
        engine_drop_predictions(cpu);
}

static bool is_local(const struct exec_jumps *t, u64 page)
{
    return t->local;
}

static bool is_any(const struct exec_jumps *t, u64 page)
{
    return true;
}

static bool is_page(const struct exec_jumps *t, u64 page)
{
    return t->pages[page_bit(page) / 64] >> (page_bit(page) & 63) & 1;
}

/* ---- maintenance ---- */

void tlb_switch_context(struct vcpu *cpu)
{
    forget_local(cpu);
    if (tlb_select_jumps(cpu))
        engine_drop_predictions(cpu);
}

void tlb_flush(struct vcpu *cpu, const struct vcpu_flush *f)
{
    const u64 first = f->addr & ~(PAGE - 1);
    if (f->scope == VCPU_FLUSH_LOCAL || f->scope == VCPU_FLUSH_CONTEXT) {
        forget_local(cpu);
        forget_code(cpu, is_local, 0);
    } else if (f->scope == VCPU_FLUSH_ALL || f->bytes > ENTRIES * PAGE) {
        forget_entries(cpu, true);
        forget_code(cpu, is_any, 0);
    } else {
        for (u64 at = first; at - first < f->bytes; at += PAGE) {
            forget_page(cpu, at);
            forget_code(cpu, is_page, at);
        }
    }
}
