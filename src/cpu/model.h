/* CPU models as people ask for them: "NAME" or "NAME,FEATURE=on,FEATURE=off". */
#ifndef LYRE_CPU_MODEL_H
#define LYRE_CPU_MODEL_H

#include "base/err.h"
#include "base/types.h"

/* What a guest's models may be asked for. Features are numbered, and sets of them bits. */
struct model_rules {
    const char *guest;               /* for messages: "an AArch64 CPU" */
    const char *(*name)(unsigned i); /* of the i-th model; NULL behind the last */
    const char *const *features;     /* their names ... */
    unsigned count, prefix;          /* ... how many; what of each is not written: "FEAT_" has 5 letters */
    u64 free;                        /* those that can be switched */
    const u8 (*needs)[2];            /* the first of each pair is not without the second ... */
    unsigned nneeds;                 /* ... how many */
    const char *others;              /* names that the guest knows besides, for messages */
};

/* One FEATURE=on or FEATURE=off. */
struct model_change {
    const char *name;
    size_t len;
    bool on;
};

/* The number of the model that a description starts with, NULL being the first; -1: there is none, and the
 * message lists them. */
int model_find(const struct model_rules *r, const char *description, struct err *e);

/* The next change that a description asks for; *at is at the comma before it, and moves on. False at the end,
 * where *at is NULL, and for what is none. */
bool model_next_change(const char **at, struct model_change *c, struct err *e);
bool model_change_is(const struct model_change *c, const char *name);

/* Switch a feature, and what must go with it. False for an unknown one; the message lists them. */
bool model_switch(const struct model_rules *r, const struct model_change *c, u64 *features, struct err *e);

#endif
