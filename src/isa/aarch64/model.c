/* CPU models, and what they tell programs about themselves. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "isa/aarch64/decode.h"
#include "isa/aarch64/state.h"

#define HAS(f) (1ull << A64_FEAT_##f)

#define V8_0 (HAS(BASE) | HAS(FP) | HAS(AdvSIMD) | HAS(CRC32))
#define CRYPTO (HAS(AES) | HAS(PMULL) | HAS(SHA1) | HAS(SHA256))
#define V8_6                                                                                       \
    (V8_0 | CRYPTO | HAS(LSE) | HAS(LOR) | HAS(RDM) | HAS(FP16) | HAS(SHA512) | HAS(SHA3) |        \
     HAS(SM3) | HAS(SM4) | HAS(DotProd) | HAS(FHM) | HAS(LRCPC) | HAS(LRCPC2) | HAS(JSCVT) |       \
     HAS(FCMA) | HAS(FRINTTS) | HAS(FlagM) | HAS(FlagM2) | HAS(I8MM) | HAS(BF16) | HAS(SB) |       \
     HAS(XS) | HAS(HBC))

static const struct a64_model models[] = {
    {"max", {V8_6}, 0x000f0510},
    {"cortex-a53", {V8_0 | CRYPTO}, 0x410fd034},
    {"cortex-a57", {V8_0 | CRYPTO}, 0x411fd070},
    {"cortex-a72", {V8_0 | CRYPTO}, 0x410fd083},
};

const char *a64_model_name(unsigned i)
{
    return i < ARRAY_LEN(models) ? models[i].name : NULL;
}

const struct a64_model *a64_model_find(const char *name, struct err *e)
{
    char names[256] = "";
    for (unsigned i = 0; i < ARRAY_LEN(models); i++) {
        if (!name || !strcmp(name, models[i].name))
            return &models[i];
        size_t used = strlen(names);
        snprintf(names + used, sizeof(names) - used, "%s%s", i ? ", " : "", models[i].name);
    }
    err_set(e, EINVAL, "there is no AArch64 CPU \"%s\"; choose one of %s", name, names);
    return NULL;
}

/* ID registers by CRm and op2; op0 is 3, op1 and CRn are 0. */
enum { PFR0 = 4 << 3, PFR1, DFR0 = 5 << 3, ISAR0 = 6 << 3, ISAR1, ISAR2, MMFR0 = 7 << 3 };

/* Where Linux mentions a feature: a bit of the two HWCAP words, and the least value of a field of an
 * ID register. */
static const struct {
    u8 feature, hwcap, id, shift, value;
} offers[] = {
    {A64_FEAT_AES, 3, ISAR0, 4, 1},          {A64_FEAT_PMULL, 4, ISAR0, 4, 2},
    {A64_FEAT_SHA1, 5, ISAR0, 8, 1},         {A64_FEAT_SHA256, 6, ISAR0, 12, 1},
    {A64_FEAT_CRC32, 7, ISAR0, 16, 1},       {A64_FEAT_LSE, 8, ISAR0, 20, 2},
    {A64_FEAT_FP16, 9, PFR0, 16, 1},         {A64_FEAT_FP16, 10, PFR0, 20, 1},
    {A64_FEAT_RDM, 12, ISAR0, 28, 1},        {A64_FEAT_JSCVT, 13, ISAR1, 12, 1},
    {A64_FEAT_FCMA, 14, ISAR1, 16, 1},       {A64_FEAT_LRCPC, 15, ISAR1, 20, 1},
    {A64_FEAT_SHA3, 17, ISAR0, 32, 1},       {A64_FEAT_SM3, 18, ISAR0, 36, 1},
    {A64_FEAT_SM4, 19, ISAR0, 40, 1},        {A64_FEAT_DotProd, 20, ISAR0, 44, 1},
    {A64_FEAT_SHA512, 21, ISAR0, 12, 2},     {A64_FEAT_FHM, 23, ISAR0, 48, 1},
    {A64_FEAT_LRCPC2, 26, ISAR1, 20, 2},     {A64_FEAT_FlagM, 27, ISAR0, 52, 1},
    {A64_FEAT_SB, 29, ISAR1, 36, 1},         {A64_FEAT_FlagM2, 64 + 7, ISAR0, 52, 2},
    {A64_FEAT_FRINTTS, 64 + 8, ISAR1, 32, 1}, {A64_FEAT_I8MM, 64 + 13, ISAR1, 52, 1},
    {A64_FEAT_BF16, 64 + 14, ISAR1, 44, 1},  {A64_FEAT_HBC, 64 + 44, ISAR2, 20, 1},
};

/* The model's features of which every instruction is lifted. */
static u64 complete(const struct a64_model *m)
{
    u64 todo = 0;
    for (unsigned i = 1; i < A64_INSNS; i++) {
        if (a64_insns[i].effects & A64_TODO)
            todo |= 1ull << a64_insns[i].feature;
    }
    return m->features[0] & ~todo;
}

void a64_hwcap(const struct a64_model *m, u64 cap[2])
{
    u64 has = complete(m);
    cap[0] = 1 | 1 << 1 | 1 << 11; /* FP and AdvSIMD are part of the ABI; CPUID: ID registers */
    cap[1] = 0;
    for (unsigned i = 0; i < ARRAY_LEN(offers); i++) {
        if (has >> offers[i].feature & 1)
            cap[offers[i].hwcap / 64] |= 1ull << (offers[i].hwcap % 64);
    }
}

bool a64_id_register(const struct a64_model *m, u32 key, u64 *value)
{
    const u32 group = 3 << 14, id = key & 0x3f;
    if ((key & ~0x7fu) != group || key & 0x40)
        return false; /* not op0 3, op1 0, CRn 0, CRm 0..7 */
    if (id < 8) {
        *value = id == 0 ? m->midr : id == 5 ? 1ull << 31 /* MPIDR_EL1: RES1 */ : 0;
        return id == 0 || id == 5 || id == 6;
    }
    u64 v = id == PFR0 ? 0x11 : id == DFR0 ? 6 : 0; /* EL0 and EL1 are AArch64; v8 debug */
    u64 has = complete(m);
    for (unsigned i = 0; i < ARRAY_LEN(offers); i++) {
        u64 now = v >> offers[i].shift & 15;
        if (offers[i].id == id && has >> offers[i].feature & 1 && now < offers[i].value)
            v ^= (now ^ offers[i].value) << offers[i].shift;
    }
    *value = v;
    return true;
}
