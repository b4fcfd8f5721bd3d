/* Host code per guest instruction, pinned: *.pins list short pieces of guest code with the number of host
 * instructions and bytes that the first tier makes of each at a level of the host, without the poll at
 * the entry, code out of line and padding. A change of either shows up as a diff.
 *
 *     8b020020                             4 insns   17 bytes  add x0, x1, x2
 *
 * Usage: test_codegen GUEST LEVEL FILE [--bless] [--show] */
#include <inttypes.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "first_tier.h"

#define PC        0x400000
#define MAX_BYTES 32
#define MAX_LINES 256

struct snippet {
    u8 code[MAX_BYTES];
    unsigned len;
    char line[256]; /* as it stands in the file */
    u32 start, end; /* in the code file */
    unsigned insns, bytes;
    bool ok;
};

static struct {
    struct snippet s[MAX_LINES];
    unsigned count;
    char *head; /* the comments that the file begins with */
    struct first_tier tier;
    bool show;
} t;

/* Instructions are written as numbers, with all their digits. */
static void read_code(struct snippet *s, const char *p)
{
    for (;;) {
        size_t digits = strspn(p, "0123456789abcdef");
        u32 insn = (u32)strtoul(p, NULL, 16);
        if ((digits != 4 && digits != 8) || s->len + digits / 2 > MAX_BYTES)
            return;
        memcpy(s->code + s->len, &insn, digits / 2);
        s->len += (unsigned)digits / 2;
        p += digits + strspn(p + digits, " ");
    }
}

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
        line[strcspn(line, "\n")] = 0;
        if (*line == '#' || !*line) {
            fprintf(head, "%s\n", line);
            continue;
        }
        read_code(s, line);
        snprintf(s->line, sizeof(s->line), "%s", line);
        t.count += s->len > 0;
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
    struct first_tier *tier = &t.tier;
    const struct isa *isa = tier->vcpu.isa;
    first_tier_lift(tier, PC, s->code, s->len, MAX_BYTES, no_peek);
    cache_room(&tier->cache, &tier->buf);
    s->ok = ir_verify(&tier->ir, isa->helpers, &e) && ra_local(&tier->ra, &tier->ir, &tier->cpu.ra, isa->helpers) &&
            host_x86_64.emit(&tier->cpu, &tier->ra, &tier->buf);
    if (!s->ok)
        return;
    s->start = (u32)ftell(out);
    fwrite(tier->buf.rw + tier->buf.body, 1, tier->buf.cold - tier->buf.body, out);
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
    char words[MAX_BYTES * 3 + 1] = "", text[160] = "";
    for (unsigned at = 0, bytes; at < s->len; at += bytes) {
        char insn[128];
        u32 word = 0;
        bytes = t.tier.vcpu.isa->disas(s->code + at, s->len - at, PC + at, insn, sizeof(insn));
        memcpy(&word, s->code + at, bytes);
        size_t n = strlen(text), w = strlen(words);
        snprintf(words + w, sizeof(words) - w, "%0*x ", (int)bytes * 2, word);
        snprintf(text + n, sizeof(text) - n, "%s%s", at ? "; " : "", insn);
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

struct test *test_list, **test_tail = &test_list;
int test_failures;

int main(int argc, char **argv)
{
    struct err e = {0};
    char name[] = "/tmp/lyre-test-codegen-XXXXXX";
    const struct isa *isa = argc < 4 ? NULL : isa_by_name(argv[1]);
    if (!isa || !read_pins(argv[3])) {
        printf("Bail out! no file of pins\n");
        return 1;
    }
    if (system("objdump --version >/dev/null 2>&1") || !first_tier_start(&t.tier, isa, argv[2], 4 << 20, &e)) {
        printf("1..0 # SKIP %s\n", e.text[0] ? e.text : "needs objdump");
        return 0;
    }
    t.show = argc > 4 && !strcmp(argv[4], "--show");
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
    compare(argv[3], argc > 4 && !strcmp(argv[4], "--bless"));
    printf("%sok 1 %s\n1..1\n", test_failures ? "not " : "", isa->name);
    first_tier_stop(&t.tier);
    free(t.head);
    return test_failures != 0;
}
