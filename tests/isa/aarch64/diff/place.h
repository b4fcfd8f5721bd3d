/* Where records run, and what their registers are; for the harness and for the server. */
#ifndef LYRE_TESTS_A64_PLACE_H
#define LYRE_TESTS_A64_PLACE_H

#include "isa/diff/record.h"

/* No sanitizer's shadow covers these. */
#define PLACE_CODE 0x7e8000000000ull
#define PLACE_DATA 0x7e8000010000ull

/* The server's signal stack. An instruction may leave anything in sp, and an sp that lies in this stack counts
 * as being on it: so it is where neither small numbers nor the data are. */
#define PLACE_STACK 0x7e935d6a0000ull

#define PLACE_PC     (PLACE_CODE + RECORD_START)
#define PLACE_WINDOW (PLACE_DATA + RECORD_PAGE - RECORD_MEM)

enum { R_X0 = 0, R_SP = 31, R_PSTATE, R_TPIDR, R_FPCR, R_FPSR, R_V0 };

#endif
