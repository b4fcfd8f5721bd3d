/* Translation: tables with random attributes at every level and for each size of pages, and what AT, loads, stores and
 * jumps at both levels make of them. One line for each try. */
#include "bare.h"

enum { ROUNDS = 3000 };

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

struct grain;

struct shape {
    u64 lsb, size; /* log2 of a page; TxSZ */
    u64 levels, top; /* of tables, and the first one's lowest bit */
    const struct grain *grain;
};

/* What TG1 and TG0 say for a size of pages. */
static const struct grain {
    u64 lsb, tg1, tg0;
} grains[] = {{12, 2, 0}, {16, 3, 1}, {14, 1, 2}};

/* TxSZ where tables of all sizes begin, and some at random. */
static const u8 sizes[] = {16, 17, 22, 25, 28, 34, 35, 39};

static struct shape shape_of(const struct grain *g, u64 size)
{
    u64 stride = g->lsb - 3, bits = 64 - size, levels = (bits - g->lsb + stride - 1) / stride;
    return (struct shape){g->lsb, size, levels, g->lsb + (levels - 1) * stride, g};
}

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

/* FEAT_HAFDBS, FEAT_E0PD, FEAT_HPDS where they are, and TBI. */
static u64 random_controls(u64 upper)
{
    u64 tcr = chance(2) ? 1ul << (37 + upper) : 0;
    if (has_marks)
        tcr |= random_bits() & 3ul << 39;
    if (has_e0pd && chance(6))
        tcr |= 1ul << (55 + upper);
    if (has_pan && chance(4))
        tcr |= 1ul << (41 + upper);
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

/* The tables of the lower half map the program and the console, too, by blocks. */
static void map_program(const struct shape *s, u64 first)
{
    static u64 own[4][8192] __attribute__((aligned(65536)));
    u64 stride = s->lsb - 3, last = s->lsb == 12 ? 1 : 2;
    static const u64 at[] = {0x09000000, 0x40000000};
    for (u64 i = 0; i < 2; i++) {
        u64 *table = tables[first];
        for (u64 level = first, lsb = s->top; level < last; level++, lsb -= stride) {
            table[at[i] >> lsb & ((1ul << stride) - 1)] = (u64)own[level] | TABLE;
            table = own[level];
        }
        u64 lsb = s->lsb + (3 - last) * stride, kind = i ? FLAT : 2ul << 8 | AF;
        table[at[i] >> lsb & ((1ul << stride) - 1)] = (at[i] & ~((1ul << lsb) - 1)) | kind | VALID;
    }
}

/* Where the lower half's first table is not the program's: not by TTBR0_EL1 with little more than the program. */
static u64 is_free(const struct shape *s, u64 va, u64 first)
{
    u64 plain = va & ((1ul << (64 - s->size)) - 1), last = s->lsb == 12 ? 1 : 2;
    return s->size <= 28 && plain >> s->top > 0x7ffffffful >> s->top && first <= last;
}

static void use(u64 tcr, u64 ttbr0, u64 ttbr1)
{
    u64 sctlr = READ(sctlr_el1);
    WRITE(sctlr_el1, sctlr & ~1ul);
    WRITE(tcr_el1, tcr);
    WRITE(ttbr0_el1, ttbr0);
    WRITE(ttbr1_el1, ttbr1);
    synchronise();
    WRITE(sctlr_el1, sctlr);
}

static void one(const struct shape *s, u64 upper)
{
    u64 va = random_bits() & ((1ul << (64 - s->size)) - 1);
    u64 tags = chance(3) ? random_bits() & 0xff00000000000000ul : 0;
    u64 first = 4 - s->levels, least = s->lsb == 12 ? 1 : 2, leaf_level = chance(3) ? least + random_bits() % 2 : 3;
    if (leaf_level < first)
        leaf_level = 3;
    u64 block = (1ul << (s->lsb + (3 - leaf_level) * (s->lsb - 3))) - 1;
    va = (va & ~block) | ((u64)page & block & ~0xffful); /* whatever the size, there is something known to run */
    if (upper)
        va |= ~((1ul << (64 - s->size)) - 1);
    if (!upper && !is_free(s, va, first))
        return;
    va ^= tags;
    clear();
    build(s, va, leaf_level);
    u64 tcr = 5ul << 32 | random_controls(upper), ttbr = (u64)tables[first];
    put(upper ? "upper size" : "lower size");
    put_hex(s->size);
    put_value("grain", s->lsb);
    put_value("va", va);
    if (upper) {
        use(tcr | s->size << 16 | s->grain->tg1 << 30 | 25 | (chance(8) ? TCR_EPD1 : 0), (u64)flat, ttbr);
    } else {
        map_program(s, first);
        use(tcr | s->size | s->grain->tg0 << 14 | TCR_EPD1, ttbr, 0);
    }
    translate_all(va);
    try_all(va);
    use(25ul | TCR_EPD1 | 5ul << 32, (u64)flat, 0);
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
        const struct grain *g = &grains[random_bits() % 3];
        u64 size = chance(2) ? sizes[random_bits() % sizeof(sizes)] : 16 + random_bits() % 24;
        struct shape s = shape_of(g, size);
        if (g->lsb != 14 || has_16k)
            one(&s, random_bits() % 3 > 0);
    }
    WRITE(sctlr_el1, sctlr);
}
