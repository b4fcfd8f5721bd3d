/* The A64 instruction set as data: what an encoding is called, what it needs, what it does to the
 * flags and to control flow, and how it is written. Everything here is generated from the *.isa
 * tables; all functions are pure and may be called from any thread. */
#ifndef LYRE_ISA_AARCH64_DECODE_H
#define LYRE_ISA_AARCH64_DECODE_H

#include "cpu/insn.h"
#include "isa/aarch64/a64_tables.h"
#include "isa/aarch64/imm.h"

/* By enum a64_id; entry 0 (A64_UNDEFINED) stands for words that are not allocated. */
extern const struct insn a64_insns[A64_INSNS];

/* The architecture's name of a feature, such as "FEAT_LSE". */
extern const char *const a64_feature_names[A64_FEATURES];

/* The encoding of an instruction word; A64_UNDEFINED if it is not allocated. */
unsigned a64_decode_id(u32 insn);

/* The same as a record; NULL if it is not allocated. */
static inline const struct insn *a64_decode(u32 insn)
{
    unsigned id = a64_decode_id(insn);
    return id ? &a64_insns[id] : NULL;
}

/* Unpacks the fields of a word of encoding `id` and calls the lift function; false if that is 0,
 * marked `todo`, or rejected by its lift function. Features are for the caller to check. */
bool a64_lift_id(struct lift *l, u32 insn, unsigned id);

/* Writes the assembly text of an instruction at address pc, as GNU objdump does (mnemonic, tab,
 * operands; branch targets as plain addresses) and always terminates it. Returns the length that
 * the whole text has, as snprintf does. Unallocated words give ".inst 0x... ; undefined". */
int a64_disas(u32 insn, u64 pc, char *buf, size_t size);

/* A random word of the encoding `id`: fields are uniform among those that satisfy its constraints.
 * `rng` is any non-zero state and is advanced. */
u32 a64_random(unsigned id, u64 *rng);

#endif
