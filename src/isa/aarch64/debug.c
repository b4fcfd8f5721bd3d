/* Self-hosted debug: breakpoints and watchpoints, and what enables them and software step (Arm ARM, D2.8 to D2.12).
 * There is neither a secure state nor a level above EL1, so that of the fields which choose states only those that name
 * EL1 and EL0 have a meaning. */
#include "base/bits.h"
#include "base/mem.h"
#include "isa/aarch64/system.h"

#define ADDRESS_BITS  49 /* that are compared; a tag is not */
#define FIRST_CONTEXT (A64_BREAKPOINTS - 2) /* breakpoints from here on can be about contexts */

/* DBGBCR.BT */
enum { BREAK_ADDRESS, BREAK_ADDRESS_LINKED, BREAK_CONTEXT, BREAK_CONTEXT_LINKED };

enum { SECURE_ONLY = 2 }; /* SSC */

#define WATCH_LINKED (1u << 20) /* DBGWCR.WT */

static unsigned type_of(u64 dbgbcr)
{
    return dbgbcr >> 20 & 15;
}

bool a64_debug_enabled(const struct a64_state *s, u64 pstate)
{
    bool masked = pstate & A64_PSTATE_EL && (!(s->mdscr_el1 & MDSCR_KDE) || pstate & A64_PSTATE_D);
    return !masked && !s->el1.os_lock && !(s->el1.osdlr & 1);
}

/* Is what DBGBCR or DBGWCR controls on (E), and for this level (PMC or PAC, SSC)? */
static bool is_for(u64 control, bool el1)
{
    return control & 1 && control >> (el1 ? 1 : 2) & 1 && (control >> 14 & 3) != SECURE_ONLY;
}

static bool is_in_context(const struct a64_state *s, unsigned n)
{
    return n >= FIRST_CONTEXT && n < A64_BREAKPOINTS && (u32)s->el1.dbgbvr[n] == (u32)s->contextidr_el1;
}

/* The breakpoint that DBGBCR.LBN or DBGWCR.LBN names agrees. */
static bool is_linked_match(const struct a64_state *s, u64 control)
{
    unsigned n = control >> 16 & 15;
    return is_in_context(s, n) && s->el1.dbgbcr[n] & 1 && type_of(s->el1.dbgbcr[n]) == BREAK_CONTEXT_LINKED;
}

/* ---- breakpoints ---- */

/* A64 instructions are words: BAS is 1111, but where it is for T32's. */
static bool is_at(const struct a64_state *s, unsigned n, u64 pc)
{
    return s->el1.dbgbcr[n] >> 5 & 1 && !((s->el1.dbgbvr[n] ^ pc) & mask64(ADDRESS_BITS) & ~3ull);
}

static bool breaks_by(const struct a64_state *s, unsigned n, u64 pc)
{
    u64 control = s->el1.dbgbcr[n];
    if (!is_for(control, a64_at_el1(s)))
        return false;
    switch (type_of(control)) {
    case BREAK_ADDRESS:
        return is_at(s, n, pc);
    case BREAK_ADDRESS_LINKED:
        return is_at(s, n, pc) && is_linked_match(s, control);
    case BREAK_CONTEXT:
        return is_in_context(s, n);
    default:
        return false;
    }
}

static bool has_breakpoints(const struct a64_state *s)
{
    return s->mdscr_el1 & MDSCR_MDE && a64_debug_enabled(s, s->pstate);
}

bool a64_breaks(const struct a64_state *s, u64 pc)
{
    bool any = false;
    for (unsigned n = 0; n < A64_BREAKPOINTS && !any && has_breakpoints(s); n++)
        any = breaks_by(s, n, pc);
    return any;
}

bool a64_breaks_anywhere(const struct a64_state *s)
{
    bool any = false;
    for (unsigned n = FIRST_CONTEXT; n < A64_BREAKPOINTS && !any && has_breakpoints(s); n++)
        any = type_of(s->el1.dbgbcr[n]) == BREAK_CONTEXT && breaks_by(s, n, 0);
    return any;
}

static void announce_breakpoints(struct vcpu *cpu)
{
    const struct a64_state *s = a64_of(cpu);
    for (unsigned n = 0; n < A64_BREAKPOINTS && s->mdscr_el1 & MDSCR_MDE; n++) {
        if (s->el1.dbgbcr[n] & 1 && type_of(s->el1.dbgbcr[n]) <= BREAK_ADDRESS_LINKED)
            cpu->ops->break_at(cpu, (u64)sext64(s->el1.dbgbvr[n] & ~3ull, ADDRESS_BITS));
    }
}

/* ---- watchpoints ---- */

/* DBGWCR.MASK: so many low bits of the address do not count; 1 and 2 are reserved. */
static unsigned mask_of(u64 control)
{
    return control >> 24 & 31;
}

/* What DBGWVR and DBGWCR name: a range by MASK, or BAS's bytes of a doubleword, or of its upper word. */
static struct a64_watch watch_of(const struct a64_state *s, unsigned n)
{
    u64 control = s->el1.dbgwcr[n], addr = s->el1.dbgwvr[n] & mask64(ADDRESS_BITS);
    unsigned mask = mask_of(control);
    bool on = s->mdscr_el1 & MDSCR_MDE && control & 1 && !s->el1.os_lock && !(s->el1.osdlr & 1);
    u64 bytes = mask ? 1ull << mask : addr & 4 ? 4 : 8;
    if (!on || mask == 1 || mask == 2)
        return (struct a64_watch){0};
    return (struct a64_watch){addr & ~(bytes - 1), bytes};
}

static void flush_watch(struct vcpu *cpu, const struct a64_watch *w)
{
    struct vcpu_flush f = {.scope = VCPU_FLUSH_RANGE_ALL, .addr = (u64)sext64(w->first, ADDRESS_BITS), .bytes = w->bytes};
    if (w->bytes)
        cpu->ops->flush(cpu, &f, false);
}

static void update_watch(struct vcpu *cpu, unsigned n)
{
    struct a64_watch *w = &((struct a64_cpu *)cpu->system)->watch[n], now = watch_of(a64_of(cpu), n);
    if (w->first == now.first && w->bytes == now.bytes)
        return;
    flush_watch(cpu, w);
    flush_watch(cpu, &now);
    *w = now;
}

void a64_debug_changed(struct vcpu *cpu)
{
    struct a64_cpu *c = cpu->system;
    announce_breakpoints(cpu);
    c->watches = false;
    for (unsigned n = 0; n < A64_WATCHPOINTS; n++) {
        update_watch(cpu, n);
        c->watches |= c->watch[n].bytes != 0;
    }
}

bool a64_watches(const struct vcpu *cpu, u64 addr, u64 bytes)
{
    const struct a64_cpu *c = cpu->system;
    bool any = false;
    for (unsigned n = 0; n < A64_WATCHPOINTS && !any && c->watches; n++) {
        const struct a64_watch *w = &c->watch[n];
        any = w->bytes && !((w->first ^ addr) & mask64(ADDRESS_BITS) & ~(MAX(bytes, w->bytes) - 1));
    }
    return any;
}

static bool is_watched_byte(const struct a64_cpu *c, u64 control, unsigned n, u64 addr)
{
    const struct a64_watch *w = &c->watch[n];
    u64 at = (addr - w->first) & mask64(ADDRESS_BITS);
    return at < w->bytes && (mask_of(control) || control >> (5 + at) & 1);
}

/* LSC: 1 loads, 2 stores. */
static bool is_about(u64 control, unsigned accesses)
{
    unsigned loads = accesses >> IR_ACCESS_READ & 1, stores = accesses >> IR_ACCESS_WRITE & 1;
    return control >> 3 & (loads | stores << 1);
}

/* The first byte of an access that watchpoint n is about; `bytes`: none. */
static unsigned first_watched(struct vcpu *cpu, unsigned n, u64 addr, unsigned bytes)
{
    u64 control = a64_of(cpu)->el1.dbgwcr[n];
    unsigned i = 0;
    while (i < bytes && !is_watched_byte(cpu->system, control, n, addr + i))
        i++;
    return i;
}

bool a64_caught(struct vcpu *cpu, u64 addr, unsigned bytes, unsigned accesses, unsigned mode, struct isa_fault *fault)
{
    const struct a64_state *s = a64_of(cpu);
    for (unsigned n = 0; n < A64_WATCHPOINTS && a64_debug_enabled(s, s->pstate); n++) {
        u64 control = s->el1.dbgwcr[n];
        if (!is_for(control, mode != A64_MODE_EL0) || !is_about(control, accesses) ||
            (control & WATCH_LINKED && !is_linked_match(s, control)))
            continue;
        unsigned at = first_watched(cpu, n, addr, bytes);
        if (at == bytes)
            continue;
        *fault = (struct isa_fault){.addr = addr + at, .kind = ISA_FAULT_WATCHED};
        return true;
    }
    return false;
}
