/* Two engines at once: the interpreter runs each region on a copy of the state, with its stores in a
 * log beside memory; then host code runs the same region for real, and the outcomes must agree. The
 * first difference is reported with its guest code and ends the process. What the log has are addresses of the host, also
 * in machines (lockstep_machine.c).
 *
 * Threads take turns, one region at a time, so that they cannot disturb each other's memory in
 * between; so do the processes that came out of one by fork(). The log knows addresses, not memory: where a
 * region writes by one address and reads by another that leads to the same page, the interpreter reads what was
 * there before, and the outcome is not compared. Nor is it when somebody outside changed what the region
 * read. */
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "accel/engine_impl.h"
#include "base/guard.h"
#include "base/log.h"
#include "base/mem.h"
#include "jit/ir/fl.h"
#include "mem/mem.h"

struct access {
    u64 addr; /* the host's */
    unsigned bytes;
    v128 value;
};

struct lockstep {
    struct ir_env *env; /* the interpreter's */
    struct access *log; /* its stores */
    u32 count, cap;
    struct access *reads; /* its loads */
    u32 nreads, reads_cap;
    struct ir_mem mem;
    struct lockstep_ports *ports; /* machines: in the place of `mem` */
};

struct turn {
    _Atomic u32 taken, count;
};

struct turn *turn_new(void)
{
    struct turn *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (t == MAP_FAILED)
        abort();
    return t;
}

void turn_free(struct turn *t)
{
    if (t)
        munmap(t, sizeof(*t));
}

/* A process that is killed keeps its turn for ever: after a second in which nobody had one, the next
 * goes on. */
static void turn_begin(struct turn *t)
{
    u32 seen = 0;
    time_t since = 0;
    while (atomic_exchange(&t->taken, 1)) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
        if (!since || atomic_load(&t->count) != seen) {
            seen = atomic_load(&t->count);
            since = now.tv_sec;
        } else if (now.tv_sec > since + 1) {
            break;
        }
        sched_yield();
    }
    atomic_fetch_add(&t->count, 1);
}

static void turn_end(struct turn *t)
{
    atomic_store(&t->taken, 0);
}

static bool read_through(const struct lockstep *ls, u64 addr, void *to, unsigned bytes)
{
    if (guard_copy(to, (const void *)(uintptr_t)addr, bytes))
        return false;
    for (u32 i = 0; i < ls->count; i++) {
        const struct access *s = &ls->log[i];
        for (unsigned k = 0; k < bytes; k++) {
            if (addr + k - s->addr < s->bytes)
                ((u8 *)to)[k] = s->value.b[addr + k - s->addr];
        }
    }
    return true;
}

bool lockstep_load(struct lockstep *ls, u64 addr, void *to, unsigned bytes)
{
    if (!read_through(ls, addr, to, bytes))
        return false;
    struct access a = {.addr = addr, .bytes = bytes};
    memcpy(&a.value, to, bytes);
    VEC_PUSH(ls->reads, ls->nreads, ls->reads_cap) = a;
    return true;
}

void lockstep_store(struct lockstep *ls, u64 addr, const void *from, unsigned bytes)
{
    struct access s = {.addr = addr, .bytes = bytes};
    memcpy(&s.value, from, bytes);
    VEC_PUSH(ls->log, ls->count, ls->cap) = s;
}

static bool load(void *opaque, u64 addr, void *to, unsigned bytes)
{
    return lockstep_load(opaque, addr, to, bytes);
}

static bool store(void *opaque, u64 addr, const void *from, unsigned bytes)
{
    if (!guest_writable(addr) || !guest_writable(addr + bytes - 1))
        return false;
    lockstep_store(opaque, addr, from, bytes);
    return true;
}

static bool cas(void *opaque, u64 addr, const v128 *expected, const v128 *desired, v128 *old,
                unsigned bytes)
{
    *old = (v128){0};
    if (!load(opaque, addr, old, bytes) || !guest_writable(addr))
        return false;
    return memcmp(old, expected, bytes) || store(opaque, addr, desired, bytes);
}

static struct lockstep *make(struct vcpu *cpu)
{
    struct lockstep *ls = xcalloc(1, sizeof(*ls));
    size_t size = ALIGN_UP(sizeof(struct ir_env) + cpu->isa->slots.size, (size_t)64);
    ls->env = aligned_alloc(64, size);
    if (!ls->env)
        abort();
    memset(ls->env, 0, size);
    ls->mem = (struct ir_mem){load, store, cas, ls};
    if (cpu->memory)
        ls->ports = lockstep_ports_new(cpu, ls);
    return ls;
}

void lockstep_free(struct lockstep *ls)
{
    if (!ls)
        return;
    free(ls->env);
    free(ls->ports);
    free(ls->log);
    free(ls->reads);
    free(ls);
}

static void nothing(struct ir_env *env)
{
}

/* The copy that the interpreter works on. */
static void copy_env(struct lockstep *ls, struct vcpu *cpu)
{
    struct ir_env *to = ls->env, *from = cpu->env;
    memcpy(to->slots, from->slots, cpu->isa->slots.size);
    to->key = from->key;
    to->excl = from->excl;
    to->fp = (struct fp_env *)(void *)(to->slots + ((u8 *)from->fp - from->slots));
    to->fp_push = nothing;
    to->cpu = cpu;
    to->exit_code = from->exit_code;
    to->exit_arg = from->exit_arg;
    to->exit_addr = from->exit_addr;
    ls->count = ls->nreads = 0;
}

static bool same_slot(const struct ir_slot *s, const struct ir_env *a, const struct ir_env *b)
{
    v128 x, y;
    ir_slot_load(s, a, &x);
    ir_slot_load(s, b, &y);
    return !memcmp(&x, &y, sizeof(x));
}

static void memory_now(const struct access *a, v128 *to)
{
    if (guard_copy(to, (const void *)(uintptr_t)a->addr, a->bytes))
        *to = (v128){0}; /* another process may have cut the file */
}

static bool differ(struct vcpu *cpu, struct lockstep *ls, char *text, size_t size)
{
    const struct ir_slots *slots = &cpu->isa->slots;
    const struct ir_env *i = ls->env, *j = cpu->env;
    for (unsigned s = 0; s < slots->count; s++) {
        v128 x, y;
        if (same_slot(&slots->slot[s], i, j))
            continue;
        ir_slot_load(&slots->slot[s], i, &x);
        ir_slot_load(&slots->slot[s], j, &y);
        snprintf(text, size, "%s is %016" PRIx64 "%016" PRIx64 " in host code, %016" PRIx64
                 "%016" PRIx64 " in the interpreter", slots->slot[s].name, y.d[1], y.d[0], x.d[1],
                 x.d[0]);
        return true;
    }
    if (i->exit != j->exit || (i->exit >= IR_EXIT_RAISE && i->exit_code != j->exit_code) ||
        (i->exit == IR_EXIT_FAULT && i->exit_addr != j->exit_addr)) {
        snprintf(text, size, "host code leaves by %u (code %u, %#" PRIx64 "), the interpreter by %u "
                 "(code %u, %#" PRIx64 ")", j->exit, j->exit_code, j->exit_addr, i->exit,
                 i->exit_code, i->exit_addr);
        return true;
    }
    for (u32 k = 0; k < ls->count; k++) { /* what was stored last at each place */
        v128 want = {0}, got = {0};
        const struct access *s = &ls->log[k];
        read_through(ls, s->addr, &want, s->bytes);
        memory_now(s, &got);
        if (memcmp(&want, &got, s->bytes)) {
            snprintf(text, size, "memory at %#" PRIx64 " is %016" PRIx64 " after host code, %016"
                     PRIx64 " after the interpreter", s->addr, got.d[0], want.d[0]);
            return true;
        }
    }
    return false;
}

/* Slots that nobody will read may differ. */
static void settle_undefined(struct vcpu *cpu, const struct ir_interp *in, struct ir_env *env)
{
    const struct ir_slots *slots = &cpu->isa->slots;
    for (unsigned s = 0; s < slots->count; s++) {
        v128 value;
        if (!(in->undef[s / 64] >> (s & 63) & 1))
            continue;
        ir_slot_load(&slots->slot[s], cpu->env, &value);
        ir_slot_store(&slots->slot[s], env, &value);
    }
}

/* The place does not hold what the interpreter saw there last, but what memory holds at the place of
 * one of its stores: on another page, as far into it. */
static bool is_alias(const struct lockstep *ls, const struct access *a)
{
    v128 now = {0}, there = {0};
    memory_now(a, &now);
    if (!memcmp(&now, &a->value, a->bytes))
        return false;
    for (u32 i = 0; i < ls->count; i++) {
        const struct access *s = &ls->log[i];
        u64 apart = s->addr - a->addr, into = apart & (PAGE_BYTES - 1);
        if (apart < a->bytes || -apart < s->bytes) /* the same page */
            continue;
        memory_now(s, &there);
        for (unsigned k = 0; k < s->bytes; k++) {
            u64 at = (into + k) & (PAGE_BYTES - 1);
            if (at < a->bytes && now.b[at] != a->value.b[at] && now.b[at] == there.b[k])
                return true;
        }
    }
    return false;
}

static bool met_alias(const struct lockstep *ls)
{
    if (ls->ports)
        return false; /* their addresses are translated */
    for (u32 i = 0; i < ls->nreads; i++) {
        if (is_alias(ls, &ls->reads[i]))
            return true;
    }
    for (u32 i = 0; i < ls->count; i++) {
        if (is_alias(ls, &ls->log[i]))
            return true;
    }
    return false;
}

static bool varies(const struct vcpu *cpu, const struct ir_region *r)
{
    for (irv v = IR_FIRST_NODE; v < r->count; v++) {
        if (r->node[v].op == IR_HELPER &&
            cpu->isa->helpers[(u32)r->node[v].imm].flags & IR_HELPER_VARIES)
            return true;
    }
    return false;
}

static bool overlaps(const struct access *a, const struct access *b)
{
    return a->addr - b->addr < b->bytes || b->addr - a->addr < a->bytes;
}

/* Somebody else wrote to a place that was read and not written here. */
static bool was_changed(const struct lockstep *ls, const struct access *read)
{
    v128 now = {0};
    for (u32 i = 0; i < ls->count; i++) {
        if (overlaps(read, &ls->log[i]))
            return false;
    }
    memory_now(read, &now);
    return memcmp(&now, &read->value, read->bytes);
}

/* With one thread nobody else is there but other processes: a wrong store would be taken for somebody's. A machine's
 * devices write, too. */
static bool met_others(const struct vcpu *cpu, const struct lockstep *ls)
{
    const struct engine_opts *opts = &cpu->engine->opts;
    const struct engine_cpu *ec = engine_cpu(cpu);
    bool alone = !cpu->memory && !ec->next && ec->prev == &cpu->engine->cpus;
    for (u32 i = 0; i < ls->nreads; i++) {
        const struct access *read = &ls->reads[i];
        if ((!alone || (opts->shared && opts->shared(opts->opaque, read->addr))) && was_changed(ls, read))
            return true;
    }
    return false;
}

/* The guest's code: by physical address in machines. */
static size_t code_at(const struct engine *en, u64 addr, void *to, size_t len)
{
    bool writable;
    u64 there;
    if (!en->opts.memory)
        return en->opts.fetch(en->opts.opaque, addr, to, len);
    const u8 *host = mem_host(en->opts.memory, addr, &there, &writable);
    len = host ? MIN(len, (size_t)there) : 0;
    memcpy(to, host, len);
    return len;
}

u32 lockstep_sum(const struct engine *en, const struct jit_region *r)
{
    u32 sum = r->npieces;
    for (const struct jit_piece *p = region_pieces(r); p < region_pieces(r) + r->npieces; p++) {
        for (u32 at = 0; at < p->len; at += FETCH_BYTES) {
            u8 code[FETCH_BYTES];
            size_t len = MIN(p->len - at, (u32)sizeof(code));
            len = code_at(en, p->start + at, code, len);
            for (size_t i = 0; i < len; i++)
                sum = sum * 31 + code[i];
        }
    }
    return sum;
}

/* The guest has written new code and not said so yet: the translation is of the old. */
static bool is_stale(const struct vcpu *cpu, const struct compiler *c, u32 key)
{
    struct engine *en = cpu->engine;
    pthread_mutex_lock(&en->lock);
    const struct jit_region *r = cache_find(&en->cache, c->ir.pc, key, c->at.phys);
    bool stale = !r || r->sum != lockstep_sum(en, r); /* gone: somebody wrote there just now */
    pthread_mutex_unlock(&en->lock);
    return stale;
}

/* moved: from the range's addresses to the guest's. */
static void show_code(const struct engine *en, const struct jit_range *range, u64 moved)
{
    u8 code[FETCH_BYTES];
    const u64 pc = range->start + moved;
    size_t len = code_at(en, range->start, code, MIN(range->len, (u32)sizeof(code)));
    for (size_t at = 0; at < len;) {
        char insn[128];
        unsigned n = en->isa->disas(code + at, len - at, pc + at, insn, sizeof(insn));
        if (!n)
            break;
        log_warn("  %#" PRIx64 ":  %s\n", pc + at, insn);
        at += n;
    }
}

static NORETURN void report(struct vcpu *cpu, const struct compiler *c, u64 pc, const char *text)
{
    char *ir = ir_print(&c->ir);
    log_warn("lockstep: after the code at %#" PRIx64 ": %s\n", pc, text);
    for (u32 i = 0; i < c->nranges; i++)
        show_code(cpu->engine, &c->range[i], c->at.page ? c->ir.pc - c->at.phys : 0);
    log_warn("%s", ir);
    free(ir);
    signal(SIGABRT, SIG_DFL); /* not the guest's business */
    abort();
}

void lockstep_predict(struct vcpu *cpu, const struct compiler *c, u32 polls)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    struct lockstep *ls = ec->lockstep;
    copy_env(ls, cpu);
    ec->interp.mem = ls->ports ? lockstep_ports_mem(ls->ports, cpu) : &ls->mem;
    ec->interp.polls = polls;
    ir_interp_run(&ec->interp, &c->ir, ls->env, cpu->isa->helpers, 0);
    if (!ls->ports)
        guest_settle_fault(ls->env);
}

/* The interpreter could not know what comes out, or gave up. */
static bool is_open(const struct vcpu *cpu, const struct lockstep *ls, const struct compiler *c)
{
    return varies(cpu, &c->ir) || (ls->ports && lockstep_ports_gave_up(ls->ports));
}

bool lockstep_compare(struct vcpu *cpu, const struct compiler *c)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    struct lockstep *ls = ec->lockstep;
    char text[256];
    settle_undefined(cpu, &ec->interp, ls->env);
    if (is_open(cpu, ls, c))
        return false;
    if (differ(cpu, ls, text, sizeof(text)) && !met_alias(ls) && !met_others(cpu, ls) && !is_stale(cpu, c, ls->env->key))
        report(cpu, c, c->ir.pc, text);
    return true;
}

void lockstep_prepare(struct vcpu *cpu)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    if (ec->lockstep)
        return;
    interp_prepare(cpu);
    ec->lockstep = make(cpu);
}

static bool lift(struct compiler *c, struct vcpu *cpu)
{
    struct engine *en = cpu->engine;
    struct code_at at;
    bool global;
    if (!en->opts.memory)
        return compiler_lift_unlocked(c, cpu, vcpu_pc(cpu));
    if (!engine_find_code(cpu, vcpu_pc(cpu), &at, &global))
        return false;
    pthread_mutex_lock(&en->lock);
    bool lifted = compiler_lift(c, cpu, vcpu_pc(cpu), &at, en->opts.one_insn ? 1 : BLOCK_INSNS, NULL);
    pthread_mutex_unlock(&en->lock);
    return lifted;
}

/* One region in both. False when there is no code at pc. */
static bool step(struct vcpu *cpu)
{
    struct compiler *c = engine_cpu(cpu)->own;
    if (!lift(c, cpu))
        return false;
    lockstep_predict(cpu, c, 0);
    if (!jit_step(cpu))
        return false;
    if (cpu->env->exit != IR_EXIT_REQUEST) /* asked to stop before it ran */
        lockstep_compare(cpu, c);
    return true;
}

void lockstep_run(struct vcpu *cpu, struct vcpu_exit *exit)
{
    lockstep_prepare(cpu);
    for (;;) {
        pthread_mutex_lock(&cpu->engine->lockstep_lock);
        turn_begin(cpu->engine->turn);
        bool ok = step(cpu);
        turn_end(cpu->engine->turn);
        pthread_mutex_unlock(&cpu->engine->lockstep_lock);
        if (!ok) {
            engine_fetch_fault(cpu, exit);
            return;
        }
        if (!engine_exit(cpu, exit))
            return;
    }
}
