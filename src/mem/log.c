/* The dirty log: a bit for each page of a range and each client. vCPUs set it before they write, in mem_host_write(), and give up
 * what lets them write again without asking when a page is clean again; devices set it when they have written. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "mem/view.h"

enum { WORD = 64 };

static u64 page_count(const struct mem_range *r)
{
    return r->last / MEM_LOG_PAGE + 1;
}

static void tell_clean(const struct mem_space *s)
{
    for (struct mem_listener *l = s->listeners; l; l = l->next) {
        if (l->clean)
            l->clean(l);
    }
}

void mem_log_start(struct mem_space *s, struct mem_range *r, enum mem_log log)
{
    if (atomic_load(&r->logged) >> log & 1)
        return;
    size_t words = mem_log_words(r->last + 1);
    if (!r->dirty[log])
        r->dirty[log] = xcalloc(words, sizeof(*r->dirty[log]));
    for (size_t i = 0; i < words; i++)
        atomic_store_explicit(&r->dirty[log][i], 0, memory_order_relaxed);
    atomic_fetch_or(&r->logged, 1u << log);
    atomic_fetch_add(&s->logs, 1);
    tell_clean(s);
}

void mem_log_stop(struct mem_space *s, struct mem_range *r, enum mem_log log)
{
    if (atomic_fetch_and(&r->logged, ~(1u << log)) >> log & 1)
        atomic_fetch_sub(&s->logs, 1);
}

/* The bits of `word` that stand for pages [first, last]. */
static u64 bits_between(u64 word, u64 first, u64 last)
{
    u64 bits = ~0ull;
    if (first > word * WORD)
        bits &= ~0ull << (first - word * WORD);
    if (last < word * WORD + WORD - 1)
        bits &= ~0ull >> (word * WORD + WORD - 1 - last);
    return bits;
}

u64 mem_log_take(struct mem_space *s, struct mem_range *r, enum mem_log log, u64 offset, u64 len, u64 *pages)
{
    const u64 first = offset / MEM_LOG_PAGE;
    u64 taken = 0;
    memset(pages, 0, mem_log_words(len) * sizeof(*pages));
    if (!len || !r->dirty[log])
        return 0;
    const u64 last = MIN((offset + len - 1) / MEM_LOG_PAGE, page_count(r) - 1);
    for (u64 w = first / WORD; w <= last / WORD; w++) {
        const u64 mask = bits_between(w, first, last);
        if (!(atomic_load(&r->dirty[log][w]) & mask))
            continue;
        for (u64 bits = atomic_fetch_and(&r->dirty[log][w], ~mask) & mask; bits; bits &= bits - 1, taken++) {
            u64 page = w * WORD + ctz64(bits) - first;
            pages[page / WORD] |= 1ull << page % WORD;
        }
    }
    if (taken)
        tell_clean(s);
    return taken;
}

bool mem_log_is_clean(const struct mem_range *r, u64 offset)
{
    const u64 page = offset / MEM_LOG_PAGE;
    for (u32 logs = atomic_load(&r->logged); logs; logs &= logs - 1) {
        if (!(atomic_load(&r->dirty[ctz64(logs)][page / WORD]) >> page % WORD & 1))
            return true;
    }
    return false;
}

void mem_log_note(const struct mem_range *r, u64 offset, u64 len)
{
    const u64 first = offset / MEM_LOG_PAGE, last = (offset + len - 1) / MEM_LOG_PAGE;
    for (u32 logs = atomic_load(&r->logged); logs; logs &= logs - 1) {
        _Atomic u64 *dirty = r->dirty[ctz64(logs)];
        for (u64 w = first / WORD; w <= last / WORD; w++)
            atomic_fetch_or(&dirty[w], bits_between(w, first, last));
    }
}
