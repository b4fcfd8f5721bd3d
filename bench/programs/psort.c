/* Two threads sort the halves of an array, then one merges them. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct part {
    uint32_t *data, *spare;
    size_t count;
};

static void merge(const uint32_t *a, size_t na, const uint32_t *b, size_t nb, uint32_t *to)
{
    while (na && nb) {
        if (*a <= *b) {
            *to++ = *a++;
            na--;
        } else {
            *to++ = *b++;
            nb--;
        }
    }
    memcpy(to, a, na * sizeof(*a));
    memcpy(to + na, b, nb * sizeof(*b));
}

static void *sort(void *opaque)
{
    struct part *p = opaque;
    for (size_t len = 1; len < p->count; len *= 2) {
        for (size_t i = 0; i < p->count; i += 2 * len) {
            size_t left = p->count - i < len ? p->count - i : len;
            size_t right = p->count - i - left < len ? p->count - i - left : len;
            merge(p->data + i, left, p->data + i + left, right, p->spare + i);
        }
        memcpy(p->data, p->spare, p->count * sizeof(*p->data));
    }
    return NULL;
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? (size_t)atol(argv[1]) : 1000;
    uint32_t *data = malloc(n * 4), *spare = malloc(n * 4), x = 1, sum = 0;
    pthread_t thread;
    for (size_t i = 0; i < n; i++)
        data[i] = x = x * 1664525 + 1013904223;
    struct part half[2] = {{data, spare, n / 2}, {data + n / 2, spare + n / 2, n - n / 2}};
    pthread_create(&thread, NULL, sort, &half[0]);
    sort(&half[1]);
    pthread_join(thread, NULL);
    merge(data, n / 2, data + n / 2, n - n / 2, spare);
    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + spare[i];
    printf("psort %zu %08x\n", n, sum);
    return 0;
}
