#include "accel/tlb.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "accel/engine_impl.h"
#include "accel/mmu.h"
#include "base/bits.h"
#include "base/mem.h"

#define PAGE    (1ull << IR_PAGE_BITS)
#define ENTRIES (1u << IR_TLB_BITS)
#define WAYS    8

/* The translations of one context: a table for each mode. Global ones are in those of several contexts. */
struct way {
    unsigned context;
    u64 used[ISA_MODES][ENTRIES / 64]; /* a bit for each entry that there is */
    struct ir_tlb_entry entry[ISA_MODES][ENTRIES];
};

struct tlb {
    struct way *way[WAYS], *now; /* NULL: never needed */
    unsigned next;               /* the way that is taken next for another context */
};

static struct tlb *tlb_of(const struct vcpu *cpu)
{
    return engine_cpu(cpu)->tlb;
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

/* The next entry of the mode that is used, from i on; or ENTRIES. */
static unsigned next_used(const struct way *w, unsigned mode, unsigned i)
{
    for (; i < ENTRIES; i = ALIGN_DOWN(i, 64u) + 64) {
        u64 bits = w->used[mode][i / 64] >> (i & 63);
        if (bits)
            return i + ctz64(bits);
    }
    return ENTRIES;
}

static void forget_mode(struct way *w, unsigned mode, bool global)
{
    for (unsigned i = 0; (i = next_used(w, mode, i)) < ENTRIES; i++) {
        if (!global && w->entry[mode][i].global)
            continue;
        forget_entry(&w->entry[mode][i], i);
        w->used[mode][i / 64] &= ~(1ull << (i & 63));
    }
}

static void forget_way(struct way *w, bool global)
{
    for (unsigned mode = 0; mode < ISA_MODES; mode++)
        forget_mode(w, mode, global);
}

static void forget_page(struct way *w, unsigned mode, u64 addr, unsigned tag)
{
    const unsigned i = index_of(addr);
    struct ir_tlb_entry *t = &w->entry[mode][i];
    if (!((t->read ^ addr) << tag >> IR_PAGE_BITS) || !((t->write ^ addr) << tag >> IR_PAGE_BITS))
        forget_entry(t, i);
}

/* The pages from first on; where 64 entries are not used it is at the next ones at once. */
static void forget_range(struct way *w, unsigned mode, u64 first, u64 bytes, unsigned tag)
{
    for (u64 at = first; at - first < bytes; at += PAGE) {
        const unsigned i = index_of(at);
        if (w->used[mode][i / 64])
            forget_page(w, mode, at, tag);
        else
            at += (63 - i % 64) * PAGE;
    }
}

/* ---- contexts ---- */

/* A tag of 0 is of the first entry's page and matches nothing elsewhere. */
static struct way *make_way(void)
{
    struct way *w = xcalloc(1, sizeof(*w));
    for (unsigned mode = 0; mode < ISA_MODES; mode++)
        forget_entry(&w->entry[mode][0], 0);
    return w;
}

static void set_entry(struct way *w, unsigned mode, unsigned i, const struct ir_tlb_entry *t)
{
    w->entry[mode][i] = *t;
    w->used[mode][i / 64] |= 1ull << (i & 63);
}

/* What is global holds in the next context, too. */
static void take_over(struct way *w, const struct way *from)
{
    forget_way(w, true);
    for (unsigned mode = 0; mode < ISA_MODES; mode++) {
        for (unsigned i = 0; (i = next_used(from, mode, i)) < ENTRIES; i++) {
            if (from->entry[mode][i].global)
                set_entry(w, mode, i, &from->entry[mode][i]);
        }
    }
}

static struct way *find_way(struct tlb *t, unsigned context)
{
    for (unsigned i = 0; i < WAYS; i++) {
        if (t->way[i] && t->way[i]->context == context)
            return t->way[i];
    }
    struct way **at = &t->way[t->next++ % WAYS];
    if (*at == t->now)
        at = &t->way[t->next++ % WAYS];
    if (!*at)
        *at = make_way();
    take_over(*at, t->now);
    (*at)->context = context;
    return *at;
}

void tlb_switch_context(struct vcpu *cpu)
{
    struct tlb *t = tlb_of(cpu);
    unsigned context = cpu->isa->system->context(cpu);
    if (context == t->now->context)
        return;
    t->now = find_way(t, context);
    for (unsigned mode = 0; mode < ISA_MODES; mode++)
        cpu->env->tlb[mode] = t->now->entry[mode];
}

struct tlb *tlb_new(struct vcpu *cpu)
{
    struct tlb *t = xcalloc(1, sizeof(*t));
    t->now = t->way[t->next++] = make_way();
    t->now->context = cpu->isa->system->context(cpu);
    for (unsigned mode = 0; mode < ISA_MODES; mode++)
        cpu->env->tlb[mode] = t->now->entry[mode];
    return t;
}

void tlb_free(struct tlb *t)
{
    for (unsigned i = 0; t && i < WAYS; i++)
        free(t->way[i]);
    free(t);
}

/* ---- what compiled code leaves to C ---- */

static void fill(struct vcpu *cpu, unsigned mode, u64 addr, const struct mmu_page *p)
{
    const unsigned i = index_of(addr);
    const u64 page = addr & ~(PAGE - 1);
    bool readable = p->rights >> IR_ACCESS_READ & 1;
    bool writable = readable && p->rights >> IR_ACCESS_WRITE & 1 && p->writable;
    const struct ir_tlb_entry entry = {
        .read = readable ? page : nowhere(i),
        .write = writable ? page : nowhere(i),
        .add = (u64)(uintptr_t)p->host - page,
        .global = p->global,
    };
    set_entry(tlb_of(cpu)->now, mode, i, &entry);
}

/* Is the access one that the guest may want to know of? C makes it, but atomic ones if they are let through. */
static bool is_kept(struct vcpu *cpu, const struct mmu_page *p, unsigned mode, unsigned bytes)
{
    const struct ir_mmu *x = &cpu->env->mmu;
    return p->watched &&
           (!(x->what & IR_MMU_LOCKED) || mmu_catches_atomic(engine_cpu(cpu)->mmu, mode, x->addr, bytes));
}

/* In one page of memory: compiled code may do it, this time, and the next if the guest takes it for memory, too, and
 * does not watch it. */
static bool find_host(struct vcpu *cpu, unsigned mode, unsigned bytes, bool write)
{
    struct ir_mmu *x = &cpu->env->mmu;
    struct mmu_page p;
    if ((x->addr & (PAGE - 1)) + bytes > PAGE ||
        !mmu_page(engine_cpu(cpu)->mmu, mode, x->addr, write ? IR_ACCESS_WRITE : IR_ACCESS_READ, &p) || !p.host ||
        (p.device && x->addr & (bytes - 1)) || (write && !p.writable) || is_kept(cpu, &p, mode, bytes))
        return false;
    if (!p.device && !p.watched)
        fill(cpu, mode, x->addr, &p);
    x->add = (u64)(uintptr_t)p.host - (x->addr & ~(PAGE - 1));
    return true;
}

/* Code makes them itself if they are in one page of memory that it finds from now on. */
static bool find_group(struct vcpu *cpu, unsigned mode, unsigned bytes)
{
    const struct ir_mmu *x = &cpu->env->mmu;
    struct mmu_page p;
    return mmu_page(engine_cpu(cpu)->mmu, mode, x->addr, IR_ACCESS_READ, &p) && !p.device &&
           find_host(cpu, mode, bytes, x->what & IR_MMU_WRITE);
}

static bool do_access(struct vcpu *cpu, unsigned mode, unsigned bytes)
{
    struct ir_mmu *x = &cpu->env->mmu;
    struct mmu *mmu = engine_cpu(cpu)->mmu;
    const struct ir_mem *m = mmu_mem(mmu, mode);
    bool found = find_host(cpu, mode, bytes, x->what & IR_MMU_WRITE);
    if (x->what & IR_MMU_LOCKED)
        return found || mmu_refuse_atomic(mmu, mode, x->addr, bytes);
    if (x->what & IR_MMU_WRITE)
        return m->store(m->opaque, x->addr, &x->value, bytes);
    if (found)
        return true;
    x->add = (u64)(uintptr_t)&x->copy - x->addr;
    return m->load(m->opaque, x->addr, &x->copy, bytes);
}

void tlb_access(struct ir_env *env)
{
    struct vcpu *cpu = env->cpu;
    struct ir_mmu *x = &env->mmu;
    const unsigned mode = x->what / IR_MMU_MODE, bytes = x->what & IR_MMU_BYTES;
    const bool group = x->what & IR_MMU_GROUP;
    engine_count(cpu, EVENT_ACCESS);
    x->failed = !(group ? find_group : do_access)(cpu, mode, bytes);
    if (x->failed)
        (group ? jit_leave_apart : jit_leave)(env);
    if (x->what & IR_MMU_ORDERED)
        atomic_thread_fence(memory_order_seq_cst);
}

/* ---- maintenance ---- */

/* What is global is in all ways. */
static void flush_way(struct way *w, const struct vcpu_flush *f, unsigned tag)
{
    const u64 first = f->addr & ~(PAGE - 1);
    if (f->scope == VCPU_FLUSH_LOCAL || (f->scope == VCPU_FLUSH_CONTEXT && w->context == f->context)) {
        forget_way(w, false);
    } else if (f->scope == VCPU_FLUSH_ALL || (f->scope != VCPU_FLUSH_CONTEXT && f->bytes > ENTRIES * PAGE)) {
        forget_way(w, true);
    } else if (f->scope != VCPU_FLUSH_CONTEXT) {
        for (unsigned mode = 0; mode < ISA_MODES; mode++)
            forget_range(w, mode, first, f->bytes, tag);
    }
}

void tlb_flush(struct vcpu *cpu, const struct vcpu_flush *f)
{
    struct tlb *t = tlb_of(cpu);
    for (unsigned i = 0; i < WAYS; i++) {
        if (t->way[i])
            flush_way(t->way[i], f, cpu->isa->tag_bits);
    }
}
