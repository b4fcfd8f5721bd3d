/* The memory that IR code runs over: what every engine (interp, JIT) and every helper of a guest
 * finds at one base address. The guest's slots come last, at a place that lets compiled code reach
 * 256 bytes of them with a one-byte displacement. */
#ifndef LYRE_JIT_IR_ENV_H
#define LYRE_JIT_IR_ENV_H

#include <stdalign.h>

#include "base/mem.h"
#include "base/types.h"

struct fp_env;
struct ir_env;
struct ir_helper;

/* Why control left IR code. Guests add meaning to RAISE through `exit_arg`. */
enum ir_exit {
    IR_EXIT_NONE,
    IR_EXIT_LOOKUP,  /* go on at the pc slot: no code for it yet, or none linked */
    IR_EXIT_REQUEST, /* `request` was seen at a poll */
    IR_EXIT_RAISE,   /* a `raise` node: exit_code and exit_arg say what */
    IR_EXIT_FAULT,   /* a memory access of the guest failed: exit_addr, exit_code (enum ir_access) */
    IR_EXIT_APART,   /* the accesses from the pc slot on, one by one: they are not in one page of memory */
};

/* exit_code of the raise that `chkalign` makes; guests use the same number in enum isa_raise. */
#define IR_RAISE_UNALIGNED 3

enum ir_access { IR_ACCESS_READ, IR_ACCESS_WRITE, IR_ACCESS_EXEC };

/* Inline lookup of indirect branches: direct-mapped, owned by one vCPU. */
struct ir_jump {
    u64 pc;
    u64 host; /* address of the entry that polls */
};

/* What compiled code calls apart from helpers: run the node packed in tmp[0] (op, type, aux) and
 * tmp[1] (imm) on helper_arg[]; make the flags slot at offset tmp[0] hold plain bits; in code of machines, do the
 * access that `mmu` describes, and look at `request`, both of which may leave the code; find the code for the pc slot, and
 * put its entry, or 0, into mmu.host. */
enum { IR_CALL_EVAL, IR_CALL_FLAGS, IR_CALL_MMU, IR_CALL_POLL, IR_CALL_FIND, IR_NCALLS };

#define IR_JUMP_BITS   13
#define IR_HELPER_ARGS 4
#define IR_SPILLS      96
#define IR_HEAT_COUNTERS 1024
#define IR_COUNTERS    4

/* ---- code of machines, whose addresses are translated ---- */

#define IR_PAGE_BITS 12
#define IR_TLB_BITS  11
#define IR_TLB_MODES 4

/* A page that compiled code may access by itself. A tag is the page's address, or one that belongs into another entry:
 * such accesses are left to C. Direct-mapped by address, owned by one vCPU. */
struct ir_tlb_entry {
    u64 read, write;
    u64 add;    /* what makes a host address of one in the page */
    u64 global; /* whether the guest's entry is one of all contexts; not for compiled code */
};

/* An access that is left to C, and what becomes of it. */
struct ir_mmu {
    void (*access)(struct ir_env *env); /* does it; set by the engine */
    u64 addr;
    u32 what;   /* enum ir_mmu_what and the number of bytes and the mode beside it */
    u32 failed; /* the guest's access faults: the call leaves the code */
    u64 add;    /* all but stores: what makes a host address of addr, to access it after all */
    u64 host;   /* of IR_CALL_FIND */
    v128 value; /* stores: what */
    v128 copy;  /* for what has no host address of its own */
};

/* ir_mmu.what: bytes + mode * IR_MMU_MODE and bits. LOCKED: an atomic access, which reads and writes. GROUP: several
 * accesses of the code itself, which wants to know where. */
enum ir_mmu_what { IR_MMU_BYTES = 0x1ff, IR_MMU_WRITE = 0x200, IR_MMU_LOCKED = 0x400, IR_MMU_ORDERED = 0x800,
                   IR_MMU_GROUP = 0x1000, IR_MMU_MODE = 0x2000 };

/* An exclusive reservation: {address, size, value}. size 0 = none. */
struct ir_exclusive {
    u64 addr;
    u64 size;
    v128 value;
};

struct ir_env {
    _Atomic u32 request; /* other threads and signal handlers set it; a poll leaves when not 0 */
    u32 key;             /* mode bits that select among translations of one address */
    u32 exit;            /* enum ir_exit */
    u32 exit_code;
    u64 exit_arg;
    u64 exit_addr;

    struct ir_exclusive excl;

    struct ir_mmu mmu;
    struct ir_tlb_entry *tlb[IR_TLB_MODES]; /* of code of machines: 1 << IR_TLB_BITS entries each */
    const void *const *helpers; /* functions by index of `helper` nodes */
    struct ir_jump *jumps;      /* 1 << IR_JUMP_BITS entries */
    struct fp_env *fp;          /* rounding, NaN rule and sticky flags; part of the guest state */

    /* Tell the host's unit about a new fp->round. Called by guests' helpers, set by the engine. */
    void (*fp_push)(struct ir_env *env);

    /* Private to the engine that runs the code. */
    u64 c_sp, ret_sp, ret_base;
    void (*c_call[IR_NCALLS])(struct ir_env *env);
    u32 host_fp, host_fp_c; /* floating point control words: guest code's, C's */
    u64 tmp[4];
    v128 helper_arg[IR_HELPER_ARGS];
    v128 helper_ret;
    v128 save[32]; /* registers across helper calls */
    v128 spill[IR_SPILLS];

    s32 heat[IR_HEAT_COUNTERS]; /* entries into code, counted down */
    u64 counted[IR_COUNTERS];   /* guest instructions that `count` nodes saw, by what the engine calls the region */

    void *cpu; /* the struct vcpu around it */
    alignas(64) u8 slots[];
};

/* The entry of the inline look-up for pc; instructions are aligned to 1 << align bytes. Higher bits count, too: the
 * functions of a library and the stubs that lead to them are often a multiple of the table's reach apart. */
static inline u32 ir_jump_index(u64 pc, unsigned align)
{
    u32 x = (u32)pc;
    return (x ^ x >> IR_JUMP_BITS) >> align & ((1u << IR_JUMP_BITS) - 1);
}

/* An address that belongs into another entry of the inline look-up than pc, for one that matches nothing. */
static inline u64 ir_jump_nowhere(u64 pc)
{
    return pc ^ 16;
}

/* Empty the inline look-up: no entry may match, so each holds an address that belongs elsewhere. Other threads may
 * take addresses away at the same time. */
static inline void ir_jumps_clear(struct ir_jump *jumps)
{
    for (unsigned i = 0; i < 1u << IR_JUMP_BITS; i++)
        __atomic_store_n(&jumps[i].pc, i ? 0 : ir_jump_nowhere(0), __ATOMIC_RELAXED);
}

/* An empty one, to be freed with free(). */
static inline struct ir_jump *ir_jumps_new(void)
{
    struct ir_jump *jumps = xcalloc((size_t)1 << IR_JUMP_BITS, sizeof(*jumps));
    jumps[0].pc = ir_jump_nowhere(0);
    return jumps;
}

/* Compiled code's base register points here. What a guest has in front are its first registers, which are pinned and so
 * seldom in memory: behind them a byte reaches as far as the flags. */
#define IR_ENV_BIAS 160

static inline void *env_slot(struct ir_env *env, u32 offset)
{
    return env->slots + offset;
}

#endif
