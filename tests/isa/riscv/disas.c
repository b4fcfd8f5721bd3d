/* RISC-V for the test of disassemblers: RV64 and RV32. */
#include <stdio.h>
#include <string.h>

#include "isa/disas/guest.h"
#include "isa/riscv/decode.h"

/* All but what binutils 2.40 does not know. */
#define KNOWN   ~(1ull << RV_Zfa | 1ull << RV_Zicond | 1ull << RV_Zacas | 1ull << RV_Zcb)
#define KNOWN64 (KNOWN & ~(1ull << RV_RV32))
#define KNOWN32 (KNOWN & ~(1ull << RV_RV64))

/* It is told by attributes of the file. */
#define ARCH                                                                                       \
    "gc_zicbom_zicboz_zicbop_zihintpause_zawrs_zfh_zba_zbb_zbc_zbs_zbkb_zbkc_zbkx_zknd_zkne_zknh_zksed_zksh"

static const struct insn *decode(u32 word, u64 features)
{
    unsigned id = rv_decode_id(word, features);
    return id ? &rv_insns[id] : NULL;
}

static bool random_word(unsigned line, u64 features, u64 *rng, u32 *word)
{
    if (!insn_needs_met(&rv_needs[rv_insns[line].feature], features))
        return false;
    *word = rv_random(line, features, rng);
    return true;
}

/* Quadrants of 16 bits with their upper three bits, then major opcodes; 111 in their low bits is for
 * instructions that are longer than any of ours. */
static bool random_in(unsigned group, u64 *rng, u32 *word)
{
    u32 any = random32(rng);
    if (group < 24)
        *word = (any & 0x1ffc) | group / 3 << 13 | group % 3;
    else
        *word = (any & ~127u) | (group - 24) << 2 | 3;
    return group < 24 || (group & 7) != 7;
}

static unsigned bytes(u32 word)
{
    return rv_insn_bytes((u16)word);
}

/* It calls the word of all zeros an instruction. */
static bool undefined(const char *text)
{
    return strstr(text, "byte\t") || !strncmp(text, "unimp", 5);
}

/* Comments, and where a target lies; targets are without 0x. */
static void normalise(char *s)
{
    char *cut = strstr(s, " # "), *at = strstr(s, " <");
    if (cut)
        *cut = 0;
    if (!at || (cut && at > cut))
        return;
    *at = 0;
    while (at[-1] != ',' && at[-1] != '\t')
        at--;
    memmove(at + 2, at, strlen(at) + 1);
    memcpy(at, "0x", 2);
}

/* Words become the data of an object file whose attributes name the extensions. */
static void command(unsigned width, const char *objdump, const char *file, char *out, size_t size)
{
    int prefix = (int)(strlen(objdump) - strlen("objdump"));
    snprintf(out, size,
             "f=%s; o='%.*s'; echo '.attribute arch, \"rv%u" ARCH "\"' |"
             " ${o}as -march=rv%ui -mabi=%s -o $f.a - && ${o}ld -m elf%ulriscv -r -o $f.o $f.a -b binary $f &&"
             " ${o}objdump -D -z -j .data $f.o",
             file, prefix, objdump, width, width, width == 64 ? "lp64" : "ilp32", width);
}

#define GUEST(width)                                                                               \
    static const struct insn *decode##width(u32 word)                                              \
    {                                                                                              \
        return decode(word, KNOWN##width);                                                           \
    }                                                                                              \
    static bool random_word##width(unsigned line, u64 *rng, u32 *word)                                  \
    {                                                                                              \
        return random_word(line, KNOWN##width, rng, word);                                           \
    }                                                                                              \
    static int disas##width(u32 word, u64 pc, char *text, size_t size)                             \
    {                                                                                              \
        return rv_disas(word, KNOWN##width, pc, text, size);                                         \
    }                                                                                              \
    static void command##width(const char *objdump, const char *file, char *out, size_t size)      \
    {                                                                                              \
        command(width, objdump, file, out, size);                                                  \
    }                                                                                              \
    static const struct disas_guest rv##width = {                                                  \
        "riscv" #width, RV_INSNS, 24 + 32,     2000,      decode##width, random_word##width,         \
        random_in,      bytes,    disas##width, undefined, normalise,     command##width,            \
    };

GUEST(64)
GUEST(32)

const struct disas_guest *const disas_guests[] = {&rv64, &rv32, NULL};
