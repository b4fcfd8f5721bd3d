#include "jit/cache/recover.h"

#include <signal.h>
#include <string.h>

#include "jit/ir/fl.h"
#include "jit/ir/interp.h"

struct recovery {
    const struct host *host;
    const struct ir_slots *slots;
    const struct ir_env *env;
    const void *context;
};

static u64 read_place(const struct recovery *rc, u8 place, u16 index, u64 imm, v128 *out)
{
    *out = (v128){0};
    switch (place) {
    case RA_IN_REG:
        rc->host->context_reg(rc->context, index, out);
        break;
    case RA_IN_SLOT:
        ir_slot_load(&rc->slots->slot[index], rc->env, out);
        break;
    case RA_IN_SPILL:
        *out = rc->env->spill[index];
        break;
    default:
        out->d[0] = imm;
        break;
    }
    return out->d[0];
}

static void read_operands(const struct recovery *rc, const struct jit_where *w, struct ir_flags *f)
{
    u64 *const to[IR_RECIPE_ARGS] = {&f->a, &f->b, &f->c, &f->d};
    v128 v;
    for (unsigned i = 0; i < w->nargs; i++)
        *to[i] = read_place(rc, w->arg[i].place, w->arg[i].index, w->arg[i].imm, &v);
}

void region_recover(const struct host *host, const struct host_cpu *cpu, struct ir_env *env,
                    const struct jit_region *r, const struct jit_fault *f, const void *context)
{
    struct {
        u8 slot;
        struct ir_flags flags; /* recipe, for slots of type fl */
        v128 value;
    } list[IR_MAX_SLOTS];
    const struct ir_slots *slots = cpu->slots;
    const struct recovery rc = {host, slots, env, context};
    struct jit_where w;
    struct ir_step step[IR_MAX_SLOTS];
    unsigned n = 0, steps = 0;
    for (const u8 *p = f->where; (p = where_next(p, &w));) {
        if (w.place == RA_STEP) {
            step[steps++] = (struct ir_step){slots->slot[w.slot].offset, (s64)w.imm};
            continue;
        }
        list[n].slot = w.slot;
        if (w.place == RA_IN_FL) {
            list[n].flags = (struct ir_flags){.kind = w.kind};
            read_operands(&rc, &w, &list[n].flags);
        } else {
            read_place(&rc, w.place, w.index, w.imm, &list[n].value);
            if (w.place == RA_IN_IMM && slots->slot[w.slot].type == IR_V128)
                list[n].value.d[1] = w.imm; /* vector constants are splats */
            list[n].flags = (struct ir_flags){.kind = IR_FLK_BITS, .a = list[n].value.d[0] & 15};
        }
        n++;
    }
    for (unsigned s = 0; s < slots->count; s++) { /* pinned slots are at home unless listed */
        unsigned class = ra_class_of_type(slots->slot[s].type);
        v128 value;
        if (slots->slot[s].pin < 0 || slots->slot[s].pin >= cpu->ra.npins[class])
            continue;
        host->context_reg(context, cpu->ra.pin[class][slots->slot[s].pin], &value);
        ir_slot_store(&slots->slot[s], env, &value);
    }
    for (unsigned i = 0; i < n; i++) {
        const struct ir_slot *slot = &slots->slot[list[i].slot];
        if (slot->type == IR_FL)
            memcpy(env->slots + slot->offset, &list[i].flags, sizeof(struct ir_flags));
        else
            ir_slot_store(slot, env, &list[i].value);
    }
    if (steps)
        ir_flags_step_back(env->slots, env_slot(env, slots->slot[slots->flags].offset), step, steps);
    v128 pc = {.d = {r->pc + (u64)(s64)f->pc}};
    ir_slot_store(&slots->slot[slots->pc], env, &pc);
}

/* The guest address of an access. The kernel gives none for non-canonical addresses. */
static u64 fault_address(const struct host *host, const struct jit_fault *f, const siginfo_t *info,
                         const void *context)
{
    v128 v;
    if (info->si_signo == SIGSEGV && info->si_code > 0 && info->si_code != SI_KERNEL)
        return (u64)info->si_addr;
    if (info->si_signo == SIGBUS && info->si_addr)
        return (u64)info->si_addr;
    u64 addr = (u64)(s64)f->disp;
    if (f->base != 0xff) {
        host->context_reg(context, f->base, &v);
        addr += v.d[0];
    }
    if (f->index != 0xff) {
        host->context_reg(context, f->index, &v);
        addr += v.d[0] << f->scale;
    }
    return addr;
}

void region_leave(const struct host *host, struct ir_env *env, const struct jit_fault *f,
                  const void *info, const void *context)
{
    v128 v;
    switch (f->what) {
    case HOST_LEAVE_ALIGN:
        env->exit = IR_EXIT_RAISE;
        env->exit_code = IR_RAISE_UNALIGNED;
        host->context_reg(context, f->base, &v);
        env->exit_arg = v.d[0];
        break;
    case HOST_LEAVE_POLL:
        env->exit = IR_EXIT_REQUEST;
        break;
    case HOST_LEAVE_MMU:
        env->exit = IR_EXIT_FAULT;
        env->exit_code = f->write ? IR_ACCESS_WRITE : IR_ACCESS_READ;
        env->exit_addr = env->mmu.addr;
        break;
    default:
        env->exit = IR_EXIT_FAULT;
        env->exit_code = f->write ? IR_ACCESS_WRITE : IR_ACCESS_READ;
        env->exit_addr = fault_address(host, f, info, context);
        break;
    }
}
