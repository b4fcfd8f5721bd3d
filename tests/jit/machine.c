#include "machine.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "jit/cache/recover.h"

#define X(n, p) {"x" #n, IR_I64, n * 8, p}
#define V(n, p) {"q" #n, IR_V128, offsetof(struct m_state, v) + n * 16, p}

static const struct ir_slot slot_table[M_NSLOTS] = {
    X(0, 0),   X(1, 1),   X(2, 2),   X(3, 3),   X(4, -1),  X(5, -1),  X(6, -1),  X(7, -1),
    X(8, -1),  X(9, -1),  X(10, -1), X(11, -1), X(12, -1), X(13, -1), X(14, -1), X(15, -1),
    X(16, -1), X(17, -1), X(18, -1), X(19, 4),  X(20, 5),  X(21, 6),  X(22, -1), X(23, -1),
    X(24, -1), X(25, -1), X(26, -1), X(27, -1), X(28, -1), X(29, 7),  X(30, 8),  X(31, 9),
    {"pc", IR_I64, offsetof(struct m_state, pc), -1},
    {"fl", IR_FL, offsetof(struct m_state, fl), -1},
    V(0, 0),   V(1, 1),   V(2, 2),   V(3, 3),   V(4, 4),   V(5, 5),   V(6, 6),   V(7, 7),
    V(8, -1),  V(9, -1),  V(10, -1), V(11, -1), V(12, -1), V(13, -1), V(14, -1), V(15, -1),
};

const struct ir_slots m_slots = {slot_table, M_NSLOTS, M_PC, sizeof(struct m_state)};

static void add_helper(struct ir_env *env)
{
    env->helper_ret = (v128){.d = {env->helper_arg[0].d[0] * 3 + env->helper_arg[1].d[0]}};
}

static void read_helper(struct ir_env *env)
{
    struct m_state *s = (struct m_state *)(void *)env->slots;
    u64 sum = 0;
    for (unsigned i = 0; i < 32; i++)
        sum = sum * 31 + s->x[i];
    for (unsigned i = 0; i < 16; i++)
        sum = sum * 31 + s->v[i].d[0] + s->v[i].d[1] * 7;
    env->helper_ret = (v128){.d = {sum + ir_flags_eval((const u8 *)s, &s->fl)}};
}

/* As another thread would: the next poll leaves. */
static void ask_helper(struct ir_env *env)
{
    env->request = 1;
}

/* Writes a pinned slot, one in memory, and reads the state: an exit must follow. */
static void write_helper(struct ir_env *env)
{
    struct m_state *s = (struct m_state *)(void *)env->slots;
    s->x[2] += s->x[0];
    s->x[5] = env->helper_arg[0].d[0];
}

const struct ir_helper m_helpers[] = {
    {"add", add_helper, IR_HELPER_PURE},
    {"read", read_helper, IR_HELPER_READS},
    {"ask", ask_helper, 0},
    {"write", write_helper, IR_HELPER_WRITES},
    {NULL, NULL, 0},
};

/* ---- signals ---- */

static struct machine *running;

static bool recover(struct machine *m, const siginfo_t *info, void *context)
{
    const u8 *pc = host_x86_64.context_pc(context);
    if (!m || !cache_contains(&m->cache, pc))
        return false;
    if (info->si_signo == SIGFPE)
        return host_x86_64.fp_trap(m->env, context);
    const struct jit_region *r = cache_at(&m->cache, pc);
    struct jit_fault f;
    if (!r || !region_fault_at(&m->cache, r, pc, &f))
        return false;
    region_leave(&host_x86_64, m->env, &f, info, context);
    region_recover(&host_x86_64, &m->cpu, m->env, r, &f, context);
    host_x86_64.context_abandon(&m->cpu, context);
    return true;
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
    if (!recover(running, info, context)) {
        static const char text[] = "Bail out! a signal that the back end does not know\n";
        (void)!write(1, text, sizeof(text) - 1);
        _exit(1);
    }
}

static void install_signals(void)
{
    static const int sigs[] = {SIGFPE, SIGSEGV, SIGBUS, SIGILL, SIGTRAP};
    static u8 stack[65536];
    stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaltstack(&ss, NULL);
    for (unsigned i = 0; i < ARRAY_LEN(sigs); i++)
        sigaction(sigs[i], &sa, NULL);
}

/* ---- memory ---- */

/* While host code runs, the kernel refuses what m->access does not allow. */
static void protect(struct machine *m, bool on)
{
    static const int prot[] = {PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE};
    for (unsigned i = 0; i < M_MEMORY / M_PAGE; i++) {
        if (m->access[i] != M_WRITE)
            mprotect(m->memory + i * M_PAGE, M_PAGE, prot[on ? m->access[i] : M_WRITE]);
    }
}

/* The interpreter asks first. Like the host, it takes no part of an access that faults. */
static bool allowed(const struct machine *m, u64 addr, unsigned bytes, enum m_access worst)
{
    u64 at = addr - (u64)m->memory, last = at + bytes - 1;
    return last < M_MEMORY && at <= last && m->access[at / M_PAGE] <= worst &&
           m->access[last / M_PAGE] <= worst;
}

static bool mem_load(void *opaque, u64 addr, void *to, unsigned bytes)
{
    return allowed(opaque, addr, bytes, M_READ) &&
           ir_mem_direct.load(NULL, addr, to, bytes);
}

static bool mem_store(void *opaque, u64 addr, const void *from, unsigned bytes)
{
    return allowed(opaque, addr, bytes, M_WRITE) &&
           ir_mem_direct.store(NULL, addr, from, bytes);
}

static bool mem_cas(void *opaque, u64 addr, const v128 *expected, const v128 *desired, v128 *old,
                    unsigned bytes)
{
    return allowed(opaque, addr, bytes, M_WRITE) &&
           ir_mem_direct.cas(NULL, addr, expected, desired, old, bytes);
}

/* ---- addresses that are translated ---- */

/* Out of host code that called, with the guest's state as it was before. */
static void leave(struct ir_env *env)
{
    struct host_context room;
    const void *context = host_x86_64.call_context(env, &room);
    const u8 *pc = host_x86_64.context_pc(context);
    const struct jit_region *r = cache_at(&running->cache, pc);
    struct jit_fault f;
    region_fault_at(&running->cache, r, pc, &f);
    env->mmu.failed = true;
    region_leave(&host_x86_64, env, &f, NULL, context);
    region_recover(&host_x86_64, &running->cpu, env, r, &f, context);
}

static void fill_tlb(const struct machine *m, u64 addr)
{
    const u64 page = addr & ~(u64)(M_PAGE - 1), nowhere = page ^ M_PAGE;
    enum m_access access = m->access[(addr - (u64)m->memory) / M_PAGE];
    m->env->tlb[0][addr >> IR_PAGE_BITS & ((1u << IR_TLB_BITS) - 1)] =
        (struct ir_tlb_entry){.read = access == M_NOTHING ? nowhere : page, .write = access == M_WRITE ? page : nowhere,
                              .add = (u64)m->elsewhere - (u64)m->memory};
}

/* As the engine's: what is in one page host code does itself, and from then on by the TLB. */
static bool do_access(const struct machine *m, struct ir_mmu *x, unsigned bytes)
{
    u8 *host = m->elsewhere + (x->addr - (u64)m->memory);
    const bool one_page = (x->addr & (M_PAGE - 1)) + bytes <= M_PAGE;
    if (!allowed(m, x->addr, bytes, x->what & IR_MMU_WRITE ? M_WRITE : M_READ) || (x->what & IR_MMU_GROUP && !one_page))
        return false;
    if (one_page)
        fill_tlb(m, x->addr);
    x->add = (u64)host - x->addr;
    if (x->what & (IR_MMU_GROUP | IR_MMU_LOCKED))
        return true;
    if (x->what & IR_MMU_WRITE) {
        memcpy(host, &x->value, bytes);
    } else if (!one_page) {
        memcpy(&x->copy, host, bytes);
        x->add = (u64)&x->copy - x->addr;
    }
    return true;
}

static void access_memory(struct ir_env *env)
{
    struct ir_mmu *x = &env->mmu;
    x->failed = !do_access(running, x, x->what & IR_MMU_BYTES);
    if (x->failed)
        leave(env);
    if (x->failed && x->what & IR_MMU_GROUP)
        env->exit = IR_EXIT_APART;
}

static void find_nothing(struct ir_env *env)
{
    env->mmu.host = 0;
}

/* The memory is twice in the address space; its own addresses are the guest's. */
static void make_mmu(struct machine *m)
{
    mmap(m->memory, M_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    m->elsewhere = mremap(m->memory, 0, M_MEMORY, MREMAP_MAYMOVE);
    m->env->tlb[0] = xcalloc(1u << IR_TLB_BITS, sizeof(struct ir_tlb_entry));
    m->env->c_call[IR_CALL_MMU] = host_x86_64.access;
    m->env->c_call[IR_CALL_POLL] = leave;
    m->env->c_call[IR_CALL_FIND] = find_nothing;
    m->env->mmu.access = access_memory;
}

/* Nothing is in the TLB yet, and nothing may be touched at the guest's addresses. */
static void start_mmu(struct machine *m)
{
    memset(m->env->tlb[0], 0, sizeof(struct ir_tlb_entry) << IR_TLB_BITS);
    m->env->tlb[0][0] = (struct ir_tlb_entry){.read = M_PAGE, .write = M_PAGE}; /* 0 is a page's tag there */
    mprotect(m->memory, M_MEMORY, PROT_NONE);
}

static bool passed(void *opaque, u64 epoch, bool wait)
{
    return true;
}

bool machine_can(const char *level)
{
    struct host_cpu cpu = {.slots = &m_slots, .helpers = m_helpers};
    struct err e;
    return host_x86_64.detect(&cpu, level, 0, &e);
}

void machine_init(struct machine *m, const char *level, unsigned pins, bool mmu)
{
    static const void *const fns[] = {(const void *)add_helper, (const void *)read_helper,
                                     (const void *)ask_helper, (const void *)write_helper};
    struct err e;
    memset(m, 0, sizeof(*m));
    ir_region_init(&m->ir);
    ra_init(&m->ra);
    m->cpu.slots = &m_slots;
    m->cpu.helpers = m_helpers;
    m->cpu.insn_align = 2;
    m->cpu.mmu = mmu;
    if (!host_x86_64.detect(&m->cpu, level, pins, &e) ||
        !cache_init(&m->cache, &host_x86_64, &m->cpu, 1 << 20, &e)) {
        printf("Bail out! %s\n", e.text);
        exit(1);
    }
    install_signals();
    m->cache.passed = passed;
    size_t size = ALIGN_UP(sizeof(struct ir_env) + sizeof(struct m_state), (size_t)64);
    m->env = aligned_alloc(64, size);
    memset(m->env, 0, size);
    m->env->helpers = fns;
    m->env->jumps = ir_jumps_new();
    m->env->c_call[IR_CALL_EVAL] = ir_call_eval;
    m->env->c_call[IR_CALL_FLAGS] = ir_call_flags;
    m->env->fp = &m_state(m)->fp;
    m->mem = (struct ir_mem){mem_load, mem_store, mem_cas, m};
    m->interp.mem = &m->mem;
    m->stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    /* what lies around the memory faults */
    u8 *around = mmap(NULL, M_MEMORY + 2 * M_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    m->memory = around + M_PAGE;
    mprotect(m->memory, M_MEMORY, PROT_READ | PROT_WRITE);
    if (mmu)
        make_mmu(m);
}

void machine_free(struct machine *m)
{
    ir_region_free(&m->ir);
    ra_free(&m->ra);
    cache_free(&m->cache);
    ir_interp_free(&m->interp);
    host_buf_free(&m->buf);
    free(m->env->jumps);
    free(m->env->tlb[0]);
    free(m->env);
    if (m->elsewhere)
        munmap(m->elsewhere, M_MEMORY);
    munmap(m->stack, 65536);
    munmap(m->memory - M_PAGE, M_MEMORY + 2 * M_PAGE);
}

static void keep(struct machine *m, struct m_result *out)
{
    out->state = *m_state(m);
    out->exit = m->env->exit;
    out->exit_code = m->env->exit_code;
    out->exit_arg = m->env->exit_arg;
    out->exit_addr = m->env->exit_addr;
    memcpy(out->memory, m->memory, M_MEMORY);
}

void machine_interp(struct machine *m, struct m_result *out)
{
    m->env->exit_arg = m->env->exit_addr = m->env->exit_code = 0;
    ir_interp_run(&m->interp, &m->ir, m->env, m_helpers, 100000);
    keep(m, out);
}

bool machine_jit(struct machine *m, struct m_result *out)
{
    m->ir.mmu = m->elsewhere != NULL;
    if (!ra_local(&m->ra, &m->ir, &m->cpu.ra, m_helpers))
        return false;
    struct err e;
    if (!ra_check(&m->ra, &e)) {
        char *text = ir_print(&m->ir);
        printf("Bail out! broken allocation: %s\n%s", e.text, text);
        exit(1);
    }
    cache_room(&m->cache, &m->buf);
    if (!host_x86_64.emit(&m->cpu, &m->ra, &m->buf))
        return false;
    struct jit_region *r = cache_add(&m->cache, &m->ra, &m->buf, &(struct jit_range){m->ir.pc, 4}, 1, 0);
    struct ir_env *env = m->env;
    env->exit_arg = env->exit_addr = env->exit_code = 0;
    running = m;
    if (m->elsewhere)
        start_mmu(m);
    else
        protect(m, true);
    host_x86_64.fp_setup(env);
    env->ret_sp = (u64)m->stack + 65536 - 64;
    *(const u8 **)(uintptr_t)env->ret_sp = host_x86_64.return_base(&m->cpu);
    const u8 *left = host_x86_64.enter(&m->cpu, env, region_entry(&m->cache, r));
    running = NULL;
    if (m->elsewhere)
        mprotect(m->memory, M_MEMORY, PROT_READ | PROT_WRITE);
    else
        protect(m, false);
    if (env->exit == HOST_EXIT_LINK) {
        m_state(m)->pc = cache_left(&m->cache, HOST_EXIT_LINK, left);
        env->exit = IR_EXIT_LOOKUP;
    }
    keep(m, out);
    return true;
}

bool m_differ(const struct m_result *a, const struct m_result *b, char *text, size_t size)
{
    const struct m_state *s = &a->state, *t = &b->state;
    for (unsigned i = 0; i < 32; i++) {
        if (s->x[i] != t->x[i]) {
            snprintf(text, size, "x%u: %#llx, not %#llx", i, (unsigned long long)t->x[i],
                     (unsigned long long)s->x[i]);
            return true;
        }
    }
    for (unsigned i = 0; i < 16; i++) {
        if (memcmp(&s->v[i], &t->v[i], 16)) {
            snprintf(text, size, "q%u: %016llx%016llx, not %016llx%016llx", i,
                     (unsigned long long)t->v[i].d[1], (unsigned long long)t->v[i].d[0],
                     (unsigned long long)s->v[i].d[1], (unsigned long long)s->v[i].d[0]);
            return true;
        }
    }
    const char *what = NULL;
    if (s->pc != t->pc)
        what = "pc";
    else if (ir_flags_eval((const u8 *)s, &s->fl) != ir_flags_eval((const u8 *)t, &t->fl))
        what = "flags";
    else if ((s->fp.flags ^ t->fp.flags) & ~(u32)FP_UNDERFLOW)
        what = "FP flags";
    else if (a->exit != b->exit || a->exit_code != b->exit_code || a->exit_arg != b->exit_arg ||
             a->exit_addr != b->exit_addr)
        what = "exit";
    else if (memcmp(a->memory, b->memory, M_MEMORY))
        what = "memory";
    if (what)
        snprintf(text, size, "%s: jit pc %#llx fl %x fpf %x, interp pc %#llx fl %x fpf %x", what,
                 (unsigned long long)t->pc, ir_flags_eval((const u8 *)t, &t->fl), t->fp.flags,
                 (unsigned long long)s->pc, ir_flags_eval((const u8 *)s, &s->fl), s->fp.flags);
    return what != NULL;
}
