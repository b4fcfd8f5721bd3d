#include "cpu/port.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

#include "cpu/vcpu.h"

void cpu_port_init(struct cpu_port *port, struct vcpu *cpu, unsigned index)
{
    pthread_condattr_t attr;
    port->cpu = cpu;
    port->index = index;
    pthread_mutex_init(&port->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&port->wake, &attr);
    pthread_condattr_destroy(&attr);
}

void cpu_port_destroy(struct cpu_port *port)
{
    pthread_cond_destroy(&port->wake);
    pthread_mutex_destroy(&port->lock);
}

void cpu_port_kick(struct cpu_port *port)
{
    atomic_store(&port->kicked, true);
    vcpu_kick(port->cpu);
    pthread_mutex_lock(&port->lock);
    bool waits = port->waits;
    port->waits = false;
    pthread_mutex_unlock(&port->lock);
    if (waits)
        pthread_cond_signal(&port->wake); /* it does not have to wait for the lock */
}

void cpu_port_line(struct cpu_port *port, unsigned line, bool level)
{
    u32 bit = 1u << line;
    if (!level)
        atomic_fetch_and(&port->lines, ~bit);
    else if (!(atomic_fetch_or(&port->lines, bit) & bit))
        cpu_port_kick(port);
}

void cpu_port_event(struct cpu_port *port)
{
    if (!atomic_exchange(&port->event, true))
        cpu_port_kick(port);
}

static void set_line(void *opaque, unsigned line, bool level)
{
    cpu_port_line(opaque, line, level);
}

struct wire cpu_port_wire(struct cpu_port *port, enum cpu_line line)
{
    return (struct wire){set_line, port, line};
}

static struct timespec after(u64 ns)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    ns += (u64)t.tv_nsec;
    return (struct timespec){t.tv_sec + (time_t)(ns / 1000000000), (long)(ns % 1000000000)};
}

void cpu_port_sleep(struct cpu_port *port, bool (*wakes)(const struct vcpu *cpu), u64 ns)
{
    struct timespec until = after(ns);
    pthread_mutex_lock(&port->lock);
    port->waits = true;
    while (port->waits && !atomic_exchange(&port->kicked, false) && !wakes(port->cpu)) {
        int e = ns ? pthread_cond_timedwait(&port->wake, &port->lock, &until)
                   : pthread_cond_wait(&port->wake, &port->lock);
        if (e == ETIMEDOUT)
            break;
    }
    port->waits = false;
    pthread_mutex_unlock(&port->lock);
}
