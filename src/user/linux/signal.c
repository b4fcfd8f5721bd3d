/* Signals.
 *
 * A host handler only takes notes: it keeps one signal (`caught`), blocks all others on return from
 * the handler, and asks the vCPU to stop. The exec loop then delivers the signal to the guest and
 * gives the host's mask back what the guest's mask says; if more are pending, the kernel hands over
 * the next one, in its order. So the kernel's queues are the only queues, and blocking calls, signalfd,
 * sigtimedwait and /proc see the guest's mask on the host.
 *
 * Where the guest's disposition is "default" or "ignore", the host's is the same and the kernel does
 * the work (job control, exit status). Exceptions are the five of SYNC_SIGNALS, which belong to the
 * engine, and those that dump core, where the user gets a message. */
#include "user/linux/signal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "accel/engine.h"
#include "base/current.h"
#include "base/guard.h"
#include "base/log.h"
#include "base/mem.h"
#include "user/linux/abi.h"
#include "user/linux/headers.h"

#define HOST_STACK (256u << 10) /* the engine may work in a handler */
#define UNBLOCKABLE (sig_bit(SIGKILL) | sig_bit(SIGSTOP))

/* Those whose default is to dump core, apart from the five. */
static const u8 core_signals[] = {SIGQUIT, SIGABRT, SIGSYS, SIGXCPU, SIGXFSZ};

static bool is_sync(int sig)
{
    return SYNC_SIGNALS & sig_bit(sig);
}

static bool dumps_core(int sig)
{
    return is_sync(sig) || memchr(core_signals, sig, sizeof(core_signals));
}

/* ---- the host's side ---- */

static void host_mask(u64 mask)
{
    mask &= ~SYNC_SIGNALS;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}

void signal_mask_apply(struct thread *t)
{
    host_mask(t->mask);
}

void signal_block_all(void)
{
    host_mask(~(u64)0);
}

/* The kernel's sigset_t in a ucontext is 64 bits, the C library's type is wider. */
static void block_on_return(ucontext_t *uc)
{
    u64 mask = ~SYNC_SIGNALS;
    memcpy(&uc->uc_sigmask, &mask, sizeof(mask));
}

static void host_action(int sig, u64 handler, u64 flags);

static void crash(struct thread *t, int sig, siginfo_t *info, ucontext_t *uc)
{
    u64 pc = 0;
#if defined(__x86_64__)
    pc = (u64)uc->uc_mcontext.gregs[REG_RIP];
#endif
    log_warn("internal error: signal %d at host pc %#llx, address %p, guest pc %#llx; please report "
             "this\n",
             sig, (unsigned long long)pc, info->si_addr,
             t ? (unsigned long long)vcpu_pc(t->cpu) : 0);
    host_action(sig, 0, 0); /* the instruction runs again and ends the process */
}

IN_HANDLER static void host_handler(int sig, siginfo_t *info, void *ucontext)
{
    int saved_errno = errno;
    struct thread *t = thread_current();
    if (is_sync(sig) && info->si_code > 0) {
        if (!guard_fixup(ucontext) && !(t && engine_host_signal(t->cpu, sig, info, ucontext)))
            crash(t, sig, info, ucontext);
        errno = saved_errno;
        return;
    }
    if (!t)
        return;
    if (is_sync(sig)) {
        t->sync_info[sig] = *info;
        atomic_fetch_or(&t->sync_pending, (u32)sig_bit(sig));
        if (t->mask & sig_bit(sig)) {
            errno = saved_errno;
            return;
        }
    } else {
        t->caught_info = *info;
        atomic_store(&t->caught, (u32)sig);
        block_on_return(ucontext);
    }
    atomic_store(&t->pending, 1);
    vcpu_kick(t->cpu);
    host_call_interrupted(ucontext);
    errno = saved_errno;
}

#if defined(__x86_64__)
__asm__(".text\n.p2align 4\n"
        ".globl signal_restorer\n.hidden signal_restorer\n.type signal_restorer, @function\n"
        "signal_restorer:\n"
        "    mov $15, %eax\n" /* rt_sigreturn */
        "    syscall\n"
        ".size signal_restorer, . - signal_restorer\n");
extern const char signal_restorer[];
#define RESTORER (u64)(uintptr_t)signal_restorer
#else
#error "the signal restorer is missing for this host"
#endif

/* Raw, as the C library keeps two signals for itself. `handler` as the kernel has it. */
static void host_action(int sig, u64 handler, u64 flags)
{
    struct kernel_sigaction sa = {handler, flags | SA_RESTORER, RESTORER, ~SYNC_SIGNALS};
    syscall(SYS_rt_sigaction, sig, &sa, NULL, 8);
}

static void host_action_ours(int sig, u64 guest_flags)
{
    host_action(sig, (u64)(uintptr_t)host_handler,
                SA_SIGINFO | SA_ONSTACK | SA_RESTART | (is_sync(sig) ? SA_NODEFER : 0) |
                    (guest_flags & (SA_NOCLDSTOP | SA_NOCLDWAIT)));
}

/* Bring the host's disposition in line with the guest's. */
static void host_action_update(int sig, const struct sig_action *sa)
{
    if (is_sync(sig))
        return;
    if (sa->handler == 1)
        host_action(sig, 1, sa->flags & (SA_NOCLDSTOP | SA_NOCLDWAIT));
    else if (sa->handler == 0 && !dumps_core(sig))
        host_action(sig, 0, sa->flags & (SA_NOCLDSTOP | SA_NOCLDWAIT));
    else
        host_action_ours(sig, sa->flags);
}

void signal_thread_start(struct thread *t)
{
    t->host_stack = mmap(NULL, HOST_STACK, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    stack_t ss = {.ss_sp = t->host_stack, .ss_size = HOST_STACK};
    sigaltstack(&ss, NULL);
}

void signal_thread_end(struct thread *t)
{
    stack_t off = {.ss_flags = SS_DISABLE};
    sigaltstack(&off, NULL);
    signal_stack_free(t);
}

void signal_stack_free(struct thread *t)
{
    if (t->host_stack)
        munmap(t->host_stack, HOST_STACK);
    t->host_stack = NULL;
}

void signal_init(struct thread *t)
{
    u64 mask = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &mask, sizeof(mask));
    t->mask = mask;
    signal_thread_start(t);
    for (int sig = 1; sig <= SIGNALS; sig++) {
        struct kernel_sigaction old = {0};
        if (sig_bit(sig) & UNBLOCKABLE)
            continue;
        syscall(SYS_rt_sigaction, sig, NULL, &old, 8);
        struct sig_action *sa = &t->sighand->action[sig];
        sa->handler = old.handler == 1;
        if (is_sync(sig))
            host_action_ours(sig, 0);
        else
            host_action_update(sig, sa);
    }
    signal_mask_apply(t);
}

struct sighand *sighand_copy(struct sighand *from)
{
    struct sighand *s = xcalloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    if (from) {
        pthread_mutex_lock(&from->lock);
        memcpy(s->action, from->action, sizeof(s->action));
        pthread_mutex_unlock(&from->lock);
    }
    return s;
}

void signal_exec_begin(struct thread *t)
{
    for (int sig = 1; sig < 32; sig++) {
        if (is_sync(sig))
            host_action(sig, t->sighand->action[sig].handler == 1, 0);
    }
    u64 mask = t->mask;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}

void signal_exec_failed(struct thread *t)
{
    if (!atomic_load(&t->caught)) /* one may have come in between */
        signal_mask_apply(t);
    for (int sig = 1; sig < 32; sig++) {
        if (is_sync(sig))
            host_action_ours(sig, 0);
    }
}

/* ---- delivery ---- */

static void die(struct thread *t, int sig)
{
    t->ended = true;
    t->end = (struct user_end){USER_END_SIGNAL, sig};
}

bool user_signal_dumps_core(int sig)
{
    return dumps_core(sig);
}

void user_die_by_signal(int sig)
{
    u64 none = 0;
    host_action(sig, 0, 0);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
    syscall(SYS_kill, getpid(), sig);
    /* Not reached for the signals that end a program. */
    syscall(SYS_exit_group, 128 + sig);
    __builtin_unreachable();
}

static bool default_is_ignore(int sig)
{
    return sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH;
}

static bool default_is_stop(int sig)
{
    return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

static bool on_alt_stack(const struct thread *t, u64 sp)
{
    return !(t->alt_flags & SS_AUTODISARM) && t->alt_size && sp > t->alt_sp &&
           sp - t->alt_sp <= t->alt_size;
}

static u32 alt_state(const struct thread *t, u64 sp)
{
    return !t->alt_size ? SS_DISABLE : on_alt_stack(t, sp) ? SS_ONSTACK : 0;
}

/* An interrupted system call: with a handler that forbids it, or none, nothing is done again. */
static void settle_restart(struct thread *t, bool restart)
{
    if (!t->restarting)
        return;
    t->restarting = false;
    if (restart)
        vcpu_set_pc(t->cpu, vcpu_pc(t->cpu) - t->process->abi->syscall_insn);
    else
        thread_set_word(t, t->process->regs.result, (u64)-EINTR);
}

static void push_frame(struct thread *t, struct abi_frame *f)
{
    struct process *p = t->process;
    u64 sp = vcpu_get(t->cpu, p->regs.sp);
    settle_restart(t, (f->action.flags & SA_RESTART) != 0);
    f->mask = t->mask_saved ? t->saved_mask : t->mask;
    t->mask_saved = false;
    f->alt_sp = t->alt_sp;
    f->alt_size = t->alt_size;
    f->alt_flags = alt_state(t, sp) | (t->alt_flags & SS_AUTODISARM);
    f->sp = sp;
    if (f->action.flags & SA_ONSTACK && t->alt_size && !on_alt_stack(t, sp))
        f->sp = t->alt_sp + t->alt_size;
    t->cpu->env->excl.size = 0;
    if (!p->abi->frame_push(t, f)) {
        /* As the kernel: a SIGSEGV, which may have a stack of its own; not a second time. */
        siginfo_t info = {.si_signo = SIGSEGV, .si_code = SI_KERNEL};
        struct abi_frame again = {.sig = SIGSEGV};
        if (f->sig == SIGSEGV)
            die(t, SIGSEGV);
        else
            signal_force(t, &again, &info);
        return;
    }
    if (t->alt_flags & SS_AUTODISARM)
        t->alt_sp = t->alt_size = t->alt_flags = 0;
    t->mask |= f->action.mask | (f->action.flags & SA_NODEFER ? 0 : sig_bit(f->sig));
    t->mask &= ~UNBLOCKABLE;
}

static struct sig_action take_action(struct thread *t, int sig)
{
    struct sig_action *sa = &t->sighand->action[sig];
    pthread_mutex_lock(&t->sighand->lock);
    struct sig_action copy = *sa;
    if (copy.handler > 1 && copy.flags & SA_RESETHAND) {
        sa->handler = 0;
        host_action_update(sig, sa);
    }
    pthread_mutex_unlock(&t->sighand->lock);
    return copy;
}

/* Stop as the host's kernel would have, had it been the default when the signal came. */
static void stop_now(int sig)
{
    u64 only = ~sig_bit(sig), old;
    host_action(sig, 0, 0);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &only, &old, sizeof(only));
    syscall(SYS_tgkill, getpid(), gettid(), sig);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof(old));
}

static void handle(struct thread *t, int sig, const siginfo_t *info)
{
    struct abi_frame f = {.sig = sig, .info = info, .action = take_action(t, sig)};
    if (f.action.handler > 1)
        push_frame(t, &f);
    else if (f.action.handler == 0 && default_is_stop(sig))
        stop_now(sig);
    else if (f.action.handler == 0 && !default_is_ignore(sig))
        die(t, sig);
}

void signal_force(struct thread *t, struct abi_frame *f, siginfo_t *info)
{
    f->info = info;
    if (t->mask & sig_bit(f->sig)) {
        die(t, f->sig);
        return;
    }
    f->action = take_action(t, f->sig);
    if (f->action.handler <= 1) {
        die(t, f->sig);
        return;
    }
    push_frame(t, f);
    if (!t->ended && !atomic_load(&t->caught))
        signal_mask_apply(t);
}

void signal_deliver(struct thread *t)
{
    siginfo_t info;
    while (!t->ended) {
        atomic_store(&t->pending, 0);
        u32 sync = atomic_load(&t->sync_pending) & ~(u32)t->mask;
        int sig = (int)atomic_load(&t->caught);
        if (sync) {
            sig = __builtin_ctz(sync) + 1;
            atomic_fetch_and(&t->sync_pending, ~(u32)sig_bit(sig));
            info = t->sync_info[sig];
            handle(t, sig, &info);
            if (!atomic_load(&t->caught))
                signal_mask_apply(t);
        } else if (sig) {
            info = t->caught_info;
            atomic_store(&t->caught, 0);
            handle(t, sig, &info);
            if (t->mask_saved) { /* no handler ran: the wait is over, its mask too */
                t->mask = t->saved_mask;
                t->mask_saved = false;
            }
            if (!t->ended)
                signal_mask_apply(t); /* now the next one comes, if there is one */
        } else {
            break;
        }
    }
    settle_restart(t, true);
}

/* ---- masks of waiting calls ---- */

s64 signal_wait_begin(struct thread *t, u64 guest_set, u64 size, u64 *storage, u64 *host)
{
    *host = 0;
    if (!guest_set)
        return 0;
    if (size != 8)
        return -EINVAL;
    if (!space_read(&t->process->space, storage, guest_set, 8))
        return -EFAULT;
    t->saved_mask = t->mask;
    t->mask_saved = true;
    t->mask = *storage & ~UNBLOCKABLE;
    *storage = t->mask & ~SYNC_SIGNALS;
    *host = (u64)(uintptr_t)storage;
    return 0;
}

s64 signal_wait_end(struct thread *t, s64 result)
{
    if (t->mask_saved && !(result == -EINTR && atomic_load(&t->pending))) {
        t->mask = t->saved_mask;
        t->mask_saved = false;
    }
    return result;
}

s64 sys_rt_sigsuspend(struct thread *t, const u64 *a)
{
    u64 storage, host;
    if (!a[0])
        return -EFAULT;
    s64 r = signal_wait_begin(t, a[0], a[1], &storage, &host);
    if (r)
        return r;
    return signal_wait_end(t, host_call(t, SYS_rt_sigsuspend, host, 8, 0, 0, 0, 0));
}

/* ---- the guest's calls ---- */

s64 sys_rt_sigaction(struct thread *t, const u64 *a)
{
    int sig = (int)a[0];
    struct kernel_sigaction new, old;
    if (sig < 1 || sig > SIGNALS || a[3] != 8 || (a[1] && sig_bit(sig) & UNBLOCKABLE))
        return -EINVAL;
    if (a[1] && !struct_read(t, SYS_STRUCT_sigaction, &new, a[1]))
        return -EFAULT;
    struct sig_action *sa = &t->sighand->action[sig];
    pthread_mutex_lock(&t->sighand->lock);
    old = (struct kernel_sigaction){sa->handler, sa->flags, sa->restorer, sa->mask};
    if (a[1]) {
        *sa = (struct sig_action){new.handler, new.flags, new.restorer, new.mask & ~UNBLOCKABLE};
        host_action_update(sig, sa);
    }
    pthread_mutex_unlock(&t->sighand->lock);
    return a[2] && !struct_write(t, SYS_STRUCT_sigaction, a[2], &old) ? -EFAULT : 0;
}

s64 sys_rt_sigprocmask(struct thread *t, const u64 *a)
{
    struct space *sp = &t->process->space;
    u64 set, mask = t->mask, old = t->mask;
    if (a[3] != 8)
        return -EINVAL;
    if (a[1]) {
        if (!space_read(sp, &set, a[1], 8))
            return -EFAULT;
        set &= ~UNBLOCKABLE;
        switch ((int)a[0]) {
        case SIG_BLOCK:
            mask |= set;
            break;
        case SIG_UNBLOCK:
            mask &= ~set;
            break;
        case SIG_SETMASK:
            mask = set;
            break;
        default:
            return -EINVAL;
        }
        u64 host = mask & ~SYNC_SIGNALS;
        s64 r = host_call(t, SYS_rt_sigprocmask, SIG_SETMASK, (u64)(uintptr_t)&host, 0, 8, 0, 0);
        if (r)
            return r;
        t->mask = mask;
        if (atomic_load(&t->sync_pending) & ~(u32)mask)
            atomic_store(&t->pending, 1);
    }
    return a[2] && !space_write(sp, a[2], &old, 8) ? -EFAULT : 0;
}

s64 sys_rt_sigpending(struct thread *t, const u64 *a)
{
    u64 set = 0;
    if (a[1] > 8)
        return -EINVAL;
    syscall(SYS_rt_sigpending, &set, 8);
    set = (set & t->mask) | (atomic_load(&t->sync_pending) & t->mask);
    return space_write(&t->process->space, a[0], &set, a[1]) ? 0 : -EFAULT;
}

s64 sys_rt_sigtimedwait(struct thread *t, const u64 *a)
{
    u64 set;
    siginfo_t info;
    struct timespec ts;
    if (a[3] != 8)
        return -EINVAL;
    if (!space_read(&t->process->space, &set, a[0], 8) ||
        (a[2] && !struct_read(t, SYS_STRUCT_timespec, &ts, a[2])))
        return -EFAULT;
    u32 sync = atomic_load(&t->sync_pending) & (u32)set;
    s64 r;
    if (sync) {
        r = __builtin_ctz(sync) + 1;
        atomic_fetch_and(&t->sync_pending, ~(u32)sig_bit((int)r));
        info = t->sync_info[r];
    } else {
        set &= ~SYNC_SIGNALS;
        r = host_call(t, SYS_rt_sigtimedwait, (u64)(uintptr_t)&set, (u64)(uintptr_t)&info,
                      a[2] ? (u64)(uintptr_t)&ts : 0, 8, 0, 0);
    }
    if (r > 0 && a[1] && !struct_write(t, SYS_STRUCT_siginfo, a[1], &info))
        return -EFAULT;
    return r;
}

s64 sys_sigaltstack(struct thread *t, const u64 *a)
{
    struct kernel_stack new, old = {0};
    u64 sp = vcpu_get(t->cpu, t->process->regs.sp);
    if (a[0] && !struct_read(t, SYS_STRUCT_stack, &new, a[0]))
        return -EFAULT;
    old.sp = t->alt_sp;
    old.size = t->alt_size;
    old.flags = (s32)(alt_state(t, sp) | (t->alt_flags & SS_AUTODISARM));
    if (a[0]) {
        u32 mode = (u32)new.flags & ~SS_AUTODISARM;
        if (on_alt_stack(t, sp))
            return -EPERM;
        if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0)
            return -EINVAL;
        if (mode == SS_DISABLE) {
            t->alt_sp = t->alt_size = t->alt_flags = 0;
        } else {
            if (new.size < t->process->abi->min_sigstack)
                return -ENOMEM;
            t->alt_sp = new.sp;
            t->alt_size = new.size;
            t->alt_flags = (u32)new.flags & SS_AUTODISARM;
        }
    }
    return a[1] && !struct_write(t, SYS_STRUCT_stack, a[1], &old) ? -EFAULT : 0;
}

s64 sys_rt_sigreturn(struct thread *t, const u64 *a)
{
    struct abi_return r = {0};
    if (!t->process->abi->frame_pop(t, &r)) {
        siginfo_t info = {.si_signo = SIGSEGV, .si_code = SI_KERNEL};
        struct abi_frame f = {.sig = SIGSEGV};
        signal_force(t, &f, &info);
        return SYS_REGS_SET;
    }
    t->mask = r.mask & ~UNBLOCKABLE;
    t->alt_sp = r.alt_flags & SS_DISABLE ? 0 : r.alt_sp;
    t->alt_size = r.alt_flags & SS_DISABLE ? 0 : r.alt_size;
    t->alt_flags = r.alt_flags & SS_AUTODISARM;
    if (atomic_load(&t->sync_pending) & ~(u32)t->mask)
        atomic_store(&t->pending, 1);
    if (!atomic_load(&t->caught))
        signal_mask_apply(t);
    return SYS_REGS_SET;
}
