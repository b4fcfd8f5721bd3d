/* Against the host's own unit, where the host is an x86-64: results and all six flags, with random
 * rounding, denormals-are-zero and flush-to-zero. */
#include "check.h"
#include "fp/fp.h"
#include "operands.h"

#ifdef __x86_64__

#include <cpuid.h>

enum { DAZ = 1 << 6, FTZ = 1 << 15, ALL_MASKED = 0x1f80, FLAGS = 0x3f };

/* One instruction under the given MXCSR. Nothing else may be computed in between, so the control
 * word is set and restored inside the asm. Returns the flags in *csr. */
#define HOST_OP(name, template, ...)                                                               \
    static u64 host_##name(u64 a, u64 b, u64 c, u32 *csr)                                          \
    {                                                                                              \
        u32 normal = ALL_MASKED, set = *csr;                                                       \
        u64 r;                                                                                     \
        __asm__ volatile("movq %[a], %%xmm0\n movq %[b], %%xmm1\n movq %[c], %%xmm2\n"             \
                         "ldmxcsr %[set]\n" template "\n stmxcsr %[set]\n ldmxcsr %[normal]\n"     \
                         : [r] "=&r"(r), [set] "+m"(set)                                           \
                         : [a] "r"(a), [b] "r"(b), [c] "r"(c), [normal] "m"(normal)                \
                         : "xmm0", "xmm1", "xmm2", "cc");                                          \
        *csr = set & FLAGS;                                                                        \
        return r;                                                                                  \
    }
#define BINARY32(name, insn) HOST_OP(name, insn " %%xmm1, %%xmm0\n movd %%xmm0, %k[r]")
#define BINARY64(name, insn) HOST_OP(name, insn " %%xmm1, %%xmm0\n movq %%xmm0, %[r]")
#define FUSED32(name, insn)  HOST_OP(name, insn " %%xmm2, %%xmm0, %%xmm1\n movd %%xmm1, %k[r]")
#define FUSED64(name, insn)  HOST_OP(name, insn " %%xmm2, %%xmm0, %%xmm1\n movq %%xmm1, %[r]")
/* 0 less, 1 equal, 2 greater, 3 unordered, as enum fp_order. */
#define ORDER(name, insn)                                                                          \
    HOST_OP(name, insn " %%xmm1, %%xmm0\n mov $3, %k[r]\n jp 1f\n"                                 \
                       "mov $1, %k[r]\n je 1f\n mov $0, %k[r]\n jb 1f\n mov $2, %k[r]\n 1:")

BINARY32(add32, "addss")
BINARY64(add64, "addsd")
BINARY32(sub32, "subss")
BINARY64(sub64, "subsd")
BINARY32(mul32, "mulss")
BINARY64(mul64, "mulsd")
BINARY32(div32, "divss")
BINARY64(div64, "divsd")
BINARY32(min32, "minss")
BINARY64(min64, "minsd")
BINARY32(max32, "maxss")
BINARY64(max64, "maxsd")
HOST_OP(sqrt32, "sqrtss %%xmm0, %%xmm0\n movd %%xmm0, %k[r]")
HOST_OP(sqrt64, "sqrtsd %%xmm0, %%xmm0\n movq %%xmm0, %[r]")
/* NaNs are looked for in the order that the digits of the form name: in 213, the register that is
 * not overwritten (a) goes before the one that is (b). */
FUSED32(fma32, "vfmadd213ss")
FUSED64(fma64, "vfmadd213sd")
FUSED32(fms32, "vfmsub213ss")
FUSED64(fms64, "vfmsub213sd")
FUSED32(fnma32, "vfnmadd213ss")
FUSED64(fnma64, "vfnmadd213sd")
FUSED32(fnms32, "vfnmsub213ss")
FUSED64(fnms64, "vfnmsub213sd")
ORDER(comis32, "comiss")
ORDER(comis64, "comisd")
ORDER(ucomis32, "ucomiss")
ORDER(ucomis64, "ucomisd")
HOST_OP(f32_to_f64, "cvtss2sd %%xmm0, %%xmm0\n movq %%xmm0, %[r]")
HOST_OP(f64_to_f32, "cvtsd2ss %%xmm0, %%xmm0\n movd %%xmm0, %k[r]")
HOST_OP(f16_to_f32, "vcvtph2ps %%xmm0, %%xmm0\n movd %%xmm0, %k[r]")
HOST_OP(f32_to_f16, "vcvtps2ph $4, %%xmm0, %%xmm0\n movd %%xmm0, %k[r]\n movzwl %w[r], %k[r]")
HOST_OP(f32_to_s32, "cvtss2si %%xmm0, %k[r]\n movslq %k[r], %[r]")
HOST_OP(f32_to_s64, "cvtss2si %%xmm0, %[r]")
HOST_OP(f64_to_s32, "cvtsd2si %%xmm0, %k[r]\n movslq %k[r], %[r]")
HOST_OP(f64_to_s64, "cvtsd2si %%xmm0, %[r]")
HOST_OP(f32_trunc_s32, "cvttss2si %%xmm0, %k[r]\n movslq %k[r], %[r]")
HOST_OP(f64_trunc_s64, "cvttsd2si %%xmm0, %[r]")
HOST_OP(s32_to_f32, "cvtsi2ss %k[a], %%xmm0\n movd %%xmm0, %k[r]")
HOST_OP(s64_to_f32, "cvtsi2ss %q[a], %%xmm0\n movd %%xmm0, %k[r]")
HOST_OP(s64_to_f64, "cvtsi2sd %q[a], %%xmm0\n movq %%xmm0, %[r]")
HOST_OP(round32, "roundss $4, %%xmm0, %%xmm0\n movd %%xmm0, %k[r]")
HOST_OP(round64, "roundsd $4, %%xmm0, %%xmm0\n movq %%xmm0, %[r]")
HOST_OP(nearby32, "roundss $12, %%xmm0, %%xmm0\n movd %%xmm0, %k[r]")
HOST_OP(nearby64, "roundsd $12, %%xmm0, %%xmm0\n movq %%xmm0, %[r]")

typedef u64 host_op(u64 a, u64 b, u64 c, u32 *csr);
typedef u64 our_op(u64 a, u64 b, u64 c, struct fp_env *e);

#define OURS(name, expr)                                                                           \
    static u64 ours_##name(u64 a, u64 b, u64 c, struct fp_env *e)                                  \
    {                                                                                              \
        return (u64)(expr);                                                                        \
    }

static const struct fp_int s32_type = {32, true, 0}, s64_type = {64, true, 0};

OURS(add32, fp32_add((u32)a, (u32)b, e))
OURS(add64, fp64_add(a, b, e))
OURS(sub32, fp32_sub((u32)a, (u32)b, e))
OURS(sub64, fp64_sub(a, b, e))
OURS(mul32, fp32_mul((u32)a, (u32)b, e))
OURS(mul64, fp64_mul(a, b, e))
OURS(div32, fp32_div((u32)a, (u32)b, e))
OURS(div64, fp64_div(a, b, e))
OURS(min32, fp32_min((u32)a, (u32)b, FP_MIN_SECOND, e))
OURS(min64, fp64_min(a, b, FP_MIN_SECOND, e))
OURS(max32, fp32_max((u32)a, (u32)b, FP_MIN_SECOND, e))
OURS(max64, fp64_max(a, b, FP_MIN_SECOND, e))
OURS(sqrt32, fp32_sqrt((u32)a, e))
OURS(sqrt64, fp64_sqrt(a, e))
OURS(fma32, fp32_fma((u32)a, (u32)b, (u32)c, 0, e))
OURS(fma64, fp64_fma(a, b, c, 0, e))
OURS(fms32, fp32_fma((u32)a, (u32)b, (u32)c, FP_NEG_ADDEND, e))
OURS(fms64, fp64_fma(a, b, c, FP_NEG_ADDEND, e))
OURS(fnma32, fp32_fma((u32)a, (u32)b, (u32)c, FP_NEG_PRODUCT, e))
OURS(fnma64, fp64_fma(a, b, c, FP_NEG_PRODUCT, e))
OURS(fnms32, fp32_fma((u32)a, (u32)b, (u32)c, FP_NEG_PRODUCT | FP_NEG_ADDEND, e))
OURS(fnms64, fp64_fma(a, b, c, FP_NEG_PRODUCT | FP_NEG_ADDEND, e))
OURS(comis32, fp32_compare((u32)a, (u32)b, true, e))
OURS(comis64, fp64_compare(a, b, true, e))
OURS(ucomis32, fp32_compare((u32)a, (u32)b, false, e))
OURS(ucomis64, fp64_compare(a, b, false, e))
OURS(f32_to_f64, fp32_to_fp64((u32)a, e))
OURS(f64_to_f32, fp64_to_fp32(a, e))
OURS(f16_to_f32, fp16_to_fp32((u16)a, e))
OURS(f32_to_f16, fp32_to_fp16((u32)a, e))
OURS(f32_to_s32, fp32_to_int((u32)a, s32_type, e->round, e))
OURS(f32_to_s64, fp32_to_int((u32)a, s64_type, e->round, e))
OURS(f64_to_s32, fp64_to_int(a, s32_type, e->round, e))
OURS(f64_to_s64, fp64_to_int(a, s64_type, e->round, e))
OURS(f32_trunc_s32, fp32_to_int((u32)a, s32_type, FP_ROUND_ZERO, e))
OURS(f64_trunc_s64, fp64_to_int(a, s64_type, FP_ROUND_ZERO, e))
OURS(s32_to_f32, fp32_from_int(a, s32_type, e))
OURS(s64_to_f32, fp32_from_int(a, s64_type, e))
OURS(s64_to_f64, fp64_from_int(a, s64_type, e))
OURS(round32, fp32_round_int((u32)a, e->round, true, e))
OURS(round64, fp64_round_int(a, e->round, true, e))
OURS(nearby32, fp32_round_int((u32)a, e->round, false, e))
OURS(nearby64, fp64_round_int(a, e->round, false, e))

enum shape { F32, F64, F16, INT };

static const struct {
    const char *name;
    host_op *host;
    our_op *ours;
    enum shape shape;
    const char *needs;
} ops[] = {
#define OP(name, shape)                                                                            \
    {                                                                                              \
#name, host_##name, ours_##name, shape, NULL                                               \
    }
#define OP_IF(name, shape, cpu)                                                                    \
    {                                                                                              \
#name, host_##name, ours_##name, shape, cpu                                                \
    }
    OP(add32, F32),
    OP(add64, F64),
    OP(sub32, F32),
    OP(sub64, F64),
    OP(mul32, F32),
    OP(mul64, F64),
    OP(div32, F32),
    OP(div64, F64),
    OP(min32, F32),
    OP(min64, F64),
    OP(max32, F32),
    OP(max64, F64),
    OP(sqrt32, F32),
    OP(sqrt64, F64),
    OP_IF(fma32, F32, "fma"),
    OP_IF(fma64, F64, "fma"),
    OP_IF(fms32, F32, "fma"),
    OP_IF(fms64, F64, "fma"),
    OP_IF(fnma32, F32, "fma"),
    OP_IF(fnma64, F64, "fma"),
    OP_IF(fnms32, F32, "fma"),
    OP_IF(fnms64, F64, "fma"),
    OP(comis32, F32),
    OP(comis64, F64),
    OP(ucomis32, F32),
    OP(ucomis64, F64),
    OP(f32_to_f64, F32),
    OP(f64_to_f32, F64),
    OP_IF(f16_to_f32, F16, "f16c"),
    OP_IF(f32_to_f16, F32, "f16c"),
    OP(f32_to_s32, F32),
    OP(f32_to_s64, F32),
    OP(f64_to_s32, F64),
    OP(f64_to_s64, F64),
    OP(f32_trunc_s32, F32),
    OP(f64_trunc_s64, F64),
    OP(s32_to_f32, INT),
    OP(s64_to_f32, INT),
    OP(s64_to_f64, INT),
    OP_IF(round32, F32, "sse4.1"),
    OP_IF(round64, F64, "sse4.1"),
    OP_IF(nearby32, F32, "sse4.1"),
    OP_IF(nearby64, F64, "sse4.1"),
};

static bool host_has_f16c(void)
{
    unsigned a, b, c = 0, d;
    /* Not every compiler's __builtin_cpu_supports() knows it; "avx" covers the operating system. */
    return __get_cpuid(1, &a, &b, &c, &d) && c >> 29 & 1 && __builtin_cpu_supports("avx");
}

static bool host_has(const char *what)
{
    return !what || (!strcmp(what, "fma") && __builtin_cpu_supports("fma")) ||
           (!strcmp(what, "f16c") && host_has_f16c()) ||
           (!strcmp(what, "sse4.1") && __builtin_cpu_supports("sse4.1"));
}

static void operands(struct rng *r, enum shape shape, u64 v[3])
{
    const struct operand_format f = shape == F64 ? operand64 : shape == F32 ? operand32 : operand16;
    operand_triple(r, f, v);
    if (shape == INT)
        v[0] = operand_int(r);
}

/* The test of one operation stops at its tenth difference. */
static int compare_once(unsigned op, const u64 v[3], unsigned mode)
{
    /* MXCSR.RC: nearest, down, up, zero */
    static const u8 rounds[] = {FP_ROUND_EVEN, FP_ROUND_DOWN, FP_ROUND_UP, FP_ROUND_ZERO};
    struct fp_env e = {
        .round = rounds[mode & 3],
        .nan_rule = FP_NAN_X86,
        .int_rule = FP_INT_INDEFINITE,
        .denormal_rule = FP_DENORMAL_USED,
        .flush_inputs = mode & 4 ? FP_FLUSH_WIDE : 0,
        .flush_outputs = mode & 8 ? FP_FLUSH_WIDE : 0,
        .flush_inexact = true,
        .default_nan_sign = true,
    };
    u32 csr = ALL_MASKED | (mode & 3) << 13 | (mode & 4 ? DAZ : 0) | (mode & 8 ? FTZ : 0);
    u64 theirs = ops[op].host(v[0], v[1], v[2], &csr);
    u64 ours = ops[op].ours(v[0], v[1], v[2], &e);

    if (ours == theirs && e.flags == csr)
        return 0;
    printf("# %s %#llx %#llx %#llx mode %u: %#llx flags %#x, host %#llx flags %#x\n", ops[op].name,
           (unsigned long long)v[0], (unsigned long long)v[1], (unsigned long long)v[2], mode,
           (unsigned long long)ours, e.flags, (unsigned long long)theirs, csr);
    return 1;
}

TEST(random_operands_as_the_host)
{
    struct rng r = rng_seeded();
    for (unsigned op = 0; op < ARRAY_LEN(ops); op++) {
        if (!host_has(ops[op].needs)) {
            printf("# %s skipped: the host has no %s\n", ops[op].name, ops[op].needs);
            continue;
        }
        int bad = 0;
        for (int i = 0; i < 200000 && bad < 10; i++) {
            u64 v[3];
            operands(&r, ops[op].shape, v);
            /* Plain rounding half of the time. */
            unsigned mode = rng_below(&r, 16);
            bad += compare_once(op, v, i & 1 ? mode : mode & 3);
        }
        CHECK(!bad);
    }
}

TEST(every_half_as_the_host)
{
    if (!host_has("f16c")) {
        printf("# skipped: the host has no f16c\n");
        return;
    }
    unsigned op = 0;
    while (strcmp(ops[op].name, "f16_to_f32"))
        op++;
    int bad = 0;
    for (u64 a = 0; a < 0x10000 && bad < 10; a++)
        bad += compare_once(op, (u64[3]){a}, (unsigned)a & 3);
    CHECK(!bad);
}

#else

TEST(host)
{
    printf("# skipped: the host is not an x86-64\n");
}

#endif

TEST_MAIN()
