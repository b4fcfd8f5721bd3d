/* Dispatch: from the guest's registers to a body or the host's call, by the table. */
#include "user/linux/syscall.h"

#include <errno.h>
#include <string.h>

#include "base/guard.h"
#include "base/log.h"
#include "user/linux/abi.h"
#include "user/linux/headers.h"
#include "user/process.h"

/* ---- flags ---- */

static const struct abi_bits *set_bits(const struct process *p, enum sys_set_id set)
{
    return set == SYS_SET_open ? p->abi->open_flags : NULL;
}

u64 flags_to_host(const struct process *p, enum sys_set_id set, u64 v)
{
    const struct abi_bits *b = set_bits(p, set);
    u64 out = v;
    if (!b)
        return v;
    for (const struct abi_bits *k = b; k->guest; k++)
        out &= ~(u64)k->guest;
    for (const struct abi_bits *k = b; k->guest; k++)
        out |= v & k->guest ? k->host : 0;
    return out;
}

u64 flags_to_guest(const struct process *p, enum sys_set_id set, u64 v)
{
    const struct abi_bits *b = set_bits(p, set);
    u64 out = v;
    if (!b)
        return v;
    for (const struct abi_bits *k = b; k->guest; k++)
        out &= ~(u64)k->host;
    for (const struct abi_bits *k = b; k->guest; k++)
        out |= v & k->host ? k->guest : 0;
    return out;
}

/* ---- structures ---- */

static void field_copy(void *to, size_t to_size, const void *from, size_t from_size, bool sign)
{
    u8 fill = sign && ((const u8 *)from)[from_size - 1] & 0x80 ? 0xff : 0;
    memset(to, fill, to_size);
    memcpy(to, from, MIN(to_size, from_size));
}

void layout_to_host(const struct sys_layout *l, void *host, size_t host_size, const void *guest)
{
    memset(host, 0, host_size);
    for (unsigned i = 0; i < l->fields; i++) {
        const struct sys_field *f = &l->field[i];
        field_copy((u8 *)host + f->host, f->host_size, (const u8 *)guest + f->guest, f->guest_size, f->sign);
    }
}

void layout_to_guest(const struct sys_layout *l, void *guest, const void *host)
{
    memset(guest, 0, l->size);
    for (unsigned i = 0; i < l->fields; i++) {
        const struct sys_field *f = &l->field[i];
        field_copy((u8 *)guest + f->guest, f->guest_size, (const u8 *)host + f->host, f->host_size, f->sign);
    }
}

u32 struct_guest_size(const struct process *p, enum sys_struct type)
{
    const struct sys_layout *l = p->abi->layout[type];
    return l ? l->size : sys_struct_size[type];
}

#define MAX_STRUCT 1024

bool struct_read(struct thread *t, enum sys_struct type, void *host, u64 guest)
{
    struct process *p = t->process;
    const struct sys_layout *l = p->abi->layout[type];
    if (!l)
        return space_read(&p->space, host, guest, sys_struct_size[type]);
    u8 raw[MAX_STRUCT];
    if (!space_read(&p->space, raw, guest, l->size))
        return false;
    layout_to_host(l, host, sys_struct_size[type], raw);
    return true;
}

bool struct_write(struct thread *t, enum sys_struct type, u64 guest, const void *host)
{
    struct process *p = t->process;
    const struct sys_layout *l = p->abi->layout[type];
    if (!l)
        return space_write(&p->space, guest, host, sys_struct_size[type]);
    u8 raw[MAX_STRUCT];
    layout_to_guest(l, raw, host);
    return space_write(&p->space, guest, raw, l->size);
}

/* ---- arguments ---- */

void syscall_widen_args(const struct sys_call *c, u64 *a)
{
    u64 word[7] = {0};
    unsigned at = 0;
    for (unsigned i = 0; i < 6; i++)
        word[i] = (u32)a[i];
    for (unsigned i = 0; i < c->args && at < 6; i++) {
        switch (c->arg[i].kind) {
        case ARG_OFF:
            a[i] = word[at] | word[at + 1] << 32;
            at += 2;
            break;
        case ARG_OFFHI:
            a[i] = 0;
            break;
        case ARG_INT:
        case ARG_LONG:
        case ARG_PID:
        case ARG_FD:
        case ARG_DIRFD:
            a[i] = (u64)(s32)word[at++];
            break;
        default:
            a[i] = word[at++];
        }
    }
}

/* Elements that argument `arg` points to. */
static u64 elements(const struct sys_arg *arg, const u64 *a)
{
    return arg->count_arg < 0 ? arg->count : a[arg->count_arg];
}

/* Every pointer must stay away from what is lyre's; the host's kernel finds the rest out. */
static bool check_pointers(struct thread *t, const struct sys_call *c, const u64 *a)
{
    struct process *p = t->process;
    for (unsigned i = 0; i < c->args; i++) {
        const struct sys_arg *arg = &c->arg[i];
        u64 size = 1;
        if (!a[i])
            continue;
        switch (arg->kind) {
        case ARG_IN:
        case ARG_OUT:
        case ARG_INOUT:
            if (__builtin_mul_overflow(elements(arg, a), struct_guest_size(p, arg->type), &size))
                return false;
            /* The kernel itself clips lengths that reach out of the address space. */
            size = MIN(size, p->space.top);
            if (!space_ok(&p->space, a[i], 1) ||
                (a[i] < p->space.own_start && a[i] + size > p->space.own_start))
                return false;
            break;
        case ARG_STR:
        case ARG_SIGSET:
        case ARG_PTR:
            if (c->run)
                break; /* the body looks at it, or it is no pointer to memory at all */
            if (!space_ok(&p->space, a[i], 1))
                return false;
            break;
        }
    }
    return true;
}

s64 iovec_read(struct thread *t, struct iovec *v, u64 addr, s64 count)
{
    u32 size = struct_guest_size(t->process, SYS_STRUCT_iovec);
    if (count < 0 || count > MAX_IOV)
        return -EINVAL;
    for (s64 i = 0; i < count; i++) {
        if (!struct_read(t, SYS_STRUCT_iovec, &v[i], addr + (u64)i * size))
            return -EFAULT;
        if (v[i].iov_len && !space_ok(&t->process->space, (u64)(uintptr_t)v[i].iov_base, 1))
            return -EFAULT;
    }
    return 0;
}

/* ---- calls that the host's kernel does as they are ---- */

/* Of a call's arguments, in the host's layout: structures and paths, which a call has two of at most, and a
 * list of buffers. */
struct scratch {
    alignas(16) u8 host[2][MAX_STRUCT];
    char path[2][PATH_BUF];
    unsigned structs, paths;
    struct iovec iov[MAX_IOV];
};

/* Use the next buffer for the structure that argument i points to, if its layout is another. */
static bool use_struct(struct thread *t, const struct sys_arg *arg, u64 guest, u64 *h, struct scratch *sc)
{
    if (!guest || !t->process->abi->layout[arg->type])
        return false;
    *h = (u64)(uintptr_t)sc->host[sc->structs++ & 1];
    return true;
}

static s64 prepare_arg(struct thread *t, const struct sys_call *c, unsigned i, const u64 *a, u64 *h,
                       struct scratch *sc)
{
    const struct sys_arg *arg = &c->arg[i];
    s64 err = 0;
    bool follow = true;
    switch (arg->kind) {
    case ARG_LPATH:
    case ARG_NPATH:
        follow = false;
        break;
    case ARG_ATPATH:
        for (unsigned k = i + 1; k < c->args; k++) {
            if (c->arg[k].kind == ARG_FLAGS && c->arg[k].set == SYS_SET_at)
                follow = !(a[k] & AT_SYMLINK_NOFOLLOW);
        }
        break;
    case ARG_PATH:
        break;
    case ARG_IOVEC:
        if (t->process->abi->layout[SYS_STRUCT_iovec])
            h[i] = (u64)(uintptr_t)sc->iov;
        return iovec_read(t, sc->iov, a[i], (s64)(int)a[i + 1]);
    case ARG_IN:
    case ARG_INOUT:
        if (use_struct(t, arg, a[i], &h[i], sc) && !struct_read(t, arg->type, (void *)(uintptr_t)h[i], a[i]))
            return -EFAULT;
        return 0;
    case ARG_OUT:
        use_struct(t, arg, a[i], &h[i], sc);
        return 0;
    default:
        return 0;
    }
    if (a[i]) /* the kernel knows what a null path means */
        h[i] = (u64)(uintptr_t)path_arg(t, a[i], sc->path[sc->paths++ & 1], follow, &err);
    return err;
}

static s64 pass(struct thread *t, const struct sys_call *c, const u64 *a)
{
    u64 h[6];
    struct scratch sc;
    sc.structs = sc.paths = 0;
    if (c->host < 0)
        return -ENOSYS;
    memcpy(h, a, sizeof(h));
    for (unsigned i = 0; i < c->args; i++) {
        s64 r = prepare_arg(t, c, i, a, h, &sc);
        if (r)
            return r;
    }
    s64 r = host_call(t, c->host, h[0], h[1], h[2], h[3], h[4], h[5]);
    for (unsigned i = 0; r >= 0 && i < c->args; i++) {
        const struct sys_arg *arg = &c->arg[i];
        if ((arg->kind == ARG_OUT || arg->kind == ARG_INOUT) && h[i] != a[i] &&
            !struct_write(t, arg->type, a[i], (void *)(uintptr_t)h[i]))
            r = -EFAULT;
    }
    return r;
}

/* ---- dispatch ---- */

static s64 run(struct thread *t, const struct sys_call *c, u64 *a)
{
    if (c->deny)
        return -(s64)c->deny;
    for (unsigned i = 0; i < c->args; i++) {
        if (c->arg[i].kind == ARG_FLAGS)
            a[i] = flags_to_host(t->process, c->arg[i].set, a[i]);
    }
    if (!check_pointers(t, c, a))
        return -EFAULT;
    return c->run ? c->run(t, a) : pass(t, c, a);
}

static s64 run_traced(struct thread *t, const struct sys_call *c, u64 *a)
{
    char text[2048];
    strace_args(t, c, a, text, sizeof(text));
    s64 r = run(t, c, a);
    if (r != SYS_UNDONE && c->result != RESULT_NONE)
        strace_line(c, text, r);
    return r;
}

void syscall_run(struct thread *t)
{
    struct process *p = t->process;
    const struct abi *abi = p->abi;
    u64 a[6], number = vcpu_get(t->cpu, p->regs.number);
    s64 r = -ENOSYS;
    for (unsigned i = 0; i < 6; i++)
        a[i] = vcpu_get(t->cpu, p->regs.arg[i]);
    unsigned id = number < *abi->number_count ? abi->numbers[number] : 0;
    if (atomic_load_explicit(&t->pending, memory_order_relaxed)) {
        r = SYS_UNDONE;
    } else if (id) {
        const struct sys_call *c = &sys_calls[id - 1];
        if (p->word == 4)
            syscall_widen_args(c, a);
        r = log_on(LOG_STRACE) ? run_traced(t, c, a) : run(t, c, a);
        if (r == -ENOSYS && c->deny == ENOSYS)
            log_print(LOG_UNIMP, "unimplemented system call %s\n", c->name);
    } else {
        log_print(LOG_UNIMP, "unknown system call %llu\n", (unsigned long long)number);
        if (log_on(LOG_STRACE))
            strace_unknown(number);
    }
    t->cpu->env->excl.size = 0;
    if (r == SYS_REGS_SET)
        return;
    if (r == SYS_UNDONE)
        vcpu_set_pc(t->cpu, vcpu_pc(t->cpu) - abi->syscall_insn);
    else if (r == SYS_RESTART)
        t->restarting = true;
    else
        thread_set_word(t, p->regs.result, (u64)r);
}
