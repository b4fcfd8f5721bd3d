/* System calls that change or describe the address space. */
#include <errno.h>
#include <sys/syscall.h>

#include "user/linux/abi.h"
#include "user/linux/headers.h"
#include "user/linux/syscall.h"
#include "user/process.h"

#define PROT_SEM 8 /* as no machine needs it for atomics, it means nothing */

/* What the guest's prot is to our space. A bit that the CPU does not know is kept. */
static u32 space_prot(struct thread *t, u64 prot)
{
    const struct abi *abi = t->process->abi;
    u64 cap[2];
    t->process->isa->hwcap(t->cpu, cap);
    u32 p = (u32)prot & ~(u32)PROT_SEM;
    return p & abi->prot_guarded && cap[1] & abi->hwcap2_guarded
               ? (p & ~abi->prot_guarded) | MAP_GUARDED : p;
}

s64 sys_mmap(struct thread *t, const u64 *a)
{
    return space_mmap(&t->process->space, a[0], a[1], space_prot(t, a[2]), (u32)a[3], (int)a[4], a[5], 0);
}

s64 sys_mmap2(struct thread *t, const u64 *a)
{
    return space_mmap(&t->process->space, a[0], a[1], space_prot(t, a[2]), (u32)a[3], (int)a[4],
                      a[5] * SPACE_PAGE, 0);
}

s64 sys_munmap(struct thread *t, const u64 *a)
{
    return space_munmap(&t->process->space, a[0], a[1]);
}

s64 sys_mprotect(struct thread *t, const u64 *a)
{
    return space_mprotect(&t->process->space, a[0], a[1], space_prot(t, a[2]));
}

s64 sys_pkey_mprotect(struct thread *t, const u64 *a)
{
    return (int)a[3] == -1 ? sys_mprotect(t, a) : -EINVAL;
}

s64 sys_mremap(struct thread *t, const u64 *a)
{
    return space_mremap(&t->process->space, a[0], a[1], a[2], (u32)a[3], a[4]);
}

s64 sys_brk(struct thread *t, const u64 *a)
{
    return (s64)space_brk(&t->process->space, a[0]);
}

s64 sys_shmat(struct thread *t, const u64 *a)
{
    return space_shmat(&t->process->space, (int)a[0], a[1], (u32)a[2]);
}

s64 sys_shmdt(struct thread *t, const u64 *a)
{
    return space_shmdt(&t->process->space, a[0]);
}

/* Calls on a range of memory: not on lyre's. */
static s64 on_range(struct thread *t, long number, const u64 *a)
{
    if (a[1] && !space_ok(&t->process->space, a[0], a[1]))
        return -ENOMEM;
    return host_call(t, number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

s64 sys_msync(struct thread *t, const u64 *a)
{
    return on_range(t, SYS_msync, a);
}

s64 sys_mlock(struct thread *t, const u64 *a)
{
    return on_range(t, SYS_mlock, a);
}

s64 sys_mlock2(struct thread *t, const u64 *a)
{
    return on_range(t, SYS_mlock2, a);
}

s64 sys_munlock(struct thread *t, const u64 *a)
{
    return on_range(t, SYS_munlock, a);
}

s64 sys_mincore(struct thread *t, const u64 *a)
{
    if (a[2] && !space_ok(&t->process->space, a[2], ALIGN_UP(a[1], SPACE_PAGE) / SPACE_PAGE))
        return -EFAULT;
    return on_range(t, SYS_mincore, a);
}

s64 sys_mbind(struct thread *t, const u64 *a)
{
    return on_range(t, SYS_mbind, a);
}

s64 sys_set_mempolicy_home_node(struct thread *t, const u64 *a)
{
    return on_range(t, 450, a); /* x86-64 and every newer port; absent from older headers */
}

s64 sys_madvise(struct thread *t, const u64 *a)
{
    struct space *sp = &t->process->space;
    s64 r = on_range(t, SYS_madvise, a);
    /* These throw contents away, and with them maybe code. */
    bool drops = a[2] == MADV_DONTNEED || a[2] == MADV_REMOVE || a[2] == MADV_FREE;
    if (!r && drops && a[1])
        space_contents_changed(sp, a[0], a[1]);
    return r;
}
