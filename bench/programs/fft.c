/* Fast Fourier transforms of 4096 complex numbers, forth and back. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define BITS 12
#define N    (1u << BITS)

struct complex {
    double re, im;
};

static struct complex data[N], root[N / 2];

static void reorder(void)
{
    for (unsigned i = 0, j = 0; i < N; i++) {
        if (i < j) {
            struct complex t = data[i];
            data[i] = data[j];
            data[j] = t;
        }
        unsigned bit = N >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j |= bit;
    }
}

static void transform(double sign)
{
    reorder();
    for (unsigned len = 2; len <= N; len *= 2) {
        for (unsigned i = 0; i < N; i += len) {
            for (unsigned k = 0; k < len / 2; k++) {
                struct complex w = root[k * (N / len)], *p = &data[i + k], *q = p + len / 2;
                double re = q->re * w.re - q->im * w.im * sign, im = q->re * w.im * sign + q->im * w.re;
                q->re = p->re - re;
                q->im = p->im - im;
                p->re += re;
                p->im += im;
            }
        }
    }
}

int main(int argc, char **argv)
{
    unsigned turns = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
    for (unsigned i = 0; i < N / 2; i++)
        root[i] = (struct complex){cos(2 * M_PI * i / N), sin(2 * M_PI * i / N)};
    for (unsigned i = 0; i < N; i++)
        data[i] = (struct complex){i % 31, i % 7};
    for (unsigned t = 0; t < turns; t++) {
        transform(1);
        transform(-1);
        for (unsigned i = 0; i < N; i++) {
            data[i].re /= N;
            data[i].im /= N;
        }
    }
    printf("fft %u %.3f %.3f\n", turns, data[100].re, data[100].im);
    return 0;
}
