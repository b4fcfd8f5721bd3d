/* The RISC-V instruction set as data. Everything here is generated from the *.isa tables; all functions are
 * pure and may be called from any thread. */
#ifndef LYRE_ISA_RISCV_DECODE_H
#define LYRE_ISA_RISCV_DECODE_H

#include "cpu/insn.h"
#include "isa/riscv/rv_tables.h"

/* By enum rv_id; entry 0 (RV_UNDEFINED) stands for words that are not allocated. */
extern const struct insn rv_insns[RV_INSNS];

/* The manual's name of an extension, such as "Zba". */
extern const char *const rv_feature_names[RV_FEATURES];

/* By struct insn.feature. */
extern const struct insn_needs rv_needs[];

/* The low bits of an instruction's first half say how long it is (vol. I, 1.5). */
static inline unsigned rv_insn_bytes(u16 first)
{
    return (first & 3) == 3 ? 4 : 2;
}

/* The encoding of an instruction on a CPU that has `features` (a set of enum rv_feature); RV_UNDEFINED if it
 * has none. Of an instruction of 16 bits, the others of the word are ignored. */
unsigned rv_decode_id(u32 insn, u64 features);

/* Unpacks the fields of a word of encoding `id` and calls the lift function; false if that is 0, marked
 * `todo`, or rejected by its lift function. */
bool rv_lift_id(struct lift *l, u32 insn, unsigned id);

/* Writes the assembly text of an instruction at address pc, as GNU objdump does (mnemonic, tab, operands;
 * branch targets as plain addresses) and always terminates it. Returns the length that the whole text has, as
 * snprintf does. Unallocated words give ".insn". */
int rv_disas(u32 insn, u64 features, u64 pc, char *buf, size_t size);

/* A random word of the encoding `id` on a CPU with `features`, which it needs: fields are uniform among those
 * that satisfy its constraints. `rng` is any non-zero state and is advanced. */
u32 rv_random(unsigned id, u64 features, u64 *rng);

#endif
