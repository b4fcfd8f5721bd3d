#include "check.h"

#include "base/arena.h"
#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"

TEST(bits)
{
    CHECK_EQ(bits32(0xabcd1234, 8, 8), 0x12);
    CHECK_EQ(sext64(0x80, 8), (u64)-128);
    CHECK_EQ(rotr32(1, 1), 0x80000000u);
    CHECK_EQ(bitrev64(1), 1ull << 63);
    CHECK_EQ(mask64(64), ~0ull);
    CHECK_EQ(clz32(0), 32);
}

TEST(arena_grows_and_resets)
{
    struct arena a = {0};
    for (int i = 0; i < 1000; i++) {
        u8 *p = arena_alloc(&a, 100);
        CHECK_EQ(p[0] | p[99], 0);
        memset(p, 0xff, 100);
    }
    arena_reset(&a);
    u8 *p = arena_alloc(&a, 100);
    CHECK_EQ(p[50], 0);
    arena_free(&a);
}

TEST(errors_carry_a_prefix)
{
    struct err e;
    CHECK(!err_set(&e, 2, "no %s", "file"));
    err_prefix(&e, "open");
    CHECK_STR(e.text, "open: no file");
}

TEST(log_classes)
{
    struct err e;
    u32 mask = ~0u;
    CHECK(log_parse("in_asm,op", &mask, &e));
    CHECK_EQ(mask, LOG_IN_ASM | LOG_IR);
    CHECK(!log_parse("nope", &mask, &e));
    CHECK(strstr(e.text, "strace") != NULL);
}

TEST_MAIN()
