#include "block/lock.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum { USED = 100, REFUSED = 200, PERMISSIONS = 4, DYING_MS = 1000, STEP_MS = 10 };

static const char *const names[PERMISSIONS] = {"consistent read", "write", "write unchanged", "resize"};

static bool set_lock(int fd, short type, off_t at)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return !fcntl(fd, F_OFD_SETLK, &l);
}

/* Whether another open file has a lock there. */
static bool is_locked(int fd, off_t at)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return !fcntl(fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;
}

/* Whether a process's open file locks this byte of this inode: a line "lock: 1: OFDLCK ADVISORY READ -1
 * fe:00:1234 100 100" in its fdinfo. */
static bool fd_locks(const char *fdinfo, const struct stat *st, long at)
{
    FILE *f = fopen(fdinfo, "re");
    char line[256];
    bool found = false;
    while (f && !found && fgets(line, sizeof(line), f)) {
        unsigned major, minor;
        unsigned long inode;
        long first, last;
        found = sscanf(line, "lock: %*d: OFDLCK %*s %*s %*d %x:%x:%lu %ld %ld", &major, &minor, &inode,
                       &first, &last) == 5 &&
                inode == st->st_ino && makedev(major, minor) == st->st_dev && first <= at && at <= last;
    }
    if (f)
        fclose(f);
    return found;
}

/* The first of a process's open files but `fd` of ours that locks this byte; false: none does. */
static bool process_locks(const char *pid, int fd, const struct stat *st, long at)
{
    char path[600];
    bool found = false, own = atoi(pid) == getpid();
    snprintf(path, sizeof(path), "/proc/%s/fdinfo", pid);
    DIR *fds = opendir(path);
    for (struct dirent *d; fds && !found && (d = readdir(fds));) {
        snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", pid, d->d_name);
        found = !(own && atoi(d->d_name) == fd) && fd_locks(path, st, at);
    }
    if (fds)
        closedir(fds);
    return found;
}

/* Whether a process is known that holds the lock; *who: "process 123 (name)", "" for this one. */
static bool find_holder(int fd, long at, char *who, size_t size)
{
    struct stat st;
    bool found = false;
    DIR *proc = fstat(fd, &st) ? NULL : opendir("/proc");
    who[0] = 0;
    for (struct dirent *p; proc && !found && (p = readdir(proc));) {
        found = isdigit((u8)p->d_name[0]) && process_locks(p->d_name, fd, &st, at);
        if (!found || atoi(p->d_name) == getpid())
            continue;
        char path[300], name[64] = "";
        snprintf(path, sizeof(path), "/proc/%s/comm", p->d_name);
        FILE *f = fopen(path, "re");
        if (f && fgets(name, sizeof(name), f))
            name[strcspn(name, "\n")] = 0;
        if (f)
            fclose(f);
        snprintf(who, size, "\nIt is in use by process %.10s (%.40s).", p->d_name, name);
    }
    if (proc)
        closedir(proc);
    return found;
}

/* What is in the way: which permission, and the byte that stands for it. */
struct conflict {
    const char *shared;
    int permission;
    long at;
};

/* False: *c is in the way. */
static bool try_lock(int fd, u32 used, u32 refused, struct conflict *c)
{
    for (int i = 0; i < PERMISSIONS; i++) {
        bool good = set_lock(fd, used >> i & 1 ? F_RDLCK : F_UNLCK, USED + i) &&
                    set_lock(fd, refused >> i & 1 ? F_RDLCK : F_UNLCK, REFUSED + i);
        if (!good && (errno == EINVAL || errno == ENOLCK || errno == EOPNOTSUPP))
            return true; /* a file system without locks */
        *c = (struct conflict){used >> i & 1 ? "" : "shared ", i, USED + i};
        if (!good)
            return false;
    }
    for (int i = 0; i < PERMISSIONS; i++) {
        *c = (struct conflict){"", i, REFUSED + i};
        if ((used >> i & 1) && is_locked(fd, c->at))
            return false;
    }
    for (int i = 0; i < PERMISSIONS; i++) {
        *c = (struct conflict){"shared ", i, USED + i};
        if ((refused >> i & 1) && is_locked(fd, c->at))
            return false;
    }
    return true;
}

/* A lock that no process is seen to hold is that of one that has died a moment ago: the kernel ends what io_uring had in flight, and
 * closes its files, behind the process's back. That is waited for. */
bool file_lock(int fd, const char *filename, u32 used, u32 refused, struct err *e)
{
    struct conflict c;
    char who[128];
    for (unsigned waited = 0; !try_lock(fd, used, refused, &c); waited += STEP_MS) {
        if (find_holder(fd, c.at, who, sizeof(who)) || waited >= DYING_MS)
            return err_set(e, EAGAIN, "Failed to get %s\"%s\" lock\nIs another process using the image [%s]?%s", c.shared,
                           names[c.permission], filename, who);
        nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000l}, NULL);
    }
    return true;
}
