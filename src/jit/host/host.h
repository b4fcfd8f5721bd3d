/* A host CPU: what the rest of the translator knows of a back end. All back ends are built on every
 * machine; only one that fits the machine can run. */
#ifndef LYRE_JIT_HOST_HOST_H
#define LYRE_JIT_HOST_HOST_H

#include "base/err.h"
#include "jit/ir/env.h"
#include "jit/ra/ra.h"

/* A place in generated code that leads to a guest address and can be patched. */
struct host_link {
    u32 at;     /* offset of the patchable displacement */
    u32 stub;   /* offset of the code that it leads to while not linked; or which it replaces */
    u64 pc;     /* less than 2 GiB from the region's */
    bool polls; /* must go to the target's polling entry: calls and backward jumps */
};

enum host_leave { HOST_LEAVE_ACCESS, HOST_LEAVE_ALIGN, HOST_LEAVE_POLL, HOST_LEAVE_MMU };

/* Host code [start, end) that may leave: a signal there means what `what` says, with the guest's
 * state as ra->state[state]. */
struct host_fault {
    u32 start, end;
    u32 state;
    u8 what; /* enum host_leave */
    bool write;
    u8 base, index, scale; /* where the address is; 0xff: none */
    s32 disp;
};

/* Code up to `end`, from where the site before ended, that may raise an FP exception for the guest
 * instruction at pc. */
struct host_fp_site {
    u32 end;
    u64 pc;
};

/* The code for the guest instruction at pc starts. */
struct host_mark {
    u32 at;
    u64 pc;
};

/* Where generated code goes, and what is there already. */
struct host_buf {
    u8 *rw;          /* write here */
    const u8 *rx;    /* it will run here */
    size_t size;
    size_t used;     /* out */
    u32 heat;        /* 1 + the counter of env->heat that the polling entry counts down; 0: none */
    u32 counter;     /* of env->counted, for its instructions */
    u32 entry, body; /* out: offsets of the entry that polls and of the one that does not */
    u32 cold;        /* out: offset of what lies behind the body: code out of line, constants */
    u32 data;        /* out: offset of the constants */
    struct host_link *link;
    u32 nlinks, link_cap;
    struct host_fault *fault;
    u32 nfaults, fault_cap;
    struct host_fp_site *fp_site;
    u32 nfp_sites, fp_site_cap;
    void *list[4];   /* the back end's own, which it keeps between regions */
    u32 list_cap[4];
    bool want_marks; /* for people who read the code */
    struct host_mark *mark;
    u32 nmarks, mark_cap;
};

/* Free the lists; the code's memory is somebody else's. */
void host_buf_free(struct host_buf *buf);

struct host_context {
    alignas(16) u8 bytes[2048];
};

/* Options and what was found out about the machine. */
struct host_cpu {
    u8 level;        /* of the back end's own levels */
    u8 features[15]; /* its own */
    bool mmu;        /* to be set before detect(): code is of machines */
    const u8 *thunks; /* where the thunks run */
    u32 thunk_at[24];
    u8 insn_align;
    const struct ir_slots *slots;
    const struct ir_helper *helpers;
    struct ra_host ra;
};

struct host {
    const char *name;
    int capstone_arch, capstone_mode; /* for disas.h */
    /* Find out what the machine offers; `limit` names the highest level to use (NULL: any). Fails on
     * an unknown level or one that the machine lacks. pins: how many pinned slots of each class. */
    bool (*detect)(struct host_cpu *cpu, const char *limit, unsigned pins, struct err *e);
    /* Generate the code that all regions share; cpu->slots is set. */
    bool (*make_thunks)(struct host_cpu *cpu, struct host_buf *buf);
    /* Does the back end make code for the node? If not, C computes it. For struct ir_lowering; cpu is a
     * struct host_cpu. */
    bool (*has)(const void *cpu, const struct ir_region *r, const struct ir_node *n);
    /* Generate a region. False when the buffer is too small. */
    bool (*emit)(const struct host_cpu *cpu, const struct ra *ra, struct host_buf *buf);
    /* Point a link of the code at rw and rx, with a host_link's `at` and `stub`, to host address `to`; NULL: back to its
     * stub. Threads may be running it. */
    void (*patch)(const struct host_cpu *cpu, u8 *rw, const u8 *rx, u32 at, u32 stub, const u8 *to);
    /* Enter generated code with env as the base; returns when it leaves. What it left for the
     * caller is in env; the result is where it left for the HOST_EXIT_ kinds: for HOST_EXIT_LINK the link's stub. */
    const u8 *(*enter)(const struct host_cpu *cpu, struct ir_env *env, const u8 *at);
    /* The host's floating-point control word for env->fp; struct ir_env.fp_push. Sticky flags of the host's
     * unit are in env->fp->flags whenever C runs. */
    void (*fp_setup)(struct ir_env *env);
    void (*fp_push)(struct ir_env *env);
    /* In the handler of the host's FP exception: compute the instruction at the context's pc in
     * software and step over it. False when it is not one that the emitters make. */
    bool (*fp_trap)(struct ir_env *env, void *ucontext);
    /* From a handler's context: the pc, a register (0..31 as in struct ra), and the way out: the
     * context goes on in the thunk that leaves generated code with state in the slots; or behind the poll that it
     * is at. */
    const u8 *(*context_pc)(const void *ucontext);
    void (*context_reg)(const void *ucontext, unsigned reg, v128 *value);
    void (*context_abandon)(const struct host_cpu *cpu, void *ucontext);
    void (*context_pass)(void *ucontext);
    void (*context_reset_stack)(void *ucontext, u64 sp);
    /* In env->mmu.access and env->c_call[IR_CALL_POLL]: a context of the code that called, and its pc. Lives in `room`. */
    const void *(*call_context)(const struct ir_env *env, struct host_context *room);
    /* For env->c_call[IR_CALL_MMU]: describe the access that the calling code has to leave to C in env->mmu, call
     * env->mmu.access, and let the code know. */
    void (*access)(struct ir_env *env);
    /* The word at the bottom of a prediction stack. */
    const u8 *(*return_base)(const struct host_cpu *cpu);
};

/* env->exit, besides enum ir_exit: an unlinked direct exit was taken, through the stub that enter() returned; a counter of
 * env->heat ran out, or the request was seen, at the entry of the region that enter() returned a place in. The pc slot
 * is not set (cache_left()). */
#define HOST_EXIT_LINK    64
#define HOST_EXIT_HOT     65
#define HOST_EXIT_REQUEST 66

extern const struct host host_x86_64;

#endif
