/* Pointer authentication (FEAT_PAuth). Addresses have 48 bits and, as Linux sets things up, a tag in their
 * top byte, so that the code is in bits 54..48; bit 55 says which half of the address space it is. */
#include "isa/aarch64/lift.h"

enum { CODE_LSB = 48, CODE_BITS = 7 };

/* The algorithm that the model calls its own, quick rather than strong: two rounds of multiplying, with
 * the key's halves and the modifier put in between. */
static irv quick_code(struct lift *l, unsigned key, irv x, irv modifier)
{
    struct ir_builder *b = l->b;
    irv low = ir_get(b, A64_PAUTH_KEY + 2 * key), high = ir_get(b, A64_PAUTH_KEY + 2 * key + 1);
    irv h = ir_mul(b, IR_I64, ir_xor(b, IR_I64, x, low), ir_const(b, IR_I64, 0x9e3779b97f4a7c15));
    h = ir_xor(b, IR_I64, h, ir_shr(b, IR_I64, h, ir_const(b, IR_I64, 32)));
    h = ir_xor(b, IR_I64, ir_add(b, IR_I64, h, modifier), high);
    h = ir_mul(b, IR_I64, h, ir_const(b, IR_I64, 0xbf58476d1ce4e5b9));
    /* the best bits are the upper ones */
    return ir_xor(b, IR_I64, h, ir_shr(b, IR_I64, h, ir_const(b, IR_I64, 9)));
}

static irv code_of(struct lift *l, unsigned key, irv x, irv modifier)
{
    const struct a64_model *m = l->model;
    if (m->qarma)
        return ir_helper(l->b, A64_HELPER_PAUTH, IR_I64, x, modifier, ir_const(l->b, IR_I64, key));
    return quick_code(l, key, x, modifier);
}

/* The address without a code. */
static irv strip(struct lift *l, irv x)
{
    return ir_bfi(l->b, IR_I64, x, ir_sbfx(l->b, IR_I64, x, 55, 1), CODE_LSB, CODE_BITS);
}

/* SCTLR_EL1 switches each key of addresses for EL1 and EL0. */
static bool is_enabled(const struct lift *l, unsigned key)
{
    return !for_machine(l) || l->key >> (A64_KEY_PAUTH_LSB + key) & 1;
}

/* What was no address gets a code that will not be accepted. */
static irv sign(struct lift *l, unsigned key, irv x, irv modifier)
{
    struct ir_builder *b = l->b;
    if (!is_enabled(l, key))
        return x;
    irv plain = strip(l, x), code = code_of(l, key, plain, modifier);
    irv spoil = ir_select(b, IR_I64, ir_icmp(b, IR_NE, 64, plain, x),
                          ir_const(b, IR_I64, 1ull << 54), ir_const(b, IR_I64, 0));
    code = ir_xor(b, IR_I64, code, spoil);
    return ir_bfi(b, IR_I64, x, ir_shr(b, IR_I64, code, ir_const(b, IR_I64, CODE_LSB)), CODE_LSB,
                  CODE_BITS);
}

/* The plain address, or one that faults when it is used: bits 54..53 name the kind of key. */
static irv authenticate(struct lift *l, unsigned key, irv x, irv modifier)
{
    struct ir_builder *b = l->b;
    if (!is_enabled(l, key))
        return x;
    irv plain = strip(l, x), code = code_of(l, key, plain, modifier);
    irv bad = ir_bfi(b, IR_I64, plain, ir_const(b, IR_I64, key & 1 ? 2 : 1), 53, 2);
    irv good = ir_icmp(b, IR_EQ, 64, ir_ubfx(b, IR_I64, code, CODE_LSB, CODE_BITS),
                       ir_ubfx(b, IR_I64, x, CODE_LSB, CODE_BITS));
    return ir_select(b, IR_I64, good, plain, bad);
}

/* z: the key in bits 1..0, authenticate (4), without modifier (8); 16 and up only strip. */
bool a64_lift_pauth(struct lift *l, const struct a64_pauth *f)
{
    irv x = reg(l, f->rd);
    if (f->z & 16) {
        put_reg(l, f->rd, strip(l, x));
        return true;
    }
    irv modifier = f->z & 8 ? ir_const(l->b, IR_I64, 0) : reg_sp(l, f->rn);
    unsigned key = f->z & 3;
    put_reg(l, f->rd, f->z & 4 ? authenticate(l, key, x, modifier) : sign(l, key, x, modifier));
    return true;
}

/* The generic code is 32 bits. */
bool a64_lift_pacga(struct lift *l, const struct a64_dp_2src *f)
{
    irv code = code_of(l, A64_KEY_GA, reg(l, f->rn), reg_sp(l, f->rm));
    put_reg(l, f->rd, ir_and(l->b, IR_I64, code, ir_const(l->b, IR_I64, 0xffffffff00000000)));
    return true;
}

/* imm7: x30 rather than x17 (16), authenticate (4), key B (2), and for x30 the stack pointer as modifier
 * (1). No effect on CPUs without the feature. */
bool a64_lift_pauth_hint(struct lift *l, const struct a64_hint *f)
{
    if (!has_feature(l, A64_FEAT_PAuth))
        return true;
    unsigned imm = (unsigned)f->imm7, rd = imm & 16 ? 30 : 17;
    unsigned key = imm & 2 ? A64_KEY_IB : A64_KEY_IA;
    irv x = reg(l, rd);
    irv modifier = !(imm & 16) ? reg(l, 16) : imm & 1 ? reg_sp(l, 31) : ir_const(l->b, IR_I64, 0);
    put_reg(l, rd, imm & 4 ? authenticate(l, key, x, modifier) : sign(l, key, x, modifier));
    return true;
}

bool a64_lift_pauth_strip_link(struct lift *l, const struct a64_hint *f)
{
    if (has_feature(l, A64_FEAT_PAuth))
        put_reg(l, 30, strip(l, reg(l, 30)));
    return true;
}

/* z: with a modifier; m: key B; opc: branch, call, return. */
bool a64_lift_b_reg_pauth(struct lift *l, const struct a64_b_reg_pauth *f)
{
    bool ret = f->opc == 2;
    irv modifier = ret    ? reg_sp(l, 31)
                   : f->z ? reg_sp(l, f->rm)
                          : ir_const(l->b, IR_I64, 0);
    irv to = authenticate(l, f->m ? A64_KEY_IB : A64_KEY_IA, reg(l, ret ? 30 : f->rn), modifier);
    if (ret) {
        ir_ret(l->b, a64_return_to(l, to));
    } else if (f->opc == 1) {
        to = a64_branch_to(l, f->rn, true, to);
        put_reg(l, 30, ir_const(l->b, IR_I64, next_pc(l)));
        ir_call_ind(l->b, to, next_pc(l));
    } else {
        ir_exit_ind(l->b, a64_branch_to(l, f->rn, false, to));
    }
    l->ended = true;
    return true;
}

/* EL1 and above only. The register keeps the code. */
bool a64_lift_eret_pauth(struct lift *l, const struct a64_b_reg_pauth *f)
{
    if (!(l->key & A64_KEY_EL1))
        return false;
    irv to = authenticate(l, f->m ? A64_KEY_IB : A64_KEY_IA, ir_get(l->b, A64_ELR_EL1), reg_sp(l, 31));
    ir_helper(l->b, A64_HELPER_RETURN_TO, IR_VOID, to, 0, 0);
    return a64_lift_in_c(l);
}

bool a64_lift_ldra(struct lift *l, const struct a64_ldra *f)
{
    irv base = authenticate(l, f->m ? A64_KEY_DB : A64_KEY_DA, a64_base(l, f->rn),
                            ir_const(l->b, IR_I64, 0));
    irv v = ir_ld(l->b, IR_I64, 3, base, 0, f->imm * 8);
    put_reg(l, f->rt, v);
    if (f->w)
        put_reg_sp(l, f->rn, ir_addi(l->b, IR_I64, base, f->imm * 8));
    return true;
}
