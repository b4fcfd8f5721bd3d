/* What the self-checking programs of RISC-V instruction groups share. The expected values are those that the
 * unprivileged specification defines; only what is not as expected is printed. */
#ifndef RISCV_CHECK_H
#define RISCV_CHECK_H

#include "prog.h"

static unsigned checks, wrong;

static inline void check(const char *name, uint64_t got, uint64_t want)
{
    checks++;
    if (got == want)
        return;
    wrong++;
    printf("%s: %016lx, not %016lx\n", name, (unsigned long)got, (unsigned long)want);
}

/* The last line of each program. */
static inline int report(void)
{
    printf("%u checks, %u wrong\n", checks, wrong);
    return wrong != 0;
}

/* An instruction of two source registers, and of one and a constant. */
#define OP(insn, a, b)                                                                             \
    ({                                                                                             \
        uint64_t d_;                                                                               \
        __asm__ volatile(insn " %0, %1, %2" : "=r"(d_) : "r"((uint64_t)(a)), "r"((uint64_t)(b)));  \
        d_;                                                                                        \
    })
#define OPI(insn, a, imm)                                                                          \
    ({                                                                                             \
        uint64_t d_;                                                                               \
        __asm__ volatile(insn " %0, %1, " #imm : "=r"(d_) : "r"((uint64_t)(a)));                   \
        d_;                                                                                        \
    })
#define OP1(insn, a)                                                                               \
    ({                                                                                             \
        uint64_t d_;                                                                               \
        __asm__ volatile(insn " %0, %1" : "=r"(d_) : "r"((uint64_t)(a)));                          \
        d_;                                                                                        \
    })

#define CHECK_OP(insn, a, b, want)    check(insn " " #a ", " #b, OP(insn, a, b), want)
#define CHECK_OPI(insn, a, imm, want) check(insn " " #a ", " #imm, OPI(insn, a, imm), want)

#define MIN64 0x8000000000000000ul
#define MAX64 0x7fffffffffffffffl
#define ALL   (~0ul)

#endif
