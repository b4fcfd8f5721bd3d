#include "block/filter/stops.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct stop {
    struct stop *next;
    char *tag;
    struct break_watch watch;
    enum blk_event event;
    bool armed;        /* the event has been */
    struct blk_req *r; /* that it holds; NULL: none yet */
};

static bool has_tag(const struct stop *stop, const char *tag)
{
    return !tag || !strcmp(stop->tag, tag);
}

static void tell(const struct stop *stop, bool held)
{
    if (stop->watch.told)
        stop->watch.told(stop->watch.opaque, stop->tag, held);
}

static void take_out(struct stop **link)
{
    struct stop *stop = *link;
    *link = stop->next;
    free(stop->tag);
    free(stop);
}

static bool holds(const struct stops *s, const struct blk_req *r)
{
    const struct stop *stop = s->first;
    while (stop && stop->r != r)
        stop = stop->next;
    return stop;
}

void stops_add(struct stops *s, enum blk_event event, const char *tag, const struct break_watch *watch)
{
    struct stop *stop = xmalloc(sizeof(*stop));
    *stop = (struct stop){.next = s->first, .tag = xstrdup(tag), .watch = *watch, .event = event};
    s->first = stop;
}

void stops_event(struct stops *s, enum blk_event event)
{
    for (struct stop *stop = s->first; stop; stop = stop->next)
        stop->armed |= stop->event == event && !stop->r;
}

bool stops_hold(struct stops *s, struct blk_req *r)
{
    for (struct stop *stop = s->first; stop; stop = stop->next) {
        if (!stop->armed)
            continue;
        stop->armed = false;
        stop->r = r;
        tell(stop, true);
    }
    return holds(s, r);
}

bool stops_remove(struct stops *s, const char *tag)
{
    bool found = false;
    for (struct stop **link = &s->first; *link;) {
        if ((*link)->r || !has_tag(*link, tag)) {
            link = &(*link)->next;
        } else {
            take_out(link);
            found = true;
        }
    }
    return found;
}

bool stops_resume(struct stops *s, const char *tag, struct blk_req **r)
{
    struct stop **link = &s->first;
    while (*link && (!(*link)->r || !has_tag(*link, tag)))
        link = &(*link)->next;
    if (!*link)
        return false;
    *r = (*link)->r;
    tell(*link, false);
    take_out(link);
    if (holds(s, *r))
        *r = NULL;
    return true;
}

bool stops_reached(const struct stops *s, const char *tag)
{
    const struct stop *stop = s->first;
    while (stop && (!stop->r || !has_tag(stop, tag)))
        stop = stop->next;
    return stop;
}

bool stops_forget(struct stops *s, const struct blk_req *r)
{
    bool held = false;
    for (struct stop **link = &s->first; *link;) {
        if ((*link)->r != r) {
            link = &(*link)->next;
        } else {
            take_out(link);
            held = true;
        }
    }
    return held;
}
