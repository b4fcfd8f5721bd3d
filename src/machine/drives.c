/* The images and networks of a machine, and the devices that users add. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/job.h"
#include "machine/impl.h"

bool machine_make_drives(struct machine *m, struct err *e)
{
    const struct machine_opts *o = m->opts;
    bool *used = xcalloc(o->drive_count + 1, sizeof(*used)), good = true;
    m->drives = xcalloc(o->drive_count + 1, sizeof(*m->drives));
    /* From the last on: those that others use come before these, and are opened as their children. */
    for (size_t i = o->drive_count; i-- && good;) {
        const struct machine_drive *d = &o->drives[i];
        struct json *options = d->options ? machine_blockdev(m, i, used) : NULL;
        if (options)
            json_free(json_take(options, "auto-read-only"));
        if (!used[i]) {
            m->drives[i] = node_open(m->graph, d->file, d->format, options ? options : d->more, d->flags, e);
            good = m->drives[i];
            if (good)
                m->drives[i] = node_root(m->drives[i]); /* so that jobs can change what is below */
        }
        json_free(options);
    }
    free(used);
    return good;
}

bool machine_free_drives(struct machine *m, struct err *e)
{
    bool good = true;
    if (m->drives)
        loop_turn(m->loop, false); /* what devices have posted */
    for (size_t i = 0; m->drives && i < m->opts->drive_count; i++) {
        if (m->drives[i]) {
            node_drain(m->drives[i]);
            good = node_close(m->drives[i], e) && good;
        }
    }
    free(m->drives);
    m->drives = NULL;
    return good;
}

struct node *machine_find_drive(struct machine *m, const char *id, struct err *e)
{
    for (size_t i = 0; i < m->opts->drive_count; i++) {
        if (!strcmp(m->opts->drives[i].id, id) && m->drives[i])
            return m->drives[i];
    }
    err_set(e, ENOENT, "there is no drive or node '%s', or an image above it uses it", id);
    return NULL;
}

bool machine_make_netdevs(struct machine *m, struct err *e)
{
    const struct machine_opts *o = m->opts;
    m->netdevs = xcalloc(o->netdev_count + 1, sizeof(struct netdev *));
    for (size_t i = 0; i < o->netdev_count; i++) {
        m->netdevs[i] = net_new(m->loop, &o->netdevs[i], e);
        if (!m->netdevs[i])
            return err_prefix(e, "-netdev %s", o->netdevs[i].id);
    }
    return true;
}

void machine_free_netdevs(struct machine *m)
{
    for (size_t i = 0; m->netdevs && i < m->opts->netdev_count; i++)
        net_free(m->netdevs[i]);
    free(m->netdevs);
    m->netdevs = NULL;
}

static struct netdev *find_netdev(struct machine *m, const char *id, struct err *e)
{
    for (size_t i = 0; i < m->opts->netdev_count; i++) {
        if (!strcmp(m->opts->netdevs[i].id, id))
            return m->netdevs[i];
    }
    err_set(e, ENOENT, "there is no netdev '%s'", id);
    return NULL;
}

static const struct dev_prop *find_prop(const struct dev_class *c, const char *name)
{
    for (const struct dev_prop *p = c->props; p && p->name; p++) {
        if (!strcmp(p->name, name))
            return p;
    }
    return NULL;
}

/* One "name=value" of -device; what names something else is looked up. */
static bool set_prop(struct machine *m, struct dev *d, const char *name, const char *value, struct err *e)
{
    const struct dev_prop *p = find_prop(d->class, name);
    if (p && p->kind == DEV_PROP_BLOCK) {
        struct node *n = machine_find_drive(m, value, e);
        return n && dev_set_link(d, name, DEV_PROP_BLOCK, n, e);
    }
    if (p && p->kind == DEV_PROP_CHAR) {
        struct chardev *c = machine_chardev(m, value, e);
        return c && dev_set_link(d, name, DEV_PROP_CHAR, c, e);
    }
    if (p && p->kind == DEV_PROP_NET) {
        struct netdev *n = find_netdev(m, value, e);
        return n && dev_set_link(d, name, DEV_PROP_NET, n, e);
    }
    return dev_set(d, name, value, e);
}

/* The slot that is taken first is the last one, which is where the peer's guests find it. `bus`: only one of this name;
 * NULL: any. */
static bool plug(struct machine *m, struct dev *what, const char *bus, struct err *e)
{
    struct dev *last = NULL;
    const char *kind = what->class->bus;
    err_set(e, ENOSPC, "No '%s' bus found for device '%s'", kind, what->class->name);
    if (bus)
        err_set(e, ENOENT, "Bus '%s' not found", bus);
    for (struct dev *tried = NULL;; tried = last) {
        last = NULL;
        for (struct dev *d = m->setup.devs; d && d != tried; d = d->next) {
            if (d->class->slot_for && !strcmp(d->class->slot_for, kind) && (!bus || !strcmp(d->name, bus)))
                last = d;
        }
        if (!last)
            return false;
        if (last->class->plug(last, what, e))
            return true;
    }
}

static const char *option(char **words, size_t count, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 1; i < count; i++) {
        if (!strncmp(words[i], name, len) && words[i][len] == '=')
            return words[i] + len + 1;
    }
    return NULL;
}

/* `inner`: who gets what the device itself does not have; NULL: nobody. */
static bool configure(struct machine *m, struct dev *d, struct dev *inner, char **words, size_t count, struct err *e)
{
    for (size_t i = 1; i < count; i++) {
        char *value = strchr(words[i], '=');
        if (!strncmp(words[i], "id=", 3) || !strncmp(words[i], "bus=", 4) || !strncmp(words[i], "bootindex=", 10))
            continue; /* the last is boot_order.c's */
        char *name = xprintf("%.*s", value ? (int)(value - words[i]) : (int)strlen(words[i]), words[i]);
        struct dev *to = inner && !find_prop(d->class, name) ? inner : d;
        bool good = set_prop(m, to, name, value ? value + 1 : "on", e);
        free(name);
        if (!good)
            return false;
    }
    return true;
}

static void add(struct machine *m, struct dev *d)
{
    d->next = m->setup.devs;
    m->setup.devs = d;
}

/* The device on a card, which is in the machine right behind it. */
static struct dev *make_inner(struct machine *m, const struct dev *card)
{
    if (!card->class->inner)
        return NULL;
    char *name = xprintf("%s/%s", card->name, card->class->inner->name);
    struct dev *inner = dev_new(card->class->inner, name, &m->env);
    free(name);
    add(m, inner);
    return inner;
}

/* Network cards whose address nobody gave have addresses that follow each other. */
static bool set_address(struct machine *m, struct dev *d, const struct machine_device *o, struct err *e)
{
    if (!find_prop(d->class, "mac") || option(o->words, o->count, "mac"))
        return true;
    char *text = xprintf("52:54:00:12:34:%02x", (0x56 + m->unnamed_cards++) & 0xff);
    bool good = dev_set(d, "mac", text, e);
    free(text);
    return good;
}

/* NULL on failure. */
static struct dev *make_device(struct machine *m, const struct machine_device *o, struct err *e)
{
    const struct dev_class *c = dev_class_find(o->words[0], e);
    if (!c)
        return NULL;
    if (!c->bus) {
        err_set(e, EINVAL, "'%s' is a part of boards; users cannot add it", c->name);
        return NULL;
    }
    const char *id = option(o->words, o->count, "id");
    struct dev *d = dev_new(c, id ? id : c->name, &m->env), *inner = make_inner(m, d);
    add(m, d);
    bool good = configure(m, d, inner, o->words, o->count, e) && set_address(m, inner ? inner : d, o, e) &&
                (!inner || (dev_start(inner, e) && c->plug(d, inner, e))) && dev_start(d, e) &&
                plug(m, d, option(o->words, o->count, "bus"), e);
    return good ? d : NULL;
}

struct dev *machine_on_card(struct dev *d)
{
    return d->class->inner ? d->next : d;
}

bool machine_make_devices(struct machine *m, struct err *e)
{
    m->devices = xcalloc(m->opts->device_count + 1, sizeof(struct dev *));
    for (size_t i = 0; i < m->opts->device_count; i++) {
        m->devices[i] = make_device(m, &m->opts->devices[i], e);
        if (!m->devices[i])
            return err_prefix(e, "-device %s", m->opts->devices[i].words[0]);
    }
    return true;
}
