/* The human monitor: commands of text, on a character back end or through QMP's human-monitor-command. */
#ifndef LYRE_MONITOR_HMP_H
#define LYRE_MONITOR_HMP_H

#include <stdio.h>

#include "monitor/monitor.h"

/* Who gives commands. */
struct hmp_context {
    struct monitor *monitor;
    unsigned cpu;     /* that commands are about */
    const char *const *history; /* lines that were typed; NULL: nobody types */
    size_t history_count;
};

/* What the command says, with lines ended by CR and LF; the caller frees it. */
char *hmp_execute(struct hmp_context *c, const char *line);

/* The words that `line` may be completed to, called one by one with how many characters of each are there. */
void hmp_complete(const char *line, void (*found)(void *opaque, const char *word, size_t typed), void *opaque);

/* A monitor for a person on a back end; it greets when somebody connects. NULL: the back end is in use. Freed before
 * the machine is. */
struct hmp *hmp_new(struct monitor *m, struct chardev *c, struct err *e);
void hmp_free(struct hmp *h); /* NULL is allowed */

#endif
