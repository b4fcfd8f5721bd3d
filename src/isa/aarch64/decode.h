/* The A64 instruction set as data: what an encoding is called, what it needs, what it does to the
 * flags and to control flow, and how it is written. Everything here is generated from the *.isa
 * tables; all functions are pure and may be called from any thread. */
#ifndef LYRE_ISA_AARCH64_DECODE_H
#define LYRE_ISA_AARCH64_DECODE_H

#include "isa/aarch64/a64_tables.h"

/* What an instruction may do beyond reading and writing registers. One that writes NZCV in part or
 * only in some cases (MSR, RMIF, SETF8) counts as reading it too, so whoever looks for the
 * instruction that kills the flags asks first whether they are read. */
enum a64_effects {
    A64_READS_FLAGS = 1 << 0,  /* NZCV */
    A64_WRITES_FLAGS = 1 << 1, /* NZCV */
    A64_LOADS = 1 << 2,        /* reads memory: may fault */
    A64_STORES = 1 << 3,       /* writes memory: may fault */
    A64_ENDS_BLOCK = 1 << 4,   /* may branch, trap or change the translation context */
    A64_USES_FPSR = 1 << 5,    /* depends on FPCR and may set flags in FPSR */
    A64_TODO = 1 << 6,         /* known, but there is no lift function yet */
    A64_NODIFF = 1 << 7,       /* not for the random differential test */
};

/* One encoding: a line of the tables. */
struct a64_insn {
    const char *name; /* unique; the mnemonic plus the form, such as "add_imm" */
    u32 mask, value;  /* (insn & mask) == value for all its words */
    u16 id;           /* enum a64_id */
    u16 effects;      /* enum a64_effects, or-ed */
    u16 feature;      /* enum a64_feature; undefined on a CPU without it */
};

/* By enum a64_id; entry 0 (A64_UNDEFINED) stands for words that are not allocated. */
extern const struct a64_insn a64_insns[A64_INSNS];

/* The architecture's name of a feature, such as "FEAT_LSE". */
extern const char *const a64_feature_names[A64_FEATURES];

/* The encoding of an instruction word; A64_UNDEFINED if it is not allocated. */
unsigned a64_decode_id(u32 insn);

/* The same as a record; NULL if it is not allocated. */
static inline const struct a64_insn *a64_decode(u32 insn)
{
    unsigned id = a64_decode_id(insn);
    return id ? &a64_insns[id] : NULL;
}

/* Decodes, unpacks the fields and calls the lift function; false if the instruction is undefined,
 * marked `todo`, or rejected by its lift function. Features are for the caller to check.
 * a64_lift_id() is for callers that have the id already. */
bool a64_lift(struct lift *l, u32 insn);
bool a64_lift_id(struct lift *l, u32 insn, unsigned id);

/* Writes the assembly text of an instruction at address pc, as GNU objdump does (mnemonic, tab,
 * operands; branch targets as plain addresses) and always terminates it. Returns the length that
 * the whole text has, as snprintf does. Unallocated words give ".inst 0x... ; undefined". */
int a64_disas(u32 insn, u64 pc, char *buf, size_t size);

/* A random word of the encoding `id`: fields are uniform among those that satisfy its constraints.
 * `rng` is any non-zero state and is advanced. */
u32 a64_random(unsigned id, u64 *rng);

#endif
