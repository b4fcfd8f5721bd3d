/* What others need of the file protocol. */
#ifndef LYRE_BLOCK_FILE_H
#define LYRE_BLOCK_FILE_H

#include "block/node.h"

/* Who has the file: one of many that read and write it as it is, a format whose layout it has, or an image that keeps its data there. */
enum file_role { FILE_SHARED, FILE_OF_FORMAT, FILE_OF_DATA };
/* Lock the file of a protocol node. */
bool file_set_lock(struct node *n, enum file_role role, struct err *e);
/* Change whether others may write to it, in the role that it has. False: somebody does, and nothing has changed. */
bool file_set_alone(struct node *n, bool alone, struct err *e);

bool file_grow(int fd, const char *filename, u64 from, u64 to, enum prealloc p, struct err *e);

#endif
