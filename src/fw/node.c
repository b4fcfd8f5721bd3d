#include "fw/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

struct fw_node {
    char *name;
    struct fw_node *parent, *first, **last, *next;
    struct fw_prop *props;
    size_t count, cap;
    u32 phandles; /* of the root: how many were given out */
};

static struct fw_node *node_new(struct fw_node *parent, char *name)
{
    struct fw_node *n = xcalloc(1, sizeof(*n));
    n->name = name;
    n->parent = parent;
    n->last = &n->first;
    return n;
}

struct fw_node *fw_tree_new(void)
{
    return node_new(NULL, xstrdup(""));
}

void fw_tree_free(struct fw_node *n)
{
    while (n) {
        struct fw_node *next = n->next;
        fw_tree_free(n->first);
        for (size_t i = 0; i < n->count; i++) {
            free(n->props[i].name);
            free(n->props[i].data);
        }
        free(n->props);
        free(n->name);
        free(n);
        n = next;
    }
}

struct fw_node *fw_child(struct fw_node *in, const char *fmt, ...)
{
    char name[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(name, sizeof(name), fmt, args);
    va_end(args);
    for (struct fw_node *n = in->first; n; n = n->next) {
        if (!strcmp(n->name, name))
            return n;
    }
    struct fw_node *n = node_new(in, xstrdup(name));
    *in->last = n;
    in->last = &n->next;
    return n;
}

struct fw_node *fw_child_at(struct fw_node *in, const char *name, u64 address)
{
    return fw_child(in, "%s@%llx", name, (unsigned long long)address);
}

static struct fw_prop *prop(struct fw_node *n, const char *name)
{
    for (size_t i = 0; i < n->count; i++) {
        if (!strcmp(n->props[i].name, name))
            return &n->props[i];
    }
    struct fw_prop *p = &VEC_PUSH(n->props, n->count, n->cap);
    *p = (struct fw_prop){.name = xstrdup(name)};
    return p;
}

/* Room for `len` bytes of a property, in place of what it had. */
static u8 *fresh(struct fw_node *n, const char *name, size_t len)
{
    struct fw_prop *p = prop(n, name);
    free(p->data);
    p->data = xmalloc(len ? len : 1);
    p->len = len;
    return p->data;
}

void fw_bytes(struct fw_node *n, const char *name, const void *data, size_t len)
{
    u8 *to = fresh(n, name, len);
    if (len)
        memcpy(to, data, len);
}

void fw_empty(struct fw_node *n, const char *name)
{
    fw_bytes(n, name, NULL, 0);
}

void fw_string(struct fw_node *n, const char *name, const char *text)
{
    fw_bytes(n, name, text, strlen(text) + 1);
}

void fw_cells(struct fw_node *n, const char *name, const u32 *cells, size_t count)
{
    u8 *to = fresh(n, name, 4 * count);
    for (size_t i = 0; i < count; i++)
        put_be32(to + 4 * i, cells[i]);
}

void fw_cell(struct fw_node *n, const char *name, u32 cell)
{
    fw_cells(n, name, &cell, 1);
}

void fw_reg(struct fw_node *n, const char *name, const u64 *pairs, size_t count)
{
    u8 *to = fresh(n, name, 16 * count);
    for (size_t i = 0; i < 2 * count; i++)
        put_be64(to + 8 * i, pairs[i]);
}

u32 fw_phandle(struct fw_node *n)
{
    for (size_t i = 0; i < n->count; i++) {
        if (!strcmp(n->props[i].name, "phandle"))
            return be32_at(n->props[i].data);
    }
    struct fw_node *root = n;
    while (root->parent)
        root = root->parent;
    u32 number = ++root->phandles;
    fw_cell(n, "phandle", number);
    return number;
}

const char *fw_name(const struct fw_node *n)
{
    return n->name;
}

struct fw_node *fw_first(const struct fw_node *n)
{
    return n->first;
}

struct fw_node *fw_next(const struct fw_node *n)
{
    return n->next;
}

const struct fw_prop *fw_props(const struct fw_node *n, size_t *count)
{
    *count = n->count;
    return n->props;
}
