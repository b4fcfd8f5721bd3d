/* The one thread-local pointer of the project: what the calling host thread runs. Signal handlers
 * find their thread through it. Its type belongs to the layer that sets it (struct thread in user
 * mode); NULL on threads that run no guest. */
#ifndef LYRE_BASE_CURRENT_H
#define LYRE_BASE_CURRENT_H

void *current_get(void);
void current_set(void *thread);

#endif
