/* Bad pointers in system calls are errors, never more.
 * link: static
 * peer: three calls differ (clone3, prlimit64, nanosleep) */
#include "prog.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/utsname.h>

int main(void)
{
    char *bad[] = {(char *)8, (char *)0x7fffffff0000, (char *)0xffff800000000000ul,
                   (char *)0xfffffffffffffff8ul};
    int fd = open("/dev/zero", O_RDWR), p[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, p);
    for (int i = 0; i < 4; i++) {
        char *b = bad[i];
        printf("-- %d\n", i);
        result("read", syscall(SYS_read, fd, b, 100));
        result("write", syscall(SYS_write, p[0], b, 100));
        result("readv", syscall(SYS_readv, fd, b, 1));
        struct iovec v = {b, 10};
        result("writev", syscall(SYS_writev, p[0], &v, 1));
        result("openat", syscall(SYS_openat, AT_FDCWD, b, 0));
        result("newfstatat", syscall(SYS_newfstatat, AT_FDCWD, "/", b, 0));
        result("fstat", syscall(SYS_fstat, fd, b));
        result("uname", syscall(SYS_uname, b));
        result("clock_gettime", syscall(SYS_clock_gettime, 0, b));
        result("pipe2", syscall(SYS_pipe2, b, 0));
        result("nanosleep", syscall(SYS_nanosleep, b, 0));
        result("rt_sigaction", syscall(SYS_rt_sigaction, SIGUSR1, b, 0, 8));
        result("rt_sigprocmask", syscall(SYS_rt_sigprocmask, 0, b, 0, 8));
        result("sigaltstack", syscall(SYS_sigaltstack, b, 0));
        result("readlinkat", syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", b, 10));
        result("getcwd", syscall(SYS_getcwd, b, 100));
        result("futex", syscall(SYS_futex, b, 0, 0, 0, 0, 0));
        result("execve", syscall(SYS_execve, b, 0, 0));
        result("execve argv", syscall(SYS_execve, "/bin/true", b, 0));
        result("sendmsg", syscall(SYS_sendmsg, p[0], b, 0));
        result("sendto", syscall(SYS_sendto, p[0], b, 10, 0, 0, 0));
        result("ppoll", syscall(SYS_ppoll, b, 1, 0, 0, 0));
        result("epoll_ctl", syscall(SYS_epoll_ctl, epoll_create1(0), EPOLL_CTL_ADD, p[0], b));
        result("getrandom", syscall(SYS_getrandom, b, 8, 0));
        result("prlimit64", syscall(SYS_prlimit64, 0, 3, b, 0));
        result("statx", syscall(SYS_statx, AT_FDCWD, "/", 0, 0xfff, b));
        result("clone3", syscall(SYS_clone3, b, 88));
    }
    struct stat st;
    result("half a buffer", 0);
    char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(m + 4096, 4096);
    result("read", read(fd, m + 4000, 4096));
    result("fstat across", syscall(SYS_fstat, fd, m + 4096 - 16));
    result("fstat", fstat(fd, &st));
    mprotect(m, 4096, PROT_READ);
    result("read into read-only", read(fd, m, 10));
    result("write from it", write(p[0], m, 10));
    return 0;
}
