/* SHA-256 in plain C (FIPS 180-4). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t k[64], state[8];

static uint32_t turn(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

/* The first 32 bits of the fraction of a prime's root, by whole numbers. */
static uint32_t fraction(unsigned prime, int cube)
{
    unsigned __int128 want = (unsigned __int128)prime << (cube ? 96 : 64);
    uint64_t root = 0;
    for (int bit = 36; bit >= 0; bit--) {
        uint64_t x = root | 1ull << bit;
        unsigned __int128 power = (unsigned __int128)x * x;
        if (cube ? power <= want / x : power <= want)
            root = x;
    }
    return (uint32_t)root;
}

static void constants(void)
{
    for (unsigned n = 2, found = 0; found < 64; n++) {
        unsigned d = 2;
        while (d * d <= n && n % d)
            d++;
        if (d * d <= n)
            continue;
        if (found < 8)
            state[found] = fraction(n, 0);
        k[found++] = fraction(n, 1);
    }
}

static void block(const unsigned char *p)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++, p += 4)
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(s, state, sizeof(s));
    for (int i = 0; i < 64; i++) {
        uint32_t a = s[7] + (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
        uint32_t b = (turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof(*s));
        s[4] += a;
        s[0] = a + b;
    }
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

int main(int argc, char **argv)
{
    unsigned blocks = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
    unsigned char data[64];
    constants();
    for (unsigned i = 0; i < blocks; i++) {
        memset(data, (int)i, sizeof(data));
        block(data);
    }
    printf("sha256 %u %08x%08x\n", blocks, state[0], state[7]);
    return 0;
}
