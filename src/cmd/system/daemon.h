/* -daemonize: the process that was started ends when the machine is there. */
#ifndef LYRE_CMD_SYSTEM_DAEMON_H
#define LYRE_CMD_SYSTEM_DAEMON_H

#include "base/err.h"

/* Before there are threads: go on in a child. Does not return in the process that was started, which ends well when
 * daemon_ready() was called, else badly. -1 on failure; else what to hand to that. */
int daemon_begin(struct err *e);
/* Give back the terminal and whoever waits. */
void daemon_ready(int fd);

/* Write this process's number to a file. */
bool pidfile_write(const char *path, struct err *e);

#endif
