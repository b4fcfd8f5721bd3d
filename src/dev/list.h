/* The classes by their symbols, for the list alone: others find them by name. */
#ifndef LYRE_DEV_LIST_H
#define LYRE_DEV_LIST_H

#include "dev/dev.h"

extern const struct dev_class dev_cfi01, dev_fw_cfg, dev_pl011, dev_gicv2, dev_gicv2m, dev_pl031, dev_pl061, dev_gpio_key, dev_virtio_mmio, dev_virtio_blk, dev_virtio_net,
    dev_virtio_rng;

#endif
