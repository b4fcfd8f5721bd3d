/* Floating point that raises `invalid` again and again: the results and FPSR stay right.
 * guest: aarch64
 * link: static */
#include "prog.h"

#include <math.h>
#include <stdint.h>

static uint64_t fpsr(void)
{
    uint64_t v;
    __asm__ volatile("mrs %0, fpsr" : "=r"(v));
    return v;
}

static void clear(void)
{
    __asm__ volatile("msr fpsr, xzr");
}

static int64_t to_long(double v)
{
    int64_t r;
    __asm__ volatile("fcvtzs %0, %d1" : "=r"(r) : "w"(v));
    return r;
}

static int32_t to_int(float v)
{
    int32_t r;
    __asm__ volatile("fcvtzs %w0, %s1" : "=r"(r) : "w"(v));
    return r;
}

static uint64_t divide(double a, double b)
{
    union {
        double d;
        uint64_t bits;
    } r;
    __asm__ volatile("fdiv %d0, %d1, %d2" : "=w"(r.d) : "w"(a), "w"(b));
    return r.bits;
}

static uint64_t compare(double a, double b)
{
    uint64_t nzcv;
    __asm__ volatile("fcmpe %d1, %d2\n mrs %0, nzcv" : "=r"(nzcv) : "w"(a), "w"(b) : "cc");
    return nzcv;
}

int main(void)
{
    static const double in[8] = {1e30, -1e300, NAN, 5.5, -INFINITY, 9223372036854775808.0,
                                 -9223372036854775808.0, -0.25};
    static const int64_t longs[8] = {INT64_MAX, INT64_MIN, 0, 5, INT64_MIN, INT64_MAX, INT64_MIN, 0};
    static const int32_t ints[8] = {INT32_MAX, INT32_MIN, 0, 5, INT32_MIN, INT32_MAX, INT32_MIN, 0};
    int bad = 0;
    for (int i = 0; i < 20000; i++) {
        int k = i & 7;
        bad += to_long(in[k]) != longs[k];
        bad += to_int((float)in[k]) != ints[k];
        bad += divide(0, 0) != 0x7ff8000000000000;
        bad += compare(NAN, in[k]) != 3u << 28;
        clear();
        to_long(in[k]);
        bad += (fpsr() & 1) != (k != 3 && k != 6 && k != 7);
        clear();
        divide(0, 1);
        bad += fpsr() & 1;
        divide(0, 0);
        bad += !(fpsr() & 1);
    }
    say("results", bad == 0);
    return 0;
}
