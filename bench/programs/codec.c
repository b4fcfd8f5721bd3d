/* A codec's inner loops: 8x8 cosine transforms of 16-bit numbers, quantised and back. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS 256

static int16_t block[BLOCKS][8][8];

static const int16_t cosine[8][8] = {
    {64, 64, 64, 64, 64, 64, 64, 64},     {89, 75, 50, 18, -18, -50, -75, -89}, {83, 36, -36, -83, -83, -36, 36, 83},
    {75, -18, -89, -50, 50, 89, 18, -75}, {64, -64, -64, 64, 64, -64, -64, 64}, {50, -89, 18, 75, -75, -18, 89, -50},
    {36, -83, 83, -36, -36, 83, -83, 36}, {18, -50, 75, -89, 89, -75, 50, -18}};

/* Rows times the matrix, or its transpose, and turned. */
static void pass(int16_t b[8][8], int back, int shift)
{
    int16_t out[8][8];
    for (int i = 0; i < 8; i++) {
        for (int j = 0; j < 8; j++) {
            int x = 0;
            for (int k = 0; k < 8; k++)
                x += (back ? cosine[k][i] : cosine[i][k]) * b[j][k];
            out[i][j] = (int16_t)((x + (1 << (shift - 1))) >> shift);
        }
    }
    memcpy(b, out, sizeof(out));
}

int main(int argc, char **argv)
{
    unsigned turns = argc > 1 ? (unsigned)atoi(argv[1]) : 1, sum = 0;
    for (int i = 0; i < BLOCKS * 64; i++)
        block[i / 64][i / 8 % 8][i % 8] = (int16_t)(i * 37 % 256 - 128);
    for (unsigned t = 0; t < turns; t++) {
        for (int i = 0; i < BLOCKS; i++) {
            pass(block[i], 0, 9);
            pass(block[i], 0, 9);
            for (int k = 0; k < 64; k++)
                block[i][k / 8][k % 8] = (int16_t)(block[i][k / 8][k % 8] / 3 * 3);
            pass(block[i], 1, 6);
            pass(block[i], 1, 6);
        }
    }
    for (int i = 0; i < BLOCKS * 64; i++)
        sum = sum * 31 + (uint16_t)block[i / 64][i / 8 % 8][i % 8];
    printf("codec %u %08x\n", turns, sum);
    return 0;
}
