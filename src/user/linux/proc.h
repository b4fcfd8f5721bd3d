/* What the guest finds in /proc about itself. */
#ifndef LYRE_USER_LINUX_PROC_H
#define LYRE_USER_LINUX_PROC_H

#include "user/process.h"

/* A descriptor for reading the guest's version of `path`, -errno, or 1 if the host's own file is
 * right. `flags` are open's, in host form. */
s64 proc_open(struct thread *t, const char *path, int flags);

#endif
