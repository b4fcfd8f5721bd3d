/* A static program has no machines: their libraries are modules. */
#include <stdio.h>

#include "cmd/cmd.h"

int cmd_boot(const char *isa, int argc, char **argv)
{
    fprintf(stderr, "lyre-static runs programs and looks after images; for machines use lyre\n");
    return 1;
}
