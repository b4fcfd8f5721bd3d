#include "cmd/system/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct section {
    char group[64];
    char *text; /* NULL: none has begun */
};

/* One more "name=value" with its commas doubled. */
static void add(struct section *s, const char *name, const char *value)
{
    size_t commas = 0;
    for (const char *c = value; *c; c++)
        commas += *c == ',';
    char *doubled = xcalloc(strlen(value) + commas + 1, 1), *to = doubled;
    for (const char *c = value; *c; c++) {
        *to++ = *c;
        if (*c == ',')
            *to++ = ',';
    }
    char *text = xprintf("%s%s%s=%s", s->text, *s->text ? "," : "", name, doubled);
    free(s->text);
    free(doubled);
    s->text = text;
}

static bool take_line(struct section *s, const char *line)
{
    char group[64], name[64], value[1024];
    char id[128] = "";
    if (*line == '[') {
        if (sscanf(line, "[%63[^] \"] \"%127[^\"]\"]", group, id) < 1)
            return false;
        strcpy(s->group, group);
        s->text = xstrdup("");
        if (*id)
            add(s, "id", id);
        return true;
    }
    int empty = 0, whole = 0; /* how much of the line was taken */
    if (sscanf(line, " %63[^ =] = \"\"%n", name, &empty) == 1 && empty)
        value[0] = 0;
    else
        sscanf(line, " %63[^ =] = \"%1023[^\"]\"%n", name, value, &whole);
    if (!s->text || !(empty || whole))
        return false;
    add(s, name, value);
    return true;
}

typedef bool option_fn(void *opaque, const char *group, const char *text, struct err *e);

static bool end_section(struct section *s, option_fn *option, void *opaque, struct err *e)
{
    bool good = !s->text || option(opaque, s->group, s->text, e);
    free(s->text);
    s->text = NULL;
    return good;
}

bool config_read(const char *path, option_fn *option, void *opaque, struct err *e)
{
    struct section s = {0};
    char line[1200];
    bool good = true;
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set(e, errno, "Cannot read config file %s: %s", path, strerror(errno));
    for (unsigned n = 1; good && fgets(line, sizeof(line), f); n++) {
        const char *at = line + strspn(line, " \t");
        if (*at == '[')
            good = end_section(&s, option, opaque, e);
        if (good && *at && !strchr("#\r\n", *at))
            good = take_line(&s, at) || err_set(e, EINVAL, "%s:%u: it is neither [group \"id\"] nor name = \"value\"", path, n);
    }
    fclose(f);
    good = good && end_section(&s, option, opaque, e);
    free(s.text);
    return good;
}
