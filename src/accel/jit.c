/* Running translated code: the loop around it, safepoints, the way back from faults. */
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "accel/engine_impl.h"
#include "accel/mmu.h"
#include "accel/jumps.h"
#include "base/log.h"
#include "base/mem.h"
#include "jit/cache/recover.h"

#define STACK_SIZE  65536
#define STACK_GUARD 4096
#define OFTEN_APART 16 /* times that a region leaves with IR_EXIT_APART before it gets copies */

/* ---- prediction stack ---- */

static u64 stack_base(const struct engine_cpu *ec)
{
    return (u64)ec->stack + STACK_GUARD + STACK_SIZE - 64;
}

void prediction_stack_make(struct engine *en, struct engine_cpu *ec)
{
    size_t size = STACK_SIZE + 2 * STACK_GUARD;
    ec->stack = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ec->stack == MAP_FAILED ||
        mprotect(ec->stack + STACK_GUARD, STACK_SIZE, PROT_READ | PROT_WRITE)) {
        log_warn("cannot map a prediction stack\n");
        __builtin_trap();
    }
}

void prediction_stack_free(struct engine_cpu *ec)
{
    munmap(ec->stack, STACK_SIZE + 2 * STACK_GUARD);
}

static void reset_stack(struct engine *en, struct engine_cpu *ec)
{
    struct ir_env *env = ec->vcpu->env;
    env->ret_base = env->ret_sp = stack_base(ec);
    *(const u8 **)(uintptr_t)env->ret_sp = en->host->return_base(&en->host_cpu);
}

void engine_cpu_flush(struct engine *en, struct engine_cpu *ec)
{
    if (en->opts.memory)
        jumps_forget(ec->vcpu);
    else if (!ec->no_jumps)
        ir_jumps_clear(ec->vcpu->env->jumps);
    ec->no_jumps = true;
    reset_stack(en, ec);
}

void engine_drop_predictions(struct vcpu *cpu)
{
    reset_stack(cpu->engine, engine_cpu(cpu));
}

/* ---- the loop ---- */

/* Safepoint: no generated code is running, and none will be entered by an address from before. */
static void safepoint(struct engine *en, struct engine_cpu *ec)
{
    struct ir_env *env = ec->vcpu->env;
    if (atomic_load(&env->request) & REQUEST_FLUSH) {
        atomic_fetch_and(&env->request, ~(u32)REQUEST_FLUSH);
        engine_cpu_flush(en, ec);
    }
}

/* The thread for hot code may take the address away at the same time. */
static void remember_entry(const struct engine *en, struct ir_env *env, u64 pc, const u8 *entry)
{
    struct ir_jump *j = engine_jump(en, env, pc);
    __atomic_store_n(&j->host, (u64)entry, __ATOMIC_RELAXED);
    __atomic_store_n(&j->pc, pc, __ATOMIC_RELAXED);
}

static void lock_when_allowed(struct engine *en, struct engine_cpu *ec)
{
    pthread_mutex_lock(&en->lock);
    while (atomic_load(&ec->vcpu->env->request) & REQUEST_PAUSE) {
        pthread_mutex_unlock(&en->lock);
        sampled_wait(ec->vcpu);
        pthread_mutex_lock(&en->lock);
    }
}

bool engine_find_code(struct vcpu *cpu, u64 pc, struct code_at *at, bool *global)
{
    struct mmu_page page;
    unsigned mode = cpu->isa->system->mode(cpu->env->key);
    if (!mmu_page(engine_cpu(cpu)->mmu, mode, pc, IR_ACCESS_EXEC, &page))
        return false;
    *at = (struct code_at){page.phys + (pc & ((1u << IR_PAGE_BITS) - 1)), page.host};
    *global = page.global;
    return true;
}

/* Without the lock: an entry that was found before, with in_code set, unless code has gone meanwhile. */
static const u8 *enter_quickly(struct engine_cpu *ec, const u8 *entry)
{
    atomic_store(&ec->in_code, true);
    if (!(atomic_load(&ec->vcpu->env->request) & (REQUEST_FLUSH | REQUEST_PAUSE)))
        return entry;
    atomic_store(&ec->in_code, false);
    return NULL;
}

static const u8 *known_entry(const struct engine *en, struct engine_cpu *ec, u64 pc, u64 phys, bool global)
{
    const u8 *known = jumps_known(ec->vcpu, pc, phys), *entry = known ? enter_quickly(ec, known) : NULL;
    if (!entry)
        return NULL;
    remember_entry(en, ec->vcpu->env, pc, entry);
    jumps_note(ec->vcpu, pc, global);
    return entry;
}

/* From code whose inline look-up does not know the pc. */
void jit_find(struct ir_env *env)
{
    struct vcpu *cpu = env->cpu;
    struct code_at at;
    bool global;
    const u64 pc = vcpu_pc(cpu);
    const u8 *entry = NULL;
    if (!engine_cpu(cpu)->watched && engine_find_code(cpu, pc, &at, &global))
        entry = jumps_known(cpu, pc, at.phys);
    env->mmu.host = (u64)(uintptr_t)entry;
    if (!entry)
        return;
    remember_entry(cpu->engine, env, pc, entry);
    jumps_note(cpu, pc, global);
}

/* The region's entry, or NULL, with in_code set. Called with the lock held; lets it go. */
static const u8 *enter_and_unlock(struct engine *en, struct engine_cpu *ec, const struct jit_region *r)
{
    safepoint(en, ec);
    const u8 *entry = r ? region_entry(&en->cache, r) : NULL;
    atomic_store(&ec->seen, en->cache.epoch);
    atomic_store(&ec->in_code, entry != NULL);
    pthread_mutex_unlock(&en->lock);
    return entry;
}

/* The region that was left apart so often is made again, with copies, which cost less than to leave. `at`: of pc. */
static void give_copies(struct engine *en, struct engine_cpu *ec, u64 pc, const struct code_at *at)
{
    const u64 often = ec->often_apart;
    const struct code_at its = {at->phys + (often - pc), at->page};
    ec->often_apart = 0;
    if ((often ^ pc) >> IR_PAGE_BITS) /* another region was left since */
        return;
    const struct jit_region *r = cache_find(&en->cache, often, ec->vcpu->env->key, its.phys);
    if (r && !r->tier && r->left_apart >= OFTEN_APART)
        engine_translate(en, ec->vcpu, often, &its, IR_SHARE_OR_COPY);
}

/* The same as find_entry() for code whose accesses are apart, this time. */
static const u8 *find_apart(struct engine *en, struct engine_cpu *ec, u64 pc)
{
    struct code_at at;
    bool global;
    if (!engine_find_code(ec->vcpu, pc, &at, &global))
        return NULL;
    engine_count(ec->vcpu, EVENT_APART);
    lock_when_allowed(en, ec);
    if (ec->often_apart)
        give_copies(en, ec, pc, &at);
    struct jit_region *r = cache_find(&en->cache, pc, ec->vcpu->env->key | JIT_KEY_APART, at.phys);
    if (!r)
        r = engine_translate(en, ec->vcpu, pc, &at, IR_APART);
    return enter_and_unlock(en, ec, r);
}

/* Of a machine's code both ends are in one page, and that may have moved since it was left. */
static void make_link(struct engine *en, const u8 *stub, struct jit_region *to)
{
    struct jit_region *from = cache_at(&en->cache, stub);
    struct jit_link *link = from ? region_link_at(&en->cache, from, stub) : NULL;
    if (link && (!en->opts.memory || to->phys == from->phys + (to->pc - from->pc)))
        cache_link(&en->cache, link, to);
}

/* The entry for pc, with in_code set, behind its poll if the vCPU is being watched; NULL when the code cannot be read.
 * `stub`: the exit that led here, to be linked. */
static const u8 *find_entry(struct engine *en, struct engine_cpu *ec, u64 pc, const u8 *stub)
{
    struct ir_env *env = ec->vcpu->env;
    struct code_at at = {0};
    bool global = true;
    if (en->opts.memory && !engine_find_code(ec->vcpu, pc, &at, &global))
        return NULL;
    const u8 *known = en->opts.memory && !stub && !ec->watched ? known_entry(en, ec, pc, at.phys, global) : NULL;
    if (known)
        return known;
    engine_count(ec->vcpu, EVENT_LOOKUP);
    lock_when_allowed(en, ec);
    u64 epoch = atomic_load(&ec->seen);
    struct jit_region *r = cache_find(&en->cache, pc, env->key, at.phys);
    if (!r)
        r = engine_translate(en, ec->vcpu, pc, &at, en->opts.kind == ENGINE_JIT ? IR_SHARE : IR_SHARE_OR_COPY);
    if (r && stub && epoch == en->cache.epoch && !(en->opts.without >> IR_PASS_LINK & 1))
        make_link(en, stub, r);
    const u8 *entry = enter_and_unlock(en, ec, r);
    const u8 *body = entry && ec->watched ? region_body(&en->cache, r) : entry;
    if (!entry || en->opts.kind != ENGINE_JIT)
        return body; /* in lockstep all exits leave */
    remember_entry(en, env, pc, entry);
    ec->no_jumps = false;
    if (en->opts.memory) {
        jumps_note(ec->vcpu, pc, global);
        jumps_know(ec->vcpu, pc, at.phys, entry);
    }
    return body;
}

/* The same without the lock when the inline table knows. */
static const u8 *quick_entry(struct engine *en, struct engine_cpu *ec, u64 pc)
{
    struct ir_env *env = ec->vcpu->env;
    const struct ir_jump *j = engine_jump(en, env, pc);
    if (__atomic_load_n(&j->pc, __ATOMIC_RELAXED) != pc)
        return NULL;
    return enter_quickly(ec, (const u8 *)(uintptr_t)j->host);
}

/* Set the pc where compiled code does not, to save room: it was left by a call, from there. */
static void settle_pc(struct vcpu *cpu, const u8 *left)
{
    struct ir_env *env = cpu->env;
    if (env->exit >= HOST_EXIT_LINK)
        vcpu_set_pc(cpu, cache_left(&cpu->engine->cache, env->exit, left));
    if (env->exit == HOST_EXIT_REQUEST)
        env->exit = IR_EXIT_REQUEST;
}

static void run_unlinked(struct vcpu *cpu, const u8 *entry)
{
    struct engine *en = cpu->engine;
    engine_cpu_flush(en, engine_cpu(cpu)); /* indirect exits leave, too */
    const u8 *left = en->host->enter(&en->host_cpu, cpu->env, entry);
    settle_pc(cpu, left);
    if (cpu->env->exit == HOST_EXIT_LINK)
        cpu->env->exit = IR_EXIT_LOOKUP;
    atomic_store(&engine_cpu(cpu)->in_code, false);
}

bool jit_step(struct vcpu *cpu)
{
    const u8 *entry = find_entry(cpu->engine, engine_cpu(cpu), vcpu_pc(cpu), NULL);
    if (entry)
        run_unlinked(cpu, entry);
    return entry != NULL;
}

void jit_run_region(struct vcpu *cpu, const struct jit_region *r)
{
    struct engine *en = cpu->engine;
    struct engine_cpu *ec = engine_cpu(cpu);
    safepoint(en, ec);
    const u8 *entry = region_body(&en->cache, r);
    atomic_store(&ec->seen, en->cache.epoch);
    atomic_store(&ec->in_code, true);
    pthread_mutex_unlock(&en->lock);
    run_unlinked(cpu, entry);
}

void jit_run(struct vcpu *cpu, struct vcpu_exit *exit)
{
    struct engine *en = cpu->engine;
    struct engine_cpu *ec = engine_cpu(cpu);
    struct ir_env *env = cpu->env;
    const u8 *stub = NULL;
    bool apart = false;
    for (;;) {
        u64 pc = vcpu_pc(cpu);
        if (log_on(LOG_EXEC))
            log_print(LOG_EXEC, "exec: %016" PRIx64 "\n", pc);
        const u8 *entry = stub || apart || ec->watched ? NULL : quick_entry(en, ec, pc);
        if (!entry && cold_takes(cpu, pc)) {
            stub = NULL;
            apart = false;
            if (cold_run(cpu, exit))
                continue;
            return;
        }
        if (!entry)
            entry = apart ? find_apart(en, ec, pc) : find_entry(en, ec, pc, stub);
        if (!entry) {
            engine_fetch_fault(cpu, exit);
            return;
        }
        engine_count(cpu, EVENT_ENTRY);
        const u8 *left = en->host->enter(&en->host_cpu, env, entry);
        settle_pc(cpu, left);
        stub = env->exit == HOST_EXIT_LINK ? left : NULL;
        apart = env->exit == IR_EXIT_APART;
        atomic_store(&ec->in_code, false);
        if (env->exit == HOST_EXIT_HOT)
            hot_entry(cpu);
        else if (env->exit != HOST_EXIT_LINK && !engine_exit(cpu, exit))
            return;
        /* engine_exit() may have asked for a flush: the stub is then gone */
    }
}

void jit_machine_run(struct vcpu *cpu, struct vcpu_exit *exit)
{
    struct engine_cpu *ec = engine_cpu(cpu);
    engine_count(cpu, EVENT_EXIT);
    atomic_store(&ec->in_guest, true);
    flush_service(cpu);
    (cpu->engine->opts.kind == ENGINE_LOCKSTEP ? lockstep_run : jit_run)(cpu, exit);
    atomic_store(&ec->in_guest, false);
    machine_fill_fault(cpu, exit);
}

/* ---- faults ---- */

static struct jit_region *leave(struct ir_env *env)
{
    struct vcpu *cpu = env->cpu;
    struct engine *en = cpu->engine;
    struct host_context room;
    const void *context = en->host->call_context(env, &room);
    const u8 *pc = en->host->context_pc(context);
    struct jit_region *r = cache_at(&en->cache, pc);
    struct jit_fault f;
    region_fault_at(&en->cache, r, pc, &f);
    env->mmu.failed = true;
    engine_cpu(cpu)->polled_in_hot = f.what == HOST_LEAVE_POLL && __atomic_load_n(&r->tier, __ATOMIC_RELAXED);
    region_leave(en->host, env, &f, NULL, context);
    region_recover(en->host, &en->host_cpu, env, r, &f, context);
    return r;
}

void jit_leave(struct ir_env *env)
{
    leave(env);
}

void jit_poll(struct ir_env *env)
{
    struct engine_cpu *ec = engine_cpu(env->cpu);
    env->mmu.failed = ec->polls <= 1;
    if (env->mmu.failed)
        leave(env);
    else
        ec->polls--;
}

void jit_leave_apart(struct ir_env *env)
{
    struct jit_region *r = leave(env);
    u8 times = atomic_load_explicit(&r->left_apart, memory_order_relaxed);
    env->exit = IR_EXIT_APART;
    if (times < OFTEN_APART)
        atomic_store_explicit(&r->left_apart, times + 1, memory_order_relaxed);
    else if (!r->tier)
        engine_cpu(env->cpu)->often_apart = r->pc;
}

bool engine_host_signal(struct vcpu *cpu, int sig, void *siginfo, void *context)
{
    struct engine *en = cpu->engine;
    struct engine_cpu *ec = engine_cpu(cpu);
    const siginfo_t *info = siginfo;
    const u8 *pc = en->host->context_pc(context);
    if (en->opts.kind == ENGINE_INTERP || !cache_contains(&en->cache, pc))
        return false;
    if (sig == SIGSEGV && (u64)info->si_addr - (u64)ec->stack < STACK_SIZE + 2 * STACK_GUARD) {
        /* Calls nested too deep for the prediction stack: start it again, predictions only. */
        en->host->context_reset_stack(context, stack_base(ec));
        return true;
    }
    const struct jit_region *r = cache_at(&en->cache, pc);
    if (sig == SIGFPE) {
        if (r)
            engine_count_fp_trap(en, ec, region_fp_pc(&en->cache, r, pc));
        return en->host->fp_trap(cpu->env, context);
    }
    struct jit_fault f;
    if (!r || !region_fault_at(&en->cache, r, pc, &f))
        return false;
    if (f.what == HOST_LEAVE_POLL && ec->polls > 1) {
        ec->polls--;
        en->host->context_pass(context);
        return true;
    }
    region_leave(en->host, cpu->env, &f, info, context);
    ec->fault.sig = info->si_signo;
    ec->fault.sicode = info->si_code;
    ec->polled_in_hot = f.what == HOST_LEAVE_POLL && __atomic_load_n(&r->tier, __ATOMIC_RELAXED);
    region_recover(en->host, &en->host_cpu, cpu->env, r, &f, context);
    en->host->context_abandon(&en->host_cpu, context);
    return true;
}
