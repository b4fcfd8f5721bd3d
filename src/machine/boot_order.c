/* What firmware is to start from: "bootindex" of devices becomes "bootorder" of fw_cfg, a path of each (as Open Firmware
 * names devices, IEEE 1275) on a line of its own, those with the lowest index first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dev/misc/fw_cfg.h"
#include "dev/pci/pci.h"
#include "dev/virtio/virtio.h"
#include "machine/impl.h"

struct candidate {
    long index; /* below 0: it has none */
    struct dev *dev;
};

static bool read_index(const struct machine_device *o, long *index, struct err *e)
{
    *index = -1;
    for (size_t i = 1; i < o->count; i++) {
        char *end = NULL;
        if (strncmp(o->words[i], "bootindex=", 10))
            continue;
        *index = strtol(o->words[i] + 10, &end, 10);
        if (end == o->words[i] + 10 || *end || *index < -1 || *index > INT32_MAX)
            return err_set(e, EINVAL, "Parameter 'bootindex' expects integer");
    }
    return true;
}

static char *path_of(struct dev *d)
{
    const char *unit = machine_on_card(d)->class->boot_unit;
    if (!strcmp(d->class->bus, PCI_BUS)) {
        const struct pci_card *c = d->class->bus_side(d);
        const char *kind = pci_config_get(c, PCI_CLASS, 2) == PCI_CLASS_SCSI ? "scsi" : "ethernet";
        char function[16] = "";
        if (c->devfn % 8)
            snprintf(function, sizeof(function), ",%x", c->devfn % 8);
        char port[32] = "";
        if (c->bus->bridge)
            snprintf(port, sizeof(port), "pci-bridge@%x/", c->bus->bridge->devfn / 8);
        return xprintf("/pci@ffffffffffffffff/%s%s@%x%s/%s", port, kind, c->devfn / 8, function, unit);
    }
    const struct virtio *v = d->class->bus_side(d);
    u64 at = 0;
    mem_range_address(dev_window(v->transport, 0), &at);
    return xprintf("/virtio-mmio@%016llx/%s", (unsigned long long)at, unit);
}

static int by_index(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

/* Those that have an index, in order; the caller frees them. NULL with an error: two have the same, or one cannot be
 * started from. */
static struct candidate *collect(struct machine *m, size_t *count, struct err *e)
{
    const struct machine_opts *o = m->opts;
    struct candidate *all = xcalloc(o->device_count + 1, sizeof(*all));
    bool good = true;
    for (size_t i = 0; i < o->device_count && good; i++) {
        struct candidate *c = &all[*count];
        c->dev = machine_device(m, i);
        good = read_index(&o->devices[i], &c->index, e);
        if (good && c->index >= 0 && !machine_on_card(c->dev)->class->boot_unit)
            good = err_set(e, EINVAL, "Property '%s.bootindex' not found", c->dev->class->name);
        *count += good && c->index >= 0;
        if (!good)
            err_prefix(e, "-device %s", o->devices[i].words[0]);
    }
    qsort(all, *count, sizeof(*all), by_index);
    for (size_t i = 1; i < *count && good; i++) {
        if (all[i].index == all[i - 1].index)
            good = err_set(e, EBUSY, "The bootindex %ld has already been used", all[i].index);
    }
    if (good)
        return all;
    free(all);
    return NULL;
}

bool machine_add_boot_order(struct machine *m, struct err *e)
{
    struct dev *d = m->opts->board->fw_cfg ? machine_dev(m, m->opts->board->fw_cfg) : NULL;
    size_t count = 0;
    struct candidate *all = collect(m, &count, e);
    if (!all)
        return false;
    char *text = xstrdup("");
    for (size_t i = 0; i < count; i++) {
        char *path = path_of(all[i].dev), *more = xprintf("%s%s%s", text, i ? "\n" : "", path);
        free(path);
        free(text);
        text = more;
    }
    bool good = !d || fw_cfg_add_file(d, "bootorder", text, count ? (u32)strlen(text) + 1 : 0, e);
    free(text);
    free(all);
    return good;
}
