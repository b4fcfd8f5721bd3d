#include "jit/host/host.h"

#include <stdlib.h>

void host_buf_free(struct host_buf *buf)
{
    free(buf->link);
    free(buf->fault);
    free(buf->fp_site);
    free(buf->mark);
    for (unsigned i = 0; i < ARRAY_LEN(buf->list); i++)
        free(buf->list[i]);
}
