/* Holds decoder and disassembler against GNU objdump: random words of every table line, and random
 * words of every major opcode group. Words on which the two may differ are listed, with the
 * reason, in a file; a rule that no word needs any more is an error too.
 *
 *     test_a64_disas OBJDUMP DIFFERENCES [SEED [SCALE]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "isa/aarch64/decode.h"

enum { PER_LINE = 60, PER_GROUP = 9000, MAX_RULES = 256, MAX_SHOWN = 200 };

/* A line of the differences file. */
struct rule {
    u32 mask, value;
    char kind[8]; /* "text", "ours" (objdump: undefined), "theirs" (we: undefined) */
    char file_line[16];
    unsigned hits;
};

struct run {
    struct rule rules[MAX_RULES];
    unsigned rules_count, words_count, bad;
    u32 *words;
    u64 rng;
};

static u32 random32(u64 *rng)
{
    u64 x = *rng;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *rng = x;
    return (u32)(x * 0x2545f4914f6cdd1dull >> 32);
}

static bool read_rules(struct run *r, const char *path)
{
    char line[512];
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    for (int n = 1; fgets(line, sizeof line, f); n++) {
        struct rule *rule = &r->rules[r->rules_count];
        if (line[0] == '#' || line[0] == '\n')
            continue;
        if (r->rules_count == MAX_RULES ||
            sscanf(line, "%x %x %7s", &rule->mask, &rule->value, rule->kind) != 3) {
            printf("# %s:%d: expected: mask value kind reason\n", path, n);
            fclose(f);
            return false;
        }
        snprintf(rule->file_line, sizeof rule->file_line, "%d", n);
        r->rules_count++;
    }
    fclose(f);
    return true;
}

static bool excused(struct run *r, u32 word, const char *kind)
{
    for (unsigned k = 0; k < r->rules_count; k++) {
        struct rule *rule = &r->rules[k];
        if ((word & rule->mask) == rule->value && !strcmp(rule->kind, kind)) {
            rule->hits++;
            return true;
        }
    }
    return false;
}

static bool make_words(struct run *r, unsigned scale)
{
    r->words =
        malloc(sizeof *r->words * ((A64_INSNS + MAX_RULES) * PER_LINE + 16 * PER_GROUP) * scale);
    if (!r->words)
        return false;
    for (unsigned id = 1; id < A64_INSNS; id++)
        for (unsigned k = 0; k < PER_LINE * scale; k++)
            r->words[r->words_count++] = a64_random(id, &r->rng);
    for (unsigned k = 0; k < r->rules_count * PER_LINE * scale; k++) {
        const struct rule *rule = &r->rules[k / (PER_LINE * scale)];
        r->words[r->words_count++] = (random32(&r->rng) & ~rule->mask) | rule->value;
    }
    /* Bits 28:25 are the major opcode group; 2 is SVE, which is outside these tables. */
    for (u32 group = 0; group < 16; group++)
        for (unsigned k = 0; k < PER_GROUP * scale && group != 2; k++)
            r->words[r->words_count++] = (random32(&r->rng) & ~(15u << 25)) | group << 25;
    return true;
}

/* Cuts trailing white space and the comments that objdump adds. */
static void normalise(char *s)
{
    char *cut = strstr(s, " // ");
    if (!cut)
        cut = strstr(s, "\t// ");
    if (cut)
        *cut = 0;
    if ((cut = strstr(s, " ; ")))
        *cut = 0;
    for (size_t n = strlen(s); n && strchr(" \t\n", s[n - 1]);)
        s[--n] = 0;
}

static void compare(struct run *r, u32 word, u64 pc, char *theirs)
{
    char ours[160];
    int n = a64_disas(word, pc, ours, sizeof ours);
    const struct insn *e = a64_decode(word);
    bool undefined = strstr(theirs, "undefined") || !strncmp(theirs, ".inst", 5);
    normalise(ours);
    normalise(theirs);
    const char *kind = NULL;
    if (undefined != !e)
        kind = undefined ? "ours" : "theirs";
    else if (e && (strcmp(ours, theirs) || n >= (int)sizeof ours))
        kind = "text";
    if (!kind || excused(r, word, kind))
        return;
    if (r->bad++ < MAX_SHOWN)
        printf("# %08x %s (%s): \"%s\", objdump \"%s\"\n", word, kind, e ? e->name : "-", ours,
               undefined ? "undefined" : theirs);
}

static bool run_objdump(struct run *r, const char *objdump)
{
    char path[] = "/tmp/lyre-a64-XXXXXX", command[512], line[512];
    int fd = mkstemp(path);
    if (fd < 0)
        return false;
    size_t bytes = sizeof *r->words * r->words_count;
    bool ok = write(fd, r->words, bytes) == (ssize_t)bytes;
    close(fd);
    snprintf(command, sizeof command, "%s -D -z -b binary -m aarch64 %s", objdump, path);
    FILE *p = ok ? popen(command, "r") : NULL;
    unsigned seen = 0;
    while (p && fgets(line, sizeof line, p)) {
        unsigned long long pc;
        unsigned word;
        int at = 0;
        if (sscanf(line, " %llx:\t%x %n", &pc, &word, &at) != 2 || !at ||
            pc / 4 >= r->words_count || r->words[pc / 4] != word)
            continue;
        seen++;
        compare(r, word, pc, line + at);
    }
    ok = p && pclose(p) == 0 && seen == r->words_count;
    unlink(path);
    if (!ok)
        printf("# %s: %u of %u instructions came back\n", command, seen, r->words_count);
    return ok;
}

int main(int argc, char **argv)
{
    struct run *r = calloc(1, sizeof *r);
    if (argc < 3 || !r)
        return 2;
    if (!argv[1][0] || access(argv[1], X_OK)) {
        printf("1..0 # SKIP aarch64-linux-gnu-objdump is not installed\n");
        return 0;
    }
    u64 seed = argc > 3 ? strtoull(argv[3], NULL, 0) : (u64)time(NULL);
    unsigned scale = argc > 4 ? (unsigned)atoi(argv[4]) : 1;
    r->rng = (seed + 1) * 0x9e3779b97f4a7c15ull;
    bool ok = read_rules(r, argv[2]) && make_words(r, scale) && run_objdump(r, argv[1]);
    printf("# seed %llu, %u encodings, %u words, %u differ\n", (unsigned long long)seed,
           A64_INSNS - 1, r->words_count, r->bad);
    printf("%sok 1 every word was compared\n", ok ? "" : "not ");
    printf("%sok 2 text and allocation equal objdump's\n", r->bad ? "not " : "");
    unsigned stale = 0;
    for (unsigned k = 0; k < r->rules_count; k++)
        if (!r->rules[k].hits) {
            stale++;
            printf("# %s:%s: no word needs this rule\n", argv[2], r->rules[k].file_line);
        }
    printf("%sok 3 no stale rule for differences\n1..3\n", stale ? "not " : "");
    free(r->words);
    bool fine = ok && !r->bad && !stale;
    free(r);
    return fine ? 0 : 1;
}
