/* The info commands. Most are a query of QMP in words. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "monitor/hmp_impl.h"

static bool info_version(struct hmp_call *h, struct err *e)
{
    struct json *v = monitor_query(h->m, "query-version"), *q = json_get(v, "qemu");
    fprintf(h->out, "%lld.%lld.%lld%s\n", (long long)json_get(q, "major")->integer, (long long)json_get(q, "minor")->integer,
            (long long)json_get(q, "micro")->integer, json_get_string(v, "package"));
    json_free(v);
    return true;
}

static bool info_status(struct hmp_call *h, struct err *e)
{
    struct json *s = monitor_query(h->m, "query-status");
    const char *status = json_get_string(s, "status");
    bool running = json_get(s, "running")->boolean, plain = running || !strcmp(status, "paused");
    fprintf(h->out, "VM status: %s%s%s%s\n", running ? "running" : "paused", plain ? "" : " (", plain ? "" : status,
            plain ? "" : ")");
    json_free(s);
    return true;
}

static bool info_name(struct hmp_call *h, struct err *e)
{
    const char *name = machine_options(h->m->machine)->name;
    if (name)
        fprintf(h->out, "%s\n", name);
    return true;
}

static bool info_uuid(struct hmp_call *h, struct err *e)
{
    struct json *j = monitor_query(h->m, "query-uuid");
    fprintf(h->out, "%s\n", json_get_string(j, "UUID"));
    json_free(j);
    return true;
}

static bool info_kvm(struct hmp_call *h, struct err *e)
{
    fprintf(h->out, "kvm support: not compiled\n");
    return true;
}

static bool info_cpus(struct hmp_call *h, struct err *e)
{
    struct json *list = monitor_query(h->m, "query-cpus-fast");
    for (const struct json *c = list->first; c; c = c->next) {
        s64 index = json_get(c, "cpu-index")->integer;
        fprintf(h->out, "%c CPU #%lld: thread_id=%lld\n", index == h->c->cpu ? '*' : ' ', (long long)index,
                (long long)json_get(c, "thread-id")->integer);
    }
    json_free(list);
    return true;
}

/* ---- registers ---- */

/* Every slot and derived register of up to 64 bits, three in a row. */
static void show_registers(FILE *out, struct vcpu *v)
{
    unsigned n = 0;
    for (int r = 0; r < v->isa->slots.count; r++) {
        if (v->isa->slots.slot[r].type != IR_I64)
            continue;
        fprintf(out, "%s%-12s %016llx", n % 3 ? "  " : n ? "\n" : "", v->isa->slots.slot[r].name,
                (unsigned long long)vcpu_get(v, r));
        n++;
    }
    fputc('\n', out);
}

static bool info_registers(struct hmp_call *h, struct err *e)
{
    unsigned first = h->c->cpu, last = first, count = machine_options(h->m->machine)->cpus;
    u64 index;
    if (!strcmp(h->args, "-a")) {
        first = 0;
        last = count - 1;
    } else if (*h->args) {
        const char *at = h->args;
        if (!hmp_expression(h, &at, &index, e))
            return false;
        if (index >= count) {
            fprintf(h->out, "CPU#%llu not available\n", (unsigned long long)index);
            return true;
        }
        first = last = (unsigned)index;
    }
    machine_hold(h->m->machine);
    for (unsigned i = first; i <= last && machine_vcpu(h->m->machine, i); i++) {
        struct vcpu *v = machine_vcpu(h->m->machine, i);
        fprintf(h->out, "\nCPU#%u\n", i);
        if (v->isa->show)
            v->isa->show(v, h->out);
        else
            show_registers(h->out, v);
    }
    machine_release(h->m->machine);
    return true;
}

/* ---- back ends ---- */

static bool json_true(const struct json *in, const char *key)
{
    const struct json *v = json_get(in, key);
    return v && v->boolean;
}

static void show_medium(FILE *out, const char *name, const struct json *medium)
{
    const char *node = json_get_string(medium, "node-name");
    fprintf(out, "%s%s%s%s: %s (%s%s)\n", name, *name && node ? " (" : "", node ? node : "", *name && node ? ")" : "",
            json_get_string(medium, "file"), json_get_string(medium, "drv"), json_true(medium, "ro") ? ", read-only" : "");
}

static void show_cache(FILE *out, const struct json *medium)
{
    const struct json *cache = json_get(medium, "cache");
    fprintf(out, "    Cache mode:       %s%s%s\n", json_true(cache, "writeback") ? "writeback" : "writethrough",
            json_true(cache, "direct") ? ", direct" : "", json_true(cache, "no-flush") ? ", ignore flushes" : "");
    const char *backing = json_get_string(medium, "backing_file");
    if (backing)
        fprintf(out, "    Backing file:     %s (chain depth: %lld)\n", backing,
                (long long)json_get(medium, "backing_file_depth")->integer);
}

static void show_limits(FILE *out, const struct json *medium)
{
    static const char *const kinds[] = {"bps", "iops"};
    bool any = false;
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        const char *k = kinds[i];
        char rd[8], wr[8];
        snprintf(rd, sizeof(rd), "%s_rd", k);
        snprintf(wr, sizeof(wr), "%s_wr", k);
        long long all = json_get(medium, k)->integer, reads = json_get(medium, rd)->integer, writes = json_get(medium, wr)->integer;
        any |= all || reads || writes;
        fprintf(f, " %s=%lld %s_rd=%lld %s_wr=%lld %s_max=0 %s_rd_max=0 %s_wr_max=0", k, all, k, reads, k, writes, k, k, k);
    }
    fclose(f);
    if (any)
        fprintf(out, "    I/O throttling:  %s iops_size=0\n", text);
    free(text);
}

static bool info_block(struct hmp_call *h, struct err *e)
{
    bool nodes = !strcmp(h->args, "-n"), first = true;
    struct json *list = monitor_query(h->m, nodes ? "query-named-block-nodes" : "query-block");
    for (const struct json *d = list->first; d; d = d->next) {
        const struct json *medium = nodes ? d : json_get(d, "inserted");
        const char *name = nodes ? "" : json_get_string(d, "device"), *user = nodes ? NULL : json_get_string(d, "qdev");
        if (!nodes && *h->args && strcmp(h->args, name))
            continue;
        if (!first)
            fputc('\n', h->out);
        first = false;
        show_medium(h->out, name, medium);
        if (user)
            fprintf(h->out, "    Attached to:      %s\n", user);
        show_cache(h->out, medium);
        show_limits(h->out, medium);
    }
    json_free(list);
    return true;
}

static bool info_chardev(struct hmp_call *h, struct err *e)
{
    struct json *list = monitor_query(h->m, "query-chardev");
    for (const struct json *c = list->first; c; c = c->next)
        fprintf(h->out, "%s: filename=%s\n", json_get_string(c, "label"), json_get_string(c, "filename"));
    json_free(list);
    return true;
}

static void show_network(FILE *out, const char *before, const struct net_opts *n)
{
    static const char *const kinds[] = {[NET_USER] = "user", [NET_TAP] = "tap", [NET_STREAM] = "stream", [NET_DGRAM] = "dgram",
                                        [NET_HUB] = "hubport"};
    fprintf(out, "%s%s: index=0,type=%s,", before, n->id, kinds[n->kind]);
    if (n->kind == NET_USER)
        fprintf(out, "net=%s,restrict=%s\n", n->net ? n->net : "10.0.2.0", n->restricted ? "on" : "off");
    else
        fprintf(out, "%s\n", n->local ? n->local : n->remote ? n->remote : "");
}

static bool info_network(struct hmp_call *h, struct err *e)
{
    const struct net_opts *o;
    for (size_t i = 0; (o = machine_network(h->m->machine, i)); i++) {
        struct dev *card = monitor_user_of(h->m, "netdev", o->id);
        if (!card) {
            show_network(h->out, "", o);
            continue;
        }
        struct json *mac = dev_get(card, "mac");
        const char *id = monitor_dev_id(h->m, card);
        fprintf(h->out, "%s%s: index=0,type=nic,model=%s,macaddr=%s\n", id ? id : card->class->name, id ? "" : ".0",
                card->class->name, mac && mac->kind == JSON_STRING ? mac->string : "");
        show_network(h->out, " \\ ", o);
        json_free(mac);
    }
    return true;
}

static bool info_memory_size(struct hmp_call *h, struct err *e)
{
    fprintf(h->out, "base memory: %llu\nplugged memory: 0\n", (unsigned long long)machine_options(h->m->machine)->ram);
    return true;
}

/* ---- the machine's parts ---- */

static void show_piece(FILE *out, const struct mem_piece *p)
{
    fprintf(out, "  %016llx-%016llx (prio 0, %s): %s", (unsigned long long)p->start, (unsigned long long)p->last,
            !p->ram ? "i/o" : p->writable ? "ram" : "rom", p->name);
    if (p->offset)
        fprintf(out, " @%016llx", (unsigned long long)p->offset);
    fputc('\n', out);
}

static bool info_mtree(struct hmp_call *h, struct err *e)
{
    struct mem_space *s = machine_memory(h->m->machine);
    struct mem_piece p;
    if (*h->args && strcmp(h->args, "-f"))
        return err_set(e, EINVAL, "info mtree: there is only -f");
    if (!*h->args) {
        fprintf(h->out, "address-space: memory\n");
        mem_tree_show(machine_memory_tree(h->m->machine), h->out);
        fputc('\n', h->out);
        return true;
    }
    fprintf(h->out, "FlatView #0\n AS \"memory\", root: system\n Root memory region: system\n");
    for (unsigned i = 0; mem_space_piece(s, i, &p); i++)
        show_piece(h->out, &p);
    fputc('\n', h->out);
    return true;
}

static void show_prop(FILE *out, int indent, struct dev *d, const struct dev_prop *p)
{
    struct json *v = dev_get(d, p->name);
    fprintf(out, "%*s%s = ", indent, "", p->name);
    if (!v)
        fprintf(out, "(a link)\n");
    else if (v->kind == JSON_BOOL)
        fprintf(out, "%s\n", v->boolean ? "true" : "false");
    else if (v->kind == JSON_STRING)
        fprintf(out, "\"%s\"\n", v->string);
    else
        fprintf(out, "%llu (%#llx)\n", (unsigned long long)v->integer, (unsigned long long)v->integer);
    json_free(v);
}

static void show_dev(struct hmp_call *h, struct dev *d)
{
    const char *id = monitor_dev_id(h->m, d);
    fprintf(h->out, "  dev: %s, id \"%s\"\n", d->class->name, id ? id : "");
    if (d->class->outs)
        fprintf(h->out, "    gpio-out \"\" %u\n", d->class->outs);
    if (d->class->ins)
        fprintf(h->out, "    gpio-in \"\" %u\n", d->class->ins);
    for (const struct dev_prop *p = d->class->props; p && p->name; p++)
        show_prop(h->out, 4, d, p);
    u64 at;
    for (unsigned w = 0; dev_window(d, w); w++) {
        if (mem_range_address(dev_window(d, w), &at))
            fprintf(h->out, "    mmio %016llx/%016llx\n", (unsigned long long)at,
                    (unsigned long long)mem_range_size(dev_window(d, w)));
    }
}

static bool info_qtree(struct hmp_call *h, struct err *e)
{
    fprintf(h->out, "bus: main-system-bus\n  type System\n");
    for (struct dev *d = machine_devs(h->m->machine); d; d = d->next)
        show_dev(h, d);
    return true;
}

static void show_objects(struct hmp_call *h, const char *path, const char *name, const char *type, int indent)
{
    fprintf(h->out, "%*s/%s (%s)\n", indent, "", name, type);
    struct json *args = json_object();
    json_set_string(args, "path", path);
    struct json *list = monitor_execute(h->m, "qom-list", args, NULL);
    for (const struct json *p = list ? list->first : NULL; p; p = p->next) {
        const char *kind = json_get_string(p, "type"), *child = json_get_string(p, "name");
        if (strncmp(kind, "child<", 6))
            continue;
        char *inner = xprintf("%s/%s", path, child), *of = xprintf("%.*s", (int)strlen(kind) - 7, kind + 6);
        show_objects(h, inner, child, of, indent + 2);
        free(inner);
        free(of);
    }
    json_free(list);
    json_free(args);
}

static bool info_qom_tree(struct hmp_call *h, struct err *e)
{
    const char *path = *h->args ? h->args : "/machine", *name = strrchr(path, '/');
    struct json *args = json_object();
    json_set_string(args, "path", path);
    json_set_string(args, "property", "type");
    struct json *type = monitor_execute(h->m, "qom-get", args, NULL);
    if (type)
        show_objects(h, path, name ? name + 1 : path, type->string, 0);
    else
        fprintf(h->out, "Path '%s' could not be resolved.\n", path);
    json_free(type);
    json_free(args);
    return true;
}

/* Our interrupt controllers have no words for people, and keep no counts, as the peer's of the same boards. */
static bool info_irq(struct hmp_call *h, struct err *e)
{
    return true;
}

static bool info_roms(struct hmp_call *h, struct err *e)
{
    const struct machine_opts *o = machine_options(h->m->machine);
    const struct fw_load *l;
    if (o->bios)
        fprintf(h->out, "virt.flash0 size=0x%llx name=\"%s\"\n", (unsigned long long)o->board->firmware_size, o->bios);
    for (size_t i = 0; (l = machine_loaded(h->m->machine, i)); i++)
        fprintf(h->out, "addr=%016llx size=0x%06llx mem=ram name=\"%s\"\n", (unsigned long long)l->at, (unsigned long long)l->size, l->name);
    return true;
}

static bool info_jit(struct hmp_call *h, struct err *e)
{
    machine_hold(h->m->machine);
    machine_show_engine(h->m->machine, h->out);
    machine_release(h->m->machine);
    return true;
}

static bool info_history(struct hmp_call *h, struct err *e)
{
    for (size_t i = 0; i < h->c->history_count; i++)
        fprintf(h->out, "%zu: '%s'\n", i, h->c->history[i]);
    return true;
}

const struct hmp_command hmp_infos[] = {
    {"balloon", "", "show balloon information", hmp_info_balloon, true},
    {"block", "[-n] [device]", "show info of one block device or all block devices (-n: show named nodes)", info_block},
    {"block-jobs", "", "show progress of ongoing block device operations", hmp_info_jobs, true},
    {"blockstats", "", "show block device statistics", hmp_info_blockstats, true},
    {"chardev", "", "show the character devices", info_chardev, true},
    {"cpus", "", "show infos for each CPU", info_cpus, true},
    {"history", "", "show the command line history", info_history, true},
    {"irq", "", "show the interrupts statistics (if available)", info_irq, true},
    {"jit", "", "show dynamic compiler info", info_jit, true},
    {"kvm", "", "show KVM information", info_kvm, true},
    {"memory_size_summary", "", "show the amount of memory in bytes", info_memory_size, true},
    {"mtree", "[-f]", "show memory tree (-f: dump flat view for address spaces)", info_mtree},
    {"name", "", "show the current VM name", info_name, true},
    {"network", "", "show the network state", info_network, true},
    {"pci", "", "show PCI info", hmp_info_pci, true},
    {"pic", "", "show PIC state", info_irq, true},
    {"qom-tree", "[path]", "show QOM composition tree", info_qom_tree},
    {"qtree", "", "show device tree", info_qtree, true},
    {"registers", "[-a|vcpu]", "show the cpu registers (-a: show register info for all cpus; vcpu: specific vCPU to query)",
     info_registers},
    {"roms", "", "show roms", info_roms, true},
    {"status", "", "show the current VM status (running|paused)", info_status, true},
    {"trace-events", "[name]", "show available trace-events & their state", hmp_info_trace_events},
    {"usernet", "", "show user network stack connection states", hmp_info_usernet, true},
    {"uuid", "", "show the current VM UUID", info_uuid, true},
    {"version", "", "show the version of QEMU", info_version, true},
    {NULL},
};
