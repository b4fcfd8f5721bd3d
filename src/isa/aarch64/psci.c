/* Power State Coordination Interface 1.1 (Arm DEN 0022) as a machine without firmware answers it. */
#include "isa/aarch64/system.h"

#define CALL64 0x40000000u /* of a function's number: arguments of 64 bits */

enum {
    PSCI_VERSION = 0x84000000,
    PSCI_CPU_SUSPEND = 0x84000001,
    PSCI_CPU_OFF = 0x84000002,
    PSCI_CPU_ON = 0x84000003,
    PSCI_AFFINITY_INFO = 0x84000004,
    PSCI_MIGRATE_INFO_TYPE = 0x84000006,
    PSCI_SYSTEM_OFF = 0x84000008,
    PSCI_SYSTEM_RESET = 0x84000009,
    PSCI_FEATURES = 0x8400000a,
};

enum {
    SUCCESS = 0, NOT_SUPPORTED = -1, INVALID_PARAMETERS = -2, ALREADY_ON = -4, ON_PENDING = -5,
};

/* The number of the CPU with this affinity. */
static unsigned index_of(u64 affinity)
{
    return (unsigned)(affinity & 0xff) | (unsigned)(affinity >> 8 & 0xff) * 16;
}

static s64 cpu_on(const struct cpu_power *p, const struct a64_state *s)
{
    switch (p->start(p->opaque, index_of(s->x[1]), s->x[2], s->x[3])) {
    case CPU_POWER_OK:
        return SUCCESS;
    case CPU_POWER_ALREADY_ON:
        return ALREADY_ON;
    case CPU_POWER_STARTING:
        return ON_PENDING;
    default:
        return INVALID_PARAMETERS;
    }
}

static s64 affinity_info(const struct cpu_power *p, const struct a64_state *s)
{
    if (s->x[2] > 3 || index_of(s->x[1]) >= p->count)
        return INVALID_PARAMETERS;
    return (s64)p->state(p->opaque, index_of(s->x[1])); /* the same numbers */
}

static s64 features(u32 function)
{
    switch (function & ~CALL64) {
    case PSCI_VERSION:
    case PSCI_CPU_SUSPEND:
    case PSCI_CPU_OFF:
    case PSCI_CPU_ON:
    case PSCI_AFFINITY_INFO:
    case PSCI_MIGRATE_INFO_TYPE:
    case PSCI_SYSTEM_OFF:
    case PSCI_SYSTEM_RESET:
    case PSCI_FEATURES:
        return 0;
    default:
        return NOT_SUPPORTED;
    }
}

bool a64_psci(struct vcpu *cpu, enum cpu_conduit by, enum isa_next *next)
{
    struct a64_state *s = a64_of(cpu);
    const struct cpu_power *p = cpu->port->power;
    s64 result = SUCCESS;
    if (!p || p->conduit != by)
        return false;
    s->pc += 4; /* a CPU that is stopped here starts elsewhere */
    switch ((u32)s->x[0] & ~CALL64) {
    case PSCI_VERSION:
        result = 1 << 16 | 1;
        break;
    case PSCI_CPU_SUSPEND: /* every state is a standby */
        *next = ISA_NEXT_WAIT;
        break;
    case PSCI_CPU_OFF:
        p->stop(p->opaque, cpu->port->index);
        break;
    case PSCI_CPU_ON:
        result = cpu_on(p, s);
        break;
    case PSCI_AFFINITY_INFO:
        result = affinity_info(p, s);
        break;
    case PSCI_MIGRATE_INFO_TYPE:
        result = 2; /* there is nothing to migrate */
        break;
    case PSCI_SYSTEM_OFF:
        p->system_off(p->opaque);
        p->stop(p->opaque, cpu->port->index);
        break;
    case PSCI_SYSTEM_RESET:
        p->system_reset(p->opaque);
        p->stop(p->opaque, cpu->port->index);
        break;
    case PSCI_FEATURES:
        result = features((u32)s->x[1]);
        break;
    default:
        result = NOT_SUPPORTED;
    }
    s->x[0] = (u64)result;
    return true;
}
