#include "board/board.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "board/list.h"

static const struct board *const boards[] = {&board_aarch64_virt, &board_aarch64_none};

const struct board *board_at(unsigned i)
{
    return i < ARRAY_LEN(boards) ? boards[i] : NULL;
}

bool board_is_called(const struct board *b, const char *name)
{
    return !strcmp(name, b->name) || (b->version && !strcmp(name, b->version));
}

const struct board *board_find(const char *name, const char *isa, struct err *e)
{
    const char *slash = strchr(name, '/'), *bare = slash ? slash + 1 : name;
    char known[256] = "";
    for (unsigned i = 0; i < ARRAY_LEN(boards); i++) {
        const struct board *b = boards[i];
        bool of_isa = slash ? !strncmp(name, b->isa, (size_t)(slash - name)) && !b->isa[slash - name]
                            : !isa || !strcmp(isa, b->isa);
        if (of_isa && board_is_called(b, bare))
            return b;
        size_t n = strlen(known);
        snprintf(known + n, sizeof(known) - n, "%s%s/%s", n ? ", " : "", b->isa, b->name);
    }
    err_set(e, ENOENT, "there is no machine '%s'; there are: %s", name, known);
    return NULL;
}

struct dev *board_dev(const struct board_setup *s, const char *name)
{
    for (struct dev *d = s->devs; d; d = d->next) {
        if (!strcmp(d->name, name))
            return d;
    }
    return NULL;
}

/* ---- parts ---- */

/* "name" or "name7": the i-th device of a part. */
static void part_name(const struct board_part *p, unsigned i, char *name, size_t size)
{
    if (p->count)
        snprintf(name, size, "%s%u", p->name, i);
    else
        snprintf(name, size, "%s", p->name);
}

static struct dev *part_dev(const struct board_setup *s, const struct board_part *p, unsigned i)
{
    char name[64];
    part_name(p, i, name, sizeof(name));
    return board_dev(s, name);
}

static bool is_there(const struct board_setup *s, const struct board_part *p)
{
    return !(p->variants & ~s->variants);
}

static bool set_props(struct dev *d, const char *props, struct err *e)
{
    char *copy = xstrdup(props), *save = NULL;
    bool good = true;
    for (char *w = strtok_r(copy, ",", &save); w && good; w = strtok_r(NULL, ",", &save)) {
        char *value = strchr(w, '=');
        *value++ = 0;
        good = dev_set(d, w, value, e);
    }
    free(copy);
    return good;
}

static bool configure(const struct board_setup *s, const struct board_part *p, struct dev *d,
                      struct chardev *const *serial, unsigned serials, struct err *e)
{
    if (p->serial && p->serial <= serials &&
        !dev_set_link(d, "chardev", DEV_PROP_CHAR, serial[p->serial - 1], e))
        return false;
    if (p->props && !set_props(d, p->props, e))
        return false;
    return !s->board->part || s->board->part(s, d, e);
}

bool board_make(struct board_setup *s, const struct dev_env *env, struct mem_range *root,
                struct chardev *const *serial, unsigned serials, struct err *e)
{
    struct dev **last = &s->devs;
    for (const struct board_part *p = s->board->parts; p && p->name; p++) {
        if (!is_there(s, p))
            continue;
        const struct dev_class *c = dev_class_find(p->class, e);
        for (unsigned i = 0; c && i < MAX(p->count, 1u); i++) {
            char name[64];
            part_name(p, i, name, sizeof(name));
            struct dev *d = *last = dev_new(c, name, env);
            last = &d->next;
            if (!configure(s, p, d, serial, serials, e) || !dev_start(d, e))
                return false;
            for (unsigned w = 0; !p->placed_by_map && dev_window(d, w); w++)
                mem_range_add(root, p->at[w] + i * p->step, 0, dev_window(d, w));
        }
        if (!c)
            return false;
    }
    if (s->board->map)
        s->board->map(s, root);
    return true;
}

/* ---- wires ---- */

void board_wire(const struct board_setup *s)
{
    const struct board *b = s->board;
    struct dev *controller = b->controller ? board_dev(s, b->controller) : NULL;
    for (const struct board_part *p = b->parts; p && p->name; p++) {
        for (unsigned i = 0; is_there(s, p) && p->wired && i < MAX(p->count, 1u); i++)
            dev_connect(part_dev(s, p, i), 0, dev_input(controller, p->input + i));
    }
    for (const struct board_wire *w = b->wires; w && w->from; w++) {
        for (unsigned i = 0; board_dev(s, w->from) && i < w->count; i++)
            dev_connect(board_dev(s, w->from), w->out + i, dev_input(board_dev(s, w->to), w->in + i));
    }
    if (b->connect)
        b->connect(s);
}

/* ---- the device tree ---- */

static void describe_part(const struct board_setup *s, const struct board_part *p, unsigned i)
{
    struct dev *d = part_dev(s, p, i);
    if (!d->class->node)
        return;
    struct dev_place at = {.parent = p->inside ? fw_child(s->tree, "%s", p->inside) : s->tree,
                           .irq_cells = p->wired ? ARRAY_LEN(p->irq) : 0,
                           .clock = fw_phandle(fw_child(s->tree, "apb-pclk"))};
    for (unsigned w = 0; w < BOARD_WINDOWS; w++)
        at.address[w] = p->at[w] + i * p->step;
    memcpy(at.irq, p->irq, sizeof(at.irq));
    at.irq[1] += i;
    d->class->node(d, &at);
}

void board_describe(const struct board_setup *s)
{
    if (s->board->describe)
        s->board->describe(s);
    for (const struct board_part *p = s->board->parts; p && p->name; p++) {
        for (unsigned i = 0; is_there(s, p) && i < MAX(p->count, 1u); i++)
            describe_part(s, p, i);
    }
}
