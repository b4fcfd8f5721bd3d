/* Files and directories. */
#include <errno.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "user/linux/abi.h"
#include "user/linux/headers.h"
#include "user/linux/path.h"
#include "user/linux/proc.h"
#include "user/linux/syscall.h"
#include "user/process.h"

/* The path of an open-like call: *r is 1 if the host shall open the path returned, else the result
 * of the whole call. */
static const char *open_path(struct thread *t, u64 guest, u64 flags, char *buf, s64 *r)
{
    char raw[4096];
    *r = space_string(&t->process->space, raw, sizeof(raw), guest);
    if (*r < 0)
        return NULL;
    *r = raw[0] == '/' && !(flags & O_PATH) ? proc_open(t, raw, (int)flags) : 1;
    if (*r != 1)
        return NULL;
    bool follow = !(flags & O_NOFOLLOW) && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
    const char *path = path_map(t->process, raw, buf, follow);
    if (path == raw)
        memcpy(buf, raw, strlen(raw) + 1);
    return buf;
}

s64 sys_openat(struct thread *t, const u64 *a)
{
    char buf[PATH_BUF];
    s64 r;
    const char *path = open_path(t, a[1], a[2], buf, &r);
    if (!path)
        return r;
    return host_call(t, SYS_openat, a[0], (u64)(uintptr_t)path, a[2], a[3], 0, 0);
}

s64 sys_openat2(struct thread *t, const u64 *a)
{
    char buf[PATH_BUF];
    struct open_how how = {0};
    s64 r;
    if (a[3] < sizeof(how))
        return -EINVAL;
    if (a[3] > sizeof(how))
        return -E2BIG; /* fields that we do not know */
    if (!space_read(&t->process->space, &how, a[2], sizeof(how)))
        return -EFAULT;
    how.flags = flags_to_host(t->process, SYS_SET_open, how.flags);
    const char *path = open_path(t, a[1], how.flags, buf, &r);
    if (!path)
        return r;
    return host_call(t, SYS_openat2, a[0], (u64)(uintptr_t)path, (u64)(uintptr_t)&how, sizeof(how),
                     0, 0);
}

/* Is it one of lyre's descriptors? The guest does not see them: to it they are not open. */
static bool is_own(u64 fd)
{
    return (int)fd >= 0 && (int)fd == log_fd();
}

s64 sys_close(struct thread *t, const u64 *a)
{
    return is_own(a[0]) ? -EBADF : host_call(t, SYS_close, a[0], 0, 0, 0, 0, 0);
}

s64 sys_close_range(struct thread *t, const u64 *a)
{
    u32 first = (u32)a[0], last = (u32)a[1];
    int own = log_fd();
    if (own < 0 || first > (u32)own || last < (u32)own)
        return host_call(t, SYS_close_range, first, last, a[2], 0, 0, 0);
    s64 r = 0;
    if (first < (u32)own)
        r = host_call(t, SYS_close_range, first, (u32)own - 1, a[2], 0, 0, 0);
    if (!r && last > (u32)own)
        r = host_call(t, SYS_close_range, (u32)own + 1, last, a[2], 0, 0, 0);
    return r;
}

s64 sys_dup3(struct thread *t, const u64 *a)
{
    if (is_own(a[0]) || is_own(a[1]))
        return -EBADF;
    return host_call(t, SYS_dup3, a[0], a[1], a[2], 0, 0, 0);
}

/* The host's number of a command; -1: it takes a struct flock of 32 bits, which nobody uses who has 64. */
static int fcntl_command(const struct process *p, int cmd)
{
    enum { GETLK64 = 12, SETLKW64 = 14 }; /* on ports of 32 bits */
    if (p->word == 8)
        return cmd;
    if (cmd >= GETLK64 && cmd <= SETLKW64)
        return cmd - GETLK64 + F_GETLK;
    return cmd >= F_GETLK && cmd <= F_SETLKW ? -1 : cmd;
}

s64 sys_fcntl(struct thread *t, const u64 *a)
{
    u64 arg = a[2];
    int cmd = fcntl_command(t->process, (int)a[1]);
    switch (cmd) {
    case F_SETFL:
        arg = flags_to_host(t->process, SYS_SET_open, arg);
        break;
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
    case F_SETOWN_EX:
    case F_GETOWN_EX:
        if (!space_ok(&t->process->space, arg, 1))
            return -EFAULT;
        break;
    }
    s64 r = cmd < 0 ? -EINVAL : host_call(t, SYS_fcntl, a[0], (u64)cmd, arg, 0, 0, 0);
    if (cmd == F_GETFL && r >= 0)
        r = (s64)flags_to_guest(t->process, SYS_SET_open, (u64)r);
    return r;
}

s64 sys_readlinkat(struct thread *t, const u64 *a)
{
    char raw[4096], buf[PATH_BUF];
    struct process *p = t->process;
    s64 r = space_string(&p->space, raw, sizeof(raw), a[1]);
    if (r < 0)
        return r;
    if ((int)a[3] <= 0)
        return -EINVAL;
    const char *file = proc_self_file(raw);
    if (file && !strcmp(file, "exe")) {
        size_t n = MIN(strlen(p->exe), (size_t)(int)a[3]);
        return space_write(&p->space, a[2], p->exe, n) ? (s64)n : -EFAULT;
    }
    const char *path = path_map(p, raw, buf, false);
    return host_call(t, SYS_readlinkat, a[0], (u64)(uintptr_t)path, a[2], a[3], 0, 0);
}

s64 sys_getdents64(struct thread *t, const u64 *a)
{
    return host_call(t, SYS_getdents64, a[0], a[1], a[2], 0, 0, 0);
}

s64 sys_chroot(struct thread *t, const u64 *a)
{
    char buf[PATH_BUF];
    s64 err;
    const char *path = path_arg(t, a[0], buf, true, &err);
    return path ? host_call(t, SYS_chroot, (u64)(uintptr_t)path, 0, 0, 0, 0, 0) : err;
}

s64 sys_pivot_root(struct thread *t, const u64 *a)
{
    char new[PATH_BUF], old[PATH_BUF];
    s64 err;
    if (!path_arg(t, a[0], new, true, &err) || !path_arg(t, a[1], old, true, &err))
        return err;
    return host_call(t, SYS_pivot_root, (u64)(uintptr_t) new, (u64)(uintptr_t)old, 0, 0, 0, 0);
}

s64 sys_ioctl(struct thread *t, const u64 *a)
{
    /* The numbers and layouts of 64-bit little-endian ports are the same. What is a pointer and what
     * a number depends on the request; a number in lyre's range would be a strange one. */
    if (a[2] >= t->process->space.top && a[2] >> 47 == 0)
        return -EFAULT;
    return host_call(t, SYS_ioctl, a[0], a[1], a[2], 0, 0, 0);
}

/* ---- ports of 32 bits: sizes and offsets of 64 ---- */

static s64 put_statfs(struct thread *t, s64 r, const u64 *a, const struct statfs *fs)
{
    return !r && !struct_write(t, SYS_STRUCT_statfs, a[2], fs) ? -EFAULT : r;
}

s64 sys_statfs64(struct thread *t, const u64 *a)
{
    char buf[PATH_BUF];
    struct statfs fs;
    s64 err;
    if (a[1] != struct_guest_size(t->process, SYS_STRUCT_statfs))
        return -EINVAL;
    const char *path = path_arg(t, a[0], buf, true, &err);
    if (!path)
        return err;
    return put_statfs(t, host_call(t, SYS_statfs, (u64)(uintptr_t)path, (u64)(uintptr_t)&fs, 0, 0, 0, 0), a, &fs);
}

s64 sys_fstatfs64(struct thread *t, const u64 *a)
{
    struct statfs fs;
    if (a[1] != struct_guest_size(t->process, SYS_STRUCT_statfs))
        return -EINVAL;
    return put_statfs(t, host_call(t, SYS_fstatfs, a[0], (u64)(uintptr_t)&fs, 0, 0, 0, 0), a, &fs);
}

s64 sys_llseek(struct thread *t, const u64 *a)
{
    s64 r = host_call(t, SYS_lseek, a[0], a[1] << 32 | (u32)a[2], a[4], 0, 0, 0);
    if (r < 0)
        return r;
    return space_write(&t->process->space, a[3], &r, sizeof(r)) ? 0 : -EFAULT;
}
