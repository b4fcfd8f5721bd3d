/* The images and networks of a machine. */
#include <errno.h>
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
            m->drives[i] = node_open(m->graph, d->file, d->format, options ? options : d->more, d->flags | OPEN_ALONE, e);
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
    struct node *n = node_find(m->graph, id); /* which a monitor has opened */
    if (n)
        return n;
    err_set(e, ENOENT, "there is no drive or node '%s', or an image above it uses it", id);
    return NULL;
}

/* ---- networks ---- */

static struct machine_network *find_network(struct machine *m, const char *id, struct err *e)
{
    for (size_t i = 0; i < m->network_count; i++) {
        if (!strcmp(m->networks[i]->opts.id, id))
            return m->networks[i];
    }
    err_set(e, ENOENT, "there is no netdev '%s'", id);
    return NULL;
}

/* A port of a hub finds the others of its hub, and what is to be behind it. */
static bool connect_port(struct machine *m, struct netdev *n, const struct net_opts *o, struct err *e)
{
    for (size_t i = 0; i < m->network_count; i++)
        net_hub_join(n, m->networks[i]->netdev);
    const struct machine_network *behind = o->behind ? find_network(m, o->behind, e) : NULL;
    return !o->behind || (behind && (net_hub_put_behind(n, behind->netdev) || err_set(e, EBUSY, "netdev '%s' is in use", o->behind)));
}

static bool add_network(struct machine *m, const struct net_opts *o, bool added, struct err *e)
{
    struct netdev *n = net_new(m->loop, o, e);
    if (n && o->kind == NET_HUB && !connect_port(m, n, o, e)) {
        net_free(n);
        n = NULL;
    }
    if (!n)
        return false;
    struct machine_network *new = xcalloc(1, sizeof(*new));
    *new = (struct machine_network){*o, added, n};
    VEC_PUSH(m->networks, m->network_count, m->network_cap) = new;
    return true;
}

bool machine_make_netdevs(struct machine *m, struct err *e)
{
    const struct machine_opts *o = m->opts;
    for (size_t i = 0; i < o->netdev_count; i++) {
        if (!add_network(m, &o->netdevs[i], false, e))
            return err_prefix(e, "-netdev %s", o->netdevs[i].id);
    }
    return true;
}

static void free_network(struct machine_network *n)
{
    net_free(n->netdev);
    if (n->added)
        net_opts_free(&n->opts);
    free(n);
}

/* From the last on: ports of hubs come behind what is behind them. */
void machine_free_netdevs(struct machine *m)
{
    while (m->network_count)
        free_network(m->networks[--m->network_count]);
    free(m->networks);
    m->networks = NULL;
}

struct netdev *machine_find_netdev(struct machine *m, const char *id, struct err *e)
{
    struct machine_network *n = find_network(m, id, e);
    return n ? n->netdev : NULL;
}

const struct net_opts *machine_network(struct machine *m, size_t i)
{
    return i < m->network_count ? &m->networks[i]->opts : NULL;
}

struct netdev *machine_netdev(struct machine *m, size_t i)
{
    return m->networks[i]->netdev;
}

bool machine_add_network(struct machine *m, const struct net_opts *o, struct err *e)
{
    if (find_network(m, o->id, NULL))
        return err_set(e, EEXIST, "Duplicate ID '%s' for netdev", o->id);
    return add_network(m, o, true, e);
}

bool machine_remove_network(struct machine *m, const char *id, struct err *e)
{
    struct machine_network *n = find_network(m, id, NULL);
    if (!n)
        return err_set(e, ENODEV, "Device '%s' not found", id);
    if (net_is_used(n->netdev))
        return err_set(e, EBUSY, "Network '%s' is in use", id);
    size_t i = 0;
    while (m->networks[i] != n)
        i++;
    VEC_REMOVE(m->networks, m->network_count, i);
    free_network(n);
    return true;
}
