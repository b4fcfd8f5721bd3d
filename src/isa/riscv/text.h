/* The printers that templates in the *.isa tables name: <NAME:a,b> calls put_NAME(t, a, b). Private to the
 * disassembler. */
#ifndef LYRE_ISA_RISCV_TEXT_H
#define LYRE_ISA_RISCV_TEXT_H

#include "isa/riscv/decode.h"

/* By enum rv_id (entry 0 is NULL): writes the text of a word of that encoding. */
extern void (*const rv_texts[RV_INSNS])(struct insn_text *t, u32 i);

void put_xreg(struct insn_text *t, int n);
void put_freg(struct insn_text *t, int n);
void put_pcrel(struct insn_text *t, s32 offset);
void put_csr(struct insn_text *t, int csr);
void put_csrr(struct insn_text *t, int rd, int csr); /* a whole instruction: some have names of their own */
void put_rwset(struct insn_text *t, int set); /* what a fence orders */
void put_prefetch(struct insn_text *t, int imm);
void put_aqrl(struct insn_text *t, int aq, int rl);

/* A rounding mode with its comma, if it is not the usual one: that of frm; or, where the result is always
 * exact, 0. */
void put_rm(struct insn_text *t, int rm);
void put_rm_exact(struct insn_text *t, int rm);

void put_fli(struct insn_text *t, int value); /* a constant of Zfa */

#endif
