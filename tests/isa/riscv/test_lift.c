/* Every line of the tables gives valid IR, blocks end where they should, and models have what they say. */
#include "base/err.h"
#include "check.h"
#include "isa/riscv/state.h"
#include "isa/machine.h"

enum { WORDS_PER_LINE = 50 };

static u64 features(const struct machine *m)
{
    return ((const struct rv_model *)m->cpu.model)->features;
}

/* Rounding modes of all kinds. */
static void set_frm(struct machine *m, unsigned k)
{
    rv_set_fcsr(m->cpu.env, k % 5 << 5);
}

static void lift_all_lines(const struct isa *isa)
{
    struct machine *m = machine_new(isa, "max");
    u64 rng = 1;
    for (unsigned id = 1; id < RV_INSNS; id++) {
        if (!insn_needs_met(&rv_needs[rv_insns[id].feature], features(m)))
            continue;
        CHECK(!(rv_insns[id].effects & INSN_TODO));
        for (unsigned k = 0; k < WORDS_PER_LINE; k++) {
            u32 insn = rv_random(id, features(m), &rng);
            set_frm(m, k);
            if (!machine_lift(m, PC, &insn, rv_insns[id].bytes)) {
                CHECK(!"valid");
                break;
            }
        }
    }
    machine_free(m);
}

TEST(every_line_lifts_to_valid_ir)
{
    lift_all_lines(&isa_riscv64);
    lift_all_lines(&isa_riscv32);
}

/* Blocks of random instructions of both lengths: state maps and folding across instructions. */
TEST(random_blocks_lift_to_valid_ir)
{
    struct machine *m = machine_new(&isa_riscv64, "max");
    u64 rng = 7;
    for (unsigned k = 0; k < 2000; k++) {
        u8 code[48];
        size_t len = 0;
        while (len < sizeof(code) - 4) {
            unsigned id = 1 + (unsigned)(rng >> 33) % (RV_INSNS - 1);
            rng = rng * 0x5851f42d4c957f2dull + 1;
            if (!insn_needs_met(&rv_needs[rv_insns[id].feature], features(m)))
                continue;
            u32 insn = rv_random(id, features(m), &rng);
            memcpy(code + len, &insn, rv_insns[id].bytes);
            len += rv_insns[id].bytes;
        }
        set_frm(m, k);
        CHECK(machine_lift(m, PC, code, len));
    }
    machine_free(m);
}

static const struct ir_node *end_of(const struct machine *m)
{
    return &m->region.node[m->region.count - 1];
}

static const struct ir_node *lift_one(struct machine *m, u32 insn)
{
    CHECK(machine_lift(m, PC, &insn, rv_insn_bytes((u16)insn)));
    return end_of(m);
}

TEST(block_ends)
{
    struct machine *m = machine_new(&isa_riscv64, "max");
    const u16 straight[] = {0x0505, 0x0505}; /* addi a0, a0, 1 */
    CHECK(machine_lift(m, PC, straight, sizeof(straight)));
    CHECK_EQ(m->region.insns, 2);
    CHECK_EQ(end_of(m)->op, IR_EXIT_LINK);
    CHECK_EQ(end_of(m)->imm, PC + 4);
    const u16 half[] = {0x0505, 0x8533}; /* the second half is missing */
    CHECK(machine_lift(m, PC, half, sizeof(half)));
    CHECK_EQ(m->region.insns, 1);
    CHECK_EQ(end_of(m)->imm, PC + 2);
    const u16 undefined[] = {0x0505, 0x0000};
    CHECK(machine_lift(m, PC, undefined, sizeof(undefined)));
    CHECK_EQ(end_of(m)->op, IR_RAISE);
    CHECK_EQ(end_of(m)->imm, ISA_RAISE_UNDEFINED);
    CHECK_EQ(m->region.map[end_of(m)->c].pc, PC + 2);
    machine_free(m);
}

/* What the registers of jumps hint at decides which end it is (vol. I, 2.5). */
TEST(calls_and_returns)
{
    struct machine *m = machine_new(&isa_riscv64, "max");
    CHECK_EQ(lift_one(m, 0x040000ef)->op, IR_CALL);      /* jal ra, .+64 */
    CHECK_EQ(end_of(m)->imm, PC + 64);
    CHECK_EQ(m->region.node[end_of(m)->b].imm, PC + 4);
    CHECK_EQ(lift_one(m, 0x040002ef)->op, IR_CALL);      /* jal t0, .+64 */
    CHECK_EQ(lift_one(m, 0x0400036f)->op, IR_EXIT_LINK); /* jal t1, .+64 */
    CHECK_EQ(lift_one(m, 0x0400006f)->op, IR_EXIT_LINK); /* j .+64 */
    CHECK_EQ(lift_one(m, 0x000500e7)->op, IR_CALL_IND);  /* jalr a0 */
    CHECK_EQ(lift_one(m, 0x9502)->op, IR_CALL_IND);      /* c.jalr a0 */
    CHECK_EQ(m->region.node[end_of(m)->b].imm, PC + 2);
    CHECK_EQ(lift_one(m, 0x8082)->op, IR_RET);           /* ret */
    CHECK_EQ(lift_one(m, 0x00028067)->op, IR_RET);       /* jr t0 */
    CHECK_EQ(lift_one(m, 0x8502)->op, IR_EXIT_IND);      /* jr a0 */
    CHECK_EQ(lift_one(m, 0x000280e7)->op, IR_CALL_IND);  /* jalr t0 */
    const u32 far[] = {0x00010097, 0x010080e7};          /* auipc ra, 0x10; jalr 16(ra) */
    CHECK(machine_lift(m, PC, far, sizeof(far)));
    CHECK_EQ(end_of(m)->op, IR_CALL);
    CHECK_EQ(end_of(m)->imm, PC + 0x10010);
    machine_free(m);
}

/* A branch over one instruction that does little is none; over a division it is. */
TEST(choices)
{
    struct machine *m = machine_new(&isa_riscv64, "max");
    const u16 move[] = {0xc111, 0x852e, 0x0505}; /* beqz a0, .+4; mv a0, a1; addi a0, a0, 1 */
    CHECK(machine_lift(m, PC, move, sizeof(move)));
    for (irv v = IR_FIRST_NODE; v < m->region.count; v++)
        CHECK(m->region.node[v].op != IR_EXIT_IF);
    CHECK_EQ(m->region.insns, 3);
    const u16 divide[] = {0xc119, 0x4533, 0x02b5}; /* beqz a0, .+6; div a0, a0, a1 */
    CHECK(machine_lift(m, PC, divide, sizeof(divide)));
    unsigned exits = 0;
    for (irv v = IR_FIRST_NODE; v < m->region.count; v++)
        exits += m->region.node[v].op == IR_EXIT_IF;
    CHECK_EQ(exits, 1);
    machine_free(m);
}

/* x0 is a constant: what is made of it is one, too. */
TEST(constants)
{
    struct machine *m = machine_new(&isa_riscv64, "max");
    const u32 code[] = {0x12345537, 0x67850513, 0x00500593}; /* lui a0; addi a0; li a1, 5 */
    CHECK(machine_lift(m, PC, code, sizeof(code)));
    irv a0 = m->builder.cur[RV_X0 + 10], a1 = m->builder.cur[RV_X0 + 11];
    CHECK(ir_is_const(&m->region, a0) && m->region.node[a0].imm == 0x12345678);
    CHECK(ir_is_const(&m->region, a1) && m->region.node[a1].imm == 5);
    machine_free(m);
}

TEST(models)
{
    struct err e = {0};
    struct rv_model m;
    CHECK(!rv_model_find("pentium", false, &m, &e));
    CHECK(strstr(e.text, "\"pentium\"") && strstr(e.text, "rva22"));
    CHECK(!rv_model_find("rva22", true, &m, &e));
    CHECK(strstr(e.text, "rv32") != NULL);
    CHECK(rv_model_find(NULL, false, &m, &e));
    CHECK_STR(m.name, "rv64");
    CHECK(rv_has(&m, RV_RV64) && !rv_has(&m, RV_RV32) && rv_has(&m, RV_C) && !rv_has(&m, RV_Zba));
    CHECK_EQ(rv_hwcap(&m), 1 << 0 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 8 | 1 << 12);
    CHECK(rv_model_find("max", true, &m, &e));
    CHECK(rv_has(&m, RV_RV32) && !rv_has(&m, RV_RV64) && rv_has(&m, RV_Zacas));
    CHECK_STR(rv64_model_name(1), "rva22");
    CHECK(!rv64_model_name(3) && !rv32_model_name(2));
}

TEST(extensions_go_on_and_off)
{
    struct err e = {0};
    struct rv_model m;
    CHECK(rv_model_find("rv64,zba=on,Zbb=on,f=off", false, &m, &e));
    CHECK(rv_has(&m, RV_Zba) && rv_has(&m, RV_Zbb));
    CHECK(!rv_has(&m, RV_F) && !rv_has(&m, RV_D)); /* what needs another goes with it */
    CHECK(rv_model_find("rv64,f=off,zfh=on", false, &m, &e));
    CHECK(rv_has(&m, RV_F) && rv_has(&m, RV_Zfhmin) && !rv_has(&m, RV_D));
    CHECK_EQ(rv_hwcap(&m), 1 << 0 | 1 << 2 | 1 << 5 | 1 << 8 | 1 << 12);
    CHECK(!rv_model_find("rv64,warp=on", false, &m, &e));
    CHECK(strstr(e.text, "\"warp\"") && strstr(e.text, "zicond"));
    CHECK(!rv_model_find("rv64,rv32=on", false, &m, &e));
    CHECK(!rv_model_find("rv64,zba", false, &m, &e));
    CHECK(!rv_model_find("rv64,zba=yes", false, &m, &e));
}

TEST_MAIN()
