/* -device loader,... */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/system/parts.h"

static bool number(const char *name, const char *value, u64 *to, struct err *e)
{
    char *end;
    errno = 0;
    *to = strtoull(value, &end, 0);
    return (!errno && end != value && !*end) || err_set(e, EINVAL, "Parameter '%s' expects a number", name);
}

static bool flag(const char *name, const char *value, bool *to, struct err *e)
{
    *to = !strcmp(value, "on") || !strcmp(value, "true");
    return *to || !strcmp(value, "off") || !strcmp(value, "false") ||
           err_set(e, EINVAL, "Parameter '%s' expects 'on' or 'off'", name);
}

static bool loader_word(struct machine_loader *l, const char *name, const char *value, struct err *e)
{
    u64 v;
    if (!strcmp(name, "file")) {
        free(l->file);
        l->file = xstrdup(value);
        return true;
    }
    if (!strcmp(name, "addr"))
        return (l->has_addr = number(name, value, &l->addr, e));
    if (!strcmp(name, "data"))
        return number(name, value, &l->data, e);
    if (!strcmp(name, "data-be"))
        return flag(name, value, &l->big_endian, e);
    if (!strcmp(name, "force-raw"))
        return flag(name, value, &l->raw, e);
    if (!strcmp(name, "data-len")) {
        if (!number(name, value, &v, e))
            return false;
        l->data_len = v && v <= 8 ? (unsigned)v : 0;
        return l->data_len || err_set(e, EINVAL, "data-len must be 1 to 8 bytes");
    }
    if (!strcmp(name, "cpu-num")) {
        if (!number(name, value, &v, e))
            return false;
        l->sets_pc = !v;
        return !v || err_set(e, ENOTSUP, "cpu-num=%s is not supported, only the first CPU starts by itself", value);
    }
    return err_set(e, EINVAL, "Property 'loader.%s' not found", name);
}

bool parse_loader(struct machine_loader *l, const struct machine_device *d, struct err *e)
{
    *l = (struct machine_loader){0};
    bool good = true;
    for (size_t i = 1; i < d->count && good; i++) {
        const char *equals = strchr(d->words[i], '=');
        char *name = xprintf("%.*s", (int)strcspn(d->words[i], "="), d->words[i]);
        good = loader_word(l, name, equals ? equals + 1 : "on", e);
        free(name);
    }
    if (!good)
        return false;
    if (l->file && l->data_len)
        return err_set(e, EINVAL, "a file and data are two loaders");
    if (!l->file && !l->has_addr)
        return err_set(e, EINVAL, "Parameter 'addr' is missing");
    return l->file || l->data_len || l->sets_pc ||
           err_set(e, EINVAL, "it wants file=, data= and data-len=, or cpu-num=");
}
