/* The slots of a guest's CPU state, as the IR sees them: named, typed pieces of memory at fixed
 * offsets. A guest's register table is the one list of them. */
#ifndef LYRE_JIT_IR_SLOTS_H
#define LYRE_JIT_IR_SLOTS_H

#include "base/types.h"

enum ir_type {
    IR_VOID,
    IR_I1,
    IR_I32,
    IR_I64,
    IR_F16,
    IR_F32,
    IR_F64,
    IR_V64,
    IR_V128,
    IR_FL, /* the result flags of an operation; opaque, see fl.h */
    IR_NTYPES,
};

struct ir_slot {
    const char *name;
    u8 type;     /* enum ir_type; IR_FL slots are a struct ir_flags in memory */
    u16 offset;  /* bytes from the start of the guest state */
    s8 pin;      /* n: the nth general or vector register that is pinned at region boundaries; -1 */
};

/* A guest's slots. Indexes fit in 8 bits, so that state maps stay small. */
struct ir_slots {
    const struct ir_slot *slot;
    u16 count;
    u16 pc;         /* the slot of the program counter (IR_I64) */
    u32 size;       /* bytes of guest state, without padding for alignment */
    u16 flags;      /* the slot of type fl whose sites may be of slots that are stepped (IR_SITE); 0: none */
};

#define IR_MAX_SLOTS 256

#endif
