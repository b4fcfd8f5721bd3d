/* Signals: what handlers get, masks, order, stacks, and going on after a fault.
 * link: static dynamic
 * peer: its si_code of an undefined instruction is not the kernel's */
#include "prog.h"

#include "guest.h"

#include <setjmp.h>
#include <ucontext.h>

static volatile sig_atomic_t count;
static char order[64];
static sigjmp_buf back;
static volatile siginfo_t got;
static void *volatile handler_sp;

static void note(int sig, siginfo_t *info, void *uc)
{
    memcpy((void *)&got, info, sizeof(got));
    count++;
}

static void set(int sig, void (*f)(int, siginfo_t *, void *), int flags)
{
    struct sigaction sa = {.sa_sigaction = f, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&sa.sa_mask);
    if (sigaction(sig, &sa, NULL) < 0)
        die("sigaction");
}

static void queued(int sig, siginfo_t *info, void *uc)
{
    char s[16];
    snprintf(s, sizeof(s), "%d/%d ", sig - SIGRTMIN, info->si_value.sival_int);
    strcat(order, s);
}

static void test_queue(void)
{
    sigset_t block, old, pend;
    sigemptyset(&block);
    for (int i = 0; i < 4; i++) {
        set(SIGRTMIN + i, queued, 0);
        sigaddset(&block, SIGRTMIN + i);
    }
    sigaddset(&block, SIGUSR1);
    set(SIGUSR1, note, 0);
    sigprocmask(SIG_BLOCK, &block, &old);
    for (int i = 0; i < 3; i++) {
        sigqueue(getpid(), SIGRTMIN + 2, (union sigval){10 + i});
        sigqueue(getpid(), SIGRTMIN + 1, (union sigval){20 + i});
        kill(getpid(), SIGUSR1);
    }
    sigpending(&pend);
    say("pending", sigismember(&pend, SIGUSR1) && sigismember(&pend, SIGRTMIN + 1) &&
                       !sigismember(&pend, SIGUSR2));
    siginfo_t info;
    struct timespec ts = {0};
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGRTMIN + 2);
    int r = sigtimedwait(&one, &info, &ts);
    printf("sigtimedwait %d value %d\n", r - SIGRTMIN, info.si_value.sival_int);
    sigprocmask(SIG_SETMASK, &old, NULL);
    /* Handlers stack: each runs to its end before those queued for the same signal. */
    printf("queue: %s\n", order);
    printf("usr1 once: %d\n", (int)count);
    say("si_pid", got.si_pid == getpid() && got.si_code == SI_USER);
    ts.tv_nsec = 5000000;
    result("sigtimedwait", sigtimedwait(&one, &info, &ts));
}

static void nested(int sig, siginfo_t *info, void *uc)
{
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    char s[32];
    snprintf(s, sizeof(s), "%s%s%s ", sig == SIGUSR1 ? "usr1" : "usr2",
             sigismember(&now, SIGUSR1) ? "+1" : "", sigismember(&now, SIGUSR2) ? "+2" : "");
    strcat(order, s);
    if (count++ < 2)
        raise(SIGUSR1);
    strcat(order, "< ");
}

static void test_flags(void)
{
    order[0] = 0;
    count = 0;
    set(SIGUSR1, nested, SA_NODEFER);
    raise(SIGUSR1);
    printf("nodefer: %s\n", order);
    order[0] = 0;
    count = 0;
    set(SIGUSR1, nested, 0);
    raise(SIGUSR1);
    printf("defer: %s\n", order);
    struct sigaction sa;
    set(SIGUSR2, note, SA_RESETHAND);
    raise(SIGUSR2);
    sigaction(SIGUSR2, NULL, &sa);
    say("resethand", sa.sa_handler == SIG_DFL);
    signal(SIGUSR2, SIG_IGN);
    raise(SIGUSR2);
    say("ignored", 1);
    result("sigaction of SIGKILL", sigaction(SIGKILL, &(struct sigaction){.sa_handler = SIG_IGN}, NULL));
    result("raise of 0", kill(getpid(), 0));
    result("raise of 65", kill(getpid(), 65));
}

static void on_fault(int sig, siginfo_t *info, void *uc)
{
    memcpy((void *)&got, info, sizeof(got));
    siglongjmp(back, 1);
}

static void fault(const char *name, volatile char *p, int write)
{
    if (!sigsetjmp(back, 1)) {
        if (write)
            *p = 1;
        else
            (void)*p;
        printf("%s: nothing happened\n", name);
    } else {
        printf("%s: signal %d code %d address %s\n", name, got.si_signo, got.si_code,
               got.si_addr == p ? "right" : "WRONG");
    }
}

static void test_faults(void)
{
    set(SIGSEGV, on_fault, 0);
    set(SIGBUS, on_fault, 0);
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(p + 4096, 4096);
    fault("unmapped read", p + 4096 + 123, 0);
    fault("unmapped write", p + 4096 + 5, 1);
    mprotect(p, 4096, PROT_READ);
    fault("read-only", p + 7, 1);
    mprotect(p, 4096, PROT_NONE);
    fault("no access", p + 8, 0);
    fault("null", (char *)8, 0);
    int fd = memfd_create("short", 0);
    ftruncate(fd, 100);
    char *q = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    fault("behind the file's end", q + 4096, 0);
    if (!sigsetjmp(back, 1)) {
        mprotect(p, 4096, PROT_READ | PROT_WRITE);
        ((void (*)(void))p)();
    } else {
        printf("no exec: signal %d code %d address %s\n", got.si_signo, got.si_code,
               got.si_addr == p ? "right" : "WRONG");
    }
    set(SIGILL, on_fault, 0);
    if (!sigsetjmp(back, 1))
        __asm__ volatile(UNDEFINED);
    else
        printf("undefined: signal %d code %d\n", got.si_signo, got.si_code);
    set(SIGTRAP, on_fault, 0);
    if (!sigsetjmp(back, 1))
        __asm__ volatile(BREAKPOINT);
    else
        printf("breakpoint: signal %d code %d\n", got.si_signo, got.si_code);
}

/* Put values into registers, read from address 16, which is skipped, and look at the registers. */
#if defined(__aarch64__)
#define CONTEXT_SCRATCH(uc) ((uc)->uc_mcontext.regs[9])
#define FAULT_BETWEEN(kept, changed, d, e)                                                         \
    __asm__ volatile("mov x8, %0\n mov x9, %1\n fmov d8, %d3\n mov x10, #16\n ldr x11, [x10]\n"     \
                     "mov %0, x8\n mov %1, x9\n fmov %d2, d8\n"                                    \
                     : "+r"(kept), "+r"(changed), "=w"(e)                                          \
                     : "w"(d)                                                                      \
                     : "x8", "x9", "x10", "x11", "v8")
#elif defined(__riscv)
#define CONTEXT_SCRATCH(uc) ((uc)->uc_mcontext.__gregs[REG_S0 + 20]) /* t3 */
#define FAULT_BETWEEN(kept, changed, d, e)                                                         \
    __asm__ volatile(".option push\n .option norvc\n mv t4, %0\n mv t3, %1\n fmv.d ft8, %3\n"     \
                     "li t5, 16\n ld t6, 0(t5)\n mv %0, t4\n mv %1, t3\n fmv.d %2, ft8\n"          \
                     ".option pop"                                                                 \
                     : "+r"(kept), "+r"(changed), "=f"(e)                                          \
                     : "f"(d)                                                                      \
                     : "t3", "t4", "t5", "t6", "ft8")
#endif

static void skip(int sig, siginfo_t *info, void *ctx)
{
    ucontext_t *uc = ctx;
    CONTEXT_PC(uc) += 4;
    CONTEXT_SCRATCH(uc) = 0x1234;
}

static void test_context(void)
{
    set(SIGSEGV, skip, 0);
    long kept = 7, changed = 5;
    double d = 1.5, e;
    FAULT_BETWEEN(kept, changed, d, e);
    printf("registers: kept %ld, changed %lx, floating point %s\n", kept, changed, e == d ? "kept" : "lost");
}

static void on_stack(int sig, siginfo_t *info, void *uc)
{
    char here;
    handler_sp = &here;
    stack_t ss;
    sigaltstack(NULL, &ss);
    printf("in handler: onstack %d\n", (ss.ss_flags & SS_ONSTACK) != 0);
    result("change while on it", sigaltstack(&ss, NULL));
}

static void test_altstack(void)
{
    static char area[65536];
    stack_t ss = {.ss_sp = area, .ss_size = sizeof(area)}, old;
    result("too small", sigaltstack(&(stack_t){.ss_sp = area, .ss_size = 1000}, NULL));
    result("sigaltstack", sigaltstack(&ss, &old));
    say("was off", old.ss_flags == SS_DISABLE);
    set(SIGUSR1, on_stack, SA_ONSTACK);
    raise(SIGUSR1);
    say("ran there", (char *)handler_sp > area && (char *)handler_sp < area + sizeof(area));
    sigaltstack(NULL, &ss);
    say("still set", ss.ss_sp == area && ss.ss_size == sizeof(area) && ss.ss_flags == 0);
    ss.ss_flags = SS_DISABLE;
    sigaltstack(&ss, NULL);
}

static int recurse(int n)
{
    volatile char pad[1000];
    pad[0] = (char)n;
    return recurse(n + 1) + pad[0];
}

/* The stack is used up: the handler has another. */
static void test_overflow(void)
{
    static char area[65536];
    stack_t ss = {.ss_sp = area, .ss_size = sizeof(area)};
    sigaltstack(&ss, NULL);
    set(SIGSEGV, on_fault, SA_ONSTACK);
    if (!sigsetjmp(back, 1))
        recurse(0);
    else
        printf("overflow: signal %d\n", got.si_signo);
    ss.ss_flags = SS_DISABLE;
    sigaltstack(&ss, NULL);
}

/* Where a signal came from, by its code and what goes with it. */
static void test_origins(void)
{
    set(SIGUSR1, note, 0);
    set(SIGCHLD, note, 0);
    raise(SIGUSR1);
    say("raise", got.si_code == SI_TKILL && got.si_pid == getpid());
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_ptr = (void *)0x123456789abcdef0});
    say("sigqueue", got.si_code == SI_QUEUE && got.si_pid == getpid() && got.si_uid == getuid() &&
                        got.si_value.sival_ptr == (void *)0x123456789abcdef0);
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1,
                          .sigev_value.sival_ptr = &ev};
    struct itimerspec once = {{0}, {0, 1000000}};
    timer_t t;
    count = 0;
    timer_create(CLOCK_MONOTONIC, &ev, &t);
    timer_settime(t, 0, &once, NULL);
    while (!count)
        msleep(1);
    say("timer", got.si_code == SI_TIMER && got.si_value.sival_ptr == &ev && got.si_overrun == 0);
    timer_delete(t);
    for (int i = 0; i < 2; i++) {
        count = 0;
        pid_t pid = fork();
        if (!pid && i)
            raise(SIGKILL);
        if (!pid)
            _exit(42);
        while (!count)
            msleep(1);
        printf("child: code %d status %d pid %s\n", got.si_code, got.si_status,
               got.si_pid == pid ? "right" : "WRONG");
        waitpid(pid, NULL, 0);
    }
    pid_t parent = getpid(), pid;
    signal(SIGCHLD, SIG_DFL);
    count = 0;
    if (!(pid = fork())) {
        kill(parent, SIGUSR1);
        _exit(0);
    }
    while (!count)
        msleep(1);
    say("from another process", got.si_code == SI_USER && got.si_pid == pid);
    waitpid(pid, NULL, 0);
    int p[2];
    pipe(p);
    close(p[0]);
    set(SIGPIPE, note, 0);
    result("write to a broken pipe", write(p[1], "x", 1));
    say("SIGPIPE", got.si_signo == SIGPIPE && got.si_code == SI_USER);
}

static void test_suspend(void)
{
    sigset_t block, none;
    sigemptyset(&block);
    sigemptyset(&none);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, NULL);
    count = 0;
    set(SIGUSR1, note, 0);
    raise(SIGUSR1);
    printf("blocked: %d\n", (int)count);
    result("sigsuspend", sigsuspend(&none));
    printf("then: %d\n", (int)count);
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    say("mask is back", sigismember(&now, SIGUSR1));
    raise(SIGUSR1);
    struct timespec ts = {1, 0};
    result("ppoll", syscall(SYS_ppoll, NULL, 0, &ts, &none, 8));
    printf("then: %d\n", (int)count);
    result("nothing left", ppoll(NULL, 0, &(struct timespec){0, 1000000}, &none));
    sigprocmask(SIG_UNBLOCK, &block, NULL);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    test_queue();
    test_flags();
    test_faults();
    test_context();
    test_altstack();
    test_overflow();
    test_origins();
    test_suspend();
    signal(SIGSEGV, SIG_DFL);
    int status;
    for (int i = 0; i < 3; i++) {
        static const int sigs[] = {SIGTERM, SIGKILL, SIGUSR2};
        pid_t pid = fork();
        if (!pid) {
            signal(SIGUSR2, SIG_DFL);
            raise(sigs[i]);
            _exit(1);
        }
        waitpid(pid, &status, 0);
        printf("child %d: signaled %d by %d\n", i, WIFSIGNALED(status), WTERMSIG(status));
    }
    return 0;
}
