#include "back/char_host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "event/stream.h"

static bool open_at(int *fd, const char *path, int flags, struct err *e)
{
    *fd = open(path, flags | O_CLOEXEC, 0666);
    return *fd >= 0 || err_set(e, errno, "cannot open '%s': %s", path, strerror(errno));
}

/* PATH.in and PATH.out where they exist, else PATH for both. */
static bool open_pipe(struct char_host *h, const char *path, struct err *e)
{
    char *in = xprintf("%s.in", path), *out = xprintf("%s.out", path);
    bool pair = !access(in, F_OK) && !access(out, F_OK);
    bool good = pair ? open_at(&h->in, in, O_RDWR | O_NONBLOCK, e) && open_at(&h->out, out, O_RDWR | O_NONBLOCK, e)
                     : open_at(&h->in, path, O_RDWR | O_NONBLOCK, e);
    if (good && !pair)
        h->out = h->in;
    free(in);
    free(out);
    return good;
}

/* What is typed comes byte by byte and without an echo; output goes out as it is. */
static void make_raw(struct char_host *h, bool signals)
{
    if (tcgetattr(0, &h->before))
        return; /* no terminal */
    struct termios t = h->before;
    t.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    t.c_oflag |= OPOST;
    t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
    if (!signals)
        t.c_lflag &= ~(tcflag_t)ISIG;
    t.c_cflag = (t.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    h->raw = !tcsetattr(0, TCSANOW, &t);
}

static bool open_pty(struct char_host *h, const char *id, struct err *e)
{
    char name[64];
    h->in = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    h->out = h->in;
    if (h->in < 0 || grantpt(h->in) || unlockpt(h->in) || ptsname_r(h->in, name, sizeof(name)))
        return err_set(e, errno, "cannot make a pty: %s", strerror(errno));
    if (!open_at(&h->other, name, O_RDWR | O_NOCTTY, e)) /* else each close would be a hang-up */
        return false;
    struct termios t;
    tcgetattr(h->other, &t);
    cfmakeraw(&t);
    tcsetattr(h->other, TCSANOW, &t);
    printf("char device redirected to %s (label %s)\n", name, id ? id : "serial0");
    fflush(stdout);
    return true;
}

static bool open_socket(struct char_host *h, const struct char_opts *o, struct err *e)
{
    if (!o->server) {
        if (o->reconnect)
            return true; /* when it is started, and without waiting */
        h->in = h->out = socket_connect(o->path, e);
    } else {
        if (!strncmp(o->path, "unix:", 5)) {
            unlink(o->path + 5); /* what an earlier run has left */
            h->unlink = xstrdup(o->path + 5);
        }
        h->listen = socket_listen(o->path, e);
        if (h->listen < 0)
            return false;
        struct pollfd p = {h->listen, POLLIN, 0};
        if (o->wait && poll(&p, 1, -1) == 1)
            h->in = h->out = accept4(h->listen, NULL, NULL, SOCK_CLOEXEC);
    }
    if (h->in >= 0)
        fcntl(h->in, F_SETFL, fcntl(h->in, F_GETFL) | O_NONBLOCK);
    return h->in >= 0 || h->listen >= 0;
}

bool char_host_open(struct char_host *h, const struct char_opts *o, struct err *e)
{
    *h = (struct char_host){.kind = o->kind, .in = -1, .out = -1, .listen = -1, .other = -1};
    bool good = true;
    switch (o->kind) {
    case CHAR_NULL:
        break;
    case CHAR_STDIO:
        h->in = 0;
        h->out = 1;
        make_raw(h, o->signal);
        break;
    case CHAR_FILE:
        good = open_at(&h->out, o->path, O_WRONLY | O_CREAT | (o->append ? O_APPEND : O_TRUNC), e);
        break;
    case CHAR_PIPE:
        good = open_pipe(h, o->path, e);
        break;
    case CHAR_PTY:
        good = open_pty(h, o->id, e);
        break;
    case CHAR_SOCKET:
        good = open_socket(h, o, e);
        break;
    }
    if (!good)
        char_host_end(h);
    return good;
}

void char_host_close(struct char_host *h, bool out_too)
{
    if (h->kind != CHAR_STDIO && h->in >= 0)
        close(h->in);
    if (out_too && h->kind != CHAR_STDIO && h->out >= 0 && h->out != h->in)
        close(h->out);
    h->in = -1;
    if (out_too)
        h->out = -1;
}

void char_host_end(struct char_host *h)
{
    if (h->raw)
        tcsetattr(0, TCSADRAIN, &h->before);
    char_host_close(h, true);
    if (h->listen >= 0)
        close(h->listen);
    if (h->other >= 0)
        close(h->other);
    if (h->unlink)
        unlink(h->unlink);
    free(h->unlink);
}
