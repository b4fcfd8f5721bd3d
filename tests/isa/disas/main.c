/* Holds a guest's decoder and disassembler against GNU objdump: random words of every table line, and random
 * words of every major opcode group. Words on which the two may differ are listed, with the reason, in a file; a
 * rule that no word needs any more is an error too.
 *
 *     test_disas GUEST OBJDUMP DIFFERENCES [SEED [SCALE]]
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "isa/disas/guest.h"

enum { PER_LINE = 60, MAX_RULES = 256, MAX_SHOWN = 200 };

/* A line of the differences file. */
struct rule {
    u32 mask, value;
    char kind[8]; /* "text", "ours" (objdump: undefined), "theirs" (we: undefined) */
    char file_line[16];
    unsigned hits;
};

struct run {
    const struct disas_guest *g;
    struct rule rules[MAX_RULES];
    unsigned rules_count, words_count, bad;
    u32 *words;
    u64 rng;
};

u32 random32(u64 *rng)
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

static void add_word(struct run *r, u32 word)
{
    r->words[r->words_count++] = word & (r->g->bytes(word) == 2 ? 0xffff : ~0u);
}

static bool make_words(struct run *r, unsigned scale)
{
    const struct disas_guest *g = r->g;
    r->words = malloc(sizeof *r->words * ((g->lines + MAX_RULES) * PER_LINE + g->groups * g->per_group) * scale);
    if (!r->words)
        return false;
    u32 word;
    for (unsigned line = 1; line < g->lines; line++)
        for (unsigned k = 0; k < PER_LINE * scale && g->random(line, &r->rng, &word); k++)
            add_word(r, word);
    for (unsigned k = 0; k < r->rules_count * PER_LINE * scale; k++) {
        const struct rule *rule = &r->rules[k / (PER_LINE * scale)];
        add_word(r, (random32(&r->rng) & ~rule->mask) | rule->value);
    }
    for (unsigned group = 0; group < g->groups; group++)
        for (unsigned k = 0; k < g->per_group * scale && g->random_in(group, &r->rng, &word); k++)
            add_word(r, word);
    return true;
}

static void trim(char *s)
{
    for (size_t n = strlen(s); n && strchr(" \t\n", s[n - 1]);)
        s[--n] = 0;
}

static void compare(struct run *r, u32 word, u64 pc, char *theirs)
{
    char ours[160];
    int n = r->g->disas(word, pc, ours, sizeof ours);
    const struct insn *e = r->g->decode(word);
    bool undefined = r->g->undefined(theirs);
    r->g->normalise(theirs);
    trim(ours);
    trim(theirs);
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

static bool write_words(const struct run *r, int fd)
{
    FILE *f = fdopen(fd, "w");
    bool ok = f;
    for (unsigned i = 0; ok && i < r->words_count; i++)
        ok = fwrite(&r->words[i], 1, r->g->bytes(r->words[i]), f) == r->g->bytes(r->words[i]);
    return f && !fclose(f) && ok;
}

static void remove_files(const char *dir)
{
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", dir);
    if (system(command))
        printf("# %s is left\n", dir);
}

static bool run_objdump(struct run *r, const char *objdump)
{
    char dir[] = "/tmp/lyre-disas-XXXXXX", path[64], command[1024], line[512];
    if (!mkdtemp(dir))
        return false;
    snprintf(path, sizeof path, "%s/words", dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    bool ok = fd >= 0 && write_words(r, fd);
    r->g->command(objdump, path, command, sizeof command);
    FILE *p = ok ? popen(command, "r") : NULL;
    unsigned seen = 0;
    u64 at_pc = 0;
    while (p && fgets(line, sizeof line, p)) {
        unsigned long long pc;
        unsigned word;
        int at = 0;
        if (sscanf(line, " %llx:\t%x %n", &pc, &word, &at) != 2 || !at || pc != at_pc ||
            seen == r->words_count || r->words[seen] != word)
            continue;
        compare(r, word, pc, line + at);
        at_pc += r->g->bytes(word);
        seen++;
    }
    ok = p && pclose(p) == 0 && seen == r->words_count;
    remove_files(dir);
    if (!ok)
        printf("# %s: %u of %u instructions came back\n", command, seen, r->words_count);
    return ok;
}

int main(int argc, char **argv)
{
    struct run *r = calloc(1, sizeof *r);
    for (unsigned i = 0; r && argc > 3 && disas_guests[i]; i++)
        r->g = strcmp(disas_guests[i]->name, argv[1]) ? r->g : disas_guests[i];
    if (!r || !r->g)
        return 2;
    if (!argv[2][0] || access(argv[2], X_OK)) {
        printf("1..0 # SKIP objdump for %s is not installed\n", r->g->name);
        return 0;
    }
    u64 seed = argc > 4 ? strtoull(argv[4], NULL, 0) : (u64)time(NULL);
    unsigned scale = argc > 5 ? (unsigned)atoi(argv[5]) : 1;
    r->rng = (seed + 1) * 0x9e3779b97f4a7c15ull;
    bool ok = read_rules(r, argv[3]) && make_words(r, scale) && run_objdump(r, argv[2]);
    printf("# seed %llu, %u encodings, %u words, %u differ\n", (unsigned long long)seed,
           r->g->lines - 1, r->words_count, r->bad);
    printf("%sok 1 every word was compared\n", ok ? "" : "not ");
    printf("%sok 2 text and allocation equal objdump's\n", r->bad ? "not " : "");
    unsigned stale = 0;
    for (unsigned k = 0; k < r->rules_count; k++)
        if (!r->rules[k].hits) {
            stale++;
            printf("# %s:%s: no word needs this rule\n", argv[3], r->rules[k].file_line);
        }
    printf("%sok 3 no stale rule for differences\n1..3\n", stale ? "not " : "");
    free(r->words);
    bool fine = ok && !r->bad && !stale;
    free(r);
    return fine ? 0 : 1;
}
