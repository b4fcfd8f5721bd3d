/* C functions for a machine's code. */
#include <stdatomic.h>

#include "isa/aarch64/helper.h"
#include "isa/aarch64/lift.h"
#include "isa/aarch64/system.h"

void a64_machine_counter(struct ir_env *env)
{
    env->helper_ret.d[0] = a64_counter(env->cpu);
}

/* The argument is PSTATE, whose slot need not hold it yet. */
void a64_unmasked(struct ir_env *env)
{
    struct vcpu *cpu = env->cpu;
    u64 pstate = env->helper_arg[0].d[0];
    u32 lines = atomic_load(&cpu->port->lines);
    u32 open = (pstate & A64_PSTATE_I ? 0 : 1u << CPU_LINE_IRQ) | (pstate & A64_PSTATE_F ? 0 : 1u << CPU_LINE_FIQ) |
               (pstate & A64_PSTATE_A ? 0 : 1u << CPU_LINE_ERROR);
    if (lines & open)
        cpu->ops->ask_leave(cpu);
}

void a64_synchronise(struct ir_env *env)
{
    struct vcpu *cpu = env->cpu;
    struct a64_cpu *c = cpu->system;
    if (!c->unsynchronised)
        return;
    c->unsynchronised = false;
    cpu->ops->ask_flush_wait(cpu);
}

/* The argument is a pc. The result is even unless it has a breakpoint; then the raise that follows is one of that. */
void a64_break_at(struct ir_env *env)
{
    struct a64_state *s = a64_state(env);
    s->el1.break_hit = a64_breaks(s, env->helper_arg[0].d[0]);
    env->helper_ret.d[0] = s->el1.break_hit;
}

/* The argument is an address whose cache line is cleaned. The result is even unless that may fault; then the raise that
 * follows has C carry the instruction out. */
void a64_reaches(struct ir_env *env)
{
    struct vcpu *cpu = env->cpu;
    u64 phys;
    env->helper_ret.d[0] = !cpu->ops->reach(cpu, env->helper_arg[0].d[0], IR_ACCESS_READ, &phys);
}

/* The argument is a pc with the type of the branch that led there. The result is even unless that must not land there;
 * then the raise that follows is one of that. */
void a64_landing(struct ir_env *env)
{
    env->helper_ret.d[0] = !a64_lands(env->cpu, env->helper_arg[0].d[0]);
}

/* The argument is the pc of a BR. */
void a64_jump_type(struct ir_env *env)
{
    struct vcpu *cpu = env->cpu;
    bool guarded = cpu->ops->guarded(cpu, env->helper_arg[0].d[0]);
    env->helper_ret.d[0] = guarded ? A64_BTYPE_JUMP : A64_BTYPE_TAIL;
}

void a64_return_address(struct ir_env *env)
{
    a64_state(env)->el1.return_to = env->helper_arg[0].d[0];
}
