/* What the files of the x86-64 back end share. */
#ifndef LYRE_JIT_HOST_X86_64_X64_H
#define LYRE_JIT_HOST_X86_64_X64_H

#include "jit/host/host.h"
#include "jit/host/x86_64/asm.h"

/* Registers with a fixed role: rsp is the prediction stack, r14 the environment. rax, rcx, rdx and
 * r15 are free at region boundaries; in code of machines no value is ever in r15; rax carries the guest pc of indirect exits. xmm15 is for the
 * emitters alone. */
#define X64_ENV     R14
#define X64_SCRATCH 15 /* xmm */
#define X64_NEAR    R15 /* code of machines: struct x64_group */

/* Offset of an environment field from r14, and of a slot. */
#define ENV(field)     ((s32)offsetof(struct ir_env, field) - (s32)offsetof(struct ir_env, slots) - IR_ENV_BIAS)
#define ENV_MEM(field) x64_at(X64_ENV, ENV(field))

/* Calls for accesses and polls: where they go back to, in env->tmp[]; the general registers, in env->save, by bytes. */
#define X64_SAVED_BACK 2
#define X64_SAVED_GPRS 256

static inline u64 *x64_saved_gprs(const struct ir_env *env)
{
    return (u64 *)(uintptr_t)((const u8 *)env->save + X64_SAVED_GPRS);
}

enum x64_thunk {
    X64_T_ENTER,
    X64_T_LEAVE,         /* env->exit is set: save pins, go back to C */
    X64_T_LINK,          /* called: by the stub */
    X64_T_MISS,          /* rax: guest pc not found inline */
    X64_T_REQUEST,       /* called */
    X64_T_HOT,           /* called */
    X64_T_BASE,          /* the prediction stack ran empty; rax: guest pc */
    X64_T_ABANDON,       /* leave without saving pins: state is in the slots */
    X64_T_EVAL,          /* run one IR node in C */
    X64_T_EVAL_INT,      /* ... that leaves floating point alone */
    X64_T_HELPER,        /* call a helper */
    X64_T_HELPER_INT,    /* ... that leaves floating point alone */
    X64_T_HELPER_READ,   /* ... that reads slots */
    X64_T_HELPER_WRITE,  /* ... that writes slots */
    X64_T_MMU,           /* an access; what stands behind the call describes it */
    X64_T_POLL,          /* code of machines saw a request */
    X64_T_FIND,          /* code of machines: env->mmu.host becomes the entry for the pc slot, or 0 */
    X64_T_FLAGS,         /* make the flags slot named by env->tmp[0] hold plain bits */
    X64_THUNKS,
};

/* Features in host_cpu.features. */
enum { X64_F_BMI, X64_F_LZCNT, X64_F_F16C, X64_F_AES, X64_F_PCLMUL, X64_F_SHA, X64_F_BITALG, X64_F_GFNI,
       X64_F_VNNI };

struct x64_fix {
    u8 *rel32;
    u32 block; /* a block of the region to patch it to */
};

struct x64_literal {
    u8 *rel32;
    u8 after; /* bytes of the instruction behind the displacement */
    u8 size;  /* 8 or 16 */
    v128 value;
};

/* A constant within an instruction. */
struct x64_wide {
    u64 value;
    const u8 *at;
};

/* Code that is moved out of line: emitted after the region's own. */
enum x64_cold_kind { X64_COLD_LINK, X64_COLD_TRAP, X64_COLD_EVAL, X64_COLD_FLAGS, X64_COLD_CALL_MISS,
                     X64_COLD_FAR, X64_COLD_MMU, X64_COLD_GROUP, X64_COLD_COPY, X64_COLD_HOT, X64_COLD_SIDE };

struct x64_cold {
    u8 kind;
    u8 *rel32[4]; /* jumps that lead here */
    unsigned njumps;
    u8 *back;     /* where to go on */
    u32 link;     /* X64_COLD_LINK */
    u64 pc;       /* X64_COLD_FAR */
    u32 state;    /* X64_COLD_TRAP */
    u8 what;
    unsigned slot;
    u8 dst;
    const struct ra_ins *ins; /* X64_COLD_EVAL, X64_COLD_MMU; X64_COLD_SIDE, X64_COLD_GROUP and _COPY: the first instruction */
    const struct ra_ins *last; /* X64_COLD_COPY */
    irv block_first;           /* X64_COLD_COPY: struct x64_gen's */
    u32 site;                  /* X64_COLD_GROUP: what C is told */
};

/* Machines: accesses of one block to addresses near each other, which share a look-up. */
struct x64_group {
    const struct ra_ins *first, *last; /* NULL: none at the moment */
    irv base;
    s32 low, high; /* all are in [base + low, base + high), and X64_NEAR is where the host has base + low */
    u32 cold;      /* hot code: where they are made one by one */
};

struct x64_gen {
    struct x64_asm a;
    struct x64_group group;
    bool one_by_one; /* no groups: one is being taken apart */
    u64 accessed;    /* the guest instruction of the last access */
    const struct host_cpu *cpu;
    const struct ra *ra;
    const struct ir_region *r;
    struct host_buf *buf;
    ptrdiff_t rx_minus_rw;
    struct x64_fix *fix;
    u32 nfixes, fix_cap;
    struct x64_literal *literal;
    u32 nliterals, literal_cap;
    struct x64_wide wide[4]; /* the last ones */
    unsigned nwide;
    struct x64_cold *cold;
    u32 ncold, cold_cap;
    u8 **block_at;
    u32 block_at_cap;
    irv block_first; /* of the block being emitted */
    bool flags_live; /* a comparison was made whose jump is still to come */
    u8 *skip[2];    /* jumps over the side exit at hand; NULL: none */
    u8 *edge_rel32; /* jumps to the code of the next edge */
    u8 *edge_rel32_2;
};

static inline const struct ir_node *x64_node(const struct x64_gen *g, const struct ra_ins *i)
{
    return &g->r->node[i->v];
}

static inline unsigned xr(unsigned reg)
{
    return reg & 15;
}

static inline bool x64_wide(const struct ir_node *n)
{
    return n->type != IR_I32 && n->type != IR_I1;
}

static inline u32 x64_offset(const struct x64_gen *g, const u8 *p)
{
    return (u32)(p - g->a.start);
}

/* A comparison as the host does it. */
enum x64_cond_kind {
    XC_REG,    /* test a, a */
    XC_CMP,    /* cmp a, b */
    XC_TEST,   /* test a, b */
    XC_ADD,    /* flags of a + b; needs a temporary */
    XC_FCMP,   /* ucomis or comis a, b */
    XC_IMAGE,  /* bit a of mask */
};

struct x64_cond {
    u8 kind;
    bool wide, dbl, signalling;
    u8 cc;      /* enum x64_cc */
    s8 parity;  /* 0; 1: and not unordered; -1: or unordered */
    bool carry; /* complement the carry first */
    irv a, b;
    u16 mask;
    irv fused;  /* the comparison node, 0 for XC_REG */
};

void x64_resolve_cond(const struct ir_region *r, irv v, irv block_first, struct x64_cond *c);
/* src: the registers of c->a and c->b; tmp for XC_ADD and XC_IMAGE. */
void x64_emit_cond(struct x64_gen *g, const struct x64_cond *c, unsigned a, unsigned b, unsigned tmp);
bool x64_imm_fits(const struct ir_region *r, irv v, bool wide);

void x64_constrain(const void *opaque, const struct ir_region *r, irv v, bool needed,
                   irv block_first, struct ra_con *con);
/* Is there an emitter for this node at this level, or does C run it? As struct host has it, and where it is asked for each
 * node, most of which are plain integer operations and accesses. */
bool x64_has(const void *cpu, const struct ir_region *r, const struct ir_node *n);

static inline bool x64_is_plain(const struct ir_node *n)
{
    return n->op < IR_FADD && !(ir_effects[n->op] & IR_E_FP);
}

static inline bool x64_has_plain(const struct ir_node *n)
{
    bool half = n->op == IR_MULHU || n->op == IR_MULHS;
    return n->op != IR_BITREV && (n->op != IR_CRC32 || n->aux & 16) && (!half || n->type != IR_I32);
}

static inline bool x64_has_emitter(const void *cpu, const struct ir_region *r, const struct ir_node *n)
{
    return x64_is_plain(n) ? x64_has_plain(n) : x64_has(cpu, r, n);
}

bool x64_checks_tiny(const struct ir_region *r, const struct ir_node *n);

/* Emitters by group. Each takes the allocated node. */
void x64_emit_int(struct x64_gen *g, const struct ra_ins *i);
void x64_emit_flags(struct x64_gen *g, const struct ra_ins *i);
void x64_emit_mem(struct x64_gen *g, const struct ra_ins *i);
/* Machines (emit_mmu.c): look the address up; the result is where the host has it. What is not found goes on with
 * *cold: stores from x64_mmu_stored() on, when C has done them. */
struct x64_mem x64_mmu_find(struct x64_gen *g, const struct ra_ins *i, struct x64_mem ea, struct x64_cold **cold);
void x64_mmu_cold(struct x64_gen *g, const struct x64_cold *c);
void x64_group_cold(struct x64_gen *g, const struct x64_cold *c);
/* struct host's. */
void x64_access(struct ir_env *env);
/* Before and after each allocated instruction: neighbouring accesses from here on become a group; the last of one has
 * been emitted. */
void x64_group_begin(struct x64_gen *g, const struct ra_ins *i);
void x64_group_end(struct x64_gen *g, const struct ra_ins *i);
/* Store the value of the node at m. */
void x64_emit_value(struct x64_gen *g, const struct ra_ins *i, struct x64_mem m);
void x64_emit_fp(struct x64_gen *g, const struct ra_ins *i);
void x64_emit_vec(struct x64_gen *g, const struct ra_ins *i);
void x64_emit_pmull(struct x64_gen *g, const struct ra_ins *i);
void x64_emit_aes(struct x64_gen *g, const struct ra_ins *i);
void x64_emit_sha(struct x64_gen *g, const struct ra_ins *i);
/* What the AVX-512 level does in its own way (emit_evex.c): false when it is not the level, or the node is
 * made as at the one below. */
bool x64_evex_has(const struct host_cpu *cpu, const struct ir_node *n);
bool x64_evex_emit(struct x64_gen *g, const struct ra_ins *i);
bool x64_evex_constrain(const struct host_cpu *cpu, const struct ir_region *r, irv v, irv block_first,
                        struct ra_con *con);
/* If any lane of x or y is a NaN (dbl: of 64 bits), C computes the node. */
void x64_evex_nan(struct x64_gen *g, const struct ra_ins *i, unsigned x, unsigned y, bool dbl);
/* If any lane of x is that of the constant. */
void x64_evex_equal(struct x64_gen *g, const struct ra_ins *i, unsigned x, v128 value, bool dbl);
void x64_emit_exit(struct x64_gen *g, const struct ra_ins *i);
void x64_emit_move(struct x64_gen *g, const struct ra_ins *i);
void x64_emit_select(struct x64_gen *g, const struct ra_ins *i);
void x64_emit_helper(struct x64_gen *g, const struct ra_ins *i);
/* Let C run the node: operands to memory, call, result to dst. */
void x64_emit_eval(struct x64_gen *g, const struct ra_ins *i);
/* Jump here from rel32s when the fast form does not apply; execution goes on after the node. */
struct x64_cold *x64_cold_eval(struct x64_gen *g, const struct ra_ins *i);
struct x64_cold *x64_cold_add(struct x64_gen *g, enum x64_cold_kind kind);
void x64_cold_from(struct x64_cold *c, u8 *rel32);
void x64_finish_cold(struct x64_gen *g);

/* The instruction for a vector integer operation by lane, or X64_NINSNS. */
enum x64_insn x64_vec_insn(const struct ir_node *n);

/* An operand in the region's literal pool: emits the instruction around it. */
void x64_v3lit(struct x64_gen *g, enum x64_insn x, unsigned dst, unsigned s1, v128 value);
void x64_v3lit_i(struct x64_gen *g, enum x64_insn x, unsigned dst, unsigned s1, v128 value, u8 imm);
void x64_v2lit(struct x64_gen *g, enum x64_insn x, unsigned reg, v128 value);

/* Record that code since `start` may fault with the state of node i. */
void x64_fault_range(struct x64_gen *g, const struct ra_ins *i, const u8 *start, bool write,
                     const struct x64_mem *m);

/* Look rax, a guest pc, up in the inline table; rcx + rdx is then its entry. Returns the jump that is
 * taken when it is not there. */
u8 *x64_probe(struct x64_asm *a, const struct host_cpu *cpu);

void x64_call_thunk(struct x64_gen *g, enum x64_thunk t);
void x64_add_link(struct x64_gen *g, u8 *rel32, u64 pc, bool polls);

u64 x64_const(const struct x64_gen *g, irv v);

/* Shared with the signal path: decode a floating-point instruction that raised invalid, compute it
 * in software and step over it. False when the code at rip is not one that emitters make. */
bool x64_fp_trap(struct ir_env *env, void *ucontext);

/* thunks.c: see struct host. */
bool x64_make_thunks(struct host_cpu *cpu, struct host_buf *buf);
const u8 *x64_enter(const struct host_cpu *cpu, struct ir_env *env, const u8 *at);
void x64_fp_setup(struct ir_env *env);
void x64_fp_push(struct ir_env *env);

/* MXCSR to memory, or from it. */
void x64_mxcsr(struct x64_asm *a, struct x64_mem m, bool load);
#define MXCSR_STICKY 0x3du /* all flags but "denormal operand", which no guest asks for */
const u8 *x64_return_base(const struct host_cpu *cpu);
const u8 *x64_context_pc(const void *ucontext);
void x64_context_reg(const void *ucontext, unsigned reg, v128 *value);
void x64_context_abandon(const struct host_cpu *cpu, void *ucontext);
void x64_context_pass(void *ucontext);
const void *x64_call_context(const struct ir_env *env, struct host_context *room);
void x64_context_reset_stack(void *ucontext, u64 sp);

#endif
