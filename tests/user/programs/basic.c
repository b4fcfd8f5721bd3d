/* Start-up: arguments, environment, the auxiliary vector, brk, clocks.
 * link: static dynamic no-pie
 * aarch64 link: static-pie
 * args: one "two three" ""
 * env: TEST_VALUE=here */
#include "prog.h"

#include "guest.h"

#include <sys/auxv.h>
#include <sys/utsname.h>
#include <sys/sysinfo.h>
#include <sys/resource.h>
#include <elf.h>

extern char **environ;

int main(int argc, char **argv)
{
    printf("argc %d", argc);
    for (int i = 1; i < argc; i++)
        printf(" [%s]", argv[i]);
    printf("\nenv %s\n", getenv("TEST_VALUE"));
    say("argv ends", argv[argc] == NULL);
    say("stack aligned", ((uintptr_t)__builtin_frame_address(0) & 15) == 0);
    say("pagesz", getauxval(AT_PAGESZ) == 4096 && sysconf(_SC_PAGESIZE) == 4096);
    const char *platform = (const char *)getauxval(AT_PLATFORM);
    say("platform", PLATFORM ? !strcmp(platform, PLATFORM) : !platform);
    say("hwcap has what there always is", (getauxval(AT_HWCAP) & HWCAP) == HWCAP);
    say("random", getauxval(AT_RANDOM) != 0);
    say("execfn", strstr((char *)getauxval(AT_EXECFN), "basic") != NULL);
    say("uid", getauxval(AT_UID) == getuid() && getauxval(AT_EGID) == getegid());
    Elf64_Phdr *ph = (void *)getauxval(AT_PHDR);
    say("phdr", ph && getauxval(AT_PHENT) == sizeof(*ph) && getauxval(AT_PHNUM) > 2);
    struct utsname u;
    uname(&u);
    printf("machine %s, system %s\n", strcmp(u.machine, MACHINE) ? u.machine : "right", u.sysname);
    char *b = sbrk(0);
    say("brk grows", sbrk(100000) == b);
    memset(b, 1, 100000);
    say("brk shrinks", sbrk(-100000) == b + 100000 && sbrk(0) == b);
    say("brk of nonsense", (char *)syscall(SYS_brk, 16) == b);
    struct timespec a, c;
    clock_gettime(CLOCK_MONOTONIC, &a);
    msleep(2);
    clock_gettime(CLOCK_MONOTONIC, &c);
    say("time goes on", c.tv_sec > a.tv_sec || c.tv_nsec > a.tv_nsec);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &c);
    struct sysinfo si;
    say("sysinfo", sysinfo(&si) == 0 && si.mem_unit && si.totalram);
    struct rlimit r;
    say("rlimit", getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur <= r.rlim_max);
    struct rusage ru;
    say("rusage", getrusage(RUSAGE_SELF, &ru) == 0);
    result("no such call", syscall(5000));
    char cwd[4096], self[4096];
    say("getcwd", syscall(SYS_getcwd, cwd, sizeof(cwd)) == (long)strlen(cwd) + 1);
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = 0;
    say("/proc/self/exe", strstr(self, "basic") != NULL);
    double d = 0;
    for (int i = 1; i <= 1000; i++)
        d += 1.0 / i;
    printf("%.12f %s\n", d, "float formatting");
    return 42;
}
