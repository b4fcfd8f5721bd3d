#include "cmd/system/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

char *next_word(const char **at)
{
    if (!**at)
        return NULL;
    char *word = xmalloc(strlen(*at) + 1), *to = word;
    while (**at && !(**at == ',' && (*at)[1] != ',')) {
        *at += **at == ',';
        *to++ = *(*at)++;
    }
    *to = 0;
    *at += **at == ',';
    return word;
}

static bool parse_switch(const char *name, const char *value, bool *to, struct err *e)
{
    *to = !strcmp(value, "on") || !strcmp(value, "yes") || !strcmp(value, "true");
    return *to || !strcmp(value, "off") || !strcmp(value, "no") || !strcmp(value, "false") ||
           err_set(e, EINVAL, "Parameter '%s' expects 'on' or 'off'", name);
}

static void set_flag(u32 *flags, u32 flag, bool on)
{
    *flags = on ? *flags | flag : *flags & ~flag;
}

/* ---- -drive ---- */

static bool set_cache(struct machine_drive *d, const char *mode, struct err *e)
{
    static const struct {
        const char *name;
        u32 flags;
    } modes[] = {{"writeback", 0}, {"none", OPEN_NO_CACHE}, {"writethrough", OPEN_WRITE_THROUGH},
                 {"directsync", OPEN_NO_CACHE | OPEN_WRITE_THROUGH}, {"unsafe", OPEN_NO_FLUSH}};
    for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
        if (!strcmp(mode, modes[i].name)) {
            d->flags |= modes[i].flags;
            return true;
        }
    }
    return err_set(e, EINVAL, "invalid cache option");
}

static void replace(char **to, const char *by)
{
    free(*to);
    *to = xstrdup(by);
}

/* False: there are no such places. */
static bool set_place(struct drive_place *p, const char *interface)
{
    static const char *const names[] = {[DRIVE_VIRTIO] = "virtio", [DRIVE_NONE] = "none", [DRIVE_FLASH] = "pflash"};
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (!strcmp(interface, names[i])) {
            p->kind = i;
            return true;
        }
    }
    return false;
}

/* Words that ask for what is so anyway. */
static bool is_granted(const char *name, const char *value)
{
    static const char *const granted[][2] = {
        {"discard", "ignore"}, {"discard", "off"}, {"media", "disk"}, {"auto-read-only", "on"}, {"auto-read-only", "off"},
        {"aio", "threads"}, {"aio", "native"}, {"aio", "io_uring"}, {"werror", "report"}, {"rerror", "report"},
        {"copy-on-read", "off"}, {"snapshot", "off"},
    };
    for (unsigned i = 0; i < ARRAY_LEN(granted); i++) {
        if (!strcmp(name, granted[i][0]) && !strcmp(value, granted[i][1]))
            return true;
    }
    return false;
}

static bool drive_word(struct machine_drive *d, const char *name, const char *value, struct drive_place *place, struct err *e)
{
    bool on;
    if (!strcmp(name, "file"))
        replace(&d->file, value);
    else if (!strcmp(name, "id"))
        replace(&d->id, value);
    else if (!strcmp(name, "format"))
        replace(&d->format, value);
    else if (!strcmp(name, "cache"))
        return set_cache(d, value, e);
    else if (!strcmp(name, "unit") && (!strcmp(value, "0") || !strcmp(value, "1")))
        place->unit = *value - '0';
    else if (!strcmp(name, "if") && set_place(place, value))
        return true;
    else if (!strcmp(name, "readonly") || !strcmp(name, "read-only")) {
        if (!parse_switch(name, value, &on, e))
            return false;
        set_flag(&d->flags, OPEN_WRITE, !on);
    } else if (!strcmp(name, "discard") && (!strcmp(value, "unmap") || !strcmp(value, "on"))) {
        d->flags &= ~(u32)OPEN_NO_DISCARD;
    } else if (!strcmp(name, "media") && !strcmp(value, "cdrom")) {
        d->flags &= ~(u32)OPEN_WRITE;
    } else if (strchr(name, '.') || !strcmp(name, "detect-zeroes")) {
        d->more = d->more ? d->more : json_object();
        json_set_string(d->more, name, value);
    } else if (!is_granted(name, value)) {
        return err_set(e, EINVAL, "%s=%s is not supported", name, value);
    }
    return true;
}

bool parse_drive(struct machine_drive *d, const char *text, unsigned n, struct drive_place *place, struct err *e)
{
    *d = (struct machine_drive){.id = xprintf("virtio%u", n), .flags = OPEN_WRITE | OPEN_NO_DISCARD};
    *place = (struct drive_place){DRIVE_VIRTIO, -1};
    bool good = true;
    for (char *w; good && (w = next_word(&text)); free(w)) {
        char *value = strchr(w, '=');
        if (value)
            *value++ = 0;
        good = drive_word(d, w, value ? value : "on", place, e);
    }
    return good && (d->file || err_set(e, EINVAL, "which file? A drive without a medium is not supported"));
}

/* ---- -blockdev ---- */

static struct json *words_to_json(const char *text)
{
    struct json *j = json_object();
    for (char *w; (w = next_word(&text)); free(w)) {
        char *value = strchr(w, '=');
        if (value)
            *value++ = 0;
        json_set_string(j, w, value ? value : "on");
    }
    return j;
}

/* A member that is a bool, or the word for one; it is taken out. */
static bool take_switch(struct json *j, const char *name, bool *to, struct err *e)
{
    struct json *v = json_take(j, name);
    bool good = true;
    if (v && v->kind == JSON_BOOL)
        *to = v->boolean;
    else if (v)
        good = parse_switch(name, v->kind == JSON_STRING ? v->string : "", to, e);
    json_free(v);
    return good;
}

bool parse_blockdev(struct machine_drive *d, const char *text, struct err *e)
{
    *d = (struct machine_drive){.flags = OPEN_WRITE | OPEN_NO_DISCARD};
    d->options = *text == '{' ? json_parse(text, e) : words_to_json(text);
    if (!d->options)
        return false;
    const char *name = json_get_string(d->options, "node-name");
    if (!name)
        return err_set(e, EINVAL, "'node-name' must be specified for the root node");
    d->id = xstrdup(name);
    bool read_only = false;
    if (!take_switch(d->options, "read-only", &read_only, e))
        return false;
    set_flag(&d->flags, OPEN_WRITE, !read_only);
    return true;
}

void drive_free(struct machine_drive *d)
{
    free(d->id);
    free(d->file);
    free(d->format);
    json_free(d->more);
    json_free(d->options);
}

/* ---- -fw_cfg ---- */

struct json *parse_fw_cfg(const char *text, struct err *e)
{
    struct json *j = json_object();
    bool first = true, good = true;
    for (char *w; good && (w = next_word(&text)); free(w), first = false) {
        char *value = strchr(w, '=');
        if (value)
            *value++ = 0;
        if (!value && first)
            json_set_string(j, "name", w);
        else if (value && (!strcmp(w, "name") || !strcmp(w, "string") || !strcmp(w, "file")))
            json_set_string(j, w, value);
        else
            good = err_set(e, EINVAL, "Invalid parameter '%s'", w);
    }
    if (good && !json_get_string(j, "name"))
        good = err_set(e, EINVAL, "Parameter 'name' is missing");
    if (good && !json_get(j, "string") == !json_get(j, "file"))
        good = err_set(e, EINVAL, "it wants either string= or file=");
    if (good)
        return j;
    json_free(j);
    return NULL;
}

/* ---- -object ---- */

struct json *parse_object(const char *text, struct err *e)
{
    if (*text == '{')
        return json_parse(text, e);
    size_t len = strcspn(text, ",");
    bool named = !strncmp(text, "qom-type=", 9);
    struct json *j = words_to_json(named ? text : text + len + (text[len] == ','));
    if (!named)
        json_set_owned(j, "qom-type", xprintf("%.*s", (int)len, text));
    return j;
}

/* ---- -device ---- */

static void add_word(struct machine_device *d, size_t *cap, char *word)
{
    VEC_PUSH(d->words, d->count, *cap) = word;
}

static char *json_word(const struct json *v)
{
    if (v->kind == JSON_STRING)
        return xprintf("%s=%s", v->key, v->string);
    if (v->kind == JSON_BOOL)
        return xprintf("%s=%s", v->key, v->boolean ? "on" : "off");
    return xprintf("%s=%lld", v->key, (long long)v->integer);
}

static bool parse_json_device(struct machine_device *d, const char *text, struct err *e)
{
    size_t cap = 0;
    struct json *j = json_parse(text, e);
    const char *driver = j ? json_get_string(j, "driver") : NULL;
    if (driver)
        add_word(d, &cap, xstrdup(driver));
    for (const struct json *v = driver ? j->first : NULL; v; v = v->next) {
        if (strcmp(v->key, "driver"))
            add_word(d, &cap, json_word(v));
    }
    bool good = driver || (j ? err_set(e, EINVAL, "Parameter 'driver' is missing") : false);
    json_free(j);
    return good;
}

bool parse_device(struct machine_device *d, const char *text, struct err *e)
{
    size_t cap = 0;
    *d = (struct machine_device){0};
    if (*text == '{')
        return parse_json_device(d, text, e);
    for (char *w; (w = next_word(&text));)
        add_word(d, &cap, w);
    if (d->count && !strncmp(d->words[0], "driver=", 7))
        memmove(d->words[0], d->words[0] + 7, strlen(d->words[0]) - 6);
    return d->count || err_set(e, EINVAL, "Parameter 'driver' is missing");
}

void device_free(struct machine_device *d)
{
    for (size_t i = 0; i < d->count; i++)
        free(d->words[i]);
    free(d->words);
}
