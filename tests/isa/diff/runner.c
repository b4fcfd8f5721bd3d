/* Between records and the guest's state. */
#include "isa/diff/runner.h"

void state_from_record(const struct guest *g, struct vcpu *cpu, const struct record *r)
{
    for (unsigned i = 0; g->regs[i].name; i++) {
        v128 value = {.d = {r->reg[i].d[0], r->reg[i].d[1]}};
        vcpu_reg_set(cpu, isa_reg_find(g->isa, g->regs[i].name), &value);
    }
    vcpu_set_pc(cpu, guest_pc(g));
    cpu->env->excl.size = 0;
}

void state_to_record(const struct guest *g, struct vcpu *cpu, struct record *r)
{
    for (unsigned i = 0; g->regs[i].name; i++) {
        v128 value;
        vcpu_reg_get(cpu, isa_reg_find(g->isa, g->regs[i].name), &value);
        memcpy(r->reg[i].d, &value, sizeof(value));
    }
    r->pc = vcpu_pc(cpu);
}
