/* From guest code to host code: the stages in a row. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "accel/engine_impl.h"
#include "accel/mmu.h"
#include "base/bits.h"
#include "base/log.h"
#include "base/mem.h"
#include "jit/opt/legalise.h"

void compiler_init(struct compiler *c)
{
    memset(c, 0, sizeof(*c));
    ir_region_init(&c->ir);
    ra_init(&c->ra);
}

void compiler_free(struct compiler *c)
{
    ir_region_free(&c->ir);
    ra_free(&c->ra);
    host_buf_free(&c->buf);
    free(c->range);
    if (c->disas)
        host_disas_close(c->disas);
}

static void log_guest_code(const struct isa *isa, const u8 *code, size_t len, u64 pc)
{
    log_print(LOG_IN_ASM, "----------------\nIN:\n");
    for (size_t at = 0; at < len;) {
        char text[128];
        unsigned n = isa->disas(code + at, len - at, pc + at, text, sizeof(text));
        if (!n)
            break;
        char hex[64] = "";
        for (unsigned k = n; k-- > 0 && k < 16;)
            snprintf(hex + strlen(hex), sizeof(hex) - strlen(hex), "%02x", code[at + k]);
        log_print(LOG_IN_ASM, "0x%016" PRIx64 ":  %s  %s\n", pc + at, hex, text);
        at += n;
    }
}

static void log_ir(u32 class, const char *title, const struct ir_region *r)
{
    if (!log_on(class))
        return;
    char *text = ir_print(r);
    log_print(class, "%s:\n%s", title, text);
    free(text);
}

/* The host instruction at offset `at`, or some bytes; returns how many. */
static size_t log_host_insn(struct compiler *c, const struct host *host, size_t at, size_t end)
{
    const struct host_buf *buf = &c->buf;
    u64 rx = (u64)(uintptr_t)(buf->rx + at);
    char text[256] = "";
    size_t n = 0;
    for (u32 i = 0; i < buf->nlinks; i++) {
        if (at == buf->link[i].stub)
            log_print(LOG_OUT_ASM, "  -- to 0x%" PRIx64 "\n", buf->link[i].pc);
    }
    if (c->disas && at < buf->data)
        n = host_disas_insn(c->disas, buf->rw + at, end - at, rx, text, sizeof(text));
    if (!n) {
        n = MIN((size_t)16, end - at);
        for (size_t k = 0; k < n; k++)
            snprintf(text + 3 * k, sizeof(text) - 3 * k, "%02x ", buf->rw[at + k]);
    }
    log_print(LOG_OUT_ASM, "0x%012" PRIx64 ":  %s\n", rx, text);
    return n;
}

/* Of a machine: no region goes on in another page. */
static size_t fetch_in_page(const struct lifting *from, u64 pc, void *to, size_t len)
{
    const u64 page = 1u << IR_PAGE_BITS, at = pc & (page - 1);
    len = MIN(len, (size_t)(page - at));
    if (!from->at.page)
        return mmu_fetch(engine_cpu(from->cpu)->mmu, from->en->isa->system->mode(from->key), pc, to, len);
    if ((pc ^ from->pc) & ~(page - 1))
        return 0;
    memcpy(to, from->at.page + at, len);
    return len;
}

/* Guest code as it is now. */
static size_t fetch(const struct lifting *from, u64 pc, void *to, size_t len)
{
    const struct engine *en = from->en;
    return en->opts.memory ? fetch_in_page(from, pc, to, len) : en->opts.fetch(en->opts.opaque, pc, to, len);
}

static void log_guest_insn(const struct compiler *c, struct engine *en, u64 pc)
{
    u8 code[16];
    char text[128] = "";
    const struct lifting from = {.en = en, .pc = c->ir.pc, .at = c->at};
    size_t len = fetch(&from, pc, code, sizeof(code));
    en->isa->disas(code, len, pc, text, sizeof(text));
    log_print(LOG_OUT_ASM, "  -- 0x%" PRIx64 ":  %s\n", pc, text);
}

/* Host code with the guest's in between. */
static void log_host_code(struct compiler *c, struct engine *en)
{
    const struct host_buf *buf = &c->buf;
    u32 mark = 0;
    log_print(LOG_OUT_ASM, "OUT: [size=%zu]\n", buf->used);
    for (size_t at = 0; at < buf->used;) {
        for (; mark < buf->nmarks && buf->mark[mark].at <= at; mark++)
            log_guest_insn(c, en, buf->mark[mark].pc);
        if (at == buf->cold || at == buf->data)
            log_print(LOG_OUT_ASM, "  -- %s\n", at == buf->data ? "constants" : "out of line");
        at += log_host_insn(c, en->host, at, at < buf->cold   ? buf->cold
                                   : at < buf->data ? buf->data
                                                    : buf->used);
    }
}

static void prepare_log(struct compiler *c, const struct host *host)
{
    struct err e;
    if (c->buf.want_marks)
        return;
    c->buf.want_marks = true;
    if (!host_disas_open)
        log_warn("host code is shown as bytes: a static program loads no disassembler\n");
    else if (!(c->disas = host_disas_open(host, &e)))
        log_warn("%s\n", e.text);
}

/* In a machine's interpreter nobody looks ahead: it checks no more than the code itself. */
static size_t peek(struct lift *l, u64 pc, void *to, size_t len)
{
    const struct lifting *from = l->opaque;
    if (l->npeeked == LIFT_PEEKS || (from->en->opts.memory && !from->at.page))
        return 0;
    size_t n = fetch(from, pc, to, len);
    l->peeked[l->npeeked].start = pc;
    l->peeked[l->npeeked++].len = (u32)n;
    return n;
}

static bool guarded(struct lift *l, u64 pc)
{
    const struct lifting *from = l->opaque;
    return from->en->opts.guarded(from->en->opts.opaque, pc);
}

/* What goes on where another range ends, or overlaps it, makes that longer. */
static bool lengthen(struct jit_range *r, u64 start, u32 len)
{
    u64 end = MAX(r->start + r->len, start + len);
    if (start < r->start || start > r->start + r->len)
        return false;
    r->len = (u32)(end - r->start);
    return true;
}

static void depends_on(struct compiler *c, u64 start, u32 len)
{
    u64 moved = c->at.page ? c->at.phys - c->ir.pc : 0;
    for (u32 i = 0; i < c->nranges; i++) {
        if (lengthen(&c->range[i], start + moved, len))
            return;
    }
    VEC_PUSH(c->range, c->nranges, c->range_cap) = (struct jit_range){start + moved, len};
}

static void leave_window(struct compiler *c, const struct lift *l, u64 end)
{
    depends_on(c, l->start, (u32)(end - l->start));
    if (log_on(LOG_IN_ASM))
        log_guest_code(l->isa, c->code, MIN(l->code_len, (size_t)(end - l->start)), l->start);
}

static bool go_on(struct lift *l, u64 pc)
{
    struct lifting *from = l->opaque;
    u8 code[FETCH_BYTES];
    size_t len = fetch(from, pc, code, sizeof(code));
    if (!len)
        return false;
    leave_window(from->compiler, l, l->next);
    memcpy(from->compiler->code, code, len);
    from->compiler->inlines = true;
    l->start = pc;
    l->code_len = len;
    return true;
}

void compiler_start(struct compiler *c, struct lifting *from, u64 pc, const struct ir_lowering *lowering)
{
    from->pc = pc;
    c->at = from->at;
    ir_region_start(&c->ir, &from->en->isa->slots, pc);
    c->ir.key = from->key;
    c->ir.without = from->en->opts.without;
    c->ir.mmu = from->en->opts.memory && lowering ? 1 + from->en->isa->system->mode(from->key) : 0;
    c->nranges = 0;
    c->inlines = false;
    ir_build_start(&c->builder, &c->ir);
    c->builder.lowering = lowering;
    c->builder.counts = from->en->opts.count_insns && lowering;
}

u32 compiler_block(struct compiler *c, struct lifting *from, u64 pc, unsigned max_insns)
{
    struct engine *en = from->en;
    size_t len = fetch(from, pc, c->code, FETCH_BYTES);
    if (!len)
        return 0;
    from->compiler = c;
    struct lift l = {.b = &c->builder, .isa = en->isa, .model = from->model, .key = from->key,
                     .start = pc, .pc = pc, .code = c->code, .code_len = len,
                     .max_insns = max_insns, .peek = peek, .follow = from->follow,
                     .joins = from->joins, .need = from->need, .callee = from->callee, .go_on = go_on,
                     .inlines = from->inlines, .copy_back = from->copy_back,
                     .copy_caller = from->copy_caller, .opaque = from, .tagged = from->locked ? &en->tagged : NULL,
                     .guarded = atomic_load(&en->guards) ? guarded : NULL, .invalid = from->locked ? &en->invalid : NULL,
                     .breaks = from->locked ? &en->breaks : NULL};
    c->builder.pc = pc;
    c->builder.copy = from->copy;
    ir_block_start(&c->builder);
    en->isa->lift(&l);
    leave_window(c, &l, l.pc);
    for (unsigned i = 0; i < l.npeeked; i++)
        depends_on(c, l.peeked[i].start, l.peeked[i].len);
    return (u32)(l.pc - l.start);
}

/* To look at code with, not to lift it. */
static struct lift look(struct vcpu *cpu, struct lifting *from, u64 pc, struct code_at at)
{
    *from = (struct lifting){.en = cpu->engine, .pc = pc, .at = at};
    return (struct lift){.isa = cpu->isa, .model = cpu->model, .key = cpu->env->key, .peek = peek, .opaque = from};
}

bool compiler_is_small_leaf(struct vcpu *cpu, u64 pc, struct code_at at)
{
    struct lifting from;
    struct lift l = look(cpu, &from, pc, at);
    return cpu->isa->is_small_leaf(&l, pc);
}

u64 compiler_call_before(struct vcpu *cpu, u64 back, u64 pc, struct code_at at)
{
    struct lifting from;
    struct lift l = look(cpu, &from, pc, at);
    return cpu->isa->call_before(&l, back);
}

static u32 lift(struct compiler *c, struct lifting *from, u64 pc, unsigned max_insns, const struct ir_lowering *lowering,
                u32 passes)
{
    compiler_start(c, from, pc, lowering);
    c->ir.without |= passes;
    u32 len = compiler_block(c, from, pc, max_insns);
    if (len)
        log_ir(LOG_IR, "IR", &c->ir);
    return len;
}

static struct lifting lifting_for(struct vcpu *cpu, bool locked)
{
    return (struct lifting){.en = cpu->engine, .model = cpu->model, .key = cpu->env->key, .cpu = cpu, .locked = locked};
}

u32 compiler_lift(struct compiler *c, struct vcpu *cpu, u64 pc, const struct code_at *at, unsigned max_insns,
                  const struct ir_lowering *lowering)
{
    struct lifting from = lifting_for(cpu, true);
    if (at)
        from.at = *at;
    return lift(c, &from, pc, max_insns, lowering, 0);
}

/* The lock is wanted only where some instructions are known to need other code. */
static u32 lift_unlocked(struct compiler *c, struct vcpu *cpu, u64 pc, unsigned max_insns, u32 passes)
{
    struct engine *en = cpu->engine;
    bool lock = atomic_load(&en->tagged.count) || atomic_load(&en->invalid.count) || atomic_load(&en->breaks.count);
    struct lifting from = lifting_for(cpu, lock);
    if (lock)
        pthread_mutex_lock(&en->lock);
    u32 len = lift(c, &from, pc, max_insns, NULL, passes);
    if (lock)
        pthread_mutex_unlock(&en->lock);
    return len;
}

u32 compiler_lift_unlocked(struct compiler *c, struct vcpu *cpu, u64 pc)
{
    return lift_unlocked(c, cpu, pc, cpu->engine->opts.one_insn ? 1 : BLOCK_INSNS, 0);
}

u32 compiler_lift_once(struct compiler *c, struct vcpu *cpu, u64 pc)
{
    u32 passes = 1u << IR_PASS_FOLD | 1u << IR_PASS_SHARE | 1u << IR_PASS_FLAGS | 1u << IR_PASS_SIDES;
    return lift_unlocked(c, cpu, pc, BLOCK_INSNS, passes);
}

static NORETURN void broken(const char *what, const struct err *e, const struct ir_region *r)
{
    char *text = ir_print(r);
    log_warn("broken %s: %s\n%s", what, e->text, text);
    abort();
}

/* `-d verify`: every stage is checked; a breach is a bug of lyre. */
void compiler_verify(const struct compiler *c, const struct engine *en)
{
    struct err e;
    if (log_on(LOG_VERIFY) && !ir_verify(&c->ir, en->isa->helpers, &e))
        broken("IR", &e, &c->ir);
}

static void verify_allocation(const struct ra *ra)
{
    struct err e;
    if (log_on(LOG_VERIFY) && !ra_check(ra, &e))
        broken("allocation", &e, ra->r);
}

static u64 now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static void make_room(struct engine *en, struct compiler *c)
{
    u64 epoch = en->cache.epoch, start = now();
    cache_room(&en->cache, &c->buf);
    if (en->cache.epoch != epoch)
        en->stat_stall[MIN(64 - clz64(now() - start), 31u)]++;
}

static void mutate(const struct engine *en, enum engine_stage stage, void *product)
{
    if (en->opts.mutate)
        en->opts.mutate(en->opts.opaque, stage, product);
}

bool compiler_allocate(struct compiler *c, const struct engine *en)
{
    mutate(en, ENGINE_IR, &c->ir);
    if (!ra_local(&c->ra, &c->ir, &en->host_cpu.ra, en->isa->helpers))
        return false;
    verify_allocation(&c->ra);
    mutate(en, ENGINE_ALLOCATION, &c->ra);
    return true;
}

/* Something in a hot region comes round: a loop, or a call that returns into it. */
static bool comes_round(const struct compiler *c)
{
    bool found = c->inlines;
    for (u32 b = 0; b < c->ir.nblocks && !found; b++) {
        const struct ir_node *n = &c->ir.node[c->ir.block[b].end - 1];
        bool call = n->op == IR_CALL || n->op == IR_CALL_IND;
        found = c->ra.block[b].heads || (call && ir_return_block(&c->ir, n) != UINT32_MAX);
    }
    return found;
}

struct jit_region *compiler_install(struct compiler *c, struct engine *en)
{
    make_room(en, c);
    c->buf.counter = !c->ir.by_state ? COUNT_FIRST : comes_round(c) ? COUNT_HOT_LOOP : COUNT_HOT;
    if (log_on(LOG_OUT_ASM))
        prepare_log(c, en->host);
    if (!en->host->emit(&en->host_cpu, &c->ra, &c->buf))
        return NULL;
    log_ir(LOG_IR_OPT, "IR after optimisation", &c->ir);
    if (log_on(LOG_OUT_ASM))
        log_host_code(c, en);
    mutate(en, ENGINE_CODE, &c->buf);
    struct jit_region *r = cache_add(&en->cache, &c->ra, &c->buf, c->range, c->nranges, c->at.phys);
    if (!r)
        return NULL;
    if (en->turn || en->opts.lockstep_ms)
        r->sum = lockstep_sum(en, r);
    perf_region(&en->perf, en->cache.rx + r->off, c->buf.rw, r->size, r->pc, c->ir.by_state);
    return r;
}

struct jit_region *engine_translate(struct engine *en, struct vcpu *cpu, u64 pc, const struct code_at *at,
                                    enum ir_neighbours neighbours)
{
    struct compiler *c = &en->compiler;
    unsigned max_insns = en->opts.one_insn ? 1 : BLOCK_INSNS;
    const struct ir_lowering lowering = {en->host->has, opt_legalise, &en->host_cpu};
    c->buf.heat = en->threshold ? 1 + heat_index(en, pc) : 0;
    for (;; max_insns /= 2) {
        u32 len = compiler_lift(c, cpu, pc, at, max_insns, &lowering);
        if (!len)
            return NULL;
        c->ir.neighbours = neighbours;
        compiler_verify(c, en);
        if (!compiler_allocate(c, en))
            continue;
        struct jit_region *r = neighbours == IR_SHARE_OR_COPY ? hot_install(en, c, 0) : compiler_install(c, en);
        if (!r)
            continue;
        en->stat_guest_insns += c->ir.insns;
        en->stat_guest_bytes += len;
        return r;
    }
}
