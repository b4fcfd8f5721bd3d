/* Recursive calls and returns, two per addition. */
#include <stdio.h>
#include <stdlib.h>

static unsigned long fib(unsigned n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int main(int argc, char **argv)
{
    unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 30;
    unsigned long a = 0, b = 1;
    for (unsigned i = 0; i < n; i++) {
        unsigned long c = a + b;
        a = b;
        b = c;
    }
    unsigned long f = fib(n);
    printf("calls %u %lu\n", n, f);
    return f != a;
}
