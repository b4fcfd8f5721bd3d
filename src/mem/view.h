/* Inside src/mem: ranges, and the flat view that threads read. */
#ifndef LYRE_MEM_VIEW_H
#define LYRE_MEM_VIEW_H

#include <stdatomic.h>

#include "mem/mem.h"

enum mem_kind { MEM_CONTAINER, MEM_RAM, MEM_ROM, MEM_IO, MEM_ALIAS };

struct mem_range {
    char *name;
    enum mem_kind kind;
    u64 last; /* size - 1 */
    bool disabled;

    struct mem_range *in; /* the container; its ranges are a list, those seen first coming first */
    struct mem_range *next, *first;
    u64 at;
    int priority;

    u8 *host; /* RAM, ROM */
    int fd;
    _Atomic u32 logged;            /* a bit for each enum mem_log that is on; */
    _Atomic u64 *dirty[MEM_LOGS];  /* bits of pages, once it has been on: for others may be looking */
    bool drops; /* ROM: writes */
    const struct mem_io *io; /* IO */
    void *opaque;
    struct mem_range *of; /* alias */
    u64 offset;
};

struct mem_flat {
    u64 start, last;
    struct mem_range *range; /* RAM, ROM or IO */
    u64 offset;              /* of `start` in the range */
};

/* In order of addresses, without overlap. */
struct mem_view {
    struct mem_view *older; /* retired before this one */
    struct mem_flat *flat;
    size_t count, cap;
    const struct mem_flat *ram; /* the largest piece of it, where most accesses go; NULL: there is none */
};

struct mem_space {
    struct mem_range *root;
    struct mem_view *view; /* atomic; owned, with the retired ones behind it */
    struct mem_listener *listeners;
    _Atomic u32 logs; /* that are on, of all ranges */
};

struct mem_view *mem_view_new(struct mem_range *root);
/* A view and all that are older; NULL is allowed. */
void mem_view_free(struct mem_view *v);
/* What is at `addr`, or NULL. */
const struct mem_flat *mem_view_find(const struct mem_view *v, u64 addr);

/* Of a logged range: whether some log has still to hear of a write to the page at `offset`; and that some bytes are written. */
bool mem_log_is_clean(const struct mem_range *r, u64 offset);
void mem_log_note(const struct mem_range *r, u64 offset, u64 len);

static inline const struct mem_view *mem_view_now(const struct mem_space *s)
{
    return __atomic_load_n(&s->view, __ATOMIC_ACQUIRE);
}

#endif
