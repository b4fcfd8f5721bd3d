/* Differential test of a guest's lifters against an emulator.
 *
 *     test_diff GUEST ORACLE SERVER KNOWN [--count N] [--seed S] [--line NAME] [--runner NAME]
 *
 * For each line of the tables N random instructions run in random states on both sides; whatever
 * differs in the state behind is reported, once per line, with a command that repeats it. KNOWN
 * lists what may differ and why. */
#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/types.h"
#include "isa/diff/guest.h"
#include "jit/host/host.h"
#include "isa/diff/runner.h"

/* A row of KNOWN: shell patterns of runners, lines, and names of what may differ. */
struct known {
    char runner[32], line[64], what[64];
};

struct options {
    const char *oracle, *server, *known, *line, *runner;
    unsigned count;
    u64 seed;
};

struct run {
    struct options o;
    const struct guest *g;
    const struct runner *runner;
    struct record *in, *want;
    size_t records;
    struct known *known;
    unsigned knowns, known_cap;
    unsigned lines, bad_lines;
};

static const struct runner *const runners[] = {&runner_interp, &runner_jit, &runner_jit_no_pins, &runner_jit_avx2,
                                             &runner_jit_sse};

static const char *line_name(const struct guest *g, unsigned line)
{
    return line == GUEST_SEQUENCE ? "sequence" : g->insns[line].name;
}

static bool read_known(struct run *r)
{
    char text[256];
    FILE *f = fopen(r->o.known, "r");
    while (f && fgets(text, sizeof(text), f)) {
        struct known k = {0};
        if (text[0] == '#' || sscanf(text, "%31s %63s %63s", k.runner, k.line, k.what) != 3 ||
            fnmatch(k.runner, r->o.runner, 0))
            continue;
        VEC_PUSH(r->known, r->knowns, r->known_cap) = k;
    }
    if (f)
        fclose(f);
    return f;
}

static bool known_line(struct run *r, unsigned line)
{
    bool found = false;
    for (unsigned k = 0; k < r->knowns && !found; k++)
        found = strcmp(r->known[k].line, "*") && !fnmatch(r->known[k].line, line_name(r->g, line), 0);
    return found;
}

/* Sequences count as so many lines. */
enum { SEQUENCES = 50 };

static void make_records(struct run *r)
{
    size_t lines = r->g->lines + SEQUENCES;
    bool *plain = xcalloc(r->g->lines, sizeof(*plain)); /* fit for sequences */
    for (unsigned line = 0; line < r->g->lines; line++)
        plain[line] = r->g->wants(line) && !known_line(r, line);
    r->in = xcalloc(lines * r->o.count, sizeof(*r->in));
    for (unsigned line = 0; line < r->g->lines; line++) {
        if (!r->g->wants(line) || (r->o.line && strcmp(r->o.line, line_name(r->g, line))))
            continue;
        r->lines++;
        unsigned count = line == GUEST_SEQUENCE ? SEQUENCES * r->o.count : r->o.count;
        for (unsigned i = 0; i < count; i++)
            r->g->generate(&r->in[r->records++], line, r->o.seed, i, plain);
    }
    free(plain);
}

/* Run all records under the oracle, through files. */
static bool ask_oracle(struct run *r)
{
    char in[] = "/tmp/lyre-diff-XXXXXX", out[] = "/tmp/lyre-diff-XXXXXX", command[1024];
    size_t bytes = r->records * sizeof(*r->in);
    int fd = mkstemp(in), fd2 = mkstemp(out);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    bool ok = f && fd2 >= 0 && fwrite(r->in, 1, bytes, f) == bytes;
    if (f)
        fclose(f);
    snprintf(command, sizeof(command), "%s %s < %s > %s", r->o.oracle, r->o.server, in, out);
    int status = ok ? system(command) : -1;
    r->want = xcalloc(r->records + 1, sizeof(*r->want));
    f = ok ? fopen(out, "r") : NULL;
    size_t got = f ? fread(r->want, sizeof(*r->want), r->records, f) : 0;
    if (f)
        fclose(f);
    if (got != r->records || status) {
        char text[64] = "";
        if (got < r->records)
            r->g->isa->disas(r->in[got].code, r->in[got].bytes, guest_pc(r->g), text, sizeof(text));
        printf("# the oracle stopped after %zu of %zu records (status %d), at %s\n", got,
               r->records, status, text);
    }
    unlink(in);
    unlink(out);
    close(fd2);
    return got == r->records && !status;
}

/* One difference in words; what is differing is a name such as x3, v7, fpsr, mem. */
struct diff {
    char what[24];
    char ours[40], theirs[40];
};

static unsigned add_diff(struct diff *d, unsigned n, const char *what, u64 ours, u64 theirs)
{
    if (ours == theirs || n >= 16)
        return n;
    snprintf(d[n].what, sizeof(d[n].what), "%s", what);
    snprintf(d[n].ours, sizeof(d[n].ours), "%#llx", (unsigned long long)ours);
    snprintf(d[n].theirs, sizeof(d[n].theirs), "%#llx", (unsigned long long)theirs);
    return n + 1;
}

static unsigned compare(const struct guest *g, const struct record *a, const struct record *b, struct diff *d)
{
    char name[24];
    unsigned n = 0;
    n = add_diff(d, n, "signal", a->signal, b->signal);
    n = add_diff(d, n, "pc", a->pc, b->pc);
    for (unsigned i = 0; g->regs[i].name; i++) {
        bool wide = isa_reg_bytes(g->isa, isa_reg_find(g->isa, g->regs[i].name)) > 8;
        for (unsigned k = 0; k <= wide; k++) {
            snprintf(name, sizeof(name), wide ? "%s.d[%u]" : "%s", g->regs[i].name, k);
            n = add_diff(d, n, name, a->reg[i].d[k] & g->regs[i].mask, b->reg[i].d[k] & g->regs[i].mask);
        }
    }
    for (unsigned i = 0; i < RECORD_MEM / 8; i++) {
        u64 x, y;
        memcpy(&x, a->mem + 8 * i, 8);
        memcpy(&y, b->mem + 8 * i, 8);
        snprintf(name, sizeof(name), "mem+%u", 8 * i);
        n = add_diff(d, n, name, x, y);
    }
    return n;
}

static bool excused(struct run *r, const char *line, const struct diff *d, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        bool found = false;
        for (unsigned k = 0; k < r->knowns && !found; k++)
            found = !fnmatch(r->known[k].line, line, 0) && !fnmatch(r->known[k].what, d[i].what, 0);
        if (!found)
            return false;
    }
    return true;
}

static void report(const struct run *r, const struct record *in, unsigned index,
                   const struct diff *d, unsigned n)
{
    const char *line = line_name(r->g, in->line);
    for (unsigned at = 0, bytes; at < in->bytes; at += bytes) {
        char text[64];
        u32 word = 0;
        bytes = r->g->isa->disas(in->code + at, in->bytes - at, guest_pc(r->g) + at, text, sizeof(text));
        memcpy(&word, in->code + at, bytes);
        printf("# %s: %0*x %s\n", line, (int)bytes * 2, word, text);
    }
    for (unsigned i = 0; i < n; i++)
        printf("#   %s is %s, expected %s\n", d[i].what, d[i].ours, d[i].theirs);
    r->g->show(in);
    if (in->line == GUEST_SEQUENCE)
        index /= SEQUENCES;
    printf("#   repeat with: --seed %#llx --line %s --count %u\n", (unsigned long long)r->o.seed,
           line, index + 1);
}

static bool run_all(struct run *r)
{
    struct err e;
    void *self = r->runner->open(r->g, &e);
    if (!self) {
        printf("# %s\n", e.text);
        return false;
    }
    unsigned bad_line = UINT32_MAX, count_bad = 0, index = 0;
    for (size_t i = 0; i < r->records; i++) {
        struct record got = r->in[i];
        index = i && r->in[i - 1].line == got.line ? index + 1 : 0;
        struct diff d[16];
        r->runner->run(self, &got);
        unsigned n = compare(r->g, &got, &r->want[i], d);
        if (!n || excused(r, line_name(r->g, got.line), d, n))
            continue;
        count_bad++;
        if (got.line != bad_line) {
            bad_line = got.line;
            r->bad_lines++;
            report(r, &r->in[i], index, d, n);
        }
    }
    r->runner->close(self);
    printf("# %u lines, %zu records, %u differ in %u lines\n", r->lines, r->records, count_bad,
           r->bad_lines);
    return true;
}

static bool parse(int argc, char **argv, struct run *r)
{
    r->o = (struct options){.oracle = argv[2],
                            .server = argv[3],
                            .known = argv[4],
                            .count = 200,
                            .seed = (u64)time(NULL),
                            .runner = "interp"};
    for (unsigned i = 0; guests[i]; i++) {
        if (!strcmp(guests[i]->name, argv[1]))
            r->g = guests[i];
    }
    for (int i = 5; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--count"))
            r->o.count = (unsigned)strtoul(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--seed"))
            r->o.seed = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--line"))
            r->o.line = argv[i + 1];
        else if (!strcmp(argv[i], "--runner"))
            r->o.runner = argv[i + 1];
        else
            return false;
    }
    for (unsigned i = 0; i < ARRAY_LEN(runners); i++) {
        if (!strcmp(runners[i]->name, r->o.runner))
            r->runner = runners[i];
    }
    return r->g && r->runner && r->o.count;
}

int main(int argc, char **argv)
{
    struct run r = {0};
    if (argc < 5 || !parse(argc, argv, &r)) {
        fprintf(stderr,
                "usage: %s GUEST ORACLE SERVER KNOWN [--count N] [--seed S] [--line NAME] "
                "[--runner NAME]\n",
                argv[0]);
        return 2;
    }
    if (!r.o.oracle[0] || !r.o.server[0]) {
        printf("1..0 # SKIP needs qemu-%s and a compiler for it\n", r.g->name);
        return 0;
    }
    struct host_cpu cpu;
    struct err e;
    if (r.runner->level && !host_x86_64.detect(&cpu, r.runner->level, 0, &e)) {
        printf("1..0 # SKIP %s\n", e.text);
        return 0;
    }
    printf("# seed %#llx\n", (unsigned long long)r.o.seed);
    bool ok = read_known(&r);
    make_records(&r);
    ok = ok && ask_oracle(&r) && run_all(&r);
    printf("%sok 1 every record was run\n", ok ? "" : "not ");
    printf("%sok 2 states equal the oracle's\n1..2\n", r.bad_lines ? "not " : "");
    free(r.in);
    free(r.want);
    free(r.known);
    return ok && !r.bad_lines ? 0 : 1;
}
