/* Code that changes: with cache maintenance, by mapping anew, and through a second mapping.
 * link: static
 * peer: it loses code that is written through another mapping */
#include "prog.h"

#define PAGE 4096

/* mov w0, #n; ret */
static void emit(uint32_t *at, unsigned n)
{
    at[0] = 0x52800000 | n << 5;
    at[1] = 0xd65f03c0;
}

static int call(void *p)
{
    return ((int (*)(void))p)();
}

int main(void)
{
    uint32_t *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
    long sum = 0;
    for (unsigned i = 0; i < 200; i++) {
        emit(p, i);
        __builtin___clear_cache((char *)p, (char *)(p + 2));
        sum += call(p);
    }
    printf("rewritten in place: %ld\n", sum);

    sum = 0;
    for (unsigned i = 0; i < 50; i++) {
        mprotect(p, PAGE, PROT_READ | PROT_WRITE);
        emit(p, i);
        __builtin___clear_cache((char *)p, (char *)(p + 2));
        mprotect(p, PAGE, PROT_READ | PROT_EXEC);
        sum += call(p);
    }
    printf("writable or executable: %ld\n", sum);

    int fd = memfd_create("code", 0);
    ftruncate(fd, PAGE);
    uint32_t *w = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    void *x = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    sum = 0;
    for (unsigned i = 0; i < 50; i++) {
        emit(w, i);
        /* By either address: it is the same memory. */
        __builtin___clear_cache((char *)w, (char *)(w + 2));
        sum += call(x);
    }
    printf("written elsewhere: %ld\n", sum);

    sum = 0;
    for (unsigned i = 0; i < 50; i++) {
        uint32_t *q = mmap(p, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        emit(q, i + 1);
        __builtin___clear_cache((char *)q, (char *)(q + 2));
        sum += call(q);
    }
    printf("mapped anew: %ld\n", sum);
    pid_t pid = fork();
    emit(p, pid ? 10 : 20);
    __builtin___clear_cache((char *)p, (char *)(p + 2));
    int r = 0;
    for (int i = 0; i < 1000; i++)
        r += call(p);
    if (!pid)
        _exit(r == 20000 ? 1 : 2);
    int status;
    waitpid(pid, &status, 0);
    printf("after fork: parent %d child %d\n", r, WEXITSTATUS(status));
    return 0;
}
