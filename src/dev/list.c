/* All device models that are built in. */
#include "dev/list.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct dev_class *const classes[] = {
    &dev_cfi01, &dev_fw_cfg, &dev_pl011, &dev_gicv2, &dev_gicv2m, &dev_gicv3, &dev_gicv3_its, &dev_pl031, &dev_pl061, &dev_gpio_key,
    &dev_virtio_mmio, &dev_virtio_blk, &dev_virtio_net, &dev_virtio_rng, &dev_pci_host, &dev_pci_port, &dev_virtio_blk_pci,
    &dev_virtio_net_pci, &dev_virtio_rng_pci, &dev_virtio_serial, &dev_virtio_serial_pci,
    &dev_virtconsole, &dev_virtserialport, &dev_virtio_balloon, &dev_virtio_balloon_pci,
    &dev_virtio_blk_pci_transitional, &dev_virtio_blk_pci_modern, &dev_virtio_net_pci_transitional,
    &dev_virtio_net_pci_modern, &dev_virtio_rng_pci_transitional, &dev_virtio_rng_pci_modern,
    &dev_virtio_serial_pci_transitional, &dev_virtio_serial_pci_modern, &dev_virtio_balloon_pci_transitional,
    &dev_virtio_balloon_pci_modern,
};

const struct dev_class *dev_class_at(unsigned i)
{
    return i < ARRAY_LEN(classes) ? classes[i] : NULL;
}

const struct dev_class *dev_class_find(const char *name, struct err *e)
{
    for (unsigned i = 0; i < ARRAY_LEN(classes); i++) {
        if (!strcmp(classes[i]->name, name))
            return classes[i];
    }
    err_set(e, ENOENT, "'%s' is not a valid device model name", name);
    return NULL;
}
