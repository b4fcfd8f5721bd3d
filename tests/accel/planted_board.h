/* The program of test_planted.c on a machine. */
#ifndef LYRE_TESTS_ACCEL_PLANTED_BOARD_H
#define LYRE_TESTS_ACCEL_PLANTED_BOARD_H

#include "accel/engine.h"

/* Where it lies; what is around it lies elsewhere. */
#define PLANTED_CODE 0x40401000
#define PLANTED_DATA 0x40500000

/* Run it so many times, with the MMU on: x0 is PLANTED_DATA, x1 3, x2 an address where nothing is. Accesses that fault are
 * stepped over, SVC ends it. False: it did not come to its end within so many seconds. */
bool planted_board_run(const struct engine_opts *opts, const u32 *program, size_t words, const u64 *data, size_t doublewords,
                       unsigned times, unsigned seconds);

#endif
