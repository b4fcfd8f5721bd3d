/* Commands of QMP that say how the machine is, and that start, stop and end it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "monitor/monitor.h"
#include "monitor/schema.h"
#include "qmp_commands.h"

struct json *monitor_execute(struct monitor *m, const char *command, const struct json *args, struct err *e)
{
    const struct qmp_command *c = qmp_find(command);
    if (!c) {
        err_set(e, ENOSYS, "The command %s has not been found", command);
        return NULL;
    }
    return qmp_check(c, args, e) ? c->run(m, args, e) : NULL;
}

struct json *monitor_query(struct monitor *m, const char *command)
{
    return monitor_execute(m, command, NULL, NULL);
}

/* What the server does itself; this is for those that have negotiated. */
struct json *qmp_do_qmp_capabilities(struct monitor *m, const struct json *args, struct err *e)
{
    err_set(e, ENOSYS, "Capabilities negotiation is already complete, command ignored");
    return NULL;
}

struct json *qmp_do_query_status(struct monitor *m, const struct json *args, struct err *e)
{
    static const char *const states[] = {[MACHINE_PRELAUNCH] = "prelaunch", [MACHINE_RUNNING] = "running",
                                         [MACHINE_PAUSED] = "paused", [MACHINE_SHUTDOWN] = "shutdown"};
    enum machine_state s = machine_state(m->machine);
    struct json *j = json_object();
    json_set_string(j, "status", states[s]);
    json_set_bool(j, "singlestep", false);
    json_set_bool(j, "running", s == MACHINE_RUNNING);
    return j;
}

struct json *qmp_do_query_version(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *j = json_object(), *qemu = json_set(j, "qemu", json_object());
    json_set_int(qemu, "micro", 0);
    json_set_int(qemu, "minor", 2);
    json_set_int(qemu, "major", 7);
    json_set_string(j, "package", m->package);
    return j;
}

struct json *qmp_do_query_name(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *j = json_object();
    const char *name = machine_options(m->machine)->name;
    if (name)
        json_set_string(j, "name", name);
    return j;
}

struct json *qmp_do_query_uuid(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *j = json_object();
    const char *uuid = machine_options(m->machine)->uuid;
    json_set_string(j, "UUID", uuid ? uuid : "00000000-0000-0000-0000-000000000000");
    return j;
}

struct json *qmp_do_query_target(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *j = json_object();
    json_set_string(j, "arch", machine_options(m->machine)->board->isa);
    return j;
}

struct json *qmp_do_query_kvm(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *j = json_object();
    json_set_bool(j, "enabled", false);
    json_set_bool(j, "present", false);
    return j;
}

struct json *qmp_do_query_cpus_fast(struct monitor *m, const struct json *args, struct err *e)
{
    static const char *const levels[] = {"thread-id", "socket-id", "cluster-id"};
    struct json *list = json_list();
    const struct machine_opts *o = machine_options(m->machine);
    for (unsigned i = 0; o->board->max_cpus && i < o->cpus; i++) {
        struct json *cpu = json_object(), *props = json_set(cpu, "props", json_object());
        json_set_int(props, "core-id", i);
        for (unsigned k = 0; k < ARRAY_LEN(levels); k++)
            json_set_int(props, levels[k], 0);
        char *path = xprintf("/machine/unattached/device[%u]", i);
        json_set_int(cpu, "cpu-index", i);
        json_set_string(cpu, "qom-path", path);
        json_set_int(cpu, "thread-id", machine_cpu_thread(m->machine, i));
        json_set_string(cpu, "target", o->board->isa);
        json_push(list, cpu);
        free(path);
    }
    return list;
}

struct json *qmp_do_query_current_machine(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *j = json_object();
    json_set_bool(j, "wakeup-suspend-support", false);
    return j;
}

struct json *qmp_do_query_memory_size_summary(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *j = json_object();
    json_set_int(j, "base-memory", (s64)machine_options(m->machine)->ram);
    json_set_int(j, "plugged-memory", 0);
    return j;
}

struct json *qmp_do_query_iothreads(struct monitor *m, const struct json *args, struct err *e)
{
    return json_list();
}

struct json *qmp_do_stop(struct monitor *m, const struct json *args, struct err *e)
{
    machine_stop(m->machine);
    return json_object();
}

struct json *qmp_do_cont(struct monitor *m, const struct json *args, struct err *e)
{
    return machine_cont(m->machine, e) ? json_object() : NULL;
}

static struct json *request(struct monitor *m, enum machine_request r)
{
    machine_request(m->machine, r);
    return json_object();
}

struct json *qmp_do_quit(struct monitor *m, const struct json *args, struct err *e)
{
    return request(m, MACHINE_QUIT);
}

struct json *qmp_do_system_reset(struct monitor *m, const struct json *args, struct err *e)
{
    return request(m, MACHINE_RESET);
}

struct json *qmp_do_system_powerdown(struct monitor *m, const struct json *args, struct err *e)
{
    return request(m, MACHINE_POWER_KEY);
}

struct json *qmp_do_system_wakeup(struct monitor *m, const struct json *args, struct err *e)
{
    err_set(e, ENOTSUP, "wake-up from suspend is not supported by this guest");
    return NULL;
}
