/* Random records for lines of the RISC-V tables. What an instruction accesses and where it branches to is read
 * from its disassembly, which has it in one form for all encodings. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "fp/operands.h"
#include "isa/diff/guest.h"
#include "isa/riscv/decode.h"
#include "isa/riscv/state.h"
#include "place.h"

#define MODEL "max"

enum { GOOD_BASE = 28, BAD_BASE = 27 };

/* One of the two guests, and the randomness of a record. */
struct maker {
    const struct guest *g;
    u64 features;
    struct rng rng;
};

static const struct guest rv64, rv32;

static u64 features_of(const struct guest *g)
{
    struct err e;
    struct rv_model m = {0};
    rv_model_find(MODEL, g == &rv32, &m, &e);
    return m.features;
}

static bool wants(const struct guest *g, unsigned line)
{
    const struct insn *e = &rv_insns[line];
    if (line == GUEST_SEQUENCE)
        return true;
    return !(e->effects & (INSN_TODO | INSN_NODIFF)) && e->oracle == RV_BY_QEMU &&
           insn_needs_met(&rv_needs[e->feature], features_of(g));
}

static bool wants64(unsigned line)
{
    return wants(&rv64, line);
}

static bool wants32(unsigned line)
{
    return wants(&rv32, line);
}

/* ---- state ---- */

static u64 *xreg(struct record *r, unsigned n)
{
    static u64 zero; /* what is done to x0 is lost */
    return n ? &r->reg[R_X1 + n - 1].d[0] : &zero;
}

static u64 random_int(struct maker *m)
{
    u64 v = rng_below(&m->rng, 2) ? operand_int(&m->rng) : rng_next(&m->rng);
    return m->g == &rv32 ? (u32)v : v;
}

static const struct operand_format *const formats[] = {&operand32, &operand64, &operand16};

static u64 boxed(struct maker *m, unsigned format, u64 v)
{
    unsigned bits = 1u + formats[format]->exp_bits + formats[format]->frac_bits;
    return rng_below(&m->rng, 16) && bits < 64 ? v | ~mask64(bits) : v;
}

/* Registers of any format; those at the usual places of operands get operands that belong together, in the
 * format that the instruction seems to have. */
static void random_fp(struct maker *m, struct record *r, u32 insn)
{
    const unsigned at[] = {27, 20, 15};
    unsigned format = bits32(insn, 25, 2) % 3;
    u64 v[3];
    for (unsigned i = 0; i < 32; i++) {
        unsigned any = rng_below(&m->rng, 3);
        r->reg[R_F0 + i].d[0] = boxed(m, any, operand(&m->rng, *formats[any]));
    }
    if (bits32(insn, 27, 5) == 8) /* between formats */
        format = bits32(insn, 20, 2) % 3;
    operand_triple(&m->rng, *formats[format], v);
    for (unsigned i = 0; i < 3; i++)
        r->reg[R_F0 + bits32(insn, at[i], 5)].d[0] = boxed(m, format, v[2 - i]);
}

static void random_state(struct maker *m, struct record *r, u32 insn)
{
    struct rng *g = &m->rng;
    for (unsigned n = 1; n < 32; n++)
        *xreg(r, n) = random_int(m);
    if (rng_below(g, 8) == 0) /* equal operands */
        *xreg(r, bits32(insn, 20, 5)) = *xreg(r, bits32(insn, 15, 5));
    while (*xreg(r, 2) < 1 << 24) /* the server is there, and its signal stack */
        *xreg(r, 2) = random_int(m);
    random_fp(m, r, insn);
    for (unsigned i = 0; i < RECORD_MEM; i++)
        r->mem[i] = (u8)rng_next(g);
    if (rng_below(g, 2))
        r->reg[R_FCSR].d[0] = rng_below(g, rng_below(g, 4) ? 5 : 8) << 5;
    if (rng_below(g, 4) == 0)
        r->reg[R_FCSR].d[0] |= rng_below(g, 32);
}

/* ---- accesses and branches ---- */

static void text_of(const struct maker *m, u32 insn, char *text, size_t size)
{
    u8 code[4];
    memcpy(code, &insn, sizeof(code));
    m->g->isa->disas(code, sizeof(code), guest_pc(m->g), text, size);
}

static unsigned register_named(const char *name, size_t len)
{
    static const char *const names[] = {
        "zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5",
        "a6",   "a7", "s2", "s3", "s4",  "s5",  "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6"};
    unsigned n = 0;
    while (n < 32 && (strlen(names[n]) != len || strncmp(names[n], name, len)))
        n++;
    return n % 32;
}

/* "offset(register)", or no offset. */
static bool find_access(const char *text, unsigned *base, s64 *offset)
{
    const char *open = strchr(text, '('), *start = open;
    if (!open)
        return false;
    while (start[-1] == '-' || isalnum((unsigned char)start[-1]))
        start--;
    *offset = strtoll(start, NULL, 0);
    *base = register_named(open + 1, strcspn(open + 1, ")"));
    return true;
}

/* Let the access go to the window, rarely to the end of the page or to what is not mapped. */
static void aim(struct maker *m, struct record *r, u32 insn, const struct insn *e)
{
    struct rng *g = &m->rng;
    u64 to = guest_window(m->g) + 64 + rng_below(g, 128);
    unsigned special = rng_below(g, 32), base;
    bool atomic = !strncmp(e->name, "amo", 3) || !strncmp(e->name, "lr_", 3) || !strncmp(e->name, "sc_", 3);
    s64 offset;
    char text[64];
    text_of(m, insn, text, sizeof(text));
    if (!find_access(text, &base, &offset))
        return;
    if (atomic || (special & 1))
        to &= ~15ull;
    if (special == 2)
        to = m->g->data + RECORD_PAGE + 0x1000 + 16 * rng_below(g, 16);
    if (special == 4 && !atomic && !(e->effects & INSN_STORES))
        to = m->g->data + RECORD_PAGE - rng_below(g, 16);
    to -= (u64)offset;
    *xreg(r, base) = m->g == &rv32 ? (u32)to : to;
}

/* Would it branch to where it can run on, to itself for example? */
static bool returns(const struct maker *m, u32 insn, const struct insn *e)
{
    char text[64];
    if (!(e->effects & INSN_ENDS_BLOCK))
        return false;
    text_of(m, insn, text, sizeof(text));
    const char *target = strstr(text, "0x");
    u64 distance = target ? strtoull(target, NULL, 16) - guest_pc(m->g) + 8 : 64;
    return distance < 8 + RECORD_CODE;
}

/* Of the control and status registers, those of floating point: counters differ. */
static u32 tame(struct maker *m, u32 insn, const struct insn *e)
{
    if (strncmp(e->name, "csr", 3))
        return insn;
    return (insn & 0xfffff) | (1 + rng_below(&m->rng, 3)) << 20;
}

/* ---- records ---- */

static bool writes_base(u32 insn)
{
    unsigned rd = bits32(insn, 7, 5);
    return rd == GOOD_BASE || rd == BAD_BASE;
}

/* One instruction of a sequence: of those of 32 bits, with x8 to x11 where that leaves it what it is. */
static u32 sequence_insn(struct maker *m, const bool *plain)
{
    const unsigned never = INSN_LOADS | INSN_STORES | INSN_ENDS_BLOCK;
    const u32 high = 0x1c << 7 | 0x1c << 15 | 0x1c << 20, low = 8 << 7 | 8 << 15 | 8 << 20;
    for (;;) {
        unsigned line = 1 + rng_below(&m->rng, RV_INSNS - 1);
        if (!plain[line] || rv_insns[line].effects & never)
            continue;
        u64 words = rng_next(&m->rng) | 1;
        u32 insn = rv_random(line, m->features, &words), few = (insn & ~high) | low;
        if (rv_insns[line].bytes == 4 && rv_decode_id(few, m->features) == line)
            return few;
        if (!writes_base(insn))
            return insn;
    }
}

/* A load or store of 32 bits near one of the bases. */
static u32 sequence_access(struct maker *m, const bool *plain)
{
    u32 base = rng_below(&m->rng, 32) ? GOOD_BASE : BAD_BASE;
    for (;;) {
        unsigned line = 1 + rng_below(&m->rng, RV_INSNS - 1);
        unsigned effects = rv_insns[line].effects & (INSN_LOADS | INSN_STORES);
        if (!plain[line] || rv_insns[line].bytes != 4 || (effects != INSN_LOADS && effects != INSN_STORES))
            continue;
        u64 words = rng_next(&m->rng) | 1;
        u32 insn = (rv_random(line, m->features, &words) & ~(0x1fu << 15)) | base << 15;
        insn &= effects == INSN_LOADS ? ~(0xfe0u << 20) : ~(0x7fu << 25);
        if (rv_decode_id(insn, m->features) == line && (effects == INSN_STORES || !writes_base(insn)))
            return insn;
    }
}

/* Reads and writes of fflags and, at times, fcsr. */
static u32 sequence_csr(struct maker *m)
{
    u32 csr = rng_below(&m->rng, 4) ? 1 : 3, op = 1 + rng_below(&m->rng, 3);
    u32 rd = rng_below(&m->rng, 4) ? 8 + rng_below(&m->rng, 4) : 0;
    u32 rs1 = rng_below(&m->rng, 4) ? 8 + rng_below(&m->rng, 4) : 0;
    return csr << 20 | rs1 << 15 | op << 12 | rd << 7 | 0x73;
}

/* By a random condition, so many bytes on: less than 32, or 1024 more. */
static u32 forward_branch(struct maker *m, u32 by)
{
    static const u8 condition[] = {0, 1, 4, 5, 6, 7};
    const u32 beq = 0x00940063; /* beq s0,s1 */
    return beq | (by & 0x400) << 20 | (by & 0x1e) << 7 | (u32)condition[rng_below(&m->rng, ARRAY_LEN(condition))] << 12;
}

/* At times with a branch before it that may leave it out. */
static void append(struct maker *m, struct record *r, u32 insn)
{
    unsigned bytes = rv_insn_bytes((u16)insn);
    if (rng_below(&m->rng, 8) == 0)
        record_insn(r, forward_branch(m, 4 + bytes), 4);
    record_insn(r, insn, bytes);
}

static void generate_sequence(struct maker *m, struct record *r, const bool *plain)
{
    unsigned bytes = 8 + rng_below(&m->rng, RECORD_CODE - 19); /* the last ones may take 12 more */
    while (r->bytes < bytes) {
        u32 insn = rng_below(&m->rng, 4) ? sequence_insn(m, plain) : sequence_access(m, plain);
        append(m, r, rng_below(&m->rng, 16) ? insn : sequence_csr(m));
    }
    if (rng_below(&m->rng, 2))
        record_insn(r, forward_branch(m, 1032), 4);
    random_state(m, r, (u32)rng_next(&m->rng));
    *xreg(r, GOOD_BASE) = guest_window(m->g) + 64 + rng_below(&m->rng, 32);
    *xreg(r, BAD_BASE) = m->g->data + 2 * RECORD_PAGE + rng_below(&m->rng, 32);
}

/* A store conditional needs a load reserved, of its own address as a rule. */
static void pair_reserved(struct maker *m, struct record *r, u32 sc)
{
    unsigned rd = 1;
    if (rng_below(&m->rng, 8) == 0)
        return;
    while (rd == bits32(sc, 15, 5) || rd == bits32(sc, 20, 5))
        rd++;
    u32 lr = (sc & ~(0x1fu << 27 | 0x1fu << 20 | 0x1fu << 7)) | 2u << 27 | rd << 7;
    r->bytes = 0;
    record_insn(r, lr, 4);
    record_insn(r, sc, 4);
}

static void generate_line(struct maker *m, struct record *r, unsigned line)
{
    const struct insn *e = &rv_insns[line];
    u32 insn;
    do {
        u64 words = rng_next(&m->rng) | 1;
        insn = tame(m, rv_random(line, m->features, &words), e);
        insn = e->bytes == 2 ? (u16)insn : insn;
    } while (returns(m, insn, e));
    record_insn(r, insn, e->bytes);
    random_state(m, r, insn);
    if (e->effects & (INSN_LOADS | INSN_STORES))
        aim(m, r, insn, e);
    if (!strncmp(e->name, "sc_", 3))
        pair_reserved(m, r, insn);
    if (line == RV_JALR || line == RV_C_JR || line == RV_C_JALR)
        *xreg(r, bits32(insn, line == RV_JALR ? 15 : 7, 5)) = 0x52000000 + rng_below(&m->rng, 1 << 20);
}

static void generate(const struct guest *g, struct record *r, unsigned line, u64 seed, unsigned index,
                     const bool *plain)
{
    struct maker m = {g, features_of(g), {seed ^ (u64)line << 48 ^ (u64)index << 20}};
    memset(r, 0, sizeof(*r));
    r->line = line;
    if (line == GUEST_SEQUENCE)
        generate_sequence(&m, r, plain);
    else
        generate_line(&m, r, line);
}

static void generate64(struct record *r, unsigned line, u64 seed, unsigned index, const bool *plain)
{
    generate(&rv64, r, line, seed, index, plain);
}

static void generate32(struct record *r, unsigned line, u64 seed, unsigned index, const bool *plain)
{
    generate(&rv32, r, line, seed, index, plain);
}

static void show(const struct record *in)
{
    u32 insn = 0;
    memcpy(&insn, in->code + in->last, in->bytes - in->last);
    const unsigned at[] = {7, 15, 20, 27};
    for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
        unsigned n = bits32(insn, at[i], 5);
        printf("#   before: f%u = %016llx  x%u = %#llx\n", n, (unsigned long long)in->reg[R_F0 + n].d[0], n,
               (unsigned long long)(n ? in->reg[R_X1 + n - 1].d[0] : 0));
    }
    printf("#   before: fcsr %#llx\n", (unsigned long long)in->reg[R_FCSR].d[0]);
}

#define ALL ~0ull
#define X(n) {"x" #n, ALL}
#define F(n) {"f" #n, ALL}

/* In the order of place.h. */
static const struct guest_reg regs[] = {
    X(1), X(2), X(3), X(4), X(5), X(6), X(7), X(8), X(9), X(10), X(11), X(12), X(13), X(14), X(15), X(16), X(17),
    X(18), X(19), X(20), X(21), X(22), X(23), X(24), X(25), X(26), X(27), X(28), X(29), X(30), X(31), {"fcsr", ALL},
    F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7), F(8), F(9), F(10), F(11), F(12), F(13), F(14), F(15), F(16),
    F(17), F(18), F(19), F(20), F(21), F(22), F(23), F(24), F(25), F(26), F(27), F(28), F(29), F(30), F(31), {NULL, 0},
};

#define COMMON .model = MODEL, .insns = rv_insns, .lines = RV_INSNS, .regs = regs, .show = show

static const struct guest rv64 = {
    COMMON,
    .name = "riscv64",
    .isa = &isa_riscv64,
    .code = PLACE_CODE64,
    .data = PLACE_DATA64,
    .wants = wants64,
    .generate = generate64,
};
static const struct guest rv32 = {
    COMMON,
    .name = "riscv32",
    .isa = &isa_riscv32,
    .code = PLACE_CODE32,
    .data = PLACE_DATA32,
    .wants = wants32,
    .generate = generate32,
};

const struct guest *const guests[] = {&rv64, &rv32, NULL};
