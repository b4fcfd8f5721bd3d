/* Loops that the compiler turns into vector code: 32-bit integers, float, bytes. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 2048 };

static uint32_t ia[N], ib[N];
static float fa[N], fb[N], fc[N];
static uint8_t ba[N], bb[N];

__attribute__((noinline)) static void saxpy_int(uint32_t *restrict y, const uint32_t *restrict x, uint32_t a)
{
    for (int i = 0; i < N; i++)
        y[i] = y[i] + a * x[i];
}

__attribute__((noinline)) static void saxpy_float(float *restrict y, const float *restrict x, float a)
{
    for (int i = 0; i < N; i++)
        y[i] = y[i] * 0.5f + a * x[i];
}

__attribute__((noinline)) static void linear(float *restrict y, const float *restrict x, float a)
{
    for (int i = 0; i < N; i++)
        y[i] = x[i] * a + 1.5f;
}

__attribute__((noinline)) static void bytes(uint8_t *restrict y, const uint8_t *restrict x, uint8_t a)
{
    for (int i = 0; i < N; i++) {
        uint8_t s = (uint8_t)(y[i] + a);
        y[i] = (uint8_t)((s > x[i] ? s : x[i]) ^ a);
    }
}

__attribute__((noinline)) static uint32_t sum_int(const uint32_t *x)
{
    uint32_t sum = 0;
    for (int i = 0; i < N; i++)
        sum += x[i];
    return sum;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 100;
    for (int i = 0; i < N; i++) {
        ia[i] = (uint32_t)i;
        ib[i] = (uint32_t)i * 3 + 1;
        fa[i] = 0;
        fb[i] = (float)(i % 64);
        ba[i] = (uint8_t)(i * 5);
        bb[i] = (uint8_t)(i * 11);
    }
    uint32_t check = 0;
    for (int r = 0; r < rounds; r++) {
        saxpy_int(ia, ib, (uint32_t)r | 1);
        saxpy_int(ib, ia, (uint32_t)r & 3);
        saxpy_float(fa, fb, 0.5f);
        linear(fc, fa, (float)(r & 7));
        bytes(ba, bb, (uint8_t)r);
        check = check * 31 + sum_int(ia);
    }
    /* The recurrence tends to x whatever is fused, and then the values are exact. */
    double fsum = 0, fexpect = 0, csum = 0;
    for (int i = 0; i < N; i++) {
        fsum += (double)fa[i];
        fexpect += (double)fb[i];
        csum += (double)fc[i];
        check = check * 31 + ba[i];
    }
    printf("vectors %d %08x %.1f %.1f\n", rounds, check, fsum, csum);
    return !(rounds < 40 || (fsum - fexpect < 0.5 && fexpect - fsum < 0.5));
}
