/* Worker threads for what would block a loop: jobs go out, their `done` comes back on the loop. */
#ifndef LYRE_EVENT_POOL_H
#define LYRE_EVENT_POOL_H

#include "event/loop.h"

struct pool;

struct pool_job {
    void (*work)(struct pool_job *j); /* on a worker */
    void (*done)(struct pool_job *j); /* on the loop; the job is the caller's again */
    struct pool *pool;
    struct pool_job *next;
    struct loop_task task;
};

/* At most `threads` workers, started when there is work for them. */
struct pool *pool_new(struct loop *l, unsigned threads);

/* Wait for the jobs that run and end the threads. No job may be outstanding. */
void pool_free(struct pool *p);

/* From the loop's thread. The job starts when the loop next looks at its sources, so that jobs handed
 * in together wake the workers once. */
void pool_submit(struct pool *p, struct pool_job *j);

#endif
