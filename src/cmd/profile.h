/* `-profile`: which functions of the guest the time went to. */
#ifndef LYRE_CMD_PROFILE_H
#define LYRE_CMD_PROFILE_H

#include <stdio.h>

#include "accel/engine.h"

/* The functions with the most samples, by the symbols of the files that are mapped. */
void profile_print(struct engine *en, FILE *to);

#endif
