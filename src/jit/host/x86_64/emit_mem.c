/* Loads, stores, atomics. The host's memory model (TSO) gives acquire loads and release stores for
 * nothing; a store that is ordered with later loads is an exchange. */
#include "jit/host/x86_64/x64.h"

/* The address operand; a 32-bit index is extended into the first temporary. */
static struct x64_mem address(struct x64_gen *g, const struct ra_ins *i, unsigned *used_src,
                              unsigned *used_tmp)
{
    const struct ir_node *n = x64_node(g, i);
    struct x64_mem m = x64_at(i->src[0], 0);
    *used_src = 1;
    *used_tmp = 0;
    if (n->op != IR_LD && n->op != IR_ST)
        return m;
    m.disp = ir_node_disp(n);
    if (n->b) {
        unsigned index = i->src[1];
        *used_src = 2;
        if (n->aux & (IR_MEM_SEXT32 | IR_MEM_ZEXT32)) {
            *used_tmp = 1;
            if (n->aux & IR_MEM_SEXT32)
                x64_rr(&g->a, X_MOVSXD, true, i->tmp[0], index);
            else
                x64_mov32(&g->a, i->tmp[0], index);
            index = i->tmp[0];
        }
        m.index = (u8)index;
        m.scale = (u8)((n->aux & IR_MEM_SCALE) >> IR_MEM_SCALE_SHIFT);
    }
    return m;
}

/* The same as a host address. In machines what the look-up does not find goes on with *cold, NULL otherwise. */
static struct x64_mem host_address(struct x64_gen *g, const struct ra_ins *i, unsigned *used_src, unsigned *used_tmp,
                                   struct x64_cold **cold)
{
    struct x64_mem m = address(g, i, used_src, used_tmp);
    *cold = NULL;
    return g->r->mmu ? x64_mmu_find(g, i, m, cold) : m;
}

/* Code since `start` accesses the program's memory at m. */
static void may_fault(struct x64_gen *g, const struct ra_ins *i, const u8 *start, bool write, const struct x64_mem *m)
{
    if (!g->r->mmu)
        x64_fault_range(g, i, start, write, m);
}

static void load_int(struct x64_gen *g, const struct ir_node *n, unsigned dst, struct x64_mem m)
{
    struct x64_asm *a = &g->a;
    bool wide = n->type == IR_I64, sign = n->aux & IR_MEM_SIGNED;
    switch (n->aux & IR_MEM_SIZE) {
    case 0:
        x64_rm(a, sign ? X_MOVSX8 : X_MOVZX8, sign && wide, dst, m);
        break;
    case 1:
        x64_rm(a, sign ? X_MOVSX16 : X_MOVZX16, sign && wide, dst, m);
        break;
    case 2:
        if (sign && wide)
            x64_rm(a, X_MOVSXD, true, dst, m);
        else
            x64_load(a, false, dst, m);
        break;
    default:
        x64_load(a, true, dst, m);
        break;
    }
}

static void load_vec(struct x64_gen *g, unsigned bytes, unsigned dst, unsigned tmp, struct x64_mem m)
{
    switch (bytes) {
    case 2:
        x64_rm(&g->a, X_MOVZX16, false, tmp, m);
        x64_vg(&g->a, X_MOVD_XR, false, xr(dst), tmp);
        break;
    case 4: {
        /* the load form of movss has two operands */
        x64_v2m(&g->a, X_MOVSS, xr(dst), m);
        break;
    }
    case 8:
        x64_v2m(&g->a, X_MOVQ, xr(dst), m);
        break;
    default:
        x64_v2m(&g->a, X_MOVUPS, xr(dst), m);
        break;
    }
}

static void emit_load(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned nsrc, ntmp;
    struct x64_cold *cold;
    struct x64_mem m = host_address(g, i, &nsrc, &ntmp, &cold);
    const u8 *start = g->a.p;
    if (ir_type_is_vec(n->type))
        load_vec(g, ir_mem_bytes(n), i->dst, i->tmp[ntmp], m);
    else
        load_int(g, n, i->dst, m);
    may_fault(g, i, start, false, &m);
}

static void store_gpr(struct x64_gen *g, unsigned size, unsigned src, struct x64_mem m)
{
    static const u16 insn[] = {X_MOV8_MR, X_MOV16_MR, X_MOV_MR, X_MOV_MR};
    x64_rm(&g->a, (enum x64_insn)insn[size], size == 3, src, m);
}

static void xchg_gpr(struct x64_gen *g, unsigned size, unsigned src, struct x64_mem m)
{
    static const u16 insn[] = {X_XCHG8, X_XCHG16, X_XCHG, X_XCHG};
    x64_rm(&g->a, (enum x64_insn)insn[size], size == 3, src, m);
}

static void store_imm(struct x64_gen *g, unsigned size, s32 imm, struct x64_mem m)
{
    struct x64_asm *a = &g->a;
    if (size >= 2) {
        x64_mov_mi(a, size == 3, m, imm);
        return;
    }
    /* 8 and 16 bits: the short forms of c6 and c7 */
    struct x64_insn_info form = {"mov", size ? 0x66 : 0, 0, size ? 0xc7 : 0xc6, 0};
    x64_insn_mem(a, &form, 0, m);
    x64_byte(a, (u8)imm);
    if (size)
        x64_byte(a, (u8)(imm >> 8));
}

static void store_vec(struct x64_gen *g, unsigned bytes, unsigned src, unsigned tmp,
                      struct x64_mem m)
{
    static const u16 insn[] = {X_MOVSS_ST, X_MOVQ_ST, X_MOVUPS_ST};
    if (bytes == 2) {
        x64_vg(&g->a, X_MOVD_RX, false, xr(src), tmp);
        x64_rm(&g->a, X_MOV16_MR, false, tmp, m);
        return;
    }
    x64_v2m(&g->a, (enum x64_insn)insn[bytes / 8], xr(src), m);
}

void x64_emit_value(struct x64_gen *g, const struct ra_ins *i, struct x64_mem m)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned size = n->aux & IR_MEM_SIZE, v = i->src[n->b ? 2 : 1];
    unsigned tmp = i->tmp[(n->aux & (IR_MEM_SEXT32 | IR_MEM_ZEXT32)) != 0];
    if (v == RA_IMM)
        store_imm(g, size, (s32)x64_const(g, n->c), m);
    else if (v >= RA_VEC)
        store_vec(g, 1u << size, v, tmp, m);
    else
        store_gpr(g, size, v, m);
}

static void emit_store(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned nsrc, ntmp, size = n->aux & IR_MEM_SIZE;
    struct x64_cold *cold;
    struct x64_mem m = host_address(g, i, &nsrc, &ntmp, &cold);
    bool sc = n->aux & IR_MEM_SC;
    if (sc)
        x64_mov(&g->a, i->tmp[ntmp], i->src[nsrc]);
    const u8 *start = g->a.p;
    if (sc)
        xchg_gpr(g, size, i->tmp[ntmp], m);
    else
        x64_emit_value(g, i, m);
    if (cold)
        cold->back = g->a.p; /* C has stored it */
    may_fault(g, i, start, true, &m);
}

static void lock_cmpxchg(struct x64_gen *g, unsigned size, unsigned src, struct x64_mem m)
{
    static const u16 insn[] = {X_CMPXCHG8, X_CMPXCHG16, X_CMPXCHG, X_CMPXCHG};
    x64_byte(&g->a, 0xf0);
    x64_rm(&g->a, (enum x64_insn)insn[size], size == 3, src, m);
}

/* The old value in rax, or a 32-bit register, without junk above its size. */
static void clean(struct x64_gen *g, unsigned dst, unsigned src, unsigned size)
{
    if (size == 0)
        x64_rr(&g->a, X_MOVZX8, false, dst, src);
    else if (size == 1)
        x64_rr(&g->a, X_MOVZX16, false, dst, src);
    else if (size == 2)
        x64_mov32(&g->a, dst, src);
    else
        x64_mov(&g->a, dst, src);
}

/* rdx:rax = expected, rcx:rbx = desired, lock cmpxchg16b. */
static void cmpxchg16(struct x64_gen *g, const struct ra_ins *i, unsigned expected, unsigned desired,
                      struct x64_mem m)
{
    struct x64_asm *a = &g->a;
    static const struct x64_insn_info form = {"cmpxchg16b", 0, 1, 0xc7, XF_W};
    if (expected != RA_NOREG) {
        x64_vg(a, X_MOVD_RX, true, xr(expected), RAX);
        x64_vg(a, X_PEXTRD, true, xr(expected), RDX);
        x64_byte(a, 1);
    }
    x64_vg(a, X_MOVD_RX, true, xr(desired), RBX);
    x64_vg(a, X_PEXTRD, true, xr(desired), RCX);
    x64_byte(a, 1);
    const u8 *start = a->p;
    x64_byte(a, 0xf0);
    x64_insn_mem_wide(a, &form, 1, m);
    may_fault(g, i, start, true, &m);
}

static void emit_cas(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    unsigned size = n->aux & IR_MEM_SIZE, nsrc, ntmp;
    struct x64_cold *cold;
    struct x64_mem m = host_address(g, i, &nsrc, &ntmp, &cold);
    if (size == 4) {
        cmpxchg16(g, i, i->src[1], i->src[2], m);
        x64_vg(&g->a, X_MOVD_XR, true, xr(i->dst), RAX);
        x64_vg(&g->a, X_MOVD_XR, true, X64_SCRATCH, RDX);
        x64_v3(&g->a, X_PUNPCKLQDQ, xr(i->dst), xr(i->dst), X64_SCRATCH);
        return;
    }
    if (size == 3)
        x64_mov(&g->a, RAX, i->src[1]);
    else
        clean(g, RAX, i->src[1], size);
    const u8 *start = g->a.p;
    lock_cmpxchg(g, size, i->src[2], m);
    may_fault(g, i, start, true, &m);
    if (size < 2)
        clean(g, RAX, RAX, size);
}

/* tmp = old `op` operand, for the operations without an instruction of their own. */
static void combine(struct x64_gen *g, unsigned op, unsigned size, unsigned tmp, unsigned operand,
                    unsigned scratch)
{
    static const u8 cc[] = {[IR_RMW_SMAX] = XCC_G, [IR_RMW_SMIN] = XCC_L, [IR_RMW_UMAX] = XCC_A,
                            [IR_RMW_UMIN] = XCC_B};
    struct x64_asm *a = &g->a;
    bool wide = size == 3;
    switch (op) {
    case IR_RMW_ANDN:
        x64_mov(a, tmp, operand);
        x64_unary(a, XU_NOT, wide, tmp);
        x64_alu_rr(a, XALU_AND, wide, tmp, RAX);
        return;
    case IR_RMW_XOR:
    case IR_RMW_OR:
        x64_mov(a, tmp, operand);
        x64_alu_rr(a, op == IR_RMW_OR ? XALU_OR : XALU_XOR, wide, tmp, RAX);
        return;
    default:
        break;
    }
    bool is_signed = op == IR_RMW_SMAX || op == IR_RMW_SMIN;
    if (size < 2) {
        u16 ext = is_signed ? (size ? X_MOVSX16 : X_MOVSX8) : (size ? X_MOVZX16 : X_MOVZX8);
        x64_rr(a, (enum x64_insn)ext, false, tmp, operand);
        x64_rr(a, (enum x64_insn)ext, false, scratch, RAX);
    } else {
        x64_mov(a, tmp, operand);
        x64_mov(a, scratch, RAX);
    }
    x64_alu_rr(a, XALU_CMP, wide, scratch, tmp);
    x64_cmov(a, cc[op], wide, tmp, scratch);
}

static void emit_rmw(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    struct x64_asm *a = &g->a;
    unsigned size = n->aux & IR_MEM_SIZE, op = n->aux >> 8, tmp = i->tmp[0], nsrc, ntmp;
    struct x64_cold *cold;
    struct x64_mem m = host_address(g, i, &nsrc, &ntmp, &cold);
    if (op == IR_RMW_ADD || op == IR_RMW_SWAP) {
        static const u16 xadd[] = {X_XADD8, X_XADD16, X_XADD, X_XADD};
        x64_mov(a, tmp, i->src[1]);
        const u8 *start = a->p;
        if (op == IR_RMW_ADD) {
            x64_byte(a, 0xf0);
            x64_rm(a, (enum x64_insn)xadd[size], size == 3, tmp, m);
        } else {
            xchg_gpr(g, size, tmp, m);
        }
        may_fault(g, i, start, true, &m);
        clean(g, i->dst, tmp, size);
        return;
    }
    const u8 *start = a->p;
    struct ir_node plain = {.type = IR_I64, .aux = (u16)size};
    load_int(g, &plain, RAX, m);
    const u8 *again = a->p;
    combine(g, op, size, tmp, i->src[1], i->tmp[1]);
    lock_cmpxchg(g, size, tmp, m);
    u8 *retry = x64_jcc(a, XCC_NE, false);
    x64_patch(retry, again);
    may_fault(g, i, start, true, &m);
    clean(g, RAX, RAX, size);
}

static void emit_ll(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    struct x64_asm *a = &g->a;
    unsigned nsrc, ntmp;
    struct x64_cold *cold;
    struct x64_mem m = host_address(g, i, &nsrc, &ntmp, &cold);
    const u8 *start = a->p;
    if (ir_type_is_vec(n->type))
        load_vec(g, ir_mem_bytes(n), i->dst, i->tmp[0], m);
    else
        load_int(g, n, i->dst, m);
    may_fault(g, i, start, false, &m);
    x64_mov_mi(a, true, ENV_MEM(excl.size), (s32)ir_mem_bytes(n));
    if (ir_type_is_vec(n->type))
        x64_v2m(a, X_MOVUPS_ST, xr(i->dst), ENV_MEM(excl.value));
    else
        x64_store(a, true, ENV_MEM(excl.value), i->dst);
    x64_store(a, true, ENV_MEM(excl.addr), i->src[0]);
}

static void emit_sc(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    struct x64_asm *a = &g->a;
    unsigned size = n->aux & IR_MEM_SIZE, nsrc, ntmp;
    struct x64_cold *cold;
    struct x64_mem m = host_address(g, i, &nsrc, &ntmp, &cold);
    u8 *lost[2];
    x64_alu_rm(a, XALU_CMP, true, i->src[0], ENV_MEM(excl.addr));
    lost[0] = x64_jcc(a, XCC_NE, false);
    x64_alu_mi(a, XALU_CMP, true, ENV_MEM(excl.size), 1 << size);
    lost[1] = x64_jcc(a, XCC_NE, false);
    x64_load(a, true, RAX, ENV_MEM(excl.value));
    if (size == 4) {
        struct x64_mem high = ENV_MEM(excl.value);
        high.disp += 8;
        x64_load(a, true, RDX, high);
        cmpxchg16(g, i, RA_NOREG, i->src[1], m);
    } else {
        const u8 *start = a->p;
        lock_cmpxchg(g, size, i->src[1], m);
        may_fault(g, i, start, true, &m);
    }
    x64_setcc(a, XCC_NE, RAX);
    x64_rr(a, X_MOVZX8, false, RAX, RAX);
    u8 *done = x64_jmp(a, false);
    x64_patch(lost[0], a->p);
    x64_patch(lost[1], a->p);
    x64_mov_ri(a, RAX, 1);
    x64_patch(done, a->p);
    x64_mov_mi(a, true, ENV_MEM(excl.size), 0);
}

static void emit_trap(struct x64_gen *g, const struct ra_ins *i, u8 *from, enum host_leave what)
{
    struct x64_cold *c = x64_cold_add(g, X64_COLD_TRAP);
    x64_cold_from(c, from);
    c->state = i->state;
    c->what = (u8)what;
    c->dst = i->src[0];
    c->back = g->a.p;
}

void x64_emit_mem(struct x64_gen *g, const struct ra_ins *i)
{
    const struct ir_node *n = x64_node(g, i);
    switch (n->op) {
    case IR_LD:
        emit_load(g, i);
        break;
    case IR_ST:
        emit_store(g, i);
        break;
    case IR_CAS:
        emit_cas(g, i);
        break;
    case IR_RMW:
        emit_rmw(g, i);
        break;
    case IR_LL:
        emit_ll(g, i);
        break;
    case IR_SC:
        emit_sc(g, i);
        break;
    case IR_CLREX:
        x64_mov_mi(&g->a, true, ENV_MEM(excl.size), 0);
        break;
    case IR_FENCE:
        if (n->aux == IR_FENCE_FULL) { /* a locked operation on our own memory, cheaper than mfence */
            x64_byte(&g->a, 0xf0);
            x64_alu_mi(&g->a, XALU_OR, false, ENV_MEM(tmp), 0);
        }
        break;
    case IR_CHKALIGN:
        x64_test_ri(&g->a, false, i->src[0], n->aux - 1);
        emit_trap(g, i, x64_jcc(&g->a, XCC_NE, false), HOST_LEAVE_ALIGN);
        break;
    default: /* IR_POLL */
        x64_alu_mi(&g->a, XALU_CMP, false, ENV_MEM(request), 0);
        emit_trap(g, i, x64_jcc(&g->a, XCC_NE, false), HOST_LEAVE_POLL);
        break;
    }
}
