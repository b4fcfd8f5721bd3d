/* Events that can be followed: as QMP has them, and in words. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "monitor/hmp_impl.h"
#include "qmp_commands.h"

static bool unknown(const char *name, struct err *e)
{
    return err_set(e, EINVAL, "unknown event \"%s\"", name);
}

struct json *qmp_do_trace_event_get_state(struct monitor *m, const struct json *args, struct err *e)
{
    const char *pattern = json_get_string(args, "name");
    struct json *list = json_list();
    for (unsigned t = 0; t < TRACE_EVENTS; t++) {
        if (fnmatch(pattern, trace_name(t), 0))
            continue;
        struct json *j = json_object();
        json_set_string(j, "name", trace_name(t));
        json_set_bool(j, "vcpu", false);
        json_set_string(j, "state", trace_on(t) ? "enabled" : "disabled");
        json_push(list, j);
    }
    if (list->first || strpbrk(pattern, "*?["))
        return list;
    json_free(list);
    unknown(pattern, e);
    return NULL;
}

struct json *qmp_do_trace_event_set_state(struct monitor *m, const struct json *args, struct err *e)
{
    const char *pattern = json_get_string(args, "name");
    if (trace_choose(pattern, json_get(args, "enable")->boolean) || strpbrk(pattern, "*?["))
        return json_object();
    unknown(pattern, e);
    return NULL;
}

bool hmp_trace_event(struct hmp_call *h, struct err *e)
{
    char *words[2], *copy;
    bool good = hmp_words(h->args, words, 2, &copy) == 2, on = good && !strcmp(words[1], "on");
    good = good && (on || !strcmp(words[1], "off"));
    if (!good)
        err_set(e, EINVAL, "Expected 'on' or 'off'");
    else if (!trace_choose(words[0], on))
        fprintf(h->out, "unknown event \"%s\"\n", words[0]);
    free(copy);
    return good;
}

bool hmp_info_trace_events(struct hmp_call *h, struct err *e)
{
    for (unsigned t = 0; t < TRACE_EVENTS; t++) {
        if (!*h->args || !fnmatch(h->args, trace_name(t), 0))
            fprintf(h->out, "%s : state %d\n", trace_name(t), trace_on(t));
    }
    return true;
}
