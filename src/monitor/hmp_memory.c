/* Looking at memory: x, xp, print, and where addresses lead. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cpu/isa.h"
#include "monitor/hmp_impl.h"

enum { MAX_INSN = 16 };

/* What "/4xw" says. */
struct format {
    unsigned count, size; /* size: bytes of an item */
    char kind;            /* d, u, o, x, c, i */
};

/* The format at h->args, which moves on; what is missing is as it was the last time. */
static bool parse_format(struct hmp_call *h, struct format *f, struct err *e)
{
    struct monitor *m = h->m;
    *f = (struct format){1, m->x_size ? m->x_size : 4, m->x_kind ? m->x_kind : 'x'};
    if (*h->args != '/')
        return true;
    const char *at = h->args + 1;
    if (isdigit((u8)*at))
        f->count = (unsigned)strtoul(at, (char **)&at, 10);
    for (; *at && !isspace((u8)*at); at++) {
        const char *size = strchr("bhwg", *at);
        if (size)
            f->size = 1u << (*at == 'b' ? 0 : *at == 'h' ? 1 : *at == 'w' ? 2 : 3);
        else if (strchr("duoxci", *at))
            f->kind = *at;
        else
            return err_set(e, EINVAL, "invalid char in format: '%c'", *at);
    }
    h->args = at + strspn(at, " \t");
    m->x_size = f->size;
    m->x_kind = f->kind;
    return true;
}

static void print_char(FILE *out, u8 c)
{
    static const char escapes[] = "\nn\rr\tt\\\\\'\'";
    const char *known = NULL;
    for (const char *at = escapes; *at && !known; at += 2)
        known = (u8)*at == c ? at : NULL;
    if (known)
        fprintf(out, "'\\%c'", known[1]);
    else if (c >= 32 && c < 127)
        fprintf(out, "'%c'", c);
    else
        fprintf(out, "'\\x%02x'", c);
}

/* One item; items of a row are as wide as the largest. */
static void print_item(FILE *out, char kind, unsigned size, u64 v)
{
    static const int decimal[] = {[1] = 3, [2] = 5, [4] = 10, [8] = 20};
    if (kind == 'x')
        fprintf(out, "0x%0*llx", 2 * (int)size, (unsigned long long)v);
    else if (kind == 'o')
        fprintf(out, "%#*llo", (8 * (int)size + 2) / 3, (unsigned long long)v);
    else if (kind == 'd')
        fprintf(out, "%*lld", decimal[size], (long long)v);
    else if (kind == 'u')
        fprintf(out, "%*llu", decimal[size], (unsigned long long)v);
    else
        print_char(out, (u8)v);
}

/* A piece of memory as it is asked for: physical, or as the CPU sees it. */
static bool read_some(struct hmp_call *h, bool physical, u64 addr, void *to, u64 len)
{
    u64 value;
    if (!physical)
        return monitor_read_virtual(h->m, h->c->cpu, addr, to, len);
    struct mem_space *s = machine_memory(h->m->machine);
    if (mem_dma_read(s, addr, to, len) == MEM_OK)
        return true;
    if (len > 8 || (len & (len - 1)) || mem_read(s, addr, (unsigned)len, &value) != MEM_OK)
        return false;
    memcpy(to, &value, len); /* a device's register */
    return true;
}

static void disassemble(struct hmp_call *h, bool physical, u64 addr, unsigned count)
{
    const struct isa *isa = isa_by_name(machine_options(h->m->machine)->board->isa);
    char text[128];
    u8 code[MAX_INSN];
    while (count--) {
        size_t len = isa->max_insn;
        while (len && !read_some(h, physical, addr, code, len))
            len -= 1u << isa->insn_align;
        unsigned size = len ? isa->disas(code, len, addr, text, sizeof(text)) : 0;
        if (!size) {
            fprintf(h->out, "%016llx: Cannot access memory\n", (unsigned long long)addr);
            return;
        }
        u64 word = 0;
        memcpy(&word, code, MIN(size, 8u));
        size_t name = strcspn(text, " \t");
        const char *rest = text + name + strspn(text + name, " \t");
        fprintf(h->out, "0x%08llx:  %0*llx  %-8.*s %s\n", (unsigned long long)addr, 2 * (int)size,
                (unsigned long long)word, (int)name, text, rest);
        addr += size;
    }
}

static bool dump(struct hmp_call *h, bool physical, struct err *e)
{
    struct format f;
    u64 addr;
    if (!parse_format(h, &f, e))
        return false;
    const char *at = h->args;
    if (!hmp_expression(h, &at, &addr, e))
        return false;
    if (f.kind == 'i') {
        disassemble(h, physical, addr, f.count);
        return true;
    }
    unsigned size = f.kind == 'c' ? 1 : f.size, row = size == 1 ? 8 : 16;
    for (u64 left = (u64)f.count * f.size; left;) {
        u64 n = MIN(left, row);
        fprintf(h->out, "%016llx:", (unsigned long long)addr);
        for (u64 i = 0; i < n; i += size) {
            u64 v = 0;
            if (!read_some(h, physical, addr + i, &v, size)) {
                fprintf(h->out, " Cannot access memory\n");
                return true;
            }
            fputc(' ', h->out);
            print_item(h->out, f.kind, size, v);
        }
        fputc('\n', h->out);
        addr += n;
        left -= n;
    }
    return true;
}

static bool held_dump(struct hmp_call *h, bool physical, struct err *e)
{
    machine_hold(h->m->machine);
    bool good = dump(h, physical, e);
    machine_release(h->m->machine);
    return good;
}

bool hmp_x(struct hmp_call *h, struct err *e)
{
    return held_dump(h, false, e);
}

bool hmp_xp(struct hmp_call *h, struct err *e)
{
    return held_dump(h, true, e);
}

bool hmp_print(struct hmp_call *h, struct err *e)
{
    struct format f;
    u64 v;
    if (!parse_format(h, &f, e))
        return false;
    const char *at = h->args;
    if (!hmp_expression(h, &at, &v, e))
        return false;
    if (*at)
        return err_set(e, EINVAL, "%.*s: extraneous characters at the end of line", (int)strcspn(h->line, " /"), h->line);
    if (f.kind == 'c')
        print_char(h->out, (u8)v);
    else
        fprintf(h->out, f.kind == 'x' ? "%#llx" : f.kind == 'o' ? "%#llo" : f.kind == 'u' ? "%llu" : "%lld",
                (unsigned long long)v);
    fputc('\n', h->out);
    return true;
}

/* ---- where addresses lead ---- */

bool hmp_gpa2hva(struct hmp_call *h, struct err *e)
{
    u64 addr, len;
    bool writable;
    const char *at = h->args;
    if (!hmp_expression(h, &at, &addr, e))
        return false;
    struct mem_space *s = machine_memory(h->m->machine);
    void *host = mem_host(s, addr, &len, &writable);
    struct mem_piece p = {0};
    for (unsigned i = 0; mem_space_piece(s, i, &p) && p.last < addr; i++) {
    }
    if (host)
        fprintf(h->out, "Host virtual address for 0x%llx (%s) is %p\n", (unsigned long long)addr, p.name, host);
    else if (p.name && p.start <= addr && addr <= p.last)
        fprintf(h->out, "Memory at address 0x%llx is not RAM\n", (unsigned long long)addr);
    else
        fprintf(h->out, "No memory is mapped at address 0x%llx\n", (unsigned long long)addr);
    return true;
}

bool hmp_gva2gpa(struct hmp_call *h, struct err *e)
{
    u64 addr, phys, left;
    const char *at = h->args;
    if (!hmp_expression(h, &at, &addr, e))
        return false;
    machine_hold(h->m->machine);
    bool mapped = monitor_translate(h->m, h->c->cpu, addr, &phys, &left);
    machine_release(h->m->machine);
    if (mapped)
        fprintf(h->out, "gpa: %#llx\n", (unsigned long long)phys);
    else
        fprintf(h->out, "Unmapped\n");
    return true;
}

/* ---- memory into files: "ADDR SIZE FILE" ---- */

static bool save(struct hmp_call *h, const char *command, bool of_cpu, struct err *e)
{
    u64 addr, size;
    const char *at = h->args;
    if (!hmp_expression(h, &at, &addr, e) || !hmp_expression(h, &at, &size, e))
        return false;
    if (!*at)
        return err_set(e, EINVAL, "%s: filename expected", command);
    struct json *args = json_object();
    json_set_int(args, "val", (s64)addr);
    json_set_int(args, "size", (s64)size);
    size_t quoted = *at == '"' && at[1] ? 1 : 0;
    json_set_owned(args, "filename", xprintf("%.*s", (int)(strlen(at) - 2 * quoted), at + quoted));
    if (of_cpu)
        json_set_int(args, "cpu-index", h->c->cpu);
    struct json *result = monitor_execute(h->m, command, args, e);
    if (!result) {
        fprintf(h->out, "Error: %s\n", e->text);
    }
    json_free(result);
    json_free(args);
    return true;
}

bool hmp_memsave(struct hmp_call *h, struct err *e)
{
    return save(h, "memsave", true, e);
}

bool hmp_pmemsave(struct hmp_call *h, struct err *e)
{
    return save(h, "pmemsave", false, e);
}
