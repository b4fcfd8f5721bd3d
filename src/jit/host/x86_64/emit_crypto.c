/* Cryptography, where the host has instructions for it. */
#include "jit/host/x86_64/x64.h"

void x64_emit_pmull(struct x64_gen *g, const struct ra_ins *i)
{
    x64_v3i(&g->a, X_PCLMULQDQ, xr(i->dst), xr(i->src[0]), xr(i->src[1]),
            x64_node(g, i)->aux >> 4 & 1 ? 0x11 : 0);
}

/* The host's rounds end with the key, the guest's start with it: xor first and give a key of zero. */
void x64_emit_aes(struct x64_gen *g, const struct ra_ins *i)
{
    static const u16 insn[] = {
        [IR_AES_SUB] = X_AESENCLAST,  [IR_AES_INV_SUB] = X_AESDECLAST, [IR_AES_MIX] = X_AESENC,
        [IR_AES_SUB_MIX] = X_AESENC, [IR_AES_INV_SUB_MIX] = X_AESDEC,
    };
    unsigned dst = xr(i->dst), x = xr(i->src[0]), kind = x64_node(g, i)->aux;
    if (kind == IR_AES_INV_MIX) {
        x64_v2(&g->a, X_AESIMC, dst, x);
        return;
    }
    x64_v3(&g->a, X_PXOR, X64_SCRATCH, X64_SCRATCH, X64_SCRATCH);
    if (kind == IR_AES_MIX) /* undo what the host does before it mixes the columns */
        x64_v3(&g->a, X_AESDECLAST, dst, x, X64_SCRATCH);
    else
        x64_v3(&g->a, X_PXOR, dst, x, xr(i->src[1]));
    x64_v3(&g->a, (enum x64_insn)insn[kind], dst, dst, X64_SCRATCH);
}

static void emit_sha1(struct x64_gen *g, const struct ra_ins *i)
{
    /* by enum ir_sha; the host adds these itself, the guest's words have them already */
    static const u32 added[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc};
    unsigned dst = xr(i->dst), words = xr(i->tmp[0]), kind = x64_node(g, i)->aux;
    u32 minus = 0 - added[kind];
    x64_v3lit(g, X_PADDD, words, xr(i->src[2]), (v128){.s = {minus, minus, minus, minus}});
    x64_v2i(&g->a, X_PSHUFD, words, words, 0x1b);
    x64_vshift(&g->a, X_PSHIFTQ, 7, X64_SCRATCH, xr(i->src[1]), 12); /* E, on top of the first word */
    x64_v3(&g->a, X_PADDD, words, words, X64_SCRATCH);
    x64_v2i(&g->a, X_PSHUFD, dst, xr(i->src[0]), 0x1b);
    x64_v3i(&g->a, X_SHA1RNDS4, dst, dst, words, (u8)kind);
    x64_v2i(&g->a, X_PSHUFD, dst, dst, 0x1b);
}

/* The host holds {F, E, B, A} and {H, G, D, C}, takes two words at a time from xmm0, and makes one of
 * the two, while the other becomes what the first was. */
static void emit_sha256_rounds(struct x64_gen *g, const struct ra_ins *i)
{
    bool upper = x64_node(g, i)->aux == IR_SHA256_ROUNDS2;
    unsigned dst = xr(i->dst), cdgh = xr(i->tmp[0]), abef = xr(i->tmp[1]);
    x64_v2i(&g->a, X_PSHUFD, X64_SCRATCH, xr(i->src[upper]), 0x1b); /* D C B A */
    x64_v2i(&g->a, X_PSHUFD, cdgh, xr(i->src[!upper]), 0x1b);       /* H G F E */
    x64_v3(&g->a, X_PUNPCKHQDQ, abef, cdgh, X64_SCRATCH);
    x64_v3(&g->a, X_PUNPCKLQDQ, cdgh, cdgh, X64_SCRATCH);
    x64_vmov(&g->a, 0, xr(i->src[2]));
    x64_v3(&g->a, X_SHA256RNDS2, cdgh, cdgh, abef);
    x64_v2i(&g->a, X_PSHUFD, 0, 0, 0xee);
    x64_v3(&g->a, X_SHA256RNDS2, abef, abef, cdgh);
    x64_v3(&g->a, upper ? X_PUNPCKLQDQ : X_PUNPCKHQDQ, cdgh, cdgh, abef);
    x64_v2i(&g->a, X_PSHUFD, dst, cdgh, 0x1b);
}

void x64_emit_sha(struct x64_gen *g, const struct ra_ins *i)
{
    unsigned dst = xr(i->dst), x = xr(i->src[0]), y = xr(i->src[1]), z = xr(i->src[2]);
    switch (x64_node(g, i)->aux) {
    case IR_SHA256_ROUNDS:
    case IR_SHA256_ROUNDS2:
        emit_sha256_rounds(g, i);
        break;
    case IR_SHA256_SCHEDULE1:
        x64_v3(&g->a, X_SHA256MSG1, dst, x, y);
        break;
    case IR_SHA256_SCHEDULE2:
        x64_v3i(&g->a, X_PALIGNR, X64_SCRATCH, z, y, 4);
        x64_v3(&g->a, X_PADDD, dst, x, X64_SCRATCH);
        x64_v3(&g->a, X_SHA256MSG2, dst, dst, z);
        break;
    default:
        emit_sha1(g, i);
        break;
    }
}
