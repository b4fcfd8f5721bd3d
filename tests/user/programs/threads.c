/* Threads: mutexes, conditions, cancellation, thread-local storage, robust mutexes.
 * link: static dynamic
 * flags: -pthread
 * peer: it has no robust lists */
#include "prog.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#define N 8

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static long counter, turn;
static _Atomic long atomic_counter;
static __thread int tls = 5;
static __thread char tls_name[16] = "initial";
static pthread_key_t key;
static _Atomic int destroyed;

static void destructor(void *p)
{
    destroyed += (int)(long)p;
}

static void *add(void *arg)
{
    pthread_setspecific(key, (void *)1);
    tls += (int)(long)arg;
    snprintf(tls_name, sizeof(tls_name), "thread %ld", (long)arg);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 5000; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
        atomic_counter++;
    }
    char want[16];
    snprintf(want, sizeof(want), "thread %ld", (long)arg);
    return (void *)(long)(tls == 5 + (long)arg && !strcmp(tls_name, want));
}

static void *take_turns(void *arg)
{
    long me = (long)arg;
    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&lock);
        while (turn % 4 != me)
            pthread_cond_wait(&cond, &lock);
        turn++;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void cleanup(void *arg)
{
    *(int *)arg = 1;
}

static void *sleeper(void *arg)
{
    pthread_cleanup_push(cleanup, arg);
    for (;;)
        msleep(1000);
    pthread_cleanup_pop(0);
    return NULL;
}

static void *spinner(void *arg)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    sem_post(arg);
    for (volatile long i = 0;; i++)
        ;
    return NULL;
}

static void test_cancel(void)
{
    pthread_t t;
    int cleaned = 0;
    void *r;
    pthread_create(&t, NULL, sleeper, &cleaned);
    msleep(20);
    pthread_cancel(t);
    pthread_join(t, &r);
    say("cancelled in a call", r == PTHREAD_CANCELED && cleaned);
    sem_t started;
    sem_init(&started, 0, 0);
    pthread_create(&t, NULL, spinner, &started);
    sem_wait(&started);
    pthread_cancel(t);
    pthread_join(t, &r);
    say("cancelled in a loop", r == PTHREAD_CANCELED);
}

static void *leave_locked(void *arg)
{
    pthread_mutex_lock(arg);
    return NULL;
}

static void test_robust(void)
{
    pthread_mutexattr_t attr;
    pthread_mutex_t *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(m, &attr);
    pthread_t t;
    pthread_create(&t, NULL, leave_locked, m);
    pthread_join(t, NULL);
    int r = pthread_mutex_lock(m);
    printf("robust, thread: %s\n", strerrorname_np(r));
    pthread_mutex_consistent(m);
    pthread_mutex_unlock(m);
    pid_t pid = fork();
    if (!pid) {
        pthread_mutex_lock(m);
        raise(SIGKILL);
    }
    waitpid(pid, NULL, 0);
    r = pthread_mutex_lock(m);
    printf("robust, process: %s\n", strerrorname_np(r));
    pthread_mutex_consistent(m);
    pthread_mutex_unlock(m);
}

static void *who(void *arg)
{
    pid_t *out = arg;
    out[0] = gettid();
    out[1] = getpid();
    return NULL;
}

static void test_ids(void)
{
    pthread_t t;
    pid_t ids[2];
    pthread_create(&t, NULL, who, ids);
    pthread_join(t, NULL);
    say("ids", ids[0] != gettid() && ids[1] == getpid() && gettid() == getpid());
}

static void usr1(int sig)
{
    atomic_counter = gettid();
}

static void *wait_signal(void *arg)
{
    sem_post(arg);
    while (atomic_counter != gettid())
        msleep(1);
    return NULL;
}

static void test_kill(void)
{
    sem_t started;
    pthread_t t;
    signal(SIGUSR1, usr1);
    sem_init(&started, 0, 0);
    pthread_create(&t, NULL, wait_signal, &started);
    sem_wait(&started);
    pthread_kill(t, SIGUSR1);
    pthread_join(t, NULL);
    say("signal to a thread", 1);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    pthread_t t[N];
    pthread_key_create(&key, destructor);
    pthread_barrier_init(&barrier, NULL, N);
    for (long i = 0; i < N; i++)
        pthread_create(&t[i], NULL, add, (void *)i);
    long ok = 0;
    for (int i = 0; i < N; i++) {
        void *r;
        pthread_join(t[i], &r);
        ok += (long)r;
    }
    printf("counters %ld %ld, tls %ld, destructors %d\n", counter, (long)atomic_counter, ok,
           destroyed);
    say("own tls", tls == 5 && !strcmp(tls_name, "initial"));
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, take_turns, (void *)i);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    printf("turns %ld\n", turn);
    test_cancel();
    test_robust();
    test_ids();
    test_kill();
    return 0;
}
