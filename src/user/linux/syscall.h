/* System calls: the table's types, dispatch, and what the bodies (sys_NAME) use. */
#ifndef LYRE_USER_LINUX_SYSCALL_H
#define LYRE_USER_LINUX_SYSCALL_H

#include <stdio.h>

#include "base/types.h"

struct thread;
struct process;

/* A structure that differs from the host's: what is where in both. Members that are not named are 0. */
struct sys_field {
    u16 host, guest;          /* offsets */
    u16 host_size, guest_size; /* a whole number of 1, 2, 4 or 8 bytes, or equal: copied */
    bool sign;
};

struct sys_layout {
    u16 size; /* the guest's */
    u16 fields;
    const struct sys_field *field;
};

#include "syscalls_gen.h"

enum sys_arg_kind {
    ARG_INT = 1,
    ARG_UINT,
    ARG_LONG,
    ARG_ULONG,
    ARG_SIZE,
    ARG_OFF,
    ARG_OFFHI,
    ARG_HEX,
    ARG_OMODE,
    ARG_PID,
    ARG_SIG,
    ARG_FD,
    ARG_DIRFD,
    ARG_PTR,
    ARG_PATH,
    ARG_LPATH,
    ARG_NPATH,
    ARG_ATPATH,
    ARG_STR,
    ARG_STRV,
    ARG_IOVEC,
    ARG_SIGSET,
    ARG_FLAGS,
    ARG_IN,
    ARG_OUT,
    ARG_INOUT,
};

struct sys_arg {
    u8 kind;
    u8 set;       /* of ARG_FLAGS: enum sys_set_id */
    u8 type;      /* of ARG_IN, ARG_OUT, ARG_INOUT: enum sys_struct */
    u8 count;     /* elements, if count_arg is -1 */
    s8 count_arg; /* the argument that holds their number */
};

enum sys_result { RESULT_INT, RESULT_LONG, RESULT_HEX, RESULT_NONE };

typedef s64 (*sys_fn)(struct thread *t, const u64 *a);

struct sys_call {
    const char *name;
    sys_fn run;  /* NULL: the host's call does it, or it is denied */
    s16 host;    /* the host's number, -1: none */
    u16 deny;    /* errno, 0: not denied */
    u8 result;   /* enum sys_result */
    u8 args;
    struct sys_arg arg[6];
};

struct sys_set_member {
    const char *name; /* NULL ends the list */
    u64 mask, value;
};

struct sys_set {
    const struct sys_set_member *member;
    bool values; /* one of them, not an or of them */
};

extern const u16 sys_struct_size[SYS_NSTRUCTS];
extern const struct sys_set sys_sets[SYS_NSETS];
extern const struct sys_call sys_calls[SYS_NCALLS];

/* Results of bodies that are no errno values. */
#define SYS_RESTART  (-512)  /* interrupted; done again unless a handler without SA_RESTART runs */
#define SYS_UNDONE   (-4096) /* not executed: deliver the signal, then execute it */
#define SYS_REGS_SET (-4097) /* all registers are as they should be (sigreturn, execve ...) */

/* Do the system call that t's registers ask for and store its result there. */
void syscall_run(struct thread *t);

/* The host's system call, unless a signal is pending (SYS_UNDONE). Returns a result, -errno, or
 * SYS_RESTART. Atomic against signals: see hostcall.c. */
s64 host_call(struct thread *t, long number, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4, u64 a5);

/* For the signal handler: the context is inside host_call's stub; change it so that the call
 * returns. */
void host_call_interrupted(void *ucontext);

/* A guest path as the host is to see it: mapped by -L. The result is `buf` (PATH_BUF bytes), or NULL
 * with *err set to -errno. `follow`: the last component is followed if it is a link. A null guest
 * pointer gives EFAULT. */
#define PATH_BUF 8192
const char *path_arg(struct thread *t, u64 guest, char *buf, bool follow, s64 *err);
const char *path_map(struct process *p, const char *path, char *buf, bool follow);

/* Flags of a set from guest to host form and back. */
u64 flags_to_host(const struct process *p, enum sys_set_id set, u64 v);
u64 flags_to_guest(const struct process *p, enum sys_set_id set, u64 v);

/* The arguments of a call as ports of 64 bits pass them, from the words (in `a`) of one of 32 bits. */
void syscall_widen_args(const struct sys_call *c, u64 *a);

/* One structure from the guest's layout to the host's and back. Both are little-endian. */
void layout_to_host(const struct sys_layout *l, void *host, size_t host_size, const void *guest);
void layout_to_guest(const struct sys_layout *l, void *guest, const void *host);

/* Structures of the guest. Convert if the layout differs. False: EFAULT. */
bool struct_read(struct thread *t, enum sys_struct type, void *host, u64 guest);
bool struct_write(struct thread *t, enum sys_struct type, u64 guest, const void *host);
u32 struct_guest_size(const struct process *p, enum sys_struct type);

/* A list of `count` buffers of the guest, none of which is lyre's. 0, or -errno. */
#define MAX_IOV 1024 /* the kernel's limit, beyond which it is EINVAL */
struct iovec;
s64 iovec_read(struct thread *t, struct iovec *v, u64 addr, s64 count);

/* strace: the text of a call's arguments, before it runs; then its line. */
void strace_args(struct thread *t, const struct sys_call *c, const u64 *a, char *text, size_t size);
void strace_line(const struct sys_call *c, const char *args, s64 result);
void strace_unknown(u64 number);

#endif
