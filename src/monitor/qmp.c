#include "monitor/qmp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "data/json.h"

enum { INPUT_MAX = 1 << 20 };

struct qmp {
    struct machine *machine;
    struct chardev *chardev;
    struct char_user user;
    struct machine_listener listener;
    bool negotiated; /* the client has said what it can */

    char *input; /* an object that has begun */
    size_t len, cap;
    unsigned depth;
    bool in_string, escaped, lost;
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

static struct json *version(void)
{
    struct json *j = json_object(), *qemu = json_set(j, "qemu", json_object());
    json_set_int(qemu, "micro", 0);
    json_set_int(qemu, "minor", 2);
    json_set_int(qemu, "major", 7);
    json_set_string(j, "package", "Lyrebird");
    return j;
}

static void greet(struct qmp *q)
{
    struct json *j = json_object(), *qmp = json_set(j, "QMP", json_object());
    q->negotiated = false;
    q->len = q->depth = 0;
    q->in_string = q->escaped = q->lost = false;
    json_set(qmp, "version", version());
    json_set(qmp, "capabilities", json_list());
    put(q, j);
}

static void event(struct machine_listener *l, const char *name)
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
    put(q, j);
}

/* ---- commands: each gives what it returns, or NULL with an error ---- */

static struct json *qmp_capabilities(struct qmp *q, const struct json *args, struct err *e)
{
    q->negotiated = true;
    return json_object();
}

static struct json *query_version(struct qmp *q, const struct json *args, struct err *e)
{
    return version();
}

static struct json *query_status(struct qmp *q, const struct json *args, struct err *e)
{
    struct json *j = json_object();
    bool runs = machine_is_running(q->machine);
    json_set_string(j, "status", runs ? "running" : "paused");
    json_set_bool(j, "singlestep", false);
    json_set_bool(j, "running", runs);
    return j;
}

static struct json *query_cpus_fast(struct qmp *q, const struct json *args, struct err *e)
{
    struct json *list = json_list();
    const struct machine_opts *o = machine_options(q->machine);
    for (unsigned i = 0; i < o->cpus; i++) {
        struct json *cpu = json_object(), *props = json_set(cpu, "props", json_object());
        json_set_int(props, "core-id", i);
        json_set_int(cpu, "cpu-index", i);
        json_set_string(cpu, "target", o->board->isa);
        json_push(list, cpu);
    }
    return list;
}

static struct json *query_chardev(struct qmp *q, const struct json *args, struct err *e)
{
    static const char *const kinds[] = {[CHAR_NULL] = "null", [CHAR_STDIO] = "stdio", [CHAR_FILE] = "file",
                                        [CHAR_PIPE] = "pipe", [CHAR_PTY] = "pty", [CHAR_SOCKET] = "socket"};
    struct json *list = json_list();
    const struct machine_opts *o = machine_options(q->machine);
    for (size_t i = 0; i < o->chardev_count; i++) {
        struct json *c = json_object();
        json_set_string(c, "label", o->chardevs[i].id);
        json_set_string(c, "filename", o->chardevs[i].path ? o->chardevs[i].path : kinds[o->chardevs[i].kind]);
        json_set_bool(c, "frontend-open", true);
        json_push(list, c);
    }
    return list;
}

static struct json *do_stop(struct qmp *q, const struct json *args, struct err *e)
{
    machine_stop(q->machine);
    return json_object();
}

static struct json *do_cont(struct qmp *q, const struct json *args, struct err *e)
{
    machine_cont(q->machine);
    return json_object();
}

static struct json *request(struct qmp *q, enum machine_request r)
{
    machine_request(q->machine, r);
    return json_object();
}

static struct json *do_quit(struct qmp *q, const struct json *args, struct err *e)
{
    return request(q, MACHINE_QUIT);
}

static struct json *system_reset(struct qmp *q, const struct json *args, struct err *e)
{
    return request(q, MACHINE_RESET);
}

static struct json *system_powerdown(struct qmp *q, const struct json *args, struct err *e)
{
    return request(q, MACHINE_POWER_KEY);
}

static struct json *query_commands(struct qmp *q, const struct json *args, struct err *e);

static const struct {
    const char *name;
    struct json *(*run)(struct qmp *q, const struct json *args, struct err *e);
} commands[] = {
    {"qmp_capabilities", qmp_capabilities}, {"query-version", query_version}, {"query-status", query_status},
    {"query-commands", query_commands},     {"query-cpus-fast", query_cpus_fast}, {"query-chardev", query_chardev},
    {"stop", do_stop},                      {"cont", do_cont},                {"quit", do_quit},
    {"system_reset", system_reset},         {"system_powerdown", system_powerdown},
};

static struct json *query_commands(struct qmp *q, const struct json *args, struct err *e)
{
    struct json *list = json_list();
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        struct json *c = json_object();
        json_set_string(c, "name", commands[i].name);
        json_push(list, c);
    }
    return list;
}

/* ---- in ---- */

static void run_command(struct qmp *q, const char *name, const struct json *args, struct json *id)
{
    struct err e = {0};
    bool first = !strcmp(name, "qmp_capabilities");
    char *text = NULL;
    for (unsigned i = 0; i < ARRAY_LEN(commands) && (first || q->negotiated); i++) {
        if (strcmp(name, commands[i].name))
            continue;
        if (args && args->first) {
            text = xprintf("Parameter '%s' is unexpected", args->first->key);
            send_error(q, id, "GenericError", text);
            free(text);
            return;
        }
        struct json *j = json_object(), *result = commands[i].run(q, args, &e);
        json_set(j, "return", result);
        if (id)
            json_set(j, "id", id);
        put(q, j);
        return;
    }
    text = q->negotiated ? xprintf("The command %s has not been found", name)
                         : xprintf("Expecting capabilities negotiation with 'qmp_capabilities'");
    send_error(q, id, "CommandNotFound", text);
    free(text);
}

static void run_text(struct qmp *q, const char *text)
{
    struct err e = {0};
    struct json *j = json_parse(text, &e);
    if (!j || j->kind != JSON_OBJECT) {
        send_error(q, NULL, "GenericError", j ? "QMP input must be a JSON object" : e.text);
        json_free(j);
        return;
    }
    struct json *id = json_take(j, "id");
    const char *name = json_get_string(j, "execute");
    if (name) {
        run_command(q, name, json_get(j, "arguments"), id);
    } else {
        send_error(q, id, "GenericError", "QMP input lacks member 'execute'");
    }
    json_free(j);
}

/* Objects follow each other with anything white between: an object ends with the brace of its first. */
static void take(struct qmp *q, char c)
{
    if (!q->depth && c != '{')
        return;
    q->lost |= q->len == INPUT_MAX;
    if (!q->lost)
        VEC_PUSH(q->input, q->len, q->cap) = c;
    if (q->in_string) {
        q->in_string = q->escaped || c != '"';
        q->escaped = !q->escaped && c == '\\';
        return;
    }
    q->in_string = c == '"';
    q->depth += (c == '{') - (c == '}');
    if (q->depth)
        return;
    VEC_PUSH(q->input, q->len, q->cap) = 0;
    q->len = 0;
    if (q->lost)
        send_error(q, NULL, "GenericError", "JSON token size limit exceeded");
    else
        run_text(q, q->input);
    q->lost = false;
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

struct qmp *qmp_new(struct machine *m, struct chardev *c, struct err *e)
{
    struct qmp *q = xcalloc(1, sizeof(*q));
    q->machine = m;
    q->chardev = c;
    q->user = (struct char_user){.room = qmp_room, .receive = qmp_receive, .event = qmp_event, .opaque = q};
    q->listener.event = event;
    if (!char_attach(c, &q->user)) {
        free(q);
        err_set(e, EBUSY, "character device '%s' is in use", char_id(c));
        return NULL;
    }
    machine_listen(m, &q->listener);
    return q;
}

void qmp_free(struct qmp *q)
{
    if (!q)
        return;
    free(q->input);
    free(q);
}
