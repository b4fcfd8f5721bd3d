/* In place of the engine, for unit tests of what lies around it. */
#include "accel/engine.h"
#include "user/process.h"

#include "stubs.h"

struct stub_calls stub_calls;

void engine_invalidate(struct engine *en, u64 start, u64 len)
{
    stub_calls.invalidated++;
    stub_calls.start = start;
    stub_calls.len = len;
}

void engine_check_landings(struct engine *en)
{
}

struct engine *engine_new(const struct isa *isa, const struct engine_opts *opts, struct err *e)
{
    return NULL;
}

void engine_free(struct engine *en)
{
}

void engine_stop_threads(struct engine *en)
{
}

void engine_restart_threads(struct engine *en)
{
}

struct vcpu *vcpu_new(struct engine *en, const char *cpu_name, struct err *e)
{
    return NULL;
}

void vcpu_free(struct vcpu *cpu)
{
}

void vcpu_copy_state(struct vcpu *to, const struct vcpu *from)
{
}

void vcpu_run(struct vcpu *cpu, struct vcpu_exit *x)
{
    *x = (struct vcpu_exit){.kind = VCPU_EXIT_REQUEST};
}

bool engine_host_signal(struct vcpu *cpu, int sig, void *siginfo, void *ucontext)
{
    return false;
}

void engine_fork_prepare(struct engine *en)
{
}

void engine_fork_parent(struct engine *en)
{
}

void engine_fork_child(struct engine *en, struct vcpu *cpu)
{
}

int isa_reg_find(const struct isa *isa, const char *name)
{
    return -1;
}

void vcpu_reg_get(struct vcpu *cpu, int reg, v128 *value)
{
}

void vcpu_reg_set(struct vcpu *cpu, int reg, const v128 *value)
{
}

u64 vcpu_get(struct vcpu *cpu, int reg)
{
    return 0;
}

void vcpu_set(struct vcpu *cpu, int reg, u64 value)
{
}

u64 vcpu_pc(const struct vcpu *cpu)
{
    return 0;
}

void vcpu_set_pc(struct vcpu *cpu, u64 pc)
{
}

void vcpu_kick(struct vcpu *cpu)
{
}

const struct isa *const isa_list[] = {NULL};

const struct isa *isa_by_elf(u16 machine, u8 elf_class, bool big_endian)
{
    return NULL;
}
