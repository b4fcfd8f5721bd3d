#include "fw/fdt.h"

#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>

#include "base/mem.h"
#include "fw/file.h"

static bool merge_node(u8 *fdt, int at, const struct fw_node *n, int *error)
{
    size_t count;
    const struct fw_prop *p = fw_props(n, &count);
    /* The library puts what is new in front: backwards, for the order to stay. */
    for (size_t i = count; i--;) {
        *error = fdt_setprop(fdt, at, p[i].name, p[i].data, (int)p[i].len);
        if (*error)
            return false;
    }
    for (const struct fw_node *c = fw_first(n); c; c = fw_next(c)) {
        int child = fdt_subnode_offset(fdt, at, fw_name(c));
        if (child == -FDT_ERR_NOTFOUND)
            child = fdt_add_subnode(fdt, at, fw_name(c));
        *error = MIN(child, 0);
        if (child < 0 || !merge_node(fdt, child, c, error))
            return false;
    }
    return true;
}

bool fdt_merge(u8 *fdt, const struct fw_node *root, struct err *e)
{
    int error = 0;
    return merge_node(fdt, 0, root, &error) ||
           err_set(e, ENOSPC, "cannot write the device tree: %s", fdt_strerror(error));
}

/* What a tree takes at the most: names stand once for each use here. */
static size_t bound(const struct fw_node *n)
{
    size_t count, sum = 64;
    const struct fw_prop *p = fw_props(n, &count);
    for (const char *c = fw_name(n); *c; c++)
        sum++;
    for (size_t i = 0; i < count; i++)
        sum += p[i].len + 64;
    for (const struct fw_node *c = fw_first(n); c; c = fw_next(c))
        sum += bound(c);
    return sum;
}

u8 *fdt_flatten(const struct fw_node *root, size_t room, size_t *len, struct err *e)
{
    *len = ALIGN_UP(bound(root) + room + 4096, 8);
    u8 *fdt = xcalloc(1, *len);
    fdt_create_empty_tree(fdt, (int)*len);
    if (fdt_merge(fdt, root, e))
        return fdt;
    free(fdt);
    return NULL;
}

u8 *fdt_read(const char *path, size_t room, size_t *len, struct err *e)
{
    size_t size;
    u8 *file = fw_file_read(path, &size, e);
    if (!file)
        return NULL;
    *len = size + room;
    u8 *fdt = xcalloc(1, *len);
    int error = size < sizeof(struct fdt_header) ? -FDT_ERR_TRUNCATED : fdt_check_full(file, size);
    if (!error)
        error = fdt_open_into(file, fdt, (int)*len);
    free(file);
    if (!error)
        return fdt;
    err_set(e, EINVAL, "'%s' is no device tree: %s", path, fdt_strerror(error));
    free(fdt);
    return NULL;
}
