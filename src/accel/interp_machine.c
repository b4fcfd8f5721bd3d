/* The interpreter over a machine's memory. Regions are kept, and compared with the guest's code each time they are
 * entered, so that nobody has to say when code changes. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "accel/engine_impl.h"
#include "accel/mmu.h"
#include "base/mem.h"

#define KEPT 4096 /* regions of one vCPU */

struct kept {
    struct ir_region ir;
    u64 pc;
    u32 key, len; /* len 0: none */
    u32 known;    /* known() when it was made */
    u8 code[FETCH_BYTES];
};

struct kept_regions {
    struct kept *kept[KEPT];
};

void interp_machine_free(struct engine_cpu *ec)
{
    for (unsigned i = 0; ec->regions && i < KEPT; i++) {
        if (ec->regions->kept[i])
            ir_region_free(&ec->regions->kept[i]->ir);
        free(ec->regions->kept[i]);
    }
    free(ec->regions);
    if (ec->mmu)
        mmu_free(ec->mmu);
}

static void prepare(struct vcpu *cpu)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    ec->own = xcalloc(1, sizeof(*ec->own));
    ec->regions = xcalloc(1, sizeof(*ec->regions));
    compiler_init(ec->own);
    ec->mmu = mmu_new(cpu);
}

static struct kept *place(struct kept_regions *r, u64 pc, u32 key)
{
    struct kept **at = &r->kept[(pc >> 2 ^ key) & (KEPT - 1)];
    if (!*at) {
        *at = xcalloc(1, sizeof(**at));
        ir_region_init(&(*at)->ir);
    }
    return *at;
}

/* What lifting depends on and is never taken back. */
static u32 known(const struct engine *en)
{
    return atomic_load(&en->breaks.count) << 1 | atomic_load(&en->guards);
}

/* The region at the vCPU's pc; NULL: it cannot be fetched. */
static const struct kept *region(struct vcpu *cpu, unsigned mode)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    u64 pc = vcpu_pc(cpu);
    struct kept *k = place(ec->regions, pc, cpu->env->key);
    const u32 now = known(cpu->engine);
    if (k->len && k->pc == pc && k->key == cpu->env->key && k->known == now && mmu_same_code(ec->mmu, mode, pc, k->code, k->len))
        return k;
    k->len = 0;
    u32 len = compiler_lift_unlocked(ec->own, cpu, pc);
    if (!len)
        return NULL;
    struct ir_region spare = k->ir;
    k->ir = ec->own->ir;
    ec->own->ir = spare;
    k->pc = pc;
    k->key = cpu->env->key;
    k->known = now;
    k->len = (u32)mmu_fetch(ec->mmu, mode, pc, k->code, len);
    return k;
}

/* False: the instruction at pc cannot be fetched. */
static bool run_region(struct vcpu *cpu)
{
    unsigned mode = cpu->isa->system->mode(cpu->env->key);
    const struct kept *k = region(cpu, mode);
    if (!k)
        return false;
    interp_region(cpu, &k->ir);
    return true;
}

void machine_fill_fault(struct vcpu *cpu, struct vcpu_exit *exit)
{
    if (exit->kind != VCPU_EXIT_FAULT)
        return;
    const struct isa_fault *f = mmu_fault(engine_cpu(cpu)->mmu);
    exit->addr = f->addr;
    exit->fault = f->kind;
    exit->level = f->level;
}

void interp_machine_run(struct vcpu *cpu, struct vcpu_exit *exit)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    if (!ec->mmu)
        prepare(cpu);
    atomic_store(&ec->in_guest, true);
    flush_service(cpu);
    for (bool goes_on = true; goes_on;) {
        if (atomic_load(&cpu->env->request)) {
            flush_service(cpu);
            cpu->env->exit = IR_EXIT_REQUEST;
        } else if (!run_region(cpu)) {
            engine_fetch_fault(cpu, exit);
            break;
        }
        goes_on = engine_exit(cpu, exit);
    }
    atomic_store(&ec->in_guest, false);
    machine_fill_fault(cpu, exit);
}
