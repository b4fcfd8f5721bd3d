/* A ray tracer in float: spheres over a floor, shadows and one mirror. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SPHERES 9

struct vec {
    float x, y, z;
};

static struct {
    struct vec at;
    float r;
} sphere[SPHERES];

static struct vec add(struct vec a, struct vec b, float k)
{
    return (struct vec){a.x + k * b.x, a.y + k * b.y, a.z + k * b.z};
}

static float dot(struct vec a, struct vec b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

static struct vec unit(struct vec a)
{
    return add((struct vec){0}, a, 1 / sqrtf(dot(a, a)));
}

/* The nearest sphere that the ray meets, and how far away; -1: none. */
static int meet(struct vec from, struct vec way, float *far)
{
    int hit = -1;
    for (int i = 0; i < SPHERES; i++) {
        struct vec to = add(sphere[i].at, from, -1);
        float b = dot(to, way), d = b * b - dot(to, to) + sphere[i].r * sphere[i].r;
        float t = d < 0 ? -1 : b - sqrtf(d);
        if (t > 0.001f && t < *far) {
            *far = t;
            hit = i;
        }
    }
    return hit;
}

static float light(struct vec from, struct vec way, int depth)
{
    static const struct vec sun = {0.48f, 0.6f, -0.64f};
    float far = 1e9f, none = 1e9f;
    int i = meet(from, way, &far);
    if (i < 0 && way.y >= 0)
        return 0.3f + 0.5f * way.y;
    if (i < 0)
        far = -from.y / way.y;
    struct vec at = add(from, way, far), up = {0, 1, 0};
    struct vec normal = i < 0 ? up : unit(add(at, sphere[i].at, -1));
    float bright = meet(at, sun, &none) < 0 ? fmaxf(0, dot(normal, sun)) : 0;
    if (i < 0)
        return (((int)floorf(at.x) ^ (int)floorf(at.z)) & 1 ? 0.2f : 0.8f) * (0.3f + 0.7f * bright);
    if (!depth)
        return bright;
    return 0.5f * bright + 0.4f * light(at, add(way, normal, -2 * dot(way, normal)), depth - 1);
}

int main(int argc, char **argv)
{
    int size = argc > 1 ? atoi(argv[1]) : 64;
    double sum = 0;
    for (int i = 0; i < SPHERES; i++) {
        sphere[i].at = (struct vec){(float)(i % 3) * 2.2f - 2.2f, 1 + (float)(i / 6), (float)(i / 3) * 2.1f + 3};
        sphere[i].r = 0.5f + 0.05f * (float)i;
    }
    for (int y = 0; y < size; y++) {
        for (int x = 0; x < size; x++) {
            struct vec way = {(float)x / (float)size - 0.5f, 0.5f - (float)y / (float)size, 0.8f};
            sum += light((struct vec){0, 1.2f, -3}, unit(way), 2);
        }
    }
    printf("ray %d %.1f\n", size, sum / size);
    return 0;
}
