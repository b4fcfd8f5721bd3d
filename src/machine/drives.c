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
    struct node *n = node_find(m->graph, id); /* which a monitor has opened */
    if (n)
        return n;
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

struct netdev *machine_find_netdev(struct machine *m, const char *id, struct err *e)
{
    for (size_t i = 0; i < m->opts->netdev_count; i++) {
        if (!strcmp(m->opts->netdevs[i].id, id))
            return m->netdevs[i];
    }
    err_set(e, ENOENT, "there is no netdev '%s'", id);
    return NULL;
}
