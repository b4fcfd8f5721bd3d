/* Memory of a machine as lockstep's interpreter sees it: addresses are translated, and what host memory is behind them goes
 * into the log. Devices cannot be asked twice: with an access to one the interpreter gives up, and what host code makes of
 * the region is not compared. */
#include <stdlib.h>
#include <string.h>

#include "accel/engine_impl.h"
#include "accel/mmu.h"
#include "base/mem.h"

#define PAGE (1ull << IR_PAGE_BITS)

struct port {
    struct lockstep_ports *of;
    unsigned mode;
    struct ir_mem mem;
};

struct lockstep_ports {
    struct vcpu *cpu;
    struct lockstep *ls;
    bool gave_up;
    struct port port[ISA_MODES];
};

/* The host's address of what is at addr, for so many bytes or their first; 0: a fault, or no memory. */
static u64 host_of(const struct port *p, u64 addr, unsigned bytes, enum ir_access access)
{
    struct mmu_page page;
    if (!mmu_page(engine_cpu(p->of->cpu)->mmu, p->mode, addr, access, &page))
        return 0;
    bool memory = page.host && !page.watched && !(page.device && addr & (bytes - 1)) && (access == IR_ACCESS_READ || page.writable);
    p->of->gave_up |= !memory;
    return memory ? (u64)(uintptr_t)page.host + (addr & (PAGE - 1)) : 0;
}

/* Both parts of an access over a page's end. */
struct parts {
    u64 host[2];
    unsigned bytes[2]; /* the second may have none */
};

static bool find(const struct port *p, u64 addr, unsigned bytes, enum ir_access access, struct parts *out)
{
    out->bytes[0] = (unsigned)MIN((u64)bytes, PAGE - (addr & (PAGE - 1)));
    out->bytes[1] = bytes - out->bytes[0];
    out->host[0] = host_of(p, addr, bytes, access);
    out->host[1] = out->host[0] && out->bytes[1] ? host_of(p, addr + out->bytes[0], bytes, access) : 0;
    return out->host[0] && (out->host[1] || !out->bytes[1]);
}

static bool load(void *opaque, u64 addr, void *to, unsigned bytes)
{
    const struct port *p = opaque;
    struct parts at;
    return find(p, addr, bytes, IR_ACCESS_READ, &at) && lockstep_load(p->of->ls, at.host[0], to, at.bytes[0]) &&
           (!at.bytes[1] || lockstep_load(p->of->ls, at.host[1], (u8 *)to + at.bytes[0], at.bytes[1]));
}

static bool store(void *opaque, u64 addr, const void *from, unsigned bytes)
{
    const struct port *p = opaque;
    struct parts at;
    if (!find(p, addr, bytes, IR_ACCESS_WRITE, &at))
        return false;
    lockstep_store(p->of->ls, at.host[0], from, at.bytes[0]);
    if (at.bytes[1])
        lockstep_store(p->of->ls, at.host[1], (const u8 *)from + at.bytes[0], at.bytes[1]);
    return true;
}

static bool cas(void *opaque, u64 addr, const v128 *expected, const v128 *desired, v128 *old, unsigned bytes)
{
    const struct port *p = opaque;
    u64 host = host_of(p, addr, bytes, IR_ACCESS_WRITE);
    *old = (v128){0};
    if (!host || !lockstep_load(p->of->ls, host, old, bytes))
        return false;
    if (!memcmp(old, expected, bytes))
        lockstep_store(p->of->ls, host, desired, bytes);
    return true;
}

struct lockstep_ports *lockstep_ports_new(struct vcpu *cpu, struct lockstep *ls)
{
    struct lockstep_ports *ports = xcalloc(1, sizeof(*ports));
    ports->cpu = cpu;
    ports->ls = ls;
    for (unsigned mode = 0; mode < ISA_MODES; mode++) {
        struct port *p = &ports->port[mode];
        *p = (struct port){ports, mode, {load, store, cas, p, &ports->port[0].mem}};
    }
    return ports;
}

const struct ir_mem *lockstep_ports_mem(struct lockstep_ports *ports, const struct vcpu *cpu)
{
    ports->gave_up = false;
    return &ports->port[cpu->isa->system->mode(cpu->env->key)].mem;
}

bool lockstep_ports_gave_up(const struct lockstep_ports *ports)
{
    return ports->gave_up;
}
