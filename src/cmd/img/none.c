/* lyre-static: the image commands are in `lyre` alone so far. */
#include <stdio.h>

#include "cmd/cmd.h"

static int refuse(void)
{
    fprintf(stderr, "lyre-static has no image commands; use lyre\n");
    return 1;
}

int cmd_img(bool qemu, int argc, char **argv)
{
    return refuse();
}

int cmd_nbd(bool qemu, int argc, char **argv)
{
    return refuse();
}

int cmd_io(int argc, char **argv)
{
    return refuse();
}
