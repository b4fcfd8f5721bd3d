/* What query-command-line-options says: the options that take parameters, and these, as far as we have them. */
#ifndef LYRE_CMD_SYSTEM_HINTS_H
#define LYRE_CMD_SYSTEM_HINTS_H

#include "monitor/monitor.h"

extern const struct monitor_option option_hints[];

#endif
