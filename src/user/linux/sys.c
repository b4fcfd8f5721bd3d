/* What a process asks about itself and the system: names, limits, prctl, timers, waiting for
 * children, and calls that are answered rather than done. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "user/linux/abi.h"
#include "user/linux/headers.h"
#include "user/linux/signal.h"

s64 sys_uname(struct thread *t, const u64 *a)
{
    struct process *p = t->process;
    struct utsname u;
    if (uname(&u) < 0)
        return -errno;
    snprintf(u.machine, sizeof(u.machine), "%s", p->abi->machine);
    if (p->opts->release)
        snprintf(u.release, sizeof(u.release), "%s", p->opts->release);
    return struct_write(t, SYS_STRUCT_utsname, a[0], &u) ? 0 : -EFAULT;
}

s64 sys_personality(struct thread *t, const u64 *a)
{
    u32 old = atomic_load(&t->process->personality), new = (u32)a[0];
    if (new != 0xffffffff) {
        /* Flags about the address space are kept as a number: lyre places everything itself. */
        atomic_store(&t->process->personality, new);
    }
    return old;
}

/* ---- limits ---- */

/* Limits of memory are kept as the guest's own: the host's kernel would count lyre's memory, too, and
 * lyre would be the one to run out of it. Programs that it starts inherit the stack's. NULL: any
 * other limit. */
static struct rlimit *kept_limit(struct process *p, unsigned resource)
{
    switch (resource) {
    case RLIMIT_AS:
        return &p->limit_as;
    case RLIMIT_DATA:
        return &p->limit_data;
    case RLIMIT_STACK:
        return &p->limit_stack;
    default:
        return NULL;
    }
}

static s64 kept_prlimit(struct process *p, struct rlimit *kept, const struct rlimit *new,
                        struct rlimit *old)
{
    s64 r = 0;
    pthread_mutex_lock(&p->lock);
    *old = *kept;
    if (new && new->rlim_cur > new->rlim_max)
        r = -EINVAL;
    else if (new && new->rlim_max > old->rlim_max && geteuid() != 0)
        r = -EPERM;
    else if (new)
        *kept = *new;
    pthread_mutex_unlock(&p->lock);
    return r;
}

s64 sys_prlimit64(struct thread *t, const u64 *a)
{
    struct process *p = t->process;
    struct rlimit new, old;
    unsigned resource = (unsigned)a[1];
    bool self = !(int)a[0] || (int)a[0] == getpid();
    struct rlimit *kept = self ? kept_limit(p, resource) : NULL;
    s64 r;
    if (a[2] && !struct_read(t, SYS_STRUCT_rlimit, &new, a[2]))
        return -EFAULT;
    if (kept)
        r = kept_prlimit(p, kept, a[2] ? &new : NULL, &old);
    else
        r = host_call(t, SYS_prlimit64, a[0], resource, a[2] ? (u64)(uintptr_t)&new : 0,
                      (u64)(uintptr_t)&old, 0, 0);
    if (!r && a[3] && !struct_write(t, SYS_STRUCT_rlimit, a[3], &old))
        return -EFAULT;
    return r;
}

s64 sys_getrlimit(struct thread *t, const u64 *a)
{
    const u64 b[6] = {0, a[0], 0, a[1]};
    return a[1] ? sys_prlimit64(t, b) : -EFAULT;
}

s64 sys_setrlimit(struct thread *t, const u64 *a)
{
    const u64 b[6] = {0, a[0], a[1], 0};
    return a[1] ? sys_prlimit64(t, b) : -EFAULT;
}

/* ---- prctl ---- */

#ifndef PR_SET_TAGGED_ADDR_CTRL
#define PR_SET_TAGGED_ADDR_CTRL 55
#define PR_GET_TAGGED_ADDR_CTRL 56
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#ifndef PR_PAC_RESET_KEYS
#define PR_PAC_RESET_KEYS 54
#define PR_PAC_APIAKEY    1
#define PR_PAC_APIBKEY    2
#define PR_PAC_APDAKEY    4
#define PR_PAC_APDBKEY    8
#define PR_PAC_APGAKEY    16
#endif
#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

/* New keys for a set of them, 0 for all. */
static s64 pac_reset_keys(struct thread *t, const u64 *a)
{
    const u64 all = PR_PAC_APIAKEY | PR_PAC_APIBKEY | PR_PAC_APDAKEY | PR_PAC_APDBKEY | PR_PAC_APGAKEY;
    const struct abi *abi = t->process->abi;
    if (a[1] & ~all || a[2] || a[3] || a[4] || !abi->new_keys || !abi->new_keys(t, a[1]))
        return -EINVAL;
    return 0;
}

s64 sys_prctl(struct thread *t, const u64 *a)
{
    struct space *sp = &t->process->space;
    int option = (int)a[0];
    switch (option) {
    case PR_SET_NAME: {
        char name[16] = "";
        s64 n = space_string(sp, name, sizeof(name), a[1]);
        if (n == -EFAULT)
            return n;
        name[15] = 0;
        return host_call(t, SYS_prctl, PR_SET_NAME, (u64)(uintptr_t)name, 0, 0, 0, 0);
    }
    case PR_GET_TID_ADDRESS:
        return space_write(sp, a[1], &t->clear_tid, 8) ? 0 : -EFAULT;
    case PR_GET_NAME:
    case PR_GET_PDEATHSIG:
    case PR_GET_CHILD_SUBREAPER:
        if (!space_ok(sp, a[1], 1))
            return -EFAULT;
        break;
    case PR_SET_PDEATHSIG:
    case PR_GET_DUMPABLE:
    case PR_SET_DUMPABLE:
    case PR_GET_KEEPCAPS:
    case PR_SET_KEEPCAPS:
    case PR_CAPBSET_READ:
    case PR_CAPBSET_DROP:
    case PR_GET_SECUREBITS:
    case PR_SET_SECUREBITS:
    case PR_SET_TIMERSLACK:
    case PR_GET_TIMERSLACK:
    case PR_SET_CHILD_SUBREAPER:
    case PR_SET_NO_NEW_PRIVS:
    case PR_GET_NO_NEW_PRIVS:
    case PR_SET_THP_DISABLE:
    case PR_GET_THP_DISABLE:
    case PR_CAP_AMBIENT:
    case PR_GET_TIMING:
    case PR_SET_TIMING:
    case PR_MCE_KILL:
    case PR_MCE_KILL_GET:
    case PR_SET_PTRACER:
        break;
    case PR_SET_VMA:
        /* Only names for people to read; our mappings keep none. */
        return -EINVAL;
    case PR_GET_SECCOMP:
        return 0;
    case PR_PAC_RESET_KEYS:
        return pac_reset_keys(t, a);
    default:
        /* Filters over the host's calls, the host's speculation and vector state, the layout of the
         * host's memory: not the guest's. */
        log_print(LOG_UNIMP, "unimplemented prctl %d\n", option);
        return -EINVAL;
    }
    return host_call(t, SYS_prctl, a[0], a[1], a[2], a[3], a[4], 0);
}

/* ---- answers ---- */

s64 sys_seccomp(struct thread *t, const u64 *a)
{
    log_print(LOG_UNIMP, "unimplemented seccomp operation %d\n", (int)a[0]);
    return -EINVAL;
}

s64 sys_ptrace(struct thread *t, const u64 *a)
{
    /* A tracer would see lyre's registers. PTRACE_TRACEME of a child whose parent traces the same
     * way must fail as well, so that debuggers say so instead of hanging. */
    log_print(LOG_UNIMP, "unimplemented ptrace request %d\n", (int)a[0]);
    return -EPERM;
}

s64 sys_membarrier(struct thread *t, const u64 *a)
{
    return host_call(t, SYS_membarrier, a[0], a[1], a[2], 0, 0, 0);
}

/* ---- time ---- */

/* Through the host's vDSO, without entering its kernel. */
s64 sys_clock_gettime(struct thread *t, const u64 *a)
{
    struct timespec ts;
    if (clock_gettime((clockid_t)a[0], &ts) < 0)
        return -errno;
    return struct_write(t, SYS_STRUCT_timespec, a[1], &ts) ? 0 : -EFAULT;
}

s64 sys_gettimeofday(struct thread *t, const u64 *a)
{
    struct timeval tv;
    struct timezone tz = {0};
    if (a[1]) /* the C library's function leaves it alone */
        syscall(SYS_gettimeofday, NULL, &tz);
    gettimeofday(&tv, NULL);
    if ((a[0] && !struct_write(t, SYS_STRUCT_timeval, a[0], &tv)) ||
        (a[1] && !struct_write(t, SYS_STRUCT_timezone, a[1], &tz)))
        return -EFAULT;
    return 0;
}

/* ---- timers, children ---- */

s64 sys_timer_create(struct thread *t, const u64 *a)
{
    struct space *sp = &t->process->space;
    struct kernel_sigevent ev;
    int id;
    if (a[1] && !struct_read(t, SYS_STRUCT_sigevent, &ev, a[1]))
        return -EFAULT;
    s64 r = host_call(t, SYS_timer_create, a[0], a[1] ? (u64)(uintptr_t)&ev : 0,
                      (u64)(uintptr_t)&id, 0, 0, 0);
    if (!r && !space_write(sp, a[2], &id, sizeof(id)))
        return -EFAULT;
    return r;
}

s64 sys_waitid(struct thread *t, const u64 *a)
{
    siginfo_t info;
    struct rusage ru;
    memset(&info, 0, sizeof(info));
    s64 r = host_call(t, SYS_waitid, a[0], a[1], (u64)(uintptr_t)&info, a[3], (u64)(uintptr_t)&ru,
                      0);
    if (!r && a[2] && !struct_write(t, SYS_STRUCT_siginfo, a[2], &info))
        return -EFAULT;
    if (!r && a[4] && !struct_write(t, SYS_STRUCT_rusage, a[4], &ru))
        return -EFAULT;
    return r;
}

s64 sys_unshare(struct thread *t, const u64 *a)
{
    engine_stop_threads(t->process->engine); /* user namespaces want a single thread */
    s64 r = host_call(t, SYS_unshare, a[0], 0, 0, 0, 0, 0);
    engine_restart_threads(t->process->engine);
    return r;
}

s64 sys_setns(struct thread *t, const u64 *a)
{
    engine_stop_threads(t->process->engine);
    s64 r = host_call(t, SYS_setns, a[0], a[1], 0, 0, 0, 0);
    engine_restart_threads(t->process->engine);
    return r;
}

/* A port of 32 bits counts memory in larger units if its words do not hold it in bytes, as a kernel of 32 bits. */
static void scale_memory(struct sysinfo *s)
{
    unsigned long *const sizes[] = {&s->totalram, &s->freeram, &s->sharedram, &s->bufferram,
                                    &s->totalswap, &s->freeswap, &s->totalhigh, &s->freehigh};
    unsigned shift = 0;
    while ((s->totalram | s->totalswap) >> shift > UINT32_MAX)
        shift++;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        *sizes[i] >>= shift;
    s->mem_unit <<= shift;
}

s64 sys_sysinfo(struct thread *t, const u64 *a)
{
    struct sysinfo info;
    s64 r = host_call(t, SYS_sysinfo, (u64)(uintptr_t)&info, 0, 0, 0, 0, 0);
    if (t->process->word == 4)
        scale_memory(&info);
    return !r && !struct_write(t, SYS_STRUCT_sysinfo, a[0], &info) ? -EFAULT : r;
}

/* ---- System V ---- */

#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif

/* The structures of these are converted for no port of 32 bits yet; IPC_RMID has none. */
static s64 ipc_control(struct thread *t, long number, const u64 *a)
{
    if (a[2] && t->process->word == 4)
        return -ENOSYS;
    if (a[2] && !space_ok(&t->process->space, a[2], 1))
        return -EFAULT;
    return host_call(t, number, a[0], a[1], a[2], 0, 0, 0);
}

s64 sys_msgctl(struct thread *t, const u64 *a)
{
    return ipc_control(t, SYS_msgctl, a);
}

s64 sys_shmctl(struct thread *t, const u64 *a)
{
    return ipc_control(t, SYS_shmctl, a);
}

s64 sys_semctl(struct thread *t, const u64 *a)
{
    struct semid_ds ds;
    int cmd = (int)a[2] & ~0x100; /* IPC_64: 64-bit ports have only that layout */
    switch (cmd) {
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY: {
        s64 r = host_call(t, SYS_semctl, a[0], a[1], (u64)cmd, (u64)(uintptr_t)&ds, 0, 0);
        return r >= 0 && !struct_write(t, SYS_STRUCT_semid, a[3], &ds) ? -EFAULT : r;
    }
    case IPC_SET:
        if (!struct_read(t, SYS_STRUCT_semid, &ds, a[3]))
            return -EFAULT;
        return host_call(t, SYS_semctl, a[0], a[1], (u64)cmd, (u64)(uintptr_t)&ds, 0, 0);
    case IPC_INFO:
    case SEM_INFO:
    case GETALL:
    case SETALL:
        if (!space_ok(&t->process->space, a[3], 1))
            return -EFAULT;
    }
    return host_call(t, SYS_semctl, a[0], a[1], (u64)cmd, a[3], 0, 0);
}

/* ---- other processes' memory ---- */

static s64 vm_copy(struct thread *t, long number, const u64 *a)
{
    struct iovec v[2][MAX_IOV];
    const u64 lists[2][2] = {{a[1], a[2]}, {a[3], a[4]}};
    for (int k = 0; k < 2; k++) {
        s64 r = iovec_read(t, v[k], lists[k][0], (s64)lists[k][1]);
        if (r)
            return r;
    }
    return host_call(t, number, a[0], (u64)(uintptr_t)v[0], a[2], (u64)(uintptr_t)v[1], a[4], a[5]);
}

s64 sys_process_vm_readv(struct thread *t, const u64 *a)
{
    return vm_copy(t, SYS_process_vm_readv, a);
}

s64 sys_process_vm_writev(struct thread *t, const u64 *a)
{
    return vm_copy(t, SYS_process_vm_writev, a);
}
