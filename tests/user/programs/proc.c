/* /proc/self, prctl, limits: what a process sees of itself.
 * link: static dynamic
 * args: a b
 * peer: seccomp and the name of the process differ */
#include "prog.h"

#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/personality.h>

static ssize_t slurp(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return -1;
    ssize_t n, got = 0;
    while ((n = read(fd, buf + got, size - 1 - (size_t)got)) > 0)
        got += n;
    buf[got] = 0;
    close(fd);
    return got;
}

int main(int argc, char **argv)
{
    char buf[65536], name[32];
    ssize_t n = slurp("/proc/self/cmdline", buf, sizeof(buf));
    say("cmdline", n > 4 && !strcmp(buf, argv[0]) && !memcmp(buf + strlen(buf) + 1, "a\0b", 4));
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", getpid());
    n = slurp(path, buf, sizeof(buf));
    say("cmdline by pid", n > 4 && !strcmp(buf, argv[0]));
    n = slurp("/proc/self/auxv", buf, sizeof(buf));
    unsigned long *a = (void *)buf;
    int i = 0;
    while (a[i] && a[i] != AT_ENTRY)
        i += 2;
    say("auxv", n > 0 && a[i + 1] == getauxval(AT_ENTRY));
    n = slurp("/proc/self/comm", buf, sizeof(buf));
    printf("comm %s", buf);
    result("PR_SET_NAME", prctl(PR_SET_NAME, "a name that is too long"));
    prctl(PR_GET_NAME, name);
    printf("name %s\n", name);
    n = slurp("/proc/self/stat", buf, sizeof(buf));
    int pid = 0, ppid = 0;
    char state;
    sscanf(buf, "%d", &pid);
    sscanf(strrchr(buf, ')') + 2, "%c %d", &state, &ppid);
    say("stat", pid == getpid() && ppid == getppid() && state == 'R');
    n = slurp("/proc/self/status", buf, sizeof(buf));
    say("status", strstr(buf, "Name:\ta name that is") != NULL);
    n = slurp("/proc/self/environ", buf, sizeof(buf));
    say("environ", n >= 0);
    result("no such file", open("/proc/self/nothing", O_RDONLY));
    struct rlimit r = {64, 64}, old;
    getrlimit(RLIMIT_NOFILE, &old);
    r.rlim_max = old.rlim_max;
    result("setrlimit", setrlimit(RLIMIT_NOFILE, &r));
    getrlimit(RLIMIT_NOFILE, &r);
    printf("limit %d\n", (int)r.rlim_cur);
    result("dup above", dup2(0, 100));
    result("personality", personality(0xffffffff));
    result("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    result("dumpable", prctl(PR_SET_DUMPABLE, 1));
    result("nonsense", prctl(12345, 0, 0, 0, 0));
    result("seccomp", syscall(SYS_seccomp, 99, 0, NULL));
    result("io_uring", syscall(SYS_io_uring_setup, 1, NULL));
    result("priority", getpriority(PRIO_PROCESS, 0) - nice(0)); /* whatever the tests were started with */
    cpu_set_t set;
    say("affinity", sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0);
    say("session", getsid(0) > 0 && getpgid(0) > 0);
    unsigned cpu;
    say("getcpu", syscall(SYS_getcpu, &cpu, NULL, NULL) == 0 && cpu < 4096);
    result("groups", getgroups(0, NULL) >= 0 ? 0 : -1);
    return 0;
}
