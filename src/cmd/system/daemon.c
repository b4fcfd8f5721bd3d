#include "cmd/system/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int daemon_begin(struct err *e)
{
    int fd[2];
    char byte;
    pid_t child = pipe2(fd, O_CLOEXEC) ? -1 : fork();
    if (child < 0) {
        err_set(e, errno, "cannot become a daemon: %s", strerror(errno));
        return -1;
    }
    if (child) {
        close(fd[1]);
        _exit(read(fd[0], &byte, 1) == 1 ? 0 : 1);
    }
    close(fd[0]);
    setsid();
    return fd[1];
}

void daemon_ready(int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    bool good = !chdir("/") && null >= 0;
    for (int i = 0; good && i < 3; i++)
        good = dup2(null, i) == i;
    if (null >= 0)
        close(null);
    ssize_t n = good ? write(fd, "", 1) : 0;
    (void)n; /* nobody may wait any more */
    close(fd);
}

bool pidfile_write(const char *path, struct err *e)
{
    FILE *f = fopen(path, "w");
    bool good = f && fprintf(f, "%d\n", getpid()) > 0;
    good = (f && !fclose(f)) && good;
    return good || err_set(e, errno, "cannot create PID file: %s: %s", path, strerror(errno));
}
