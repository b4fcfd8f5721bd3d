/* An entry of a list: slot, place, and by place a register or spill number, a slot (1 byte each), a constant, a step
 * (numbers), or for flags the kind (a number), how many operands (1) and their places. A list ends with slot 0xff.
 *
 * A fault: how far its start is from that of the one before, how long it is, what it is with FAULT_WRITE (1 byte), how far
 * its pc is from that before, and its list (all numbers); of accesses and alignment then base, index, scale (1 each) and
 * displacement. A number has 7 bits a byte, lowest first, and its sign in the lowest bit. */
#include "jit/cache/where.h"

#include <string.h>

#include "base/mem.h"
#include "jit/ir/fl.h"

#define END 0xff
#define MOST_OF_NUMBER 10 /* bytes */
#define MOST_OF_ENTRY  (3 + MOST_OF_NUMBER + IR_RECIPE_ARGS * (1 + MOST_OF_NUMBER))
#define MOST_OF_FAULT  (4 + 5 * MOST_OF_NUMBER)
#define FAULT_WRITE    0x80

/* Room is there (reserve()). */
static void put8(struct jit_bytes *b, unsigned v)
{
    b->data[b->count++] = (u8)v;
}

static void put_number(struct jit_bytes *b, s64 n)
{
    u64 v = (u64)n << 1 ^ (u64)(n >> 63);
    for (; v >= 0x80; v >>= 7)
        put8(b, 0x80 | (v & 0x7f));
    put8(b, (unsigned)v);
}

static void reserve(struct jit_bytes *b, u32 more)
{
    u32 most = b->count + more;
    if (most <= b->cap)
        return;
    b->cap = most * 2;
    b->data = xrealloc(b->data, b->cap);
}

static void put_place(struct jit_bytes *b, const struct ir_region *r, struct ra_loc at)
{
    put8(b, at.place);
    if (at.place == RA_IN_IMM)
        put_number(b, (s64)r->node[at.index].imm);
    else if (at.place == RA_STEP)
        put_number(b, ra_step(at));
    else
        put8(b, at.index);
}

static void put_list(struct jit_bytes *b, const struct ra *ra, const struct ra_state *st)
{
    reserve(b, st->count * MOST_OF_ENTRY + 1);
    for (u32 i = 0; i < st->count; i++) {
        const struct ra_where *w = &ra->where[st->first + i];
        put8(b, w->slot);
        if (w->at.place != RA_IN_FL) {
            put_place(b, ra->r, w->at);
            continue;
        }
        struct ir_recipe recipe;
        ir_recipe(ra->r, w->at.index, &recipe);
        put8(b, RA_IN_FL);
        put_number(b, recipe.kind);
        put8(b, recipe.count);
        for (unsigned k = 0; k < recipe.count; k++)
            put_place(b, ra->r, w->arg[k]);
    }
    put8(b, END);
}

/* What put_fault() and get_fault() go on from. */
struct before {
    u32 start;
    s32 pc;
};

static bool has_address(unsigned what)
{
    return what == HOST_LEAVE_ACCESS || what == HOST_LEAVE_ALIGN;
}

static void put_fault(struct jit_bytes *b, struct before *last, const struct host_fault *f, s32 pc, u32 list)
{
    reserve(b, MOST_OF_FAULT);
    put_number(b, (s64)f->start - last->start);
    put_number(b, f->end - f->start);
    put8(b, f->what | (f->write ? FAULT_WRITE : 0));
    put_number(b, (s64)pc - last->pc);
    put_number(b, list);
    if (has_address(f->what)) {
        put8(b, f->base);
        put8(b, f->index);
        put8(b, f->scale);
        put_number(b, f->disp);
    }
    *last = (struct before){f->start, pc};
}

void where_encode(struct jit_bytes *lists, struct jit_bytes *faults, const struct ra *ra, const struct host_buf *buf)
{
    u32 state = UINT32_MAX, at = 0;
    struct before last = {0};
    lists->count = faults->count = 0;
    for (u32 i = 0; i < buf->nfaults; i++) {
        const struct host_fault *f = &buf->fault[i];
        const struct ra_state *st = &ra->state[f->state];
        if (f->state != state) {
            at = lists->count;
            put_list(lists, ra, st);
        }
        state = f->state;
        put_fault(faults, &last, f, (s32)(ra->r->map[st->map].pc - ra->r->pc), at);
    }
}

static const u8 *get_number(const u8 *p, s64 *n)
{
    u64 v = 0;
    unsigned shift = 0;
    do {
        v |= (u64)(*p & 0x7f) << shift;
        shift += 7;
    } while (*p++ & 0x80);
    *n = (s64)(v >> 1 ^ -(v & 1));
    return p;
}

static const u8 *get_fault(const u8 *p, struct before *last, u32 *len, const u8 *lists, struct jit_fault *out)
{
    s64 start, n, pc, list, disp = 0;
    p = get_number(p, &start);
    p = get_number(p, &n);
    *out = (struct jit_fault){.what = *p & ~FAULT_WRITE, .write = *p & FAULT_WRITE};
    p = get_number(p + 1, &pc);
    p = get_number(p, &list);
    if (has_address(out->what)) {
        out->base = p[0];
        out->index = p[1];
        out->scale = p[2];
        p = get_number(p + 3, &disp);
    }
    *len = (u32)n;
    last->start += (u32)start;
    last->pc += (s32)pc;
    out->pc = last->pc;
    out->disp = (s32)disp;
    out->where = lists + list;
    return p;
}

bool where_find(const u8 *lists, const u8 *faults, u32 count, u32 at, struct jit_fault *out)
{
    struct before last = {0};
    u32 len;
    for (u32 i = 0; i < count; i++) {
        faults = get_fault(faults, &last, &len, lists, out);
        if (at - last.start < len)
            return true;
    }
    return false;
}

static const u8 *get_place(const u8 *p, u8 *place, u16 *index, u64 *imm)
{
    s64 n = 0;
    *place = *p++;
    if (*place == RA_IN_IMM || *place == RA_STEP)
        p = get_number(p, &n);
    else
        *index = *p++;
    *imm = (u64)n;
    return p;
}

const u8 *where_next(const u8 *p, struct jit_where *out)
{
    s64 kind;
    *out = (struct jit_where){.slot = *p++};
    if (out->slot == END)
        return NULL;
    if (*p != RA_IN_FL)
        return get_place(p, &out->place, &out->index, &out->imm);
    out->place = *p++;
    p = get_number(p, &kind);
    out->kind = (u32)kind;
    out->nargs = *p++;
    for (unsigned i = 0; i < out->nargs; i++)
        p = get_place(p, &out->arg[i].place, &out->arg[i].index, &out->arg[i].imm);
    return p;
}
