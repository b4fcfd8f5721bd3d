/* Inside src/back: programs that set up interfaces of the host. */
#ifndef LYRE_BACK_NET_TAP_H
#define LYRE_BACK_NET_TAP_H

#include "base/err.h"
#include "base/types.h"

/* Run a program with the name of an interface, and wait for its end. False: it failed. */
bool tap_script(const char *path, const char *interface, struct err *e);

/* Have a program with more rights than this one connect a new interface to a bridge: "HELPER --use-vnet --fd=N --br=NAME", which
 * sends the descriptor over its socket N. -1 on failure. */
int tap_from_helper(const char *helper, const char *bridge, bool headers, struct err *e);

#endif
