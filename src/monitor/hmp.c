#include "monitor/hmp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "monitor/hmp_impl.h"
#include "qmp_commands.h"

/* ---- commands ---- */

/* A command of QMP that says nothing when it is done. */
static bool quiet(struct hmp_call *h, const char *command, const struct json *args, struct err *e)
{
    struct json *j = monitor_execute(h->m, command, args, e);
    json_free(j);
    return j;
}

static bool stop(struct hmp_call *h, struct err *e)
{
    return quiet(h, "stop", NULL, e);
}

static bool cont(struct hmp_call *h, struct err *e)
{
    return quiet(h, "cont", NULL, e);
}

static bool quit(struct hmp_call *h, struct err *e)
{
    return quiet(h, "quit", NULL, e);
}

static bool reset(struct hmp_call *h, struct err *e)
{
    return quiet(h, "system_reset", NULL, e);
}

static bool powerdown(struct hmp_call *h, struct err *e)
{
    return quiet(h, "system_powerdown", NULL, e);
}

static bool wakeup(struct hmp_call *h, struct err *e)
{
    return quiet(h, "system_wakeup", NULL, e) || err_prefix(e, "Error");
}

static bool cpu(struct hmp_call *h, struct err *e)
{
    u64 index;
    const char *at = h->args;
    if (!hmp_expression(h, &at, &index, e))
        return false;
    if (index >= machine_options(h->m->machine)->cpus)
        fprintf(h->out, "invalid CPU index\n");
    else
        h->c->cpu = (unsigned)index;
    return true;
}

static bool log_items(struct hmp_call *h, struct err *e)
{
    u32 mask = 0;
    if (!*h->args)
        return err_set(e, EINVAL, "log: string expected");
    if (!strcmp(h->args, "none") || log_parse(h->args, &mask, NULL))
        log_choose(mask);
    else
        log_list(h->out);
    return true;
}

static bool logfile(struct hmp_call *h, struct err *e)
{
    return *h->args ? log_open(h->args, e) : err_set(e, EINVAL, "logfile: filename expected");
}

static bool help(struct hmp_call *h, struct err *e);
static bool info(struct hmp_call *h, struct err *e);

const struct hmp_command hmp_commands[] = {
    {"announce_self", "[interfaces] [id]", "trigger GARP/RARP announcements", hmp_announce_self, true},
    {"balloon", "target", "request VM to change its memory allocation (in MB)", hmp_balloon},
    {"block_job_cancel", "[-f] device", "stop an active background block operation (-f: at once, if it is only ready)", hmp_job},
    {"block_job_complete", "device", "stop an active background block operation", hmp_job},
    {"block_job_pause", "device", "pause an active background block operation", hmp_job},
    {"block_job_resume", "device", "resume a paused background block operation", hmp_job},
    {"block_job_set_speed", "device speed", "set maximum speed for a background block operation", hmp_job},
    {"block_resize", "device size", "resize a block image", hmp_block_resize},
    {"block_set_io_throttle", "device bps bps_rd bps_wr iops iops_rd iops_wr", "change I/O throttle limits for a block drive",
     hmp_throttle},
    {"block_stream", "device [speed [base]]", "copy data from a backing file into a block device", hmp_block_stream},
    {"chardev-add", "args", "add chardev", hmp_chardev_add},
    {"chardev-change", "id args", "change chardev", hmp_chardev_change},
    {"chardev-remove", "id", "remove chardev", hmp_chardev_remove},
    {"chardev-send-break", "id", "send a break on chardev", hmp_chardev_send_break},
    {"cont|c", "", "resume emulation", cont, true},
    {"cpu", "index", "set the default CPU", cpu},
    {"device_add", "driver[,prop=value][,...]", "add device, like -device on the command line", hmp_device_add},
    {"device_del", "device", "remove device", hmp_device_del},
    {"drive_backup", "[-n] [-f] device target [format]", "copy a disk as it is now (-n: to a file that is there; -f: all of it)",
     hmp_copy},
    {"drive_mirror", "[-n] [-f] device target [format]", "copy a disk with what is written meanwhile", hmp_copy},
    {"gpa2hva", "addr", "print the host virtual address corresponding to a guest physical address", hmp_gpa2hva},
    {"gva2gpa", "addr", "print the guest physical address corresponding to a guest virtual address", hmp_gva2gpa},
    {"help|?", "[cmd]", "show the help", help},
    {"hostfwd_add", "[netdev_id] [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport",
     "redirect TCP or UDP connections from host to guest (requires -net user)", hmp_hostfwd_add},
    {"hostfwd_remove", "[netdev_id] [tcp|udp]:[hostaddr]:hostport", "remove host-to-guest TCP or UDP redirection",
     hmp_hostfwd_remove},
    {"info", "[subcommand]", "show various information about the system state", info},
    {"log", "item1[,...]", "activate logging of the specified items", log_items},
    {"logfile", "filename", "output logs to 'filename'", logfile},
    {"memsave", "addr size file", "save to disk virtual memory dump starting at 'addr' of size 'size'", hmp_memsave},
    {"pmemsave", "addr size file", "save to disk physical memory dump starting at 'addr' of size 'size'", hmp_pmemsave},
    {"netdev_add", "[user|tap|socket|stream|dgram|hubport],id=str[,prop=value][,...]", "add host network device", hmp_netdev_add},
    {"netdev_del", "id", "remove host network device", hmp_netdev_del},
    {"print|p", "/fmt expr", "print expression value (use $reg for CPU register access)", hmp_print},
    {"quit|q", "", "quit the emulator", quit, true},
    {"set_link", "name on|off", "change the link status of a network adapter", hmp_set_link},
    {"snapshot_blkdev", "device [new-image-file] [format]", "what is written to a disk goes to a new image from now on",
     hmp_snapshot},
    {"stop|s", "", "stop emulation", stop, true},
    {"system_powerdown", "", "send system power down event", powerdown, true},
    {"system_reset", "", "reset the system", reset, true},
    {"system_wakeup", "", "wakeup guest from suspend", wakeup, true},
    {"trace-event", "name on|off", "changes status of a specific trace event", hmp_trace_event},
    {"x", "/fmt addr", "virtual memory dump starting at 'addr'", hmp_x},
    {"xp", "/fmt addr", "physical memory dump starting at 'addr'", hmp_xp},
    {NULL},
};

/* ---- finding and helping ---- */

static bool is_called(const struct hmp_command *c, const char *name, size_t len)
{
    for (const char *at = c->names; *at;) {
        size_t n = strcspn(at, "|");
        if (n == len && !strncmp(at, name, len))
            return true;
        at += n + (at[n] == '|');
    }
    return false;
}

const struct hmp_command *hmp_find(const struct hmp_command *table, const char *line, const char **rest)
{
    size_t len = strcspn(line, " \t/");
    for (const struct hmp_command *c = table; c->names; c++) {
        if (is_called(c, line, len)) {
            *rest = line + len + strspn(line + len, " \t");
            return c;
        }
    }
    return NULL;
}

static void show_help(FILE *out, const char *before, const struct hmp_command *c)
{
    fprintf(out, "%s%s %s -- %s\n", before, c->names, c->params, c->help);
}

static void show_all(FILE *out, const char *before, const struct hmp_command *table)
{
    for (const struct hmp_command *c = table; c->names; c++)
        show_help(out, before, c);
}

static bool help(struct hmp_call *h, struct err *e)
{
    const char *rest;
    if (!*h->args) {
        show_all(h->out, "", hmp_commands);
        return true;
    }
    const struct hmp_command *c = hmp_find(hmp_commands, h->args, &rest);
    if (c && c->run == info && !*rest)
        show_all(h->out, "info ", hmp_infos);
    else if (c && c->run == info && (c = hmp_find(hmp_infos, rest, &rest)))
        show_help(h->out, "info ", c);
    else if (c)
        show_help(h->out, "", c);
    else
        fprintf(h->out, "unknown command: '%s'\n", h->args);
    return true;
}

static void run_command(struct hmp_call *h, const struct hmp_command *table, const char *before, const char *line)
{
    struct err e = {0};
    const char *rest;
    const struct hmp_command *c = hmp_find(table, line, &rest);
    if (!c) {
        fprintf(h->out, "unknown command: '%s%s'\n", before, line);
        return;
    }
    h->args = rest;
    if (c->alone && *rest)
        err_set(&e, EINVAL, "%s%s: extraneous characters at the end of line", before, c->names);
    else if (c->run(h, &e))
        return;
    fprintf(h->out, "%s\n", e.text);
    if (e.code == EINVAL)
        fprintf(h->out, "Try \"help %.*s\" for more information\n", (int)strcspn(h->line, " /"), h->line);
}

static bool info(struct hmp_call *h, struct err *e)
{
    if (*h->args)
        run_command(h, hmp_infos, "info ", h->args);
    else
        show_all(h->out, "info ", hmp_infos);
    return true;
}

static char *with_returns(const char *text)
{
    size_t n = 0;
    char *to = xmalloc(2 * strlen(text) + 1);
    for (; *text; text++) {
        if (*text == '\n')
            to[n++] = '\r';
        to[n++] = *text;
    }
    to[n] = 0;
    return to;
}

char *hmp_execute(struct hmp_context *c, const char *line)
{
    char *text = NULL, *copy = xstrdup(line + strspn(line, " \t"));
    size_t len = strlen(copy);
    while (len && strchr(" \t\r\n", copy[len - 1]))
        copy[--len] = 0;
    FILE *out = open_memstream(&text, &len);
    struct hmp_call h = {.c = c, .m = c->monitor, .out = out, .line = copy};
    if (*copy)
        run_command(&h, hmp_commands, "", copy);
    fclose(out);
    char *result = with_returns(text);
    free(text);
    free(copy);
    return result;
}

struct json *qmp_do_human_monitor_command(struct monitor *m, const struct json *args, struct err *e)
{
    const struct json *cpu_index = json_get(args, "cpu-index");
    struct hmp_context c = {.monitor = m};
    if (cpu_index && (u64)cpu_index->integer >= machine_options(m->machine)->cpus) {
        err_set(e, EINVAL, "Parameter 'cpu-index' expects a CPU number");
        return NULL;
    }
    c.cpu = cpu_index ? (unsigned)cpu_index->integer : 0;
    char *text = hmp_execute(&c, json_get_string(args, "command-line"));
    struct json *j = json_string(text);
    free(text);
    return j;
}

/* ---- completion ---- */

void hmp_complete(const char *line, void (*found)(void *opaque, const char *word, size_t typed), void *opaque)
{
    const struct hmp_command *table = hmp_commands;
    const char *word = strrchr(line, ' ');
    if (word) {
        if (strncmp(line, "info ", 5) && strncmp(line, "help ", 5))
            return;
        table = *line == 'i' ? hmp_infos : hmp_commands;
        if (word != line + 4)
            return;
    }
    word = word ? word + 1 : line;
    size_t typed = strlen(word);
    for (const struct hmp_command *c = table; c->names; c++) {
        char name[32];
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(c->names, "|"), c->names);
        if (!strncmp(name, word, typed))
            found(opaque, name, typed);
    }
}
