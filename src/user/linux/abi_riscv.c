/* Linux on RISC-V, of 64 and of 32 bits: one description whose word is a run-time value. */
#include <string.h>

#include "user/linux/abi.h"
#include "user/linux/headers.h"
#include "user/linux/riscv.h"

/* ---- signal frames ----
 *
 * struct rt_sigframe of the kernel: siginfo, then a ucontext whose sigcontext (<asm/sigcontext.h>) has the
 * pc and x1 to x31 as words, and the floating-point state in the room of the Q extension. */

#define SIGINFO_SIZE 128
#define SIGMASK_ROOM 128 /* of the ucontext: for sets larger than today's */
#define XREGS        32  /* in the place of x0 is the pc */
#define FREGS        32
#define FP_ROOM      528 /* struct __riscv_q_ext_state */
#define FCSR_AT      (FREGS * 8) /* in struct __riscv_d_ext_state */
#define EXTRA_AT     (FP_ROOM - 12) /* three words: headers of further state, 0 for none */
#define FRAME_MAX    1088

/* Where things are, in bytes from the frame's start. */
struct shape {
    unsigned word, context, stack, mask, regs, fp, size;
};

static struct shape frame_shape(const struct thread *t)
{
    struct shape s = {.word = t->process->word, .context = SIGINFO_SIZE};
    s.stack = s.context + 2 * s.word;
    s.mask = s.stack + 3 * s.word;
    s.regs = ALIGN_UP(s.mask + SIGMASK_ROOM, 16u);
    s.fp = s.regs + XREGS * s.word;
    s.size = s.fp + FP_ROOM;
    return s;
}

static int reg(const struct thread *t, char kind, unsigned n)
{
    char name[8];
    snprintf(name, sizeof(name), "%c%u", kind, n);
    return isa_reg_find(t->process->isa, name);
}

static int fcsr(const struct thread *t)
{
    return isa_reg_find(t->process->isa, "fcsr");
}

static u64 get_word(const u8 *at, unsigned word)
{
    u64 v = 0;
    memcpy(&v, at, word);
    return v;
}

static void put_word(u8 *at, unsigned word, u64 v)
{
    memcpy(at, &v, word);
}

static void put_siginfo(const struct thread *t, u8 *at, const siginfo_t *info)
{
    const struct sys_layout *const *layout = t->process->abi->layout;
    if (layout[SYS_STRUCT_siginfo])
        layout_to_guest(layout[SYS_STRUCT_siginfo], at, info);
    else
        memcpy(at, info, sizeof(*info));
}

static void fill_frame(struct thread *t, const struct abi_frame *f, const struct shape *s, u8 *k)
{
    struct vcpu *cpu = t->cpu;
    put_siginfo(t, k, f->info);
    put_word(k + s->stack, s->word, f->alt_sp);
    put_word(k + s->stack + s->word, 4, f->alt_flags);
    put_word(k + s->stack + 2 * s->word, s->word, f->alt_size);
    put_word(k + s->mask, 8, f->mask);
    put_word(k + s->regs, s->word, vcpu_pc(cpu));
    for (unsigned i = 1; i < XREGS; i++)
        put_word(k + s->regs + i * s->word, s->word, vcpu_get(cpu, reg(t, 'x', i)));
    for (unsigned i = 0; i < FREGS; i++)
        put_word(k + s->fp + i * 8, 8, vcpu_get(cpu, reg(t, 'f', i)));
    put_word(k + s->fp + FCSR_AT, 4, vcpu_get(cpu, fcsr(t)));
}

static bool frame_push(struct thread *t, const struct abi_frame *f)
{
    const struct shape s = frame_shape(t);
    u8 k[FRAME_MAX] = {0};
    u64 frame = ALIGN_DOWN(f->sp - s.size, 16);
    fill_frame(t, f, &s, k);
    if (!space_write(&t->process->space, frame, k, s.size))
        return false;
    vcpu_set(t->cpu, reg(t, 'x', 1), t->process->sigreturn);
    vcpu_set(t->cpu, t->process->regs.sp, frame);
    vcpu_set(t->cpu, reg(t, 'x', 10), (u64)f->sig);
    vcpu_set(t->cpu, reg(t, 'x', 11), frame);
    vcpu_set(t->cpu, reg(t, 'x', 12), frame + s.context);
    vcpu_set_pc(t->cpu, f->action.handler);
    return true;
}

static bool frame_pop(struct thread *t, struct abi_return *r)
{
    static const u8 none[FP_ROOM - EXTRA_AT];
    const struct shape s = frame_shape(t);
    struct vcpu *cpu = t->cpu;
    u8 k[FRAME_MAX];
    u64 sp = vcpu_get(cpu, t->process->regs.sp);
    if (sp & 15 || !space_read(&t->process->space, k, sp, s.size) ||
        memcmp(k + s.fp + EXTRA_AT, none, sizeof(none)) != 0)
        return false;
    for (unsigned i = 1; i < XREGS; i++)
        vcpu_set(cpu, reg(t, 'x', i), get_word(k + s.regs + i * s.word, s.word));
    for (unsigned i = 0; i < FREGS; i++)
        vcpu_set(cpu, reg(t, 'f', i), get_word(k + s.fp + i * 8, 8));
    vcpu_set(cpu, fcsr(t), get_word(k + s.fp + FCSR_AT, 4));
    vcpu_set_pc(cpu, get_word(k + s.regs, s.word));
    r->mask = get_word(k + s.mask, 8);
    r->alt_sp = get_word(k + s.stack, s.word);
    r->alt_flags = (u32)get_word(k + s.stack + s.word, 4);
    r->alt_size = get_word(k + s.stack + 2 * s.word, s.word);
    return true;
}

/* ---- vDSO ----
 *
 * Two counters in the space that the architecture leaves to implementations give the time (lift_sys.c): 0xcc0
 * CLOCK_REALTIME, 0xcc1 CLOCK_MONOTONIC, in nanoseconds. Other clocks and time zones are the kernel's. As on
 * the kernel's own, those of 32 bits have no clocks. */
static const u32 vdso_code[] = {
    /* __vdso_rt_sigreturn: unwinders know it by these two instructions */
    0x08b00893, /*   0 li a7,139 */
    0x00000073, /*   4 ecall */
    /* __vdso_getcpu */
    0x0a800893, /*   8 li a7,168 */
    0x00000073, /*   c ecall */
    0x00008067, /*  10 ret */
    /* __vdso_flush_icache */
    0x10300893, /*  14 li a7,259 */
    0x00000073, /*  18 ecall */
    0x00008067, /*  1c ret */
    /* __vdso_riscv_hwprobe */
    0x10200893, /*  20 li a7,258 */
    0x00000073, /*  24 ecall */
    0x00008067, /*  28 ret */
    /* __vdso_clock_getres */
    0x07200893, /*  2c li a7,114 */
    0x00000073, /*  30 ecall */
    0x00008067, /*  34 ret */
    /* __vdso_clock_gettime */
    0x00050a63, /*  38 beqz a0,4c */
    0x00100293, /*  3c li t0,1 */
    0x02551863, /*  40 bne a0,t0,70 */
    0xcc102673, /*  44 csrr a2,0xcc1 */
    0x0080006f, /*  48 j 50 */
    0xcc002673, /*  4c csrr a2,0xcc0 */
    0x3b9ad6b7, /*  50 lui a3,0x3b9ad */
    0xa006869b, /*  54 addiw a3,a3,-1536 */
    0x02d65733, /*  58 divu a4,a2,a3 */
    0x02d67633, /*  5c remu a2,a2,a3 */
    0x00e5b023, /*  60 sd a4,0(a1) */
    0x00c5b423, /*  64 sd a2,8(a1) */
    0x00000513, /*  68 li a0,0 */
    0x00008067, /*  6c ret */
    0x07100893, /*  70 li a7,113 */
    0x00000073, /*  74 ecall */
    0x00008067, /*  78 ret */
    /* __vdso_gettimeofday */
    0x02059a63, /*  7c bnez a1,b0 */
    0x02050463, /*  80 beqz a0,a8 */
    0xcc002673, /*  84 csrr a2,0xcc0 */
    0x3e800693, /*  88 li a3,1000 */
    0x02d65633, /*  8c divu a2,a2,a3 */
    0x000f46b7, /*  90 lui a3,0xf4 */
    0x2406869b, /*  94 addiw a3,a3,576 */
    0x02d65733, /*  98 divu a4,a2,a3 */
    0x02d67633, /*  9c remu a2,a2,a3 */
    0x00e53023, /*  a0 sd a4,0(a0) */
    0x00c53423, /*  a4 sd a2,8(a0) */
    0x00000513, /*  a8 li a0,0 */
    0x00008067, /*  ac ret */
    0x0a900893, /*  b0 li a7,169 */
    0x00000073, /*  b4 ecall */
    0x00008067, /*  b8 ret */
};

static const struct abi_vdso_symbol vdso_symbols[] = {
    {"__vdso_rt_sigreturn", 0x0, 0x8},    {"__vdso_getcpu", 0x8, 0xc},
    {"__vdso_flush_icache", 0x14, 0xc},   {"__vdso_riscv_hwprobe", 0x20, 0xc},
    {"__vdso_clock_getres", 0x2c, 0xc},   {"__vdso_clock_gettime", 0x38, 0x44},
    {"__vdso_gettimeofday", 0x7c, 0x40},
};

#define VDSO_COMMON 4 /* symbols that both widths have */

#define MIN_SIGSTACK 2048 /* MINSIGSTKSZ; a frame takes less */

/* The row for one width. clone() passes the TLS pointer before the child's tid, and the registers of a system
 * call are those of a function call but for a7 (the psABI's calling convention). */
#define RISCV_ROW(bits, end, base, vdso_count)                                                          \
    {                                                                                              \
        .isa = "riscv" #bits, .machine = "riscv" #bits, .debian = "riscv" #bits,                   \
        .numbers = sys_numbers_riscv##bits, .number_count = &sys_numbers_riscv##bits##_count,      \
        .layout = sys_layouts_riscv##bits, .top = (end), .pie_base = (base),                                  \
        .reg_number = "x17", .reg_arg = {"x10", "x11", "x12", "x13", "x14", "x15"},                \
        .reg_result = "x10", .reg_sp = "x2", .reg_tls = "x4", .syscall_insn = 4,                   \
        .clone_tls_first = true, .min_sigstack = MIN_SIGSTACK,                                     \
        .vdso = {.soname = "linux-vdso.so.1", .version = "LINUX_4.15", .code = vdso_code,          \
                 .size = sizeof(vdso_code), .sigreturn = 0, .symbol = vdso_symbols,                \
                 .symbols = (vdso_count)},                                                         \
        .cpuinfo = riscv_cpuinfo, .frame_push = frame_push, .frame_pop = frame_pop,                \
    }

/* Programs of 32 bits have 2 GiB, as on a kernel of 64 bits, but for the end that AddressSanitizer takes. */
#define RISCV32_TOP 0x7fc00000

const struct abi abi_riscv64 = RISCV_ROW(64, 0, 0x400000000000, ARRAY_LEN(vdso_symbols));
const struct abi abi_riscv32 = RISCV_ROW(32, RISCV32_TOP, 0x40000000, VDSO_COMMON);
