#include "accel/jumps.h"

#include <stdlib.h>
#include <string.h>

#include "accel/engine_impl.h"
#include "base/mem.h"

/* A guest that isolates its page tables goes to and fro between two contexts at each system call. */
#define WAYS       4
#define TABLES     (ISA_MODES * WAYS)
#define KNOWN_BITS 14

/* The look-ups of code of one mode, with one key, and, if some of it is local, of one context. */
struct table {
    struct ir_jump *jumps; /* NULL: there was no such code yet */
    u32 key, context;
    bool used;             /* it has entries ... */
    bool global, local;    /* ... of pages of all contexts, of pages that are not */
    u64 pages[4];          /* a bit for each page with entries, several share one */
};

struct known {
    u64 pc, phys;
    const u8 *entry;
    u32 key, epoch;
};

struct jumps {
    struct table table[TABLES], *now; /* WAYS for each mode */
    u32 next[ISA_MODES]; /* the way that is taken next for others */
    u32 epoch; /* what was known in others is not any more */
    struct known known[1 << KNOWN_BITS];
};

static struct jumps *jumps_of(const struct vcpu *cpu)
{
    return engine_cpu(cpu)->jumps;
}

static void clear(struct table *t)
{
    if (t->used)
        ir_jumps_clear(t->jumps);
    t->used = t->global = t->local = false;
    memset(t->pages, 0, sizeof(t->pages));
}

/* ---- which ones hold ---- */

static struct table *find(struct vcpu *cpu)
{
    struct jumps *j = jumps_of(cpu);
    const u32 key = cpu->env->key, context = cpu->isa->system->context(cpu);
    const unsigned mode = cpu->isa->system->mode(key);
    for (unsigned i = 0; i < WAYS; i++) {
        struct table *t = &j->table[mode * WAYS + i];
        if (t->jumps && t->key == key && (!t->local || t->context == context))
            return t;
    }
    struct table *t = &j->table[mode * WAYS + j->next[mode]++ % WAYS];
    if (!t->jumps)
        __atomic_store_n(&t->jumps, ir_jumps_new(), __ATOMIC_RELEASE);
    clear(t);
    t->key = key;
    return t;
}

void jumps_select(struct vcpu *cpu)
{
    struct jumps *j = jumps_of(cpu);
    struct table *t = find(cpu);
    cpu->env->jumps = t->jumps;
    if (j->now != t)
        engine_drop_predictions(cpu);
    j->now = t;
}

struct jumps *jumps_new(struct vcpu *cpu)
{
    struct jumps *j = xcalloc(1, sizeof(*j));
    j->epoch = 1;
    return j;
}

void jumps_free(struct jumps *j)
{
    for (unsigned i = 0; j && i < TABLES; i++)
        free(j->table[i].jumps);
    free(j);
}

/* ---- what leads where ---- */

static unsigned page_bit(u64 pc)
{
    return pc >> IR_PAGE_BITS & 255;
}

void jumps_note(struct vcpu *cpu, u64 pc, bool global)
{
    struct table *t = jumps_of(cpu)->now;
    t->used = true;
    t->global |= global;
    if (!global) {
        t->local = true;
        t->context = cpu->isa->system->context(cpu);
    }
    t->pages[page_bit(pc) / 64] |= 1ull << (page_bit(pc) & 63);
}

static bool leads_to(const struct table *t, u64 page)
{
    return t->pages[page_bit(page) / 64] >> (page_bit(page) & 63) & 1;
}

static bool is_concerned(const struct table *t, const struct vcpu_flush *f)
{
    const u64 page = 1u << IR_PAGE_BITS, first = ALIGN_DOWN(f->addr, page);
    bool found = false;
    switch (f->scope) {
    case VCPU_FLUSH_ALL:
        return true;
    case VCPU_FLUSH_LOCAL:
        return t->local;
    case VCPU_FLUSH_CONTEXT:
        return t->local && t->context == f->context;
    default:
        for (u64 at = first; at - first < f->bytes && at - first < page * 256 && !found; at += page)
            found = leads_to(t, at);
        return found && (f->scope == VCPU_FLUSH_RANGE_ALL || t->global || t->context == f->context);
    }
}

/* Predictions may lead there, too. */
void jumps_flush(struct vcpu *cpu, const struct vcpu_flush *f)
{
    struct table *t = jumps_of(cpu)->table;
    bool any = false;
    for (unsigned i = 0; i < TABLES; i++) {
        if (!t[i].used || !is_concerned(&t[i], f))
            continue;
        clear(&t[i]);
        any = true;
    }
    if (!any)
        return;
    engine_count(cpu, EVENT_FORGET);
    engine_drop_predictions(cpu);
}

void jumps_forget(struct vcpu *cpu)
{
    struct jumps *j = jumps_of(cpu);
    if (!j)
        return;
    for (unsigned i = 0; i < TABLES; i++)
        clear(&j->table[i]);
    j->epoch++;
}

static u32 known_index(const struct vcpu *cpu, u64 pc)
{
    u64 x = pc >> cpu->isa->insn_align;
    return (u32)(x ^ x >> KNOWN_BITS) & ((1u << KNOWN_BITS) - 1);
}

const u8 *jumps_known(const struct vcpu *cpu, u64 pc, u64 phys)
{
    const struct jumps *j = jumps_of(cpu);
    const struct known *k = &j->known[known_index(cpu, pc)];
    bool same = __atomic_load_n(&k->pc, __ATOMIC_RELAXED) == pc && k->phys == phys && k->key == cpu->env->key && k->epoch == j->epoch;
    return same ? k->entry : NULL;
}

void jumps_know(struct vcpu *cpu, u64 pc, u64 phys, const u8 *entry)
{
    struct jumps *j = jumps_of(cpu);
    struct known *k = &j->known[known_index(cpu, pc)];
    *k = (struct known){k->pc, phys, entry, cpu->env->key, j->epoch};
    __atomic_store_n(&k->pc, pc, __ATOMIC_RELAXED);
}

/* Its owner may be writing it at the same time: at worst it leads to the old code, which is whole. */
static void take_pc(u64 *at, u64 pc)
{
    if (__atomic_load_n(at, __ATOMIC_RELAXED) == pc)
        __atomic_store_n(at, ir_jump_nowhere(pc), __ATOMIC_RELAXED);
}

void jumps_forget_entry(struct vcpu *cpu, u64 pc)
{
    struct jumps *j = jumps_of(cpu);
    for (unsigned i = 0; i < TABLES; i++) {
        struct ir_jump *jumps = __atomic_load_n(&j->table[i].jumps, __ATOMIC_ACQUIRE);
        if (jumps)
            take_pc(&jumps[ir_jump_index(pc, cpu->isa->insn_align)].pc, pc);
    }
    take_pc(&j->known[known_index(cpu, pc)].pc, pc);
}
