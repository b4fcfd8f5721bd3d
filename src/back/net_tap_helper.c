#include "back/net_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

extern char **environ;

/* Its exit status, with the signals that it is used to; -1: it could not be started. */
static int run(char *const argv[])
{
    pid_t pid;
    posix_spawnattr_t attributes;
    sigset_t none;
    int status = -1;
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int error = posix_spawn(&pid, argv[0], NULL, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    errno = error;
    if (error)
        return -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

bool tap_script(const char *path, const char *interface, struct err *e)
{
    char *const argv[] = {(char *)(uintptr_t)path, (char *)(uintptr_t)interface, NULL};
    int status = run(argv);
    if (status < 0)
        return err_set(e, errno, "could not launch network script '%s': %s", path, strerror(errno));
    return !status || err_set(e, EINVAL, "network script %s failed with status %d", path, status);
}

/* The descriptor that comes over a socket with a byte; -1: none. */
static int receive_fd(int socket)
{
    char byte, space[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
    int fd = -1;
    if (recvmsg(socket, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != 1)
        return -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    return fd;
}

int tap_from_helper(const char *helper, const char *bridge, bool headers, struct err *e)
{
    int pair[2], fd = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        err_set(e, errno, "cannot make a pair of sockets: %s", strerror(errno));
        return -1;
    }
    fcntl(pair[1], F_SETFD, 0); /* the helper inherits it */
    char *to = xprintf("--fd=%d", pair[1]), *name = xprintf("--br=%s", bridge);
    char *const argv[] = {(char *)(uintptr_t)helper, headers ? "--use-vnet" : to, headers ? to : name, headers ? name : NULL, NULL};
    int status = run(argv);
    if (status < 0)
        err_set(e, errno, "failed to launch bridge helper '%s': %s", helper, strerror(errno));
    else if (status || (fd = receive_fd(pair[0])) < 0)
        err_set(e, EIO, "bridge helper '%s' failed for bridge '%s'", helper, bridge);
    free(to);
    free(name);
    close(pair[0]);
    close(pair[1]);
    return fd;
}
