/* Random records for a line of the instruction tables. */
#ifndef LYRE_TESTS_A64_GENERATE_H
#define LYRE_TESTS_A64_GENERATE_H

#include "base/types.h"
#include "record.h"

/* Does the harness try this line (enum a64_id)? Not those without a lifter, and not those that
 * leave for the system or depend on the machine. */
bool generate_wants(unsigned line);

/* In place of a line: sequences of instructions that compute, with few registers, so that results
 * and flags flow from one to the next. */
#define GENERATE_SEQUENCE 0

/* The same arguments give the same record. `plain`: by line, may it be part of a sequence? */
void generate(struct record *r, unsigned line, u64 seed, unsigned index, const bool *plain);

#endif
