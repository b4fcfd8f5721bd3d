/* Commands of QMP that open and close images beside those of drives. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/job.h"
#include "monitor/monitor.h"
#include "qmp_commands.h"

struct monitor_node {
    struct monitor_node *next;
    struct node *node;
};

struct node *monitor_node(struct monitor *m, size_t i)
{
    const struct monitor_node *n = m->nodes;
    while (n && i--)
        n = n->next;
    return n ? n->node : NULL;
}

void monitor_close_nodes(struct monitor *m)
{
    for (struct monitor_node *n; (n = m->nodes);) {
        m->nodes = n->next;
        node_close(n->node, NULL);
        free(n);
    }
}

struct json *qmp_do_blockdev_add(struct monitor *m, const struct json *args, struct err *e)
{
    const char *name = json_get_string(args, "node-name");
    const struct json *read_only = json_get(args, "read-only");
    struct block_graph *g = machine_graph(m->machine);
    if (!name || node_find(g, name)) {
        err_set(e, EINVAL, name ? "Duplicate nodes with node-name='%s'" : "'node-name' must be specified for the root node", name);
        return NULL;
    }
    struct json *options = json_copy(args);
    json_free(json_take(options, "read-only"));
    json_free(json_take(options, "auto-read-only"));
    struct node *n = node_open(g, NULL, NULL, options, OPEN_NO_DISCARD | (read_only && read_only->boolean ? 0 : (u32)OPEN_WRITE), e);
    json_free(options);
    if (!n)
        return NULL;
    struct monitor_node *entry = xcalloc(1, sizeof(*entry));
    *entry = (struct monitor_node){m->nodes, n};
    m->nodes = entry;
    return json_object();
}

/* Where the list has it; NULL: nowhere. */
static struct monitor_node **find(struct monitor *m, const char *name)
{
    struct monitor_node **at = &m->nodes;
    while (*at && strcmp(node_name((*at)->node), name))
        at = &(*at)->next;
    return *at ? at : NULL;
}

struct json *qmp_do_blockdev_del(struct monitor *m, const struct json *args, struct err *e)
{
    const char *name = json_get_string(args, "node-name");
    struct monitor_node **at = find(m, name), *n = at ? *at : NULL;
    if (!n && node_find(machine_graph(m->machine), name))
        err_set(e, EINVAL, "Node %s is not owned by the monitor", name);
    else if (!n)
        err_set(e, ENOENT, "Failed to find node with node-name='%s'", name);
    bool used = n && (monitor_job_has(m, n->node) || machine_node_user(m->machine, n->node));
    if (used)
        err_set(e, EBUSY, "Node %s is in use", name);
    if (!n || used)
        return NULL;
    *at = n->next;
    bool good = node_close(n->node, e);
    free(n);
    return good ? json_object() : NULL;
}

struct json *qmp_do_blockdev_snapshot(struct monitor *m, const struct json *args, struct err *e)
{
    const char *node = json_get_string(args, "node"), *overlay = json_get_string(args, "overlay");
    s64 i = monitor_drive(m, node, node, e);
    struct monitor_node **at = find(m, overlay);
    if (i < 0)
        return NULL;
    if (!at) {
        err_set(e, ENOENT, "Cannot find device='%s' nor node-name='%s'", overlay, overlay);
        return NULL;
    }
    machine_hold(m->machine);
    bool good = node_put_overlay(machine_drive(m->machine, (size_t)i), node_ref((*at)->node), e);
    machine_release(m->machine);
    return good ? json_object() : NULL;
}
