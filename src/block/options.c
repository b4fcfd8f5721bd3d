/* Values of options, as users and JSON write them. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/node.h"

bool size_parse(const char *s, u64 *v)
{
    static const char suffixes[] = "bkmgtpe";
    if (*s < '0' || *s > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long whole = strtoull(s, &end, s[0] == '0' && (s[1] | 32) == 'x' ? 16 : 10);
    double fraction = 0;
    if (*end == '.')
        fraction = strtod(end, &end);
    const char *suffix = *end ? strchr(suffixes, *end | 32) : suffixes;
    if (errno || !suffix || (*end && end[1]))
        return false;
    unsigned shift = 10 * (unsigned)(suffix - suffixes);
    if ((fraction != 0 && !shift) || whole > UINT64_MAX >> shift)
        return false;
    *v = (whole << shift) + (u64)(fraction * (double)(1ull << shift));
    return true;
}

struct json *opt_group(struct json *o, const char *name)
{
    size_t n = strlen(name);
    struct json *group = NULL;
    for (struct json *c = o->first, *next; c; c = next) {
        next = c->next;
        if (strncmp(c->key, name, n) || c->key[n] != '.')
            continue;
        if (!group)
            group = json_object();
        struct json *member = json_take(o, c->key);
        char *key = xstrdup(member->key + n + 1);
        json_set(group, key, member);
        free(key);
    }
    return group;
}

struct json *opt_of_file(struct json *o)
{
    static const char *const names[] = {"nocow", "extent_size_hint"};
    struct json *file = json_object();
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        struct json *v = json_take(o, names[i]);
        if (v)
            json_set(file, names[i], v);
    }
    return file;
}

bool opt_has_group(const struct json *o, const char *name)
{
    size_t n = strlen(name);
    const struct json *c = o->first;
    while (c && (strncmp(c->key, name, n) || c->key[n] != '.'))
        c = c->next;
    return c;
}

bool opt_string(struct json *o, const char *name, char **v, struct err *e)
{
    struct json *j = json_take(o, name);
    if (!j)
        return true;
    bool good = j->kind == JSON_STRING;
    if (good)
        *v = xstrdup(j->string);
    else if (j->kind == JSON_INT && (good = true))
        *v = xprintf("%lld", (long long)j->integer);
    else
        err_set(e, EINVAL, "Invalid parameter type for '%s', expected: string", name);
    json_free(j);
    return good;
}

bool opt_size(struct json *o, const char *name, u64 *v, struct err *e)
{
    struct json *j = json_take(o, name);
    if (!j)
        return true;
    bool good = false;
    if (j->kind == JSON_INT && j->integer >= 0) {
        *v = (u64)j->integer;
        good = true;
    } else if (j->kind == JSON_STRING) {
        good = size_parse(j->string, v);
    }
    json_free(j);
    if (!good)
        return err_set(e, EINVAL,
                       "Parameter '%s' expects a non-negative number below 2^64\n"
                       "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
                       "and exabytes, respectively.",
                       name);
    return true;
}

bool opt_bool(struct json *o, const char *name, bool *v, struct err *e)
{
    struct json *j = json_take(o, name);
    if (!j)
        return true;
    const char *s = j->kind == JSON_STRING ? j->string : "";
    bool on = !strcmp(s, "on") || !strcmp(s, "true") || !strcmp(s, "yes") || !strcmp(s, "y");
    bool off = !strcmp(s, "off") || !strcmp(s, "false") || !strcmp(s, "no") || !strcmp(s, "n");
    bool good = on || off || j->kind == JSON_BOOL;
    if (good)
        *v = j->kind == JSON_BOOL ? j->boolean : on;
    json_free(j);
    return good || err_set(e, EINVAL, "Parameter '%s' expects 'on' or 'off'", name);
}

bool prealloc_parse(const char *s, enum prealloc *p, struct err *e)
{
    static const char *const names[] = {"off", "metadata", "falloc", "full"};
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (!strcmp(s, names[i])) {
            *p = (enum prealloc)i;
            return true;
        }
    }
    return err_set(e, EINVAL, "Parameter 'preallocation' does not accept value '%s'", s);
}
