/* What the test of disassemblers knows of a guest. */
#ifndef LYRE_TESTS_ISA_DISAS_GUEST_H
#define LYRE_TESTS_ISA_DISAS_GUEST_H

#include "cpu/insn.h"

u32 random32(u64 *rng);

struct disas_guest {
    const char *name;
    unsigned lines;  /* of the tables, entry 0 included */
    unsigned groups; /* major opcode groups, */
    unsigned per_group; /* and words of each to try */

    /* The encoding of a word; NULL if it is not allocated. */
    const struct insn *(*decode)(u32 word);
    /* A random word of a line; false if this guest has none of it. */
    bool (*random)(unsigned line, u64 *rng, u32 *word);
    /* A random word of a group; false if the group is outside the tables. */
    bool (*random_in)(unsigned group, u64 *rng, u32 *word);
    unsigned (*bytes)(u32 word);
    int (*disas)(u32 word, u64 pc, char *text, size_t size);
    /* Does this text of objdump's say that there is no instruction? */
    bool (*undefined)(const char *text);
    /* Cut what objdump adds. */
    void (*normalise)(char *text);
    /* The command that disassembles the file of words; it may make others, whose names start with that. */
    void (*command)(const char *objdump, const char *file, char *out, size_t size);
};

/* Those that one program tests, ended by NULL. */
extern const struct disas_guest *const disas_guests[];

#endif
