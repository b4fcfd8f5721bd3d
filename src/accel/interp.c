/* The interpreter as an engine: translate a block to IR, run it, forget it. */
#include <stdatomic.h>
#include <string.h>

#include "accel/engine_impl.h"
#include "accel/mmu.h"
#include "base/guard.h"
#include "base/mem.h"

static bool load(void *opaque, u64 addr, void *to, unsigned bytes)
{
    return !guard_copy(to, (const void *)(uintptr_t)addr, bytes);
}

static bool store(void *opaque, u64 addr, const void *from, unsigned bytes)
{
    return !guard_copy((void *)(uintptr_t)addr, from, bytes);
}

bool guest_writable(u64 addr)
{
    u32 seen = 0; /* an exchange that changes nothing */
    return guard_cas32((u32 *)(uintptr_t)(addr & ~3ull), &seen, 0);
}

void guest_settle_fault(struct ir_env *env)
{
    u64 addr = env->exit_addr;
    u8 byte;
    if (env->exit == IR_EXIT_FAULT && (env->exit_code == IR_ACCESS_WRITE
                                           ? guest_writable(addr)
                                           : load(NULL, addr, &byte, sizeof(byte))))
        env->exit_addr = ALIGN_UP(addr + 1, (u64)PAGE_BYTES);
}

static bool cas(void *opaque, u64 addr, const v128 *expected, const v128 *desired, v128 *old,
                unsigned bytes)
{
    return guest_writable(addr) &&
           ir_mem_direct.cas(opaque, addr, expected, desired, old, bytes);
}

const struct ir_mem guarded_mem = {load, store, cas, NULL};

void interp_prepare(struct vcpu *cpu)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    if (ec->own)
        return;
    ec->own = xcalloc(1, sizeof(*ec->own));
    compiler_init(ec->own);
}

static void run_mapped(struct vcpu *cpu, const struct ir_region *ir)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    ec->interp.mem = &guarded_mem;
    ir_interp_run(&ec->interp, ir, cpu->env, cpu->isa->helpers, 0);
    guest_settle_fault(cpu->env);
    ec->fault.sig = ec->fault.sicode = 0; /* a guarded copy does not say */
}

static void run_translated(struct vcpu *cpu, const struct ir_region *ir)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    ec->interp.mem = mmu_mem(ec->mmu, cpu->isa->system->mode(cpu->env->key));
    ir_interp_run(&ec->interp, ir, cpu->env, cpu->isa->helpers, 0);
}

void interp_region(struct vcpu *cpu, const struct ir_region *ir)
{
    (cpu->memory ? run_translated : run_mapped)(cpu, ir);
}

void interp_run(struct vcpu *cpu, struct vcpu_exit *exit)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    interp_prepare(cpu);
    for (;;) {
        if (atomic_load(&cpu->env->request)) {
            cpu->env->exit = IR_EXIT_REQUEST;
        } else if (!compiler_lift_unlocked(ec->own, cpu, vcpu_pc(cpu))) {
            engine_fetch_fault(cpu, exit);
            return;
        } else {
            interp_region(cpu, &engine_cpu(cpu)->own->ir);
        }
        if (!engine_exit(cpu, exit))
            return;
    }
}
