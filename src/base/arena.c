#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct arena_block {
    struct arena_block *next;
    size_t size;
    alignas(16) u8 data[];
};

static void add_block(struct arena *a, size_t size)
{
    struct arena_block *b = xmalloc(sizeof(*b) + size);
    b->next = a->head;
    b->size = size;
    a->head = b;
    a->used = 0;
    a->size = size;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size = ALIGN_UP(size, 16);
    if (a->used + size > a->size || !a->head)
        add_block(a, MAX(size, MAX(a->size * 2, (size_t)4096)));
    void *p = a->head->data + a->used;
    a->used += size;
    return memset(p, 0, size);
}

void *arena_copy(struct arena *a, const void *data, size_t size)
{
    return memcpy(arena_alloc(a, size), data, size);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *text = arena_alloc(a, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return text;
}

void arena_reset(struct arena *a)
{
    if (!a->head)
        return;
    struct arena_block *keep = a->head; /* blocks double, so the newest is the largest */
    for (struct arena_block *b = keep->next, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    keep->next = NULL;
    a->used = 0;
}

void arena_free(struct arena *a)
{
    arena_reset(a);
    free(a->head);
    *a = (struct arena){0};
}
