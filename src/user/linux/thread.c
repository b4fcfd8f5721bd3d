/* Threads: clone in its three meanings (thread, fork, vfork), and how they end. */
#include "user/linux/thread.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "accel/engine.h"
#include "base/bits.h"
#include "base/current.h"
#include "base/guard.h"
#include "base/log.h"
#include "base/mem.h"
#include "user/linux/abi.h"
#include "user/linux/headers.h"
#include "user/linux/signal.h"

#define THREAD_STACK (1u << 20)

struct thread *thread_current(void)
{
    return current_get();
}

struct thread *thread_new(struct process *p, struct err *e)
{
    struct thread *t = xcalloc(1, sizeof(*t));
    t->process = p;
    t->sighand = p->sighand;
    t->cpu = vcpu_new(p->engine, p->opts->cpu, e);
    if (!t->cpu) {
        free(t);
        return NULL;
    }
    t->cpu->owner = t;
    return t;
}

void thread_free(struct thread *t)
{
    vcpu_free(t->cpu);
    free(t);
}

void thread_list(struct thread *t)
{
    struct process *p = t->process;
    pthread_mutex_lock(&p->lock);
    t->next = p->threads;
    t->link = &p->threads;
    if (t->next)
        t->next->link = &t->next;
    p->threads = t;
    p->count++;
    pthread_mutex_unlock(&p->lock);
}

unsigned thread_unlist(struct thread *t)
{
    struct process *p = t->process;
    pthread_mutex_lock(&p->lock);
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    unsigned left = --p->count;
    pthread_mutex_unlock(&p->lock);
    return left;
}

/* ---- the end ---- */

/* The owner of the robust mutex at `addr` is gone. */
static void futex_owner_died(struct thread *t, u64 addr, bool pi)
{
    u32 value;
    while (!(addr & 3) && space_read(&t->process->space, &value, addr, 4) &&
           (value & FUTEX_TID_MASK) == (u32)t->tid) {
        u32 died = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        u32 seen = value;
        if (!space_ok(&t->process->space, addr, 4) ||
            !guard_cas32((u32 *)(uintptr_t)addr, &seen, died))
            return;
        if (seen == value) {
            if (!pi && value & FUTEX_WAITERS)
                syscall(SYS_futex, addr, FUTEX_WAKE, 1, NULL, NULL, 0);
            return;
        }
    }
}

/* What the kernel does with a thread's list of held robust mutexes. It has to be done before the
 * thread counts as gone, since its joiner may unmap the list. */
static void robust_exit(struct thread *t)
{
    struct process *p = t->process;
    u64 at, offset, pending, list = t->robust_head, size = 0;
    if (p->word == 8) {
        syscall(SYS_get_robust_list, 0, &list, &size);
        syscall(SYS_set_robust_list, NULL, 24);
    }
    if (!list || list >= p->space.top || !process_read_word(p, list, &at) ||
        !process_read_word(p, list + p->word, &offset) || !process_read_word(p, list + 2 * p->word, &pending))
        return;
    offset = (u64)sext64(offset, 8 * p->word);
    for (int limit = 0; (at & ~1ull) != list && limit < 2048; limit++) {
        u64 next;
        if (!process_read_word(p, at & ~1ull, &next))
            return;
        if ((at & ~1ull) != (pending & ~1ull))
            futex_owner_died(t, (at & ~1ull) + offset, at & 1);
        at = next;
    }
    if (pending & ~1ull)
        futex_owner_died(t, (pending & ~1ull) + offset, pending & 1);
}

/* The thread is about to end while others go on: tell those that wait for it. */
static void thread_leave(struct thread *t)
{
    robust_exit(t);
    if (t->clear_tid) {
        u32 zero = 0;
        if (space_write(&t->process->space, t->clear_tid, &zero, 4))
            syscall(SYS_futex, t->clear_tid, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    }
}

s64 sys_exit(struct thread *t, const u64 *a)
{
    t->ended = true;
    t->end = (struct user_end){USER_END_THREAD, (int)a[0] & 0xff};
    return SYS_REGS_SET;
}

s64 sys_exit_group(struct thread *t, const u64 *a)
{
    t->ended = true;
    t->end = (struct user_end){USER_END_EXIT, (int)a[0] & 0xff};
    return SYS_REGS_SET;
}

s64 sys_set_tid_address(struct thread *t, const u64 *a)
{
    t->clear_tid = a[0];
    return t->tid;
}

s64 sys_set_robust_list(struct thread *t, const u64 *a)
{
    if (t->process->word == 8)
        return host_call(t, SYS_set_robust_list, a[0], a[1], 0, 0, 0, 0);
    if (a[1] != 3ull * t->process->word)
        return -EINVAL;
    t->robust_head = a[0];
    return 0;
}

s64 sys_futex(struct thread *t, const u64 *a)
{
    struct space *sp = &t->process->space;
    unsigned op = (unsigned)a[1] & FUTEX_CMD_MASK;
    bool timed = op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET || op == FUTEX_LOCK_PI ||
                 op == FUTEX_WAIT_REQUEUE_PI || op == 13;
    bool two = op == FUTEX_REQUEUE || op == FUTEX_CMP_REQUEUE || op == FUTEX_WAKE_OP ||
               op == FUTEX_WAIT_REQUEUE_PI || op == FUTEX_CMP_REQUEUE_PI;
    if (!space_ok(sp, a[0], 4) || (two && !space_ok(sp, a[4], 4)) ||
        (timed && a[3] && !space_ok(sp, a[3], 16)))
        return -EFAULT;
    s64 r = host_call(t, SYS_futex, a[0], a[1], a[2], a[3], a[4], a[5]);
    /* The kernel restarts these behind any handler. */
    if (r == SYS_RESTART && (op == FUTEX_LOCK_PI || op == 13 || op == FUTEX_WAIT_REQUEUE_PI))
        r = SYS_UNDONE;
    return r;
}

/* ---- clone ---- */

struct clone {
    u64 flags;
    u64 stack; /* 0: the parent's */
    u64 ptid, ctid, tls, pidfd;
    int exit_signal;
    u64 set_tid, set_tid_size, cgroup;
};

/* The child's registers: as the parent's, but for these. */
static void child_state(struct thread *c, const struct thread *t, const struct clone *k)
{
    const struct user_regs *r = &t->process->regs;
    if (c != t)
        vcpu_copy_state(c->cpu, t->cpu);
    vcpu_set(c->cpu, r->result, 0);
    if (k->stack)
        vcpu_set(c->cpu, r->sp, k->stack);
    if (k->flags & CLONE_SETTLS)
        vcpu_set(c->cpu, r->tls, k->tls);
    c->cpu->env->excl.size = 0;
}

static void write_tid(struct thread *t, u64 addr, pid_t tid)
{
    u32 v = (u32)tid;
    space_write(&t->process->space, addr, &v, 4);
}

struct start {
    struct thread *thread;
    const struct clone *clone;
    sem_t started;
    pid_t tid;
    int error;
};

static void end_process(struct thread *t)
{
    t->process->opts->end(t->process, t->end, t->vfork_child);
}

void thread_leader_left(struct thread *t)
{
    struct process *p = t->process;
    pthread_mutex_lock(&p->lock);
    bool last = p->count == 1;
    pthread_mutex_unlock(&p->lock);
    if (last) {
        t->end.kind = USER_END_EXIT;
        return;
    }
    thread_unlist(t);
    thread_leave(t);
}

static void *thread_main(void *arg)
{
    struct start *s = arg;
    struct thread *t = s->thread;
    current_set(t);
    signal_thread_start(t);
    t->tid = s->tid = gettid();
    s->error = 0;
    u64 unshare_flags = (CLONE_FS | CLONE_FILES) & ~s->clone->flags;
    if (unshare_flags && syscall(SYS_unshare, unshare_flags) < 0)
        s->error = -errno;
    bool ok = !s->error;
    if (ok) {
        if (s->clone->flags & CLONE_PARENT_SETTID)
            write_tid(t, s->clone->ptid, t->tid);
        if (s->clone->flags & CLONE_CHILD_SETTID)
            write_tid(t, s->clone->ctid, t->tid);
        thread_list(t);
    }
    sem_post(&s->started); /* `s` is gone from here on */
    if (ok) {
        signal_mask_apply(t);
        thread_loop(t);
        signal_block_all();
        if (t->end.kind != USER_END_THREAD)
            end_process(t);
        if (t->tid == getpid()) { /* since a fork this is the process's first thread */
            thread_leader_left(t);
            end_process(t);
        }
        unsigned left = thread_unlist(t);
        thread_leave(t);
        if (!left) { /* the first thread went before: this one's status counts */
            t->end.kind = USER_END_EXIT;
            end_process(t);
        }
    }
    current_set(NULL);
    signal_thread_end(t);
    if (ok)
        thread_free(t);
    return NULL;
}

static s64 start_thread(struct thread *t, const struct clone *k)
{
    struct start s = {.clone = k};
    struct thread *c = thread_new(t->process, NULL);
    if (!c)
        return -ENOMEM;
    c->mask = t->mask;
    c->sighand = t->sighand;
    child_state(c, t, k);
    if (k->flags & CLONE_CHILD_CLEARTID)
        c->clear_tid = k->ctid;
    s.thread = c;
    sem_init(&s.started, 0, 0);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, THREAD_STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_t id;
    int err = pthread_create(&id, &attr, thread_main, &s);
    pthread_attr_destroy(&attr);
    if (err) {
        thread_free(c);
        sem_destroy(&s.started);
        return -EAGAIN;
    }
    while (sem_wait(&s.started) < 0)
        ;
    sem_destroy(&s.started);
    if (s.error) {
        thread_free(c);
        return s.error;
    }
    return s.tid;
}

static s64 clone_thread(struct thread *t, const struct clone *k)
{
    const u64 needed = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
    if ((k->flags & needed) != needed || k->exit_signal)
        return -EINVAL;
    /* The new thread starts with everything blocked, so that no signal finds it half made. */
    signal_block_all();
    if (atomic_load(&t->caught))
        return SYS_UNDONE;
    s64 r = start_thread(t, k);
    signal_mask_apply(t);
    return r;
}

/* ---- fork ---- */

static void fork_lock(struct process *p, struct sighand *sh)
{
    pthread_mutex_lock(&p->lock);
    pthread_mutex_lock(&p->space.lock);
    pthread_mutex_lock(&sh->lock);
    engine_fork_prepare(p->engine);
}

static void fork_unlock(struct process *p, struct sighand *sh)
{
    pthread_mutex_unlock(&sh->lock);
    pthread_mutex_unlock(&p->space.lock);
    pthread_mutex_unlock(&p->lock);
}

/* The new process has only the calling thread. */
static void fork_child(struct thread *t, const struct clone *k)
{
    struct process *p = t->process;
    engine_fork_child(p->engine, t->cpu);
    for (struct thread *o = p->threads; o;) {
        struct thread *next = o->next;
        if (o != t) {
            /* Its stacks were another host thread's; only what we allocated is ours to free. */
            vcpu_free(o->cpu);
            free(o);
        }
        o = next;
    }
    p->threads = t;
    t->next = NULL;
    t->link = &p->threads;
    t->vfork_child = false;
    p->count = 1;
    p->main = t;
    p->sighand = t->sighand;
    t->tid = gettid();
    atomic_store(&t->sync_pending, 0);
    t->robust_head = 0;
    t->clear_tid = k->flags & CLONE_CHILD_CLEARTID ? k->ctid : 0;
    fork_unlock(p, t->sighand);
    if (k->flags & CLONE_CHILD_SETTID)
        write_tid(t, k->ctid, t->tid);
    child_state(t, t, k);
}

/* Flags that make a fork that the C library's fork() cannot do. */
#define PLAIN_FORK                                                                                 \
    ((u64)(CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_SETTLS))

static s64 raw_fork(const struct clone *k)
{
    u64 flags = k->flags & ~PLAIN_FORK;
    long r;
    if (!k->set_tid_size && !(flags >> 32)) {
        r = syscall(SYS_clone, flags | (u64)k->exit_signal, NULL, k->pidfd, NULL, NULL);
        return r < 0 ? -errno : r;
    }
    struct {
        u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
            set_tid_size, cgroup;
    } args = {
        .flags = flags,
        .pidfd = k->pidfd,
        .exit_signal = (u64)k->exit_signal,
        .set_tid = k->set_tid,
        .set_tid_size = k->set_tid_size,
        .cgroup = k->cgroup,
    };
    r = syscall(SYS_clone3, &args, sizeof(args));
    return r < 0 ? -errno : r;
}

static s64 clone_fork(struct thread *t, const struct clone *k)
{
    struct process *p = t->process;
    if (k->flags & (CLONE_SIGHAND | CLONE_THREAD))
        return -EINVAL;
    signal_block_all();
    if (atomic_load(&t->caught)) /* it came in between; with it, all stays blocked */
        return SYS_UNDONE;
    fork_lock(p, t->sighand);
    s64 pid;
    if (!(k->flags & ~PLAIN_FORK) && k->exit_signal == SIGCHLD && !k->set_tid_size)
        pid = (pid = fork()) < 0 ? -errno : pid;
    else
        pid = raw_fork(k);
    if (pid == 0) {
        fork_child(t, k);
    } else {
        engine_fork_parent(p->engine);
        fork_unlock(p, t->sighand);
        if (pid > 0 && k->flags & CLONE_PARENT_SETTID)
            write_tid(t, k->ptid, (pid_t)pid);
    }
    signal_mask_apply(t);
    return pid;
}

/* ---- vfork ----
 *
 * The child is a process of its own that shares all memory with its parent, whose thread waits in
 * the kernel until the child has ended or runs another program. It runs the same loop on another
 * host stack. The two share even the host's thread-local storage: only one of them runs. */

struct vfork {
    struct thread *child;
    const struct clone *clone;
};

static int vfork_main(void *arg)
{
    struct vfork *v = arg;
    struct thread *t = v->child;
    current_set(t);
    signal_thread_start(t);
    t->tid = gettid();
    if (v->clone->flags & CLONE_CHILD_SETTID)
        write_tid(t, v->clone->ctid, t->tid);
    signal_mask_apply(t);
    thread_loop(t);
    signal_block_all();
    if (t->end.kind == USER_END_THREAD)
        t->end.kind = USER_END_EXIT;
    end_process(t);
    return 127;
}

static s64 clone_vfork(struct thread *t, const struct clone *k)
{
    struct process *p = t->process;
    if (k->flags & (CLONE_SIGHAND | CLONE_THREAD))
        return -EINVAL;
    struct thread *c = thread_new(p, NULL);
    if (!c)
        return -ENOMEM;
    void *stack = mmap(NULL, THREAD_STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) {
        thread_free(c);
        return -ENOMEM;
    }
    signal_block_all();
    s64 r = SYS_UNDONE;
    if (!atomic_load(&t->caught)) {
        c->mask = t->mask;
        c->sighand = sighand_copy(t->sighand);
        c->alt_sp = t->alt_sp;
        c->alt_size = t->alt_size;
        c->alt_flags = t->alt_flags;
        c->vfork_child = true;
        child_state(c, t, k);
        struct vfork v = {c, k};
        u64 flags = k->flags & ~(PLAIN_FORK | CLONE_PIDFD);
        int pid = clone(vfork_main, (char *)stack + THREAD_STACK,
                        (int)(flags | (k->flags & CLONE_PIDFD)) | k->exit_signal, &v,
                        (int *)(uintptr_t)k->pidfd, NULL, NULL);
        r = pid < 0 ? -errno : pid;
        current_set(t);
        if (pid > 0 && k->flags & CLONE_PARENT_SETTID)
            write_tid(t, k->ptid, pid);
        signal_stack_free(c);
        free(c->sighand);
        signal_mask_apply(t);
    }
    thread_free(c);
    stack_abandon(stack, THREAD_STACK);
    munmap(stack, THREAD_STACK);
    return r;
}

static s64 do_clone(struct thread *t, const struct clone *k)
{
    if (k->flags & CLONE_THREAD)
        return clone_thread(t, k);
    if (!(k->flags & CLONE_VM))
        return clone_fork(t, k);
    if (k->flags & CLONE_VFORK)
        return clone_vfork(t, k);
    log_print(LOG_UNIMP, "clone with CLONE_VM needs CLONE_THREAD or CLONE_VFORK\n");
    return -EINVAL;
}

s64 sys_clone(struct thread *t, const u64 *a)
{
    bool tls_first = t->process->abi->clone_tls_first;
    struct clone k = {
        .flags = (u32)a[0] & ~(u64)CSIGNAL,
        .exit_signal = (int)(a[0] & CSIGNAL),
        .stack = a[1],
        .ptid = a[2],
        .tls = tls_first ? a[3] : a[4],
        .ctid = tls_first ? a[4] : a[3],
    };
    if (k.flags & CLONE_PIDFD) {
        if (k.flags & CLONE_PARENT_SETTID || !space_ok(&t->process->space, k.ptid, 4))
            return -EINVAL;
        k.pidfd = k.ptid;
    }
    return do_clone(t, &k);
}

s64 sys_clone3(struct thread *t, const u64 *a)
{
    struct {
        u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
            set_tid_size, cgroup;
    } args = {0};
    struct space *sp = &t->process->space;
    u8 extra[4096];
    if (a[1] < 64)
        return -EINVAL;
    if (a[1] > sizeof(extra))
        return -E2BIG;
    if (!space_read(sp, extra, a[0], a[1]))
        return -EFAULT;
    for (size_t i = sizeof(args); i < a[1]; i++) {
        if (extra[i])
            return -E2BIG;
    }
    memcpy(&args, extra, MIN(sizeof(args), a[1]));
    if (args.exit_signal & ~(u64)CSIGNAL || args.exit_signal > SIGNALS || args.flags & CSIGNAL ||
        !args.stack != !args.stack_size)
        return -EINVAL;
    if ((args.flags & CLONE_PIDFD && !space_ok(sp, args.pidfd, 4)) ||
        (args.set_tid_size && !space_ok(sp, args.set_tid, args.set_tid_size * 4)))
        return -EFAULT;
    struct clone k = {
        .flags = args.flags,
        .stack = args.stack + args.stack_size,
        .ptid = args.parent_tid,
        .ctid = args.child_tid,
        .tls = args.tls,
        .pidfd = args.pidfd,
        .exit_signal = (int)args.exit_signal,
        .set_tid = args.set_tid,
        .set_tid_size = args.set_tid_size,
        .cgroup = args.cgroup,
    };
    return do_clone(t, &k);
}
