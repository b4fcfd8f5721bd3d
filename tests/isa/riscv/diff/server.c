/* Runs records: reads them from stdin, executes the instructions, writes them to stdout with the state that
 * came out. Built for RV64 or RV32, without a C library, and run under an emulator that serves as oracle.
 *
 * All is done in a signal handler: the undefined instruction behind the ones to test brings us there with the
 * whole state in the context, and going back sets the whole state of the next record. */
#include <stddef.h>

#include "place.h"

#if __riscv_xlen == 64
#define PLACE_CODE  PLACE_CODE64
#define PLACE_DATA  PLACE_DATA64
#define PLACE_STACK PLACE_STACK64
#else
#define PLACE_CODE  PLACE_CODE32
#define PLACE_DATA  PLACE_DATA32
#define PLACE_STACK PLACE_STACK32
#endif
#define PLACE_PC     (PLACE_CODE + RECORD_START)
#define PLACE_WINDOW (PLACE_DATA + RECORD_PAGE - RECORD_MEM)

/* Linux, arch/riscv/include/uapi/asm: signal frames as handlers see them, and calls by number. */
struct stack {
    void *sp;
    int flags;
    size_t size;
};

struct context {
    unsigned long flags;
    void *link;
    struct stack stack;
    uint8_t mask[128];
    unsigned long reg[32] __attribute__((aligned(16))); /* pc, x1 to x31 */
    uint64_t f[32] __attribute__((aligned(16)));
    uint32_t fcsr;
};

struct action {
    void (*handler)(int sig, void *info, struct context *c);
    unsigned long flags;
    uint8_t mask[8];
};

enum { CALL_READ = 63, CALL_WRITE = 64, CALL_EXIT = 93, CALL_ALTSTACK = 132, CALL_SIGACTION = 134, CALL_MMAP = 222 };
enum { READ = 1, WRITE = 2, EXEC = 4, PRIVATE = 2, FIXED = 0x10, ANONYMOUS = 0x20 };
enum { SIGINFO = 4, ONSTACK = 0x08000000 };

static struct record now;
static int started;

static long call(long n, long a, long b, long c, long d, long e, long f)
{
    register long a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c, a3 __asm__("a3") = d;
    register long a4 __asm__("a4") = e, a5 __asm__("a5") = f, a7 __asm__("a7") = n;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7) : "memory");
    return a0;
}

static void leave(int status)
{
    call(CALL_EXIT, status, 0, 0, 0, 0, 0);
}

static void copy(void *to, const void *from, size_t n)
{
    volatile uint8_t *t = to;
    const uint8_t *f = from;
    while (n--)
        *t++ = *f++;
}

static void store_result(const struct context *c, int sig)
{
    for (unsigned i = 0; i < 31; i++)
        now.reg[R_X1 + i].d[0] = c->reg[1 + i];
    for (unsigned i = 0; i < 32; i++)
        now.reg[R_F0 + i].d[0] = c->f[i];
    now.reg[R_FCSR].d[0] = c->fcsr;
    now.pc = c->reg[0];
    copy(now.mem, (void *)PLACE_WINDOW, sizeof now.mem);
    now.signal = now.pc - PLACE_PC < now.bytes ? (uint32_t)sig : 0;
    const char *at = (const char *)&now;
    for (size_t left = sizeof now; left;) {
        long n = call(CALL_WRITE, 1, (long)at, (long)left, 0, 0, 0);
        if (n <= 0)
            leave(1);
        at += n;
        left -= (size_t)n;
    }
}

static void load_next(struct context *c)
{
    static const uint8_t zero[RECORD_CODE + 4];
    for (size_t got = 0; got < sizeof now;) {
        long n = call(CALL_READ, 0, (long)((char *)&now + got), (long)(sizeof now - got), 0, 0, 0);
        if (n <= 0)
            leave(got || n < 0);
        got += (size_t)n;
    }
    copy((void *)PLACE_PC, zero, sizeof zero);
    copy((void *)PLACE_PC, now.code, now.bytes);
    copy((void *)PLACE_WINDOW, now.mem, sizeof now.mem);
    __asm__ volatile("fence.i" ::: "memory");
    for (unsigned i = 0; i < 31; i++)
        c->reg[1 + i] = (unsigned long)now.reg[R_X1 + i].d[0];
    for (unsigned i = 0; i < 32; i++)
        c->f[i] = now.reg[R_F0 + i].d[0];
    c->fcsr = (uint32_t)now.reg[R_FCSR].d[0];
    c->reg[0] = PLACE_PC;
}

static void handler(int sig, void *info, struct context *c)
{
    (void)info;
    if (started)
        store_result(c, sig);
    started = 1;
    load_next(c);
}

/* Nothing here relies on gp or on a stack that tests could take away. */
void _start(void)
{
    static const int signals[] = {4, 5, 7, 8, 11}; /* ILL, TRAP, BUS, FPE, SEGV */
    const struct stack alternative = {(void *)PLACE_STACK, 0, RECORD_STACK};
    const struct action action = {handler, SIGINFO | ONSTACK, {0}};
    const long flags = PRIVATE | ANONYMOUS | FIXED;
    call(CALL_MMAP, (long)PLACE_CODE, RECORD_PAGE, READ | WRITE | EXEC, flags, -1, 0);
    call(CALL_MMAP, (long)PLACE_DATA, RECORD_PAGE, READ | WRITE, flags, -1, 0);
    call(CALL_MMAP, (long)PLACE_STACK, RECORD_STACK, READ | WRITE, flags, -1, 0);
    call(CALL_ALTSTACK, (long)&alternative, 0, 0, 0, 0, 0);
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        call(CALL_SIGACTION, signals[i], (long)&action, 0, 8, 0, 0);
    __asm__ volatile(".half 0");
    leave(1);
}
