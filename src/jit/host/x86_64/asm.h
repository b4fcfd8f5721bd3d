/* The x86-64 assembler: a table of encodings and functions that put one instruction after another
 * into a buffer. Operand order is Intel's: destination first.
 *
 * A vector instruction of the table has the same opcode in its SSE and its VEX form; x64_v3() picks
 * the form by the host level and inserts the copy that the two-operand form needs. Those of AVX-512 are
 * EVEX forms of 128 bits, without masking. */
#ifndef LYRE_JIT_HOST_X86_64_ASM_H
#define LYRE_JIT_HOST_X86_64_ASM_H

#include "base/types.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

/* What the host's vector unit offers, each level with all below it. */
enum x64_level { X64_SSE42, X64_AVX2, X64_AVX512 };

enum x64_insn {
#define INSN(id, text, prefix, map, opcode, flags) X_##id,
#include "jit/host/x86_64/insns.def"
#undef INSN
    X64_NINSNS,
};

struct x64_insn_info {
    const char *text;
    u8 prefix; /* 0, 0x66, 0xf2, 0xf3 */
    u8 map;    /* 0: one byte, 1: 0f, 2: 0f 38, 3: 0f 3a */
    u8 opcode;
    u16 flags; /* XF_* */
};

enum {
    XF_W = 1 << 0,      /* REX.W or VEX.W by the width argument */
    XF_IMM8 = 1 << 1,   /* an 8-bit immediate follows */
    XF_BYTE = 1 << 2,   /* the register operands are bytes: spl.. need REX */
    XF_VEC = 1 << 3,    /* vector registers: x64_v*() */
    XF_VEX = 1 << 4,    /* exists only in VEX form */
    XF_TWO = 1 << 5,    /* two operands: VEX.vvvv is unused */
    XF_VEXW = 1 << 6,   /* VEX.W is 1 */
    XF_RMREG = 1 << 7,  /* the destination is the r/m operand (stores) */
    XF_GPR = 1 << 8,    /* one operand is a general register; for tests */
    XF_SSE = 1 << 9,    /* exists only in SSE form */
    XF_EVEX = 1 << 10,  /* exists only in EVEX form; W as for VEX */
    XF_KREG = 1 << 11,  /* the reg operand is a mask register; for tests */
    XF_KRM = 1 << 12,   /* the r/m operand is a mask register; for tests */
};

extern const struct x64_insn_info x64_insns[X64_NINSNS];

struct x64_asm {
    u8 *p, *end;      /* where bytes go */
    u8 *start;
    enum x64_level level;
    bool bmi2, lzcnt, f16c;
    bool overflow;    /* the buffer was too small: nothing more is written */
};

/* base + index * 2^scale + disp; base or index may be X64_NONE. X64_RIP: disp from the end of the
 * instruction. */
#define X64_NONE 0xff
#define X64_RIP  0xfe
struct x64_mem {
    u8 base, index, scale;
    s32 disp;
};

static inline struct x64_mem x64_at(unsigned base, s32 disp)
{
    return (struct x64_mem){(u8)base, X64_NONE, 0, disp};
}

/* Condition codes of jcc, setcc, cmovcc. */
enum x64_cc {
    XCC_O, XCC_NO, XCC_B, XCC_AE, XCC_E, XCC_NE, XCC_BE, XCC_A,
    XCC_S, XCC_NS, XCC_P, XCC_NP, XCC_L, XCC_GE, XCC_LE, XCC_G,
};

/* General instructions. `wide`: 64 bits. */
void x64_rr(struct x64_asm *a, enum x64_insn x, bool wide, unsigned reg, unsigned rm);
void x64_rm(struct x64_asm *a, enum x64_insn x, bool wide, unsigned reg, struct x64_mem m);
void x64_rri(struct x64_asm *a, enum x64_insn x, bool wide, unsigned reg, unsigned rm, u8 imm);

/* An instruction that is not in the table, with a memory operand; reg may be an opcode extension. */
void x64_insn_mem(struct x64_asm *a, const struct x64_insn_info *x, unsigned reg, struct x64_mem m);
void x64_insn_mem_wide(struct x64_asm *a, const struct x64_insn_info *x, unsigned reg,
                       struct x64_mem m);

/* The eight arithmetic operations: reg/mem op= reg/imm. */
enum x64_alu { XALU_ADD, XALU_OR, XALU_ADC, XALU_SBB, XALU_AND, XALU_SUB, XALU_XOR, XALU_CMP };
void x64_alu_rr(struct x64_asm *a, enum x64_alu op, bool wide, unsigned dst, unsigned src);
void x64_alu_ri(struct x64_asm *a, enum x64_alu op, bool wide, unsigned dst, s32 imm);
void x64_alu_mi(struct x64_asm *a, enum x64_alu op, bool wide, struct x64_mem m, s32 imm);
void x64_alu_rm(struct x64_asm *a, enum x64_alu op, bool wide, unsigned dst, struct x64_mem m);

enum x64_shift { XSH_ROL, XSH_ROR, XSH_SHL = 4, XSH_SHR, XSH_SAR = 7 };
void x64_shift_ri(struct x64_asm *a, enum x64_shift op, bool wide, unsigned dst, u8 imm);
void x64_shift_cl(struct x64_asm *a, enum x64_shift op, bool wide, unsigned dst);

/* One-operand group f7: not, neg, mul, imul, div, idiv. */
enum x64_unary { XU_NOT = 2, XU_NEG, XU_MUL, XU_IMUL, XU_DIV, XU_IDIV };
void x64_unary(struct x64_asm *a, enum x64_unary op, bool wide, unsigned reg);

/* Moves never touch the flags. */
void x64_mov(struct x64_asm *a, unsigned dst, unsigned src);
void x64_mov32(struct x64_asm *a, unsigned dst, unsigned src);
void x64_mov_ri(struct x64_asm *a, unsigned dst, u64 imm);
void x64_mov_mi(struct x64_asm *a, bool wide, struct x64_mem m, s32 imm);
void x64_load(struct x64_asm *a, bool wide, unsigned dst, struct x64_mem m);
void x64_store(struct x64_asm *a, bool wide, struct x64_mem m, unsigned src);
void x64_lea(struct x64_asm *a, bool wide, unsigned dst, struct x64_mem m);
void x64_test_rr(struct x64_asm *a, bool wide, unsigned x, unsigned y);
void x64_test_ri(struct x64_asm *a, bool wide, unsigned x, s32 imm);
void x64_bt_ri(struct x64_asm *a, bool wide, unsigned x, u8 bit);
void x64_setcc(struct x64_asm *a, enum x64_cc cc, unsigned dst); /* the low byte only */
void x64_cmov(struct x64_asm *a, enum x64_cc cc, bool wide, unsigned dst, unsigned src);

/* BMI2: shlx and friends (dst = src shifted by count), mulx (hi:lo = rdx * src). */
void x64_bmi_shift(struct x64_asm *a, enum x64_insn x, bool wide, unsigned dst, unsigned src,
                   unsigned count);
void x64_vex3(struct x64_asm *a, enum x64_insn x, bool wide, unsigned reg, unsigned vvvv,
              unsigned rm);

/* Vector instructions; registers are 0..15. */
void x64_v3(struct x64_asm *a, enum x64_insn x, unsigned dst, unsigned s1, unsigned s2);
void x64_v3i(struct x64_asm *a, enum x64_insn x, unsigned dst, unsigned s1, unsigned s2, u8 imm);
void x64_v3m(struct x64_asm *a, enum x64_insn x, unsigned dst, unsigned s1, struct x64_mem m);
void x64_v2(struct x64_asm *a, enum x64_insn x, unsigned reg, unsigned rm);
void x64_v2i(struct x64_asm *a, enum x64_insn x, unsigned reg, unsigned rm, u8 imm);
void x64_v2m(struct x64_asm *a, enum x64_insn x, unsigned reg, struct x64_mem m);
void x64_v2mi(struct x64_asm *a, enum x64_insn x, unsigned reg, struct x64_mem m, u8 imm);
/* Between vector and general registers, with the general register's width. */
void x64_vg(struct x64_asm *a, enum x64_insn x, bool wide, unsigned reg, unsigned rm);
void x64_v3g(struct x64_asm *a, enum x64_insn x, bool wide, unsigned dst, unsigned s1, unsigned gpr);
/* Shift by immediate: the group forms (digit in reg). */
void x64_vshift(struct x64_asm *a, enum x64_insn x, unsigned digit, unsigned dst, unsigned src,
                u8 imm);
void x64_vmov(struct x64_asm *a, unsigned dst, unsigned src);

/* Jumps. Those with a 32-bit displacement return its place, for x64_patch(); `line` keeps the
 * displacement inside one cache line, so that it can be patched while others run the code. */
u8 *x64_jcc(struct x64_asm *a, enum x64_cc cc, bool line);
/* To less than 126 bytes before. */
void x64_jcc_back(struct x64_asm *a, enum x64_cc cc, const u8 *target);
/* Pad for an instruction of so many bytes that does not cross a cache line. */
void x64_keep_in_line(struct x64_asm *a, unsigned bytes);
u8 *x64_jmp(struct x64_asm *a, bool line);
u8 *x64_call(struct x64_asm *a, bool line);
void x64_jmp_to(struct x64_asm *a, const void *target_rx, ptrdiff_t rx_minus_rw);
void x64_jmp_mem(struct x64_asm *a, struct x64_mem m);
void x64_call_mem(struct x64_asm *a, struct x64_mem m);
void x64_jmp_reg(struct x64_asm *a, unsigned reg);
void x64_patch(u8 *rel32, const u8 *target);
void x64_ret(struct x64_asm *a);
#define X64_UD2_BYTES  2
#define X64_CALL_BYTES 5
#define X64_MOV_WIDE_BYTES 10 /* with a constant of 64 bits at its end */
#define X64_OP_CALL    0xe8
#define X64_OP_JMP     0xe9
void x64_ud2(struct x64_asm *a);
static inline void x64_byte(struct x64_asm *a, u8 b)
{
    if (a->p < a->end)
        *a->p++ = b;
    else
        a->overflow = true;
}

void x64_u32(struct x64_asm *a, u32 v);
void x64_u64(struct x64_asm *a, u64 v);
void x64_nops(struct x64_asm *a, unsigned n);

#endif
