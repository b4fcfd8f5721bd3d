/* Breakpoints and watchpoints: random controls, code and accesses at both levels, in pages and over their borders. What
 * was done until the exception, and the exception. One line for each try. */
#include "pages.h"

enum { ROUNDS = 700 };

#define ALL_MAY (1ul << 6) /* EL0, too */

static u64 state = 0x13572468ace;

static u64 random(u64 below)
{
    return next_random(&state) % below;
}

SEQUENCE(load_byte, "ldrb w2, [x0]\n" ADD(x2));
SEQUENCE(load_half, "ldrh w2, [x0]\n" ADD(x2));
SEQUENCE(load_word, "ldr w2, [x0]\n" ADD(x2));
SEQUENCE(load_double, "ldr x2, [x0]\n" ADD(x2));
SEQUENCE(load_pair, "ldp x2, x3, [x0]\n" ADD(x2) ADD(x3));
SEQUENCE(load_vector, "ldr q0, [x0]\nfmov x2, d0\n" ADD(x2));
SEQUENCE(load_user, "ldtr x2, [x0]\n" ADD(x2));
SEQUENCE(load_acquire, "and x0, x0, #~7\nldar x2, [x0]\n" ADD(x2));
SEQUENCE(store_byte, "strb w0, [x0]\n" ADD(x0));
SEQUENCE(store_half, "strh w0, [x0]\n" ADD(x0));
SEQUENCE(store_word, "str w0, [x0]\n" ADD(x0));
SEQUENCE(store_double, "str x0, [x0]\n" ADD(x0));
SEQUENCE(store_vector, "fmov d0, x0\nstr d0, [x0]\n" ADD(x0));
SEQUENCE(store_user, "sttr x0, [x0]\n" ADD(x0));
SEQUENCE(store_release, "and x0, x0, #~7\nstlr x0, [x0]\n" ADD(x0));
SEQUENCE(clear, "and x0, x0, #~63\ndc zva, x0\n" ADD(x0));
SEQUENCE(exclusive, "and x0, x0, #~7\n1: ldxr x2, [x0]\n" ADD(x2) "stxr w3, x1, [x0]\ncbnz w3, 1b\n" ADD(x0));
SEQUENCE(neighbours, "ldp x2, x3, [x0]\n" ADD(x2) ADD(x3) "ldr x4, [x0, #24]\n" ADD(x4) "str x1, [x0, #40]\n" ADD(x1)
         "ldrb w5, [x0, #61]\n" ADD(x5) "stp x1, x2, [x0, #-16]\n" ADD(x1));
SEQUENCE(walk, "sub x0, x0, #128\nmov x9, #32\n1: ldr x2, [x0], #8\n" ADD(x2) "cmp x1, x2\ncsinc x3, x2, x1, lo\nstr x3, [x0, #-8]\n"
         "subs x9, x9, #1\nb.ne 1b\n");
SEQUENCE(copy, "sub x0, x0, #64\nadd x10, x0, #256\nmov x9, #16\n1: ldrb w2, [x0], #1\n" ADD(x2) "strb w2, [x10], #1\n"
         "subs x9, x9, #1\nb.ne 1b\n");

/* Where breakpoints are: offsets in words. Loops, so that code is translated in each way. */
SEQUENCE(straight, "add x1, x1, #1\nadd x1, x1, #2\nadds x1, x1, #4\ncset x2, eq\nadd x1, x1, #8\n");
SEQUENCE(loop, "mov x9, #40\n1: add x1, x1, #3\nsubs x9, x9, #1\nb.ne 1b\nadd x1, x1, x9\n");
SEQUENCE(flags, "mov x9, #20\n1: adds x1, x1, #3\nadc x1, x1, xzr\ncmp x1, #20\nadds x9, x9, #-1\nb.ne 1b\n");
SEQUENCE(calls, "mov x9, #12\nmov x10, x30\n1: bl 2f\nadd x1, x1, #1\nsubs x9, x9, #1\nb.ne 1b\nbrk #2\n2: add x1, x1, #2\nret\n");

struct code {
    const char *name;
    void (*f)(u64);
};

#define C(name) {#name, name}
static const struct code accesses[] = {
    C(load_byte), C(load_half), C(load_word), C(load_double), C(load_pair), C(load_vector), C(load_user), C(load_acquire),
    C(store_byte), C(store_half), C(store_word), C(store_double), C(store_vector), C(store_user), C(store_release),
    C(clear), C(exclusive), C(neighbours), C(walk), C(copy),
};
static const struct code codes[] = {C(straight), C(loop), C(flags), C(calls)};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Mostly what lets exceptions come. */
static u64 likely(u64 bits)
{
    return random(8) ? bits : 0;
}

static u64 random_mdscr(void)
{
    return likely(1ul << 15) | likely(1ul << 13);
}

/* SSC: both states or the one that is not secure. */
static u64 random_control(void)
{
    return likely(1) | random(4) << 1 | random(2) << 14;
}

static void run(const struct code *c, u64 arg)
{
    u64 to = random(2) ? 0x1c5 : 0x1c0;
    to |= likely(1) ? 0 : 0x200;
    u64 mdscr = random_mdscr(), twice = !likely(1);
    WRITE(mdscr_el1, mdscr);
    WRITE(osdlr_el1, twice);
    put_char(' ');
    put(c->name);
    put_value("arg", arg);
    put_value("mdscr", mdscr);
    put_value("lock", twice);
    put_value("to", to);
    for (u64 i = 0; i < 2; i++) {
        fill();
        call_el0((u64)c->f, arg, to);
        put_value("esr", trap.esr);
        put_value("spsr", trap.spsr);
        put_value("at", trap.elr - (u64)c->f);
        if (trap.esr >> 27 == 0x1a)
            put_value("far", trap.far - UPPER);
        put_value("x1", trap.x1);
        put_value("memory", sum());
    }
    WRITE(mdscr_el1, 0);
    WRITE(osdlr_el1, 0);
    put("\n");
}

/* DBGWVR and DBGWCR, or DBGBVR and DBGBCR; off while they change. */
#define SET(kind, n)                                                                               \
    static void set_##kind##n(u64 value, u64 control)                                              \
    {                                                                                              \
        WRITE(dbg##kind##cr##n##_el1, 0);                                                          \
        WRITE(dbg##kind##vr##n##_el1, value);                                                      \
        WRITE(dbg##kind##cr##n##_el1, control);                                                    \
    }

/* ---- watchpoints ---- */

SET(w, 0)
SET(w, 1)
SET(w, 2)
SET(w, 3)

static void set_watch(u64 n, u64 value, u64 control)
{
    static void (*const set[])(u64, u64) = {set_w0, set_w1, set_w2, set_w3};
    set[n](value, control);
    put_value("watch", n);
    put_value("value", value);
    put_value("control", control);
}

/* Bytes in a row, as the architecture wants them, of a doubleword or of a word in one. */
static u64 random_bytes(u64 size)
{
    u64 from = random(size), bytes = 1 + random(size - from);
    return ((1ul << bytes) - 1) << from << 5;
}

static void watch_one(u64 n, u64 near)
{
    u64 control = random_control() | (random(3) + 1) << 3, at = near + random(64) - 32;
    if (random(4)) {
        at &= ~3ul;
        control |= random_bytes(at & 4 ? 4 : 8);
    } else {
        u64 bits = 3 + random(8);
        at &= ~((1ul << bits) - 1);
        control |= bits << 24 | 0xff << 5;
    }
    if (!random(4)) /* in a context, by breakpoint 5 */
        control |= 1ul << 20 | 5ul << 16;
    set_watch(n, at, control);
}

static void watch(void)
{
    u64 n = random(4), at = UPPER + (random(3) ? PAGE - 64 + random(96) : 512 + random(2 * PAGE));
    at &= ~15ul; /* the peer finds more than there is where accesses are not aligned */
    WRITE(contextidr_el1, 77 + random(2));
    WRITE(dbgbvr5_el1, 77);
    WRITE(dbgbcr5_el1, 3ul << 20 | 0xf << 5 | 3 << 1 | 1);
    watch_one(n, at);
    if (!random(3))
        watch_one((n + 1) % 4, at);
    run(&accesses[random(COUNT(accesses))], at);
    for (u64 i = 0; i < 2; i++)
        set_watch((n + i) % 4, 0, 0);
    WRITE(dbgbcr5_el1, 0);
    put("\n");
}

/* ---- breakpoints ---- */

SET(b, 0)
SET(b, 1)
SET(b, 2)
SET(b, 3)
SET(b, 4)
SET(b, 5)

static void set_break(u64 n, u64 value, u64 control)
{
    static void (*const set[])(u64, u64) = {set_b0, set_b1, set_b2, set_b3, set_b4, set_b5};
    set[n](value, control);
    put_value("break", n);
    put_value("control", control);
}

static void stop(void)
{
    const struct code *c = &codes[random(COUNT(codes))];
    u64 n = random(5), word = random(10), linked = random(4) == 0, context = 4 + random(2);
    WRITE(contextidr_el1, 77 + random(2));
    put_value("word", word);
    set_break(n, (u64)c->f + 4 * word, random_control() | 0xf << 5 | linked << 20 | context << 16);
    if (context != n)
        set_break(context, 77, likely(1) | 3 << 1 | 0xf << 5 | 3ul << 20);
    if (random(4) == 0)
        set_break((n + 1) % 4, (u64)c->f + 4 * random(10), random_control() | 0xf << 5);
    run(c, 0);
    for (u64 i = 0; i < 6; i++)
        set_break(i, 0, 0);
    put("\n");
}

void main(void)
{
    u64 sctlr = (READ(sctlr_el1) & ~(1ul << 3 | 1ul << 4)) | 1ul << 14; /* EL0 may clear */
    for (u64 i = 0; i < PAGES; i++)
        leaves[i] = (u64)memory[i] | LEAF | ALL_MAY;
    start_translation(sctlr);
    WRITE(oslar_el1, 0);
    for (u64 i = 0; i < ROUNDS; i++) {
        watch();
        stop();
    }
    WRITE(sctlr_el1, sctlr);
}
