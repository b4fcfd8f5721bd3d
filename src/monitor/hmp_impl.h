/* Inside the human monitor. */
#ifndef LYRE_MONITOR_HMP_IMPL_H
#define LYRE_MONITOR_HMP_IMPL_H

#include "monitor/hmp.h"

struct hmp_call {
    struct hmp_context *c;
    struct monitor *m;
    FILE *out;        /* lines end with LF here */
    const char *line; /* all of it */
    const char *args; /* behind the command's name, without white before and after */
};

struct hmp_command {
    const char *names;  /* "quit|q"; NULL ends a table */
    const char *params; /* for the help */
    const char *help;
    bool (*run)(struct hmp_call *h, struct err *e); /* false: `e` says what is wrong */
    bool alone;         /* it takes no arguments */
};

extern const struct hmp_command hmp_commands[], hmp_infos[];

/* The command whose name `line` begins with, and in *rest what follows; NULL: none. */
const struct hmp_command *hmp_find(const struct hmp_command *table, const char *line, const char **rest);

/* An expression of C's operators + - * / % & | ^ ~, numbers, characters and $registers at *at, which moves on. */
bool hmp_expression(struct hmp_call *h, const char **at, u64 *value, struct err *e);

/* A command of QMP that says nothing when it is done; takes its arguments over. What is wrong begins with "Error: ". */
bool hmp_order(struct hmp_call *h, const char *command, struct json *args, struct err *e);
/* Its words, taken apart where it is white: at most `max`, the rest is the last. Freed with `copy`. */
unsigned hmp_words(const char *args, char *words[], unsigned max, char **copy);

/* Those on jobs and limits of disks, which `h` names. */
bool hmp_job(struct hmp_call *h, struct err *e);
bool hmp_block_stream(struct hmp_call *h, struct err *e);
bool hmp_copy(struct hmp_call *h, struct err *e);
bool hmp_snapshot(struct hmp_call *h, struct err *e);
bool hmp_throttle(struct hmp_call *h, struct err *e);
bool hmp_info_jobs(struct hmp_call *h, struct err *e);

bool hmp_hostfwd_add(struct hmp_call *h, struct err *e);
bool hmp_hostfwd_remove(struct hmp_call *h, struct err *e);
bool hmp_info_usernet(struct hmp_call *h, struct err *e);

bool hmp_trace_event(struct hmp_call *h, struct err *e);
bool hmp_info_trace_events(struct hmp_call *h, struct err *e);

bool hmp_balloon(struct hmp_call *h, struct err *e);
bool hmp_block_resize(struct hmp_call *h, struct err *e);
bool hmp_chardev_add(struct hmp_call *h, struct err *e);
bool hmp_chardev_change(struct hmp_call *h, struct err *e);
bool hmp_chardev_remove(struct hmp_call *h, struct err *e);
bool hmp_chardev_send_break(struct hmp_call *h, struct err *e);
bool hmp_device_add(struct hmp_call *h, struct err *e);
bool hmp_device_del(struct hmp_call *h, struct err *e);
bool hmp_announce_self(struct hmp_call *h, struct err *e);
bool hmp_netdev_add(struct hmp_call *h, struct err *e);
bool hmp_netdev_del(struct hmp_call *h, struct err *e);
bool hmp_set_link(struct hmp_call *h, struct err *e);
bool hmp_info_balloon(struct hmp_call *h, struct err *e);
bool hmp_info_blockstats(struct hmp_call *h, struct err *e);
bool hmp_info_pci(struct hmp_call *h, struct err *e);

bool hmp_x(struct hmp_call *h, struct err *e);
bool hmp_xp(struct hmp_call *h, struct err *e);
bool hmp_print(struct hmp_call *h, struct err *e);
bool hmp_gpa2hva(struct hmp_call *h, struct err *e);
bool hmp_gva2gpa(struct hmp_call *h, struct err *e);
bool hmp_memsave(struct hmp_call *h, struct err *e);
bool hmp_pmemsave(struct hmp_call *h, struct err *e);

#endif
