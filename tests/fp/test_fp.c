/* The rules that no other machine at hand can be asked about, and that flags are sticky. */
#include "check.h"
#include "fp/fp.h"

enum {
    ONE = 0x3f800000,
    TWO = 0x40000000,
    INF = 0x7f800000,
    QNAN = 0x7fc12345,
    SNAN = 0x7f812345,
    DEFAULT_NAN = 0x7fc00000,
};
#define NEG(x) ((u32)(x) ^ 0x80000000u)

#define CHECK_FLAGS(e, expected)                                                                   \
    do {                                                                                           \
        CHECK_EQ((e).flags, expected);                                                             \
        (e).flags = 0;                                                                             \
    } while (0)

TEST(canonical_nans)
{
    struct fp_env e = {.inf_zero_invalid = true};
    CHECK_EQ(fp32_add(QNAN, ONE, &e), DEFAULT_NAN);
    CHECK_FLAGS(e, 0);
    CHECK_EQ(fp32_add(ONE, SNAN, &e), DEFAULT_NAN);
    CHECK_FLAGS(e, FP_INVALID);
    CHECK_EQ(fp32_fma(INF, 0, QNAN, 0, &e), DEFAULT_NAN);
    CHECK_FLAGS(e, FP_INVALID);
    CHECK_EQ(fp32_to_fp64(NEG(QNAN), &e), 0x7ff8000000000000u);
    CHECK_EQ(fp32_sqrt(NEG(ONE), &e), DEFAULT_NAN);
    e.default_nan_sign = true;
    CHECK_EQ(fp32_sub(INF, INF, &e), NEG(DEFAULT_NAN));
}

TEST(minimum_number_2019)
{
    struct fp_env e = {0};
    CHECK_EQ(fp32_min(QNAN, ONE, FP_MIN_NUMBER_2019, &e), ONE);
    CHECK_FLAGS(e, 0);
    CHECK_EQ(fp32_max(ONE, SNAN, FP_MIN_NUMBER_2019, &e), ONE);
    CHECK_FLAGS(e, FP_INVALID);
    CHECK_EQ(fp32_min(QNAN, QNAN, FP_MIN_NUMBER_2019, &e), DEFAULT_NAN);
    CHECK_FLAGS(e, 0);
    CHECK_EQ(fp32_min(QNAN, SNAN, FP_MIN_NUMBER_2019, &e), DEFAULT_NAN);
    CHECK_FLAGS(e, FP_INVALID);
    CHECK_EQ(fp32_min(0, NEG(0), FP_MIN_NUMBER_2019, &e), NEG(0));
    CHECK_EQ(fp32_max(NEG(0), 0, FP_MIN_NUMBER_2019, &e), 0);
}

TEST(integers_out_of_range)
{
    const struct fp_int s32_type = {32, true, 0}, u32_type = {32, false, 0},
                        u64_type = {64, false, 0};
    struct fp_env e = {.int_rule = FP_INT_NAN_MAX};
    CHECK_EQ(fp32_to_int(NEG(QNAN), s32_type, FP_ROUND_ZERO, &e), 0x7fffffff);
    CHECK_EQ(fp32_to_int(QNAN, u64_type, FP_ROUND_ZERO, &e), ~0ull);
    CHECK_EQ(fp32_to_int(NEG(INF), s32_type, FP_ROUND_ZERO, &e), 0xffffffff80000000u);
    CHECK_EQ(fp32_to_int(NEG(ONE), u32_type, FP_ROUND_ZERO, &e), 0);
    CHECK_FLAGS(e, FP_INVALID);
    CHECK_EQ(fp32_to_int(0xbf000000, u32_type, FP_ROUND_ZERO, &e), 0); /* -1/2 */
    CHECK_FLAGS(e, FP_INEXACT);
    e.int_rule = FP_INT_INDEFINITE;
    CHECK_EQ(fp32_to_int(NEG(ONE), u32_type, FP_ROUND_ZERO, &e), 0xffffffff);
    CHECK_EQ(fp32_to_int(INF, s32_type, FP_ROUND_ZERO, &e), 0xffffffff80000000u);
}

TEST(classes)
{
    CHECK_EQ(fp16_class(0x8000), FP_CLASS_ZERO);
    CHECK_EQ(fp16_class(0x03ff), FP_CLASS_DENORMAL);
    CHECK_EQ(fp32_class(0x00800000), FP_CLASS_NORMAL);
    CHECK_EQ(fp32_class(NEG(INF)), FP_CLASS_INF);
    CHECK_EQ(fp32_class(QNAN), FP_CLASS_QNAN);
    CHECK_EQ(fp64_class(0xfff0000000000001u), FP_CLASS_SNAN);
}

TEST(bfloat)
{
    struct fp_env e = {.nan_rule = FP_NAN_ARM};
    CHECK_EQ(bf16_to_fp32(0x3f80, &e), ONE);
    CHECK_EQ(bf16_to_fp32(0x8001, &e), 0x80010000u);
    CHECK_EQ(fp32_to_bf16(0x3f808000, &e), 0x3f80); /* a tie */
    CHECK_EQ(fp32_to_bf16(0x3f818000, &e), 0x3f82);
    CHECK_FLAGS(e, FP_INEXACT);
    CHECK_EQ(fp32_to_bf16(0x7f7fffff, &e), 0x7f80);
    CHECK_FLAGS(e, FP_OVERFLOW | FP_INEXACT);
    CHECK_EQ(bf16_to_fp32(0x7f81, &e), 0x7fc10000u);
    CHECK_FLAGS(e, FP_INVALID);
}

TEST(rounding_to_odd_is_safe_to_round_again)
{
    struct fp_env e = {.round = FP_ROUND_ODD};
    /* Just above the middle of two halves: rounding to nearest twice would lose the last bit. */
    u32 once = fp64_to_fp32(0x3ff0020000000001u, &e);
    CHECK_EQ(once, 0x3f801001);
    e.round = FP_ROUND_EVEN;
    CHECK_EQ(fp32_to_fp16(once, &e), 0x3c01);
}

TEST(flags_are_sticky)
{
    struct fp_env e = {.flags = FP_DENORMAL_IN};
    CHECK_EQ(fp32_div(ONE, NEG(0), &e), NEG(INF));
    CHECK_EQ(e.flags, FP_DENORMAL_IN | FP_DIVZERO);
    fp32_div(ONE, 0x40400000, &e);
    CHECK_EQ(fp32_add(ONE, ONE, &e), TWO);
    CHECK_EQ(e.flags, FP_DENORMAL_IN | FP_DIVZERO | FP_INEXACT);
}

TEST_MAIN()
