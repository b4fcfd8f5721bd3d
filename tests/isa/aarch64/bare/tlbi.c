/* What was mapped is gone behind TLBI, whichever page or block it was part of and whichever of its addresses TLBI names.
 * Prints TAP. */
#include "tap.h"

enum { TRIES = 60 };

#define VALID 1ul
#define TABLE 3ul
#define NG    (1ul << 11)
#define FLAT  (1ul << 10 | 3ul << 8 | 1ul << 2) /* used, shared, attributes 1; EL1 may do all */
#define RAM   0x40000000ul
#define SIZE  (64ul << 20) /* of memory that is looked at */
#define A1    (1ul << 22)  /* TCR_EL1: TTBR1_EL1 has the ASID */
#define AS    (1ul << 36)

static u64 flat[512] __attribute__((aligned(4096)));
static u64 tables[4][8192] __attribute__((aligned(65536)));
static u64 state = 0xabcdef;

static const struct shape {
    const char *name;
    u64 lsb, size, tg1, first; /* log2 of a page; TxSZ; TCR_EL1.TG1; the first level */
    u64 level;                 /* of the leaf */
} shapes[] = {
    {"4K", 12, 25, 2, 1, 3}, {"2M", 12, 25, 2, 1, 2}, {"1G", 12, 25, 2, 1, 1},
    {"64K", 16, 22, 3, 2, 3}, {"512M", 16, 22, 3, 2, 2}, {"16K", 14, 28, 1, 2, 3}, {"32M", 14, 28, 1, 2, 2},
};

void load(u64 at);
__asm__(".text\n.balign 64\nload:\nldr x1, [x0]\nsvc #1\n");

/* A way of TLBI, and whether it names an address or an ASID. */
enum { BY_ADDRESS = 1, BY_ASID = 2 };
#define TLBI(name)                                                                                 \
    static void tlbi_##name(u64 arg)                                                               \
    {                                                                                              \
        __asm__ volatile("dsb ishst\ntlbi " #name ", %0\ndsb ish\nisb" ::"r"(arg) : "memory");     \
    }
TLBI(vae1)
TLBI(vaae1)
TLBI(vale1)
TLBI(vaale1)
TLBI(vae1is)
TLBI(vaale1is)
TLBI(aside1)
TLBI(aside1is)

static void tlbi_all(u64 arg)
{
    __asm__ volatile("dsb ishst\ntlbi vmalle1\ndsb ish\nisb" ::: "memory");
}

/* TLBI RVAAE1. */
static void tlbi_range(u64 arg)
{
    register u64 x0 __asm__("x0") = arg;
    __asm__ volatile("dsb ishst\n.inst 0xd5088660\ndsb ish\nisb" ::"r"(x0) : "memory");
}

static const struct way {
    const char *name;
    void (*f)(u64 arg);
    u64 kind;
} ways[] = {
    {"vae1", tlbi_vae1, BY_ADDRESS | BY_ASID}, {"vaae1", tlbi_vaae1, BY_ADDRESS}, {"vale1", tlbi_vale1, BY_ADDRESS | BY_ASID},
    {"vaale1", tlbi_vaale1, BY_ADDRESS}, {"vae1is", tlbi_vae1is, BY_ADDRESS | BY_ASID}, {"vaale1is", tlbi_vaale1is, BY_ADDRESS},
    {"aside1", tlbi_aside1, BY_ASID}, {"aside1is", tlbi_aside1is, BY_ASID}, {"vmalle1", tlbi_all, 0},
};

/* Of the address in the upper half that stands for RAM + `at`. */
static u64 address_of(const struct shape *s, u64 at)
{
    return ~((1ul << (64 - s->size)) - 1) + RAM + at;
}

static u64 lsb_of(const struct shape *s, u64 level)
{
    return s->lsb + (3 - level) * (s->lsb - 3);
}

/* The tables down to the leaf that maps `at`. */
static u64 *leaf_of(const struct shape *s, u64 at, u64 attributes)
{
    u64 in = RAM + at;
    for (u64 level = s->first; level < s->level; level++) {
        u64 index = in >> lsb_of(s, level) & 8191 & ((1ul << (s->lsb - 3)) - 1);
        tables[level][index] = (u64)tables[level + 1] | TABLE;
    }
    u64 index = in >> lsb_of(s, s->level) & ((1ul << (s->lsb - 3)) - 1);
    u64 *leaf = &tables[s->level][index];
    *leaf = (in & ~((1ul << lsb_of(s, s->level)) - 1)) | attributes | (s->level == 3 ? 3 : VALID);
    return leaf;
}

static u64 is_there(u64 va)
{
    call_el1(load, va);
    return trap.esr == 0x56000001;
}

static void set_asid(const struct shape *s, u64 asid)
{
    WRITE(ttbr1_el1, (u64)tables[s->first] | asid << 48);
}

/* Addresses anywhere in a page or block are seen, and not any more when another one of it was named. */
static u64 try(const struct shape *s, const struct way *w)
{
    u64 bytes = 1ul << lsb_of(s, s->level), within = (bytes < SIZE ? bytes : SIZE) - 8;
    u64 base = bytes < SIZE ? next_random(&state) % (SIZE / bytes) * bytes : 0, asid = 1 + next_random(&state) % 60000;
    u64 at = base + (next_random(&state) % within & ~7ul), other = base + (next_random(&state) % within & ~7ul);
    u64 local = w->kind == BY_ASID || next_random(&state) & 1 ? NG : 0;
    u64 arg = (w->kind & BY_ADDRESS ? address_of(s, other) << 8 >> 20 : 0) | (w->kind & BY_ASID ? asid << 48 : 0);
    set_asid(s, asid);
    u64 *leaf = leaf_of(s, at, FLAT | local);
    __asm__ volatile("dsb sy\nisb" ::: "memory");
    u64 good = is_there(address_of(s, at)) && is_there(address_of(s, other));
    if (next_random(&state) & 1) { /* another context in between */
        set_asid(s, asid ^ 1);
        is_there(address_of(s, at));
        tlbi_aside1((asid ^ 1) << 48);
        set_asid(s, asid);
    }
    *leaf = 0;
    w->f(arg);
    return good && !is_there(address_of(s, at)) && !is_there(address_of(s, other));
}

static void start(const struct shape *s)
{
    WRITE(tcr_el1, 25ul | s->size << 16 | s->tg1 << 30 | 2ul << 32 | A1 | AS);
    set_asid(s, 1);
    tlbi_all(0);
}

static void put_name(const char *shape, const char *way)
{
    put("# ");
    put(shape);
    put_char(' ');
    put(way);
    put("\n");
}

static void try_shape(const struct shape *s)
{
    u64 all = 1;
    start(s);
    for (u64 i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        u64 good = 0;
        for (u64 k = 0; k < TRIES; k++)
            good += try(s, &ways[i]);
        if (good != TRIES)
            put_name(s->name, ways[i].name);
        all &= good == TRIES;
    }
    check(s->name, all);
}

/* Ranges: those of a few pages within a block, too. */
static void ranges(void)
{
    static const u64 tg[] = {[12] = 1, [14] = 2, [16] = 3};
    for (u64 i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const struct shape *s = &shapes[i];
        u64 good = 0;
        start(s);
        for (u64 k = 0; k < TRIES; k++) {
            u64 bytes = 1ul << lsb_of(s, s->level), at = next_random(&state) % (SIZE / 2) & ~7ul;
            u64 *leaf = leaf_of(s, at, FLAT);
            __asm__ volatile("dsb sy\nisb" ::: "memory");
            u64 there = is_there(address_of(s, at)), first = (bytes > 2 << s->lsb ? at : at & ~(bytes - 1)) >> s->lsb << s->lsb;
            *leaf = 0;
            tlbi_range((address_of(s, first) >> s->lsb & ((1ul << 37) - 1)) | tg[s->lsb] << 46);
            good += there && !is_there(address_of(s, at));
        }
        check("a range", good == TRIES);
    }
}

void main(void)
{
    u64 sctlr = READ(sctlr_el1) & ~(1ul << 3 | 1ul << 4);
    flat[0] = VALID | 2ul << 8 | 1ul << 10; /* the console: device memory */
    flat[1] = RAM | VALID | FLAT;
    WRITE(mair_el1, 0xff00);
    WRITE(ttbr0_el1, (u64)flat);
    start(&shapes[0]);
    WRITE(sctlr_el1, sctlr | 1);
    for (u64 i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        try_shape(&shapes[i]);
    if (READ(id_aa64isar0_el1) >> 56 == 2)
        ranges();
    put_plan();
}
