/* Host code per guest instruction, pinned: *.pins list short pieces of guest code with the number of host
 * instructions and bytes that the first tier makes of each at a level of the host, without the poll at
 * the entry, code out of line and padding. A change of either shows up as a diff.
 *
 *     8b020020                             4 insns   17 bytes  add x0, x1, x2
 *
 * Usage: test_codegen LEVEL FILE [--bless] [--show] */
#include <inttypes.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "cpu/lift.h"
#include "cpu/vcpu.h"
#include "isa/aarch64/state.h"
#include "jit/cache/cache.h"
#include "jit/opt/legalise.h"

#define PC        0x400000
#define MAX_WORDS 8
#define MAX_LINES 256

struct snippet {
    u32 word[MAX_WORDS];
    unsigned count;
    char line[256]; /* as it stands in the file */
    u32 start, end; /* in the code file */
    unsigned insns, bytes;
    bool ok;
};

static struct {
    struct snippet s[MAX_LINES];
    unsigned count;
    char *head; /* the comments that the file begins with */
    struct ir_region ir;
    struct ir_builder b;
    struct ra ra;
    struct host_cpu cpu;
    struct jit_cache cache;
    struct host_buf buf;
    struct vcpu vcpu;
    bool show;
} t;

static size_t no_peek(struct lift *l, u64 pc, void *to, size_t len)
{
    return 0;
}

static bool read_pins(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[256];
    size_t size = 0;
    FILE *head = open_memstream(&t.head, &size);
    while (f && fgets(line, sizeof(line), f) && t.count < MAX_LINES) {
        struct snippet *s = &t.s[t.count];
        char *p = line, *end;
        line[strcspn(line, "\n")] = 0;
        if (*line == '#' || !*line) {
            fprintf(head, "%s\n", line);
            continue;
        }
        while (s->count < MAX_WORDS && strspn(p, "0123456789abcdef") == 8) {
            s->word[s->count++] = (u32)strtoul(p, &end, 16);
            p = end + strspn(end, " ");
        }
        snprintf(s->line, sizeof(s->line), "%s", line);
        t.count += s->count > 0;
    }
    fclose(head);
    if (f)
        fclose(f);
    return t.count > 0;
}

/* The body of the region's host code goes to `out`. */
static void compile(struct snippet *s, FILE *out)
{
    struct err e;
    const struct ir_lowering lowering = {host_x86_64.has, opt_legalise, &t.cpu};
    ir_region_start(&t.ir, &isa_aarch64.slots, PC);
    t.ir.key = isa_aarch64.key(&t.vcpu);
    ir_build_start(&t.b, &t.ir);
    t.b.lowering = &lowering;
    ir_block_start(&t.b);
    struct lift l = {.b = &t.b, .isa = &isa_aarch64, .model = t.vcpu.model, .key = t.ir.key,
                     .start = PC, .code = (const u8 *)s->word, .code_len = s->count * 4,
                     .max_insns = s->count, .pc = PC, .peek = no_peek};
    isa_aarch64.lift(&l);
    cache_room(&t.cache, &t.buf);
    s->ok = ir_verify(&t.ir, isa_aarch64.helpers, &e) && ra_local(&t.ra, &t.ir, &t.cpu.ra, isa_aarch64.helpers) &&
            host_x86_64.emit(&t.cpu, &t.ra, &t.buf);
    if (!s->ok)
        return;
    s->start = (u32)ftell(out);
    fwrite(t.buf.rw + t.buf.body, 1, t.buf.cold - t.buf.body, out);
    s->end = (u32)ftell(out);
}

/* Count what objdump finds, but for padding. */
static void count_insns(const char *name)
{
    char command[256], line[256], last[256] = "";
    snprintf(command, sizeof(command),
             "objdump -D -b binary -m i386:x86-64 -M intel --no-show-raw-insn %s", name);
    FILE *f = popen(command, "r");
    unsigned long at, before = 0;
    struct snippet *s = t.s;
    while (f && s < t.s + t.count) {
        bool more = fgets(line, sizeof(line), f);
        char *end;
        at = more ? strtoul(line, &end, 16) : t.s[t.count - 1].end;
        if (more && (line[0] != ' ' || *end != ':'))
            continue;
        if (*last) { /* the instruction before this one is complete */
            while (s < t.s + t.count && (!s->ok || before >= s->end))
                s++;
            if (s < t.s + t.count && !strstr(last, "\tnop")) {
                s->insns++;
                s->bytes += (unsigned)(at - before);
                if (t.show)
                    printf("# %.8s %s", s->line, last);
            }
        }
        if (!more)
            break;
        before = at;
        strcpy(last, line);
    }
    if (f)
        pclose(f);
}

static void format(const struct snippet *s, char *out, size_t size)
{
    char words[MAX_WORDS * 9 + 1] = "", text[160] = "";
    for (unsigned i = 0; i < s->count; i++) {
        char insn[128];
        u64 pc = PC + i * 4;
        isa_aarch64.disas((const u8 *)&s->word[i], 4, pc, insn, sizeof(insn));
        size_t n = strlen(text);
        snprintf(words + i * 9, 10, "%08x ", s->word[i]);
        snprintf(text + n, sizeof(text) - n, "%s%s", i ? "; " : "", insn);
    }
    for (char *p = text; *p; p++)
        *p = *p == '\t' ? ' ' : *p;
    snprintf(out, size, "%-36s %3u insns %4u bytes  %s", words, s->insns, s->bytes, text);
}

static void compare(const char *path, bool bless)
{
    FILE *f = bless ? fopen(path, "w") : NULL;
    if (f)
        fputs(t.head, f);
    for (unsigned i = 0; i < t.count; i++) {
        char line[256];
        CHECK(t.s[i].ok);
        format(&t.s[i], line, sizeof(line));
        if (f) {
            fprintf(f, "%s\n", line);
        } else if (strcmp(line, t.s[i].line)) {
            printf("# -%s\n# +%s\n", t.s[i].line, line);
            test_failures++;
        }
    }
    if (f)
        fclose(f);
}

static bool start(const char *level, struct err *e)
{
    size_t size = ALIGN_UP(sizeof(struct ir_env) + sizeof(struct a64_state), (size_t)64);
    t.vcpu = (struct vcpu){.isa = &isa_aarch64, .env = aligned_alloc(64, size)};
    memset(t.vcpu.env, 0, size);
    ir_region_init(&t.ir);
    ra_init(&t.ra);
    t.cpu.slots = &isa_aarch64.slots;
    t.cpu.helpers = isa_aarch64.helpers;
    t.cpu.insn_align = isa_aarch64.insn_align;
    return isa_aarch64.init(&t.vcpu, "max", e) && host_x86_64.detect(&t.cpu, level, 32, e) &&
           cache_init(&t.cache, &host_x86_64, &t.cpu, 4 << 20, e);
}

struct test *test_list, **test_tail = &test_list;
int test_failures;

int main(int argc, char **argv)
{
    struct err e = {0};
    char name[] = "/tmp/lyre-test-codegen-XXXXXX";
    if (argc < 3 || !read_pins(argv[2])) {
        printf("Bail out! no file of pins\n");
        return 1;
    }
    if (system("objdump --version >/dev/null 2>&1") || !start(argv[1], &e)) {
        printf("1..0 # SKIP %s\n", e.text[0] ? e.text : "needs objdump");
        return 0;
    }
    t.show = argc > 3 && !strcmp(argv[3], "--show");
    int fd = mkstemp(name);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!f) {
        printf("Bail out! no temporary file\n");
        return 1;
    }
    for (unsigned i = 0; i < t.count; i++)
        compile(&t.s[i], f);
    fclose(f);
    count_insns(name);
    unlink(name);
    compare(argv[2], argc > 3 && !strcmp(argv[3], "--bless"));
    printf("%sok 1 aarch64\n1..1\n", test_failures ? "not " : "");
    cache_free(&t.cache);
    ra_free(&t.ra);
    ir_region_free(&t.ir);
    free(t.buf.link);
    free(t.buf.fault);
    free(t.vcpu.env);
    free(t.head);
    return test_failures != 0;
}
