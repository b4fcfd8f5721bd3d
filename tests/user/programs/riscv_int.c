/* RV64I and M at the edges.
 * guest: riscv64
 * link: static */
#include "riscv_check.h"

static void multiply_divide(void)
{
    /* Division by zero: all ones and the dividend; overflow: the dividend and zero. */
    CHECK_OP("div", 7, 0, ALL);
    CHECK_OP("div", -7, 2, -3);
    CHECK_OP("div", MIN64, -1, MIN64);
    CHECK_OP("div", MIN64, 1, MIN64);
    CHECK_OP("divu", 7, 0, ALL);
    CHECK_OP("divu", ALL, 2, MAX64);
    CHECK_OP("divu", MIN64, -1, 0);
    CHECK_OP("rem", -7, 0, -7);
    CHECK_OP("rem", -7, 2, -1);
    CHECK_OP("rem", 7, -2, 1);
    CHECK_OP("rem", MIN64, -1, 0);
    CHECK_OP("remu", ALL, 0, ALL);
    CHECK_OP("remu", MIN64, ALL, MIN64);
    /* Of words: the upper halves do not count, the result is sign-extended. */
    CHECK_OP("divw", 0x1234567800000007, 0xffffffff00000000, ALL);
    CHECK_OP("divw", 0x80000000, -1, 0xffffffff80000000);
    CHECK_OP("divw", 0x1fffffff9, 2, -3);
    CHECK_OP("divuw", 7, 0x100000000, ALL);
    CHECK_OP("divuw", 0x80000000, 1, 0xffffffff80000000);
    CHECK_OP("divuw", 0xffffffff, 2, 0x7fffffff);
    CHECK_OP("remw", 0x80000000, -1, 0);
    CHECK_OP("remw", 0x180000000, 0, 0xffffffff80000000);
    CHECK_OP("remw", -7, 2, -1);
    CHECK_OP("remuw", 0x80000000, 0, 0xffffffff80000000);
    CHECK_OP("remuw", 0xffffffff, 16, 15);
    CHECK_OP("mul", MIN64, 2, 0);
    CHECK_OP("mul", -1, -1, 1);
    CHECK_OP("mulh", MIN64, MIN64, 0x4000000000000000);
    CHECK_OP("mulh", -1, 1, ALL);
    CHECK_OP("mulh", -1, -1, 0);
    CHECK_OP("mulhu", ALL, ALL, ALL - 1);
    CHECK_OP("mulhu", MIN64, 2, 1);
    CHECK_OP("mulhsu", -1, ALL, ALL);
    CHECK_OP("mulhsu", MIN64, ALL, MIN64);
    CHECK_OP("mulhsu", MAX64, 2, 0);
    CHECK_OP("mulw", 0x7fffffff, 2, -2);
    CHECK_OP("mulw", 0x100000003, 0x500000007, 21);
}

static void shifts(void)
{
    /* Six bits of the amount count, five for words. */
    CHECK_OP("sll", 1, 63, MIN64);
    CHECK_OP("sll", 1, 64, 1);
    CHECK_OP("sll", 3, 0xff41, 6);
    CHECK_OP("srl", MIN64, 63, 1);
    CHECK_OP("srl", MIN64, 128, MIN64);
    CHECK_OP("sra", MIN64, 63, ALL);
    CHECK_OP("sra", MAX64, 62, 1);
    CHECK_OP("sra", MIN64, 64, MIN64);
    CHECK_OP("sllw", 1, 31, 0xffffffff80000000);
    CHECK_OP("sllw", 0x100000001, 32, 1);
    CHECK_OP("srlw", 0xffffffff80000000, 0, 0xffffffff80000000);
    CHECK_OP("srlw", 0x180000000, 31, 1);
    CHECK_OP("srlw", 0x180000000, 33, 0x40000000);
    CHECK_OP("sraw", 0x80000000, 31, ALL);
    CHECK_OP("sraw", 0xffffffff7fffffff, 30, 1);
    CHECK_OPI("slli", 1, 63, MIN64);
    CHECK_OPI("srli", ALL, 63, 1);
    CHECK_OPI("srai", MIN64, 63, ALL);
    CHECK_OPI("slliw", 0xffffffff00000001, 31, 0xffffffff80000000);
    CHECK_OPI("srliw", 0xffffffff80000000, 0, 0xffffffff80000000);
    CHECK_OPI("srliw", ALL, 1, 0x7fffffff);
    CHECK_OPI("sraiw", 0x80000000, 4, 0xfffffffff8000000);
}

static void add_and_compare(void)
{
    CHECK_OP("add", ALL, 1, 0);
    CHECK_OP("sub", 0, 1, ALL);
    CHECK_OP("addw", 0x7fffffff, 1, 0xffffffff80000000);
    CHECK_OP("addw", 0xffffffff, 1, 0);
    CHECK_OP("subw", MIN64, 1, ALL);
    CHECK_OPI("addiw", 0x7fffffff, 1, 0xffffffff80000000);
    CHECK_OPI("addiw", 0x1ffffffff, 0, ALL);
    CHECK_OPI("addi", MAX64, 2047, MIN64 + 2046);
    CHECK_OPI("addi", 0, -2048, -2048);
    CHECK_OP("slt", MIN64, MAX64, 1);
    CHECK_OP("slt", 0, 0, 0);
    CHECK_OP("sltu", MIN64, MAX64, 0);
    CHECK_OP("sltu", 0, ALL, 1);
    CHECK_OPI("slti", -1, 0, 1);
    CHECK_OPI("sltiu", 5, -1, 1); /* the constant is sign-extended, then unsigned */
    CHECK_OPI("sltiu", 0, 1, 1);
    CHECK_OPI("xori", 5, -1, ~5ul);
    CHECK_OPI("andi", ALL, -2048, -2048);
    CHECK_OPI("ori", 0, 2047, 2047);
}

static void constants_and_jumps(void)
{
    uint64_t v, w, here;
    __asm__("lui %0, 0x80000" : "=r"(v));
    check("lui", v, 0xffffffff80000000);
    __asm__ volatile(".option push\n .option norvc\n 1: auipc %0, 0\n lla %1, 1b\n .option pop" : "=r"(v), "=&r"(here));
    check("auipc", v, here);
    /* The lowest bit of the target is dropped; rd may be the base. */
    __asm__ volatile(".option push\n .option norvc\n lla %0, 1f\n ori %0, %0, 1\n 0: jalr %0, 0(%0)\n j 2f\n"
                     "1: lla %1, 0b + 4\n j 3f\n 2: li %1, 1\n 3:\n .option pop"
                     : "=&r"(v), "=&r"(w));
    check("jalr", v, w);
    __asm__ volatile("li zero, 5\n mv %0, zero" : "=r"(v));
    check("x0", v, 0);
}

#define BRANCH(insn, a, b)                                                                         \
    ({                                                                                             \
        uint64_t t_;                                                                               \
        __asm__ volatile("li %0, 1\n " insn " %1, %2, 1f\n li %0, 0\n 1:"                          \
                         : "=&r"(t_)                                                               \
                         : "r"((uint64_t)(a)), "r"((uint64_t)(b)));                                \
        t_;                                                                                        \
    })

static void branches(void)
{
    check("beq", BRANCH("beq", 1ul << 32, 0), 0);
    check("bne", BRANCH("bne", 1ul << 32, 0), 1);
    check("blt", BRANCH("blt", MIN64, 0), 1);
    check("bltu", BRANCH("bltu", MIN64, 0), 0);
    check("bge", BRANCH("bge", 0, 0), 1);
    check("bge negative", BRANCH("bge", -1, 0), 0);
    check("bgeu", BRANCH("bgeu", -1, 0), 1);
    check("bltu equal", BRANCH("bltu", 5, 5), 0);
}

#define LOAD(insn, at)                                                                             \
    ({                                                                                             \
        uint64_t d_;                                                                               \
        __asm__ volatile(insn " %0, 0(%1)" : "=r"(d_) : "r"(at) : "memory");                       \
        d_;                                                                                        \
    })

/* Also at addresses that are not aligned, and over the end of a page. */
static void memory(void)
{
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 9; i++) {
        char *p = page + 4096 - i;
        const uint64_t v = 0xf1e2d3c4b5a69788;
        __asm__ volatile("sd %0, 0(%1)" ::"r"(v), "r"(p) : "memory");
        check("ld", LOAD("ld", p), v);
        check("lw", LOAD("lw", p), 0xffffffffb5a69788);
        check("lwu", LOAD("lwu", p), 0xb5a69788);
        check("lh", LOAD("lh", p), 0xffffffffffff9788);
        check("lhu", LOAD("lhu", p), 0x9788);
        check("lb", LOAD("lb", p), 0xffffffffffffff88);
        check("lbu", LOAD("lbu", p), 0x88);
        __asm__ volatile("sw %0, 2(%1)\n sh %0, 1(%1)\n sb %0, 7(%1)" ::"r"(0x1122334455667788), "r"(p) : "memory");
        check("stores", LOAD("ld", p), 0x88e2556677778888);
    }
}

int main(void)
{
    multiply_divide();
    shifts();
    add_and_compare();
    constants_and_jumps();
    branches();
    memory();
    return report();
}
