/* Signals between two processes and two threads, as fast as they go: none may be lost or come at a
 * moment when it is blocked.
 * link: static
 * flags: -pthread */
#include "prog.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/time.h>

#define ROUNDS 1000

static volatile sig_atomic_t got, blocked_violation;
static sigset_t none, usr1;

static void on_usr1(int sig)
{
    got++;
}

static void play(pid_t other, int first)
{
    if (first)
        kill(other, SIGUSR1);
    for (int i = 0; i < ROUNDS; i++) {
        while (got <= i)
            sigsuspend(&none);
        if (i + 1 < ROUNDS || !first)
            kill(other, SIGUSR1);
    }
}

static _Atomic int stop;
static _Atomic long delivered;
static __thread volatile int critical;

static void on_alarm(int sig)
{
    if (critical)
        blocked_violation = 1;
    delivered++;
}

/* A section in which the signal is blocked, entered and left all the time. */
static void *blocker(void *arg)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    while (!stop) {
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        critical = 1;
        for (volatile int i = 0; i < 50; i++)
            ;
        getppid();
        critical = 0;
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    }
    return NULL;
}

static void on_usr2(int sig)
{
    delivered++;
}

/* A read that is only ended by signals or by the byte. */
static void *reader(void *arg)
{
    int *p = arg;
    char c;
    long interrupted = 0;
    while (read(p[0], &c, 1) < 0 && errno == EINTR)
        interrupted++;
    return (void *)(interrupted > 0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    signal(SIGUSR1, on_usr1);
    alarm(60); /* a lost signal would hang us */
    pid_t pid = fork();
    if (!pid) {
        play(getppid(), 0);
        _exit(0);
    }
    play(pid, 1);
    int status;
    waitpid(pid, &status, 0);
    printf("rounds %d, child %d\n", (int)got, status);
    alarm(0);

    pthread_t t[3];
    signal(SIGALRM, on_alarm);
    int us = getenv("QUICK") ? 3000 : 300; /* slow engines must get further than the handler */
    struct itimerval it = {{0, us}, {0, us}};
    setitimer(ITIMER_REAL, &it, NULL);
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, blocker, NULL);
    while (delivered < 500)
        msleep(1);
    stop = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    it = (struct itimerval){{0}};
    setitimer(ITIMER_REAL, &it, NULL);
    say("never while blocked", !blocked_violation);

    struct sigaction sa = {.sa_handler = on_usr2};
    sigaction(SIGUSR2, &sa, NULL);
    int p[2];
    pipe(p);
    delivered = 0;
    pthread_create(&t[0], NULL, reader, p);
    for (int i = 0; i < 300; i++) {
        long before = delivered;
        pthread_kill(t[0], SIGUSR2);
        while (delivered == before)
            sched_yield();
    }
    write(p[1], "x", 1);
    void *interrupted;
    pthread_join(t[0], &interrupted);
    printf("handled %ld, interrupted %ld\n", (long)delivered, (long)interrupted);
    return 0;
}
