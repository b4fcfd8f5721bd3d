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

#include "place.h"

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
    for (unsigned i = 0; i < 31; i++)
        now.reg[R_X0 + i].d[0] = u->uc_mcontext.regs[i];
    memcpy(now.reg[R_V0].d, fp->vregs, sizeof fp->vregs);
    memcpy(now.mem, (void *)PLACE_WINDOW, sizeof now.mem);
    now.reg[R_SP].d[0] = u->uc_mcontext.sp;
    now.pc = u->uc_mcontext.pc;
    now.reg[R_PSTATE].d[0] = u->uc_mcontext.pstate & 0xf0000000;
    now.reg[R_FPCR].d[0] = fp->fpcr;
    now.reg[R_FPSR].d[0] = fp->fpsr;
    now.reg[R_TPIDR].d[0] = tpidr;
    now.signal = now.pc >= PLACE_PC && now.pc < PLACE_PC + now.bytes ? (uint32_t)sig : 0;
    if (write(1, &now, sizeof now) != sizeof now)
        _exit(1);
}

static uint64_t load_next(ucontext_t *u)
{
    struct fpsimd_context *fp = fpsimd(u);
    char *code = (char *)PLACE_PC;
    for (size_t got = 0; got < sizeof now;) {
        ssize_t n = read(0, (char *)&now + got, sizeof now - got);
        if (n <= 0)
            _exit(got || n < 0);
        got += (size_t)n;
    }
    memset(code, 0, RECORD_CODE + 4);
    memcpy(code, now.code, now.bytes);
    __builtin___clear_cache(code, code + RECORD_CODE + 4);
    for (unsigned i = 0; i < 31; i++)
        u->uc_mcontext.regs[i] = now.reg[R_X0 + i].d[0];
    memcpy(fp->vregs, now.reg[R_V0].d, sizeof fp->vregs);
    memcpy((void *)PLACE_WINDOW, now.mem, sizeof now.mem);
    u->uc_mcontext.sp = now.reg[R_SP].d[0];
    u->uc_mcontext.pc = PLACE_PC;
    u->uc_mcontext.pstate = now.reg[R_PSTATE].d[0];
    fp->fpcr = (uint32_t)now.reg[R_FPCR].d[0];
    fp->fpsr = (uint32_t)now.reg[R_FPSR].d[0];
    return now.reg[R_TPIDR].d[0];
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
    const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    static const int signals[] = {SIGILL, SIGSEGV, SIGBUS, SIGTRAP, SIGFPE};
    if (mmap((void *)PLACE_CODE, RECORD_PAGE, prot | PROT_EXEC, flags, -1, 0) == MAP_FAILED ||
        mmap((void *)PLACE_DATA, RECORD_PAGE, prot, flags, -1, 0) == MAP_FAILED ||
        mmap((void *)PLACE_STACK, RECORD_STACK, prot, flags, -1, 0) == MAP_FAILED)
        return 1;
    sigaltstack(&(stack_t){.ss_sp = (void *)PLACE_STACK, .ss_size = RECORD_STACK}, NULL);
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
    own_tpidr = swap_tpidr(0);
    swap_tpidr(own_tpidr);
    raise(SIGILL);
    return 1;
}
