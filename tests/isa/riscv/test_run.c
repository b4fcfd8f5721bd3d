/* What the differential test cannot compare: how control leaves, what the machine tells about itself, and edges of
 * extensions that the oracle does not have. Runs with the reference interpreter. */
#include <stdalign.h>

#include "check.h"
#include "isa/riscv/state.h"
#include "isa/machine.h"

enum { A0 = 10, A1, A2, A3, A4 };

static u64 *x(struct machine *m)
{
    return rv_state(m->cpu.env)->x;
}

TEST(exceptions)
{
    struct machine *m = machine_new(&isa_riscv64, "max");
    machine_run(m, 0x00000073); /* ecall */
    machine_check_raise(m, ISA_RAISE_SYSCALL, 0, PC + 4);
    machine_run(m, 0x00100073); /* ebreak */
    machine_check_raise(m, ISA_RAISE_BREAK, 0, PC);
    machine_run(m, 0x9002); /* c.ebreak */
    machine_check_raise(m, ISA_RAISE_BREAK, 0, PC);
    machine_run(m, 0x0000);
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0, PC);
    machine_run(m, 0x10500073); /* wfi */
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0x10500073, PC);
    machine_run(m, 0x0000100f); /* fence.i */
    machine_check_raise(m, ISA_RAISE_CACHE_ALL, 0, PC + 4);
    machine_run_at(m, PC + 1, 0x0001);
    machine_check_raise(m, ISA_RAISE_PC_ALIGN, PC + 1, PC + 1);
    machine_free(m);
}

/* Without C, instructions of 16 bits are undefined and addresses aligned to 32. */
TEST(extensions_of_the_model)
{
    struct machine *m = machine_new(&isa_riscv64, "rv64,c=off");
    machine_run(m, 0x0505); /* c.addi */
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0x0505, PC);
    machine_run_at(m, PC + 2, 0x00000013);
    machine_check_raise(m, ISA_RAISE_PC_ALIGN, PC + 2, PC + 2);
    machine_run(m, 0x20c5c533); /* sh2add: Zba */
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0x20c5c533, PC);
    CHECK_EQ(machine_run(m, 0x02c58533), IR_EXIT_LOOKUP); /* mul */
    machine_free(m);
    m = machine_new(&isa_riscv64, "rv64,f=off");
    machine_run(m, 0x00302573); /* frcsr a0 */
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0x00302573, PC);
    machine_free(m);
}

TEST(misaligned_atomics)
{
    struct machine *m = machine_new(&isa_riscv64, "max");
    u64 data[2] = {1, 2};
    x(m)[A1] = (u64)data + 4;
    x(m)[A0] = 99;
    machine_run(m, 0x1005b52f); /* lr.d a0, (a1) */
    machine_check_raise(m, ISA_RAISE_UNALIGNED, x(m)[A1], PC);
    machine_run(m, 0x00c5b52f); /* amoadd.d a0, a2, (a1) */
    machine_check_raise(m, ISA_RAISE_UNALIGNED, x(m)[A1], PC);
    CHECK_EQ(x(m)[A0], 99);
    CHECK_EQ(machine_run(m, 0x00c5a52f), IR_EXIT_LOOKUP); /* amoadd.w: aligned to its size */
    machine_free(m);
}

/* Quotients and remainders by zero, and those that do not fit, of both widths (vol. I, table 13.1). */
TEST(division_edges)
{
    static const struct {
        u32 insn;
        u64 a, b, result;
    } cases[] = {
        {0x02c5c533, 7, 0, -1ull},                /* div */
        {0x02c5d533, 7, 0, -1ull},                /* divu */
        {0x02c5e533, 7, 0, 7},                    /* rem */
        {0x02c5f533, 7, 0, 7},                    /* remu */
        {0x02c5c533, 1ull << 63, -1ull, 1ull << 63},
        {0x02c5e533, 1ull << 63, -1ull, 0},
        {0x02c5c53b, 7, 0, -1ull},                /* divw */
        {0x02c5d53b, 7, 1ull << 32, -1ull},       /* divuw: the low half is zero */
        {0x02c5e53b, 0x80000005, 0, 0xffffffff80000005}, /* remw */
        {0x02c5f53b, 0x80000005, 0, 0xffffffff80000005}, /* remuw */
        {0x02c5c53b, 0x80000000, -1ull, 0xffffffff80000000},
        {0x02c5e53b, 0x80000000, -1ull, 0},
    };
    struct machine *m = machine_new(&isa_riscv64, "max");
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        x(m)[A1] = cases[i].a;
        x(m)[A2] = cases[i].b;
        machine_run(m, cases[i].insn);
        CHECK_EQ(x(m)[A0], cases[i].result);
    }
    machine_free(m);
}

TEST(control_registers)
{
    struct machine *m = machine_new(&isa_riscv64, "max");
    struct rv_state *s = rv_state(m->cpu.env);
    x(m)[A0] = 0xfff;
    machine_run(m, 0x00351073); /* csrw fcsr, a0 */
    machine_check_raise(m, ISA_RAISE_RESYNC, 0, PC + 4);
    CHECK_EQ(rv_get_fcsr(m->cpu.env), 0xff);
    CHECK_EQ(isa_riscv64.key(&m->cpu), 7);
    machine_run(m, 0x02c5f553); /* fadd.d by frm, which is reserved */
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0x02c5f553, PC);
    machine_run(m, 0x02c5d553); /* by a reserved mode of its own */
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0x02c5d553, PC);
    CHECK_EQ(machine_run(m, 0x02c58553), IR_EXIT_LOOKUP); /* to even */
    CHECK_EQ(machine_run(m, 0x00105073), IR_EXIT_LOOKUP); /* fsflags 0: code is as before */
    machine_run(m, 0x0020d573); /* csrrwi a0, frm, 1 */
    CHECK_EQ(x(m)[A0], 7);
    CHECK_EQ(s->fp.round, FP_ROUND_ZERO);
    machine_run(m, 0xc0001073); /* csrw cycle, zero */
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0xc0001073, PC);
    machine_run(m, 0x30002573); /* csrr a0, mstatus */
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0x30002573, PC);
    CHECK_EQ(machine_run(m, 0xc0102573), IR_EXIT_LOOKUP); /* rdtime a0 */
    u64 before = x(m)[A0];
    machine_run(m, 0xc0102573);
    CHECK(x(m)[A0] >= before);
    machine_free(m);
    m = machine_new(&isa_riscv64, "rv64,zicntr=off");
    machine_run(m, 0xc0102573);
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0xc0102573, PC);
    machine_free(m);
}

TEST(cache_operations)
{
    struct machine *m = machine_new(&isa_riscv64, "max");
    alignas(64) u8 data[256];
    memset(data, 0xff, sizeof(data));
    x(m)[A0] = (u64)data + 64 + 17;
    CHECK_EQ(machine_run(m, 0x0045200f), IR_EXIT_LOOKUP); /* cbo.zero (a0) */
    for (unsigned i = 0; i < sizeof(data); i++)
        CHECK_EQ(data[i], i / 64 == 1 ? 0 : 0xff);
    CHECK_EQ(machine_run(m, 0x0015200f), IR_EXIT_LOOKUP); /* cbo.clean */
    CHECK_EQ(machine_run(m, 0x01056013), IR_EXIT_LOOKUP); /* prefetch.r 0(a0) */
    CHECK_EQ(machine_run(m, 0x00d00073), IR_EXIT_LOOKUP); /* wrs.nto: does not wait */
    CHECK_EQ(data[64], 0);
    machine_free(m);
}

/* The register of the sum wraps where the width ends, and what is above stays zero. */
TEST(rv32)
{
    struct machine *m = machine_new(&isa_riscv32, "max");
    x(m)[A1] = 0xffffffff;
    machine_run(m, 0x00258513); /* addi a0, a1, 2 */
    CHECK_EQ(x(m)[A0], 1);
    machine_run(m, 0x40b00533); /* neg a0, a1 */
    CHECK_EQ(x(m)[A0], 1);
    x(m)[A0] = 1u << 31;
    machine_run(m, 0x40455513); /* srai a0, a0, 4 */
    CHECK_EQ(x(m)[A0], 0xf8000000);
    machine_run(m, 0x02051513); /* slli a0, a0, 32: no such amount */
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0x02051513, PC);
    machine_run(m, 0x0085b503); /* ld */
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0x0085b503, PC);
    CHECK_EQ(isa_riscv32.key(&m->cpu), RV_KEY_RV32);
    machine_free(m);
}

TEST(compare_and_swap_of_pairs)
{
    struct machine *m = machine_new(&isa_riscv64, "max");
    alignas(16) u64 data[2] = {1, 2};
    x(m)[A1] = (u64)data;
    x(m)[A2] = 1;
    x(m)[A3] = 2;
    x(m)[A4] = 5;
    x(m)[A4 + 1] = 6;
    CHECK_EQ(machine_run(m, 0x28e5c62f), IR_EXIT_LOOKUP); /* amocas.q a2, a4, (a1) */
    CHECK(data[0] == 5 && data[1] == 6);
    CHECK(x(m)[A2] == 1 && x(m)[A3] == 2);
    machine_run(m, 0x28e5c62f); /* now it differs */
    CHECK(x(m)[A2] == 5 && x(m)[A3] == 6);
    machine_run(m, 0x2805c62f); /* x0 as a pair is zero: stored, as it is equal now */
    CHECK(data[0] == 0 && data[1] == 0);
    machine_free(m);
}

TEST(registers_by_name)
{
    struct machine *m = machine_new(&isa_riscv64, NULL);
    const struct isa *isa = &isa_riscv64;
    vcpu_set(&m->cpu, isa_reg_find(isa, "x2"), 0x1234);
    CHECK_EQ(x(m)[2], 0x1234);
    vcpu_set(&m->cpu, isa_reg_find(isa, "f31"), 0x3ff0000000000000);
    CHECK_EQ(rv_state(m->cpu.env)->f[31], 0x3ff0000000000000);
    CHECK_EQ(isa_reg_bytes(isa, isa_reg_find(isa, "f0")), 8);
    CHECK_EQ(isa_reg_bytes(isa, isa_reg_find(isa, "fcsr")), 4);
    CHECK_EQ(isa_reg_find(isa, "x0"), -1);
    vcpu_set(&m->cpu, isa_reg_find(isa, "fcsr"), 0x61);
    CHECK_EQ(vcpu_get(&m->cpu, isa_reg_find(isa, "fcsr")), 0x61);
    CHECK(isa_by_name("riscv64") == isa && isa_by_name("riscv32") == &isa_riscv32);
    CHECK(isa_by_elf(243, 2, false) == isa && isa_by_elf(243, 1, false) == &isa_riscv32);
    machine_free(m);
}

TEST_MAIN()
