/* A signal must reach a loop that makes no system call, soon.
 * link: static */
#include "prog.h"

#include <sys/time.h>

static volatile sig_atomic_t count;
static volatile unsigned long sink;

static void tick(int sig)
{
    count++;
}

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec * 1e-9;
}

static unsigned long work(unsigned long n)
{
    return n < 2 ? n : work(n - 1) + work(n - 2);
}

int main(void)
{
    struct itimerval it = {{0, 5000}, {0, 5000}};
    signal(SIGALRM, tick);
    double start = now();
    setitimer(ITIMER_REAL, &it, NULL);
    while (count < 20)
        ;
    say("tight loop", now() - start < 5);
    count = 0;
    start = now();
    while (count < 20)
        sink += work(12);
    say("calls", now() - start < 5);
    it = (struct itimerval){{0}};
    setitimer(ITIMER_REAL, &it, NULL);
    alarm(1);
    count = 0;
    unsigned long x = 1;
    while (!count)
        x = x * 3 + 1;
    say("alarm", x != 0);
    return 0;
}
