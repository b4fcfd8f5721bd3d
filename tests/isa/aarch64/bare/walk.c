/* Translation: tables with random attributes at every level and for each size of pages, and what AT, loads, stores and
 * jumps at both levels make of them. One line for each try. */
#include "bare.h"

enum { ROUNDS = 250 };

#define VALID   1ul
#define TABLE   3ul
#define AF      (1ul << 10)
#define FLAT    (AF | 3ul << 8 | 1ul << 2) /* a block: EL1 may do all, attributes 1 */
#define TCR_EPD1 (1ul << 23)

/* The tables: one for the program itself, three for what is tried, and a page to reach. */
static u64 flat[512] __attribute__((aligned(4096)));
static u64 tables[4][8192] __attribute__((aligned(65536)));
static u64 page[8192] __attribute__((aligned(65536)));

static u64 used[4]; /* the entry of each */
static u64 *leaf;
static u64 has_marks, has_pan, has_e0pd; /* by the ID registers */
static u64 state = 0x123456789;

static u64 random_bits(void)
{
    return next_random(&state);
}

static u64 chance(u64 one_in)
{
    return random_bits() % one_in == 0;
}

struct shape {
    u64 lsb, size; /* log2 of a page; TxSZ */
    u64 tg1;
    u64 levels, top; /* of tables, and the first one's lowest bit */
};

static const struct shape shapes[] = {
    {12, 16, 2, 4, 39}, {12, 25, 2, 3, 30}, {12, 34, 2, 2, 21},
    {16, 16, 3, 3, 42}, {16, 22, 3, 2, 29}, {16, 35, 3, 1, 16},
    {14, 16, 1, 4, 47}, {14, 17, 1, 3, 36}, {14, 28, 1, 2, 25},
};

static u64 random_leaf(u64 out, u64 last)
{
    u64 d = (random_bits() & 0x0070000000000ffcul) | (random_bits() & 1ul << 51 & (random_bits() << 1)) | out;
    d &= ~(7ul << 2);
    d |= (random_bits() % 3) << 2;
    if (!chance(4))
        d |= AF;
    d &= ~(1ul << 50); /* no landing pads */
    return d | (chance(20) ? 0 : VALID) | (last == !chance(20) ? 2 : 0);
}

static u64 random_table(u64 to)
{
    u64 attributes = chance(2) ? random_bits() & random_bits() & 0x7800000000000000ul : 0;
    return to | attributes | (chance(40) ? 2 : TABLE);
}

/* A way to `page` for one address through tables 0 to 3; the block or page is at level 3, or earlier. */
static void build(const struct shape *s, u64 va, u64 leaf_level)
{
    u64 first = 4 - s->levels, lsb = s->top, stride = s->lsb - 3;
    for (u64 level = first;; level++, lsb -= stride) {
        u64 index = va >> lsb & ((1ul << stride) - 1);
        if (level == first)
            index = (va & ((1ul << (64 - s->size)) - 1)) >> lsb;
        u64 out = (u64)page & ~((1ul << lsb) - 1);
        if (chance(60))
            out |= 1ul << 45; /* beyond many CPUs' addresses */
        u64 end = level == leaf_level || level == 3;
        used[level] = index;
        leaf = &tables[level][index];
        tables[level][index] = end ? random_leaf(out, level == 3) : random_table((u64)tables[level + 1]);
        if (end)
            break;
    }
}

static void clear(void)
{
    for (u64 t = 0; t < 4; t++)
        tables[t][used[t]] = 0;
}

static void synchronise(void)
{
    __asm__ volatile("dsb sy\ntlbi vmalle1\ndsb sy\nisb" ::: "memory");
}

/* FEAT_HAFDBS, FEAT_E0PD, FEAT_HPDS where they are, for the upper half. */
static u64 random_controls(void)
{
    u64 tcr = 0;
    if (has_marks)
        tcr |= random_bits() & 3ul << 39;
    if (has_e0pd && chance(6))
        tcr |= 1ul << 56;
    if (has_pan && chance(4))
        tcr |= 1ul << 42;
    return tcr;
}

static void set_pan(u64 on)
{
    if (on)
        __asm__ volatile(".inst 0xd500419f" ::: "memory");
    else if (has_pan)
        __asm__ volatile(".inst 0xd500409f" ::: "memory");
}

#define ACCESS(name, text)                                                                         \
    void name(u64 arg);                                                                            \
    __asm__(".text\n.balign 64\n.globl " #name "\n" #name ":\n" text "\nret\n")

ACCESS(load, "ldr x1, [x0]");
ACCESS(store, "str x0, [x0]");
ACCESS(load_user, "ldtr x1, [x0]");
ACCESS(store_user, "sttr x0, [x0]");
ACCESS(load_odd, "ldr x1, [x0, #1]");
ACCESS(clean, "dc cvau, x0");
ACCESS(jump, "br x0");
ACCESS(at_s1e1r, "at s1e1r, x0\nisb");
ACCESS(at_s1e1w, "at s1e1w, x0\nisb");
ACCESS(at_s1e0r, "at s1e0r, x0\nisb");
ACCESS(at_s1e0w, "at s1e0w, x0\nisb");

/* The page holds `ret`, then `svc #0`, at the start of each 4 KiB. */
static void fill_page(void)
{
    for (u64 i = 0; i < 8192; i += 512) {
        page[i] = 0xd4000001d65f03c0ul;
        page[i + 1] = 0xd4000001d4000001ul;
    }
}

static void outcome(const char *what, u64 va, u64 trapped)
{
    put_char(' ');
    put(what);
    if (!trapped)
        return;
    put_char('=');
    put_hex(trap.esr);
    u64 class = trap.esr >> 26;
    if ((class == 0x20 || class == 0x21 || class == 0x24 || class == 0x25) && trap.far != va)
        put_value("far", trap.far - va);
}

static void try_all(u64 va)
{
    u64 pan = has_pan && chance(3);
    static const struct {
        const char *name;
        void (*f)(u64);
    } el1[] = {{"load", load}, {"store", store}, {"ldtr", load_user}, {"sttr", store_user}, {"odd", load_odd},
               {"clean", clean}, {"jump", jump}};
    fill_page();
    synchronise();
    for (u64 i = 0; i < sizeof(el1) / sizeof(el1[0]); i++) {
        set_pan(pan);
        u64 trapped = call_el1(el1[i].f, va);
        set_pan(0);
        outcome(el1[i].name, va, trapped);
        fill_page();
    }
    put_value("entry", *leaf & (AF | 1ul << 7));
    /* from EL0: what is there is fetched */
    outcome("el0", va, call_el0(va + 4, 0, EL0_MASKED));
    put("\n");
}

/* Without SH where memory is not cached: there it is outer shareable whatever the entry says, which the peer does not
 * know. */
static u64 comparable(u64 par)
{
    return !(par & 1) && par >> 56 != 0xff ? par & ~0x180ul : par;
}

static void translate_all(u64 va)
{
    static const struct {
        const char *name;
        void (*f)(u64);
    } at[] = {{"s1e1r", at_s1e1r}, {"s1e1w", at_s1e1w}, {"s1e0r", at_s1e0r}, {"s1e0w", at_s1e0w}};
    for (u64 i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        if (call_el1(at[i].f, va))
            outcome(at[i].name, va, 1);
        else
            put_value(at[i].name, comparable(READ(par_el1)));
    }
}

static void one(const struct shape *s)
{
    u64 va = random_bits() & ((1ul << (64 - s->size)) - 1);
    u64 tags = chance(3) ? random_bits() & 0xff00000000000000ul : 0;
    va |= ~((1ul << (64 - s->size)) - 1); /* the upper half: the program is in the lower one */
    va = (va & ~0xffful) ^ tags;
    u64 tcr = s->size << 16 | s->tg1 << 30 | 25;
    u64 first = 4 - s->levels, leaf_level = chance(3) ? 3 - random_bits() % 2 : 3;
    if (leaf_level < first)
        leaf_level = 3;
    u64 block = (1ul << (s->lsb + (3 - leaf_level) * (s->lsb - 3))) - 1;
    va = (va & ~block) | ((u64)page & block); /* whatever the size, there is something known to run */
    clear();
    build(s, va, leaf_level);
    tcr |= 5ul << 32 | (chance(2) ? 1ul << 38 : 0) | (chance(8) ? TCR_EPD1 : 0) | random_controls();
    u64 ttbr = (u64)tables[first];
    put("size");
    put_hex(s->size);
    put_value("grain", s->lsb);
    put_value("va", va);
    WRITE(tcr_el1, tcr);
    WRITE(ttbr1_el1, ttbr);
    synchronise();
    translate_all(va);
    try_all(va);
}

void main(void)
{
    u64 sctlr = READ(sctlr_el1) & ~(1ul << 3 | 1ul << 4);
    flat[0] = VALID | 2ul << 8 | AF; /* the console: device memory */
    flat[1] = 0x40000000ul | VALID | FLAT;
    WRITE(mair_el1, 0x44ff00);
    WRITE(ttbr0_el1, (u64)flat);
    WRITE(tcr_el1, 25ul | 25ul << 16 | 2ul << 30 | 5ul << 32);
    synchronise();
    has_marks = READ(id_aa64mmfr1_el1) & 15;
    has_pan = READ(id_aa64mmfr1_el1) >> 20 & 15;
    has_e0pd = READ(s3_0_c0_c7_2) >> 60;
    u64 has_16k = READ(id_aa64mmfr0_el1) >> 20 & 15;
    WRITE(sctlr_el1, sctlr | 1 | 1 << 26);
    for (u64 i = 0; i < ROUNDS; i++) {
        for (u64 k = 0; k < sizeof(shapes) / sizeof(shapes[0]); k++) {
            if (shapes[k].lsb != 14 || has_16k)
                one(&shapes[k]);
        }
    }
    WRITE(sctlr_el1, sctlr);
}
