/* More of pthreads: readers and writers, priority inheritance, time limits, once, spinning, recursion
 * and errors of mutexes, conditions and semaphores between processes.
 * link: static dynamic
 * flags: -pthread */
#include "prog.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#define THREADS 4
#define ROUNDS  2000

static void in_threads(void *(*f)(void *))
{
    pthread_t t[THREADS];
    for (long i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, f, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
}

static void error(const char *name, int r)
{
    printf("%s: %s\n", name, r ? strerrorname_np(r) : "0");
}

static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static long pair[2];
static _Atomic int torn, writers, readers_met;

static void *readers_and_writers(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        if ((i + (long)arg) % 4 == 0) {
            pthread_rwlock_wrlock(&rw);
            torn += ++writers != 1;
            pair[0]++;
            pair[1]++;
            writers--;
        } else {
            pthread_rwlock_rdlock(&rw);
            torn += pair[0] != pair[1] || writers;
        }
        pthread_rwlock_unlock(&rw);
    }
    return NULL;
}

static pthread_mutex_t pi, recursive, checked;
static pthread_spinlock_t spin;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static long under_pi, under_spin, under_recursive, initialised;

static void initialise(void)
{
    msleep(5); /* the others come and wait */
    initialised++;
}

static void *many_locks(void *arg)
{
    pthread_once(&once, initialise);
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&pi);
        under_pi++;
        pthread_mutex_unlock(&pi);
        if (i % 8 == 0) {
            pthread_spin_lock(&spin);
            under_spin++;
            pthread_spin_unlock(&spin);
        }
        pthread_mutex_lock(&recursive);
        pthread_mutex_lock(&recursive);
        under_recursive++;
        pthread_mutex_unlock(&recursive);
        pthread_mutex_unlock(&recursive);
    }
    return NULL;
}

static void make_mutex(pthread_mutex_t *m, int type, int protocol)
{
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, type);
    if (pthread_mutexattr_setprotocol(&a, protocol) || pthread_mutex_init(m, &a))
        die("mutex");
}

static void test_errors(void)
{
    struct timespec past = {1, 0};
    pthread_cond_t c = PTHREAD_COND_INITIALIZER;
    sem_t s;
    sem_init(&s, 0, 0);
    error("lock", pthread_mutex_lock(&checked));
    error("lock again", pthread_mutex_lock(&checked));
    error("trylock", pthread_mutex_trylock(&checked));
    error("timedlock", pthread_mutex_timedlock(&checked, &past));
    error("cond_timedwait", pthread_cond_timedwait(&c, &checked, &past));
    error("unlock", pthread_mutex_unlock(&checked));
    error("unlock again", pthread_mutex_unlock(&checked));
    pthread_rwlock_rdlock(&rw);
    error("write while it is read", pthread_rwlock_trywrlock(&rw));
    error("write in time", pthread_rwlock_timedwrlock(&rw, &past));
    error("read twice", pthread_rwlock_tryrdlock(&rw));
    pthread_rwlock_unlock(&rw);
    pthread_rwlock_unlock(&rw);
    result("sem_trywait", sem_trywait(&s));
}

struct between {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    pthread_barrier_t barrier;
    sem_t sem;
    int turn;
};

/* Parent and child take turns under a lock that both map. */
static void play(struct between *b, int me)
{
    pthread_barrier_wait(&b->barrier);
    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(&b->lock);
        while (b->turn % 2 != me)
            pthread_cond_wait(&b->cond, &b->lock);
        b->turn++;
        pthread_cond_signal(&b->cond);
        pthread_mutex_unlock(&b->lock);
        me ? sem_post(&b->sem) : sem_wait(&b->sem);
    }
}

static void test_processes(void)
{
    struct between *b = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t m;
    pthread_condattr_t c;
    pthread_barrierattr_t w;
    int status;
    pthread_mutexattr_init(&m);
    pthread_condattr_init(&c);
    pthread_barrierattr_init(&w);
    pthread_mutexattr_setpshared(&m, PTHREAD_PROCESS_SHARED);
    pthread_condattr_setpshared(&c, PTHREAD_PROCESS_SHARED);
    pthread_barrierattr_setpshared(&w, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&b->lock, &m);
    pthread_cond_init(&b->cond, &c);
    pthread_barrier_init(&b->barrier, &w, 2);
    sem_init(&b->sem, 1, 0);
    pid_t pid = fork();
    play(b, !pid);
    if (!pid)
        _exit(3);
    waitpid(pid, &status, 0);
    printf("between processes: %d turns, child %d\n", b->turn, WEXITSTATUS(status));
}

static pthread_barrier_t rendezvous;
static _Atomic int serial, phase_errors;
static _Atomic int arrived[10];

static void *phases(void *arg)
{
    for (int i = 0; i < 10; i++) {
        arrived[i]++;
        serial += pthread_barrier_wait(&rendezvous) == PTHREAD_BARRIER_SERIAL_THREAD;
        phase_errors += arrived[i] != THREADS;
    }
    return NULL;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    alarm(100); /* a lost wake-up would hang us */
    in_threads(readers_and_writers);
    printf("rwlock: %ld writes, torn %d\n", pair[0], torn);
    make_mutex(&pi, PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT);
    make_mutex(&recursive, PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE);
    make_mutex(&checked, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE);
    pthread_spin_init(&spin, 0);
    in_threads(many_locks);
    printf("pi %ld, spin %ld, recursive %ld, once %ld\n", under_pi, under_spin, under_recursive,
           initialised);
    test_errors();
    pthread_barrier_init(&rendezvous, NULL, THREADS);
    in_threads(phases);
    printf("barriers: %d serial threads, %d errors\n", serial, phase_errors);
    test_processes();
    return 0;
}
