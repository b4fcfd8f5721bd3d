/* Running translated code: the loop around it, safepoints, the way back from faults. */
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "accel/engine_impl.h"
#include "base/log.h"
#include "base/mem.h"
#include "jit/ir/fl.h"

#define STACK_SIZE  65536
#define STACK_GUARD 4096

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
    struct ir_env *env = ec->vcpu->env;
    ir_jumps_clear(env->jumps);
    reset_stack(en, ec);
}

/* ---- the loop ---- */

static struct ir_jump *jump_slot(const struct engine *en, struct ir_env *env, u64 pc)
{
    return &env->jumps[pc >> en->isa->insn_align & ((1 << IR_JUMP_BITS) - 1)];
}

/* Safepoint: no generated code is running, and none will be entered by an address from before. */
static void safepoint(struct engine *en, struct engine_cpu *ec)
{
    struct ir_env *env = ec->vcpu->env;
    if (atomic_load(&env->request) & REQUEST_FLUSH) {
        atomic_fetch_and(&env->request, ~(u32)REQUEST_FLUSH);
        engine_cpu_flush(en, ec);
    }
}

/* The entry for pc, with in_code set; NULL when the code cannot be read. `stub`: the exit that led
 * here, to be linked. */
static const u8 *find_entry(struct engine *en, struct engine_cpu *ec, u64 pc, const u8 *stub)
{
    struct ir_env *env = ec->vcpu->env;
    pthread_mutex_lock(&en->lock);
    u64 epoch = atomic_load(&ec->seen);
    struct jit_region *r = cache_find(&en->cache, pc, env->key);
    if (!r)
        r = engine_translate(en, ec->vcpu, pc);
    if (r && stub && epoch == en->cache.epoch) {
        struct jit_region *from = cache_at(&en->cache, stub);
        struct jit_link *link = from ? region_link_at(&en->cache, from, stub) : NULL;
        if (link)
            cache_link(&en->cache, link, r);
    }
    safepoint(en, ec);
    const u8 *entry = r ? region_entry(&en->cache, r) : NULL;
    atomic_store(&ec->seen, en->cache.epoch);
    atomic_store(&ec->in_code, entry != NULL);
    pthread_mutex_unlock(&en->lock);
    if (entry)
        *jump_slot(en, env, pc) = (struct ir_jump){pc, (u64)entry};
    return entry;
}

/* The same without the lock when the inline table knows. */
static const u8 *quick_entry(struct engine *en, struct engine_cpu *ec, u64 pc)
{
    struct ir_env *env = ec->vcpu->env;
    const struct ir_jump *j = jump_slot(en, env, pc);
    if (j->pc != pc)
        return NULL;
    atomic_store(&ec->in_code, true);
    if (!(atomic_load(&env->request) & REQUEST_FLUSH))
        return (const u8 *)(uintptr_t)j->host;
    atomic_store(&ec->in_code, false);
    return NULL;
}

bool jit_step(struct vcpu *cpu)
{
    struct engine *en = cpu->engine;
    struct engine_cpu *ec = engine_cpu(cpu);
    const u8 *entry = find_entry(en, ec, vcpu_pc(cpu), NULL);
    if (!entry)
        return false;
    ir_jumps_clear(cpu->env->jumps); /* indirect exits leave, too */
    const u8 *left = en->host->enter(&en->host_cpu, cpu->env, entry);
    if (cpu->env->exit == HOST_EXIT_LINK) {
        vcpu_set_pc(cpu, en->host->stub_pc(left));
        cpu->env->exit = IR_EXIT_LOOKUP;
    }
    atomic_store(&ec->in_code, false);
    return true;
}

void jit_run(struct vcpu *cpu, struct vcpu_exit *exit)
{
    struct engine *en = cpu->engine;
    struct engine_cpu *ec = engine_cpu(cpu);
    struct ir_env *env = cpu->env;
    const u8 *stub = NULL;
    for (;;) {
        u64 pc = vcpu_pc(cpu);
        const u8 *entry = stub ? NULL : quick_entry(en, ec, pc);
        if (!entry)
            entry = find_entry(en, ec, pc, stub);
        if (!entry) {
            engine_fetch_fault(cpu, exit);
            return;
        }
        if (log_on(LOG_EXEC))
            log_print(LOG_EXEC, "exec: %016" PRIx64 "\n", pc);
        const u8 *left = en->host->enter(&en->host_cpu, env, entry);
        stub = NULL;
        if (env->exit == HOST_EXIT_LINK) {
            vcpu_set_pc(cpu, en->host->stub_pc(left));
            stub = left;
        }
        atomic_store(&ec->in_code, false);
        if (env->exit != HOST_EXIT_LINK && !engine_exit(cpu, exit))
            return;
        /* engine_exit() may have asked for a flush: the stub is then gone */
    }
}

/* ---- faults ---- */

static u64 read_place(const struct engine *en, const struct ir_env *env, const void *context,
                      u8 place, u16 index, u64 imm, v128 *out)
{
    *out = (v128){0};
    switch (place) {
    case RA_IN_REG:
        en->host->context_reg(context, index, out);
        break;
    case RA_IN_SLOT:
        ir_slot_load(&en->isa->slots.slot[index], env, out);
        break;
    case RA_IN_SPILL:
        *out = env->spill[index];
        break;
    default:
        out->d[0] = imm;
        break;
    }
    return out->d[0];
}

void jit_recover(const struct engine *en, struct ir_env *env, const struct jit_region *r,
                 const struct jit_fault *f, const void *context)
{
    struct {
        u8 slot;
        struct ir_flags flags; /* recipe, for slots of type fl */
        v128 value;
    } list[IR_MAX_SLOTS];
    const struct ir_slots *slots = &en->isa->slots;
    struct jit_where w;
    unsigned n = 0;
    for (const u8 *p = r->where + f->where; (p = where_next(p, &w)); n++) {
        list[n].slot = w.slot;
        if (w.place == RA_IN_FL) {
            v128 v;
            list[n].flags.kind = w.kind;
            list[n].flags.a = read_place(en, env, context, w.arg[0].place, w.arg[0].index,
                                         w.arg[0].imm, &v);
            list[n].flags.b = read_place(en, env, context, w.arg[1].place, w.arg[1].index,
                                         w.arg[1].imm, &v);
        } else {
            read_place(en, env, context, w.place, w.index, w.imm, &list[n].value);
            if (w.place == RA_IN_IMM && slots->slot[w.slot].type == IR_V128)
                list[n].value.d[1] = w.imm; /* vector constants are splats */
            list[n].flags = (struct ir_flags){IR_FLK_BITS, list[n].value.d[0] & 15, 0};
        }
    }
    for (unsigned s = 0; s < slots->count; s++) { /* pinned slots are at home unless listed */
        unsigned class = ra_class_of_type(slots->slot[s].type);
        v128 value;
        if (slots->slot[s].pin < 0 || slots->slot[s].pin >= en->host_cpu.ra.npins[class])
            continue;
        en->host->context_reg(context, en->host_cpu.ra.pin[class][slots->slot[s].pin], &value);
        ir_slot_store(&slots->slot[s], env, &value);
    }
    for (unsigned i = 0; i < n; i++) {
        const struct ir_slot *slot = &slots->slot[list[i].slot];
        if (slot->type == IR_FL)
            memcpy(env->slots + slot->offset, &list[i].flags, sizeof(struct ir_flags));
        else
            ir_slot_store(slot, env, &list[i].value);
    }
    v128 pc = {.d = {r->pc + (u64)(s64)f->pc}};
    ir_slot_store(&slots->slot[slots->pc], env, &pc);
}

/* The guest address of an access. The kernel gives none for non-canonical addresses. */
static u64 fault_address(const struct engine *en, const struct jit_fault *f, const siginfo_t *info,
                         const void *context)
{
    v128 v;
    if (info->si_signo == SIGSEGV && info->si_code > 0 && info->si_code != SI_KERNEL)
        return (u64)info->si_addr;
    if (info->si_signo == SIGBUS && info->si_addr)
        return (u64)info->si_addr;
    u64 addr = (u64)(s64)f->disp;
    if (f->base != 0xff) {
        en->host->context_reg(context, f->base, &v);
        addr += v.d[0];
    }
    if (f->index != 0xff) {
        en->host->context_reg(context, f->index, &v);
        addr += v.d[0] << f->scale;
    }
    return addr;
}

static void leave_by_fault(struct engine *en, struct engine_cpu *ec, const struct jit_fault *f,
                           const siginfo_t *info, const void *context)
{
    struct ir_env *env = ec->vcpu->env;
    v128 v;
    switch (f->what) {
    case HOST_LEAVE_ALIGN:
        env->exit = IR_EXIT_RAISE;
        env->exit_code = IR_RAISE_UNALIGNED;
        en->host->context_reg(context, f->base, &v);
        env->exit_arg = v.d[0];
        break;
    case HOST_LEAVE_POLL:
        env->exit = IR_EXIT_REQUEST;
        break;
    default:
        env->exit = IR_EXIT_FAULT;
        env->exit_code = f->write ? IR_ACCESS_WRITE : IR_ACCESS_READ;
        env->exit_addr = fault_address(en, f, info, context);
        ec->fault.sig = info->si_signo;
        ec->fault.sicode = info->si_code;
        break;
    }
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
    if (sig == SIGFPE)
        return en->host->fp_trap(cpu->env, context);
    const struct jit_region *r = cache_at(&en->cache, pc);
    const struct jit_fault *f = r ? region_fault_at(&en->cache, r, pc) : NULL;
    if (!f)
        return false;
    leave_by_fault(en, ec, f, info, context);
    jit_recover(en, cpu->env, r, f, context);
    en->host->context_abandon(&en->host_cpu, context);
    return true;
}
