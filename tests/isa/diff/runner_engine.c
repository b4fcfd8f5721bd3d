/* Run as guests are run: by an engine, here the JIT, with real memory and real faults. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "accel/engine.h"
#include "base/mem.h"
#include "host_signals.h"
#include "isa/diff/runner.h"

struct self {
    struct engine *engine;
    struct vcpu *cpu;
    const struct guest *g;
    const struct record *now; /* for fetch() */
};

static size_t fetch(void *opaque, u64 addr, void *to, size_t len)
{
    const struct self *s = opaque;
    const struct record *r = s->now;
    u64 offset = addr - s->g->code;
    if (offset >= RECORD_PAGE)
        return 0;
    len = MIN(len, RECORD_PAGE - offset);
    for (size_t i = 0; i < len; i++) {
        u64 at = addr + i - guest_pc(s->g);
        ((u8 *)to)[i] = at < r->bytes ? r->code[at] : 0;
    }
    return len;
}

static void engine_close(void *opaque)
{
    struct self *s = opaque;
    if (s->cpu)
        vcpu_free(s->cpu);
    if (s->engine)
        engine_free(s->engine);
    munmap((void *)s->g->data, RECORD_PAGE);
    free(s);
}

static void *open_with(const struct guest *g, unsigned pins, const char *level, struct err *e)
{
    struct self *s = xcalloc(1, sizeof(*s));
    const struct engine_opts opts = {.kind = ENGINE_JIT, .fetch = fetch, .opaque = s, .pins = pins,
                                     .host_cpu = level};
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    void *data = mmap((void *)g->data, RECORD_PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (data == MAP_FAILED) {
        err_set(e, errno, "cannot map memory at %#llx", (unsigned long long)g->data);
        free(s);
        return NULL;
    }
    s->g = g;
    s->engine = engine_new(g->isa, &opts, e);
    s->cpu = s->engine ? vcpu_new(s->engine, g->model, e) : NULL;
    if (!s->cpu) {
        engine_close(s);
        return NULL;
    }
    catch_signals();
    running = s->cpu;
    return s;
}

static void *open_jit(const struct guest *g, struct err *e)
{
    return open_with(g, UINT_MAX, NULL, e);
}

static void *open_jit_no_pins(const struct guest *g, struct err *e)
{
    return open_with(g, 0, NULL, e);
}

static void *open_jit_avx2(const struct guest *g, struct err *e)
{
    return open_with(g, UINT_MAX, "avx2", e);
}

static void *open_jit_sse(const struct guest *g, struct err *e)
{
    return open_with(g, UINT_MAX, "sse4.2", e);
}

static u32 signal_of(const struct vcpu_exit *exit)
{
    if (exit->kind == VCPU_EXIT_FAULT)
        return (u32)exit->sig;
    switch (exit->code) {
    case ISA_RAISE_BREAK:
        return SIGTRAP;
    case ISA_RAISE_UNALIGNED:
        return SIGBUS;
    default:
        return SIGILL;
    }
}

static void engine_run(void *opaque, struct record *r)
{
    struct self *s = opaque;
    struct vcpu_exit exit;
    s->now = r;
    state_from_record(s->g, s->cpu, r);
    memcpy((void *)guest_window(s->g), r->mem, RECORD_MEM);
    engine_invalidate(s->engine, s->g->code, RECORD_PAGE);
    vcpu_run(s->cpu, &exit);
    state_to_record(s->g, s->cpu, r);
    memcpy(r->mem, (void *)guest_window(s->g), RECORD_MEM);
    r->signal = r->pc - guest_pc(s->g) < r->bytes ? signal_of(&exit) : 0;
}

/* "jit" is at the highest level of the host. */
const struct runner runner_jit = {"jit", NULL, open_jit, engine_run, engine_close};
const struct runner runner_jit_no_pins = {"jit-no-pins", NULL, open_jit_no_pins, engine_run, engine_close};
const struct runner runner_jit_avx2 = {"jit-avx2", "avx2", open_jit_avx2, engine_run, engine_close};
const struct runner runner_jit_sse = {"jit-sse4.2", "sse4.2", open_jit_sse, engine_run, engine_close};
