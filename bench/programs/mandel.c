/* The Mandelbrot set: how many points are in it, how many turns that took. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    int size = argc > 1 ? atoi(argv[1]) : 100, inside = 0;
    long turns = 0;
    for (int y = 0; y < size; y++) {
        for (int x = 0; x < size; x++) {
            double cr = 3.0 * x / size - 2.25, ci = 2.5 * y / size - 1.25, zr = 0, zi = 0;
            int n = 0;
            while (n < 200 && zr * zr + zi * zi < 4) {
                double r = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci;
                zr = r;
                n++;
            }
            inside += n == 200;
            turns += n;
        }
    }
    printf("mandel %d %d %ld\n", size, inside, turns);
    return 0;
}
