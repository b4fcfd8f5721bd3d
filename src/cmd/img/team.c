#include "cmd/img/team.h"

#include <sched.h>
#include <signal.h>
#include <stdbool.h>

/* How often to look again before sleeping for the lock: what the other does with it takes 100 us (a write of a piece), and to wake
 * a thread takes a virtual machine half of that. */
enum { LOOKS = 1000 };

void team_enter(struct team *t)
{
    for (int i = 0; i < LOOKS; i++) {
        if (!pthread_mutex_trylock(&t->lock))
            return;
        sched_yield();
    }
    pthread_mutex_lock(&t->lock);
}

void team_leave(struct team *t)
{
    pthread_mutex_unlock(&t->lock);
}

void team_wait(struct team *t)
{
    pthread_cond_wait(&t->changed, &t->lock);
}

void team_wake(struct team *t)
{
    pthread_cond_broadcast(&t->changed);
}

static void *member(void *arg)
{
    struct team *t = arg;
    team_enter(t);
    t->work(t);
    team_wake(t);
    team_leave(t);
    return NULL;
}

void team_run(struct team *t, void (*work)(struct team *t))
{
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    t->work = work;
    pthread_t second;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the first */
    bool two = !pthread_create(&second, NULL, member, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    member(t);
    if (two)
        pthread_join(second, NULL);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->changed);
}
