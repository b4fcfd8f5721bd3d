#include "check.h"

#include "user/maptab.h"

#define P 4096ull

static void add(struct maptab *t, u64 start, u64 pages, u32 prot, u32 flags)
{
    struct map m = {.start = start * P, .end = (start + pages) * P, .prot = prot, .flags = flags,
                    .ino = flags & MAP_IS_FILE ? 7 : 0, .offset = flags & MAP_IS_FILE ? start * P : 0};
    maptab_insert(t, &m);
}

/* The table as text: start+pages:prot[@offset] in pages. */
static const char *show(const struct maptab *t)
{
    static char text[4096];
    char *s = text;
    *s = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct map *m = &t->map[i];
        s += sprintf(s, "%s%llu+%llu:%u", i ? " " : "", (unsigned long long)(m->start / P),
                     (unsigned long long)((m->end - m->start) / P), m->prot);
        if (m->flags & MAP_IS_FILE)
            s += sprintf(s, "@%llu", (unsigned long long)(m->offset / P));
    }
    return text;
}

TEST(neighbours_join)
{
    struct maptab t = {0};
    add(&t, 10, 2, 1, 0);
    add(&t, 14, 2, 1, 0);
    add(&t, 12, 2, 1, 0);
    CHECK_STR(show(&t), "10+6:1");
    add(&t, 16, 1, 3, 0);
    CHECK_STR(show(&t), "10+6:1 16+1:3");
    add(&t, 20, 2, 1, MAP_IS_FILE);
    add(&t, 22, 2, 1, MAP_IS_FILE);
    CHECK_STR(show(&t), "10+6:1 16+1:3 20+4:1@20");
    maptab_free(&t);
}

TEST(replacing_splits)
{
    struct maptab t = {0};
    add(&t, 10, 10, 1, MAP_IS_FILE);
    add(&t, 13, 2, 3, 0);
    CHECK_STR(show(&t), "10+3:1@10 13+2:3 15+5:1@15");
    maptab_remove(&t, 11 * P, 14 * P);
    CHECK_STR(show(&t), "10+1:1@10 14+1:3 15+5:1@15");
    maptab_remove(&t, 0, 100 * P);
    CHECK_STR(show(&t), "");
    maptab_remove(&t, 0, 100 * P);
    maptab_free(&t);
}

TEST(protection)
{
    struct maptab t = {0};
    add(&t, 10, 10, 1, 0);
    maptab_protect(&t, 12 * P, 14 * P, 5);
    CHECK_STR(show(&t), "10+2:1 12+2:5 14+6:1");
    CHECK(maptab_executable(&t, 13 * P, 14 * P));
    CHECK(!maptab_executable(&t, 14 * P, 20 * P));
    maptab_protect(&t, 12 * P, 14 * P, 1);
    CHECK_STR(show(&t), "10+10:1");
    maptab_protect(&t, 10 * P, 20 * P, 3);
    CHECK_STR(show(&t), "10+10:3");
    maptab_free(&t);
}

TEST(questions)
{
    struct maptab t = {0};
    add(&t, 10, 2, 1, 0);
    add(&t, 12, 2, 3, 0);
    add(&t, 20, 1, 1, 0);
    CHECK(maptab_covers(&t, 10 * P, 14 * P));
    CHECK(!maptab_covers(&t, 10 * P, 15 * P));
    CHECK(!maptab_covers(&t, 9 * P, 11 * P));
    CHECK(maptab_overlaps(&t, 0, 11 * P));
    CHECK(!maptab_overlaps(&t, 14 * P, 20 * P));
    CHECK(!maptab_find(&t, 15 * P));
    CHECK_EQ(maptab_find(&t, 12 * P)->prot, 3);
    CHECK_EQ(maptab_find(&t, 12 * P - 1)->prot, 1);
    maptab_free(&t);
}

TEST(gaps)
{
    struct maptab t = {0};
    CHECK_EQ(maptab_gap(&t, 2 * P, P, 16 * P, 100 * P), 98 * P);
    add(&t, 90, 10, 1, 0);
    CHECK_EQ(maptab_gap(&t, 2 * P, P, 16 * P, 100 * P), 88 * P);
    CHECK_EQ(maptab_gap(&t, 2 * P, P, 16 * P, 95 * P), 88 * P);
    add(&t, 80, 9, 1, 0);
    CHECK_EQ(maptab_gap(&t, 1 * P, P, 16 * P, 100 * P), 89 * P);
    CHECK_EQ(maptab_gap(&t, 2 * P, P, 16 * P, 100 * P), 78 * P);
    CHECK_EQ(maptab_gap(&t, 2 * P, 16 * P, 16 * P, 100 * P), 64 * P);
    CHECK_EQ(maptab_gap(&t, 64 * P, P, 16 * P, 100 * P), 16 * P);
    CHECK_EQ(maptab_gap(&t, 65 * P, P, 16 * P, 100 * P), 0);
    CHECK_EQ(maptab_gap(&t, ~0ull - 5, P, 16 * P, 100 * P), 0);
    maptab_free(&t);
}

/* Against one byte per page. */
TEST(random_operations)
{
    enum { PAGES = 200 };
    struct maptab t = {0};
    u8 model[PAGES] = {0};
    u32 seed = 12345;
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1664525 + 1013904223;
        u64 start = (seed >> 8) % PAGES, len = 1 + (seed >> 16) % 20;
        u32 op = seed >> 28;
        len = start + len > PAGES ? PAGES - start : len;
        if (op < 8) {
            u32 prot = 1 + (op & 3);
            add(&t, start, len, prot, 0);
            memset(model + start, (int)prot, len);
        } else if (op < 13) {
            maptab_remove(&t, start * P, (start + len) * P);
            memset(model + start, 0, len);
        } else if (maptab_covers(&t, start * P, (start + len) * P)) {
            maptab_protect(&t, start * P, (start + len) * P, 6);
            memset(model + start, 6, len);
        }
    }
    u64 last = 0;
    for (u64 i = 0; i < PAGES; i++) {
        const struct map *m = maptab_find(&t, i * P);
        CHECK_EQ(m ? m->prot : 0, model[i]);
    }
    for (size_t i = 0; i < t.count; i++) {
        CHECK(t.map[i].start < t.map[i].end && t.map[i].start >= last);
        /* joined wherever possible */
        CHECK(!i || t.map[i].start > last || t.map[i].prot != t.map[i - 1].prot);
        last = t.map[i].end;
    }
    maptab_free(&t);
}

TEST_MAIN()
