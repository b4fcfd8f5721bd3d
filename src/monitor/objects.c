/* The machine as a tree of objects with properties, as clients of QMP look at it:
 *
 *      /machine/peripheral/ID          devices that users added and named
 *      /machine/peripheral-anon        the others that they added
 *      /machine/unattached/device[N]   CPUs, then the parts of the board
 *      /chardevs/ID                    character devices */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "monitor/monitor.h"
#include "qmp_commands.h"

enum object_kind { ROOT, MACHINE, PERIPHERAL, ANONYMOUS, UNATTACHED, CHARDEVS, OBJECTS, CPU, DEV, CHARDEV };

struct object {
    enum object_kind kind;
    char name[64]; /* in its parent */
    struct dev *dev;
    const struct char_opts *chardev;
};

static const char *type_of(struct monitor *m, const struct object *o, char *text, size_t size)
{
    const struct machine_opts *opts = machine_options(m->machine);
    switch (o->kind) {
    case MACHINE:
        snprintf(text, size, "%s-machine", opts->board->version ? opts->board->version : opts->board->name);
        break;
    case CPU: {
        const char *model = opts->cpu ? opts->cpu : opts->board->default_cpu;
        snprintf(text, size, "%.*s-%s", (int)strcspn(model, ","), model, opts->board->cpu_type);
        break;
    }
    case DEV:
        snprintf(text, size, "%s", o->dev->class->name);
        break;
    case CHARDEV:
        snprintf(text, size, "chardev-%s", o->chardev->mux ? "mux" : char_kind_name(o->chardev->kind));
        break;
    default:
        snprintf(text, size, "container");
    }
    return text;
}

/* ---- the tree ---- */

const char *monitor_dev_id(struct monitor *m, const struct dev *d)
{
    return monitor_user_of(m, "id", d->name) == d ? d->name : NULL;
}

static bool child_dev(struct monitor *m, enum object_kind in, unsigned index, struct object *child)
{
    unsigned n = 0, first = 0;
    const struct machine_opts *o = machine_options(m->machine);
    if (in == UNATTACHED) {
        first = o->board->max_cpus ? o->cpus : 0;
        child->kind = CPU;
        snprintf(child->name, sizeof(child->name), "device[%u]", index);
        if (index < first)
            return true;
    }
    child->kind = DEV;
    for (struct dev *d = machine_devs(m->machine); d; d = d->next) {
        const char *id = monitor_dev_id(m, d);
        enum object_kind where = id ? PERIPHERAL : d->class->bus ? ANONYMOUS : UNATTACHED;
        if (where != in || n++ != index - first)
            continue;
        child->dev = d;
        if (id)
            snprintf(child->name, sizeof(child->name), "%s", id);
        else
            snprintf(child->name, sizeof(child->name), "device[%u]", index);
        return true;
    }
    return false;
}

static bool child_named(unsigned index, struct object *child, const struct object *of, unsigned count)
{
    if (index < count)
        *child = of[index];
    return index < count;
}

/* The child with this number; false: there are fewer. */
static bool child_at(struct monitor *m, const struct object *of, unsigned index, struct object *child)
{
    static const struct object root[] = {{MACHINE, "machine"}, {CHARDEVS, "chardevs"}, {OBJECTS, "objects"}};
    static const struct object machine[] = {{PERIPHERAL, "peripheral"}, {ANONYMOUS, "peripheral-anon"},
                                            {UNATTACHED, "unattached"}};
    const struct char_opts *chardev = machine_chardev_opts(m->machine, index);
    *child = (struct object){0};
    switch (of->kind) {
    case ROOT:
        return child_named(index, child, root, ARRAY_LEN(root));
    case MACHINE:
        return child_named(index, child, machine, ARRAY_LEN(machine));
    case PERIPHERAL:
    case ANONYMOUS:
    case UNATTACHED:
        return child_dev(m, of->kind, index, child);
    case CHARDEVS:
        if (!chardev)
            return false;
        *child = (struct object){CHARDEV, .chardev = chardev};
        snprintf(child->name, sizeof(child->name), "%s", chardev->id);
        return true;
    default:
        return false;
    }
}

/* A path from the root; or, without a slash before it, the rest of one. */
static bool resolve(struct monitor *m, const char *path, struct object *o, struct err *e)
{
    *o = (struct object){ROOT, ""};
    for (const char *at = path; *(at += strspn(at, "/"));) {
        size_t len = strcspn(at, "/");
        struct object child;
        unsigned i = 0;
        while (child_at(m, o, i, &child) && (strlen(child.name) != len || strncmp(child.name, at, len)))
            i++;
        if (!child_at(m, o, i, &child))
            return err_set(e, ENODEV, "Device '%s' not found", path);
        *o = child;
        at += len;
    }
    return true;
}

char *monitor_dev_path(struct monitor *m, const struct dev *d)
{
    static const char *const names[] = {[PERIPHERAL] = "peripheral", [ANONYMOUS] = "peripheral-anon",
                                        [UNATTACHED] = "unattached"};
    struct object child;
    for (unsigned k = PERIPHERAL; k <= UNATTACHED; k++) {
        for (unsigned i = 0; child_dev(m, k, i, &child); i++) {
            if (child.dev == d)
                return xprintf("/machine/%s/%s", names[k], child.name);
        }
    }
    return NULL;
}

/* ---- properties ---- */

static struct json *push_property(struct json *list, const char *name, const char *type)
{
    struct json *j = json_object();
    json_set_string(j, "name", name);
    json_set_string(j, "type", type);
    json_push(list, j);
    return j;
}

static const char *prop_type(const struct dev_prop *p)
{
    static const char *const types[] = {[DEV_PROP_BOOL] = "bool", [DEV_PROP_U32] = "uint32", [DEV_PROP_U64] = "uint64",
                                        [DEV_PROP_SWITCH] = "OnOffAuto"};
    return p->kind < ARRAY_LEN(types) ? types[p->kind] : "str";
}

/* With what -help shows of them, or without. */
static void push_dev_props(struct json *list, const struct dev_class *c, bool explained)
{
    for (const struct dev_prop *p = c->props; p && p->name; p++) {
        struct json *j = push_property(list, p->name, prop_type(p));
        if (!explained)
            continue;
        if (p->help)
            json_set_string(j, "description", p->help);
        if (p->kind == DEV_PROP_BOOL)
            json_set_bool(j, "default-value", p->initial);
        else if (p->kind < DEV_PROP_SWITCH)
            json_set_int(j, "default-value", (s64)p->initial);
    }
    if (explained && c->inner)
        push_dev_props(list, c->inner, true);
}

/* Of the i-th live property of a device, or of what is on its card, the device that has it; NULL: there are fewer. */
static struct dev *live_at(struct dev *d, unsigned i, const struct dev_live **live)
{
    struct dev *of[] = {d, machine_on_card(d)};
    for (unsigned k = 0; k < 1u + (of[0] != of[1]); k++) {
        for (*live = of[k]->class->live; *live && (*live)->name; (*live)++) {
            if (!i--)
                return of[k];
        }
    }
    return NULL;
}

static struct dev *live_named(struct dev *d, const char *name, const struct dev_live **live)
{
    struct dev *of;
    for (unsigned i = 0; (of = live_at(d, i, live)); i++) {
        if (!strcmp((*live)->name, name))
            return of;
    }
    return NULL;
}

struct json *qmp_do_qom_list(struct monitor *m, const struct json *args, struct err *e)
{
    struct object o, child;
    char type[96], text[128];
    if (!resolve(m, json_get_string(args, "path"), &o, e))
        return NULL;
    struct json *list = json_list();
    push_property(list, "type", "string");
    for (unsigned i = 0; child_at(m, &o, i, &child); i++) {
        snprintf(text, sizeof(text), "child<%s>", type_of(m, &child, type, sizeof(type)));
        push_property(list, child.name, text);
    }
    if (o.kind != DEV)
        return list;
    push_dev_props(list, o.dev->class, false);
    const struct dev_live *live;
    for (unsigned i = 0; live_at(o.dev, i, &live); i++)
        push_property(list, live->name, live->type);
    return list;
}

/* The object that the arguments' path names, and its type. */
static bool named_object(struct monitor *m, const struct json *args, struct object *o, char *type, size_t size, struct err *e)
{
    bool found = resolve(m, json_get_string(args, "path"), o, e);
    if (found)
        type_of(m, o, type, size);
    return found;
}

struct json *qmp_do_qom_get(struct monitor *m, const struct json *args, struct err *e)
{
    struct object o;
    char type[96];
    const char *name = json_get_string(args, "property");
    if (!named_object(m, args, &o, type, sizeof(type), e))
        return NULL;
    if (!strcmp(name, "type"))
        return json_string(type);
    const struct dev_live *live;
    struct dev *of = o.kind == DEV ? live_named(o.dev, name, &live) : NULL;
    if (of)
        return live->get(of);
    struct json *value = o.kind == DEV ? dev_get(o.dev, name) : NULL;
    if (!value)
        err_set(e, EINVAL, "Property '%s.%s' not found", type, name);
    return value;
}

/* Beside live properties what devices have is what they were made with. */
struct json *qmp_do_qom_set(struct monitor *m, const struct json *args, struct err *e)
{
    struct object o;
    char type[96];
    const char *name = json_get_string(args, "property");
    if (!named_object(m, args, &o, type, sizeof(type), e))
        return NULL;
    const struct dev_live *live;
    struct dev *of = o.kind == DEV ? live_named(o.dev, name, &live) : NULL;
    if (of && live->set)
        return live->set(of, json_get(args, "value"), e) ? json_object() : NULL;
    struct json *is = o.kind == DEV ? dev_get(o.dev, name) : NULL;
    if (of)
        err_set(e, EPERM, "Property '%s.%s' is not writable", of->class->name, name);
    else if (is)
        err_set(e, EPERM, "Attempt to set property '%s' on device '%s' (type '%s') after it was realized", name, o.dev->name, type);
    else
        err_set(e, EINVAL, "Property '%s.%s' not found", type, name);
    json_free(is);
    return NULL;
}

/* ---- types ---- */

struct type_list {
    struct json *list;
    const char *implements; /* NULL: all */
    bool abstract;          /* these too */
};

/* Types that have a parent other than what this file knows are none of anybody's. */
static const char *parent_of(const char *type)
{
    static const char *const parents[][2] = {{"device", "object"}, {"machine", "object"}, {"chardev", "object"},
                                             {"cpu", "device"}, {"memory-backend", "object"}, {"rng-backend", "object"}, {"accel", "object"}};
    for (unsigned i = 0; i < ARRAY_LEN(parents); i++) {
        if (!strcmp(parents[i][0], type))
            return parents[i][1];
    }
    return NULL;
}

static void push_type(struct type_list *t, const char *name, const char *parent, bool abstract)
{
    bool wanted = !t->implements || !strcmp(t->implements, name);
    for (const char *p = parent; p && !wanted; p = parent_of(p))
        wanted = !strcmp(t->implements, p);
    if (!wanted || (abstract && !t->abstract))
        return;
    struct json *j = json_object();
    json_set_string(j, "name", name);
    if (abstract)
        json_set_bool(j, "abstract", true);
    if (parent)
        json_set_string(j, "parent", parent);
    json_push(t->list, j);
}

static void push_joined(struct type_list *t, const char *left, const char *right, const char *parent)
{
    char *name = xprintf("%s-%s", left, right);
    push_type(t, name, parent, false);
    free(name);
}

struct json *qmp_do_qom_list_types(struct monitor *m, const struct json *args, struct err *e)
{
    const struct board *mine = machine_options(m->machine)->board;
    const struct isa *isa = isa_by_name(mine->isa);
    const struct json *abstract = args ? json_get(args, "abstract") : NULL;
    struct type_list t = {json_list(), args ? json_get_string(args, "implements") : NULL, !abstract || abstract->boolean};
    static const char *const roots[] = {"device", "machine", "chardev", "cpu", "memory-backend", "rng-backend", "accel"};
    push_type(&t, "object", NULL, true);
    for (unsigned i = 0; i < ARRAY_LEN(roots); i++)
        push_type(&t, roots[i], parent_of(roots[i]), true);
    push_joined(&t, "tcg", "accel", "accel");
    for (unsigned i = 0; dev_class_at(i); i++)
        push_type(&t, dev_class_at(i)->name, "device", false);
    for (unsigned i = 0; board_at(i); i++) {
        if (!strcmp(board_at(i)->isa, mine->isa))
            push_joined(&t, board_at(i)->version ? board_at(i)->version : board_at(i)->name, "machine", "machine");
    }
    for (unsigned i = 0; isa->model_name(i); i++)
        push_joined(&t, isa->model_name(i), mine->cpu_type, "cpu");
    for (unsigned i = 0; char_kind_name(i); i++)
        push_joined(&t, "chardev", char_kind_name(i), "chardev");
    for (unsigned i = 0; machine_object_kind(i); i++)
        push_type(&t, machine_object_kind(i)->name, machine_object_kind(i)->parent, false);
    return t.list;
}

static const struct board *board_of_type(struct monitor *m, const char *type)
{
    const char *end = strstr(type, "-machine");
    for (unsigned i = 0; end && board_at(i); i++) {
        char *name = xprintf("%.*s", (int)(end - type), type);
        bool is = board_is_called(board_at(i), name) && !strcmp(board_at(i)->isa, machine_options(m->machine)->board->isa);
        free(name);
        if (is)
            return board_at(i);
    }
    return NULL;
}

/* Whether there is a type that qom-list-types shows. */
static bool is_type(struct monitor *m, const char *name)
{
    struct json *all = monitor_query(m, "qom-list-types");
    bool found = false;
    for (const struct json *t = all->first; t && !found; t = t->next)
        found = !strcmp(json_get_string(t, "name"), name);
    json_free(all);
    return found;
}

struct json *qmp_do_device_list_properties(struct monitor *m, const struct json *args, struct err *e)
{
    const char *name = json_get_string(args, "typename");
    const struct dev_class *c = dev_class_find(name, NULL);
    if (!c && !is_type(m, name)) {
        err_set(e, ENODEV, "Device '%s' not found", name);
        return NULL;
    }
    struct json *list = json_list();
    if (c)
        push_dev_props(list, c, true);
    return list;
}

struct json *qmp_do_qom_list_properties(struct monitor *m, const struct json *args, struct err *e)
{
    const char *name = json_get_string(args, "typename");
    const struct dev_class *c = dev_class_find(name, NULL);
    const struct board *b = board_of_type(m, name);
    if (!c && !b && !is_type(m, name)) {
        err_set(e, ENODEV, "Class '%s' not found", name);
        return NULL;
    }
    struct json *list = json_list();
    push_property(list, "type", "string");
    if (c)
        push_dev_props(list, c, true);
    for (const struct board_option *o = b ? b->options : NULL; o && o->name; o++)
        json_set_string(push_property(list, o->name, "string"), "description", o->help);
    for (unsigned i = 0; machine_object_kind(i); i++) {
        const struct machine_object_prop *p = machine_object_kind(i)->props;
        for (; !strcmp(machine_object_kind(i)->name, name) && p->name; p++)
            push_property(list, p->name, p->type);
    }
    return list;
}
