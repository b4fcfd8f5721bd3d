/* Integer data processing. */
#include "isa/aarch64/lift.h"

enum { LSL, LSR, ASR, ROR };

static irv shift(struct lift *l, unsigned type, unsigned kind, irv v, irv amount)
{
    static const u8 op[] = {IR_SHL, IR_SHR, IR_SAR, IR_ROR};
    return ir_emit(l->b, op[kind], type, 0, v, amount, 0, 0);
}

static irv shift_imm(struct lift *l, unsigned type, unsigned kind, irv v, unsigned amount)
{
    return amount ? shift(l, type, kind, v, ir_const(l->b, type, amount)) : v;
}

/* The low byte, halfword, word or all of a register, zero- or sign-extended (option bit 2). */
static irv extend(struct lift *l, unsigned type, irv v, unsigned option)
{
    unsigned bits = 8u << (option & 3), width = type == IR_I64 ? 64 : 32;
    if (bits >= width)
        return v;
    return option & 4 ? ir_sext(l->b, type, v, bits) : ir_ubfx(l->b, type, v, 0, bits);
}

bool a64_lift_adr(struct lift *l, const struct a64_adr *f)
{
    u64 at = f->p ? (l->pc & ~0xfffull) + ((u64)(s64)f->imm << 12) : l->pc + (u64)(s64)f->imm;
    put_reg(l, f->rd, ir_const(l->b, IR_I64, at));
    return true;
}

/* x + y or x - y; with s also the flags, and then register 31 as the destination is zr, not sp. */
static bool add_sub(struct lift *l, unsigned sf, unsigned op, unsigned s, unsigned rd, irv x, irv y)
{
    unsigned type = gpr_type(sf);
    irv r = op ? ir_sub(l->b, type, x, y) : ir_add(l->b, type, x, y);
    if (s) {
        put_flags(l, ir_fl(l->b, op ? IR_FL_SUB : IR_FL_ADD, gpr_width(sf), x, y, 0));
        put_reg(l, rd, as_reg(l, sf, r));
    } else {
        put_reg_sp(l, rd, as_reg(l, sf, r));
    }
    return true;
}

bool a64_lift_addsub_imm(struct lift *l, const struct a64_addsub_imm *f)
{
    irv y = ir_const(l->b, gpr_type(f->sf), (u64)f->imm12 << (f->sh ? 12 : 0));
    return add_sub(l, f->sf, f->op, f->s, f->rd, reg_sp(l, f->rn), y);
}

bool a64_lift_addsub_ext(struct lift *l, const struct a64_addsub_ext *f)
{
    unsigned type = gpr_type(f->sf);
    irv y = shift_imm(l, type, LSL, extend(l, type, reg(l, f->rm), f->option), f->imm3);
    return add_sub(l, f->sf, f->op, f->s, f->rd, reg_sp(l, f->rn), y);
}

bool a64_lift_addsub_shift(struct lift *l, const struct a64_addsub_shift *f)
{
    if (!f->s && f->rd == 31)
        return true; /* no other use of register 31 is the stack pointer here */
    irv y = shift_imm(l, gpr_type(f->sf), f->shift, reg(l, f->rm), f->imm6);
    return add_sub(l, f->sf, f->op, f->s, f->rd, reg(l, f->rn), y);
}

/* Subtraction adds the complement. */
bool a64_lift_addsub_carry(struct lift *l, const struct a64_addsub_carry *f)
{
    unsigned type = gpr_type(f->sf);
    irv x = reg(l, f->rn), y = reg(l, f->rm), carry = ir_cc(l->b, IR_CC_CS, get_flags(l));
    if (f->op)
        y = ir_not(l->b, type, y);
    irv r = ir_adc(l->b, type, x, y, carry);
    if (f->s)
        put_flags(l, ir_fl(l->b, IR_FL_ADC, gpr_width(f->sf), x, y, carry));
    put_reg(l, f->rd, r);
    return true;
}

/* opc: AND, ORR, EOR, ANDS. */
static irv logic(struct lift *l, unsigned sf, unsigned opc, irv x, irv y)
{
    static const u8 op[] = {IR_AND, IR_OR, IR_XOR, IR_AND};
    irv r = as_reg(l, sf, ir_emit(l->b, op[opc], gpr_type(sf), 0, x, y, 0, 0));
    if (opc == 3)
        put_flags(l, ir_fl(l->b, IR_FL_LOGIC, gpr_width(sf), r, 0, 0));
    return r;
}

bool a64_lift_logic_imm(struct lift *l, const struct a64_logic_imm *f)
{
    irv y = ir_const(l->b, gpr_type(f->sf), a64_bitmask(f->n, f->immr, f->imms));
    irv r = logic(l, f->sf, f->opc, reg(l, f->rn), y);
    if (f->opc == 3)
        put_reg(l, f->rd, r);
    else
        put_reg_sp(l, f->rd, r);
    return true;
}

bool a64_lift_logic_shift(struct lift *l, const struct a64_logic_shift *f)
{
    unsigned type = gpr_type(f->sf);
    irv y = shift_imm(l, type, f->shift, reg(l, f->rm), f->imm6);
    if (f->n)
        y = ir_not(l->b, type, y);
    put_reg(l, f->rd, logic(l, f->sf, f->opc, reg(l, f->rn), y));
    return true;
}

bool a64_lift_movewide(struct lift *l, const struct a64_movewide *f)
{
    unsigned type = gpr_type(f->sf), lsb = f->hw * 16;
    u64 v = (u64)f->imm16 << lsb;
    irv r;
    if (f->opc == 3)
        r = ir_bfi(l->b, type, reg(l, f->rd), ir_const(l->b, type, f->imm16), lsb, 16);
    else
        r = ir_const(l->b, type, f->opc ? v : ~v);
    put_reg(l, f->rd, r);
    return true;
}

/* opc: 0 SBFM, 1 BFM, 2 UBFM. imms >= immr takes the field immr..imms down to bit 0; otherwise the
 * field 0..imms goes up to bit width - immr. */
bool a64_lift_bitfield(struct lift *l, const struct a64_bitfield *f)
{
    unsigned type = gpr_type(f->sf), width = gpr_width(f->sf);
    bool down = f->imms >= f->immr;
    unsigned lsb = down ? f->immr : 0, to = down ? 0 : width - f->immr, len = f->imms - lsb + 1;
    irv v = reg(l, f->rn);
    if (f->opc == 1)
        v = ir_bfi(l->b, type, reg(l, f->rd), shift_imm(l, type, LSR, v, lsb), to, len);
    else if (lsb + len == width)
        v = shift_imm(l, type, f->opc ? LSR : ASR, v, lsb);
    else if (to + len == width)
        v = shift_imm(l, type, LSL, v, to);
    else if (!lsb && f->opc == 0 && (len == 8 || len == 16 || len == 32))
        v = shift_imm(l, type, LSL, ir_sext(l->b, type, v, len), to);
    else if (f->opc == 0)
        v = shift_imm(l, type, LSL, ir_sbfx(l->b, type, v, lsb, len), to);
    else
        v = shift_imm(l, type, LSL, ir_ubfx(l->b, type, v, lsb, len), to);
    put_reg(l, f->rd, as_reg(l, f->sf, v));
    return true;
}

bool a64_lift_extract(struct lift *l, const struct a64_extract *f)
{
    unsigned type = gpr_type(f->sf);
    irv v = reg(l, f->rm);
    if (f->rn == f->rm)
        v = shift_imm(l, type, ROR, v, f->imms);
    else if (f->imms)
        v = ir_extr(l->b, type, reg(l, f->rn), v, f->imms);
    put_reg(l, f->rd, as_reg(l, f->sf, v));
    return true;
}

/* The bytes of each halfword swapped. */
static irv rev16(struct lift *l, unsigned type, irv v)
{
    irv mask = ir_const(l->b, type, 0x00ff00ff00ff00ff);
    irv odd = ir_and(l->b, type, shift_imm(l, type, LSR, v, 8), mask);
    irv even = shift_imm(l, type, LSL, ir_and(l->b, type, v, mask), 8);
    return ir_or(l->b, type, odd, even);
}

bool a64_lift_dp_1src(struct lift *l, const struct a64_dp_1src *f)
{
    unsigned type = gpr_type(f->sf);
    irv x = reg(l, f->rn), r;
    switch (f->id) {
    case A64_RBIT:
        r = ir_bitrev(l->b, type, x);
        break;
    case A64_REV16:
        r = rev16(l, type, x);
        break;
    case A64_REV: /* of each word */
        r = shift_imm(l, type, ROR, ir_bswap(l->b, type, x), f->sf ? 32 : 0);
        break;
    case A64_REV64:
        r = ir_bswap(l->b, type, x);
        break;
    case A64_CLZ:
        r = ir_clz(l->b, type, x);
        break;
    case A64_CLS: /* bits that equal the one above them; the top bit has none */
        r = ir_clz(l->b, type, ir_xor(l->b, type, x, shift_imm(l, type, ASR, x, 1)));
        r = ir_addi(l->b, type, r, -1);
        break;
    default:
        return false;
    }
    put_reg(l, f->rd, r);
    return true;
}

bool a64_lift_div(struct lift *l, const struct a64_dp_2src *f)
{
    unsigned type = gpr_type(f->sf);
    irv x = reg(l, f->rn), y = reg(l, f->rm);
    put_reg(l, f->rd, f->op & 1 ? ir_divs(l->b, type, x, y) : ir_divu(l->b, type, x, y));
    return true;
}

bool a64_lift_shift_var(struct lift *l, const struct a64_dp_2src *f)
{
    irv r = shift(l, gpr_type(f->sf), f->op & 3, reg(l, f->rn), reg(l, f->rm));
    put_reg(l, f->rd, as_reg(l, f->sf, r));
    return true;
}

bool a64_lift_crc32(struct lift *l, const struct a64_dp_2src *f)
{
    unsigned castagnoli = f->op >> 2 & 1;
    put_reg(l, f->rd,
            ir_emit(l->b, IR_CRC32, IR_I32, (f->op & 3u) | castagnoli << 4, reg(l, f->rn),
                    reg(l, f->rm), 0, 0));
    return true;
}

static irv add_or_sub(struct lift *l, unsigned type, bool sub, irv x, irv y)
{
    return sub ? ir_sub(l->b, type, x, y) : ir_add(l->b, type, x, y);
}

bool a64_lift_mul_add(struct lift *l, const struct a64_mul_add *f)
{
    unsigned type = gpr_type(f->sf);
    irv product = ir_mul(l->b, type, reg(l, f->rn), reg(l, f->rm));
    irv r = add_or_sub(l, type, f->o0, reg(l, f->ra), product);
    put_reg(l, f->rd, as_reg(l, f->sf, r));
    return true;
}

bool a64_lift_mul_long(struct lift *l, const struct a64_mul_add *f)
{
    unsigned option = f->op31 & 4 ? 2 : 6;
    irv x = extend(l, IR_I64, reg(l, f->rn), option), y = extend(l, IR_I64, reg(l, f->rm), option);
    put_reg(l, f->rd, add_or_sub(l, IR_I64, f->o0, reg(l, f->ra), ir_mul(l->b, IR_I64, x, y)));
    return true;
}

bool a64_lift_mul_high(struct lift *l, const struct a64_mul_add *f)
{
    irv x = reg(l, f->rn), y = reg(l, f->rm);
    put_reg(l, f->rd, f->op31 & 4 ? ir_mulhu(l->b, IR_I64, x, y) : ir_mulhs(l->b, IR_I64, x, y));
    return true;
}

/* Compare if a condition holds, else take the flags from the instruction. */
bool a64_lift_cond_compare(struct lift *l, const struct a64_cond_compare *f)
{
    irv y = f->i ? ir_const(l->b, gpr_type(f->sf), f->rm) : reg(l, f->rm);
    irv cond = condition(l, f->cond);
    irv fl = ir_fl(l->b, f->op ? IR_FL_SUB : IR_FL_ADD, gpr_width(f->sf), reg(l, f->rn), y, 0);
    put_flags(l, ir_fl_select(l->b, cond, fl, ir_fl_const(l->b, f->nzcv)));
    return true;
}

/* op, o2: select rn if the condition holds, else rm as it is, + 1, inverted, negated. */
bool a64_lift_cond_select(struct lift *l, const struct a64_cond_select *f)
{
    unsigned type = gpr_type(f->sf);
    irv cond = condition(l, f->cond), yes = reg(l, f->rn), no = reg(l, f->rm);
    if (f->op)
        no = f->o2 ? ir_neg(l->b, type, no) : ir_not(l->b, type, no);
    else if (f->o2)
        no = ir_addi(l->b, type, no, 1);
    put_reg(l, f->rd, as_reg(l, f->sf, ir_select(l->b, type, cond, yes, no)));
    return true;
}

/* Some of N Z C V from the bits of a rotated register. */
bool a64_lift_rmif(struct lift *l, const struct a64_rmif *f)
{
    irv old = ir_emit(l->b, IR_FL_GET, IR_I32, 0, get_flags(l), 0, 0, 0);
    irv new = shift_imm(l, IR_I64, ROR, reg(l, f->rn), f->imm6);
    irv mask = ir_const(l->b, IR_I32, f->mask);
    irv bits =
        ir_or(l->b, IR_I32, ir_andn(l->b, IR_I32, old, mask), ir_and(l->b, IR_I32, new, mask));
    put_flags(l, ir_fl(l->b, IR_FL_BITS, 0, bits, 0, 0));
    return true;
}

/* N and Z of the low 8 or 16 bits, V if the bit above differs from the sign; C stays. */
bool a64_lift_setf(struct lift *l, const struct a64_setf *f)
{
    unsigned bits = f->sz ? 16 : 8;
    struct ir_builder *b = l->b;
    irv x = reg(l, f->rn), old = ir_emit(b, IR_FL_GET, IR_I32, 0, get_flags(l), 0, 0, 0);
    irv low = ir_ubfx(b, IR_I32, x, 0, bits);
    irv zero = ir_icmp(b, IR_EQ, 32, low, ir_const(b, IR_I32, 0));
    irv n = ir_ubfx(b, IR_I32, x, bits - 1, 1);
    irv v = ir_xor(b, IR_I32, n, ir_ubfx(b, IR_I32, x, bits, 1));
    irv z = ir_select(b, IR_I32, zero, ir_const(b, IR_I32, IR_FL_Z), ir_const(b, IR_I32, 0));
    irv c = ir_and(b, IR_I32, old, ir_const(b, IR_I32, IR_FL_C));
    irv r = ir_or(b, IR_I32, ir_or(b, IR_I32, ir_bfi(b, IR_I32, v, n, 3, 1), z), c);
    put_flags(l, ir_fl(b, IR_FL_BITS, 0, r, 0, 0));
    return true;
}
