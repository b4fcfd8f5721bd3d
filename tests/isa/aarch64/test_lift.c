/* Every line of the tables that has a lifter gives valid IR. */
#include "check.h"
#include "base/err.h"
#include "isa/aarch64/decode.h"
#include "isa/aarch64/state.h"
#include "isa/machine.h"

enum { WORDS_PER_LINE = 50 };

static bool lift(struct machine *m, const u32 *code, unsigned count)
{
    return machine_lift(m, PC, code, count * sizeof(*code));
}

TEST(every_line_lifts_to_valid_ir)
{
    struct machine *m = machine_new(&isa_aarch64, "max");
    u64 rng = 1;
    unsigned lines = 0;
    for (unsigned id = 1; id < A64_INSNS; id++) {
        if (a64_insns[id].effects & INSN_TODO)
            continue;
        lines++;
        for (unsigned k = 0; k < WORDS_PER_LINE; k++) {
            u32 insn = a64_random(id, &rng);
            if (!lift(m, &insn, 1)) {
                CHECK(!"valid");
                break;
            }
        }
    }
    printf("# %u of %u lines have a lifter\n", lines, A64_INSNS - 1);
    machine_free(m);
}

/* Blocks of random instructions: state maps and folding across instructions. */
TEST(random_blocks_lift_to_valid_ir)
{
    struct machine *m = machine_new(&isa_aarch64, "max");
    u64 rng = 7;
    for (unsigned k = 0; k < 2000; k++) {
        u32 code[12];
        for (unsigned i = 0; i < ARRAY_LEN(code); i++) {
            do
                code[i] = a64_random(1 + (unsigned)(rng >> 33) % (A64_INSNS - 1), &rng);
            while (a64_decode(code[i])->effects & INSN_TODO);
        }
        CHECK(lift(m, code, ARRAY_LEN(code)));
    }
    machine_free(m);
}

TEST(block_ends)
{
    struct machine *m = machine_new(&isa_aarch64, "max");
    const struct ir_region *r = &m->region;
    const u32 straight[] = {0x91000400, 0x91000400}; /* add x0, x0, #1 */
    CHECK(lift(m, straight, 2));
    CHECK_EQ(r->insns, 2);
    const struct ir_node *end = &r->node[r->count - 1];
    CHECK_EQ(end->op, IR_EXIT_LINK);
    CHECK_EQ(end->imm, PC + 8);
    const u32 undefined[] = {0x91000400, 0x00000000};
    CHECK(lift(m, undefined, 2));
    end = &r->node[r->count - 1];
    CHECK_EQ(end->op, IR_RAISE);
    CHECK_EQ(end->imm, ISA_RAISE_UNDEFINED);
    CHECK_EQ(r->map[end->c].pc, PC + 4);
    const u32 call[] = {0x97ffffff}; /* bl .-4 */
    CHECK(lift(m, call, 1));
    end = &r->node[r->count - 1];
    CHECK_EQ(end->op, IR_CALL);
    CHECK_EQ(end->imm, PC - 4);
    machine_free(m);
}

TEST(models)
{
    struct err e = {0};
    struct a64_model m;
    u64 cap[2], value;
    CHECK(!a64_model_find("pentium", &m, &e));
    CHECK(strstr(e.text, "\"pentium\"") && strstr(e.text, "cortex-a53"));
    CHECK(!a64_model_find("a64fx", &m, &e));
    CHECK(strstr(e.text, "SVE") != NULL);
    CHECK(a64_model_find("a64fx,sve=off", &m, &e));
    CHECK(a64_model_find(NULL, &m, &e));
    a64_hwcap(&m, cap);
    CHECK_EQ(cap[0] & 3, 3);
    CHECK(a64_id_register(&m, 0xc000, &value));
    CHECK_EQ(value, m.midr);
    CHECK(a64_id_register(&m, 0xc038, &value)); /* ID_AA64MMFR0_EL1: no size of pages is told */
    CHECK_EQ(value, 0xff000000);
    CHECK(a64_id_register(&m, 0xc021, &value)); /* ID_AA64PFR1_EL1: SSBS, BTI */
    CHECK_EQ(value, 0x21);
    CHECK(!a64_id_register(&m, 0xc00c, &value)); /* ID_MMFR0_EL1: AArch32's */
    CHECK(!a64_id_register(&m, 0xc080, &value)); /* SCTLR_EL1 */
}

TEST(models_have_only_what_is_lifted)
{
    struct err e = {0};
    for (unsigned i = 0; a64_model_name(i); i++) {
        struct a64_model m;
        CHECK(a64_model_find(a64_model_name(i), &m, &e));
        for (unsigned id = 1; id < A64_INSNS; id++) {
            if (a64_has(&m, a64_insns[id].feature) && a64_insns[id].effects & INSN_TODO) {
                printf("# %s: %s\n", m.name, a64_insns[id].name);
                CHECK(!"lifted");
            }
        }
    }
}

/* The words that Linux gives programs on these CPUs. */
TEST(hwcaps)
{
    static const struct {
        const char *model;
        u64 cap[2];
    } rows[] = {
        {"cortex-a53", {0x8fb, 0}},
        {"cortex-a76", {0x119ffb, 0}},
        {"neoverse-n1", {0x10119ffb, 0}},
        {"a64fx,sve=off", {0x15ffb, 0}},
        {"max", {0xfdbffffb, 0x100000026181}},
    };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = {0};
        struct a64_model m;
        u64 cap[2];
        CHECK(a64_model_find(rows[i].model, &m, &e));
        a64_hwcap(&m, cap);
        CHECK_EQ(cap[0], rows[i].cap[0]);
        CHECK_EQ(cap[1], rows[i].cap[1]);
    }
}

TEST(features_go_on_and_off)
{
    struct err e = {0};
    struct a64_model m;
    u64 value;
    CHECK(a64_model_find("max,aes=off,sha1=off,sve=off", &m, &e));
    CHECK(!a64_has(&m, A64_FEAT_AES) && !a64_has(&m, A64_FEAT_PMULL));
    CHECK(!a64_has(&m, A64_FEAT_SHA3) && a64_has(&m, A64_FEAT_SM3));
    CHECK(a64_model_find("cortex-a72,lse2=on,fhm=on", &m, &e));
    CHECK(a64_has(&m, A64_FEAT_LSE) && a64_has(&m, A64_FEAT_FP16));
    CHECK(a64_model_find("max,pauth-impdef=off", &m, &e));
    CHECK(a64_id_register(&m, 0xc031, &value)); /* ID_AA64ISAR1_EL1 */
    CHECK_EQ(value & 0xff000ff0, 0x01000010);
    CHECK(!a64_model_find("max,sve=on", &m, &e));
    CHECK(strstr(e.text, "sve is not there yet") != NULL);
    CHECK(!a64_model_find("max,warp=on", &m, &e));
    CHECK(strstr(e.text, "\"warp\"") && strstr(e.text, "dotprod"));
    CHECK(!a64_model_find("max,aes", &m, &e));
    CHECK(!a64_model_find("max,", &m, &e));
}

TEST_MAIN()
