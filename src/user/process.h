/* The state of user mode: a process, its threads, and what they share. */
#ifndef LYRE_USER_PROCESS_H
#define LYRE_USER_PROCESS_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "cpu/vcpu.h"
#include "user/space.h"
#include "user/user.h"

struct abi;

#define SIGNALS 64

/* rt_sigaction's view of a signal, in host form. */
struct sig_action {
    u64 handler; /* guest address, or 0 (default), 1 (ignore) */
    u64 flags, restorer, mask;
};

/* What CLONE_SIGHAND shares. */
struct sighand {
    pthread_mutex_t lock;
    struct sig_action action[SIGNALS + 1];
};

/* Registers that user mode reads and writes, by their index in the isa. */
struct user_regs {
    int number, arg[6], result, sp, tls;
};

struct process {
    const struct user_opts *opts;
    const struct isa *isa;
    const struct abi *abi;
    struct engine *engine;
    unsigned word;       /* bytes of a register and a pointer of the guest: 4 or 8 */
    struct user_regs regs;
    struct space space;
    struct sighand *sighand;
    char *exe;           /* absolute path of the program, for /proc/self/exe */
    char *sysroot;       /* without a slash at its end; NULL: none */
    u64 arg_start, arg_end, env_start, env_end, stack_top; /* on the guest's stack */
    u64 *auxv;           /* a copy, pairs */
    size_t auxv_words;
    u64 vdso;            /* its start */
    u64 sigreturn;       /* guest address of code that calls rt_sigreturn */
    _Atomic u64 random;  /* state of process_random() */
    _Atomic u32 personality;
    struct rlimit limit_as, limit_data, limit_stack; /* the guest's; see sys_prlimit64 */

    pthread_mutex_t lock; /* the list of threads */
    struct thread *threads;
    unsigned count;
    struct thread *main;
};

/* Bytes that nobody can guess, unless the user asked for the same ones every time. */
void process_random(struct process *p, void *out, size_t size);

struct thread {
    struct process *process;
    struct thread *next, **link; /* in process->threads; not for vfork children */
    struct vcpu *cpu;
    pid_t tid;
    bool vfork_child;
    bool ended;               /* `end` is valid, the thread runs no more guest code */
    struct user_end end;
    u64 clear_tid;            /* guest address, 0: none */
    u64 robust_head;          /* of a guest of 32 bits, whose list the host's kernel cannot read */
    struct sighand *sighand;

    /* Signals. The host's mask is the guest's, apart from the five that are never blocked there and
     * from the time in which one signal has been caught and not yet delivered: then all others are
     * blocked, so that the kernel keeps them in its queues and their order. */
    _Atomic u32 pending;      /* not 0: do not enter a system call; deliver first */
    _Atomic u32 caught;       /* number of the caught signal, 0: none */
    siginfo_t caught_info;
    _Atomic u32 sync_pending; /* of the five, sent by somebody: bit n-1 */
    siginfo_t sync_info[32];  /* by number */
    u64 mask;                 /* blocked signals: bit n-1 is signal n */
    u64 saved_mask;           /* to return to after a call with a mask of its own */
    bool mask_saved;
    bool restarting;          /* the last system call is to be done again, if no handler forbids it */
    u64 alt_sp, alt_size;     /* the guest's sigaltstack */
    u32 alt_flags;
    void *host_stack;         /* for host handlers */
};

/* A word of the guest's memory. False: EFAULT. */
static inline bool process_read_word(struct process *p, u64 addr, u64 *v)
{
    *v = 0;
    return space_read(&p->space, v, addr, p->word);
}

/* A register of at most a word. */
static inline void thread_set_word(struct thread *t, int reg, u64 v)
{
    vcpu_set(t->cpu, reg, t->process->word == 8 ? v : (u32)v);
}

/* The address of the instruction at the thread's pc (see vcpu_pc). */
static inline u64 thread_insn(const struct thread *t)
{
    u64 pc = vcpu_pc(t->cpu);
    return t->process->space.guards ? ALIGN_DOWN(pc, 1ull << t->process->isa->insn_align) : pc;
}

static inline u64 sig_bit(int sig)
{
    return 1ull << (sig - 1);
}

/* The thread that the caller is; set for every thread that runs guest code. */
struct thread *thread_current(void);

#endif
