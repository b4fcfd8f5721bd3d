/* Threads that ask for another namespace all at once: the kernel wants a process of one thread for some of them,
 * so the emulator ends its own threads around the call.
 * link: static
 * flags: -pthread */
#include "prog.h"

#include <pthread.h>

enum { THREADS = 8, CALLS = 100 };

static void *ask(void *arg)
{
    long refused = 0;
    for (int i = 0; i < CALLS; i++)
        refused += syscall(SYS_setns, -1, 0) == -1 && errno == EBADF;
    return (void *)refused;
}

int main(void)
{
    pthread_t t[THREADS];
    long refused = 0;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, ask, NULL);
    for (int i = 0; i < THREADS; i++) {
        void *r;
        pthread_join(t[i], &r);
        refused += (long)r;
    }
    printf("%ld of %d refused\n", refused, THREADS * CALLS);
    return 0;
}
