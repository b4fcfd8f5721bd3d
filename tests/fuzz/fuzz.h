/* What libFuzzer and the replaying test call. */
#ifndef LYRE_TESTS_FUZZ_FUZZ_H
#define LYRE_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
