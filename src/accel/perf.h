/* Telling Linux `perf` what generated code is: a map of names (/tmp/perf-PID.map), or a jitdump file
 * with the code itself for `perf inject --jit`. */
#ifndef LYRE_ACCEL_PERF_H
#define LYRE_ACCEL_PERF_H

#include <stdio.h>

#include "base/err.h"

struct perf {
    FILE *map;
    FILE *dump;
    void *marker; /* the mapping of the dump by which perf finds it */
    unsigned long index;
};

/* Start what is asked for. A file that cannot be made is an error. */
bool perf_open(struct perf *p, bool map, bool dump, struct err *e);
void perf_close(struct perf *p);

/* Host code at `at` (readable at `code`) runs guest code at `pc`; its name says whether it was made for hot code. */
void perf_region(struct perf *p, const u8 *at, const u8 *code, size_t size, u64 pc, bool hot);

#endif
