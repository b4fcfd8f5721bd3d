/* The printers that templates in the *.isa tables name: <NAME:a,b> calls put_NAME(t, a, b). Private
 * to the disassembler. Register numbers are 0..31; sizes are log2 of bytes (0 b, 1 h, ... 4 q). */
#ifndef LYRE_ISA_AARCH64_TEXT_H
#define LYRE_ISA_AARCH64_TEXT_H

#include "isa/aarch64/decode.h"

/* By enum a64_id (entry 0 is NULL): writes the text of a word of that encoding. */
extern void (*const a64_texts[A64_INSNS])(struct insn_text *t, u32 i);

/* Numbers. */
void put_fpimm(struct insn_text *t, int imm8);
void put_bytemask(struct insn_text *t, int imm8);
void put_bitmask(struct insn_text *t, int sf, int n, int immr, int imms);
void put_movz(struct insn_text *t, int hw, int imm16);
void put_movn(struct insn_text *t, int sf, int hw, int imm16);
void put_rel(struct insn_text *t, s32 offset);
void put_page(struct insn_text *t, s32 pages);
void put_shr(struct insn_text *t, int imm);
void put_shl(struct insn_text *t, int imm);

/* Registers and lanes. */
void put_r(struct insn_text *t, int sf, int n);
void put_rsp(struct insn_text *t, int sf, int n);
void put_v(struct insn_text *t, int size);
void put_ftype(struct insn_text *t, int ftype);
void put_arr(struct insn_text *t, int size, int q);
void put_pair_h(struct insn_text *t, int q);
void put_elem(struct insn_text *t, int imm5);
void put_elem2(struct insn_text *t, int imm5, int imm4);
void put_list(struct insn_text *t, int first, int count, int size, int q);
void put_lane(struct insn_text *t, int first, int count, int size, int lane);
void put_lane_hlm(struct insn_text *t, int size, int hlm, int mrm);

/* Operands that may be absent bring their own comma. */
void put_shift(struct insn_text *t, int shift, int amount);
void put_lsl12(struct insn_text *t, int sh);
void put_shift_if(struct insn_text *t, int amount);
void put_lsl_if(struct insn_text *t, int amount);
void put_ext(struct insn_text *t, int sf, int rm, int option, int amount, int sp);
/* Write-back without offset. */
void put_bang(struct insn_text *t, int wb);
void put_post(struct insn_text *t, int post, int rm, int bytes);

/* Addresses: mode 1 is post-index, 3 pre-index, others without write-back. */
void put_mem(struct insn_text *t, int rn, int offset, int mode);
void put_memreg(struct insn_text *t, int rn, int rm, int option, int s, int size);

/* Names. */
void put_cond(struct insn_text *t, int cond);
void put_prfop(struct insn_text *t, int op);
void put_barrier(struct insn_text *t, int crm);
void put_barrier_nxs(struct insn_text *t, int crm);
void put_sysreg(struct insn_text *t, int reg, int write);
void put_sys(struct insn_text *t, int op, int rt);

/* Parts of mnemonics. */
void put_bhwx(struct insn_text *t, int size);
void put_bh(struct insn_text *t, int size);
void put_al(struct insn_text *t, int acquire, int release);
void put_a(struct insn_text *t, int acquire);
void put_l(struct insn_text *t, int release);
void put_two(struct insn_text *t, int q);
void put_stage(struct insn_text *t, int stage);
void put_mops(struct insn_text *t, int options);
void put_tn(struct insn_text *t, int options);
void put_g(struct insn_text *t, int tags);
void put_bt(struct insn_text *t, int top);

#endif
