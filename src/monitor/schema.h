/* The QMP schema as tables, which tools/gen_qmp.py makes of qmp.schema. Types refer to each other by number. */
#ifndef LYRE_MONITOR_SCHEMA_H
#define LYRE_MONITOR_SCHEMA_H

#include "base/err.h"
#include "data/json.h"

struct monitor;

enum qmp_kind { QMP_STR, QMP_INT, QMP_NUMBER, QMP_BOOL, QMP_NULL, QMP_ANY, QMP_ENUM, QMP_LIST, QMP_OBJECT };

struct qmp_member {
    const char *name; /* NULL ends a list */
    u16 type;
    bool optional;
};

struct qmp_type {
    const char *name; /* NULL ends the table */
    enum qmp_kind kind;
    const char *const *values; /* of an enum, ended by NULL */
    u16 of;                    /* of a list */
    const struct qmp_member *members; /* NULL: none */
    bool open;                 /* others may be there, which who uses them checks */
    const char *tag;           /* the member whose value adds the members of a variant; NULL: none */
    const struct qmp_member *variants;
};

struct qmp_command {
    const char *name; /* NULL ends the table */
    const char *help;
    u16 args, result;
    bool oob; /* may be executed out of band */
    struct json *(*run)(struct monitor *m, const struct json *args, struct err *e);
};

struct qmp_event {
    const char *name; /* NULL ends the table */
    u16 data;
};

extern const struct qmp_type qmp_types[];
extern const struct qmp_command qmp_commands[];
extern const struct qmp_event qmp_events[];

/* NULL: there is no such command. */
const struct qmp_command *qmp_find(const char *name);

/* Are these (NULL: no) arguments what the command takes? Values of optional members may be null. */
bool qmp_check(const struct qmp_command *c, const struct json *args, struct err *e);

#endif
