/* The memory model: small programs of two to four threads, each run many times, whose outcome the guest's
 * architecture forbids; it must never be seen. One whose outcome is allowed, and happens on every
 * multiprocessor worth the name, must be seen: otherwise the threads do not meet, and the rest proves
 * nothing. Names are those of the literature: the shape, then what orders each thread's accesses.
 * link: static
 * flags: -pthread
 * aarch64 flags: -march=armv8.1-a
 * aarch64 peer: its store-release does not wait for a load-acquire (SB+rel-acq is seen)
 * lockstep: threads take turns there, so they do not meet */
#include "prog.h"

#include <pthread.h>
#include <stdatomic.h>

#define INSTANCES 2000    /* of one run of a test */
#define RUNS      20      /* of each test */
#define PATIENCE  60      /* seconds for an outcome that must be seen, where others keep the processors busy */
#define SPINS     400     /* how long a thread waits for the others before an instance */
#define MAX       4

/* The places of one instance, and what its threads have read. */
struct cell {
    _Alignas(64) uint32_t x;
    _Alignas(64) uint32_t y;
    _Alignas(64) uint64_t q;
    uint64_t reg[2 * MAX];
};

/* ---- the tests ---- */

#define THREAD(name, code)                                                                         \
    static void name(struct cell *c, uint64_t *reg)                                                \
    {                                                                                              \
        uint64_t a = 0, b = 0;                                                                     \
        __asm__ volatile(code : [a] "+&r"(a), [b] "+&r"(b)                                         \
                         : [x] "r"(&c->x), [y] "r"(&c->y), [q] "r"(&c->q)                          \
                         : SCRATCH, "memory");                                                    \
        reg[0] = a;                                                                                \
        reg[1] = b;                                                                                \
    }

/* Where an outcome is looked for: two registers of each thread, and what memory holds in the end. */
enum { A0, B0, A1, B1, A2, B2, A3, B3, X, Y, FIELDS };
#define IS(value) ((value) + 1) /* 0: any */

struct test {
    const char *name;
    void (*thread[MAX])(struct cell *, uint64_t *);
    uint8_t outcome[FIELDS];
    int must_be_seen;
};

#define MP   {[A1] = IS(1), [B1] = IS(0)}
#define SB   {[A0] = IS(0), [A1] = IS(0)}
#define LB   {[A0] = IS(1), [A1] = IS(1)}
#define S    {[A1] = IS(1), [X] = IS(2)}
#define R    {[A1] = IS(0), [Y] = IS(2)}
#define W22  {[X] = IS(2), [Y] = IS(2)}
#define IRIW {[A2] = IS(1), [B2] = IS(0), [A3] = IS(1), [B3] = IS(0)}
#define WRC  {[A1] = IS(1), [A2] = IS(1), [B2] = IS(0)}

#if defined(__aarch64__)
#include "litmus_aarch64.h"
#elif defined(__riscv)
#include "litmus_riscv.h"
#endif

/* Without an order of their own, or with one that every architecture has: dependencies, one place. */
THREAD(x1, ST(x, 1))
THREAD(x2, ST(x, 2))
THREAD(y1, ST(y, 1))
THREAD(ry_addr_rx, LD(a, y) LD_ADDR(b, x, a))
THREAD(rx_addr_ry, LD(a, x) LD_ADDR(b, y, a))
THREAD(x1_ry, ST(x, 1) LD(a, y))
THREAD(y1_rx, ST(y, 1) LD(a, x))
THREAD(rx_data_y1, LD(a, x) ST_DATA(y, 1, a))
THREAD(ry_data_x1, LD(a, y) ST_DATA(x, 1, a))
THREAD(rx_ctrl_y1, LD(a, x) CTRL(a) ST(y, 1))
THREAD(ry_ctrl_x1, LD(a, y) CTRL(a) ST(x, 1))
THREAD(rx_rx, LD(a, x) LD(b, x))
THREAD(x1_rx, ST(x, 1) LD(a, x))
THREAD(rx_x1, LD(a, x) ST(x, 1))
THREAD(x1_x2, ST(x, 1) ST(x, 2))
THREAD(q_whole, STQ)
THREAD(rq_whole, LDQ(a) TORN(a))
THREAD(rq_high_whole, LDW(a, 4) LDQ(b) IS_SET(a) IS_SET(b))
THREAD(rq_half, LDH(a) UPPER_ONLY(a))

static const struct test tests[] = {
    GUEST_TESTS
    {"SB+po+po", {x1_ry, y1_rx}, SB, 1},
    {"LB+data+data", {rx_data_y1, ry_data_x1}, LB},
    {"LB+ctrl+ctrl", {rx_ctrl_y1, ry_ctrl_x1}, LB},
    {"IRIW+addr+addr", {x1, y1, rx_addr_ry, ry_addr_rx}, IRIW},
    {"WRC+data+addr", {x1, rx_data_y1, ry_addr_rx}, WRC},
    {"CoRR", {x1, rx_rx}, {[A1] = IS(1), [B1] = IS(0)}},
    {"CoWR", {x1_rx, x2}, {[A0] = IS(0)}},
    {"CoRW", {rx_x1, x2}, {[A0] = IS(1)}},
    {"CoRW2", {rx_x1, x2}, {[A0] = IS(2), [X] = IS(2)}},
    {"CoWW", {x1_x2, rx_rx}, {[X] = IS(1)}},
    {"CoRR of two writes", {x1_x2, rx_rx}, {[A1] = IS(2), [B1] = IS(1)}},
    {"eight bytes at once", {q_whole, rq_whole}, {[A1] = IS(1)}},
    {"eight bytes, halves read", {q_whole, rq_low_high}, {[A1] = IS(1), [B1] = IS(0)}},
    {"eight bytes, half and whole", {q_whole, rq_high_whole}, {[A1] = IS(1), [B1] = IS(0)}},
    {"two bytes written, read at once", {q_bytes, rq_half}, {[A1] = IS(1)}},
};

/* ---- running them ---- */

static struct cell cells[INSTANCES];
static const struct test *current; /* NULL: the end */
static pthread_barrier_t barrier;
static _Atomic uint32_t position[MAX][16]; /* a cache line each */

static unsigned threads_of(const struct test *t)
{
    unsigned n = 0;
    while (n < MAX && t->thread[n])
        n++;
    return n;
}

/* Wait until the others are here, but not for ever: with fewer processors than threads they cannot be.
 * Then differ a little, so that the threads meet in all ways. */
static void meet(unsigned me, unsigned n, uint32_t i)
{
    atomic_store_explicit(&position[me][0], i, memory_order_relaxed);
    for (unsigned k = 0; k < n; k++) {
        for (int spin = 0; spin < SPINS; spin++) {
            if (atomic_load_explicit(&position[k][0], memory_order_relaxed) >= i)
                break;
        }
    }
    for (uint32_t wait = (i * 2654435761u >> (8 * me)) & 15; wait; wait--)
        __asm__ volatile("");
}

static void *thread_main(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    for (;;) {
        pthread_barrier_wait(&barrier);
        const struct test *t = current;
        if (!t)
            return NULL;
        unsigned n = threads_of(t);
        for (uint32_t i = 0; i < INSTANCES && me < n; i++) {
            meet(me, n, i + 1);
            t->thread[me](&cells[i], &cells[i].reg[2 * me]);
        }
        pthread_barrier_wait(&barrier);
    }
}

static unsigned run(const struct test *t)
{
    unsigned seen = 0;
    memset(cells, 0, sizeof(cells));
    memset(position, 0, sizeof(position));
    current = t;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < INSTANCES; i++) {
        const struct cell *c = &cells[i];
        int is = 1;
        for (unsigned f = 0; f < FIELDS; f++) {
            uint64_t v = f == X ? c->x : f == Y ? c->y : c->reg[f];
            is &= !t->outcome[f] || v + 1 == t->outcome[f];
        }
        seen += is;
    }
    return seen;
}

static void check(const struct test *t)
{
    unsigned seen = 0;
    int runs = getenv("QUICK") ? 1 : RUNS;
    time_t end = time(NULL) + PATIENCE;
    for (int i = 0; !seen && (i < runs || (t->must_be_seen && time(NULL) < end)); i++)
        seen += run(t);
    if (!t->must_be_seen && seen)
        printf("%s: SEEN\n", t->name);
    else if (t->must_be_seen) /* a single processor has nothing to show */
        printf("%s: %s\n", t->name, seen || sysconf(_SC_NPROCESSORS_ONLN) < 2 ? "seen" : "NOT SEEN");
}

int main(void)
{
    pthread_t t[MAX];
    setvbuf(stdout, NULL, _IONBF, 0);
    pthread_barrier_init(&barrier, NULL, MAX + 1);
    for (uintptr_t i = 0; i < MAX; i++)
        pthread_create(&t[i], NULL, thread_main, (void *)i);
    for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        check(&tests[i]);
    current = NULL;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < MAX; i++)
        pthread_join(t[i], NULL);
    printf("%d tests\n", (int)(sizeof(tests) / sizeof(tests[0])));
    return 0;
}
