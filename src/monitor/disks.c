/* Commands of QMP about disks and their images. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "block/job.h"
#include "monitor/monitor.h"
#include "qmp_commands.h"

#define LIMIT_MAX 1000000000000000ll /* what a limit can be, a second */

/* ---- images ---- */

static struct json *image_info(struct node *n)
{
    struct json *j = json_object();
    struct node *backing = node_backing(n);
    struct stat st;
    json_set_string(j, "filename", node_filename(n));
    json_set_string(j, "format", node_format(n));
    json_set_int(j, "virtual-size", (s64)node_size(n));
    if (!stat(node_filename(n), &st))
        json_set_int(j, "actual-size", (s64)st.st_blocks * 512);
    if (backing) {
        json_set_string(j, "backing-filename", node_filename(backing));
        json_set_string(j, "full-backing-filename", node_filename(backing));
        json_set_string(j, "backing-filename-format", node_format(backing));
        json_set(j, "backing-image", image_info(backing));
    }
    return j;
}

/* In the order of struct throttle_limits. */
static const char *const limit_names[THROTTLE_LIMITS] = {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"};

static bool is_limited(const struct throttle_limits *l)
{
    for (unsigned i = 0; i < THROTTLE_LIMITS; i++) {
        if (l->rate[i])
            return true;
    }
    return false;
}

/* `name`, `limits` NULL: none. `flags` as it was opened. */
static struct json *medium_info(struct node *n, const char *name, u32 flags, const struct throttle_limits *limits)
{
    struct json *j = json_object(), *cache;
    s64 depth = 0;
    for (struct node *b = node_backing(n); b; b = node_backing(b))
        depth++;
    json_set_string(j, "file", node_filename(n));
    if (name)
        json_set_string(j, "node-name", name);
    json_set_bool(j, "ro", node_read_only(n));
    json_set_string(j, "drv", node_format(n));
    if (depth)
        json_set_string(j, "backing_file", node_filename(node_backing(n)));
    json_set_int(j, "backing_file_depth", depth);
    json_set_bool(j, "encrypted", false);
    json_set_string(j, "detect_zeroes", "off");
    for (unsigned i = 0; i < THROTTLE_LIMITS; i++)
        json_set_int(j, limit_names[i], limits ? (s64)limits->rate[i] : 0);
    json_set_int(j, "write_threshold", 0);
    json_set(j, "image", image_info(n));
    cache = json_set(j, "cache", json_object());
    json_set_bool(cache, "writeback", !(flags & OPEN_WRITE_THROUGH));
    json_set_bool(cache, "direct", flags & OPEN_NO_CACHE);
    json_set_bool(cache, "no-flush", flags & OPEN_NO_FLUSH);
    return j;
}

/* What the i-th drive holds, behind the filters of limits and of a backup. */
static struct json *drive_info(struct monitor *m, size_t i)
{
    const struct throttle_limits *limits = m->limits && is_limited(&m->limits[i]) ? &m->limits[i] : NULL;
    struct node *n = node_root_child(machine_drive(m->machine, i));
    n = limits ? node_file(n) : n;
    n = strcmp(node_format(n), "copy-before-write") ? n : node_file(n);
    const struct machine_drive *d = &machine_options(m->machine)->drives[i];
    return medium_info(n, d->options ? d->id : NULL, d->flags, limits);
}

/* The device that a drive is in, as "qdev" has it, which the caller frees; NULL: none. */
static char *user_of(struct monitor *m, const char *drive)
{
    struct dev *dev = monitor_user_of(m, "drive", drive);
    if (!dev)
        return NULL;
    bool card = dev->class->inner;
    char *path = monitor_dev_path(m, dev);
    char *text = card ? xprintf("%s/virtio-backend", path) : xstrdup(monitor_dev_id(m, dev) ? dev->name : path);
    free(path);
    return text;
}

/* BlockInfo of a device (NULL: none) and what is in it; takes both over. */
static struct json *block_info(const char *name, char *user, struct json *inserted)
{
    struct json *j = json_object();
    json_set_string(j, "device", name);
    if (user)
        json_set_owned(j, "qdev", user);
    json_set_string(j, "type", "unknown");
    json_set_bool(j, "removable", false);
    json_set_bool(j, "locked", false);
    json_set(j, "inserted", inserted);
    json_set_string(j, "io-status", "ok");
    return j;
}

/* Images that nobody shows to the guest are left out. */
struct json *qmp_do_query_block(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *list = json_list();
    struct node *n;
    const struct machine_opts *o = machine_options(m->machine);
    for (size_t i = 0; i < o->drive_count; i++) {
        const struct machine_drive *d = &o->drives[i];
        char *user = user_of(m, d->id);
        if (machine_drive(m->machine, i) && (!d->options || user))
            json_push(list, block_info(d->options ? "" : d->id, user, drive_info(m, i)));
        else
            free(user);
    }
    for (size_t i = 0; (n = monitor_node(m, i)); i++) {
        char *user = user_of(m, node_name(n));
        if (user)
            json_push(list, block_info("", user, medium_info(n, node_name(n), 0, NULL)));
    }
    return list;
}

struct json *qmp_do_query_named_block_nodes(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *list = json_list();
    const struct machine_opts *o = machine_options(m->machine);
    for (size_t i = 0; i < o->drive_count; i++) {
        if (machine_drive(m->machine, i))
            json_push(list, drive_info(m, i));
    }
    for (size_t i = 0; monitor_node(m, i); i++)
        json_push(list, medium_info(monitor_node(m, i), node_name(monitor_node(m, i)), 0, NULL));
    return list;
}

static void push_stats(struct monitor *m, struct json *list, const char *drive, bool named)
{
    struct dev *card = monitor_user_of(m, "drive", drive), *dev = card ? machine_on_card(card) : NULL;
    if (!dev || !dev->class->show)
        return;
    struct json *j = json_object();
    json_set_string(j, "device", named ? "" : drive);
    if (named)
        json_set_string(j, "node-name", drive);
    json_set_owned(j, "qdev", user_of(m, drive));
    json_set(j, "stats", dev->class->show(dev));
    json_push(list, j);
}

struct json *qmp_do_query_blockstats(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *list = json_list();
    struct node *n;
    const struct machine_opts *o = machine_options(m->machine);
    for (size_t i = 0; i < o->drive_count; i++)
        push_stats(m, list, o->drives[i].id, o->drives[i].options);
    for (size_t i = 0; (n = monitor_node(m, i)); i++)
        push_stats(m, list, node_name(n), true);
    return list;
}

/* ---- limits ---- */

static bool read_limits(const struct json *args, struct throttle_limits *l, struct err *e)
{
    *l = (struct throttle_limits){0};
    for (unsigned i = 0; i < THROTTLE_LIMITS; i++) {
        s64 v = json_get(args, limit_names[i])->integer;
        if (v < 0 || v > LIMIT_MAX)
            return err_set(e, EINVAL, "bps/iops/max values must be within [0, %lld]", LIMIT_MAX);
        l->rate[i] = (u64)v;
    }
    if ((l->rate[BPS_TOTAL] && (l->rate[BPS_READ] || l->rate[BPS_WRITE])) ||
        (l->rate[IOPS_TOTAL] && (l->rate[IOPS_READ] || l->rate[IOPS_WRITE])))
        return err_set(e, EINVAL, "bps/iops/max total values and read/write values cannot be used at the same time");
    return true;
}

/* A filter comes with the first limit and goes with the last; each drive has a group of its own. */
static bool limit(struct monitor *m, size_t i, const struct throttle_limits *l, struct err *e)
{
    struct node *root = machine_drive(m->machine, i);
    bool was = is_limited(&m->limits[i]), is = is_limited(l);
    char *group = xprintf("monitor/%zu", i);
    bool good = block_throttle_group_set(machine_graph(m->machine), group, l, e);
    if (good && is != was) {
        struct json *o = json_object();
        json_set_string(o, "throttle-group", group);
        machine_hold(m->machine);
        good = is ? node_put_filter(root, "throttle", o, e) : node_take_filter(root, e);
        machine_release(m->machine);
        json_free(o);
    }
    free(group);
    return good;
}

/* A drive by its id, or by that of the device that it is in. */
static s64 limited_drive(struct monitor *m, const struct json *args, struct err *e)
{
    const char *device = json_get_string(args, "device"), *id = json_get_string(args, "id");
    const char *name = id ? id : device ? device : "";
    const struct machine_opts *o = machine_options(m->machine);
    for (size_t i = 0; i < o->drive_count; i++) {
        struct dev *user = id ? monitor_user_of(m, "drive", o->drives[i].id) : NULL;
        if (machine_drive(m->machine, i) && !strcmp(user ? user->name : o->drives[i].id, name))
            return (s64)i;
    }
    err_set(e, ENODEV, "Device '%s' not found", name);
    return -1;
}

struct json *qmp_do_block_set_io_throttle(struct monitor *m, const struct json *args, struct err *e)
{
    struct throttle_limits l;
    s64 i = limited_drive(m, args, e);
    if (i < 0 || !read_limits(args, &l, e))
        return NULL;
    if (!m->limits)
        m->limits = xcalloc(machine_options(m->machine)->drive_count, sizeof(*m->limits));
    if (!limit(m, (size_t)i, &l, e))
        return NULL;
    m->limits[i] = l;
    return json_object();
}

/* ---- sizes ---- */

s64 monitor_drive(struct monitor *m, const char *device, const char *node, struct err *e)
{
    const struct machine_opts *o = machine_options(m->machine);
    for (size_t i = 0; i < o->drive_count; i++) {
        const char *id = o->drives[i].options ? node : device;
        if (id && !strcmp(o->drives[i].id, id) && machine_drive(m->machine, i))
            return (s64)i;
    }
    err_set(e, EINVAL, "Cannot find device='%s' nor node-name='%s'", device ? device : "", node ? node : "");
    return -1;
}

/* While the CPUs stand still, so that nothing is asked of the image meanwhile. */
static bool resize(struct monitor *m, struct node *n, u64 size, struct err *e)
{
    if (node_read_only(n))
        return err_set(e, EACCES, "Image is read-only");
    machine_hold(m->machine);
    node_drain(n);
    bool good = node_truncate(n, size, PREALLOC_OFF, e);
    machine_release(m->machine);
    return good;
}

struct json *qmp_do_block_resize(struct monitor *m, const struct json *args, struct err *e)
{
    s64 size = json_get(args, "size")->integer, i;
    i = monitor_drive(m, json_get_string(args, "device"), json_get_string(args, "node-name"), e);
    if (i < 0)
        return NULL;
    if (size < 0) {
        err_set(e, EINVAL, "Parameter 'size' expects a >0 size");
        return NULL;
    }
    if (!resize(m, machine_drive(m->machine, (size_t)i), (u64)size, e))
        return NULL;
    struct dev *card = monitor_user_of(m, "drive", machine_options(m->machine)->drives[i].id);
    struct dev *dev = card ? machine_on_card(card) : NULL;
    if (dev && dev->class->order)
        dev->class->order(dev, (u64)size);
    return json_object();
}
