/* What filters share: one child, and requests that go on to it. */
#ifndef LYRE_BLOCK_FILTER_FILTER_H
#define LYRE_BLOCK_FILTER_FILTER_H

#include "block/node.h"

/* Open the child that the options have as `name`; a file if they do not name a driver. */
bool filter_open_child(struct node *n, const char *name, struct json *options, u32 flags, struct err *e);

/* Do what `from` asks for at the child, with these flags too, and end it as that ends. */
void filter_pass(struct node *n, struct blk_req *from, u32 flags);
/* A filter on top of a node, which it takes over. */
struct node *filter_above(const struct driver *drv, struct node *n);
/* For a filter without a state. */
bool filter_close_nothing(struct node *n, struct err *e);
bool filter_truncate(struct node *n, u64 size, enum prealloc p, struct err *e);

#endif
