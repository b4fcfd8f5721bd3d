/* One end of an electric connection: who raises or lowers it does not know who listens. */
#ifndef LYRE_BASE_WIRE_H
#define LYRE_BASE_WIRE_H

#include "base/types.h"

struct wire {
    void (*set)(void *opaque, unsigned line, bool level); /* NULL: nobody listens */
    void *opaque;
    unsigned line; /* which of the listener's inputs */
};

/* Say what the level is, whether it has changed or not. From any thread that the listener allows. */
static inline void wire_set(const struct wire *w, bool level)
{
    if (w->set)
        w->set(w->opaque, w->line, level);
}

#endif
