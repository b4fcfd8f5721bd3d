/* Commands of QMP that list what there can be: machines, CPUs, options, kinds of back ends. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "monitor/monitor.h"
#include "qmp_commands.h"

static const struct board *my_board(struct monitor *m)
{
    return machine_options(m->machine)->board;
}

struct json *qmp_do_query_machines(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *list = json_list();
    for (unsigned i = 0; board_at(i); i++) {
        const struct board *b = board_at(i);
        if (strcmp(b->isa, my_board(m)->isa))
            continue;
        struct json *j = json_object();
        json_set_string(j, "name", b->version ? b->version : b->name);
        if (b->version)
            json_set_string(j, "alias", b->name);
        json_set_int(j, "cpu-max", MAX(b->max_cpus, 1u));
        json_set_bool(j, "hotpluggable-cpus", false);
        json_set_bool(j, "numa-mem-supported", false);
        json_set_bool(j, "deprecated", false);
        if (b->default_cpu) {
            char *type = xprintf("%s-%s", b->default_cpu, b->cpu_type);
            json_set_string(j, "default-cpu-type", type);
            free(type);
        }
        json_set_string(j, "default-ram-id", b->ram_id);
        json_push(list, j);
    }
    return list;
}

struct json *qmp_do_query_cpu_definitions(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *list = json_list();
    const struct isa *isa = isa_by_name(my_board(m)->isa);
    for (unsigned i = 0; isa->model_name(i); i++) {
        struct json *j = json_object();
        char *type = xprintf("%s-%s", isa->model_name(i), my_board(m)->cpu_type);
        json_set_string(j, "name", isa->model_name(i));
        json_set_string(j, "typename", type);
        json_set_bool(j, "static", false);
        json_set_bool(j, "deprecated", false);
        json_push(list, j);
        free(type);
    }
    return list;
}

/* "file:string name:string" */
static void push_params(struct json *list, const char *params)
{
    for (const char *at = params; *at; at += strspn(at, " ")) {
        size_t name = strcspn(at, ":"), len = strcspn(at, " ");
        struct json *j = json_object();
        json_set_owned(j, "name", xprintf("%.*s", (int)name, at));
        json_set_owned(j, "type", xprintf("%.*s", (int)(len - name - 1), at + name + 1));
        json_push(list, j);
        at += len;
    }
}

struct json *qmp_do_query_command_line_options(struct monitor *m, const struct json *args, struct err *e)
{
    const char *only = args ? json_get_string(args, "option") : NULL;
    struct json *list = json_list();
    for (const struct monitor_option *o = m->options; o->name; o++) {
        if (only && strcmp(only, o->name))
            continue;
        struct json *j = json_object();
        json_set_string(j, "option", o->name);
        push_params(json_set(j, "parameters", json_list()), o->params);
        json_push(list, j);
    }
    if (!only || list->first)
        return list;
    json_free(list);
    err_set(e, EINVAL, "invalid option name: %s", only);
    return NULL;
}

struct json *qmp_do_query_gic_capabilities(struct monitor *m, const struct json *args, struct err *e)
{
    static const struct {
        const char *class;
        unsigned version;
    } kinds[] = {{"arm-gicv3", 3}, {"arm_gic", 2}};
    struct json *list = json_list();
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!dev_class_find(kinds[i].class, NULL))
            continue;
        struct json *j = json_object();
        json_set_int(j, "version", kinds[i].version);
        json_set_bool(j, "emulated", true);
        json_set_bool(j, "kernel", false);
        json_push(list, j);
    }
    return list;
}

struct json *qmp_do_query_chardev_backends(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *list = json_list();
    for (unsigned i = 0; char_kind_name(i); i++) {
        struct json *j = json_object();
        json_set_string(j, "name", char_kind_name(i));
        json_push(list, j);
    }
    return list;
}

/* There is no migration; clients may ask to be told of it. */
struct json *qmp_do_query_migrate_capabilities(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *list = json_list(), *events = json_object();
    json_set_string(events, "capability", "events");
    json_set_bool(events, "state", m->migration_events);
    json_push(list, events);
    return list;
}

struct json *qmp_do_migrate_set_capabilities(struct monitor *m, const struct json *args, struct err *e)
{
    for (const struct json *c = json_get(args, "capabilities")->first; c; c = c->next)
        m->migration_events = json_get(c, "state")->boolean;
    return json_object();
}
