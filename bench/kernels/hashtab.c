/* A chained hash table behind function pointers: indirect calls, unpredictable loads, malloc. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct entry {
    struct entry *next;
    uint64_t key, value;
};

struct table {
    uint64_t (*hash)(uint64_t key);
    int (*equal)(uint64_t a, uint64_t b);
    uint64_t mask, count;
    struct entry **buckets;
};

static uint64_t hash_multiply(uint64_t k)
{
    return k * 0x9e3779b97f4a7c15u >> 20;
}

static uint64_t hash_xorshift(uint64_t k)
{
    k ^= k >> 33;
    k *= 0xff51afd7ed558ccdu;
    return k ^ k >> 29;
}

static int equal_all(uint64_t a, uint64_t b)
{
    return a == b;
}

static int equal_low(uint64_t a, uint64_t b)
{
    return (uint32_t)a == (uint32_t)b;
}

static struct entry **find(struct table *t, uint64_t key)
{
    struct entry **p = &t->buckets[t->hash(key) & t->mask];
    while (*p && !t->equal((*p)->key, key))
        p = &(*p)->next;
    return p;
}

static uint64_t add(struct table *t, uint64_t key, uint64_t value)
{
    struct entry **p = find(t, key);
    if (!*p) {
        *p = calloc(1, sizeof(**p));
        if (!*p)
            exit(2);
        (*p)->key = key;
        t->count++;
    }
    return (*p)->value += value;
}

static void drop(struct table *t, uint64_t key)
{
    struct entry **p = find(t, key);
    if (*p) {
        struct entry *e = *p;
        *p = e->next;
        free(e);
        t->count--;
    }
}

int main(int argc, char **argv)
{
    long ops = argc > 1 ? atol(argv[1]) : 100000;
    struct table tables[2] = {
        {.hash = hash_multiply, .equal = equal_all, .mask = 4095},
        {.hash = hash_xorshift, .equal = equal_low, .mask = 4095},
    };
    for (int i = 0; i < 2; i++) {
        tables[i].buckets = calloc(tables[i].mask + 1, sizeof(struct entry *));
        if (!tables[i].buckets)
            return 2;
    }
    uint64_t seed = 88172645463325252u, check = 0, added = 0;
    for (long i = 0; i < ops; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        struct table *t = &tables[seed >> 40 & 1];
        uint64_t key = seed >> 20 & 0x1fff;
        if ((seed & 7) == 0) {
            drop(t, key);
        } else {
            check = check * 3 + add(t, key, (uint64_t)i & 0xff);
            added++;
        }
    }
    uint64_t count = 0;
    for (int i = 0; i < 2; i++) {
        for (uint64_t b = 0; b <= tables[i].mask; b++)
            for (struct entry *e = tables[i].buckets[b]; e; e = e->next)
                count++;
    }
    printf("hashtab %ld %016llx %llu\n", ops, (unsigned long long)check, (unsigned long long)count);
    return count != tables[0].count + tables[1].count || added == 0;
}
