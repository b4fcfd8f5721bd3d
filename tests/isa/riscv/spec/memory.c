/* Instructions that reach memory: Zacas, the loads and stores of Zcb, Zicbom, Zicboz, Zicbop; and Zawrs, which
 * waits for it. */
#include <string.h>

#include "spec.h"

/* The bytes at an address; NULL and a trap where there are none. */
static u8 *at(struct spec_state *s, u64 addr, unsigned bytes)
{
    if (addr >= spec_data && addr + bytes <= spec_data + SPEC_WINDOW)
        return s->mem + (addr - spec_data);
    s->trap = TRAP_FAULT;
    return NULL;
}

/* ---- Zacas ----
 *
 * Memory is compared with rd and becomes rs2 if they are equal; rd becomes what memory held, sign-extended. A
 * quadword is a pair of registers whose first is even; the pair of x0 is 0 and is not written. */

static bool aligned(struct spec_state *s, u64 addr, unsigned bytes)
{
    if (addr % bytes)
        s->trap = TRAP_MISALIGNED;
    return addr % bytes == 0;
}

static void amocas_w(struct spec_state *s, u32 i)
{
    u64 addr = s->x[rs1(i)];
    u8 *p = aligned(s, addr, 4) ? at(s, addr, 4) : NULL;
    u32 new = (u32)s->x[rs2(i)];
    s32 old;
    if (!p)
        return;
    memcpy(&old, p, 4);
    if ((u32)old == (u32)s->x[rd(i)])
        memcpy(p, &new, 4);
    set_x(s, rd(i), (u64)old);
}

static void amocas_d(struct spec_state *s, u32 i)
{
    u64 addr = s->x[rs1(i)], new = s->x[rs2(i)], old;
    u8 *p = aligned(s, addr, 8) ? at(s, addr, 8) : NULL;
    if (!p)
        return;
    memcpy(&old, p, 8);
    if (old == s->x[rd(i)])
        memcpy(p, &new, 8);
    set_x(s, rd(i), old);
}

/* On RV32 a doubleword is a pair of registers, too. */
static void amocas_d32(struct spec_state *s, u32 i)
{
    u32 d = rd(i), n = rs2(i);
    u64 addr = s->x[rs1(i)], old;
    if (d % 2 || n % 2) {
        s->trap = TRAP_ILLEGAL;
        return;
    }
    u8 *p = aligned(s, addr, 8) ? at(s, addr, 8) : NULL;
    u64 want = d ? s->x[d] | s->x[d + 1] << 32 : 0, new = n ? s->x[n] | s->x[n + 1] << 32 : 0;
    if (!p)
        return;
    memcpy(&old, p, 8);
    if (old == want)
        memcpy(p, &new, 8);
    set_x(s, d, old);
    if (d)
        set_x(s, d + 1, old >> 32);
}

static void amocas_q(struct spec_state *s, u32 i)
{
    u64 addr = s->x[rs1(i)], old[2], want[2] = {0}, new[2] = {0};
    if (rd(i) % 2 || rs2(i) % 2) {
        s->trap = TRAP_ILLEGAL;
        return;
    }
    u8 *p = aligned(s, addr, 16) ? at(s, addr, 16) : NULL;
    if (!p)
        return;
    memcpy(old, p, 16);
    if (rd(i))
        memcpy(want, &s->x[rd(i)], 16);
    if (rs2(i))
        memcpy(new, &s->x[rs2(i)], 16);
    if (!memcmp(old, want, 16))
        memcpy(p, new, 16);
    if (rd(i))
        memcpy(&s->x[rd(i)], old, 16);
}

/* An address in the data, mostly aligned, sometimes at the end; then, half the time, what makes the comparison
 * succeed, as far as the registers are not the same ones. */
static void prepare_cas(struct spec_state *s, u32 i, struct spec_random *r, unsigned bytes)
{
    u64 offset = spec_next(r) % (SPEC_WINDOW / bytes + 1) * bytes, odd = spec_next(r);
    if (odd % 16 == 0)
        offset += 1 + odd / 16 % (bytes - 1);
    set_x(s, rs1(i), spec_data + offset);
    if (spec_next(r) & 1 && offset + bytes <= SPEC_WINDOW && rd(i)) {
        unsigned word = s->xlen / 8;
        u64 part[2] = {0};
        memcpy(&part[0], s->mem + offset, MIN(bytes, word));
        memcpy(&part[1], s->mem + offset + (bytes > word ? word : 0), MIN(bytes, word));
        if (bytes < word) /* the upper half does not count */
            part[0] |= spec_next(r) << 32;
        if (rd(i) != rs1(i))
            set_x(s, rd(i), part[0]);
        if (bytes > word && rd(i) + 1 < 32 && rd(i) + 1 != rs1(i))
            set_x(s, rd(i) + 1, part[1]);
    }
}

static void prepare_cas_w(struct spec_state *s, u32 i, struct spec_random *r)
{
    prepare_cas(s, i, r, 4);
}

static void prepare_cas_d(struct spec_state *s, u32 i, struct spec_random *r)
{
    prepare_cas(s, i, r, 8);
}

static void prepare_cas_q(struct spec_state *s, u32 i, struct spec_random *r)
{
    prepare_cas(s, i, r, 16);
}

/* ---- Zcb: the offsets are made of two bits, of one, or of the same two stored high first ---- */

static u64 c_byte_offset(u32 i)
{
    return bits32(i, 6, 1) | bits32(i, 5, 1) << 1;
}

static u64 c_half_offset(u32 i)
{
    return bits32(i, 5, 1) << 1;
}

static u64 c_load(struct spec_state *s, u32 i, u64 offset, unsigned bytes, u64 otherwise)
{
    u64 v = 0;
    const u8 *p = at(s, s->x[c_high(i)] + offset, bytes);
    if (!p)
        return otherwise;
    memcpy(&v, p, bytes);
    return v;
}

static void c_lbu(struct spec_state *s, u32 i)
{
    set_x(s, c_low(i), c_load(s, i, c_byte_offset(i), 1, s->x[c_low(i)]));
}

static void c_lhu(struct spec_state *s, u32 i)
{
    set_x(s, c_low(i), c_load(s, i, c_half_offset(i), 2, s->x[c_low(i)]));
}

static void c_lh(struct spec_state *s, u32 i)
{
    u64 v = c_load(s, i, c_half_offset(i), 2, 0);
    if (s->trap == TRAP_NONE)
        set_x(s, c_low(i), (u64)(s16)v);
}

static void c_store(struct spec_state *s, u32 i, u64 offset, unsigned bytes)
{
    u8 *p = at(s, s->x[c_high(i)] + offset, bytes);
    if (p)
        memcpy(p, &s->x[c_low(i)], bytes);
}

static void c_sb(struct spec_state *s, u32 i)
{
    c_store(s, i, c_byte_offset(i), 1);
}

static void c_sh(struct spec_state *s, u32 i)
{
    c_store(s, i, c_half_offset(i), 2);
}

/* Aligned or not: both are allowed. A store over the page's end may write its first part or not: none is made. */
static void prepare_c(struct spec_state *s, u32 i, struct spec_random *r)
{
    u64 offset = spec_next(r) % (SPEC_WINDOW + 1);
    s->x[c_high(i)] = spec_data + (offset > SPEC_WINDOW - 4 ? ALIGN_DOWN(offset, 2) : offset);
}

/* ---- cache blocks: 64 bytes ---- */

#define BLOCK 64

static void cbo_zero(struct spec_state *s, u32 i)
{
    u8 *p = at(s, ALIGN_DOWN(s->x[rs1(i)], BLOCK), BLOCK);
    if (p)
        memset(p, 0, BLOCK);
}

/* Caches are coherent here, so nothing changes; but the address must be there. */
static void cbo_other(struct spec_state *s, u32 i)
{
    at(s, ALIGN_DOWN(s->x[rs1(i)], BLOCK), BLOCK);
}

static void prepare_block(struct spec_state *s, u32 i, struct spec_random *r)
{
    set_x(s, rs1(i), spec_data + spec_next(r) % (SPEC_WINDOW + BLOCK));
}

/* Programs may not do it: senvcfg.CBIE is 0 under Linux. */
static void cbo_inval(struct spec_state *s, u32 i)
{
    (void)i;
    s->trap = TRAP_ILLEGAL;
}

/* Hints: whatever the address, and a wait that may end at any time. */
static void nothing(struct spec_state *s, u32 i)
{
    (void)s;
    (void)i;
}

#define AMO_FIELDS (31u << 7 | 31u << 15 | 31u << 20 | 3u << 25)
#define C_REGS     (7u << 2 | 7u << 7)
#define RS1        (31u << 15)
#define PREFETCH   (RS1 | 127u << 25)

const struct spec_insn spec_memory[] = {
    {"amocas.w", "zacas", 0x2800202f, AMO_FIELDS, 4, prepare_cas_w, amocas_w},
    {"amocas.d", "zacas", 0x2800302f, AMO_FIELDS, 4, prepare_cas_d, amocas_d, WIDTH_64},
    {"amocas.d of pairs", "zacas", 0x2800302f, AMO_FIELDS, 4, prepare_cas_d, amocas_d32, WIDTH_32},
    {"amocas.q", "zacas", 0x2800402f, AMO_FIELDS, 4, prepare_cas_q, amocas_q, WIDTH_ONLY_64},
    {"c.lbu", "zcb", 0x8000, C_REGS | 3u << 5, 2, prepare_c, c_lbu},
    {"c.lhu", "zcb", 0x8400, C_REGS | 1u << 5, 2, prepare_c, c_lhu},
    {"c.lh", "zcb", 0x8440, C_REGS | 1u << 5, 2, prepare_c, c_lh},
    {"c.sb", "zcb", 0x8800, C_REGS | 3u << 5, 2, prepare_c, c_sb},
    {"c.sh", "zcb", 0x8c00, C_REGS | 1u << 5, 2, prepare_c, c_sh},
    {"cbo.zero", "zicboz", 0x0040200f, RS1, 4, prepare_block, cbo_zero},
    {"cbo.inval", "zicbom", 0x0000200f, RS1, 4, prepare_block, cbo_inval},
    {"cbo.clean", "zicbom", 0x0010200f, RS1, 4, prepare_block, cbo_other},
    {"cbo.flush", "zicbom", 0x0020200f, RS1, 4, prepare_block, cbo_other},
    {"prefetch.i", NULL, 0x00006013, PREFETCH, 4, NULL, nothing},
    {"prefetch.r", NULL, 0x00106013, PREFETCH, 4, NULL, nothing},
    {"prefetch.w", NULL, 0x00306013, PREFETCH, 4, NULL, nothing},
    {"wrs.nto", "zawrs", 0x00d00073, 0, 4, NULL, nothing},
    {"wrs.sto", "zawrs", 0x01d00073, 0, 4, NULL, nothing},
    {0},
};
