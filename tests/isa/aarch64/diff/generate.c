/* Random records for lines of the A64 tables. */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "fp/operands.h"
#include "isa/diff/guest.h"
#include "isa/aarch64/decode.h"
#include "isa/aarch64/state.h"
#include "place.h"

/* Pointer authentication is off, as in the oracle: its keys are random. */
#define MODEL "max,pauth=off"

enum { MAX_INSNS = 8 };

static u64 *xreg(struct record *r, unsigned n)
{
    return &r->reg[R_X0 + n].d[0];
}

static u32 last_insn(const struct record *r)
{
    u32 insn;
    memcpy(&insn, r->code + r->last, sizeof(insn));
    return insn;
}

static unsigned field(u32 insn, unsigned lsb, unsigned len)
{
    return bits32(insn, lsb, len);
}

static bool named(unsigned line, const char *prefix)
{
    return !strncmp(a64_insns[line].name, prefix, strlen(prefix));
}

static bool wants(unsigned line)
{
    struct err e;
    struct a64_model m;
    if (line == GUEST_SEQUENCE)
        return true;
    if (a64_insns[line].effects & (INSN_TODO | INSN_NODIFF))
        return false;
    return a64_model_find(MODEL, &m, &e) && a64_has(&m, a64_insns[line].feature);
}

static u64 random_int(struct rng *g)
{
    return rng_below(g, 2) ? operand_int(g) : rng_next(g);
}

static const struct operand_format *random_format(struct rng *g)
{
    static const struct operand_format *const formats[] = {&operand16, &operand32, &operand64};
    return formats[rng_below(g, 3)];
}

static unsigned lane_bits(const struct operand_format *f)
{
    return 1u + f->exp_bits + f->frac_bits;
}

/* Vectors of one format; the registers at the usual places of operands get operands that belong
 * together, lane by lane. */
static void random_vectors(struct rng *g, struct record *r, u32 insn)
{
    const struct operand_format *f = random_format(g);
    const unsigned bits = lane_bits(f), lanes = 64 / bits;
    for (unsigned i = 0; i < 64; i++) {
        u64 *to = &r->reg[R_V0 + i / 2].d[i % 2];
        *to = rng_next(g);
        if (rng_below(g, 4) == 0) {
            *to = 0;
            for (unsigned k = 0; k < lanes; k++)
                *to |= operand(g, *f) << (k * (bits % 64));
        }
    }
    if (rng_below(g, 8) == 0)
        return; /* integers */
    const unsigned reg[3] = {field(insn, 5, 5), field(insn, 16, 5), field(insn, 10, 5)};
    const unsigned rd = field(insn, 0, 5);
    for (unsigned i = 0; i < 2; i++) {
        u64 all[3] = {0};
        for (unsigned k = 0; k < lanes; k++) {
            u64 v[3];
            operand_triple(g, *f, v);
            for (unsigned o = 0; o < 3; o++)
                all[o] |= v[o] << (k * (bits % 64));
        }
        r->reg[R_V0 + rd].d[i] = all[2];
        for (unsigned o = 3; o-- > 0;)
            r->reg[R_V0 + reg[o]].d[i] = all[o];
    }
}

static void random_state(struct rng *g, struct record *r, u32 insn)
{
    for (unsigned i = 0; i < 31; i++)
        *xreg(r, i) = random_int(g);
    if (rng_below(g, 8) == 0) /* equal operands */
        *xreg(r, field(insn, 16, 5) % 31) = *xreg(r, field(insn, 5, 5) % 31);
    *xreg(r, R_SP) = random_int(g);
    r->reg[R_TPIDR].d[0] = random_int(g);
    r->reg[R_PSTATE].d[0] = rng_below(g, 16) << 28;
    random_vectors(g, r, insn);
    for (unsigned i = 0; i < RECORD_MEM; i++)
        r->mem[i] = (u8)rng_next(g);
    if (rng_below(g, 2))
        r->reg[R_FPCR].d[0] = rng_below(g, 4) << 22;
    if (rng_below(g, 4) == 0)
        r->reg[R_FPCR].d[0] |= (u32)rng_next(g) & A64_FPCR_KEY;
    if (rng_below(g, 8) == 0)
        r->reg[R_FPSR].d[0] = (u32)rng_next(g) & 0x0800009f;
}

static s64 sfield(u32 insn, unsigned lsb, unsigned len)
{
    return sext64(field(insn, lsb, len), len);
}

/* Where an access goes, relative to its base register; sets the index register if there is one. */
static s64 address_offset(struct rng *g, struct record *r, u32 insn)
{
    unsigned v = field(insn, 26, 1), size = field(insn, 30, 2) | (v ? field(insn, 23, 1) << 2 : 0);
    unsigned mode = field(insn, 10, 2);
    if ((insn & 0x3b000000) == 0x39000000)
        return (s64)field(insn, 10, 12) << size;
    if ((insn & 0x3b200000) == 0x38000000)
        return mode == 1 ? 0 : sfield(insn, 12, 9);
    if ((insn & 0x3f200c00) == 0x19000000)
        return sfield(insn, 12, 9);
    if ((insn & 0x3a000000) == 0x28000000) {
        unsigned pair = v ? 2 + field(insn, 30, 2) : field(insn, 31, 1) ? 3 : 2;
        return field(insn, 23, 2) == 1 ? 0 : sfield(insn, 15, 7) * (1 << pair);
    }
    if ((insn & 0x3b200c00) == 0x38200800) {
        unsigned rm = field(insn, 16, 5), option = field(insn, 13, 3);
        if (rm == 31)
            return 0;
        if (rng_below(g, 2))
            *xreg(r, rm) = rng_next(g);
        u64 index = option == 2   ? (u32)*xreg(r, rm)
                    : option == 6 ? (u64)sext64(*xreg(r, rm), 32)
                                  : *xreg(r, rm);
        return (s64)(index << (field(insn, 12, 1) ? size : 0));
    }
    return 0;
}

/* Let the access go to the window, rarely to the end of the page or to what is not mapped. */
static void aim(struct rng *g, struct record *r, unsigned line, u32 insn, bool may_be_odd)
{
    u64 to = PLACE_WINDOW + 64 + rng_below(g, 128);
    unsigned special = rng_below(g, 32);
    bool stores = a64_insns[line].effects & INSN_STORES;
    /* pairs and structures of vectors may have been loaded in part */
    bool whole = a64_insns[line].feature != A64_FEAT_AdvSIMD && (insn & 0x3e000000) != 0x2c000000;
    if (!may_be_odd || (special & 1))
        to &= ~15ull;
    if (special == 2 && !named(line, "sys")) /* the oracle ignores maintenance of no memory */
        to = PLACE_DATA + RECORD_PAGE + 0x1000 + 16 * rng_below(g, 16);
    if (special == 4 && !stores && whole && may_be_odd)
        to = PLACE_DATA + RECORD_PAGE - rng_below(g, 32);
    bool is_sys = named(line, "sys");
    unsigned rn = is_sys ? field(insn, 0, 5) : field(insn, 5, 5);
    *xreg(r, rn) = to - (u64)(is_sys ? 0 : address_offset(g, r, insn));
}

/* Lines whose words need care: what a word of theirs must look like, instead of uniform fields. */
static u32 tame(struct rng *g, unsigned line, u32 insn)
{
    static const u16 sysreg[] = {0xda10, 0xda15, 0xda16, 0xda20, 0xda21, 0xde82, 0xdc00};
    static const u16 sysop[] = {0x1ba9, 0x1bd1, 0x1bd9, 0x1bf1};
    if (named(line, "msr") || named(line, "mrs")) {
        u32 reg = sysreg[rng_below(g, ARRAY_LEN(sysreg))];
        return (insn & 0xfff0001f) | (reg & 0x7fff) << 5 | 1 << 20;
    }
    if (named(line, "sys"))
        return (insn & 0xfff8000f) | (u32)sysop[rng_below(g, ARRAY_LEN(sysop))] << 5;
    if ((insn & 0x3b000000) == 0x18000000) { /* a literal in the window */
        s64 words = (s64)(PLACE_WINDOW + 64 + 4 * rng_below(g, 32) - PLACE_PC) / 4;
        return (insn & 0xff00001f) | ((u32)words & 0x7ffff) << 5;
    }
    return insn;
}

/* Would it branch to where it can run on, to itself for example? */
static bool returns(const struct record *r, unsigned line)
{
    u32 insn = last_insn(r);
    s64 words = 16;
    if (named(line, "b_cond") || named(line, "bc_cond") || named(line, "cb"))
        words = sfield(insn, 5, 19);
    else if (named(line, "tb") && (insn & 0x7e000000) == 0x36000000)
        words = sfield(insn, 5, 14);
    else if ((insn & 0x7c000000) == 0x14000000)
        words = sfield(insn, 0, 26);
    return words > -4 && words < 4;
}

/* Two registers of a pair, base and data the same, and the like: left open by the architecture. */
static bool unpredictable(unsigned line, u32 insn)
{
    unsigned rt = field(insn, 0, 5), rn = field(insn, 5, 5), rt2 = field(insn, 10, 5);
    unsigned rs = field(insn, 16, 5), effects = a64_insns[line].effects;
    bool v = field(insn, 26, 1);
    if ((insn & 0x3a000000) == 0x28000000) { /* pairs */
        bool writes_back = field(insn, 23, 1);
        return (effects & INSN_LOADS && rt == rt2) ||
               (!v && writes_back && (rt == rn || rt2 == rn) && rn != 31);
    }
    if ((insn & 0x3b200400) == 0x38000400 && !v)
        return rt == rn && rn != 31;
    if ((insn & 0x3f800000) == 0x08000000) /* exclusives */
        return rs == rt || (rs == rn && rn != 31) ||
               (field(insn, 21, 1) && (rs == rt2 || rt == rt2));
    return (insn & 0x3b200c00) == 0x38200800 && rn == field(insn, 16, 5);
}

/* Registers that sequences use for addresses, and never write: one that leads to the window, one
 * that leads to nothing. */
enum { GOOD_BASE = 28, BAD_BASE = 27 };

static bool keeps_bases(u32 insn)
{
    const unsigned at[] = {0, 10, 16};
    for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
        unsigned n = field(insn, at[i], 5);
        if (n == GOOD_BASE || n == BAD_BASE)
            return false;
    }
    return true;
}

/* One instruction of a sequence: with registers 0..3 where that leaves it what it is. */
static u32 sequence_insn(struct rng *g, const bool *plain)
{
    const unsigned never = INSN_LOADS | INSN_STORES | INSN_ENDS_BLOCK;
    for (;;) {
        unsigned line = 1 + rng_below(g, A64_INSNS - 1);
        if (!plain[line] || a64_insns[line].effects & never)
            continue;
        u64 words = rng_next(g) | 1;
        u32 insn = a64_random(line, &words), few = insn & ~(0x1cu | 0x1c << 5 | 0x1c << 16);
        if (a64_decode_id(few) == line)
            return few;
        if (keeps_bases(insn))
            return insn;
    }
}

/* A load or store near one of the bases: unsigned offset, signed offset, pair. */
static u32 sequence_access(struct rng *g, const bool *plain)
{
    u32 base = rng_below(g, 32) ? GOOD_BASE : BAD_BASE;
    for (;;) {
        unsigned line = 1 + rng_below(g, A64_INSNS - 1);
        if (!plain[line] || !(a64_insns[line].effects & (INSN_LOADS | INSN_STORES)))
            continue;
        u64 words = rng_next(g) | 1;
        u32 insn = (a64_random(line, &words) & ~(0x1cu | 0x1f << 5)) | base << 5;
        if ((insn & 0x3b000000) == 0x39000000)
            insn &= ~(0xffcu << 10);
        else if ((insn & 0x3b200000) == 0x38000000)
            insn &= insn & 1u << 10 ? ~(0x1f8u << 12) : ~(0x1c0u << 12);
        else if ((insn & 0x3a000000) == 0x28000000)
            insn &= insn & 1u << 23 ? ~(0x7fu << 15 | 0x1c << 10) : ~(0x7cu << 15 | 0x1c << 10);
        else
            continue;
        if (a64_decode_id(insn) == line && !unpredictable(line, insn))
            return insn;
    }
}

static void generate_sequence(struct record *r, struct rng *g, const bool *plain)
{
    u32 insn[MAX_INSNS];
    unsigned count = 2 + rng_below(g, MAX_INSNS - 1);
    for (unsigned i = 0; i < count; i++)
        insn[i] = rng_below(g, 4) ? sequence_insn(g, plain) : sequence_access(g, plain);
    random_state(g, r, insn[0]);
    *xreg(r, GOOD_BASE) = PLACE_WINDOW + 64 + rng_below(g, 32);
    *xreg(r, BAD_BASE) = PLACE_DATA + 2 * RECORD_PAGE + rng_below(g, 32);
    if (rng_below(g, 2)) /* end with a branch on the flags, far away */
        insn[count - 1] = 0x54010000 | rng_below(g, 16);
    for (unsigned i = 0; i < count; i++)
        record_insn(r, insn[i], 4);
}

/* A store exclusive needs a load exclusive, of its own address as a rule. */
static void pair_exclusive(struct rng *g, struct record *r, u32 store)
{
    u32 load = store | 1u << 22;
    if (rng_below(g, 8) == 0)
        return;
    /* registers that neither the address nor the data comes from */
    unsigned free = 0;
    while (free == field(store, 5, 5) || free == field(store, 0, 5) ||
           free == field(store, 10, 5) || free + 1 == field(store, 5, 5) ||
           free + 1 == field(store, 0, 5) || free + 1 == field(store, 10, 5))
        free++;
    load =
        (load & ~0x1f7c1fu) | 31 << 16 | (field(store, 21, 1) ? free + 1 : 31) << 10 | free;
    r->bytes = 0;
    record_insn(r, load, 4);
    record_insn(r, store, 4);
}

static void generate(struct record *r, unsigned line, u64 seed, unsigned index, const bool *plain)
{
    struct rng g = {seed ^ (u64)line << 48 ^ (u64)index << 20};
    if (line == GUEST_SEQUENCE) {
        memset(r, 0, sizeof(*r));
        generate_sequence(r, &g, plain);
        return;
    }
    for (unsigned tries = 0; tries < 1000; tries++) {
        u64 words = rng_next(&g) | 1;
        u32 insn = tame(&g, line, a64_random(line, &words));
        memset(r, 0, sizeof(*r));
        r->line = line;
        record_insn(r, insn, 4);
        if (unpredictable(line, insn) || returns(r, line))
            continue;
        random_state(&g, r, insn);
        if (a64_insns[line].effects & (INSN_LOADS | INSN_STORES)) {
            bool ordered = (insn & 0x3f000000) == 0x08000000 || (insn & 0x3b200c00) == 0x38200000 ||
                           a64_insns[line].feature == A64_FEAT_LRCPC ||
                           a64_insns[line].feature == A64_FEAT_LRCPC2;
            aim(&g, r, line, insn, !ordered);
        }
        if (named(line, "msr") &&
            field(insn, 8, 8) == 0x44) /* what AArch32 has in there stays, or not */
            *xreg(r, field(insn, 0, 5) % 31) &= field(insn, 5, 3) ? 0x0800009f : A64_FPCR_MASK;
        if (named(line, "stx"))
            pair_exclusive(&g, r, insn);
        if (named(line, "br") || named(line, "blr") || named(line, "ret"))
            *xreg(r, field(insn, 5, 5) % 31) = 0x520000000 + 4 * rng_below(&g, 1 << 20);
        return;
    }
}

static void show(const struct record *in)
{
    u32 insn = last_insn(in);
    const unsigned at[] = {0, 5, 16, 10};
    for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
        unsigned n = insn >> at[i] & 31;
        printf("#   before: v%u = %016llx %016llx  x%u = %#llx\n", n, (unsigned long long)in->reg[R_V0 + n].d[1],
               (unsigned long long)in->reg[R_V0 + n].d[0], n, (unsigned long long)in->reg[n].d[0]);
    }
    printf("#   before: pstate %#llx fpcr %#llx fpsr %#llx\n", (unsigned long long)in->reg[R_PSTATE].d[0],
           (unsigned long long)in->reg[R_FPCR].d[0], (unsigned long long)in->reg[R_FPSR].d[0]);
}

#define ALL ~0ull
#define X(n) {"x" #n, ALL}
#define V(n) {"v" #n, ALL}

/* In the order of place.h; of pstate only the flags. */
static const struct guest_reg regs[] = {
    X(0), X(1), X(2), X(3), X(4), X(5), X(6), X(7), X(8), X(9), X(10), X(11), X(12), X(13), X(14), X(15), X(16),
    X(17), X(18), X(19), X(20), X(21), X(22), X(23), X(24), X(25), X(26), X(27), X(28), X(29), X(30), {"sp", ALL},
    {"pstate", 0xf0000000}, {"tpidr_el0", ALL}, {"fpcr", ALL}, {"fpsr", ALL},
    V(0), V(1), V(2), V(3), V(4), V(5), V(6), V(7), V(8), V(9), V(10), V(11), V(12), V(13), V(14), V(15), V(16),
    V(17), V(18), V(19), V(20), V(21), V(22), V(23), V(24), V(25), V(26), V(27), V(28), V(29), V(30), V(31), {NULL, 0},
};

static const struct guest a64 = {
    .name = "aarch64",
    .isa = &isa_aarch64,
    .model = MODEL,
    .insns = a64_insns,
    .lines = A64_INSNS,
    .regs = regs,
    .code = PLACE_CODE,
    .data = PLACE_DATA,
    .wants = wants,
    .generate = generate,
    .show = show,
};

const struct guest *const guests[] = {&a64, NULL};
