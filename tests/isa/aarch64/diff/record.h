/* One experiment: a few instructions, the state before and, after it was run, the state behind. The
 * same layout is written and read by the harness and by the server, which runs under the oracle. */
#ifndef LYRE_TESTS_A64_RECORD_H
#define LYRE_TESTS_A64_RECORD_H

#include <stdint.h>

/* Both sides map the same addresses, which no sanitizer's shadow covers. Instructions start at RECORD_PC; what surrounds them is
 * undefined. Data lies at the end of the mapped page, so that an access can run over it. */
#define RECORD_CODE   0x7e8000000000ull
#define RECORD_PC     (RECORD_CODE + 0x800)
#define RECORD_DATA   0x7e8000010000ull
#define RECORD_PAGE   0x1000ull
#define RECORD_WINDOW (RECORD_DATA + RECORD_PAGE - RECORD_MEM)

enum { RECORD_MEM = 256, RECORD_INSNS = 8 };

struct record {
    uint32_t insn[RECORD_INSNS];
    uint32_t count;  /* of instructions */
    uint32_t signal; /* after: what the instruction at pc raised, 0 if control went on to pc */
    uint64_t x[31];
    uint64_t sp, pc;
    uint64_t tpidr;
    uint32_t nzcv; /* bits 31..28 */
    uint32_t fpcr, fpsr;
    uint32_t line; /* for the harness */
    uint64_t v[32][2] __attribute__((aligned(16)));
    uint8_t mem[RECORD_MEM];
};

#endif
