/* Between records and the guest's state. */
#include "runner.h"

#include <string.h>

#include "isa/aarch64/state.h"

void state_from_record(struct ir_env *env, const struct record *r)
{
    struct a64_state *a = a64_state(env);
    memcpy(a->x, r->x, sizeof(a->x));
    memcpy(a->v, r->v, sizeof(a->v));
    a->sp = r->sp;
    a->pc = RECORD_PC;
    a->tpidr_el0 = r->tpidr;
    a->dit_ssbs = 0;
    a->nzcv = (struct ir_flags){.kind = IR_FLK_BITS, .a = r->nzcv >> 28};
    a64_set_fpcr(env, r->fpcr);
    a64_set_fpsr(env, r->fpsr);
    env->excl.size = 0;
}

void state_to_record(struct ir_env *env, struct record *r)
{
    const struct a64_state *a = a64_state(env);
    memcpy(r->x, a->x, sizeof(a->x));
    memcpy(r->v, a->v, sizeof(a->v));
    r->sp = a->sp;
    r->pc = a->pc;
    r->tpidr = a->tpidr_el0;
    r->nzcv = ir_flags_eval((const u8 *)a, &a->nzcv) << 28;
    r->fpcr = a->fpcr;
    r->fpsr = a64_get_fpsr(env);
}
