/* The code that all regions share: ways into and out of generated code, calls into C, inline look-up
 * misses. C never runs on the prediction stack: each thunk that calls it switches stacks. */
#include <ucontext.h>

#include "base/mem.h"
#include "fp/fp.h"
#include "jit/host/x86_64/x64.h"

#define MXCSR_MASKED  0x1f80u             /* the ABI's: all exceptions masked */
#define MXCSR_GUEST   (0x1f80u & ~0x80u)  /* invalid traps */
#define MXCSR_FLAGS   0x3fu               /* exceptions that have occurred */

static const u8 callee_saved[] = {RBX, RBP, R12, R13, R14, R15};
static const u8 caller_saved[] = {RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11};


struct gen {
    struct x64_asm a;
    struct host_cpu *cpu;
};

void x64_mxcsr(struct x64_asm *a, struct x64_mem m, bool load)
{
    static const struct x64_insn_info form = {"mxcsr", 0, 1, 0xae, 0};
    x64_insn_mem(a, &form, load ? 2 : 3, m);
}

static void push(struct gen *g, unsigned reg, bool pop)
{
    if (reg >= 8)
        x64_byte(&g->a, 0x41);
    x64_byte(&g->a, (u8)((pop ? 0x58 : 0x50) | (reg & 7)));
}

static void pop_mem(struct gen *g, struct x64_mem m)
{
    static const struct x64_insn_info form = {"pop", 0, 0, 0x8f, 0};
    x64_insn_mem(&g->a, &form, 0, m);
}

/* Pinned registers to or from their slots. */
static void move_pins(struct gen *g, bool load)
{
    const struct ir_slots *slots = g->cpu->slots;
    for (unsigned s = 0; s < slots->count; s++) {
        const struct ir_slot *slot = &slots->slot[s];
        unsigned class = ra_class_of_type(slot->type);
        if (slot->pin < 0 || slot->pin >= g->cpu->ra.npins[class])
            continue;
        unsigned reg = g->cpu->ra.pin[class][slot->pin];
        struct x64_mem m = x64_at(X64_ENV, (s32)slot->offset - IR_ENV_BIAS);
        if (slot->type == IR_F64)
            x64_v2m(&g->a, load ? X_MOVQ : X_MOVQ_ST, xr(reg), m);
        else if (class)
            x64_v2m(&g->a, load ? X_MOVUPS : X_MOVUPS_ST, xr(reg), m);
        else if (load)
            x64_load(&g->a, slot->type != IR_I32, reg, m);
        else
            x64_store(&g->a, slot->type != IR_I32, m, reg);
    }
}

static void begin(struct gen *g, enum x64_thunk t)
{
    while ((uintptr_t)g->a.p & 15)
        x64_byte(&g->a, 0xcc);
    g->cpu->thunk_at[t] = (u32)(g->a.p - g->a.start);
}

static void jump(struct gen *g, enum x64_thunk t)
{
    u8 *rel = x64_jmp(&g->a, false);
    x64_patch(rel, g->a.start + g->cpu->thunk_at[t]);
}

/* On the way to C: its stack and, if it does floating point, its control word. The guest's flags go where C looks
 * for them, and stay in the control word, too, where nobody reads them: a change of them costs the host 40 ns
 * (measured on Zen 5), each way. Uses rcx and rdx. */
static void switch_to_c(struct gen *g, bool fp)
{
    struct x64_asm *a = &g->a;
    struct x64_mem flags = x64_at(RDX, (s32)offsetof(struct fp_env, flags));
    x64_store(a, true, ENV_MEM(ret_sp), RSP);
    x64_load(a, true, RSP, ENV_MEM(c_sp));
    if (!fp)
        return;
    x64_mxcsr(&g->a, ENV_MEM(host_fp), false);
    x64_load(a, true, RDX, ENV_MEM(fp));
    x64_load(a, false, RCX, ENV_MEM(host_fp));
    x64_alu_ri(a, XALU_AND, false, RCX, MXCSR_STICKY);
    x64_alu_rm(a, XALU_OR, false, RCX, flags);
    x64_store(a, false, flags, RCX);
    x64_load(a, false, RCX, ENV_MEM(host_fp));
    x64_alu_ri(a, XALU_AND, false, RCX, MXCSR_FLAGS);
    x64_alu_ri(a, XALU_OR, false, RCX, MXCSR_MASKED);
    x64_store(a, false, ENV_MEM(host_fp_c), RCX);
    x64_mxcsr(&g->a, ENV_MEM(host_fp_c), true);
}

static void return_to_c(struct gen *g)
{
    switch_to_c(g, true);
    x64_alu_ri(&g->a, XALU_ADD, true, RSP, 8);
    for (unsigned i = ARRAY_LEN(callee_saved); i-- > 0;)
        push(g, callee_saved[i], true);
    x64_ret(&g->a);
}

/* const u8 *enter(struct ir_env *env, const u8 *at) */
static void make_enter(struct gen *g)
{
    begin(g, X64_T_ENTER);
    for (unsigned i = 0; i < ARRAY_LEN(callee_saved); i++)
        push(g, callee_saved[i], false);
    x64_alu_ri(&g->a, XALU_SUB, true, RSP, 8); /* calls from here find the stack aligned */
    x64_lea(&g->a, true, X64_ENV, x64_at(RDI, (s32)offsetof(struct ir_env, slots) + IR_ENV_BIAS));
    x64_store(&g->a, true, ENV_MEM(c_sp), RSP);
    x64_mov(&g->a, RAX, RSI);
    x64_mxcsr(&g->a, ENV_MEM(host_fp), true);
    move_pins(g, true);
    x64_load(&g->a, true, RSP, ENV_MEM(ret_sp));
    x64_jmp_reg(&g->a, RAX);
}

static struct x64_mem pc_slot(const struct gen *g)
{
    const struct ir_slots *slots = g->cpu->slots;
    return x64_at(X64_ENV, (s32)slots->slot[slots->pc].offset - IR_ENV_BIAS);
}

/* Where it was called from tells C which guest address it is. The call goes from the prediction stack again. */
static void leave_from_call(struct gen *g, enum x64_thunk t, u32 exit)
{
    begin(g, t);
    x64_load(&g->a, true, RAX, x64_at(RSP, 0));
    x64_alu_ri(&g->a, XALU_ADD, true, RSP, 8);
    x64_alu_ri(&g->a, XALU_SUB, true, RAX, X64_CALL_BYTES);
    x64_mov_mi(&g->a, false, ENV_MEM(exit), exit);
    jump(g, X64_T_LEAVE);
}

static void make_exits(struct gen *g)
{
    begin(g, X64_T_LEAVE);
    move_pins(g, false);
    return_to_c(g);
    leave_from_call(g, X64_T_LINK, HOST_EXIT_LINK);
    leave_from_call(g, X64_T_REQUEST, HOST_EXIT_REQUEST);
    leave_from_call(g, X64_T_HOT, HOST_EXIT_HOT);
    begin(g, X64_T_ABANDON);
    return_to_c(g);
}

static struct x64_mem save_at(unsigned bytes)
{
    struct x64_mem m = ENV_MEM(save);
    m.disp += (s32)bytes;
    return m;
}

static void save_registers(struct gen *g, bool load)
{
    for (unsigned i = 0; i < 16; i++)
        x64_v2m(&g->a, load ? X_MOVUPS : X_MOVUPS_ST, i, save_at(i * 16));
    for (unsigned i = 0; i < ARRAY_LEN(caller_saved); i++) {
        struct x64_mem m = save_at(256 + i * 8);
        if (load)
            x64_load(&g->a, true, caller_saved[i], m);
        else
            x64_store(&g->a, true, m, caller_saved[i]);
    }
}

/* Call C with env as its argument. `fixed`: an index into env->c_call; -1: the helper whose number is
 * in tmp[0]. All registers survive. C that does no floating point may keep the guest's control word, which
 * saves half of the time. */
static void make_call(struct gen *g, enum x64_thunk t, int fixed, bool reads, bool writes, bool fp)
{
    struct x64_asm *a = &g->a;
    struct x64_mem back = ENV_MEM(tmp), fn = ENV_MEM(c_call);
    back.disp += 16;
    begin(g, t);
    pop_mem(g, back);
    save_registers(g, false);
    if (reads || writes)
        move_pins(g, false);
    switch_to_c(g, fp);
    x64_lea(a, true, RDI, x64_at(X64_ENV, -(s32)offsetof(struct ir_env, slots) - IR_ENV_BIAS));
    if (fixed >= 0) {
        fn.disp += fixed * 8;
        x64_call_mem(a, fn);
    } else {
        x64_load(a, true, RAX, ENV_MEM(helpers));
        x64_load(a, true, RCX, ENV_MEM(tmp));
        x64_call_mem(a, (struct x64_mem){RAX, RCX, 3, 0});
    }
    if (fp)
        x64_mxcsr(&g->a, ENV_MEM(host_fp), true);
    x64_load(a, true, RSP, ENV_MEM(ret_sp));
    save_registers(g, true);
    if (writes)
        move_pins(g, true);
    x64_jmp_mem(a, back);
}

/* What was left of an access, or a request at a poll: like a call, but C may find and change all registers, and leave for
 * good: the guest's state is then in the slots. */
static void make_mmu(struct gen *g, enum x64_thunk t, int call)
{
    struct x64_asm *a = &g->a;
    struct x64_mem back = ENV_MEM(tmp), fn = ENV_MEM(c_call);
    back.disp += X64_SAVED_BACK * 8;
    fn.disp += call * 8;
    begin(g, t);
    pop_mem(g, back);
    for (unsigned i = 0; i < 16; i++)
        x64_v2m(a, X_MOVUPS_ST, i, save_at(i * 16));
    for (unsigned i = 0; i < 16; i++)
        x64_store(a, true, save_at(X64_SAVED_GPRS + i * 8), i);
    switch_to_c(g, true);
    x64_lea(a, true, RDI, x64_at(X64_ENV, -(s32)offsetof(struct ir_env, slots) - IR_ENV_BIAS));
    x64_call_mem(a, fn);
    x64_mxcsr(a, ENV_MEM(host_fp), true);
    x64_load(a, true, RSP, ENV_MEM(ret_sp));
    x64_alu_mi(a, XALU_CMP, false, ENV_MEM(mmu.failed), 0);
    u8 *done = x64_jcc(a, XCC_E, false);
    jump(g, X64_T_ABANDON);
    x64_patch(done, a->p);
    for (unsigned i = 0; i < 16; i++)
        x64_v2m(a, X_MOVUPS, i, save_at(i * 16));
    for (unsigned i = 0; i < 16; i++) {
        if (i != RSP && i != X64_ENV)
            x64_load(a, true, i, save_at(X64_SAVED_GPRS + i * 8));
    }
    x64_jmp_mem(a, back);
}

/* In machines C knows more entries than are in the inline look-up. rax is the guest pc, also afterwards. */
static void ask_for_entry(struct gen *g)
{
    struct x64_asm *a = &g->a;
    u8 *rel = x64_call(a, false);
    x64_patch(rel, a->start + g->cpu->thunk_at[X64_T_FIND]);
    x64_load(a, true, RCX, ENV_MEM(mmu.host));
    x64_alu_rr(a, XALU_OR, true, RCX, RCX);
    u8 *none = x64_jcc(a, XCC_E, false);
    x64_jmp_reg(a, RCX);
    x64_patch(none, a->p);
}

/* rax is a guest pc: look it up again (a return site comes here without having looked), else leave. */
static void make_miss(struct gen *g)
{
    struct x64_asm *a = &g->a;
    begin(g, X64_T_MISS);
    u8 *miss = x64_probe(a, g->cpu);
    x64_jmp_mem(a, (struct x64_mem){RCX, RDX, 0, 8});
    x64_patch(miss, a->p);
    x64_store(a, true, pc_slot(g), RAX);
    if (g->cpu->mmu)
        ask_for_entry(g);
    x64_mov_mi(a, false, ENV_MEM(exit), IR_EXIT_LOOKUP);
    jump(g, X64_T_LEAVE);
    /* The bottom of the prediction stack holds this thunk's address: put it back. */
    begin(g, X64_T_BASE);
    x64_lea(a, true, RCX, (struct x64_mem){X64_RIP, X64_NONE, 0, -7});
    push(g, RCX, false);
    jump(g, X64_T_MISS);
}

bool x64_make_thunks(struct host_cpu *cpu, struct host_buf *buf)
{
    _Static_assert(X64_THUNKS <= ARRAY_LEN(cpu->thunk_at), "each thunk has a place");
    struct gen g = {.a = {.p = buf->rw, .start = buf->rw, .end = buf->rw + buf->size,
                          .level = (enum x64_level)cpu->level},
                    .cpu = cpu};
    cpu->thunks = buf->rx;
    make_enter(&g);
    make_exits(&g);
    make_call(&g, X64_T_FIND, IR_CALL_FIND, false, false, false);
    make_miss(&g);
    make_call(&g, X64_T_HELPER, -1, false, false, true);
    make_call(&g, X64_T_HELPER_INT, -1, false, false, false);
    make_call(&g, X64_T_HELPER_READ, -1, true, false, true);
    make_call(&g, X64_T_HELPER_WRITE, -1, true, true, true);
    make_call(&g, X64_T_EVAL, IR_CALL_EVAL, false, false, true);
    make_call(&g, X64_T_EVAL_INT, IR_CALL_EVAL, false, false, false);
    make_call(&g, X64_T_FLAGS, IR_CALL_FLAGS, false, false, true);
    make_mmu(&g, X64_T_MMU, IR_CALL_MMU);
    make_mmu(&g, X64_T_POLL, IR_CALL_POLL);
    buf->used = (size_t)(g.a.p - buf->rw);
    return !g.a.overflow;
}

const u8 *x64_enter(const struct host_cpu *cpu, struct ir_env *env, const u8 *at)
{
    typedef const u8 *enter_fn(struct ir_env *, const u8 *);
    enter_fn *fn = (enter_fn *)(uintptr_t)(cpu->thunks + cpu->thunk_at[X64_T_ENTER]);
    return fn(env, at);
}

const u8 *x64_return_base(const struct host_cpu *cpu)
{
    return cpu->thunks + cpu->thunk_at[X64_T_BASE];
}

/* ---- the floating-point control word ---- */

void x64_fp_push(struct ir_env *env)
{
    static const u8 rounding[] = {[FP_ROUND_EVEN] = 0, [FP_ROUND_UP] = 2, [FP_ROUND_DOWN] = 1,
                                  [FP_ROUND_ZERO] = 3};
    env->host_fp = MXCSR_GUEST | (u32)rounding[env->fp->round & 3] << 13;
}

void x64_fp_setup(struct ir_env *env)
{
    env->host_fp_c = MXCSR_MASKED;
    x64_fp_push(env);
}

/* ---- signal contexts ---- */

static const u8 greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                               REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                               REG_R12, REG_R13, REG_R14, REG_R15};

const u8 *x64_context_pc(const void *context)
{
    const ucontext_t *uc = context;
    return (const u8 *)uc->uc_mcontext.gregs[REG_RIP];
}

void x64_context_reg(const void *context, unsigned reg, v128 *value)
{
    const ucontext_t *uc = context;
    if (reg >= RA_VEC)
        __builtin_memcpy(value, &uc->uc_mcontext.fpregs->_xmm[reg - RA_VEC], sizeof(*value));
    else
        *value = (v128){.d = {(u64)uc->uc_mcontext.gregs[greg_of[reg]]}};
}

struct saved {
    ucontext_t uc;
    struct _libc_fpstate fp;
};

const void *x64_call_context(const struct ir_env *env, struct host_context *room)
{
    struct saved *s = (void *)room;
    _Static_assert(sizeof(*s) <= sizeof(*room), "a context fits");
    s->uc.uc_mcontext.fpregs = &s->fp;
    __builtin_memcpy(s->fp._xmm, env->save, sizeof(s->fp._xmm));
    const u64 *gpr = x64_saved_gprs(env);
    for (unsigned i = 0; i < 16; i++)
        s->uc.uc_mcontext.gregs[greg_of[i]] = (greg_t)gpr[i];
    s->uc.uc_mcontext.gregs[REG_RIP] = (greg_t)env->tmp[X64_SAVED_BACK];
    return &s->uc;
}

void x64_context_abandon(const struct host_cpu *cpu, void *context)
{
    ucontext_t *uc = context;
    uc->uc_mcontext.gregs[REG_RIP] =
        (greg_t)(uintptr_t)(cpu->thunks + cpu->thunk_at[X64_T_ABANDON]);
}

void x64_context_pass(void *context)
{
    ucontext_t *uc = context;
    uc->uc_mcontext.gregs[REG_RIP] += X64_UD2_BYTES; /* the jump back to the code */
}

void x64_context_reset_stack(void *context, u64 sp)
{
    ucontext_t *uc = context;
    uc->uc_mcontext.gregs[REG_RSP] = (greg_t)sp;
}
