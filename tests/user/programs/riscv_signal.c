/* The signal frame of RISC-V: what a handler finds there, what it may change, and what is refused on the way back.
 * guest: riscv64
 * link: static
 * peer: it takes damaged frames */
#include "prog.h"

#include <setjmp.h>
#include <sys/auxv.h>
#include <ucontext.h>

enum { T3 = 28 };

static volatile uint64_t seen_f, seen_x, seen_sp, seen_link;
static volatile uint32_t seen_fcsr;
static volatile int in_place;

/* The frame: siginfo of 128 bytes at the handler's stack pointer, behind it the ucontext. */
static void look(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    seen_f = uc->uc_mcontext.__fpregs.__d.__f[28];
    seen_fcsr = uc->uc_mcontext.__fpregs.__d.__fcsr;
    seen_x = uc->uc_mcontext.__gregs[T3];
    seen_sp = uc->uc_mcontext.__gregs[REG_SP];
    seen_link = (uint64_t)__builtin_return_address(0);
    in_place = (char *)context - (char *)info == 128 && ((uintptr_t)info & 15) == 0 &&
               (char *)&uc->uc_mcontext - (char *)uc == 176 && (uintptr_t)info < seen_sp;
    uc->uc_mcontext.__fpregs.__d.__f[28] = 0x4321;
    uc->uc_mcontext.__fpregs.__d.__fcsr = 0x41;
    uc->uc_mcontext.__gregs[T3] = 0x8765;
    __asm__ volatile("fmv.d.x ft8, zero\n csrw fcsr, zero\n li t3, 0" ::: "ft8", "t3"); /* not kept */
}

static void around(void)
{
    uint64_t f, x, fcsr, sp;
    long pid = getpid();
    __asm__ volatile("mv a0, %4\n li a1, 10\n li a7, 129\n li t0, 0x1234\n fmv.d.x ft8, t0\n li t3, 0x5678\n"
                     "li t0, 0x24\n csrw fcsr, t0\n mv %3, sp\n ecall\n fmv.x.d %0, ft8\n mv %1, t3\n csrr %2, fcsr\n csrw fcsr, zero"
                     : "=&r"(f), "=&r"(x), "=&r"(fcsr), "=&r"(sp)
                     : "r"(pid)
                     : "a0", "a1", "a7", "t0", "t3", "ft8", "memory");
    say("a handler finds registers", seen_f == 0x1234 && seen_x == 0x5678 && seen_fcsr == 0x24 && seen_sp == sp);
    say("where the kernel puts them", in_place);
    say("what it changes is there behind it", f == 0x4321 && x == 0x8765 && fcsr == 0x41);
    say("it returns to the vDSO", seen_link - getauxval(AT_SYSINFO_EHDR) < 4096);
}

static sigjmp_buf back;

static void damage(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    uc->uc_mcontext.__fpregs.__q.__glibc_reserved[sig == SIGUSR1 ? 0 : 2] = 1;
}

static void refused(int sig, siginfo_t *info, void *context)
{
    siglongjmp(back, info->si_code == SI_KERNEL ? 1 : 2);
}

/* Words that are reserved for state to come must be zero. */
static void damaged(int sig)
{
    struct sigaction bad = {.sa_sigaction = damage, .sa_flags = SA_SIGINFO}, on = {.sa_sigaction = refused, .sa_flags = SA_SIGINFO};
    sigaction(sig, &bad, NULL);
    sigaction(SIGSEGV, &on, NULL);
    int r = sigsetjmp(back, 1);
    if (!r)
        raise(sig);
    printf("damaged frame: %s\n", r == 1 ? "refused" : r ? "another fault" : "taken");
}

int main(void)
{
    struct sigaction sa = {.sa_sigaction = look, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &sa, NULL);
    around();
    damaged(SIGUSR1);
    damaged(SIGUSR2);
    return 0;
}
