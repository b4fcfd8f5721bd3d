#include "jit/ir/fl.h"

#include "jit/ir/eval.h"

static u32 eval_simple(unsigned kind, u64 a, u64 b)
{
    switch (kind) {
    case IR_FLK_ADD32:
        return ir_fl_adc(a, b, 0, 32);
    case IR_FLK_ADD64:
        return ir_fl_adc(a, b, 0, 64);
    case IR_FLK_SUB32:
        return ir_fl_sub(a, b, 32);
    case IR_FLK_SUB64:
        return ir_fl_sub(a, b, 64);
    case IR_FLK_LOGIC32:
        return ir_fl_logic(a, 32);
    case IR_FLK_LOGIC64:
        return ir_fl_logic(a, 64);
    case IR_FLK_FCMP32:
        return ir_fl_compare(a, b, false);
    case IR_FLK_FCMP64:
        return ir_fl_compare(a, b, true);
    default:
        return (u32)a & 15;
    }
}

static u32 eval_site(const u8 *slots, u32 site)
{
    u64 a, b;
    u32 field = site >> 5 & 0x1fff;
    __builtin_memcpy(&a, slots + (site >> 18 & 0xff) * 8, sizeof(a));
    if (site & IR_SITE_SLOT)
        __builtin_memcpy(&b, slots + field * 8, sizeof(b));
    else
        b = ir_fl_site_imm(field);
    if ((site & 31) == IR_FL_A_PLUS_B)
        a += b;
    else if ((site & 31) == IR_FL_A_MINUS_B)
        a -= b;
    return eval_simple(site >> 26 & 15, a, b);
}

u32 ir_flags_eval(const u8 *slots, const struct ir_flags *f)
{
    u32 kind = (u32)f->kind;
    if (kind & IR_SITE)
        return eval_site(slots, kind);
    if (kind & IR_FL_CHOICE &&
        !ir_eval_icond((enum ir_icond)(kind >> 5 & 15), kind >> 9 & 1 ? 64 : 32, f->c, f->d))
        return kind >> 10 & 15;
    return eval_simple(kind & 15, f->a, f->b);
}

static void add_to_slot(u8 *slots, u32 offset, u64 k)
{
    u64 value;
    __builtin_memcpy(&value, slots + offset, sizeof(value));
    value += k;
    __builtin_memcpy(slots + offset, &value, sizeof(value));
}

void ir_flags_step_back(u8 *slots, struct ir_flags *f, const struct ir_step *step, unsigned count)
{
    if (!((u32)f->kind & IR_SITE))
        return;
    for (unsigned i = 0; i < count; i++)
        add_to_slot(slots, step[i].offset, 0 - (u64)step[i].by);
    *f = (struct ir_flags){.kind = IR_FLK_BITS, .a = ir_flags_eval(slots, f)};
    for (unsigned i = 0; i < count; i++)
        add_to_slot(slots, step[i].offset, (u64)step[i].by);
}
