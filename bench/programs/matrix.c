/* Matrix products, double and float, without blocking. */
#include <stdio.h>
#include <stdlib.h>

#define N 160

#define PRODUCT(type, name)                                                                                       \
    static type name##_a[N][N], name##_b[N][N], name##_c[N][N];                                                   \
    static double name(unsigned turns)                                                                            \
    {                                                                                                             \
        double sum = 0;                                                                                           \
        for (unsigned i = 0; i < N * N; i++) {                                                                    \
            name##_a[i / N][i % N] = (type)(i % 17) - 8;                                                          \
            name##_b[i / N][i % N] = (type)(i % 13) - 6;                                                          \
        }                                                                                                         \
        for (unsigned t = 0; t < turns; t++) {                                                                    \
            for (unsigned i = 0; i < N; i++) {                                                                    \
                for (unsigned j = 0; j < N; j++) {                                                                \
                    type x = 0;                                                                                   \
                    for (unsigned k = 0; k < N; k++)                                                              \
                        x += name##_a[i][k] * name##_b[k][j];                                                     \
                    name##_c[i][j] = x;                                                                           \
                }                                                                                                 \
            }                                                                                                     \
            name##_a[t % N][t % 7] += name##_c[t % 5][t % N] > 0 ? 1 : -1;                                        \
        }                                                                                                         \
        for (unsigned i = 0; i < N * N; i++)                                                                      \
            sum += name##_c[i / N][i % N] * (i % 3);                                                              \
        return sum;                                                                                               \
    }

PRODUCT(double, wide)
PRODUCT(float, narrow)

int main(int argc, char **argv)
{
    unsigned turns = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
    printf("matrix %u %.0f %.0f\n", turns, wide(turns), narrow(turns));
    return 0;
}
