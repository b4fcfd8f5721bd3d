/* Inside src/back: the descriptors of a character back end. */
#ifndef LYRE_BACK_CHAR_HOST_H
#define LYRE_BACK_CHAR_HOST_H

#include <termios.h>

#include "back/char.h"

struct char_host {
    enum char_kind kind;
    int in, out, listen; /* -1: none; in and out may be one */
    int other;           /* a pty's side that programs open is held open */
    bool raw;            /* the terminal was changed, and was `before` */
    struct termios before;
    char *unlink;        /* a file to remove at the end */
};

bool char_host_open(struct char_host *h, const struct char_opts *o, struct err *e);
/* The end of what a connection, a terminal or a file had; its descriptors are closed if they are ours. */
void char_host_close(struct char_host *h, bool out_too);
/* The end of all. */
void char_host_end(struct char_host *h);

#endif
