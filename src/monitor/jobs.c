/* Commands of QMP that work on images while the machine runs. A job belongs to one drive; block/job.h does the work. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/job.h"
#include "monitor/monitor.h"
#include "qmp_commands.h"

struct monitor_job {
    struct monitor *m;
    struct monitor_job *next;
    char *id;
    const char *type;
    struct block_job *job; /* NULL: it has ended ... */
    char *error;           /* ... with this; NULL: well */
    struct node *target;   /* opened for this job; NULL: none */
    struct node *lent;     /* a target of blockdev-add; NULL: none */
    const char *status;    /* QMP's JobStatus */
    u64 done, total, speed;
    char *bitmap;
    bool cancelled, auto_finalize, auto_dismiss;
    bool kept;                /* a mirror that was ready ends by a cancel: its copy is whole */
    bool ended;               /* it is pending: it waits for job-finalize, or ... */
    bool ending;              /* ... `end` is to come */
    struct machine_work end;
};

/* ---- events ---- */

static void set_status(struct monitor_job *j, const char *status)
{
    struct json *data = json_object();
    j->status = status;
    json_set_string(data, "id", j->id);
    json_set_string(data, "status", status);
    machine_tell(j->m->machine, "JOB_STATUS_CHANGE", data);
}

static void measure(struct monitor_job *j)
{
    if (!j->job)
        return;
    job_progress(j->job, &j->done, &j->total);
    j->speed = job_speed(j->job);
}

static void tell(struct monitor_job *j, const char *event)
{
    struct json *data = json_object();
    measure(j);
    json_set_string(data, "device", j->id);
    json_set_int(data, "len", (s64)j->total);
    json_set_int(data, "offset", (s64)j->done);
    json_set_int(data, "speed", (s64)j->speed);
    json_set_string(data, "type", j->type);
    if (j->error && !j->cancelled)
        json_set_string(data, "error", j->error);
    machine_tell(j->m->machine, event, data);
}

/* ---- the end ---- */

static void forget(struct monitor_job *j)
{
    struct monitor_job **at = &j->m->jobs;
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    free(j->id);
    free(j->bitmap);
    free(j->error);
    free(j);
}

static void dismiss(struct monitor_job *j)
{
    set_status(j, "null");
    forget(j);
}

static bool fails(const struct monitor_job *j)
{
    return j->cancelled || (job_error(j->job) && !j->kept);
}

/* Take over what was done, or leave the graph as it was. Outside of the loop's callbacks. */
static void finish(struct monitor_job *j)
{
    struct err e = {0};
    measure(j);
    if (!job_finish(j->job, &e) && !j->kept)
        j->error = xstrdup(e.text);
    j->job = NULL;
    if (j->target && !node_close(j->target, &e) && !j->error)
        j->error = xstrdup(e.text);
    j->target = NULL;
}

static void end(struct machine_work *w)
{
    struct monitor_job *j = container_of(w, struct monitor_job, end);
    if (fails(j))
        set_status(j, "aborting");
    else if (strcmp(j->status, "pending"))
        set_status(j, "waiting"), set_status(j, "pending");
    finish(j);
    tell(j, j->cancelled ? "BLOCK_JOB_CANCELLED" : "BLOCK_JOB_COMPLETED");
    set_status(j, "concluded");
    if (j->auto_dismiss)
        dismiss(j);
}

static void end_soon(struct monitor_job *j)
{
    if (!j->ending)
        machine_do(j->m->machine, &j->end);
    j->ending = true;
}

/* There is nothing more to do but job_finish(). */
static void pending(struct monitor_job *j)
{
    j->ended = true;
    if (j->auto_finalize || fails(j)) {
        end_soon(j);
        return;
    }
    set_status(j, "waiting");
    set_status(j, "pending");
}

static void changed(struct block_job *b, void *opaque)
{
    struct monitor_job *j = opaque;
    if (!j->job || j->ended)
        return; /* it is only being made */
    switch (job_state(b)) {
    case JOB_RUNNING: set_status(j, "running"); break;
    case JOB_PAUSED: set_status(j, strcmp(j->status, "ready") ? "paused" : "standby"); break;
    case JOB_READY:
        set_status(j, "ready");
        tell(j, "BLOCK_JOB_READY");
        break;
    case JOB_PENDING: pending(j); break;
    }
}

void monitor_end(struct monitor *m)
{
    monitor_end_announcements(m);
    for (struct monitor_job *j; (j = m->jobs); forget(j)) {
        if (!j->job)
            continue;
        if (job_state(j->job) != JOB_PENDING)
            job_cancel(j->job);
        job_run(j->job, NULL);
        node_close(j->target, NULL);
    }
    monitor_close_nodes(m);
    free(m->limits);
}

bool monitor_job_has(struct monitor *m, const struct node *n)
{
    const struct monitor_job *j = m->jobs;
    while (j && !(j->job && j->lent == n))
        j = j->next;
    return j;
}

/* ---- the beginning ---- */

static struct monitor_job *find(struct monitor *m, const char *id)
{
    struct monitor_job *j = m->jobs;
    while (j && strcmp(j->id, id))
        j = j->next;
    return j;
}

/* What all of these commands have: the drive, the job's name and how it is to behave. NULL on failure. */
static struct monitor_job *prepare(struct monitor *m, const struct json *args, struct node **root, struct job_options *o, struct err *e)
{
    const char *device = json_get_string(args, "device"), *id = json_get_string(args, "job-id");
    const char *on_error = json_get_string(args, "on-error");
    const struct json *finalize = json_get(args, "auto-finalize"), *away = json_get(args, "auto-dismiss"), *speed = json_get(args, "speed");
    s64 i = monitor_drive(m, device, device, e);
    if (i < 0)
        return NULL;
    id = id ? id : device;
    if (find(m, id) || (speed && speed->integer < 0)) {
        err_set(e, EINVAL, find(m, id) ? "Job ID '%s' already in use" : "Parameter 'speed' expects a non-negative value", id);
        return NULL;
    }
    *root = machine_drive(m->machine, (size_t)i);
    struct monitor_job *j = xcalloc(1, sizeof(*j));
    j->m = m;
    j->id = xstrdup(id);
    j->status = "created";
    j->auto_finalize = !finalize || finalize->boolean;
    j->auto_dismiss = !away || away->boolean;
    j->end.run = end;
    bool stop = on_error && (!strcmp(on_error, "stop") || !strcmp(on_error, "enospc"));
    *o = (struct job_options){.on_error = stop ? ON_ERROR_STOP : on_error && !strcmp(on_error, "ignore") ? ON_ERROR_IGNORE : ON_ERROR_REPORT,
                              .speed = speed ? (u64)speed->integer : 0, .changed = changed, .opaque = j};
    return j;
}

/* `b` NULL: it failed. */
static struct json *begun(struct monitor_job *j, struct block_job *b)
{
    j->next = j->m->jobs;
    j->m->jobs = j;
    if (!b) {
        node_close(j->target, NULL);
        forget(j);
        return NULL;
    }
    j->job = b;
    j->type = job_type(b);
    set_status(j, "created");
    set_status(j, "running");
    if (job_state(b) != JOB_RUNNING)
        changed(b, j);
    return json_object();
}

/* An image of the chain below the root, by its node name or its file; `sought`: one of them was given. NULL without
 * an error: none was. */
static struct node *in_chain(struct node *root, const struct json *args, const char *by_file, const char *by_name, bool *sought, struct err *e)
{
    const char *file = json_get_string(args, by_file), *name = json_get_string(args, by_name);
    *sought = file || name;
    struct node *n = *sought ? node_root_child(root) : NULL;
    while (n && !(file && !strcmp(node_filename(n), file)) && !(name && node_name(n) && !strcmp(node_name(n), name)))
        n = node_backing(n);
    if (*sought && !n)
        err_set(e, ENOENT, file ? "Can't find '%s' in the backing chain" : "Cannot find device='' nor node-name='%s'", file ? file : name);
    return n;
}

struct json *qmp_do_block_stream(struct monitor *m, const struct json *args, struct err *e)
{
    struct node *root;
    struct job_options o;
    bool sought;
    struct monitor_job *j = prepare(m, args, &root, &o, e);
    if (!j)
        return NULL;
    struct node *base = in_chain(root, args, "base", "base-node", &sought, e);
    return begun(j, sought && !base ? NULL : job_stream(root, base, &o, e));
}

struct json *qmp_do_block_commit(struct monitor *m, const struct json *args, struct err *e)
{
    struct node *root;
    struct job_options o;
    bool sought_base, sought_top;
    struct monitor_job *j = prepare(m, args, &root, &o, e);
    if (!j)
        return NULL;
    struct node *top = in_chain(root, args, "top", "top-node", &sought_top, e);
    struct node *base = sought_top && !top ? NULL : in_chain(root, args, "base", "base-node", &sought_base, e);
    if ((sought_top && !top) || (sought_base && !base))
        return begun(j, NULL);
    if (!base) /* the lowest */
        for (base = node_root_child(root); node_backing(base);)
            base = node_backing(base);
    return begun(j, job_commit(root, top, base, &o, e));
}

/* ---- copies ---- */

static bool choose_sync(const struct json *args, struct job_options *o, struct err *e)
{
    const char *sync = json_get_string(args, "sync");
    o->bitmap = json_get_string(args, "bitmap");
    o->sync = !strcmp(sync, "full") ? SYNC_FULL : !strcmp(sync, "top") ? SYNC_TOP : !strcmp(sync, "none") ? SYNC_NONE : SYNC_BITMAP;
    if (o->sync == SYNC_BITMAP && !o->bitmap)
        return err_set(e, EINVAL, "must provide a valid bitmap name for '%s' sync mode", sync);
    return o->sync == SYNC_BITMAP || !o->bitmap || err_set(e, EINVAL, "sync mode '%s' is not compatible with bitmaps", sync);
}

/* A file for a copy of `source`: made, unless `mode` says that it is there. NULL on failure. */
static struct node *open_target(struct monitor *m, const struct json *args, struct node *source, enum job_sync sync, struct err *e)
{
    const char *path = json_get_string(args, "target"), *format = json_get_string(args, "format"), *mode = json_get_string(args, "mode");
    struct block_graph *g = machine_graph(m->machine);
    format = format ? format : node_format(source);
    if (!mode || strcmp(mode, "existing")) {
        struct node *backing = sync == SYNC_TOP ? node_backing(source) : NULL;
        struct json *o = json_object();
        json_set_int(o, "size", (s64)node_size(source));
        if (backing) {
            json_set_string(o, "backing_file", node_filename(backing));
            json_set_string(o, "backing_fmt", node_format(backing));
        }
        bool made = block_create(g, format, path, o, e);
        json_free(o);
        if (!made)
            return NULL;
    }
    return node_open(g, path, format, NULL, OPEN_WRITE, e);
}

typedef struct block_job *copy_fn(struct node *root, struct node *target, const struct job_options *o, struct err *e);

/* `to_file`: the target is a file, else the name of a node. */
static struct json *copy(struct monitor *m, const struct json *args, copy_fn *start, bool to_file, struct err *e)
{
    struct node *root, *target = NULL;
    struct job_options o;
    struct monitor_job *j = prepare(m, args, &root, &o, e);
    if (!j)
        return NULL;
    if (!choose_sync(args, &o, e))
        return begun(j, NULL);
    o.bitmap = j->bitmap = o.bitmap ? xstrdup(o.bitmap) : NULL;
    const char *name = json_get_string(args, "target");
    if (to_file) {
        target = j->target = open_target(m, args, node_root_child(root), o.sync, e);
    } else {
        target = j->lent = node_find(machine_graph(m->machine), name);
        if (!target)
            err_set(e, ENOENT, "Cannot find device='%s' nor node-name='%s'", name, name);
    }
    return begun(j, target ? start(root, target, &o, e) : NULL);
}

struct json *qmp_do_drive_mirror(struct monitor *m, const struct json *args, struct err *e)
{
    return copy(m, args, job_mirror, true, e);
}

struct json *qmp_do_blockdev_mirror(struct monitor *m, const struct json *args, struct err *e)
{
    return copy(m, args, job_mirror, false, e);
}

struct json *qmp_do_drive_backup(struct monitor *m, const struct json *args, struct err *e)
{
    return copy(m, args, job_backup, true, e);
}

struct json *qmp_do_blockdev_backup(struct monitor *m, const struct json *args, struct err *e)
{
    return copy(m, args, job_backup, false, e);
}

struct json *qmp_do_blockdev_snapshot_sync(struct monitor *m, const struct json *args, struct err *e)
{
    const char *format = json_get_string(args, "format");
    s64 i = monitor_drive(m, json_get_string(args, "device"), json_get_string(args, "node-name"), e);
    if (i < 0)
        return NULL;
    machine_hold(m->machine);
    bool good = node_overlay(machine_drive(m->machine, (size_t)i), json_get_string(args, "snapshot-file"), format ? format : "qcow2", e);
    machine_release(m->machine);
    return good ? json_object() : NULL;
}

/* ---- what they are told, and say ---- */

/* A job that has not ended. */
static struct monitor_job *running(struct monitor *m, const struct json *args, struct err *e)
{
    const char *device = json_get_string(args, "device"), *id = json_get_string(args, "id");
    struct monitor_job *j = find(m, device ? device : id);
    if (!j && device)
        err_set(e, ENOTCONN, "Block job '%s' not found", device);
    else if (!j)
        err_set(e, EINVAL, "Job not found");
    return j;
}

/* What may not be done in the state that it is in. */
static bool in_state(struct monitor_job *j, bool allowed, const char *verb, struct err *e)
{
    return allowed || err_set(e, EPERM, "Job '%s' in state '%s' cannot accept command verb '%s'", j->id, j->status, verb);
}

static struct json *order(struct monitor *m, const struct json *args, void (*what)(struct block_job *j), const char *verb, struct err *e)
{
    struct monitor_job *j = running(m, args, e);
    if (!j || !in_state(j, j->job && !j->ended, verb, e))
        return NULL;
    what(j->job);
    return json_object();
}

static struct json *cancel(struct monitor *m, const struct json *args, bool forced, struct err *e)
{
    struct monitor_job *j = running(m, args, e);
    if (!j || !in_state(j, j->job && !j->ending, "cancel", e))
        return NULL;
    j->kept = !forced && job_state(j->job) == JOB_READY;
    j->cancelled = !j->kept;
    if (!j->ended)
        job_cancel(j->job);
    else
        end_soon(j);
    return json_object();
}

static void go_on(struct block_job *j)
{
    job_resume(j);
}

struct json *qmp_do_job_pause(struct monitor *m, const struct json *args, struct err *e)
{
    return order(m, args, job_pause, "pause", e);
}

struct json *qmp_do_job_resume(struct monitor *m, const struct json *args, struct err *e)
{
    return order(m, args, go_on, "resume", e);
}

struct json *qmp_do_job_cancel(struct monitor *m, const struct json *args, struct err *e)
{
    return cancel(m, args, true, e);
}

struct json *qmp_do_job_complete(struct monitor *m, const struct json *args, struct err *e)
{
    struct monitor_job *j = running(m, args, e);
    if (!j || !in_state(j, j->job && job_state(j->job) == JOB_READY, "complete", e))
        return NULL;
    job_complete(j->job);
    return json_object();
}

struct json *qmp_do_job_finalize(struct monitor *m, const struct json *args, struct err *e)
{
    struct monitor_job *j = running(m, args, e);
    if (!j || !in_state(j, j->ended && j->job && !j->auto_finalize, "finalize", e))
        return NULL;
    end_soon(j);
    return json_object();
}

struct json *qmp_do_job_dismiss(struct monitor *m, const struct json *args, struct err *e)
{
    struct monitor_job *j = running(m, args, e);
    if (!j || !in_state(j, !j->job, "dismiss", e))
        return NULL;
    dismiss(j);
    return json_object();
}

struct json *qmp_do_block_job_pause(struct monitor *m, const struct json *args, struct err *e)
{
    return qmp_do_job_pause(m, args, e);
}

struct json *qmp_do_block_job_resume(struct monitor *m, const struct json *args, struct err *e)
{
    return qmp_do_job_resume(m, args, e);
}

struct json *qmp_do_block_job_cancel(struct monitor *m, const struct json *args, struct err *e)
{
    const struct json *force = json_get(args, "force");
    return cancel(m, args, force && force->boolean, e);
}

struct json *qmp_do_block_job_complete(struct monitor *m, const struct json *args, struct err *e)
{
    return qmp_do_job_complete(m, args, e);
}

struct json *qmp_do_block_job_finalize(struct monitor *m, const struct json *args, struct err *e)
{
    return qmp_do_job_finalize(m, args, e);
}

struct json *qmp_do_block_job_dismiss(struct monitor *m, const struct json *args, struct err *e)
{
    return qmp_do_job_dismiss(m, args, e);
}

struct json *qmp_do_block_job_set_speed(struct monitor *m, const struct json *args, struct err *e)
{
    s64 speed = json_get(args, "speed")->integer;
    struct monitor_job *j = running(m, args, e);
    if (!j || !in_state(j, j->job && !j->ended, "set-speed", e))
        return NULL;
    if (speed < 0) {
        err_set(e, EINVAL, "Parameter 'speed' expects a non-negative value");
        return NULL;
    }
    job_set_speed(j->job, (u64)speed);
    return json_object();
}

struct json *qmp_do_query_jobs(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *list = json_list();
    for (struct monitor_job *j = m->jobs; j; j = j->next) {
        struct json *info = json_object();
        measure(j);
        json_set_int(info, "current-progress", (s64)j->done);
        json_set_string(info, "status", j->status);
        json_set_int(info, "total-progress", (s64)j->total);
        json_set_string(info, "type", j->type);
        json_set_string(info, "id", j->id);
        if (j->error)
            json_set_string(info, "error", j->error);
        json_push(list, info);
    }
    return list;
}

struct json *qmp_do_query_block_jobs(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *list = json_list();
    for (struct monitor_job *j = m->jobs; j; j = j->next) {
        struct json *info = json_object();
        enum job_state state = j->job ? job_state(j->job) : JOB_PENDING;
        measure(j);
        json_set_bool(info, "auto-finalize", j->auto_finalize);
        json_set_string(info, "io-status", j->job && job_error(j->job) ? "failed" : "ok");
        json_set_string(info, "device", j->id);
        json_set_bool(info, "auto-dismiss", j->auto_dismiss);
        json_set_bool(info, "busy", state == JOB_RUNNING);
        json_set_int(info, "len", (s64)j->total);
        json_set_int(info, "offset", (s64)j->done);
        json_set_string(info, "status", j->status);
        json_set_bool(info, "paused", state == JOB_PAUSED);
        json_set_int(info, "speed", (s64)j->speed);
        json_set_bool(info, "ready", state == JOB_READY);
        json_set_string(info, "type", j->type);
        if (j->error)
            json_set_string(info, "error", j->error);
        json_push(list, info);
    }
    return list;
}
