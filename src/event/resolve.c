#include "event/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>

unsigned resolve(const char *host, const char *port, bool listening, struct resolved *to, struct err *e)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = listening ? AI_PASSIVE : 0}, *list = NULL;
    int error = getaddrinfo(*host ? host : NULL, port, &hints, &list);
    unsigned n = 0;
    if (error)
        err_set(e, EINVAL, "address resolution failed for %s:%s: %s", host, port, gai_strerror(error));
    for (struct addrinfo *a = list; a && n < RESOLVE_MAX; a = a->ai_next, n++) {
        memcpy(&to[n].addr, a->ai_addr, a->ai_addrlen);
        to[n].len = a->ai_addrlen;
    }
    if (list)
        freeaddrinfo(list);
    return n;
}
