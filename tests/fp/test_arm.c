/* Against an AArch64: results and FPSR, with random rounding, default NaN, flush-to-zero (both) and
 * alternative half precision. LYRE_ARM_ORACLE is the command that runs arm_oracle. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arm_ops.h"
#include "check.h"
#include "fp/fp.h"
#include "operands.h"

enum { ROUNDS = 5000 }; /* records per operation */

enum shape { F16, F32, F64, INT };
enum result { V, V16, V32, G32, G64, N, JS };

#define S16 ((struct fp_int){16, true, 0})
#define U16 ((struct fp_int){16, false, 0})
#define S32 ((struct fp_int){32, true, 0})
#define U32 ((struct fp_int){32, false, 0})
#define S64 ((struct fp_int){64, true, 0})
#define U64 ((struct fp_int){64, false, 0})

static struct fp_int FIX(struct fp_int type, u8 frac_bits) {
    type.frac_bits = frac_bits;
    return type;
}

static u64
to_odd(u64 a, struct fp_env *e)
{
    u8 round = e->round;
    e->round = FP_ROUND_ODD;
    u64 r = fp64_to_fp32(a, e);
    e->round = round;
    return r;
}

#define X(name, insn, shape, result, expr)                                                         \
    static u64 ours_##name(u64 a, u64 b, u64 c, bool *exact, struct fp_env *e)                     \
    {                                                                                              \
        return (u64)(expr);                                                                        \
    }
ARM_OPS(X)
#undef X

static const struct {
    const char *insn;
    enum shape shape;
    enum result result;
    u64 (*ours)(u64 a, u64 b, u64 c, bool *exact, struct fp_env *e);
} ops[] = {
#define X(name, insn, shape, result, expr) {insn, shape, result, ours_##name},
    ARM_OPS(X)
#undef X
};

static struct fp_env env_of(u32 fpcr)
{
    return (struct fp_env){
        .round = fpcr >> 22 & 3,
        .nan_rule = FP_NAN_ARM,
        .int_rule = FP_INT_SATURATE,
        .denormal_rule = FP_DENORMAL_FLUSHED,
        .flush_inputs = (fpcr >> 24 & 1 ? FP_FLUSH_WIDE : 0) | (fpcr >> 19 & 1 ? FP_FLUSH_HALF : 0),
        .flush_outputs =
            (fpcr >> 24 & 1 ? FP_FLUSH_WIDE : 0) | (fpcr >> 19 & 1 ? FP_FLUSH_HALF : 0),
        .default_nan = fpcr >> 25 & 1,
        .tininess_before = true,
        .inf_zero_invalid = true,
        .alternative_half = fpcr >> 26 & 1,
    };
}

static u32 fpsr_of(u32 flags)
{
    return (flags & FP_INVALID ? 1u : 0) | (flags & FP_DIVZERO ? 2u : 0) |
           (flags & FP_OVERFLOW ? 4u : 0) | (flags & FP_UNDERFLOW ? 8u : 0) |
           (flags & FP_INEXACT ? 16u : 0) | (flags & FP_DENORMAL_IN ? 128u : 0);
}

static int check_record(const struct arm_record *r)
{
    static const u8 nzcv[] = {[FP_LESS] = 8, [FP_EQUAL] = 6, [FP_GREATER] = 2, [FP_UNORDERED] = 3};
    struct fp_env e = env_of(r->fpcr);
    bool exact = false;
    u64 ours = ops[r->op].ours(r->a, r->b, r->c, &exact, &e), theirs = r->v;

    switch (ops[r->op].result) {
    case V:
        break;
    case V16: /* the emulator does not clear the bits above */
        ours &= 0xffff;
        theirs &= 0xffff;
        break;
    case V32:
        theirs &= 0xffffffff;
        break;
    case G32:
        ours &= 0xffffffff;
        theirs = r->x;
        break;
    case G64:
        theirs = r->x;
        break;
    case N:
        ours = nzcv[ours];
        theirs = r->nzcv;
        break;
    case JS:
        ours |= (u64)exact << 62;
        theirs = r->x | (u64)r->nzcv << 60;
        /* A flushed operand is not exact in the pseudo-code; some emulators say that it is. */
        if (e.flags & FP_DENORMAL_IN)
            theirs &= ~((u64)1 << 62);
        break;
    }
    if (ours == theirs && fpsr_of(e.flags) == r->fpsr)
        return 0;
    printf("# %s: %#llx %#llx %#llx fpcr %#x: %#llx fpsr %#x, theirs %#llx fpsr %#x\n",
           ops[r->op].insn, (unsigned long long)r->a, (unsigned long long)r->b,
           (unsigned long long)r->c, r->fpcr, (unsigned long long)ours, fpsr_of(e.flags),
           (unsigned long long)theirs, r->fpsr);
    return 1;
}

/* --- the other process --- */

struct oracle {
    int in, out;
    pid_t pid;
};

static bool oracle_start(struct oracle *o, const char *command)
{
    int in[2], out[2];
    if (pipe(in) || pipe(out))
        return false;
    o->pid = fork();
    if (!o->pid) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    o->in = in[1];
    o->out = out[0];
    return o->pid > 0;
}

static bool oracle_run(struct oracle *o, struct arm_record *batch)
{
    size_t size = ARM_BATCH * sizeof(*batch), done = 0;
    if (write(o->in, batch, size) != (ssize_t)size)
        return false;
    while (done < size) {
        ssize_t n = read(o->out, (char *)batch + done, size - done);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static void oracle_stop(struct oracle *o)
{
    close(o->in);
    close(o->out);
    waitpid(o->pid, NULL, 0);
}

static void fill(struct rng *r, unsigned op, struct arm_record *record)
{
    enum shape shape = ops[op].shape;
    const struct operand_format f = shape == F16 ? operand16 : shape == F32 ? operand32 : operand64;
    *record = (struct arm_record){.op = op};
    u64 v[3];
    operand_triple(r, f, v);
    record->a = shape == INT ? operand_int(r) : v[0];
    record->b = v[1];
    record->c = v[2];
    if (rng_below(r, 2)) /* FZ16, rounding, FZ, DN, AHP; else just rounding */
        record->fpcr = rng_below(r, 2) << 19 | rng_below(r, 32) << 22;
    else
        record->fpcr = rng_below(r, 4) << 22;
}

TEST(random_operands_as_an_aarch64)
{
    const char *command = getenv("LYRE_ARM_ORACLE");
    struct rng r = rng_seeded();
    struct oracle o = {0};

    if (!command) {
        printf("# skipped: no qemu-aarch64 or no aarch64-linux-gnu-gcc\n");
        return;
    }
    signal(SIGPIPE, SIG_IGN);
    CHECK(oracle_start(&o, command));
    struct arm_record *batch = malloc(ARM_BATCH * sizeof(*batch));
    for (unsigned op = 0; op < ARRAY_LEN(ops); op++) {
        int bad = 0;
        for (int i = 0; i < ROUNDS && bad < 5; i += ARM_BATCH) {
            for (int k = 0; k < ARM_BATCH; k++)
                fill(&r, op, &batch[k]);
            if (!oracle_run(&o, batch)) {
                CHECK(!"the oracle answers");
                goto out;
            }
            for (int k = 0; k < ARM_BATCH && bad < 5; k++)
                bad += check_record(&batch[k]);
        }
        CHECK(!bad);
    }
out:
    free(batch);
    oracle_stop(&o);
}

TEST_MAIN()
