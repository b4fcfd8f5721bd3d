/* Making IR. A lifter asks for slots and puts slots; the builder keeps the current value of each, so
 * what comes out is SSA, folded on the way.
 *
 * Rules for lifters:
 * - call ir_insn() before each guest instruction;
 * - put slots after the last operation of the instruction that may leave, so that a fault shows the
 *   state before the instruction;
 * - an i32 operation takes any integer operand and reads its low half; put of an i32 value into an
 *   i64 slot zero-extends; put of a scalar or v64 into a v128 slot clears what lies above. */
#ifndef LYRE_JIT_IR_BUILD_H
#define LYRE_JIT_IR_BUILD_H

#include "jit/ir/ir.h"

#define IR_KNOWN_BITS 7

struct ir_builder;

/* Building for one host: which operations it has, and others in place of one that it lacks (0: none,
 * it is emitted all the same). */
struct ir_lowering {
    bool (*has)(const void *host, const struct ir_region *r, const struct ir_node *n);
    irv (*expand)(struct ir_builder *b, const struct ir_node *n);
    const void *host;
};

struct ir_builder {
    struct ir_region *r;
    u64 pc;       /* of the current guest instruction */
    u32 map;      /* the newest state map of this block */
    u32 map_puts; /* r->nputs when it was made */
    u32 block;    /* the open block; UINT32_MAX when none */
    u32 copy;     /* that blocks are of, and direct exits lead to */
    const struct ir_lowering *lowering; /* NULL: any operation will do */
    u8 strip;     /* so many top bits of each address are ignored: this instruction met a tagged one */
    bool invalid; /* this instruction's floating point raises `invalid` often */
    bool counts;  /* count guest instructions where they run */
    irv count;    /* the node that does; 0: the next instruction needs a new one */
    irv aligned;  /* in this block it was seen to be a multiple of ... */
    unsigned aligned_to;
    bool raw;     /* build exactly what is asked for: no folding, nothing shared (tests) */
    irv cur[IR_MAX_SLOTS];
    irv known[1 << IR_KNOWN_BITS]; /* nodes of the open block by what they compute */
};

void ir_build_start(struct ir_builder *b, struct ir_region *r);

/* A new block; its nodes follow. State starts as `entry values` in block 0; other blocks get state
 * through parameters (ir_param). */
u32 ir_block_start(struct ir_builder *b);
irv ir_param(struct ir_builder *b, unsigned type, unsigned slot_plus_1);

/* A guest instruction starts. */
void ir_insn(struct ir_builder *b, u64 pc);

static inline irv ir_get(struct ir_builder *b, unsigned slot)
{
    return b->cur[slot];
}

void ir_put(struct ir_builder *b, unsigned slot, irv v);

/* The state at this point as a map with guest pc `pc`. */
u32 ir_state_map(struct ir_builder *b, u64 pc);

/* Any operation; folds. Nodes that leave get their map from here. */
irv ir_emit(struct ir_builder *b, unsigned op, unsigned type, unsigned aux, irv x, irv y, irv z,
            u64 imm);

irv ir_const(struct ir_builder *b, unsigned type, u64 value);

#define IR_UNARY(fn, op)                                                                           \
    static inline irv fn(struct ir_builder *b, unsigned type, irv x)                               \
    {                                                                                              \
        return ir_emit(b, op, type, 0, x, 0, 0, 0);                                                \
    }
#define IR_BINARY(fn, op)                                                                          \
    static inline irv fn(struct ir_builder *b, unsigned type, irv x, irv y)                        \
    {                                                                                              \
        return ir_emit(b, op, type, 0, x, y, 0, 0);                                                \
    }

IR_BINARY(ir_add, IR_ADD)
IR_BINARY(ir_sub, IR_SUB)
IR_BINARY(ir_mul, IR_MUL)
IR_BINARY(ir_mulhu, IR_MULHU)
IR_BINARY(ir_mulhs, IR_MULHS)
IR_BINARY(ir_divu, IR_DIVU)
IR_BINARY(ir_divs, IR_DIVS)
IR_BINARY(ir_remu, IR_REMU)
IR_BINARY(ir_rems, IR_REMS)
IR_BINARY(ir_and, IR_AND)
IR_BINARY(ir_or, IR_OR)
IR_BINARY(ir_xor, IR_XOR)
IR_BINARY(ir_andn, IR_ANDN)
IR_BINARY(ir_shl, IR_SHL)
IR_BINARY(ir_shr, IR_SHR)
IR_BINARY(ir_sar, IR_SAR)
IR_BINARY(ir_ror, IR_ROR)
IR_UNARY(ir_not, IR_NOT)
IR_UNARY(ir_neg, IR_NEG)
IR_UNARY(ir_bswap, IR_BSWAP)
IR_UNARY(ir_clz, IR_CLZ)
IR_UNARY(ir_ctz, IR_CTZ)
IR_UNARY(ir_popcnt, IR_POPCNT)
IR_UNARY(ir_bitrev, IR_BITREV)
IR_UNARY(ir_fmov, IR_FMOV)
IR_UNARY(ir_fbits, IR_FBITS)
#undef IR_UNARY
#undef IR_BINARY

static inline irv ir_addi(struct ir_builder *b, unsigned type, irv x, s64 n)
{
    return ir_add(b, type, x, ir_const(b, type, (u64)n));
}

/* Sign-extend from the low `bits` (8, 16, 32); fields; funnel shift; pick one of two. */
static inline irv ir_sext(struct ir_builder *b, unsigned type, irv x, unsigned bits)
{
    return ir_emit(b, IR_SEXT, type, bits, x, 0, 0, 0);
}

static inline irv ir_ubfx(struct ir_builder *b, unsigned type, irv x, unsigned lsb, unsigned len)
{
    return ir_emit(b, IR_UBFX, type, lsb | len << 8, x, 0, 0, 0);
}

static inline irv ir_sbfx(struct ir_builder *b, unsigned type, irv x, unsigned lsb, unsigned len)
{
    return ir_emit(b, IR_SBFX, type, lsb | len << 8, x, 0, 0, 0);
}

static inline irv ir_bfi(struct ir_builder *b, unsigned type, irv x, irv field, unsigned lsb,
                         unsigned len)
{
    return ir_emit(b, IR_BFI, type, lsb | len << 8, x, field, 0, 0);
}

static inline irv ir_extr(struct ir_builder *b, unsigned type, irv hi, irv lo, unsigned lsb)
{
    return ir_emit(b, IR_EXTR, type, lsb, hi, lo, 0, 0);
}

static inline irv ir_adc(struct ir_builder *b, unsigned type, irv x, irv y, irv carry)
{
    return ir_emit(b, IR_ADC, type, 0, x, y, carry, 0);
}

static inline irv ir_select(struct ir_builder *b, unsigned type, irv cond, irv yes, irv no)
{
    return ir_emit(b, IR_SELECT, type, 0, cond, yes, no, 0);
}

/* width: 32 or 64. */
static inline irv ir_icmp(struct ir_builder *b, enum ir_icond c, unsigned width, irv x, irv y)
{
    return ir_emit(b, IR_ICMP, IR_I1, c | (width / 32) << 4, x, y, 0, 0);
}

static inline irv ir_fl(struct ir_builder *b, unsigned op, unsigned width, irv x, irv y, irv carry)
{
    return ir_emit(b, op, IR_FL, width, x, y, carry, 0);
}

static inline irv ir_fl_fcmp(struct ir_builder *b, unsigned ftype, bool signalling, irv x, irv y)
{
    return ir_emit(b, IR_FL_FCMP, IR_FL, ftype | (unsigned)signalling << 8, x, y, 0, 0);
}

static inline irv ir_fl_select(struct ir_builder *b, irv cond, irv yes, irv no)
{
    return ir_emit(b, IR_FL_SELECT, IR_FL, 0, cond, yes, no, 0);
}

static inline irv ir_undef(struct ir_builder *b, unsigned type)
{
    return ir_emit(b, IR_UNDEF, type, 0, 0, 0, 0, 0);
}

static inline irv ir_fl_const(struct ir_builder *b, unsigned nzcv)
{
    return ir_emit(b, IR_FL_BITS, IR_FL, 0, ir_const(b, IR_I32, nzcv), 0, 0, 0);
}

static inline irv ir_cc(struct ir_builder *b, enum ir_cc cc, irv fl)
{
    return ir_emit(b, IR_CC, IR_I1, cc, fl, 0, 0, 0);
}

/* Memory at base + (index << scale) + disp; aux: IR_MEM_*, the scale among them. index may be 0. */
static inline irv ir_ld(struct ir_builder *b, unsigned type, unsigned aux, irv base, irv index,
                        s32 disp)
{
    return ir_emit(b, IR_LD, type, aux, base, index, 0, (u32)disp);
}

static inline void ir_st(struct ir_builder *b, unsigned aux, irv base, irv index, s32 disp, irv v)
{
    ir_emit(b, IR_ST, IR_VOID, aux, base, index, v, (u32)disp);
}

static inline irv ir_cas(struct ir_builder *b, unsigned type, unsigned aux, irv addr, irv expected,
                         irv desired)
{
    return ir_emit(b, IR_CAS, type, aux, addr, expected, desired, 0);
}

static inline irv ir_rmw(struct ir_builder *b, unsigned type, enum ir_rmw op, unsigned aux, irv addr,
                         irv operand)
{
    return ir_emit(b, IR_RMW, type, aux | (unsigned)op << 8, addr, operand, 0, 0);
}

static inline irv ir_ll(struct ir_builder *b, unsigned type, unsigned aux, irv addr)
{
    return ir_emit(b, IR_LL, type, aux, addr, 0, 0, 0);
}

static inline irv ir_sc(struct ir_builder *b, unsigned aux, irv addr, irv v)
{
    return ir_emit(b, IR_SC, IR_I32, aux, addr, v, 0, 0);
}

static inline void ir_fence(struct ir_builder *b, enum ir_fence kind)
{
    ir_emit(b, IR_FENCE, IR_VOID, kind, 0, 0, 0, 0);
}

/* Raise UNALIGNED unless x is a multiple of `bytes` (a power of two). */
void ir_chkalign(struct ir_builder *b, irv x, unsigned bytes);

/* FP and vector operations with the lane in aux. For scalars `lane` is the type itself. */
static inline irv ir_f1(struct ir_builder *b, unsigned op, unsigned type, unsigned lane, irv x)
{
    return ir_emit(b, op, type, lane, x, 0, 0, 0);
}

static inline irv ir_f2(struct ir_builder *b, unsigned op, unsigned type, unsigned lane, irv x, irv y)
{
    return ir_emit(b, op, type, lane, x, y, 0, 0);
}

/* aux: lane | IR_FMA_NEG_*. */
static inline irv ir_fma(struct ir_builder *b, unsigned type, unsigned aux, irv x, irv y, irv addend)
{
    return ir_emit(b, IR_FMA, type, aux, x, y, addend, 0);
}

/* Clear all above the low lane of type `lane` (IR_F16 .. IR_V64). */
irv ir_zx(struct ir_builder *b, unsigned lane, irv x);

static inline irv ir_v1(struct ir_builder *b, unsigned op, unsigned type, unsigned aux, irv x)
{
    return ir_emit(b, op, type, aux, x, 0, 0, 0);
}

static inline irv ir_v2(struct ir_builder *b, unsigned op, unsigned type, unsigned aux, irv x, irv y)
{
    return ir_emit(b, op, type, aux, x, y, 0, 0);
}

static inline irv ir_vbsl(struct ir_builder *b, unsigned type, irv mask, irv x, irv y)
{
    return ir_emit(b, IR_VBSL, type, 0, mask, x, y, 0);
}

/* Call helper `index` of the guest's table. After one with IR_HELPER_WRITES the block must end with
 * an exit, and its puts must have been made before. type IR_VOID: no result. */
irv ir_helper(struct ir_builder *b, unsigned index, unsigned type, irv x, irv y, irv z);

/* Ends of a region. `next` is the guest pc where control goes on. */
void ir_exit(struct ir_builder *b, u64 next);
void ir_exit_br(struct ir_builder *b, irv cond, u64 yes, u64 no);
/* Leave from the middle of a block if cond is what is wanted. False when it is known to be: the block has
 * ended. */
bool ir_exit_if(struct ir_builder *b, irv cond, bool want, u64 pc);
/* The same, but control leaves the region even if that has a block at pc. cond is not constant. */
bool ir_leave_if(struct ir_builder *b, irv cond, bool want, u64 pc);

/* Leave if somebody asks for it: in a by_state region before each jump backwards. */
static inline void ir_poll(struct ir_builder *b)
{
    ir_emit(b, IR_POLL, IR_VOID, 0, 0, 0, ir_state_map(b, b->pc), 0);
}

void ir_exit_ind(struct ir_builder *b, irv pc);
void ir_call(struct ir_builder *b, u64 target, u64 ret);
void ir_call_ind(struct ir_builder *b, irv target, u64 ret);
void ir_ret(struct ir_builder *b, irv pc);

/* Leave with a request to the outside; the map's pc is `pc`. */
void ir_raise(struct ir_builder *b, unsigned code, irv arg, u64 pc);

/* Edges between blocks of the region. */
u32 ir_edge(struct ir_builder *b, u32 block, const irv *args, unsigned count);
void ir_jmp(struct ir_builder *b, u32 edge);
void ir_br(struct ir_builder *b, irv cond, u32 edge_true, u32 edge_false);

#endif
