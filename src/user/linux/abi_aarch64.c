/* Linux on AArch64. */
#include <string.h>

#include "user/linux/abi.h"
#include "user/linux/headers.h"

static const struct abi_bits open_flags[] = {
    {040000, O_DIRECTORY}, {0100000, O_NOFOLLOW}, {0200000, O_DIRECT}, {0400000, 0100000}, {0},
};

/* ---- signal frames ---- */

struct a64_sigcontext {
    u64 fault_address;
    u64 regs[31];
    u64 sp, pc, pstate;
    u64 align;
    u8 records[4096];
};

struct a64_frame {
    siginfo_t info;
    u64 uc_flags, uc_link;
    struct kernel_stack stack;
    u64 sigmask;
    u8 unused[120];
    u64 uc_pad;
    struct a64_sigcontext mcontext;
    u64 fp, lr; /* the frame record that x29 points to */
};

_Static_assert(offsetof(struct a64_frame, mcontext) == 128 + 176, "as the kernel's");
_Static_assert(offsetof(struct a64_frame, fp) == 4688, "as the kernel's");

struct a64_record {
    u32 magic, size;
};

struct a64_fpsimd {
    struct a64_record head;
    u32 fpsr, fpcr;
    v128 v[32];
};

struct a64_esr {
    struct a64_record head;
    u64 esr;
};

#define FPSIMD_MAGIC 0x46508001u
#define ESR_MAGIC    0x45535201u
#define PSTATE_BITS  0xf1001000u /* NZCV, DIT, SSBS: what a handler may change */
#define PSTATE_BTYPE_AT 10       /* where landings are checked, in the low bits of our pc */
#define BTYPE_CALL      2

/* Registers by name: signals are rare enough for a look-up each. */
static int reg(const struct thread *t, const char *name)
{
    return isa_reg_find(t->process->isa, name);
}

static int xreg(const struct thread *t, unsigned n)
{
    char name[8] = {'x', (char)('0' + n / 10), (char)('0' + n % 10)};
    if (n < 10)
        memcpy(name, (char[]){'x', (char)('0' + n), 0}, 3);
    return reg(t, name);
}

static int vreg(const struct thread *t, unsigned n)
{
    char name[8] = {'v', (char)('0' + n / 10), (char)('0' + n % 10)};
    if (n < 10)
        memcpy(name, (char[]){'v', (char)('0' + n), 0}, 3);
    return reg(t, name);
}

/* The syndrome of a memory fault: which kind of access, and whether the page is there. */
static u64 syndrome(const struct abi_frame *f)
{
    bool fetch = f->access == IR_ACCESS_EXEC;
    u64 class = fetch ? 0x20 : 0x24;
    u64 status = f->sig == SIGBUS ? 0x10 : f->mapped ? 0x0f : 0x07;
    return class << 26 | 1u << 25 | (f->access == IR_ACCESS_WRITE ? 1u << 6 : 0) | status;
}

static void fill_frame(struct thread *t, const struct abi_frame *f, struct a64_frame *k)
{
    struct vcpu *cpu = t->cpu;
    u8 *record = k->mcontext.records;
    k->info = *f->info;
    k->sigmask = f->mask;
    k->stack.sp = f->alt_sp;
    k->stack.size = f->alt_size;
    k->stack.flags = (s32)f->alt_flags;
    for (unsigned i = 0; i < 31; i++)
        k->mcontext.regs[i] = vcpu_get(cpu, xreg(t, i));
    k->mcontext.sp = vcpu_get(cpu, t->process->regs.sp);
    k->mcontext.pc = thread_insn(t);
    k->mcontext.pstate = vcpu_get(cpu, reg(t, "pstate")) | (vcpu_pc(cpu) - k->mcontext.pc) << PSTATE_BTYPE_AT;
    struct a64_fpsimd fp = {{FPSIMD_MAGIC, sizeof(fp)},
                            (u32)vcpu_get(cpu, reg(t, "fpsr")),
                            (u32)vcpu_get(cpu, reg(t, "fpcr")),
                            {{{0}}}};
    for (unsigned i = 0; i < 32; i++)
        vcpu_reg_get(cpu, vreg(t, i), &fp.v[i]);
    memcpy(record, &fp, sizeof(fp));
    record += sizeof(fp);
    if (f->fault) {
        struct a64_esr esr = {{ESR_MAGIC, sizeof(esr)}, syndrome(f)};
        k->mcontext.fault_address = f->addr;
        memcpy(record, &esr, sizeof(esr));
    }
    k->fp = k->mcontext.regs[29];
    k->lr = k->mcontext.regs[30];
}

static bool frame_push(struct thread *t, const struct abi_frame *f)
{
    struct a64_frame k;
    u64 at = ALIGN_DOWN(f->sp - 16, 16);
    u64 record = at, frame = at - offsetof(struct a64_frame, fp);
    memset(&k, 0, sizeof(k));
    fill_frame(t, f, &k);
    if (!space_write(&t->process->space, frame, &k, sizeof(k)))
        return false;
    bool info = f->action.flags & SA_SIGINFO;
    vcpu_set(t->cpu, xreg(t, 0), (u64)f->sig);
    if (info) {
        vcpu_set(t->cpu, xreg(t, 1), frame + offsetof(struct a64_frame, info));
        vcpu_set(t->cpu, xreg(t, 2), frame + offsetof(struct a64_frame, uc_flags));
    }
    vcpu_set(t->cpu, xreg(t, 29), record);
    vcpu_set(t->cpu, xreg(t, 30),
             f->action.flags & SA_RESTORER ? f->action.restorer : t->process->sigreturn);
    vcpu_set(t->cpu, t->process->regs.sp, frame);
    vcpu_set_pc(t->cpu, f->action.handler | (t->process->space.guards ? BTYPE_CALL : 0));
    return true;
}

/* Find the vector registers among the records. Others that we know of carry nothing to restore. */
static bool read_records(const struct a64_frame *k, struct a64_fpsimd *fp)
{
    const u8 *at = k->mcontext.records, *end = at + sizeof(k->mcontext.records);
    bool found = false;
    while (end - at >= (ptrdiff_t)sizeof(struct a64_record)) {
        struct a64_record r;
        memcpy(&r, at, sizeof(r));
        if (!r.magic)
            return found && !r.size;
        if (r.size < sizeof(r) || r.size & 15 || r.size > (size_t)(end - at))
            return false;
        if (r.magic == FPSIMD_MAGIC) {
            if (found || r.size != sizeof(*fp))
                return false;
            memcpy(fp, at, sizeof(*fp));
            found = true;
        } else if (r.magic != ESR_MAGIC) {
            return false;
        }
        at += r.size;
    }
    return false;
}

static bool frame_pop(struct thread *t, struct abi_return *r)
{
    struct vcpu *cpu = t->cpu;
    struct a64_frame k;
    struct a64_fpsimd fp;
    u64 sp = vcpu_get(cpu, t->process->regs.sp);
    if (sp & 15 || !space_read(&t->process->space, &k, sp, offsetof(struct a64_frame, fp)) ||
        !read_records(&k, &fp))
        return false;
    for (unsigned i = 0; i < 31; i++)
        vcpu_set(cpu, xreg(t, i), k.mcontext.regs[i]);
    for (unsigned i = 0; i < 32; i++)
        vcpu_reg_set(cpu, vreg(t, i), &fp.v[i]);
    vcpu_set(cpu, reg(t, "fpsr"), fp.fpsr);
    vcpu_set(cpu, reg(t, "fpcr"), fp.fpcr);
    vcpu_set(cpu, reg(t, "pstate"), k.mcontext.pstate & PSTATE_BITS);
    vcpu_set(cpu, t->process->regs.sp, k.mcontext.sp);
    u64 btype = t->process->space.guards ? k.mcontext.pstate >> PSTATE_BTYPE_AT & 3 : 0;
    vcpu_set_pc(cpu, k.mcontext.pc | btype);
    r->mask = k.sigmask;
    r->alt_sp = k.stack.sp;
    r->alt_size = k.stack.size;
    r->alt_flags = (u32)k.stack.flags;
    return true;
}

/* ---- /proc/cpuinfo ---- */

static void cpuinfo(FILE *out, unsigned n, struct vcpu *cpu)
{
    /* By bit of AT_HWCAP and AT_HWCAP2. */
    static const char *const names[2][64] = {
        {"fp",      "asimd", "evtstrm", "aes",     "pmull",   "sha1",   "sha2",    "crc32",
         "atomics", "fphp",  "asimdhp", "cpuid",   "asimdrdm", "jscvt", "fcma",    "lrcpc",
         "dcpop",   "sha3",  "sm3",     "sm4",     "asimddp", "sha512", "sve",     "asimdfhm",
         "dit",     "uscat", "ilrcpc",  "flagm",   "ssbs",    "sb",     "paca",    "pacg"},
        {"dcpodp",    "sve2",     "sveaes",   "svepmull", "svebitperm", "svesha3", "svesm4",
         "flagm2",    "frint",    "svei8mm",  "svef32mm", "svef64mm",   "svebf16", "i8mm",
         "bf16",      "dgh",      "rng",      "bti",      "mte",        "ecv",     "afp",
         "rpres",     "mte3",     "sme",      [44] = "hbc"},
    };
    u64 cap[2] = {0}, midr = vcpu_get(cpu, isa_reg_find(cpu->isa, "midr_el1"));
    cpu->isa->hwcap(cpu, cap);
    fprintf(out, "processor\t: %u\nBogoMIPS\t: 100.00\nFeatures\t:", n);
    for (unsigned i = 0; i < 128; i++) {
        if (cap[i / 64] >> (i % 64) & 1 && names[i / 64][i % 64])
            fprintf(out, " %s", names[i / 64][i % 64]);
    }
    fprintf(out, "\nCPU implementer\t: 0x%02x\nCPU architecture: 8\nCPU variant\t: 0x%x\n"
                 "CPU part\t: 0x%03x\nCPU revision\t: %u\n\n",
            (unsigned)(midr >> 24), (unsigned)(midr >> 20 & 15), (unsigned)(midr >> 4 & 0xfff),
            (unsigned)(midr & 15));
}

/* ---- pointer authentication ---- */

#define HWCAP_PACA (1ull << 30)

static bool new_keys(struct thread *t, u64 set)
{
    static const char *const names[][2] = {
        {"apiakeylo_el1", "apiakeyhi_el1"}, {"apibkeylo_el1", "apibkeyhi_el1"},
        {"apdakeylo_el1", "apdakeyhi_el1"}, {"apdbkeylo_el1", "apdbkeyhi_el1"},
        {"apgakeylo_el1", "apgakeyhi_el1"},
    };
    u64 cap[2];
    t->process->isa->hwcap(t->cpu, cap);
    if (!(cap[0] & HWCAP_PACA))
        return false;
    for (unsigned k = 0; k < ARRAY_LEN(names); k++) {
        u64 key[2];
        if (set && !(set >> k & 1))
            continue;
        process_random(t->process, key, sizeof(key));
        vcpu_set(t->cpu, reg(t, names[k][0]), key[0]);
        vcpu_set(t->cpu, reg(t, names[k][1]), key[1]);
    }
    return true;
}

/* The functions of the vDSO. Two registers in the space that the architecture leaves to implementations
 * give the time (lift_sys.c): s3_3_c15_c12_0 CLOCK_REALTIME, _1 CLOCK_MONOTONIC, in nanoseconds. Other
 * clocks and time zones are the kernel's. */
static const u32 vdso_code[] = {
    /* __kernel_clock_gettime */
    0x340000a0, /*   0 cbz w0, 0x14 */
    0x7100041f, /*   4 cmp w0, #0x1 */
    0x54000161, /*   8 b.ne 0x34 */
    0xd53bfc22, /*   c mrs x2, s3_3_c15_c12_1 */
    0x14000002, /*  10 b 0x18 */
    0xd53bfc02, /*  14 mrs x2, s3_3_c15_c12_0 */
    0x52994003, /*  18 mov w3, #0xca00 */
    0x72a77343, /*  1c movk w3, #0x3b9a, lsl #16 */
    0x9ac30844, /*  20 udiv x4, x2, x3 */
    0x9b038882, /*  24 msub x2, x4, x3, x2 */
    0xa9000824, /*  28 stp x4, x2, [x1] */
    0x52800000, /*  2c mov w0, #0x0 */
    0xd65f03c0, /*  30 ret */
    0xd2800e28, /*  34 mov x8, #0x71 */
    0xd4000001, /*  38 svc #0x0 */
    0xd65f03c0, /*  3c ret */
    /* __kernel_gettimeofday */
    0xb5000181, /*  40 cbnz x1, 0x70 */
    0xb4000120, /*  44 cbz x0, 0x68 */
    0xd53bfc02, /*  48 mrs x2, s3_3_c15_c12_0 */
    0x52807d03, /*  4c mov w3, #0x3e8 */
    0x9ac30842, /*  50 udiv x2, x2, x3 */
    0x52884803, /*  54 mov w3, #0x4240 */
    0x72a001e3, /*  58 movk w3, #0xf, lsl #16 */
    0x9ac30844, /*  5c udiv x4, x2, x3 */
    0x9b038882, /*  60 msub x2, x4, x3, x2 */
    0xa9000804, /*  64 stp x4, x2, [x0] */
    0x52800000, /*  68 mov w0, #0x0 */
    0xd65f03c0, /*  6c ret */
    0xd2801528, /*  70 mov x8, #0xa9 */
    0xd4000001, /*  74 svc #0x0 */
    0xd65f03c0, /*  78 ret */
    /* __kernel_clock_getres */
    0xd2800e48, /*  7c mov x8, #0x72 */
    0xd4000001, /*  80 svc #0x0 */
    0xd65f03c0, /*  84 ret */
    0xd503201f, /*  88 nop */
    /* __kernel_rt_sigreturn */
    0xd2801168, /*  8c mov x8, #0x8b */
    0xd4000001, /*  90 svc #0x0 */
};

#define VDSO_SIGRETURN 0x8c /* what the unwinder of the compiler's library looks for */

static const struct abi_vdso_symbol vdso_symbols[] = {
    {"__kernel_clock_gettime", 0x0, 0x40},
    {"__kernel_gettimeofday", 0x40, 0x3c},
    {"__kernel_clock_getres", 0x7c, 0xc},
    {"__kernel_rt_sigreturn", VDSO_SIGRETURN, 0x8},
};

const struct abi abi_aarch64 = {
    .isa = "aarch64",
    .machine = "aarch64",
    .platform = "aarch64",
    .debian = "arm64",
    .numbers = sys_numbers_generic,
    .number_count = &sys_numbers_generic_count,
    .reg_number = "x8",
    .reg_arg = {"x0", "x1", "x2", "x3", "x4", "x5"},
    .reg_result = "x0",
    .reg_sp = "sp",
    .reg_tls = "tpidr_el0",
    .syscall_insn = 4,
    .clone_tls_first = true,
    .pie_base = 0x400000000000,
    .min_sigstack = 4720,
    .vdso = {.soname = "linux-vdso.so.1", .version = "LINUX_2.6.39", .code = vdso_code,
             .size = sizeof(vdso_code), .sigreturn = VDSO_SIGRETURN, .symbol = vdso_symbols,
             .symbols = ARRAY_LEN(vdso_symbols)},
    .prot_guarded = 0x10, /* PROT_BTI */
    .hwcap2_guarded = 1u << 17,
    .property_guarded = {0xc0000000, 1},
    .open_flags = open_flags,
    .layout = sys_layouts_generic,
    .cpuinfo = cpuinfo,
    .new_keys = new_keys,
    .frame_push = frame_push,
    .frame_pop = frame_pop,
};
