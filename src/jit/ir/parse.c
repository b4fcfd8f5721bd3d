/* The text form back into a region. It takes bytes from outside (tests, bug reports), so everything
 * is checked; what the values mean together is the verifier's business. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "jit/ir/text.h"

#define MAX_VALUES 1000000

struct parser {
    struct ir_region *r;
    const char *p;
    unsigned line;
    struct err *e;
    bool failed;
    irv *ids; /* the text's value numbers to ours; parameters may be used before they are defined */
    u32 nids;
    u32 map; /* the last one of the block so far; 0: none */
};

static void fail(struct parser *ps, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void fail(struct parser *ps, const char *fmt, ...)
{
    if (ps->failed)
        return;
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    ps->failed = true;
    err_set(ps->e, EINVAL, "line %u: %s", ps->line, what);
}

/* What the parser looks at, for messages: the rest of the line, but not much of it. */
static int ahead(const struct parser *ps)
{
    size_t n = strcspn(ps->p, "\n");
    return (int)(n < 20 ? n : 20);
}

static void spaces(struct parser *ps)
{
    while (*ps->p == ' ' || *ps->p == '\t')
        ps->p++;
}

static bool accept(struct parser *ps, const char *s)
{
    spaces(ps);
    size_t n = strlen(s);
    if (strncmp(ps->p, s, n))
        return false;
    ps->p += n;
    return true;
}

static void expect(struct parser *ps, const char *s)
{
    if (!ps->failed && !accept(ps, s))
        fail(ps, "expected '%s' before '%.*s'", s, ahead(ps), ps->p);
}

/* A word of letters, digits, '_' and '.'; at most size - 1 characters. */
static void word(struct parser *ps, char *buf, size_t size)
{
    spaces(ps);
    size_t n = 0;
    while (isalnum((unsigned char)*ps->p) || *ps->p == '_' || *ps->p == '.') {
        if (n + 1 >= size) {
            fail(ps, "a word is too long");
            break;
        }
        buf[n++] = *ps->p++;
    }
    buf[n] = 0;
}

static u64 number(struct parser *ps)
{
    spaces(ps);
    char *end;
    bool minus = *ps->p == '-';
    if (!isdigit((unsigned char)ps->p[minus])) {
        fail(ps, "expected a number before '%.*s'", ahead(ps), ps->p);
        return 0;
    }
    u64 v = strtoull(ps->p + minus, &end, 0);
    ps->p = end;
    return minus ? 0 - v : v;
}

static int find_slot(const struct ir_slots *slots, const char *name)
{
    for (int i = 0; i < slots->count; i++) {
        if (!strcmp(slots->slot[i].name, name))
            return i;
    }
    return -1;
}

/* Is this a value number, "v12", rather than a slot that starts with v? Slots win. */
static irv value(struct parser *ps)
{
    char name[32];
    if (accept(ps, "-"))
        return 0;
    word(ps, name, sizeof(name));
    int slot = find_slot(ps->r->slots, name);
    if (slot >= 0)
        return (irv)slot + 1;
    char *end;
    unsigned long n = name[0] == 'v' && isdigit((unsigned char)name[1])
                          ? strtoul(name + 1, &end, 10)
                          : ULONG_MAX;
    if (n == ULONG_MAX || *end || n >= MAX_VALUES) {
        fail(ps, "'%s' is neither a slot nor a value", name);
        return 0;
    }
    if (n >= ps->nids || !ps->ids[n]) {
        fail(ps, "%s is used before it is defined", name);
        return 0;
    }
    return ps->ids[n];
}

static void define(struct parser *ps, unsigned long n, irv v)
{
    if (n >= MAX_VALUES) {
        fail(ps, "value numbers end at v%d", MAX_VALUES - 1);
        return;
    }
    if (n >= ps->nids) {
        u32 want = (u32)n + 256;
        ps->ids = xrealloc(ps->ids, want * sizeof(*ps->ids));
        memset(ps->ids + ps->nids, 0, (want - ps->nids) * sizeof(*ps->ids));
        ps->nids = want;
    }
    if (ps->ids[n])
        fail(ps, "v%lu is defined twice", n);
    ps->ids[n] = v;
}

static int lookup(const char *const *names, int count, const char *name, size_t len)
{
    for (int i = 0; i < count; i++) {
        if (strlen(names[i]) == len && !strncmp(names[i], name, len))
            return i;
    }
    return -1;
}

static u16 mem_aux(struct parser *ps, char *w)
{
    char *save, *part = strtok_r(w, ".", &save);
    unsigned long bytes = part ? strtoul(part, NULL, 10) : 0;
    u16 aux = 0;
    while (aux < 5 && 1ul << aux != bytes)
        aux++;
    if (aux == 5)
        fail(ps, "an access has 1, 2, 4, 8 or 16 bytes");
    while ((part = strtok_r(NULL, ".", &save))) {
        unsigned i;
        for (i = 0; i < IR_MEM_FLAGS && strcmp(part, ir_mem_flags[i].name); i++)
            ;
        if (i < IR_MEM_FLAGS)
            aux |= ir_mem_flags[i].bit;
        else if (part[0] == 'x' && (part[1] == '2' || part[1] == '4' || part[1] == '8'))
            aux |= (u16)((part[1] == '2' ? 1 : part[1] == '4' ? 2 : 3) << IR_MEM_SCALE_SHIFT);
        else
            fail(ps, "unknown access flag '%s'", part);
    }
    return aux;
}

static u16 parse_aux(struct parser *ps, const char *kind)
{
    char w[64];
    if (!strcmp(kind, "icond")) {
        word(ps, w, sizeof(w));
        size_t n = strlen(w);
        int c = n > 2 ? lookup(ir_icond_names, 12, w, n - 2) : -1;
        if (c < 0 || (strcmp(w + n - 2, "32") && strcmp(w + n - 2, "64")))
            fail(ps, "'%s' is not a comparison", w);
        return (u16)(c | (w[n > 2 ? n - 2 : 0] == '3' ? 1 : 2) << 4);
    }
    if (!strcmp(kind, "cc")) {
        word(ps, w, sizeof(w));
        int c = lookup(ir_cc_names, 14, w, strlen(w));
        if (c < 0)
            fail(ps, "'%s' is not a condition", w);
        return (u16)c;
    }
    if (!strcmp(kind, "mem")) {
        word(ps, w, sizeof(w));
        return mem_aux(ps, w);
    }
    if (!*kind && !accept(ps, "#"))
        return 0;
    if (*kind)
        expect(ps, "#");
    u64 n = number(ps);
    if (n > 0xffff)
        fail(ps, "aux has 16 bits");
    return (u16)n;
}

static u32 parse_edge(struct parser *ps)
{
    struct ir_region *r = ps->r;
    expect(ps, "b");
    struct ir_edge edge = {.block = (u32)number(ps), .first = r->nargs};
    if (accept(ps, "(")) {
        do {
            VEC_PUSH(r->args, r->nargs, r->args_cap) = value(ps);
            edge.count++;
        } while (!ps->failed && accept(ps, ","));
        expect(ps, ")");
    }
    VEC_PUSH(r->edge, r->nedges, r->edge_cap) = edge;
    return r->nedges - 1;
}

static const struct ir_put *find_put(const struct ir_put *put, unsigned count, unsigned slot)
{
    for (unsigned i = 0; i < count; i++) {
        if (put[i].slot == slot)
            return &put[i];
    }
    return NULL;
}

/* Have the map say what is new since the last one, as the builder does, if it names all of that one's slots. */
static void chain_map(struct parser *ps, struct ir_map *m)
{
    struct ir_region *r = ps->r;
    struct ir_put old[IR_MAX_SLOTS], *put = r->put + m->first;
    unsigned n = ir_map_resolve(r, ps->map, old);
    for (unsigned i = 0; i < n; i++) {
        if (!find_put(put, m->count, old[i].slot))
            return;
    }
    u32 kept = 0;
    for (u32 i = 0; i < m->count; i++) {
        const struct ir_put *same = find_put(old, n, put[i].slot);
        if (!same || same->value != put[i].value)
            put[kept++] = put[i];
    }
    *m = (struct ir_map){.pc = m->pc, .parent = ps->map, .first = m->first, .count = kept};
    r->nputs = m->first + kept;
}

static u32 parse_map(struct parser *ps)
{
    struct ir_region *r = ps->r;
    struct ir_map m = {.first = r->nputs};
    expect(ps, "{");
    expect(ps, "pc=");
    m.pc = number(ps);
    while (!ps->failed && accept(ps, ",")) {
        char name[32];
        word(ps, name, sizeof(name));
        int slot = find_slot(r->slots, name);
        if (slot < 0) {
            fail(ps, "no slot '%s'", name);
            return 0;
        }
        expect(ps, "=");
        irv v = value(ps);
        VEC_PUSH(r->put, r->nputs, r->put_cap) = (struct ir_put){v, (u32)slot};
        m.count++;
    }
    expect(ps, "}");
    chain_map(ps, &m);
    VEC_PUSH(r->map, r->nmaps, r->map_cap) = m;
    ps->map = r->nmaps - 1;
    return ps->map;
}

static void operands(struct parser *ps, struct ir_node *n, unsigned count)
{
    irv *arg[3] = {&n->a, &n->b, &n->c};
    for (unsigned i = 0; i < count; i++) {
        if (i)
            expect(ps, ",");
        *arg[i] = value(ps);
    }
}

static u64 comma_number(struct parser *ps)
{
    expect(ps, ",");
    return number(ps);
}

static void parse_rest(struct parser *ps, struct ir_node *n, const struct ir_opinfo *info)
{
    switch (ir_text_form(n->op)) {
    case IR_FORM_CONST:
    case IR_FORM_PC:
        n->imm = number(ps);
        break;
    case IR_FORM_PARAM:
        spaces(ps);
        if (*ps->p != '\n' && *ps->p)
            n->imm = value(ps);
        break;
    case IR_FORM_ACCESS:
        operands(ps, n, info->nargs);
        n->imm = (u32)comma_number(ps);
        break;
    case IR_FORM_CVT:
        operands(ps, n, info->nargs);
        n->imm = (u32)comma_number(ps);
        break;
    case IR_FORM_JMP:
        n->b = parse_edge(ps);
        break;
    case IR_FORM_BR:
        n->a = value(ps);
        expect(ps, ",");
        n->b = parse_edge(ps);
        expect(ps, ",");
        n->c = parse_edge(ps);
        break;
    case IR_FORM_BR_PC:
        n->a = value(ps);
        n->imm = comma_number(ps);
        expect(ps, ",");
        n->b = value(ps);
        break;
    case IR_FORM_IF_PC:
        operands(ps, n, 2);
        n->imm = comma_number(ps);
        break;
    case IR_FORM_CALL:
        n->imm = number(ps);
        expect(ps, ",");
        n->b = value(ps);
        break;
    case IR_FORM_CALL_IND:
        operands(ps, n, 2);
        break;
    case IR_FORM_RAISE:
        n->imm = number(ps);
        expect(ps, ",");
        n->a = value(ps);
        break;
    case IR_FORM_HELPER:
        n->imm = (u32)number(ps);
        expect(ps, ",");
        operands(ps, n, 3);
        break;
    default:
        operands(ps, n, info->nargs);
        break;
    }
}

static unsigned find_op(const char *w, unsigned *type)
{
    *type = IR_VOID;
    for (unsigned op = 0; op < IR_NOPS; op++) {
        const char *text = ir_info(op).text;
        size_t n = strlen(text);
        if (strncmp(w, text, n))
            continue;
        if (!w[n])
            return op;
        if (w[n] != '.')
            continue;
        for (unsigned t = 0; t < IR_NTYPES; t++) {
            if (!strcmp(w + n + 1, ir_type_name(t))) {
                *type = t;
                return op;
            }
        }
    }
    return IR_NOPS;
}

static void parse_node(struct parser *ps)
{
    struct ir_region *r = ps->r;
    struct ir_node n = {0};
    char w[64];
    unsigned long id = 0;
    unsigned type;
    word(ps, w, sizeof(w));
    bool defines = w[0] == 'v' && isdigit((unsigned char)w[1]) && accept(ps, "=");
    if (defines) {
        id = strtoul(w + 1, NULL, 10);
        word(ps, w, sizeof(w));
    }
    n.op = (u8)find_op(w, &type);
    if (n.op == IR_NOPS) {
        fail(ps, "unknown operation '%s'", w);
        return;
    }
    n.type = (u8)type;
    struct ir_opinfo info = ir_info(n.op);
    n.aux = parse_aux(ps, info.aux);
    parse_rest(ps, &n, &info);
    if (!ps->failed && ir_has_map(n.op)) {
        u32 map = parse_map(ps);
        if (ir_map_in_imm(n.op))
            n.imm = (u32)n.imm | (u64)map << 32;
        else
            n.c = map;
    }
    if (defines != (n.type != IR_VOID))
        fail(ps, "an operation with a result has a type and a name, others have none");
    if (n.op == IR_PARAM && r->nblocks)
        r->block[r->nblocks - 1].nparams++;
    if (r->count == r->node_cap) {
        r->node_cap *= 2;
        r->node = xrealloc(r->node, r->node_cap * sizeof(*r->node));
    }
    if (!ps->failed && defines)
        define(ps, id, r->count);
    r->node[r->count++] = n;
}

static void parse_line(struct parser *ps)
{
    struct ir_region *r = ps->r;
    if (accept(ps, "region")) {
        u64 pc = number(ps);
        ir_region_start(r, r->slots, pc);
        r->by_state = accept(ps, "by_state");
        return;
    }
    const char *start = ps->p;
    if (accept(ps, "b") && isdigit((unsigned char)*ps->p)) {
        u64 n = number(ps), pc = 0, copy = 0;
        if (r->by_state)
            pc = number(ps);
        if (r->by_state && accept(ps, "#"))
            copy = number(ps);
        if (accept(ps, ":")) {
            if (n != r->nblocks)
                fail(ps, "expected block b%u", r->nblocks);
            ps->map = 0;
            VEC_PUSH(r->block, r->nblocks, r->block_cap) =
                (struct ir_block){.pc = pc, .copy = (u32)MIN(copy, (u64)IR_MAX_COPIES), .first = r->count, .end = r->count};
            return;
        }
    }
    ps->p = start;
    if (!r->nblocks)
        fail(ps, "expected a block");
    else
        parse_node(ps);
    if (r->nblocks)
        r->block[r->nblocks - 1].end = r->count;
}

bool ir_parse(struct ir_region *r, const struct ir_slots *slots, const char *text, struct err *e)
{
    struct parser ps = {.r = r, .p = text, .line = 1, .e = e};
    ir_region_start(r, slots, 0);
    while (*ps.p && !ps.failed) {
        spaces(&ps);
        if (*ps.p != '\n' && *ps.p != ';' && *ps.p)
            parse_line(&ps);
        spaces(&ps);
        if (*ps.p == ';') {
            while (*ps.p && *ps.p != '\n')
                ps.p++;
        }
        if (!ps.failed && *ps.p && *ps.p != '\n')
            fail(&ps, "unexpected '%.*s'", ahead(&ps), ps.p);
        if (*ps.p == '\n') {
            ps.p++;
            ps.line++;
        }
    }
    for (u32 i = 0; i < r->nedges && !ps.failed; i++) {
        if (r->edge[i].block >= r->nblocks)
            fail(&ps, "there is no block b%u", r->edge[i].block);
        else
            r->block[r->edge[i].block].preds++;
    }
    free(ps.ids);
    return !ps.failed;
}
