/* From the tree to the flat view: the tree is walked with what is seen first coming first, and each leaf
 * fills what is still open. */
#include "mem/view.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { MAX_DEPTH = 32 }; /* of containers and aliases, which might go round in a circle */

/* Addresses [start, last] of the space show the range from `offset` on. */
struct window {
    u64 start, last, offset;
};

static void insert(struct mem_view *v, size_t i, struct mem_flat f)
{
    (void)VEC_PUSH(v->flat, v->count, v->cap);
    memmove(v->flat + i + 1, v->flat + i, (v->count - 1 - i) * sizeof(*v->flat));
    v->flat[i] = f;
}

/* Show `r` in the gaps that the window has left. */
static void fill(struct mem_view *v, struct mem_range *r, struct window w)
{
    u64 from = w.start;
    for (size_t i = 0;; i++) {
        bool end = i == v->count;
        if (!end && v->flat[i].last < from)
            continue;
        if (end || v->flat[i].start > from) {
            u64 last = end ? w.last : MIN(w.last, v->flat[i].start - 1);
            insert(v, i++, (struct mem_flat){from, last, r, w.offset + (from - w.start)});
            if (last == w.last)
                return;
        }
        from = v->flat[i].last + 1;
        if (!from || from > w.last)
            return;
    }
}

/* Cut the window to what a range of `size - 1 == last` at `at` covers of it, seen from within that range. */
static bool cut(struct window *w, u64 at, u64 last)
{
    u64 wlast = w->offset + (w->last - w->start);
    u64 end = last > ~at ? ~0ull : at + last;
    if (wlast < w->offset)
        wlast = ~0ull;
    u64 from = MAX(at, w->offset), to = MIN(end, wlast);
    if (from > to)
        return false;
    w->start += from - w->offset;
    w->last = w->start + (to - from);
    w->offset = from - at;
    return true;
}

static void render(struct mem_view *v, struct mem_range *r, struct window w, int depth)
{
    if (r->disabled || depth == MAX_DEPTH)
        return;
    if (r->kind == MEM_ALIAS) {
        w.offset += r->offset;
        if (cut(&w, 0, r->of->last))
            render(v, r->of, w, depth + 1);
        return;
    }
    if (r->kind != MEM_CONTAINER) {
        fill(v, r, w);
        return;
    }
    for (struct mem_range *c = r->first; c; c = c->next) {
        struct window part = w;
        if (cut(&part, c->at, c->last))
            render(v, c, part, depth + 1);
    }
}

static const struct mem_flat *largest_ram(const struct mem_view *v)
{
    const struct mem_flat *best = NULL;
    for (const struct mem_flat *f = v->flat; f < v->flat + v->count; f++) {
        if (f->range->kind == MEM_RAM && (!best || f->last - f->start > best->last - best->start))
            best = f;
    }
    return best;
}

struct mem_view *mem_view_new(struct mem_range *root)
{
    struct mem_view *v = xcalloc(1, sizeof(*v));
    render(v, root, (struct window){0, root->last, 0}, 0);
    v->ram = largest_ram(v);
    return v;
}

void mem_view_free(struct mem_view *v)
{
    while (v) {
        struct mem_view *older = v->older;
        free(v->flat);
        free(v);
        v = older;
    }
}

const struct mem_flat *mem_view_find(const struct mem_view *v, u64 addr)
{
    size_t low = 0, high = v->count;
    if (v->ram && addr - v->ram->start <= v->ram->last - v->ram->start)
        return v->ram;
    while (low < high) {
        size_t mid = (low + high) / 2;
        const struct mem_flat *f = &v->flat[mid];
        if (addr < f->start)
            high = mid;
        else if (addr > f->last)
            low = mid + 1;
        else
            return f;
    }
    return NULL;
}
