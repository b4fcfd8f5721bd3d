#include "event/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/mem.h"

struct pool {
    struct loop_source source;
    struct loop *loop;
    struct pool_job *batch, **batch_last; /* handed in since the loop last looked */

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t work;
    struct pool_job *first, **last;
    unsigned idle, count, max;
    bool stop;
    pthread_t *threads;
};

static void job_done(struct loop_task *t)
{
    struct pool_job *j = container_of(t, struct pool_job, task);
    j->done(j);
}

static void *worker(void *arg)
{
    struct pool *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->first && !p->stop) {
            p->idle++;
            pthread_cond_wait(&p->work, &p->lock);
            p->idle--;
        }
        struct pool_job *j = p->first;
        if (!j)
            break;
        p->first = j->next;
        if (!p->first)
            p->last = &p->first;
        else if (p->idle)
            pthread_cond_signal(&p->work); /* each worker wakes the next, not the loop all of them */
        pthread_mutex_unlock(&p->lock);
        j->work(j);
        loop_post(p->loop, &j->task);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Start one more worker; it takes no signals. Called with the lock held. */
static void start_worker(struct pool *p)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (!pthread_create(&p->threads[p->count], NULL, worker, p))
        p->count++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Hand the batch to the workers. */
static bool pool_poll(struct loop_source *s)
{
    struct pool *p = container_of(s, struct pool, source);
    if (!p->batch)
        return false;
    pthread_mutex_lock(&p->lock);
    *p->last = p->batch;
    p->last = p->batch_last;
    unsigned waiting = 0;
    for (struct pool_job *j = p->first; j && waiting <= p->max; j = j->next)
        waiting++;
    while (p->count < p->max && p->count < waiting + p->count - p->idle)
        start_worker(p);
    bool nobody = p->count == 0;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    p->batch = NULL;
    p->batch_last = &p->batch;
    while (nobody && p->first) { /* the host gives no threads: do it here */
        struct pool_job *j = p->first;
        p->first = j->next;
        if (!p->first)
            p->last = &p->first;
        j->work(j);
        loop_defer(p->loop, &j->task);
    }
    return nobody;
}

struct pool *pool_new(struct loop *l, unsigned threads)
{
    struct pool *p = xcalloc(1, sizeof(*p));
    p->loop = l;
    p->max = threads;
    p->threads = xcalloc(threads, sizeof(*p->threads));
    p->last = &p->first;
    p->batch_last = &p->batch;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    p->source.poll = pool_poll;
    loop_source_add(l, &p->source);
    return p;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->count; i++)
        pthread_join(p->threads[i], NULL);
    loop_source_remove(p->loop, &p->source);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->work);
    free(p->threads);
    free(p);
}

void pool_submit(struct pool *p, struct pool_job *j)
{
    j->pool = p;
    j->task.run = job_done;
    j->next = NULL;
    *p->batch_last = j;
    p->batch_last = &j->next;
}
