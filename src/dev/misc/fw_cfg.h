/* The firmware configuration device: named pieces of data for firmware and guests (docs/specs/fw_cfg of QEMU). */
#ifndef LYRE_DEV_MISC_FW_CFG_H
#define LYRE_DEV_MISC_FW_CFG_H

#include "dev/dev.h"

/* Items that have a number of their own; files get theirs from the directory. */
enum fw_cfg_key {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
};

enum { FW_CFG_NAME_MAX = 55 };

/* While no guest runs: set an item; the data are copied. */
void fw_cfg_set(struct dev *d, u16 key, const void *data, u32 len);
/* The same of a number of so many bytes, little-endian. */
void fw_cfg_set_number(struct dev *d, u16 key, u32 value, unsigned bytes);
/* A file. False: the name is too long, or there is one of that name, or too many. */
bool fw_cfg_add_file(struct dev *d, const char *name, const void *data, u32 len, struct err *e);

#endif
