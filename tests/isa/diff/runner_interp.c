/* Lift, then run with the reference interpreter. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cpu/lift.h"
#include "cpu/vcpu.h"
#include "jit/ir/interp.h"
#include "isa/diff/runner.h"

struct self {
    const struct guest *g;
    struct vcpu cpu;
    struct ir_env *env;
    struct ir_region region;
    struct ir_builder builder;
    struct ir_interp interp;
    struct ir_mem mem;
    u8 page[RECORD_PAGE]; /* of data */
};

static u8 *at(struct self *s, u64 addr, unsigned bytes)
{
    u64 offset = addr - s->g->data;
    return offset <= RECORD_PAGE - bytes ? s->page + offset : NULL;
}

static bool load(void *opaque, u64 addr, void *to, unsigned bytes)
{
    const u8 *p = at(opaque, addr, bytes);
    if (p)
        memcpy(to, p, bytes);
    return p;
}

static bool store(void *opaque, u64 addr, const void *from, unsigned bytes)
{
    u8 *p = at(opaque, addr, bytes);
    if (p)
        memcpy(p, from, bytes);
    return p;
}

static bool cas(void *opaque, u64 addr, const v128 *expected, const v128 *desired, v128 *old,
                unsigned bytes)
{
    u8 *p = at(opaque, addr, bytes);
    if (!p)
        return false;
    bool equal = !memcmp(p, expected, bytes);
    memcpy(old, p, bytes);
    if (equal)
        memcpy(p, desired, bytes);
    return true;
}

static void interp_close(void *opaque)
{
    struct self *s = opaque;
    ir_interp_free(&s->interp);
    ir_region_free(&s->region);
    free(s->env);
    free(s);
}

static void *interp_open(const struct guest *g, struct err *e)
{
    struct self *s = xcalloc(1, sizeof(*s));
    size_t size = ALIGN_UP(sizeof(struct ir_env) + g->isa->slots.size, 64);
    s->env = aligned_alloc(64, size);
    memset(s->env, 0, size);
    s->g = g;
    s->cpu = (struct vcpu){.isa = g->isa, .env = s->env};
    s->mem = (struct ir_mem){load, store, cas, s};
    s->interp.mem = &s->mem;
    ir_region_init(&s->region);
    if (g->isa->init(&s->cpu, g->model, e))
        return s;
    interp_close(s);
    return NULL;
}

static u32 signal_of(const struct ir_env *env)
{
    if (env->exit == IR_EXIT_FAULT)
        return SIGSEGV;
    if (env->exit != IR_EXIT_RAISE)
        return 0;
    switch (env->exit_code) {
    case ISA_RAISE_BREAK:
        return SIGTRAP;
    case ISA_RAISE_UNDEFINED:
        return SIGILL;
    case ISA_RAISE_UNALIGNED:
        return SIGBUS;
    default:
        return 0;
    }
}

/* From block to block until control leaves the instructions. */
static void interp_run(void *opaque, struct record *r)
{
    struct self *s = opaque;
    const struct isa *isa = s->g->isa;
    const u64 start = guest_pc(s->g), end = start + r->bytes;
    state_from_record(s->g, &s->cpu, r);
    memcpy(s->page + RECORD_PAGE - RECORD_MEM, r->mem, RECORD_MEM);
    do {
        u64 pc = vcpu_pc(&s->cpu);
        ir_region_start(&s->region, &isa->slots, pc);
        ir_build_start(&s->builder, &s->region);
        struct lift l = {.b = &s->builder,
                         .isa = isa,
                         .model = s->cpu.model,
                         .key = isa->key(&s->cpu),
                         .start = start,
                         .code = r->code,
                         .code_len = r->bytes,
                         .max_insns = RECORD_CODE,
                         .pc = pc};
        isa->lift(&l);
        ir_interp_run(&s->interp, &s->region, s->env, isa->helpers, 0);
    } while (!signal_of(s->env) && vcpu_pc(&s->cpu) > start && vcpu_pc(&s->cpu) < end);
    state_to_record(s->g, &s->cpu, r);
    r->signal = signal_of(s->env);
    memcpy(r->mem, s->page + RECORD_PAGE - RECORD_MEM, RECORD_MEM);
}

const struct runner runner_interp = {"interp", NULL, interp_open, interp_run, interp_close};
