/* An entry: slot, place, and by place a register or spill number (1 byte), a slot (1), a constant
 * (8), a step (4), or for flags the kind, the number of operands and their places. A list ends with slot 0xff. */
#include "jit/cache/where.h"

#include <string.h>

#include "base/mem.h"
#include "jit/ir/fl.h"

#define END 0xff
#define MOST_OF_ENTRY (2 + 4 + 1 + IR_RECIPE_ARGS * 9) /* bytes */

/* Room for a list is there (reserve()). */
static void put(struct jit_bytes *b, const void *data, u32 n)
{
    memcpy(b->data + b->count, data, n);
    b->count += n;
}

static void put8(struct jit_bytes *b, unsigned v)
{
    b->data[b->count++] = (u8)v;
}

static void reserve(struct jit_bytes *b, const struct ra_state *st)
{
    u32 most = b->count + st->count * MOST_OF_ENTRY + 1;
    if (most <= b->cap)
        return;
    b->cap = most * 2;
    b->data = xrealloc(b->data, b->cap);
}

static void put_place(struct jit_bytes *b, const struct ir_region *r, struct ra_loc at)
{
    s32 step = ra_step(at);
    put8(b, at.place);
    if (at.place == RA_IN_IMM)
        put(b, &r->node[at.index].imm, 8);
    else if (at.place == RA_STEP)
        put(b, &step, sizeof(step));
    else
        put8(b, at.index);
}

static void put_list(struct jit_bytes *b, const struct ra *ra, const struct ra_state *st)
{
    reserve(b, st);
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
        put(b, &recipe.kind, sizeof(recipe.kind));
        put8(b, recipe.count);
        for (unsigned k = 0; k < recipe.count; k++)
            put_place(b, ra->r, w->arg[k]);
    }
    put8(b, END);
}

void where_encode(struct jit_cache *c, const struct ra *ra, const struct host_buf *buf, struct jit_region *region)
{
    struct jit_bytes *b = &c->bytes;
    u32 last = UINT32_MAX, at = 0;
    b->count = 0;
    for (u32 i = 0; i < buf->nfaults; i++) {
        const struct host_fault *f = &buf->fault[i];
        const struct ra_state *st = &ra->state[f->state];
        if (f->state != last) {
            at = b->count;
            put_list(b, ra, st);
        }
        last = f->state;
        region->fault[i] = (struct jit_fault){
            .start = f->start, .len = (u16)(f->end - f->start), .what = f->what,
            .write = f->write, .base = f->base, .index = f->index, .scale = f->scale,
            .disp = f->disp, .pc = (s32)(ra->r->map[st->map].pc - ra->r->pc), .where = at};
    }
    region->where = arena_copy(&c->segment[c->current].records, b->data, b->count);
}

static const u8 *get_place(const u8 *p, u8 *place, u16 *index, u64 *imm)
{
    *place = *p++;
    if (*place == RA_IN_IMM) {
        memcpy(imm, p, 8);
        return p + 8;
    }
    if (*place == RA_STEP) {
        s32 step;
        memcpy(&step, p, sizeof(step));
        *imm = (u64)(s64)step;
        return p + sizeof(step);
    }
    *index = *p;
    return p + 1;
}

const u8 *where_next(const u8 *p, struct jit_where *out)
{
    *out = (struct jit_where){.slot = *p++};
    if (out->slot == END)
        return NULL;
    if (*p != RA_IN_FL)
        return get_place(p, &out->place, &out->index, &out->imm);
    out->place = *p++;
    memcpy(&out->kind, p, sizeof(out->kind));
    p += sizeof(out->kind);
    out->nargs = *p++;
    for (unsigned i = 0; i < out->nargs; i++)
        p = get_place(p, &out->arg[i].place, &out->arg[i].index, &out->arg[i].imm);
    return p;
}
