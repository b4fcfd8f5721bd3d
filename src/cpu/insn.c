#include "cpu/insn.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* xorshift64* */
u32 insn_random_word(const struct insn *e, u64 *rng)
{
    u64 x = *rng;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *rng = x;
    return ((u32)(x * 0x2545f4914f6cdd1dull >> 32) & ~e->mask) | e->value;
}

void put_format(struct insn_text *t, const char *fmt, ...)
{
    va_list ap;
    size_t left = t->used < t->size ? t->size - t->used : 0;
    va_start(ap, fmt);
    int n = vsnprintf(left ? t->buf + t->used : NULL, left, fmt, ap);
    va_end(ap);
    t->used += (size_t)n;
}

void put_text(struct insn_text *t, const char *s)
{
    size_t n = strlen(s);
    if (t->used < t->size) {
        size_t fit = MIN(n, t->size - t->used - 1);
        memcpy(t->buf + t->used, s, fit);
        t->buf[t->used + fit] = 0;
    }
    t->used += n;
}

void put_dec(struct insn_text *t, int v)
{
    put_format(t, "%d", v);
}

void put_hex(struct insn_text *t, u32 v)
{
    put_format(t, "0x%x", v);
}
