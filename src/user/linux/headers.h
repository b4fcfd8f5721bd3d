/* The host's headers that the system call tables name types and constants of, and the kernel's own
 * layouts where the C library hides them. */
#ifndef LYRE_USER_LINUX_HEADERS_H
#define LYRE_USER_LINUX_HEADERS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/types.h"

/* rt_sigaction's, on hosts with sa_restorer. */
struct kernel_sigaction {
    u64 handler;
    u64 flags;
    u64 restorer;
    u64 mask;
};

struct kernel_stack {
    u64 sp;
    s32 flags;
    u32 pad;
    u64 size;
};

struct kernel_sigevent {
    u64 value;
    s32 signo, notify, tid;
    u8 unused[44];
};

/* <linux/capability.h> and <linux/futex.h> of Debian 12 differ in what they have; these do not
 * change. */
struct cap_header {
    u32 version;
    s32 pid;
};

struct futex_waitv_entry {
    u64 val, uaddr;
    u32 flags, reserved;
};

#ifndef SA_RESTORER
#define SA_RESTORER 0x04000000
#endif
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1u << 1)
#define CLOSE_RANGE_CLOEXEC (1u << 2)
#endif

#endif
