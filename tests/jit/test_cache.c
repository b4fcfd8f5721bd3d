/* Code memory and what is known of the regions in it, without code: the host is made up. */
#include "check.h"

#include "jit/cache/cache.h"

#define SIZE      (1u << 20)
#define CODE      1000 /* bytes of a region here */
#define LINK_AT   1    /* struct host_link's, of all of them */
#define LINK_STUB 5

static const u8 *patched; /* where the last link was made to lead */
static unsigned waits;

static bool make_thunks(struct host_cpu *cpu, struct host_buf *buf)
{
    return true;
}

static void patch(const struct host_cpu *cpu, u8 *rw, const u8 *rx, u32 at, u32 stub, const u8 *to)
{
    CHECK_EQ(at, LINK_AT);
    CHECK_EQ(stub, LINK_STUB);
    patched = to;
}

static bool passed(void *opaque, u64 epoch, bool wait)
{
    const bool *all = opaque;
    waits += wait;
    return *all || wait;
}

static const struct host host = {.make_thunks = make_thunks, .patch = patch};
static struct host_cpu cpu;
static bool all_passed;

static void start(struct jit_cache *c)
{
    struct err e;
    CHECK(cache_init(c, &host, &cpu, SIZE, &e));
    c->passed = passed;
    c->opaque = &all_passed;
    all_passed = true;
    waits = 0;
}

/* A region at pc of guest code in `range` that has a link to `to`. */
static struct jit_region *add(struct jit_cache *c, u64 pc, struct jit_range range, u64 to)
{
    struct host_link link = {.at = LINK_AT, .stub = LINK_STUB, .pc = to};
    struct host_buf buf = {.link = &link, .nlinks = 1, .body = 8};
    const struct ir_region ir = {.pc = pc};
    const struct ra ra = {.r = &ir};
    cache_room(c, &buf);
    memset(buf.rw, 0x5a, CODE);
    buf.used = CODE;
    return cache_add(c, &ra, &buf, &range, 1, pc);
}

static struct jit_region *add_at(struct jit_cache *c, u64 pc)
{
    return add(c, pc, (struct jit_range){pc, 4}, pc);
}

static struct jit_link *link_of(const struct jit_cache *c, struct jit_region *r)
{
    return region_link_at(c, r, c->rx + r->off + LINK_STUB);
}

TEST(regions_are_found)
{
    struct jit_cache c;
    start(&c);
    struct jit_region *r = add_at(&c, 0x1000), *far = add(&c, 0x80000000, (struct jit_range){0x80000000, 4}, 0x1000);
    CHECK(cache_find(&c, 0x1000, 0, 0x1000) == r);
    CHECK(!cache_find(&c, 0x1000, 1, 0x1000));
    CHECK(!cache_find(&c, 0x1000, 0, 0x2000));
    CHECK(!cache_find_other(&c, r));
    CHECK(cache_at(&c, c.rx + r->off) == r);
    CHECK(cache_at(&c, c.rx + r->off + CODE - 1) == r);
    CHECK(!cache_at(&c, c.rx + r->off + CODE));
    CHECK(cache_at(&c, c.rx + far->off + CODE / 2) == far);
    CHECK_EQ(cache_left(&c, HOST_EXIT_LINK, c.rx + far->off + LINK_STUB), 0x1000);
    CHECK_EQ(cache_left(&c, HOST_EXIT_REQUEST, c.rx + far->off + 1), 0x80000000);
    cache_free(&c);
}

TEST(links_follow_their_regions)
{
    struct jit_cache c;
    start(&c);
    struct jit_region *to = add_at(&c, 0x1000), *from[3];
    for (unsigned i = 0; i < 3; i++) {
        from[i] = add(&c, 0x2000 + 0x1000 * i, (struct jit_range){0x2000 + 0x1000 * i, 4}, 0x1000);
        cache_link(&c, link_of(&c, from[i]), to);
        CHECK(patched == region_body(&c, to));
    }
    CHECK_EQ(cache_invalidate(&c, 0x3000, 4), 1); /* one in the middle of the list */
    CHECK(!patched && from[1]->dead && !link_of(&c, from[1])->to);
    struct jit_region *by = add_at(&c, 0x1000);
    CHECK(cache_find_other(&c, by) == to);
    cache_supersede(&c, to, by);
    CHECK(patched == region_body(&c, by) && !to->incoming && by->incoming);
    CHECK(cache_find(&c, 0x1000, 0, 0x1000) == by && !cache_find_other(&c, by));
    CHECK_EQ(cache_invalidate(&c, 0x1000, 1), 2);
    CHECK(!patched && !link_of(&c, from[0])->to && !link_of(&c, from[2])->to);
    cache_link(&c, link_of(&c, from[0]), to); /* of what is dead nothing comes */
    CHECK(!link_of(&c, from[0])->to);
    cache_free(&c);
}

TEST(changes_are_found_in_all_pages)
{
    struct jit_cache c;
    start(&c);
    struct jit_region *r = add(&c, 0x1ff8, (struct jit_range){0x1ff8, 0x2010}, 0);
    CHECK_EQ(r->npieces, 4);
    CHECK_EQ(region_pieces(r)[0].len, 8);
    CHECK_EQ(region_pieces(r)[1].len, 0x1000);
    CHECK_EQ(region_pieces(r)[3].start, 0x4000);
    CHECK_EQ(region_pieces(r)[3].len, 8);
    struct jit_region *over[2];
    CHECK_EQ(cache_regions_over(&c, 0x3fff, 0, over, 2), 1);
    CHECK_EQ(cache_regions_over(&c, 0x4008, 0, over, 2), 0);
    CHECK_EQ(cache_invalidate(&c, 0x4008, 0x1000), 0);
    CHECK_EQ(cache_invalidate(&c, 0x1000, 0xff8), 0);
    CHECK_EQ(cache_invalidate(&c, 0x4007, 1), 1);
    CHECK(!cache_find(&c, 0x1ff8, 0, 0x1ff8));
    cache_free(&c);
}

TEST(the_oldest_go_first)
{
    struct jit_cache c;
    start(&c);
    all_passed = false;
    struct jit_region *first = add_at(&c, 0x1000);
    u64 pc = 0x1000;
    while (!first->dead)
        add_at(&c, pc += 0x10);
    CHECK(!waits && !cache_find(&c, 0x1000, 0, 0x1000) && cache_find(&c, pc, 0, pc));
    for (unsigned i = 0; i < 3 * c.size / CODE; i++)
        add_at(&c, pc += 0x10);
    CHECK(waits > JIT_SEGMENTS);
    unsigned kept = 0;
    while (cache_find(&c, pc - kept * 0x10, 0, pc - kept * 0x10))
        kept++;
    CHECK(kept > c.size / CODE / 3); /* the last of a segment is left free in case that it does not suffice */
    cache_free(&c);
}

/* What is behind a segment's first page, or 0 once the memory was given back. */
static u8 byte_of(const struct jit_cache *c, u32 off)
{
    return c->rw[off];
}

TEST(flushes_give_memory_back)
{
    struct jit_cache c;
    start(&c);
    u32 off = add_at(&c, 0x1000)->off;
    all_passed = false;
    cache_flush(&c);
    CHECK(!cache_find(&c, 0x1000, 0, 0x1000));
    struct jit_region *next = add_at(&c, 0x1000); /* somebody may still be there */
    CHECK_EQ(byte_of(&c, off), 0x5a);
    CHECK(cache_at(&c, c.rx + off) && next->off - off >= c.segment_size);
    all_passed = true;
    cache_flush(&c);
    add_at(&c, 0x1000);
    CHECK_EQ(byte_of(&c, off), 0);
    CHECK(!cache_at(&c, c.rx + off));
    CHECK_EQ(waits, 0);
    cache_free(&c);
}

#define FAULTS 6

/* Each fault keeps its own numbers, however far they are from those before. */
TEST(faults_are_packed)
{
    static const u64 constant[] = {0, 1, ~0ull, 1ull << 63, 0x7f, 0x123456789abcdef0};
    static const u8 what[] = {HOST_LEAVE_ACCESS, HOST_LEAVE_MMU, HOST_LEAVE_ALIGN, HOST_LEAVE_POLL};
    struct ir_node node[FAULTS];
    struct ir_map map[FAULTS];
    struct ra_where where[2 * FAULTS];
    struct ra_state state[FAULTS];
    struct host_fault fault[FAULTS];
    struct jit_cache c;
    start(&c);
    for (u32 i = 0; i < FAULTS; i++) {
        node[i] = (struct ir_node){.imm = constant[i]};
        map[i] = (struct ir_map){.pc = 0x10000 + (i & 1 ? 400 * i : 0)};
        where[2 * i] = (struct ra_where){.slot = i, .at = {RA_IN_IMM, i}};
        where[2 * i + 1] = (struct ra_where){.slot = 100 + i, .at = {RA_STEP, (u32)(-300 * (s32)i) & ((1u << 29) - 1)}};
        state[i] = (struct ra_state){.map = i, .first = 2 * i, .count = 2};
        fault[i] = (struct host_fault){.start = (i ^ 1) * 150, .end = (i ^ 1) * 150 + 2 + i, .state = i, .what = what[i & 3],
                                       .write = i & 1, .base = (u8)i, .index = 0xff, .scale = 3, .disp = -1000 * (s32)i};
    }
    const struct ir_region ir = {.pc = 0x10000, .node = node, .map = map};
    const struct ra ra = {.r = &ir, .state = state, .where = where};
    struct host_buf buf = {.fault = fault, .nfaults = FAULTS};
    cache_room(&c, &buf);
    buf.used = CODE;
    const struct jit_region *r = cache_add(&c, &ra, &buf, &(struct jit_range){0x10000, 4}, 1, 0);
    for (u32 i = 0; i < FAULTS; i++) {
        struct jit_fault f;
        struct jit_where w;
        CHECK(region_fault_at(&c, r, c.rx + r->off + fault[i].end - 1, &f));
        CHECK(!region_fault_at(&c, r, c.rx + r->off + fault[i].end, &f) || fault[i].end % 150 == 0);
        region_fault_at(&c, r, c.rx + r->off + fault[i].start, &f);
        CHECK_EQ(f.what, fault[i].what);
        CHECK_EQ(f.write, fault[i].write);
        CHECK_EQ(r->pc + (u64)(s64)f.pc, map[i].pc);
        if (f.what == HOST_LEAVE_ACCESS)
            CHECK(f.base == fault[i].base && f.index == 0xff && f.scale == 3 && f.disp == fault[i].disp);
        const u8 *p = where_next(f.where, &w);
        CHECK(w.slot == i && w.place == RA_IN_IMM && w.imm == constant[i]);
        p = where_next(p, &w);
        CHECK(w.slot == 100 + i && w.place == RA_STEP && (s64)w.imm == -300 * (s64)i);
        CHECK(!where_next(p, &w));
    }
    cache_free(&c);
}

TEST_MAIN()
