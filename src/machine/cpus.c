/* The machine's CPUs. */
#include "base/log.h"
#include "machine/impl.h"

static void system_off(void *opaque)
{
    machine_request(opaque, MACHINE_OFF);
}

static void system_reset(void *opaque)
{
    machine_request(opaque, MACHINE_GUEST_RESET);
}

bool machine_make_cpus(struct machine *m, struct err *e)
{
    const struct machine_opts *o = m->opts;
    struct engine_opts engine = o->engine;
    engine.memory = m->memory;
    m->engine = engine_new(isa_by_name(o->board->isa), &engine, e);
    if (!m->engine)
        return false;
    struct cpus_opts opts = {.count = o->cpus, .model = m->setup.cpu_model, .clock = m->clock,
                             .conduit = o->board->conduit, .system_off = system_off, .system_reset = system_reset,
                             .opaque = m};
    m->cpus = cpus_new(m->engine, &opts, e);
    if (!m->cpus)
        return false;
    for (unsigned i = 0; i < o->cpus; i++)
        m->ports[i] = cpus_port(m->cpus, i);
    m->setup.cpu = m->ports;
    return true;
}

void machine_free_cpus(struct machine *m)
{
    if (m->cpus)
        cpus_free(m->cpus);
    if (m->engine) {
        engine_report(m->engine, LOG_STATS, engine_stats);
        engine_free(m->engine);
    }
}

void machine_resume_cpus(struct machine *m)
{
    if (m->cpus)
        cpus_resume(m->cpus);
}

void machine_pause_cpus(struct machine *m)
{
    if (m->cpus)
        cpus_pause(m->cpus);
}

void machine_restart_cpus(struct machine *m, u64 entry, u64 arg)
{
    cpus_reset(m->cpus);
    cpus_power_on(m->cpus, 0, entry, arg);
}

struct vcpu *machine_vcpu(struct machine *m, unsigned index)
{
    return m->cpus && index < m->opts->cpus ? cpus_vcpu(m->cpus, index) : NULL;
}

s64 machine_cpu_thread(struct machine *m, unsigned index)
{
    return m->cpus && index < m->opts->cpus ? cpus_thread(m->cpus, index) : 0;
}
