/* From guest code to IR, one basic block at a time. */
#include "isa/riscv/lift.h"

#include <string.h>

#include "base/bits.h"
#include "base/log.h"

#define LEAF_BYTES 64 /* of a function that is inlined, at most */

unsigned rv_id(const struct lift *l, u32 insn)
{
    return rv_decode_id(insn, ((const struct rv_model *)l->model)->features);
}

unsigned rv_fetch(const u8 *code, size_t len, u32 *insn)
{
    u16 first = 0;
    memcpy(&first, code, MIN(len, sizeof(first)));
    unsigned bytes = rv_insn_bytes(first);
    *insn = first;
    if (len < bytes)
        return 0;
    if (bytes == 4)
        memcpy(insn, code, 4);
    return bytes;
}

static void log_undefined(struct lift *l, u32 insn)
{
    u64 all = ~(1ull << (xlen(l) == 32 ? RV_RV64 : RV_RV32));
    char text[64];
    rv_disas(insn, all, l->pc, text, sizeof(text));
    log_print(LOG_UNIMP, "riscv: %#llx: %08x %s (%s) is undefined\n", (unsigned long long)l->pc, insn, text,
              rv_insns[rv_decode_id(insn, all)].name);
}

/* For lift_block(). */
static bool lift_one(struct lift *l)
{
    u64 at = l->pc - l->start;
    u32 insn;
    unsigned bytes = at < l->code_len ? rv_fetch(l->code + at, l->code_len - at, &insn) : 0;
    if (!bytes)
        return false;
    lift_insn_start(l, bytes);
    if (rv_lift_id(l, insn, rv_id(l, insn)))
        return true;
    if (log_on(LOG_UNIMP))
        log_undefined(l, insn);
    lift_undefined(l, insn);
    return true;
}

/* Without C, instructions are aligned to 4 bytes (vol. I, 1.5). */
void rv_lift_block(struct lift *l)
{
    if (l->b->block == UINT32_MAX)
        ir_block_start(l->b);
    l->ended = false;
    if (l->pc & 1 || (l->pc & 2 && !has_feature(l, RV_C))) {
        ir_raise(l->b, ISA_RAISE_PC_ALIGN, ir_const(l->b, IR_I64, l->pc), l->pc);
        l->ended = true;
        l->pc += 2; /* the block has a length all the same */
    }
    lift_block(l, lift_one);
}

/* jal ra, or auipc ra with jalr ra behind it, which goes farther. */
u64 rv_call_before(struct lift *l, u64 back)
{
    u32 code[2];
    if (l->peek(l, back - 8, code, sizeof(code)) < sizeof(code))
        return 0;
    s64 upper = (s32)(code[0] & ~0xfffu), lower = (s32)code[1] >> 20;
    u32 imm = bits32(code[1], 31, 1) << 20 | bits32(code[1], 12, 8) << 12 | bits32(code[1], 20, 1) << 11 |
              bits32(code[1], 21, 10) << 1;
    if ((code[1] & 0xfff) == 0x0ef)
        return back - 4 + (u64)sext64(imm, 21);
    bool far = (code[0] & 0xfff) == 0x097 && (code[1] & 0xfffff) == 0x080e7;
    return far ? (back - 8 + (u64)(upper + lower)) & ~1ull : 0;
}

/* May the instruction write the register ra? Fields of what does not write one say nothing. */
static bool may_write_ra(u32 insn, const struct insn *e)
{
    if (e->effects & INSN_STORES && !(e->effects & INSN_LOADS))
        return false;
    return bits32(insn, 7, 5) == 1; /* also of those with 16 bits: others write x8 to x15 */
}

/* Straight code up to a plain return that leaves the link register alone. */
bool rv_is_small_leaf(struct lift *l, u64 pc)
{
    u8 code[LEAF_BYTES];
    size_t n = l->peek(l, pc, code, sizeof(code));
    u32 insn;
    for (size_t at = 0, bytes; at < n && (bytes = rv_fetch(code + at, n - at, &insn)); at += bytes) {
        const struct insn *e = &rv_insns[rv_id(l, insn)];
        if (insn == 0x8067 || insn == 0x8082) /* ret, c.jr ra */
            return true;
        if (!e->id || e->effects & (INSN_TODO | INSN_ENDS_BLOCK) || may_write_ra(insn, e))
            return false;
    }
    return false;
}
