#include <errno.h>

#include "event/tls.h"

const struct tls_ops *tls_module(struct err *e)
{
    err_set(e, ENOTSUP, "a static program has no TLS; use lyre");
    return NULL;
}
