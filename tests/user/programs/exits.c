/* How processes end: exit_group from a thread, the first thread leaving before others, signals.
 * link: static
 * flags: -pthread */
#include "prog.h"

#include <pthread.h>

static void *exit_now(void *arg)
{
    msleep(5);
    exit((int)(long)arg);
}

static void *finish_later(void *arg)
{
    msleep(300); /* the first thread ends before */
    printf("the other thread goes on\n");
    fflush(stdout);
    return NULL;
}

static void child(int kind)
{
    pthread_t t;
    switch (kind) {
    case 0:
        _exit(17);
    case 1:
        pthread_create(&t, NULL, exit_now, (void *)33);
        for (;;)
            ;
    case 2:
        pthread_create(&t, NULL, finish_later, NULL);
        pthread_exit(NULL);
    case 3:
        abort();
    case 4:
        *(volatile int *)8 = 1;
        break;
    case 5:
        syscall(SYS_exit, 300);
        break;
    case 6:
        pthread_create(&t, NULL, finish_later, NULL);
        syscall(SYS_exit, 9);
    }
}

int main(void)
{
    for (int i = 0; i < 7; i++) {
        int status;
        fflush(stdout);
        pid_t pid = fork();
        if (!pid) {
            /* Messages about uncaught signals are not what is compared here. */
            freopen("/dev/null", "w", stderr);
            child(i);
            _exit(99);
        }
        waitpid(pid, &status, 0);
        if (WIFEXITED(status))
            printf("%d: exit %d\n", i, WEXITSTATUS(status));
        else
            printf("%d: signal %d\n", i, WTERMSIG(status));
    }
    return 0;
}
