/* Interrupted system calls: SA_RESTART, EINTR, and the timing around them.
 * link: static */
#include "prog.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/time.h>

static volatile sig_atomic_t count;

static void tick(int sig)
{
    count++;
}

static void every(int ms, int flags)
{
    struct sigaction sa = {.sa_handler = tick, .sa_flags = flags};
    sigaction(SIGALRM, &sa, NULL);
    struct itimerval it = {{0, ms * 1000}, {0, ms * 1000}};
    setitimer(ITIMER_REAL, &it, NULL);
    count = 0;
}

static void stop(void)
{
    struct itimerval it = {{0}};
    setitimer(ITIMER_REAL, &it, NULL);
}

static void *writer(void *arg)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    msleep(60);
    write(*(int *)arg, "x", 1);
    return NULL;
}

static void read_test(const char *name, int flags)
{
    int p[2];
    char c = 0;
    pthread_t t;
    sigset_t set, old;
    pipe(p);
    sigfillset(&set);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    pthread_create(&t, NULL, writer, &p[1]);
    every(10, flags);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    result(name, read(p[0], &c, 1));
    stop();
    say("interrupted", count > 0);
    pthread_join(t, NULL);
    close(p[0]);
    close(p[1]);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    read_test("read without SA_RESTART", 0);
    read_test("read with SA_RESTART", SA_RESTART);

    every(10, SA_RESTART);
    struct timespec ts = {5, 0}, rem;
    result("nanosleep", nanosleep(&ts, &rem));
    say("time is left", rem.tv_sec == 4);
    result("poll", poll(NULL, 0, 5000));
    stop();

    every(10, SA_RESTART);
    pid_t pid = fork();
    if (!pid) {
        stop();
        msleep(50);
        _exit(5);
    }
    int status;
    say("waitpid restarts", waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5);
    stop();

    every(10, 0);
    sem_t sem;
    sem_init(&sem, 0, 0);
    result("sem_wait", sem_wait(&sem));
    every(10, SA_RESTART);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 50000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    int r;
    do
        r = sem_timedwait(&sem, &until);
    while (r < 0 && errno == EINTR);
    result("sem_timedwait", r);
    stop();
    result("pause after alarm", (every(5, 0), pause()));
    stop();
    return 0;
}
