/* Sun and planets: double precision with square roots and divisions, one sum after the other.
 *
 * Architectures with fused multiply-add round differently, so what is compared is the energy to ten
 * digits; over these steps the difference stays far below that. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BODIES = 5 };

#define PI 3.141592653589793
#define DAYS 365.24
#define SUN (4 * PI * PI)

struct body {
    double x, y, z, vx, vy, vz, mass;
};

/* Positions in astronomical units, velocities in units per day, masses in suns. */
static struct body bodies[BODIES] = {
    {0, 0, 0, 0, 0, 0, 1},
    {4.84143144246472090, -1.16032004402742839, -0.103622044471123109, 0.00166007664274403694,
     0.00769901118419740425, -0.0000690460016972063023, 0.000954791938424326609},
    {8.34336671824457987, 4.12479856412430479, -0.403523417114321381, -0.00276742510726411413,
     0.00499852801234917238, 0.0000230417297573763929, 0.000285885980666130812},
    {12.8943695621391310, -15.1111514016986312, -0.223307578892655734, 0.00296460137564761618,
     0.00237847173959480950, -0.0000296589568540237556, 0.0000436624404335156298},
    {15.3796971148509165, -25.9193146099879641, 0.179258772950371181, 0.00268067772490389322,
     0.00162824170038242295, -0.0000951592254519715870, 0.0000515138902046611451},
};

static double energy(void)
{
    double e = 0;
    for (int i = 0; i < BODIES; i++) {
        const struct body *a = &bodies[i];
        e += 0.5 * a->mass * (a->vx * a->vx + a->vy * a->vy + a->vz * a->vz);
        for (int j = i + 1; j < BODIES; j++) {
            const struct body *b = &bodies[j];
            double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            e -= a->mass * b->mass / sqrt(dx * dx + dy * dy + dz * dz);
        }
    }
    return e;
}

static void step(double dt)
{
    for (int i = 0; i < BODIES; i++) {
        struct body *a = &bodies[i];
        for (int j = i + 1; j < BODIES; j++) {
            struct body *b = &bodies[j];
            double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            double d2 = dx * dx + dy * dy + dz * dz;
            double mag = dt / (d2 * sqrt(d2));
            double fx = dx * mag, fy = dy * mag, fz = dz * mag;
            a->vx -= fx * b->mass;
            a->vy -= fy * b->mass;
            a->vz -= fz * b->mass;
            b->vx += fx * a->mass;
            b->vy += fy * a->mass;
            b->vz += fz * a->mass;
        }
    }
    for (int i = 0; i < BODIES; i++) {
        struct body *a = &bodies[i];
        a->x += dt * a->vx;
        a->y += dt * a->vy;
        a->z += dt * a->vz;
    }
}

int main(int argc, char **argv)
{
    int steps = argc > 1 ? atoi(argv[1]) : 1000;
    double px = 0, py = 0, pz = 0;
    for (int i = 0; i < BODIES; i++) {
        struct body *b = &bodies[i];
        b->vx *= DAYS;
        b->vy *= DAYS;
        b->vz *= DAYS;
        b->mass *= SUN;
        px += b->vx * b->mass;
        py += b->vy * b->mass;
        pz += b->vz * b->mass;
    }
    bodies[0].vx = -px / SUN;
    bodies[0].vy = -py / SUN;
    bodies[0].vz = -pz / SUN;
    double before = energy();
    for (int i = 0; i < steps; i++)
        step(0.01);
    double after = energy();
    printf("nbody %d %.10f %.8f\n", steps, before, after);
    return !(fabs(after - before) < 1e-4);
}
