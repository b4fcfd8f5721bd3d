/* A device tree under construction (Devicetree Specification 0.4): what boards and devices say about
 * themselves, before it is flattened (fw/fdt.h). Cells are 32 bits. */
#ifndef LYRE_FW_NODE_H
#define LYRE_FW_NODE_H

#include "base/types.h"

struct fw_node;

/* A tree, and its root. Names and values are copied. */
struct fw_node *fw_tree_new(void);
void fw_tree_free(struct fw_node *root);

/* The child of that name; made if there is none. */
struct fw_node *fw_child(struct fw_node *in, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same of a node that has an address in its name: "pl011@9000000". */
struct fw_node *fw_child_at(struct fw_node *in, const char *name, u64 address);

/* Set a property, in place of one of that name. */
void fw_bytes(struct fw_node *n, const char *name, const void *data, size_t len);
void fw_empty(struct fw_node *n, const char *name);
void fw_string(struct fw_node *n, const char *name, const char *text);
/* Several strings: "arm,pl011\0arm,primecell" as a literal, whose last zero counts. */
#define fw_strings(n, name, literal) fw_bytes(n, name, literal, sizeof(literal))
void fw_cells(struct fw_node *n, const char *name, const u32 *cells, size_t count);
#define FW_CELLS(n, name, ...)                                                                     \
    fw_cells(n, name, (const u32[]){__VA_ARGS__}, sizeof((const u32[]){__VA_ARGS__}) / 4)
void fw_cell(struct fw_node *n, const char *name, u32 cell);
/* Pairs of address and size, of two cells each. */
void fw_reg(struct fw_node *n, const char *name, const u64 *pairs, size_t count);

/* The node's phandle, which it gets when it is first asked for. */
u32 fw_phandle(struct fw_node *n);

/* For who flattens it: children and properties in the order in which they were made. */
struct fw_prop {
    char *name;
    u8 *data;
    size_t len;
};
const char *fw_name(const struct fw_node *n);
struct fw_node *fw_first(const struct fw_node *n);
struct fw_node *fw_next(const struct fw_node *n);
const struct fw_prop *fw_props(const struct fw_node *n, size_t *count);

#endif
