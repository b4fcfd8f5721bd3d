/* Two threads on the same words: additions, exchanges and a spin lock. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_long count;
static atomic_int lock;
static long guarded;
static long turns;

static void *work(void *opaque)
{
    for (long i = 0; i < turns; i++) {
        atomic_fetch_add(&count, 1);
        if (i % 8)
            continue;
        for (int free = 0; !atomic_compare_exchange_weak(&lock, &free, 1); free = 0)
            sched_yield();
        guarded++;
        atomic_store_explicit(&lock, 0, memory_order_release);
    }
    return opaque;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    turns = argc > 1 ? atol(argv[1]) : 1000;
    pthread_create(&thread, NULL, work, NULL);
    work(NULL);
    pthread_join(thread, NULL);
    printf("contend %ld %ld %ld\n", turns, atomic_load(&count), guarded);
    return 0;
}
