/* The tree of ranges in words, for monitors. */
#include <stdio.h>

#include "mem/view.h"

bool mem_range_address(const struct mem_range *r, u64 *at)
{
    for (*at = 0; r->in; r = r->in) {
        if (r->disabled)
            return false;
        *at += r->at;
    }
    return true;
}

/* Whether `a` comes before `b` in the order of addresses; of equals, that of the container. */
static bool before(const struct mem_range *a, const struct mem_range *b)
{
    if (a->at != b->at)
        return a->at < b->at;
    for (const struct mem_range *c = a->next; c; c = c->next) {
        if (c == b)
            return true;
    }
    return false;
}

/* The range in `r` behind `last` (NULL: the first) by address. */
static const struct mem_range *next_up(const struct mem_range *r, const struct mem_range *last)
{
    const struct mem_range *best = NULL;
    for (const struct mem_range *c = r->first; c; c = c->next) {
        if ((!last || before(last, c)) && (!best || before(c, best)))
            best = c;
    }
    return best;
}

static void show(const struct mem_range *r, u64 at, int depth, FILE *to)
{
    static const char *const kinds[] = {[MEM_CONTAINER] = "i/o", [MEM_RAM] = "ram", [MEM_ROM] = "rom", [MEM_IO] = "i/o"};
    u64 last = at + r->last;
    fprintf(to, "%*s%016llx-%016llx (prio %d, ", 2 * depth, "", (unsigned long long)at, (unsigned long long)last, r->priority);
    if (r->kind == MEM_ALIAS)
        fprintf(to, "i/o): alias %s @%s %016llx-%016llx\n", r->name, r->of->name, (unsigned long long)r->offset,
                (unsigned long long)(r->offset + r->last));
    else
        fprintf(to, "%s): %s%s\n", kinds[r->kind], r->name, r->disabled ? " [disabled]" : "");
    const struct mem_range *shown = NULL;
    while ((shown = next_up(r, shown)))
        show(shown, at + shown->at, depth + 1, to);
}

void mem_tree_show(const struct mem_range *root, FILE *to)
{
    show(root, 0, 1, to);
}
