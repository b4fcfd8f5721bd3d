/* Random instructions with random operands: what the engine makes of them against what the specification says.
 *
 *     test_riscv_spec ENGINE [--width 32] [--seed S] [--count N] [--insn NAME]
 *
 * ENGINE is interp, jit, or jit-no-pins. Every instruction is also tried on a CPU without its extension, and if
 * only one width has it, on one of the other. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "accel/engine.h"
#include "host_signals.h"
#include "spec.h"

#define DISTANCE 0x10000 /* from code to data */
#define EBREAK 0x00100073u
#define COUNT  3000
#define SHOWN  3 /* failures of one instruction that are printed */

u64 spec_data;
static u64 code; /* where instructions lie; nothing is mapped there */

struct machine {
    const struct isa *isa;
    struct engine *engine;
    struct vcpu *cpu;
    int x[32], f[32], fcsr; /* registers */
    u8 code[8];
};

u64 spec_next(struct spec_random *r)
{
    u64 v = r->state += 0x9e3779b97f4a7c15;
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9;
    v = (v ^ v >> 27) * 0x94d049bb133111eb;
    return v ^ v >> 31;
}

/* ---- the machine ---- */

static size_t fetch(void *opaque, u64 addr, void *to, size_t len)
{
    const struct machine *m = opaque;
    u64 offset = addr - code;
    if (offset >= sizeof(m->code))
        return 0;
    len = MIN(len, sizeof(m->code) - offset);
    memcpy(to, m->code + offset, len);
    return len;
}

static int numbered(const struct isa *isa, char kind, unsigned n)
{
    char name[8];
    snprintf(name, sizeof(name), "%c%u", kind, n);
    return isa_reg_find(isa, name);
}

static bool machine_open(struct machine *m, const char *engine, unsigned width, const char *model)
{
    struct err e = {0};
    const struct engine_opts opts = {.kind = !strcmp(engine, "interp") ? ENGINE_INTERP : ENGINE_JIT,
                                     .fetch = fetch, .opaque = m, .pins = strcmp(engine, "jit") ? 0 : UINT_MAX};
    m->isa = width == 32 ? &isa_riscv32 : &isa_riscv64;
    m->engine = engine_new(m->isa, &opts, &e);
    m->cpu = m->engine ? vcpu_new(m->engine, model, &e) : NULL;
    if (!m->cpu) {
        printf("# %s: %s\n", model, e.text);
        return false;
    }
    for (unsigned i = 0; i < 32; i++) {
        m->x[i] = i ? numbered(m->isa, 'x', i) : -1;
        m->f[i] = numbered(m->isa, 'f', i);
    }
    m->fcsr = isa_reg_find(m->isa, "fcsr");
    running = m->cpu;
    return true;
}

static void machine_close(struct machine *m)
{
    if (m->cpu)
        vcpu_free(m->cpu);
    if (m->engine)
        engine_free(m->engine);
    running = NULL;
}

static enum spec_trap trap_of(const struct vcpu_exit *x, u64 pc, unsigned bytes)
{
    if (x->kind == VCPU_EXIT_FAULT)
        return TRAP_FAULT;
    if (x->code == ISA_RAISE_UNALIGNED)
        return TRAP_MISALIGNED;
    return x->code == ISA_RAISE_BREAK && pc == code + bytes ? TRAP_NONE : TRAP_ILLEGAL;
}

/* Run one instruction from the state in *s and leave the state behind there. */
static void machine_run(struct machine *m, u32 insn, unsigned bytes, struct spec_state *s)
{
    const u32 end = EBREAK;
    struct vcpu_exit x;
    memcpy(m->code, &insn, bytes);
    memcpy(m->code + bytes, &end, sizeof(end));
    engine_invalidate(m->engine, code, sizeof(m->code));
    for (unsigned i = 0; i < 32; i++) {
        if (i)
            vcpu_set(m->cpu, m->x[i], s->x[i]);
        vcpu_set(m->cpu, m->f[i], s->f[i]);
    }
    vcpu_set(m->cpu, m->fcsr, s->fcsr);
    vcpu_set_pc(m->cpu, code);
    memcpy((void *)spec_data, s->mem, SPEC_WINDOW);
    vcpu_run(m->cpu, &x);
    s->trap = trap_of(&x, vcpu_pc(m->cpu), bytes);
    for (unsigned i = 0; i < 32; i++) {
        s->x[i] = i ? vcpu_get(m->cpu, m->x[i]) : 0;
        s->f[i] = vcpu_get(m->cpu, m->f[i]);
    }
    s->fcsr = (u32)vcpu_get(m->cpu, m->fcsr);
    memcpy(s->mem, (void *)spec_data, SPEC_WINDOW);
}

/* ---- the test ---- */

struct options {
    const char *engine, *insn;
    u64 seed;
    unsigned count, width;
};

static void random_state(struct spec_state *s, unsigned width, struct spec_random *r)
{
    memset(s, 0, sizeof(*s));
    s->xlen = width;
    for (unsigned i = 1; i < 32; i++) {
        u64 kind = spec_next(r) % 4, v = spec_next(r);
        set_x(s, i, kind == 0 ? v % 3 - 1 : kind == 1 ? (u64)(s32)v : v);
    }
    for (unsigned i = 0; i < 32; i++)
        s->f[i] = spec_next(r);
    for (unsigned i = 0; i < SPEC_WINDOW; i++)
        s->mem[i] = (u8)spec_next(r);
}

static void show_u64(const char *what, unsigned n, u64 want, u64 got)
{
    if (want != got)
        printf("#   %s%u is %016llx, not %016llx\n", what, n, (unsigned long long)got, (unsigned long long)want);
}

static void show(const char *name, u32 insn, const struct spec_state *in, const struct spec_state *want,
                 const struct spec_state *got)
{
    printf("# %s (%08x), fcsr %02x\n", name, insn, in->fcsr);
    show_u64("trap ", 0, want->trap, got->trap);
    show_u64("fcsr ", 0, want->fcsr, got->fcsr);
    for (unsigned i = 0; i < 32; i++) {
        show_u64("x", i, want->x[i], got->x[i]);
        show_u64("f", i, want->f[i], got->f[i]);
    }
    for (unsigned i = 0; i < SPEC_WINDOW; i++)
        show_u64("memory byte ", i, want->mem[i], got->mem[i]);
    for (unsigned i = 0; i < 32; i++)
        printf("#   before: x%u %016llx f%u %016llx\n", i, (unsigned long long)in->x[i], i,
               (unsigned long long)in->f[i]);
}

static unsigned try_insn(struct machine *m, const struct spec_insn *k, const struct options *o)
{
    unsigned bad = 0;
    struct spec_random r = {o->seed};
    for (const char *c = k->name; *c; c++) /* each has numbers of its own, so that one can be repeated alone */
        r.state = r.state * 31 + (u8)*c;
    for (unsigned i = 0; i < o->count; i++) {
        struct spec_state in, want, got;
        u32 insn = k->fixed | ((u32)spec_next(&r) & k->fields);
        random_state(&in, o->width, &r);
        if (k->prepare)
            k->prepare(&in, insn, &r);
        want = got = in;
        k->define(&want, insn);
        machine_run(m, insn, k->bytes, &got);
        if (memcmp(&want, &got, sizeof(want)) && bad++ < SHOWN)
            show(k->name, insn, &in, &want, &got);
    }
    return bad;
}

/* Is it illegal on this CPU? */
static bool is_illegal(const struct spec_insn *k, const struct options *o, const char *model)
{
    struct machine m = {0};
    struct spec_state s = {.xlen = o->width};
    struct spec_random r = {o->seed};
    bool good = machine_open(&m, o->engine, o->width, model);
    if (good) {
        machine_run(&m, k->fixed | ((u32)spec_next(&r) & k->fields), k->bytes, &s);
        good = s.trap == TRAP_ILLEGAL;
    }
    machine_close(&m);
    return good;
}

/* Without its extension it is illegal. The first of "a+b" may be another that it needs. */
static bool is_gated(const struct spec_insn *k, const struct options *o)
{
    const char *plus = k->needs ? strchr(k->needs, '+') : NULL;
    char model[64];
    if (!k->needs)
        return true;
    snprintf(model, sizeof(model), "max,%s=off", plus ? plus + 1 : k->needs);
    return is_illegal(k, o, model);
}

static bool has_width(const struct spec_insn *k, unsigned width)
{
    if (k->width == WIDTH_BOTH)
        return true;
    return width == (k->width == WIDTH_32 || k->width == WIDTH_ONLY_32 ? 32 : 64);
}

static bool is_alone(const struct spec_insn *k)
{
    return k->width == WIDTH_ONLY_32 || k->width == WIDTH_ONLY_64;
}

static bool run_table(struct machine *m, const struct spec_insn *table, const struct options *o,
                      unsigned *number)
{
    bool all = true;
    for (const struct spec_insn *k = table; k->name; k++) {
        if (o->insn && strcmp(o->insn, k->name))
            continue;
        bool has = has_width(k, o->width);
        if (!has && !is_alone(k))
            continue;
        running = m->cpu;
        unsigned bad = has ? try_insn(m, k, o) : 0;
        bool gated = has ? is_gated(k, o) : is_illegal(k, o, "max");
        if (bad)
            printf("# %u of %u differ; repeat with: %s --width %u --seed %#llx --insn '%s'\n", bad, o->count,
                   o->engine, o->width, (unsigned long long)o->seed, k->name);
        if (!gated)
            printf("# it is not illegal where there is no %s\n", has ? k->needs : "such width");
        printf("%s %u %s\n", bad || !gated ? "not ok" : "ok", ++*number, k->name);
        all &= !bad && gated;
    }
    return all;
}

int main(int argc, char **argv)
{
    struct options o = {.engine = argc > 1 ? argv[1] : "jit", .seed = (u64)time(NULL), .count = COUNT, .width = 64};
    const char *seed = getenv("LYRE_TEST_SEED");
    struct machine m = {0};
    unsigned number = 0;
    bool good = true;
    if (seed)
        o.seed = strtoull(seed, NULL, 0);
    for (int i = 2; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seed"))
            o.seed = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--count"))
            o.count = (unsigned)strtoul(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--width"))
            o.width = (unsigned)strtoul(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--insn"))
            o.insn = argv[i + 1];
    }
    printf("# seed %#llx\n", (unsigned long long)o.seed);
    code = o.width == 32 ? 0x7e000000 : 0x7e8000000000;
    spec_data = code + DISTANCE + SPEC_BYTES - SPEC_WINDOW;
    void *page = mmap((void *)(code + DISTANCE), SPEC_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (page == MAP_FAILED)
        return 1;
    guard_install();
    catch_signals();
    if (!machine_open(&m, o.engine, o.width, "max"))
        return 1;
    good &= run_table(&m, spec_integer, &o, &number);
    good &= run_table(&m, spec_memory, &o, &number);
#ifdef HAVE_MPFR
    good &= run_table(&m, spec_zfa, &o, &number);
#endif
    machine_close(&m);
    printf("1..%u\n", number);
    return good ? 0 : 1;
}
