/* QMP, the machine protocol: JSON objects on a character back end, as programs that manage machines speak it. */
#ifndef LYRE_MONITOR_QMP_H
#define LYRE_MONITOR_QMP_H

#include "monitor/monitor.h"

struct qmp;

/* Greets when somebody connects. NULL: the back end is in use. Freed before the machine is. */
struct qmp *qmp_new(struct monitor *m, struct chardev *c, struct err *e);
void qmp_free(struct qmp *q); /* NULL is allowed */

#endif
