/* The intermediate representation: SSA over guest state, in regions of one or more blocks.
 *
 * A region is made by a builder (build.h) from guest code, or by the parser from text. Values are
 * indexes into one array of 24-byte nodes. Value 1 + s is the value of slot s at the region's entry
 * and exists in every region; nodes proper start at IR_FIRST_NODE. There is no operation that
 * writes state: what the guest's state is at a point where control can leave is said by a state map,
 * a list of the slots whose value is not the entry value. At an exit the map is carried out; at an
 * access that may fault it only describes, so precise state costs nothing on the fast path.
 *
 *     region 0x400100 {
 *     b0:
 *       v300 = ld.i64 8 x1, 16          ; {pc=0x400100}
 *       v301 = add.i64 v300, 1
 *       exit 0x400108                   ; {x0=v301}
 *     }
 */
#ifndef LYRE_JIT_IR_IR_H
#define LYRE_JIT_IR_IR_H

#include "base/err.h"
#include "base/types.h"
#include "jit/ir/passes.h"
#include "jit/ir/slots.h"

typedef u32 irv; /* a value; 0 is none */

struct ir_env;

enum ir_op {
#define OP(name, text, sig, effects) IR_##name,
#include "jit/ir/ops.def"
#undef OP
    IR_NOPS,
};

struct ir_node {
    u8 op, type;
    u16 aux;
    irv a, b, c;
    u64 imm;
};

#define IR_RECIPE_ARGS 4
#define IR_MAX_STATE_BLOCKS 128 /* of a by_state region */
#define IR_FIRST_NODE (1 + IR_MAX_SLOTS)

/* aux of FP-class results: what lies above the type's width is known to be zero. */
#define IR_AUX_UPZ 0x8000

/* aux of operations that raise FP flags: the guest's has raised `invalid` often. Hosts whose code traps
 * then should compute it in another way. */
#define IR_AUX_INVALID 0x4000

/* aux of arithmetic and of conversions between FP types: 1 + an enum fp_round that takes the place of the
 * environment's; 0: the environment's. */
#define IR_AUX_ROUND       0x1c00
#define IR_AUX_ROUND_SHIFT 10

/* Conditions on `fl`, numbered so that the lowest bit negates. */
enum ir_cc {
    IR_CC_EQ, IR_CC_NE, IR_CC_CS, IR_CC_CC, IR_CC_MI, IR_CC_PL, IR_CC_VS, IR_CC_VC,
    IR_CC_HI, IR_CC_LS, IR_CC_GE, IR_CC_LT, IR_CC_GT, IR_CC_LE,
};

/* Integer comparisons; the lowest bit negates. aux of icmp: condition | width << 4 (width 32, 64). */
enum ir_icond {
    IR_EQ, IR_NE, IR_ULT, IR_UGE, IR_ULE, IR_UGT, IR_SLT, IR_SGE, IR_SLE, IR_SGT,
    IR_TZ, IR_TNZ, /* a & b is zero, is not */
};

/* FP comparisons: quiet ones set no flag for a quiet NaN. An unordered pair makes all false. */
enum ir_fcond { IR_FEQ, IR_FLT, IR_FLE, IR_FGT, IR_FGE, IR_FLT_S = 9, IR_FLE_S, IR_FGT_S, IR_FGE_S };

/* aux of ld, st, cas, ll, sc. */
enum {
    IR_MEM_SIZE = 7,          /* log2 bytes, 0..4 */
    IR_MEM_SIGNED = 1 << 3,
    IR_MEM_ACQ = 1 << 4,
    IR_MEM_REL = 1 << 5,
    IR_MEM_SC = 1 << 6,       /* ordered with all other SC accesses (Arm LDAR, STLR) */
    IR_MEM_SCALE = 3 << 8,    /* the index b is shifted left by this */
    IR_MEM_SCALE_SHIFT = 8,
    IR_MEM_SEXT32 = 1 << 10,  /* the index is sign-extended from 32 bits */
    IR_MEM_ZEXT32 = 1 << 11,  /* the index is zero-extended from 32 bits */
    IR_MEM_UNPRIV = 1 << 12,  /* ld, st: as the least privileged mode of a machine would */
};

enum ir_rmw {
    IR_RMW_ADD, IR_RMW_ANDN, IR_RMW_XOR, IR_RMW_OR, IR_RMW_SMAX, IR_RMW_SMIN, IR_RMW_UMAX,
    IR_RMW_UMIN, IR_RMW_SWAP,
};

#define IR_EXIT_OUT 4 /* in the aux of exit.if: out of the region */

/* In the aux of direct exits and of calls within by_state regions: of which copy the block is that they lead to, or
 * come back to. */
#define IR_EXIT_COPY_SHIFT 3
#define IR_MAX_COPIES      64

enum ir_fence { IR_FENCE_LOAD = 1, IR_FENCE_STORE = 2, IR_FENCE_FULL = 3 };

/* aux of fma. */
enum { IR_FMA_NEG_PROD = 1 << 8, IR_FMA_NEG_ADD = 1 << 9 };

/* What vaes computes: the bytes of a ^ b shifted by rows and substituted (or the inverse); the columns of a
 * mixed (or the inverse); one after the other. */
enum ir_aes { IR_AES_SUB, IR_AES_INV_SUB, IR_AES_MIX, IR_AES_INV_MIX, IR_AES_SUB_MIX, IR_AES_INV_SUB_MIX };

/* What vsha computes. Four rounds of SHA-1 on a = {A..D} with b = {E} and c, words to which the
 * constants of this part of the rounds have been added. Four rounds of SHA-256, of which ROUNDS gives
 * {A..D} and takes it as a, with {E..H} as b, while ROUNDS2 gives {E..H} and has them the other way
 * round. Four words of SHA-256's message schedule: SCHEDULE1 adds sigma0 of a:b to a, SCHEDULE2 adds
 * sigma1 and the older words b:c. */
enum ir_sha {
    IR_SHA1_CHOOSE, IR_SHA1_PARITY, IR_SHA1_MAJORITY, IR_SHA256_ROUNDS, IR_SHA256_ROUNDS2,
    IR_SHA256_SCHEDULE1, IR_SHA256_SCHEDULE2,
};

/* Rounding in aux of conversions: enum fp_round of fp/fp.h, or this for the environment's. */
#define IR_ROUND_ENV 7

/* One entry of a state map: slot's value is `value` from here on. */
struct ir_put {
    irv value;
    u32 slot;
};

/* State at a point: the parent's, then `count` entries from `first` (later ones win). */
struct ir_map {
    u64 pc; /* guest address of the instruction (of the next one, for exits) */
    u32 parent;
    u32 first, count;
};

struct ir_edge {
    u32 block;
    u32 first, count; /* arguments in `args` */
};

struct ir_block {
    u64 pc;             /* of its first instruction; matters when by_state */
    u32 copy;           /* 0: the code itself; others: of a function in the place of a call to it */
    u32 first, end; /* its nodes; parameters come first */
    u32 nparams;
    u32 preds;      /* how many edges lead here */
};

/* Where the nodes of a guest instruction start. */
struct ir_insn {
    irv first;
    u32 offset; /* of its address, from the region's */
};

/* Machines: accesses near each other share a look-up of their address, which may fail where each alone would not. Then
 * code leaves with IR_EXIT_APART, or (as by_state regions always do) makes them one by one in a copy; or none share. */
enum ir_neighbours { IR_SHARE, IR_SHARE_OR_COPY, IR_APART };

struct ir_region {
    const struct ir_slots *slots;
    u64 pc;
    u32 key;
    bool by_state; /* blocks hand state on through slots alone: an exit to a block's pc goes there, and entry
                    * values are those at the start of the block */
    u8 mmu;       /* 0: addresses are the host's; else 1 + the mode that they are translated in */
    u8 neighbours; /* enum ir_neighbours */
    bool tiny;    /* underflow is exact: results that round up to the least normal number count */
    bool soft_fp; /* the host's unit cannot do what the guest's mode asks: C computes */
    u32 without;  /* bit p: pass p is left out */

    struct ir_node *node;
    u32 count, node_cap; /* nodes are IR_FIRST_NODE .. count - 1 */
    struct ir_block *block;
    u32 nblocks, block_cap;
    struct ir_edge *edge;
    u32 nedges, edge_cap;
    irv *args;
    u32 nargs, args_cap;
    struct ir_map *map; /* map 0 is the entry state */
    u32 nmaps, map_cap;
    struct ir_put *put;
    u32 nputs, put_cap;
    struct ir_insn *insn; /* guest instructions in the order of their nodes */
    u32 insns, insn_cap;
};

static inline bool ir_with(const struct ir_region *r, enum ir_pass pass)
{
    return !(r->without >> pass & 1);
}

/* A region's memory is kept from one use to the next. */
void ir_region_init(struct ir_region *r);
void ir_region_start(struct ir_region *r, const struct ir_slots *slots, u64 pc);
void ir_region_free(struct ir_region *r);

/* The block of a by_state region that starts at pc in that copy; UINT32_MAX: none. */
u32 ir_block_at(const struct ir_region *r, u64 pc, u32 copy);
/* The same for the way out that a direct exit, or the jump of a conditional one, has at its imm, and for where a
 * call comes back. */
u32 ir_exit_block(const struct ir_region *r, const struct ir_node *n);
u32 ir_return_block(const struct ir_region *r, const struct ir_node *call);

/* The nodes that follow are made for the guest instruction at pc; the instruction of a node. */
void ir_mark_insn(struct ir_region *r, u64 pc);
u64 ir_insn_pc(const struct ir_region *r, irv v);

/* What the op table says, for tools (printer, parser, verifier). */
struct ir_opinfo {
    const char *text, *sig;
    u8 effects;  /* IR_E_* */
    u8 nargs;    /* value operands; a state map or an edge is not one */
    char result; /* first letter of the signature, '-' for none */
    char arg[3];
    bool optional[3];
    const char *aux; /* what aux means; "" for nothing */
};

enum {
    IR_E_PURE = 1, IR_E_LEAVE = 2, IR_E_READ = 4, IR_E_WRITE = 8, IR_E_SIDE = 16, IR_E_FP = 32,
    IR_E_TERM = 64, IR_E_COMM = 128,
};

struct ir_opinfo ir_info(unsigned op);

/* IR_E_* of an operation, for compilation: a table lookup. */
extern const u8 ir_effects[IR_NOPS];
const char *ir_type_name(unsigned type);

static inline bool ir_is_entry(irv v)
{
    return v && v < IR_FIRST_NODE;
}

/* True when the slot value v is an entry value; its slot. */
static inline unsigned ir_entry_slot(irv v)
{
    return v - 1;
}

static inline unsigned ir_value_type(const struct ir_region *r, irv v)
{
    return ir_is_entry(v) ? r->slots->slot[v - 1].type : r->node[v].type;
}

static inline bool ir_is_undef(const struct ir_region *r, irv v)
{
    return v >= IR_FIRST_NODE && r->node[v].op == IR_UNDEF;
}

static inline bool ir_is_const(const struct ir_region *r, irv v)
{
    return v >= IR_FIRST_NODE && r->node[v].op == IR_CONST;
}

/* A floating-point operation that the host's unit should not do. */
static inline bool ir_soft_fp(const struct ir_region *r, const struct ir_node *n)
{
    return (ir_effects[n->op] & IR_E_FP) && (r->soft_fp || n->aux & (IR_AUX_INVALID | IR_AUX_ROUND));
}

/* The state map of a node that may leave. Memory accesses and helpers keep it above the
 * displacement or index. */
static inline bool ir_map_in_imm(unsigned op)
{
    return (op >= IR_LD && op <= IR_CHKALIGN) || op == IR_HELPER;
}

static inline bool ir_has_map(unsigned op)
{
    return (ir_effects[op] & IR_E_LEAVE) || op == IR_HELPER;
}

static inline u32 ir_node_map(const struct ir_node *n)
{
    return ir_map_in_imm(n->op) ? (u32)(n->imm >> 32) : n->c;
}

static inline s32 ir_node_disp(const struct ir_node *n)
{
    return (s32)(u32)n->imm;
}

static inline unsigned ir_mem_bytes(const struct ir_node *n)
{
    return 1u << (n->aux & IR_MEM_SIZE);
}

static inline bool ir_type_is_int(unsigned t)
{
    return t == IR_I1 || t == IR_I32 || t == IR_I64;
}

static inline bool ir_type_is_vec(unsigned t)
{
    return t >= IR_F16 && t <= IR_V128;
}

/* The value of every slot at map `m` that is not its entry value, latest entry of each slot only;
 * `out` has room for IR_MAX_SLOTS. Returns how many. */
unsigned ir_map_resolve(const struct ir_region *r, u32 m, struct ir_put *out);

/* Flags that can be kept as their operands: what to store as struct ir_flags (fl.h). */
struct ir_recipe {
    u32 kind; /* enum ir_fl_kind with what goes with it, or a site */
    u32 count;
    irv arg[IR_RECIPE_ARGS];
};

/* False when v is none; out is then empty. */
bool ir_recipe(const struct ir_region *r, irv v, struct ir_recipe *out);

/* Is the value what the slot held where the block starts, with a constant added? */
bool ir_step(const struct ir_region *r, unsigned slot, irv v, s64 *by);

/* Helper functions of a guest, called by `helper` nodes. Arguments are env->helper_arg[], the result
 * goes to env->helper_ret. */
struct ir_helper {
    const char *name;
    void (*fn)(struct ir_env *env);
    u8 flags;
};

enum {
    IR_HELPER_READS = 1,  /* reads slots: all are in memory before the call */
    IR_HELPER_WRITES = 2, /* writes slots: entry values and earlier gets are stale after it */
    IR_HELPER_FP = 4,     /* reads or changes the FP environment */
    IR_HELPER_PURE = 8,   /* depends on its arguments alone */
    IR_HELPER_VARIES = 16, /* two calls need not agree (a clock) */
};

/* Text form; print.c, parse.c. The printer returns malloced text. The parser makes a region that has
 * not been verified; values in the text may have any numbers, but are defined before they are used
 * (parameters of later blocks apart). */
char *ir_print(const struct ir_region *r);
bool ir_parse(struct ir_region *r, const struct ir_slots *slots, const char *text, struct err *e);

/* Check every rule of the IR; verify.c lists them. False with the first breach. helpers: the guest's, up to
 * one without a function; NULL: none. */
bool ir_verify(const struct ir_region *r, const struct ir_helper *helpers, struct err *e);

#endif
