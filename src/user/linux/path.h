/* Names under /proc that mean the guest's own process. */
#ifndef LYRE_USER_LINUX_PATH_H
#define LYRE_USER_LINUX_PATH_H

/* The part of `path` behind "/proc/self/", "/proc/<own pid>/", "/proc/thread-self/" or one of these
 * and "task/<tid>/"; NULL if it is no such path. */
const char *proc_self_file(const char *path);

#endif
