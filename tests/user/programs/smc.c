/* Code that changes: with cache maintenance, by mapping anew, through a second mapping, under other
 * threads, and differently in two processes.
 * link: static
 * flags: -pthread
 * peer: it loses code that is written through another mapping */
#include "prog.h"

#include "guest.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>

#define PAGE      4096
#define FUNCTIONS 512 /* eight bytes each: a page full of them */

static int call(void *p)
{
    return ((int (*)(void))p)();
}

static void emit_all(uint32_t *p, unsigned first)
{
    for (unsigned i = 0; i < FUNCTIONS; i++)
        return_number(p + 2 * i, first + i);
    __builtin___clear_cache((char *)p, (char *)(p + 2 * FUNCTIONS));
}

static long call_all(uint32_t *p)
{
    long sum = 0;
    for (unsigned i = 0; i < FUNCTIONS; i++)
        sum += call(p + 2 * i);
    return sum;
}

/* Both processes replace the same code by other code at the same addresses, again and again, while
 * both run it; grandchildren start from what their parents have translated. */
static void test_processes(uint32_t *p)
{
    emit_all(p, 0);
    long want = call_all(p), bad = 0;
    pid_t pid = fork(), pid2 = fork();
    unsigned me = !pid + 2 * !pid2;
    for (unsigned round = 0; round < 20; round++) {
        bad += round == 0 && call_all(p) != want; /* what was there before fork() */
        unsigned first = 100 * (me + 1) + round;
        emit_all(p, first);
        bad += call_all(p) != want + (long)first * FUNCTIONS;
    }
    int status;
    if (pid2 && waitpid(pid2, &status, 0) == pid2)
        bad += WEXITSTATUS(status);
    if (!pid2 || !pid)
        _exit(bad != 0);
    waitpid(pid, &status, 0);
    printf("four processes: %s\n", bad || status ? "WRONG" : "right");
}

/* A thread writes new code and says so; others, which run it all the time, then see the new. */
static _Atomic unsigned published, stale;
static uint32_t *shared_code;

static void *runner(void *arg)
{
    unsigned last = 0;
    while (last < 300) {
        last = published;
        __asm__ volatile(SYNC_FETCH ::: "memory");
        stale += (unsigned)call(shared_code) < last;
    }
    return NULL;
}

static void test_threads(uint32_t *p)
{
    pthread_t t[2];
    shared_code = p;
    return_number(p, 0);
    __builtin___clear_cache((char *)p, (char *)(p + 2));
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, runner, NULL);
    for (unsigned i = 1; i <= 300; i++) {
        /* One instruction changes, as a whole. */
        __atomic_store_n(p, RETURN_FIRST(i), __ATOMIC_RELAXED);
        __builtin___clear_cache((char *)p, (char *)(p + 1));
        published = i;
        sched_yield();
    }
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    printf("under threads: %u stale\n", stale);
}

static sigjmp_buf back;

static void on_fault(int sig, siginfo_t *info, void *uc)
{
    siglongjmp(back, info->si_addr == shared_code ? 1 : 2);
}

/* Code that is moved, and what is called where it was. */
static void test_moved(void)
{
    uint32_t *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    emit_all(p, 5);
    long sum = call_all(p);
    uint32_t *q = mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (char *)p - 100 * PAGE);
    say("moved", q != p && call_all(q) == sum);
    shared_code = p;
    sigaction(SIGSEGV, &sa, NULL);
    int r = sigsetjmp(back, 1);
    if (!r)
        call(p);
    say("gone from there", r == 1);
    shared_code = q;
    mprotect(q, PAGE, PROT_READ | PROT_WRITE);
    r = sigsetjmp(back, 1);
    if (!r)
        call(q);
    say("not executable any more", r == 1);
}

int main(void)
{
    uint32_t *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
    long sum = 0;
    for (unsigned i = 0; i < 200; i++) {
        return_number(p, i);
        __builtin___clear_cache((char *)p, (char *)(p + 2));
        sum += call(p);
    }
    printf("rewritten in place: %ld\n", sum);

    sum = 0;
    for (unsigned i = 0; i < 50; i++) {
        mprotect(p, PAGE, PROT_READ | PROT_WRITE);
        return_number(p, i);
        __builtin___clear_cache((char *)p, (char *)(p + 2));
        mprotect(p, PAGE, PROT_READ | PROT_EXEC);
        sum += call(p);
    }
    printf("writable or executable: %ld\n", sum);

    int fd = memfd_create("code", 0);
    ftruncate(fd, PAGE);
    uint32_t *w = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    void *x = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    sum = 0;
    for (unsigned i = 0; i < 50; i++) {
        return_number(w, i);
        /* By either address: it is the same memory. */
        __builtin___clear_cache((char *)w, (char *)(w + 2));
        sum += call(x);
    }
    printf("written elsewhere: %ld\n", sum);

    sum = 0;
    for (unsigned i = 0; i < 50; i++) {
        uint32_t *q = mmap(p, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        return_number(q, i + 1);
        __builtin___clear_cache((char *)q, (char *)(q + 2));
        sum += call(q);
    }
    printf("mapped anew: %ld\n", sum);
    pid_t pid = fork();
    return_number(p, pid ? 10 : 20);
    __builtin___clear_cache((char *)p, (char *)(p + 2));
    int r = 0;
    for (int i = 0; i < 1000; i++)
        r += call(p);
    if (!pid)
        _exit(r == 20000 ? 1 : 2);
    int status;
    waitpid(pid, &status, 0);
    printf("after fork: parent %d child %d\n", r, WEXITSTATUS(status));
    fflush(stdout);
    test_processes(p);
    test_threads(p);
    test_moved();
    return 0;
}
