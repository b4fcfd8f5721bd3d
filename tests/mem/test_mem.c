/* Address spaces: what is seen where ranges overlap (against a definition that looks at one address at a
 * time), accesses to memory and to windows of devices, copies, and what listeners hear. */
#include "check.h"

#include <unistd.h>

#include "mem/mem.h"

/* ---- which range is seen ---- */

static u32 seed = 1;

static u32 pick(u32 below)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

enum { RANGES = 12, SPAN = 200 };

/* What the test remembers of a range; the tree is asked nothing. */
struct plan {
    struct mem_range *range;
    bool container, off;
    int alias_of, in; /* numbers of others, or -1 */
    u64 at, size, offset;
    int priority, added;
};

/* The range at `addr` of range `n`, by the words of mem.h; -1: none. */
static int seen(const struct plan *p, int n, u64 addr, u64 *offset)
{
    const struct plan *r = &p[n];
    if (r->off || addr >= r->size)
        return -1;
    if (r->alias_of >= 0)
        return seen(p, r->alias_of, addr + r->offset, offset);
    *offset = addr;
    if (!r->container)
        return n;
    int best = -1, best_offset = 0;
    const struct plan *top = NULL;
    for (int i = 0; i < RANGES; i++) {
        u64 o;
        if (p[i].in != n || addr < p[i].at)
            continue;
        int found = seen(p, i, addr - p[i].at, &o);
        bool above = !top || p[i].priority > top->priority ||
                     (p[i].priority == top->priority && p[i].added > top->added);
        if (found >= 0 && above) {
            best = found;
            best_offset = (int)o;
            top = &p[i];
        }
    }
    *offset = (u64)best_offset;
    return best;
}

static struct mem_range *plan_range(struct plan *p, int n)
{
    struct plan *r = &p[n];
    unsigned kind = n ? pick(4) : 0;
    r->size = n ? 1 + pick(80) : SPAN;
    r->alias_of = -1;
    r->container = kind == 0;
    if (kind == 0)
        return mem_container_new("container", r->size);
    if (kind != 1)
        return mem_io_new("io", r->size, &(struct mem_io){0}, NULL);
    r->alias_of = (int)pick((u32)n);
    r->offset = pick(20);
    return mem_alias_new("alias", p[r->alias_of].range, r->offset, r->size);
}

/* Aliases name ranges made before and containers hold ranges made after, so a circle needs both; an alias
 * is therefore put into the root, and shows anything but the root. */
static void plan_tree(struct plan *p)
{
    for (int n = 0; n < RANGES; n++) {
        p[n] = (struct plan){.in = -1};
        p[n].range = plan_range(p, n);
        if (!n)
            continue;
        int in = (int)pick((u32)n);
        p[n].in = p[in].container && p[n].alias_of < 0 ? in : 0;
        if (p[n].alias_of == 0)
            p[n].off = true;
        p[n].at = pick(SPAN);
        p[n].priority = (int)pick(3) - 1;
        p[n].added = n;
        p[n].off |= pick(8) == 0;
        mem_range_add(p[p[n].in].range, p[n].at, p[n].priority, p[n].range);
        mem_range_enable(p[n].range, !p[n].off);
    }
}

/* The view says for each address what the definition says; pieces are in order and do not overlap. */
static int differences(struct mem_space *s, const struct plan *p)
{
    struct mem_piece piece = {0};
    bool more = mem_space_piece(s, 0, &piece);
    int bad = 0;
    unsigned i = 0;
    for (u64 addr = 0; addr < SPAN; addr++) {
        u64 offset = 0;
        while (more && piece.last < addr) {
            u64 last = piece.last;
            more = mem_space_piece(s, ++i, &piece);
            bad += more && piece.start <= last;
        }
        bool there = more && piece.start <= addr;
        int want = seen(p, 0, addr, &offset);
        bad += there != (want >= 0);
        if (there && want >= 0)
            bad += piece.offset + (addr - piece.start) != offset;
    }
    return bad;
}

TEST(the_view_agrees_with_the_definition)
{
    for (int round = 0; round < 2000; round++) {
        struct plan p[RANGES];
        plan_tree(p);
        struct mem_space *s = mem_space_new(p[0].range);
        CHECK_EQ(differences(s, p), 0);
        mem_space_free(s);
        for (int n = RANGES; n--;)
            mem_range_free(p[n].range);
    }
}

TEST(the_whole_of_64_bits)
{
    struct mem_range *root = mem_container_new("root", 0);
    struct mem_range *low = mem_container_new("low", 0);
    struct mem_io io = {0};
    mem_range_add(root, 0, -1, mem_io_new("all", 0, &io, NULL));
    mem_range_add(root, ~0ull - 15, 0, mem_io_new("end", 16, &io, NULL));
    mem_range_add(root, 1ull << 63, 0, low); /* goes beyond the end */
    mem_range_add(low, 16, 0, mem_io_new("inner", 16, &io, NULL));
    struct mem_space *s = mem_space_new(root);
    struct mem_piece p;
    unsigned n = 0;
    const char *names[] = {"all", "inner", "all", "end"};
    while (mem_space_piece(s, n, &p) && n < ARRAY_LEN(names)) {
        CHECK_STR(p.name, names[n]);
        n++;
    }
    CHECK_EQ(n, 4);
    CHECK_EQ(p.last, ~0ull);
    mem_space_free(s);
    mem_tree_free(root);
}

/* ---- accesses ---- */

/* A device that keeps what it was asked. */
struct probe {
    unsigned calls;
    u64 offset[8], value[8];
    unsigned size[8];
    u64 answer;
    enum mem_result result;
};

static enum mem_result note(struct probe *p, u64 offset, unsigned size, u64 value)
{
    p->offset[p->calls] = offset;
    p->size[p->calls] = size;
    p->value[p->calls++] = value;
    return p->result;
}

static enum mem_result probe_read(void *opaque, u64 offset, unsigned size, u64 *value)
{
    struct probe *p = opaque;
    *value = p->answer + p->calls;
    return note(p, offset, size, 0);
}

static enum mem_result probe_write(void *opaque, u64 offset, unsigned size, u64 value)
{
    return note(opaque, offset, size, value);
}

#define PROBE .read = probe_read, .write = probe_write

/* 64 KiB of RAM at 0, ROM behind it, the window of a device at 0x30000. */
struct board {
    struct mem_range *root, *ram, *rom;
    struct mem_space *space;
    struct probe probe;
};

static void board_new(struct board *b, const struct mem_io *io)
{
    struct err e;
    memset(b, 0, sizeof(*b));
    b->root = mem_container_new("root", 0);
    b->ram = mem_ram_new("ram", 0x10000, &e);
    b->rom = mem_rom_new("rom", 0x10000, &e);
    mem_range_add(b->root, 0, 0, b->ram);
    mem_range_add(b->root, 0x10000, 0, b->rom);
    mem_range_add(b->root, 0x30000, 0, mem_io_new("probe", 0x1000, io, &b->probe));
    b->space = mem_space_new(b->root);
}

static void board_free(struct board *b)
{
    mem_space_free(b->space);
    mem_tree_free(b->root);
}

TEST(memory_of_each_size)
{
    struct board b;
    struct mem_io io = {PROBE};
    board_new(&b, &io);
    for (unsigned size = 1; size <= 8; size *= 2) {
        for (u64 addr = 100; addr < 110; addr++) {
            u64 v = 0, want = 0x8877665544332211u & (size == 8 ? ~0ull : (1ull << 8 * size) - 1);
            CHECK_EQ(mem_write(b.space, addr, size, 0x8877665544332211u), MEM_OK);
            CHECK_EQ(mem_read(b.space, addr, size, &v), MEM_OK);
            CHECK_EQ(v, want);
            CHECK_EQ(mem_range_host(b.ram)[addr], 0x11);
        }
    }
    CHECK_EQ(mem_write(b.space, 0x10000, 4, 1), MEM_ERROR);
    CHECK_EQ(mem_read(b.space, 0x20000, 4, &(u64){0}), MEM_NONE);
    CHECK_EQ(mem_write(b.space, 0x20000, 4, 0), MEM_NONE);
    board_free(&b);
}

TEST(an_access_over_a_border_is_one_for_each_byte)
{
    struct board b;
    struct mem_io io = {PROBE};
    board_new(&b, &io);
    u64 v = 0;
    CHECK_EQ(mem_load(b.space, 0xfffc, "abcdefgh", 8), MEM_OK);
    CHECK_EQ(mem_read(b.space, 0xfffc, 8, &v), MEM_OK);
    CHECK_EQ(v, 0x6867666564636261u);
    CHECK_EQ(mem_read(b.space, 0x1fffe, 4, &v), MEM_NONE);
    board_free(&b);
}

TEST(host_memory)
{
    struct board b;
    struct mem_io io = {PROBE};
    board_new(&b, &io);
    u64 len;
    bool writable;
    CHECK(mem_host(b.space, 0x1000, &len, &writable) == mem_range_host(b.ram) + 0x1000);
    CHECK_EQ(len, 0xf000);
    CHECK(writable);
    CHECK(mem_host(b.space, 0x10001, &len, &writable) == mem_range_host(b.rom) + 1);
    CHECK(!writable);
    CHECK(!mem_host(b.space, 0x30000, &len, &writable));
    CHECK(!mem_host(b.space, 0x20000, &len, &writable));
    board_free(&b);
}

static void check_call(const struct probe *p, unsigned i, u64 offset, unsigned size, u64 value)
{
    CHECK_EQ(p->offset[i], offset);
    CHECK_EQ(p->size[i], size);
    CHECK_EQ(p->value[i], value);
}

TEST(a_device_of_words_sees_words)
{
    struct board b;
    struct mem_io io = {PROBE, .call_min = 4, .call_max = 4};
    board_new(&b, &io);
    u64 v = 0;
    b.probe.answer = 0x44332211;
    CHECK_EQ(mem_read(b.space, 0x30012, 1, &v), MEM_OK);
    CHECK_EQ(v, 0x33);
    check_call(&b.probe, 0, 0x10, 4, 0);
    CHECK_EQ(mem_write(b.space, 0x30012, 2, 0xabcd), MEM_OK);
    check_call(&b.probe, 1, 0x10, 4, 0xabcd0000);
    CHECK_EQ(mem_write(b.space, 0x30018, 8, 0x1122334455667788), MEM_OK);
    check_call(&b.probe, 2, 0x18, 4, 0x55667788);
    check_call(&b.probe, 3, 0x1c, 4, 0x11223344);
    CHECK_EQ(mem_read(b.space, 0x30020, 8, &v), MEM_OK);
    CHECK_EQ(v, 0x4433221644332215);
    CHECK_EQ(b.probe.calls, 6);
    board_free(&b);
}

TEST(what_a_device_refuses)
{
    struct board b;
    struct mem_io io = {PROBE, .min = 2, .max = 4};
    board_new(&b, &io);
    u64 v;
    CHECK_EQ(mem_read(b.space, 0x30000, 1, &v), MEM_ERROR);
    CHECK_EQ(mem_read(b.space, 0x30000, 8, &v), MEM_ERROR);
    CHECK_EQ(mem_read(b.space, 0x30002, 4, &v), MEM_ERROR);
    CHECK_EQ(b.probe.calls, 0);
    b.probe.result = MEM_ERROR;
    CHECK_EQ(mem_write(b.space, 0x30002, 2, 7), MEM_ERROR);
    CHECK_EQ(b.probe.calls, 1);
    board_free(&b);
}

TEST(a_device_of_the_other_byte_order)
{
    struct board b;
    struct mem_io io = {PROBE, .call_max = 4, .big_endian = true, .unaligned = true};
    board_new(&b, &io);
    u64 v = 0;
    b.probe.answer = 0x11223344;
    CHECK_EQ(mem_read(b.space, 0x30001, 4, &v), MEM_OK);
    CHECK_EQ(v, 0x44332211);
    CHECK_EQ(mem_write(b.space, 0x30000, 2, 0xabcd), MEM_OK);
    check_call(&b.probe, 1, 0, 2, 0xcdab);
    board_free(&b);
}

/* ---- copies and listeners ---- */

struct ear {
    struct mem_listener l;
    unsigned changes;
    u64 addr, len;
};

static void heard_change(struct mem_listener *l)
{
    container_of(l, struct ear, l)->changes++;
}

static void heard_write(struct mem_listener *l, u64 addr, u64 len)
{
    struct ear *x = container_of(l, struct ear, l);
    x->addr = addr;
    x->len = len;
}

TEST(copies)
{
    struct board b;
    struct mem_io io = {PROBE};
    char back[32] = "";
    struct ear ear = {.l = {heard_change, heard_write, NULL}};
    board_new(&b, &io);
    mem_space_listen(b.space, &ear.l);
    CHECK_EQ(mem_dma_write(b.space, 0xfff0, "0123456789abcdef", 16), MEM_OK);
    CHECK_EQ(ear.addr, 0xfff0);
    CHECK_EQ(ear.len, 16);
    CHECK_EQ(mem_dma_write(b.space, 0xfff8, "0123456789abcdef", 16), MEM_ERROR);
    CHECK_EQ(mem_load(b.space, 0xfff8, "0123456789abcdef", 16), MEM_OK);
    CHECK_EQ(mem_dma_read(b.space, 0xfff0, back, 24), MEM_OK);
    CHECK(!memcmp(back, "012345670123456789abcdef", 24));
    CHECK_EQ(mem_dma_read(b.space, 0x1fff8, back, 16), MEM_NONE);
    CHECK_EQ(mem_dma_read(b.space, 0x30000, back, 4), MEM_ERROR);
    CHECK_EQ(b.probe.calls, 0);
    board_free(&b);
}

TEST(a_change_is_published)
{
    struct board b;
    struct mem_io io = {PROBE};
    struct ear ear = {.l = {heard_change, NULL, NULL}};
    board_new(&b, &io);
    mem_space_listen(b.space, &ear.l);
    struct mem_range *low = mem_alias_new("low", b.rom, 0x100, 0x1000);
    u64 v;
    mem_load(b.space, 0x10100, "rom!", 4);
    mem_range_add(b.root, 0x2000, 1, low);
    CHECK_EQ(mem_read(b.space, 0x2000, 4, &v), MEM_OK);
    CHECK_EQ(v, 0);
    mem_space_update(b.space);
    CHECK_EQ(ear.changes, 1);
    CHECK_EQ(mem_read(b.space, 0x2000, 4, &v), MEM_OK);
    CHECK_EQ(v, 0x216d6f72);
    mem_range_enable(low, false);
    mem_space_update(b.space);
    mem_space_reclaim(b.space);
    CHECK_EQ(mem_read(b.space, 0x2000, 4, &v), MEM_OK);
    CHECK_EQ(v, 0);
    board_free(&b);
}

TEST(memory_that_cannot_be_had)
{
    struct err e = {0};
    CHECK(!mem_ram_new("huge", 1ull << 60, &e));
    CHECK(strstr(e.text, "'huge'") != NULL);
}

TEST(memory_is_a_file)
{
    struct err e;
    struct mem_range *r = mem_ram_new("ram", 4096, &e);
    char c = 'x';
    CHECK_EQ(pwrite(mem_range_fd(r), &c, 1, 5), 1);
    CHECK_EQ(mem_range_host(r)[5], 'x');
    CHECK_EQ(mem_range_size(r), 4096);
    mem_range_free(r);
}

/* ---- the dirty log ---- */

struct logged {
    struct board b;
    struct mem_listener listener;
    unsigned heard;
    u64 pages[1];
};

static void hear(struct mem_listener *l)
{
    container_of(l, struct logged, listener)->heard++;
}

static void logged_new(struct logged *g)
{
    board_new(&g->b, &(struct mem_io){PROBE});
    g->heard = 0;
    g->listener = (struct mem_listener){.clean = hear};
    mem_space_listen(g->b.space, &g->listener);
}

static u64 take(struct logged *g, enum mem_log log)
{
    mem_log_take(g->b.space, g->b.ram, log, 0, 16 * MEM_LOG_PAGE, g->pages);
    return g->pages[0];
}

static bool writable_at(struct logged *g, u64 addr, bool write, u64 *len)
{
    bool writable = false;
    CHECK((write ? mem_host_write : mem_host)(g->b.space, addr, len, &writable) != NULL);
    return writable;
}

TEST(writes_are_in_the_logs_that_are_on)
{
    struct logged g;
    u64 len;
    u8 bytes[0x2000] = {0};
    logged_new(&g);
    CHECK_EQ(take(&g, MEM_LOG_DISPLAY), 0); /* it is off */
    mem_write(g.b.space, 0x1000, 4, 1);
    mem_log_start(g.b.space, g.b.ram, MEM_LOG_DISPLAY);
    CHECK_EQ(g.heard, 1);
    CHECK_EQ(take(&g, MEM_LOG_DISPLAY), 0); /* what was written before is not in it */
    CHECK_EQ(g.heard, 1);
    mem_write(g.b.space, 0x1ffe, 4, 1); /* two pages */
    mem_dma_write(g.b.space, 0x4fff, bytes, 0x1002);
    mem_load(g.b.space, 0x8000, bytes, 1);
    mem_dma_written(g.b.space, 0xa000, 1);
    mem_log_start(g.b.space, g.b.ram, MEM_LOG_MIGRATION);
    mem_write(g.b.space, 0xf000, 8, 1);
    CHECK_EQ(take(&g, MEM_LOG_MIGRATION), 0x8000);
    CHECK_EQ(take(&g, MEM_LOG_DISPLAY), 0x8576);
    CHECK_EQ(take(&g, MEM_LOG_DISPLAY), 0);
    CHECK_EQ(g.heard, 4);
    mem_log_stop(g.b.space, g.b.ram, MEM_LOG_DISPLAY);
    mem_write(g.b.space, 0x3000, 1, 1);
    CHECK_EQ(take(&g, MEM_LOG_DISPLAY), 0);
    CHECK_EQ(take(&g, MEM_LOG_MIGRATION), 8);
    CHECK(!writable_at(&g, 0x3000, false, &len));
    mem_log_stop(g.b.space, g.b.ram, MEM_LOG_MIGRATION);
    CHECK(writable_at(&g, 0x3000, false, &len));
    CHECK_EQ(len, 0xd000);
    board_free(&g.b);
}

TEST(a_cpu_asks_before_it_writes_to_a_clean_page)
{
    struct logged g;
    u64 len;
    logged_new(&g);
    mem_log_start(g.b.space, g.b.ram, MEM_LOG_DISPLAY);
    CHECK(!writable_at(&g, 0x2010, false, &len));
    CHECK_EQ(len, 0xff0); /* of the next page it knows nothing */
    CHECK(writable_at(&g, 0x2010, true, &len));
    CHECK(writable_at(&g, 0x2020, false, &len));
    CHECK(!writable_at(&g, 0x3000, false, &len));
    mem_log_start(g.b.space, g.b.ram, MEM_LOG_MIGRATION);
    CHECK(!writable_at(&g, 0x2010, false, &len)); /* the other one has not heard */
    CHECK(writable_at(&g, 0x2010, true, &len));
    CHECK_EQ(take(&g, MEM_LOG_DISPLAY), 4);
    CHECK_EQ(take(&g, MEM_LOG_MIGRATION), 4);
    CHECK(!writable_at(&g, 0x2010, false, &len));
    CHECK(!writable_at(&g, 0x10000, true, &len)); /* ROM */
    board_free(&g.b);
}

/* Parts of a range, from any page on, against a list of what was written. */
TEST(parts_of_a_log)
{
    enum { COUNT = 200 };
    struct err e;
    struct mem_range *root = mem_container_new("root", 0), *ram = mem_ram_new("ram", COUNT * MEM_LOG_PAGE, &e);
    mem_range_add(root, 0x100000, 0, ram);
    struct mem_space *s = mem_space_new(root);
    bool dirty[COUNT] = {false};
    u64 pages[COUNT / 64 + 1];
    mem_log_start(s, ram, MEM_LOG_DISPLAY);
    for (int round = 0; round < 3000; round++) {
        for (unsigned n = pick(6); n--;) {
            unsigned page = pick(COUNT);
            dirty[page] = true;
            mem_write(s, 0x100000 + page * MEM_LOG_PAGE + pick(1024) * 4, 4, 1);
        }
        unsigned first = pick(COUNT), count = 1 + pick(COUNT - first), want = 0, wrong = 0;
        u64 n = mem_log_take(s, ram, MEM_LOG_DISPLAY, first * MEM_LOG_PAGE, count * MEM_LOG_PAGE, pages);
        for (unsigned i = 0; i < count; i++) {
            wrong += mem_log_has(pages, i) != dirty[first + i];
            want += dirty[first + i];
            dirty[first + i] = false;
        }
        CHECK_EQ(wrong, 0);
        CHECK_EQ(n, want);
    }
    mem_space_free(s);
    mem_tree_free(root);
}

TEST_MAIN()
