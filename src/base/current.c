#include "base/current.h"

/* Initial-exec: a handler must not run into the allocation of thread-local storage. */
static _Thread_local void *current __attribute__((tls_model("initial-exec")));

void *current_get(void)
{
    return current;
}

void current_set(void *thread)
{
    current = thread;
}
