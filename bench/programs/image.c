/* Kernels of pictures: grey from colours, a blur, edges, a sum of differences as codecs take it. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define W 320
#define H 240

static uint8_t colour[H][W][3], grey[H][W], soft[H][W], edge[H][W];

static void to_grey(void)
{
    for (int y = 0; y < H; y++) {
        for (int x = 0; x < W; x++)
            grey[y][x] = (uint8_t)((colour[y][x][0] * 77 + colour[y][x][1] * 150 + colour[y][x][2] * 29) >> 8);
    }
}

static void blur(void)
{
    for (int y = 1; y < H - 1; y++) {
        for (int x = 1; x < W - 1; x++)
            soft[y][x] = (uint8_t)((grey[y][x - 1] + 2 * grey[y][x] + grey[y][x + 1] + grey[y - 1][x] + grey[y + 1][x] +
                                    2 * grey[y][x] + 4) >> 3);
    }
}

static void edges(void)
{
    for (int y = 1; y < H - 1; y++) {
        for (int x = 1; x < W - 1; x++) {
            int dx = soft[y][x + 1] - soft[y][x - 1], dy = soft[y + 1][x] - soft[y - 1][x];
            int d = abs(dx) + abs(dy);
            edge[y][x] = (uint8_t)(d > 255 ? 255 : d);
        }
    }
}

static unsigned differences(int dx, int dy)
{
    unsigned sum = 0;
    for (int y = 0; y < H - 16; y++) {
        for (int x = 0; x < W - 16; x++)
            sum += (unsigned)abs(grey[y][x] - soft[y + dy][x + dx]);
    }
    return sum;
}

int main(int argc, char **argv)
{
    unsigned turns = argc > 1 ? (unsigned)atoi(argv[1]) : 1, sum = 0;
    for (int i = 0; i < W * H * 3; i++)
        colour[i / (W * 3)][i / 3 % W][i % 3] = (uint8_t)(i * 7 + (i >> 9) * 13);
    for (unsigned t = 0; t < turns; t++) {
        colour[t % H][t % W][t % 3] ^= 255;
        to_grey();
        blur();
        edges();
        sum = sum * 31 + differences((int)t % 16, (int)t % 13) + edge[t % H][t % W];
    }
    printf("image %u %08x\n", turns, sum);
    return 0;
}
