/* What RISC-V programs are told about their CPU. */
#include "check.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/guard.h"
#include "stubs.h"
#include "user/linux/riscv.h"
#include "user/linux/syscall.h"
#include "user/process.h"

static const char *isa_text;

static void describe(const struct vcpu *cpu, char *text, size_t size)
{
    snprintf(text, size, "%s", isa_text);
}

TEST(extensions_of_an_isa_string)
{
    const char *isa = "rv64imafdc_zicsr_zba_zfh_zkn";
    CHECK(riscv_isa_has(isa, "i") && riscv_isa_has(isa, "c") && riscv_isa_has(isa, "zba"));
    CHECK(!riscv_isa_has(isa, "v") && !riscv_isa_has(isa, "zb") && !riscv_isa_has(isa, "zbaa"));
    CHECK(!riscv_isa_has(isa, "z") && !riscv_isa_has(isa, "r"));
    CHECK(riscv_isa_has(isa, "zaamo") && riscv_isa_has(isa, "zfhmin") && riscv_isa_has(isa, "zknh"));
    CHECK(!riscv_isa_has(isa, "zksh"));
    CHECK(riscv_isa_has(isa, "zcd") && !riscv_isa_has(isa, "zcf") && riscv_isa_has("rv32imafdc", "zcf"));
    CHECK(!riscv_isa_has("rv64imac", "zcd") && !riscv_isa_has("rv64imafd_zba", "zca"));
    CHECK(!riscv_isa_has("", "c"));
}

/* Bits as in Linux's <asm/hwprobe.h>. */
TEST(probe_bits)
{
    CHECK_EQ(riscv_ima_ext_0("rv64ima"), 3ull << 56);
    CHECK_EQ(riscv_ima_ext_0("rv64imafdc"), 3ull << 56 | 1 | 1 << 1 | 1ull << 43 | 1ull << 45);
    CHECK_EQ(riscv_ima_ext_0("rv64im_zba_zbb_zbs_zicboz_zbc"), 0xf8);
    CHECK_EQ(riscv_ima_ext_0("rv64im_zfa_zacas_zicond_zawrs_zcb_zicbom_zicbop_zihintpause_zicntr"),
              1ull << 32 | 1ull << 34 | 1ull << 35 | 1ull << 48 | 1ull << 44 | 1ull << 55 | 1ull << 60 | 1ull << 36 | 1ull << 50);
}

struct pair {
    s64 key;
    u64 value;
};

static s64 probe(struct pair *pairs, u64 count, u64 size, void *cpus, u64 flags)
{
    static const struct isa isa = {.name = "riscv64", .describe = describe};
    struct process p = {.isa = &isa, .space = {.top = 1ull << 47}};
    struct vcpu cpu = {.isa = &isa};
    struct thread t = {.process = &p, .cpu = &cpu};
    const u64 a[6] = {(u64)(uintptr_t)pairs, count, size, (u64)(uintptr_t)cpus, flags};
    guard_install();
    return sys_riscv_hwprobe(&t, a);
}

TEST(values_of_keys)
{
    isa_text = "rv64ima_zicboz";
    struct pair q[] = {{0, 9}, {3, 9}, {4, 9}, {6, 9}, {12, 9}, {16, 9}, {17, 9}, {-1, 9}, {1ll << 40, 9}};
    CHECK_EQ(probe(q, ARRAY_LEN(q), 0, NULL, 0), 0);
    CHECK(q[0].key == 0 && !q[0].value && q[1].value == 1 && q[2].value == (3ull << 56 | 1 << 6));
    CHECK(q[3].value == 64 && q[4].key == 12 && !q[4].value && q[5].key == 16 && !q[5].value);
    for (int i = 6; i < 9; i++)
        CHECK(q[i].key == -1 && !q[i].value);
    CHECK_EQ(probe(q, 1, 0, NULL, 2), -EINVAL);
    CHECK_EQ(probe(NULL, 1, 0, NULL, 0), -EFAULT);
}

TEST(sets_of_cpus)
{
    isa_text = "rv64imafdc_zba";
    struct pair q = {4, 0};
    u8 set[8] = {0};
    CHECK_EQ(probe(&q, 1, sizeof(set), set, 0), -EINVAL); /* none of them is there */
    set[0] = 1;
    CHECK_EQ(probe(&q, 1, sizeof(set), set, 0), 0);
    CHECK_EQ(probe(&q, 1, sizeof(set), NULL, 0), -EFAULT);
    /* Which have it? An empty set asks for all. */
    CHECK_EQ(probe(&q, 1, sizeof(set), set, 1), 0);
    CHECK_EQ(set[0], 1);
    memset(set, 0, sizeof(set));
    q = (struct pair){4, 1 << 3};
    CHECK_EQ(probe(&q, 1, sizeof(set), set, 1), 0);
    CHECK(set[0] & 1);
    q.value = 1 << 4; /* Zbb */
    CHECK_EQ(probe(&q, 1, sizeof(set), set, 1), 0);
    CHECK(!set[0] && q.key == 4);
    set[0] = 1;
    q = (struct pair){99, 0};
    CHECK_EQ(probe(&q, 1, sizeof(set), set, 1), 0);
    CHECK(!set[0] && q.key == -1);
    CHECK_EQ(probe(&q, 1, 0, NULL, 1), -EINVAL);
}

TEST(instruction_cache)
{
    static char engine;
    struct process p = {.space = {.engine = (struct engine *)&engine, .lock = PTHREAD_MUTEX_INITIALIZER}};
    struct thread t = {.process = &p};
    u64 a[6] = {0x1000, 0x2000, 1};
    unsigned before = stub_calls.invalidated;
    CHECK_EQ(sys_riscv_flush_icache(&t, a), 0);
    CHECK_EQ(stub_calls.invalidated, before + 1);
    CHECK(stub_calls.start == 0x1000 && stub_calls.len == 0x1000);
    a[0] = a[1] = 0;
    CHECK_EQ(sys_riscv_flush_icache(&t, a), 0);
    CHECK(!stub_calls.start && stub_calls.len == ~0ull);
    before = stub_calls.invalidated;
    a[2] = 2;
    CHECK_EQ(sys_riscv_flush_icache(&t, a), -EINVAL);
    CHECK_EQ(stub_calls.invalidated, before);
}

/* As a kernel of 6.6 prints it for a machine without identification registers. */
TEST(cpuinfo)
{
    const struct isa isa = {.name = "riscv64", .describe = describe};
    struct vcpu cpu = {.isa = &isa};
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    isa_text = "rv64imac_zba";
    riscv_cpuinfo(f, 1, &cpu);
    fclose(f);
    CHECK_STR(text, "processor\t: 1\nhart\t\t: 1\nisa\t\t: rv64imac_zba\nmmu\t\t: sv48\nuarch\t\t: lyrebird,lyre\n"
                    "mvendorid\t: 0x0\nmarchid\t\t: 0x0\nmimpid\t\t: 0x0\nhart isa\t: rv64imac_zba\n\n");
    free(text);
}

TEST_MAIN()
