/* Lockstep is the net below everything else, so it is tested with bugs: each test runs the same A64
 * program with one known miscompile planted into the host code (never into what the interpreter
 * runs), and lockstep must report it. Every bug stands for a kind of mistake of a fold rule, of flags,
 * of the register allocator or of exit maps. Then the same on a machine. */
#include <limits.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "accel/engine.h"
#include "base/mem.h"
#include "check.h"
#include "host_signals.h"
#include "isa/aarch64/state.h"
#include "accel/cpus.h"
#include "jit/cache/cache.h"
#include "planted_board.h"

#define CODE   0x400000
#define ROUNDS 3

/* Arithmetic, flags and memory in a loop, then two accesses that fault. x0: data, x1: rounds, x2: an
 * address where nothing is. Targets of branches are offsets from the start. */
static const u32 program[] = {
    0xd2800013, /* mov x19, #0x0 */
    0xb9800403, /* ldrsw x3, [x0, #4] */
    0xf9400404, /* ldr x4, [x0, #8] */
    0xcb040065, /* sub x5, x3, x4 */
    0x91000ca6, /* add x6, x5, #0x3 */
    0xca0308c7, /* eor x7, x6, x3, lsl #2 */
    0x531b68e8, /* lsl w8, w7, #5 */
    0x93401ce9, /* sxtb x9, w7 */
    0x9b061caa, /* madd x10, x5, x6, x7 */
    0xf900080a, /* str x10, [x0, #16] */
    0x9343fcb4, /* asr x20, x5, #3 */
    0x93c724f5, /* ror x21, x7, #9 */
    0x8b150296, /* add x22, x20, x21 */
    0xb9001816, /* str w22, [x0, #24] */
    0xeb030273, /* subs x19, x19, x3 */
    0x1a9f57ec, /* cset w12, mi */
    0xab04014b, /* adds x11, x10, x4 */
    0x1a9f37ed, /* cset w13, cs */
    0x9a86b0ae, /* csel x14, x5, x6, lt */
    0xd1000421, /* sub x1, x1, #0x1 */
    0xb5fffda1, /* cbnz x1, 4 */
    0xeb04006f, /* subs x15, x3, x4 */
    0x54000048, /* b.hi 60 */
    0x91001def, /* add x15, x15, #0x7 */
    0xab040077, /* adds x23, x3, x4 */
    0x910004a5, /* add x5, x5, #0x1 */
    0xaa0703e6, /* mov x6, x7 */
    0xaa0503f8, /* mov x24, x5 */
    0xd2824699, /* mov x25, #0x1234 */
    0xd2801327, /* mov x7, #0x99 */
    0xeb05009a, /* subs x26, x4, x5 */
    0xf9400048, /* ldr x8, [x2] */
    0x8b060108, /* add x8, x8, x6 */
    0xcb0a0129, /* sub x9, x9, x10 */
    0xf9000449, /* str x9, [x2, #8] */
    0x8b090108, /* add x8, x8, x9: until then x8 is in no slot */
    0xeb09007f, /* cmp x3, x9 */
    0xd4000001, /* svc #0x0 */
};

static const u64 first_data[] = {0x8765432100000001, 0x0123456789abcdef};

/* ---- looking for places ---- */

typedef bool node_test(const struct ir_region *r, const struct ir_node *n);

static struct ir_node *find(struct ir_region *r, unsigned op, node_test *fits)
{
    for (irv v = IR_FIRST_NODE; v < r->count; v++) {
        if (r->node[v].op == op && (!fits || fits(r, &r->node[v])))
            return &r->node[v];
    }
    return NULL;
}

static bool const_b(const struct ir_region *r, const struct ir_node *n)
{
    return ir_is_const(r, n->b);
}

static bool var_b(const struct ir_region *r, const struct ir_node *n)
{
    return !ir_is_const(r, n->b) && n->a != n->b;
}

static bool is_signed(const struct ir_region *r, const struct ir_node *n)
{
    return n->aux & IR_MEM_SIGNED;
}

static bool is_i64(const struct ir_region *r, const struct ir_node *n)
{
    return n->type == IR_I64 && var_b(r, n);
}

static bool is_wide(const struct ir_region *r, const struct ir_node *n)
{
    return n->aux == 64;
}

static struct ra_ins *find_ins(struct ra *ra, enum ra_kind kind, unsigned op)
{
    for (u32 i = 0; i < ra->nins; i++) {
        struct ra_ins *ins = &ra->ins[i];
        if (ins->kind == kind && (kind != RA_OP || ra->r->node[ins->v].op == op))
            return ins;
    }
    return NULL;
}

static void delete_ins(struct ra *ra, struct ra_ins *ins)
{
    if (ins)
        memmove(ins, ins + 1, (size_t)(ra->ins + --ra->nins - ins) * sizeof(*ins));
}

static void swap_values(irv *a, irv *b)
{
    irv t = *a;
    *a = *b;
    *b = t;
}

static void swap_regs(u8 *a, u8 *b)
{
    u8 t = *a;
    *a = *b;
    *b = t;
}

/* ---- fold rules ---- */

static void wrong_constant(void *product)
{
    struct ir_region *r = product;
    struct ir_node *n = find(r, IR_ADD, const_b);
    if (n)
        r->node[n->b].imm++;
}

static void add_for_sub(void *product)
{
    struct ir_node *n = find(product, IR_SUB, NULL);
    if (n)
        n->op = IR_ADD;
}

static void sub_exchanged(void *product)
{
    struct ir_node *n = find(product, IR_SUB, var_b);
    if (n)
        swap_values(&n->a, &n->b);
}

static void comparison_negated(void *product)
{
    struct ir_node *n = find(product, IR_ICMP, NULL);
    if (n)
        n->aux ^= 1;
}

static void select_exchanged(void *product)
{
    struct ir_node *n = find(product, IR_SELECT, NULL);
    if (n)
        swap_values(&n->b, &n->c);
}

static void sign_lost(void *product)
{
    struct ir_node *n = find(product, IR_LD, is_signed);
    if (n)
        n->aux &= (u16)~IR_MEM_SIGNED;
}

static void displacement_off(void *product)
{
    struct ir_node *n = find(product, IR_ST, NULL);
    if (n)
        n->imm += 8;
}

static void shift_turned(void *product)
{
    struct ir_node *n = find(product, IR_SHL, NULL);
    if (n)
        n->op = IR_SHR;
}

static void width_halved(void *product)
{
    struct ir_node *n = find(product, IR_SUB, is_i64);
    if (n)
        n->type = IR_I32;
}

static void product_is_sum(void *product)
{
    struct ir_node *n = find(product, IR_MUL, NULL);
    if (n)
        n->op = IR_OR;
}

static void extension_wider(void *product)
{
    struct ir_node *n = find(product, IR_SEXT, NULL);
    if (n)
        n->aux = 16;
}

/* ---- flags ---- */

static void flags_of_sum(void *product)
{
    struct ir_node *n = find(product, IR_FL_SUB, NULL);
    if (n)
        n->op = IR_FL_ADD;
}

static void flags_exchanged(void *product)
{
    struct ir_node *n = find(product, IR_FL_SUB, var_b);
    if (n)
        swap_values(&n->a, &n->b);
}

static void flags_narrow(void *product)
{
    struct ir_node *n = find(product, IR_FL_ADD, is_wide);
    if (n)
        n->aux = 32;
}

static void condition_negated(void *product)
{
    struct ir_node *n = find(product, IR_CC, NULL);
    if (n)
        n->aux ^= 1;
}

/* ---- the allocator ---- */

static void operands_exchanged(void *product)
{
    struct ra_ins *ins = find_ins(product, RA_OP, IR_SUB);
    if (ins)
        swap_regs(&ins->src[0], &ins->src[1]);
}

static void result_elsewhere(void *product)
{
    struct ra_ins *ins = find_ins(product, RA_OP, IR_MUL);
    if (ins)
        ins->dst = ins->dst == 7 ? 6 : 7;
}

static void store_missing(void *product)
{
    delete_ins(product, find_ins(product, RA_STORE, 0));
}

static void move_missing(void *product)
{
    delete_ins(product, find_ins(product, RA_MOVE, 0));
}

static void load_of_neighbour(void *product)
{
    struct ra_ins *ins = find_ins(product, RA_LOAD, 0);
    if (ins)
        ins->loc.index ^= 1;
}

static void recipe_exchanged(void *product)
{
    struct ra_ins *ins = find_ins(product, RA_STORE_FL, 0);
    if (ins)
        swap_regs(&ins->src[0], &ins->src[1]);
}

/* ---- exit maps ---- */

static void for_each_place(struct ra *ra, enum ra_place place, void (*fn)(struct ra_where *w))
{
    for (u32 i = 0; i < ra->nwhere; i++) {
        if (ra->where[i].at.place == place)
            fn(&ra->where[i]);
    }
}

static void other_register(struct ra_where *w)
{
    w->at.index ^= 1;
}

static void map_register(void *product)
{
    for_each_place(product, RA_IN_REG, other_register);
}

static void at_home(struct ra_where *w)
{
    w->at = (struct ra_loc){RA_IN_SLOT, w->slot};
}

static void map_constant(void *product)
{
    for_each_place(product, RA_IN_IMM, at_home);
}

static void exchange_recipe(struct ra_where *w)
{
    struct ra_loc t = w->arg[0];
    w->arg[0] = w->arg[1];
    w->arg[1] = t;
}

static void map_recipe(void *product)
{
    for_each_place(product, RA_IN_FL, exchange_recipe);
}

static void map_entry_missing(void *product)
{
    struct ra *ra = product;
    for (u32 i = 0; i < ra->nstates; i++)
        ra->state[i].count -= ra->state[i].count > 0;
}

static void map_of_next(void *product)
{
    struct ra *ra = product;
    for (u32 i = 0; i + 1 < ra->nstates; i++) {
        ra->state[i].first = ra->state[i + 1].first;
        ra->state[i].count = ra->state[i + 1].count;
    }
}

static void map_pc_of_entry(void *product)
{
    struct ra *ra = product;
    for (u32 i = 0; i < ra->nstates; i++)
        ra->state[i].map = 0;
}

static void fault_kind(void *product)
{
    struct host_buf *buf = product;
    for (u32 i = 0; i < buf->nfaults; i++)
        buf->fault[i].write = !buf->fault[i].write;
}

static const struct planted {
    const char *name;
    enum engine_stage stage;
    void (*plant)(void *product);
} bugs[] = {
    {"fold: wrong constant", ENGINE_IR, wrong_constant},
    {"fold: a sum for a difference", ENGINE_IR, add_for_sub},
    {"fold: a difference the other way round", ENGINE_IR, sub_exchanged},
    {"fold: a comparison negated", ENGINE_IR, comparison_negated},
    {"fold: a selection exchanged", ENGINE_IR, select_exchanged},
    {"fold: a load without its sign", ENGINE_IR, sign_lost},
    {"fold: a displacement off by 8", ENGINE_IR, displacement_off},
    {"fold: a shift in the other direction", ENGINE_IR, shift_turned},
    {"fold: half the width", ENGINE_IR, width_halved},
    {"fold: strength reduced too far", ENGINE_IR, product_is_sum},
    {"fold: a wider extension", ENGINE_IR, extension_wider},
    {"flags: of a sum", ENGINE_IR, flags_of_sum},
    {"flags: operands exchanged", ENGINE_IR, flags_exchanged},
    {"flags: half the width", ENGINE_IR, flags_narrow},
    {"flags: a condition negated", ENGINE_IR, condition_negated},
    {"flags: a stored recipe exchanged", ENGINE_ALLOCATION, recipe_exchanged},
    {"allocator: operands exchanged", ENGINE_ALLOCATION, operands_exchanged},
    {"allocator: a result elsewhere", ENGINE_ALLOCATION, result_elsewhere},
    {"allocator: a store missing", ENGINE_ALLOCATION, store_missing},
    {"allocator: a move missing", ENGINE_ALLOCATION, move_missing},
    {"allocator: a load of the slot beside", ENGINE_ALLOCATION, load_of_neighbour},
    {"exit map: another register", ENGINE_ALLOCATION, map_register},
    {"exit map: a constant missing", ENGINE_ALLOCATION, map_constant},
    {"exit map: a recipe exchanged", ENGINE_ALLOCATION, map_recipe},
    {"exit map: an entry missing", ENGINE_ALLOCATION, map_entry_missing},
    {"exit map: of the next access", ENGINE_ALLOCATION, map_of_next},
    {"exit map: wrong pc", ENGINE_ALLOCATION, map_pc_of_entry},
    {"exit map: a read taken for a write", ENGINE_CODE, fault_kind},
};

/* ---- running the program ---- */

struct self {
    const struct planted *bug;
    bool elsewhere; /* what is compiled now is no part of the program */
};

static size_t fetch(void *opaque, u64 addr, void *to, size_t len)
{
    u64 at = addr - CODE;
    if (at >= sizeof(program))
        return 0;
    len = MIN(len, sizeof(program) - at);
    memcpy(to, (const u8 *)program + at, len);
    return len;
}

static void plant(void *opaque, enum engine_stage stage, void *product)
{
    struct self *s = opaque;
    if (stage == ENGINE_IR) {
        u64 pc = ((const struct ir_region *)product)->pc;
        s->elsewhere = pc - CODE >= sizeof(program) && pc - PLANTED_CODE >= sizeof(program);
    }
    if (s->bug->stage == stage && !s->elsewhere)
        s->bug->plant(product);
}

static void set_reg(struct vcpu *cpu, const char *name, u64 value)
{
    vcpu_set(cpu, isa_reg_find(&isa_aarch64, name), value);
}

/* How the comparison is done: of everything; now and then, while the program runs again and again. */
struct way {
    const char *name;
    enum engine_kind kind;
    bool machine;
    u32 ms;    /* engine_opts.lockstep_ms */
    clock_t clocks; /* for that long, if no difference is found */
};

static const struct way
    lockstep = {"lockstep", ENGINE_LOCKSTEP, false, 0, 0},
    sampled = {"sampled", ENGINE_JIT, false, 1, CLOCKS_PER_SEC / 20},
    sampled_longer = {"sampled", ENGINE_JIT, false, 1, 5 * CLOCKS_PER_SEC},
    machine = {"machine", ENGINE_LOCKSTEP, true, 0, 0},
    machine_sampled = {"machine sampled", ENGINE_JIT, true, 1, CLOCKS_PER_SEC / 20},
    machine_sampled_longer = {"machine sampled", ENGINE_JIT, true, 1, 10 * CLOCKS_PER_SEC};

/* Once. Returns whether it left as it should, with two faults. */
static bool run_once(struct vcpu *cpu, u64 *data)
{
    struct vcpu_exit exit;
    int faults = 0;
    memcpy(data, first_data, sizeof(first_data));
    set_reg(cpu, "x0", (u64)data);
    set_reg(cpu, "x1", ROUNDS);
    set_reg(cpu, "x2", (u64)(data + 512));
    vcpu_set_pc(cpu, CODE);
    for (;;) {
        vcpu_run(cpu, &exit);
        if (exit.kind != VCPU_EXIT_FAULT || faults == 2)
            break;
        faults++;
        vcpu_set_pc(cpu, vcpu_pc(cpu) + 4);
    }
    return faults == 2 && exit.kind == VCPU_EXIT_RAISE && exit.code == ISA_RAISE_SYSCALL;
}

static bool run_program(const struct planted *bug, const struct way *way, unsigned pins)
{
    struct err e;
    struct self self = {.bug = bug};
    struct engine_opts opts = {.kind = way->kind, .lockstep_ms = way->ms, .fetch = fetch,
                               .opaque = &self, .pins = pins, .mutate = bug ? plant : NULL};
    u64 *data = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct engine *en = engine_new(&isa_aarch64, &opts, &e);
    struct vcpu *cpu = en ? vcpu_new(en, "max", &e) : NULL;
    bool ok;
    if (!cpu)
        return false;
    mprotect(data + 512, 4096, PROT_NONE);
    catch_signals();
    running = cpu;
    do
        ok = run_once(cpu, data);
    while ((ok || bug) && clock() < way->clocks);
    vcpu_free(cpu);
    engine_free(en);
    return ok;
}

static bool run_machine(const struct planted *bug, const struct way *way, unsigned pins)
{
    struct self self = {.bug = bug};
    struct engine_opts opts = {.kind = way->kind, .lockstep_ms = way->ms, .opaque = &self, .pins = pins,
                               .mutate = bug ? plant : NULL};
    bool ok;
    cpus_take_signals();
    do
        ok = planted_board_run(&opts, program, ARRAY_LEN(program), first_data, ARRAY_LEN(first_data), way->ms ? 30000 : 1, 20);
    while (ok && clock() < way->clocks);
    return ok;
}

/* In a process of its own: a report of lockstep ends it. `said`: what it wrote. */
static int in_child(const struct planted *bug, const struct way *way, unsigned pins, char *said,
                    size_t size)
{
    int pipes[2], status = 0;
    size_t n = 0;
    fflush(stdout);
    if (pipe(pipes))
        return -1;
    pid_t pid = fork();
    if (!pid) {
        dup2(pipes[1], 2);
        close(pipes[0]);
        close(pipes[1]);
        alarm(60);
        _exit((way->machine ? run_machine(bug, way, pins) : run_program(bug, way, pins)) ? 0 : 1);
    }
    close(pipes[1]);
    for (ssize_t got; n + 1 < size && (got = read(pipes[0], said + n, size - 1 - n)) > 0;)
        n += (size_t)got;
    said[n] = 0;
    close(pipes[0]);
    waitpid(pid, &status, 0);
    return status;
}

struct test *test_list, **test_tail = &test_list;
int test_failures;

static char said[1 << 16];

/* The program as it is must pass. */
static bool check_right(const struct way *way, unsigned pins, unsigned n)
{
    int status = in_child(NULL, way, pins, said, sizeof(said));
    printf("%sok %u %s: no bug, %s\n", status ? "not " : "", n, way->name, pins ? "all pins" : "no pins");
    if (status)
        printf("# status %#x: %.400s\n", (unsigned)status, said);
    return !status;
}

static bool check_reported(const struct planted *bug, const struct way *way, unsigned n)
{
    int status = in_child(bug, way, UINT_MAX, said, sizeof(said));
    bool reported = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
                    strstr(said, "lockstep: after the code at 0x40");
    printf("%sok %u %s: %s\n", reported ? "" : "not ", n, way->name, bug->name);
    if (reported)
        printf("# %.*s\n", (int)strcspn(said, "\n"), said);
    else
        printf("# status %#x: %.200s\n", (unsigned)status, said);
    return reported;
}

static const struct {
    const struct way *right, *wrong; /* without a bug, and with one: it ends when that is found */
} ways[] = {
    {&lockstep, &lockstep}, {&sampled, &sampled_longer}, {&machine, &machine}, {&machine_sampled, &machine_sampled_longer},
};

int main(void)
{
    unsigned n = 0, good = 0;
    for (unsigned w = 0; w < ARRAY_LEN(ways); w++) {
        good += check_right(ways[w].right, 0, ++n);
        good += check_right(ways[w].right, UINT_MAX, ++n);
        for (unsigned i = 0; i < ARRAY_LEN(bugs); i++)
            good += check_reported(&bugs[i], ways[w].wrong, ++n);
    }
    printf("1..%u\n", n);
    return good != n;
}
