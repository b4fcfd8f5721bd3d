/* The vCPUs of a machine: a thread for each, which runs guest code, takes exceptions and interrupts, and sleeps
 * when the guest waits. The functions are called by the machine, not by vCPU threads. */
#ifndef LYRE_ACCEL_CPUS_H
#define LYRE_ACCEL_CPUS_H

#include "accel/engine.h"
#include "cpu/port.h"

struct cpus;

struct cpus_opts {
    unsigned count;
    const char *model;       /* as vcpu_new() takes it */
    struct vclock *clock;    /* runs while the CPUs do */
    enum cpu_conduit conduit;
    /* The guest asked for it. Called on a vCPU's thread: tell another to do it. */
    void (*system_off)(void *opaque);
    void (*system_reset)(void *opaque);
    void *opaque;
};

/* All stopped and powered off. The engine has been made for a machine (engine_opts.memory) and outlives them. */
struct cpus *cpus_new(struct engine *en, const struct cpus_opts *opts, struct err *e);
void cpus_free(struct cpus *c);

/* Translated code needs handlers of SIGSEGV, SIGBUS, SIGFPE and SIGILL that know of it: install them. */
void cpus_take_signals(void);

struct cpu_port *cpus_port(struct cpus *c, unsigned index);

/* A CPU to look at, while paused. */
struct vcpu *cpus_vcpu(struct cpus *c, unsigned index);
/* The host's number of its thread. */
pid_t cpus_thread(struct cpus *c, unsigned index);

/* Have a CPU go to `pc` with one argument; it runs when the CPUs do. False when it is on. */
bool cpus_power_on(struct cpus *c, unsigned index, u64 pc, u64 arg);

/* Run, and stand still: after cpus_pause() no vCPU runs guest code or touches a device, and the clock stands. */
void cpus_resume(struct cpus *c);
void cpus_pause(struct cpus *c);

/* While paused: all as after power-on, and off. */
void cpus_reset(struct cpus *c);

#endif
