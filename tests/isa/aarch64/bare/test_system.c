/* What no program shows, or no peer knows: the table of registers, WXN, UAO, faults of each kind with their levels. */
#include "check.h"

#include "board.h"
#include "isa/aarch64/system.h"

enum { TABLES = BOARD_RAM + 0x10000, CODE = BOARD_RAM + 0x200000 };

TEST(registers_are_sorted)
{
    for (unsigned i = 1; i < a64_registers_count; i++)
        CHECK(a64_registers[i - 1].key < a64_registers[i].key);
}

TEST(every_model_has_facts)
{
    for (unsigned i = 0; a64_model_name(i); i++) {
        struct a64_model m;
        struct err e;
        u64 v = 0;
        CHECK(a64_model_find(a64_model_name(i), &m, &e));
        CHECK(a64_machine_id(&m, A64_REG_ID_AA64MMFR0_EL1, &v) && v);
        CHECK(a64_cache_size(&m, 0));
        CHECK(a64_register(&m, A64_REG_SCTLR_EL1) != NULL);
        CHECK(!a64_register(&m, A64_REG_SP_EL1));
    }
}

static struct board *b;

static struct vcpu *machine(const char *model)
{
    struct err e;
    b = board_new(model, 1, &(struct engine_opts){.kind = ENGINE_INTERP, .pins = UINT32_MAX}, &e);
    return cpus_port(board_cpus(b), 0)->cpu;
}

static void put64(u64 addr, u64 v)
{
    CHECK_EQ(mem_load(board_memory(b), addr, &v, sizeof(v)), MEM_OK);
}

/* Two levels of 4 KiB tables for the lowest GiB, in which `leaf` is the page of address 0x1000. */
static void map(struct vcpu *cpu, u64 leaf)
{
    struct a64_state *s = a64_of(cpu);
    s->tcr_el1 = 34 | 5ull << 32 | 1ull << 23;
    s->ttbr0_el1 = TABLES;
    s->mair_el1 = 0xff;
    s->sctlr_el1 |= SCTLR_M;
    put64(TABLES, (TABLES + 0x1000) | 3);
    put64(TABLES + 0x1008, leaf);
}

/* The kind and level of the fault of an access, 0 for none. */
static unsigned try(struct vcpu *cpu, u64 addr, enum ir_access access, unsigned mode)
{
    struct isa_page page;
    struct isa_fault f;
    return a64_translate(cpu, addr, access, mode, &page, &f) ? 0 : f.kind << 4 | f.level;
}

#define FAULT(kind, level) (ISA_FAULT_##kind << 4 | (level))
#define PAGE_AT(phys) ((phys) | 0x703)

TEST(faults_name_their_kind_and_level)
{
    struct vcpu *cpu = machine("cortex-a57");
    map(cpu, PAGE_AT(CODE));
    CHECK_EQ(try(cpu, 0x1000, IR_ACCESS_WRITE, A64_MODE_EL1), 0);
    CHECK_EQ(try(cpu, 0x1000, IR_ACCESS_READ, A64_MODE_EL0), FAULT(PERMISSION, 3));
    CHECK_EQ(try(cpu, 0x2000, IR_ACCESS_READ, A64_MODE_EL1), FAULT(TRANSLATION, 3));
    CHECK_EQ(try(cpu, 0x200000, IR_ACCESS_READ, A64_MODE_EL1), FAULT(TRANSLATION, 2));
    CHECK_EQ(try(cpu, 0x40000000, IR_ACCESS_READ, A64_MODE_EL1), FAULT(TRANSLATION, 0));
    CHECK_EQ(try(cpu, 1ull << 63, IR_ACCESS_READ, A64_MODE_EL1), FAULT(TRANSLATION, 0));
    map(cpu, PAGE_AT(CODE) & ~(1ull << 10));
    CHECK_EQ(try(cpu, 0x1000, IR_ACCESS_READ, A64_MODE_EL1), FAULT(ACCESSED, 3));
    map(cpu, PAGE_AT(1ull << 46));
    CHECK_EQ(try(cpu, 0x1000, IR_ACCESS_READ, A64_MODE_EL1), FAULT(SIZE, 3));
    put64(TABLES, 1ull << 40 | 3);
    CHECK_EQ(try(cpu, 0x1000, IR_ACCESS_READ, A64_MODE_EL1), FAULT(WALK, 3));
    board_free(b);
}

TEST(what_can_be_written_is_not_run_under_wxn)
{
    struct vcpu *cpu = machine("cortex-a57");
    map(cpu, PAGE_AT(CODE));
    CHECK_EQ(try(cpu, 0x1000, IR_ACCESS_EXEC, A64_MODE_EL1), 0);
    a64_of(cpu)->sctlr_el1 |= SCTLR_WXN;
    CHECK_EQ(try(cpu, 0x1000, IR_ACCESS_EXEC, A64_MODE_EL1), FAULT(PERMISSION, 3));
    map(cpu, PAGE_AT(CODE) | 1 << 7);
    CHECK_EQ(try(cpu, 0x1000, IR_ACCESS_EXEC, A64_MODE_EL1), 0);
    map(cpu, PAGE_AT(CODE) | 1 << 6);
    CHECK_EQ(try(cpu, 0x1000, IR_ACCESS_EXEC, A64_MODE_EL0), FAULT(PERMISSION, 3));
    board_free(b);
}

/* A write of a page that is clean comes to the walk again, and then says so in the table. */
TEST(the_first_write_is_marked)
{
    struct vcpu *cpu = machine("max");
    struct isa_page page;
    struct isa_fault f;
    u64 entry = 0;
    map(cpu, PAGE_AT(CODE) | 1 << 7 | 1ull << 51);
    a64_of(cpu)->tcr_el1 |= 3ull << 39;
    CHECK(a64_translate(cpu, 0x1000, IR_ACCESS_READ, A64_MODE_EL1, &page, &f));
    CHECK(!(page.rights >> IR_ACCESS_WRITE & 1));
    CHECK(a64_translate(cpu, 0x1000, IR_ACCESS_WRITE, A64_MODE_EL1, &page, &f));
    CHECK(page.rights >> IR_ACCESS_WRITE & 1);
    CHECK_EQ(mem_read(board_memory(b), TABLES + 0x1008, 8, &entry), MEM_OK);
    CHECK(!(entry >> 7 & 1));
    board_free(b);
}

TEST(uao_makes_unprivileged_accesses_privileged)
{
    struct vcpu *cpu = machine("cortex-a76");
    struct a64_state *s = a64_of(cpu);
    CHECK(!(a64_machine_key(s) & A64_KEY_UAO));
    s->pstate |= A64_PSTATE_UAO;
    CHECK(a64_machine_key(s) & A64_KEY_UAO);
    CHECK_EQ(a64_system.mode(a64_machine_key(s)), A64_MODE_EL1);
    s->pstate = (s->pstate & ~(u64)A64_PSTATE_UAO) | A64_PSTATE_PAN;
    CHECK_EQ(a64_system.mode(a64_machine_key(s)), A64_MODE_EL1_PAN);
    s->pstate &= ~(u64)(A64_PSTATE_EL | A64_PSTATE_SP);
    CHECK_EQ(a64_system.mode(a64_machine_key(s)), A64_MODE_EL0);
    board_free(b);
}

TEST_MAIN()
