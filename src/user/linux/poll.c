/* Waiting for files: poll, select, epoll, signalfd. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/mem.h"
#include "user/linux/headers.h"
#include "user/linux/signal.h"
#include "user/linux/syscall.h"
#include "user/process.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

s64 sys_ppoll(struct thread *t, const u64 *a)
{
    u64 storage, mask;
    s64 r = signal_wait_begin(t, a[3], a[4], &storage, &mask);
    if (r)
        return r;
    return signal_wait_end(t, host_call(t, SYS_ppoll, a[0], a[1], a[2], mask, 8, 0));
}

s64 sys_pselect6(struct thread *t, const u64 *a)
{
    struct {
        u64 set, size;
    } guest = {0}, host;
    struct space *sp = &t->process->space;
    u64 storage, mask = 0;
    for (int i = 1; i <= 3; i++) {
        if (a[i] && !space_ok(sp, a[i], 1))
            return -EFAULT;
    }
    if (a[5] && (!process_read_word(t->process, a[5], &guest.set) ||
                 !process_read_word(t->process, a[5] + t->process->word, &guest.size)))
        return -EFAULT;
    s64 r = signal_wait_begin(t, guest.set, guest.size, &storage, &mask);
    if (r)
        return r;
    host.set = mask;
    host.size = 8;
    return signal_wait_end(t, host_call(t, SYS_pselect6, a[0], a[1], a[2], a[3], a[4],
                                        mask ? (u64)(uintptr_t)&host : 0));
}

/* Events in the guest's layout; the host's is packed on x86. */
static s64 epoll_wait_common(struct thread *t, const u64 *a, long number, u64 timeout)
{
    struct process *p = t->process;
    u32 size = struct_guest_size(p, SYS_STRUCT_epoll_event);
    int max = (int)a[2];
    u64 storage, mask;
    if (max <= 0 || (u64)max > INT32_MAX / sizeof(struct epoll_event))
        return -EINVAL;
    s64 r = signal_wait_begin(t, a[4], a[5], &storage, &mask);
    if (r)
        return r;
    max = MIN(max, 65536);
    struct epoll_event few[64], *ev = max > 64 ? xcalloc((size_t)max, sizeof(*ev)) : few;
    r = signal_wait_end(t, host_call(t, number, a[0], (u64)(uintptr_t)ev, (u64)max, timeout, mask,
                                     8));
    for (s64 i = 0; i < r; i++) {
        if (!struct_write(t, SYS_STRUCT_epoll_event, a[1] + (u64)i * size, &ev[i])) {
            r = -EFAULT;
            break;
        }
    }
    if (ev != few)
        free(ev);
    return r;
}

s64 sys_epoll_pwait(struct thread *t, const u64 *a)
{
    return epoll_wait_common(t, a, SYS_epoll_pwait, a[3]);
}

s64 sys_epoll_pwait2(struct thread *t, const u64 *a)
{
    struct timespec ts;
    if (a[3] && !struct_read(t, SYS_STRUCT_timespec, &ts, a[3]))
        return -EFAULT;
    return epoll_wait_common(t, a, SYS_epoll_pwait2, a[3] ? (u64)(uintptr_t)&ts : 0);
}

s64 sys_epoll_ctl(struct thread *t, const u64 *a)
{
    struct epoll_event ev;
    if (a[3] && !struct_read(t, SYS_STRUCT_epoll_event, &ev, a[3]))
        return -EFAULT;
    return host_call(t, SYS_epoll_ctl, a[0], a[1], a[2], a[3] ? (u64)(uintptr_t)&ev : 0, 0, 0);
}

s64 sys_signalfd4(struct thread *t, const u64 *a)
{
    u64 mask;
    if (a[2] != 8)
        return -EINVAL;
    if (!space_read(&t->process->space, &mask, a[1], 8))
        return -EFAULT;
    return host_call(t, SYS_signalfd4, a[0], (u64)(uintptr_t)&mask, 8, a[3], 0, 0);
}
