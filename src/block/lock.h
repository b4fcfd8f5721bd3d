/* Locks on image files, between processes. The bytes locked are those that QEMU locks, so that both
 * programs exclude each other: byte 100 + n says that somebody uses permission n, byte 200 + n that
 * somebody does not let others use it. */
#ifndef LYRE_BLOCK_LOCK_H
#define LYRE_BLOCK_LOCK_H

#include "base/err.h"
#include "base/types.h"

enum file_permission {
    PERM_READ = 1 << 0,
    PERM_WRITE = 1 << 1,
    PERM_WRITE_SAME = 1 << 2, /* of what does not change the content that others see */
    PERM_RESIZE = 1 << 3,
};

/* Say that this open file uses `used` and that nobody else may use `refused`. Fails with EAGAIN, and
 * names who is in the way. Replaces what was said before. The locks end with the open file. */
bool file_lock(int fd, const char *filename, u32 used, u32 refused, struct err *e);

#endif
