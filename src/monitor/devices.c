/* Commands of QMP about devices: what they show of themselves, and what they are told. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "monitor/monitor.h"
#include "qmp_commands.h"

struct dev *monitor_next(struct monitor *m, const char *subject, const struct dev *after)
{
    for (struct dev *d = after ? after->next : machine_devs(m->machine); d; d = d->next) {
        if (d->class->subject && !strcmp(d->class->subject, subject))
            return d;
    }
    return NULL;
}

struct dev *monitor_user_of(struct monitor *m, const char *key, const char *value)
{
    const struct machine_device *words;
    for (size_t i = 0; (words = machine_device_words(m->machine, i)); i++) {
        const char *is = machine_device_word(words, key);
        if (is && !strcmp(is, value))
            return machine_device(m->machine, i);
    }
    return NULL;
}

/* ---- the balloon ---- */

static struct dev *find_balloon(struct monitor *m, struct err *e)
{
    struct dev *d = monitor_next(m, "balloon", NULL);
    if (!d)
        err_set(e, ENOTCONN, "No balloon device has been activated");
    return d;
}

struct json *qmp_do_query_balloon(struct monitor *m, const struct json *args, struct err *e)
{
    struct dev *d = find_balloon(m, e);
    return d ? d->class->show(d) : NULL;
}

struct json *qmp_do_balloon(struct monitor *m, const struct json *args, struct err *e)
{
    s64 bytes = json_get(args, "value")->integer;
    struct dev *d = find_balloon(m, e);
    if (!d)
        return NULL;
    if (bytes <= 0) {
        err_set(e, EINVAL, "Parameter 'target' expects a size");
        return NULL;
    }
    d->class->order(d, (u64)bytes);
    return json_object();
}

/* ---- PCI ---- */

/* Cards name themselves; what a user did not name has no name here. */
static void name_cards(struct monitor *m, struct json *bus)
{
    for (struct json *card = json_get(bus, "devices")->first; card; card = card->next) {
        const char *name = json_get_string(card, "qdev_id");
        bool known = false;
        for (struct dev *d = machine_devs(m->machine); d && !known; d = d->next)
            known = !strcmp(d->name, name) && monitor_dev_id(m, d);
        if (!known)
            json_set_string(card, "qdev_id", "");
    }
}

struct json *qmp_do_query_pci(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *list = json_list();
    for (struct dev *d = NULL; (d = monitor_next(m, "pci", d));) {
        struct json *bus = d->class->show(d);
        name_cards(m, bus);
        json_push(list, bus);
    }
    return list;
}

/* ---- networks ---- */

static bool has_netdev(struct monitor *m, const char *id)
{
    const struct net_opts *o;
    for (size_t i = 0; (o = machine_network(m->machine, i)); i++) {
        if (!strcmp(o->id, id))
            return true;
    }
    return false;
}

struct json *qmp_do_set_link(struct monitor *m, const struct json *args, struct err *e)
{
    const char *name = json_get_string(args, "name");
    struct dev *card = monitor_user_of(m, "id", name), *dev;
    card = card ? card : monitor_user_of(m, "netdev", name);
    dev = card ? machine_on_card(card) : NULL;
    bool link = dev && dev->class->subject && !strcmp(dev->class->subject, "link");
    if (link)
        dev->class->order(dev, json_get(args, "up")->boolean ? DEV_LINK_UP : DEV_LINK_DOWN);
    if (link || has_netdev(m, name))
        return json_object();
    err_set(e, ENODEV, "Device '%s' not found", name);
    return NULL;
}

struct json *qmp_do_netdev_add(struct monitor *m, const struct json *args, struct err *e)
{
    struct net_opts o;
    if (net_opts_json(&o, args, e) && machine_add_network(m->machine, &o, e))
        return json_object();
    net_opts_free(&o);
    return NULL;
}

struct json *qmp_do_netdev_del(struct monitor *m, const struct json *args, struct err *e)
{
    return machine_remove_network(m->machine, json_get_string(args, "id"), e) ? json_object() : NULL;
}

/* ---- hot plug ---- */

/* As -device has it: the class, then "name=value" ... */
static struct machine_device words_of(const struct json *args)
{
    struct machine_device d = {0};
    size_t cap = 0;
    VEC_PUSH(d.words, d.count, cap) = xstrdup(json_get_string(args, "driver"));
    for (const struct json *v = args->first; v; v = v->next) {
        if (!strcmp(v->key, "driver"))
            continue;
        char *text = v->kind == JSON_STRING ? xstrdup(v->string) : v->kind == JSON_BOOL ? xstrdup(v->boolean ? "on" : "off")
                                                                                      : xprintf("%lld", (long long)v->integer);
        VEC_PUSH(d.words, d.count, cap) = xprintf("%s=%s", v->key, text);
        free(text);
    }
    return d;
}

struct json *qmp_do_device_add(struct monitor *m, const struct json *args, struct err *e)
{
    const char *driver = json_get_string(args, "driver");
    const struct dev_class *c = dev_class_find(driver, NULL);
    if (!c || !c->bus) {
        err_set(e, EINVAL, c ? "Parameter 'driver' expects a pluggable device type" : "'%s' is not a valid device model name", driver);
        return NULL;
    }
    struct machine_device d = words_of(args);
    bool good = machine_add_device(m->machine, &d, e);
    for (size_t i = 0; i < d.count; i++)
        free(d.words[i]);
    free(d.words);
    return good ? json_object() : NULL;
}

struct json *qmp_do_device_del(struct monitor *m, const struct json *args, struct err *e)
{
    const char *id = json_get_string(args, "id"), *slash = strrchr(id, '/');
    struct dev *d = monitor_user_of(m, "id", slash ? slash + 1 : id);
    if (!d)
        err_set(e, ENODEV, "Device '%s' not found", id);
    return d && machine_ask_for_device(m->machine, d, e) ? json_object() : NULL;
}
