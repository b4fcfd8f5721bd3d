/* Inside src/back: what the two ways of naming character back ends have in common. */
#ifndef LYRE_BACK_CHAR_OPTS_H
#define LYRE_BACK_CHAR_OPTS_H

#include "back/char.h"

enum { CHAR_RECONNECT_MAX = 86400 };

/* False: there is no such kind. */
bool char_kind_find(const char *name, enum char_kind *kind);
/* A descriptor that was handed to this process as an address: "fd:7"; the caller frees it. NULL on failure. */
char *char_opts_fd(const char *text, struct err *e);
/* What a kind needs is there, and what is there goes together. */
bool char_opts_check(const struct char_opts *o, struct err *e);

#endif
