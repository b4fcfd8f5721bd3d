/* The log behind `-d LIST` and `-D FILE`. The logger is the one place with file-scope state: it is
 * about the host process, not about a machine. */
#ifndef LYRE_BASE_LOG_H
#define LYRE_BASE_LOG_H

#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"
#include "base/types.h"

enum log_class {
    LOG_IN_ASM = 1 << 0,  /* guest code of each region that is translated */
    LOG_IR = 1 << 1,      /* IR as lifted */
    LOG_IR_OPT = 1 << 2,  /* IR as the back end gets it */
    LOG_OUT_ASM = 1 << 3, /* host code */
    LOG_EXEC = 1 << 4,    /* each region entered from the exec loop */
    LOG_STRACE = 1 << 5,  /* guest system calls */
    LOG_UNIMP = 1 << 6,   /* guest code that asks for what is not there */
    LOG_STATS = 1 << 7,   /* counters at exit */
    LOG_GUEST_ERROR = 1 << 8,
    LOG_PROFILE = 1 << 10, /* which guest functions took the time, at exit */
    LOG_VERIFY = 1 << 9,  /* check the IR of every region */
    LOG_HOT = 1 << 11,    /* where hot code is translated again */
};

/* Parse a comma-separated list of class names ("in_asm,strace", aliases "op" and "op_opt") into a
 * mask; an unknown name fails and lists the names. */
bool log_parse(const char *list, u32 *mask, struct err *e);

/* One line per class, for `-d help`. */
void log_list(FILE *to);

void log_enable(u32 mask);
void log_choose(u32 mask); /* these and no others */
bool log_on(u32 classes);

/* Events that can be followed one by one; their names are in log.c. */
enum trace_event {
    TRACE_MEMORY_READ, TRACE_MEMORY_WRITE, TRACE_VIRTIO_STATUS, TRACE_VIRTIO_QUEUE, TRACE_VIRTIO_INTERRUPT, TRACE_BLK_READ,
    TRACE_BLK_WRITE, TRACE_BLK_DONE, TRACE_QMP, TRACE_EVENTS
};
const char *trace_name(enum trace_event t);
bool trace_on(enum trace_event t);
/* Those whose names match (glob(7)), on or off; how many there are. */
unsigned trace_choose(const char *pattern, bool on);
/* "NAME, what the text says", if the event is on. */
void trace(enum trace_event t, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Write to `path` from now on ("%d" stands for the process id); stderr until then. */
bool log_open(const char *path, struct err *e);

/* The descriptor that log_open() opened, -1: none. */
int log_fd(void);

/* Print if the class is on. One call is one write, so that lines of threads do not mix. */
void log_print(u32 classes, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Print always: a message to the user, prefixed with the program's name. */
void log_warn(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
