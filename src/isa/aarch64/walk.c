/* Stage 1 of the translation for EL1 and EL0 (Arm ARM, D8): from TCR_EL1 and the tables to a page. The contiguous hint
 * is not taken: an entry stands for itself. */
#include "base/bits.h"
#include "isa/aarch64/system.h"
#include "mem/mem.h"

#define TCR_TBI0   37
#define TCR_HA     (1ull << 39)
#define TCR_HD     (1ull << 40)
#define TCR_HPD0   41
#define TCR_E0PD0  55
#define TCR_TBID0  51

#define DESC_VALID   1
#define DESC_TABLE   2 /* or a page, at the last level */
#define DESC_USER    (1ull << 6)
#define DESC_RO      (1ull << 7)
#define DESC_AF      (1ull << 10)
#define DESC_NG      (1ull << 11)
#define DESC_GUARDED (1ull << 50)
#define DESC_DBM     (1ull << 51)
#define DESC_PXN     (1ull << 53)
#define DESC_UXN     (1ull << 54)
/* What a table says of all below it, in the places where a leaf has it for itself. */
#define TABLE_PXN    (1ull << 59)
#define TABLE_UXN    (1ull << 60)
#define TABLE_NOUSER (1ull << 61)
#define TABLE_RO     (1ull << 62)

/* One half of the address space as TCR_EL1 describes it. */
struct region {
    bool off;            /* no walks */
    unsigned grain;      /* log2 of a page */
    unsigned bits;       /* of input addresses */
    unsigned counted;  /* those above do not count */
    bool hierarchical;
    u64 ttbr;
};

struct walk {
    struct vcpu *cpu;
    const struct a64_state *s;
    enum ir_access access;
    unsigned mode;
    bool marks;          /* may mark the entry as written */
    struct region r;
    unsigned level, out_bits;
    u64 table;           /* bits 62..59 of the tables so far, or-ed; NOUSER too */
    u64 at, desc;        /* where the entry is, and it */
    struct isa_fault *fault;
};

unsigned a64_physical_bits(unsigned range)
{
    static const u8 bits[] = {32, 36, 40, 42, 44, 48, 52};
    return bits[MIN(range, ARRAY_LEN(bits) - 1u)];
}

unsigned a64_context(const struct vcpu *cpu)
{
    const struct a64_state *s = a64_of(cpu);
    u64 ttbr = s->tcr_el1 & TCR_A1 ? s->ttbr1_el1 : s->ttbr0_el1;
    return (unsigned)(ttbr >> 48) & (s->tcr_el1 & TCR_AS ? 0xffff : 0xff);
}

/* log2 of the page by TG0; TG1 has other numbers for the same. */
static unsigned grain_of(u64 tcr, bool upper)
{
    static const u8 tg0[] = {12, 16, 14, 12}, tg1[] = {12, 14, 12, 16};
    return upper ? tg1[tcr >> 30 & 3] : tg0[tcr >> 14 & 3];
}

static struct region region_of(const struct a64_state *s, u64 addr)
{
    bool upper = addr >> 55 & 1;
    u64 tcr = s->tcr_el1;
    unsigned size = tcr >> (upper ? 16 : 0) & 63;
    bool ignore = tcr >> (TCR_TBI0 + upper) & 1;
    return (struct region){
        .off = tcr >> (upper ? 23 : 7) & 1 || size < 16 || size > 39,
        .grain = grain_of(tcr, upper),
        .bits = 64 - size,
        .counted = ignore ? 56 : 64,
        .hierarchical = !(tcr >> (TCR_HPD0 + upper) & 1),
        .ttbr = upper ? s->ttbr1_el1 : s->ttbr0_el1,
    };
}

static bool fail(struct walk *w, enum isa_fault_kind kind, unsigned level)
{
    w->fault->kind = (u8)kind;
    w->fault->level = (u8)level;
    return false;
}

u64 a64_plain_pc(const struct a64_state *s, u64 pc)
{
    bool upper = pc >> 55 & 1, pauth = a64_has(&s->model, A64_FEAT_PAuth);
    bool ignored = s->tcr_el1 >> (TCR_TBI0 + upper) & 1 && !(pauth && s->tcr_el1 >> (TCR_TBID0 + upper) & 1);
    return ignored ? (u64)sext64(pc, 56) : pc;
}

/* The 64 bits at a physical address, which is aligned. */
static u64 *table_entry(struct walk *w, u64 at, bool write)
{
    u64 len;
    bool writable;
    u64 *p = (write ? mem_host_write : mem_host)(w->cpu->memory, at, &len, &writable);
    return p && len >= sizeof(*p) && (writable || !write) ? p : NULL;
}

static bool too_large(const struct walk *w, u64 addr)
{
    return addr >> w->out_bits;
}

/* From the root down to an entry that is no table. False: a fault. */
static bool descend(struct walk *w, u64 addr)
{
    const struct region *r = &w->r;
    unsigned stride = r->grain - 3, levels = (r->bits - r->grain + stride - 1) / stride;
    unsigned top = r->bits - r->grain - (levels - 1) * stride; /* bits that the first level resolves */
    u64 base = r->ttbr & mask64(48) & ~mask64(top + 3);
    unsigned lsb = r->bits - top;
    if (too_large(w, base))
        return fail(w, ISA_FAULT_SIZE, 0);
    for (w->level = 4 - levels;; w->level++, lsb -= stride, top = stride) {
        w->at = base + ((addr >> lsb & mask64(top)) << 3);
        const u64 *entry = table_entry(w, w->at, false);
        if (!entry)
            return fail(w, ISA_FAULT_WALK, w->level);
        w->desc = __atomic_load_n(entry, __ATOMIC_ACQUIRE);
        bool leaf = w->level == 3 || !(w->desc & DESC_TABLE);
        if (!(w->desc & DESC_VALID) || (w->level == 3 && !(w->desc & DESC_TABLE)))
            return fail(w, ISA_FAULT_TRANSLATION, w->level);
        u64 to = w->desc & mask64(48) & ~mask64(leaf ? lsb : r->grain);
        if (leaf && w->level < (r->grain == 12 ? 1u : 2u))
            return fail(w, ISA_FAULT_TRANSLATION, w->level); /* no block is that large */
        if (too_large(w, to))
            return fail(w, ISA_FAULT_SIZE, w->level);
        if (leaf)
            return true;
        if (r->hierarchical)
            w->table |= w->desc;
        base = to;
    }
}

static unsigned leaf_bits(const struct walk *w)
{
    return w->r.grain + (3 - w->level) * (w->r.grain - 3);
}

/* What this mode may do with an entry, as bits 1 << enum ir_access. */
static unsigned rights_of(const struct walk *w, u64 desc)
{
    const struct a64_state *s = w->s;
    bool user = desc & DESC_USER && !(w->table & TABLE_NOUSER);
    bool ro = desc & DESC_RO || w->table & TABLE_RO;
    bool uxn = desc & DESC_UXN || w->table & TABLE_UXN, pxn = desc & DESC_PXN || w->table & TABLE_PXN;
    bool wxn = s->sctlr_el1 & SCTLR_WXN && !ro;
    bool data, exec;
    if (w->mode == A64_MODE_EL0) {
        data = user;
        exec = !uxn && !(wxn && user);
    } else {
        data = w->mode != A64_MODE_EL1_PAN || !(desc & DESC_USER) || (w->table & TABLE_NOUSER);
        exec = !pxn && !(user && !ro) && !wxn;
    }
    return (data ? 1u << IR_ACCESS_READ : 0) | (data && !ro ? 1u << IR_ACCESS_WRITE : 0) |
           (exec ? 1u << IR_ACCESS_EXEC : 0);
}

/* Have the entry in memory say so. False: it has changed meanwhile, and the walk must be made again. */
static bool mark(struct walk *w, u64 desc)
{
    u64 old = w->desc, *entry = table_entry(w, w->at, true);
    if (old == desc)
        return true;
    w->desc = desc;
    return !entry || __atomic_compare_exchange_n(entry, &old, desc, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static bool has_hardware_marks(const struct walk *w)
{
    return a64_has(&w->s->model, A64_FEAT_HAFDBS) && w->s->tcr_el1 & TCR_HA;
}

static unsigned memory_attr(const struct a64_state *s, u64 desc)
{
    return s->mair_el1 >> (8 * (desc >> 2 & 7)) & 0xff;
}

enum outcome { FAULTED, FOUND, AGAIN };

/* Check the leaf and mark it: used, and written if DBM lets hardware say so. */
static enum outcome finish(struct walk *w, u64 addr, struct isa_page *page)
{
    u64 desc = w->desc, written = desc;
    bool hardware = has_hardware_marks(w);
    if (!(desc & DESC_AF) && !hardware)
        return fail(w, ISA_FAULT_ACCESSED, w->level);
    if (hardware && w->s->tcr_el1 & TCR_HD && desc & DESC_DBM)
        written &= ~DESC_RO;
    unsigned rights = rights_of(w, written);
    if (!(rights >> w->access & 1))
        return fail(w, ISA_FAULT_PERMISSION, w->level);
    desc |= DESC_AF;
    if (w->access == IR_ACCESS_WRITE && w->marks)
        desc = (desc & ~DESC_RO) | (written & DESC_RO);
    if (!mark(w, desc))
        return AGAIN;
    if (desc & DESC_RO && !(written & DESC_RO))
        rights &= ~(1u << IR_ACCESS_WRITE); /* the first write comes here again */
    u64 within = mask64(leaf_bits(w));
    *page = (struct isa_page){
        .virt = addr & ~within,
        .phys = desc & mask64(48) & ~within,
        .bytes = within + 1,
        .rights = (u8)rights,
        .global = !(desc & DESC_NG),
        .device = !(memory_attr(w->s, desc) & 0xf0),
        .guarded = desc & DESC_GUARDED && a64_has(&w->s->model, A64_FEAT_BTI),
    };
    return FOUND;
}

/* Without translation addresses are physical, and data is device memory. */
static bool flat(struct walk *w, u64 addr, struct isa_page *page)
{
    const u64 block = 1ull << 30;
    unsigned ignored = w->s->tcr_el1 >> (TCR_TBI0 + (addr >> 55 & 1)) & 1 ? 8 : 0;
    u64 plain = addr << ignored >> ignored;
    if (too_large(w, plain))
        return fail(w, ISA_FAULT_SIZE, 0);
    *page = (struct isa_page){
        .virt = ALIGN_DOWN(addr, block),
        .phys = ALIGN_DOWN(plain, block),
        .bytes = block,
        .rights = 1 << IR_ACCESS_READ | 1 << IR_ACCESS_WRITE | 1 << IR_ACCESS_EXEC,
        .global = true,
        .device = true,
    };
    return true;
}

static bool walk(struct walk *w, u64 addr, struct isa_page *page)
{
    const struct a64_state *s = w->s;
    unsigned cpu_bits = (unsigned)s->el1.physical_bits;
    bool upper = addr >> 55 & 1;
    *w->fault = (struct isa_fault){.addr = addr};
    w->out_bits = cpu_bits;
    if (w->access == IR_ACCESS_EXEC && a64_plain_pc(s, addr) != addr)
        return fail(w, ISA_FAULT_PC, 0);
    if (!(s->sctlr_el1 & SCTLR_M))
        return flat(w, addr, page);
    w->out_bits = MIN(cpu_bits, a64_physical_bits(s->tcr_el1 >> 32 & 7));
    w->r = region_of(s, addr);
    u64 beyond = mask64(w->r.counted) & ~mask64(w->r.bits);
    bool hidden = w->mode == A64_MODE_EL0 && a64_has(&s->model, A64_FEAT_E0PD) && s->tcr_el1 >> (TCR_E0PD0 + upper) & 1;
    if (w->r.off || hidden || ((upper ? ~addr : addr) & beyond))
        return fail(w, ISA_FAULT_TRANSLATION, 0);
    for (;;) {
        w->table = 0;
        if (!descend(w, addr))
            return false;
        enum outcome o = finish(w, addr, page);
        if (o != AGAIN)
            return o == FOUND;
    }
}

/* A tag is for data. */
static bool translate(struct walk *w, u64 addr, struct isa_page *page)
{
    if (!walk(w, addr, page))
        return false;
    if (a64_plain_pc(w->s, addr) != addr)
        page->rights &= (u8)~(1u << IR_ACCESS_EXEC);
    return true;
}

bool a64_translate(struct vcpu *cpu, u64 addr, enum ir_access access, unsigned mode, struct isa_page *page,
                   struct isa_fault *fault)
{
    struct walk w = {.cpu = cpu, .s = a64_of(cpu), .access = access, .mode = mode, .marks = true, .fault = fault};
    return translate(&w, addr, page);
}

bool a64_translate_for_at(struct vcpu *cpu, u64 addr, enum ir_access access, unsigned mode, struct isa_page *page,
                          u64 *attr, struct isa_fault *fault)
{
    struct walk w = {.cpu = cpu, .s = a64_of(cpu), .access = access, .mode = mode, .fault = fault};
    if (!translate(&w, addr, page))
        return false;
    u64 memory = w.desc ? memory_attr(w.s, w.desc) : 0;
    /* Device memory, and memory that is not cached, is shared with all. */
    u64 share = !w.desc || !(memory & 0xf0) || memory == 0x44 ? 2 : w.desc >> 8 & 3;
    *attr = memory << 56 | share << 7;
    return true;
}
