/* Host memory that cannot fail: when the host has none left, the process ends with a message, as no
 * caller could go on. Sizes that come from outside are checked before they get here. */
#ifndef LYRE_BASE_MEM_H
#define LYRE_BASE_MEM_H

#include <stdalign.h>

#include "base/types.h"

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Room for one more element in a growing array: `VEC_PUSH(v->items, v->count, v->cap) = x;` */
#define VEC_PUSH(items, count, cap)                                                                \
    (*({                                                                                           \
        if ((count) == (cap)) {                                                                    \
            (cap) = (cap) ? (cap)*2 : 16;                                                          \
            (items) = xrealloc((items), (size_t)(cap) * sizeof(*(items)));                         \
        }                                                                                          \
        &(items)[(count)++];                                                                       \
    }))

/* Take the element `at` out of such an array; those behind it move up. */
#define VEC_REMOVE(items, count, at)                                                               \
    __builtin_memmove((items) + (at), (items) + (at) + 1, (--(count) - (at)) * sizeof(*(items)))

/* A stack that is given up with frames on it, which AddressSanitizer would take for live ones when the
 * memory is used again. */
static inline void stack_abandon(void *stack, size_t size)
{
#ifdef __SANITIZE_ADDRESS__
    void __asan_unpoison_memory_region(void const volatile *, size_t);
    __asan_unpoison_memory_region(stack, size);
#endif
}

#endif
