/* The C library's memory and string functions on pieces of many sizes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char from[70000], to[70000];

int main(int argc, char **argv)
{
    unsigned turns = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
    unsigned long sum = 0;
    memset(from, 'x', sizeof(from) - 1);
    for (unsigned t = 0; t < turns; t++) {
        for (size_t n = 1; n < 65536; n = n * 5 / 3 + 1) {
            size_t at = t % 61;
            from[at + n] = 0;
            sum += strlen(from + at);
            memcpy(to + t % 33, from + at, n + 1);
            sum += (size_t)((char *)memchr(to + t % 33, 0, n + 1) - to);
            sum += strcmp(from + at, to + t % 33) == 0;
            sum += memcmp(from + at, to + t % 33, n) == 0;
            memmove(to + 3, to, n);
            memset(to + 1, (int)t & 127, n / 2);
            from[at + n] = 'x';
        }
    }
    printf("strings %u %lu\n", turns, sum);
    return 0;
}
