/* What others need of the file protocol. */
#ifndef LYRE_BLOCK_FILE_H
#define LYRE_BLOCK_FILE_H

#include "block/node.h"

/* Lock the file of a protocol node: as somebody who owns its layout (a format), or who reads and writes
 * it as it is. */
bool file_set_lock(struct node *n, bool owner, struct err *e);

bool file_grow(int fd, const char *filename, u64 from, u64 to, enum prealloc p, struct err *e);

#endif
