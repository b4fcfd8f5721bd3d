/* Integer vectors of the interpreter. Lanes are read and written through 64-bit values; a v64 result
 * is computed over the low 8 bytes and its upper half is zero. */
#include <string.h>

#include "base/bits.h"
#include "jit/ir/interp.h"

static u64 get(const v128 *v, unsigned lane, unsigned i)
{
    switch (lane) {
    case 0:
        return v->b[i];
    case 1:
        return v->h[i];
    case 2:
        return v->s[i];
    default:
        return v->d[i];
    }
}

static s64 gets(const v128 *v, unsigned lane, unsigned i)
{
    return sext64(get(v, lane, i), 8u << lane);
}

static void set(v128 *v, unsigned lane, unsigned i, u64 x)
{
    switch (lane) {
    case 0:
        v->b[i] = (u8)x;
        break;
    case 1:
        v->h[i] = (u16)x;
        break;
    case 2:
        v->s[i] = (u32)x;
        break;
    default:
        v->d[i] = x;
        break;
    }
}

static s64 clamp_signed(s64 x, unsigned bits)
{
    s64 max = (s64)mask64(bits - 1);
    return x > max ? max : x < -max - 1 ? -max - 1 : x;
}

static u64 saturating(unsigned op, s64 sx, s64 sy, u64 x, u64 y, unsigned bits)
{
    switch (op) {
    case IR_VQADDS:
        return (u64)clamp_signed(sx + sy, bits);
    case IR_VQSUBS:
        return (u64)clamp_signed(sx - sy, bits);
    case IR_VQADDU:
        return MIN(x + y, mask64(bits));
    default: /* IR_VQSUBU */
        return x > y ? x - y : 0;
    }
}

static u64 shift(unsigned op, s64 sx, u64 x, u64 by, unsigned bits)
{
    switch (op) {
    case IR_VSHL:
    case IR_VSHLV:
        return by >= bits ? 0 : x << by;
    case IR_VSHR:
    case IR_VSHRV:
        return by >= bits ? 0 : x >> by;
    default: /* IR_VSAR, IR_VSARV */
        return (u64)(sx >> MIN(by, bits - 1));
    }
}

static u64 binary(unsigned op, s64 sx, s64 sy, u64 x, u64 y, unsigned bits)
{
    switch (op) {
    case IR_VADD:
        return x + y;
    case IR_VSUB:
        return x - y;
    case IR_VMUL:
        return x * y;
    case IR_VMINS:
        return (u64)MIN(sx, sy);
    case IR_VMINU:
        return MIN(x, y);
    case IR_VMAXS:
        return (u64)MAX(sx, sy);
    case IR_VMAXU:
        return MAX(x, y);
    case IR_VCMPEQ:
        return x == y ? ~0ull : 0;
    case IR_VCMPGTS:
        return sx > sy ? ~0ull : 0;
    case IR_VCMPGTU:
        return x > y ? ~0ull : 0;
    case IR_VAVGU:
        return (x + y + 1) >> 1;
    case IR_VSHLV:
    case IR_VSHRV:
    case IR_VSARV:
        return shift(op, sx, x, y, bits);
    default:
        return saturating(op, sx, sy, x, y, bits);
    }
}

static u64 unary(const struct ir_node *n, const v128 *a, unsigned lane, unsigned i)
{
    u64 x = get(a, lane, i);
    switch (n->op) {
    case IR_VNEG:
        return 0 - x;
    case IR_VABS:
        return gets(a, lane, i) < 0 ? 0 - x : x;
    default:
        return shift(n->op, gets(a, lane, i), x, n->aux >> 4 & 127, 8u << lane);
    }
}

static void permute(const struct ir_node *n, const v128 *a, const v128 *b, v128 *out, unsigned lane,
                    unsigned lanes)
{
    unsigned half = lanes / 2;
    for (unsigned i = 0; i < lanes; i++) {
        const v128 *from;
        unsigned k;
        switch (n->op) {
        case IR_VZIP1:
        case IR_VZIP2:
            from = i & 1 ? b : a;
            k = i / 2 + (n->op == IR_VZIP2 ? half : 0);
            break;
        case IR_VUZP1:
        case IR_VUZP2:
            from = i < half ? a : b;
            k = 2 * (i % half) + (n->op == IR_VUZP2);
            break;
        default: /* IR_VTRN1, IR_VTRN2 */
            from = i & 1 ? b : a;
            k = (i & ~1u) + (n->op == IR_VTRN2);
            break;
        }
        set(out, lane, i, get(from, lane, k));
    }
}

static void pairwise(const v128 *a, const v128 *b, v128 *out, unsigned lane, unsigned lanes)
{
    for (unsigned i = 0; i < lanes; i++) {
        const v128 *from = i < lanes / 2 ? a : b;
        unsigned k = 2 * (i % (lanes / 2));
        set(out, lane, i, get(from, lane, k) + get(from, lane, k + 1));
    }
}

/* Results have lanes twice as wide, and fill 128 bits. */
static void widening(const struct ir_node *n, const v128 *a, const v128 *b, v128 *out, unsigned lane)
{
    bool is_signed = n->aux >> 4 & 1;
    unsigned lanes = 8u >> lane, base = n->aux >> 5 & 1 ? lanes : 0;
    for (unsigned i = 0; i < lanes; i++) {
        u64 x = is_signed ? (u64)gets(a, lane, base + i) : get(a, lane, base + i);
        u64 y = 1;
        if (n->op == IR_VMULL)
            y = is_signed ? (u64)gets(b, lane, base + i) : get(b, lane, base + i);
        set(out, lane + 1, i, x * y);
    }
}

static void bitwise(const struct ir_node *n, const v128 *a, const v128 *b, const v128 *c, v128 *out)
{
    for (unsigned i = 0; i < 2; i++) {
        u64 x = a->d[i], y = b->d[i];
        switch (n->op) {
        case IR_VAND:
            out->d[i] = x & y;
            break;
        case IR_VOR:
            out->d[i] = x | y;
            break;
        case IR_VXOR:
            out->d[i] = x ^ y;
            break;
        case IR_VANDN:
            out->d[i] = x & ~y;
            break;
        case IR_VNOT:
            out->d[i] = ~x;
            break;
        default: /* IR_VBSL */
            out->d[i] = (x & y) | (~x & c->d[i]);
            break;
        }
    }
}

static void bytes(const struct ir_node *n, const v128 *a, const v128 *b, v128 *out, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        switch (n->op) {
        case IR_VEXT: {
            unsigned k = n->aux % 32 + i;
            out->b[i] = k < size ? a->b[k] : b->b[(k - size) & 15];
            break;
        }
        case IR_VTBL:
            out->b[i] = b->b[i] < 16 ? a->b[b->b[i]] : 0;
            break;
        default: /* IR_VCNT */
            out->b[i] = (u8)__builtin_popcount(a->b[i]);
            break;
        }
    }
}

static void elements(const struct ir_node *n, const v128 *a, const v128 *b, v128 *out, unsigned lane,
                     unsigned lanes)
{
    unsigned index = n->aux >> 4 & 15;
    switch (n->op) {
    case IR_VSPLAT:
        for (unsigned i = 0; i < lanes; i++)
            set(out, lane, i, a->d[0]);
        break;
    case IR_VDUP:
        for (unsigned i = 0; i < lanes; i++)
            set(out, lane, i, get(a, lane, index));
        break;
    case IR_VINS:
        *out = *a;
        set(out, lane, index, b->d[0]);
        break;
    case IR_VINSV:
        *out = *a;
        set(out, lane, index, get(b, lane, n->aux >> 8 & 15));
        break;
    case IR_VGET:
        out->d[0] = n->aux >> 8 & 1 ? (u64)gets(a, lane, index) : get(a, lane, index);
        if (n->type == IR_I32)
            out->d[0] = (u32)out->d[0];
        break;
    case IR_VREV: {
        unsigned group = (1u << index) >> lane; /* lanes in a group */
        for (unsigned i = 0; i < lanes; i++)
            set(out, lane, i, get(a, lane, (i / group) * group + group - 1 - i % group));
        break;
    }
    case IR_VNARROW:
        for (unsigned i = 0; i < 16u >> lane; i++)
            set(out, lane - 1, i, get(a, lane, i));
        break;
    default: /* IR_VPAIR */
        *out = (v128){.d = {a->d[0], b->d[0]}};
        break;
    }
}

static void dot(const struct ir_node *n, const v128 *a, const v128 *b, v128 *out)
{
    bool a_signed = n->aux & 1, b_signed = n->aux & 2;
    for (unsigned i = 0; i < 16; i++) {
        int x = a_signed ? (s8)a->b[i] : a->b[i], y = b_signed ? (s8)b->b[i] : b->b[i];
        out->s[i / 4] += (u32)(x * y);
    }
}

void ir_interp_vec(const struct ir_node *n, const v128 *a, const v128 *b, const v128 *c, v128 *out)
{
    unsigned lane = n->aux & 15, size = n->type == IR_V64 ? 8 : 16, lanes = size >> lane;
    v128 r = {0};
    switch (n->op) {
    case IR_VAND:
    case IR_VOR:
    case IR_VXOR:
    case IR_VANDN:
    case IR_VNOT:
    case IR_VBSL:
        bitwise(n, a, b, c, &r);
        break;
    case IR_VNEG:
    case IR_VABS:
    case IR_VSHL:
    case IR_VSHR:
    case IR_VSAR:
        for (unsigned i = 0; i < lanes; i++)
            set(&r, lane, i, unary(n, a, lane, i));
        break;
    case IR_VADDP:
        pairwise(a, b, &r, lane, lanes);
        break;
    case IR_VMULL:
    case IR_VEXTEND:
        widening(n, a, b, &r, lane);
        break;
    case IR_VZIP1:
    case IR_VZIP2:
    case IR_VUZP1:
    case IR_VUZP2:
    case IR_VTRN1:
    case IR_VTRN2:
        permute(n, a, b, &r, lane, lanes);
        break;
    case IR_VEXT:
    case IR_VTBL:
    case IR_VCNT:
        bytes(n, a, b, &r, size);
        break;
    case IR_VDOT:
        dot(n, a, b, &r);
        break;
    case IR_VPMULL:
    case IR_VSHA:
    case IR_VAES:
        ir_interp_crypto(n, a, b, c, &r);
        break;
    case IR_VSPLAT:
    case IR_VDUP:
    case IR_VINS:
    case IR_VINSV:
    case IR_VGET:
    case IR_VREV:
    case IR_VNARROW:
    case IR_VPAIR:
        elements(n, a, b, &r, lane, lanes);
        break;
    default:
        for (unsigned i = 0; i < lanes; i++)
            set(&r, lane, i, binary(n->op, gets(a, lane, i), gets(b, lane, i), get(a, lane, i),
                                    get(b, lane, i), 8u << lane));
        break;
    }
    if (n->type == IR_V64)
        r.d[1] = 0;
    *out = r;
}
