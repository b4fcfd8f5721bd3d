/* A thread for each attempt, as resolvers and unix sockets have no way of their own not to wait. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "event/stream.h"

struct socket_attempt {
    struct loop *loop;
    struct loop_task task;
    char *address;
    void (*done)(void *opaque, int fd, const struct err *e);
    void *opaque;
    int fd;
    struct err error;
    pthread_mutex_t lock; /* for what follows */
    bool posted, given_up;
};

static void attempt_free(struct socket_attempt *a)
{
    if (a->fd >= 0)
        close(a->fd);
    pthread_mutex_destroy(&a->lock);
    free(a->address);
    free(a);
}

/* On the loop. */
static void finish(struct loop_task *t)
{
    struct socket_attempt *a = container_of(t, struct socket_attempt, task);
    pthread_mutex_lock(&a->lock); /* the thread that posted it has let go of it */
    bool given_up = a->given_up;
    pthread_mutex_unlock(&a->lock);
    if (!given_up) {
        a->done(a->opaque, a->fd, &a->error);
        a->fd = -1;
    }
    attempt_free(a);
}

static void *work(void *opaque)
{
    struct socket_attempt *a = opaque;
    a->fd = socket_connect(a->address, &a->error);
    pthread_mutex_lock(&a->lock);
    a->posted = !a->given_up;
    if (a->posted)
        loop_post(a->loop, &a->task);
    bool mine = !a->posted;
    pthread_mutex_unlock(&a->lock);
    if (mine)
        attempt_free(a);
    return NULL;
}

struct socket_attempt *socket_connect_later(struct loop *l, const char *address,
                                            void (*done)(void *opaque, int fd, const struct err *e), void *opaque)
{
    struct socket_attempt *a = xcalloc(1, sizeof(*a));
    pthread_t thread;
    sigset_t all, before;
    *a = (struct socket_attempt){.loop = l, .task.run = finish, .address = xstrdup(address), .done = done, .opaque = opaque, .fd = -1};
    pthread_mutex_init(&a->lock, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, NULL, work, a);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error) {
        pthread_detach(thread);
        return a;
    }
    err_set(&a->error, error, "cannot start a thread: %s", strerror(error));
    a->posted = true;
    loop_post(l, &a->task);
    return a;
}

void socket_give_up(struct socket_attempt *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->given_up = true;
    pthread_mutex_unlock(&a->lock);
}
