/* Leaving deep recursion by longjmp, switching stacks by makecontext, and returning all the way.
 * link: static dynamic
 * flags: -pthread */
#include "prog.h"

#include <pthread.h>
#include <setjmp.h>
#include <ucontext.h>

static jmp_buf env;
static ucontext_t main_ctx, ctx[3];
static int depth_reached;

static int deep(int n)
{
    volatile char pad[64];
    pad[0] = (char)n;
    if (n == 0)
        longjmp(env, 7);
    return deep(n - 1) + pad[0];
}

static long sum(long n)
{
    volatile long here = n; /* what keeps the compiler from making a loop of it */
    return n ? sum(n - 1) + here : 0;
}

static void worker(int id)
{
    for (int i = 0; i < 3; i++) {
        printf("worker %d step %d sum %ld\n", id, i, sum(100 * (id + 1)));
        swapcontext(&ctx[id], id == 2 ? &ctx[0] : &ctx[id + 1]);
    }
}

/* A million frames on a large stack, left by longjmp from the bottom and from the middle, and then by
 * returns; the frames that a jump skips must not be met again. */
static int frames = 1000000, leave_at;

static long dive(long n)
{
    if (n == leave_at)
        longjmp(env, 1);
    volatile long here = n; /* what keeps the compiler from making a loop of it */
    return n ? dive(n - 1) + (here & 1) : 0;
}

static void *deep_thread(void *arg)
{
    volatile int jumps = 0;
    for (volatile int i = 0; i < 3; i++) {
        leave_at = (int[]){0, frames / 2, frames - 3}[i];
        if (setjmp(env))
            jumps++;
        else
            dive(frames);
    }
    leave_at = -1;
    printf("a million frames: %d jumps, %ld too many returns\n", jumps, dive(frames) - frames / 2);
    return NULL;
}

static void test_deep(void)
{
    pthread_attr_t attr;
    pthread_t t;
    if (getenv("QUICK"))
        frames = 10000;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 << 20);
    if (pthread_create(&t, &attr, deep_thread, NULL))
        die("pthread_create");
    pthread_join(t, NULL);
}

/* Jumps from one context's stack to a frame of another's, and a context that is entered again and
 * again at the same place. */
static ucontext_t again;
static volatile int entered;

static void jumper(void)
{
    longjmp(env, 3);
}

static void test_contexts(void)
{
    static char stack[65536];
    getcontext(&again);
    if (++entered < 1000)
        setcontext(&again);
    printf("entered %d times\n", entered);
    if (!setjmp(env)) {
        ucontext_t c;
        getcontext(&c);
        c.uc_stack.ss_sp = stack;
        c.uc_stack.ss_size = sizeof(stack);
        c.uc_link = NULL;
        makecontext(&c, jumper, 0);
        setcontext(&c);
    }
    printf("out of a context, sum %ld\n", sum(1000));
}

int main(void)
{
    for (int i = 0; i < 5; i++) {
        int r = setjmp(env);
        if (!r)
            deep(20000 + i);
        depth_reached += r;
    }
    printf("longjmp %d\n", depth_reached);
    printf("recursion %ld\n", sum(50000));
    static char stacks[3][65536];
    for (int i = 2; i >= 0; i--) {
        getcontext(&ctx[i]);
        ctx[i].uc_stack.ss_sp = stacks[i];
        ctx[i].uc_stack.ss_size = sizeof(stacks[i]);
        ctx[i].uc_link = &main_ctx;
        makecontext(&ctx[i], (void (*)(void))worker, 1, i);
    }
    swapcontext(&main_ctx, &ctx[0]);
    printf("back\n");
    test_contexts();
    fflush(stdout);
    test_deep();
    return 0;
}
