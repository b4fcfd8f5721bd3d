/* Flags that a loop's comparison has left are what a handler finds when the next turn meets a fault, also behind
 * instructions that add to what was compared.
 * guest: aarch64
 * link: static */
#include "prog.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

#define PAGES 4

static sigjmp_buf back;
static uint64_t flags, at[8];
static char *area, *end; /* what follows `end` cannot be read or written */
static char text[4096];
static size_t used;

static void handler(int sig, siginfo_t *info, void *context)
{
    const mcontext_t *m = &((ucontext_t *)context)->uc_mcontext;
    flags = m->pstate >> 28;
    for (int i = 0; i < 8; i++)
        at[i] = m->regs[i];
    siglongjmp(back, 1);
}

/* Each loop has a body and a comparison; x0 to x3 are its registers, x4 to x7 are free. It ends by a fault. */
#define LOOP(name, body)                                                                               \
    static void name(uint64_t a, uint64_t b, uint64_t c, uint64_t d)                                   \
    {                                                                                                  \
        register uint64_t x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,            \
                          x3 __asm__("x3") = d;                                                        \
        __asm__ volatile("cmp x0, x0\n1: " body "\n b.ne 1b\n"                                         \
                         : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)                                      \
                         :                                                                             \
                         : "x4", "x5", "x6", "x7", "v0", "v1", "cc", "memory");                        \
    }

LOOP(post_index, "ldr x4, [x0], #8\n ldr x5, [x1], #8\n cmp x0, x2")
LOOP(vectors, "ldr q0, [x0], #16\n add v0.4s, v0.4s, v0.4s\n ldr q1, [x1], #16\n cmp x2, x0")
LOOP(pairs, "ldp x4, x5, [x0], #16\n stp x4, x5, [x1], #16\n cmp x0, x2")
LOOP(pre_index, "ldr x4, [x0, #8]!\n ldr x5, [x1, #8]!\n cmp w0, w2")
LOOP(two_steps, "add x0, x0, #3\n sub x3, x3, #5\n ldr x5, [x1], #8\n add x0, x0, #1\n ldrb w6, [x1]\n cmp x0, x3")
LOOP(countdown, "ldr x4, [x1], #8\n sub x3, x3, #1\n ldrb w5, [x1]\n subs x0, x0, #1")
LOOP(index_of, "ldr x4, [x1, x0]\n add x0, x0, #8\n ldr x5, [x1, x0]\n cmp x0, x2")
LOOP(not_a_step, "ldr x4, [x1], #8\n lsl x0, x0, #1\n add x0, x0, #1\n ldr x5, [x1]\n cmp x0, x2")
LOOP(added, "ldr x4, [x1], #8\n add x0, x0, #16\n ldrb w5, [x1]\n adds x6, x0, x3")
LOOP(unaligned, "add x0, x0, #8\n lsr x5, x0, #9\n add x6, x1, x5\n ldxr x4, [x6]\n cmp x0, x2")
LOOP(across, "ldr x4, [x1], #8\n add x0, x0, #16\n cbz x2, 1b\n ldrb w5, [x1]\n cmp x0, x3")

static void show(const char *name, void (*loop)(uint64_t, uint64_t, uint64_t, uint64_t), uint64_t a, uint64_t b,
                 uint64_t c, uint64_t d)
{
    if (!sigsetjmp(back, 1))
        loop(a, b, c, d);
    used += (size_t)sprintf(text + used, "%s: flags %x", name, (unsigned)flags);
    for (int i = 0; i < 4; i++) {
        bool inside = at[i] - (uint64_t)area <= (uint64_t)PAGES * 4096;
        used += (size_t)sprintf(text + used, inside ? " end-%ld" : " %ld", (long)(inside ? (uint64_t)end - at[i] : at[i]));
    }
    used += (size_t)sprintf(text + used, "\n");
}

static void all(void)
{
    uint64_t a = (uint64_t)area, e = (uint64_t)end;
    show("post_index", post_index, a, e - 800, e, 0);
    show("post_index", post_index, e - 800, a, e - 801, 0);
    show("vectors", vectors, a, e - 1600, e, 0);
    show("vectors", vectors, a, e - 1600, a + 8, 0);
    show("pairs", pairs, a, e - 1600, e, 0);
    /* what would be equal by now was not when it was compared */
    show("post_index", post_index, a, e - 800, a + 808, 0);
    show("vectors", vectors, a, e - 1600, a + 1616, 0);
    show("pairs", pairs, a, e - 1600, a + 1616, 0);
    show("pre_index", pre_index, a, e - 808, e, 0);
    show("two_steps", two_steps, 0, e - 800, 0, 900);
    show("two_steps", two_steps, 1000, e - 800, 0, 900);
    show("countdown", countdown, 1000, e - 800, 0, 0);
    show("countdown", countdown, -5ul, e - 800, 0, 0);
    show("index_of", index_of, 0, e - 800, 4000, 0);
    show("not_a_step", not_a_step, 3, e - 80, 0, 0);
    show("added", added, -800ul, e - 800, 0, 784);
    show("unaligned", unaligned, 0, a, 512, 0);
    show("across", across, 0, e - 800, 1, 1600);
}

int main(void)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    area = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    end = area + (PAGES - 1) * 4096;
    mprotect(end, 4096, PROT_NONE);
    all();
    char *first = strdup(text);
    fputs(first, stdout);
    int other = 0;
    for (int turn = 0; turn < 200; turn++) {
        used = 0;
        all();
        other += !!strcmp(first, text);
    }
    printf("other than the first time: %d\n", other);
    return 0;
}
