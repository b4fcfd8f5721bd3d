#include "accel/mmu.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "accel/engine_impl.h"
#include "base/bits.h"
#include "base/mem.h"
#include "mem/mem.h"

#define PAGE_BITS 12
#define PAGE      (1ull << PAGE_BITS)
#define ENTRIES   8192
#define MAX_LOOKS 1024 /* entries that the flush of a range looks at, at most */
#define CONTEXTS  16
#define SIZES     8
#define LARGE     4096 /* bits for the pages of one size, a power of two */

/* A page of 4 KiB, by virtual address. */
struct entry {
    u64 virt;
    u64 phys;
    u8 *host;     /* NULL: accesses are calls */
    u64 owner;    /* struct mmu's; 0: nobody */
    u8 rights;    /* 1 << enum ir_access */
    bool global, device;
    bool host_writable;
    bool watched; /* struct isa_system.caught wants to see accesses */
    bool guarded;
};

/* The guest's pages of one size, larger than ours, that some entry may be a part of, here or in the TLB of compiled code:
 * a bit for each, several share one. */
struct large {
    unsigned bits; /* log2 of the size; 0: none */
    u64 seen[LARGE / 64];
};

struct port {
    struct mmu *mmu;
    unsigned mode;
    struct ir_mem mem;
};

/* Entries belong to owners, each of them a context, or all contexts, until it is flushed. */
struct mmu {
    struct vcpu *cpu;
    struct isa_fault fault;
    u64 owners;        /* so many there were */
    u64 global, local; /* those of entries that hold now */
    struct {
        u32 context;
        u64 owner; /* 0: none */
    } context[CONTEXTS]; /* those that are known; others begin anew */
    unsigned next;       /* the place for another one */
    struct large large[SIZES];
    bool sizes_lost;     /* there are more sizes */
    struct port port[ISA_MODES];
    struct entry entry[ISA_MODES][ENTRIES];
};

static void forget_contexts(struct mmu *m)
{
    for (unsigned i = 0; i < CONTEXTS; i++)
        m->context[i].owner = 0;
}

static void forget_context(struct mmu *m, u32 context)
{
    for (unsigned i = 0; i < CONTEXTS; i++) {
        if (m->context[i].context == context)
            m->context[i].owner = 0;
    }
}

void mmu_switch_context(struct mmu *m)
{
    const u32 context = m->cpu->isa->system->context(m->cpu);
    for (unsigned i = 0; i < CONTEXTS; i++) {
        if (m->context[i].owner && m->context[i].context == context) {
            m->local = m->context[i].owner;
            return;
        }
    }
    unsigned i = m->next++ % CONTEXTS;
    m->context[i].context = context;
    m->context[i].owner = m->local = ++m->owners;
}

/* ---- large pages ---- */

static void forget_large(struct mmu *m)
{
    memset(m->large, 0, sizeof(m->large));
    m->sizes_lost = false;
}

static unsigned large_bit(const struct mmu *m, u64 addr, unsigned bits)
{
    u64 page = addr << m->cpu->isa->tag_bits >> m->cpu->isa->tag_bits >> bits;
    return (unsigned)(page ^ page >> 12) & (LARGE - 1);
}

static void note_large(struct mmu *m, const struct isa_page *p)
{
    const unsigned bits = ctz64(p->bytes);
    unsigned i = 0;
    while (i < SIZES && m->large[i].bits && m->large[i].bits != bits)
        i++;
    if (i == SIZES) {
        m->sizes_lost = true;
        return;
    }
    unsigned bit = large_bit(m, p->virt, bits);
    m->large[i].bits = bits;
    m->large[i].seen[bit / 64] |= 1ull << (bit & 63);
}

/* The bytes of the largest page that addr may be in. */
static u64 page_around(const struct mmu *m, u64 addr)
{
    u64 bytes = PAGE;
    for (unsigned i = 0; i < SIZES && m->large[i].bits; i++) {
        unsigned bit = large_bit(m, addr, m->large[i].bits);
        if (m->large[i].seen[bit / 64] >> (bit & 63) & 1)
            bytes = MAX(bytes, 1ull << m->large[i].bits);
    }
    return bytes;
}

void mmu_widen(const struct mmu *m, struct vcpu_flush *f)
{
    u64 last = f->addr + f->bytes - 1;
    u64 first = f->addr & ~(page_around(m, f->addr) - 1);
    last |= page_around(m, last) - 1;
    f->addr = first;
    f->bytes = last - first + 1;
    if (m->sizes_lost)
        f->scope = VCPU_FLUSH_ALL;
}

static void forget(struct mmu *m, const struct vcpu_flush *f)
{
    if (f->scope == VCPU_FLUSH_CONTEXT)
        forget_context(m, f->context);
    else
        forget_contexts(m);
    if (f->scope != VCPU_FLUSH_CONTEXT && f->scope != VCPU_FLUSH_LOCAL)
        m->global = ++m->owners;
    if (f->scope == VCPU_FLUSH_ALL)
        forget_large(m);
    mmu_switch_context(m);
}

static bool holds(const struct mmu *m, const struct entry *t)
{
    return t->owner == m->local || t->owner == m->global;
}

static bool fail(struct mmu *m, u64 addr, enum isa_fault_kind kind)
{
    m->fault = (struct isa_fault){.addr = addr, .kind = (u8)kind};
    return false;
}

/* The first guarded page with code: whoever translates from now on knows, and what was translated before goes soon. */
static void note_guarded(struct vcpu *cpu)
{
    if (!atomic_exchange(&cpu->engine->guards, true))
        atomic_fetch_or(&cpu->env->request, REQUEST_LANDINGS);
}

static bool fill(struct mmu *m, struct entry *t, unsigned mode, u64 addr, enum ir_access access)
{
    struct vcpu *cpu = m->cpu;
    struct isa_page p;
    u64 len;
    bool writable = false;
    engine_count(cpu, EVENT_WALK);
    if (!cpu->isa->system->translate(cpu, addr, access, mode, &p, &m->fault))
        return false;
    u64 virt = addr & ~(PAGE - 1), phys = p.phys + (virt & (p.bytes - 1));
    u8 *host = (access == IR_ACCESS_WRITE ? mem_host_write : mem_host)(cpu->memory, phys, &len, &writable);
    *t = (struct entry){
        .virt = virt,
        .phys = phys,
        .host = host && len >= PAGE ? host : NULL,
        .owner = p.global ? m->global : m->local,
        .rights = p.rights,
        .global = p.global,
        .device = p.device,
        .host_writable = writable,
        .watched = cpu->isa->system->watches(cpu, virt, PAGE),
        .guarded = p.guarded,
    };
    if (p.bytes > PAGE)
        note_large(m, &p);
    if (p.guarded && access == IR_ACCESS_EXEC)
        note_guarded(cpu);
    return true;
}

/* Memory whose log has to hear of a write before the first is made. */
static bool is_clean(const struct entry *t, enum ir_access access)
{
    return access == IR_ACCESS_WRITE && t->host && !t->host_writable;
}

/* The page of addr, or NULL with the fault. */
static struct entry *find(struct mmu *m, unsigned mode, u64 addr, enum ir_access access)
{
    struct entry *t = &m->entry[mode][addr >> PAGE_BITS & (ENTRIES - 1)];
    if (t->virt == (addr & ~(PAGE - 1)) && t->rights >> access & 1 && holds(m, t) && !is_clean(t, access))
        return t;
    return fill(m, t, mode, addr, access) ? t : NULL;
}

enum { READS = 1 << IR_ACCESS_READ, WRITES = 1 << IR_ACCESS_WRITE };

/* The fault is there. */
static bool caught(struct mmu *m, const struct entry *t, unsigned mode, u64 addr, unsigned bytes, unsigned accesses)
{
    return t->watched && m->cpu->isa->system->caught(m->cpu, addr, bytes, accesses, mode, &m->fault);
}

static bool answered(struct mmu *m, u64 addr, enum mem_result r)
{
    return r == MEM_OK || fail(m, addr, ISA_FAULT_BUS);
}

/* Within a page that has no host memory. 16 bytes are two accesses. */
static bool call(struct mmu *m, const struct entry *t, u64 addr, void *data, unsigned bytes, bool write)
{
    struct mem_space *s = m->cpu->memory;
    u64 phys = t->phys + (addr & (PAGE - 1));
    if (addr & (bytes - 1) && t->device)
        return fail(m, addr, ISA_FAULT_UNALIGNED);
    unsigned step = MIN(bytes, 8u);
    for (unsigned i = 0; i < bytes; i += step) {
        u64 v = 0;
        if (write)
            memcpy(&v, (u8 *)data + i, step);
        if (!answered(m, addr, write ? mem_write(s, phys + i, step, v) : mem_read(s, phys + i, step, &v)))
            return false;
        if (!write)
            memcpy((u8 *)data + i, &v, step);
    }
    return true;
}

/* At once where the host can: an access that is aligned is single-copy atomic up to 8 bytes. */
static void copy(void *to, const void *from, unsigned bytes)
{
    switch (bytes) {
    case 1:
        __atomic_store_n((u8 *)to, __atomic_load_n((const u8 *)from, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
        break;
    case 2:
        __atomic_store_n((u16 *)to, __atomic_load_n((const u16 *)from, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
        break;
    case 4:
        __atomic_store_n((u32 *)to, __atomic_load_n((const u32 *)from, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
        break;
    case 8:
        __atomic_store_n((u64 *)to, __atomic_load_n((const u64 *)from, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
        break;
    default:
        memcpy(to, from, bytes);
    }
}

/* A part of an access, inside of one page that is known. */
static bool access_page(struct mmu *m, const struct entry *t, u64 addr, void *data, unsigned bytes, bool write)
{
    u8 *host = t->host ? t->host + (addr & (PAGE - 1)) : NULL;
    if (!host || (write && !t->host_writable))
        return call(m, t, addr, data, bytes, write);
    if (write)
        copy(host, data, bytes);
    else
        copy(data, host, bytes);
    return true;
}

/* Both pages are there before either is touched. Bytes of a device are never part of this. */
static bool access_two_pages(struct mmu *m, unsigned mode, u64 addr, void *data, unsigned bytes, bool write)
{
    enum ir_access access = write ? IR_ACCESS_WRITE : IR_ACCESS_READ;
    u64 second = (addr | (PAGE - 1)) + 1;
    const struct entry *t = find(m, mode, addr, access);
    if (!t)
        return false;
    if (t->device)
        return fail(m, addr, ISA_FAULT_UNALIGNED);
    const struct entry low = *t, *high = find(m, mode, second, access);
    if (!high)
        return false;
    if (high->device)
        return fail(m, second, ISA_FAULT_UNALIGNED);
    if (caught(m, low.watched ? &low : high, mode, addr, bytes, 1u << access))
        return false;
    for (unsigned i = 0; i < bytes; i++) {
        const struct entry *at = addr + i < second ? &low : high;
        if (!access_page(m, at, addr + i, (u8 *)data + i, 1, write))
            return false;
    }
    return true;
}

static bool access(struct port *p, u64 addr, void *data, unsigned bytes, bool write)
{
    struct mmu *m = p->mmu;
    if ((addr & (PAGE - 1)) + bytes > PAGE)
        return access_two_pages(m, p->mode, addr, data, bytes, write);
    const struct entry *t = find(m, p->mode, addr, write ? IR_ACCESS_WRITE : IR_ACCESS_READ);
    if (!t)
        return false;
    if (t->device && addr & (bytes - 1))
        return fail(m, addr, ISA_FAULT_UNALIGNED);
    if (caught(m, t, p->mode, addr, bytes, write ? WRITES : READS))
        return false;
    return access_page(m, t, addr, data, bytes, write);
}

static bool load(void *opaque, u64 addr, void *to, unsigned bytes)
{
    return access(opaque, addr, to, bytes, false);
}

static bool store(void *opaque, u64 addr, const void *from, unsigned bytes)
{
    v128 data;
    memcpy(&data, from, bytes);
    return access(opaque, addr, &data, bytes, true);
}

/* Only memory takes these. They are aligned. */
static bool cas(void *opaque, u64 addr, const v128 *expected, const v128 *desired, v128 *old, unsigned bytes)
{
    struct port *p = opaque;
    const struct entry *t = find(p->mmu, p->mode, addr, IR_ACCESS_WRITE);
    if (!t)
        return false;
    if (caught(p->mmu, t, p->mode, addr, bytes, READS | WRITES))
        return false;
    if (!t->host || !t->host_writable)
        return fail(p->mmu, addr, ISA_FAULT_UNSUPPORTED);
    u64 host = (u64)(uintptr_t)(t->host + (addr & (PAGE - 1)));
    return ir_mem_direct.cas(NULL, host, expected, desired, old, bytes);
}

bool mmu_page(struct mmu *m, unsigned mode, u64 addr, enum ir_access access, struct mmu_page *out)
{
    const struct entry *t = find(m, mode, addr, access);
    if (t)
        *out = (struct mmu_page){t->host, t->phys, t->rights, t->global, t->device, t->host_writable, t->watched,
                                 t->guarded};
    return t != NULL;
}

bool mmu_catches_atomic(struct mmu *m, unsigned mode, u64 addr, unsigned bytes)
{
    const struct entry *t = find(m, mode, addr, IR_ACCESS_WRITE);
    return t && caught(m, t, mode, addr, bytes, READS | WRITES);
}

bool mmu_refuse_atomic(struct mmu *m, unsigned mode, u64 addr, unsigned bytes)
{
    const struct entry *t = find(m, mode, addr, IR_ACCESS_WRITE);
    return t && !caught(m, t, mode, addr, bytes, READS | WRITES) && fail(m, addr, ISA_FAULT_UNSUPPORTED);
}

struct mmu *mmu_new(struct vcpu *cpu)
{
    struct mmu *m = xcalloc(1, sizeof(*m));
    m->cpu = cpu;
    for (unsigned mode = 0; mode < ISA_MODES; mode++) {
        struct port *p = &m->port[mode];
        *p = (struct port){m, mode, {load, store, cas, p, &m->port[0].mem}};
    }
    forget(m, &(struct vcpu_flush){.scope = VCPU_FLUSH_ALL});
    return m;
}

void mmu_free(struct mmu *m)
{
    free(m);
}

const struct ir_mem *mmu_mem(struct mmu *m, unsigned mode)
{
    return &m->port[mode].mem;
}

const struct isa_fault *mmu_fault(const struct mmu *m)
{
    return &m->fault;
}

size_t mmu_fetch(struct mmu *m, unsigned mode, u64 addr, void *to, size_t len)
{
    size_t done = 0;
    while (done < len) {
        u64 at = addr + done;
        const struct entry *t = find(m, mode, at, IR_ACCESS_EXEC);
        if (t && !t->host)
            fail(m, at, ISA_FAULT_BUS);
        if (!t || !t->host)
            break;
        size_t part = MIN(len - done, (size_t)(PAGE - (at & (PAGE - 1))));
        memcpy((u8 *)to + done, t->host + (at & (PAGE - 1)), part);
        done += part;
    }
    return done;
}

bool mmu_same_code(struct mmu *m, unsigned mode, u64 addr, const void *code, size_t len)
{
    const u8 *bytes = code;
    while (len) {
        const struct entry *t = find(m, mode, addr, IR_ACCESS_EXEC);
        size_t part = MIN(len, (size_t)(PAGE - (addr & (PAGE - 1))));
        if (!t || !t->host || memcmp(t->host + (addr & (PAGE - 1)), bytes, part))
            return false;
        addr += part;
        bytes += part;
        len -= part;
    }
    return true;
}

void mmu_flush(struct mmu *m, const struct vcpu_flush *f)
{
    unsigned tag = m->cpu->isa->tag_bits;
    if (!vcpu_flush_is_range(f) || f->bytes > MAX_LOOKS * PAGE) {
        forget(m, f);
        return;
    }
    for (u64 at = f->addr & ~(PAGE - 1); at - (f->addr & ~(PAGE - 1)) < f->bytes; at += PAGE) {
        for (unsigned mode = 0; mode < ISA_MODES; mode++) {
            struct entry *t = &m->entry[mode][at >> PAGE_BITS & (ENTRIES - 1)];
            if (!((t->virt ^ at) << tag))
                t->owner = 0;
        }
    }
}
