/* Commands of QMP about character devices, and about memory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cpu/system.h"
#include "monitor/monitor.h"
#include "qmp_commands.h"

struct json *qmp_do_query_chardev(struct monitor *m, const struct json *args, struct err *e)
{
    struct json *list = json_list();
    const struct char_opts *o;
    for (size_t i = 0; (o = machine_chardev_opts(m->machine, i)); i++) {
        struct chardev *c = machine_chardev(m->machine, o->id, NULL);
        struct json *j = json_object();
        json_set_string(j, "label", o->id);
        json_set_owned(j, "filename", char_describe(c));
        json_set_bool(j, "frontend-open", char_is_used(c));
        json_push(list, j);
    }
    return list;
}

/* Where a pty is. Takes `o` over if there is a device; `why` begins the message if there is none. */
static struct json *made(struct chardev *c, struct char_opts *o, const char *why, struct err *e)
{
    if (!c) {
        if (why)
            err_prefix(e, "%s '%s'", why, o->id);
        char_opts_free(o);
        return NULL;
    }
    struct json *j = json_object();
    char *pty = char_pty(c);
    if (pty)
        json_set_owned(j, "pty", pty);
    return j;
}

struct json *qmp_do_chardev_add(struct monitor *m, const struct json *args, struct err *e)
{
    const char *id = json_get_string(args, "id");
    struct char_opts o;
    bool there = machine_chardev(m->machine, id, NULL);
    bool good = char_opts_json(&o, id, json_get(args, "backend"), e);
    return made(good ? machine_add_chardev(m->machine, &o, e) : NULL, &o, there ? NULL : "Failed to add chardev", e);
}

struct json *qmp_do_chardev_change(struct monitor *m, const struct json *args, struct err *e)
{
    struct char_opts o;
    bool good = char_opts_json(&o, json_get_string(args, "id"), json_get(args, "backend"), e);
    return made(good ? machine_change_chardev(m->machine, &o, e) : NULL, &o, NULL, e);
}

struct json *qmp_do_chardev_remove(struct monitor *m, const struct json *args, struct err *e)
{
    return machine_remove_chardev(m->machine, json_get_string(args, "id"), e) ? json_object() : NULL;
}

struct json *qmp_do_chardev_send_break(struct monitor *m, const struct json *args, struct err *e)
{
    const char *id = json_get_string(args, "id");
    struct chardev *c = machine_chardev(m->machine, id, NULL);
    if (!c) {
        err_set(e, ENOENT, "Chardev '%s' not found", id);
        return NULL;
    }
    char_break(c);
    return json_object();
}

/* ---- memory ---- */

/* Write `size` bytes from `addr` on into a file; what is not memory is an error. */
static bool save(struct monitor *m, s64 addr, s64 size, const char *path, int cpu, struct err *e)
{
    u8 data[4096];
    FILE *f = fopen(path, "wb");
    if (!f)
        return err_set(e, errno, "Could not open '%s': %s", path, strerror(errno));
    bool good = true;
    while (size > 0 && good) {
        size_t n = MIN((size_t)size, sizeof(data) - (size_t)(addr & 4095));
        good = cpu < 0 ? mem_dma_read(machine_memory(m->machine), (u64)addr, data, n) == MEM_OK
                       : monitor_read_virtual(m, (unsigned)cpu, (u64)addr, data, n);
        if (!good)
            err_set(e, EINVAL, "Invalid addr 0x%016llx/size %lld specified", (unsigned long long)addr, (long long)size);
        else if (fwrite(data, 1, n, f) != n)
            good = err_set(e, errno, "cannot write '%s': %s", path, strerror(errno));
        addr += (s64)n;
        size -= (s64)n;
    }
    if (fclose(f) && good)
        good = err_set(e, errno, "cannot write '%s': %s", path, strerror(errno));
    return good;
}

static struct json *save_args(struct monitor *m, const struct json *args, int cpu, struct err *e)
{
    bool good = save(m, json_get(args, "val")->integer, json_get(args, "size")->integer,
                     json_get_string(args, "filename"), cpu, e);
    return good ? json_object() : NULL;
}

struct json *qmp_do_pmemsave(struct monitor *m, const struct json *args, struct err *e)
{
    return save_args(m, args, -1, e);
}

struct json *qmp_do_memsave(struct monitor *m, const struct json *args, struct err *e)
{
    const struct json *cpu = json_get(args, "cpu-index");
    s64 index = cpu ? cpu->integer : 0;
    machine_hold(m->machine);
    struct json *result = NULL;
    if (index < 0 || !machine_vcpu(m->machine, (unsigned)index))
        err_set(e, EINVAL, "Parameter 'cpu-index' expects a CPU number");
    else
        result = save_args(m, args, (int)index, e);
    machine_release(m->machine);
    return result;
}

/* For what a debugger would see: the CPU's own rights, in its mode as it is. */
bool monitor_translate(struct monitor *m, unsigned cpu, u64 addr, u64 *phys, u64 *left)
{
    struct vcpu *v = machine_vcpu(m->machine, cpu);
    if (!v)
        return false;
    const struct isa_system *s = v->isa->system;
    struct isa_page page;
    struct isa_fault fault;
    if (!s->translate(v, addr, IR_ACCESS_READ, s->mode(v->isa->key(v)), &page, &fault))
        return false;
    u64 offset = addr & (page.bytes - 1);
    *phys = page.phys + offset;
    *left = page.bytes - offset;
    return true;
}

bool monitor_read_virtual(struct monitor *m, unsigned cpu, u64 addr, void *to, u64 len)
{
    u64 phys, left;
    for (u8 *at = to; len; addr += left, at += left, len -= left) {
        if (!monitor_translate(m, cpu, addr, &phys, &left))
            return false;
        left = MIN(left, len);
        if (mem_dma_read(machine_memory(m->machine), phys, at, left) != MEM_OK)
            return false;
    }
    return true;
}
