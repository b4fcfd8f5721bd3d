/* Device trees as firmware passes them on (Devicetree Specification 0.4, chapter 5), with libfdt. */
#ifndef LYRE_FW_FDT_H
#define LYRE_FW_FDT_H

#include "base/err.h"
#include "fw/node.h"

/* Flatten a tree, with `room` bytes for what is added later. The caller frees it; *len is its size. */
u8 *fdt_flatten(const struct fw_node *root, size_t room, size_t *len, struct err *e);

/* A flattened tree from a file, checked, with `room` bytes more. NULL on failure. */
u8 *fdt_read(const char *path, size_t room, size_t *len, struct err *e);

/* Add the nodes and properties of a tree to a flattened one that has room for it; properties that both have
 * become those of `root`. */
bool fdt_merge(u8 *fdt, const struct fw_node *root, struct err *e);

#endif
