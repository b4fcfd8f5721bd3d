#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "event/resolve.h"

unsigned resolve(const char *host, const char *port, bool listening, struct resolved *to, struct err *e)
{
    struct sockaddr_in *v4 = (void *)&to[0].addr;
    struct sockaddr_in6 *v6 = (void *)&to[0].addr;
    char *end;
    unsigned long number = strtoul(port, &end, 10);
    const char *text = *host ? host : listening ? "0.0.0.0" : "127.0.0.1";
    memset(&to[0], 0, sizeof(to[0]));
    if (!strcmp(text, "localhost"))
        text = "127.0.0.1";
    if (*end || end == port || number > 65535)
        return err_set(e, EINVAL, "'%s' is no port number", port);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((u16)number);
        to[0].len = sizeof(*v4);
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((u16)number);
        to[0].len = sizeof(*v6);
    } else {
        return err_set(e, ENOTSUP, "'%s' is no address in numbers, and a static program cannot look up names", host);
    }
    return 1;
}
