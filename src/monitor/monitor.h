/* What monitors look at and act on: a machine, for programs by QMP (qmp.h), for people by commands of text (hmp.h).
 * All on the machine's loop. */
#ifndef LYRE_MONITOR_MONITOR_H
#define LYRE_MONITOR_MONITOR_H

#include "machine/machine.h"

/* A group of options of the command line: "file:string name:string" are its parameters. */
struct monitor_option {
    const char *name; /* NULL ends a list */
    const char *params;
};

struct monitor_announcement;
struct monitor_job;
struct monitor_node;

struct monitor {
    struct machine *machine;
    struct monitor_job *jobs;
    struct monitor_announcement *announcements; /* that go on */
    struct monitor_node *nodes;     /* that blockdev-add has opened */
    struct throttle_limits *limits; /* what block_set_io_throttle has set, by drive; NULL: nothing */
    const char *package; /* whose version this is: "Lyrebird 0.1" */
    const struct monitor_option *options;
    bool migration_events; /* they are wanted */
    unsigned x_size; /* bytes and kind of what was last asked to be shown of memory; 0: nothing was */
    char x_kind;
};

/* The result of a QMP command, which the caller frees; NULL on failure. Codes of errors that QMP has a class for:
 * ENOSYS (CommandNotFound), ENODEV (DeviceNotFound), ENOTCONN (DeviceNotActive). */
struct json *monitor_execute(struct monitor *m, const char *command, const struct json *args, struct err *e);

/* The same of a command without arguments, which cannot fail. */
struct json *monitor_query(struct monitor *m, const char *command);

/* While the machine is held: what a CPU sees at one of its addresses. False: nothing is mapped there, or no memory.
 * *left: how many bytes follow in the same page. */
bool monitor_translate(struct monitor *m, unsigned cpu, u64 addr, u64 *phys, u64 *left);
bool monitor_read_virtual(struct monitor *m, unsigned cpu, u64 addr, void *to, u64 len);

/* The path of a device in the tree of objects: "/machine/peripheral/disk0". The caller frees it. */
char *monitor_dev_path(struct monitor *m, const struct dev *d);
/* The drive with this id, be it of -drive or the node name of -blockdev; -1 with an error. */
s64 monitor_drive(struct monitor *m, const char *device, const char *node, struct err *e);
/* Whether a job copies to this node. */
bool monitor_job_has(struct monitor *m, const struct node *n);
/* Close what blockdev-add has opened: at the end. */
void monitor_close_nodes(struct monitor *m);
/* The i-th of them; NULL behind the last. */
struct node *monitor_node(struct monitor *m, size_t i);
void monitor_end_announcements(struct monitor *m);
/* At the end: jobs are cancelled, and what the monitor keeps is freed. */
void monitor_end(struct monitor *m);

/* The first device of this subject (see dev.h) behind `after`, or of all; NULL: there is none. */
struct dev *monitor_next(struct monitor *m, const char *subject, const struct dev *after);
/* The device that a user added with "key=value", as drive=ID; NULL: none. */
struct dev *monitor_user_of(struct monitor *m, const char *key, const char *value);
/* The name that a user gave a device; NULL: none. */
const char *monitor_dev_id(struct monitor *m, const struct dev *d);

#endif
