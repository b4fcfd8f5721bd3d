/* Two threads for work that is mostly copying. One of them at a time has the lock, and is then, for all that belongs to the
 * loop, on the loop's thread; without it they read (node_peek()), compare, look for zeros. */
#ifndef LYRE_CMD_IMG_TEAM_H
#define LYRE_CMD_IMG_TEAM_H

#include <pthread.h>

struct team {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void (*work)(struct team *t);
};

/* Call `work` on this thread, which is the loop's, and on another, each with the lock, which they return with. Ends when both have. The
 * loop must not be turned by anybody else meanwhile. */
void team_run(struct team *t, void (*work)(struct team *t));

void team_enter(struct team *t);
void team_leave(struct team *t);

/* Leave, until the other thread has called team_wake() or ended its work, and enter again. */
void team_wait(struct team *t);
void team_wake(struct team *t);

#endif
