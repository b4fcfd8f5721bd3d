/* One experiment: a few instructions, the state before and, after it was run, the state behind. The same layout
 * is written and read by the harness and by each guest's server, which runs under the oracle.
 *
 * Both sides map the same addresses, those of the guest's place.h. Instructions start RECORD_START into a page;
 * what surrounds them is undefined. Data lies at the end of another, so that an access can run over it. */
#ifndef LYRE_TESTS_ISA_RECORD_H
#define LYRE_TESTS_ISA_RECORD_H

#include <stdint.h>

enum { RECORD_PAGE = 0x1000, RECORD_START = 0x800, RECORD_MEM = 256, RECORD_CODE = 32, RECORD_REGS = 72 };
enum { RECORD_STACK = 1 << 16 };

struct record {
    uint8_t code[RECORD_CODE];
    uint32_t bytes;  /* of code */
    uint32_t signal; /* after: what the instruction at pc raised, 0 if control went on to pc */
    uint32_t line;   /* for the harness */
    uint32_t last;   /* for the harness: where the last instruction starts */
    uint64_t pc;
    struct {
        uint64_t d[2];
    } reg[RECORD_REGS]; /* in the order of the guest's struct guest */
    uint8_t mem[RECORD_MEM];
};

#endif
