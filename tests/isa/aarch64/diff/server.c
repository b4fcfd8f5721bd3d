/* Runs records: reads them from stdin, executes the instructions, writes them to stdout with the
 * state that came out. Built statically for AArch64 and run under an emulator that serves as
 * oracle.
 *
 * All is done in a signal handler: the undefined instruction behind the ones to test brings us
 * there with the whole state in the context, and going back sets the whole state of the next
 * record. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ucontext.h>
#include <unistd.h>

#include "record.h"

static struct record now;
static int started;
static uint64_t own_tpidr;

static uint64_t swap_tpidr(uint64_t value)
{
    uint64_t old;
    __asm__ volatile("mrs %0, tpidr_el0\n\tmsr tpidr_el0, %1" : "=&r"(old) : "r"(value));
    return old;
}

static struct fpsimd_context *fpsimd(ucontext_t *u)
{
    struct _aarch64_ctx *c = (struct _aarch64_ctx *)(void *)u->uc_mcontext.__reserved;
    while (c->magic != FPSIMD_MAGIC)
        c = (struct _aarch64_ctx *)(void *)((char *)c + c->size);
    return (struct fpsimd_context *)c;
}

static void store_result(ucontext_t *u, int sig, uint64_t tpidr)
{
    struct fpsimd_context *fp = fpsimd(u);
    memcpy(now.x, u->uc_mcontext.regs, sizeof now.x);
    memcpy(now.v, fp->vregs, sizeof now.v);
    memcpy(now.mem, (void *)RECORD_WINDOW, sizeof now.mem);
    now.sp = u->uc_mcontext.sp;
    now.pc = u->uc_mcontext.pc;
    now.nzcv = u->uc_mcontext.pstate & 0xf0000000;
    now.fpcr = fp->fpcr;
    now.fpsr = fp->fpsr;
    now.tpidr = tpidr;
    now.signal = now.pc >= RECORD_PC && now.pc < RECORD_PC + 4 * now.count ? (uint32_t)sig : 0;
    if (write(1, &now, sizeof now) != sizeof now)
        _exit(1);
}

static uint64_t load_next(ucontext_t *u)
{
    struct fpsimd_context *fp = fpsimd(u);
    uint32_t *code = (uint32_t *)RECORD_PC;
    for (size_t got = 0; got < sizeof now;) {
        ssize_t n = read(0, (char *)&now + got, sizeof now - got);
        if (n <= 0)
            _exit(got || n < 0);
        got += (size_t)n;
    }
    for (unsigned i = 0; i < RECORD_INSNS; i++)
        code[i] = i < now.count ? now.insn[i] : 0;
    __builtin___clear_cache((char *)code, (char *)(code + RECORD_INSNS));
    memcpy(u->uc_mcontext.regs, now.x, sizeof now.x);
    memcpy(fp->vregs, now.v, sizeof now.v);
    memcpy((void *)RECORD_WINDOW, now.mem, sizeof now.mem);
    u->uc_mcontext.sp = now.sp;
    u->uc_mcontext.pc = RECORD_PC;
    u->uc_mcontext.pstate = now.nzcv;
    fp->fpcr = now.fpcr;
    fp->fpsr = now.fpsr;
    return now.tpidr;
}

static void handler(int sig, siginfo_t *info, void *context)
{
    uint64_t tpidr = swap_tpidr(own_tpidr);
    if (started)
        store_result(context, sig, tpidr);
    started = 1;
    swap_tpidr(load_next(context));
}

int main(void)
{
    static char stack[1 << 16] __attribute__((aligned(16)));
    const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    static const int signals[] = {SIGILL, SIGSEGV, SIGBUS, SIGTRAP, SIGFPE};
    if (mmap((void *)RECORD_CODE, RECORD_PAGE, prot | PROT_EXEC, flags, -1, 0) == MAP_FAILED ||
        mmap((void *)RECORD_DATA, RECORD_PAGE, prot, flags, -1, 0) == MAP_FAILED)
        return 1;
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
    own_tpidr = swap_tpidr(0);
    swap_tpidr(own_tpidr);
    raise(SIGILL);
    return 1;
}
