/* Where records run, and what their registers are; for the harness and for the server. */
#ifndef LYRE_TESTS_RV_PLACE_H
#define LYRE_TESTS_RV_PLACE_H

#include "isa/diff/record.h"

/* No sanitizer's shadow covers these. */
#define PLACE_CODE64 0x7e8000000000ull
#define PLACE_DATA64 0x7e8000010000ull
#define PLACE_CODE32 0x70000000ull
#define PLACE_DATA32 0x70010000ull

/* The server's signal stack. An instruction may leave anything in sp, and an sp that lies in this stack counts
 * as being on it: so it is where neither small numbers nor the data are. */
#define PLACE_STACK64 0x7e935d6a0000ull
#define PLACE_STACK32 0x735d0000ull

/* x1 comes first. */
enum { R_X1 = 0, R_FCSR = 31, R_F0 = 32 };

#endif
