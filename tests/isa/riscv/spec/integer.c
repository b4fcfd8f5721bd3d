/* Zicond, and the instructions of Zcb that compute. */
#include "spec.h"

/* rd is zero if the condition's register is (czero.eqz) or is not (czero.nez) zero, else rs1. */
static void czero_eqz(struct spec_state *s, u32 i)
{
    set_x(s, rd(i), s->x[rs2(i)] == 0 ? 0 : s->x[rs1(i)]);
}

static void czero_nez(struct spec_state *s, u32 i)
{
    set_x(s, rd(i), s->x[rs2(i)] != 0 ? 0 : s->x[rs1(i)]);
}

/* Conditions that matter: half of them zero. */
static void condition(struct spec_state *s, u32 i, struct spec_random *r)
{
    if (spec_next(r) & 1 && rs2(i))
        s->x[rs2(i)] = 0;
}

static void c_zext_b(struct spec_state *s, u32 i)
{
    set_x(s, c_high(i), (u8)s->x[c_high(i)]);
}

static void c_sext_b(struct spec_state *s, u32 i)
{
    set_x(s, c_high(i), (u64)(s8)s->x[c_high(i)]);
}

static void c_zext_h(struct spec_state *s, u32 i)
{
    set_x(s, c_high(i), (u16)s->x[c_high(i)]);
}

static void c_sext_h(struct spec_state *s, u32 i)
{
    set_x(s, c_high(i), (u64)(s16)s->x[c_high(i)]);
}

static void c_zext_w(struct spec_state *s, u32 i)
{
    set_x(s, c_high(i), (u32)s->x[c_high(i)]);
}

static void c_not(struct spec_state *s, u32 i)
{
    set_x(s, c_high(i), ~s->x[c_high(i)]);
}

static void c_mul(struct spec_state *s, u32 i)
{
    set_x(s, c_high(i), s->x[c_high(i)] * s->x[c_low(i)]);
}

#define R_FIELDS (31u << 7 | 31u << 15 | 31u << 20)
#define C_HIGH   (7u << 7)

const struct spec_insn spec_integer[] = {
    {"czero.eqz", "zicond", 0x0e005033, R_FIELDS, 4, condition, czero_eqz},
    {"czero.nez", "zicond", 0x0e007033, R_FIELDS, 4, condition, czero_nez},
    {"c.zext.b", "zcb", 0x9c61, C_HIGH, 2, NULL, c_zext_b},
    {"c.sext.b", "zcb", 0x9c65, C_HIGH, 2, NULL, c_sext_b},
    {"c.zext.h", "zcb", 0x9c69, C_HIGH, 2, NULL, c_zext_h},
    {"c.sext.h", "zcb", 0x9c6d, C_HIGH, 2, NULL, c_sext_h},
    {"c.zext.w", "zcb", 0x9c71, C_HIGH, 2, NULL, c_zext_w, WIDTH_ONLY_64},
    {"c.not", "zcb", 0x9c75, C_HIGH, 2, NULL, c_not},
    {"c.mul", "zcb", 0x9c41, C_HIGH | 7u << 2, 2, NULL, c_mul},
    {0},
};
