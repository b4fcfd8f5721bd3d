/* A64 for the test of disassemblers. */
#include <stdio.h>
#include <string.h>

#include "isa/disas/guest.h"
#include "isa/aarch64/decode.h"

static bool random_word(unsigned line, u64 *rng, u32 *word)
{
    *word = a64_random(line, rng);
    return true;
}

/* Bits 28:25 are the major opcode group; 2 is SVE, which is outside these tables. */
static bool random_in(unsigned group, u64 *rng, u32 *word)
{
    *word = (random32(rng) & ~(15u << 25)) | group << 25;
    return group != 2;
}

static unsigned bytes(u32 word)
{
    return 4;
}

static bool undefined(const char *text)
{
    return strstr(text, "undefined") || !strncmp(text, ".inst", 5);
}

/* Comments. */
static void normalise(char *s)
{
    static const char *const starts[] = {" // ", "\t// ", " ; "};
    for (unsigned i = 0; i < ARRAY_LEN(starts); i++) {
        char *cut = strstr(s, starts[i]);
        if (cut)
            *cut = 0;
    }
}

static void command(const char *objdump, const char *file, char *out, size_t size)
{
    snprintf(out, size, "%s -D -z -b binary -m aarch64 %s", objdump, file);
}

static const struct disas_guest a64 = {
    "aarch64", A64_INSNS, 16, 9000, a64_decode, random_word, random_in, bytes, a64_disas, undefined, normalise, command,
};

const struct disas_guest *const disas_guests[] = {&a64, NULL};
