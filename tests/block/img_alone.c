/* The image commands with nothing else linked: qemu-img's command line, or qemu-io's after "io". */
#include <string.h>

#include "cmd/cmd.h"

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "io"))
        return cmd_io(argc - 1, argv + 1);
    return cmd_img(true, argc, argv);
}
