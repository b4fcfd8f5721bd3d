/* What the differential test cannot compare: how control leaves, and what the machine tells about
 * itself. Runs with the reference interpreter. */
#include "check.h"
#include "isa/aarch64/helper.h"
#include "isa/aarch64/state.h"
#include "isa/machine.h"

TEST(exceptions)
{
    struct machine *m = machine_new(&isa_aarch64, NULL);
    machine_run(m, 0xd4000001 | 8 << 5); /* svc #8 */
    machine_check_raise(m, ISA_RAISE_SYSCALL, 8, PC + 4);
    machine_run(m, 0xd4200000 | 1000 << 5); /* brk #1000 */
    machine_check_raise(m, ISA_RAISE_BREAK, 1000, PC);
    machine_run(m, 0xd4400000); /* hlt #0 */
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0xd4400000, PC);
    machine_run(m, 0x00000000); /* udf #0 */
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0, PC);
    machine_run_at(m, PC + 2, 0xd503201f);
    machine_check_raise(m, ISA_RAISE_PC_ALIGN, PC + 2, PC + 2);
    machine_free(m);
}

TEST(features_of_the_model)
{
    struct machine *m = machine_new(&isa_aarch64, "cortex-a53");
    machine_run(m, 0xf8200020); /* ldadd x0, x0, [x1]: LSE */
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0xf8200020, PC);
    CHECK_EQ(machine_run(m, 0x9ac04c00), IR_EXIT_LOOKUP); /* crc32x w0, w0, x0 */
    machine_free(m);
}

TEST(unaligned_exclusives)
{
    struct machine *m = machine_new(&isa_aarch64, NULL);
    u64 data[2] = {1, 2};
    struct a64_state *s = a64_state(m->cpu.env);
    s->x[1] = (u64)data + 4;
    s->x[0] = 99;
    machine_run(m, 0xc85f7c20); /* ldxr x0, [x1] */
    machine_check_raise(m, ISA_RAISE_UNALIGNED, s->x[1], PC);
    CHECK_EQ(s->x[0], 99);
    machine_free(m);
}

/* FEAT_LSE2: what stays within 16 bytes is no fault; the oracle of the differential test lacks it. */
TEST(unaligned_within_16_bytes)
{
    struct machine *m = machine_new(&isa_aarch64, "max,lse2=on");
    struct a64_state *s = a64_state(m->cpu.env);
    alignas(16) u64 data[4] = {0x1111, 0x2222, 0x3333, 0x4444};
    s->x[1] = (u64)data + 8;
    s->x[0] = 1;
    CHECK_EQ(machine_run(m, 0xf8200022), IR_EXIT_LOOKUP); /* ldadd x0, x2, [x1] */
    CHECK_EQ(s->x[2], 0x2222);
    CHECK_EQ(data[1], 0x2223);
    s->x[1] = (u64)data + 3;
    CHECK_EQ(machine_run(m, 0xf8200022), IR_EXIT_LOOKUP);
    CHECK_EQ(s->x[2], 0x222300000000ull << 8);
    CHECK_EQ(machine_run(m, 0xc8dffc22), IR_EXIT_LOOKUP); /* ldar x2, [x1] */
    CHECK_EQ(s->x[2], (0x222300000000ull << 8) + 1);
    s->x[1] = (u64)data + 9;
    machine_run(m, 0xf8200022);
    machine_check_raise(m, ISA_RAISE_UNALIGNED, s->x[1], PC);
    machine_run(m, 0xd9406022); /* ldapur x2, [x1, #6] */
    machine_check_raise(m, ISA_RAISE_UNALIGNED, s->x[1] + 6, PC);
    CHECK_EQ(machine_run(m, 0xd95f7022), IR_EXIT_LOOKUP); /* ldapur x2, [x1, #-9] */
    s->x[1] = (u64)data + 8;
    CHECK_EQ(machine_run(m, 0xa9400c22), IR_EXIT_LOOKUP); /* ldp x2, x3, [x1] */
    CHECK_EQ(s->x[3], 0x3333);
    CHECK_EQ(machine_run(m, 0xa8810c22), IR_EXIT_LOOKUP); /* stp x2, x3, [x1], #16 */
    CHECK_EQ(s->x[1], (u64)data + 24);
    machine_run(m, 0xc87f0c22); /* ldxp x2, x3, [x1]: 16 bytes must be aligned */
    machine_check_raise(m, ISA_RAISE_UNALIGNED, s->x[1], PC);
    machine_free(m);
}

TEST(cache_maintenance)
{
    struct machine *m = machine_new(&isa_aarch64, NULL);
    struct a64_state *s = a64_state(m->cpu.env);
    u8 data[256] __attribute__((aligned(64)));
    memset(data, 0xff, sizeof(data));
    s->x[3] = (u64)data + 64 + 17;
    CHECK_EQ(machine_run(m, 0xd50b7423), IR_EXIT_LOOKUP); /* dc zva, x3 */
    for (unsigned i = 0; i < sizeof(data); i++)
        CHECK_EQ(data[i], i / 64 == 1 ? 0 : 0xff);
    machine_run(m, 0xd50b7523); /* ic ivau, x3 */
    machine_check_raise(m, ISA_RAISE_CACHE, s->x[3], PC + 4);
    CHECK_EQ(machine_run(m, 0xd50b7c23), IR_EXIT_LOOKUP); /* dc cvap, x3; the oracle's user mode has neither */
    CHECK_EQ(machine_run(m, 0xd50b7d23), IR_EXIT_LOOKUP); /* dc cvadp, x3 */
    machine_run(m, 0xd53b00e0); /* mrs x0, dczid_el0: 64 bytes */
    CHECK_EQ(s->x[0], 4);
    machine_run(m, 0xd53b0020); /* mrs x0, ctr_el0: lines of 64 bytes, no DIC */
    CHECK_EQ(s->x[0] & 0x200f000f, 0x00040004);
    machine_free(m);
}

TEST(fpcr_changes_the_key)
{
    struct machine *m = machine_new(&isa_aarch64, NULL);
    struct a64_state *s = a64_state(m->cpu.env);
    s->x[0] = A64_FPCR_DN | 1 << 22;
    machine_run(m, 0xd51b4400); /* msr fpcr, x0 */
    machine_check_raise(m, ISA_RAISE_RESYNC, 0, PC + 4);
    CHECK_EQ(isa_aarch64.key(&m->cpu), A64_FPCR_DN);
    CHECK_EQ(s->fp.round, FP_ROUND_UP);
    CHECK(s->fp.default_nan);
    CHECK_EQ(vcpu_get(&m->cpu, isa_reg_find(&isa_aarch64, "fpcr")), s->x[0]);
    machine_free(m);
}

TEST(identity)
{
    struct machine *m = machine_new(&isa_aarch64, "cortex-a72");
    struct a64_state *s = a64_state(m->cpu.env);
    machine_run(m, 0xd5380000); /* mrs x0, midr_el1 */
    CHECK_EQ(s->x[0], 0x410fd083);
    machine_run(m, 0xd53b2400); /* mrs x0, rndr: not there */
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0xd53b2400, PC);
    machine_run(m, 0xd53be040); /* mrs x0, cntvct_el0 */
    u64 before = s->x[0];
    machine_run(m, 0xd53be040);
    CHECK(s->x[0] >= before);
    machine_free(m);
}

/* The test vector of the paper that defines the cipher (QARMA-64, five rounds, the S-box sigma 2). */
TEST(qarma5)
{
    CHECK_EQ(a64_qarma5(0xfb623599da6e8127, 0x477d469dec0b8762, 0x84be85ce9804e94b,
                        0xec2802d4e0a488e9), 0xc003b93999b33765);
}

/* The cipher's place in an instruction: what goes in as block, tweak and key, which bits come out. */
TEST(pointer_authentication_code)
{
    struct machine *m = machine_new(&isa_aarch64, "max,pauth-impdef=off");
    struct a64_state *s = a64_state(m->cpu.env);
    for (unsigned k = 0; k < A64_PAUTH_KEYS; k++) {
        s->pauth_key[k][0] = 0xec2802d4e0a488e9;
        s->pauth_key[k][1] = 0x84be85ce9804e94b;
    }
    s->x[0] = 0xfb623599da6e8127;
    s->x[1] = 0x477d469dec0b8762;
    machine_run(m, 0x9ac13002); /* pacga x2, x0, x1 */
    CHECK_EQ(s->x[2], 0xc003b93900000000);
    u64 block = 0xfb00123456789abc, code = a64_qarma5(block, 0x477d469dec0b8762,
                                                      0x84be85ce9804e94b, 0xec2802d4e0a488e9);
    s->x[0] = block;
    machine_run(m, 0xdac10020); /* pacia x0, x1 */
    CHECK_EQ(s->x[0], block | (code & 0x7full << 48));
    u64 signed_block = s->x[0];
    machine_run(m, 0xdac11020); /* autia x0, x1 */
    CHECK_EQ(s->x[0], block);
    s->x[0] = signed_block ^ 1ull << 50;
    machine_run(m, 0xdac11020);
    CHECK_EQ(s->x[0], block | 1ull << 53);
    s->x[0] = signed_block ^ 1ull << 50;
    machine_run(m, 0xdac11420); /* autib x0, x1: the other kind of error */
    CHECK_EQ(s->x[0], block | 1ull << 54);
    s->x[0] = block ^ 1ull << 50; /* not an address: bit 54 of the code is wrong */
    machine_run(m, 0xdac10020);
    CHECK_EQ(s->x[0], signed_block ^ 1ull << 54);
    machine_free(m);
}

/* Bits of PSTATE. */
TEST(dit_and_ssbs)
{
    struct machine *m = machine_new(&isa_aarch64, NULL);
    struct a64_state *s = a64_state(m->cpu.env);
    const int pstate = isa_reg_find(&isa_aarch64, "pstate");
    CHECK_EQ(vcpu_get(&m->cpu, pstate), A64_PSTATE_SSBS);
    machine_run(m, 0xd503415f); /* msr dit, #1 */
    CHECK_EQ(vcpu_get(&m->cpu, pstate), A64_PSTATE_SSBS | A64_PSTATE_DIT);
    machine_run(m, 0xd503403f); /* msr ssbs, #0 */
    machine_run(m, 0xd53b42a0); /* mrs x0, dit */
    CHECK_EQ(s->x[0], A64_PSTATE_DIT);
    machine_run(m, 0xd53b42c0); /* mrs x0, ssbs */
    CHECK_EQ(s->x[0], 0);
    machine_free(m);
    m = machine_new(&isa_aarch64, "cortex-a72");
    machine_run(m, 0xd503415f);
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0xd503415f, PC);
    machine_run(m, 0xd53b42c0);
    machine_check_raise(m, ISA_RAISE_UNDEFINED, 0xd53b42c0, PC);
    machine_free(m);
}

TEST(registers_by_name)
{
    struct machine *m = machine_new(&isa_aarch64, NULL);
    const struct isa *isa = &isa_aarch64;
    vcpu_set(&m->cpu, isa_reg_find(isa, "pstate"), 0xa0000000);
    CHECK_EQ(vcpu_get(&m->cpu, isa_reg_find(isa, "nzcv")), 0xa);
    CHECK_EQ(vcpu_get(&m->cpu, isa_reg_find(isa, "pstate")), 0xa0000000);
    vcpu_set(&m->cpu, isa_reg_find(isa, "sp"), 0x1234);
    CHECK_EQ(a64_state(m->cpu.env)->sp, 0x1234);
    v128 v = {.d = {1, 2}}, got;
    vcpu_reg_set(&m->cpu, isa_reg_find(isa, "v31"), &v);
    vcpu_reg_get(&m->cpu, isa_reg_find(isa, "v31"), &got);
    CHECK(!memcmp(&v, &got, sizeof(v)));
    CHECK_EQ(isa_reg_bytes(isa, isa_reg_find(isa, "v0")), 16);
    CHECK_EQ(isa_reg_bytes(isa, isa_reg_find(isa, "x0")), 8);
    CHECK_EQ(isa_reg_bytes(isa, isa_reg_find(isa, "fpsr")), 4);
    CHECK_EQ(isa_reg_find(isa, "eax"), -1);
    vcpu_set(&m->cpu, isa_reg_find(isa, "fpsr"), 0x08000011);
    CHECK_EQ(vcpu_get(&m->cpu, isa_reg_find(isa, "fpsr")), 0x08000011);
    CHECK(isa_by_name("aarch64") == isa);
    CHECK(isa_by_elf(183, 2, false) == isa);
    CHECK(!isa_by_elf(183, 2, true));
    machine_free(m);
}

TEST_MAIN()
