/* Every form of the C extension for RV64, with the constants at the ends of their ranges.
 * guest: riscv64
 * link: static */
#include "riscv_check.h"

#define RVC ".option push\n .option rvc\n"
#define END "\n .option pop"

/* A compressed instruction on one register, which is one of x8 to x15. */
#define C1(insn, before)                                                                           \
    ({                                                                                             \
        register uint64_t d_ __asm__("a3") = (uint64_t)(before);                                   \
        __asm__ volatile(RVC insn END : "+r"(d_));                                                 \
        d_;                                                                                        \
    })
#define C2(insn, before, other)                                                                    \
    ({                                                                                             \
        register uint64_t d_ __asm__("a3") = (uint64_t)(before);                                   \
        register uint64_t s_ __asm__("s1") = (uint64_t)(other);                                    \
        __asm__ volatile(RVC insn END : "+r"(d_), "+r"(s_));                                       \
        d_;                                                                                        \
    })

static void arithmetic(void)
{
    check("c.li", C1("c.li a3, -32", 5), -32);
    check("c.li most", C1("c.li a3, 31", 5), 31);
    check("c.lui", C1("c.lui a3, 31", 5), 31 << 12);
    check("c.lui negative", C1("c.lui a3, 0xfffe0", 5), -0x20000);
    check("c.addi", C1("c.addi a3, -32", 0), -32);
    check("c.addi most", C1("c.addi a3, 31", ALL), 30);
    check("c.addiw", C1("c.addiw a3, 1", 0x17fffffff), 0xffffffff80000000);
    check("c.addiw 0", C1("c.addiw a3, 0", 0x180000000), 0xffffffff80000000);
    check("c.slli", C1("c.slli a3, 63", 3), MIN64);
    check("c.srli", C1("c.srli a3, 63", ALL), 1);
    check("c.srai", C1("c.srai a3, 32", MIN64), 0xffffffff80000000);
    check("c.andi", C1("c.andi a3, -32", 0x7f), 0x60);
    check("c.sub", C2("c.sub a3, s1", 1, 2), ALL);
    check("c.xor", C2("c.xor a3, s1", 0xff, 0x0f), 0xf0);
    check("c.or", C2("c.or a3, s1", 0xf0, 0x0f), 0xff);
    check("c.and", C2("c.and a3, s1", 0xff, 0x3c), 0x3c);
    check("c.subw", C2("c.subw a3, s1", 0x80000000, 1), 0x7fffffff);
    check("c.addw", C2("c.addw a3, s1", 0x7fffffff, 1), 0xffffffff80000000);
    check("c.mv", C2("c.mv a3, s1", 1, 2), 2);
    check("c.add", C2("c.add a3, s1", MIN64, MIN64), 0);
    check("c.nop", C1("c.nop", 9), 9);
}

static void stack_pointer(void)
{
    uint64_t out, sp;
    __asm__ volatile(RVC "mv %1, sp\n c.addi16sp sp, -512\n mv %0, sp\n c.addi16sp sp, 496\n c.addi16sp sp, 16" END
                     : "=&r"(out), "=&r"(sp)::"memory");
    check("c.addi16sp", out, sp - 512);
    register uint64_t small __asm__("a4");
    __asm__ volatile(RVC "c.addi4spn %0, sp, 4\n mv %1, sp" END : "=&r"(small), "=r"(sp));
    check("c.addi4spn", small, sp + 4);
    __asm__ volatile(RVC "c.addi4spn %0, sp, 1020\n mv %1, sp" END : "=&r"(small), "=r"(sp));
    check("c.addi4spn most", small, sp + 1020);
}

/* A compressed access: the value in a0, the address in a5, what is read in a1 and fa0. */
#define ACCESS(code, value, at)                                                                    \
    ({                                                                                             \
        register uint64_t v_ __asm__("a0") = (value);                                              \
        register uint64_t *p_ __asm__("a5") = (at);                                                \
        register uint64_t d_ __asm__("a1");                                                        \
        __asm__ volatile(RVC code END : "=&r"(d_) : "r"(v_), "r"(p_) : "fa0", "memory");           \
        d_;                                                                                        \
    })

static void memory(void)
{
    static uint64_t area[64];
    const uint64_t v = 0x89abcdef01234567;
    check("c.ld", ACCESS("c.sd a0, 248(a5)\n c.sd a0, 0(a5)\n c.ld a1, 248(a5)", v, area), v);
    check("c.sd", area[31], v);
    check("c.lw", ACCESS("c.sw a0, 124(a5)\n c.sw a0, 4(a5)\n c.lw a1, 124(a5)", v >> 32, area), 0xffffffff89abcdef);
    check("c.sw", area[0], v);
    check("c.sw most", area[15], 0x89abcdef00000000);
    check("c.fld and c.fsd", ACCESS("c.fld fa0, 248(a5)\n c.fsd fa0, 240(a5)\n c.ld a1, 240(a5)", 0, area), v);
    check("c.ldsp", ACCESS("addi sp, sp, -512\n c.sdsp a0, 504(sp)\n c.ldsp a1, 504(sp)\n addi sp, sp, 512", v, area), v);
    check("c.lwsp", ACCESS("addi sp, sp, -512\n c.swsp a0, 252(sp)\n c.lwsp a1, 252(sp)\n addi sp, sp, 512", v >> 32, area),
          0xffffffff89abcdef);
    check("c.fldsp", ACCESS("addi sp, sp, -512\n c.sdsp a0, 504(sp)\n c.fldsp fa0, 504(sp)\n c.fsdsp fa0, 0(sp)\n"
                            "c.ldsp a1, 0(sp)\n addi sp, sp, 512", v, area), v);
}

static void jumps(void)
{
    uint64_t out, link, here;
    __asm__ volatile(RVC "c.j 1f\n li %0, 1\n j 2f\n 1: li %0, 2\n 2:" END : "=&r"(out));
    check("c.j", out, 2);
    __asm__ volatile(RVC "li a2, 0\n c.beqz a2, 1f\n li %0, 1\n j 2f\n 1: li %0, 2\n 2:" END : "=&r"(out)::"a2");
    check("c.beqz", out, 2);
    __asm__ volatile(RVC "li a2, 0\n c.bnez a2, 1f\n li %0, 1\n j 2f\n 1: li %0, 2\n 2:" END : "=&r"(out)::"a2");
    check("c.bnez", out, 1);
    __asm__ volatile(RVC "lla t1, 1f\n c.jr t1\n li %0, 1\n j 2f\n 1: li %0, 2\n 2:" END : "=&r"(out)::"t1");
    check("c.jr", out, 2);
    __asm__ volatile(RVC "lla t1, 1f\n c.jalr t1\n 3: li %0, 1\n j 2f\n 1: li %0, 2\n 2: mv %1, ra\n lla %2, 3b" END
                     : "=&r"(out), "=&r"(link), "=&r"(here)::"t1", "ra");
    check("c.jalr", out, 2);
    check("c.jalr link", link, here);
    __asm__ volatile(RVC "lla ra, 1f\n c.jalr ra\n 3: li %0, 1\n j 2f\n 1: li %0, 2\n 2: mv %1, ra\n lla %2, 3b" END
                     : "=&r"(out), "=&r"(link), "=&r"(here)::"ra");
    check("c.jalr of the link", link, here);
    /* A loop whose head lies between two words. */
    __asm__ volatile(RVC "li %0, 0\n li t1, 1000\n .balign 4\n c.nop\n 1: addi %0, %0, 3\n c.addi t1, -1\n bnez t1, 1b" END : "=&r"(out)::"t1");
    check("a loop at half a word", out, 3000);
}

/* Encodings that are hints do nothing. */
static void hints(void)
{
    uint64_t out;
    __asm__ volatile(RVC "li a3, 5\n .half 0x0005\n .half 0x4005\n .half 0x6005\n .half 0x0002\n mv %0, a3" END : "=r"(out)::"a3");
    check("hints", out, 5);
    __asm__ volatile("li %0, 0\n .half 0x8006, 0x9006\n .option push\n .option rvc\n mv %0, zero\n .option pop" : "=r"(out));
    check("hints with x0", out, 0);
}

int main(void)
{
    arithmetic();
    stack_pointer();
    memory();
    jumps();
    hints();
    return report();
}
