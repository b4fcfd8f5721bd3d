/* The RISC-V disassembler: the printers of operands. Which printer an instruction calls, and when an alias is
 * preferred, is in the *.isa tables; what they print here is what GNU objdump prints. */
#include <stdio.h>

#include "isa/riscv/fli.h"
#include "isa/riscv/text.h"

void put_xreg(struct insn_text *t, int n)
{
    static const char *const names[32] = {
        "zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5",
        "a6",   "a7", "s2", "s3", "s4",  "s5",  "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6"};
    put_text(t, names[n]);
}

void put_freg(struct insn_text *t, int n)
{
    static const char *const names[32] = {
        "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6",  "ft7",  "fs0", "fs1", "fa0",
        "fa1", "fa2", "fa3", "fa4", "fa5", "fa6", "fa7",  "fs2",  "fs3", "fs4", "fs5",
        "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11"};
    put_text(t, names[n]);
}

void put_pcrel(struct insn_text *t, s32 offset)
{
    u64 to = t->pc + (u64)(s64)offset;
    put_format(t, "0x%llx", (unsigned long long)(t->how == 32 ? (u32)to : to));
}

/* Those that programs may name; others by number. */
void put_csr(struct insn_text *t, int csr)
{
    static const struct {
        u16 csr;
        const char *name;
    } names[] = {{0x001, "fflags"}, {0x002, "frm"},   {0x003, "fcsr"},  {0x008, "vstart"},
                 {0x009, "vxsat"},  {0x00a, "vxrm"},  {0x00f, "vcsr"},  {0x015, "seed"},
                 {0xc00, "cycle"},  {0xc01, "time"},  {0xc02, "instret"}, {0xc20, "vl"},
                 {0xc21, "vtype"},  {0xc22, "vlenb"}, {0xc80, "cycleh"}, {0xc81, "timeh"},
                 {0xc82, "instreth"}};
    unsigned counter = (unsigned)csr & 31;
    if ((csr & ~0x9f) == 0xc00 && counter > 2) {
        put_format(t, "hpmcounter%u%s", counter, csr & 0x80 ? "h" : "");
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (names[i].csr == csr) {
            put_text(t, names[i].name);
            return;
        }
    }
    put_hex(t, (u32)csr);
}

void put_csrr(struct insn_text *t, int rd, int csr)
{
    static const char *const fp[] = {NULL, "frflags", "frrm", "frcsr"};
    bool is_fp = csr >= 1 && csr < (int)ARRAY_LEN(fp);
    bool counter = (csr >= 0xc00 && csr <= 0xc02) || (t->how == 32 && csr >= 0xc80 && csr <= 0xc82);
    put_text(t, is_fp ? fp[csr] : counter ? "rd" : "csrr");
    if (counter)
        put_csr(t, csr);
    put_text(t, "\t");
    put_xreg(t, rd);
    if (!is_fp && !counter) {
        put_text(t, ",");
        put_csr(t, csr);
    }
}

void put_rwset(struct insn_text *t, int set)
{
    static const char letters[] = "wroi";
    if (!set)
        put_text(t, "unknown");
    for (int k = 3; k >= 0; k--) {
        if (set >> k & 1)
            put_format(t, "%c", letters[k]);
    }
}

void put_prefetch(struct insn_text *t, int imm)
{
    put_dec(t, imm & ~31);
}

void put_aqrl(struct insn_text *t, int aq, int rl)
{
    static const char *const names[2][2] = {{"", ".rl"}, {".aq", ".aqrl"}};
    put_text(t, names[aq][rl]);
}

static void put_rounding(struct insn_text *t, int rm, int usual)
{
    static const char *const names[8] = {"rne", "rtz", "rdn", "rup", "rmm", "unknown", "unknown", "dyn"};
    if (rm != usual)
        put_format(t, ",%s", names[rm]);
}

void put_rm(struct insn_text *t, int rm)
{
    put_rounding(t, rm, 7);
}

void put_rm_exact(struct insn_text *t, int rm)
{
    put_rounding(t, rm, 0);
}

const double rv_fli[RV_FLI_INF] = {
    -1, 0, 0x1p-16, 0x1p-15, 0x1p-8, 0x1p-7, 0.0625, 0.125, 0.25, 0.3125, 0.375, 0.4375, 0.5, 0.625, 0.75,
    0.875, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 8, 16, 128, 256, 0x1p15, 0x1p16,
};

void put_fli(struct insn_text *t, int value)
{
    if (value == RV_FLI_LEAST || value >= RV_FLI_INF)
        put_text(t, value == RV_FLI_LEAST ? "min" : value == RV_FLI_INF ? "inf" : "nan");
    else
        put_format(t, "%.9g", rv_fli[value]);
}

int rv_disas(u32 insn, u64 features, u64 pc, char *buf, size_t size)
{
    struct insn_text t = {.buf = buf, .size = size, .pc = pc, .how = features >> RV_RV32 & 1 ? 32 : 64};
    unsigned id = rv_decode_id(insn, features);
    if (id)
        rv_texts[id](&t, insn);
    else if (rv_insn_bytes((u16)insn) == 2)
        put_format(&t, ".2byte\t0x%x", insn & 0xffff);
    else
        put_format(&t, ".4byte\t0x%x", insn);
    return (int)t.used;
}

u32 rv_random(unsigned id, u64 features, u64 *rng)
{
    for (;;) {
        u32 insn = insn_random_word(&rv_insns[id], rng);
        if (rv_decode_id(insn, features) == id)
            return insn;
    }
}
