/* Register allocation: what the allocator (local.c: one cheap forward walk per block) says and what
 * back ends and the checker (check.c) read.
 *
 * Where values are at a region's boundaries is fixed: pinned slots in their registers, all others in
 * memory. Those places are the slots' homes. Inside, the allocator may put anything anywhere; at each
 * point where control can leave, a list of locations says where the slots are that are not at home.
 *
 * A by_state region has homes of its own on top (homes.c): the slots that a loop uses most are in registers
 * at the start of each of its blocks. What leads into or out of the loop moves them. */
#ifndef LYRE_JIT_RA_RA_H
#define LYRE_JIT_RA_RA_H

#include "base/err.h"
#include "jit/ir/ir.h"

#define RA_REGS      32 /* 0..15 general, 16..31 vector */
#define RA_VEC       16 /* the first vector register */
#define RA_NOREG     0xff
#define RA_IMM       0xfe /* an operand that stays a constant of the IR */
#define RA_MAX_SRC   5
#define RA_MAX_TMP   4
#define RA_MAX_PINS  32

/* What a host wants for one node. */
struct ra_con {
    irv src[RA_MAX_SRC]; /* values to be found in registers */
    u8 nsrc;
    u8 imm;              /* bit k: src[k] is a constant that the host encodes itself */
    u8 apart;            /* bit k: the result must not share src[k]'s register */
    u8 out_class;        /* 0 none, 1 general, 2 vector */
    u8 out;              /* a fixed result register, or RA_NOREG */
    u8 ntmp[2];          /* temporaries, general and vector */
    u32 clobber;         /* registers whose values must be elsewhere */
    bool sunk;           /* not made here: each user makes it again from its operands */
    irv fused[2];        /* comparisons that this node makes itself */
};

struct ra_host {
    const void *opaque; /* for constrain */
    u32 allocatable;    /* registers that may hold values, pinned ones among them */
    u32 scratch;        /* those of them that are never a slot's home */
    u8 npins[2];
    u8 pin[2][RA_MAX_PINS]; /* register of the nth pinned general and vector slot */
    u8 target;              /* where indirect exits want the guest pc, and raises their argument */
    /* `needed`: some user wants the value in a register. block_first: values before it cannot be
     * made again. */
    void (*constrain)(const void *opaque, const struct ir_region *r, irv v, bool needed,
                      irv block_first, struct ra_con *con);
};

enum ra_kind {
    RA_OP,        /* node v: dst, src[], tmp[] */
    RA_COND,      /* the comparison of terminator v; what follows until it keeps the flags */
    RA_MOVE,      /* dst = src[0] */
    RA_SWAP,      /* exchange dst and src[0] */
    RA_LOAD,      /* dst = memory at loc */
    RA_STORE,     /* memory at loc = src[0] */
    RA_CONST,     /* dst = constant v */
    RA_STORE_IMM, /* memory at loc = constant v */
    RA_STORE_FL,  /* flags slot at loc = recipe v with operands src[] (RA_IMM: constants) */
    RA_BLOCK,     /* block v starts */
    RA_SIDE,      /* jump to what follows, up to RA_SIDE_END, if the condition of v holds */
    RA_SIDE_END,  /* go to v's pc: to block loc.index - 1, or out of the region if that is 0; the next one
                   * goes on from where RA_SIDE stood */
    RA_EDGE,      /* the code of edge v starts (b: taken when true) */
    RA_JUMP,      /* to block loc.index; v: the exit that leads there, 0 behind entries, returns and edges */
};

typedef u64 ra_slot_set[IR_MAX_SLOTS / 64];

/* Where each slot is kept: a register, or RA_NOREG for memory; and the slots with registers. */
struct ra_homes {
    u8 reg[IR_MAX_SLOTS];
    u16 slot[RA_REGS];
    u16 at[RA_REGS]; /* the slot whose home the register is */
    u32 count;
    u32 mask; /* of the registers */
    ra_slot_set apart; /* slots that have other homes at entries and exits of the region */
};

/* Locations in memory and in state lists. */
enum ra_place {
    RA_IN_REG,   /* index: register */
    RA_IN_SLOT,  /* index: slot */
    RA_IN_SPILL, /* index: spill */
    RA_IN_IMM,   /* index: a constant node */
    RA_IN_FL,    /* index: an fl node, to be made from the operands of its recipe */
    RA_STEP,     /* no place: index, a signed number, is what the block has added to the slot */
};

struct ra_loc {
    u32 place : 3, index : 29;
};

#define RA_MAX_STEP (1 << 27) /* less than that in a RA_STEP */

static inline s32 ra_step(struct ra_loc at)
{
    return (s32)((u32)at.index << 3) >> 3;
}

struct ra_ins {
    u8 kind, dst, type;
    u8 src[RA_MAX_SRC];
    u8 tmp[RA_MAX_TMP];
    irv v;
    struct ra_loc loc;
    u32 state; /* index + 1 into states, for nodes that may leave in their middle */
};

/* Where one slot is. */
struct ra_where {
    u32 slot;
    struct ra_loc at;
    struct ra_loc arg[IR_RECIPE_ARGS]; /* of a recipe */
};

struct ra_state {
    u32 map; /* of the IR: its pc */
    u32 first, count;
};

struct ra_value {
    u32 next;       /* node of the next use; 0: none */
    u32 state_last; /* last node whose state includes it */
    u32 fused;      /* a comparison that users make themselves: the first of them */
    u16 spill;      /* number + 1 of its spill */
    u16 slot;       /* slot + 1 that it was last put into */
    u8 reg;
    u8 hint;        /* register that is the home of a slot that it is put into */
    bool needed;    /* has a user that wants it in a register */
    bool cross;     /* used in another block */
};

struct ra_use {
    struct ra_con con;
    u32 next[RA_MAX_SRC]; /* next use of each operand after this node */
    u32 prev_leave;       /* the node before this one that may leave */
};

/* A compilation's allocation, and the workspace for it; memory is kept between uses. */
struct ra {
    const struct ir_region *r;
    const struct ra_host *host;
    const struct ir_helper *helpers;

    struct ra_ins *ins;
    u32 nins, ins_cap;
    struct ra_state *state;
    u32 nstates, state_cap;
    struct ra_where *where;
    u32 nwhere, where_cap;
    u32 nspills;

    struct ra_homes outer;  /* at entries and exits of the region */
    const struct ir_slots *outer_slots; /* what they were made for */
    const struct ra_host *outer_host;
    struct ra_homes *inner; /* of its parts */
    u32 inner_cap;
    struct ra_block {
        u32 homes;          /* index into inner */
        bool heads;         /* a loop */
        ra_slot_set clean;  /* slots in registers whose memory is as good at the block's start */
    } *block;               /* of a by_state region */
    u32 block_cap;

    struct ra_value *value; /* by irv */
    struct ra_use *use;     /* by node */
    u32 value_cap;
    void *work;
};

/* Choose the homes of a region's slots (homes.c). */
void ra_choose_homes(struct ra *ra);

void ra_init(struct ra *ra);
void ra_free(struct ra *ra);

/* Allocate. Fails only when the spill area is too small for the region. */
bool ra_local(struct ra *ra, const struct ir_region *r, const struct ra_host *host,
              const struct ir_helper *helpers);

/* Replay an allocation symbolically: each operand holds the value that the IR names, each slot is at
 * each exit where the state says. False with the first difference. */
bool ra_check(const struct ra *ra, struct err *e);

/* Where slots are at the start of a block. */
static inline const struct ra_homes *ra_homes_of(const struct ra *ra, u32 block)
{
    return ra->r->by_state ? &ra->inner[ra->block[block].homes] : &ra->outer;
}

static inline bool ra_in_set(const ra_slot_set set, unsigned slot)
{
    return set[slot / 64] >> (slot & 63) & 1;
}

static inline void ra_add_to_set(ra_slot_set set, unsigned slot)
{
    set[slot / 64] |= 1ull << (slot & 63);
}

/* 0 for general registers, 1 for vector registers. */
static inline unsigned ra_class_of_type(unsigned type)
{
    return ir_type_is_vec(type);
}

#endif
