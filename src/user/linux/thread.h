/* Threads and processes: making them, running them, ending them. */
#ifndef LYRE_USER_LINUX_THREAD_H
#define LYRE_USER_LINUX_THREAD_H

#include "user/process.h"

/* A thread of `p` with a vCPU in its reset state. */
struct thread *thread_new(struct process *p, struct err *e);
void thread_free(struct thread *t);

/* Add to, take out of the process's list. The latter returns how many are left. */
void thread_list(struct thread *t);
unsigned thread_unlist(struct thread *t);

/* The process's first thread has called exit(): if it is the only one the process ends
 * (USER_END_EXIT), else it leaves the list and tells those that wait. */
void thread_leader_left(struct thread *t);

/* Run guest code until t->ended. */
void thread_loop(struct thread *t);

#endif
