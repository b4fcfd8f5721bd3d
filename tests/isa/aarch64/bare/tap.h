/* For bare programs that know themselves what is right: TAP. */
#ifndef LYRE_TESTS_BARE_TAP_H
#define LYRE_TESTS_BARE_TAP_H

#include "bare.h"

static u64 checks;

static void put_number(u64 n)
{
    if (n >= 10)
        put_number(n / 10);
    put_char((char)('0' + n % 10));
}

static void check(const char *what, u64 good)
{
    put(good ? "ok " : "not ok ");
    put_number(++checks);
    put(" - ");
    put(what);
    put("\n");
}

static void put_plan(void)
{
    put("1..");
    put_number(checks);
    put("\n");
}

#endif
