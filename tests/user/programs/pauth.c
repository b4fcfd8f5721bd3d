/* Pointer authentication: what signs, authenticates and strips, branches and loads with it, what is no
 * address, who shares keys.
 * guest: aarch64
 * link: static dynamic
 * flags: -march=armv8.3-a -mbranch-protection=standard -pthread
 * peer: codes of three bits there, so that many more wrong ones are accepted */
#include "prog.h"

#include <pthread.h>
#include <setjmp.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

#define CODE (0x7full << 48)

#define SIGNER(key)                                                                                \
    static uint64_t pac##key(uint64_t x, uint64_t m)                                               \
    {                                                                                              \
        __asm__("pac" #key " %0, %1" : "+r"(x) : "r"(m));                                          \
        return x;                                                                                  \
    }                                                                                              \
    static uint64_t aut##key(uint64_t x, uint64_t m)                                               \
    {                                                                                              \
        __asm__("aut" #key " %0, %1" : "+r"(x) : "r"(m));                                          \
        return x;                                                                                  \
    }

SIGNER(ia)
SIGNER(ib)
SIGNER(da)
SIGNER(db)

typedef uint64_t code_fn(uint64_t, uint64_t);
static const struct {
    const char *name;
    code_fn *sign, *check;
    uint64_t error;
} keys[] = {
    {"ia", pacia, autia, 1ull << 53}, {"ib", pacib, autib, 1ull << 54},
    {"da", pacda, autda, 1ull << 53}, {"db", pacdb, autdb, 1ull << 54},
};

static int variable;

static uint64_t address(void)
{
    return (uint64_t)(uintptr_t)&variable;
}

static void each_key(unsigned k)
{
    const uint64_t x = address();
    unsigned round_trips = 0, in_place = 0, refused = 0, errors = 0, others = 0;
    for (uint64_t m = 0; m < 1000; m++) {
        uint64_t s = keys[k].sign(x + m, m), bad = keys[k].check(s, m + 1);
        round_trips += keys[k].check(s, m) == x + m;
        in_place += !((s ^ (x + m)) & ~CODE);
        refused += bad != x + m;
        errors += bad != x + m && bad == ((x + m) | keys[k].error);
        others += keys[(k + 1) % 4].sign(x + m, m) != s;
    }
    printf("%s: %u round trips, %u in place\n", keys[k].name, round_trips, in_place);
    say("wrong modifiers are refused", refused > 950 && errors == refused);
    say("keys differ", others > 950);
    uint64_t odd = keys[k].sign(x | 1ull << 50, 0);
    say("what is no address is refused", keys[k].check(odd, 0) != x);
    uint64_t tagged = keys[k].sign(x | 0xabull << 56, 5);
    say("a tag stays", keys[k].check(tagged, 5) == (x | 0xabull << 56));
}

static void strips(void)
{
    uint64_t x = address(), s = pacia(x, 3), upper = x | 0xffull << 48 | 1ull << 55;
    __asm__("xpaci %0" : "+r"(s));
    say("xpaci", s == x);
    s = pacda(upper, 3);
    __asm__("xpacd %0" : "+r"(s));
    say("xpacd of the upper half", s == upper);
    register uint64_t link __asm__("x30") = pacib(x, 9);
    __asm__("xpaclri" : "+r"(link));
    say("xpaclri", link == x);
    uint64_t generic;
    __asm__("pacga %0, %1, %2" : "=r"(generic) : "r"(x), "r"(1ull));
    say("pacga", generic && !(uint32_t)generic);
}

static int three(void)
{
    return 3;
}

static uint64_t plus(uint64_t x, uint64_t y)
{
    return x + y;
}

static uint64_t call(uint64_t fn, uint64_t modifier, uint64_t a, uint64_t b)
{
    register uint64_t x0 __asm__("x0") = a, x1 __asm__("x1") = b;
    __asm__ volatile("blraa %2, %3"
                     : "+r"(x0), "+r"(x1)
                     : "r"(fn), "r"(modifier)
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
                       "x15", "x16", "x17", "x30", "cc", "memory");
    return x0;
}

__attribute__((noinline)) static uint64_t sum(uint64_t n)
{
    return n ? plus(n, sum(n - 1)) + (uint64_t)(three() - 3) : 0;
}

static void loads(void)
{
    static const uint64_t data[4] = {10, 11, 12, 13};
    uint64_t p = pacda((uint64_t)(uintptr_t)data, 0), v, w;
    __asm__("ldraa %0, [%2, #8]\n\tldraa %1, [%2, #16]!" : "=&r"(v), "=&r"(w), "+r"(p));
    printf("ldraa %u %u\n", (unsigned)v, (unsigned)w);
    say("write-back is the plain address", p == (uint64_t)(uintptr_t)(data + 2));
}

static sigjmp_buf back;

static void on_fault(int sig)
{
    siglongjmp(back, sig);
}

static void faults(void)
{
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    uint64_t s = 0, x = address();
    do
        s = autda(pacda(x, 1), 2 + s);
    while (s == x);
    if (!sigsetjmp(back, 1))
        printf("%d\n", *(volatile int *)(uintptr_t)s);
    else
        printf("a refused address faults\n");
    s = pacia((uint64_t)(uintptr_t)three, 1);
    if (!sigsetjmp(back, 1))
        printf("%d\n", (int)call(s ^ 1ull << 49, 1, 0, 0));
    else
        printf("a refused branch faults\n");
}

static void *in_thread(void *arg)
{
    *(uint64_t *)arg = pacib(address(), 77);
    return NULL;
}

static void sharing(void)
{
    uint64_t mine = pacib(address(), 77), other = 0;
    pthread_t t;
    pthread_create(&t, NULL, in_thread, &other);
    pthread_join(t, NULL);
    say("threads share keys", other == mine);
    if (!fork())
        _exit(pacib(address(), 77) == mine);
    int status;
    wait(&status);
    say("children share keys", WEXITSTATUS(status));
    if (!fork()) {
        unsigned same = 0;
        prctl(54 /* PR_PAC_RESET_KEYS */, 8, 0, 0, 0); /* not B for instructions: returns go on */
        for (uint64_t m = 0; m < 100; m++)
            same += autdb(pacdb(address(), m), m) == address();
        _exit((int)same);
    }
    wait(&status);
    printf("after a reset: %d\n", WEXITSTATUS(status));
    result("reset of what is no key", prctl(54, 64, 0, 0, 0));
}

int main(void)
{
    say("hwcap", (getauxval(AT_HWCAP) >> 30 & 3) == 3);
    for (unsigned k = 0; k < 4; k++)
        each_key(k);
    strips();
    printf("blraa %u\n", (unsigned)call(pacia((uint64_t)(uintptr_t)plus, 99), 99, 20, 22));
    printf("sum %u\n", (unsigned)sum(1000));
    loads();
    faults();
    sharing();
    return 0;
}
