/* A signal reaches a loop that makes no system call within a millisecond. A timer of half a millisecond
 * says how often it ran out again while its last signal was waiting to be handled. A busy machine
 * makes that happen, so a part of the signals has to come in time, not all.
 * link: static */
#include "prog.h"

#define SIGNALS 100

static volatile sig_atomic_t seen, in_time;

static void tick(int sig, siginfo_t *info, void *uc)
{
    seen++;
    in_time += info->si_overrun == 0;
}

static unsigned long __attribute__((noinline)) fib(unsigned long n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static unsigned long add_one(unsigned long x)
{
    return x + 1;
}

static unsigned long add_two(unsigned long x)
{
    return x + 2;
}

/* A loop of one block until enough has been seen, and one that waits for a lock that nobody gives back: exclusives,
 * with the monitor lost at each signal. */
#if defined(__aarch64__)
#define ONE_BLOCK(seen, most)                                                                      \
    __asm__ volatile("1: ldr w9, [%0]\n cmp w9, %w1\n b.lt 1b" ::"r"(seen), "r"(most)              \
                     : "x9", "cc", "memory")
#define EXCLUSIVES(lock, seen, most)                                                               \
    __asm__ volatile("1: ldaxr w9, [%0]\n cbz w9, 2f\n ldr w10, [%1]\n cmp w10, %w2\n b.lt 1b\n"    \
                     "2: clrex" ::"r"(lock), "r"(seen), "r"(most)                                   \
                     : "x9", "x10", "cc", "memory")
#elif defined(__riscv)
#define ONE_BLOCK(seen, most)                                                                      \
    __asm__ volatile("1: lw t0, 0(%0)\n blt t0, %1, 1b" ::"r"(seen), "r"(most) : "t0", "memory")
#define EXCLUSIVES(lock, seen, most)                                                               \
    __asm__ volatile("1: lr.w.aq t0, (%0)\n beqz t0, 2f\n lw t1, 0(%1)\n blt t1, %2, 1b\n 2:" ::     \
                         "r"(lock), "r"(seen), "r"(most)                                            \
                     : "t0", "t1", "memory")
#endif

static void loop_of_one(void)
{
    ONE_BLOCK(&seen, SIGNALS);
}

static void loop_of_calls(void)
{
    while (seen < SIGNALS)
        fib(15);
}

static void loop_of_pointers(void)
{
    unsigned long (*volatile f[2])(unsigned long) = {add_one, add_two};
    for (unsigned long x = 0; seen < SIGNALS;)
        x = f[x & 1](x);
}

static void loop_of_floats(void)
{
    double x = 1, y = 0;
    while (seen < SIGNALS) {
        for (int i = 0; i < 64; i++)
            y += x / (x += 1.5);
        if (x > 1e6)
            x = 1;
    }
    *(volatile double *)&y;
}

static void loop_of_exclusives(void)
{
    unsigned lock = 1;
    EXCLUSIVES(&lock, &seen, SIGNALS);
}

static void run(const char *name, void (*loop)(void))
{
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    struct itimerspec half_ms = {{0, 500000}, {0, 500000}};
    timer_t t;
    seen = in_time = 0;
    if (timer_create(CLOCK_MONOTONIC, &ev, &t) || timer_settime(t, 0, &half_ms, NULL))
        die("timer");
    loop();
    timer_delete(t);
    say(name, in_time >= SIGNALS / 4);
}

int main(void)
{
    struct sigaction sa = {.sa_sigaction = tick, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN, &sa, NULL);
    alarm(100); /* a signal that never comes would hang us */
    run("one block", loop_of_one);
    run("calls", loop_of_calls);
    run("pointers", loop_of_pointers);
    run("floating point", loop_of_floats);
    run("exclusives", loop_of_exclusives);
    return 0;
}
