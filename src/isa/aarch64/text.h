/* The printers that templates in the *.isa tables name: <NAME:a,b> calls put_NAME(t, a, b). Private
 * to the disassembler. Register numbers are 0..31; sizes are log2 of bytes (0 b, 1 h, ... 4 q). */
#ifndef LYRE_ISA_AARCH64_TEXT_H
#define LYRE_ISA_AARCH64_TEXT_H

#include "isa/aarch64/decode.h"

/* Text under construction. `used` goes on counting when `buf` is full. */
struct a64_text {
    char *buf;
    size_t size, used;
    u64 pc;
};

/* By enum a64_id (entry 0 is NULL): writes the text of a word of that encoding. */
extern void (*const a64_texts[A64_INSNS])(struct a64_text *t, u32 i);

void put_text(struct a64_text *t, const char *s);

/* Numbers. */
void put_dec(struct a64_text *t, int v);
void put_hex(struct a64_text *t, u32 v);
void put_fpimm(struct a64_text *t, int imm8);
void put_bytemask(struct a64_text *t, int imm8);
void put_bitmask(struct a64_text *t, int sf, int n, int immr, int imms);
void put_movz(struct a64_text *t, int hw, int imm16);
void put_movn(struct a64_text *t, int sf, int hw, int imm16);
void put_rel(struct a64_text *t, s32 offset);
void put_page(struct a64_text *t, s32 pages);
void put_shr(struct a64_text *t, int imm);
void put_shl(struct a64_text *t, int imm);

/* Registers and lanes. */
void put_r(struct a64_text *t, int sf, int n);
void put_rsp(struct a64_text *t, int sf, int n);
void put_v(struct a64_text *t, int size);
void put_ftype(struct a64_text *t, int ftype);
void put_arr(struct a64_text *t, int size, int q);
void put_pair_h(struct a64_text *t, int q);
void put_elem(struct a64_text *t, int imm5);
void put_elem2(struct a64_text *t, int imm5, int imm4);
void put_list(struct a64_text *t, int first, int count, int size, int q);
void put_lane(struct a64_text *t, int first, int count, int size, int lane);
void put_lane_hlm(struct a64_text *t, int size, int hlm, int mrm);

/* Operands that may be absent bring their own comma. */
void put_shift(struct a64_text *t, int shift, int amount);
void put_lsl12(struct a64_text *t, int sh);
void put_shift_if(struct a64_text *t, int amount);
void put_lsl_if(struct a64_text *t, int amount);
void put_ext(struct a64_text *t, int sf, int rm, int option, int amount, int sp);
/* Write-back without offset. */
void put_bang(struct a64_text *t, int wb);
void put_post(struct a64_text *t, int post, int rm, int bytes);

/* Addresses: mode 1 is post-index, 3 pre-index, others without write-back. */
void put_mem(struct a64_text *t, int rn, int offset, int mode);
void put_memreg(struct a64_text *t, int rn, int rm, int option, int s, int size);

/* Names. */
void put_cond(struct a64_text *t, int cond);
void put_prfop(struct a64_text *t, int op);
void put_barrier(struct a64_text *t, int crm);
void put_barrier_nxs(struct a64_text *t, int crm);
void put_sysreg(struct a64_text *t, int reg, int write);
void put_sys(struct a64_text *t, int op, int rt);

/* Parts of mnemonics. */
void put_bhwx(struct a64_text *t, int size);
void put_bh(struct a64_text *t, int size);
void put_al(struct a64_text *t, int acquire, int release);
void put_a(struct a64_text *t, int acquire);
void put_l(struct a64_text *t, int release);
void put_two(struct a64_text *t, int q);
void put_stage(struct a64_text *t, int stage);
void put_mops(struct a64_text *t, int options);
void put_tn(struct a64_text *t, int options);
void put_g(struct a64_text *t, int tags);
void put_bt(struct a64_text *t, int top);

#endif
