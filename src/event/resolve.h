/* Names of hosts as addresses: by the system's resolver, or (in a static program, which has none) numbers only. */
#ifndef LYRE_EVENT_RESOLVE_H
#define LYRE_EVENT_RESOLVE_H

#include <sys/socket.h>

#include "base/err.h"

enum { RESOLVE_MAX = 8 };

struct resolved {
    struct sockaddr_storage addr;
    socklen_t len;
};

/* How many addresses there are, at most RESOLVE_MAX; 0 on failure. host "": any (listening) or this host. */
unsigned resolve(const char *host, const char *port, bool listening, struct resolved *to, struct err *e);

#endif
