/* What the schema says of itself: query-qmp-schema. Types have numbers for names there, as they are nobody's business;
 * a list is called after its elements. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "monitor/monitor.h"
#include "monitor/schema.h"
#include "qmp_commands.h"

static char *type_name(unsigned type)
{
    const struct qmp_type *t = &qmp_types[type];
    if (t->kind == QMP_LIST) {
        char *of = type_name(t->of), *name = xprintf("[%s]", of);
        free(of);
        return name;
    }
    return t->kind < QMP_ENUM ? xstrdup(t->name) : xprintf("%u", type);
}

static void set_type(struct json *j, const char *key, unsigned type)
{
    char *name = type_name(type);
    json_set_string(j, key, name);
    free(name);
}

static struct json *push(struct json *list, const char *name, const char *meta)
{
    struct json *j = json_object();
    json_set_string(j, "name", name);
    json_set_string(j, "meta-type", meta);
    json_push(list, j);
    return j;
}

static void show_enum(struct json *j, const struct qmp_type *t)
{
    struct json *members = json_set(j, "members", json_list()), *values = json_set(j, "values", json_list());
    for (unsigned i = 0; t->values[i]; i++) {
        struct json *m = json_object();
        json_set_string(m, "name", t->values[i]);
        json_push(members, m);
        json_push(values, json_string(t->values[i]));
    }
}

static void show_object(struct json *j, const struct qmp_type *t)
{
    struct json *members = json_set(j, "members", json_list());
    for (const struct qmp_member *m = t->members; m && m->name; m++) {
        struct json *x = json_object();
        json_set_string(x, "name", m->name);
        set_type(x, "type", m->type);
        if (m->optional)
            json_set_null(x, "default");
        json_push(members, x);
    }
    if (!t->tag)
        return;
    json_set_string(j, "tag", t->tag);
    struct json *variants = json_set(j, "variants", json_list());
    for (const struct qmp_member *v = t->variants; v->name; v++) {
        struct json *x = json_object();
        json_set_string(x, "case", v->name);
        set_type(x, "type", v->type);
        json_push(variants, x);
    }
}

static void show_type(struct json *list, unsigned type)
{
    static const char *const metas[] = {[QMP_ENUM] = "enum", [QMP_LIST] = "array", [QMP_OBJECT] = "object"};
    static const char *const json[] = {[QMP_STR] = "string", [QMP_INT] = "int", [QMP_NUMBER] = "number",
                                       [QMP_BOOL] = "boolean", [QMP_NULL] = "null", [QMP_ANY] = "value"};
    const struct qmp_type *t = &qmp_types[type];
    char *name = type_name(type);
    struct json *j = push(list, name, t->kind < QMP_ENUM ? "builtin" : metas[t->kind]);
    free(name);
    if (t->kind == QMP_ENUM)
        show_enum(j, t);
    else if (t->kind == QMP_LIST)
        set_type(j, "element-type", t->of);
    else if (t->kind == QMP_OBJECT)
        show_object(j, t);
    else
        json_set_string(j, "json-type", json[t->kind]);
}

struct json *qmp_do_query_qmp_schema(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *list = json_list();
    for (const struct qmp_command *c = qmp_commands; c->name; c++) {
        struct json *j = push(list, c->name, "command");
        set_type(j, "arg-type", c->args);
        set_type(j, "ret-type", c->result);
        if (c->oob)
            json_set_bool(j, "allow-oob", true);
    }
    for (const struct qmp_event *v = qmp_events; v->name; v++)
        set_type(push(list, v->name, "event"), "arg-type", v->data);
    for (unsigned i = 0; qmp_types[i].name; i++)
        show_type(list, i);
    return list;
}

struct json *qmp_do_query_commands(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *list = json_list();
    for (const struct qmp_command *c = qmp_commands; c->name; c++) {
        struct json *j = json_object();
        json_set_string(j, "name", c->name);
        json_push(list, j);
    }
    return list;
}
