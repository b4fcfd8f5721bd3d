/* Decoder properties that objdump cannot judge: effects, features, immediates, and the limits of
 * the text buffer. */
#include "check.h"
#include "isa/aarch64/decode.h"
#include "isa/aarch64/imm.h"
#include "isa/aarch64/sysreg.h"

static void check_insn(u32 insn, const char *name, unsigned effects, unsigned feature)
{
    const struct insn *e = a64_decode(insn);
    CHECK(e != NULL);
    if (!e)
        return;
    CHECK_STR(e->name, name);
    CHECK_EQ(e->effects & ~INSN_TODO, effects);
    CHECK_EQ(e->feature, feature);
    CHECK_EQ(insn & e->mask, e->value);
}

TEST(effects_and_features)
{
    check_insn(0x91000400, "add_imm", 0, A64_FEAT_BASE);
    check_insn(0xeb02003f, "subs_shift", INSN_WRITES_FLAGS, A64_FEAT_BASE);
    check_insn(0x9a020020, "adc", INSN_READS_FLAGS, A64_FEAT_BASE);
    check_insn(0xfa411000, "ccmp", INSN_READS_FLAGS | INSN_WRITES_FLAGS, A64_FEAT_BASE);
    check_insn(0x54000041, "b_cond", INSN_READS_FLAGS | INSN_ENDS_BLOCK, A64_FEAT_BASE);
    check_insn(0xf9400020, "ldr_uimm", INSN_LOADS, A64_FEAT_BASE);
    check_insn(0xa9bf7bfd, "stp", INSN_STORES, A64_FEAT_BASE);
    check_insn(0xf8210041, "ldadd", INSN_LOADS | INSN_STORES, A64_FEAT_LSE);
    check_insn(0xd51b4200, "msr", INSN_READS_FLAGS | INSN_WRITES_FLAGS | INSN_ENDS_BLOCK,
               A64_FEAT_BASE);
    check_insn(0x1e622820, "fadd", INSN_USES_FPSR, A64_FEAT_FP);
    check_insn(0x1ee22820, "fadd_fp16", INSN_USES_FPSR, A64_FEAT_FP16);
    check_insn(0x4e421420, "fadd_v_fp16", INSN_USES_FPSR, A64_FEAT_FP16);
    check_insn(0x4e22d420, "fadd_v", INSN_USES_FPSR, A64_FEAT_AdvSIMD);
    check_insn(0x1e604020, "fmov", 0, A64_FEAT_FP);
    CHECK_STR(a64_feature_names[A64_FEAT_LSE], "FEAT_LSE");
}

TEST(undefined)
{
    CHECK(a64_decode(0x00010000) == NULL);           /* beside UDF */
    CHECK(a64_decode(0x0b200000 | 5 << 10) == NULL); /* extended add, shift of 5 */
    CHECK(a64_decode(0x12400000) == NULL);           /* 32-bit AND with N set */
    CHECK(a64_decode(0x0bc00000) == NULL);           /* add, shift type 3 */
    CHECK_STR(a64_insns[A64_UNDEFINED].name, "undefined");
}

TEST(random_words_belong_to_their_line)
{
    u64 rng = 12345;
    for (unsigned id = 1; id < A64_INSNS; id++)
        CHECK_EQ(a64_decode_id(a64_random(id, &rng)), id);
}

TEST(bitmask_immediates)
{
    unsigned n = 0;
    for (u32 k = 0; k < 128; k++)
        if (a64_bitmask_ok(k >> 6, k & 63))
            n++;
    /* 63 + 31 + 15 + 7 + 3 + 1 run lengths. */
    CHECK_EQ(n, 120);
    CHECK_EQ(a64_bitmask(0, 0, 0x3c), 0x5555555555555555);
    CHECK_EQ(a64_bitmask(0, 1, 0x3c), 0xaaaaaaaaaaaaaaaa);
    CHECK_EQ(a64_bitmask(1, 8, 7), 0xff00000000000000);
    CHECK_EQ(a64_bitmask(1, 0, 62), 0x7fffffffffffffff);
    CHECK_EQ(a64_bitmask(0, 4, 0x27), 0xf00ff00ff00ff00f);
    CHECK_EQ(a64_bytemask(0x81), 0xff000000000000ff);
}

TEST(floating_point_immediates)
{
    double d;
    float s;
    for (u32 k = 0; k < 256; k++) {
        u64 d_bits = a64_fpimm64(k);
        u32 s_bits = a64_fpimm32(k);
        memcpy(&d, &d_bits, sizeof d);
        memcpy(&s, &s_bits, sizeof s);
        CHECK(d == (double)s);
        double want = (16 + (k & 15)) / 16.0 * (k & 0x40 ? 0.125 : 2) * (1 << (k >> 4 & 3));
        CHECK(d == (k & 0x80 ? -want : want));
    }
    CHECK_EQ(a64_fpimm16(0x70), 0x3c00);
    CHECK_EQ(a64_fpimm16(0x80), 0xc000);
}

TEST(text_buffer)
{
    char buf[64];
    int n = a64_disas(0x91000420, 0, buf, sizeof buf);
    CHECK_STR(buf, "add\tx0, x1, #0x1");
    CHECK_EQ(n, (int)strlen(buf));
    for (size_t size = 0; size < (size_t)n + 1; size++) {
        char want[64];
        memset(buf, '#', sizeof buf);
        CHECK_EQ(a64_disas(0x91000420, 0, buf, size), n);
        CHECK_EQ(buf[size], '#');
        snprintf(want, size ? size : 1, "add\tx0, x1, #0x1");
        if (size)
            CHECK_STR(buf, want);
    }
    a64_disas(0x14000001, 0xffff800000001000, buf, sizeof buf);
    CHECK_STR(buf, "b\t0xffff800000001004");
    a64_disas(0x97ffffff, 0, buf, sizeof buf);
    CHECK_STR(buf, "bl\t0xfffffffffffffffc");
    a64_disas(0x00010000, 0, buf, sizeof buf);
    CHECK_STR(buf, ".inst\t0x00010000 ; undefined");
}

TEST(system_registers)
{
    for (unsigned k = 1; k < a64_sysregs_count; k++)
        CHECK(a64_sysregs[k - 1].key <= a64_sysregs[k].key);
    for (unsigned k = 1; k < a64_sysops_count; k++)
        CHECK(a64_sysops[k - 1].key < a64_sysops[k].key);
    CHECK_STR(a64_sysreg(0xde82, false)->name, "tpidr_el0");
    CHECK_STR(a64_sysreg(0x9828, false)->name, "dbgdtrrx_el0");
    CHECK_STR(a64_sysreg(0x9828, true)->name, "dbgdtrtx_el0");
    CHECK(a64_sysreg(0x8000, false) == NULL);
    CHECK_STR(a64_sysop(0x1ba1)->name, "dc zva");
}

TEST_MAIN()
