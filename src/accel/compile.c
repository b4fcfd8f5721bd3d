/* From guest code to host code: the stages in a row. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "accel/engine_impl.h"
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
    free(c->buf.link);
    free(c->buf.fault);
    free(c->buf.fp_site);
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

static void log_host_code(const u8 *code, size_t len, const u8 *rx)
{
    log_print(LOG_OUT_ASM, "OUT: [size=%zu]\n", len);
    for (size_t at = 0; at < len; at += 16) {
        char hex[64] = "";
        for (size_t k = at; k < len && k < at + 16; k++)
            snprintf(hex + strlen(hex), sizeof(hex) - strlen(hex), " %02x", code[k]);
        log_print(LOG_OUT_ASM, "%p: %s\n", (const void *)(rx + at), hex);
    }
}

static size_t peek(struct lift *l, u64 pc, void *to, size_t len)
{
    const struct engine *en = l->opaque;
    if (l->npeeked == LIFT_PEEKS)
        return 0;
    size_t n = en->opts.fetch(en->opts.opaque, pc, to, len);
    l->peeked[l->npeeked].start = pc;
    l->peeked[l->npeeked++].len = (u32)n;
    return n;
}

u32 compiler_lift(struct compiler *c, struct vcpu *cpu, u64 pc, unsigned max_insns,
                  const struct ir_lowering *lowering)
{
    struct engine *en = cpu->engine;
    size_t room = FETCH_BYTES;
    size_t len = en->opts.fetch(en->opts.opaque, pc, c->code, room);
    if (!len)
        return 0;
    struct lift l = {.b = &c->builder, .isa = en->isa, .model = cpu->model, .key = cpu->env->key,
                     .start = pc, .pc = pc, .code = c->code, .code_len = len,
                     .max_insns = max_insns, .peek = peek, .opaque = en, .tagged = &en->tagged,
                     .invalid = &en->invalid};
    ir_region_start(&c->ir, &en->isa->slots, pc);
    c->ir.key = cpu->env->key;
    ir_build_start(&c->builder, &c->ir);
    c->builder.lowering = lowering;
    ir_block_start(&c->builder);
    en->isa->lift(&l);
    if (log_on(LOG_IN_ASM))
        log_guest_code(en->isa, c->code, MIN(len, (size_t)(l.pc - pc)), pc);
    log_ir(LOG_IR, "IR", &c->ir);
    c->npeeked = l.npeeked;
    for (unsigned i = 0; i < l.npeeked; i++) {
        c->peeked[i].start = l.peeked[i].start;
        c->peeked[i].len = l.peeked[i].len;
    }
    return (u32)(l.pc - pc);
}

static NORETURN void broken(const char *what, const struct err *e, const struct ir_region *r)
{
    char *text = ir_print(r);
    log_warn("broken %s: %s\n%s", what, e->text, text);
    abort();
}

/* `-d verify`: every stage is checked; a breach is a bug of lyre. */
static void verify_ir(const struct ir_region *r)
{
    struct err e;
    if (log_on(LOG_VERIFY) && !ir_verify(r, &e))
        broken("IR", &e, r);
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

static void make_room(struct engine *en)
{
    u64 epoch = en->cache.epoch, start = now();
    cache_room(&en->cache, &en->compiler.buf);
    if (en->cache.epoch != epoch)
        en->stat_stall[MIN(64 - clz64(now() - start), 31u)]++;
}

static void mutate(const struct engine *en, enum engine_stage stage, void *product)
{
    if (en->opts.mutate)
        en->opts.mutate(en->opts.opaque, stage, product);
}

struct jit_region *engine_translate(struct engine *en, struct vcpu *cpu, u64 pc)
{
    struct compiler *c = &en->compiler;
    unsigned max_insns = en->opts.one_insn ? 1 : 64;
    const struct ir_lowering lowering = {en->host->has, opt_legalise, &en->host_cpu};
    for (;; max_insns /= 2) {
        u32 len = compiler_lift(c, cpu, pc, max_insns, &lowering);
        if (!len)
            return NULL;
        verify_ir(&c->ir);
        mutate(en, ENGINE_IR, &c->ir);
        if (!ra_local(&c->ra, &c->ir, &en->host_cpu.ra, en->isa->helpers))
            continue;
        verify_allocation(&c->ra);
        mutate(en, ENGINE_ALLOCATION, &c->ra);
        make_room(en);
        if (!en->host->emit(&en->host_cpu, &c->ra, &c->buf))
            continue;
        log_ir(LOG_IR_OPT, "IR after optimisation", &c->ir);
        if (log_on(LOG_OUT_ASM))
            log_host_code(c->buf.rw, c->buf.used, c->buf.rx);
        struct jit_region *r = cache_add(&en->cache, &c->ra, &c->buf, len, c->peeked, c->npeeked);
        if (en->turn)
            r->sum = lockstep_sum(c->code, len);
        mutate(en, ENGINE_CODE, r);
        en->stat_guest_insns += c->ir.insns;
        en->stat_guest_bytes += len;
        perf_region(&en->perf, region_entry(&en->cache, r), c->buf.rw, r->size, pc);
        return r;
    }
}
