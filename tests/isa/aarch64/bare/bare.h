/* What bare programs share: printing, and calls that may trap (start.S). */
#ifndef LYRE_TESTS_BARE_H
#define LYRE_TESTS_BARE_H

typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned char u8;

/* The last exception: the number of its vector, registers, and what was in x0 and x1. */
struct trap {
    u64 vector, esr, elr, spsr, far, x0, x1;
};
extern volatile struct trap trap;

u64 call_el1(void (*f)(u64 arg), u64 arg);
u64 call_el0(u64 pc, u64 arg, u64 spsr);

#define EL0_MASKED 0x3c0 /* SPSR: EL0, interrupts masked */

#define READ(reg)                                                                                  \
    ({                                                                                             \
        u64 v_;                                                                                    \
        __asm__ volatile("mrs %0, " #reg : "=r"(v_)::"memory");                                    \
        v_;                                                                                        \
    })
#define WRITE(reg, v) __asm__ volatile("msr " #reg ", %0\nisb" ::"r"((u64)(v)) : "memory")

/* What writes x0 to a system register and reads it back. */
struct move {
    const char *name;
    void (*f)(u64);
};
#define MOVE(name) {#name, do_##name},

static inline void put_char(char c)
{
    *(volatile u32 *)0x09000000 = (u8)c;
}

static inline void put(const char *s)
{
    while (*s)
        put_char(*s++);
}

static inline void put_hex(u64 v)
{
    int digits = 1;
    while (digits < 16 && v >> (4 * digits))
        digits++;
    while (digits-- > 0)
        put_char("0123456789abcdef"[v >> (4 * digits) & 15]);
}

/* " name=value" */
static inline void put_value(const char *name, u64 v)
{
    put_char(' ');
    put(name);
    put_char('=');
    put_hex(v);
}

/* Numbers that look random, the same in each run. */
static inline u64 next_random(u64 *state)
{
    u64 x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dul;
}

#endif
