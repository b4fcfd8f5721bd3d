/* The A64 disassembler: the printers of operands. Which printer an instruction calls, and when an
 * alias is preferred, is in the *.isa tables; what they print here is what GNU objdump prints. */
#include <stdio.h>
#include <string.h>

#include "isa/aarch64/imm.h"
#include "isa/aarch64/sysreg.h"
#include "isa/aarch64/text.h"

/* --- numbers */

static void put_hex64(struct insn_text *t, u64 v)
{
    put_format(t, "0x%llx", (unsigned long long)v);
}

void put_fpimm(struct insn_text *t, int imm8)
{
    u64 bits = a64_fpimm64((u32)imm8);
    double d;
    memcpy(&d, &bits, sizeof d);
    put_format(t, "%.18e", d);
}

void put_bytemask(struct insn_text *t, int imm8)
{
    put_hex64(t, a64_bytemask((u32)imm8));
}

void put_bitmask(struct insn_text *t, int sf, int n, int immr, int imms)
{
    put_hex64(t, a64_bitmask((u32)n, (u32)immr, (u32)imms) & mask64(sf ? 64 : 32));
}

void put_movz(struct insn_text *t, int hw, int imm16)
{
    put_hex64(t, (u64)imm16 << (16 * hw));
}

void put_movn(struct insn_text *t, int sf, int hw, int imm16)
{
    put_hex64(t, ~((u64)imm16 << (16 * hw)) & mask64(sf ? 64 : 32));
}

void put_rel(struct insn_text *t, s32 offset)
{
    put_hex64(t, t->pc + (u64)(s64)offset);
}

void put_page(struct insn_text *t, s32 pages)
{
    put_hex64(t, (t->pc & ~(u64)0xfff) + ((u64)(s64)pages << 12));
}

/* The amount of a right shift: immh:immb counts down from twice the lane's width. */
void put_shr(struct insn_text *t, int imm)
{
    put_dec(t, (16 << a64_log2((u32)imm >> 3)) - imm);
}

void put_shl(struct insn_text *t, int imm)
{
    put_dec(t, imm - (8 << a64_log2((u32)imm >> 3)));
}

/* --- registers and lanes */

void put_r(struct insn_text *t, int sf, int n)
{
    if (n == 31)
        put_text(t, sf ? "xzr" : "wzr");
    else
        put_format(t, "%c%d", sf ? 'x' : 'w', n);
}

void put_rsp(struct insn_text *t, int sf, int n)
{
    if (n == 31)
        put_text(t, sf ? "sp" : "wsp");
    else
        put_format(t, "%c%d", sf ? 'x' : 'w', n);
}

static char size_letter(int size)
{
    return "bhsdq"[size];
}

void put_v(struct insn_text *t, int size)
{
    put_format(t, "%c", size_letter(size));
}

void put_ftype(struct insn_text *t, int ftype)
{
    put_format(t, "%c", "sd?h"[ftype]);
}

void put_arr(struct insn_text *t, int size, int q)
{
    put_format(t, "%d%c", (q ? 16 : 8) >> size, size_letter(size));
}

/* Half-precision pairs that are widened: FMLAL. */
void put_pair_h(struct insn_text *t, int q)
{
    put_text(t, q ? "4h" : "2h");
}

void put_elem(struct insn_text *t, int imm5)
{
    int size = a64_ctz((u32)imm5);
    put_format(t, "%c[%d]", size_letter(size), imm5 >> (size + 1));
}

/* The source lane of INS: imm4 in units of the size that imm5 names. */
void put_elem2(struct insn_text *t, int imm5, int imm4)
{
    int size = a64_ctz((u32)imm5);
    put_format(t, "%c[%d]", size_letter(size), imm4 >> size);
}

/* Register lists wrap from v31 to v0; a list that wraps is written out. */
static void put_regs(struct insn_text *t, int first, int count, const char *suffix)
{
    int last = (first + count - 1) & 31;
    if (count > 2 && last > first) {
        put_format(t, "{v%d.%s-v%d.%s}", first, suffix, last, suffix);
        return;
    }
    for (int k = 0; k < count; k++)
        put_format(t, "%sv%d.%s", k ? ", " : "{", (first + k) & 31, suffix);
    put_text(t, "}");
}

void put_list(struct insn_text *t, int first, int count, int size, int q)
{
    char suffix[8];
    snprintf(suffix, sizeof suffix, "%d%c", (q ? 16 : 8) >> size, size_letter(size));
    put_regs(t, first, count, suffix);
}

void put_lane(struct insn_text *t, int first, int count, int size, int lane)
{
    char suffix[] = {size_letter(size), 0};
    put_regs(t, first, count, suffix);
    put_format(t, "[%d]", lane);
}

/* The indexed operand: for 16-bit lanes bit M belongs to the index, otherwise to the register. */
void put_lane_hlm(struct insn_text *t, int size, int hlm, int mrm)
{
    put_format(t, "v%d.%c[%d]", size == 1 ? mrm & 15 : mrm, size_letter(size), hlm >> (size - 1));
}

/* --- operands that may be absent */

void put_shift(struct insn_text *t, int shift, int amount)
{
    static const char *const names[] = {"lsl", "lsr", "asr", "ror"};
    if (shift || amount)
        put_format(t, ", %s #%d", names[shift], amount);
}

void put_lsl12(struct insn_text *t, int sh)
{
    if (sh)
        put_text(t, ", lsl #12");
}

void put_shift_if(struct insn_text *t, int amount)
{
    if (amount)
        put_format(t, ", lsl #%d", amount);
}

void put_lsl_if(struct insn_text *t, int amount)
{
    put_shift_if(t, amount);
}

static const char *const extends[] = {"uxtb", "uxth", "uxtw", "uxtx",
                                      "sxtb", "sxth", "sxtw", "sxtx"};

/* With the stack pointer the extension that changes nothing is written as lsl, or not at all. */
void put_ext(struct insn_text *t, int sf, int rm, int option, int amount, int sp)
{
    put_r(t, sf && (option & 3) == 3, rm);
    if (sp && option == (sf ? 3 : 2))
        put_shift_if(t, amount);
    else if (amount)
        put_format(t, ", %s #%d", extends[option], amount);
    else
        put_format(t, ", %s", extends[option]);
}

void put_bang(struct insn_text *t, int wb)
{
    if (wb)
        put_text(t, "!");
}

void put_post(struct insn_text *t, int post, int rm, int bytes)
{
    if (post && rm == 31)
        put_format(t, ", #%d", bytes);
    else if (post)
        put_format(t, ", x%d", rm);
}

/* --- addresses */

void put_mem(struct insn_text *t, int rn, int offset, int mode)
{
    put_text(t, "[");
    put_rsp(t, 1, rn);
    if (mode == 1)
        put_format(t, "], #%d", offset);
    else if (mode == 3)
        put_format(t, ", #%d]!", offset);
    else if (offset)
        put_format(t, ", #%d]", offset);
    else
        put_text(t, "]");
}

void put_memreg(struct insn_text *t, int rn, int rm, int option, int s, int size)
{
    put_text(t, "[");
    put_rsp(t, 1, rn);
    put_text(t, ", ");
    put_r(t, option & 1, rm);
    const char *extend = option == 3 ? "lsl" : extends[option];
    if (s)
        put_format(t, ", %s #%d", extend, size);
    else if (option != 3)
        put_format(t, ", %s", extend);
    put_text(t, "]");
}

/* --- names */

void put_cond(struct insn_text *t, int cond)
{
    static const char *const names[] = {"eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc",
                                        "hi", "ls", "ge", "lt", "gt", "le", "al", "nv"};
    put_text(t, names[cond]);
}

void put_prfop(struct insn_text *t, int op)
{
    static const char *const types[] = {"pld", "pli", "pst"};
    if (op >> 3 == 3 || (op >> 1 & 3) == 3)
        put_format(t, "#0x%02x", (u32)op);
    else
        put_format(t, "%sl%d%s", types[op >> 3], (op >> 1 & 3) + 1, op & 1 ? "strm" : "keep");
}

void put_barrier(struct insn_text *t, int crm)
{
    static const char *const names[] = {NULL,    "oshld", "oshst", "osh",   NULL,    "nshld",
                                        "nshst", "nsh",   NULL,    "ishld", "ishst", "ish",
                                        NULL,    "ld",    "st",    "sy"};
    if (names[crm])
        put_text(t, names[crm]);
    else
        put_format(t, "#0x%02x", (u32)crm);
}

void put_barrier_nxs(struct insn_text *t, int crm)
{
    static const char *const names[] = {"oshnxs", "nshnxs", "ishnxs", "synxs"};
    put_text(t, names[crm >> 2]);
}

void put_sysreg(struct insn_text *t, int reg, int write)
{
    u32 key = (u32)reg | 0x8000;
    const struct a64_sysreg *r = a64_sysreg(key, write);
    if (r)
        put_text(t, r->name);
    else
        put_format(t, "s%u_%u_c%u_c%u_%u", key >> 14, key >> 11 & 7, key >> 7 & 15, key >> 3 & 15,
             key & 7);
}

void put_sys(struct insn_text *t, int op, int rt)
{
    const struct a64_sysreg *o = a64_sysop((u32)op);
    if (!o) {
        put_format(t, "sys\t#%d, C%d, C%d, #%d", op >> 11, op >> 7 & 15, op >> 3 & 15, op & 7);
        if (rt != 31)
            put_format(t, ", x%d", rt);
        return;
    }
    const char *space = strchr(o->name, ' ');
    put_format(t, "%.*s\t%s", (int)(space - o->name), o->name, space + 1);
    if (o->flags) {
        put_text(t, ", ");
        put_r(t, 1, rt);
    }
}

/* --- parts of mnemonics */

void put_bhwx(struct insn_text *t, int size)
{
    put_format(t, "%c", "bhwx"[size]);
}

void put_bh(struct insn_text *t, int size)
{
    if (size < 2)
        put_text(t, size ? "h" : "b");
}

void put_al(struct insn_text *t, int acquire, int release)
{
    put_a(t, acquire);
    put_l(t, release);
}

void put_a(struct insn_text *t, int acquire)
{
    if (acquire)
        put_text(t, "a");
}

void put_l(struct insn_text *t, int release)
{
    if (release)
        put_text(t, "l");
}

void put_two(struct insn_text *t, int q)
{
    if (q)
        put_text(t, "2");
}

void put_bt(struct insn_text *t, int top)
{
    put_text(t, top ? "t" : "b");
}

void put_stage(struct insn_text *t, int stage)
{
    put_format(t, "%c", "pme"[stage]);
}

void put_mops(struct insn_text *t, int options)
{
    static const char *const names[] = {"",   "wt",   "rt",   "t",   "wn", "wtwn", "rtwn", "twn",
                                        "rn", "wtrn", "rtrn", "trn", "n",  "wtn",  "rtn",  "tn"};
    put_text(t, names[options]);
}

void put_tn(struct insn_text *t, int options)
{
    static const char *const names[] = {"", "t", "n", "tn"};
    put_text(t, names[options]);
}

void put_g(struct insn_text *t, int tags)
{
    put_text(t, tags ? "g" : "");
}

/* --- the public functions */

int a64_disas(u32 insn, u64 pc, char *buf, size_t size)
{
    struct insn_text t = {.buf = buf, .size = size, .pc = pc};
    unsigned id = a64_decode_id(insn);
    if (id)
        a64_texts[id](&t, insn);
    else
        put_format(&t, ".inst\t0x%08x ; undefined", insn);
    return (int)t.used;
}

u32 a64_random(unsigned id, u64 *rng)
{
    for (;;) {
        u32 insn = insn_random_word(&a64_insns[id], rng);
        if (a64_decode_id(insn) == id)
            return insn;
    }
}

static const struct a64_sysreg *find(const struct a64_sysreg *table, unsigned count, u32 key)
{
    unsigned low = 0, high = count;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (table[mid].key < key)
            low = mid + 1;
        else
            high = mid;
    }
    return low < count && table[low].key == key ? &table[low] : NULL;
}

const struct a64_sysreg *a64_sysreg(u32 key, bool write)
{
    const struct a64_sysreg *r = find(a64_sysregs, a64_sysregs_count, key);
    const struct a64_sysreg *end = a64_sysregs + a64_sysregs_count;
    for (; r && r < end && r->key == key; r++)
        if (r->flags != (write ? A64_SYSREG_RO : A64_SYSREG_WO))
            return r;
    return NULL;
}

const struct a64_sysreg *a64_sysop(u32 key)
{
    return find(a64_sysops, a64_sysops_count, key);
}
