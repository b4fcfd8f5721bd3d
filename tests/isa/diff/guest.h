/* What the differential test knows of a guest. */
#ifndef LYRE_TESTS_ISA_GUEST_H
#define LYRE_TESTS_ISA_GUEST_H

#include <string.h>

#include "cpu/insn.h"
#include "cpu/isa.h"
#include "isa/diff/record.h"

/* In place of a line: sequences of instructions that compute, with few registers, so that results and flags flow
 * from one to the next. */
#define GUEST_SEQUENCE 0

/* A register of a record: one of the isa's, and the bits of it that are compared. */
struct guest_reg {
    const char *name;
    u64 mask;
};

struct guest {
    const char *name;
    const struct isa *isa;
    const char *model;
    const struct insn *insns; /* the lines, */
    unsigned lines;           /* so many, entry 0 included */
    const struct guest_reg *regs; /* ended by a NULL name */
    u64 code, data;           /* pages of memory: place.h */

    /* Does the test try this line? Not those without a lifter, and not those that leave for the system, depend
     * on the machine, or that the oracle does not know. */
    bool (*wants)(unsigned line);
    /* A random record for a line. The same arguments give the same record. plain: by line, may it be part of a
     * sequence? */
    void (*generate)(struct record *r, unsigned line, u64 seed, unsigned index, const bool *plain);
    /* Print what operands were. */
    void (*show)(const struct record *in);
};

/* Those that one program tests, ended by NULL. */
extern const struct guest *const guests[];

static inline u64 guest_pc(const struct guest *g)
{
    return g->code + RECORD_START;
}

/* Where r->mem lies. */
static inline u64 guest_window(const struct guest *g)
{
    return g->data + RECORD_PAGE - RECORD_MEM;
}

/* Append an instruction. */
static inline void record_insn(struct record *r, u32 insn, unsigned bytes)
{
    r->last = r->bytes;
    memcpy(r->code + r->bytes, &insn, bytes);
    r->bytes += bytes;
}

#endif
