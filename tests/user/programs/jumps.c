/* Leaving deep recursion by longjmp, switching stacks by makecontext, and returning all the way.
 * link: static dynamic */
#include "prog.h"

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
    return n ? n + sum(n - 1) : 0;
}

static void worker(int id)
{
    for (int i = 0; i < 3; i++) {
        printf("worker %d step %d sum %ld\n", id, i, sum(100 * (id + 1)));
        swapcontext(&ctx[id], id == 2 ? &ctx[0] : &ctx[id + 1]);
    }
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
    return 0;
}
