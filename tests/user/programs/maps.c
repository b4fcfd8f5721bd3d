/* The address space: placement, fixed mappings, remapping, protection, sharing.
 * link: static dynamic
 * peer: MAP_FIXED_NOREPLACE is not known to it */
#include "prog.h"

#include <sys/ipc.h>
#include <sys/shm.h>

#define PAGE 4096

static int mapped(void *p)
{
    unsigned char v;
    return mincore(p, PAGE, &v) == 0;
}

static void *anon(void *at, size_t len, int prot, int flags)
{
    return mmap(at, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

static void test_fixed(void)
{
    char *p = anon(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, 0);
    memset(p, 'a', 8 * PAGE);
    result("no length", anon(NULL, 0, PROT_READ, 0) == MAP_FAILED ? -1 : 0);
    result("unaligned", anon(p + 1, PAGE, PROT_READ, MAP_FIXED) == MAP_FAILED ? -1 : 0);
    result("taken", anon(p + PAGE, PAGE, PROT_READ, MAP_FIXED_NOREPLACE) == MAP_FAILED ? -1 : 0);
    say("over it", anon(p + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED) == p + 2 * PAGE &&
                       p[2 * PAGE] == 0 && p[PAGE] == 'a' && p[3 * PAGE] == 'a');
    say("munmap in the middle", munmap(p + 4 * PAGE, PAGE) == 0 && !mapped(p + 4 * PAGE) &&
                                    mapped(p + 5 * PAGE));
    result("mprotect over a hole", mprotect(p + 3 * PAGE, 3 * PAGE, PROT_READ));
    say("hint is taken", anon(p + 4 * PAGE, PAGE, PROT_READ, 0) == p + 4 * PAGE);
    say("hint in use", anon(p, PAGE, PROT_READ, 0) != p);
    result("munmap of nothing", munmap(p + 100 * PAGE, 0));
    result("munmap twice", (munmap(p, 8 * PAGE), munmap(p, 8 * PAGE)));
    result("beyond the end", anon((void *)0xffff000000000000, PAGE, PROT_READ, MAP_FIXED) ==
                                     MAP_FAILED ? -1 : 0);
    char *low = anon((void *)0x10000000, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED_NOREPLACE);
    say("low address", low == (char *)0x10000000);
    *low = 1;
    munmap(low, PAGE);
}

static void test_remap(void)
{
    char *p = anon(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, 0);
    for (int i = 0; i < 4; i++)
        p[i * PAGE] = (char)('0' + i);
    char *q = mremap(p, 4 * PAGE, 2 * PAGE, 0);
    say("shrink", q == p && mapped(p) && !mapped(p + 2 * PAGE));
    anon(p + 2 * PAGE, PAGE, PROT_READ, MAP_FIXED);
    result("grow in place", mremap(p, 2 * PAGE, 4 * PAGE, 0) == MAP_FAILED ? -1 : 0);
    q = mremap(p, 2 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    say("grow and move", q != MAP_FAILED && q != p && q[0] == '0' && q[PAGE] == '1' &&
                             q[63 * PAGE] == 0 && !mapped(p));
    char *to = anon(NULL, 64 * PAGE, PROT_READ, 0);
    char *r = mremap(q, 64 * PAGE, 64 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    say("move to a place", r == to && r[0] == '0' && !mapped(q));
    r[5] = 'w';
    result("of nothing", mremap(q, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
    result("bad flags", mremap(r, PAGE, PAGE, 64) == MAP_FAILED ? -1 : 0);
    munmap(r, 64 * PAGE);
}

static void test_files(void)
{
    int fd = memfd_create("file", 0);
    ftruncate(fd, 3 * PAGE);
    char *s = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *t = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE);
    char *priv = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, PAGE);
    s[PAGE] = 'x';
    say("shared", *t == 'x');
    *priv = 'y';
    say("private", *t == 'x' && s[PAGE] == 'x');
    result("msync", msync(s, PAGE, MS_SYNC));
    result("no write", mprotect(t, PAGE, PROT_READ) == 0 ? 0 : -1);
    close(fd);
    char *sh = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = fork();
    if (!pid) {
        strcpy(sh, "from the child");
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    printf("%s\n", sh);
    result("bad descriptor", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 77, 0) == MAP_FAILED ? -1 : 0);
    int ro = open("/proc/self/exe", O_RDONLY);
    result("shared write of a read-only file",
           mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0) == MAP_FAILED ? -1 : 0);
    char *elf = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, ro, 0);
    say("/proc/self/exe", elf != MAP_FAILED && !memcmp(elf, "\177ELF", 4));
    char *d = anon(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, 0);
    d[0] = 1;
    say("madvise", madvise(d, PAGE, MADV_DONTNEED) == 0 && d[0] == 0);
    result("shmget", 0);
    int id = shmget(IPC_PRIVATE, 2 * PAGE, IPC_CREAT | 0600);
    char *m = shmat(id, NULL, 0), *n = shmat(id, NULL, SHM_RDONLY);
    m[0] = 's';
    say("shm", n[0] == 's' && m != n);
    shmctl(id, IPC_RMID, NULL);
    result("shmdt", shmdt(m));
    result("shmdt", shmdt(n));
    result("shmdt again", shmdt(n));
}

#define BARRIER_PAGES 64

static char *barrier_area;
static volatile int barrier_faults;

/* What garbage collectors do: the handler opens the page, and the access runs again. */
static void open_page(int sig, siginfo_t *info, void *uc)
{
    char *page = (char *)((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1));
    if (page < barrier_area || page >= barrier_area + BARRIER_PAGES * PAGE)
        _exit(98);
    barrier_faults++;
    mprotect(page, PAGE, PROT_READ | PROT_WRITE);
}

static void test_barrier(void)
{
    struct sigaction sa = {.sa_sigaction = open_page, .sa_flags = SA_SIGINFO};
    long sum = 0;
    sigaction(SIGSEGV, &sa, NULL);
    barrier_area = anon(NULL, BARRIER_PAGES * PAGE, PROT_READ | PROT_WRITE, 0);
    for (int round = 0; round < 3; round++) {
        mprotect(barrier_area, BARRIER_PAGES * PAGE, round == 1 ? PROT_NONE : PROT_READ);
        /* Across page ends, and over whole pages by the C library's vector code. */
        for (int i = 1; i < BARRIER_PAGES; i += 2) {
            uint64_t *p = (uint64_t *)(barrier_area + i * PAGE - 4);
            *p += 1;
            sum += (long)*p;
        }
        memset(barrier_area, round, BARRIER_PAGES * PAGE);
    }
    printf("barrier: %d faults, sum %lx, end %d\n", barrier_faults, sum,
           barrier_area[BARRIER_PAGES * PAGE - 1]);
    signal(SIGSEGV, SIG_DFL);
}

/* A ring buffer that is mapped twice in a row, so that records need not be split. */
static void test_mirror(void)
{
    int fd = memfd_create("ring", 0);
    ftruncate(fd, PAGE);
    char *p = anon(NULL, 2 * PAGE, PROT_NONE, 0);
    int flags = MAP_SHARED | MAP_FIXED;
    mmap(p, PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
    mmap(p + PAGE, PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
    memcpy(p + PAGE - 6, "over the end", 13);
    printf("mirror: %.6s%s\n", p + PAGE - 6, p);
    uint64_t *w = (uint64_t *)(p + PAGE - 8), *r = (uint64_t *)(p + 2 * PAGE - 8);
    int good = 0;
    for (uint64_t i = 0; i < 1000; i++) { /* in one region: a store here, a load there */
        *(volatile uint64_t *)w = i;
        good += *(volatile uint64_t *)r == i;
        *(volatile uint64_t *)r = ~i;
        good += *(volatile uint64_t *)w == ~i;
    }
    printf("mirror: %d good\n", good);
    munmap(p, 2 * PAGE);
    close(fd);
}

static void test_proc(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[4096];
    int stack = 0, text = 0, executable_heap = 0, lines = 0, here = 0, sorted = 1;
    unsigned long last = 0;
    while (fgets(line, sizeof(line), f)) {
        unsigned long a, b;
        char prot[8];
        sscanf(line, "%lx-%lx %7s", &a, &b, prot);
        sorted &= a >= last && b > a;
        last = b;
        lines++;
        if ((unsigned long)&line >= a && (unsigned long)&line < b)
            stack = strstr(line, "[stack]") != NULL && !strcmp(prot, "rw-p");
        if ((unsigned long)test_proc >= a && (unsigned long)test_proc < b)
            text = strchr(prot, 'x') && strstr(line, "maps");
        if (strstr(line, "[heap]"))
            executable_heap = strchr(prot, 'x') != NULL;
        here |= strstr(line, "qemu") || strstr(line, "lyre ");
    }
    fclose(f);
    printf("maps: stack %d text %d heap executable %d sorted %d\n", stack, text, executable_heap,
           sorted);
    say("nothing of the emulator", !here);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    test_fixed();
    test_remap();
    test_files();
    test_barrier();
    test_mirror();
    test_proc();
    return 0;
}
