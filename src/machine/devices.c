/* The devices that users add, when the machine is made and while it runs. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/job.h"
#include "machine/impl.h"

static const struct dev_prop *find_prop(const struct dev_class *c, const char *name)
{
    for (const struct dev_prop *p = c->props; p && p->name; p++) {
        if (!strcmp(p->name, name))
            return p;
    }
    return NULL;
}

/* A device's image is its own while it has it: drives are from the start, what a monitor has opened becomes so. */
static bool claim(struct machine *m, struct node *n, bool on, struct err *e)
{
    for (size_t i = 0; i < m->opts->drive_count; i++) {
        if (m->drives[i] == n)
            return true;
    }
    return node_set_alone(n, on, e);
}

static bool give_image(struct machine *m, struct dev *d, const char *prop, const char *name, struct err *e)
{
    struct node *n = machine_find_drive(m, name, e);
    if (n && machine_node_user(m, n))
        return err_set(e, EBUSY, "Drive '%s' is already in use by another device", name);
    return n && claim(m, n, true, e) && dev_set_link(d, prop, DEV_PROP_BLOCK, n, e);
}

static void take_images(struct machine *m, struct dev *d)
{
    for (const struct dev_prop *p = d->class->props; p && p->name; p++) {
        struct node *n = p->kind == DEV_PROP_BLOCK ? *(struct node **)((u8 *)d + p->offset) : NULL;
        if (n)
            claim(m, n, false, NULL);
    }
}

static const struct json *find_object(const struct machine *m, const char *id)
{
    for (size_t i = 0; i < m->opts->object_count; i++) {
        const char *its = json_get_string(m->opts->objects[i], "id");
        if (its && !strcmp(its, id))
            return m->opts->objects[i];
    }
    return NULL;
}

/* One "name=value" of -device; what names something else is looked up. */
static bool set_prop(struct machine *m, struct dev *d, const char *name, const char *value, struct err *e)
{
    const struct dev_prop *p = find_prop(d->class, name);
    if (p && p->kind == DEV_PROP_BLOCK)
        return give_image(m, d, name, value, e);
    if (p && p->kind == DEV_PROP_OBJECT) {
        const struct json *o = find_object(m, value);
        if (!o)
            return err_set(e, ENODEV, "Device '%s' not found", value);
        return dev_set_link(d, name, DEV_PROP_OBJECT, (void *)(uintptr_t)o, e);
    }
    if (p && p->kind == DEV_PROP_CHAR) {
        struct chardev *c = machine_chardev(m, value, e);
        return c && dev_set_link(d, name, DEV_PROP_CHAR, c, e);
    }
    if (p && p->kind == DEV_PROP_NET) {
        struct netdev *n = machine_find_netdev(m, value, e);
        return n && dev_set_link(d, name, DEV_PROP_NET, n, e);
    }
    return dev_set(d, name, value, e);
}

/* A slot has its device's name. That on a card "CARD/..." is "CARD.0", and of those that boards have many of, the number is
 * behind a name that the class has for them. */
static bool is_slot(const struct dev *d, const char *name)
{
    const char *slash = strchr(d->name, '/'), *digits = d->name + strcspn(d->name, "0123456789");
    size_t card = slash ? (size_t)(slash - d->name) : 0, stem = d->class->slot_name ? strlen(d->class->slot_name) : 0;
    return !strcmp(d->name, name) || (card && !strncmp(d->name, name, card) && !strcmp(name + card, ".0")) ||
           (stem && !strncmp(d->class->slot_name, name, stem) && !strcmp(name + stem, digits));
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
            if (d->class->slot_for && !strcmp(d->class->slot_for, kind) && (!bus || is_slot(d, bus)))
                last = d;
        }
        if (!last)
            return false;
        if (last->class->plug(last, what, e)) {
            what->slot = last;
            return true;
        }
    }
}

const char *machine_device_word(const struct machine_device *d, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 1; i < d->count; i++) {
        if (!strncmp(d->words[i], name, len) && d->words[i][len] == '=')
            return d->words[i] + len + 1;
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
    if (!find_prop(d->class, "mac") || machine_device_word(o, "mac"))
        return true;
    char *text = xprintf("52:54:00:12:34:%02x", (0x56 + m->unnamed_cards++) & 0xff);
    bool good = dev_set(d, "mac", text, e);
    free(text);
    return good;
}

static void take_out_of_list(struct machine *m, struct dev *d)
{
    struct dev **at = &m->setup.devs;
    while (*at && *at != d)
        at = &(*at)->next;
    if (*at)
        *at = d->next;
}

/* A device, and what is on it if it is a card. */
static void discard(struct machine *m, struct dev *d)
{
    struct dev *inner = d->class->inner ? d->next : NULL;
    take_images(m, inner ? inner : d);
    take_out_of_list(m, d);
    dev_free(d);
    if (inner) {
        take_out_of_list(m, inner);
        dev_free(inner);
    }
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
    const char *id = machine_device_word(o, "id");
    struct dev *d = dev_new(c, id ? id : c->name, &m->env), *inner = make_inner(m, d);
    add(m, d);
    bool good = configure(m, d, inner, o->words, o->count, e) && set_address(m, inner ? inner : d, o, e) &&
                (!inner || (dev_start(inner, e) && c->plug(d, inner, e))) && dev_start(d, e) &&
                plug(m, d, machine_device_word(o, "bus"), e);
    if (good)
        return d;
    discard(m, d);
    return NULL;
}

struct dev *machine_on_card(struct dev *d)
{
    return d->class->inner ? d->next : d;
}

static struct machine_plugged *keep(struct machine *m, const struct machine_device *words, struct dev *d)
{
    struct machine_plugged *p = xcalloc(1, sizeof(*p));
    p->words = *words;
    p->dev = d;
    VEC_PUSH(m->plugged, m->plugged_count, m->plugged_cap) = p;
    return p;
}

bool machine_make_devices(struct machine *m, struct err *e)
{
    for (size_t i = 0; i < m->opts->device_count; i++) {
        const struct machine_device *words = &m->opts->devices[i];
        struct dev *d = make_device(m, words, e);
        if (!d)
            return err_prefix(e, "-device %s", words->words[0]);
        keep(m, words, d);
    }
    return true;
}

const struct machine_device *machine_device_words(struct machine *m, size_t i)
{
    return i < m->plugged_count ? &m->plugged[i]->words : NULL;
}

struct dev *machine_device(struct machine *m, size_t i)
{
    return m->plugged[i]->dev;
}

/* ---- while the machine runs ---- */

static void free_plugged(struct machine_plugged *p)
{
    for (size_t i = 0; p->added && i < p->words.count; i++)
        free(p->words.words[i]);
    if (p->added)
        free(p->words.words);
    free(p);
}

void machine_free_devices(struct machine *m)
{
    for (size_t i = 0; i < m->plugged_count; i++)
        free_plugged(m->plugged[i]);
    free(m->plugged);
}

/* The slot that a device of these words would go into if it is one for devices that come late; else an error. */
static bool check_slot(struct machine *m, const struct dev_class *c, const char *bus, struct err *e)
{
    const struct dev *first = NULL;
    for (struct dev *d = m->setup.devs; d; d = d->next) {
        if (!d->class->slot_for || strcmp(d->class->slot_for, c->bus) || (bus && !is_slot(d, bus)))
            continue;
        first = d; /* the last in the list, as slots are filled from there */
    }
    if (first)
        return first->class->arrive || err_set(e, EINVAL, "Bus '%s' does not support hotplugging", first->name);
    return bus ? err_set(e, ENOENT, "Bus '%s' not found", bus)
               : err_set(e, ENOSPC, "No '%s' bus found for device '%s'", c->bus, c->name);
}

static struct machine_device copy_words(const struct machine_device *d)
{
    struct machine_device copy = {xcalloc(d->count, sizeof(char *)), d->count};
    for (size_t i = 0; i < d->count; i++)
        copy.words[i] = xstrdup(d->words[i]);
    return copy;
}

bool machine_add_device(struct machine *m, const struct machine_device *words, struct err *e)
{
    const struct dev_class *c = dev_class_find(words->words[0], e);
    const char *id = machine_device_word(words, "id");
    if (!c || !check_slot(m, c, machine_device_word(words, "bus"), e))
        return false;
    if (id && machine_dev(m, id))
        return err_set(e, EEXIST, "Duplicate device ID '%s'", id);
    machine_hold(m);
    struct dev *d = make_device(m, words, e);
    if (d) {
        struct machine_device copy = copy_words(words);
        keep(m, &copy, d)->added = true;
        if (d->class->inner)
            dev_reset(d->next);
        dev_reset(d);
        d->slot->class->arrive(d->slot);
    }
    mem_space_update(m->memory);
    machine_release(m);
    return d;
}

static struct machine_plugged *plugged_as(struct machine *m, const struct dev *d)
{
    for (size_t i = 0; i < m->plugged_count; i++) {
        if (m->plugged[i]->dev == d)
            return m->plugged[i];
    }
    return NULL;
}

bool machine_ask_for_device(struct machine *m, struct dev *d, struct err *e)
{
    struct dev *slot = d->slot;
    if (!slot || !slot->class->leave)
        return err_set(e, EINVAL, "Bus '%s' does not support hotplugging", slot ? slot->name : "");
    return slot->class->leave(slot, d, e);
}

/* The list does not change meanwhile: vCPUs, which call this, stand still where it does. */
void machine_device_gone(struct machine *m, struct dev *d)
{
    struct machine_plugged *p = plugged_as(m, d);
    if (p)
        atomic_store(&p->gone, true);
    machine_request(m, MACHINE_UNPLUG);
}

struct dev *machine_node_user(struct machine *m, const struct node *n)
{
    for (struct dev *d = m->setup.devs; d; d = d->next) {
        for (const struct dev_prop *p = d->class->props; p && p->name; p++) {
            if (p->kind == DEV_PROP_BLOCK && *(struct node **)((u8 *)d + p->offset) == n)
                return d;
        }
    }
    return NULL;
}

/* The guest cannot reach it any more, and what was in flight ends. */
static void pull(struct machine *m, struct machine_plugged *p)
{
    struct dev *d = p->dev, *on = machine_on_card(d);
    dev_reset(d);
    d->slot->class->unplug(d->slot, d);
    for (const struct dev_prop *q = on->class->props; q && q->name; q++) {
        struct node *n = q->kind == DEV_PROP_BLOCK ? *(struct node **)((u8 *)on + q->offset) : NULL;
        if (n)
            node_drain(n);
    }
    p->out = true;
    machine_request(m, MACHINE_UNPLUG); /* when the loop has run what the device had posted */
}

static void tell_deleted(struct machine *m, const struct machine_plugged *p)
{
    const char *id = machine_device_word(&p->words, "id");
    struct json *data = json_object();
    if (id)
        json_set_string(data, "device", id);
    json_set_owned(data, "path", id ? xprintf("/machine/peripheral/%s", id) : xstrdup("/machine/peripheral-anon"));
    machine_tell(m, "DEVICE_DELETED", data);
}

static void remove_at(struct machine *m, size_t i);

/* Ports on a card go with it. */
static void remove_children(struct machine *m, struct dev *d)
{
    const struct dev *on = machine_on_card(d);
    for (size_t i = 0; i < m->plugged_count;) {
        if (m->plugged[i]->dev->slot == on)
            remove_at(m, i);
        else
            i++;
    }
}

static void remove_at(struct machine *m, size_t i)
{
    struct machine_plugged *p = m->plugged[i];
    memmove(m->plugged + i, m->plugged + i + 1, (--m->plugged_count - i) * sizeof(*m->plugged));
    remove_children(m, p->dev);
    discard(m, p->dev);
    mem_space_update(m->memory);
    tell_deleted(m, p);
    free_plugged(p);
}

void machine_sweep(struct machine *m)
{
    machine_hold(m);
    for (size_t i = 0; i < m->plugged_count;) {
        struct machine_plugged *p = m->plugged[i];
        if (atomic_load(&p->gone) && p->out) {
            remove_at(m, i);
            i = 0; /* others may have gone with it */
            continue;
        }
        if (atomic_load(&p->gone))
            pull(m, p);
        i++;
    }
    machine_release(m);
}
