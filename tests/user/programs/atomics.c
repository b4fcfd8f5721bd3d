/* Atomic operations that several threads carry out on the same place: none is lost, in any size, by
 * exclusives and by single instructions, also where they overlap.
 * link: static
 * flags: -pthread
 * aarch64 flags: -march=armv8.1-a */
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

struct test {
    const char *name;
    void (*step)(long me);
    uint64_t want[2]; /* in memory, for each step */
    uint64_t mask;
};

static uint64_t guarded; /* a plain counter, under a lock */

#if defined(__aarch64__)
#include "atomics_aarch64.h"
#elif defined(__riscv)
#include "atomics_riscv.h"
#endif

/* Each thread sets and clears a bit of its own, and knows what it has to find. */
static void own_bit(long me)
{
    uint32_t bit = 1u << me;
    wrong += (set_bits(&at.w[0], bit) & bit) != 0;
    wrong += (clear_bits(&at.w[0], bit) & bit) == 0;
    flip_bits(&at.w[0], 0x100);
}

/* Tokens are put in and taken out by exchanges; what is left is counted at the end. */
static void exchange(long me)
{
    static __thread uint32_t mine = 1;
    tokens += swap(&at.w[0], mine);
    mine = 1;
}

static void highest(long me)
{
    static __thread int32_t n;
    int32_t v = ++n * THREADS + (int)me;
    signed_maximum(&at.w[0], v);
    unsigned_minimum(&at.w[1], ~(uint32_t)v);
}

static void ticket_lock(long me)
{
    uint32_t mine = take_ticket(&at.w[0]);
    for (int spins = 0; load_acquire(&at.w[1]) != mine; spins++) {
        if (spins > 100) /* whose turn it is may have no processor */
            sched_yield();
    }
    guarded++;
    store_release(&at.w[1], mine + 1);
}

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
