/* -object: memory, and secrets of images. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "machine/impl.h"

enum { SECRET_MAX = 4096 };

static const char *text_of(const struct json *o, const char *name)
{
    return json_get_string(o, name);
}

/* A number of bytes, or text: "512M". */
static bool size_of(const struct json *o, u64 *size, struct err *e)
{
    static const char units[] = "KMGT";
    const struct json *v = json_get(o, "size");
    if (v && v->kind == JSON_INT && v->integer > 0) {
        *size = (u64)v->integer;
        return true;
    }
    char *end = NULL;
    *size = v && v->kind == JSON_STRING ? strtoull(v->string, &end, 0) : 0;
    const char *unit = end && *end ? strchr(units, *end & ~32) : NULL;
    if (unit)
        *size <<= 10 * (unit - units + 1);
    return (*size && (!*end || (unit && !end[1]))) || err_set(e, EINVAL, "'size' must be a number of bytes");
}

static const char *word_of(const struct json *v)
{
    return v->kind == JSON_STRING ? v->string : v->kind != JSON_BOOL ? "" : v->boolean ? "on" : "off";
}

/* Properties that are not the kind's, or with values that it has not, are refused. */
static bool check(const struct machine_object_kind *k, const struct json *o, struct err *e)
{
    for (const struct json *v = o->first; v; v = v->next) {
        bool fits = !strcmp(v->key, "qom-type") || !strcmp(v->key, "id");
        for (const struct machine_object_prop *p = k->props; p->name && !fits; p++)
            fits = !strcmp(v->key, p->name) && (!p->only || !strcmp(word_of(v), p->only));
        if (!fits)
            return err_set(e, EINVAL, "Property '%s.%s' is not there, or not with this value", k->name, v->key);
    }
    return true;
}

static bool add_secret(struct machine *m, const struct json *o, struct err *e)
{
    const char *data = text_of(o, "data"), *path = text_of(o, "file");
    u8 buf[SECRET_MAX];
    if (!data == !path)
        return err_set(e, EINVAL, "a secret needs either 'data' or 'file'");
    if (data) {
        block_secret_set(m->graph, text_of(o, "id"), (const u8 *)data, strlen(data));
        return true;
    }
    FILE *f = fopen(path, "rbe");
    if (!f)
        return err_set(e, errno, "Unable to read %s: %s", path, strerror(errno));
    size_t n = fread(buf, 1, sizeof(buf), f);
    fclose(f);
    block_secret_set(m->graph, text_of(o, "id"), buf, n);
    explicit_bzero(buf, sizeof(buf));
    return true;
}

/* Memory is from a memfd, or a file; it is the machine's if that says so. */
static bool add_memory(struct machine *m, const struct json *o, struct err *e)
{
    const char *path = text_of(o, "mem-path");
    const struct json *share = json_get(o, "share");
    u64 size;
    bool file = !strcmp(text_of(o, "qom-type"), "memory-backend-file");
    if (!size_of(o, &size, e))
        return false;
    if (file && !path)
        return err_set(e, EINVAL, "can't create backend with size 0 or without mem-path");
    if (!m->opts->ram_object || strcmp(m->opts->ram_object, text_of(o, "id")))
        return true;
    if (size != m->opts->ram)
        return err_set(e, EINVAL, "Machine memory size does not match the size of the memory backend");
    m->ram = file ? mem_ram_file_new(m->opts->ram_object, path, size, share && !strcmp(word_of(share), "on"), e)
                  : mem_ram_new(m->opts->ram_object, size, e);
    const struct json *prealloc = json_get(o, "prealloc");
    return m->ram && (!prealloc || strcmp(word_of(prealloc), "on") || mem_range_populate(m->ram, e));
}

/* Who uses it opens it. */
static bool add_rng(struct machine *m, const struct json *o, struct err *e)
{
    const char *path = text_of(o, "filename");
    return !path || !access(path, R_OK) || err_set(e, errno, "Could not open '%s': %s", path, strerror(errno));
}

static const struct machine_object_prop memory_props[] = {
    {"size", "int"}, {"share", "bool"}, {"prealloc", "bool"}, {"merge", "bool"}, {"dump", "bool"},
    {"x-use-canonical-path-for-ramblock-id", "bool"}, {NULL},
}, file_props[] = {
    {"size", "int"}, {"mem-path", "string"}, {"share", "bool"}, {"prealloc", "bool"}, {"merge", "bool"},
    {"dump", "bool"}, {"x-use-canonical-path-for-ramblock-id", "bool"}, {NULL},
}, rng_file_props[] = {{"filename", "string"}, {NULL}}, rng_props[] = {{NULL}}, secret_props[] = {{"data", "string"}, {"file", "string"}, {"format", "QCryptoSecretFormat", "raw"}, {NULL}};

static const struct machine_object_kind kinds[] = {
    {"memory-backend-ram", "memory-backend", memory_props, add_memory},
    {"memory-backend-memfd", "memory-backend", memory_props, add_memory},
    {"memory-backend-file", "memory-backend", file_props, add_memory},
    {"rng-random", "rng-backend", rng_file_props, add_rng},
    {"rng-builtin", "rng-backend", rng_props, add_rng},
    {"secret", "object", secret_props, add_secret},
};

const struct machine_object_kind *machine_object_kind(unsigned i)
{
    return i < ARRAY_LEN(kinds) ? &kinds[i] : NULL;
}

static bool add_object(struct machine *m, const struct json *o, struct err *e)
{
    const char *kind = text_of(o, "qom-type"), *id = text_of(o, "id");
    if (!kind || !id)
        return err_set(e, EINVAL, "Parameter '%s' is missing", kind ? "id" : "qom-type");
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!strcmp(kind, kinds[i].name))
            return check(&kinds[i], o, e) && kinds[i].add(m, o, e);
    }
    return err_set(e, EINVAL, "invalid object type: %s", kind);
}

bool machine_make_objects(struct machine *m, struct err *e)
{
    for (size_t i = 0; i < m->opts->object_count; i++) {
        if (!add_object(m, m->opts->objects[i], e))
            return err_prefix(e, "-object");
    }
    return !m->opts->ram_object || m->ram ||
           err_set(e, ENOENT, "Memory backend '%s' not found", m->opts->ram_object);
}
