#include "cpu/vcpu.h"

#include <stdatomic.h>
#include <string.h>

#include "jit/ir/interp.h"

/* Indexes: slots first, then the derived registers. */
static const struct isa_reg *derived(const struct isa *isa, int reg)
{
    return reg >= isa->slots.count ? &isa->regs[reg - isa->slots.count] : NULL;
}

int isa_reg_find(const struct isa *isa, const char *name)
{
    for (int i = 0; i < isa->slots.count; i++) {
        if (!strcmp(isa->slots.slot[i].name, name))
            return i;
    }
    for (int i = 0; isa->regs[i].name; i++) {
        if (!strcmp(isa->regs[i].name, name))
            return isa->slots.count + i;
    }
    return -1;
}

unsigned isa_reg_bytes(const struct isa *isa, int reg)
{
    const struct isa_reg *d = derived(isa, reg);
    if (d)
        return d->bytes;
    switch (isa->slots.slot[reg].type) {
    case IR_V128:
        return 16;
    case IR_I64:
    case IR_F64:
        return 8;
    default: /* I32, and FL as its bits */
        return 4;
    }
}

void vcpu_reg_get(struct vcpu *cpu, int reg, v128 *value)
{
    const struct isa_reg *d = derived(cpu->isa, reg);
    *value = (v128){0};
    if (d)
        d->get(cpu, value);
    else
        ir_slot_load(&cpu->isa->slots.slot[reg], cpu->env, value);
}

void vcpu_reg_set(struct vcpu *cpu, int reg, const v128 *value)
{
    const struct isa_reg *d = derived(cpu->isa, reg);
    if (d)
        d->set(cpu, value);
    else
        ir_slot_store(&cpu->isa->slots.slot[reg], cpu->env, value);
}

u64 vcpu_get(struct vcpu *cpu, int reg)
{
    v128 value;
    vcpu_reg_get(cpu, reg, &value);
    return value.d[0];
}

void vcpu_set(struct vcpu *cpu, int reg, u64 value)
{
    vcpu_reg_set(cpu, reg, &(v128){.d = {value}});
}

u64 vcpu_pc(const struct vcpu *cpu)
{
    v128 value;
    ir_slot_load(&cpu->isa->slots.slot[cpu->isa->slots.pc], cpu->env, &value);
    return value.d[0];
}

void vcpu_set_pc(struct vcpu *cpu, u64 pc)
{
    vcpu_set(cpu, cpu->isa->slots.pc, pc);
}

