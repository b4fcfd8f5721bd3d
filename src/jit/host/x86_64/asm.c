#include "jit/host/x86_64/asm.h"

#include <string.h>

const struct x64_insn_info x64_insns[X64_NINSNS] = {
#define INSN(id, text, prefix, map, opcode, flags) {text, prefix, map, opcode, flags},
#include "jit/host/x86_64/insns.def"
#undef INSN
};

void x64_u32(struct x64_asm *a, u32 v)
{
    if (a->end - a->p < (ptrdiff_t)sizeof(v)) {
        a->overflow = true;
        a->p = a->end;
        return;
    }
    memcpy(a->p, &v, sizeof(v));
    a->p += sizeof(v);
}

void x64_u64(struct x64_asm *a, u64 v)
{
    x64_u32(a, (u32)v);
    x64_u32(a, (u32)(v >> 32));
}

/* The register numbers whose high bits go into REX or VEX. */
struct ext {
    unsigned reg, index, base;
};

static void rex(struct x64_asm *a, bool w, struct ext e, bool force)
{
    u8 b = (u8)(0x40 | w << 3 | (e.reg >> 3 & 1) << 2 | (e.index >> 3 & 1) << 1 | (e.base >> 3 & 1));
    if (b != 0x40 || force)
        x64_byte(a, b);
}

static void legacy_opcode(struct x64_asm *a, const struct x64_insn_info *x, bool w, struct ext e,
                          bool force_rex)
{
    if (x->prefix)
        x64_byte(a, x->prefix);
    rex(a, w, e, force_rex);
    if (x->map)
        x64_byte(a, 0x0f);
    if (x->map >= 2)
        x64_byte(a, x->map == 2 ? 0x38 : 0x3a);
    x64_byte(a, x->opcode);
}

static void vex_opcode(struct x64_asm *a, const struct x64_insn_info *x, bool w, struct ext e,
                       unsigned vvvv)
{
    u8 pp = x->prefix == 0x66 ? 1 : x->prefix == 0xf3 ? 2 : x->prefix == 0xf2 ? 3 : 0;
    u8 r = (u8)(~(e.reg >> 3) & 1), xb = (u8)(~(e.index >> 3) & 1), b = (u8)(~(e.base >> 3) & 1);
    u8 v = (u8)(~vvvv & 15);
    if (x->map == 1 && !w && xb && b) {
        x64_byte(a, 0xc5);
        x64_byte(a, (u8)(r << 7 | v << 3 | pp));
    } else {
        x64_byte(a, 0xc4);
        x64_byte(a, (u8)(r << 7 | xb << 6 | b << 5 | x->map));
        x64_byte(a, (u8)(w << 7 | v << 3 | pp));
    }
    x64_byte(a, x->opcode);
}

/* 128 bits wide, no masking, registers below 16. */
static void evex_opcode(struct x64_asm *a, const struct x64_insn_info *x, bool w, struct ext e,
                        unsigned vvvv)
{
    u8 pp = x->prefix == 0x66 ? 1 : x->prefix == 0xf3 ? 2 : x->prefix == 0xf2 ? 3 : 0;
    u8 r = (u8)(~(e.reg >> 3) & 1), xb = (u8)(~(e.index >> 3) & 1), b = (u8)(~(e.base >> 3) & 1);
    x64_byte(a, 0x62);
    x64_byte(a, (u8)(r << 7 | xb << 6 | b << 5 | 1 << 4 | x->map));
    x64_byte(a, (u8)(w << 7 | (~vvvv & 15) << 3 | 1 << 2 | pp));
    x64_byte(a, 1 << 3);
    x64_byte(a, x->opcode);
}

static void modrm_reg(struct x64_asm *a, unsigned reg, unsigned rm)
{
    x64_byte(a, (u8)(0xc0 | (reg & 7) << 3 | (rm & 7)));
}

/* disp8: displacements of one byte mean what they say (EVEX scales them). */
static void modrm_mem_disp(struct x64_asm *a, unsigned reg, struct x64_mem m, bool disp8)
{
    u8 r = (u8)((reg & 7) << 3);
    if (m.base == X64_RIP) {
        x64_byte(a, r | 5);
        x64_u32(a, (u32)m.disp);
        return;
    }
    bool none = m.base == X64_NONE;
    bool sib = none || m.index != X64_NONE || (m.base & 7) == RSP;
    u8 mod;
    if (none || (!m.disp && (m.base & 7) != RBP))
        mod = 0;
    else
        mod = disp8 && m.disp == (s8)m.disp ? 1 : 2;
    x64_byte(a, (u8)(mod << 6 | r | (sib ? 4 : m.base & 7)));
    if (sib) {
        u8 index = m.index == X64_NONE ? 4 : m.index & 7;
        x64_byte(a, (u8)(m.scale << 6 | index << 3 | (none ? 5 : m.base & 7)));
    }
    if (mod == 1)
        x64_byte(a, (u8)m.disp);
    else if (mod == 2 || none)
        x64_u32(a, (u32)m.disp);
}

static void modrm_mem(struct x64_asm *a, unsigned reg, struct x64_mem m)
{
    modrm_mem_disp(a, reg, m, true);
}

static struct ext mem_ext(unsigned reg, struct x64_mem m)
{
    return (struct ext){reg, m.index == X64_NONE ? 0 : m.index,
                        m.base == X64_NONE || m.base == X64_RIP ? 0 : m.base};
}

/* spl, bpl, sil and dil exist only with a REX prefix. */
static bool byte_rex(const struct x64_insn_info *x, unsigned reg)
{
    return (x->flags & XF_BYTE) && reg >= RSP && reg <= RDI;
}

void x64_rr(struct x64_asm *a, enum x64_insn id, bool wide, unsigned reg, unsigned rm)
{
    const struct x64_insn_info *x = &x64_insns[id];
    unsigned byte = x->flags & XF_RMREG ? reg : rm;
    legacy_opcode(a, x, wide, (struct ext){reg, 0, rm},
                  byte_rex(x, byte) || byte_rex(x, rm));
    modrm_reg(a, reg, rm);
}

void x64_rri(struct x64_asm *a, enum x64_insn id, bool wide, unsigned reg, unsigned rm, u8 imm)
{
    const struct x64_insn_info *x = &x64_insns[id];
    if (x->flags & XF_VEX) {
        vex_opcode(a, x, wide, (struct ext){reg, 0, rm}, 0);
        modrm_reg(a, reg, rm);
    } else {
        x64_rr(a, id, wide, reg, rm);
    }
    x64_byte(a, imm);
}

void x64_rm(struct x64_asm *a, enum x64_insn id, bool wide, unsigned reg, struct x64_mem m)
{
    const struct x64_insn_info *x = &x64_insns[id];
    legacy_opcode(a, x, wide, mem_ext(reg, m), (x->flags & XF_RMREG) && byte_rex(x, reg));
    modrm_mem(a, reg, m);
}

void x64_insn_mem(struct x64_asm *a, const struct x64_insn_info *x, unsigned reg, struct x64_mem m)
{
    legacy_opcode(a, x, false, mem_ext(reg, m), false);
    modrm_mem(a, reg, m);
}

void x64_insn_mem_wide(struct x64_asm *a, const struct x64_insn_info *x, unsigned reg,
                       struct x64_mem m)
{
    legacy_opcode(a, x, true, mem_ext(reg, m), false);
    modrm_mem(a, reg, m);
}

void x64_alu_rr(struct x64_asm *a, enum x64_alu op, bool wide, unsigned dst, unsigned src)
{
    rex(a, wide, (struct ext){dst, 0, src}, false);
    x64_byte(a, (u8)(op << 3 | 3));
    modrm_reg(a, dst, src);
}

void x64_alu_rm(struct x64_asm *a, enum x64_alu op, bool wide, unsigned dst, struct x64_mem m)
{
    rex(a, wide, mem_ext(dst, m), false);
    x64_byte(a, (u8)(op << 3 | 3));
    modrm_mem(a, dst, m);
}

void x64_alu_ri(struct x64_asm *a, enum x64_alu op, bool wide, unsigned dst, s32 imm)
{
    bool small = imm == (s8)imm;
    rex(a, wide, (struct ext){0, 0, dst}, false);
    x64_byte(a, small ? 0x83 : 0x81);
    modrm_reg(a, op, dst);
    if (small)
        x64_byte(a, (u8)imm);
    else
        x64_u32(a, (u32)imm);
}

void x64_alu_mi(struct x64_asm *a, enum x64_alu op, bool wide, struct x64_mem m, s32 imm)
{
    bool small = imm == (s8)imm;
    rex(a, wide, mem_ext(0, m), false);
    x64_byte(a, small ? 0x83 : 0x81);
    modrm_mem(a, op, m);
    if (small)
        x64_byte(a, (u8)imm);
    else
        x64_u32(a, (u32)imm);
}

void x64_shift_ri(struct x64_asm *a, enum x64_shift op, bool wide, unsigned dst, u8 imm)
{
    rex(a, wide, (struct ext){0, 0, dst}, false);
    x64_byte(a, 0xc1);
    modrm_reg(a, op, dst);
    x64_byte(a, imm);
}

void x64_shift_cl(struct x64_asm *a, enum x64_shift op, bool wide, unsigned dst)
{
    rex(a, wide, (struct ext){0, 0, dst}, false);
    x64_byte(a, 0xd3);
    modrm_reg(a, op, dst);
}

void x64_unary(struct x64_asm *a, enum x64_unary op, bool wide, unsigned reg)
{
    rex(a, wide, (struct ext){0, 0, reg}, false);
    x64_byte(a, 0xf7);
    modrm_reg(a, op, reg);
}

void x64_mov(struct x64_asm *a, unsigned dst, unsigned src)
{
    if (dst != src)
        x64_rr(a, X_MOV_RM, true, dst, src);
}

void x64_mov32(struct x64_asm *a, unsigned dst, unsigned src)
{
    x64_rr(a, X_MOV_RM, false, dst, src);
}

void x64_mov_ri(struct x64_asm *a, unsigned dst, u64 imm)
{
    if (imm == (u32)imm) {
        rex(a, false, (struct ext){0, 0, dst}, false);
        x64_byte(a, (u8)(0xb8 | (dst & 7)));
        x64_u32(a, (u32)imm);
    } else if ((s64)imm == (s32)imm) {
        rex(a, true, (struct ext){0, 0, dst}, false);
        x64_byte(a, 0xc7);
        modrm_reg(a, 0, dst);
        x64_u32(a, (u32)imm);
    } else {
        rex(a, true, (struct ext){0, 0, dst}, false);
        x64_byte(a, (u8)(0xb8 | (dst & 7)));
        x64_u64(a, imm);
    }
}

void x64_mov_mi(struct x64_asm *a, bool wide, struct x64_mem m, s32 imm)
{
    rex(a, wide, mem_ext(0, m), false);
    x64_byte(a, 0xc7);
    modrm_mem(a, 0, m);
    x64_u32(a, (u32)imm);
}

void x64_load(struct x64_asm *a, bool wide, unsigned dst, struct x64_mem m)
{
    x64_rm(a, X_MOV_RM, wide, dst, m);
}

void x64_store(struct x64_asm *a, bool wide, struct x64_mem m, unsigned src)
{
    x64_rm(a, X_MOV_MR, wide, src, m);
}

void x64_lea(struct x64_asm *a, bool wide, unsigned dst, struct x64_mem m)
{
    x64_rm(a, X_LEA, wide, dst, m);
}

void x64_test_rr(struct x64_asm *a, bool wide, unsigned x, unsigned y)
{
    x64_rr(a, X_TEST, wide, y, x);
}

void x64_test_ri(struct x64_asm *a, bool wide, unsigned x, s32 imm)
{
    rex(a, wide, (struct ext){0, 0, x}, false);
    x64_byte(a, 0xf7);
    modrm_reg(a, 0, x);
    x64_u32(a, (u32)imm);
}

void x64_bt_ri(struct x64_asm *a, bool wide, unsigned x, u8 bit)
{
    rex(a, wide, (struct ext){0, 0, x}, false);
    x64_byte(a, 0x0f);
    x64_byte(a, 0xba);
    modrm_reg(a, 4, x);
    x64_byte(a, bit);
}

void x64_setcc(struct x64_asm *a, enum x64_cc cc, unsigned dst)
{
    rex(a, false, (struct ext){0, 0, dst}, dst >= RSP && dst <= RDI);
    x64_byte(a, 0x0f);
    x64_byte(a, (u8)(0x90 | cc));
    modrm_reg(a, 0, dst);
}

void x64_cmov(struct x64_asm *a, enum x64_cc cc, bool wide, unsigned dst, unsigned src)
{
    rex(a, wide, (struct ext){dst, 0, src}, false);
    x64_byte(a, 0x0f);
    x64_byte(a, (u8)(0x40 | cc));
    modrm_reg(a, dst, src);
}

void x64_vex3(struct x64_asm *a, enum x64_insn id, bool wide, unsigned reg, unsigned vvvv,
              unsigned rm)
{
    vex_opcode(a, &x64_insns[id], wide, (struct ext){reg, 0, rm}, vvvv);
    modrm_reg(a, reg, rm);
}

void x64_bmi_shift(struct x64_asm *a, enum x64_insn x, bool wide, unsigned dst, unsigned src,
                   unsigned count)
{
    x64_vex3(a, x, wide, dst, count, src);
}

static bool vex_form(const struct x64_asm *a, const struct x64_insn_info *x)
{
    return x->flags & (XF_VEX | XF_EVEX) || (a->level >= X64_AVX2 && !(x->flags & XF_SSE));
}

static void vec_opcode(struct x64_asm *a, const struct x64_insn_info *x, bool w, struct ext e,
                       unsigned vvvv)
{
    w |= (x->flags & XF_VEXW) != 0;
    if (x->flags & XF_EVEX)
        evex_opcode(a, x, w, e, vvvv);
    else if (vex_form(a, x))
        vex_opcode(a, x, w, e, vvvv);
    else
        legacy_opcode(a, x, w, e, false);
}

/* Vectors: w is for forms with a general register. */
static void vec_rr(struct x64_asm *a, const struct x64_insn_info *x, bool w, unsigned reg,
                   unsigned vvvv, unsigned rm)
{
    vec_opcode(a, x, w, (struct ext){reg, 0, rm}, x->flags & XF_TWO ? 0 : vvvv);
    modrm_reg(a, reg, rm);
}

static void vec_rm(struct x64_asm *a, const struct x64_insn_info *x, unsigned reg, unsigned vvvv,
                   struct x64_mem m)
{
    vec_opcode(a, x, false, mem_ext(reg, m), x->flags & XF_TWO ? 0 : vvvv);
    modrm_mem_disp(a, reg, m, !(x->flags & XF_EVEX));
}

void x64_vmov(struct x64_asm *a, unsigned dst, unsigned src)
{
    if (dst != src)
        vec_rr(a, &x64_insns[X_MOVAPS], false, dst, 0, src);
}

/* With the two-operand form dst must not be s2 unless it is s1 as well; callers see to that. */
void x64_v3(struct x64_asm *a, enum x64_insn id, unsigned dst, unsigned s1, unsigned s2)
{
    const struct x64_insn_info *x = &x64_insns[id];
    if (!vex_form(a, x))
        x64_vmov(a, dst, s1);
    vec_rr(a, x, false, dst, s1, s2);
}

void x64_v3i(struct x64_asm *a, enum x64_insn id, unsigned dst, unsigned s1, unsigned s2, u8 imm)
{
    x64_v3(a, id, dst, s1, s2);
    x64_byte(a, imm);
}

void x64_v3m(struct x64_asm *a, enum x64_insn id, unsigned dst, unsigned s1, struct x64_mem m)
{
    const struct x64_insn_info *x = &x64_insns[id];
    if (!vex_form(a, x))
        x64_vmov(a, dst, s1);
    vec_rm(a, x, dst, s1, m);
}

void x64_v2(struct x64_asm *a, enum x64_insn id, unsigned reg, unsigned rm)
{
    vec_rr(a, &x64_insns[id], false, reg, 0, rm);
}

void x64_v2i(struct x64_asm *a, enum x64_insn id, unsigned reg, unsigned rm, u8 imm)
{
    x64_v2(a, id, reg, rm);
    x64_byte(a, imm);
}

void x64_v2m(struct x64_asm *a, enum x64_insn id, unsigned reg, struct x64_mem m)
{
    vec_rm(a, &x64_insns[id], reg, 0, m);
}

void x64_v2mi(struct x64_asm *a, enum x64_insn id, unsigned reg, struct x64_mem m, u8 imm)
{
    x64_v2m(a, id, reg, m);
    x64_byte(a, imm);
}

void x64_vg(struct x64_asm *a, enum x64_insn id, bool wide, unsigned reg, unsigned rm)
{
    vec_rr(a, &x64_insns[id], wide, reg, 0, rm);
}

void x64_v3g(struct x64_asm *a, enum x64_insn id, bool wide, unsigned dst, unsigned s1, unsigned gpr)
{
    if (a->level < X64_AVX2)
        x64_vmov(a, dst, s1);
    vec_rr(a, &x64_insns[id], wide, dst, s1, gpr);
}

void x64_vshift(struct x64_asm *a, enum x64_insn id, unsigned digit, unsigned dst, unsigned src,
                u8 imm)
{
    const struct x64_insn_info *x = &x64_insns[id];
    if (a->level >= X64_AVX2) {
        vec_opcode(a, x, false, (struct ext){0, 0, src}, dst);
        modrm_reg(a, digit, src);
    } else {
        x64_vmov(a, dst, src);
        legacy_opcode(a, x, false, (struct ext){0, 0, dst}, false);
        modrm_reg(a, digit, dst);
    }
    x64_byte(a, imm);
}

void x64_nops(struct x64_asm *a, unsigned n)
{
    static const u8 nop[9][9] = {{0x90},
                                 {0x66, 0x90},
                                 {0x0f, 0x1f, 0x00},
                                 {0x0f, 0x1f, 0x40, 0x00},
                                 {0x0f, 0x1f, 0x44, 0x00, 0x00},
                                 {0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
                                 {0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
                                 {0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
                                 {0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00}};
    while (n) {
        unsigned k = MIN(n, 9u);
        for (unsigned i = 0; i < k; i++)
            x64_byte(a, nop[k - 1][i]);
        n -= k;
    }
}

static void pad(struct x64_asm *a, unsigned opcode, unsigned bytes)
{
    unsigned at = (unsigned)((uintptr_t)a->p + opcode) & 63;
    if (at + bytes > 64)
        x64_nops(a, 64 - at);
}

void x64_keep_in_line(struct x64_asm *a, unsigned bytes)
{
    pad(a, 0, bytes);
}

/* Room for an opcode of `len` bytes and a displacement that does not cross a cache line. */
static void keep_in_line(struct x64_asm *a, unsigned len)
{
    pad(a, len, sizeof(s32));
}

static u8 *rel32(struct x64_asm *a)
{
    u8 *place = a->p;
    x64_u32(a, 0);
    return place;
}

u8 *x64_jcc(struct x64_asm *a, enum x64_cc cc, bool line)
{
    if (line)
        keep_in_line(a, 2);
    x64_byte(a, 0x0f);
    x64_byte(a, (u8)(0x80 | cc));
    return rel32(a);
}

void x64_jcc_back(struct x64_asm *a, enum x64_cc cc, const u8 *target)
{
    x64_byte(a, (u8)(0x70 | cc));
    x64_byte(a, (u8)(target - (a->p + 1)));
}

u8 *x64_jmp(struct x64_asm *a, bool line)
{
    if (line)
        keep_in_line(a, 1);
    x64_byte(a, X64_OP_JMP);
    return rel32(a);
}

u8 *x64_call(struct x64_asm *a, bool line)
{
    if (line)
        keep_in_line(a, 1);
    x64_byte(a, X64_OP_CALL);
    return rel32(a);
}

void x64_jmp_to(struct x64_asm *a, const void *target_rx, ptrdiff_t rx_minus_rw)
{
    u8 *place = x64_jmp(a, false);
    if (!a->overflow)
        x64_patch(place, (const u8 *)target_rx - rx_minus_rw);
}

static void group_ff(struct x64_asm *a, unsigned digit, struct x64_mem m)
{
    rex(a, false, mem_ext(0, m), false);
    x64_byte(a, 0xff);
    modrm_mem(a, digit, m);
}

void x64_jmp_mem(struct x64_asm *a, struct x64_mem m)
{
    group_ff(a, 4, m);
}

void x64_call_mem(struct x64_asm *a, struct x64_mem m)
{
    group_ff(a, 2, m);
}

void x64_jmp_reg(struct x64_asm *a, unsigned reg)
{
    rex(a, false, (struct ext){0, 0, reg}, false);
    x64_byte(a, 0xff);
    modrm_reg(a, 4, reg);
}

void x64_patch(u8 *rel, const u8 *target)
{
    s32 d = (s32)(target - (rel + 4));
    __atomic_store_n((s32 *)(void *)rel, d, __ATOMIC_RELEASE);
}

void x64_ret(struct x64_asm *a)
{
    x64_byte(a, 0xc3);
}

void x64_ud2(struct x64_asm *a)
{
    x64_byte(a, 0x0f);
    x64_byte(a, 0x0b);
}
