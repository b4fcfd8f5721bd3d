/* The first program of a machine: what Linux makes of the CPU's debug registers and performance monitors, as debuggers
 * (ptrace) and perf ask for it. Prints a line for each thing that was found, and switches the machine off. */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TIMES = 1000 };

/* struct user_hwdebug_state's: a length as a mask of bytes, what it is for, EL0, enabled. */
#define ON_RUN   (0xfu << 5 | 0u << 3 | 2u << 1 | 1)
#define ON_WRITE (0xffu << 5 | 2u << 3 | 2u << 1 | 1)

struct debug_state {
    uint32_t info, pad;
    struct {
        uint64_t addr;
        uint32_t control, pad;
    } reg[1]; /* the others are left alone */
};

static volatile uint64_t words[4] __attribute__((aligned(32)));

static __attribute__((noinline)) void visit(int i)
{
    words[i % 4] = (uint64_t)i;
}

/* Runs hot before and behind what is waited for. */
static int child(void)
{
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    for (int i = 0; i < TIMES; i++)
        visit(i);
    return 0;
}

static void set(pid_t pid, int which, const volatile void *addr, uint32_t control)
{
    struct debug_state s = {0};
    struct iovec v = {&s, sizeof(s)};
    if (ptrace(PTRACE_GETREGSET, pid, which, &v))
        perror("PTRACE_GETREGSET");
    s.reg[0].addr = (uint64_t)(uintptr_t)addr;
    s.reg[0].control = control;
    if (ptrace(PTRACE_SETREGSET, pid, which, &v))
        perror("PTRACE_SETREGSET");
}

static int slots(pid_t pid, int which)
{
    struct debug_state s = {0};
    struct iovec v = {&s, sizeof(s)};
    return ptrace(PTRACE_GETREGSET, pid, which, &v) ? -1 : (int)(s.info & 0xff);
}

/* How often the child stops there. Each time it makes a step without. */
static int count_stops(pid_t pid, int which, const volatile void *addr, uint32_t control)
{
    int n = 0, status;
    siginfo_t info;
    for (;; n++) {
        set(pid, which, addr, control);
        ptrace(PTRACE_CONT, pid, 0, 0);
        waitpid(pid, &status, 0);
        if (WIFEXITED(status))
            return n;
        if (ptrace(PTRACE_GETSIGINFO, pid, 0, &info) || info.si_code != TRAP_HWBKPT || info.si_addr != addr)
            return -1;
        set(pid, which, addr, control & ~1u);
        ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
        waitpid(pid, &status, 0);
    }
}

static void trace(const char *name, int which, const volatile void *addr, uint32_t control)
{
    int status;
    pid_t pid = fork();
    if (!pid)
        _exit(child());
    waitpid(pid, &status, 0);
    int have = slots(pid, which);
    printf("%s: %d slots, %d stops\n", name, have, count_stops(pid, which, addr, control));
}

/* Of this process, or (pid -1) of a CPU. */
static int open_event(struct perf_event_attr *a, pid_t pid, int cpu)
{
    a->size = sizeof(*a);
    int fd = (int)syscall(SYS_perf_event_open, a, pid, cpu, -1, 0);
    if (fd < 0)
        perror("perf_event_open");
    return fd;
}

/* What it has counted, at its end. */
static uint64_t end_event(int fd)
{
    uint64_t n = 0;
    if (read(fd, &n, sizeof(n)) != sizeof(n))
        perror("read");
    close(fd);
    return n;
}

static uint64_t count(int fd)
{
    for (int i = 0; i < TIMES; i++)
        visit(i);
    return end_event(fd);
}

static void count_writes(void)
{
    struct perf_event_attr a = {.type = PERF_TYPE_BREAKPOINT, .bp_type = HW_BREAKPOINT_W, .bp_len = HW_BREAKPOINT_LEN_8,
                                .bp_addr = (uint64_t)(uintptr_t)&words[2], .exclude_kernel = 1};
    printf("perf mem: %llu writes\n", (unsigned long long)count(open_event(&a, 0, -1)));
}

/* The address of something of the kernel's. */
static uint64_t find_symbol(const char *wanted)
{
    char line[256], name[128];
    unsigned long long at, found = 0;
    FILE *f = fopen("/proc/kallsyms", "r");
    while (f && !found && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%llx %*c %127s", &at, name) == 2 && !strcmp(name, wanted))
            found = at;
    }
    if (f)
        fclose(f);
    return found;
}

/* How often the kernel gets there while somebody asks for its version so many times. */
static uint64_t count_in_kernel(const char *symbol, int times)
{
    struct perf_event_attr a = {.type = PERF_TYPE_BREAKPOINT, .bp_type = HW_BREAKPOINT_X, .bp_addr = find_symbol(symbol),
                                .bp_len = HW_BREAKPOINT_LEN_4, .exclude_user = 1};
    int fd = open_event(&a, -1, 0);
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    sched_setaffinity(0, sizeof(first), &first);
    for (int i = 0; i < times; i++) {
        char text[16];
        int version = open("/proc/version", O_RDONLY);
        if (read(version, text, sizeof(text)) != sizeof(text))
            perror("/proc/version");
        close(version);
    }
    return end_event(fd);
}

static void break_kernel(void)
{
    mount("proc", "/proc", "proc", 0, NULL);
    /* an interrupt between a breakpoint and the step behind it has Linux meet it again */
    printf("perf mem: %s calls in the kernel\n", count_in_kernel("version_proc_show", 10) >= 10 ? "all" : "some");
}

static volatile sig_atomic_t overflows;

static void overflowed(int sig)
{
    overflows++;
}

/* Run for so many milliseconds of CPU time. */
static void spend(long ms)
{
    struct timespec t;
    do {
        for (int i = 0; i < TIMES; i++)
            visit(i);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    } while (t.tv_sec * 1000 + t.tv_nsec / 1000000 < ms);
}

static void count_cycles(void)
{
    struct perf_event_attr a = {.type = PERF_TYPE_HARDWARE, .config = PERF_COUNT_HW_CPU_CYCLES, .exclude_kernel = 1};
    printf("perf cycles: %s\n", count(open_event(&a, 0, -1)) > TIMES ? "some" : "none");
}

/* A signal for each million cycles. */
static void sample_cycles(void)
{
    struct perf_event_attr a = {.type = PERF_TYPE_HARDWARE, .config = PERF_COUNT_HW_CPU_CYCLES, .exclude_kernel = 1,
                                .sample_period = 1000000, .wakeup_events = 1, .disabled = 1};
    int fd = open_event(&a, 0, -1);
    mmap(NULL, 9 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    signal(SIGIO, overflowed);
    fcntl(fd, F_SETOWN, getpid());
    fcntl(fd, F_SETFL, O_ASYNC);
    ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    spend(t.tv_sec * 1000 + t.tv_nsec / 1000000 + 100);
    close(fd);
    printf("perf samples: %s\n", overflows ? "some" : "none");
}

int main(void)
{
    trace("hbreak", NT_ARM_HW_BREAK, (void *)visit, ON_RUN);
    trace("watch", NT_ARM_HW_WATCH, &words[1], ON_WRITE);
    count_writes();
    break_kernel();
    count_cycles();
    sample_cycles();
    printf("end\n");
    fflush(stdout);
    reboot(RB_POWER_OFF);
    return 0;
}
