/* Signals: the host's handlers, the guest's view, and delivery. */
#ifndef LYRE_USER_LINUX_SIGNAL_H
#define LYRE_USER_LINUX_SIGNAL_H

#include "user/process.h"

/* SEGV, BUS, FPE, ILL, TRAP: never blocked on the host, because the engine and guarded copies live
 * on them. */
#define SYNC_SIGNALS ((u64)1 << 10 | 1 << 6 | 1 << 7 | 1 << 3 | 1 << 4)

/* Once per process: take over what the host process ignores, install handlers. `t` is the main
 * thread; its mask becomes the host's. */
void signal_init(struct thread *t);

/* Once per thread, on it: the stack for handlers. */
void signal_thread_start(struct thread *t);
void signal_thread_end(struct thread *t);

/* Only the memory of that stack: for a thread that ended in another process. */
void signal_stack_free(struct thread *t);

/* Deliver what has been caught, finish interrupted system calls. Afterwards either t->ended is set
 * or the registers are as they should be and nothing deliverable is left. */
void signal_deliver(struct thread *t);

/* A signal from an instruction of the guest: delivered at once, fatal if blocked or ignored. */
struct abi_frame;
void signal_force(struct thread *t, struct abi_frame *f, siginfo_t *info);

/* The host's mask := the guest's. */
void signal_mask_apply(struct thread *t);

/* Block everything but the five on the host, for as long as lyre must not be disturbed. */
void signal_block_all(void);

/* The guest's mask, for calls that replace it while they wait: set it from guest memory (0: leave
 * it). `size` is what the guest passed. On success *host is what to pass to the host (NULL: nothing)
 * and signal_wait_end() must follow with the call's result. */
s64 signal_wait_begin(struct thread *t, u64 guest_set, u64 size, u64 *storage, u64 *host);
s64 signal_wait_end(struct thread *t, s64 result);

/* Around execve: the host's dispositions and mask as the new program is to inherit them; back. */
void signal_exec_begin(struct thread *t);
void signal_exec_failed(struct thread *t);

/* A copy for a process that does not share (fork needs none; vfork does). */
struct sighand *sighand_copy(struct sighand *from);

#endif
