/* Decoder properties that objdump cannot judge: effects, extensions, widths, expansions, and the limits of the
 * text buffer. */
#include "check.h"
#include "isa/riscv/state.h"

#define RV64 ~(1ull << RV_RV32)
#define RV32 ~(1ull << RV_RV64)

static const char *name_of(u32 insn, u64 features)
{
    return rv_insns[rv_decode_id(insn, features)].name;
}

static void check_effects(u32 insn, unsigned effects)
{
    const struct insn *e = &rv_insns[rv_decode_id(insn, RV64)];
    CHECK_EQ(e->effects & ~INSN_NODIFF, effects);
    CHECK_EQ(e->bytes, rv_insn_bytes((u16)insn));
}

TEST(effects)
{
    check_effects(0x00c58533, INSN_LIGHT);               /* add */
    check_effects(0x02c5c533, 0);                        /* div */
    check_effects(0x0085b503, INSN_LOADS);               /* ld */
    check_effects(0x00b53423, INSN_STORES);              /* sd */
    check_effects(0x00b6252f, INSN_LOADS | INSN_STORES); /* amoadd.w */
    check_effects(0x1005a52f, INSN_LOADS);               /* lr.w */
    check_effects(0x02c5f553, INSN_USES_FPSR);           /* fadd.d */
    check_effects(0x00000073, INSN_ENDS_BLOCK);          /* ecall */
    check_effects(0x8082, INSN_ENDS_BLOCK);              /* ret */
    check_effects(0x6588, INSN_LOADS);                   /* c.ld */
}

TEST(width_decides)
{
    CHECK_STR(name_of(0x2505, RV64), "c_addiw");
    CHECK_STR(name_of(0x2505, RV32), "c_jal");
    CHECK_STR(name_of(0x6588, RV32), "c_flw");
    CHECK_STR(name_of(0x0085b503, RV32), "undefined"); /* ld */
    CHECK_STR(name_of(0x6b85d513, RV64), "rev8");
    CHECK_STR(name_of(0x6985d513, RV64), "undefined");
    CHECK_STR(name_of(0x6985d513, RV32), "rev8_rv32");
}

TEST(extensions_decide)
{
    const u64 i = 1ull << RV_I | 1ull << RV_RV64, c = i | 1ull << RV_C, d = 1ull << RV_D;
    CHECK_STR(name_of(0x4501, i), "undefined"); /* c.li */
    CHECK_STR(name_of(0x4501, c), "c_li");
    CHECK_STR(name_of(0x2508, c), "undefined"); /* c.fld needs two */
    CHECK_STR(name_of(0x2508, c | d), "c_fld");
    CHECK_STR(name_of(0x40c5f533, i), "undefined"); /* andn: one of two */
    CHECK_STR(name_of(0x40c5f533, i | 1ull << RV_Zbb), "andn");
    CHECK_STR(name_of(0x40c5f533, i | 1ull << RV_Zbkb), "andn");
    CHECK_STR(name_of(0x0805c53b, i | 1ull << RV_Zbb), "zext_h");
    CHECK_STR(name_of(0x08c5c53b, i | 1ull << RV_Zbb), "undefined"); /* packw */
}

TEST(not_allocated)
{
    CHECK_STR(name_of(0x0000, RV64), "undefined");
    CHECK_STR(name_of(0x9002, RV64), "c_ebreak");
    CHECK_STR(name_of(0x8002, RV64), "undefined"); /* c.jr of x0 */
    CHECK_STR(name_of(0xffffffff, RV64), "undefined");
    CHECK_STR(name_of(0x2845d12f, RV64), "undefined"); /* amocas of no size */
    CHECK_STR(name_of(0x2845c12f, RV64), "amocas_q");
    CHECK_STR(name_of(0x2845c1af, RV64), "undefined"); /* amocas.q of an odd register */
}

TEST(random_words_belong_to_their_line)
{
    const u64 widths[] = {RV64, RV32};
    u64 rng = 12345;
    for (unsigned w = 0; w < 2; w++) {
        for (unsigned id = 1; id < RV_INSNS; id++) {
            if (insn_needs_met(&rv_needs[rv_insns[id].feature], widths[w]))
                CHECK_EQ(rv_decode_id(rv_random(id, widths[w], &rng), widths[w]), id);
        }
    }
}

TEST(every_line_has_an_oracle)
{
    for (unsigned id = 1; id < RV_INSNS; id++)
        CHECK(rv_insns[id].oracle != RV_BY_NONE);
}

TEST(text_buffer)
{
    char buf[64];
    int n = rv_disas(0x00c58533, RV64, 0, buf, sizeof(buf));
    CHECK_STR(buf, "add\ta0,a1,a2");
    CHECK_EQ(n, (int)strlen(buf));
    for (size_t size = 1; size < (size_t)n + 1; size++) {
        memset(buf, '#', sizeof(buf));
        CHECK_EQ(rv_disas(0x00c58533, RV64, 0, buf, size), n);
        CHECK_EQ(strlen(buf), size - 1);
        CHECK_EQ(buf[size], '#');
    }
    rv_disas(0xbffd, RV64, 0, buf, sizeof(buf));
    CHECK_STR(buf, "j\t0xfffffffffffffffe");
    rv_disas(0xbffd, RV32, 0, buf, sizeof(buf));
    CHECK_STR(buf, "j\t0xfffffffe");
    rv_disas(0x0000, RV64, 0, buf, sizeof(buf));
    CHECK_STR(buf, ".2byte\t0x0");
    rv_disas(0xf0180553, RV64, 0, buf, sizeof(buf)); /* objdump 2.40 does not know Zfa */
    CHECK_STR(buf, "fli.s\tfa0,1");
    rv_disas(0xf01f8553, RV64, 0, buf, sizeof(buf));
    CHECK_STR(buf, "fli.s\tfa0,nan");
}

TEST_MAIN()
