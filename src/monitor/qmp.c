#include "monitor/qmp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "data/json.h"
#include "monitor/qmp_input.h"
#include "monitor/schema.h"

struct qmp {
    struct monitor *monitor;
    struct chardev *chardev;
    struct char_user user;
    struct machine_listener listener;
    bool negotiated; /* the client has said what it can ... */
    bool oob;        /* ... which is to ask for commands to be executed at once */
    struct qmp_input input;
};

/* ---- out ---- */

static void put(struct qmp *q, struct json *j)
{
    char *text = json_text(j, false);
    char_write(q->chardev, text, strlen(text));
    char_write(q->chardev, "\r\n", 2);
    free(text);
    json_free(j);
}

static void send_error(struct qmp *q, struct json *id, const char *class, const char *text)
{
    struct json *j = json_object(), *error = json_set(j, "error", json_object());
    json_set_string(error, "class", class);
    json_set_string(error, "desc", text);
    if (id)
        json_set(j, "id", id);
    put(q, j);
}

static const char *error_class(int code)
{
    return code == ENOSYS ? "CommandNotFound" : code == ENODEV ? "DeviceNotFound" : code == ENOTCONN ? "DeviceNotActive"
                                                                                                  : "GenericError";
}

static void greet(struct qmp *q)
{
    struct json *j = json_object(), *qmp = json_set(j, "QMP", json_object());
    q->negotiated = q->oob = false;
    qmp_input_reset(&q->input);
    json_set(qmp, "version", monitor_query(q->monitor, "query-version"));
    json_push(json_set(qmp, "capabilities", json_list()), json_string("oob"));
    put(q, j);
}

/* A device says which it is by its name, clients know it by its path. */
static struct json *event_data(struct qmp *q, const struct json *data)
{
    struct json *copy = json_copy(data);
    const char *name = json_get_string(copy, "qom-path");
    const struct dev *d = name ? machine_dev(q->monitor->machine, name) : NULL;
    if (d)
        json_set_owned(copy, "qom-path", monitor_dev_path(q->monitor, d));
    return copy;
}

static void event(struct machine_listener *l, const char *name, const struct json *data)
{
    struct qmp *q = container_of(l, struct qmp, listener);
    struct timespec t;
    if (!q->negotiated)
        return;
    clock_gettime(CLOCK_REALTIME, &t);
    struct json *j = json_object(), *stamp = json_set(j, "timestamp", json_object());
    json_set_int(stamp, "seconds", t.tv_sec);
    json_set_int(stamp, "microseconds", t.tv_nsec / 1000);
    json_set_string(j, "event", name);
    if (data)
        json_set(j, "data", event_data(q, data));
    put(q, j);
}

/* ---- commands ---- */

static struct json *negotiate(struct qmp *q, const struct json *args, struct err *e)
{
    if (!qmp_check(qmp_find("qmp_capabilities"), args, e))
        return NULL;
    const struct json *enable = args ? json_get(args, "enable") : NULL;
    q->oob = enable && enable->first; /* there is no other capability */
    q->negotiated = true;
    return json_object();
}

static struct json *execute(struct qmp *q, const char *name, const struct json *args, bool oob, struct err *e)
{
    const struct qmp_command *c = qmp_find(name);
    if (!q->negotiated) {
        if (!strcmp(name, "qmp_capabilities"))
            return negotiate(q, args, e);
        err_set(e, ENOSYS, "Expecting capabilities negotiation with 'qmp_capabilities'");
        return NULL;
    }
    if (oob && c && !c->oob) {
        err_set(e, EINVAL, "The command %s does not support OOB", name);
        return NULL;
    }
    return monitor_execute(q->monitor, name, args, e);
}

/* The name of the command to execute; NULL with an error: `j` is no request. */
static const char *request_name(const struct qmp *q, const struct json *j, struct err *e)
{
    const char *key = q->oob && json_get(j, "exec-oob") ? "exec-oob" : "execute";
    for (const struct json *v = j->first; v; v = v->next) {
        const char *must = !strcmp(v->key, key) ? "a string" : !strcmp(v->key, "arguments") ? "an object" : NULL;
        if (!must) {
            err_set(e, EINVAL, "QMP input member '%s' is unexpected", v->key);
            return NULL;
        }
        if (v->kind != (must[1] == 'n' ? JSON_OBJECT : JSON_STRING)) {
            err_set(e, EINVAL, "QMP input member '%s' must be %s", v->key, must);
            return NULL;
        }
    }
    const char *name = json_get_string(j, key);
    if (!name)
        err_set(e, EINVAL, "QMP input lacks member 'execute'");
    return name;
}

static void answer(struct qmp *q, struct json *request)
{
    struct err e = {0};
    struct json *id = json_take(request, "id");
    const char *name = request_name(q, request, &e);
    bool oob = name && json_get(request, "exec-oob");
    struct json *result = name ? execute(q, name, json_get(request, "arguments"), oob, &e) : NULL;
    if (!result) {
        send_error(q, id, error_class(e.code), e.text);
        return;
    }
    struct json *j = json_object();
    json_set(j, "return", result);
    if (id)
        json_set(j, "id", id);
    put(q, j);
}

/* ---- in ---- */

static void run_text(struct qmp *q, const char *text)
{
    trace(TRACE_QMP, "mon %s req: %s", char_id(q->chardev), text);
    struct err e = {0};
    struct json *j = json_parse(text, &e);
    if (j && j->kind == JSON_OBJECT)
        answer(q, j);
    else
        send_error(q, NULL, "GenericError", j ? "QMP input must be a JSON object" : e.text);
    json_free(j);
}

static void take(struct qmp *q, char c)
{
    char text[80];
    switch (qmp_input_take(&q->input, c)) {
    case QMP_INPUT_MORE: return;
    case QMP_INPUT_VALUE: run_text(q, q->input.text); return;
    case QMP_INPUT_LONG: send_error(q, NULL, "GenericError", "JSON token size limit exceeded"); return;
    case QMP_INPUT_STRAY:
        snprintf(text, sizeof(text), "JSON parse error, stray byte 0x%02x", (u8)c);
        send_error(q, NULL, "GenericError", text);
    }
}

static size_t qmp_room(void *opaque)
{
    return 4096;
}

static void qmp_receive(void *opaque, const u8 *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        take(opaque, (char)data[i]);
}

static void qmp_event(void *opaque, enum char_event event)
{
    if (event == CHAR_OPENED)
        greet(opaque);
}

struct qmp *qmp_new(struct monitor *m, struct chardev *c, struct err *e)
{
    struct qmp *q = xcalloc(1, sizeof(*q));
    q->monitor = m;
    q->chardev = c;
    q->user = (struct char_user){.room = qmp_room, .receive = qmp_receive, .event = qmp_event, .opaque = q};
    q->listener.event = event;
    if (!char_attach(c, &q->user)) {
        free(q);
        err_set(e, EBUSY, "character device '%s' is in use", char_id(c));
        return NULL;
    }
    machine_listen(m->machine, &q->listener);
    return q;
}

void qmp_free(struct qmp *q)
{
    if (!q)
        return;
    char_detach(q->chardev, &q->user);
    free(q->input.text);
    free(q);
}
