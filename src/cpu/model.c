#include "cpu/model.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

int model_find(const struct model_rules *r, const char *description, struct err *e)
{
    char names[256] = "";
    size_t len = description ? strcspn(description, ",") : 0;
    for (unsigned i = 0; r->name(i); i++) {
        const char *name = r->name(i);
        if (!description || (strlen(name) == len && !strncmp(name, description, len)))
            return (int)i;
        size_t used = strlen(names);
        snprintf(names + used, sizeof(names) - used, "%s%s", i ? ", " : "", name);
    }
    err_set(e, EINVAL, "there is no %s \"%.*s\"; choose one of %s", r->guest, (int)len, description, names);
    return -1;
}

bool model_next_change(const char **at, struct model_change *c, struct err *e)
{
    if (!**at) {
        *at = NULL;
        return false;
    }
    const char *text = *at + 1;
    size_t len = strcspn(text, ",");
    const char *equal = memchr(text, '=', len), *value = equal ? equal + 1 : text + len;
    size_t rest = len - (size_t)(value - text);
    *at = text + len;
    *c = (struct model_change){text, (size_t)((equal ? equal : text + len) - text),
                               rest == 2 && !strncmp(value, "on", 2)};
    if (!c->on && !(rest == 3 && !strncmp(value, "off", 3)))
        return err_set(e, EINVAL, "\"%.*s\": a feature is followed by =on or =off", (int)len, text);
    return true;
}

bool model_change_is(const struct model_change *c, const char *name)
{
    return strlen(name) == c->len && !strncasecmp(name, c->name, c->len);
}

static void switch_feature(const struct model_rules *r, u64 *features, unsigned feature, bool on)
{
    *features = on ? *features | 1ull << feature : *features & ~(1ull << feature);
    for (unsigned i = 0; i < r->nneeds; i++) {
        if (r->needs[i][!on] == feature && (*features >> r->needs[i][on] & 1) != on)
            switch_feature(r, features, r->needs[i][on], on);
    }
}

static bool unknown_feature(const struct model_rules *r, const struct model_change *c, struct err *e)
{
    char names[400] = "";
    size_t used = 0;
    for (unsigned f = 0; f < r->count; f++) {
        if (!(r->free >> f & 1))
            continue;
        for (const char *p = r->features[f] + r->prefix; *p && used < sizeof(names) - 2; p++)
            names[used++] = (char)tolower(*p);
        names[used++] = ' ';
    }
    return err_set(e, EINVAL, "%s has no feature \"%.*s\"; there are %s%s", r->guest, (int)c->len, c->name, names,
                   r->others);
}

bool model_switch(const struct model_rules *r, const struct model_change *c, u64 *features, struct err *e)
{
    for (unsigned f = 0; f < r->count; f++) {
        if (r->free >> f & 1 && model_change_is(c, r->features[f] + r->prefix)) {
            switch_feature(r, features, f, c->on);
            return true;
        }
    }
    return unknown_feature(r, c, e);
}
