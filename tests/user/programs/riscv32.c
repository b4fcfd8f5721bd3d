/* Linux on RISC-V of 32 bits, without a C library, which Debian has none of: words, pointers, structures and
 * numbers of system calls that are not those of 64 bits.
 * guest: riscv32
 * link: static
 * args: one two
 * env: NAME=value
 * flags: -O1 -march=rv32gc -mabi=ilp32d -nostdlib -nostartfiles -ffreestanding -fno-builtin -fno-stack-protector -Wno-all
 * peer: it passes structures of 64 bits on in places */
typedef unsigned int u32;
typedef unsigned long long u64;

enum {
    FCNTL = 25, LLSEEK = 62, READ = 63, WRITE = 64, WRITEV = 66, PIPE2 = 59, OPENAT = 56, FSTATFS64 = 44, EXIT_GROUP = 94,
    EXIT = 93, SIGALTSTACK = 132, SIGACTION = 134, SIGPROCMASK = 135, KILL = 129, TIMES = 153, UNAME = 160,
    GETRUSAGE = 165, GETPID = 172, SYSINFO = 179, BRK = 214, MUNMAP = 215, CLONE = 220, EXECVE = 221, MMAP2 = 222,
    MPROTECT = 226, HWPROBE = 258, PRLIMIT64 = 261, MEMFD = 279, STATX = 291, CLOCK_GETTIME64 = 403, FUTEX64 = 422, WAITID = 95,
    CLOCK_GETTIME = 113, SOCKETPAIR = 199, SENDMSG = 211, RECVMSG = 212, PREAD64 = 67, SENDFILE64 = 71, SHMGET = 194, SHMCTL = 195, FTRUNCATE64 = 46, ROBUST = 99,
};

static long call(long n, long a, long b, long c, long d, long e, long f)
{
    register long a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c, a3 __asm__("a3") = d;
    register long a4 __asm__("a4") = e, a5 __asm__("a5") = f, a7 __asm__("a7") = n;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7) : "memory");
    return a0;
}

#define CALL6(n, a, b, c, d, e, f, ...) call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define CALL(...) CALL6(__VA_ARGS__, 0, 0, 0, 0, 0, 0)

static u32 length(const char *s)
{
    u32 n = 0;
    while (s[n])
        n++;
    return n;
}

static int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

void *memset(void *to, int c, u32 n) /* the compiler calls it */
{
    for (u32 i = 0; i < n; i++)
        ((volatile char *)to)[i] = (char)c;
    return to;
}

static void say(const char *name, int good)
{
    struct {
        const char *base;
        u32 len;
    } iov[2] = {{name, length(name)}, {good ? ": yes\n" : ": NO\n", good ? 6 : 5}};
    CALL(WRITEV, 1, iov, 2);
}

/* ---- memory and files ---- */

static void files(void)
{
    char buf[16] = {0};
    u64 at = 0;
    long fd = CALL(MEMFD, "file", 0);
    say("ftruncate64", CALL(FTRUNCATE64, fd, 0x2000, 1) == 0); /* 4 GiB and two pages: two words */
    say("llseek", CALL(LLSEEK, fd, 1, 0x1000, &at, 0) == 0 && at == 0x100001000ull);
    say("write there", CALL(WRITE, fd, "far away", 8) == 8);
    say("pread64", CALL(PREAD64, fd, buf, 8, 0x1000, 1) == 8 && same(buf, "far away"));
    u32 stx[64] = {0};
    say("statx", CALL(STATX, fd, "", 0x1000, 0x7ff, stx) == 0 && stx[10] == 0x2000 && stx[11] == 1);
    const u32 *m = (const u32 *)CALL(MMAP2, 0, 4096, 1, 1, fd, 0x100001);
    say("mmap2", (u32)m < 0x80000000 && same((const char *)m, "far away"));
    u32 statfs[22];
    for (int i = 0; i < 22; i++)
        statfs[i] = 0x55555555;
    say("fstatfs64", CALL(FSTATFS64, fd, 88, statfs) == 0 && statfs[1] == 4096 && statfs[14] == 255 && statfs[16] < 0x10000);
    say("its size is checked", CALL(FSTATFS64, fd, 120, statfs) == -22);
    struct {
        short type, whence;
        u64 start, len;
        int pid;
    } lock = {1, 0, 0x100000000ull, 10, 0};
    say("F_SETLK64", CALL(FCNTL, fd, 13, &lock) == 0);
    int to[2];
    u64 from = 0x100001000ull;
    CALL(PIPE2, to, 0);
    say("sendfile64", CALL(SENDFILE64, to[1], fd, &from, 8) == 8 && from == 0x100001008ull);
    say("brk", CALL(BRK, CALL(BRK, 0) + 5000) > 0);
}

static void structures(void)
{
    struct {
        u64 sec;
        u32 nsec, pad;
    } now = {0, 0, 0};
    say("clock_gettime64", CALL(CLOCK_GETTIME64, 0, &now) == 0 && now.sec > 1700000000 && now.nsec < 1000000000);
    say("no clock_gettime", CALL(CLOCK_GETTIME, 0, &now) == -38);
    u32 rusage[19];
    rusage[18] = 0x1234;
    say("getrusage", CALL(GETRUSAGE, 0, rusage) == 0 && rusage[18] == 0x1234 && rusage[4] > 100 && rusage[4] < 1u << 30);
    u32 tms[5] = {0, 0, 0, 0, 0x1234};
    say("times", CALL(TIMES, tms) != -14 && tms[4] == 0x1234 && tms[0] < 100000);
    u32 info[17];
    info[16] = 0x1234;
    say("sysinfo", CALL(SYSINFO, info) == 0 && info[16] == 0x1234 && info[13] > 0 &&
                       ((u64)info[4] * info[13]) >> 26 != 0); /* more than 64 MiB */
    long id = CALL(SHMGET, 0, 4096, 0600);
    say("shmctl", CALL(SHMCTL, id, 2, info) == -38 && CALL(SHMCTL, id, 0, 0) == 0);
    u64 limit[2];
    say("prlimit64", CALL(PRLIMIT64, 0, 7, 0, limit) == 0 && limit[0] <= limit[1] && limit[0] > 2);
    char names[390];
    say("uname", CALL(UNAME, names) == 0 && same(names + 4 * 65, "riscv32"));
    struct {
        u64 key, value;
    } pair = {4, 0};
    say("riscv_hwprobe", CALL(HWPROBE, &pair, 1, 0, 0, 0) == 0 && pair.value & 1 && pair.value & 2 && pair.value >> 46 & 1);
}

static void messages(void)
{
    int fd[2];
    char in[8] = {0};
    struct {
        char *base;
        u32 len;
    } out = {"message", 7}, to = {in, 8};
    struct {
        void *name;
        int namelen;
        void *iov;
        u32 iovlen;
        void *control;
        u32 controllen, flags;
    } h = {0, 0, &out, 1, 0, 0, 0};
    CALL(SOCKETPAIR, 1, 2, 0, fd);
    say("sendmsg", CALL(SENDMSG, fd[0], &h, 0) == 7);
    h.iov = &to;
    h.flags = 0x55;
    say("recvmsg", CALL(RECVMSG, fd[1], &h, 0) == 7 && same(in, "message") && h.flags == 0 && h.iov == &to);
}

/* ---- signals ---- */

static u32 seen[4];

/* In words: uc_flags and uc_link, three of uc_stack, 32 of sets of signals, three so that what follows is aligned. */
#define REGISTERS (2 + 3 + 32 + 3)

/* siginfo: three words, then what depends on the signal. ucontext: its registers are words, too. */
static void handler(int sig, u32 *info, u32 *uc)
{
    seen[0] = (u32)sig;
    seen[1] = info[2];
    seen[2] = info[3];
    u32 *regs = uc + REGISTERS;
    seen[3] = regs[14];
    regs[14] = 0x4321;
    regs[0] += 4;
}

static void signals(void)
{
    struct {
        void *handler;
        u32 flags;
        u64 mask;
    } action = {handler, 4, 0}, old = {0, 9, 9};
    say("rt_sigaction", CALL(SIGACTION, 11, &action, 0, 8) == 0 && CALL(SIGACTION, 11, 0, &old, 8) == 0 &&
                            old.handler == handler && old.flags == 4 && old.mask == 0);
    CALL(SIGACTION, 10, &action, 0, 8);
    u32 out;
    __asm__ volatile(".option push\n .option norvc\n li a4, 0x1234\n li t0, 0x124\n lw t1, 0(t0)\n mv %0, a4\n .option pop"
                     : "=r"(out)::"a4", "t0", "t1", "memory");
    say("a fault", seen[0] == 11 && seen[1] == 1 && seen[2] == 0x124);
    say("its registers", seen[3] == 0x1234 && out == 0x4321);
    __asm__ volatile(".option push\n .option norvc\n mv a0, %0\n li a1, 10\n li a7, 129\n ecall\n nop\n .option pop" ::"r"(CALL(GETPID))
                     : "a0", "a1", "a7", "memory");
    say("a signal that was sent", seen[0] == 10 && seen[1] == 0 && seen[2] == (u32)CALL(GETPID));
    struct {
        void *sp;
        int flags;
        u32 size;
    } stack = {(void *)0x1000, 0, 8192}, was;
    say("sigaltstack", CALL(SIGALTSTACK, &stack, 0) == 0 && CALL(SIGALTSTACK, 0, &was) == 0 && was.sp == stack.sp && was.size == 8192);
}

/* ---- threads and processes ---- */

static volatile u32 word;

static int in_thread(void)
{
    u32 tp;
    __asm__ volatile("mv %0, tp" : "=r"(tp));
    word = tp == 0xabcd ? 7 : 8;
    CALL(FUTEX64, &word, 1, 1);
    CALL(EXIT, 0);
    return 0;
}

static void threads(void)
{
    static u32 stack[2048];
    u32 *top = stack + 2044;
    register long a0 __asm__("a0"), a1 __asm__("a1") = (long)top, a2 __asm__("a2") = 0;
    register long a3 __asm__("a3") = 0xabcd, a4 __asm__("a4") = 0, a7 __asm__("a7") = CLONE;
    a0 = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x80000; /* VM FS FILES SIGHAND THREAD SYSVSEM SETTLS */
    __asm__ volatile("ecall\n bnez a0, 1f\n jal %5\n 1:" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "i"(in_thread), "r"(a7) : "memory", "ra", "t0");
    long tid = a0;
    while (!word)
        CALL(FUTEX64, &word, 0, 0, 0);
    say("a thread", tid > 0 && word == 7);
    u32 list[3] = {(u32)list, (u32)-20, 0};
    say("robust list", CALL(ROBUST, list, 12) == 0 && CALL(ROBUST, list, 24) == -22);
}

static void processes(char **argv)
{
    char *const again[] = {argv[0], "child", 0}, *const env[] = {"A=b", 0};
    long pid = CALL(CLONE, 17, 0, 0, 0, 0);
    if (!pid) {
        CALL(EXECVE, argv[0], again, env);
        CALL(EXIT_GROUP, 1);
    }
    u32 info[32] = {0};
    long r = CALL(WAITID, 1, pid, info, 4, 0);
    say("waitid", r == 0 && info[0] == 17 && info[3] == (u32)pid && info[5] == 42);
}

int start(u32 *sp)
{
    char **argv = (char **)(sp + 1), **env = argv + sp[0] + 1;
    if (sp[0] == 2 && same(argv[1], "child"))
        return same(env[0], "A=b") && !env[1] ? 42 : 43;
    say("arguments", sp[0] == 3 && same(argv[1], "one") && same(argv[2], "two") && !argv[3]);
    while (*env)
        env++;
    u32 *aux = (u32 *)(env + 1), entry = 0, page = 0;
    for (; aux[0]; aux += 2) {
        entry = aux[0] == 9 ? aux[1] : entry;
        page = aux[0] == 6 ? aux[1] : page;
    }
    extern char _start[];
    say("auxiliary vector", entry == (u32)_start && page == 4096);
    say("a low stack", (u32)sp < 0x80000000);
    files();
    structures();
    messages();
    signals();
    threads();
    processes(argv);
    return 0;
}

__asm__(".globl _start\n_start:\n.option push\n.option norelax\n lla gp, __global_pointer$\n.option pop\n mv a0, sp\n andi sp, sp, -16\n call start\n li a7, 94\n ecall\n");
