/* Differential test of the A64 lifters against an emulator.
 *
 *     test_a64_diff ORACLE SERVER KNOWN [--count N] [--seed S] [--line NAME] [--runner NAME]
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
#include "generate.h"
#include "isa/aarch64/decode.h"
#include "jit/host/host.h"
#include "runner.h"

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
    const struct runner *runner;
    struct record *in, *want;
    size_t records;
    struct known *known;
    unsigned knowns, known_cap;
    unsigned lines, bad_lines;
};

static const struct runner *const runners[] = {&runner_interp, &runner_jit, &runner_jit_no_pins, &runner_jit_avx2,
                                             &runner_jit_sse};

static const char *line_name(unsigned line)
{
    return line == GENERATE_SEQUENCE ? "sequence" : a64_insns[line].name;
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
        found = strcmp(r->known[k].line, "*") && !fnmatch(r->known[k].line, line_name(line), 0);
    return found;
}

/* Sequences count as so many lines. */
enum { SEQUENCES = 50 };

static void make_records(struct run *r)
{
    size_t lines = A64_INSNS + SEQUENCES;
    bool plain[A64_INSNS]; /* fit for sequences */
    for (unsigned line = 0; line < A64_INSNS; line++)
        plain[line] = generate_wants(line) && !known_line(r, line);
    r->in = xcalloc(lines * r->o.count, sizeof(*r->in));
    for (unsigned line = 0; line < A64_INSNS; line++) {
        if (!generate_wants(line) || (r->o.line && strcmp(r->o.line, line_name(line))))
            continue;
        r->lines++;
        unsigned count = line == GENERATE_SEQUENCE ? SEQUENCES * r->o.count : r->o.count;
        for (unsigned i = 0; i < count; i++)
            generate(&r->in[r->records++], line, r->o.seed, i, plain);
    }
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
            a64_disas(r->in[got].insn[0], RECORD_PC, text, sizeof(text));
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
    char what[16];
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

static unsigned compare(const struct record *a, const struct record *b, struct diff *d)
{
    char name[16];
    unsigned n = 0;
    n = add_diff(d, n, "signal", a->signal, b->signal);
    n = add_diff(d, n, "pc", a->pc, b->pc);
    for (unsigned i = 0; i < 31; i++) {
        snprintf(name, sizeof(name), "x%u", i);
        n = add_diff(d, n, name, a->x[i], b->x[i]);
    }
    n = add_diff(d, n, "sp", a->sp, b->sp);
    n = add_diff(d, n, "nzcv", a->nzcv, b->nzcv);
    n = add_diff(d, n, "tpidr", a->tpidr, b->tpidr);
    n = add_diff(d, n, "fpcr", a->fpcr, b->fpcr);
    /* Underflow alone has a name of its own: how it is detected differs (diff.known). */
    n = add_diff(d, n, (a->fpsr ^ b->fpsr) == 8 ? "fpsr.ufc" : "fpsr", a->fpsr, b->fpsr);
    for (unsigned i = 0; i < 64; i++) {
        snprintf(name, sizeof(name), "v%u.d[%u]", i / 2, i % 2);
        n = add_diff(d, n, name, a->v[i / 2][i % 2], b->v[i / 2][i % 2]);
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

static void show_operands(const struct record *in)
{
    u32 insn = in->insn[in->count - 1];
    const unsigned at[] = {0, 5, 16, 10};
    for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
        unsigned n = insn >> at[i] & 31;
        printf("#   before: v%u = %016llx %016llx  x%u = %#llx\n", n,
               (unsigned long long)in->v[n][1], (unsigned long long)in->v[n][0], n,
               (unsigned long long)(n == 31 ? in->sp : in->x[n]));
    }
    printf("#   before: nzcv %#x fpcr %#x fpsr %#x\n", in->nzcv, in->fpcr, in->fpsr);
}

static void report(const struct run *r, const struct record *in, unsigned index,
                   const struct diff *d, unsigned n)
{
    const char *line = line_name(in->line);
    for (unsigned i = 0; i < in->count; i++) {
        char text[64];
        a64_disas(in->insn[i], RECORD_PC + 4 * i, text, sizeof(text));
        printf("# %s: %08x %s\n", line, in->insn[i], text);
    }
    for (unsigned i = 0; i < n; i++)
        printf("#   %s is %s, expected %s\n", d[i].what, d[i].ours, d[i].theirs);
    show_operands(in);
    if (in->line == GENERATE_SEQUENCE)
        index /= SEQUENCES;
    printf("#   repeat with: --seed %#llx --line %s --count %u\n", (unsigned long long)r->o.seed,
           line, index + 1);
}

static bool run_all(struct run *r)
{
    struct err e;
    void *self = r->runner->open(&e);
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
        unsigned n = compare(&got, &r->want[i], d);
        if (!n || excused(r, line_name(got.line), d, n))
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
    r->o = (struct options){.oracle = argv[1],
                            .server = argv[2],
                            .known = argv[3],
                            .count = 200,
                            .seed = (u64)time(NULL),
                            .runner = "interp"};
    for (int i = 4; i + 1 < argc; i += 2) {
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
    return r->runner && r->o.count;
}

int main(int argc, char **argv)
{
    struct run r = {0};
    if (argc < 4 || !parse(argc, argv, &r)) {
        fprintf(stderr,
                "usage: %s ORACLE SERVER KNOWN [--count N] [--seed S] [--line NAME] "
                "[--runner NAME]\n",
                argv[0]);
        return 2;
    }
    if (!r.o.oracle[0] || !r.o.server[0]) {
        printf("1..0 # SKIP needs qemu-aarch64 and aarch64-linux-gnu-gcc\n");
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
