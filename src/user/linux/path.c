/* Paths: -L, and the few files of /proc whose meaning differs for the guest. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "user/linux/path.h"
#include "user/linux/syscall.h"
#include "user/process.h"

const char *proc_self_file(const char *path)
{
    if (strncmp(path, "/proc/", 6))
        return NULL;
    path += 6;
    char *end;
    if (!strncmp(path, "self/", 5)) {
        path += 5;
    } else if (!strncmp(path, "thread-self/", 12)) {
        path += 12;
    } else if (strtol(path, &end, 10) == getpid() && end > path && *end == '/') {
        path = end + 1;
    } else {
        return NULL;
    }
    if (!strncmp(path, "task/", 5)) {
        strtol(path + 5, &end, 10);
        if (end > path + 5 && *end == '/')
            path = end + 1;
    }
    return path;
}

/* Directories that the kernel fills: an empty one under the sysroot must not hide them. */
static bool is_virtual(const char *path)
{
    static const char *const dirs[] = {"/proc", "/sys", "/dev"};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        size_t n = strlen(dirs[i]);
        if (!strncmp(path, dirs[i], n) && (!path[n] || path[n] == '/'))
            return true;
    }
    return false;
}

#define MAX_LINKS 40

/* Put `target`, found as the link `guest`, in the place of the link's name. */
static bool follow_link(char *guest, const char *target)
{
    char joined[PATH_BUF / 2];
    size_t dir = 0;
    if (target[0] != '/')
        dir = (size_t)(strrchr(guest, '/') + 1 - guest);
    size_t n = strlen(target);
    if (dir + n >= sizeof(joined))
        return false;
    memcpy(joined, guest, dir);
    memcpy(joined + dir, target, n + 1);
    memcpy(guest, joined, dir + n + 1);
    return true;
}

const char *path_map(struct process *p, const char *path, char *buf, bool follow)
{
    const char *file = proc_self_file(path);
    if (file && follow && p->exe && !strcmp(file, "exe")) {
        snprintf(buf, PATH_BUF, "%s", p->exe);
        return buf;
    }
    char guest[PATH_BUF / 2];
    size_t n = strlen(path);
    if (!p->sysroot || path[0] != '/' || is_virtual(path) || n >= sizeof(guest))
        return path;
    memcpy(guest, path, n + 1);
    for (int links = 0; links < MAX_LINKS; links++) {
        struct stat st;
        snprintf(buf, PATH_BUF, "%s%s", p->sysroot, guest);
        if (lstat(buf, &st) < 0) {
            if (!links)
                return path; /* not there: the host's */
            memcpy(buf, guest, strlen(guest) + 1);
            return buf; /* a link led out of the sysroot */
        }
        if (!follow || !S_ISLNK(st.st_mode))
            return buf;
        char target[PATH_BUF / 2];
        ssize_t len = readlink(buf, target, sizeof(target) - 1);
        if (len < 0)
            return buf;
        target[len] = 0;
        if (!follow_link(guest, target))
            return buf;
    }
    return buf;
}

const char *path_arg(struct thread *t, u64 addr, char *buf, bool follow, s64 *err)
{
    char raw[4096];
    s64 n = space_string(&t->process->space, raw, sizeof(raw), addr);
    if (n < 0) {
        *err = n;
        return NULL;
    }
    *err = 0;
    const char *mapped = path_map(t->process, raw, buf, follow);
    if (mapped == raw)
        memcpy(buf, raw, (size_t)n + 1);
    return buf;
}
