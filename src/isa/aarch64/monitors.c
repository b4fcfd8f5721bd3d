/* Performance monitors (Arm ARM, D11): counters of cycles, which are nanoseconds of the machine's clock, and of events, of
 * which there are cycles and what software counts. Others are never seen. */
#include <stdatomic.h>

#include "base/bits.h"
#include "isa/aarch64/system.h"

#define PMCR_E    (1u << 0)
#define PMCR_P    (1u << 1) /* events to 0 */
#define PMCR_C    (1u << 2) /* cycles to 0 */
#define PMCR_D    (1u << 3)
#define PMCR_LC   (1u << 6)
#define PMCR_KEPT 0x69u     /* E, D, DP, LC: what is kept of a write */
#define CYCLES    31        /* the cycle counter's number */
#define ALL       (1u << CYCLES | ((1u << A64_EVENTS) - 1))

enum { EVENT_SOFTWARE = 0x00, EVENT_CYCLES = 0x11 };

#define TYPE_EVENT  0x0000ffffu
#define TYPE_FILTER 0xfc000000u /* P, U, NSK, NSU, NSH, M */
#define TYPE_MT     0x02000000u

static struct a64_cpu *cpu_of(const struct vcpu *cpu)
{
    return cpu->system;
}

static unsigned number_of(unsigned i)
{
    return i == A64_CYCLES ? CYCLES : i;
}

/* The counter of that number; A64_COUNTERS: none. */
static unsigned index_of(unsigned number)
{
    return number < A64_EVENTS ? number : number == CYCLES ? A64_CYCLES : A64_COUNTERS;
}

static bool is_on(const struct a64_state *s, unsigned i)
{
    return s->el1.pmcr & PMCR_E && s->el1.pmcnten >> number_of(i) & 1;
}

/* P and U leave a level out, unless NSK and NSU are the same: the state is not the secure one. */
static bool is_for(const struct a64_state *s, unsigned i, bool el1)
{
    u64 differ = s->el1.pmtype[i] ^ s->el1.pmtype[i] << 2;
    return !(differ >> (el1 ? 31 : 30) & 1);
}

static u64 event_of(const struct a64_state *s, unsigned i)
{
    return i == A64_CYCLES ? EVENT_CYCLES : s->el1.pmtype[i] & TYPE_EVENT;
}

static bool counts(const struct a64_state *s, unsigned i, unsigned event, bool el1)
{
    return is_on(s, i) && event_of(s, i) == event && is_for(s, i, el1);
}

/* ---- time ---- */

static unsigned width_of(const struct a64_state *s, unsigned i)
{
    return i == A64_CYCLES && s->el1.pmcr & PMCR_LC ? 64 : 32;
}

/* Nanoseconds for one: the cycle counter can count every 64th. */
static unsigned unit_of(const struct a64_state *s, unsigned i)
{
    return i == A64_CYCLES && (s->el1.pmcr & (PMCR_D | PMCR_LC)) == PMCR_D ? 64 : 1;
}

static u64 now(const struct a64_cpu *c)
{
    return c->cpu->port->clock ? vclock_now(c->cpu->port->clock) : 0;
}

static void add(struct a64_state *s, unsigned i, u64 n)
{
    u64 old = s->el1.pmcount[i], sum = old + n;
    bool overflows = width_of(s, i) == 64 ? sum < old : (sum ^ old) >> 32;
    if (overflows)
        s->el1.pmovs |= 1u << number_of(i);
    s->el1.pmcount[i] = i == A64_CYCLES ? sum : (u32)sum;
}

/* Registers are as of now. What counts next, and from when on, start() says. */
static void stop(struct a64_cpu *c)
{
    struct a64_state *s = a64_of(c->cpu);
    u64 passed = c->monitors.running ? now(c) - c->monitors.since : 0;
    for (unsigned i = 0; i < A64_COUNTERS; i++) {
        if (c->monitors.running >> i & 1)
            add(s, i, passed / unit_of(s, i));
    }
}

/* Nanoseconds to the next overflow; UINT64_MAX: a long time. 2^64 is 0. */
static u64 time_left(const struct a64_cpu *c)
{
    const struct a64_state *s = a64_of(c->cpu);
    u64 least = UINT64_MAX;
    for (unsigned i = 0; i < A64_COUNTERS; i++) {
        u64 left = (~s->el1.pmcount[i] & mask64(width_of(s, i))) + 1;
        if (c->monitors.running >> i & 1 && left && left < (1ull << 57))
            least = MIN(least, left * unit_of(s, i));
    }
    return least;
}

static void start(struct a64_cpu *c)
{
    const struct a64_state *s = a64_of(c->cpu);
    struct a64_monitors *m = &c->monitors;
    u32 el0 = 0, el1 = 0;
    for (unsigned i = 0; i < A64_COUNTERS; i++) {
        el0 |= (u32)counts(s, i, EVENT_CYCLES, false) << i;
        el1 |= (u32)counts(s, i, EVENT_CYCLES, true) << i;
    }
    m->running = m->el1 ? el1 : el0;
    atomic_store_explicit(&m->by_level, el0 != el1, memory_order_relaxed);
    m->since = m->running ? now(c) : 0;
    u64 left = m->running ? time_left(c) : UINT64_MAX;
    if (left < UINT64_MAX && c->cpu->port->clock)
        vtimer_set(c->cpu->port->clock, &m->alarm, m->since + left);
    bool asks = s->el1.pmcr & PMCR_E && s->el1.pmovs & s->el1.pminten;
    wire_set(&c->cpu->port->output[CPU_PERFORMANCE], asks);
}

static void alarm(struct vtimer *v)
{
    struct a64_cpu *c = ((struct a64_monitors *)(void *)v)->of;
    pthread_mutex_lock(&c->lock);
    stop(c);
    start(c);
    pthread_mutex_unlock(&c->lock);
}

/* Between these two registers may be read and changed. */
static struct a64_el1 *begin(struct vcpu *cpu)
{
    struct a64_cpu *c = cpu_of(cpu);
    pthread_mutex_lock(&c->lock);
    stop(c);
    c->monitors.el1 = a64_at_el1(a64_of(cpu));
    return &a64_of(cpu)->el1;
}

static void end(struct vcpu *cpu)
{
    start(cpu_of(cpu));
    pthread_mutex_unlock(&cpu_of(cpu)->lock);
}

/* ---- registers ---- */

u64 a64_count(struct vcpu *cpu, unsigned number)
{
    unsigned i = index_of(number);
    u64 v = begin(cpu)->pmcount[i % A64_COUNTERS];
    end(cpu);
    return i < A64_COUNTERS ? v : 0;
}

void a64_set_count(struct vcpu *cpu, unsigned number, u64 v)
{
    unsigned i = index_of(number);
    struct a64_el1 *e = begin(cpu);
    if (i < A64_COUNTERS)
        e->pmcount[i] = i == A64_CYCLES ? v : (u32)v;
    end(cpu);
}

u64 a64_count_type(const struct vcpu *cpu, unsigned number)
{
    unsigned i = index_of(number);
    return i < A64_COUNTERS ? a64_of(cpu)->el1.pmtype[i] : 0;
}

void a64_set_count_type(struct vcpu *cpu, unsigned number, u64 v)
{
    unsigned i = index_of(number);
    struct a64_el1 *e = begin(cpu);
    if (i < A64_COUNTERS)
        e->pmtype[i] = v & (i == A64_CYCLES ? TYPE_FILTER : TYPE_FILTER | TYPE_MT | TYPE_EVENT);
    end(cpu);
}

void a64_set_pmcr(struct vcpu *cpu, u64 v)
{
    struct a64_el1 *e = begin(cpu);
    for (unsigned i = 0; i < A64_EVENTS && v & PMCR_P; i++)
        e->pmcount[i] = 0;
    if (v & PMCR_C)
        e->pmcount[A64_CYCLES] = 0;
    e->pmcr = (e->pmcr & ~(u64)PMCR_KEPT) | (v & PMCR_KEPT);
    end(cpu);
}

void a64_set_counting(struct vcpu *cpu, u64 v)
{
    begin(cpu)->pmcnten = v & ALL;
    end(cpu);
}

void a64_set_count_interrupts(struct vcpu *cpu, u64 v)
{
    begin(cpu)->pminten = v & ALL;
    end(cpu);
}

void a64_set_overflows(struct vcpu *cpu, u64 v)
{
    begin(cpu)->pmovs = v & ALL;
    end(cpu);
}

u64 a64_overflows(struct vcpu *cpu)
{
    u64 v = begin(cpu)->pmovs;
    end(cpu);
    return v;
}

void a64_count_software(struct vcpu *cpu, u64 v)
{
    begin(cpu);
    for (unsigned i = 0; i < A64_EVENTS; i++) {
        if (v >> i & 1 && counts(a64_of(cpu), i, EVENT_SOFTWARE, a64_at_el1(a64_of(cpu))))
            add(a64_of(cpu), i, 1);
    }
    end(cpu);
}

void a64_monitors_level(struct vcpu *cpu)
{
    if (!atomic_load_explicit(&cpu_of(cpu)->monitors.by_level, memory_order_relaxed))
        return;
    begin(cpu);
    end(cpu);
}

/* ---- life ---- */

void a64_monitors_init(struct a64_cpu *c)
{
    c->monitors.alarm.fire = alarm;
    c->monitors.of = c;
}

void a64_monitors_free(struct a64_cpu *c)
{
    if (c->cpu->port->clock)
        vtimer_cancel(c->cpu->port->clock, &c->monitors.alarm);
}

/* The registers are those of a reset already. */
void a64_monitors_reset(struct a64_cpu *c)
{
    a64_monitors_free(c);
    c->monitors.running = 0;
    c->monitors.el1 = true;
    pthread_mutex_lock(&c->lock);
    start(c);
    pthread_mutex_unlock(&c->lock);
}
