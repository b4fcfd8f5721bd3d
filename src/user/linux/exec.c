/* execve. A program of the guest's architecture, or a script for one, becomes a new lyre with the
 * same options; everything else is the host's to run. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/mem.h"
#include "user/linux/headers.h"
#include "user/linux/load.h"
#include "user/linux/signal.h"
#include "user/linux/syscall.h"

#define MAX_STRINGS 0x7fffffu

/* The guest's vector of strings as one of host pointers (the strings stay where they are), with
 * `extra` free places in front. */
static s64 read_vector(struct thread *t, u64 addr, size_t extra, char ***out, size_t *count)
{
    struct space *sp = &t->process->space;
    size_t n = 0, cap = 64;
    char **v = xmalloc((extra + cap + 1) * sizeof(*v));
    for (;; n++) {
        u64 s = 0;
        char probe;
        s64 r = 0;
        if (addr && !process_read_word(t->process, addr + n * t->process->word, &s))
            r = -EFAULT;
        else if (!s)
            break;
        else if (n == MAX_STRINGS)
            r = -E2BIG;
        else if (!space_read(sp, &probe, s, 1))
            r = -EFAULT;
        if (r) {
            free(v);
            return r;
        }
        if (n == cap) {
            cap *= 2;
            v = xrealloc(v, (extra + cap + 1) * sizeof(*v));
        }
        v[extra + n] = (char *)(uintptr_t)s;
    }
    v[extra + n] = NULL;
    *out = v;
    *count = n;
    return 0;
}

struct exec {
    int dirfd;
    const char *path; /* in host form */
    const char *guest_path;
    int flags;        /* AT_* */
    u64 argv, envp;
};

static s64 exec_host(struct thread *t, const struct exec *x, const char *path, char **argv,
                     char **envp)
{
    struct rlimit ours;
    getrlimit(RLIMIT_STACK, &ours);
    setrlimit(RLIMIT_STACK, &t->process->limit_stack);
    signal_exec_begin(t);
    s64 r = host_call(t, SYS_execveat, path ? (u64)AT_FDCWD : (u64)x->dirfd,
                      (u64)(uintptr_t)(path ? path : x->path), (u64)(uintptr_t)argv,
                      (u64)(uintptr_t)envp, path ? 0 : (u64)x->flags, 0);
    signal_exec_failed(t);
    setrlimit(RLIMIT_STACK, &ours);
    return r;
}

/* Run lyre with our own options in front of the program's path. */
static s64 exec_guest(struct thread *t, const struct exec *x, const char *program, char **envp)
{
    char *const *options = t->process->opts->reexec;
    size_t prefix = 0, argc;
    char **argv;
    while (options[prefix])
        prefix++;
    /* options -0 NAME PATH, where PATH takes the place of argv[0] */
    s64 r = read_vector(t, x->argv, prefix + 2, &argv, &argc);
    if (r)
        return r;
    memcpy(argv, options, prefix * sizeof(*argv));
    char *name = argc ? argv[prefix + 2] : (char *)"";
    argv[prefix] = (char *)"-0";
    argv[prefix + 1] = name;
    argv[prefix + 2] = (char *)(uintptr_t)program;
    if (!argc)
        argv = xrealloc(argv, (prefix + 4) * sizeof(*argv)), argv[prefix + 3] = NULL;
    r = exec_host(t, x, "/proc/self/exe", argv, envp);
    free(argv);
    return r;
}

/* A name under which another lyre can open the file: the guest's path, or the descriptor's. */
static s64 program_name(const struct exec *x, int fd, char *name, size_t size)
{
    /* Names that mean something else to another process are looked up. */
    bool special = !strncmp(x->guest_path, "/proc/", 6) || !strncmp(x->guest_path, "/dev/fd/", 8);
    if (!special && (x->dirfd == AT_FDCWD || x->guest_path[0] == '/')) {
        /* A path that looks like an option is not one. */
        snprintf(name, size, "%s%s", x->guest_path[0] == '-' ? "./" : "", x->guest_path);
        return 0;
    }
    char link[64];
    struct stat a, b;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, name, size - 1);
    if (n > 0) {
        name[n] = 0;
        if (fstat(fd, &a) == 0 && stat(name, &b) == 0 && a.st_dev == b.st_dev &&
            a.st_ino == b.st_ino)
            return 0;
    }
    /* It has no name (memfd): leave a descriptor open for the new lyre. */
    int keep = fcntl(fd, F_DUPFD, 3);
    if (keep < 0)
        return -errno;
    snprintf(name, size, "/proc/self/fd/%d", keep);
    return 0;
}

static s64 exec_open(const struct exec *x, int *fd)
{
    struct stat st;
    if (!*x->path && x->flags & AT_EMPTY_PATH) {
        char link[64];
        snprintf(link, sizeof(link), "/proc/self/fd/%d", x->dirfd);
        *fd = open(link, O_RDONLY | O_CLOEXEC);
    } else {
        *fd = openat(x->dirfd, x->path,
                     O_RDONLY | O_CLOEXEC | O_NONBLOCK |
                         (x->flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0));
    }
    if (*fd < 0)
        return -errno;
    s64 r = 0;
    if (fstat(*fd, &st) < 0)
        r = -errno;
    else if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111))
        r = -EACCES;
    else if (faccessat(x->dirfd, x->path, X_OK, AT_EACCESS) < 0 && errno == EACCES)
        r = -EACCES;
    if (r)
        close(*fd);
    return r;
}

static s64 do_exec(struct thread *t, const struct exec *x)
{
    enum exec_kind kind = EXEC_NATIVE;
    char name[PATH_BUF];
    char **argv, **envp;
    size_t n;
    int fd = -1;
    s64 r = exec_open(x, &fd);
    if (r == -EACCES && fd < 0)
        kind = EXEC_NATIVE; /* not readable, maybe still executable */
    else if (r)
        return r;
    else
        r = exec_classify(t->process, fd, &kind);
    if (!r || fd < 0)
        r = read_vector(t, x->envp, 0, &envp, &n);
    if (r) {
        if (fd >= 0)
            close(fd);
        return r;
    }
    if (kind == EXEC_GUEST) {
        r = program_name(x, fd, name, sizeof(name));
        if (!r)
            r = exec_guest(t, x, name, envp);
    } else {
        r = read_vector(t, x->argv, 0, &argv, &n);
        if (!r) {
            r = exec_host(t, x, NULL, argv, envp);
            free(argv);
        }
    }
    free(envp);
    if (fd >= 0)
        close(fd);
    return r;
}

s64 sys_execve(struct thread *t, const u64 *a)
{
    const u64 b[6] = {(u64)AT_FDCWD, a[0], a[1], a[2], 0};
    return sys_execveat(t, b);
}

s64 sys_execveat(struct thread *t, const u64 *a)
{
    char raw[4096], buf[PATH_BUF];
    s64 r = space_string(&t->process->space, raw, sizeof(raw), a[1]);
    if (r < 0)
        return r;
    struct exec x = {.dirfd = (int)a[0], .guest_path = raw, .flags = (int)a[4], .argv = a[2],
                     .envp = a[3]};
    if (!*raw && !(x.flags & AT_EMPTY_PATH))
        return -ENOENT;
    x.path = path_map(t->process, raw, buf, true);
    return do_exec(t, &x);
}
