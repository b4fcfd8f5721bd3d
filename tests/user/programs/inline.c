/* Small functions, as hot code has them in the place of their calls: results, faults inside that show where they
 * are, and code that changes.
 * link: static
 * flags: -O2 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guest.h"

#if defined(__aarch64__)
#define LOAD  "ldr %0, %1"
#define STORE "str %1, %0"
#elif defined(__riscv)
#define LOAD  "ld %0, %1"
#define STORE "sd %1, %0"
#endif

#define TURNS 20000

__attribute__((noinline, noclone)) long load(const long *p)
{
    long v;
    __asm__ volatile(LOAD : "=r"(v) : "m"(*p));
    return v;
}

__attribute__((noinline, noclone)) void store(long *p, long v)
{
    __asm__ volatile(STORE : "=m"(*p) : "r"(v));
}

__attribute__((noinline, noclone)) unsigned mix(unsigned a, unsigned b)
{
    __asm__ volatile("");
    return (a ^ b) * 2654435761u + (a >> 3);
}

static sigjmp_buf out;
static volatile uintptr_t fault_pc, fault_link;

static void handler(int sig, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;
    fault_pc = CONTEXT_PC(uc);
    fault_link = CONTEXT_LINK(uc);
    siglongjmp(out, 1);
}

static unsigned loop(const long *p, long *q, long n)
{
    unsigned x = 1;
    for (long i = 0; i < n; i++) {
        store(q, load(p) + i);
        x = mix(x, (unsigned)*q);
    }
    return x;
}

static void faults(void)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    long a = 5, b;
    sigaction(SIGSEGV, &sa, NULL);
    if (!sigsetjmp(out, 1))
        loop((const long *)16, &b, 1);
    uintptr_t in_load = fault_pc - (uintptr_t)load, behind = fault_link - (uintptr_t)loop;
    printf("load fails at its start: %s, called from the loop: %s\n", in_load < 16 ? "yes" : "no",
           behind < 256 ? "yes" : "no");
    if (!sigsetjmp(out, 1))
        loop(&a, (long *)16, 1);
    printf("store fails at its start: %s\n", fault_pc - (uintptr_t)store < 16 ? "yes" : "no");
}

typedef int function(void);

static void write_code(uint32_t *at, int result)
{
    return_number(at, (unsigned)result);
    __builtin___clear_cache((char *)at, (char *)(at + 2));
}

/* The sum of 1600 calls of the function 4096 bytes further on. */
static const uint32_t caller[] = {
#if defined(__aarch64__)
    0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
    0xa90153f3, /* stp x19, x20, [sp, #16] */
    0x5280c813, /* mov w19, #1600 */
    0x52800014, /* mov w20, #0 */
    0x940003fc, /* bl code + 4096 */
    0x0b000294, /* add w20, w20, w0 */
    0x71000673, /* subs w19, w19, #1 */
    0x54ffffa1, /* b.ne -12 */
    0x2a1403e0, /* mov w0, w20 */
    0xa94153f3, /* ldp x19, x20, [sp, #16] */
    0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
    0xd65f03c0, /* ret */
#elif defined(__riscv)
    0xfe010113, /* addi sp, sp, -32 */
    0x00113c23, /* sd ra, 24(sp) */
    0x00813823, /* sd s0, 16(sp) */
    0x00913423, /* sd s1, 8(sp) */
    0x64000413, /* li s0, 1600 */
    0x00000493, /* li s1, 0 */
    0x7e9000ef, /* jal code + 4096 */
    0x00a484bb, /* addw s1, s1, a0 */
    0xfff4041b, /* addiw s0, s0, -1 */
    0xfe041ae3, /* bnez s0, -12 */
    0x00048513, /* mv a0, s1 */
    0x00813483, /* ld s1, 8(sp) */
    0x01013403, /* ld s0, 16(sp) */
    0x01813083, /* ld ra, 24(sp) */
    0x02010113, /* addi sp, sp, 32 */
    0x00008067, /* ret */
#endif
};

/* A function that is written anew is called from a loop that is written once. */
static void changes(void)
{
    uint32_t *code = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, caller, sizeof(caller));
    __builtin___clear_cache((char *)code, (char *)code + sizeof(caller));
    for (int i = 1; i <= 5; i++) {
        write_code(code + 1024, i);
        int sum = 0;
        for (int k = 0; k < 5; k++)
            sum += ((function *)(uintptr_t)code)();
        printf("%d ", sum);
    }
    printf("\n");
}

/* Called by pointer, one of several from the same place; the third one is rare. */
typedef unsigned step(unsigned x, const unsigned *p);

__attribute__((noinline, noclone)) static unsigned add(unsigned x, const unsigned *p) { return x * 3 + *p; }
__attribute__((noinline, noclone)) static unsigned flip(unsigned x, const unsigned *p) { return (x ^ *p) * 5; }
__attribute__((noinline, noclone)) static unsigned turn(unsigned x, const unsigned *p) { return (x << 7 | x >> 25) + *p; }

static step *const steps[] = {add, flip, turn};

__attribute__((noinline)) static unsigned by_pointer(unsigned x, unsigned n, unsigned kinds)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned k = (x >> 13) % 64;
        x = steps[k < kinds ? 2 : k & (kinds > 1)](x, &i);
    }
    return x;
}

__attribute__((noinline)) static unsigned by_name(unsigned x, unsigned n, unsigned kinds)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned k = (x >> 13) % 64;
        x = k < kinds ? turn(x, &i) : k & (kinds > 1) ? flip(x, &i) : add(x, &i);
    }
    return x;
}

static void pointers(unsigned n)
{
    static const unsigned kinds[] = {0, 2, 20};
    for (unsigned i = 0; i < 3; i++)
        printf("%s ", by_pointer(i, n, kinds[i]) == by_name(i, n, kinds[i]) ? "same" : "WRONG");
    printf("by pointer\n");
}

int main(void)
{
    long a = 7, b = 0;
    printf("%u\n", loop(&a, &b, TURNS));
    faults();
    printf("%u\n", loop(&a, &b, TURNS));
    faults();
    changes();
    pointers(1000);
    pointers(getenv("QUICK") ? 2000 : 1000000);
    return 0;
}
