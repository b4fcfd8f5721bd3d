#include "dev/dev.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

/* A window of one object. */
struct dev_view {
    struct dev *dev;
    const struct dev_window *window;
    struct mem_io io;
    struct mem_range *range;
};

static unsigned window_count(const struct dev_class *c)
{
    unsigned n = 0;
    while (c->windows && c->windows[n].name)
        n++;
    return n;
}

static bool locks(const struct dev *d)
{
    return d->class->owner == DEV_OWNER_LOCK;
}

static void enter(struct dev *d)
{
    if (locks(d))
        dev_lock(d);
}

static void leave(struct dev *d)
{
    if (locks(d))
        dev_unlock(d);
}

void dev_lock(struct dev *d)
{
    pthread_mutex_lock(&d->lock);
}

void dev_unlock(struct dev *d)
{
    pthread_mutex_unlock(&d->lock);
}

static enum mem_result view_read(void *opaque, u64 offset, unsigned size, u64 *value)
{
    struct dev_view *v = opaque;
    enter(v->dev);
    *value = v->window->read(v->dev, offset, size);
    leave(v->dev);
    return MEM_OK;
}

static enum mem_result view_write(void *opaque, u64 offset, unsigned size, u64 value)
{
    struct dev_view *v = opaque;
    enter(v->dev);
    v->window->write(v->dev, offset, size, value);
    leave(v->dev);
    return MEM_OK;
}

static void view_init(struct dev_view *v, struct dev *d, const struct dev_window *w)
{
    v->dev = d;
    v->window = w;
    v->io = (struct mem_io){.read = view_read, .write = view_write, .min = 1, .max = w->max ? w->max : 4,
                            .call_min = w->call_min ? w->call_min : 4, .call_max = w->call_max ? w->call_max : 4};
    v->range = mem_io_new(w->name, w->size, &v->io, v);
}

static void *member(struct dev *d, const struct dev_prop *p)
{
    return (u8 *)d + p->offset;
}

static void prop_put(struct dev *d, const struct dev_prop *p, u64 value)
{
    if (p->kind == DEV_PROP_BOOL)
        *(bool *)member(d, p) = value;
    else if (p->kind == DEV_PROP_U32 || p->kind == DEV_PROP_SWITCH)
        *(u32 *)member(d, p) = (u32)value;
    else if (p->kind == DEV_PROP_U64)
        *(u64 *)member(d, p) = value;
}

struct dev *dev_new(const struct dev_class *c, const char *name, const struct dev_env *env)
{
    struct dev *d = xcalloc(1, c->size);
    d->class = c;
    d->env = env;
    d->name = xstrdup(name);
    pthread_mutex_init(&d->lock, NULL);
    d->out = xcalloc(c->outs + 1, sizeof(*d->out));
    d->views = xcalloc(window_count(c) + 1, sizeof(*d->views));
    for (unsigned i = 0; i < window_count(c); i++)
        view_init(&d->views[i], d, &c->windows[i]);
    for (const struct dev_prop *p = c->props; p && p->name; p++)
        prop_put(d, p, p->initial);
    return d;
}

void dev_free(struct dev *d)
{
    if (!d)
        return;
    if (d->class->stop)
        d->class->stop(d);
    for (unsigned i = 0; i < window_count(d->class); i++)
        mem_range_free(d->views[i].range);
    pthread_mutex_destroy(&d->lock);
    free(d->views);
    free(d->out);
    free(d->name);
    free(d);
}

/* ---- properties ---- */

static const struct dev_prop *prop_find(struct dev *d, const char *name, struct err *e)
{
    char known[256] = "";
    for (const struct dev_prop *p = d->class->props; p && p->name; p++) {
        if (!strcmp(p->name, name))
            return p;
        size_t n = strlen(known);
        snprintf(known + n, sizeof(known) - n, "%s%s", n ? ", " : "", p->name);
    }
    err_set(e, EINVAL, "Property '%s.%s' not found; there are: %s", d->class->name, name, *known ? known : "none");
    return NULL;
}

static bool is_number(const struct dev_prop *p)
{
    return p->kind < DEV_PROP_STRING;
}

bool dev_set_number(struct dev *d, const char *prop, u64 value, struct err *e)
{
    const struct dev_prop *p = prop_find(d, prop, e);
    if (!p)
        return false;
    u64 most = p->max ? p->max : p->kind == DEV_PROP_BOOL ? 1 : p->kind == DEV_PROP_SWITCH ? DEV_AUTO : p->kind == DEV_PROP_U32 ? ~(u32)0 : ~0ull;
    if (!is_number(p) || value > most)
        return err_set(e, EINVAL, "property '%s.%s' cannot be %llu", d->class->name, prop,
                       (unsigned long long)value);
    prop_put(d, p, value);
    return true;
}

static bool parse_number(const struct dev_prop *p, const char *text, u64 *value)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true"};
    bool switched = p->kind == DEV_PROP_BOOL || p->kind == DEV_PROP_SWITCH;
    if (p->kind == DEV_PROP_SWITCH && !strcmp(text, "auto")) {
        *value = DEV_AUTO;
        return true;
    }
    for (unsigned i = 0; switched && i < ARRAY_LEN(words); i++) {
        if (!strcmp(text, words[i])) {
            *value = i & 1;
            return true;
        }
    }
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 0);
    return !switched && !errno && end != text && !*end && *text != '-';
}

bool dev_set(struct dev *d, const char *prop, const char *value, struct err *e)
{
    const struct dev_prop *p = prop_find(d, prop, e);
    if (!p)
        return false;
    if (p->kind == DEV_PROP_STRING) {
        char **text = member(d, p);
        free(*text);
        *text = xstrdup(value);
        return true;
    }
    u64 v;
    if (!is_number(p) || !parse_number(p, value, &v))
        return err_set(e, EINVAL, "property '%s.%s' cannot be '%s'", d->class->name, prop, value);
    return dev_set_number(d, prop, v, e);
}

bool dev_set_link(struct dev *d, const char *prop, enum dev_prop_kind kind, void *to, struct err *e)
{
    const struct dev_prop *p = prop_find(d, prop, e);
    if (!p)
        return false;
    if (p->kind != kind)
        return err_set(e, EINVAL, "property '%s.%s' is of another kind", d->class->name, prop);
    *(void **)member(d, p) = to;
    return true;
}

struct json *dev_get(struct dev *d, const char *prop)
{
    const struct dev_prop *p = prop_find(d, prop, NULL);
    if (!p || p->kind > DEV_PROP_STRING)
        return NULL;
    if (p->kind == DEV_PROP_STRING) {
        const char *text = *(char **)member(d, p);
        return json_string(text ? text : "");
    }
    if (p->kind == DEV_PROP_SWITCH) {
        static const char *const names[] = {[DEV_OFF] = "off", [DEV_ON] = "on", [DEV_AUTO] = "auto"};
        return json_string(names[*(u32 *)member(d, p)]);
    }
    u64 v = p->kind == DEV_PROP_BOOL ? *(bool *)member(d, p) : p->kind == DEV_PROP_U32 ? *(u32 *)member(d, p)
                                                                                    : *(u64 *)member(d, p);
    return p->kind == DEV_PROP_BOOL ? json_bool(v) : json_int((s64)v);
}

/* ---- life ---- */

static bool apply_global(struct dev *d, const char *text, struct err *e)
{
    size_t len = strlen(d->class->name);
    if (strncmp(text, d->class->name, len) || text[len] != '.')
        return true;
    const char *equals = strchr(text + len, '=');
    char *prop = xprintf("%.*s", (int)(equals - text - (ptrdiff_t)len - 1), text + len + 1);
    bool good = dev_set(d, prop, equals + 1, e);
    free(prop);
    return good;
}

bool dev_start(struct dev *d, struct err *e)
{
    for (size_t i = 0; i < d->env->global_count; i++) {
        if (!apply_global(d, d->env->globals[i], e))
            return false;
    }
    return !d->class->start || d->class->start(d, e) || err_prefix(e, "%s", d->name);
}

void dev_reset(struct dev *d)
{
    if (!d->class->reset)
        return;
    enter(d);
    d->class->reset(d);
    leave(d);
}

struct mem_range *dev_window(struct dev *d, unsigned i)
{
    return i < window_count(d->class) ? d->views[i].range : NULL;
}

static void input_set(void *opaque, unsigned line, bool level)
{
    struct dev *d = opaque;
    if (d->watch && d->watch->in)
        d->watch->in(d->watch->opaque, line, level);
    enter(d);
    d->class->line(d, line, level);
    leave(d);
}

struct wire dev_input(struct dev *d, unsigned line)
{
    return (struct wire){input_set, d, line};
}

void dev_connect(struct dev *d, unsigned out, struct wire to)
{
    d->out[out] = to;
}

struct json *dev_save(struct dev *d)
{
    enter(d);
    struct json *j = state_save(d->class->state, d);
    leave(d);
    return j;
}

bool dev_load(struct dev *d, const struct json *from, struct err *e)
{
    enter(d);
    bool good = state_load(d->class->state, d, from, e);
    if (good && d->class->loaded)
        d->class->loaded(d);
    leave(d);
    return good || err_prefix(e, "%s", d->name);
}

/* ---- for devices ---- */

void dev_out(struct dev *d, unsigned out, bool level)
{
    if (d->watch && d->watch->out)
        d->watch->out(d->watch->opaque, out, level);
    wire_set(&d->out[out], level);
}

void dev_guest_error(const struct dev *d, const char *fmt, ...)
{
    if (!log_on(LOG_GUEST_ERROR))
        return;
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    log_print(LOG_GUEST_ERROR, "%s: %s\n", d->name, text);
}

u32 dev_primecell_id(u64 offset, u32 part, u32 revision)
{
    u32 peripheral = part | 0x41u << 12 | revision << 20; /* designer 0x41: Arm */
    unsigned byte = (unsigned)(offset - 0xfe0) / 4;
    return (byte < 4 ? peripheral >> 8 * byte : 0xb105f00du >> 8 * (byte - 4)) & 0xff;
}
