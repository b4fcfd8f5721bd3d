/* CPU models, and what they tell programs about themselves. */
#include "cpu/model.h"

#include <stdio.h>
#include <string.h>

#include "isa/riscv/state.h"

#define HAS(f) (1ull << RV_##f)

/* RV64GC; the profile RVA22U64 without what concerns supervisors alone; all that there is. */
#define G      (HAS(M) | HAS(A) | HAS(F) | HAS(D) | HAS(Zicsr) | HAS(Zifencei) | HAS(Zicntr))
#define RV64GC (G | HAS(C))
#define RVA22                                                                                      \
    (RV64GC | HAS(Zihintpause) | HAS(Zba) | HAS(Zbb) | HAS(Zbs) | HAS(Zicbom) | HAS(Zicbop) |      \
     HAS(Zicboz) | HAS(Zfhmin))
#define MAX_                                                                                       \
    (RVA22 | HAS(Zbc) | HAS(Zfh) | HAS(Zfa) | HAS(Zicond) | HAS(Zbkb) | HAS(Zbkc) | HAS(Zbkx) |    \
     HAS(Zknd) | HAS(Zkne) | HAS(Zknh) | HAS(Zksed) | HAS(Zksh) | HAS(Zawrs) | HAS(Zacas) | HAS(Zcb))

static const struct rv_model models64[] = {{"rv64", RV64GC}, {"rva22", RVA22}, {"max", MAX_}};
static const struct rv_model models32[] = {{"rv32", RV64GC}, {"max", MAX_}};

/* The first extension of a pair is not without the second. */
static const u8 needs[][2] = {
    {RV_F, RV_Zicsr},  {RV_D, RV_F},          {RV_Zicntr, RV_Zicsr}, {RV_Zfhmin, RV_F},
    {RV_Zfh, RV_Zfhmin}, {RV_Zfa, RV_F},      {RV_Zacas, RV_A},      {RV_Zcb, RV_C},
};

const char *rv64_model_name(unsigned i)
{
    return i < ARRAY_LEN(models64) ? models64[i].name : NULL;
}

const char *rv32_model_name(unsigned i)
{
    return i < ARRAY_LEN(models32) ? models32[i].name : NULL;
}

bool rv_model_find(const char *description, bool rv32, struct rv_model *m, struct err *e)
{
    const struct model_rules rules = {
        .guest = rv32 ? "RV32 CPU" : "RV64 CPU",
        .name = rv32 ? rv32_model_name : rv64_model_name,
        .features = rv_feature_names,
        .count = RV_FEATURES,
        .free = MAX_,
        .needs = needs,
        .nneeds = ARRAY_LEN(needs),
        .others = "",
    };
    struct model_change c;
    int i = model_find(&rules, description, e);
    if (i < 0)
        return false;
    *m = rv32 ? models32[i] : models64[i];
    m->features |= HAS(I) | (rv32 ? HAS(RV32) : HAS(RV64));
    const char *at = description ? description + strcspn(description, ",") : "";
    while (model_next_change(&at, &c, e)) {
        if (!model_switch(&rules, &c, &m->features, e))
            return false;
    }
    return !at;
}

/* Extensions of one letter, in the order in which they are written. */
static const struct {
    u8 feature;
    char letter;
} letters[] = {{RV_I, 'i'}, {RV_M, 'm'}, {RV_A, 'a'}, {RV_F, 'f'}, {RV_D, 'd'}, {RV_C, 'c'}};

u64 rv_hwcap(const struct rv_model *m)
{
    u64 cap = 0;
    for (unsigned i = 0; i < ARRAY_LEN(letters); i++)
        cap |= rv_has(m, letters[i].feature) ? 1ull << (letters[i].letter - 'a') : 0;
    return cap;
}

/* The next in alphabetical order behind `last` of the extensions that the CPU has and whose names begin with
 * 'Z' and this letter; NULL: there is no more. */
static const char *next_extension(const struct rv_model *m, char category, const char *last)
{
    const char *next = NULL;
    for (unsigned i = 0; i < RV_FEATURES; i++) {
        const char *name = rv_feature_names[i];
        if (rv_has(m, i) && name[0] == 'Z' && name[1] == category && strcmp(name, last) > 0 &&
            (!next || strcmp(name, next) < 0))
            next = name;
    }
    return next;
}

void rv_describe(const struct rv_model *m, char *text, size_t size)
{
    size_t n = (size_t)snprintf(text, size, "rv%d", rv_has(m, RV_RV32) ? 32 : 64);
    for (unsigned i = 0; i < ARRAY_LEN(letters) && n < size; i++) {
        if (rv_has(m, letters[i].feature))
            n += (size_t)snprintf(text + n, size - n, "%c", letters[i].letter);
    }
    for (const char *category = "imafdqlcbkjtpvh"; *category; category++) {
        for (const char *e = ""; (e = next_extension(m, *category, e)) && n < size;)
            n += (size_t)snprintf(text + n, size - n, "_z%s", e + 1);
    }
}
