/* Atomic operations that several threads carry out on the same place: none is lost, in any size, by
 * exclusives and by the instructions of Armv8.1, also where they overlap.
 * link: static
 * flags: -pthread -march=armv8.1-a */
#include "prog.h"

#include <pthread.h>
#include <stdatomic.h>

#define THREADS 4
#define ROUNDS  10000

static int rounds = ROUNDS;
static _Alignas(64) union {
    uint8_t b[16];
    uint16_t h[8];
    uint32_t w[4];
    uint64_t d[2];
} at;
static _Atomic unsigned wrong, tokens;
static pthread_barrier_t barrier;

/* An addition of one; `r` is the kind of register, by which the assembler knows the size. */
#define LDADD(name, op, r)                                                                         \
    static void name(long me)                                                                      \
    {                                                                                              \
        __asm__ volatile("mov x9, #1\n " op " " r "9, " r "10, [%0]" ::"r"(&at)                    \
                         : "x9", "x10", "memory");                                                 \
    }
#define EXCLUSIVE(name, ld, st, reg)                                                               \
    static void name(long me)                                                                      \
    {                                                                                              \
        __asm__ volatile("1: " ld " " reg "9, [%0]\n add x9, x9, #1\n " st " w10, " reg "9, [%0]\n" \
                         "cbnz w10, 1b" ::"r"(&at)                                                 \
                         : "x9", "x10", "memory");                                                 \
    }
#define CAS(name, ld, op, reg)                                                                     \
    static void name(long me)                                                                      \
    {                                                                                              \
        __asm__ volatile("1: " ld " " reg "9, [%0]\n mov x10, x9\n add x11, x9, #1\n"              \
                         op " " reg "9, " reg "11, [%0]\n cmp x9, x10\n b.ne 1b" ::"r"(&at)        \
                         : "x9", "x10", "x11", "cc", "memory");                                    \
    }

#define X "x"
#define W "w"

LDADD(ldadd8, "ldaddb", W)
LDADD(ldadd16, "ldaddalh", W)
LDADD(ldadd32, "ldadda", W)
LDADD(ldadd64, "ldaddl", X)
EXCLUSIVE(excl8, "ldxrb", "stxrb", W)
EXCLUSIVE(excl16, "ldaxrh", "stlxrh", W)
EXCLUSIVE(excl32, "ldxr", "stlxr", W)
EXCLUSIVE(excl64, "ldaxr", "stxr", X)
CAS(cas8, "ldrb", "casb", W)
CAS(cas16, "ldrh", "casalh", W)
CAS(cas32, "ldr", "casa", W)
CAS(cas64, "ldr", "casl", X)

/* Both halves count together: any other thread's pair would be torn. */
static void pair_exclusive(long me)
{
    uint64_t a, b;
    __asm__ volatile("1: ldaxp %0, %1, [%2]\n add x9, %0, #1\n add x10, %1, #1\n"
                     "stlxp w11, x9, x10, [%2]\n cbnz w11, 1b"
                     : "=&r"(a), "=&r"(b)
                     : "r"(&at)
                     : "x9", "x10", "x11", "memory");
    wrong += a != b;
}

static void pair_cas(long me)
{
    register uint64_t a __asm__("x2") = 0, b __asm__("x3") = 0;
    __asm__ volatile("1: mov x6, x2\n mov x7, x3\n add x4, x2, #1\n add x5, x3, #1\n"
                     "caspal x2, x3, x4, x5, [%2]\n cmp x2, x6\n ccmp x3, x7, #0, eq\n b.ne 1b"
                     : "+r"(a), "+r"(b)
                     : "r"(&at)
                     : "x4", "x5", "x6", "x7", "cc", "memory");
    wrong += a != b;
}

/* Each thread counts in a byte of its own, and writes the whole by exclusives without a change. */
static void neighbours(long me)
{
    __asm__ volatile("ldaddb %w1, w9, [%0]\n 1: ldxr w9, [%2]\n stxr w10, w9, [%2]\n cbnz w10, 1b" ::
                         "r"(&at.b[me]), "r"(1), "r"(&at)
                     : "x9", "x10", "memory");
}

/* Each thread sets and clears a bit of its own, and knows what it has to find. */
static void own_bit(long me)
{
    uint32_t old, bit = 1u << me;
    __asm__ volatile("ldsetal %w1, %w0, [%2]" : "=r"(old) : "r"(bit), "r"(&at) : "memory");
    wrong += (old & bit) != 0;
    __asm__ volatile("ldclral %w1, %w0, [%2]" : "=r"(old) : "r"(bit), "r"(&at) : "memory");
    wrong += (old & bit) == 0;
    __asm__ volatile("ldeor %w1, %w0, [%2]" : "=r"(old) : "r"(0x100), "r"(&at) : "memory");
}

/* Tokens are put in and taken out by exchanges; what is left is counted at the end. */
static void exchange(long me)
{
    static __thread uint32_t mine = 1;
    __asm__ volatile("swpal %w0, %w0, [%1]" : "+r"(mine) : "r"(&at) : "memory");
    tokens += mine;
    mine = 1;
}

static void highest(long me)
{
    static __thread int32_t n;
    int32_t old, v = ++n * THREADS + (int)me;
    __asm__ volatile("ldsmaxal %w1, %w0, [%2]" : "=r"(old) : "r"(v), "r"(&at.w[0]) : "memory");
    __asm__ volatile("ldumin %w1, %w0, [%2]" : "=r"(old) : "r"(~v), "r"(&at.w[1]) : "memory");
}

/* Plain counters under a lock of each kind. */
static uint64_t guarded;

static void spin_lock(long me)
{
    __asm__ volatile("sevl\n 1: wfe\n ldaxr w9, [%0]\n cbnz w9, 1b\n stxr w9, %w1, [%0]\n cbnz w9, 1b\n"
                     "ldr x9, [%2]\n add x9, x9, #1\n str x9, [%2]\n stlr wzr, [%0]" ::"r"(&at),
                     "r"(1), "r"(&guarded)
                     : "x9", "memory");
}

static void ticket_lock(long me)
{
    uint32_t mine, now;
    __asm__ volatile("ldadda %w1, %w0, [%2]" : "=r"(mine) : "r"(1), "r"(&at.w[0]) : "memory");
    for (int spins = 0;; spins++) {
        __asm__ volatile("ldar %w0, [%1]" : "=r"(now) : "r"(&at.w[1]) : "memory");
        if (now == mine)
            break;
        if (spins > 100) /* whose turn it is may have no processor */
            sched_yield();
    }
    guarded++;
    __asm__ volatile("stlr %w0, [%1]" ::"r"(mine + 1), "r"(&at.w[1]) : "memory");
}

struct test {
    const char *name;
    void (*step)(long me);
    uint64_t want[2]; /* in memory, for each step */
    uint64_t mask;
};

static const struct test tests[] = {
    {"ldadd, 8 bits", ldadd8, {1}, 0xff},
    {"ldadd, 16 bits", ldadd16, {1}, 0xffff},
    {"ldadd, 32 bits", ldadd32, {1}, ~0u},
    {"ldadd, 64 bits", ldadd64, {1}, ~0ul},
    {"exclusives, 8 bits", excl8, {1}, 0xff},
    {"exclusives, 16 bits", excl16, {1}, 0xffff},
    {"exclusives, 32 bits", excl32, {1}, ~0u},
    {"exclusives, 64 bits", excl64, {1}, ~0ul},
    {"cas, 8 bits", cas8, {1}, 0xff},
    {"cas, 16 bits", cas16, {1}, 0xffff},
    {"cas, 32 bits", cas32, {1}, ~0u},
    {"cas, 64 bits", cas64, {1}, ~0ul},
    {"exclusive pairs", pair_exclusive, {1, 1}, ~0ul},
    {"caspal", pair_cas, {1, 1}, ~0ul},
};

static void (*step)(long me);

static void *thread_main(void *arg)
{
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < rounds; i++)
        step((long)arg);
    return NULL;
}

static void run(void (*f)(long me))
{
    pthread_t t[THREADS];
    memset(&at, 0, sizeof(at));
    at.w[1] = f == highest ? ~0u : 0;
    guarded = wrong = 0;
    step = f;
    for (long i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, thread_main, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
}

int main(void)
{
    uint64_t all;
    setvbuf(stdout, NULL, _IONBF, 0);
    if (getenv("QUICK"))
        rounds = 200;
    all = (uint64_t)rounds * THREADS;
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        const struct test *t = &tests[i];
        run(t->step);
        say(t->name, at.d[0] == (t->want[0] * all & t->mask) &&
                         at.d[1] == (t->want[1] * all & t->mask) && !wrong);
    }
    run(neighbours);
    int good = 1;
    for (int i = 0; i < THREADS; i++)
        good &= at.b[i] == (uint8_t)rounds;
    say("bytes in a word", good);
    run(own_bit);
    say("own bits", !wrong && at.d[0] == 0);
    run(exchange);
    say("exchange", tokens + at.w[0] == all);
    run(highest);
    say("highest and lowest", at.w[0] == (uint32_t)(rounds * THREADS + THREADS - 1) &&
                                  at.w[1] == ~at.w[0]);
    run(spin_lock);
    say("spin lock", guarded == all);
    run(ticket_lock);
    say("ticket lock", guarded == all);
    return 0;
}
