/* Sockets: mostly the host's business; here are the calls whose arguments hold pointers, and the
 * paths of local sockets. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "base/log.h"
#include "user/linux/headers.h"
#include "user/linux/syscall.h"
#include "user/process.h"

/* An address for the host: a local socket's path is mapped by -L if it exists there. */
static s64 map_address(struct thread *t, u64 *addr, u64 *len, struct sockaddr_un *un)
{
    struct process *p = t->process;
    u32 n = (u32)*len;
    if (!*addr || !n)
        return 0;
    if (!space_ok(&p->space, *addr, 1))
        return -EFAULT;
    if (n > sizeof(*un) || n <= offsetof(struct sockaddr_un, sun_path) || !p->sysroot)
        return 0;
    memset(un, 0, sizeof(*un));
    if (!space_read(&p->space, un, *addr, n))
        return -EFAULT;
    char path[sizeof(un->sun_path) + 1] = "", buf[PATH_BUF];
    memcpy(path, un->sun_path, sizeof(un->sun_path));
    const char *mapped = un->sun_family == AF_UNIX && path[0] ? path_map(p, path, buf, true) : path;
    if (mapped != path && strlen(mapped) < sizeof(un->sun_path)) {
        strcpy(un->sun_path, mapped);
        *addr = (u64)(uintptr_t)un;
        *len = offsetof(struct sockaddr_un, sun_path) + strlen(mapped) + 1;
    }
    return 0;
}

s64 sys_connect(struct thread *t, const u64 *a)
{
    struct sockaddr_un un;
    u64 addr = a[1], len = a[2];
    s64 r = map_address(t, &addr, &len, &un);
    return r ? r : host_call(t, SYS_connect, a[0], addr, len, 0, 0, 0);
}

s64 sys_bind(struct thread *t, const u64 *a)
{
    return host_call(t, SYS_bind, a[0], a[1], a[2], 0, 0, 0);
}

s64 sys_sendto(struct thread *t, const u64 *a)
{
    struct sockaddr_un un;
    u64 addr = a[4], len = a[5];
    s64 r = map_address(t, &addr, &len, &un);
    return r ? r : host_call(t, SYS_sendto, a[0], a[1], a[2], a[3], addr, len);
}

/* A message as the host is to see it. */
struct message {
    struct msghdr header;
    struct iovec iov[MAX_IOV];
};

/* A message header may not point into lyre's memory. */
static s64 read_message(struct thread *t, u64 addr, struct message *m)
{
    struct space *sp = &t->process->space;
    struct msghdr *h = &m->header;
    if (!struct_read(t, SYS_STRUCT_msghdr, h, addr))
        return -EFAULT;
    if ((h->msg_name && !space_ok(sp, (u64)(uintptr_t)h->msg_name, 1)) ||
        (h->msg_control && !space_ok(sp, (u64)(uintptr_t)h->msg_control, 1)))
        return -EFAULT;
    if (h->msg_iovlen > MAX_IOV)
        return -EMSGSIZE;
    return iovec_read(t, m->iov, (u64)(uintptr_t)h->msg_iov, (s64)h->msg_iovlen);
}

/* Where words are of 32 bits, headers of control data differ, too: they are not converted yet. */
static s64 pass_message(struct thread *t, long number, const u64 *a)
{
    struct message m;
    s64 r = read_message(t, a[1], &m);
    if (r || t->process->word == 8)
        return r ? r : host_call(t, number, a[0], a[1], a[2], 0, 0, 0);
    if (m.header.msg_controllen) {
        log_print(LOG_UNIMP, "control data of messages with a port of 32 bits\n");
        return -EOPNOTSUPP;
    }
    struct msghdr host = m.header;
    host.msg_iov = m.iov;
    r = host_call(t, number, a[0], (u64)(uintptr_t)&host, a[2], 0, 0, 0);
    host.msg_iov = m.header.msg_iov;
    return r >= 0 && number == SYS_recvmsg && !struct_write(t, SYS_STRUCT_msghdr, a[1], &host) ? -EFAULT : r;
}

s64 sys_sendmsg(struct thread *t, const u64 *a)
{
    return pass_message(t, SYS_sendmsg, a);
}

s64 sys_recvmsg(struct thread *t, const u64 *a)
{
    return pass_message(t, SYS_recvmsg, a);
}

/* Several messages at once: for ports whose headers are the host's. */
static s64 check_messages(struct thread *t, u64 addr, u32 count)
{
    struct message m;
    s64 r = t->process->word == 8 ? 0 : -ENOSYS;
    for (u32 i = 0; !r && i < MIN(count, 1024u); i++)
        r = read_message(t, addr + i * sizeof(struct mmsghdr), &m);
    return r;
}

s64 sys_sendmmsg(struct thread *t, const u64 *a)
{
    s64 r = check_messages(t, a[1], (u32)a[2]);
    return r ? r : host_call(t, SYS_sendmmsg, a[0], a[1], a[2], a[3], 0, 0);
}

s64 sys_recvmmsg(struct thread *t, const u64 *a)
{
    s64 r = check_messages(t, a[1], (u32)a[2]);
    return r ? r : host_call(t, SYS_recvmmsg, a[0], a[1], a[2], a[3], a[4], 0);
}
