/* IR file tests: tests/ir/NAME.ir holds IR text and, in comments, what is to become of it.
 *
 *     ; test: roundtrip              parse, print: the text below `; expect:`
 *     ; test: fold                   the same after building it again with folding (one block)
 *     ; test: legalise LEVEL         the same for a host of that level
 *     ; test: parse-error: MESSAGE   the parser refuses it
 *     ; test: verify-error: MESSAGE  the verifier refuses it
 *     ; test: run                    interpreter, and host code at each level with 0 and all pins, and over a TLB
 *     ; set: x1=5 x19=mem+16 q0=HIGH:LOW fl=4 round=1      initial state; all else is 0
 *     ; mem 16: 1 2 3                words of 64 bits from that offset of the scratch memory
 *     ; expect:                      and what follows, a comment per line: written by --bless
 *
 * Usage: test_files DIRECTORY [--bless] [NAME...] */
#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>

#include "base/mem.h"
#include "check.h"
#include "jit/opt/legalise.h"
#include "machine.h"

#define MAX_FILES    400
#define MAX_MACHINES 9

static struct {
    struct machine m[MAX_MACHINES];
    enum ir_neighbours neighbours[MAX_MACHINES]; /* of code over a TLB */
    char title[MAX_MACHINES][32];
    unsigned count;
    struct ir_region again;
    bool bless;
    bool failed;
} t;

static void fail(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void fail(const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    char *save;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        printf("# %s\n", line);
    t.failed = true;
}

/* ---- building again with folding ---- */

static void terminator(struct ir_builder *b, const struct ir_region *from, const struct ir_node *n,
                       irv a)
{
    u64 other = n->b >= IR_FIRST_NODE && n->b < from->count ? from->node[n->b].imm : 0;
    switch (n->op) {
    case IR_EXIT_LINK:
        ir_exit(b, n->imm);
        break;
    case IR_EXIT_BR:
        ir_exit_br(b, a, n->imm, other);
        break;
    case IR_EXIT_IND:
        ir_exit_ind(b, a);
        break;
    case IR_CALL:
        ir_call(b, n->imm, other);
        break;
    case IR_CALL_IND:
        ir_call_ind(b, a, other);
        break;
    case IR_RET:
        ir_ret(b, a);
        break;
    default:
        ir_raise(b, (unsigned)n->imm, a, b->pc);
        break;
    }
}

static void build_again(const struct ir_region *from, struct ir_region *to,
                        const struct ir_lowering *lowering)
{
    struct ir_builder b;
    irv *name = xcalloc(from->count, sizeof(*name));
    struct ir_put put[IR_MAX_SLOTS];
    ir_region_start(to, from->slots, from->pc);
    ir_build_start(&b, to);
    b.lowering = lowering;
    ir_block_start(&b);
    for (irv v = 0; v < IR_FIRST_NODE; v++)
        name[v] = v;
    for (irv v = IR_FIRST_NODE; v < from->count; v++) {
        const struct ir_node *n = &from->node[v];
        if (ir_has_map(n->op)) {
            unsigned puts = ir_map_resolve(from, ir_node_map(n), put);
            b.pc = from->map[ir_node_map(n)].pc;
            while (puts--)
                ir_put(&b, put[puts].slot, name[put[puts].value]);
        }
        if (ir_effects[n->op] & IR_E_TERM)
            terminator(&b, from, n, name[n->a]);
        else if (n->op == IR_CONST)
            name[v] = ir_const(&b, n->type, n->imm);
        else if (n->op == IR_HELPER)
            name[v] = ir_helper(&b, (u32)n->imm, n->type, name[n->a], name[n->b], name[n->c]);
        else
            name[v] = ir_emit(&b, n->op, n->type, n->aux, name[n->a], name[n->b], name[n->c],
                              (u32)n->imm);
    }
    free(name);
}

/* ---- initial and final state ---- */

static u64 parse_word(struct machine *m, const char *s)
{
    if (!strncmp(s, "mem+", 4))
        return (u64)m->memory + strtoull(s + 4, NULL, 0);
    return strtoull(s, NULL, 0);
}

static void set_slot(struct machine *m, const char *name, const char *value)
{
    const char *low = strchr(value, ':');
    struct m_state *s = m_state(m);
    for (unsigned i = 0; i < M_NSLOTS; i++) {
        if (strcmp(m_slots.slot[i].name, name))
            continue;
        if (i == M_FL) {
            s->fl = (struct ir_flags){.kind = IR_FLK_BITS, .a = parse_word(m, value)};
            return;
        }
        v128 v = {.d = {parse_word(m, low ? low + 1 : value), low ? parse_word(m, value) : 0}};
        ir_slot_store(&m_slots.slot[i], m->env, &v);
        return;
    }
    if (!strcmp(name, "round"))
        s->fp.round = (u8)parse_word(m, value);
    else
        fail("no slot '%s' to set", name);
}

/* Follow the comments of the file. */
static void set_state(struct machine *m, const char *text)
{
    memset(m_state(m), 0, sizeof(struct m_state));
    memset(m->memory, 0, M_MEMORY);
    m_state(m)->fp.nan_rule = FP_NAN_ARM;
    m_state(m)->fp.inf_zero_invalid = true;
    m->env->excl = (struct ir_exclusive){0};
    m->env->request = 0;
    char *copy = xstrdup(text), *save;
    for (char *line = strtok_r(copy, "\n", &save); line && strcmp(line, "; expect:");
         line = strtok_r(NULL, "\n", &save)) {
        char *word;
        if (!strncmp(line, "; set:", 6)) {
            line += 6;
            while ((word = strsep(&line, " "))) {
                char *value = strchr(word, '=');
                if (!value)
                    continue;
                *value++ = 0;
                set_slot(m, word, value);
            }
        } else if (!strncmp(line, "; mem ", 6)) {
            unsigned at = (unsigned)strtoul(line + 6, &line, 0);
            line += *line == ':';
            while ((word = strsep(&line, " "))) {
                if (*word && at + 8 <= M_MEMORY) {
                    u64 v = parse_word(m, word);
                    memcpy(m->memory + at, &v, 8);
                    at += 8;
                }
            }
        }
    }
    free(copy);
}

static void print_word(FILE *f, const struct machine *m, u64 v)
{
    if (v - (u64)m->memory < M_MEMORY + M_PAGE)
        fprintf(f, "mem+%" PRIu64, v - (u64)m->memory);
    else
        fprintf(f, "%#" PRIx64, v);
}

/* How the region left, and all that it changed. */
static char *print_result(const struct machine *m, const struct m_result *before,
                          const struct m_result *r)
{
    static const char *const exits[] = {"none", "lookup", "request", "raise", "fault"};
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    fprintf(f, "%s at %#" PRIx64, r->exit < 5 ? exits[r->exit] : "?", r->state.pc);
    if (r->exit == IR_EXIT_RAISE)
        fprintf(f, ", code %u, argument %#" PRIx64, r->exit_code, r->exit_arg);
    if (r->exit == IR_EXIT_FAULT) {
        fprintf(f, r->exit_code == IR_ACCESS_WRITE ? ", write to " : ", read of ");
        print_word(f, m, r->exit_addr);
    }
    for (unsigned i = 0; i < 32; i++) {
        if (r->state.x[i] == before->state.x[i])
            continue;
        fprintf(f, "\nx%u=", i);
        print_word(f, m, r->state.x[i]);
    }
    u32 fl = ir_flags_eval((const u8 *)&r->state, &r->state.fl);
    if (fl != ir_flags_eval((const u8 *)&before->state, &before->state.fl))
        fprintf(f, "\nfl=%u", fl);
    for (unsigned i = 0; i < 16; i++) {
        if (memcmp(&r->state.v[i], &before->state.v[i], 16))
            fprintf(f, "\nq%u=%#" PRIx64 ":%#" PRIx64, i, r->state.v[i].d[1], r->state.v[i].d[0]);
    }
    if (r->state.fp.flags)
        fprintf(f, "\nfp flags %#x", r->state.fp.flags);
    for (unsigned i = 0; i < M_MEMORY; i += 8) {
        u64 v;
        memcpy(&v, r->memory + i, 8);
        if (!memcmp(r->memory + i, before->memory + i, 8))
            continue;
        fprintf(f, "\nmem %u: ", i);
        print_word(f, m, v);
    }
    fputs("\n", f);
    fclose(f);
    return text;
}

/* ---- stages ---- */

static char *stage_roundtrip(const char *text)
{
    struct err e;
    struct ir_region *r = &t.m[0].ir;
    if (!ir_parse(r, &m_slots, text, &e) || !ir_verify(r, m_helpers, &e)) {
        fail("%s", e.text);
        return NULL;
    }
    char *printed = ir_print(r), *again = NULL;
    if (!ir_parse(&t.again, &m_slots, printed, &e))
        fail("its own text does not parse: %s\n%s", e.text, printed);
    else if (strcmp(again = ir_print(&t.again), printed))
        fail("its text changes when it is parsed again:\n%s\nnow:\n%s", printed, again);
    free(again);
    return printed;
}

/* The machine of that host level with no pins; NULL when this computer lacks it. */
static struct machine *machine_of_level(const char *level)
{
    for (unsigned i = 0; i < t.count; i++) {
        if (!strncmp(t.title[i], level, strlen(level)))
            return &t.m[i];
    }
    return NULL;
}

static char *stage_fold(const char *text, const struct ir_lowering *lowering)
{
    struct err e;
    struct ir_region *r = &t.m[0].ir;
    if (!ir_parse(r, &m_slots, text, &e) || !ir_verify(r, m_helpers, &e)) {
        fail("%s", e.text);
        return NULL;
    }
    if (r->nblocks != 1) {
        fail("fold tests have one block");
        return NULL;
    }
    build_again(r, &t.again, lowering);
    if (!ir_verify(&t.again, m_helpers, &e)) {
        char *broken = ir_print(&t.again);
        fail("broken after folding: %s\n%s", e.text, broken);
        free(broken);
    }
    return ir_print(&t.again);
}

/* `; test: legalise LEVEL`: built again for a host of that level. */
static char *stage_legalise(const char *text)
{
    char level[16] = "";
    sscanf(text, "; test: legalise %15s", level);
    const struct machine *m = machine_of_level(level);
    if (!m) {
        fail("no host level '%s' here", level);
        return NULL;
    }
    return stage_fold(text, &(struct ir_lowering){host_x86_64.has, opt_legalise, &m->cpu});
}

static char *stage_error(const char *text, bool verify)
{
    struct err e = {0};
    struct ir_region *r = &t.m[0].ir;
    bool parsed = ir_parse(r, &m_slots, text, &e);
    if (verify && !parsed)
        fail("it does not parse: %s", e.text);
    if (verify ? parsed && ir_verify(r, m_helpers, &e) : parsed)
        fail("accepted");
    return xstrdup(e.text);
}

/* From the state that the text says. Accesses that cannot share a look-up are made apart, as the engine has it done. */
static bool run_jit(struct machine *m, const char *text, struct m_result *out)
{
    set_state(m, text);
    if (!machine_jit(m, out))
        return false;
    if (out->exit != IR_EXIT_APART)
        return true;
    m->ir.neighbours = IR_APART;
    set_state(m, text);
    return machine_jit(m, out);
}

static char *run_on(struct machine *m, const char *title, enum ir_neighbours neighbours, const char *text)
{
    static struct m_result before, by_interp, by_jit;
    struct err e;
    char what[256];
    if (!ir_parse(&m->ir, &m_slots, text, &e) || !ir_verify(&m->ir, m_helpers, &e)) {
        fail("%s", e.text);
        return NULL;
    }
    set_state(m, text);
    before.state = *m_state(m);
    memcpy(before.memory, m->memory, M_MEMORY);
    machine_interp(m, &by_interp);
    m->ir.neighbours = (u8)neighbours;
    if (!run_jit(m, text, &by_jit))
        fail("%s: not compiled", title);
    else if (m_differ(&by_interp, &by_jit, what, sizeof(what)))
        fail("%s: %s", title, what);
    return print_result(m, &before, &by_interp);
}

static char *stage_run(const char *text)
{
    char *out = NULL;
    for (unsigned i = 0; i < t.count && !t.failed; i++) {
        free(out);
        out = run_on(&t.m[i], t.title[i], t.neighbours[i], text);
    }
    return out;
}

/* ---- files ---- */

static char *read_all(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = xcalloc(1, 1 << 16);
    if (!f || fread(text, 1, (1 << 16) - 1, f) == 0)
        fail("%s cannot be read", path);
    if (f)
        fclose(f);
    return text;
}

/* The lines below `; expect:`, without the comment signs. */
static char *expected(const char *text)
{
    const char *p = strstr(text, "; expect:\n");
    char *out = xcalloc(1, strlen(text) + 1), *to = out;
    p = p ? p + strlen("; expect:\n") : "";
    while (*p) {
        size_t n = strcspn(p, "\n");
        size_t skip = n >= 2 ? 2 : n;
        memcpy(to, p + skip, n - skip);
        to += n - skip;
        *to++ = '\n';
        p += n + (p[n] == '\n');
    }
    return out;
}

static void write_expected(const char *path, const char *text, const char *result)
{
    FILE *f = fopen(path, "w");
    const char *end = strstr(text, "; expect:\n");
    if (!f) {
        fail("%s cannot be written", path);
        return;
    }
    fwrite(text, 1, end ? (size_t)(end - text) : strlen(text), f);
    fputs("; expect:\n", f);
    while (*result) {
        size_t n = strcspn(result, "\n");
        fprintf(f, n ? "; %.*s\n" : ";\n", (int)n, result);
        result += n + (result[n] == '\n');
    }
    fclose(f);
}

static void write_message(const char *path, const char *text, const char *message)
{
    FILE *f = fopen(path, "w");
    const char *at = strstr(text, "-error:");
    if (!f || !at)
        return;
    at += strlen("-error:");
    fwrite(text, 1, (size_t)(at - text), f);
    fprintf(f, " %s%s", message, at + strcspn(at, "\n"));
    fclose(f);
}

static void check_message(const char *path, const char *text, bool verify)
{
    char want[256] = "", *got = stage_error(text, verify);
    sscanf(strstr(text, "-error:"), "-error: %255[^\n]", want);
    if (!t.failed && strcmp(want, got)) {
        if (t.bless)
            write_message(path, text, got);
        else
            fail("the error is: %s\nexpected:     %s", got, want);
    }
    free(got);
}

static void check_text(const char *path, const char *text, char *got)
{
    char *want = expected(text);
    if (got && !t.failed && strcmp(want, got)) {
        if (t.bless)
            write_expected(path, text, got);
        else
            fail("expected:\n%s\ngot:\n%s", want, got);
    }
    free(want);
    free(got);
}

static void one_file(const char *path)
{
    char *text = read_all(path), kind[32] = "";
    sscanf(text, "; test: %31[a-z-]", kind);
    if (!strcmp(kind, "roundtrip"))
        check_text(path, text, stage_roundtrip(text));
    else if (!strcmp(kind, "fold"))
        check_text(path, text, stage_fold(text, NULL));
    else if (!strcmp(kind, "legalise"))
        check_text(path, text, stage_legalise(text));
    else if (!strcmp(kind, "run"))
        check_text(path, text, stage_run(text));
    else if (!strcmp(kind, "parse-error") || !strcmp(kind, "verify-error"))
        check_message(path, text, kind[0] == 'v');
    else
        fail("the first line is to be '; test: STAGE'");
    free(text);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static unsigned list_files(const char *dir, char **names)
{
    DIR *d = opendir(dir);
    unsigned n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t len = strlen(e->d_name);
        if (len > 3 && !strcmp(e->d_name + len - 3, ".ir") && n < MAX_FILES)
            names[n++] = xstrdup(e->d_name);
    }
    if (d)
        closedir(d);
    qsort(names, n, sizeof(*names), by_name);
    return n;
}

static void make_machine(const char *level, unsigned pins, bool mmu, enum ir_neighbours neighbours)
{
    if (!machine_can(level))
        return;
    snprintf(t.title[t.count], sizeof(t.title[0]), "%s, %s%s", level, pins ? "all pins" : "no pins", mmu ? ", TLB" : "");
    t.neighbours[t.count] = neighbours;
    machine_init(&t.m[t.count++], level, pins, mmu);
}

/* For each level that this computer has one with all pins and one without, and one with a TLB. */
static void make_machines(void)
{
    static const char *const levels[] = {"sse4.2", "avx2", "avx512"};
    static const enum ir_neighbours neighbours[] = {IR_APART, IR_SHARE, IR_SHARE_OR_COPY};
    for (unsigned i = 0; i < ARRAY_LEN(levels); i++) {
        make_machine(levels[i], 0, false, IR_SHARE);
        make_machine(levels[i], 32, false, IR_SHARE);
        make_machine(levels[i], i & 1 ? 0 : 32, true, neighbours[i]);
    }
    ir_region_init(&t.again);
}

static bool wanted(const char *name, char **list)
{
    if (!*list)
        return true;
    for (; *list; list++) {
        if (!strncmp(name, *list, strlen(*list)))
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    char *names[MAX_FILES];
    if (argc < 2) {
        fprintf(stderr, "usage: test_files DIRECTORY [--bless] [NAME...]\n");
        return 1;
    }
    argv += 2;
    if (*argv && !strcmp(*argv, "--bless")) {
        t.bless = true;
        argv++;
    }
    unsigned n = list_files(argv[-1 - t.bless], names), tests = 0, bad = 0;
    make_machines();
    for (unsigned i = 0; i < n; i++) {
        char path[4096];
        if (wanted(names[i], argv)) {
            snprintf(path, sizeof(path), "%s/%s", argv[-1 - t.bless], names[i]);
            t.failed = false;
            one_file(path);
            bad += t.failed;
            printf("%sok %u %.*s\n", t.failed ? "not " : "", ++tests, (int)strlen(names[i]) - 3,
                   names[i]);
        }
        free(names[i]);
    }
    printf("1..%u\n", tests);
    for (unsigned i = 0; i < t.count; i++)
        machine_free(&t.m[i]);
    ir_region_free(&t.again);
    return bad || !tests ? 1 : 0;
}
