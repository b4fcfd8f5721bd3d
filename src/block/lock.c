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
#include <unistd.h>

enum { USED = 100, REFUSED = 200, PERMISSIONS = 4 };

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

/* Who holds the lock, as ": process 123 (name)"; "" if that cannot be found out. */
static void name_holder(int fd, long at, char *text, size_t size)
{
    text[0] = 0;
    struct stat st;
    DIR *proc = fstat(fd, &st) ? NULL : opendir("/proc");
    for (struct dirent *p; proc && !text[0] && (p = readdir(proc));) {
        char path[600];
        snprintf(path, sizeof(path), "/proc/%s/fdinfo", p->d_name);
        DIR *fds = isdigit((u8)p->d_name[0]) ? opendir(path) : NULL;
        for (struct dirent *d; fds && (d = readdir(fds));) {
            snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", p->d_name, d->d_name);
            if (atoi(p->d_name) == getpid() || !fd_locks(path, &st, at))
                continue;
            char name[64] = "";
            snprintf(path, sizeof(path), "/proc/%s/comm", p->d_name);
            FILE *f = fopen(path, "re");
            if (f && fgets(name, sizeof(name), f))
                name[strcspn(name, "\n")] = 0;
            if (f)
                fclose(f);
            snprintf(text, size, "\nIt is in use by process %.10s (%.40s).", p->d_name, name);
            break;
        }
        if (fds)
            closedir(fds);
    }
    if (proc)
        closedir(proc);
}

static bool refuse(int fd, const char *filename, const char *shared, int permission, long at, struct err *e)
{
    char who[128];
    name_holder(fd, at, who, sizeof(who));
    return err_set(e, EAGAIN, "Failed to get %s\"%s\" lock\nIs another process using the image [%s]?%s",
                   shared, names[permission], filename, who);
}

bool file_lock(int fd, const char *filename, u32 used, u32 refused, struct err *e)
{
    for (int i = 0; i < PERMISSIONS; i++) {
        bool good = set_lock(fd, used >> i & 1 ? F_RDLCK : F_UNLCK, USED + i) &&
                    set_lock(fd, refused >> i & 1 ? F_RDLCK : F_UNLCK, REFUSED + i);
        if (!good && (errno == EINVAL || errno == ENOLCK || errno == EOPNOTSUPP))
            return true; /* a file system without locks */
        if (!good)
            return refuse(fd, filename, used >> i & 1 ? "" : "shared ", i, USED + i, e);
    }
    for (int i = 0; i < PERMISSIONS; i++) {
        if ((used >> i & 1) && is_locked(fd, REFUSED + i))
            return refuse(fd, filename, "", i, REFUSED + i, e);
    }
    for (int i = 0; i < PERMISSIONS; i++) {
        if ((refused >> i & 1) && is_locked(fd, USED + i))
            return refuse(fd, filename, "shared ", i, USED + i, e);
    }
    return true;
}
