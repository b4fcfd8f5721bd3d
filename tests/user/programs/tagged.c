/* Pointers whose top byte the processor ignores, in every kind of access, once and in loops.
 * guest: aarch64
 * link: static */
#include "prog.h"

#include <stdatomic.h>

#define TAG(p, t) ((void *)((uintptr_t)(p) | (uintptr_t)(t) << 56))

struct node {
    struct node *next; /* tagged */
    long value;
};

static long walk(struct node *n)
{
    long sum = 0;
    for (; n; n = n->next)
        sum += n->value;
    return sum;
}

static void lists(void)
{
    struct node nodes[100];
    for (int i = 0; i < 100; i++)
        nodes[i] = (struct node){i < 99 ? TAG(&nodes[i + 1], i + 1) : NULL, i};
    for (int i = 0; i < 200; i++) {
        if (walk(TAG(nodes, 0xff)) != 4950 || walk(nodes) != 4950)
            say("list", 0);
    }
    say("list", 1);
}

static void widths(void)
{
    unsigned char bytes[64] = {0};
    for (unsigned tag = 1; tag < 256; tag += 51) {
        unsigned char *p = TAG(bytes, tag);
        *(volatile unsigned char *)p = 1;
        *(volatile unsigned short *)(p + 2) = 2;
        *(volatile unsigned *)(p + 4) = 3;
        *(volatile unsigned long *)(p + 8) = 4;
        *(volatile double *)(p + 16) = 5;
        unsigned long a, b;
        asm volatile("stp %1, %2, [%0, #24]" : : "r"(p), "r"(6l), "r"(7l) : "memory");
        asm volatile("ldp %0, %1, [%2, #24]" : "=r"(a), "=r"(b) : "r"(p) : "memory");
        if (bytes[0] != 1 || bytes[2] != 2 || bytes[4] != 3 || bytes[8] != 4 || *(double *)(bytes + 16) != 5 ||
            a != 6 || b != 7 || bytes[32] != 7)
            say("widths", 0);
    }
    say("widths", 1);
}

/* The tag stays in the register that is written back. */
static void write_back(void)
{
    long data[4] = {1, 2, 3, 4}, v;
    long *p = TAG(data, 0x5a);
    asm volatile("ldr %0, [%1], #8" : "=r"(v), "+r"(p));
    say("post-index", v == 1 && p == TAG(&data[1], 0x5a));
    asm volatile("ldr %0, [%1, #16]!" : "=r"(v), "+r"(p));
    say("pre-index", v == 4 && p == TAG(&data[3], 0x5a));
}

static void vectors(void)
{
    unsigned char from[32], to[32] = {0};
    for (int i = 0; i < 32; i++)
        from[i] = (unsigned char)i;
    asm volatile("ld1 {v0.16b, v1.16b}, [%0]\n\tst1 {v0.16b, v1.16b}, [%1]"
                 : : "r"(TAG(from, 0x11)), "r"(TAG(to, 0xee)) : "v0", "v1", "memory");
    say("vectors", !memcmp(from, to, 32));
}

static void atomics(void)
{
    _Atomic long x = 0;
    long pair[2] __attribute__((aligned(16))) = {0};
    for (int i = 0; i < 1000; i++)
        atomic_fetch_add((_Atomic long *)TAG(&x, i & 255), 1);
    long v, fail;
    do
        asm volatile("ldaxr %0, [%2]\n\tadd %0, %0, #1\n\tstlxr %w1, %0, [%2]"
                     : "=&r"(v), "=&r"(fail) : "r"(TAG(&x, 7)) : "memory");
    while (fail);
    asm volatile(".arch_extension lse\n\tmov x0, #0\n\tmov x1, #0\n\tmov x2, #8\n\tmov x3, #9\n\t"
                 "casp x0, x1, x2, x3, [%0]" : : "r"(TAG(pair, 3)) : "x0", "x1", "x2", "x3", "memory");
    say("atomics", x == 1001 && pair[0] == 8 && pair[1] == 9);
}

/* Two tags for one place: a store through one is seen through the other. */
static void aliases(void)
{
    volatile long x = 0;
    volatile long *a = TAG(&x, 1), *b = TAG(&x, 2);
    long bad = 0;
    for (long i = 0; i < 1000; i++) {
        *a = i;
        bad += *b != i;
    }
    say("aliases", !bad);
}

static void *volatile fault_at;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    fault_at = info->si_addr;
    *(uint64_t *)((char *)context + 176 + 8 + 32 * 8) += 4; /* pc */
}

static void faults(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    char *p = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    asm volatile("ldrb w0, [%0]" : : "r"(TAG(p + 5, 0x77)) : "x0");
    say("address without its tag", fault_at == p + 5);
    /* where bit 55 is set it is no tag, also for an instruction that has met one */
    const uintptr_t bad[] = {(uintptr_t)p | 0x55ul << 56, -16ul, (uintptr_t)-1 << 40};
    for (int i = 0; i < 3; i++) {
        fault_at = NULL;
        asm volatile("ldrb w0, [%0]" : : "r"(bad[i]) : "x0");
        printf("fault %d: %s\n", i, fault_at == (i ? (void *)bad[i] : p) ? "right" : "WRONG");
    }
}

int main(void)
{
    widths();
    lists();
    write_back();
    vectors();
    atomics();
    aliases();
    faults();
    return 0;
}
