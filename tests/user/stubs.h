/* What the stubs of the engine have seen. */
#ifndef LYRE_TESTS_USER_STUBS_H
#define LYRE_TESTS_USER_STUBS_H

#include "base/types.h"

extern struct stub_calls {
    unsigned invalidated;
    u64 start, len;
} stub_calls;

#endif
