/* Vectors of float and double: a * x + y, sums, largest. */
#include <stdio.h>
#include <stdlib.h>

#define N 4096

static float x[N], y[N];
static double u[N], v[N];

int main(int argc, char **argv)
{
    unsigned turns = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
    float most = 0;
    double sum = 0;
    for (unsigned i = 0; i < N; i++) {
        x[i] = (float)(i % 64);
        u[i] = i % 32;
    }
    for (unsigned t = 0; t < turns; t++) {
        float a = (float)(t % 5) - 2;
        for (unsigned i = 0; i < N; i++)
            y[i] += a * x[i];
        for (unsigned i = 0; i < N; i++)
            v[i] = v[i] * 0.5 + u[i] * a;
        for (unsigned i = 0; i < N; i++)
            most = y[i] > most ? y[i] : most;
    }
    for (unsigned i = 0; i < N; i++)
        sum += y[i] + v[i];
    printf("saxpy %u %.1f %.1f\n", turns, most, sum);
    return 0;
}
