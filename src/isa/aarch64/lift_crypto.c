/* Cryptographic extensions. What is a few vector operations is made of them; rounds of AES, SHA-1 and
 * SHA-256 are operations of the IR; those of SM3 and SM4 are C (helper_crypto.c). */
#include "isa/aarch64/lift_simd.h"

static irv zero(struct lift *l)
{
    return ir_const(l->b, IR_V128, 0);
}

static irv add(struct lift *l, unsigned size, irv x, irv y)
{
    return ir_v2(l->b, IR_VADD, IR_V128, size, x, y);
}

static irv exclusive_or(struct lift *l, irv x, irv y)
{
    return ir_v2(l->b, IR_VXOR, IR_V128, 0, x, y);
}

static irv shift_right(struct lift *l, unsigned size, unsigned by, irv x)
{
    return ir_v1(l->b, IR_VSHR, IR_V128, size | by << 4, x);
}

/* Every lane rotated right. */
static irv rotate_right(struct lift *l, unsigned size, unsigned by, irv x)
{
    unsigned bits = 8u << size;
    if (by % bits == 0)
        return x;
    irv left = ir_v1(l->b, IR_VSHL, IR_V128, size | (bits - by) << 4, x);
    return ir_v2(l->b, IR_VOR, IR_V128, 0, shift_right(l, size, by, x), left);
}

/* Bytes `from`.. of x followed by y. */
static irv window(struct lift *l, unsigned from, irv x, irv y)
{
    return ir_v2(l->b, IR_VEXT, IR_V128, from, x, y);
}

/* aese aesd aesmc aesimc, by the low bits of op: the order of enum ir_aes. */
bool a64_lift_aes(struct lift *l, const struct a64_aes *f)
{
    unsigned what = f->op & 3;
    irv x = f->op & 2 ? vreg(l, f->rn) : vreg(l, f->rd);
    put_vreg(l, f->rd, ir_v2(l->b, IR_VAES, IR_V128, what, x, vreg(l, f->rn)));
    return true;
}

static irv sha(struct lift *l, enum ir_sha what, irv x, irv y, irv z)
{
    return ir_emit(l->b, IR_VSHA, IR_V128, what, x, y, z, 0);
}

bool a64_lift_sha_3reg(struct lift *l, const struct a64_sha_3reg *f)
{
    static const u8 op[] = {IR_SHA1_CHOOSE,   IR_SHA1_PARITY,   IR_SHA1_MAJORITY, 0,
                            IR_SHA256_ROUNDS, IR_SHA256_ROUNDS2, 0,               IR_SHA256_SCHEDULE2};
    irv d = vreg(l, f->rd), n = vreg(l, f->rn), m = vreg(l, f->rm), r;
    if (f->id == A64_SHA1SU0)
        r = exclusive_or(l, exclusive_or(l, window(l, 8, d, n), d), m);
    else if (f->id == A64_SHA256SU1)
        r = sha(l, IR_SHA256_SCHEDULE2, d, n, m);
    else
        r = sha(l, (enum ir_sha)op[f->op], d, n, m);
    put_vreg(l, f->rd, r);
    return true;
}

/* The last word depends on the first: its part is added to what the others get alike. */
static irv sha1_schedule2(struct lift *l, irv d, irv n)
{
    irv t = exclusive_or(l, d, window(l, 4, n, zero(l)));
    t = rotate_right(l, 2, 31, t);
    return exclusive_or(l, t, window(l, 4, zero(l), rotate_right(l, 2, 31, t)));
}

bool a64_lift_sha_2reg(struct lift *l, const struct a64_sha_2reg *f)
{
    irv d = vreg(l, f->rd), n = vreg(l, f->rn), r;
    if (f->id == A64_SHA1H)
        r = ir_zx(l->b, IR_F32, rotate_right(l, 2, 2, n));
    else if (f->id == A64_SHA1SU1)
        r = sha1_schedule2(l, d, n);
    else
        r = sha(l, IR_SHA256_SCHEDULE1, d, n, n);
    put_vreg(l, f->rd, r);
    return true;
}

static irv call(struct lift *l, enum a64_helper h, irv x, irv y, irv z)
{
    return ir_helper(l->b, h, IR_V128, x, y, z);
}

/* The functions that FIPS 180-4 calls sigma: of two rotations and a shift. */
static irv sha512_sigma(struct lift *l, unsigned r1, unsigned r2, unsigned s, irv x)
{
    irv t = exclusive_or(l, rotate_right(l, 3, r1, x), rotate_right(l, 3, r2, x));
    return exclusive_or(l, t, shift_right(l, 3, s, x));
}

/* ---- SHA-512: two rounds in general registers, the second of which needs what the first makes ---- */

static irv word(struct lift *l, unsigned i, irv v)
{
    return ir_emit(l->b, IR_VGET, IR_I64, 3 | i << 4, v, 0, 0, 0);
}

static irv rotations(struct lift *l, unsigned r1, unsigned r2, unsigned r3, irv x)
{
    const unsigned by[] = {r1, r2, r3};
    irv r[3];
    for (unsigned i = 0; i < 3; i++)
        r[i] = ir_ror(l->b, IR_I64, x, ir_const(l->b, IR_I64, by[i]));
    return ir_xor(l->b, IR_I64, ir_xor(l->b, IR_I64, r[0], r[1]), r[2]);
}

static irv sum(struct lift *l, irv x, irv y)
{
    return ir_add(l->b, IR_I64, x, y);
}

static irv sha512_sum1(struct lift *l, irv e, irv f, irv g)
{
    struct ir_builder *b = l->b;
    irv choice = ir_xor(b, IR_I64, g, ir_and(b, IR_I64, e, ir_xor(b, IR_I64, f, g)));
    return sum(l, rotations(l, 14, 18, 41, e), choice);
}

static irv sha512_sum0(struct lift *l, irv x, irv y, irv z)
{
    struct ir_builder *b = l->b;
    irv majority = ir_xor(b, IR_I64, ir_and(b, IR_I64, x, y), ir_and(b, IR_I64, z, ir_xor(b, IR_I64, x, y)));
    return sum(l, rotations(l, 28, 34, 39, x), majority);
}

static irv sha512_rounds(struct lift *l, bool second_half, irv d, irv n, irv m)
{
    irv d0 = word(l, 0, d), d1 = word(l, 1, d), n0 = word(l, 0, n), n1 = word(l, 1, n);
    irv m0 = word(l, 0, m), m1 = word(l, 1, m), first, second;
    if (second_half) {
        first = sum(l, sha512_sum0(l, m0, n0, m1), d1);
        second = sum(l, sha512_sum0(l, first, m0, m1), d0);
    } else {
        first = sum(l, sha512_sum1(l, m1, n0, n1), d1);
        second = sum(l, sha512_sum1(l, sum(l, first, m0), m1, n0), d0);
    }
    return ir_v2(l->b, IR_VPAIR, IR_V128, 0, second, first);
}

bool a64_lift_sha512_3reg(struct lift *l, const struct a64_sha512_3reg *f)
{
    irv d = vreg(l, f->rd), n = vreg(l, f->rn), m = vreg(l, f->rm), r;
    switch (f->id) {
    case A64_SHA512H:
    case A64_SHA512H2:
        r = sha512_rounds(l, f->id == A64_SHA512H2, d, n, m);
        break;
    case A64_SHA512SU1:
        r = add(l, 3, add(l, 3, d, sha512_sigma(l, 19, 61, 6, n)), m);
        break;
    case A64_RAX1:
        r = exclusive_or(l, n, rotate_right(l, 3, 63, m));
        break;
    case A64_SM3PARTW1:
        r = call(l, A64_HELPER_SM3PARTW1, d, n, m);
        break;
    case A64_SM3PARTW2:
        r = call(l, A64_HELPER_SM3PARTW2, d, n, m);
        break;
    default: /* A64_SM4EKEY */
        r = call(l, A64_HELPER_SM4EKEY, n, m, 0);
        break;
    }
    put_vreg(l, f->rd, r);
    return true;
}

bool a64_lift_sha512_2reg(struct lift *l, const struct a64_sha512_2reg *f)
{
    irv d = vreg(l, f->rd), n = vreg(l, f->rn), r;
    if (f->id == A64_SHA512SU0)
        r = add(l, 3, d, sha512_sigma(l, 1, 8, 7, window(l, 8, d, n)));
    else
        r = call(l, A64_HELPER_SM4E, d, n, 0);
    put_vreg(l, f->rd, r);
    return true;
}

bool a64_lift_crypto_4reg(struct lift *l, const struct a64_crypto_4reg *f)
{
    irv n = vreg(l, f->rn), m = vreg(l, f->rm), a = vreg(l, f->ra), r;
    if (f->id == A64_EOR3)
        r = exclusive_or(l, exclusive_or(l, n, m), a);
    else if (f->id == A64_BCAX)
        r = exclusive_or(l, n, ir_v2(l->b, IR_VANDN, IR_V128, 0, m, a));
    else
        r = call(l, A64_HELPER_SM3SS1, n, m, a);
    put_vreg(l, f->rd, r);
    return true;
}

bool a64_lift_xar(struct lift *l, const struct a64_xar *f)
{
    irv x = exclusive_or(l, vreg(l, f->rn), vreg(l, f->rm));
    put_vreg(l, f->rd, rotate_right(l, 3, f->imm6, x));
    return true;
}

bool a64_lift_sm3tt(struct lift *l, const struct a64_sm3tt *f)
{
    irv w = ir_v1(l->b, IR_VDUP, IR_V128, 2 | f->imm2 << 4, vreg(l, f->rm));
    put_vreg(l, f->rd, call(l, A64_HELPER_SM3TT1A + f->op, vreg(l, f->rd), vreg(l, f->rn), w));
    return true;
}
