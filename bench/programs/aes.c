/* AES-128 in plain C with tables of bytes (FIPS 197). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t box[256], key[11][16];

static uint8_t twice(uint8_t x)
{
    return (uint8_t)(x << 1 ^ (x >> 7) * 0x1b);
}

static void make_box(void)
{
    uint8_t p = 1, q = 1;
    do {
        p = (uint8_t)(p ^ twice(p));
        q = (uint8_t)(q ^ q << 1);
        q = (uint8_t)(q ^ q << 2);
        q = (uint8_t)(q ^ q << 4);
        if (q & 0x80)
            q ^= 9;
        unsigned r = q * 0x101u;
        box[p] = (uint8_t)(q ^ r >> 7 ^ r >> 6 ^ r >> 5 ^ r >> 4 ^ 0x63);
    } while (p != 1);
    box[0] = 0x63;
}

static void make_keys(void)
{
    uint8_t round = 1;
    for (int i = 0; i < 16; i++)
        key[0][i] = (uint8_t)i;
    for (int r = 1; r < 11; r++, round = twice(round)) {
        for (int i = 0; i < 16; i++) {
            uint8_t last = i < 4 ? box[key[r - 1][12 + (i + 1) % 4]] : key[r][i - 4];
            key[r][i] = (uint8_t)(key[r - 1][i] ^ last ^ (i ? 0 : round));
        }
    }
}

static void encrypt(uint8_t *s)
{
    uint8_t t[16];
    for (int i = 0; i < 16; i++)
        s[i] ^= key[0][i];
    for (int r = 1; r < 11; r++) {
        for (int i = 0; i < 16; i++)
            t[i] = box[s[(i + 4 * (i % 4)) % 16]];
        for (int c = 0; c < 16; c += 4) {
            uint8_t all = (uint8_t)(t[c] ^ t[c + 1] ^ t[c + 2] ^ t[c + 3]);
            for (int i = 0; i < 4; i++) {
                uint8_t mixed = (uint8_t)(t[c + i] ^ all ^ twice((uint8_t)(t[c + i] ^ t[c + (i + 1) % 4])));
                s[c + i] = (uint8_t)((r == 10 ? t[c + i] : mixed) ^ key[r][c + i]);
            }
        }
    }
}

int main(int argc, char **argv)
{
    unsigned blocks = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
    uint8_t s[16] = {0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    make_box();
    make_keys();
    for (unsigned i = 0; i < blocks; i++)
        encrypt(s);
    printf("aes %u %02x%02x%02x%02x\n", blocks, s[0], s[1], s[2], s[3]);
    return 0;
}
