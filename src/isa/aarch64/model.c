/* CPU models, and what they tell programs about themselves. */
#include <errno.h>
#include <string.h>

#include "cpu/model.h"
#include "isa/aarch64/decode.h"
#include "isa/aarch64/state.h"

#define HAS(f) (1ull << A64_FEAT_##f)

/* What models have in common. LSE2 is only for who asks: docs/decisions/0007-lse2-is-off-by-default.md. */
#define V8_0 (HAS(BASE) | HAS(FP) | HAS(AdvSIMD))
#define V8_1_SYSTEM (HAS(PAN) | HAS(PAN2) | HAS(HAFDBS))
#define CRYPTO (HAS(AES) | HAS(PMULL) | HAS(SHA1) | HAS(SHA256))
#define V8_0_CRYPTO (V8_0 | HAS(CRC32) | CRYPTO)
#define V8_2                                                                                       \
    (V8_0_CRYPTO | V8_1_SYSTEM | HAS(UAO) | HAS(LSE) | HAS(LOR) | HAS(RDM) | HAS(FP16) | HAS(DotProd) |      \
     HAS(LRCPC) | HAS(DPB))
#define MAX_                                                                                       \
    (V8_2 | HAS(SHA512) | HAS(SHA3) | HAS(SM3) | HAS(SM4) | HAS(FHM) | HAS(LRCPC2) | HAS(JSCVT) |   \
     HAS(FCMA) | HAS(FRINTTS) | HAS(FlagM) | HAS(FlagM2) | HAS(PAuth) | HAS(I8MM) | HAS(BF16) |    \
     HAS(SB) | HAS(XS) | HAS(HBC) | HAS(SSBS) | HAS(DIT) | HAS(DPB2) | HAS(BTI) |     \
     HAS(E0PD) | HAS(IDST) | HAS(TLBIOS) | HAS(TLBIRANGE))
#define OPTIONAL HAS(LSE2)

/* A64FX comes after the others: it is not offered as it is. */
static const struct a64_model models[] = {
    {"max", MAX_, 0x000f0510},
    {"cortex-a35", V8_0_CRYPTO, 0x411fd040},
    {"cortex-a53", V8_0_CRYPTO, 0x410fd034},
    {"cortex-a55", V8_2, 0x412fd050},
    {"cortex-a57", V8_0_CRYPTO, 0x411fd070},
    {"cortex-a72", V8_0_CRYPTO, 0x410fd083},
    {"cortex-a76", V8_2, 0x414fd0b1},
    {"neoverse-n1", V8_2 | HAS(SSBS), 0x414fd0c1},
};
static const struct a64_model a64fx = {
    "a64fx",
    V8_0_CRYPTO | HAS(PAN) | HAS(PAN2) | HAS(UAO) | HAS(LSE) | HAS(LOR) | HAS(RDM) | HAS(FP16) | HAS(FCMA) | HAS(DPB),
    0x461f0010,
};

/* The first feature of a pair is not without the second. */
static const u8 needs[][2] = {
    {A64_FEAT_PMULL, A64_FEAT_AES},      {A64_FEAT_SHA256, A64_FEAT_SHA1},
    {A64_FEAT_SHA512, A64_FEAT_SHA256},  {A64_FEAT_SHA3, A64_FEAT_SHA512},
    {A64_FEAT_FHM, A64_FEAT_FP16},       {A64_FEAT_LRCPC2, A64_FEAT_LRCPC},
    {A64_FEAT_FlagM2, A64_FEAT_FlagM},   {A64_FEAT_DPB2, A64_FEAT_DPB},
    {A64_FEAT_LSE2, A64_FEAT_LSE},       {A64_FEAT_PAN2, A64_FEAT_PAN},
    {A64_FEAT_TLBIRANGE, A64_FEAT_TLBIOS},
};

/* Names of features that come later; as yet they can only be off. */
static const char *const later[] = {"sve", "sve2", "sme", "mte", "el2", "el3"};

const char *a64_model_name(unsigned i)
{
    return i < ARRAY_LEN(models) ? models[i].name : NULL;
}

static const struct model_rules rules = {
    .guest = "AArch64 CPU",
    .name = a64_model_name,
    .features = a64_feature_names,
    .count = A64_FEATURES,
    .prefix = sizeof("FEAT_") - 1,
    .free = (MAX_ | OPTIONAL) & ~V8_0,
    .needs = needs,
    .nneeds = ARRAY_LEN(needs),
    .others = "pauth-impdef",
};

static bool change_feature(struct a64_model *m, const struct model_change *c, struct err *e)
{
    if (model_change_is(c, "pauth-impdef")) {
        m->qarma = !c->on;
        return true;
    }
    for (unsigned i = 0; i < ARRAY_LEN(later); i++) {
        if (model_change_is(c, later[i]))
            return !c->on || err_set(e, ENOTSUP, "%s is not there yet", later[i]);
    }
    return model_switch(&rules, c, &m->features, e);
}

static bool find_name(const char *description, struct a64_model *m, struct err *e)
{
    size_t len = strlen(a64fx.name);
    if (description && !strncmp(description, a64fx.name, len) && (!description[len] || description[len] == ',')) {
        *m = a64fx;
        if (!strncmp(description + len, ",sve=off", 8))
            return true;
        return err_set(e, ENOTSUP, "a64fx has SVE, which is not there yet; \"a64fx,sve=off\" does without");
    }
    int i = model_find(&rules, description, e);
    if (i >= 0)
        *m = models[i];
    return i >= 0;
}

bool a64_model_find(const char *description, struct a64_model *m, struct err *e)
{
    struct model_change c;
    if (!find_name(description, m, e))
        return false;
    const char *at = description ? description + strcspn(description, ",") : "";
    while (model_next_change(&at, &c, e)) {
        if (!change_feature(m, &c, e))
            return false;
    }
    return !at;
}

/* ID registers by CRm and op2; op0 is 3, op1 and CRn are 0. */
enum { PFR0 = 4 << 3, PFR1, DFR0 = 5 << 3, ISAR0 = 6 << 3, ISAR1, ISAR2, MMFR0 = 7 << 3, MMFR2 = (7 << 3) + 2 };

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
    {A64_FEAT_DPB, 16, ISAR1, 0, 1},         {A64_FEAT_DPB2, 64 + 0, ISAR1, 0, 2},
    {A64_FEAT_DIT, 24, PFR0, 48, 1},         {A64_FEAT_LSE2, 25, MMFR2, 32, 1},
    {A64_FEAT_SSBS, 28, PFR1, 4, 2},         {A64_FEAT_BTI, 64 + 17, PFR1, 0, 1},
};

/* Pointer authentication has a field for each of its algorithms: addresses, then generic. */
static const struct {
    u8 hwcap, qarma_shift, quick_shift;
} pauth[] = {{30, 4, 8}, {31, 24, 28}};

void a64_hwcap(const struct a64_model *m, u64 cap[2])
{
    cap[0] = 1 | 1 << 1 | 1 << 11; /* FP and AdvSIMD are part of the ABI; CPUID: ID registers */
    cap[1] = 0;
    for (unsigned i = 0; i < ARRAY_LEN(offers); i++) {
        if (a64_has(m, offers[i].feature))
            cap[offers[i].hwcap / 64] |= 1ull << (offers[i].hwcap % 64);
    }
    for (unsigned i = 0; i < ARRAY_LEN(pauth); i++) {
        if (a64_has(m, A64_FEAT_PAuth))
            cap[0] |= 1ull << pauth[i].hwcap;
    }
}

bool a64_id_register(const struct a64_model *m, u32 key, u64 *value)
{
    const u32 group = 3 << 14, id = key & 0x3f;
    if ((key & ~0x7fu) != group || key & 0x40)
        return false; /* not op0 3, op1 0, CRn 0, CRm 0..7 */
    if (id < 16) {
        *value = id == 0 ? m->midr : id == 5 ? 1ull << 31 /* MPIDR_EL1: RES1 */ : 0;
        return id == 0 || id == 5 || id == 6;
    }
    /* EL0 and EL1 are AArch64; v8 debug; no size of pages is told */
    u64 v = id == PFR0 ? 0x11 : id == DFR0 ? 6 : id == MMFR0 ? 0xff000000 : 0;
    for (unsigned i = 0; i < ARRAY_LEN(offers); i++) {
        u64 now = v >> offers[i].shift & 15;
        if (offers[i].id == id && a64_has(m, offers[i].feature) && now < offers[i].value)
            v ^= (now ^ offers[i].value) << offers[i].shift;
    }
    for (unsigned i = 0; i < ARRAY_LEN(pauth); i++) {
        if (id == ISAR1 && a64_has(m, A64_FEAT_PAuth))
            v |= 1ull << (m->qarma ? pauth[i].qarma_shift : pauth[i].quick_shift);
    }
    *value = v;
    return true;
}
