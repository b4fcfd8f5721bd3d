#include "monitor/schema.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

const struct qmp_command *qmp_find(const char *name)
{
    for (const struct qmp_command *c = qmp_commands; c->name; c++) {
        if (!strcmp(c->name, name))
            return c;
    }
    return NULL;
}

static bool check_object(const struct qmp_type *t, const struct json *object, const char *path, struct err *e);

static bool wrong(const char *path, const char *expected, struct err *e)
{
    return err_set(e, EINVAL, "Invalid parameter type for '%s', expected: %s", path, expected);
}

static bool check_enum(const struct qmp_type *t, const struct json *v, const char *path, struct err *e)
{
    if (v->kind != JSON_STRING)
        return wrong(path, "string", e);
    for (unsigned i = 0; t->values[i]; i++) {
        if (!strcmp(t->values[i], v->string))
            return true;
    }
    return err_set(e, EINVAL, "Parameter '%s' does not accept value '%s'", path, v->string);
}

static bool check_value(const struct qmp_type *t, const struct json *v, const char *path, struct err *e);

static bool check_list(const struct qmp_type *t, const struct json *v, const char *path, struct err *e)
{
    if (v->kind != JSON_LIST)
        return wrong(path, "array", e);
    unsigned n = 0;
    bool good = true;
    for (const struct json *x = v->first; x && good; x = x->next) {
        char *inner = xprintf("%s[%u]", path, n++);
        good = check_value(&qmp_types[t->of], x, inner, e);
        free(inner);
    }
    return good;
}

static bool check_value(const struct qmp_type *t, const struct json *v, const char *path, struct err *e)
{
    switch (t->kind) {
    case QMP_STR:
        return v->kind == JSON_STRING || wrong(path, "string", e);
    case QMP_INT:
        return v->kind == JSON_INT || wrong(path, "integer", e);
    case QMP_NUMBER:
        return v->kind == JSON_INT || v->kind == JSON_REAL || wrong(path, "number", e);
    case QMP_BOOL:
        return v->kind == JSON_BOOL || wrong(path, "boolean", e);
    case QMP_NULL:
        return v->kind == JSON_NULL || wrong(path, "null", e);
    case QMP_ANY:
        return true;
    case QMP_ENUM:
        return check_enum(t, v, path, e);
    case QMP_LIST:
        return check_list(t, v, path, e);
    case QMP_OBJECT:
        return v->kind == JSON_OBJECT ? check_object(t, v, path, e) : wrong(path, "object", e);
    }
    return false;
}

static const struct qmp_member *find_member(const struct qmp_member *m, const char *name)
{
    while (m && m->name && strcmp(m->name, name))
        m++;
    return m && m->name ? m : NULL;
}

/* The members that the value of a union's tag adds; NULL: none. */
static const struct qmp_member *variant(const struct qmp_type *t, const struct json *object)
{
    const char *tag = t->tag ? json_get_string(object, t->tag) : NULL;
    const struct qmp_member *v = tag ? find_member(t->variants, tag) : NULL;
    return v ? qmp_types[v->type].members : NULL;
}

static bool check_members(const struct qmp_member *members, const struct json *object, const char *path, struct err *e)
{
    bool good = true;
    for (const struct qmp_member *m = members; m && m->name && good; m++) {
        const struct json *v = json_get(object, m->name);
        char *inner = xprintf("%s%s%s", path, *path ? "." : "", m->name);
        if (v)
            good = check_value(&qmp_types[m->type], v, inner, e);
        else
            good = m->optional || err_set(e, EINVAL, "Parameter '%s' is missing", inner);
        free(inner);
    }
    return good;
}

static bool check_object(const struct qmp_type *t, const struct json *object, const char *path, struct err *e)
{
    if (!check_members(t->members, object, path, e))
        return false;
    const struct qmp_member *more = variant(t, object);
    if (!check_members(more, object, path, e))
        return false;
    for (const struct json *v = object && !t->open ? object->first : NULL; v; v = v->next) {
        if (!find_member(t->members, v->key) && !find_member(more, v->key))
            return err_set(e, EINVAL, "Parameter '%s%s%s' is unexpected", path, *path ? "." : "", v->key);
    }
    return true;
}

bool qmp_check(const struct qmp_command *c, const struct json *args, struct err *e)
{
    return check_object(&qmp_types[c->args], args, "", e);
}
