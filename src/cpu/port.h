/* What boards and devices may do to a vCPU, and what they do for it. A port belongs to the loop of its vCPU
 * (accel/cpus.h); these functions may be called from any thread. */
#ifndef LYRE_CPU_PORT_H
#define LYRE_CPU_PORT_H

#include <pthread.h>

#include "base/types.h"
#include "base/wire.h"

struct vcpu;
struct vclock;

/* Inputs. */
enum cpu_line {
    CPU_LINE_IRQ,
    CPU_LINE_FIQ,
    CPU_LINE_ERROR, /* an asynchronous error (Arm SError) */
    CPU_LINES,
};

/* Outputs, each a level. Architectures name them: Arm has the comparators of the generic timer in this order. */
enum cpu_output {
    CPU_TIMER_PHYSICAL,
    CPU_TIMER_VIRTUAL,
    CPU_TIMER_HYPERVISOR,
    CPU_TIMER_SECURE,
    CPU_PERFORMANCE, /* a counter overflowed */
    CPU_OUTPUTS,
};

/* Power operations that the guest asks for, of any CPU by its number in the machine. */
enum cpu_power_state { CPU_POWER_ON, CPU_POWER_OFF, CPU_POWER_PENDING };
enum cpu_power_result { CPU_POWER_OK, CPU_POWER_NO_SUCH, CPU_POWER_ALREADY_ON, CPU_POWER_STARTING };
enum cpu_conduit { CPU_CONDUIT_NONE, CPU_CONDUIT_HVC, CPU_CONDUIT_SMC }; /* how Arm's PSCI is called */

struct cpu_power {
    enum cpu_power_result (*start)(void *opaque, unsigned index, u64 pc, u64 arg);
    void (*stop)(void *opaque, unsigned index); /* the caller's own */
    enum cpu_power_state (*state)(void *opaque, unsigned index);
    void (*system_off)(void *opaque);           /* asked for; the vCPU goes on until it is paused */
    void (*system_reset)(void *opaque);
    void *opaque;
    void (*send_event)(void *opaque);           /* to all CPUs (Arm SEV) */
    unsigned count; /* of CPUs */
    enum cpu_conduit conduit;
};

/* A device that has registers of its own in the CPU's space of system registers, such as GICv3's CPU
 * interface. Called on the vCPU's thread; `key` is the architecture's encoding. False: no such register. */
struct cpu_registers {
    bool (*read)(void *opaque, unsigned index, u32 key, u64 *value);
    bool (*write)(void *opaque, unsigned index, u32 key, u64 value);
    void *opaque;
};

struct cpu_port {
    struct vcpu *cpu;
    unsigned index;           /* of the CPU in its machine */
    _Atomic u32 lines;        /* a bit for each enum cpu_line that is high */
    _Atomic bool kicked;      /* since the vCPU slept last */
    _Atomic bool event;       /* somebody sent an event, and nobody waited for it yet */
    pthread_mutex_t lock;     /* leaf: for sleepers */
    pthread_cond_t wake;
    bool waits;               /* under the lock: the vCPU's thread sleeps */

    /* Set by the board before the CPU runs. */
    struct wire output[CPU_OUTPUTS];
    const struct cpu_power *power;         /* NULL: none */
    const struct cpu_registers *registers; /* NULL: none */
    struct vclock *clock;                  /* what the guest's counters count */
};

void cpu_port_line(struct cpu_port *port, unsigned line, bool level);

/* The vCPU leaves guest code, or wakes up, and looks what there is to do. */
void cpu_port_kick(struct cpu_port *port);

/* An event for those that wait for one (Arm SEV). */
void cpu_port_event(struct cpu_port *port);

/* As a wire: opaque is the port, the line an enum cpu_line. */
struct wire cpu_port_wire(struct cpu_port *port, enum cpu_line line);

/* For the loop of the vCPU: sleep until `wakes` holds, somebody kicks, or so many nanoseconds have passed (0: no
 * limit). */
void cpu_port_sleep(struct cpu_port *port, bool (*wakes)(const struct vcpu *cpu), u64 ns);

void cpu_port_init(struct cpu_port *port, struct vcpu *cpu, unsigned index);
void cpu_port_destroy(struct cpu_port *port);

#endif
