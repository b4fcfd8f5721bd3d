/* Boot protocols: what a kernel finds in memory when it starts. */
#ifndef LYRE_FW_BOOT_H
#define LYRE_FW_BOOT_H

#include "base/err.h"
#include "fw/node.h"
#include "mem/mem.h"

enum { FW_LOADS = 3 /* kernel, initial file system, device tree */ };

struct fw_boot {
    const char *kernel, *initrd, *dtb; /* paths; NULL: none */
    const char *append;                /* the command line; NULL: empty */
    u64 ram, ram_size;                 /* where memory is */
    struct fw_node *tree;              /* the machine's; what the protocol says is added to its /chosen */

    /* Filled in: where the first CPU starts, with what argument; what was put where. */
    u64 entry, arg;
    struct fw_load {
        const char *name;
        u64 at, size;
    } load[FW_LOADS];
    unsigned loads;
};

/* Linux for arm64 (Documentation/arm64/booting.rst): a kernel that is an Image, plain or compressed by gzip, or
 * an ELF file; its initial file system; the device tree. */
bool fw_boot_arm64(struct fw_boot *b, struct mem_space *memory, struct err *e);

/* No kernel: the tree is where memory starts, for firmware and other programs to find. The entry stays what it is. */
bool fw_boot_none(struct fw_boot *b, struct mem_space *memory, struct err *e);

#endif
