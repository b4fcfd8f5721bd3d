/* Sockets by address. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "event/resolve.h"
#include "event/stream.h"

enum { BACKLOG = 16, CONNECT_S = 30 };

static int attach(int fd, const struct sockaddr *a, socklen_t len, bool listening)
{
    if (!listening)
        return connect(fd, a, len);
    return bind(fd, a, len) ? -1 : listen(fd, BACKLOG);
}

static int unix_socket(const char *path, bool listening, struct err *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(a.sun_path)) {
        err_set(e, ENAMETOOLONG, "UNIX socket path '%s' is too long\nPath must be less than %zu bytes", path,
                sizeof(a.sun_path));
        return -1;
    }
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && !attach(fd, (void *)&a, sizeof(a), listening))
        return fd;
    err_set(e, errno, listening ? "Failed to bind socket to %s: %s" : "Failed to connect to '%s': %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* "host:port" or "[host]:port" into its parts; the caller frees them. */
static void split(const char *address, char **host, char **port)
{
    const char *colon = strrchr(address, ':');
    size_t n = colon ? (size_t)(colon - address) : 0;
    bool brackets = n >= 2 && address[0] == '[' && address[n - 1] == ']';
    *host = brackets ? xprintf("%.*s", (int)n - 2, address + 1) : xprintf("%.*s", (int)n, address);
    *port = xstrdup(colon ? colon + 1 : address);
}

static int inet_socket(const char *address, bool listening, struct err *e)
{
    struct resolved list[RESOLVE_MAX];
    char *host, *port;
    split(address, &host, &port);
    unsigned n = resolve(host, port, listening, list, e);
    int fd = -1;
    for (unsigned i = 0; i < n && fd < 0; i++) {
        int one = 1;
        fd = socket(list[i].addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && !listening) /* a connect() without an answer takes minutes otherwise */
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){.tv_sec = CONNECT_S}, sizeof(struct timeval));
        if (fd >= 0 && listening)
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (fd >= 0 && !attach(fd, (void *)&list[i].addr, list[i].len, listening))
            break;
        err_set(e, errno, "Failed to %s '%s': %s", listening ? "listen on" : "connect to", address, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    free(host);
    free(port);
    return fd;
}

static int open_socket(const char *address, bool listening, struct err *e)
{
    if (!strncmp(address, "fd:", 3))
        return (int)strtol(address + 3, NULL, 10);
    return strncmp(address, "unix:", 5) ? inet_socket(address, listening, e)
                                        : unix_socket(address + 5, listening, e);
}

int socket_connect(const char *address, struct err *e)
{
    return open_socket(address, false, e);
}

int socket_listen(const char *address, struct err *e)
{
    return open_socket(address, true, e);
}
