/* Thread-local storage: of the program, of libraries it is linked with or opens later (by every access
 * model of the ABI), in threads that are older than the library, and after it is gone.
 * link: dynamic
 * flags: -pthread -rdynamic
 * aarch64 library: -mtls-dialect=desc -mtls-dialect=trad
 * riscv64 library: -O1 -O2 */
#include "prog.h"

#include <dlfcn.h>
#include <pthread.h>

#ifdef LIBRARY
static __thread int counter = 100 * LIBRARY;
__thread char shared_name[32] = "fresh";

int library_bump(void)
{
    return ++counter;
}

char *library_name(void)
{
    return shared_name;
}

__attribute__((destructor)) static void unload(void)
{
    printf("library %d unloaded\n", LIBRARY);
}
#else

#define THREADS 4

__thread long own[64] = {7}; /* large enough to need an offset of more than one instruction */
static __thread _Alignas(64) char aligned[64];
static pthread_barrier_t barrier;
static int (*bump)(void);
static char *(*name)(void);

/* Opened while the threads exist: their blocks are made at the first access. */
static void open_library(const char *argv0, int number, void **handle)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s.%d.so", argv0, number);
    *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!*handle) {
        printf("dlopen: %s\n", dlerror());
        exit(99);
    }
    bump = (int (*)(void))dlsym(*handle, "library_bump");
    name = (char *(*)(void))dlsym(*handle, "library_name");
}

static void *worker(void *arg)
{
    long me = (long)arg, good = 0;
    for (int round = 1; round <= 2; round++) {
        pthread_barrier_wait(&barrier); /* the library is open from here */
        good += !strcmp(name(), "fresh");
        snprintf(name(), 32, "thread %ld", me);
        own[0] += me;
        for (long i = 0; i < me; i++)
            bump();
        pthread_barrier_wait(&barrier);
        char want[32];
        snprintf(want, sizeof(want), "thread %ld", me);
        good += !strcmp(name(), want) && bump() == 100 * round + me + 1 && own[0] == 7 + round * me;
        good += ((uintptr_t)aligned & 63) == 0 && own[63] == 0;
        pthread_barrier_wait(&barrier); /* and gone from here */
    }
    return (void *)good;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    pthread_t t[THREADS];
    void *handle, *r;
    long good = 0;
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, worker, (void *)i);
    for (int round = 1; round <= 2; round++) {
        open_library(argv[0], round, &handle);
        pthread_barrier_wait(&barrier);
        pthread_barrier_wait(&barrier);
        printf("main: %d, %s\n", bump(), name());
        pthread_barrier_wait(&barrier);
        dlclose(handle);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], &r);
        good += (long)r;
    }
    printf("good in threads: %ld, own %ld\n", good, own[0]);
    return 0;
}
#endif
