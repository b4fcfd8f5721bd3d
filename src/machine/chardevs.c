/* Character devices: those of the options, and those that have come since. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "machine/impl.h"

static struct machine_chardev *find(struct machine *m, const char *id)
{
    for (size_t i = 0; i < m->chardev_count; i++) {
        if (!strcmp(m->chardevs[i]->opts->id, id))
            return m->chardevs[i];
    }
    return NULL;
}

struct chardev *machine_chardev(struct machine *m, const char *id, struct err *e)
{
    const struct machine_chardev *c = find(m, id);
    if (!c)
        err_set(e, ENOENT, "chardev \"%s\" not found", id);
    return c ? c->dev : NULL;
}

const struct char_opts *machine_chardev_opts(const struct machine *m, size_t i)
{
    return i < m->chardev_count ? m->chardevs[i]->opts : NULL;
}

static void mux_quits(void *opaque)
{
    machine_request(opaque, MACHINE_QUIT);
}

/* There is one terminal. */
static bool check_stdio(const struct machine *m, const struct char_opts *o, struct err *e)
{
    for (size_t i = 0; i < m->chardev_count; i++) {
        if (o->kind == CHAR_STDIO && m->chardevs[i]->opts->kind == CHAR_STDIO)
            return err_set(e, EBUSY, "cannot use stdio by multiple character devices");
    }
    return true;
}

/* `own`: the same as `o` if it is to be freed with the device; else NULL. */
static bool add(struct machine *m, const struct char_opts *o, struct char_opts *own, struct err *e)
{
    if (find(m, o->id))
        return err_set(e, EEXIST, "Chardev with id '%s' already exists", o->id);
    if (!check_stdio(m, o, e))
        return false;
    struct machine_chardev *c = xcalloc(1, sizeof(*c));
    *c = (struct machine_chardev){.opts = o, .own = own};
    c->dev = char_new(m->loop, o, mux_quits, m, e);
    if (!c->dev) {
        free(c);
        return false;
    }
    VEC_PUSH(m->chardevs, m->chardev_count, m->chardev_cap) = c;
    return true;
}

bool machine_make_chardevs(struct machine *m, struct err *e)
{
    for (size_t i = 0; i < m->opts->chardev_count; i++) {
        if (!add(m, &m->opts->chardevs[i], NULL, e))
            return err_prefix(e, "-chardev %s", m->opts->chardevs[i].id);
    }
    return true;
}

void machine_start_chardevs(struct machine *m)
{
    for (size_t i = 0; i < m->chardev_count; i++)
        char_start(m->chardevs[i]->dev);
}

static void free_own(struct char_opts *own)
{
    if (own)
        char_opts_free(own);
    free(own);
}

static void free_chardev(struct machine_chardev *c)
{
    char_free(c->dev);
    free_own(c->own);
    free(c);
}

void machine_free_chardevs(struct machine *m)
{
    while (m->chardev_count)
        free_chardev(m->chardevs[--m->chardev_count]);
    free(m->chardevs);
    m->chardevs = NULL;
}

static struct char_opts *copy(const struct char_opts *o)
{
    struct char_opts *own = xcalloc(1, sizeof(*own));
    *own = *o;
    return own;
}

struct chardev *machine_add_chardev(struct machine *m, const struct char_opts *o, struct err *e)
{
    struct char_opts *own = copy(o);
    if (!add(m, own, own, e)) {
        free(own);
        return NULL;
    }
    struct chardev *c = m->chardevs[m->chardev_count - 1]->dev;
    char_start(c);
    return c;
}

struct chardev *machine_change_chardev(struct machine *m, const struct char_opts *o, struct err *e)
{
    struct machine_chardev *c = find(m, o->id);
    if (!c)
        err_set(e, ENOENT, "Chardev '%s' does not exist", o->id);
    if (!c || !check_stdio(m, o, e))
        return NULL;
    struct char_opts *own = copy(o);
    if (!char_change(c->dev, own, e)) {
        free(own);
        return NULL;
    }
    free_own(c->own);
    c->opts = c->own = own;
    return c->dev;
}

bool machine_remove_chardev(struct machine *m, const char *id, struct err *e)
{
    struct machine_chardev *c = find(m, id);
    if (!c)
        return err_set(e, ENOENT, "Chardev '%s' not found", id);
    if (char_is_attached(c->dev))
        return err_set(e, EBUSY, "Chardev '%s' is busy", id);
    size_t i = 0;
    while (m->chardevs[i] != c)
        i++;
    VEC_REMOVE(m->chardevs, m->chardev_count, i);
    free_chardev(c);
    return true;
}
