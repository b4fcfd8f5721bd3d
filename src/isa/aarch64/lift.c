/* From guest code to IR, one basic block at a time. */
#include "isa/aarch64/lift.h"

#include <string.h>

#include "base/bits.h"
#include "base/log.h"

/* The instruction at l->pc; returns false if it is undefined on this CPU. */
static bool lift_insn(struct lift *l, u32 insn)
{
    unsigned id = a64_decode_id(insn);
    const struct insn *e = &a64_insns[id];
    if (id && has_feature(l, e->feature) && a64_lift_id(l, insn, id))
        return true;
    if (log_on(LOG_UNIMP) && id && id != A64_UDF) {
        char text[64];
        a64_disas(insn, l->pc, text, sizeof(text));
        log_print(LOG_UNIMP, "aarch64: %#llx: %08x %s (%s, %s) is undefined\n",
                  (unsigned long long)l->pc, insn, text, e->name,
                  !has_feature(l, e->feature) ? a64_feature_names[e->feature]
                  : e->effects & INSN_TODO     ? "to be done"
                                              : "at EL0");
    }
    return false;
}

bool a64_is_landing(u32 insn, enum a64_btype type, bool strict)
{
    switch (a64_decode_id(insn)) {
    case A64_BTI: { /* two bits say what is allowed: 1 calls, 2 jumps */
        unsigned allowed = bits32(insn, 6, 2);
        return type == A64_BTYPE_TAIL ? allowed : allowed & (type == A64_BTYPE_CALL ? 1 : 2);
    }
    case A64_PACIASP:
    case A64_PACIBSP:
        return type != A64_BTYPE_JUMP || !strict;
    default:
        return a64_decode_id(insn) == A64_BRK;
    }
}

/* Behind an indirect branch, the low bits of l->pc being its type: the rest of the block is another
 * region. Linux has what signs a return address refuse jumps. */
static void lift_landing(struct lift *l)
{
    u64 from = l->pc, to = from & ~3ull;
    u32 insn;
    bool seen = l->peek(l, to, &insn, 4) == 4, strict = !for_machine(l) || l->key & A64_KEY_BT;
    bool lands = seen && a64_is_landing(insn, (enum a64_btype)(from & 3), strict);
    if (for_machine(l) && !lands) {
        irv pc = ir_const(l->b, IR_I64, from);
        ir_chkalign(l->b, ir_helper(l->b, A64_HELPER_LANDS, IR_I64, pc, 0, 0), 2);
    }
    if (!for_machine(l) && seen && !lands && l->guarded(l, to))
        ir_raise(l->b, ISA_RAISE_UNDEFINED, ir_const(l->b, IR_I64, insn), from);
    else
        ir_exit(l->b, to);
    l->ended = true;
    l->pc = to + 4;
}

/* For lift_block(). */
static bool lift_one(struct lift *l)
{
    const u8 *code = lift_bytes(l, 4);
    u32 insn;
    if (!code)
        return false;
    memcpy(&insn, code, 4);
    lift_insn_start(l, 4);
    if (for_machine(l) && !a64_lift_prepare(l, insn))
        a64_lift_in_c(l);
    else if (!lift_insn(l, insn))
        lift_undefined(l, insn);
    return true;
}

void a64_lift_block(struct lift *l)
{
    struct ir_builder *b = l->b;
    if (b->block == UINT32_MAX)
        ir_block_start(b);
    b->r->soft_fp = l->key & A64_FPCR_KEY;
    b->r->tiny = l->key & A64_KEY_TINY;
    l->ended = false;
    if (l->pc & 3 && l->guarded) {
        lift_landing(l);
    } else if (l->pc & 3) {
        ir_raise(b, ISA_RAISE_PC_ALIGN, ir_const(b, IR_I64, l->pc), l->pc);
        l->ended = true;
        l->pc += 4; /* the block has a length all the same */
    }
    lift_block(l, lift_one);
}
