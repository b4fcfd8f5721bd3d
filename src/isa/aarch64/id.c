/* The ID registers of a machine's CPU: what models are made of, and what of it lyre has (Arm ARM, D17.2; the
 * technical reference manuals of the CPUs). EL0 and EL1 are AArch64 alone, and there are no other levels. */
#include <string.h>

#include "isa/aarch64/system.h"

#define CSV (1ull << 56 | 1ull << 60)

/* What a program is not told. */
static const struct facts {
    const char *model;
    u64 pfr0;    /* that speculation does not leak: CSV2, CSV3 */
    u64 mmfr0;   /* ranges of addresses, sizes of pages */
    u64 dfr0;    /* six breakpoints, four watchpoints */
    u32 monitors; /* PMCR_EL0.IDCODE */
    u64 clidr;
    u64 cache[3]; /* CCSIDR_EL1 by CSSELR_EL1: data, instructions, second level */
} facts[] = {
    {"max", CSV, 0x101125, 0x10305408, 0x01, 0x0a200023, {0x701fe00a, 0x201fe012, 0x70ffe07a}},
    {"cortex-a35", 0, 0x101022, 0x10305106, 0x0a, 0x0a200023, {0x700fe01a, 0x201fe00a, 0x703fe03a}},
    {"cortex-a53", 0, 0x001022, 0x10305106, 0x03, 0x0a200023, {0x700fe01a, 0x201fe00a, 0x707fe07a}},
    {"cortex-a55", CSV, 0x101022, 0x10305408, 0x45, 0x82000023, {0x700fe01a, 0x200fe01a, 0x703fe01a}},
    {"cortex-a57", 0, 0x001024, 0x10305106, 0x01, 0x0a200023, {0x701fe00a, 0x201fe012, 0x70ffe07a}},
    {"cortex-a72", 0, 0x001024, 0x10305106, 0x02, 0x0a200023, {0x701fe00a, 0x201fe012, 0x707fe07a}},
    {"cortex-a76", CSV, 0x101022, 0x10305408, 0x0b, 0x82000023, {0x701fe01a, 0x201fe01a, 0x707fe03a}},
    {"neoverse-n1", CSV, 0x101025, 0x10305408, 0x0c, 0x82000023, {0x701fe01a, 0x201fe01a, 0x70ffe03a}},
    {"a64fx", 0, 0x001025, 0x10305408, 0x01, 0x80000023, {0x7007e01c, 0x2007e01c, 0x70ffe07c}},
};

static const struct facts *facts_of(const struct a64_model *m)
{
    unsigned i = 0;
    while (strcmp(facts[i].model, m->name))
        i++;
    return &facts[i];
}

/* Features that programs do not see, and where they are told. */
static const struct {
    u8 feature;
    u16 key;
    u8 shift, value;
} offers[] = {
    {A64_FEAT_TLBIOS, A64_REG_ID_AA64ISAR0_EL1, 56, 1}, {A64_FEAT_TLBIRANGE, A64_REG_ID_AA64ISAR0_EL1, 56, 2},
    {A64_FEAT_PAN, A64_REG_ID_AA64MMFR1_EL1, 20, 1},    {A64_FEAT_PAN2, A64_REG_ID_AA64MMFR1_EL1, 20, 2},
    {A64_FEAT_LOR, A64_REG_ID_AA64MMFR1_EL1, 16, 1},
    {A64_FEAT_HAFDBS, A64_REG_ID_AA64MMFR1_EL1, 0, 2},  {A64_FEAT_UAO, A64_REG_ID_AA64MMFR2_EL1, 4, 1},
    {A64_FEAT_E0PD, A64_REG_ID_AA64MMFR2_EL1, 60, 1},   {A64_FEAT_IDST, A64_REG_ID_AA64MMFR2_EL1, 36, 1},
};

/* Parts that all models of Armv8.1 on have: hierarchical permissions can be off; common translations. */
static u64 common(const struct a64_model *m, u32 key)
{
    if (!a64_has(m, A64_FEAT_PAN))
        return 0;
    return key == A64_REG_ID_AA64MMFR1_EL1 ? 1 << 12 : key == A64_REG_ID_AA64MMFR2_EL1 ? 1 : 0;
}

bool a64_machine_id(const struct a64_model *m, u32 key, u64 *value)
{
    const struct facts *f = facts_of(m);
    switch (key) {
    case A64_REG_ID_AA64MMFR0_EL1:
        *value = f->mmfr0;
        return true;
    case A64_REG_ID_AA64DFR0_EL1:
        *value = f->dfr0;
        return true;
    case A64_REG_CLIDR_EL1:
        *value = f->clidr;
        return true;
    case A64_REG_AIDR_EL1:
        *value = 0;
        return true;
    case A64_REG_PMCEID0_EL0:
        *value = 1 << 0x11 | 1 << 0x00; /* cycles, and what software counts */
        return true;
    case A64_REG_PMCEID1_EL0: /* PMUv3p1 has what stalls the front end and the back end: nothing does */
        *value = (f->dfr0 >> 8 & 15) >= 4 ? 1 << 0x03 | 1 << 0x04 : 0;
        return true;
    default:
        break;
    }
    if (!a64_id_register(m, key, value))
        *value = 0; /* those of AArch32, and those that say nothing yet */
    for (unsigned i = 0; i < ARRAY_LEN(offers); i++) {
        if (offers[i].key == key && a64_has(m, offers[i].feature))
            *value = (*value & ~(15ull << offers[i].shift)) | (u64)offers[i].value << offers[i].shift;
    }
    *value |= common(m, key) | (key == A64_REG_ID_AA64PFR0_EL1 ? f->pfr0 : 0);
    return true;
}

u64 a64_pmcr(const struct a64_model *m)
{
    return (m->midr >> 24) << 24 | facts_of(m)->monitors << 16 | A64_EVENTS << 11;
}

u64 a64_cache_size(const struct a64_model *m, u64 selected)
{
    const struct facts *f = facts_of(m);
    return selected < ARRAY_LEN(f->cache) ? f->cache[selected] : 0;
}
