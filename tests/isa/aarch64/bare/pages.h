/* For bare programs: the program itself is where addresses are physical ones, and what it tries is in pages of the upper
 * half. */
#ifndef LYRE_TESTS_BARE_PAGES_H
#define LYRE_TESTS_BARE_PAGES_H

#include "bare.h"

enum { PAGES = 4, WORDS = 512 };

#define PAGE  4096ul
#define UPPER 0xffffffffc0000000ul /* what TCR_EL1.T1SZ = 34 leaves */
#define LEAF  (1ul << 10 | 3ul << 8 | 1ul << 2 | 3ul) /* a page: EL1 may do all, attributes 1 */

/* Code to try, ended by a BRK. */
#define SEQUENCE(name, text)                                                                       \
    void name(u64 arg);                                                                            \
    __asm__(".text\n.balign 64\n.globl " #name "\n" #name ":\nmov x1, #0\n" text "\nbrk #1\n")

/* x1 tells how far it came, and what was loaded. */
#define ADD(reg) "add x1, x1, " #reg "\nror x1, x1, #7\n"

static u64 flat[512] __attribute__((aligned(4096)));
static u64 middle[512] __attribute__((aligned(4096))), leaves[512] __attribute__((aligned(4096)));
static u64 memory[PAGES][WORDS] __attribute__((aligned(4096)));

static inline void fill(void)
{
    for (u64 i = 0; i < PAGES * WORDS; i++)
        memory[i / WORDS][i % WORDS] = i * 0x9e3779b97f4a7c15ul;
}

static inline u64 sum(void)
{
    u64 s = 0;
    for (u64 i = 0; i < PAGES * WORDS; i++)
        s = (s ^ memory[i / WORDS][i % WORDS]) * 0x100000001b3ul;
    return s;
}

/* Leaves are of UPPER. */
static void start_translation(u64 sctlr)
{
    flat[0] = 2ul << 8 | 1ul << 10 | 1; /* the console: device memory */
    flat[1] = 0x40000000ul | 1ul << 10 | 3ul << 8 | 1ul << 2 | 1;
    middle[0] = (u64)leaves | 3;
    WRITE(mair_el1, 0xff00);
    WRITE(ttbr0_el1, (u64)flat);
    WRITE(ttbr1_el1, (u64)middle);
    WRITE(tcr_el1, 25ul | 34ul << 16 | 2ul << 30 | 5ul << 32);
    __asm__ volatile("dsb sy\ntlbi vmalle1\ndsb sy\nisb" ::: "memory");
    WRITE(sctlr_el1, sctlr | 1);
}

#endif
