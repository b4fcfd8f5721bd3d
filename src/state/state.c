#include "state/state.h"

#include <errno.h>
#include <string.h>

static u64 get(const struct state_field *f, const void *object, u32 i)
{
    u64 v = 0;
    memcpy(&v, (const u8 *)object + f->offset + (size_t)i * f->size, f->size);
    return v;
}

static void put(const struct state_field *f, void *object, u32 i, u64 v)
{
    memcpy((u8 *)object + f->offset + (size_t)i * f->size, &v, f->size);
}

static u64 largest(const struct state_field *f)
{
    return f->size == 8 ? f->max : MIN(f->max, (1ull << 8 * f->size) - 1);
}

struct json *state_save(const struct state_field *fields, const void *object)
{
    struct json *j = json_object();
    for (const struct state_field *f = fields; f && f->name; f++) {
        if (f->count == 1) {
            json_set_int(j, f->name, (s64)get(f, object, 0));
            continue;
        }
        struct json *list = json_set(j, f->name, json_list());
        for (u32 i = 0; i < f->count; i++)
            json_push(list, json_int((s64)get(f, object, i)));
    }
    return j;
}

static bool element(const struct state_field *f, const struct json *v, void *object, u32 i, struct err *e)
{
    if (v->kind != JSON_INT || (u64)v->integer > largest(f))
        return err_set(e, EINVAL, "'%s' has a value that cannot be", f->name);
    if (object)
        put(f, object, i, (u64)v->integer);
    return true;
}

/* One field; without an object it is only looked at. */
static bool load_field(const struct state_field *f, const struct json *v, void *object, struct err *e)
{
    if (!v)
        return err_set(e, EINVAL, "'%s' is missing", f->name);
    if (f->count == 1)
        return element(f, v, object, 0, e);
    u32 i = 0;
    for (const struct json *x = v->kind == JSON_LIST ? v->first : NULL; x; x = x->next, i++) {
        if (i == f->count || !element(f, x, object, i, e))
            return err_set(e, EINVAL, "'%s' has a value that cannot be", f->name);
    }
    return i == f->count || err_set(e, EINVAL, "'%s' has %u values instead of %u", f->name, i, f->count);
}

static const struct state_field *field_of(const struct state_field *fields, const char *name)
{
    for (const struct state_field *f = fields; f && f->name; f++) {
        if (!strcmp(f->name, name))
            return f;
    }
    return NULL;
}

bool state_load(const struct state_field *fields, void *object, const struct json *from, struct err *e)
{
    if (from->kind != JSON_OBJECT)
        return err_set(e, EINVAL, "the state is no object");
    for (const struct json *v = from->first; v; v = v->next) {
        if (!field_of(fields, v->key))
            return err_set(e, EINVAL, "'%s' is not known here", v->key);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (const struct state_field *f = fields; f && f->name; f++) {
            if (!load_field(f, json_get(from, f->name), pass ? object : NULL, e))
                return false;
        }
    }
    return true;
}
