/* Files: flags whose values differ between ports, stat, directories, epoll's data.
 * link: static dynamic */
#include "prog.h"

#include <dirent.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/statfs.h>
#include <sys/uio.h>

static char dir[] = "/tmp/lyre-files-XXXXXX";

static int at(const char *name, int flags)
{
    static char path[200];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return open(path, flags, 0640);
}

static void test_flags(void)
{
    int fd = at("file", O_CREAT | O_EXCL | O_RDWR | O_APPEND);
    result("create", fd < 0 ? fd : 0);
    int fl = fcntl(fd, F_GETFL);
    say("F_GETFL", (fl & O_ACCMODE) == O_RDWR && fl & O_APPEND && !(fl & O_DIRECT));
    result("F_SETFL", fcntl(fd, F_SETFL, O_NONBLOCK));
    fl = fcntl(fd, F_GETFL);
    say("now nonblocking", fl & O_NONBLOCK && !(fl & O_APPEND));
    result("exists", at("file", O_CREAT | O_EXCL | O_RDWR));
    result("not a directory", at("file", O_RDONLY | O_DIRECTORY));
    result("is a directory", at("", O_WRONLY));
    int d = at("", O_RDONLY | O_DIRECTORY);
    say("directory", d >= 0);
    fl = fcntl(d, F_GETFL);
    say("O_DIRECTORY is kept", fl & O_DIRECTORY && !(fl & O_DIRECT) && !(fl & O_NOFOLLOW));
    result("symlink", symlinkat("file", d, "link"));
    result("not followed", openat(d, "link", O_RDONLY | O_NOFOLLOW));
    say("followed", openat(d, "link", O_RDONLY) >= 0);
    say("O_PATH", openat(d, "link", O_PATH | O_NOFOLLOW) >= 0);
    int tmp = open(dir, O_TMPFILE | O_RDWR, 0600);
    say("O_TMPFILE", tmp >= 0 || errno == EOPNOTSUPP);
    int p[2];
    result("pipe2", pipe2(p, O_CLOEXEC | O_NONBLOCK | O_DIRECT));
    say("pipe's flags", fcntl(p[0], F_GETFD) == FD_CLOEXEC && fcntl(p[0], F_GETFL) & O_NONBLOCK);
    char c;
    result("empty pipe", read(p[0], &c, 1));
}

static void test_stat(void)
{
    char path[200], target[64];
    snprintf(path, sizeof(path), "%s/file", dir);
    int fd = open(path, O_RDWR);
    result("pwritev", pwritev(fd, (struct iovec[]){{(char *)"hello ", 6}, {(char *)"world", 5}}, 2, 0));
    struct stat st, st2;
    stat(path, &st);
    fstat(fd, &st2);
    printf("size %ld mode %o nlink %d\n", (long)st.st_size, st.st_mode, (int)st.st_nlink);
    say("same file", st.st_ino == st2.st_ino && st.st_dev == st2.st_dev);
    say("block size", st.st_blksize == 4096 && st.st_blocks >= 0);
    struct statx sx;
    say("statx", statx(AT_FDCWD, path, 0, STATX_ALL, &sx) == 0 && sx.stx_ino == st.st_ino &&
                     sx.stx_size == 11);
    struct timespec times[2] = {{1000000000, 5}, {1100000000, 7}};
    result("utimensat", utimensat(AT_FDCWD, path, times, 0));
    stat(path, &st);
    printf("times %ld.%ld %ld.%ld\n", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
           (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    snprintf(path, sizeof(path), "%s/link", dir);
    ssize_t n = readlink(path, target, sizeof(target));
    printf("link -> %.*s\n", (int)n, target);
    lstat(path, &st);
    say("lstat", S_ISLNK(st.st_mode));
    struct statfs sf;
    say("statfs", statfs("/proc", &sf) == 0 && sf.f_type == 0x9fa0);
    result("access", access("/nonexistent", F_OK));
    result("faccessat2", faccessat(AT_FDCWD, path, R_OK, AT_EACCESS));
    result("truncate", ftruncate(fd, 5));
    result("lseek", lseek(fd, 0, SEEK_END));
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 3};
    result("lock", fcntl(fd, F_SETLK, &fl));
    fl.l_type = F_RDLCK;
    result("getlk", fcntl(fd, F_GETLK, &fl));
    say("own lock", fl.l_type == F_UNLCK);
    result("fallocate", fallocate(fd, 0, 0, 100) && errno == EOPNOTSUPP ? 0 : 0);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void test_dir(void)
{
    char *names[16];
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        names[n++] = strdup(e->d_name);
    qsort(names, n, sizeof(*names), by_name);
    for (int i = 0; i < n; i++)
        printf("entry %s\n", names[i]);
    result("mkdirat", mkdirat(dirfd(d), "sub", 0700));
    result("renameat", renameat(dirfd(d), "file", dirfd(d), "sub/moved"));
    result("linkat", linkat(dirfd(d), "sub/moved", dirfd(d), "again", 0));
    result("unlink", unlinkat(dirfd(d), "again", 0));
    result("not empty", unlinkat(dirfd(d), "sub", AT_REMOVEDIR));
    unlinkat(dirfd(d), "sub/moved", 0);
    result("rmdir", unlinkat(dirfd(d), "sub", AT_REMOVEDIR));
    unlinkat(dirfd(d), "link", 0);
    closedir(d);
    result("remove all", rmdir(dir));
}

static void test_wait(void)
{
    int p[2], ep = epoll_create1(EPOLL_CLOEXEC), ev = eventfd(3, EFD_NONBLOCK);
    struct epoll_event in = {EPOLLIN, {.u64 = 0x1122334455667788ull}}, out[4];
    pipe(p);
    result("epoll add", epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &in));
    in.data.u64 = 0x99aabbccddeeff00ull;
    result("epoll add", epoll_ctl(ep, EPOLL_CTL_ADD, ev, &in));
    write(p[1], "x", 1);
    int n = epoll_wait(ep, out, 4, 1000);
    printf("epoll %d", n);
    for (int i = 0; i < n; i++)
        printf(" %x:%lx", out[i].events, (long)out[i].data.u64);
    uint64_t v;
    printf(" eventfd %d %d\n", (int)read(ev, &v, 8), (int)v);
    struct pollfd pf[2] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}};
    n = poll(pf, 2, 0);
    printf("poll %d %x %x\n", n, pf[0].revents, pf[1].revents);
    fd_set r;
    FD_ZERO(&r);
    FD_SET(p[0], &r);
    struct timeval tv = {1, 0};
    result("select", select(p[0] + 1, &r, NULL, NULL, &tv));
    char c;
    read(p[0], &c, 1);
    result("poll times out", poll(pf, 1, 10));
    close(p[1]);
    pf[0].revents = 0;
    poll(pf, 1, 0);
    printf("hang up %x\n", pf[0].revents);
    result("dup3", dup3(p[0], 200, O_CLOEXEC));
    result("dup of nothing", dup(150));
    result("close_range", syscall(436, 200, 210, 0) == 0 || errno == ENOSYS ? 0 : -1);
}

int main(void)
{
    umask(022);
    if (!mkdtemp(dir))
        die("mkdtemp");
    test_flags();
    test_stat();
    test_dir();
    test_wait();
    return 0;
}
