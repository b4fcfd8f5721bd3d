/* Announcements of network cards, which are repeated, each time after a longer while. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "monitor/monitor.h"
#include "qmp_commands.h"

#define MS 1000000ull /* nanoseconds */

struct monitor_announcement {
    struct monitor_announcement *next;
    struct monitor *monitor;
    struct loop_timer timer;
    char *id;
    struct json *interfaces; /* names of cards; NULL: all */
    s64 wait, most, step, left;
};

static bool is_meant(const struct monitor_announcement *a, const struct dev *d)
{
    bool meant = !a->interfaces || !a->interfaces->first;
    for (const struct json *i = meant ? NULL : a->interfaces->first; i; i = i->next)
        meant |= !strncmp(d->name, i->string, strlen(i->string)) && strchr("/", d->name[strlen(i->string)]);
    return meant;
}

static void announce(struct monitor_announcement *a)
{
    for (struct dev *d = NULL; (d = monitor_next(a->monitor, "link", d));) {
        if (is_meant(a, d))
            d->class->order(d, DEV_LINK_ANNOUNCE);
    }
}

static void end(struct monitor_announcement *a)
{
    struct monitor_announcement **at = &a->monitor->announcements;
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    loop_timer_cancel(machine_loop(a->monitor->machine), &a->timer);
    json_free(a->interfaces);
    free(a->id);
    free(a);
}

static void next_round(struct loop_timer *t)
{
    struct monitor_announcement *a = container_of(t, struct monitor_announcement, timer);
    announce(a);
    if (!--a->left) {
        end(a);
        return;
    }
    loop_timer_set(machine_loop(a->monitor->machine), t, loop_now() + (u64)a->wait * MS);
    a->wait = MIN(a->wait + a->step, a->most);
}

void monitor_end_announcements(struct monitor *m)
{
    while (m->announcements)
        end(m->announcements);
}

static s64 in_range(const struct json *args, const char *name, s64 least, s64 most, struct err *e)
{
    s64 v = json_get(args, name)->integer;
    if (v < least || v > most)
        err_set(e, EINVAL, "Parameter '%s' expects a value between %lld and %lld", name, (long long)least, (long long)most);
    return v;
}

/* Of the same id there is one, and the new one takes its place; with no rounds it just ends. */
struct json *qmp_do_announce_self(struct monitor *m, const struct json *args, struct err *e)
{
    const char *id = json_get_string(args, "id") ? json_get_string(args, "id") : "";
    const struct json *interfaces = json_get(args, "interfaces");
    struct monitor_announcement new = {.next = m->announcements, .monitor = m, .timer.fire = next_round};
    e->code = 0;
    new.wait = in_range(args, "initial", 1, 100000, e);
    new.most = in_range(args, "max", 1, 100000, e);
    new.left = in_range(args, "rounds", 0, 1000, e);
    new.step = in_range(args, "step", 0, 10000, e);
    if (e->code)
        return NULL;
    for (struct monitor_announcement *a = m->announcements, *next; a; a = next) {
        next = a->next;
        if (!strcmp(a->id, id))
            end(a);
    }
    if (!new.left)
        return json_object();
    struct monitor_announcement *a = xcalloc(1, sizeof(*a));
    *a = new;
    a->next = m->announcements;
    a->id = xstrdup(id);
    a->interfaces = interfaces ? json_copy(interfaces) : NULL;
    m->announcements = a;
    next_round(&a->timer);
    return json_object();
}
